//! Rows of real numbers.

use std::sync::Arc;

use nn::evaluator::{Form, Rows};
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::params::GlweShape;
use tfhe_core::polynomial;
use tfhe_core::torus;

use super::number::{EncryptedNumber, EncryptedSum};
use crate::block::layout::BlockLayout;

/// Rows of real numbers, each in ciphertexts of its own where [`BlockLayout::place`] says.
#[derive(Clone, Debug)]
pub struct EncryptedReals {
    pub(super) form: Form,
    /// How many numbers a row has.
    pub(super) channels: usize,
    /// A row's ciphertexts. Of one that is shared with numbers or other tensors, a copy is changed.
    pub(super) rows: Rows<Arc<GlweCiphertext>>,
}

impl EncryptedReals {
    /// Rows of given ciphertexts.
    ///
    /// # Panics
    /// If a row has another number of them than `channels` numbers take.
    pub fn new(layout: &BlockLayout, form: Form, channels: usize, rows: Rows<GlweCiphertext>) -> Self {
        let expected = layout.ciphertexts(form, channels);
        assert!(rows.iter().all(|row| row.len() == expected), "{expected} ciphertexts to a row");
        let rows = rows.into_iter().map(|row| row.into_iter().map(Arc::new).collect()).collect();
        Self { form, channels, rows }
    }

    /// Known numbers in turns, without noise.
    pub(super) fn known(layout: &BlockLayout, shape: GlweShape, form: Form, rows: &[Vec<f64>]) -> Self {
        let channels = rows.first().map_or(0, Vec::len);
        let zero = || vec![GlweCiphertext::zero(shape); layout.ciphertexts(form, channels)];
        let mut known = Self::new(layout, form, channels, rows.iter().map(|_| zero()).collect());
        known.rows.iter_mut().zip(rows).for_each(|(row, turns)| add_to_row(layout, form, row, turns));
        known
    }

    /// Rows of ciphertexts that may be shared, each with as many as `channels` numbers take.
    pub(in crate::block) fn of_rows(form: Form, channels: usize, rows: Rows<Arc<GlweCiphertext>>) -> Self {
        Self { form, channels, rows }
    }

    /// How many numbers a row has.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The ciphertexts, row by row.
    pub fn rows(&self) -> &[Vec<Arc<GlweCiphertext>>] {
        &self.rows
    }

    /// All ciphertexts, row after row: of features dense ones ([`BlockLayout::dense_place`]).
    pub fn into_answer(self, layout: &BlockLayout) -> Vec<GlweCiphertext> {
        let ciphertexts: Vec<_> = self.rows.into_iter().flatten().collect();
        match self.form {
            Form::Features => ciphertexts.chunks(layout.stride()).map(dense).collect(),
            _ => ciphertexts.into_iter().map(Arc::unwrap_or_clone).collect(),
        }
    }

    /// Adds constants to each row, in turns.
    pub(super) fn add_constants(&mut self, layout: &BlockLayout, turns: &[f64]) {
        self.rows.iter_mut().for_each(|row| add_to_row(layout, self.form, row, turns));
    }

    /// The numbers one by one.
    pub(super) fn numbers(&self, layout: &BlockLayout) -> Rows<EncryptedNumber> {
        let number = |row: &[Arc<GlweCiphertext>], channel| {
            let (ciphertext, coefficient) = layout.place(self.form, channel);
            EncryptedNumber::Sum(EncryptedSum::coefficient(&row[ciphertext], coefficient))
        };
        self.rows.iter().map(|row| (0..self.channels).map(|channel| number(row, channel)).collect()).collect()
    }

    /// `self += other`.
    ///
    /// # Panics
    /// If they differ in form or shape.
    pub(super) fn add(&mut self, other: &Self) {
        assert_eq!((self.form, self.channels), (other.form, other.channels), "numbers of one form");
        assert_eq!(self.rows.len(), other.rows.len(), "as many rows");
        for (sum, term) in self.rows.iter_mut().flatten().zip(other.rows.iter().flatten()) {
            Arc::make_mut(sum).add_scaled(term, 1);
        }
    }

    /// The last row, which shares its ciphertexts.
    pub(super) fn last_row(&self) -> Self {
        Self { rows: self.rows.last().cloned().into_iter().collect(), ..*self }
    }

    /// The first `channels` numbers of each row. Of those that shared a ciphertext with them, none is read any more.
    pub(super) fn narrowed(&self, layout: &BlockLayout, channels: usize) -> Self {
        let ciphertexts = layout.ciphertexts(self.form, channels);
        Self { form: self.form, channels, rows: self.rows.iter().map(|row| row[..ciphertexts].to_vec()).collect() }
    }

    /// Other rows below these.
    ///
    /// # Panics
    /// If they differ in form or width.
    pub(super) fn append(&mut self, below: Self) {
        assert_eq!((self.form, self.channels), (below.form, below.channels), "numbers of one form");
        self.rows.extend(below.rows);
    }
}

/// Σ_c X^c·(ciphertext c).
fn dense(ciphertexts: &[Arc<GlweCiphertext>]) -> GlweCiphertext {
    let mut sum = GlweCiphertext::zero(ciphertexts[0].shape());
    for (exponent, ciphertext) in ciphertexts.iter().enumerate() {
        sum.add_scaled(&ciphertext.map_polynomials(|x, y| polynomial::rotate(x, exponent, y)), 1);
    }
    sum
}

/// Adds constants to the numbers of a row, in turns.
fn add_to_row(layout: &BlockLayout, form: Form, row: &mut [Arc<GlweCiphertext>], turns: &[f64]) {
    for (channel, &turns) in turns.iter().enumerate() {
        let (ciphertext, coefficient) = layout.place(form, channel);
        let body = Arc::make_mut(&mut row[ciphertext]).body_mut();
        body[coefficient] = body[coefficient].wrapping_add(torus::from_f64(turns));
    }
}
