//! Section A: how hard each key is to find, by recorded runs of the lattice estimator.

use tfhe_core::key_graph::{Bootstrap, Edge, KeyParameters, KeyShape, Node, Parameters};
use tfhe_core::params::{Gadget, NoiseDistribution};
use tfhe_core::security::{self, Basis};

use super::claim::{AuditClaim, AuditSection, ClaimVerdict};
use super::estimates::{Estimates, KeyRuns, Match};

/// The least bits of a set that is not a toy.
const LEAST_BITS: f64 = 128.0;
/// What tfhe-rs 1.8 wants its own sets to have: a warning there, and no refusal.
const SOFT_LEAST_BITS: f64 = 132.0;
/// By how much figures of two decimals may differ.
const ROUNDING: f64 = 0.011;

/// The claims of some sets.
pub fn section(sets: &[Parameters], estimates: &Estimates) -> AuditSection {
    let claims = sets.iter().flat_map(|set| set.keys().iter().flat_map(move |key| claims(set, key, estimates)));
    AuditSection {
        id: "A",
        title: "Keys: how much work it takes to find them",
        explanation: vec![
            "LWE: what all of this rests on. Who sees many sums of secret bits, each a little off, cannot find the bits. GLWE is the same with polynomials.",
            "n: how many secret bits a key has. Noise: how far sums are off; log2 σ is the logarithm of its standard deviation, with 1 for a whole turn of the torus.",
            "Bits: the logarithm of the number of operations of the cheapest known attack, as the lattice estimator says. An attack of 2^128 operations is out of reach.",
            "Samples: the sums that are published in evaluation keys, which the server needs to compute. All estimates allow any number of them.",
        ],
        claims: claims.collect(),
        assumptions: vec![
            "GLWE is estimated as LWE of dimension kN. Of the small key of the packed sets, 7 polynomials of 128 bits, it is a module whose structure is taken to help nobody.",
            "Evaluation keys encrypt secret keys under each other, in a circle, and functions of a key under itself (circular security). That this is harmless is assumed, here as in all TFHE.",
            "TUniform noise is estimated as a Gaussian of the same standard deviation; for two keys TUniform itself was run, with the same figures.",
            "The estimator is a model of attacks, and it changes: at the newer of both commits, BDD at n = 896 is 24 bits less than at the older one, which tfhe-rs documents. Figures here are the least of both.",
            "Under the core-SVP model (ADPS16), which leaves out what an attack costs beside its largest step, the lookup key of the packed sets has 101 bits; the recorded MATZOV model counts these costs.",
            "What was recorded is read here, not run: docs/estimates/rerun.py runs it again.",
        ],
    }
}

fn claims(set: &Parameters, key: &KeyParameters, estimates: &Estimates) -> Vec<AuditClaim> {
    let (n, noise) = (key.lwe_dimension().get(), key.noise());
    let id = |what: &str| format!("A.{}.{}.{what}", set.name(), key.node().name());
    let who = format!("{}, {} key", set.name(), names(key));
    if set.is_toy() {
        let sentence = format!("{who}: too small to be secret, on purpose");
        let claim = AuditClaim::new(id("bits"), sentence, ClaimVerdict::NotChecked);
        return vec![described(claim, set, key).note("insecure: for reading and for test vectors only")];
    }
    let log2_sigma = noise.variance().log2_std();
    let found = estimates.find(n, log2_sigma);
    vec![
        described(level_claim(id("bits"), &who, found), set, key),
        agreement_claim(id("table"), &who, (n, noise), found),
    ]
}

