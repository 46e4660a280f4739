//! Every kernel, and what is made of it.
//!
//! ```text
//! cargo bench                                  all of them, and a page of results
//! cargo bench --bench kernels -- transform     those whose names contain this
//! TFHE_BACKEND=avx2 cargo bench                with other vector instructions
//! ```
//!
//! Which gadgets and rings there are to time is read from the named sets ([`tfhe_core::sets::ALL`]).

mod bootstrapping;
mod ciphertexts;
mod heads;
mod products;
mod refresh;
mod transforms;

use kernel_benches::Benches;
use tfhe_core::key_graph::{Bootstrap, ParametersLiteral};
use tfhe_core::params::{Gadget, Grouping, Precision};
use tfhe_core::random::SampleSeed;
use tfhe_core::sets;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut benches = Benches::start()?;
    transforms::time(&mut benches);
    products::time(&mut benches);
    ciphertexts::time(&mut benches);
    bootstrapping::time(&mut benches);
    refresh::time(&mut benches);
    heads::time(&mut benches);
    Ok(benches.finish()?)
}

/// The named sets that are used.
fn named_sets() -> impl Iterator<Item = ParametersLiteral> {
    sets::ALL.into_iter().filter(|set| !set.compile().expect("named sets are valid").is_toy())
}

/// log2 of the base, and the levels.
fn name(gadget: Gadget) -> String {
    let split = match gadget.precision() {
        Precision::Single => "",
        Precision::Split => "_split",
    };
    format!("{}x{}{split}", gadget.base_log(), gadget.levels())
}

/// The same of a bootstrapping.
fn name_of(bootstrap: Bootstrap) -> String {
    let pairs = match bootstrap.grouping {
        Grouping::One => "",
        Grouping::Two => "_pairs",
    };
    format!("{}{pairs}", name(bootstrap.gadget))
}

fn random(n: usize) -> Vec<u64> {
    let mut out = vec![0; n];
    SampleSeed::from_number(n as u64).stream(0).fill_uniform(&mut out);
    out
}
