//! Bootstrapping keys: GGSW encryptions, under a GLWE key, of the bits of an LWE key, or of what tells which of two bits are 1.
//!
//! What they are for: [`crate::blind_rotation`] and [`crate::programmable_bootstrap`].
//!
//! In the book: [chapter 5, bootstrapping](../../../book/05-bootstrapping.html).

use rayon::prelude::*;

use crate::fft::NegacyclicFft;
use crate::gadget_product::{FourierTriple, GadgetScratch};
use crate::ggsw::{FourierGgsw, SeededGgswCiphertext};
use crate::params::{Gadget, GlweShape, Grouping, LweDimension};

#[cfg(feature = "secret-keys")]
mod secret;

/// A bootstrapping key as stored: of each group of bits of an LWE key, GGSW encryptions.
///
/// | grouping | messages, in order |
/// |---|---|
/// | one | s_1, s_2, … |
/// | two | s_1·(1 − s_2), (1 − s_1)·s_2, s_1·s_2; s_3·(1 − s_4), …; a last bit that is left over is beside a zero |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeededBootstrappingKey {
    dimension: LweDimension,
    grouping: Grouping,
    ciphertexts: Vec<SeededGgswCiphertext>,
}

impl SeededBootstrappingKey {
    /// Transforms the key for use with plan `fft`, releasing the stored one as it goes.
    pub fn prepare(self, fft: &NegacyclicFft, shape: GlweShape) -> BootstrappingKey {
        let Self { dimension, grouping, mut ciphertexts } = self;
        let count = grouping.steps(dimension);
        let steps = match grouping {
            Grouping::One => {
                Steps::Bits(FourierGgsw::gather(count, in_parallel(ciphertexts, 1, |bit| bit[0].prepare(fft))))
            }
            Grouping::Two => {
                let rows = |group: &[SeededGgswCiphertext]| {
                    let [a, b, c] = group else { unreachable!("three for each group") };
                    [a, b, c].map(SeededGgswCiphertext::expand)
                };
                let gadget = ciphertexts[0].gadget();
                let later = ciphertexts.split_off(3);
                // s_1·(1 − s_2) + s_1·s_2 = s_1, and as much for s_2.
                let [first, second, both] = rows(&ciphertexts);
                let first = [first, second].map(|mut one| {
                    one.iter_mut().zip(&both).for_each(|(x, y)| *x = x.wrapping_add(*y));
                    FourierGgsw::from_rows(fft, shape, gadget, &one)
                });
                let columns = shape.dimension.get() + 1;
                let triple =
                    |group: &[SeededGgswCiphertext]| FourierTriple::prepare(fft, gadget, columns, &rows(group));
                Steps::Pairs { first, later: FourierTriple::gather(count - 1, in_parallel(later, 3, triple)) }
            }
        };
        BootstrappingKey { fft: fft.clone(), shape, dimension, steps }
    }
}

/// What `prepare` makes of each `size` of the ciphertexts, which are released as it goes.
fn in_parallel<T: Send>(
    mut rest: Vec<SeededGgswCiphertext>,
    size: usize,
    prepare: impl Fn(&[SeededGgswCiphertext]) -> T + Sync,
) -> impl Iterator<Item = T> {
    /// How many groups are prepared in parallel before they are moved to where they stay.
    const CHUNK: usize = 64;
    let chunks = std::iter::from_fn(move || {
        let later = rest.split_off(rest.len().min(CHUNK * size));
        let chunk = std::mem::replace(&mut rest, later);
        (!chunk.is_empty()).then(|| chunk.par_chunks(size).map(&prepare).collect::<Vec<_>>())
    });
    chunks.flatten()
}

/// A bootstrapping key in the Fourier domain.
#[derive(Clone, Debug)]
pub struct BootstrappingKey {
    fft: NegacyclicFft,
    shape: GlweShape,
    dimension: LweDimension,
    steps: Steps,
}

/// What each step of a blind rotation multiplies by.
#[derive(Clone, Debug)]
pub(crate) enum Steps {
    /// A GGSW encryption of each bit.
    Bits(Vec<FourierGgsw>),
    /// Of each bit of the first pair one, and three for each later pair, as in [`SeededBootstrappingKey`].
    Pairs { first: [FourierGgsw; 2], later: Vec<FourierTriple> },
}

impl BootstrappingKey {
    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        match &self.steps {
            Steps::Bits(bits) => bits.iter().map(FourierGgsw::bytes).sum(),
            Steps::Pairs { first, later } => {
                first.iter().map(FourierGgsw::bytes).chain(later.iter().map(FourierTriple::bytes)).sum()
            }
        }
    }

    /// The plan that it was prepared with.
    pub(crate) fn fft(&self) -> &NegacyclicFft {
        &self.fft
    }

    /// What the steps multiply by.
    pub(crate) fn steps(&self) -> &Steps {
        &self.steps
    }

    /// Working memory of one thread.
    pub(crate) fn scratch(&self) -> GadgetScratch {
        match &self.steps {
            Steps::Bits(bits) => bits[0].scratch(&self.fft),
            Steps::Pairs { .. } => FourierTriple::scratch(&self.fft, self.gadget(), self.shape.dimension.get() + 1),
        }
    }

    /// (β, ℓ).
    pub fn gadget(&self) -> Gadget {
        match &self.steps {
            Steps::Bits(bits) => bits[0].gadget(),
            Steps::Pairs { first, .. } => first[0].gadget(),
        }
    }

    /// How many bits of the key a step takes.
    pub fn grouping(&self) -> Grouping {
        match &self.steps {
            Steps::Bits(_) => Grouping::One,
            Steps::Pairs { .. } => Grouping::Two,
        }
    }

    /// k and N.
    pub fn shape(&self) -> GlweShape {
        self.shape
    }

    /// n.
    pub fn lwe_dimension(&self) -> LweDimension {
        self.dimension
    }
}

