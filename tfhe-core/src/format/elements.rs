//! Torus elements at b bits each, without gaps.
//!
//! Bit i of the packed bytes is bit i mod 8 of byte ⌊i/8⌋, and element j is at bits j·b to (j+1)·b − 1: the integer x·2^-(64−b) of
//! the element x, from its least significant bit on. With b = 64 these are the elements as little-endian integers. The last byte is
//! filled up with zeros.

/// So many elements are packed at a time: with any b they end with a byte.
pub(super) const CHUNK: usize = 1024;

/// Bytes of `count` elements of `bits` bits; the largest number there is where that is more.
pub(super) fn packed_bytes(count: u64, bits: u32) -> u64 {
    let bytes = (u128::from(count) * u128::from(bits)).div_ceil(8);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Whether elements can have so many bits.
pub(super) fn is_possible(bits: u32) -> bool {
    (1..=u64::BITS).contains(&bits)
}

/// Appends the bytes of elements, or `None` if one of them has more than `bits` bits, which are 1 to 64.
pub(super) fn pack(elements: &[u64], bits: u32, bytes: &mut Vec<u8>) -> Option<()> {
    let unused = u64::BITS - bits;
    // The next bits, of which `held` are known.
    let (mut next, mut held) = (0_u128, 0);
    for &element in elements {
        let integer = element >> unused;
        if integer << unused != element {
            return None;
        }
        next |= u128::from(integer) << held;
        held += bits;
        if held >= u64::BITS {
            bytes.extend((next as u64).to_le_bytes());
            next >>= u64::BITS;
            held -= u64::BITS;
        }
    }
    bytes.extend(&next.to_le_bytes()[..held.div_ceil(8) as usize]);
    Some(())
}

/// Appends the elements that were packed in these bytes, or `None` if the last byte is not filled up with zeros. `bits` is 1 to 64, and the
/// bytes are [`packed_bytes`] of `count`.
pub(super) fn unpack(bytes: &[u8], count: usize, bits: u32, elements: &mut Vec<u64>) -> Option<()> {
    let unused = u64::BITS - bits;
    let mut words = bytes.chunks(size_of::<u64>());
    let (mut next, mut held) = (0_u128, 0);
    for _ in 0..count {
        if held < bits {
            let (mut word, read) = ([0; size_of::<u64>()], words.next().unwrap_or_default());
            word[..read.len()].copy_from_slice(read);
            next |= u128::from(u64::from_le_bytes(word)) << held;
            held += u64::BITS;
        }
        elements.push((next as u64) << unused);
        next >>= bits;
        held -= bits;
    }
    (next == 0).then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(integers in prop::collection::vec(any::<u64>(), 0..70), bits in 1..=64_u32) {
            let elements: Vec<u64> = integers.iter().map(|x| x << (64 - bits)).collect();
            let (mut bytes, mut again) = (Vec::new(), Vec::new());
            pack(&elements, bits, &mut bytes).unwrap();
            prop_assert_eq!(bytes.len() as u64, packed_bytes(elements.len() as u64, bits));
            unpack(&bytes, elements.len(), bits, &mut again).unwrap();
            prop_assert_eq!(&again, &elements);
            // Bit by bit, by the definition.
            for (j, &element) in elements.iter().enumerate() {
                for i in 0..bits as usize {
                    let at = j * bits as usize + i;
                    prop_assert_eq!(u64::from(bytes[at / 8] >> (at % 8) & 1), element >> (64 - bits as usize + i) & 1);
                }
            }
            // What fills the last byte is zero, and each of its bits is looked at.
            for at in elements.len() * bits as usize..8 * bytes.len() {
                let mut changed = bytes.clone();
                changed[at / 8] |= 1 << (at % 8);
                prop_assert_eq!(unpack(&changed, elements.len(), bits, &mut Vec::new()), None);
            }
        }

        #[test]
        fn elements_of_more_bits_are_refused(element: u64, bits in 1..64_u32, extra: prop::sample::Index) {
            let element = element >> (64 - bits) << (64 - bits) | 1 << extra.index(64 - bits as usize);
            prop_assert_eq!(pack(&[0, element], bits, &mut Vec::new()), None);
        }
    }

    #[test]
    fn lengths_do_not_wrap_around() {
        assert_eq!(packed_bytes(1 << 60, 64), 1 << 63);
        assert_eq!(packed_bytes(u64::MAX, 64), u64::MAX);
        assert_eq!(packed_bytes(3, 5), 2);
        // Chunks end with a byte.
        assert!((1..=64).all(|bits| (CHUNK * bits).is_multiple_of(8)));
    }
}
