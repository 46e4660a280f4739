//! Holds the invariants of `docs/ARCHITECTURE.md` against the sources.
//!
//! The document's lists are read from the document itself: a list is the fenced block after `<!-- checked: NAME -->`, one
//! entry to a line, two spaces and a remark after it. A change of either side alone fails here.

mod imports;
mod source;

use imports::Crate;
use integration_tests::documents::{files, root};
use source::{code, identifiers, modules_named, public_types, read, without_comments_and_literals};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The list `name` of the document: the names on each line.
fn listing(name: &str) -> Vec<Vec<String>> {
    let document = read(&root().join("docs/ARCHITECTURE.md"));
    let marker = format!("<!-- checked: {name} -->");
    let (_, rest) = document.split_once(&marker).unwrap_or_else(|| panic!("docs/ARCHITECTURE.md has no list {marker}"));
    let block = rest.split("```").nth(1).unwrap_or_else(|| panic!("no fenced block after {marker}"));
    let lines = block.lines().skip(1).filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let entry = line.trim().split("  ").next().expect("a line has a first part");
            entry.split(',').map(|name| name.trim().to_owned()).collect()
        })
        .collect()
}

/// All entries of a list whose lines may hold several.
fn entries(name: &str) -> Vec<String> {
    listing(name).into_iter().flatten().collect()
}

