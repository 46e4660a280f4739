//! The backend that computes nothing: for what depends on the program and the layout alone, its operations and noise.

use nn::evaluator::{LinearMap, Rows};
use nn::table::{Smooth, SmoothTable};
use tfhe_core::noise::Distribution;

use super::backend::{PackedBackend, Summed};
use super::layout::Layout;
use super::prediction::ValueNoise;

/// Packed numbers without content, in a layout.
#[derive(Clone, Copy, Debug)]
pub struct CountedPacked {
    layout: Layout,
}

impl CountedPacked {
    /// In a layout.
    pub fn new(layout: Layout) -> Self {
        Self { layout }
    }
}

impl PackedBackend for CountedPacked {
    type Input = ();
    type Projection = ();
    type Product = ();
    type Number = ();
    type Sum = ();

    fn project(&mut self, _: &(), maps: &[LinearMap<'_>]) -> Vec<()> {
        vec![(); maps.len()]
    }

    fn multiply(&mut self, _: [(); 2], _: u32, _: &Distribution) {}

    fn scores(&mut self, _: ()) -> Rows<()> {
        self.layout.span().rows().map(|row| vec![(); row + 1]).collect()
    }

    fn add_scaled(&self, _: &mut (), _: &(), _: i64) {}

    fn constant(&self, _: f64) {}

    fn look_up(&mut self, _: Smooth, numbers: &[&Summed<()>], _: &[&SmoothTable]) -> Vec<()> {
        vec![(); numbers.len()]
    }

    fn weigh(&mut self, _: &[Vec<Summed<()>>], _: (), _: &ValueNoise, _: Option<()>) {}

    fn add_constants(&mut self, _: (), _: &[f64]) {}
}
