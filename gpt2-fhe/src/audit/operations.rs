//! What section B measures, an operation to a function.

use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::{Edge, Node};
use tfhe_core::keys::Needs;
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::modulus_switch;
use tfhe_core::noise::{self, Spread, Variance};
use tfhe_core::params::{GlweDimension, GlweShape, Grouping, NoiseDistribution};
use tfhe_core::{polynomial, torus};

use super::bench::AuditBench;
use super::bench::errors as differences;
use super::claim::MeasuredNoise;
use super::error::AuditError;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoiseEffort {
    /// Single numbers: key switches, modulus switches.
    numbers: usize,
    /// Ciphertexts, each with the errors of all its coefficients.
    pub(super) ciphertexts: usize,
    /// Packings of 16 numbers.
    pub(super) packings: usize,
    /// Values that are refreshed.
    pub(super) values: usize,
}

impl NoiseEffort {
    /// In seconds.
    pub(super) const QUICK: Self = Self { numbers: 1024, ciphertexts: 32, packings: 32, values: 64 };
    /// In minutes, for all sets.
    pub(super) const WHOLE: Self = Self { numbers: 8192, ciphertexts: 192, packings: 192, values: 512 };
}

/// What errors of an operation have in common, as the relative standard deviation of a factor of their variance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common {
    /// How many errors of a key each error is a sum over: the mean of their squares is that of so many.
    pub(super) terms: usize,
    /// The bits of the key that what is rounded meets: half of them are 1, more or less.
    pub(super) bits: usize,
    /// Of errors at all coefficients, the ciphertexts.
    pub(super) ciphertexts: Option<usize>,
}

impl Common {
    /// With the part of the variance that is left if keys have no noise: what is rounded.
    ///
    /// Half of that is a random walk along a ciphertext, whose mean square has a relative variance of 2/3, the sum of the squares of λ_k in
    /// [`tfhe_core::distribution`].
    fn shared(self, rounded: Variance, predicted: Variance) -> f64 {
        let walk = self.ciphertexts.map_or(0.0, |count| (2.0 / 3.0_f64).sqrt() / 2.0 / (count as f64).sqrt());
        let of_rounding = (1.0 / (self.bits as f64).sqrt()).hypot(walk);
        (2.0 / self.terms as f64).sqrt().hypot(of_rounding * rounded.get() / predicted.get())
    }

    /// Of a prediction for keys with noise of some variance: that with `key`, and what errors have in common.
    pub(super) fn of(self, prediction: impl Fn(Variance) -> Variance, key: Variance) -> (Variance, f64) {
        let predicted = prediction(key);
        (predicted, self.shared(prediction(Variance::ZERO), predicted))
    }
}

pub(super) fn measured(
    bench: &AuditBench,
    (id, operation): (&str, String),
    predicted: Variance,
    errors: Vec<f64>,
    shared: f64,
) -> MeasuredNoise {
    let name = bench.name();
    MeasuredNoise {
        id: format!("B.{name}.{id}"),
        operation: format!("{name}, {operation}"),
        predicted,
        errors,
        shared,
        drawn: None,
    }
}

/// Noise of what was just encrypted.
pub(super) fn drawn(
    bench: &AuditBench,
    what: (&str, String),
    noise: NoiseDistribution,
    errors: Vec<f64>,
) -> MeasuredNoise {
    MeasuredNoise { drawn: Some(noise), ..measured(bench, what, noise.variance(), errors, 0.0) }
}

/// Encryptions of zero.
pub(super) fn fresh(bench: &mut AuditBench, effort: NoiseEffort) -> Result<MeasuredNoise, AuditError> {
    let mut errors = Vec::new();
    for ciphertext in bench.zeros(effort.ciphertexts, 1)? {
        errors.extend(bench.phase(Node::Arithmetic, &ciphertext)?.into_iter().map(torus::to_f64));
    }
    let noise = bench.parameters.arithmetic().noise;
    Ok(drawn(bench, ("fresh", "fresh encryption".into()), noise, errors))
}

