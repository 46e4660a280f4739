//! Refreshes beside bootstrappings of the same gadget, in batches, on one thread and on all; key switch and packing alone.

use kernel_benches::Benches;
use kernel_benches::work::Work;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::Node;
use tfhe_core::keys::{ClientKeys, Needs};
use tfhe_core::random::SecretSeed;
use tfhe_core::refresh::{FunctionTable, Lane, Place, Source};
use tfhe_core::sets::{PACKED_BLOCK, PRECISE};

use crate::name;

/// Values that are refreshed together.
const VALUES: usize = 64;

/// Values that are packed together, one to each channel's place.
const PACKED: usize = 1024;

pub(crate) fn time(benches: &mut Benches) {
    let parameters = PACKED_BLOCK.compile().expect("named sets are valid");
    let client = ClientKeys::generate(&parameters, &ClientSeed::from_number(1)).expect("a backend");
    let needs = Needs::default().refresh(PRECISE);
    let keys = client.evaluation_keys(&needs).expect("a set that refreshes").prepare().expect("a backend");
    let arithmetic = parameters.arithmetic();
    let (key, size) = (client.glwe_key(Node::Arithmetic), arithmetic.size().get());
    let fft = NegacyclicFft::new(arithmetic.size());
    let seed = &mut SecretSeed::from_number(1).experiment(0);
    let plaintext: Vec<u64> = (0..size as u64).map(|j| j << 49).collect();
    let ciphertext: GlweCiphertext = key.encrypt(&fft, &plaintext, arithmetic.noise, seed).expand();
    let table = FunctionTable::new(parameters.lookup().shape, -0.1875..=0.1875, |x| x / 256.0).expect("a range of 3/8");
    let source = |coefficient| Source { ciphertext: &ciphertext, coefficient };
    let lanes: Vec<Lane<'_>> =
        (0..VALUES).map(|i| Lane { source: source(i), table: &table, place: (i * (size / VALUES)).into() }).collect();
    let sources: Vec<Source<'_>> = (0..VALUES).map(source).collect();
    let (tables, polynomials) = (vec![&table; VALUES], vec![table.polynomial(); VALUES]);
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool of threads");
    let bootstrapping = keys.bootstrapping_key(PRECISE).expect("keys of a refresh");
    let refresh = keys.refresh(PRECISE).expect("keys of a refresh");
    let switched = refresh.keyswitch(&sources).expect("sources of this key");
    let values = refresh.look_up(&switched, &tables).expect("arguments of this key");
    let many: Vec<_> = values.iter().cycle().take(PACKED).cloned().collect();
    let places: Vec<Place> = (0..PACKED).map(|i| (i * (size / PACKED)).into()).collect();
    let gadget = name(parameters.bootstraps()[PRECISE].gadget);
    let mut time = |what: &str, count: usize, call: &(dyn Fn() + Sync)| {
        let (size, work) = (format!("{}_of_{count}", parameters.name()), Work::ONE.times(count));
        benches.group(format!("{what}_one_thread")).slow().kernel(&size, work, |b| b.iter(|| one_thread.install(call)));
        benches.group(format!("{what}_all_threads")).slow().kernel(&size, work.shared(), |b| b.iter(call));
    };
    time(&format!("refresh_without_packing_{gadget}"), VALUES, &|| {
        drop(bootstrapping.programmable_bootstrap(&switched, &polynomials));
    });
    time(&format!("refresh_{gadget}"), VALUES, &|| drop(refresh.refresh(&[&lanes])));
    time("refresh_keyswitch", VALUES, &|| drop(refresh.keyswitch(&sources)));
    time("refresh_packing_and_lift", PACKED, &|| drop(refresh.pack(many.clone(), &places)));
}
