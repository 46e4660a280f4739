//! Batches and results as contents of envelopes.

use std::io::{self, ErrorKind};

use tfhe_core::fingerprint::{Fields, Fingerprint};
use tfhe_core::format::{self, Decoder, Document, Encoder, FormatError, Header, Kind};
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::Identity;
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::params::{GlweShape, PolynomialSize};
use tfhe_core::sets;

use super::{Batch, BatchError, BatchId, BatchResult, ExpectedResult, KeyName, RefusedBatch, polynomial};
use crate::info::{PROTOCOL, arithmetic};

/// A [`Batch`].
pub const BATCH: Kind = Kind(*b"batch   ");
/// A [`BatchResult`].
pub const RESULT: Kind = Kind(*b"result  ");

/// The most bytes of a name: of a worker, of an arithmetic.
const NAME_BYTES: usize = 100;
/// The most bytes of the line that says why there are no results.
const LINE_BYTES: usize = 1000;

const EMPTY: &str = "a batch has one lookup at least";
const LOOKUPS: &str = "a batch has as many lookups as inputs";
const SIZES: &str = "ciphertexts of another dimension, or another ring, than is expected";
const POLYNOMIAL: &str = "a lookup has a polynomial that is not there";
const POLYNOMIALS: &str = "a batch has more polynomials than lookups";
const BODIES: &str = "of a body, one coefficient to all of them are wanted";
const BITS: &str = "torus elements have 1 to 64 bits";
const TRIVIAL: &str = "a polynomial is encrypted";
const NAME: &str = "a name has 1 to 100 bytes, without control characters";
const LINE: &str = "the reason why there are no results is not one line";
const SECONDS: &str = "the time of computing is no number of seconds";
const COUNT: &str = "another number of results than is expected";
const OUTCOME: &str = "it says neither that there are results nor that there are none";

/// Where a result says of which batch it is: after the envelope's header, and the version.
const ID_AT: usize = format::HEADER_BYTES + size_of::<u64>();

/// As one line that can be sent: without control characters, and cut off where it is too long.
pub(crate) fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = (0..=LINE_BYTES.min(line.len())).rev().find(|&end| line.is_char_boundary(end)).unwrap_or_default();
    line[..end].to_owned()
}