/// Rounding to 2N steps of a turn.
pub(super) fn modulus_switch(bench: &mut AuditBench, effort: NoiseEffort) -> MeasuredNoise {
    let size = bench.parameters.lookup().size();
    let inputs = bench.lwes(Node::Small, effort.numbers);
    let before = bench.phases(Node::Small, &inputs);
    let turn = |input| bench.rotation(&modulus_switch::modulus_switch(input, size), size);
    // A rotation by g steps reads the table at the phase −g/2N.
    let after: Vec<u64> =
        inputs.iter().map(turn).map(|steps| (steps as u64).wrapping_neg() << (63 - size.log2())).collect();
    let predicted = noise::modulus_switch(bench.parameters.small().lwe_dimension(), size);
    let errors = differences(&after, &before).into_iter().collect();
    let what = ("modulus switch", format!("modulus switch to 2N = {} steps", 2 * size.get()));
    // Bits of the key that are 1 do not count more than those that are 0.
    measured(bench, what, predicted, errors, 0.0)
}

/// From a ring to the small key.
pub(super) fn keyswitch(bench: &mut AuditBench, from: Node, effort: NoiseEffort) -> Result<MeasuredNoise, AuditError> {
    let keys = bench.keys(&Needs::default().keyswitch(from))?;
    let inputs = bench.lwes(from, effort.numbers);
    let outputs = keys.keyswitch(from)?.keyswitch(&inputs);
    let errors = differences(&bench.phases(Node::Small, &outputs), bench.phases(from, &inputs));
    let (small, gadget) = (bench.parameters.small(), bench.parameters.gadget(Edge::Keyswitch { from })?);
    let dimension = bench.parameters.key(from).lwe_dimension();
    let noise = small.noise().variance();
    let terms = dimension.get() * gadget.levels();
    let common = Common { terms, bits: dimension.get(), ciphertexts: None };
    let (predicted, shared) = match small.ring() {
        None => common.of(|key| noise::lwe_keyswitch(gadget, dimension, key), noise),
        Some(ring) => {
            let size = ring.size();
            let k = GlweDimension::new(dimension.get() / size.get()).expect("no ring is smaller than the small key's");
            let input = GlweShape { dimension: k, polynomial_size: size };
            let gadget = gadget.on(AuditBench::transforms(size));
            common.of(|key| noise::glwe_keyswitch_from(gadget, input, ring.shape, key), noise)
        }
    };
    let id = format!("keyswitch.{}", from.name());
    let what = (&*id, format!("key switch from the {} ring", from.name()));
    Ok(measured(bench, what, predicted, errors, shared))
}

