//! Section D: whether what is drawn is distributed as it is said to be.

use tfhe_core::derivation::{ClientSeed, Purpose, RequestRandomness};
use tfhe_core::key_graph::{Node, Parameters};
use tfhe_core::noise::Variance;
use tfhe_core::params::NoiseDistribution;
use tfhe_core::random::{Role, SampleSeed, SampleStream};
use tfhe_core::torus;

use super::bench::AuditBench;
use super::claim::{AuditClaim, AuditSection, ClaimVerdict, NoiseHistogram};
use super::error::AuditError;
use super::statistics::{SIGNIFICANCE, goodness_of_fit, two_sided};

/// How many samples of each distribution are drawn.
const DRAWN: usize = 1 << 18;
/// Up to which b each number of TUniform(b) is counted by itself.
const COUNTED: u32 = 8;
/// Of larger ones, so many parts of the range.
const PARTS: u64 = 64;

/// Draws from every distribution of the sets, and looks at keys and masks that are made for this.
///
/// # Errors
/// That keys cannot be made.
pub fn section(sets: &[Parameters], (seed, samples): (&ClientSeed, &SampleSeed)) -> Result<AuditSection, AuditError> {
    let mut claims = vec![tables()];
    let mut noises: Vec<NoiseDistribution> = Vec::new();
    for noise in sets.iter().flat_map(Parameters::keys).map(|key| key.noise()) {
        if !noises.contains(&noise) {
            noises.push(noise);
        }
    }
    for (index, noise) in (0..).zip(noises) {
        let mut stream = samples.derive(1000).stream(index);
        claims.extend(sampler(noise, &mut stream));
    }
    for (index, set) in (2000..).zip(sets) {
        claims.extend(of_keys(&mut AuditBench::new(set, seed, &samples.derive(index))?, seed.requests())?);
    }
    Ok(AuditSection {
        id: "D",
        title: "Randomness: whether secrets, masks and noise are drawn as they should be",
        explanation: vec![
            "Mask: the public random part of a ciphertext. One that is used twice gives away the difference of two messages.",
            "All randomness is ChaCha20, keyed by seeds that HKDF-SHA-256 derives from 32 bytes of the operating system, each with its set, circuit, role, purpose and number.",
            "TUniform(b): whole numbers from -2^b to 2^b, all alike but both ends, which are half as likely. In units of 2^-64 of a turn.",
            "p: how often honest randomness looks at least as odd as what was drawn. A claim fails below one in a million, so that an honest program does not fail by chance.",
        ],
        claims,
        assumptions: vec![
            "ChaCha20 and HKDF-SHA-256 are taken to be pseudo-random, and the operating system's generator to be good. No statistics can show that.",
            "That no two keys, circuits, sets or requests share a mask is what tests/tests/randomness.rs attacks.",
        ],
    })
}

/// That a probability is none of one in a million.
fn by_chance(claim: AuditClaim, what: &str, p: f64) -> AuditClaim {
    let holds = claim.verdict != ClaimVerdict::Broken && p >= SIGNIFICANCE;
    AuditClaim { verdict: ClaimVerdict::of(holds), ..claim }.figure(what, p, format!("p = {p:.2e}"))
}

/// What randomness is derived for. That two have one number no program that is compiled can have.
fn tables() -> AuditClaim {
    let names = |names: Vec<String>| names.join(", ");
    AuditClaim::new(
        "D.domains",
        "every role and purpose of derived randomness has a number of its own",
        ClaimVerdict::NotChecked,
    )
    .note("the compiler refuses two names of one number; `cargo test --release -p integration-tests --test randomness` attacks what is derived")
    .words("roles", names(Role::ALL.iter().map(|role| format!("{role:?}")).collect()))
    .words("purposes", names(Purpose::ALL.iter().map(|purpose| format!("{purpose:?}")).collect()))
}

/// The sampler that encryptions draw their noise with.
fn sampler(noise: NoiseDistribution, stream: &mut SampleStream) -> Vec<AuditClaim> {
    match noise {
        NoiseDistribution::TUniform { bound_log } => {
            let draws: Vec<u64> = (0..DRAWN).map(|_| stream.noise(noise)).collect();
            vec![tuniform(format!("D.TUniform({bound_log})"), &format!("TUniform({bound_log})"), bound_log, &draws)]
        }
        NoiseDistribution::Gaussian { log2_std } => {
            let draws: Vec<f64> = (0..DRAWN).map(|_| torus::to_f64(stream.noise(noise))).collect();
            gaussian(&format!("D.Gaussian({log2_std})"), log2_std, &draws)
        }
    }
}