/// Parts, for [`crate::raw`] and [`crate::format`].
impl SeededBootstrappingKey {
    /// Of its GGSW ciphertexts, as many as [`Grouping::ciphertexts`] says.
    pub(crate) fn from_ciphertexts(
        dimension: LweDimension,
        grouping: Grouping,
        ciphertexts: Vec<SeededGgswCiphertext>,
    ) -> Self {
        debug_assert_eq!(ciphertexts.len(), grouping.ciphertexts(dimension));
        Self { dimension, grouping, ciphertexts }
    }

    /// The GGSW ciphertexts of each group in turn.
    pub(crate) fn ciphertexts(&self) -> &[SeededGgswCiphertext] {
        &self.ciphertexts
    }
}

/// Parts, for [`crate::raw`].
impl BootstrappingKey {
    /// Of the GGSW encryption of each bit.
    pub(crate) fn from_bits(
        fft: &NegacyclicFft,
        shape: GlweShape,
        dimension: LweDimension,
        bits: Vec<FourierGgsw>,
    ) -> Self {
        let steps = Steps::Bits(FourierGgsw::gather(bits.len(), bits));
        Self { fft: fft.clone(), shape, dimension, steps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lwe::LweSecretKey;
    use crate::params::Precision;

    /// (k+1)·ℓ rows of k+1 polynomials for each ciphertext, 8 bytes to a coefficient, twice as many for halves; in order, with more bits
    /// than are prepared together. An odd number of bits has a group of its own for the last.
    #[test]
    fn keys_have_a_ciphertext_for_each_bit_or_three_for_two() {
        let setup = crate::testing::Setup::new(2, 16);
        let lwe = LweDimension::new(131).unwrap();
        let small = LweSecretKey::generate(&mut setup.seed.experiment_bits(1), lwe);
        let columns = 3;
        for (grouping, precision, ciphertexts, limbs) in [
            (Grouping::One, Precision::Single, 131, 1),
            (Grouping::One, Precision::Split, 131, 2),
            (Grouping::Two, Precision::Single, 3 * 66, 1),
        ] {
            let gadget = Gadget::new(8, 2, precision).unwrap();
            let seed = setup.seed.experiment(1);
            let seeded = SeededBootstrappingKey::generate_grouped(
                &setup.fft,
                &small,
                &setup.key,
                (gadget, grouping),
                setup.noise,
                seed,
            );
            let stored = seeded.ciphertexts().to_vec();
            assert_eq!(stored.len(), ciphertexts);
            let key = seeded.prepare(&setup.fft, setup.key.shape());
            assert_eq!((key.lwe_dimension(), key.gadget(), key.shape()), (lwe, gadget, setup.key.shape()));
            assert_eq!(key.grouping(), grouping);
            let prepared = grouping.prepared_ciphertexts(lwe);
            assert_eq!(key.bytes(), prepared * (columns * 2) * columns * 16 * 8 * limbs);
            match key.steps() {
                Steps::Bits(bits) => {
                    let same = |(bit, stored): (&FourierGgsw, &SeededGgswCiphertext)| {
                        bit.rows().data() == stored.prepare(&setup.fft).rows().data()
                    };
                    assert!(bits.iter().zip(&stored).all(same));
                }
                Steps::Pairs { later, .. } => {
                    let same = |(pair, stored): (&FourierTriple, &[SeededGgswCiphertext])| {
                        let rows = [0, 1, 2].map(|t| stored[t].expand());
                        pair.data() == FourierTriple::prepare(&setup.fft, gadget, columns, &rows).data()
                    };
                    assert!(later.len() == 65 && later.iter().zip(stored.chunks(3).skip(1)).all(same));
                }
            }
        }
    }

    /// What is encrypted, of each pair of bits there is, and of one that is left over.
    #[test]
    fn pairs_are_told_by_three_bits() {
        let setup = crate::testing::Setup::new(1, 256);
        let small = LweSecretKey::from_bits(vec![0, 0, 0, 1, 1, 0, 1, 1, 1]);
        let gadget = Gadget::new(8, 3, Precision::Single).unwrap();
        let seed = setup.seed.experiment(2);
        let key = SeededBootstrappingKey::generate_grouped(
            &setup.fft,
            &small,
            &setup.key,
            (gadget, Grouping::Two),
            setup.noise,
            seed,
        );
        let one = setup.encrypt(&[1 << 62; 256], 3);
        let read = |ggsw: &SeededGgswCiphertext| {
            let ggsw = ggsw.prepare(&setup.fft);
            let product = ggsw.external_product(&setup.fft, &one, &mut ggsw.scratch(&setup.fft));
            crate::torus::decode(setup.key.phase(&setup.fft, &product)[7], 2)
        };
        let found: Vec<_> = key.ciphertexts().iter().map(read).collect();
        assert_eq!(found, [[0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]].concat());
    }
}
