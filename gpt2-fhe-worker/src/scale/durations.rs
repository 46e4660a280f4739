//! How long batches take: constants, or what was recorded.

/// Seconds of a rotation by gadget, as they were in batches of a run: with those that took longest, as often as they did.
#[derive(Clone, Debug, PartialEq)]
pub struct Durations {
    by_gadget: Vec<Vec<f64>>,
}

/// Nothing is known of a gadget's rotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing says how long blind rotations with gadget {0} take: the record has none of them")]
pub struct NoDuration(pub usize);

impl Durations {
    /// Every rotation takes as long as any other with its gadget.
    pub fn constant(seconds: &[f64]) -> Self {
        Self { by_gadget: seconds.iter().map(|&seconds| vec![seconds]).collect() }
    }

    /// Those that are known, by gadget.
    pub fn known(by_gadget: Vec<Vec<f64>>) -> Self {
        Self { by_gadget }
    }

    /// The mean.
    ///
    /// # Errors
    /// [`NoDuration`].
    pub fn mean(&self, gadget: usize) -> Result<f64, NoDuration> {
        let known = self.of(gadget)?;
        Ok(known.iter().sum::<f64>() / known.len() as f64)
    }

    /// The shortest.
    ///
    /// # Errors
    /// [`NoDuration`].
    pub fn shortest(&self, gadget: usize) -> Result<f64, NoDuration> {
        Ok(self.of(gadget)?.iter().copied().fold(f64::INFINITY, f64::min))
    }

    /// One of them, by a number that was drawn from all 64-bit numbers.
    ///
    /// # Errors
    /// [`NoDuration`].
    pub(super) fn drawn(&self, gadget: usize, number: u64) -> Result<f64, NoDuration> {
        let known = self.of(gadget)?;
        // The highest bits, which every generator has best.
        Ok(known[((number as u128 * known.len() as u128) >> 64) as usize])
    }

    fn of(&self, gadget: usize) -> Result<&[f64], NoDuration> {
        self.by_gadget.get(gadget).map(Vec::as_slice).filter(|known| !known.is_empty()).ok_or(NoDuration(gadget))
    }
}