/// That numbers are distributed as TUniform(b), its ends included.
fn tuniform(id: String, what: &str, bound_log: u32, draws: &[u64]) -> AuditClaim {
    let (bound, count) = (1_i64 << bound_log, draws.len() as f64);
    let (mut counts, expected) = if bound_log <= COUNTED {
        let inner = count / f64::from(1 << (bound_log + 1));
        let mut expected = vec![inner; (2 * bound + 1) as usize];
        (expected[0], expected[2 * bound as usize]) = (inner / 2.0, inner / 2.0);
        (vec![0; expected.len()], expected)
    } else {
        // Parts of equal size; the upper end is added to the last, the lower is half as likely as its neighbours: both together are one number.
        (vec![0; PARTS as usize], vec![count / PARTS as f64; PARTS as usize])
    };
    let mut beyond = 0_u64;
    for &draw in draws {
        let value = draw as i64;
        if !(-bound..=bound).contains(&value) {
            beyond += 1;
            continue;
        }
        let place = (value + bound) as u64;
        let part = if bound_log <= COUNTED { place } else { (place >> (bound_log + 1 - PARTS.ilog2())).min(PARTS - 1) };
        counts[part as usize] += 1;
    }
    let (statistic, p) = goodness_of_fit(&counts, &expected);
    let ends = if bound_log <= COUNTED { ", both ends half as often as the others" } else { "" };
    let sentence = format!("{what}: numbers from -2^{bound_log} to 2^{bound_log}, all equally often{ends}");
    let claim = AuditClaim::new(id, sentence, ClaimVerdict::of(beyond == 0))
        .figure("numbers", count, format!("{}", draws.len()))
        .figure("beyond", beyond as f64, beyond.to_string());
    by_chance(claim, &format!("χ² = {statistic:.1} of {} classes", counts.len()), p)
}

/// That numbers are normal: their mean, their variance, and how many are where, tails included.
fn gaussian(id: &str, log2_std: f64, draws: &[f64]) -> Vec<AuditClaim> {
    let (count, predicted) = (draws.len() as f64, Variance::from_log2_std(log2_std));
    let mean = draws.iter().sum::<f64>() / count / predicted.std();
    let ratio = Variance::measured(draws).get() / predicted.get();
    let histogram = NoiseHistogram::new(draws, predicted);
    let inside: f64 = histogram.expected.iter().sum();
    let counts = [&histogram.counts[..], &[histogram.outside]].concat();
    let (statistic, p) = goodness_of_fit(&counts, &[&histogram.expected[..], &[count - inside]].concat());
    let what = format!("rounded Gaussian, σ = 2^{log2_std}");
    let new = |part: &str, sentence: &str| {
        AuditClaim::new(format!("{id}.{part}"), format!("{what}: {sentence}"), ClaimVerdict::Holds)
    };
    let mean_claim = new("mean", "the mean is zero").figure("mean/σ", mean, format!("{mean:.5}"));
    let variance = new("variance", "the variance is σ²").figure("measured/predicted", ratio, format!("{ratio:.5}"));
    let mut shape = new("shape", "as many numbers are in each place as of a normal distribution, tails included");
    shape = shape.figure("beyond 4.1 σ", histogram.outside as f64, histogram.outside.to_string());
    shape.histogram = Some(histogram);
    vec![
        by_chance(mean_claim, "normal deviation", two_sided(mean * count.sqrt())),
        by_chance(variance, "normal deviation", two_sided((ratio - 1.0) * (count / 2.0).sqrt())),
        by_chance(shape, &format!("χ² = {statistic:.1} of {} classes", counts.len()), p),
    ]
}

