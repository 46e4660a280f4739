//! Section B: the noise of every operation, predicted and measured.

use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::{Edge, Node, Parameters};
use tfhe_core::random::SampleSeed;
use tfhe_core::sets::PRECISE;

use super::bench::AuditBench;
use super::claim::{AuditClaim, AuditSection, ClaimVerdict, MeasuredNoise};
use super::error::AuditError;
use super::operations::{self, NoiseEffort};
use super::{refreshes, rows};

/// The set that a quick audit measures: that of whole blocks.
const QUICK: &str = "packed_block";

/// Measures every operation of each set. `begin` is told what comes next.
///
/// # Errors
/// That a measurement cannot be made.
pub fn section(
    sets: &[Parameters],
    quick: bool,
    (seed, samples): (&ClientSeed, &SampleSeed),
    begin: &mut dyn FnMut(&str),
) -> Result<AuditSection, AuditError> {
    let mut claims = Vec::new();
    let effort = if quick { NoiseEffort::QUICK } else { NoiseEffort::WHOLE };
    for (index, set) in (0..).zip(sets) {
        if quick && sets.len() > 1 && set.name() != QUICK {
            let sentence = format!("{}: every operation has the noise that is predicted", set.name());
            let claim = AuditClaim::new(format!("B.{}", set.name()), sentence, ClaimVerdict::NotChecked);
            claims.push(claim.note(format!("without --quick, or with --set {}, it is measured", set.name())));
            continue;
        }
        let mut bench = AuditBench::new(set, seed, &samples.derive(index))?;
        let measured = measure(&mut bench, effort, begin)?;
        claims.extend(measured.iter().map(MeasuredNoise::claim));
    }
    Ok(AuditSection {
        id: "B",
        title: "Noise: how far results are off, operation by operation",
        explanation: vec![
            "Noise: every ciphertext is a little off, and each operation adds to it. Too much of it, and a table is read at the wrong place.",
            "Predicted: by the formulas from which chances of failure are computed. Measured: by decrypting with a key made for this audit, on uniform inputs.",
            "Figures are logarithms of standard deviations, with 1 for a whole turn. The interval is that of the ratio of variances, by χ², with what errors have in common taken into account.",
            "A claim does not hold if the ratio is surely above 1.05. A prediction is called loose if it is surely below 0.8: safe, and costly.",
            "The picture: measured errors, in units of the predicted standard deviation from -4.1 to 4.1; it should be a bell, but for noise as it is drawn.",
        ],
        claims,
        assumptions: vec![
            "Predictions are for the transforms of this CPU. Plans are made with a bound over all kinds of CPU, which is no smaller.",
            "That tails are as predicted, far out, cannot be measured here: 2^-40 is one in a million millions. Chapter 9 derives them.",
            "Errors of one ciphertext have a part in common: half of what is rounded meets the mean of the key's bits, 1/2, and is a random walk along the ciphertext (chapter 10).",
        ],
    })
}

/// All operations of a set.
fn measure(
    bench: &mut AuditBench,
    effort: NoiseEffort,
    begin: &mut dyn FnMut(&str),
) -> Result<Vec<MeasuredNoise>, AuditError> {
    let name = bench.name();
    let mut say = |what: &str| begin(&format!("noise of {name}: {what}"));
    say("fresh encryption");
    let mut all = vec![operations::fresh(bench, effort)?, operations::modulus_switch(bench, effort)];
    let edges: Vec<Edge> = bench.parameters.edges().map(|(edge, _)| edge).collect();
    for edge in edges {
        say(&edge.to_string());
        all.extend(match edge {
            Edge::Keyswitch { from } => {
                let rows = rows::of_keyswitch(bench, from)?;
                rows.into_iter().chain([operations::keyswitch(bench, from, effort)?]).collect()
            }
            Edge::Bootstrapping { gadget } => {
                let rows = rows::of_bootstrapping(bench, gadget)?;
                rows.into_iter().chain(operations::bootstrapping(bench, gadget, effort)?).collect()
            }
            Edge::Automorphisms { ring, gadget } => operations::automorphisms(bench, (ring, gadget), effort)?,
            Edge::Relinearization { ring } => operations::products(bench, ring, effort)?,
            Edge::Lift { from, to } => operations::lift(bench, (from, to), effort)?.into_iter().collect(),
            Edge::ExternalProduct { ring } => rows::external_products(bench, ring, effort)?.into_iter().collect(),
        });
    }
    if let Some(gadget) = refreshing(&bench.parameters) {
        say("refresh");
        all.push(refreshes::refresh(bench, gadget, effort)?);
        // Requests of whole blocks are dense, and integers that multiply are looked up by the gadget that other sets do not have.
        if gadget == PRECISE {
            say("expansion of requests");
            all.extend(refreshes::expansion(bench, effort)?);
            say("looked-up integers");
            all.push(refreshes::looked_up(bench, gadget, effort)?);
        }
    }
    Ok(all)
}

/// The most precise bootstrapping of a set that refreshes: one with a lift from results to the ring of inputs.
fn refreshing(parameters: &Parameters) -> Option<usize> {
    parameters.gadget(Edge::Lift { from: Node::Lookup, to: Node::Arithmetic }).ok()?;
    parameters.bootstraps().len().checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tfhe_core::sets;

    fn measured() -> Vec<MeasuredNoise> {
        let seeds = (ClientSeed::from_number(1), SampleSeed::from_number(1));
        let mut bench = AuditBench::new(&sets::TOY.compile().unwrap(), &seeds.0, &seeds.1).unwrap();
        measure(&mut bench, NoiseEffort::QUICK, &mut |_| {}).unwrap()
    }

    /// Of the toy set, whose keys are so short that a key alone makes a few percent; and with half of each prediction, which nothing passes
    /// but what is loose.
    #[test]
    fn operations_have_the_predicted_noise_and_not_half_of_it() {
        let all = measured();
        assert!(all.len() >= 8, "{}", all.len());
        for one in all {
            let claim = one.claim();
            assert_eq!(claim.verdict, ClaimVerdict::Holds, "{claim:?}");
            let halved = MeasuredNoise { predicted: one.predicted.repeated(0.25), ..one }.claim();
            assert_eq!(halved.verdict, ClaimVerdict::Broken, "{halved:?}");
        }
    }
}
