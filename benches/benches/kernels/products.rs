//! Gadget products on random rows: external products and GLWE key switches of all named sets, with rows that stay in a cache, and with rows
//! that each product fetches from memory for the next one, as in a blind rotation.

use std::collections::BTreeSet;

use kernel_benches::Benches;
use kernel_benches::work::Work;
use tfhe_core::bootstrapping_key::SeededBootstrappingKey;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::gadget_product::FourierRows;
use tfhe_core::glwe::{GlweCiphertext, GlweSecretKey};
use tfhe_core::key_graph::{Bootstrap, Edge, Node, Parameters};
use tfhe_core::lwe::{LweCiphertext, LweSecretKey};
use tfhe_core::packing_keyswitch::PackingKeyswitchKey;
use tfhe_core::params::{Gadget, GlweShape, Grouping, LweDimension, NoiseDistribution, PolynomialSize, Precision};
use tfhe_core::random::SecretSeed;
use tfhe_core::sets::MESSAGE_2_CARRY_2;

use crate::{name, name_of, named_sets, random};

/// Bytes of keys that are read in turns where they are to come from memory: more than any second-level cache holds.
const STREAMED: usize = 64 << 20;

/// Ciphertexts that go through a blind rotation together: two blocks.
const ROTATIONS: usize = 16;

pub(crate) fn time(benches: &mut Benches) {
    let mut seen = BTreeSet::new();
    for set in named_sets().map(|literal| literal.compile().unwrap()) {
        for (edge, gadget) in set.edges() {
            if let Some([n, inputs, columns]) = sizes(&set, edge)
                && seen.insert(([n, inputs, columns], name(gadget)))
            {
                product(benches, [n, inputs, columns], gadget);
            }
        }
        for bootstrap in set.bootstraps() {
            if seen.insert(([set.lookup().size().get(), 0, 0], name_of(*bootstrap))) {
                rotation_step(benches, set.lookup().shape, *bootstrap);
            }
        }
    }
    packing_keyswitch(benches);
}

/// N, and of how many polynomials what is decomposed and the result are; `None` for a key switch between LWE ciphertexts.
fn sizes(set: &Parameters, edge: Edge) -> Option<[usize; 3]> {
    let ring = |node: Node| set.key(node).ring().map(|ring| (ring.shape.dimension.get(), ring.size().get()));
    Some(match edge {
        Edge::Keyswitch { from } => {
            let (k, n) = ring(Node::Small)?;
            [n, set.key(from).lwe_dimension().get() / n, k + 1]
        }
        Edge::Lift { from, to } => {
            let ((from, _), (to, n)) = (ring(from)?, ring(to)?);
            [n, from, to + 1]
        }
        Edge::Automorphisms { ring: of, .. } => ring(of).map(|(k, n)| [n, k, k + 1])?,
        Edge::Relinearization { ring: of } => ring(of).map(|(k, n)| [n, k * (k + 1) / 2, k + 1])?,
        Edge::Bootstrapping { gadget } => ring(set.bootstraps()[gadget].ring).map(|(k, n)| [n, k + 1, k + 1])?,
        Edge::ExternalProduct { ring: of } => ring(of).map(|(k, n)| [n, k + 1, k + 1])?,
    })
}

fn product(benches: &mut Benches, [n, inputs, columns]: [usize; 3], gadget: Gadget) {
    let fft = NegacyclicFft::new(PolynomialSize::new(n).unwrap());
    let rows = random(inputs * gadget.levels() * columns * n);
    let key = FourierRows::prepare(&fft, gadget, inputs, columns, &rows);
    let keys = vec![key.clone(); STREAMED / key.bytes() + 2];
    let (input, mut output) = (random(inputs * n), random(columns * n));
    let scratch = &mut key.scratch(&fft);
    let (kind, size) = match inputs == columns {
        true => ("external_product", format!("{inputs}x{n}")),
        false => ("glwe_keyswitch", format!("{inputs}x{n}_to_{columns}x{n}")),
    };
    let (kind, work) = (format!("{kind}_{}", name(gadget)), Work::product(n, gadget, inputs, columns));
    benches.group(format!("{kind}_cached")).kernel(&size, work, |b| {
        b.iter(|| key.add_product(&fft, &input, &mut output, scratch));
    });
    let mut i = 0;
    benches.group(format!("{kind}_streaming")).kernel(&size, work.reading(key.bytes()), |b| {
        b.iter(|| {
            let next = (i + 1) % keys.len();
            keys[i].add_product_before(Some(&keys[next]), &fft, &input, &mut output, scratch);
            i = next;
        });
    });
}

