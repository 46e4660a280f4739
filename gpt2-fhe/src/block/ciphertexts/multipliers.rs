//! Integers that multiply, and their products with real numbers.

use std::sync::Arc;

use nn::evaluator::{Entries, Form, Rows, SmoothUse};
use rayon::prelude::*;
use tfhe_core::ggsw::FourierGgsw;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::refresh::Place;

use super::context::BlockCiphertexts;
use super::number::{EncryptedNumber, EncryptedSum};
use super::reals::EncryptedReals;

/// What multiplies is made with the keys of this use.
const MULTIPLIER: SmoothUse = SmoothUse::Multiplier { log_shared: 0 };

/// Rows of GGSW ciphertexts: of [`Form::Multipliers`] one for each integer, of [`Form::Keys`] one for each row, ready for products.
#[derive(Clone, Debug)]
pub struct EncryptedMultipliers {
    form: Form,
    rows: Rows<Arc<FourierGgsw>>,
    /// Of the last rows of [`Form::Keys`], what their ciphertexts are made of, until it is taken.
    levels: Vec<Levels>,
}

/// What a GGSW ciphertext is made of, one ciphertext for each level of its gadget.
pub(in crate::block) type Levels = Arc<Vec<GlweCiphertext>>;

impl EncryptedMultipliers {
    fn new(form: Form, rows: Rows<(Arc<FourierGgsw>, Option<Levels>)>) -> Self {
        let (rows, levels): (Rows<Arc<FourierGgsw>>, Rows<Option<Levels>>) =
            rows.into_iter().map(|row| row.into_iter().unzip()).unzip();
        Self { form, rows, levels: levels.into_iter().flatten().flatten().collect() }
    }

    /// Other rows below these.
    ///
    /// # Panics
    /// If they differ in form.
    pub(super) fn append(&mut self, below: Self) {
        assert_eq!(self.form, below.form, "multipliers of one form");
        self.rows.extend(below.rows);
        self.levels.extend(below.levels);
    }

    /// Of each row of keys that was added since this was called last, the levels of its GGSW ciphertext.
    pub(in crate::block) fn take_levels(&mut self) -> Vec<Levels> {
        std::mem::take(&mut self.levels)
    }

    /// The last row, which shares its ciphertexts.
    pub(super) fn last_row(&self) -> Self {
        Self { form: self.form, rows: self.rows.last().cloned().into_iter().collect(), levels: Vec::new() }
    }

    /// The one of each row.
    ///
    /// # Panics
    /// If a row has several, or the form is another.
    fn single(&self, form: Form) -> Vec<&FourierGgsw> {
        assert_eq!(self.form, form, "multipliers of this form");
        let only = |row: &'_ Vec<Arc<FourierGgsw>>| row.len() == 1;
        assert!(self.rows.iter().all(only), "one multiplier to a row");
        self.rows.iter().map(|row| &*row[0]).collect()
    }
}

