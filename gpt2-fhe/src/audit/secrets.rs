//! Section E: where secrets are in memory, and whether they are overwritten.

use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::ClientKeys;
use tfhe_core::random::{EncryptionSeed, SecretSeed};

use super::claim::{AuditClaim, AuditSection, ClaimVerdict};
use super::error::AuditError;

/// What holds secrets, and what of it.
const HOLDERS: [(&str, &str); 7] = [
    ("SecretSeed", "the 32 bytes from which everything is derived"),
    ("EncryptionSeed", "the seed of one key's or request's noise, which is used up by it"),
    ("SecretStream and NoiseStream", "the state of ChaCha20 that draws bits of keys, and noise"),
    ("LweSecretKey", "its bits"),
    ("GlweSecretKey", "its bits, and their transforms"),
    ("ClientKeys", "all secret keys of a set, and what seeds of requests are derived from"),
    ("Zeroizing<Vec<u64>>", "messages before encryption, and phases after decryption"),
];

/// Where it is measured.
const MEASURED: &str = "measured by `cargo test --release -p integration-tests --test wiped`: its allocator searches every freed block, which takes unsafe code that this \
                        program does not have";

/// The claims.
///
/// # Errors
/// That keys cannot be made.
pub fn section(parameters: &Parameters) -> Result<AuditSection, AuditError> {
    let sentence = "whatever holds a secret overwrites it before its memory is given back";
    let heap = AuditClaim::new("E.heap", sentence, ClaimVerdict::NotChecked).note(MEASURED);
    let heap = HOLDERS.into_iter().fold(heap, |claim, (name, what)| claim.words(name, what));
    let mut claims = vec![heap];
    let stack = "what seeds and keys leave on the stack is overwritten";
    claims.push(AuditClaim::new("E.stack", stack, ClaimVerdict::NotChecked).note(MEASURED));
    let boundary = "the server's code cannot name a secret";
    claims.push(AuditClaim::new("E.server", boundary, ClaimVerdict::NotChecked).note(
        "measured by `cargo test --release -p integration-tests --test features --test architecture`: a program that tries does not compile",
    ));
    claims.push(printed(parameters)?);
    Ok(AuditSection {
        id: "E",
        title: "Secrets: what holds them, and what becomes of them",
        explanation: vec![
            "Overwritten: filled with zeros when they are not needed any more, so that what gets the memory next, or a file of it, has no secret.",
        ],
        claims,
        assumptions: vec![
            "Registers, and what compilers spill of them, are not overwritten; memory is not locked, so that it may be swapped out (chapter 32).",
        ],
    })
}

/// That none of the types prints what it holds, for a seed that is known here.
fn printed(parameters: &Parameters) -> Result<AuditClaim, AuditError> {
    let bytes: [u8; 32] = std::array::from_fn(|i| (0xa0 + i) as u8);
    let seed = ClientSeed::stored(SecretSeed::from_bytes(&bytes));
    let printed = [
        format!("{:?}", SecretSeed::from_bytes(&bytes)),
        format!("{seed:?}"),
        format!("{:?}", EncryptionSeed::from_system()?),
        format!("{:?}", ClientKeys::generate(parameters, &seed)?),
    ];
    Ok(printed_claim(&bytes, &printed))
}

/// That texts show no run of a secret's bytes, as numbers or as hexadecimal digits.
fn printed_claim(secret: &[u8], texts: &[String]) -> AuditClaim {
    let shows = |text: &String| {
        secret.windows(3).any(|bytes| {
            let decimal = bytes.iter().map(u8::to_string).collect::<Vec<_>>();
            let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            text.contains(&decimal.join(", ")) || text.to_lowercase().contains(&hexadecimal)
        })
    };
    let shown = texts.iter().filter(|text| shows(text)).count();
    let sentence = "seeds and secret keys are not shown when they are printed for debugging";
    AuditClaim::new("E.printed", sentence, ClaimVerdict::of(shown == 0))
        .figure("types", texts.len() as f64, texts.len().to_string())
        .figure("shown", shown as f64, shown.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tfhe_core::sets;

    #[test]
    fn what_is_printed_is_looked_at() {
        let section = section(&sets::TOY.compile().unwrap()).unwrap();
        assert_eq!((section.count(ClaimVerdict::Holds), section.count(ClaimVerdict::Broken)), (1, 0));
        for text in ["Seed([1, 2, 160, 161, 162])", "Seed(a0A1a2)"] {
            let secret = [160, 161, 162, 163];
            assert_eq!(printed_claim(&secret, &[text.into()]).verdict, ClaimVerdict::Broken, "{text}");
        }
    }
}