/// How many steps of two bits are timed with the CMUXes of the first pair.
const TURNS: usize = 16;

/// The cost of one step, a CMUX or what takes two bits: a blind rotation, with its modulus switch and copies, from a key of one bit, or of
/// [`TURNS`] pairs after a first one, whose two bits take a CMUX each.
fn rotation_step(benches: &mut Benches, shape: GlweShape, bootstrap: Bootstrap) {
    let Bootstrap { gadget, grouping, .. } = bootstrap;
    let (seed, n, columns) = (SecretSeed::from_number(1), shape.polynomial_size.get(), shape.dimension.get() + 1);
    let fft = NegacyclicFft::new(shape.polynomial_size);
    let to = GlweSecretKey::generate(&mut seed.experiment_bits(0), shape, &fft);
    let step = Work::rotation_step(n, gadget, grouping, columns);
    let (kind, bits, work) = match grouping {
        Grouping::One => ("cmux".to_owned(), 1, step),
        Grouping::Two => {
            let first = Work::rotation_step(n, gadget, Grouping::One, columns).repeated(2);
            (format!("2_cmuxes_and_{TURNS}_turns_by_two_bits"), 2 * (1 + TURNS), first.and(step.repeated(TURNS)))
        }
    };
    let from = LweSecretKey::generate(&mut seed.experiment_bits(1), LweDimension::new(bits).unwrap());
    // Its size makes no difference.
    let noise = NoiseDistribution::TUniform { bound_log: 3 };
    let key = SeededBootstrappingKey::generate_grouped(&fft, &from, &to, (gadget, grouping), noise, seed.experiment(0))
        .prepare(&fft, shape);
    let input = [vec![3 << 60; bits], vec![1 << 60]].concat();
    let inputs = vec![LweCiphertext::from_data(input); ROTATIONS];
    let table = GlweCiphertext::trivial(shape, &random(n));
    let tables = vec![&table; inputs.len()];
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    benches.group(format!("{kind}_{}", name(gadget))).kernel(format!("{columns}x{n}"), work.times(ROTATIONS), |b| {
        b.iter(|| one_thread.install(|| key.blind_rotate(&inputs, &tables)));
    });
}

/// Packing by a key switch, for few ciphertexts of small dimension.
fn packing_keyswitch(benches: &mut Benches) {
    let parameters = MESSAGE_2_CARRY_2.compile().unwrap();
    let (shape, seed) = (parameters.lookup().shape, SecretSeed::from_number(1));
    let fft = NegacyclicFft::new(shape.polynomial_size);
    let to = GlweSecretKey::generate(&mut seed.experiment_bits(0), shape, &fft);
    let from = LweSecretKey::generate(&mut seed.experiment_bits(1), LweDimension::new(512).unwrap());
    let gadget = Gadget::new(8, 2, Precision::Single).unwrap();
    let key = PackingKeyswitchKey::generate(&fft, &from, &to, gadget, parameters.lookup().noise, seed.experiment(1));
    let inputs: Vec<_> = (0..4).map(|i| (LweCiphertext::from_data(random(513)), i)).collect();
    benches.group("packing_keyswitch_8x2").kernel("4_of_512_to_2x2048", Work::ONE, |b| {
        b.iter(|| key.packing_keyswitch(&inputs));
    });
}