fn is_line(text: &str, limit: usize) -> bool {
    (1..=limit).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// An error of whoever writes.
fn check(is_right: bool, otherwise: &'static str) -> io::Result<()> {
    if is_right { Ok(()) } else { Err(io::Error::new(ErrorKind::InvalidInput, otherwise)) }
}

/// An error of what is read.
fn expect(is_right: bool, otherwise: &'static str) -> Result<(), FormatError> {
    if is_right { Ok(()) } else { Err(FormatError::Contents(otherwise)) }
}

/// To what a batch belongs: all that decides which bits its results have, beside its keys.
fn batch_context(arithmetic: &str) -> Fingerprint {
    Fields::new("batch of blind rotations").integer(PROTOCOL.into()).name(arithmetic).fingerprint()
}

/// To what a result belongs.
fn result_context() -> Fingerprint {
    Fields::new("result of blind rotations").integer(PROTOCOL.into()).fingerprint()
}

/// Bits of an exponent: of multiples of 1/2N' of a turn.
fn exponent_bits(size: PolynomialSize) -> u32 {
    size.log2() + 1
}

/// k' and N' of results with bootstrapping gadget number `gadget`, if the set has it.
fn result_shape(parameters: &Parameters, gadget: usize) -> Option<GlweShape> {
    let bootstrap = parameters.bootstraps().get(gadget)?;
    Some(parameters.key(bootstrap.ring).ring()?.shape)
}

/// How many elements of a result are sent.
fn sent_len(shape: GlweShape, bodies: usize) -> usize {
    shape.extracted_lwe_dimension().get() + bodies
}

/// What batches and results begin with, whatever the version: so it can be said which one is refused.
fn write_id(encoder: &mut Encoder<'_>, id: BatchId) -> io::Result<()> {
    let run = u128::from_le_bytes(id.run);
    [PROTOCOL.into(), run as u64, (run >> 64) as u64, id.number].into_iter().try_for_each(|x| encoder.integer(x))
}

fn read_id(decoder: &mut Decoder<'_>) -> Result<BatchId, BatchError> {
    let protocol = decoder.integer()?;
    let run = u128::from(decoder.integer()?) | u128::from(decoder.integer()?) << 64;
    let id = BatchId { run: run.to_le_bytes(), number: decoder.integer()? };
    if protocol == u64::from(PROTOCOL) { Ok(id) } else { Err(BatchError::Protocol(protocol)) }
}

fn read_line(decoder: &mut Decoder<'_>, limit: usize, otherwise: &'static str) -> Result<String, FormatError> {
    let text = String::from_utf8(decoder.bytes(limit)?).map_err(|_| FormatError::Contents(otherwise))?;
    expect(is_line(&text, limit), otherwise)?;
    Ok(text)
}

/// An envelope whose bytes are all there.
fn open(bytes: &[u8]) -> Result<Document, FormatError> {
    let available = bytes.len() as u64;
    format::read(&mut &bytes[..], available, available)
}

impl Batch {
    /// What is known of its result: of a batch without lookups or polynomials, nothing.
    pub fn expected(&self) -> Option<ExpectedResult> {
        let shape = self.polynomials.first()?.shape();
        let bodies = self.lookups.iter().map(|lookup| lookup.1).collect();
        Some(ExpectedResult { identity: self.identity, shape, bits: self.bits, bodies })
    }

    /// The bytes of a file, for workers with the arithmetic of this process.
    ///
    /// # Errors
    /// If it is no batch: an input is not rounded to exponents, a polynomial is no trivial ciphertext, a lookup has no polynomial, sizes
    /// differ, there is nothing to compute.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        self.encode_for(&arithmetic())
    }

    /// [`Self::encode`], for workers with another arithmetic.
    ///
    /// # Errors
    /// As [`Self::encode`]; if the arithmetic's name is no name.
    pub fn encode_for(&self, arithmetic: &str) -> io::Result<Vec<u8>> {
        self.check()?;
        check(is_line(arithmetic, NAME_BYTES), NAME)?;
        let header = Header { kind: BATCH, identity: self.identity, context: batch_context(arithmetic) };
        let mut bytes = Vec::new();
        format::write(&mut bytes, &header, |encoder| self.write(encoder, arithmetic))?;
        Ok(bytes)
    }

    fn check(&self) -> io::Result<()> {
        let (Some(input), Some(polynomial)) = (self.inputs.first(), self.polynomials.first()) else {
            return check(false, EMPTY);
        };
        let shape = polynomial.shape();
        check(self.inputs.len() == self.lookups.len(), LOOKUPS)?;
        check(self.polynomials.len() <= self.inputs.len(), POLYNOMIALS)?;
        check((1..=u64::BITS).contains(&self.bits), BITS)?;
        check(self.inputs.iter().all(|other| other.dimension() == input.dimension()), SIZES)?;
        for polynomial in &self.polynomials {
            check(polynomial.shape() == shape, SIZES)?;
            check(polynomial.mask().iter().all(|&x| x == 0), TRIVIAL)?;
        }
        self.lookups.iter().try_for_each(|&(polynomial, bodies)| {
            check(polynomial < self.polynomials.len(), POLYNOMIAL)?;
            check((1..=shape.polynomial_size.get()).contains(&bodies), BODIES)
        })
    }

    fn write(&self, encoder: &mut Encoder<'_>, arithmetic: &str) -> io::Result<()> {
        let (Some(input), Some(polynomial)) = (self.inputs.first(), self.polynomials.first()) else {
            return check(false, EMPTY);
        };
        let shape = polynomial.shape();
        write_id(encoder, self.id)?;
        encoder.bytes(arithmetic.as_bytes())?;
        encoder.digest(&self.keys.0)?;
        let sizes = [input.dimension(), shape.dimension.get(), shape.polynomial_size.get()];
        let counts = [self.inputs.len(), self.polynomials.len()];
        encoder.integer(self.gadget as u64)?;
        encoder.integer(self.bits.into())?;
        sizes.into_iter().chain(counts).try_for_each(|number| encoder.integer(number as u64))?;
        for &(polynomial, bodies) in &self.lookups {
            encoder.integer(polynomial as u64)?;
            encoder.integer(bodies as u64)?;
        }
        let bits = exponent_bits(shape.polynomial_size);
        self.inputs.iter().try_for_each(|input| encoder.elements(input.data(), bits))?;
        self.polynomials.iter().try_for_each(|p| polynomial::write(encoder, p.body()))
    }

    /// A batch out of the bytes of a file, for this process.
    ///
    /// # Errors
    /// [`RefusedBatch`], with the batch's id where that could be read.
    pub fn decode(bytes: &[u8]) -> Result<Self, Box<RefusedBatch>> {
        Self::decode_for(&arithmetic(), bytes)
    }

    /// [`Self::decode`], for a worker with this arithmetic.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_for(own: &str, bytes: &[u8]) -> Result<Self, Box<RefusedBatch>> {
        let unknown = |error| Box::new(RefusedBatch { batch: None, error });
        let document = open(bytes).map_err(|error| unknown(error.into()))?;
        let mut decoder = document.open_of(BATCH).map_err(|error| unknown(error.into()))?;
        let id = read_id(&mut decoder).map_err(unknown)?;
        let header = document.header();
        let of = (id, header.identity);
        Self::read(id, header, (decoder, own)).map_err(|error| Box::new(RefusedBatch { batch: Some(of), error }))
    }

    fn read(id: BatchId, header: &Header, (mut decoder, own): (Decoder<'_>, &str)) -> Result<Self, BatchError> {
        let asked = read_line(&mut decoder, NAME_BYTES, NAME)?;
        if asked != own {
            return Err(BatchError::Arithmetic { asked, own: own.to_owned() });
        }
        let identity = header.identity;
        header.check_of(BATCH, &identity.set, &batch_context(own))?;
        let parameters = sets::by_fingerprint(&identity.set).ok_or(BatchError::Set)?;
        let keys = KeyName(decoder.digest()?);
        let gadget = decoder.count(parameters.bootstraps().len())?;
        let shape = result_shape(&parameters, gadget);
        let shape = shape.ok_or(FormatError::Contents("the parameter set has no such bootstrapping gadget"))?;
        let bits = decoder.count(u64::BITS as usize)? as u32;
        expect(bits >= 1, BITS)?;
        let dimension = parameters.small().lwe_dimension().get();
        for size in [dimension, shape.dimension.get(), shape.polynomial_size.get()] {
            expect(decoder.integer()? == size as u64, SIZES)?;
        }
        // Nothing is taken for so many before they come.
        let [inputs, polynomials] = [decoder.count(usize::MAX)?, decoder.count(usize::MAX)?];
        expect(inputs >= 1 && polynomials >= 1, EMPTY)?;
        // One that no lookup has would take memory for little.
        expect(polynomials <= inputs, POLYNOMIALS)?;
        let mut lookup = |_| {
            let lookup = (decoder.count(usize::MAX)?, decoder.count(usize::MAX)?);
            expect(lookup.0 < polynomials, POLYNOMIAL)?;
            expect((1..=shape.polynomial_size.get()).contains(&lookup.1), BODIES)?;
            Ok::<_, FormatError>(lookup)
        };
        let lookups = (0..inputs).map(&mut lookup).collect::<Result<_, _>>()?;
        let exponents = exponent_bits(shape.polynomial_size);
        let mut input = |_| Ok::<_, FormatError>(LweCiphertext::from_data(decoder.elements(dimension + 1, exponents)?));
        let inputs = (0..inputs).map(&mut input).collect::<Result<_, _>>()?;
        let mut polynomial = |_| {
            let body = polynomial::read(&mut decoder, shape.polynomial_size.get())?;
            Ok::<_, FormatError>(GlweCiphertext::trivial(shape, &body))
        };
        let polynomials = (0..polynomials).map(&mut polynomial).collect::<Result<_, _>>()?;
        decoder.finish()?;
        Ok(Self { id, identity, keys, gadget, bits, inputs, polynomials, lookups })
    }
}