impl BlockCiphertexts<'_> {
    /// Where the integers of a row go: into one GGSW ciphertext each, or all into one.
    fn multiplier_places<'a, T>(&self, form: Form, row: &'a [T]) -> Vec<(&'a [T], Vec<Place>)> {
        match form {
            Form::Multipliers => row.chunks(1).map(|entry| (entry, vec![Place::from(0)])).collect(),
            Form::Keys => {
                let place = |channel| {
                    let (coefficient, negated) = self.layout.key_place(channel);
                    Place { coefficient, negated }
                };
                vec![(row, (0..row.len()).map(place).collect())]
            }
            other => unreachable!("{other:?} is no form of multipliers"),
        }
    }

    /// GGSW ciphertexts of rows of integers, each from the levels that `levels` gives.
    fn multipliers<T: Sync>(
        &self,
        rows: &[Vec<T>],
        form: Form,
        levels: impl Fn(&[T], &[Place]) -> Vec<GlweCiphertext> + Sync,
    ) -> EncryptedMultipliers {
        let multiplier =
            |(integers, places): (&[T], Vec<Place>)| self.multiplier(form, Arc::new(levels(integers, &places)));
        let row = |row: &Vec<T>| self.multiplier_places(form, row).into_par_iter().map(multiplier).collect();
        EncryptedMultipliers::new(form, rows.par_iter().map(row).collect())
    }

    /// Keys, each from its levels.
    pub(in crate::block) fn keys_of_levels(&self, levels: Vec<Levels>) -> EncryptedMultipliers {
        let key = |levels: Levels| vec![self.multiplier(Form::Keys, levels)];
        EncryptedMultipliers::new(Form::Keys, levels.into_par_iter().map(key).collect())
    }

    /// A GGSW ciphertext of levels, and these, where they are kept.
    fn multiplier(&self, form: Form, levels: Levels) -> (Arc<FourierGgsw>, Option<Levels>) {
        let ggsw = self.keys.relinearization.ggsw_of_levels(&levels, self.keys.product);
        let ggsw = Arc::new(ggsw.expect("a ciphertext for each level of the set's gadget"));
        (ggsw, (form == Form::Keys).then_some(levels))
    }

    /// Results of lookups together.
    pub(super) fn pack_levels(&self, rows: &[Vec<EncryptedNumber>], form: Form) -> EncryptedMultipliers {
        self.multipliers(rows, form, |integers, places| {
            let levels: Vec<Vec<LweCiphertext>> = integers.iter().map(|integer| integer.levels().to_vec()).collect();
            let packed = self.keys.refresh(MULTIPLIER).pack_levels(&levels, places);
            packed.expect("levels of the set's gadget, at places of their own")
        })
    }

    /// Known integers: ciphertexts without masks.
    pub(super) fn known_levels(&self, rows: &[Vec<f64>], form: Form) -> EncryptedMultipliers {
        let gadget = self.keys.product;
        let mut known = self.multipliers(rows, form, |integers, places| {
            let level = |level: usize| {
                let mut polynomial = vec![0; self.layout.size()];
                for (&integer, place) in integers.iter().zip(places) {
                    let signed = if place.negated { -(integer as i64) } else { integer as i64 };
                    polynomial[place.coefficient] = (signed as u64) << (64 - gadget.base_log() * level as u32);
                }
                GlweCiphertext::trivial(self.shape(), &polynomial)
            };
            (1..=gadget.levels()).map(level).collect()
        });
        // They can be made at any time.
        known.take_levels();
        known
    }

    /// Each row times its own integer.
    pub(crate) fn multiply_rows(&self, reals: &EncryptedReals, multipliers: &EncryptedMultipliers) -> EncryptedReals {
        let (fft, factors) = (self.keys.fft, multipliers.single(Form::Multipliers));
        assert_eq!(factors.len(), reals.rows.len(), "a multiplier to a row");
        let row = |(row, factor): (&Vec<Arc<GlweCiphertext>>, &FourierGgsw)| {
            let product = |ciphertext: &Arc<GlweCiphertext>| {
                Arc::new(factor.external_product(fft, ciphertext, &mut factor.scratch(fft)))
            };
            row.par_iter().map(product).collect()
        };
        let rows = reals.rows.par_iter().zip(factors).map(row).collect();
        EncryptedReals { rows, ..*reals }
    }

    /// Queries times keys: coefficient 0 of each product.
    pub(super) fn multiply_keys(
        &self,
        queries: &EncryptedReals,
        keys: &EncryptedMultipliers,
        entries: Entries,
    ) -> Rows<EncryptedNumber> {
        assert_eq!(queries.form, Form::Queries, "what meets keys");
        let (fft, keys) = (self.keys.fft, keys.single(Form::Keys));
        let row = |(row, count): (usize, usize)| {
            let product = |key: &&FourierGgsw| {
                let product = key.external_product(fft, &queries.rows[row][0], &mut key.scratch(fft));
                EncryptedNumber::Sum(EncryptedSum::coefficient(&Arc::new(product), 0))
            };
            keys[..count].par_iter().map(product).collect()
        };
        let rows: Vec<(usize, usize)> = entries.rows(queries.rows.len(), keys.len()).collect();
        rows.into_par_iter().map(row).collect()
    }

    /// Σ_j weights_ij·values_j, added to `sum`.
    pub(super) fn weigh_rows(
        &self,
        weights: &EncryptedMultipliers,
        values: &EncryptedReals,
        sum: Option<EncryptedReals>,
    ) -> EncryptedReals {
        assert_eq!(weights.form, Form::Multipliers, "what weighs");
        let (fft, width) = (self.keys.fft, self.layout.ciphertexts(values.form, values.channels));
        let zero = || {
            let rows = weights.rows.iter().map(|_| vec![GlweCiphertext::zero(self.shape()); width]).collect();
            EncryptedReals::new(self.layout, values.form, values.channels, rows)
        };
        let mut sum = sum.unwrap_or_else(zero);
        assert_eq!((sum.rows.len(), sum.channels), (weights.rows.len(), values.channels), "a sum for each row");
        sum.rows.par_iter_mut().zip(&weights.rows).for_each(|(sums, weights)| {
            sums.par_iter_mut().enumerate().for_each(|(index, sum)| {
                let (Some(first), sum) = (weights.first(), Arc::make_mut(sum)) else { return };
                let scratch = &mut first.scratch(fft);
                for (weight, value) in weights.iter().zip(&values.rows) {
                    weight.add_external_product(fft, &value[index], sum, scratch);
                }
            });
        });
        sum
    }
}
