//! Section G: what leaves the client, as bytes, and whether a secret is in it.

use rayon::prelude::*;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::fingerprint::Fields;
use tfhe_core::format::{self, Header, Kind, SECRET_BYTES};
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::{ClientKeys, Needs, SeededEvaluationKeys};
use tfhe_core::random::{SampleSeed, SecretSeed};
use tfhe_core::torus;
use zeroize::Zeroizing;

use super::bench::bit;
use super::claim::{AuditClaim, AuditSection, ClaimVerdict};
use super::error::AuditError;

/// How many bits of a key a pattern has: a chance of 2^-64 at each place of a file.
const BITS: usize = 64;

/// Makes the files of a client of `parameters`, and searches them. The secret is one that is made for this.
///
/// # Errors
/// That keys cannot be made.
pub fn section(parameters: &Parameters, needs: &Needs, samples: &SampleSeed) -> Result<AuditSection, AuditError> {
    // Not that of a number: its bytes are nearly all zero, and in any file.
    let mut words = [0_u64; 4];
    samples.derive(3000).stream(0).fill_uniform(&mut words);
    let mut seed = [0; 32];
    seed.chunks_exact_mut(8).zip(words.iter()).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_le_bytes()));
    let seed = SecretSeed::from_bytes(&seed);
    let client = ClientKeys::generate(parameters, &ClientSeed::stored(seed.clone()))?;
    let secrets = secrets(parameters, &client, seed.expose());
    let keys = client.evaluation_keys(needs)?;
    let context = Fields::new("audit").fingerprint();
    let header = |kind| Header { kind, identity: *client.identity(), context };
    let mut file = Vec::new();
    format::write(&mut file, &header(Kind::EVALUATION_KEYS), |encoder| encoder.evaluation_keys(&keys))?;
    let size = parameters.arithmetic().size().get();
    let plaintext = Zeroizing::new((0..size as u64).map(|j| j << 50).collect::<Vec<u64>>());
    let request = client.encrypt(&[plaintext], &context, torus::MODULUS_LOG)?;
    let mut sent = Vec::new();
    format::write(&mut sent, &header(Kind::REQUEST), |encoder| encoder.request(&request))?;
    let name = parameters.name();
    let rows = SeededEvaluationKeys::predicted_bytes(parameters, needs)?;
    let claims = vec![
        size_claim("G.keys.size", &format!("{name}: evaluation keys have the bytes that are predicted"), &file, rows)
            .figure("the secret", SECRET_BYTES as f64, format!("{SECRET_BYTES} bytes, which stay")),
        size_claim(
            "G.request.size",
            &format!("{name}: a request has the bytes that are predicted"),
            &sent,
            request.bytes(),
        )
        .figure("with masks", 16.0 * size as f64, format!("{} bytes, were masks not a seed", 16 * size)),
        search_claim("G.keys.secrets", &format!("{name}: no part of a secret is in evaluation keys"), &file, &secrets),
        search_claim("G.request.secrets", &format!("{name}: no part of a secret is in a request"), &sent, &secrets),
        plaintext_claim(&format!("{name}: no word of the message is in a request"), &sent, size),
    ];
    Ok(AuditSection {
        id: "G",
        title: "Messages: what leaves the client",
        explanation: vec![
            "Three files: the secret stays with the client; evaluation keys go to the server once; a request goes for each step. docs/formats.md has every byte.",
            "Seeded: of a ciphertext's mask, which is public and random, a seed of 32 bytes is sent in place of it.",
        ],
        claims,
        assumptions: vec![
            "A file without the bytes of a secret can still tell of it: that it does not is what sections A and D are about.",
            "Sizes, times, and the number of tokens are not hidden (chapter 30).",
        ],
    })
}

/// What is looked for, each with a name.
struct Pattern {
    name: String,
    bytes: Vec<u8>,
}

