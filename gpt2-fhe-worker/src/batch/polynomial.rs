//! Polynomials of tables in few bytes.
//!
//! Most are those of smooth functions: what a value differs by from that which those before it let expect is small. So differences are sent, of
//! some order, between values some places apart (several functions take turns in one polynomial), in blocks of [`BLOCK`], each
//! with as many bits as its largest one has. Nothing is lost, whatever the polynomial is: one without any order takes as many bits as its elements
//! have, and little more.

use std::io;

use tfhe_core::format::{Decoder, Encoder, FormatError};

/// How many differences have the same number of bits.
const BLOCK: usize = 64;
/// The forms that are tried, order and logarithm of the distance: few, as each takes time for every table.
const FORMS: [(u32, u32); 4] = [(0, 0), (3, 0), (3, 1), (3, 2)];

/// How a polynomial is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    /// Low bits that are zero in all elements.
    zeros: u32,
    order: u32,
    log_stride: u32,
}

impl Form {
    /// Differences, as many as elements: of an element that has none before it, to zero.
    fn differences(self, elements: &[u64]) -> Vec<u64> {
        let mut differences: Vec<u64> = elements.iter().map(|x| x >> self.zeros).collect();
        for _ in 0..self.order {
            for i in (1 << self.log_stride..differences.len()).rev() {
                differences[i] = differences[i].wrapping_sub(differences[i - (1 << self.log_stride)]);
            }
        }
        // Small ones of either sign to small numbers.
        differences.into_iter().map(|x| self.signed(x)).map(|x| ((x << 1) ^ (x >> 63)) as u64).collect()
    }

    /// Elements are modulo 2^(64 − zeros), and so are differences.
    fn signed(self, x: u64) -> i64 {
        (x << self.zeros) as i64 >> self.zeros
    }

    fn elements(self, differences: &[u64]) -> Vec<u64> {
        let mut elements: Vec<u64> = differences.iter().map(|x| (x >> 1) ^ (x & 1).wrapping_neg()).collect();
        for _ in 0..self.order {
            for i in 1 << self.log_stride..elements.len() {
                elements[i] = elements[i].wrapping_add(elements[i - (1 << self.log_stride)]);
            }
        }
        elements.into_iter().map(|x| x << self.zeros).collect()
    }
}

fn width(block: &[u64]) -> u32 {
    u64::BITS - block.iter().fold(0, |all, x| all | x).leading_zeros()
}

/// The form with the fewest bits, the first of several.
fn form(elements: &[u64]) -> Form {
    let zeros = elements.iter().fold(0, |all, x| all | x).trailing_zeros().min(u64::BITS - 1);
    let forms = FORMS.map(|(order, log_stride)| Form { zeros, order, log_stride }).into_iter();
    let bits = |form: &Form| form.differences(elements).chunks(BLOCK).map(width).sum::<u32>();
    forms.min_by_key(bits).unwrap_or(Form { zeros, order: 0, log_stride: 0 })
}

/// Writes the coefficients of a polynomial.
///
/// # Errors
/// Those of what is written to.
pub(super) fn write(encoder: &mut Encoder<'_>, elements: &[u64]) -> io::Result<()> {
    let form = form(elements);
    [form.zeros, form.order, form.log_stride].into_iter().try_for_each(|number| encoder.integer(number.into()))?;
    for block in form.differences(elements).chunks(BLOCK) {
        let bits = width(block);
        encoder.integer(bits.into())?;
        if bits > 0 {
            let high: Vec<u64> = block.iter().map(|x| x << (u64::BITS - bits)).collect();
            encoder.elements(&high, bits)?;
        }
    }
    Ok(())
}

const OTHERWISE: FormatError = FormatError::Contents("a polynomial is not written as this program writes it");