/// A bootstrapping's results, at all coefficients; and one external product of it.
pub(super) fn bootstrapping(
    bench: &mut AuditBench,
    gadget: usize,
    effort: NoiseEffort,
) -> Result<Vec<MeasuredNoise>, AuditError> {
    let keys = bench.keys(&Needs::default().bootstrapping(gadget))?;
    let key = keys.bootstrapping_key(gadget)?;
    let bootstrap = bench.parameters.bootstraps()[gadget];
    let Some(ring) = bench.parameters.key(bootstrap.ring).ring() else { return Ok(Vec::new()) };
    let (size, n) = (ring.size(), bench.parameters.small().lwe_dimension());
    let table = bench.uniform(size.get());
    let accumulator = GlweCiphertext::trivial(ring.shape, &table);
    let inputs = bench.lwes(Node::Small, effort.ciphertexts);
    let turned = key.blind_rotate(&inputs, &vec![&accumulator; inputs.len()]);
    let mut errors = Vec::new();
    for (input, output) in inputs.iter().zip(&turned) {
        let steps = bench.rotation(&modulus_switch::modulus_switch(input, size), size);
        errors.extend(differences(&bench.phase(bootstrap.ring, output)?, rotated(&table, steps)));
    }
    let transforms = bootstrap.gadget.on(AuditBench::transforms(size));
    let row = (ring.shape.dimension.get() + 1) * bootstrap.gadget.levels() * size.get();
    let ciphertexts = Some(effort.ciphertexts);
    let terms = bootstrap.grouping.ciphertexts(n) * row;
    let common = Common { terms, bits: n.get(), ciphertexts };
    let (predicted, shared) = common
        .of(|key| noise::blind_rotation(transforms, bootstrap.grouping, ring.shape, n, key), ring.noise.variance());
    let (base, levels) = (bootstrap.gadget.base_log(), bootstrap.gadget.levels());
    let id = format!("bootstrapping.{gadget}");
    let what = (&*id, format!("bootstrapping, gadget 2^{base}, {levels}"));
    let bootstrapped = measured(bench, what, predicted, errors, shared);

    let errors = external_products(bench, key, bootstrap.ring, effort)?;
    let common = Common { terms: row, bits: ring.lwe_dimension().get(), ciphertexts };
    let step = |key| noise::rotation_step(transforms, bootstrap.grouping, ring.shape, key);
    let (predicted, shared) = common.of(step, ring.noise.variance());
    let id = format!("external product.{gadget}");
    let by = match bootstrap.grouping {
        Grouping::One => "external product with a key bit",
        Grouping::Two => "external products with a pair of key bits",
    };
    let what = (&*id, format!("{by}, gadget 2^{base}, {levels}"));
    let one = measured(bench, what, predicted, errors, shared);
    Ok(vec![one, bootstrapped])
}

/// Errors of blind rotations by ciphertexts with numbers in their masks that are not zero for one step alone, of which a bit is 1.
fn external_products(
    bench: &mut AuditBench,
    key: &tfhe_core::bootstrapping_key::BootstrappingKey,
    ring: Node,
    effort: NoiseEffort,
) -> Result<Vec<f64>, AuditError> {
    let (shape, n) = (key.shape(), key.lwe_dimension().get());
    let size = shape.polynomial_size;
    let group = key.grouping().bits();
    // Not the first of several bits, which take a CMUX each.
    let groups = bench.bits(Node::Small).chunks(group).enumerate().skip(usize::from(group > 1));
    let ones: Vec<usize> = groups.filter(|(_, bits)| bits.contains(&1)).map(|(step, _)| step).collect();
    if ones.is_empty() {
        return Ok(Vec::new());
    }
    let mut inputs = Vec::new();
    for index in 0..effort.ciphertexts {
        let mut data = vec![0; n + 1];
        // Any rotations but none, also of all bits of the group together, without a rest to be rounded.
        let first = group * ones[index % ones.len()];
        let numbers = &mut data[first..n.min(first + group)];
        loop {
            numbers.fill_with(|| (1 + bench.below(2 * size.get() - 1) as u64) << (63 - size.log2()));
            if numbers.iter().fold(0, |sum: u64, number| sum.wrapping_add(*number)) != 0 {
                break;
            }
        }
        inputs.push(LweCiphertext::from_data(data));
    }
    let accumulators = inputs.iter().map(|_| bench.glwe(shape)).collect::<Result<Vec<_>, _>>()?;
    let turned = key.blind_rotate(&inputs, &accumulators.iter().collect::<Vec<_>>());
    let mut errors = Vec::new();
    for ((input, before), after) in inputs.iter().zip(&accumulators).zip(&turned) {
        let steps = bench.rotation(&modulus_switch::modulus_switch(input, size), size);
        let expected = rotated(&bench.phase(ring, before)?, steps);
        errors.extend(differences(&bench.phase(ring, after)?, &expected));
    }
    Ok(errors)
}

