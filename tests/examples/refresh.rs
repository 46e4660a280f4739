//! What a refresh costs and leaves, at the sizes of `packed_block`: noise predicted and measured, milliseconds a value on one thread and on
//! two, and how many bootstrappings of the same gadget that is.
//!
//! ```text
//! cargo run --release -p integration-tests --example refresh [VALUES]
//! ```
//!
//! Refreshes and bootstrappings take turns, and the shortest of three times of each counts, on a machine that does nothing else.

use std::time::Instant;

use integration_tests::refresh::{RefreshClient, lanes};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::noise::Variance;
use tfhe_core::random::SampleSeed;
use tfhe_core::refresh::{FunctionTable, Lane, Place, Source};
use tfhe_core::sets::{PACKED_BLOCK, PRECISE};
use tfhe_core::torus;

/// How often each time is taken.
const ROUNDS: usize = 3;

/// Values of one refresh, unless the command says otherwise.
const VALUES: usize = 256;

/// What a table gives at each argument.
const VALUE: f64 = 0.03;

fn milliseconds<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    std::hint::black_box(work());
    start.elapsed().as_secs_f64() * 1e3
}

/// Milliseconds a value of a refresh, of its bootstrappings alone, and of packing and lift alone.
fn times(client: &RefreshClient, lanes: &[Lane<'_>], threads: usize) -> [f64; 3] {
    let refresh = client.refresh();
    let sources: Vec<Source<'_>> = lanes.iter().map(|lane| lane.source).collect();
    let tables: Vec<_> = lanes.iter().map(|lane| lane.table.polynomial()).collect();
    let places: Vec<Place> = lanes.iter().map(|lane| lane.place).collect();
    let switched: Vec<LweCiphertext> = refresh.keyswitch(&sources).expect("sources of this client");
    let values = client.bootstrapping().programmable_bootstrap(&switched, &tables);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
    let mut best = [f64::INFINITY; 3];
    for _ in 0..ROUNDS {
        let of_round = pool.install(|| {
            [
                milliseconds(|| refresh.refresh(&[lanes])),
                milliseconds(|| client.bootstrapping().programmable_bootstrap(&switched, &tables)),
                milliseconds(|| refresh.pack(values.clone(), &places)),
            ]
        });
        best.iter_mut().zip(of_round).for_each(|(best, time)| *best = best.min(time));
    }
    best.map(|time| time / lanes.len() as f64)
}

fn report(count: usize) {
    let parameters = PACKED_BLOCK.compile().expect("named sets are valid");
    let client = RefreshClient::new(&parameters, PRECISE, 1);
    let (_, (base_log, levels, _), _) = PACKED_BLOCK.bootstraps[PRECISE];
    let mut samples = SampleSeed::from_number(1).stream(0);
    let values: Vec<f64> = (0..count).map(|_| torus::to_f64(samples.uniform()) * 0.36).collect();
    let ciphertext = client.encrypt(&values, 0);
    let table = FunctionTable::new(parameters.lookup().shape, -0.1875..=0.1875, |_| VALUE).expect("a range of 3/8");
    let refresh = client.refresh();
    let lanes = lanes(&refresh, &ciphertext, &table, count);
    let refreshed = refresh.refresh(&[&lanes]).expect("lanes of this client");
    let phase = client.phase(&refreshed[0]);
    let error = |lane: &Lane<'_>| torus::to_f64(phase[lane.place.coefficient].wrapping_sub(torus::from_f64(VALUE)));
    let square = lanes.iter().map(|lane| error(lane).powi(2)).sum::<f64>() / count as f64;
    let what = format!("(2^{base_log}, {levels}), {count} values");
    let (predicted, measured) = (client.noise().fresh().log2_std(), Variance::new(square).log2_std());
    println!("{what}: log2 of sigma predicted {predicted:.2}, measured {measured:.2}");
    let places: Vec<Place> = lanes.iter().map(|lane| lane.place).collect();
    let keyswitches = refresh.packing_keyswitches(&places).expect("places of this ring");
    println!("{what}: {keyswitches} key switches of automorphisms to pack them");
    for threads in [1, 2] {
        let [refresh, bootstrapping, packing] = times(&client, &lanes, threads);
        let ratio = refresh / bootstrapping;
        println!(
            "{what}, threads {threads}: {refresh:.2} ms a value, of which packing {packing:.3}; a bootstrapping {bootstrapping:.2}, ratio {ratio:.3}"
        );
    }
}

fn main() {
    let count = std::env::args().nth(1).map(|count| count.parse::<usize>());
    match count.unwrap_or(Ok(VALUES)) {
        Ok(count) if (1..=2048).contains(&count) => report(count),
        _ => {
            eprintln!("the number of values is from 1 to 2048");
            std::process::exit(2);
        }
    }
}
