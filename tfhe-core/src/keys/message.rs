//! What travels between a client and a server, and how each knows that it belongs to its keys.
//!
//! A ciphertext that meets a key of another client, or of another parameter set, decrypts to noise, and nothing in it says why. So what
//! crosses the boundary carries a [`Label`]: the set, the keys, the encoding, the request. Both sides compare it before they
//! touch a ciphertext ([`Request::open`], [`ClientKeys::decrypt`](super::ClientKeys::decrypt)), and what does not belong together is a
//! [`Mismatch`].
//!
//! Ciphertexts themselves ([`GlweCiphertext`], [`crate::lwe::LweCiphertext`]) carry none. Within a circuit they come out of one opened
//! request and meet the keys that it was opened for and no others, so one comparison for each request covers the millions
//! of operations behind it, which pay nothing for it.
//!
//! Labels are public and serve to notice mistakes: of files, of versions, of whoever connects parties. Nobody is kept
//! from copying one, so they are no protection against a server that wants to deceive.

use super::evaluation::EvaluationKeys;
use super::label::{Label, Mismatch, check_ciphertexts};
use crate::fingerprint::Fingerprint;
use crate::glwe::{GlweCiphertext, SeededGlweCiphertext};
use crate::params::PolynomialSize;

/// Ciphertexts under the arithmetic ring's key, from a client to a server.
///
/// ```
/// use tfhe_core::derivation::ClientSeed;
/// use tfhe_core::fingerprint::Fields;
/// use tfhe_core::keys::{ClientKeys, Mismatch, Needs};
/// use tfhe_core::sets;
/// use zeroize::Zeroizing;
///
/// let set = sets::TOY.compile()?;
/// let client = || ClientKeys::generate(&set, &ClientSeed::from_system()?).map_err(Box::<dyn std::error::Error>::from);
/// let (ours, theirs) = (client()?, client()?);
/// let encoding = Fields::new("a polynomial of zeros").fingerprint();
/// let request = ours.encrypt(&[Zeroizing::new(vec![0; set.arithmetic().size().get()])], &encoding, 64)?;
///
/// let [keys, others] = [&ours, &theirs].map(|client| client.evaluation_keys(&Needs::default()));
/// assert!(request.open(&keys?.prepare()?, &encoding, 1).is_ok());
/// assert_eq!(request.open(&others?.prepare()?, &encoding, 1), Err(Mismatch::Keys("request")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub(super) label: Label,
    pub(super) ciphertexts: Vec<SeededGlweCiphertext>,
    /// Of a coefficient of a body.
    pub(super) bits: u32,
}

impl Request {
    /// Of ciphertexts that were encrypted as `label` says, with bodies of `bits` bits.
    pub(crate) fn from_parts(label: Label, ciphertexts: Vec<SeededGlweCiphertext>, bits: u32) -> Self {
        Self { label, ciphertexts, bits }
    }

    /// The name of requests in errors.
    pub(super) const NAME: &str = "request";

    /// What it belongs to. Its answer has the same.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// The ciphertexts, if they can be computed with by `keys`, are encoded as `context` says, and are `count`.
    ///
    /// # Errors
    /// The first thing that does not belong together.
    pub fn open(
        &self,
        keys: &EvaluationKeys,
        context: &Fingerprint,
        count: usize,
    ) -> Result<&[SeededGlweCiphertext], Mismatch> {
        self.label.identity.check(keys.identity(), Self::NAME)?;
        if self.label.context != *context {
            return Err(Mismatch::Context(Self::NAME));
        }
        let shapes = self.ciphertexts.iter().map(SeededGlweCiphertext::shape);
        check_ciphertexts(Self::NAME, shapes, count, keys.parameters().arithmetic().shape)?;
        Ok(&self.ciphertexts)
    }

    /// The ciphertexts, whatever they belong to: for who only looks at them.
    pub fn ciphertexts(&self) -> &[SeededGlweCiphertext] {
        &self.ciphertexts
    }

    /// How many bits of each coefficient of a body are sent: the others are zero.
    pub fn bits(&self) -> u32 {
        self.bits
    }
}

