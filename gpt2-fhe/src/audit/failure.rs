//! Section C: how likely circuits fail, by their plans.

use tfhe_core::noise;

use super::claim::{AuditClaim, AuditSection, ClaimVerdict};
use crate::run::{CONTINUED_FAILURE_MEANING, FAILURE_MEANING, MAX_EXPONENT_NOISE, MAX_LOG2_FAILURE, Plan};

/// By how much the sum of steps may differ from what a plan says: tails are computed to 10^-4 of a bit.
const ROUNDING: f64 = 0.01;

/// A circuit, and what it will do.
#[derive(Clone, Debug)]
pub struct PlannedCircuit {
    /// A word for it.
    pub id: String,
    /// In words.
    pub what: String,
    /// Its plan; or why there is none.
    pub plan: Result<Plan, String>,
}

/// The claims of circuits.
pub fn section(circuits: &[PlannedCircuit]) -> AuditSection {
    AuditSection {
        id: "C",
        title: "Failure: how likely noise makes a result wrong",
        explanation: vec![
            "Lookup: reading a table at an encrypted place. If noise carries the place too far, another entry is read.",
            "A plan predicts the noise of every number of a circuit, and adds up the chances of all lookups of a request. A run with more than 2^-40, once in a million millions, is refused.",
        ],
        claims: circuits.iter().flat_map(claims).collect(),
        assumptions: vec![
            FAILURE_MEANING,
            CONTINUED_FAILURE_MEANING,
            "Not covered either: numbers beyond the ranges that calibration gave them. Runs in one process count them; between two programs nobody does.",
            "Plans are made with the predicted noise of section B, bounded over all kinds of CPU.",
        ],
    }
}

fn claims(circuit: &PlannedCircuit) -> Vec<AuditClaim> {
    let id = |what: &str| format!("C.{}.{what}", circuit.id);
    let sentence = format!("{}: fails less often than once in 2^{} requests", circuit.what, -MAX_LOG2_FAILURE);
    let plan = match &circuit.plan {
        Ok(plan) => plan,
        Err(why) => return vec![AuditClaim::new(id("failure"), sentence, ClaimVerdict::Broken).note(why.clone())],
    };
    let steps: Vec<Step> = plan.statistics.steps.iter().map(Step::from).collect();
    let all = plan.log2_failure_probability;
    let mut claims = vec![limit_claim(id("failure"), sentence, all, &steps)];
    claims[0] = claims[0].clone().words("set", plan.parameters.name());
    claims.push(sum_claim(id("steps"), &circuit.what, all, &steps));
    if let Ok(packing) = plan.packing() {
        claims.push(exponents_claim(id("exponents"), &circuit.what, &packing.exponent_noise));
    }
    claims
}

/// A step's lookups.
struct Step {
    name: &'static str,
    lookups: usize,
    log2_failure: f64,
    headroom: f64,
}

impl From<&crate::track::statistics::StepStatistics> for Step {
    fn from(step: &crate::track::statistics::StepStatistics) -> Self {
        let (log2_failure, headroom) = (step.log2_failure_probability, step.headroom);
        Self { name: step.name, lookups: step.lookups, log2_failure, headroom }
    }
}

fn limit_claim(id: String, sentence: String, all: f64, steps: &[Step]) -> AuditClaim {
    let mut claim = AuditClaim::new(id, sentence, ClaimVerdict::of(all <= MAX_LOG2_FAILURE)).figure(
        "of a request",
        all,
        format!("2^{all:.1}"),
    );
    for step in steps.iter().filter(|step| step.log2_failure.is_finite()) {
        let Step { name, lookups, log2_failure, headroom } = step;
        let headroom = if headroom.is_finite() { format!(", room for {headroom:.1} σ") } else { String::new() };
        let text = format!("2^{log2_failure:.1}, {lookups} lookups{headroom}");
        claim = claim.figure(*name, *log2_failure, text);
    }
    claim
}

/// That nothing is left out of the whole.
fn sum_claim(id: String, what: &str, all: f64, steps: &[Step]) -> AuditClaim {
    let sum = steps.iter().map(|step| step.log2_failure).fold(f64::NEG_INFINITY, noise::log2_sum);
    let uncounted = |step: &&Step| step.lookups > 0 && step.log2_failure == f64::NEG_INFINITY;
    // Where there is room for so many standard deviations and no more, something can go wrong.
    let covered = steps.iter().filter(uncounted).all(|step| step.headroom == f64::INFINITY);
    let sentence = format!("{what}: the whole is the sum of its steps, and every step that can fail is counted");
    let holds = (sum - all).abs() <= ROUNDING && covered;
    let claim = AuditClaim::new(id, sentence, ClaimVerdict::of(holds))
        .figure("sum of steps", sum, format!("2^{sum:.2}"))
        .figure("whole", all, format!("2^{all:.2}"));
    steps.iter().filter(uncounted).fold(claim, |claim, Step { name, lookups, .. }| {
        claim.note(format!(
            "{name}: {lookups} lookups of tables that go on without a jump, which cannot fail in this sense"
        ))
    })
}

/// That probabilities are not drowned in noise, which no chance of failure says.
fn exponents_claim(id: String, what: &str, noise: &[f64]) -> AuditClaim {
    let largest = noise.iter().copied().fold(0.0, f64::max);
    // NaN is no noise that is small enough.
    let holds = !noise.is_empty() && noise.iter().all(|&noise| noise <= MAX_EXPONENT_NOISE);
    let sentence =
        format!("{what}: exponents of the softmax are off by at most {MAX_EXPONENT_NOISE} (σ), in units of score");
    AuditClaim::new(id, sentence, ClaimVerdict::of(holds)).figure(
        "noisiest head",
        largest,
        format!("{largest:.4}: probabilities are off by {:.1} %", 100.0 * largest),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(failures: &[f64]) -> Vec<Step> {
        failures.iter().map(|&log2_failure| Step { name: "step", lookups: 7, log2_failure, headroom: 8.0 }).collect()
    }

    #[test]
    fn plans_that_fail_too_often_do_not_hold() {
        let verdict = |all| limit_claim("C".into(), "test".into(), all, &steps(&[all])).verdict;
        assert_eq!([verdict(-60.0), verdict(-40.0)], [ClaimVerdict::Holds; 2]);
        assert_eq!([verdict(-39.9), verdict(f64::NAN)], [ClaimVerdict::Broken; 2]);
        let unplanned = PlannedCircuit { id: "x".into(), what: "x".into(), plan: Err("it may fail".into()) };
        assert_eq!(section(&[unplanned]).count(ClaimVerdict::Broken), 1);
    }

    #[test]
    fn sums_that_leave_steps_out_do_not_hold() {
        let verdict = |all, of: &[f64]| sum_claim("C".into(), "test", all, &steps(of)).verdict;
        assert_eq!(verdict(-49.0, &[-50.0, -50.0]), ClaimVerdict::Holds);
        assert_eq!(verdict(-50.0, &[-50.0, -50.0]), ClaimVerdict::Broken);
        assert_eq!(verdict(-50.0, &[-50.0, f64::NEG_INFINITY]), ClaimVerdict::Broken);
    }

    #[test]
    fn noisy_exponents_do_not_hold() {
        let verdict = |noise: &[f64]| exponents_claim("C".into(), "test", noise).verdict;
        assert_eq!([verdict(&[0.1, 0.2]), verdict(&[0.1, 0.8])], [ClaimVerdict::Holds, ClaimVerdict::Broken]);
        assert_eq!([verdict(&[]), verdict(&[f64::NAN])], [ClaimVerdict::Broken; 2]);
    }
}
