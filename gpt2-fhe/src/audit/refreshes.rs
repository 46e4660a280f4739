//! What section B measures of sets that refresh, which are those of whole blocks: refreshes, expanded requests, looked-up integers.

use tfhe_core::key_graph::{Edge, Node};
use tfhe_core::keys::Needs;
use tfhe_core::noise::{self, Expansion, LookedUpNoise, RefreshParameters, Variance, effective_squares};
use tfhe_core::refresh::{FunctionTable, Lane, LevelTables, Place, Source};
use tfhe_core::{polynomial, torus};

use super::bench::AuditBench;
use super::bench::errors as differences;
use super::claim::MeasuredNoise;
use super::error::AuditError;
use super::operations::{Common, NoiseEffort, measured};

/// log2 of the numbers that each part of an expanded ciphertext keeps: as for heads of 64 channels.
const KEPT_LOG: u32 = 5;
/// The integer that is looked up.
const INTEGER: i64 = 5;

/// Key switch, bootstrapping, packing and lift in turns: values of a flat table, so that the reading does not count.
pub(super) fn refresh(bench: &mut AuditBench, gadget: usize, effort: NoiseEffort) -> Result<MeasuredNoise, AuditError> {
    const VALUE: f64 = 0.03;
    let keys = bench.keys(&Needs::default().refresh(gadget))?;
    let refresh = keys.refresh(gadget)?;
    let table = FunctionTable::new(bench.parameters.lookup().shape, -0.1875..=0.1875, |_| VALUE)?;
    // Zeros with noise: in the middle of the table's range.
    let input = bench.zeros(1, 16)?.remove(0);
    let spacing = input.shape().polynomial_size.get() / effort.values.next_power_of_two();
    let lane = |i: usize| Lane {
        source: Source { ciphertext: &input, coefficient: i },
        table: &table,
        place: (i * spacing).into(),
    };
    let lanes: Vec<Lane<'_>> = (0..effort.values).map(lane).collect();
    let outputs = refresh.refresh(&[&lanes])?;
    let phase = bench.phase(Node::Arithmetic, &outputs[0])?;
    let places: Vec<u64> = lanes.iter().map(|lane| phase[lane.place.coefficient]).collect();
    let errors = differences(&places, vec![torus::from_f64(VALUE); places.len()]);
    let transforms = AuditBench::transforms(bench.parameters.arithmetic().size());
    let predicted = noise::refresh(&RefreshParameters::new(&bench.parameters, gadget, transforms)?).fresh();
    // Lookups of one key in one flat table begin with the same digits: a hundredth of the variance, or three.
    let what = ("refresh", "refresh: a value looked up and packed again".into());
    Ok(measured(bench, what, predicted, errors, 0.1))
}

/// A dense ciphertext is taken apart: at the coefficients that are kept, and at the others, which become zero.
pub(super) fn expansion(bench: &mut AuditBench, effort: NoiseEffort) -> Result<Vec<MeasuredNoise>, AuditError> {
    let node = Node::Arithmetic;
    let keys = bench.keys(&Needs::default().automorphisms(node, 0, KEPT_LOG))?;
    let automorphisms = keys.automorphisms(node, 0, KEPT_LOG)?;
    let ring = bench.parameters.arithmetic();
    let (size, steps) = (ring.size().get(), ring.size().log2() - KEPT_LOG);
    let parts = size >> KEPT_LOG;
    let count = (effort.packings / 8).max(1);
    let (mut kept, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let input = bench.glwe(ring.shape)?;
        let before = bench.phase(node, &input)?;
        for (part, output) in automorphisms.expand(&input, KEPT_LOG, parts).iter().enumerate() {
            for (j, phase) in bench.phase(node, output)?.into_iter().enumerate() {
                let is_kept = j.is_multiple_of(parts);
                let expected = if is_kept { before[j + part] << steps } else { 0 };
                let error = torus::to_f64(phase.wrapping_sub(expected));
                if is_kept { kept.push(error) } else { beside.push(error) }
            }
        }
    }
    let gadget = bench.parameters.gadget(Edge::Automorphisms { ring: node, gadget: 0 })?;
    let (levels, gadget) = (gadget.levels(), gadget.on(AuditBench::transforms(ring.size())));
    let predicted = |key| Expansion::new(gadget, ring.shape, key, steps);
    let n = ring.lwe_dimension().get();
    // The first key switch of each ciphertext is in all of its parts.
    let common = Common { terms: n * levels, bits: n, ciphertexts: Some(count) };
    let key = ring.noise.variance();
    let of_kept = common.of(|key| predicted(key).kept(Variance::ZERO), key);
    let of_others = common.of(|key| predicted(key).beside(), key);
    let what = |which: &str| format!("expansion of a request into {parts} ciphertexts, {which}");
    Ok(vec![
        measured(bench, ("expansion", what("numbers")), of_kept.0, kept, of_kept.1),
        measured(bench, ("expansion.beside", what("between them")), of_others.0, beside, of_others.1),
    ])
}

