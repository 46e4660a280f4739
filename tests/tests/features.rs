//! An outside crate has the same features whichever packages Cargo is asked for: `cargo test -p nn` after `cargo test
//! --workspace` compiles nothing of others anew.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// What `cargo tree` lists: each package with its version and features.
fn listed(arguments: &[&str]) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["tree", "--locked", "--offline", "--prefix", "none", "--format", "{p} [{f}]"]);
    let output = command.args(arguments).current_dir(root).output().expect("cargo can be started");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are UTF-8");
    text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn features_do_not_depend_on_which_packages_are_built() {
    const ALL: &str = "normal,build,dev";
    // The project's own packages are compiled in seconds, and their feature for tests is to differ.
    let workspace = listed(&["--workspace", "--edges", ALL]);
    let members = listed(&["--workspace", "--depth", "0"]);
    let names: Vec<&str> = members.iter().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"tfhe-core") && names.contains(&"workspace-hack"), "{names:?}");
    let mut selections: Vec<Vec<&str>> = names.iter().map(|name| vec!["--package", *name, "--edges", ALL]).collect();
    // What `cargo run` and `cargo build` compile.
    selections.push(vec!["--edges", "normal,build"]);
    for selection in selections {
        let own = |line: &String| names.iter().any(|name| line.split(' ').next() == Some(name));
        let other: Vec<String> = listed(&selection).difference(&workspace).filter(|line| !own(line)).cloned().collect();
        assert!(other.is_empty(), "workspace-hack/Cargo.toml misses features: {selection:?} has {other:#?}");
    }
}
