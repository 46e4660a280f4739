//! Tells the benches which compiler made them.

fn main() {
    let rustc = std::env::var_os("RUSTC").expect("cargo says which it is");
    let output = std::process::Command::new(rustc).arg("--version").output().expect("it has just been run");
    println!("cargo:rustc-env=RUSTC_VERSION={}", String::from_utf8_lossy(&output.stdout).trim());
    println!("cargo:rerun-if-changed=build.rs");
}