/// Bits of secret keys, and encryptions.
fn of_keys(bench: &mut AuditBench, requests: RequestRandomness) -> Result<Vec<AuditClaim>, AuditError> {
    let (name, keys) = (bench.name(), bench.parameters.keys().to_vec());
    let mut claims: Vec<AuditClaim> = Vec::new();
    for key in keys {
        let node = key.node();
        claims.push(bits(
            format!("D.{name}.{}.bits", node.name()),
            &format!("{name}, {} key", node.name()),
            bench.bits(node),
        ));
    }
    let ciphertexts = bench.zeros(8, 1)?;
    if let NoiseDistribution::TUniform { bound_log } = bench.parameters.arithmetic().noise {
        let mut noise = Vec::new();
        for ciphertext in &ciphertexts {
            noise.extend(bench.phase(Node::Arithmetic, ciphertext)?);
        }
        let what = format!("{name}, noise of encryptions, decrypted");
        claims.push(tuniform(format!("D.{name}.encryption"), &what, bound_log, &noise));
    }
    let masks: Vec<u64> = ciphertexts.iter().flat_map(|ciphertext| ciphertext.mask().to_vec()).collect();
    let again: Vec<u64> = bench.zeros(8, 1)?.iter().flat_map(|ciphertext| ciphertext.mask().to_vec()).collect();
    claims.push(uniform_masks(format!("D.{name}.masks"), name, &masks));
    claims.push(repeated_masks(format!("D.{name}.repeats"), name, (&masks, &again), requests));
    Ok(claims)
}

/// That bits are 0 and 1 equally often, and tell nothing of their neighbours.
fn bits(id: String, who: &str, bits: &[u64]) -> AuditClaim {
    let (count, ones) = (bits.len() as f64, bits.iter().sum::<u64>() as f64);
    let equal = bits.windows(2).filter(|pair| pair[0] == pair[1]).count() as f64;
    let deviations = |part: f64, all: f64| (part - all / 2.0) / (all.sqrt() / 2.0);
    let are_bits = bits.iter().all(|&bit| bit <= 1);
    let sentence = format!("{who}: bits are 0 and 1, equally often, and neighbours unrelated");
    let claim = AuditClaim::new(id, sentence, ClaimVerdict::of(are_bits))
        .figure("bits", count, bits.len().to_string())
        .figure("ones", ones, ones.to_string())
        .figure("equal neighbours", equal, equal.to_string());
    let claim = by_chance(claim, "ones", two_sided(deviations(ones, count)));
    by_chance(claim, "neighbours", two_sided(deviations(equal, count - 1.0)))
}

/// That the bytes of masks are uniform.
fn uniform_masks(id: String, name: &str, masks: &[u64]) -> AuditClaim {
    let mut counts = vec![0; 256];
    masks.iter().flat_map(|mask| mask.to_le_bytes()).for_each(|byte| counts[usize::from(byte)] += 1);
    let expected = vec![8.0 * masks.len() as f64 / 256.0; 256];
    let (statistic, p) = goodness_of_fit(&counts, &expected);
    let claim =
        AuditClaim::new(id, format!("{name}: masks of requests are uniform, byte by byte"), ClaimVerdict::Holds)
            .figure("bytes", 8.0 * masks.len() as f64, (8 * masks.len()).to_string());
    by_chance(claim, &format!("χ² = {statistic:.1} of 256 classes"), p)
}