/// Reads a polynomial of `size` coefficients. Of the ways to write one, that of [`write`] is accepted alone.
///
/// # Errors
/// [`FormatError`].
pub(super) fn read(decoder: &mut Decoder<'_>, size: usize) -> Result<Vec<u64>, FormatError> {
    let zeros = decoder.count(u64::BITS as usize - 1)? as u32;
    let (order, log_stride) = (decoder.integer()?, decoder.integer()?);
    let found = FORMS.into_iter().find(|&(a, b)| (u64::from(a), u64::from(b)) == (order, log_stride));
    let (order, log_stride) = found.ok_or(OTHERWISE)?;
    let mut differences = Vec::new();
    for start in (0..size).step_by(BLOCK) {
        let (count, bits) = (BLOCK.min(size - start), decoder.count(u64::BITS as usize)? as u32);
        if bits == 0 {
            differences.extend(std::iter::repeat_n(0, count));
        } else {
            let block: Vec<u64> = decoder.elements(count, bits)?.into_iter().map(|x| x >> (u64::BITS - bits)).collect();
            if width(&block) != bits {
                return Err(OTHERWISE);
            }
            differences.extend(block);
        }
    }
    let written = Form { zeros, order, log_stride };
    let elements = written.elements(&differences);
    let is_own = form(&elements) == written && written.differences(&elements) == differences;
    if is_own { Ok(elements) } else { Err(OTHERWISE) }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use tfhe_core::fingerprint::Fields;
    use tfhe_core::format::{self, Header, Kind};
    use tfhe_core::keys::Identity;
    use tfhe_core::params::GlweShape;
    use tfhe_core::refresh::{FunctionTable, FunctionTables};

    use super::*;
    use crate::testing::Toy;

    static IDENTITY: LazyLock<Identity> = LazyLock::new(|| *Toy::new(1).sent.identity());

    fn bytes(elements: &[u64]) -> Vec<u8> {
        let nothing = Fields::new("nothing").fingerprint();
        let header = Header { kind: Kind(*b"test    "), identity: *IDENTITY, context: nothing };
        let mut bytes = Vec::new();
        format::write(&mut bytes, &header, |encoder| write(encoder, elements)).unwrap();
        let length = bytes.len() as u64;
        let document = format::read(&mut &bytes[..], length, length).unwrap();
        let mut decoder = document.open_of(header.kind).unwrap();
        assert_eq!(read(&mut decoder, elements.len()).unwrap(), elements);
        decoder.finish().unwrap();
        bytes
    }

    /// The tables of blocks: smooth functions, to the bits of results.
    #[test]
    fn smooth_tables_take_few_bytes() {
        let shape = GlweShape::new(1, 2048).unwrap();
        let functions: [&dyn Fn(f64) -> f64; 4] =
            [&|x| (-(8.0 * x)).exp() / 64.0, &|x| x * x, &|x| x / (1.0 + (-20.0 * x).exp()), &|x| {
                0.1 * (6.0 * x).sin() - 0.03 * x
            }];
        for (number, function) in functions.into_iter().enumerate() {
            let table = FunctionTable::new(shape, 0.1..=0.1, function).unwrap().rounded(30);
            let found = bytes(table.as_tables().polynomial().body()).len();
            assert!(found < 2048 * 30 / 8 / 3, "function {number}: {found} bytes");
        }
        // Two that take turns.
        let both = FunctionTables::new(shape, 0.1..=0.1, &functions[1..3]).unwrap();
        assert!(bytes(both.polynomial().body()).len() < 2048 * 8 * 2 / 3);
    }

    #[test]
    fn what_has_no_order_takes_little_more_than_its_elements() {
        let mut x = 1_u64;
        let elements = std::iter::repeat_with(|| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            x
        });
        let elements: Vec<u64> = elements.take(2048).collect();
        assert!(bytes(&elements).len() < 2048 * 8 + 1024);
        assert!(bytes(&[0; 64]).len() < 300);
        bytes(&[]);
    }

    proptest! {
        #[test]
        fn every_polynomial_comes_back(elements in prop::collection::vec(any::<u64>(), 0..200), zeros in 0_u32..64, smooth in any::<bool>()) {
            let elements: Vec<u64> = elements.iter().scan(0_u64, |sum, x| {
                *sum = if smooth { sum.wrapping_add(x >> 40) } else { *x };
                Some(*sum >> zeros << zeros)
            }).collect();
            bytes(&elements);
        }
    }
}
