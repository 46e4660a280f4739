//! How this program was built, and how to build it for figures.
//!
//! tfhe-rs is measured as its fastest build: for this CPU (`-C target-cpu=native`) and with link-time optimization over all crates
//! (the profile `fastest`). The same flag would make `tfhe-core` faster than its users have it, so the compiler is told of the
//! CPU for all crates but that one, by a wrapper that `.cargo/config.toml` names. Cargo reads that file only where it runs in
//! this folder, so a program built from elsewhere has cargo build and run the fast one here.

use std::path::Path;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result};

/// Whether this crate, and so tfhe-rs, was compiled for every vector extension of this CPU that its speed depends on.
#[cfg(target_arch = "x86_64")]
pub fn is_for_this_cpu() -> bool {
    (cfg!(target_feature = "avx2") || !is_x86_feature_detected!("avx2"))
        && (cfg!(target_feature = "fma") || !is_x86_feature_detected!("fma"))
        && (cfg!(target_feature = "avx512f") || !is_x86_feature_detected!("avx512f"))
        && (cfg!(target_feature = "avx512dq") || !is_x86_feature_detected!("avx512dq"))
}

/// Other architectures have their vector instructions in the baseline.
#[cfg(not(target_arch = "x86_64"))]
pub fn is_for_this_cpu() -> bool {
    true
}

/// A line on this build.
pub fn description() -> String {
    let cpu = if is_for_this_cpu() { "this CPU" } else { "the baseline CPU: it is not at its best" };
    let backend = tfhe_core::simd::Backend::selected().map_or("unusable", |backend| backend.name());
    format!("tfhe-core's backend: {backend}; tfhe-rs compiled for {cpu}")
}

/// Builds the fast program and runs it with these arguments.
///
/// # Errors
/// If cargo or this package's sources are not to be found.
pub fn run_fastest(arguments: &[&str]) -> Result<ExitStatus> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--locked", "--profile", "fastest", "--"]).args(arguments);
    // What the environment asks for would reach tfhe-core too, or replace the wrapper of the folder's configuration.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER"] {
        command.env_remove(name);
    }
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    command.status().context("cargo, which builds the program for this CPU, did not start; --as-built does without")
}
