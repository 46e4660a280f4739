//! Which source files of a crate import from which, by the paths that they name.

use crate::source::{code, identifiers, read};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A path, segment by segment.
type Names = Vec<String>;

/// One source file, which is one module.
#[derive(Default)]
struct File {
    /// Modules in files below it.
    children: BTreeSet<String>,
    /// What `use` brings into scope: the name, its path as written, and whether it is handed on.
    uses: Vec<(String, Names, bool)>,
    /// Paths named outside of `use`, of two segments or more.
    paths: BTreeSet<Names>,
    /// All that is named outside of `use`.
    names: BTreeSet<String>,
}

/// The files of a crate, by the path of their module from the root, which is empty.
pub(crate) struct Crate {
    files: BTreeMap<Names, File>,
}

impl Crate {
    /// Of the sources in a folder, beginning with `root`. What only unit tests compile is left out.
    pub(crate) fn read(source: &Path, root: &str) -> Self {
        let mut files = BTreeMap::new();
        let mut pending = vec![(Names::new(), source.join(root))];
        while let Some((module, path)) = pending.pop() {
            let file = File::parse(&code(&read(&path)));
            let folder = module.iter().fold(source.to_path_buf(), |folder, name| folder.join(name));
            for child in &file.children {
                let [alone, folder] = [folder.join(format!("{child}.rs")), folder.join(child).join("mod.rs")];
                let path = if alone.exists() { alone } else { folder };
                pending.push((module.iter().chain([child]).cloned().collect(), path));
            }
            files.insert(module, file);
        }
        Self { files }
    }

    /// The module whose file has what `path`, written in `module`, leads to; `None` for other crates. What a module hands on from
    /// another is that one's.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> Option<Names> {
        assert!(depth < 32, "{path:?} in {module:?} leads nowhere");
        let (first, mut rest) = path.split_first()?;
        let mut place = match first.as_str() {
            "crate" => Names::new(),
            "self" => module.to_vec(),
            "super" => module[..module.len() - 1].to_vec(),
            _ => {
                rest = path;
                let file = &self.files[module];
                let is_used = |(name, path, _): &(String, Names, bool)| name == first && path[0] != *first;
                let is_known = file.children.contains(first) || file.uses.iter().any(is_used);
                if !is_known {
                    return None;
                }
                module.to_vec()
            }
        };
        while let Some((name, further)) = rest.split_first() {
            let file = &self.files[&place];
            if name == "super" {
                place.pop();
            } else if file.children.contains(name) {
                place.push(name.clone());
            } else if let Some((_, target, _)) = file.uses.iter().find(|(used, ..)| used == name) {
                let target: Names = target.iter().chain(further).cloned().collect();
                return self.resolve(&place, &target, depth + 1);
            } else {
                break;
            }
            rest = further;
        }
        Some(place)
    }

    /// The modules whose files a module's file imports from. That it declares or hands on a module is no import, unless it names what it
    /// hands on besides.
    fn imports(&self, module: &[String]) -> BTreeSet<Names> {
        let file = &self.files[module];
        let used = file.uses.iter().filter(|(name, _, handed_on)| !handed_on || file.names.contains(name));
        let paths = used.map(|(_, path, _)| path).chain(&file.paths);
        let found = paths.filter_map(|path| self.resolve(module, path, 0));
        // A floor, or a folder, that is named on the way to something is not imported.
        found.filter(|found| found != module && !self.files[found].is_folder_alone()).collect()
    }

    /// Groups of files that import from each other, directly or by way of others: of each file its path below the root.
    pub(crate) fn circles(&self) -> BTreeSet<Vec<String>> {
        let edges: BTreeMap<&Names, BTreeSet<Names>> =
            self.files.keys().map(|module| (module, self.imports(module))).collect();
        let reached = |from: &Names| {
            let (mut found, mut pending) = (BTreeSet::new(), vec![from]);
            while let Some(module) = pending.pop() {
                pending.extend(edges[module].iter().filter(|next| found.insert((*next).clone())));
            }
            found
        };
        let reached: BTreeMap<&Names, BTreeSet<Names>> =
            edges.keys().map(|&module| (module, reached(module))).collect();
        let circle = |module: &&Names| {
            let mutual = reached[*module].iter().filter(|other| reached[*other].contains(*module));
            mutual.map(|other| other.join("/")).collect()
        };
        edges.keys().map(circle).filter(|circle: &Vec<String>| !circle.is_empty()).collect()
    }
}