/// That the cheapest of the recorded attacks costs enough.
fn level_claim(id: String, who: &str, found: Option<(&KeyRuns, Match)>) -> AuditClaim {
    let sentence = format!("{who}: at least 2^{LEAST_BITS} operations to find it");
    let Some((runs, how)) = found else {
        return AuditClaim::new(id, sentence, ClaimVerdict::Broken).note("no recorded run covers this key");
    };
    let Some(cheapest) = runs.cheapest() else {
        return AuditClaim::new(id, sentence, ClaimVerdict::Broken).note("the record has no run under MATZOV");
    };
    let bits = cheapest.log2_rop;
    let mut claim = AuditClaim::new(id, sentence, ClaimVerdict::of(bits >= LEAST_BITS)).figure(
        "bits",
        bits,
        format!("{bits:.2}, by {}", cheapest.in_words()),
    );
    for attack in runs.attacks() {
        let of = |commit: &str| runs.least(attack, commit).map(|bits| format!("{bits:.1} ({commit})"));
        let texts: Vec<String> = runs.commits().into_iter().filter_map(of).collect();
        if let Some(least) = runs.commits().into_iter().filter_map(|commit| runs.least(attack, commit)).reduce(f64::min)
        {
            claim = claim.figure(attack, least, texts.join(", "));
        }
    }
    if how == Match::NoHarder {
        let (n, log2_sigma) = (runs.n, runs.log2_sigma);
        claim = claim.note(format!("the record is of a key that is no harder: n = {n}, log2 σ = {log2_sigma:.2}"));
    }
    if (LEAST_BITS..SOFT_LEAST_BITS).contains(&bits) {
        claim = claim.note(format!("below {SOFT_LEAST_BITS} bits, at which tfhe-rs warns of its own sets"));
    }
    claim
}

/// That what the program says of itself is what was recorded.
fn agreement_claim(
    id: String,
    who: &str,
    (n, noise): (usize, NoiseDistribution),
    found: Option<(&KeyRuns, Match)>,
) -> AuditClaim {
    let sentence = format!("{who}: the program's own table has this key, with the recorded figure");
    let (level, recorded) = (security::level(n, noise), found.and_then(|(runs, _)| runs.cheapest()));
    let (Some(level), Some(recorded)) = (level, recorded) else {
        return AuditClaim::new(id, sentence, ClaimVerdict::Broken).note("one of both has no figure");
    };
    let exact = level.basis == Basis::Estimate && matches!(found, Some((_, Match::Exact)));
    let agrees = exact && (level.bits - recorded.log2_rop).abs() <= ROUNDING;
    AuditClaim::new(id, sentence, ClaimVerdict::of(agrees))
        .figure("table", level.bits, format!("{:.2}", level.bits))
        .figure("record", recorded.log2_rop, format!("{:.2}", recorded.log2_rop))
}

fn names(key: &KeyParameters) -> String {
    key.nodes().iter().map(|node| node.name()).collect::<Vec<_>>().join(" and ")
}

/// With what the key is, and what of it is published.
fn described(claim: AuditClaim, set: &Parameters, key: &KeyParameters) -> AuditClaim {
    let shape = match key.shape() {
        KeyShape::Lwe(dimension) => format!("LWE, n = {}", dimension.get()),
        KeyShape::Glwe(shape) => {
            let (k, size) = (shape.dimension.get(), shape.polynomial_size.get());
            format!("GLWE, k = {k}, N = {size}: n = {}", k * size)
        }
    };
    let noise = match key.noise() {
        NoiseDistribution::Gaussian { .. } => "rounded Gaussian".into(),
        NoiseDistribution::TUniform { bound_log } => format!("TUniform({bound_log})"),
    };
    let (log2, samples) = (key.noise().variance().log2_std(), published(set, key));
    // What is encrypted in requests is under this key alone.
    let ring = key.ring().filter(|_| key.nodes().contains(&Node::Arithmetic));
    let requests =
        ring.map_or("none in requests".into(), |ring| format!("{} in each ciphertext of a request", ring.size().get()));
    claim
        .words("key", format!("{shape}, secret bits"))
        .figure("noise", log2, format!("{noise}, log2 σ = {log2:.2}"))
        .figure("samples", samples as f64, format!("{samples} in evaluation keys, {requests}"))
}

/// LWE samples under a key in the evaluation keys of all edges.
pub fn published(set: &Parameters, key: &KeyParameters) -> usize {
    let under = |node: Node| key.nodes().contains(&node);
    set.edges().map(|(edge, gadget)| samples(set, edge, gadget)).filter(|(node, _)| under(*node)).map(|(_, n)| n).sum()
}