/// A polynomial times X^steps.
fn rotated(polynomial: &[u64], steps: usize) -> Vec<u64> {
    let mut out = vec![0; polynomial.len()];
    polynomial::rotate(polynomial, steps, &mut out);
    out
}

/// One automorphism, the trace, and packing.
pub(super) fn automorphisms(
    bench: &mut AuditBench,
    (node, number): (Node, usize),
    effort: NoiseEffort,
) -> Result<Vec<MeasuredNoise>, AuditError> {
    let keys = bench.keys(&Needs::default().automorphisms(node, number, 0))?;
    let automorphisms = keys.automorphisms(node, number, 0)?;
    let Some(ring) = bench.parameters.key(node).ring() else { return Ok(Vec::new()) };
    let (size, steps) = (ring.size().get(), ring.size().log2());
    let gadget = bench.parameters.gadget(Edge::Automorphisms { ring: node, gadget: number })?;
    let transforms = gadget.on(AuditBench::transforms(ring.size()));
    let key = ring.noise.variance();
    let n = ring.lwe_dimension().get();
    let common = |ciphertexts| Common { terms: n * gadget.levels(), bits: n, ciphertexts };
    let one = |key| noise::glwe_keyswitch(transforms, ring.shape, key);
    let digits = format!("digits of {} bits, {} levels", gadget.base_log(), gadget.levels());
    let (place, with) = (format!("{}.{number}", node.name()), format!("{} ring, {digits}", node.name()));

    let (scratch, mut errors) = (&mut automorphisms.scratch(), Vec::new());
    for l in (1..=steps).cycle().take(effort.ciphertexts) {
        let input = bench.glwe(ring.shape)?;
        let mut expected = vec![0; size];
        polynomial::automorphism(&bench.phase(node, &input)?, (1 << l) + 1, &mut expected);
        errors.extend(differences(&bench.phase(node, &automorphisms.automorphism(&input, l, scratch))?, &expected));
    }
    let (predicted, shared) = common(Some(effort.ciphertexts)).of(one, key);
    let id = format!("automorphism.{place}");
    let mut all = vec![measured(bench, (&*id, format!("automorphism in the {with}")), predicted, errors, shared)];

    let mut errors = Vec::new();
    for _ in 0..8 * effort.packings {
        let input = bench.glwe(ring.shape)?;
        let phases =
            bench.phases(node, &[input.sample_extract(0), automorphisms.trace(&input, 1..=steps).sample_extract(0)]);
        errors.push(torus::to_f64(phases[1].wrapping_sub(phases[0] << steps)));
    }
    let (predicted, shared) = common(None).of(|key| noise::trace(one(key), steps), key);
    let id = format!("trace.{place}");
    all.push(measured(bench, (&*id, format!("trace in the {with}")), predicted, errors, shared));

    let (count, mut errors) = (16.min(size), Vec::new());
    for _ in 0..effort.packings {
        let inputs = bench.lwes(node, count);
        let embedded = inputs.iter().map(|input| Some(GlweCiphertext::embed(ring.shape, input))).collect();
        let phase = bench.phase(node, &automorphisms.pack(embedded))?;
        let places: Vec<u64> = (0..count).map(|i| phase[i * size / count]).collect();
        errors.extend(differences(&places, bench.phases(node, &inputs)));
    }
    let packing = |key| noise::packing(transforms, ring.shape, key);
    let (predicted, shared) = common(Some(effort.packings)).of(packing, key);
    let id = format!("packing.{place}");
    all.push(measured(bench, (&*id, format!("packing {count} numbers in the {with}")), predicted, errors, shared));
    Ok(all)
}

