//! What features do. An outside crate has the same ones whichever packages Cargo is asked for: `cargo test -p nn` after `cargo test
//! --workspace` compiles nothing of others anew. And `tfhe-core` without its feature `secret-keys` evaluates, and has no secret.

use integration_tests::documents::root;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// What `cargo tree` lists: each package with its version and features.
fn listed(arguments: &[&str]) -> BTreeSet<String> {
    let root = root();
    let mut command = cargo();
    command.args(["tree", "--locked", "--offline", "--prefix", "none", "--format", "{p} [{f}]"]);
    let output = command.args(arguments).current_dir(root).output().expect("cargo can be started");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are UTF-8");
    text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn features_do_not_depend_on_which_packages_are_built() {
    const ALL: &str = "normal,build,dev";
    // Those of the project's own packages differ where something is to be without secrets, or tests have more.
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
    // But what `cargo run`, the tests and the benches are made of is compiled once for all of them: that is minutes.
    let without_secrets = ["--package", "gpt2-fhe-server", "--edges", "normal,build"];
    assert!(!listed(&without_secrets).is_subset(&workspace), "this would not notice features that differ");
    for selection in
        [["--edges", "normal,build"].as_slice(), &["--package", "integration-tests"], &["--package", "kernel-benches"]]
    {
        let other: Vec<String> = listed(selection).difference(&workspace).cloned().collect();
        assert!(other.is_empty(), "compiled anew: {selection:?} has {other:#?}");
    }
    // Nor is what computes compiled anew for tests of workers by NATS, whose client has more dependencies.
    let with_nats = listed(&[
        "--package",
        "gpt2-fhe-worker",
        "--package",
        "gpt2-fhe-server",
        "--features",
        "gpt2-fhe-worker/nats,gpt2-fhe-server/nats",
        "--edges",
        ALL,
    ]);
    assert!(with_nats.iter().any(|line| line.starts_with("async-nats ")));
    let kernels = listed(&["--package", "tfhe-core", "--package", "nn", "--edges", ALL]);
    let name = |line: &String| line.split(" [").next().expect("a line has a beginning").to_owned();
    let names_of_kernels: BTreeSet<String> = kernels.iter().map(name).collect();
    let other: Vec<&String> =
        with_nats.difference(&workspace).filter(|line| names_of_kernels.contains(&name(line))).collect();
    assert!(other.is_empty(), "compiled anew with NATS: {other:#?}");
}

/// Names of secrets: types and modules.
const SECRET_NAMES: [&str; 12] = [
    "keys::ClientKeys",
    "lwe::LweSecretKey",
    "glwe::GlweSecretKey",
    "random::SecretSeed",
    "random::EncryptionSeed",
    "random::SecretStream",
    "random::NoiseStream",
    "derivation::ClientSeed",
    "derivation::RequestRandomness",
    "derivation::Purpose",
    "derivation",
    "format::SECRET_BYTES",
];

/// What is evaluated with, and the functions that make keys of each.
const MADE_OF_SECRETS: [&str; 6] = [
    "bootstrapping_key::SeededBootstrappingKey",
    "keyswitch::SeededLweKeyswitchKey",
    "glwe_keyswitch::SeededGlweKeyswitchKey",
    "packing_keyswitch::PackingKeyswitchKey",
    "automorphism::SeededAutomorphismKeys",
    "tensor_product::SeededRelinearizationKey",
];

/// A package that uses `tfhe-core` with some features, and names what its examples name.
struct Probe {
    folder: PathBuf,
}

impl Probe {
    fn new(name: &str, features: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(folder.join("examples")).unwrap();
        let manifest = format!(
            "[package]\nname = \"probe\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[lib]\npath = \"lib.rs\"\n\
             [dependencies]\ntfhe-core = {{ path = {:?}, default-features = false, features = [{features}] }}\n",
            root().join("tfhe-core")
        );
        std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        std::fs::write(folder.join("lib.rs"), "").unwrap();
        // The versions that the project has.
        std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
        Self { folder }
    }

    /// The numbers of the lines in which the compiler finds names that are not there.
    fn unknown_names(&self, example: &str, lines: impl IntoIterator<Item = String>) -> BTreeSet<usize> {
        let source = lines.into_iter().collect::<Vec<_>>().join("\n") + "\nfn main() {}\n";
        std::fs::write(self.folder.join(format!("examples/{example}.rs")), source).unwrap();
        let mut command = cargo();
        command.args(["check", "--quiet", "--offline", "--message-format", "short", "--example", example]);
        // Outside crates are compiled once for all probes.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("probes");
        command.current_dir(&self.folder).env("CARGO_TARGET_DIR", target);
        let output = command.output().expect("cargo can be started");
        let text = String::from_utf8_lossy(&output.stderr);
        let place = format!("examples/{example}.rs:");
        // examples/names.rs:3:16: error[E0432]: unresolved import …
        let errors = text.lines().filter_map(|line| line.split_once(&place).map(|(_, rest)| rest));
        let unknown = ["E0432", "E0433", "E0425", "E0412", "E0599"];
        let errors = errors.filter(|rest| unknown.iter().any(|code| rest.contains(code)));
        let found: BTreeSet<usize> = errors.filter_map(|rest| rest.split(':').next()?.parse().ok()).collect();
        assert!(output.status.success() == found.is_empty(), "{text}");
        found
    }

    /// Which of the names of secrets, and of the functions, are not there.
    fn unknown(&self) -> [usize; 2] {
        let names = SECRET_NAMES.iter().map(|name| format!("pub use tfhe_core::{name};"));
        let names = self.unknown_names("names", names);
        let call = |(i, name): (usize, &&str)| format!("pub fn f{i}() {{ let _ = tfhe_core::{name}::generate; }}");
        let made = self.unknown_names("made", MADE_OF_SECRETS.iter().enumerate().map(call));
        [names.len(), made.len()]
    }
}

/// Types of what is evaluated are there with and without the feature; secrets, and what makes something of them, only with it.
#[test]
fn without_its_feature_the_library_has_no_secret() {
    let evaluation = Probe::new("evaluation", "");
    let types =
        MADE_OF_SECRETS.iter().chain(&["keys::EvaluationKeys", "keys::Request", "keys::Answer", "format::Decoder"]);
    let types = types.map(|name| format!("pub use tfhe_core::{name};"));
    assert_eq!(evaluation.unknown_names("types", types), BTreeSet::new());
    assert_eq!(evaluation.unknown(), [SECRET_NAMES.len(), MADE_OF_SECRETS.len()]);
    assert_eq!(Probe::new("secrets", "\"secret-keys\"").unknown(), [0, 0]);
}

/// The server's program and the workers' are built without what can have a secret, whatever the other packages ask for; the client's has it.
#[test]
fn servers_and_workers_are_built_without_secrets() {
    let features_of = |names: &[&str], package: &str, edges: &str| -> Vec<BTreeSet<String>> {
        let lines = listed(&["--package", package, "--edges", edges]);
        let of = |name: &str| -> BTreeSet<String> {
            // tfhe-core v0.1.0 (a path) [one,two]
            let lines: Vec<&String> = lines.iter().filter(|line| line.split(' ').next() == Some(name)).collect();
            assert_eq!(lines.len(), 1, "{package} depends on {name} in one way: {lines:?}");
            let (_, features) = lines[0].rsplit_once('[').expect("features");
            features.trim_end_matches(']').split(',').filter(|feature| !feature.is_empty()).map(str::to_owned).collect()
        };
        names.iter().map(|name| of(name)).collect()
    };
    let features = |package: &str, edges: &str| {
        <[_; 2]>::try_from(features_of(&["tfhe-core", "gpt2-fhe"], package, edges)).expect("of two packages")
    };
    assert_eq!(features_of(&["tfhe-core"], "gpt2-fhe-worker", "normal,build"), [BTreeSet::new()]);
    let none: [BTreeSet<String>; 2] = Default::default();
    assert_eq!(features("gpt2-fhe-server", "normal,build"), none);
    let [cryptography, client] = features("gpt2-fhe", "normal,build");
    assert!(cryptography.contains("secret-keys"), "{cryptography:?}");
    assert!(client.contains("client") && client.contains("command-line"), "{client:?}");
    // Its tests play the other party.
    let [cryptography, client] = features("gpt2-fhe-server", "normal,build,dev");
    assert!(cryptography.contains("secret-keys") && client.contains("client"), "{cryptography:?} {client:?}");
}

/// `.ci/run --long` runs what is in here.
mod minutes {
    use super::*;

    /// Names of types that hold secrets, and of functions that make something of them.
    const IN_PROGRAMS: [&str; 6] =
        ["LweSecretKey", "GlweSecretKey", "ClientKeys", "SecretSeed", "ClientSeed", "NoiseStream"];

    /// Which names are in the bytes of a program: in the mangled names of its functions, with their lengths before them.
    fn found(program: &Path) -> Vec<&'static str> {
        let bytes = std::fs::read(program).expect("a program");
        let has = |name: &str| bytes.windows(name.len()).any(|window| window == name.as_bytes());
        assert!(has("EvaluationKeys"), "{} has no names of functions", program.display());
        IN_PROGRAMS.into_iter().filter(|name| has(name)).collect()
    }

    /// The program of a package that is built by itself, as whoever runs it builds it.
    fn built(package: &str) -> PathBuf {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs");
        let mut command = cargo();
        command.args(["build", "--quiet", "--locked", "--offline", "-p", package, "--bin", package]);
        // Names are in the table of symbols: debug information would only take time.
        let fast = [("CARGO_PROFILE_DEV_DEBUG", "none"), ("CARGO_INCREMENTAL", "0")];
        command.current_dir(root()).env("CARGO_TARGET_DIR", &target).envs(fast);
        let built = command.status().expect("cargo can be started");
        assert!(built.success(), "{package}");
        target.join("debug").join(format!("{package}{}", std::env::consts::EXE_SUFFIX))
    }

    #[test]
    #[ignore = "minutes: it builds two programs"]
    fn no_secret_has_a_name_in_the_server() {
        assert_eq!(found(&built("gpt2-fhe-server")), Vec::<&str>::new());
        assert_eq!(found(&built("gpt2-fhe")), IN_PROGRAMS);
    }
}