/// The key that an edge's rows are encrypted under, and how many LWE samples they are: a row of N coefficients is N of them.
fn samples(set: &Parameters, edge: Edge, gadget: Gadget) -> (Node, usize) {
    let levels = gadget.levels();
    let ring = |node: Node| set.key(node).ring();
    let size = |node: Node| ring(node).map_or(1, |ring| ring.size().get());
    let dimension = |node: Node| ring(node).map_or(1, |ring| ring.shape.dimension.get());
    match edge {
        // n' bits, each in a sample for each level; or as polynomials, each of which is N samples.
        Edge::Keyswitch { from } => (Node::Small, set.key(from).lwe_dimension().get() * levels),
        Edge::Lift { from, to } => (to, dimension(from) * levels * size(to)),
        Edge::Automorphisms { ring, .. } => (ring, size(ring).ilog2() as usize * dimension(ring) * levels * size(ring)),
        Edge::Relinearization { ring } => (ring, levels * size(ring)),
        Edge::Bootstrapping { gadget } => {
            let Bootstrap { ring, grouping, .. } = set.bootstraps()[gadget];
            (ring, grouping.ciphertexts(set.small().lwe_dimension()) * (dimension(ring) + 1) * levels * size(ring))
        }
        Edge::ExternalProduct { ring } => (ring, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tfhe_core::keys::{Needs, SeededEvaluationKeys};
    use tfhe_core::noise::stored_bits;
    use tfhe_core::sets;

    fn sets() -> Vec<Parameters> {
        sets::ALL.map(|literal| literal.compile().unwrap()).to_vec()
    }

    /// Each sample has its body in the file of evaluation keys, 8 bytes, or of bootstrapping keys fewer bits, beside less than 200 bytes for
    /// each key.
    #[test]
    fn samples_are_those_of_the_files() {
        for set in sets() {
            let all: usize = set.keys().iter().map(|key| published(&set, key)).sum();
            let of_bootstraps = |(edge, gadget): (Edge, Gadget)| match edge {
                Edge::Bootstrapping { .. } => Some(samples(&set, edge, gadget).1),
                _ => None,
            };
            let rounded: usize = set.edges().filter_map(of_bootstraps).sum();
            let bits = stored_bits(set.lookup().noise.variance()) as usize;
            let bytes = SeededEvaluationKeys::predicted_bytes(&set, &Needs::everything(&set)).unwrap();
            let beside = bytes - 8 * (all - rounded) - bits * rounded / 8;
            assert!(beside < 200 * (set.edges().count() + 1), "{}: {beside} bytes", set.name());
        }
    }

    #[test]
    fn recorded_runs_hold_and_fewer_bits_do_not() {
        let estimates = Estimates::recorded().unwrap();
        let section = section(&sets(), &estimates);
        assert_eq!(section.count(ClaimVerdict::Broken), 0, "{section:?}");
        assert_eq!(section.count(ClaimVerdict::NotChecked), 2, "the toy's two keys");
        // Four sets with two claims for each key.
        let mut fewer = estimates.clone();
        fewer.change(|runs| runs.log2_rop -= 10.0);
        let broken = super::section(&sets(), &fewer);
        let ids: Vec<&str> =
            broken.claims.iter().filter(|c| c.verdict == ClaimVerdict::Broken).map(|claim| &*claim.id).collect();
        assert!(ids.contains(&"A.packed_head.lookup.bits") && ids.contains(&"A.packed_head.lookup.table"), "{ids:?}");
        assert!(ids.contains(&"A.head_exact.small.bits"), "{ids:?}");
    }

    #[test]
    fn a_key_without_a_record_does_not_hold() {
        let mut none = Estimates::recorded().unwrap();
        none.keys.clear();
        let section = section(&sets(), &none);
        assert_eq!(section.count(ClaimVerdict::Holds), 0);
    }
}