impl ExpectedResult {
    /// The most bytes that the file of such a result has.
    pub fn bytes(&self) -> u64 {
        let elements = self.bodies.iter().map(|&bodies| sent_len(self.shape, bodies) as u64);
        let packed = |elements: u64| elements.saturating_mul(self.bits.into()).div_ceil(8);
        let numbers = 8 * 11 + NAME_BYTES as u64;
        elements.map(packed).fold(format::ENVELOPE_BYTES + numbers, u64::saturating_add)
    }

    fn sizes(&self) -> [u64; 4] {
        let (k, n) = (self.shape.dimension.get(), self.shape.polynomial_size.get());
        [self.bodies.len() as u64, k as u64, n as u64, self.bits.into()]
    }

    /// What is sent of one result, and is kept of it.
    pub(crate) fn trim(&self, results: &mut [GlweCiphertext]) {
        for (result, &bodies) in results.iter_mut().zip(&self.bodies) {
            result.round(self.bits);
            result.body_mut().iter_mut().skip(bodies).for_each(|x| *x = 0);
        }
    }
}

impl BatchResult {
    /// The bytes of a file. `expected`: as of the batch ([`Batch::expected`]); of a refusal, nothing.
    ///
    /// # Errors
    /// If it is no such result: other sizes, elements that are not rounded, coefficients of bodies that nobody wants and that are not zero;
    /// a name or a reason that is not one line.
    pub fn encode(&self, expected: Option<&ExpectedResult>) -> io::Result<Vec<u8>> {
        check(is_line(&self.worker, NAME_BYTES), NAME)?;
        check(self.seconds.is_finite() && self.seconds >= 0.0, SECONDS)?;
        let header = Header { kind: RESULT, identity: self.identity, context: result_context() };
        let mut bytes = Vec::new();
        format::write(&mut bytes, &header, |encoder| self.write(encoder, expected))?;
        Ok(bytes)
    }

