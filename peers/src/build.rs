//! How this program was built, and how to build it for figures.
//!
//! tfhe-rs is measured as its fastest build: for this CPU (`-C target-cpu=native`, in `.cargo/config.toml`) and with link-time
//! optimization over all crates (the profile `fastest`). Cargo reads that file only where it runs in this folder, so a program
//! built from elsewhere has cargo build and run the fast one here.

use std::path::Path;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result};

/// Whether every vector extension of this CPU that the comparison depends on was available to the compiler everywhere.
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
    let cpu = if is_for_this_cpu() { "target-cpu=native" } else { "the baseline CPU: tfhe-rs is not at its best" };
    let backend = tfhe_core::simd::Backend::selected().map_or("unusable", |backend| backend.name());
    format!("built for {cpu}; tfhe-core's backend: {backend}")
}

/// Builds the fast program and runs it with these arguments.
///
/// # Errors
/// If cargo or this package's sources are not to be found.
pub fn run_fastest(arguments: &[&str]) -> Result<ExitStatus> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--locked", "--profile", "fastest", "--"]).args(arguments);
    // Flags from the environment would replace those of the folder's configuration.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    command.status().context("cargo, which builds the program for this CPU, did not start; --as-built does without")
}