impl File {
    /// Of code as rustfmt lays it out: items begin lines.
    fn parse(code: &str) -> Self {
        let (mut file, mut rest) = (Self::default(), String::new());
        let mut lines = code.lines();
        while let Some(line) = lines.next() {
            let item = line.trim_start();
            let (handed_on, item) = match item.strip_prefix("pub").and_then(|item| item.split_once(' ')) {
                Some((_, item)) => (true, item),
                None => (false, item),
            };
            if let Some(name) = item.strip_prefix("mod ").and_then(|name| name.strip_suffix(';')) {
                file.children.insert(name.to_owned());
            } else if let Some(tree) = item.strip_prefix("use ") {
                let mut tree = tree.to_owned();
                while !tree.ends_with(';') {
                    tree.push_str(lines.next().expect("a use ends"));
                }
                file.add_uses(&[], tree.trim_end_matches(';'), handed_on);
            } else {
                rest.push_str(line);
                rest.push('\n');
            }
        }
        file.names = identifiers(&rest).map(str::to_owned).collect();
        file.paths = paths(&rest);
        file
    }

    /// The tree of a `use`, below `prefix`.
    fn add_uses(&mut self, prefix: &[String], tree: &str, handed_on: bool) {
        let (path, group) = match tree.split_once('{') {
            Some((path, group)) => (path, Some(group.trim_end().strip_suffix('}').expect("a group ends"))),
            None => (tree, None),
        };
        let (path, alias) = path.split_once(" as ").map_or((path, None), |(path, alias)| (path, Some(alias)));
        let path: Names = prefix.iter().cloned().chain(identifiers(path).map(str::to_owned)).collect();
        match group {
            Some(group) => entries(group).for_each(|entry| self.add_uses(&path, entry.trim(), handed_on)),
            None if path.last().is_some_and(|name| name == "self") => {
                let path = path[..path.len() - 1].to_vec();
                self.uses.push((path[path.len() - 1].clone(), path, handed_on));
            }
            None => {
                let name = alias.map(|alias| alias.trim().to_owned()).or(path.last().cloned());
                self.uses.extend(name.map(|name| (name, path, handed_on)));
            }
        }
    }

    /// Whether it does nothing but declare modules and hand them on.
    fn is_folder_alone(&self) -> bool {
        self.names.is_empty()
    }
}

/// The entries of a group, at depth one.
fn entries(group: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    group
        .split(move |c| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0 && c == ','
        })
        .filter(|entry| !entry.trim().is_empty())
}

/// All paths of two segments or more.
fn paths(code: &str) -> BTreeSet<Names> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code.split(|c: char| !is_path(c)).filter(|word| word.contains("::"));
    words.map(|word| identifiers(word).map(str::to_owned).collect()).collect()
}

#[test]
fn circles_are_found_through_what_is_handed_on() {
    let sources = [
        ("", "mod a;\nmod b;\npub use a::{Thing, inner::Part as Piece};\nuse std::fmt;\n"),
        ("a", "mod inner;\npub use inner::Part;\npub struct Thing;\n"),
        ("a/inner", "use crate::b::make;\npub struct Part(fmt::Error);\n"),
        ("b", "pub fn make() -> crate::Piece { loop {} }\nfn thing() -> super::Thing { super::a::Thing }\n"),
    ];
    let names = |path: &str| path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect::<Names>();
    let files = sources.map(|(path, source)| (names(path), File::parse(&code(source))));
    let circles = Crate { files: files.into() }.circles();
    assert_eq!(circles, BTreeSet::from([vec!["a/inner".to_owned(), "b".to_owned()]]));
}