    fn write(&self, encoder: &mut Encoder<'_>, expected: Option<&ExpectedResult>) -> io::Result<()> {
        write_id(encoder, self.id)?;
        encoder.bytes(self.worker.as_bytes())?;
        encoder.real(self.seconds)?;
        let results = match (&self.outcome, expected) {
            (Ok(results), Some(expected)) => (results, expected),
            (Ok(_), None) => return check(false, COUNT),
            (Err(line), _) => {
                check(is_line(line, LINE_BYTES), LINE)?;
                encoder.integer(0)?;
                return encoder.bytes(line.as_bytes());
            }
        };
        let (results, expected) = results;
        check(results.len() == expected.bodies.len(), COUNT)?;
        encoder.integer(1)?;
        expected.sizes().into_iter().try_for_each(|size| encoder.integer(size))?;
        results.iter().zip(&expected.bodies).try_for_each(|(result, &bodies)| {
            check(result.shape() == expected.shape, SIZES)?;
            let sent = result.data().split_at_checked(sent_len(expected.shape, bodies));
            let Some((sent, rest)) = sent.filter(|_| bodies >= 1) else { return check(false, BODIES) };
            check(rest.iter().all(|&x| x == 0), BODIES)?;
            encoder.elements(sent, expected.bits)
        })
    }

    /// Which batch it says that it is of, whatever else is in it: to give it to whoever waits for it, and decodes it.
    pub fn peek(bytes: &[u8]) -> Option<BatchId> {
        let (run, rest) = bytes.get(ID_AT..)?.split_first_chunk()?;
        Some(BatchId { run: *run, number: u64::from_le_bytes(*rest.first_chunk()?) })
    }

    /// A result out of the bytes of a file. `expected` is asked, with the batch's id and the worker's name, what the result is to be: nothing
    /// if nobody waits for it. Memory is taken for what is expected, once as many bytes are there.
    ///
    /// # Errors
    /// [`BatchError`]; of a result that is not expected, [`BatchError::Unknown`].
    pub fn decode(
        bytes: &[u8],
        expected: impl FnOnce(BatchId, &str) -> Option<ExpectedResult>,
    ) -> Result<Self, BatchError> {
        let document = open(bytes)?;
        let mut decoder = document.open_of(RESULT)?;
        let id = read_id(&mut decoder)?;
        let identity: Identity = document.header().identity;
        document.header().check_of(RESULT, &identity.set, &result_context())?;
        let worker = read_line(&mut decoder, NAME_BYTES, NAME)?;
        let expected = expected(id, &worker).ok_or(BatchError::Unknown(id))?;
        document.header().check(&Header { kind: RESULT, identity: expected.identity, context: result_context() })?;
        let seconds = decoder.real()?;
        expect(seconds.is_finite() && seconds >= 0.0, SECONDS)?;
        let outcome = match decoder.integer()? {
            0 => Err(read_line(&mut decoder, LINE_BYTES, LINE)?),
            1 => Ok(read_results(&mut decoder, &expected)?),
            _ => return Err(FormatError::Contents(OUTCOME).into()),
        };
        decoder.finish()?;
        Ok(Self { id, identity, worker, seconds, outcome })
    }
}

fn read_results(decoder: &mut Decoder<'_>, expected: &ExpectedResult) -> Result<Vec<GlweCiphertext>, FormatError> {
    for (size, otherwise) in expected.sizes().into_iter().zip([COUNT, SIZES, SIZES, SIZES]) {
        expect(decoder.integer()? == size, otherwise)?;
    }
    let result = |&bodies: &usize| {
        let sent = decoder.elements(sent_len(expected.shape, bodies), expected.bits)?;
        let mut result = GlweCiphertext::zero(expected.shape);
        result.data_mut().iter_mut().zip(sent).for_each(|(x, sent)| *x = sent);
        Ok(result)
    };
    expected.bodies.iter().map(result).collect()
}