/// Products with integers that tables gave, each at a place of its own. The table is flat, so that the reading does not count.
pub(super) fn looked_up(
    bench: &mut AuditBench,
    bootstrap: usize,
    effort: NoiseEffort,
) -> Result<MeasuredNoise, AuditError> {
    let node = Node::Arithmetic;
    let keys = bench.keys(&Needs::default().looked_up_ggsw(bootstrap))?;
    let (refresh, relinearization, fft) =
        (keys.refresh(bootstrap)?, keys.relinearization(node)?, keys.arithmetic_fft());
    let (ring, lookup) = (bench.parameters.arithmetic(), bench.parameters.lookup());
    let gadget = bench.parameters.gadget(Edge::ExternalProduct { ring: node })?;
    let table = LevelTables::new(lookup.shape, -0.1875..=0.1875, gadget, 0, |_| INTEGER as f64)?;
    let count = (effort.values / 8).max(1);
    // Zeros with noise: in the middle of the table's range.
    let zero = bench.zeros(1, 17)?.remove(0);
    let sources: Vec<Source<'_>> = (0..count).map(|coefficient| Source { ciphertext: &zero, coefficient }).collect();
    let values = refresh.look_up_levels(&refresh.keyswitch(&sources)?, &vec![&table; count])?;
    let size = ring.size().get();
    let noise = LookedUpNoise::new(&bench.parameters, bootstrap, AuditBench::transforms(ring.size()))?;
    let (mut errors, mut predicted) = (Vec::new(), Variance::ZERO);
    for (index, value) in values.iter().enumerate() {
        let place = Place::from(index * size / count.next_power_of_two());
        let levels = refresh.pack_levels(std::slice::from_ref(value), &[place])?;
        let ggsw = relinearization.ggsw_of_levels(&levels, gadget)?;
        let input = bench.glwe(ring.shape)?;
        let (mut moved, mut expected) = (vec![0; size], vec![0; size]);
        polynomial::rotate(&bench.phase(node, &input)?, place.coefficient, &mut moved);
        polynomial::add_scaled(&moved, INTEGER, &mut expected);
        let product = ggsw.external_product(fft, &input, &mut ggsw.scratch(fft));
        errors.extend(differences(&bench.phase(node, &product)?, expected));
        let mut message = vec![0; size];
        message[place.coefficient] = INTEGER;
        let one = noise.product(&[place.coefficient], effective_squares(&message)).variance();
        predicted = predicted + one.repeated(1.0 / count as f64);
    }
    let (base, levels) = (gadget.base_log(), gadget.levels());
    let what = ("looked-up integer", format!("external product with a looked-up integer, gadget 2^{base}, {levels}"));
    // One error for each level of each integer; and lookups of one key in one flat table begin with the same digits.
    let shared = (2.0 / (count * levels) as f64).sqrt().hypot(0.1);
    Ok(measured(bench, what, predicted, errors, shared))
}