/// The seed, and runs of bits of each key: as bytes, as numbers of 8 bytes, and packed into bytes in either order.
fn secrets(parameters: &Parameters, client: &ClientKeys, seed: &[u8; 32]) -> Vec<Pattern> {
    let mut all = vec![
        Pattern { name: "first half of the seed".into(), bytes: seed[..16].to_vec() },
        Pattern { name: "second half of the seed".into(), bytes: seed[16..].to_vec() },
    ];
    for key in parameters.keys() {
        let (node, n) = (key.node(), key.lwe_dimension().get());
        let bits = (0..n.min(BITS)).map(|i| bit(client, node, n, i) as u8).collect::<Vec<u8>>();
        let packed = |order: fn(usize) -> usize| {
            bits.chunks(8).map(|chunk| chunk.iter().enumerate().map(|(i, bit)| bit << order(i)).sum()).collect()
        };
        let forms: [(&str, Vec<u8>); 4] = [
            ("as bytes", bits.clone()),
            ("as numbers", bits.iter().flat_map(|&bit| u64::from(bit).to_le_bytes()).collect()),
            ("packed", packed(|i| i)),
            ("packed, first bit highest", packed(|i| 7 - i)),
        ];
        let named = |(form, bytes)| Pattern { name: format!("bits of the {} key {form}", node.name()), bytes };
        // Keys of a toy are so short that their bits are in any file.
        all.extend(forms.into_iter().map(named).filter(|pattern| pattern.bytes.len() >= BITS / 8));
    }
    all
}

fn size_claim(id: &str, sentence: &str, file: &[u8], predicted: usize) -> AuditClaim {
    AuditClaim::new(id, sentence, ClaimVerdict::of(file.len() == predicted))
        .figure("bytes", file.len() as f64, file.len().to_string())
        .figure("predicted", predicted as f64, predicted.to_string())
}

fn search_claim(id: &str, sentence: &str, file: &[u8], patterns: &[Pattern]) -> AuditClaim {
    let found: Vec<&str> =
        patterns.par_iter().filter(|p| contains(file, &p.bytes)).map(|pattern| &*pattern.name).collect();
    let claim = AuditClaim::new(id, sentence, ClaimVerdict::of(found.is_empty()))
        .figure(
            "patterns",
            patterns.len() as f64,
            format!("{}: the seed, and bits of each key in four forms", patterns.len()),
        )
        .figure("bytes searched", file.len() as f64, file.len().to_string());
    found.into_iter().fold(claim, |claim, name| claim.note(format!("found: {name}")))
}

fn contains(file: &[u8], pattern: &[u8]) -> bool {
    let first = pattern[0];
    file.windows(pattern.len()).any(|window| window[0] == first && window == pattern)
}

/// The message is 0, 2^50, 2·2^50 and so on: two neighbours of it, as they are in memory.
fn plaintext_claim(sentence: &str, sent: &[u8], size: usize) -> AuditClaim {
    let words = |j: u64| [(j << 50).to_le_bytes(), ((j + 1) << 50).to_le_bytes()].concat();
    let found = (1..size as u64 - 1).step_by(97).filter(|&j| contains(sent, &words(j))).count();
    AuditClaim::new("G.request.message", sentence, ClaimVerdict::of(found == 0)).figure(
        "found",
        found as f64,
        found.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tfhe_core::sets;

    #[test]
    fn files_have_no_secret_and_one_with_a_secret_does_not_hold() {
        let set = sets::TOY.compile().unwrap();
        let seed = std::array::from_fn(|i| (i * 7 + 1) as u8);
        let section = section(&set, &Needs::everything(&set), &SampleSeed::from_number(1)).unwrap();
        assert_eq!(section.count(ClaimVerdict::Holds), 5, "{:?}", section.claims);
        let set = sets::MESSAGE_2_CARRY_2.compile().unwrap();
        let client = ClientKeys::generate(&set, &ClientSeed::stored(SecretSeed::from_bytes(&seed))).unwrap();
        let patterns = secrets(&set, &client, &seed);
        for pattern in &patterns {
            let mut file = vec![3; 2000];
            assert_eq!(search_claim("G", "test", &file, &patterns).verdict, ClaimVerdict::Holds);
            file[500..500 + pattern.bytes.len()].copy_from_slice(&pattern.bytes);
            assert_eq!(search_claim("G", "test", &file, &patterns).verdict, ClaimVerdict::Broken, "{}", pattern.name);
        }
    }

    #[test]
    fn other_sizes_and_messages_in_the_clear_do_not_hold() {
        assert_eq!(size_claim("G", "test", &[0; 7], 8).verdict, ClaimVerdict::Broken);
        let clear: Vec<u8> = (0..4096_u64).flat_map(|j| (j << 50).to_le_bytes()).collect();
        assert_eq!(plaintext_claim("test", &clear, 4096).verdict, ClaimVerdict::Broken);
    }
}