/// Where a file lies in the repository, with slashes.
fn relative(path: &Path) -> String {
    let path = path.strip_prefix(root()).expect("files are listed below the root");
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// The modules that the root of a crate or of a floor declares.
fn declared_modules(root: &Path) -> BTreeSet<String> {
    let code = code(&read(root));
    let statements = code.split(';').filter_map(|statement| statement.rsplit_once("mod "));
    statements.map(|(_, name)| name.trim().to_owned()).filter(|name| !name.contains(char::is_whitespace)).collect()
}

/// The order of a package's modules, as the document has it: `floor/module`, or `module` alone.
struct Order {
    /// Each line's modules, with the floors they are on.
    lines: Vec<Vec<(Option<String>, String)>>,
}

impl Order {
    fn of(package: &str) -> Self {
        let entry = |entry: String| match entry.split_once('/') {
            Some((floor, module)) => (Some(floor.to_owned()), module.to_owned()),
            None => (None, entry),
        };
        let line = |line: Vec<String>| line.into_iter().map(entry).collect();
        Self { lines: listing(&format!("modules of {package}")).into_iter().map(line).collect() }
    }

    fn line_of(&self, module: &str) -> Option<usize> {
        self.lines.iter().position(|line| line.iter().any(|(_, listed)| listed == module))
    }

    fn floors(&self) -> BTreeSet<&str> {
        self.lines.iter().flatten().filter_map(|(floor, _)| floor.as_deref()).collect()
    }

    /// Whether floors follow each other, and none is left and entered again.
    fn floors_are_whole(&self) -> bool {
        let mut names: Vec<_> = self.lines.iter().flatten().filter_map(|(floor, _)| floor.as_deref()).collect();
        names.dedup();
        names.len() == self.floors().len()
    }

    /// The modules of a package as the sources have them: floors are folders whose modules the root hands on as its own.
    fn declared(&self, package: &str) -> BTreeSet<(Option<String>, String)> {
        let source = root().join(package).join("src");
        let floors = self.floors();
        let modules = declared_modules(&source.join("lib.rs")).into_iter().flat_map(|name| {
            if !floors.contains(&*name) {
                return vec![(None, name)];
            }
            let modules = declared_modules(&source.join(&name).join("mod.rs"));
            modules.into_iter().map(|module| (Some(name.clone()), module)).collect()
        });
        modules.collect()
    }

    /// The module that a source file belongs to, and its code with paths from the crate's root.
    fn module_code(&self, package: &str, path: &Path) -> (String, String) {
        let inside = relative(path);
        let inside = inside.strip_prefix(&format!("{package}/src/")).expect("a file of the package");
        let inside = inside.trim_end_matches(".rs").trim_end_matches("/mod");
        let parts: Vec<_> = inside.split('/').collect();
        let above = usize::from(parts.len() > 1 && self.floors().contains(parts[0]));
        // What a module of a floor has above it are the floor, whose modules are the crate's, and the crate.
        let code = (above..=parts.len()).rev().filter(|&depth| depth > 0).fold(code(&read(path)), |code, depth| {
            if depth + above < parts.len() { code } else { code.replace(&"super::".repeat(depth), "crate::") }
        });
        (parts[above].to_owned(), code)
    }
}

/// Every module is listed, and imports only from the lines above its own or from its own.
fn assert_module_order(package: &str) {
    let order = Order::of(package);
    let listed: BTreeSet<_> = order.lines.iter().flatten().cloned().collect();
    let declared = order.declared(package);
    assert_eq!(declared, listed, "the modules of {package} (left) and those in docs/ARCHITECTURE.md (right) differ");
    assert!(order.floors_are_whole(), "a floor of {package} is listed in two places");
    let mut offences = Vec::new();
    // Files of unit tests may use any module, as unit tests within files may.
    let is_of_tests = |path: &PathBuf| path.file_name().is_some_and(|name| name == "tests.rs");
    for path in files(&format!("{package}/src"), "rs").into_iter().filter(|path| !is_of_tests(path)) {
        let (module, code) = order.module_code(package, &path);
        let Some(line) = order.line_of(&module) else { continue };
        let below =
            modules_named(&code).into_iter().filter(|name| order.line_of(name).is_some_and(|other| other > line));
        offences.extend(below.map(|name| format!("{} names {name}, which is below {module}", relative(&path))));
    }
    assert!(offences.is_empty(), "against the order in docs/ARCHITECTURE.md:\n{}", offences.join("\n"));
}

#[test]
fn modules_import_only_from_above() {
    ["tfhe-core", "nn", "gpt2-fhe", "gpt2-fhe-server", "gpt2-fhe-worker"].into_iter().for_each(assert_module_order);
}

/// Every circle is listed with the reason for it, and none is listed that is not there.
#[test]
fn no_files_import_from_each_other() {
    let roots = [
        ("tfhe-core", "lib.rs"),
        ("nn", "lib.rs"),
        ("gpt2-fhe", "lib.rs"),
        ("gpt2-fhe", "main.rs"),
        ("gpt2-fhe-server", "lib.rs"),
        ("gpt2-fhe-worker", "lib.rs"),
        ("gpt2-fhe-worker/program", "lib.rs"),
    ];
    let circles = roots.iter().flat_map(|(package, file)| {
        let circles = Crate::read(&root().join(package).join("src"), file).circles();
        circles.into_iter().map(move |circle| circle.into_iter().map(|module| format!("{package}/{module}")).collect())
    });
    let circles: BTreeSet<Vec<String>> = circles.collect();
    let listed: BTreeSet<Vec<String>> = listing("circles of files").into_iter().collect();
    assert_eq!(circles, listed, "circles of files (left) and those in docs/ARCHITECTURE.md (right) differ");
}

#[test]
fn no_two_public_types_have_one_name() {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let sources = [
        "tfhe-core/src",
        "nn/src",
        "gpt2-fhe/src",
        "gpt2-fhe-server/src",
        "gpt2-fhe-worker/src",
        "gpt2-fhe-worker/program/src",
    ];
    for path in sources.into_iter().flat_map(|source| files(source, "rs")) {
        for name in public_types(&code(&read(&path))) {
            found.entry(name.to_owned()).or_default().insert(relative(&path));
        }
    }
    let known = ["Matrix", "LweSecretKey", "IntegerBackend"];
    assert!(known.iter().all(|name| found.contains_key(*name)), "public types are not found");
    found.retain(|_, places| places.len() > 1);
    assert!(found.is_empty(), "types of one name: {found:#?}");
}

#[test]
fn nn_and_tfhe_core_never_name_each_other() {
    for (package, other) in [("nn", "tfhe_core"), ("tfhe-core", "nn")] {
        for path in files(package, "rs").into_iter().chain([root().join(package).join("Cargo.toml")]) {
            let text = read(&path).replace("tfhe-core", "tfhe_core");
            assert!(!identifiers(&text).any(|name| name == other), "{} names {other}", relative(&path));
        }
    }
}

#[test]
fn the_server_names_no_secret() {
    let secrets = entries("secrets");
    for file in entries("server side") {
        let code = code(&read(&root().join(&file)));
        for name in identifiers(&code) {
            assert!(!secrets.iter().any(|secret| secret == name), "{file} names {name}");
        }
    }
}

#[test]
fn the_boundary_does_not_panic() {
    let panics = entries("panics");
    for file in entries("boundary") {
        let code = code(&read(&root().join(&file)));
        for name in identifiers(&code) {
            assert!(!panics.iter().any(|panic| panic == name), "{file} names {name}");
        }
    }
}

#[test]
fn unsafe_code_is_where_it_may_be() {
    let allowed = entries("unsafe");
    for path in files("", "rs") {
        let file = relative(&path);
        let has_unsafe = identifiers(&without_comments_and_literals(&read(&path))).any(|name| name == "unsafe");
        let may = allowed.iter().any(|place| file == *place || file.starts_with(&format!("{place}/")));
        assert!(may || !has_unsafe, "{file} has unsafe code");
    }
}

#[test]
fn only_its_places_use_the_network() {
    let (names, python_names) = (entries("network"), entries("network of Python"));
    let places = entries("network places");
    let elsewhere = |path: &PathBuf| {
        let file = relative(path);
        !places.iter().any(|place| file == *place || file.starts_with(&format!("{place}/")))
    };
    assert!(
        elsewhere(&root().join("gpt2-fhe/src/server.rs")) && !elsewhere(&root().join("gpt2-fhe-server/src/api.rs"))
    );
    let assert_none = |names: &[String], path: &Path, text: &str| {
        for name in identifiers(text) {
            assert!(!names.iter().any(|forbidden| forbidden == name), "{} names {name}", relative(path));
        }
    };
    for path in files("", "rs").into_iter().filter(elsewhere) {
        assert_none(&names, &path, &without_comments_and_literals(&read(&path)));
    }
    for path in files("models", "py") {
        let source = read(&path);
        let imports = source.lines().filter(|line| line.starts_with("import ") || line.starts_with("from "));
        imports.for_each(|line| assert_none(&python_names, &path, line));
    }
    for path in files("", "toml").into_iter().filter(elsewhere) {
        let source = read(&path);
        let keys = source.lines().filter_map(|line| line.split(['=', '.']).next());
        keys.for_each(|key| assert_none(&names, &path, &key.replace('-', "_")));
    }
}

#[test]
fn only_the_comparison_uses_tfhe_rs() {
    let elsewhere = |path: &PathBuf| !relative(path).starts_with("peers/");
    for path in files("", "rs").into_iter().filter(elsewhere) {
        let code = without_comments_and_literals(&read(&path));
        assert!(!identifiers(&code).any(|name| name == "tfhe"), "{} names tfhe", relative(&path));
    }
    for path in files("", "toml").into_iter().filter(elsewhere) {
        let source = read(&path);
        let mut keys = source.lines().filter_map(|line| line.split(['=', '.']).next());
        assert!(!keys.any(|key| key.trim() == "tfhe"), "{} asks for tfhe", relative(&path));
    }
}

/// The steps of a request, in one program and between two, are functions of the files that the document names, and at most ten.
#[test]
fn a_request_can_be_followed() {
    for steps in ["request", "request between two programs"].map(listing) {
        assert!((1..=10).contains(&steps.len()), "{} steps", steps.len());
        for step in steps {
            let [file, function] = &step[..] else { panic!("{step:?} is not a file and a function") };
            let code = code(&read(&root().join(file)));
            let is_declared = code.contains(&format!("fn {function}(")) || code.contains(&format!("fn {function}<"));
            assert!(is_declared, "{file} has no function {function}");
        }
    }
}