/// That two requests of equal contents have nothing in common; or, of a client from a number, are equal, as that says.
fn repeated_masks(id: String, name: &str, (one, other): (&[u64], &[u64]), requests: RequestRandomness) -> AuditClaim {
    let known: std::collections::HashSet<&u64> = one.iter().collect();
    let common = other.iter().filter(|mask| known.contains(mask)).count();
    let (sentence, holds) = match requests {
        RequestRandomness::Fresh => ("two requests with equal contents have no mask in common", common == 0),
        RequestRandomness::Reproducible => ("with --seed, two requests with equal contents are equal", one == other),
    };
    AuditClaim::new(id, format!("{name}: {sentence}"), ClaimVerdict::of(holds))
        .figure("masks", one.len() as f64, one.len().to_string())
        .figure("in common", common as f64, common.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tfhe_core::sets;

    fn draws(count: usize, draw: impl Fn(u64) -> u64) -> Vec<u64> {
        let mut stream = SampleSeed::from_number(4).stream(0);
        (0..count).map(|_| draw(stream.uniform())).collect()
    }

    #[test]
    fn honest_randomness_holds() {
        let sets = [sets::TOY, sets::PACKED_BLOCK].map(|set| set.compile().unwrap());
        let samples = SampleSeed::from_number(1);
        for seed in [ClientSeed::from_number(1), ClientSeed::from_system().unwrap()] {
            let section = section(&sets, (&seed, &samples)).unwrap();
            let broken: Vec<_> = section.claims.iter().filter(|claim| claim.verdict == ClaimVerdict::Broken).collect();
            assert!(broken.is_empty() && section.count(ClaimVerdict::Holds) > 10, "{broken:?}");
        }
    }

    /// Uniform, with ends as likely as the others; a bound that is left; a wide one that prefers small numbers.
    #[test]
    fn biased_samplers_do_not_hold() {
        let verdict = |bound, draws: &[u64]| tuniform("D".into(), "test", bound, draws).verdict;
        let honest = draws(DRAWN, |r| (((r >> 59) + 1) >> 1).wrapping_sub(8));
        assert_eq!(verdict(3, &honest), ClaimVerdict::Holds);
        assert_eq!(verdict(3, &draws(DRAWN, |r| (r % 17).wrapping_sub(8))), ClaimVerdict::Broken);
        assert_eq!(verdict(2, &honest), ClaimVerdict::Broken);
        let wide = draws(DRAWN, |r| (r >> 46).wrapping_sub(1 << 17));
        assert_eq!(verdict(17, &wide), ClaimVerdict::Holds);
        let biased = draws(DRAWN, |r| (r >> 46).min(r << 20 >> 46).wrapping_sub(1 << 17));
        assert_eq!(verdict(17, &biased), ClaimVerdict::Broken);
    }

    #[test]
    fn what_is_not_normal_does_not_hold() {
        let mut stream = SampleSeed::from_number(5).stream(0);
        let normal: Vec<f64> = (0..DRAWN).map(|_| stream.normal() * 2f64.powi(-20)).collect();
        let broken = |draws: &[f64]| -> Vec<String> {
            let claims = gaussian("D", -20.0, draws).into_iter();
            claims.filter(|claim| claim.verdict == ClaimVerdict::Broken).map(|claim| claim.id).collect()
        };
        assert!(broken(&normal).is_empty());
        let moved: Vec<f64> = normal.iter().map(|x| x + 0.02 * 2f64.powi(-20)).collect();
        assert!(broken(&moved).contains(&"D.mean".into()));
        let wider: Vec<f64> = normal.iter().map(|x| 1.02 * x).collect();
        assert!(broken(&wider).contains(&"D.variance".into()));
        // As large, and uniform.
        let flat: Vec<f64> =
            (0..DRAWN).map(|_| torus::to_f64(stream.uniform()) * 12f64.sqrt() * 2f64.powi(-20)).collect();
        assert!(broken(&flat).contains(&"D.shape".into()));
    }

    #[test]
    fn odd_keys_and_masks_do_not_hold() {
        let honest = draws(4096, |r| r & 1);
        assert_eq!(bits("D".into(), "test", &honest).verdict, ClaimVerdict::Holds);
        assert_eq!(bits("D".into(), "test", &draws(4096, |r| u64::from(r % 5 < 2))).verdict, ClaimVerdict::Broken);
        let alternating: Vec<u64> = (0..4096).map(|i| i % 2).collect();
        assert_eq!(bits("D".into(), "test", &alternating).verdict, ClaimVerdict::Broken);
        assert_eq!(bits("D".into(), "test", &[0, 1, 2]).verdict, ClaimVerdict::Broken);
        assert_eq!(uniform_masks("D".into(), "test", &draws(4096, |r| r)).verdict, ClaimVerdict::Holds);
        assert_eq!(uniform_masks("D".into(), "test", &draws(4096, |r| r >> 1)).verdict, ClaimVerdict::Broken);
        let repeated =
            |other: &[u64], requests| repeated_masks("D".into(), "test", (&[1, 2, 3], other), requests).verdict;
        assert_eq!(repeated(&[4, 5, 3], RequestRandomness::Fresh), ClaimVerdict::Broken);
        assert_eq!(repeated(&[4, 5, 6], RequestRandomness::Fresh), ClaimVerdict::Holds);
        assert_eq!(repeated(&[4, 5, 6], RequestRandomness::Reproducible), ClaimVerdict::Broken);
    }
}