/// Products of ciphertexts: where their own error is large, and where relinearization is all there is.
pub(super) fn products(
    bench: &mut AuditBench,
    node: Node,
    effort: NoiseEffort,
) -> Result<Vec<MeasuredNoise>, AuditError> {
    // What is encrypted is under the arithmetic ring's key.
    if !bench.parameters.key(node).nodes().contains(&Node::Arithmetic) {
        return Ok(Vec::new());
    }
    let keys = bench.keys(&Needs::default().relinearization(node))?;
    let key = keys.relinearization(node)?;
    let ring = bench.parameters.arithmetic();
    let gadget = bench.parameters.gadget(Edge::Relinearization { ring: node })?;
    let noise = ring.noise.variance();
    let relinearization = noise::relinearization(gadget.on(AuditBench::transforms(ring.size())), ring.shape, noise);
    let factors = [Spread::new(noise, ring.size().get()); 2];
    let product = |log_t| noise::tensor_product(ring.shape, log_t, factors).variance();
    // So large a scale that the factors' noise is all but a hundredth of the variance.
    let large = (1..48).find(|&log_t| product(log_t).get() > 100.0 * relinearization.get());
    let small = (1..48).rev().find(|&log_t| 100.0 * product(log_t).get() < relinearization.get());
    let mut all = Vec::new();
    for (index, (name, log_t)) in (0..).zip([("product of two ciphertexts", large), ("relinearization", small)]) {
        let Some(log_t) = log_t.filter(|&log_t| (product(log_t) + relinearization).std() < 1.0 / 32.0) else {
            continue;
        };
        let inputs = bench.zeros(2 * effort.ciphertexts, 2 + index)?;
        let mut errors = Vec::new();
        for pair in inputs.chunks_exact(2) {
            let output = key.multiply(&key.factor(&pair[0]), &key.factor(&pair[1]), log_t);
            errors.extend(bench.phase(node, &output)?.into_iter().map(torus::to_f64));
        }
        let predicted = product(log_t) + relinearization;
        // What relinearization rounds meets the square of the key, nearly all of which is a slow wave, and goes with the fourth power of the
        // share of ones.
        let of_key = 4.0 / (ring.size().get() as f64).sqrt();
        let shared = of_key.hypot(1.0 / (effort.ciphertexts as f64).sqrt());
        all.push(measured(bench, (name, format!("{name}, scale 2^-{log_t}")), predicted, errors, shared));
    }
    Ok(all)
}

/// From a ring to a larger one.
pub(super) fn lift(
    bench: &mut AuditBench,
    (from, to): (Node, Node),
    effort: NoiseEffort,
) -> Result<Option<MeasuredNoise>, AuditError> {
    let keys = bench.keys(&Needs::default().lift(from, to))?;
    let lift = keys.lift(from, to)?;
    let rings = [from, to].map(|node| bench.parameters.key(node).ring());
    let [Some(small), Some(large)] = rings else { return Ok(None) };
    let (scratch, mut errors) = (&mut lift.scratch(), Vec::new());
    let ratio = large.size().get() / small.size().get();
    for _ in 0..effort.ciphertexts {
        let input = bench.glwe(small.shape)?;
        let before = bench.phase(from, &input)?;
        let output = lift.keyswitch(&input.into_larger_ring(large.size()), scratch);
        // Between the places there is less: what is rounded is in powers of X^ratio.
        let after: Vec<u64> = bench.phase(to, &output)?.into_iter().step_by(ratio).collect();
        errors.extend(differences(&after, &before));
    }
    let gadget = bench.parameters.gadget(Edge::Lift { from, to })?;
    let (levels, gadget) = (gadget.levels(), gadget.on(AuditBench::transforms(large.size())));
    let n = small.lwe_dimension().get();
    let common = Common { terms: n * levels, bits: n, ciphertexts: Some(effort.ciphertexts) };
    let lifted = |key| noise::glwe_keyswitch_from(gadget, small.shape, large.shape, key);
    let (predicted, shared) = common.of(lifted, large.noise.variance());
    let what = ("lift", format!("key switch from the {} ring to the {} ring", from.name(), to.name()));
    Ok(Some(measured(bench, what, predicted, errors, shared)))
}