/// Ciphertexts under the arithmetic ring's key, from a server to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub(super) label: Label,
    pub(super) ciphertexts: Vec<GlweCiphertext>,
    /// Of a coefficient.
    pub(super) bits: u32,
    /// How many coefficients of a body are sent.
    pub(super) bodies: usize,
}

impl Answer {
    /// An answer to the request of which this is the label, rounded to `bits` bits a coefficient, at most 64.
    ///
    /// # Examples
    /// An answer is to one request, and no other.
    /// ```
    /// # use tfhe_core::derivation::ClientSeed;
    /// # use tfhe_core::keys::ClientKeys;
    /// # let set = tfhe_core::sets::TOY.compile()?;
    /// # let client = ClientKeys::generate(&set, &ClientSeed::from_system()?)?;
    /// // `set` is the set `toy`, `client` has keys of it.
    /// use tfhe_core::fingerprint::Fields;
    /// use tfhe_core::keys::{Answer, Mismatch};
    /// use zeroize::Zeroizing;
    ///
    /// let encoding = Fields::new("a polynomial of zeros").fingerprint();
    /// let request = || client.encrypt(&[Zeroizing::new(vec![0; 64])], &encoding, 64);
    /// let (first, second) = (request()?, request()?);
    /// let answer = Answer::new(first.label(), vec![first.ciphertexts()[0].expand()], 20);
    /// assert!(client.decrypt(&answer, first.label(), 1).is_ok());
    /// assert_eq!(client.decrypt(&answer, second.label(), 1).unwrap_err(), Mismatch::Request);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(request: &Label, mut ciphertexts: Vec<GlweCiphertext>, bits: u32) -> Self {
        ciphertexts.iter_mut().for_each(|ciphertext| ciphertext.round(bits));
        Self { label: request.clone(), ciphertexts, bits, bodies: usize::MAX }
    }

    /// The same with the first `count` coefficients of each body alone, where the others hold nothing to be read.
    #[must_use]
    pub fn with_bodies_of(mut self, count: usize) -> Self {
        self.ciphertexts
            .iter_mut()
            .for_each(|ciphertext| ciphertext.body_mut().iter_mut().skip(count).for_each(|x| *x = 0));
        Self { bodies: count.min(self.bodies), ..self }
    }

    /// How many bits of each coefficient are sent: the others are zero.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// How many coefficients of a body of `size` are sent: the others are zero.
    pub fn bodies(&self, size: PolynomialSize) -> usize {
        self.bodies.min(size.get())
    }

    /// The label of the request that it answers.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// The ciphertexts, whatever they are.
    pub fn ciphertexts(&self) -> &[GlweCiphertext] {
        &self.ciphertexts
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::derivation::ClientSeed;
    use crate::fingerprint::Fields;
    use crate::key_graph::{Node, ParametersLiteral};
    use crate::keys::{ClientKeys, Needs};
    use crate::params::{Grouping, Precision};
    use crate::random::SecretSeed;
    use crate::sets::TOY;

    const COUNT: usize = 2;

    struct Party {
        keys: ClientKeys,
        server: EvaluationKeys,
    }

    impl Party {
        fn new(literal: ParametersLiteral, seed: &ClientSeed) -> Self {
            let keys = ClientKeys::generate(&literal.compile().unwrap(), seed).unwrap();
            let server = keys.evaluation_keys(&Needs::default().keyswitch(Node::Lookup)).unwrap().prepare().unwrap();
            assert_eq!(server.identity(), keys.identity());
            Self { keys, server }
        }

        fn request(&self, first: u64) -> Request {
            let size = self.keys.parameters().arithmetic().size().get();
            let plaintexts: Vec<_> = (0..COUNT as u64).map(|i| Zeroizing::new(vec![(first + i) << 60; size])).collect();
            self.keys.encrypt(&plaintexts, &context(), 64).unwrap()
        }
    }

    fn context() -> Fingerprint {
        Fields::new("test").fingerprint()
    }

    fn seed() -> ClientSeed {
        ClientSeed::from_number(1)
    }

    /// The same set with one number changed.
    fn other_set() -> ParametersLiteral {
        ParametersLiteral { bootstraps: &[(Node::Lookup, (7, 3, Precision::Single), Grouping::One)], ..TOY }
    }

    fn answer(request: &Request) -> Answer {
        Answer::new(request.label(), request.ciphertexts().iter().map(SeededGlweCiphertext::expand).collect(), 64)
    }

    #[test]
    fn what_belongs_together_is_opened() {
        // Keys that are made again from the seed are the same.
        let (party, again) =
            (Party::new(TOY, &seed()), Party::new(TOY, &ClientSeed::stored(SecretSeed::from_number(1))));
        for request in [party.request(1), again.request(1)] {
            assert_eq!(request.open(&party.server, &context(), COUNT), Ok(request.ciphertexts()));
            let phases = again.keys.decrypt(&answer(&request), request.label(), COUNT).unwrap();
            assert_eq!(phases.iter().map(|phase| (phase[0] + (1 << 59)) >> 60).collect::<Vec<_>>(), [1, 2]);
        }
    }

    /// What is rounded away is nowhere: neither in a request nor in an answer, nor in their bytes.
    #[test]
    fn what_is_sent_is_rounded() {
        // An envelope, a label, and five sizes.
        const OTHER: usize = 156 + 64 + 40;
        let party = Party::new(TOY, &seed());
        let size = party.keys.parameters().arithmetic().size();
        let plaintext = || Zeroizing::new(vec![3 << 60; size.get()]);
        let encrypt = |bits| party.keys.encrypt(&[plaintext()], &context(), bits).unwrap();
        let (whole, rounded) = (encrypt(64), encrypt(9));
        assert_eq!((whole.bytes(), rounded.bytes(), rounded.bits()), (OTHER + 64 * 8, OTHER + 64 * 9 / 8, 9));
        let [whole, expanded] = [&whole, &rounded].map(|request| request.ciphertexts()[0].expand());
        // The same masks, for the plaintexts are the same.
        assert_eq!(whole.mask(), expanded.mask());
        for (x, rounded) in whole.body().iter().zip(expanded.body()) {
            assert!(rounded.trailing_zeros() >= 55 && (x.wrapping_sub(*rounded) as i64).abs() <= 1 << 54);
        }

        let answer = Answer::new(rounded.label(), vec![expanded.clone()], 12);
        assert_eq!((answer.bits(), answer.bodies(size), answer.bytes()), (12, 64, OTHER + 128 * 12 / 8));
        assert!(answer.ciphertexts()[0].data().iter().all(|x| x.trailing_zeros() >= 52));
        let few = answer.clone().with_bodies_of(5);
        assert_eq!((few.bodies(size), few.bytes()), (5, OTHER + (64 + 5) * 12 / 8 + 1));
        assert_eq!(few.ciphertexts()[0].mask(), answer.ciphertexts()[0].mask());
        assert_eq!(few.ciphertexts()[0].body()[..5], answer.ciphertexts()[0].body()[..5]);
        assert!(few.ciphertexts()[0].body()[5..].iter().all(|&x| x == 0));
        let phase = &party.keys.decrypt(&few, rounded.label(), 1).unwrap()[0];
        // 2^-10 of a body and 33 times 2^-13 of masks, at most.
        assert!(phase[..5].iter().all(|x| (x.wrapping_sub(3 << 60) as i64).abs() < 1 << 57));
    }

    /// Another client's keys, keys of another set from the same seed, keys that were made anew, keys for another circuit.
    #[test]
    fn foreign_and_stale_keys_are_refused() {
        let party = Party::new(TOY, &seed());
        let request = party.request(1);
        let others = [
            (Party::new(TOY, &ClientSeed::from_number(2)), Mismatch::Keys("request")),
            (Party::new(other_set(), &seed()), Mismatch::Set("request")),
            (Party::new(TOY, &ClientSeed::from_system().unwrap()), Mismatch::Keys("request")),
            (Party::new(TOY, &seed().bound_to("circuit", 1)), Mismatch::Keys("request")),
        ];
        for (other, expected) in &others {
            assert_eq!(request.open(&other.server, &context(), COUNT).unwrap_err(), *expected);
            assert_eq!(other.request(1).open(&party.server, &context(), COUNT).unwrap_err(), *expected);
            let refused = other.keys.decrypt(&answer(&request), request.label(), COUNT).unwrap_err();
            let of_answer = if *expected == Mismatch::Set("request") { Mismatch::Set } else { Mismatch::Keys };
            assert_eq!(refused, of_answer("answer"));
            // An answer of one's own to a request of somebody else is no better.
            assert!(other.keys.decrypt(&answer(&other.request(1)), request.label(), COUNT).is_err());
        }
        let line = Mismatch::Keys("request").to_string();
        assert_eq!(
            line,
            "the request belongs to other keys: make it and the evaluation keys with one client, from one seed"
        );
    }

    #[test]
    fn what_is_not_expected_is_refused() {
        let party = Party::new(TOY, &seed());
        let (request, other) = (party.request(1), party.request(5));
        let open = |request: &Request, count| request.open(&party.server, &context(), count).unwrap_err();
        let encoding = Fields::new("another").fingerprint();
        let refused = request.open(&party.server, &encoding, COUNT).unwrap_err();
        assert_eq!(refused, Mismatch::Context("request"));
        assert_eq!(open(&request, 3), Mismatch::Count { what: "request", expected: 3, actual: COUNT });
        assert_eq!(
            open(&request, usize::MAX),
            Mismatch::Count { what: "request", expected: usize::MAX, actual: COUNT }
        );

        let decrypt = |answer: &Answer, count| party.keys.decrypt(answer, request.label(), count).unwrap_err();
        assert_eq!(decrypt(&answer(&other), COUNT), Mismatch::Request);
        assert_eq!(decrypt(&answer(&request), 1), Mismatch::Count { what: "answer", expected: 1, actual: COUNT });
        let of_encoding = Request { label: Label { context: encoding, ..request.label.clone() }, ..request.clone() };
        assert_eq!(decrypt(&answer(&of_encoding), COUNT), Mismatch::Context("answer"));
    }

    /// Ciphertexts of a larger ring under the label of another request.
    #[test]
    fn ciphertexts_of_another_ring_are_refused() {
        use crate::key_graph::{KeyLiteral, ShapeLiteral};
        const LARGE: KeyLiteral = KeyLiteral { shape: ShapeLiteral::Glwe(1, 128), ..TOY.keys[1] };
        let party = Party::new(TOY, &seed());
        let large = Party::new(ParametersLiteral { keys: &const { [TOY.keys[0], LARGE] }, ..TOY }, &seed());
        let (mut request, foreign) = (party.request(1), large.request(1));
        request.ciphertexts[1] = foreign.ciphertexts[1].clone();
        let refused = request.open(&party.server, &context(), COUNT).unwrap_err();
        let shape = large.keys.parameters().arithmetic().shape;
        assert_eq!(refused, Mismatch::Shape { what: "request", index: 1, shape });
        let refused = party.keys.decrypt(&answer(&request), request.label(), COUNT).unwrap_err();
        assert_eq!(refused, Mismatch::Shape { what: "answer", index: 1, shape });
        assert_eq!(
            refused.to_string(),
            "ciphertext 1 of the answer has 2 polynomials of 128 coefficients, not those of the set's ring"
        );
    }

    /// A name is no function of what is secret alone, and is the same nowhere else.
    #[test]
    fn names_of_keys_differ_where_keys_do() {
        let names: std::collections::HashSet<_> = [
            Party::new(TOY, &seed()),
            Party::new(TOY, &ClientSeed::from_number(2)),
            Party::new(TOY, &seed().bound_to("circuit", 1)),
            Party::new(other_set(), &seed()),
        ]
        .iter()
        .map(|party| party.keys.identity().keys)
        .collect();
        assert_eq!(names.len(), 4);
    }
}
