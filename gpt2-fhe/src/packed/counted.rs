//! The backend that computes nothing: for what depends on the program and the layout alone, its operations and noise.

use nn::evaluator::{Form, LinearMap, Rows};
use nn::table::{Smooth, SmoothTable};
use nn::watched::InspectedRows;
use tfhe_core::noise::{Distribution, Variance};

use super::backend::{PackedBackend, Partial, Summed};
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

    fn projected(&self, _: &(), form: Form, _: Variance) -> InspectedRows<'_, Partial<()>> {
        let sizes = self.layout.sizes();
        let columns = if let Form::Weighed { .. } = form { sizes.output } else { sizes.head };
        Box::new((0..self.layout.tokens()).map(move |_| vec![Partial::complete(()); columns]))
    }

    fn summed(&self, _: &()) -> InspectedRows<'_, Partial<()>> {
        let columns = self.layout.sizes().output;
        Box::new(self.layout.span().rows().map(move |_| vec![Partial::complete(()); columns]))
    }
}
