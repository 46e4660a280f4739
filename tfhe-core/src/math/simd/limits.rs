//! How fast a core is at best: what kernels are measured against.

use std::hint::black_box;

use super::{Capability, Kernel, Simd, selected_capability};

/// How many sums are computed beside each other: more than a core has multiply-adds under way, two at a time that take four or five cycles.
const CHAINS: usize = 12;

/// `rounds` times as many multiply-adds as are under way at once, none of which waits for another, with the selected backend's
/// vectors. Returns how many floating-point operations that was, two for each lane of each.
///
/// ```
/// assert!(tfhe_core::simd::multiply_adds(10) >= 2 * 10 * 12);
/// ```
pub fn multiply_adds(rounds: usize) -> usize {
    let (sums, lanes) = match selected_capability() {
        Capability::Portable => {
            let mut sums = [0.0_f64; CHAINS];
            let [a, b] = black_box([0.5, 1.0]);
            for _ in 0..rounds {
                sums.iter_mut().for_each(|sum| *sum = *sum * a + b);
            }
            (sums.iter().sum(), 1)
        }
        Capability::Vector(instructions) => (instructions.run(MultiplyAdds { rounds }), instructions.lanes()),
    };
    black_box(sums);
    2 * CHAINS * lanes * rounds
}

/// Reads all of `data` with the selected backend's vectors. Returns how many bytes that was.
pub fn read(data: &[f64]) -> usize {
    black_box(match selected_capability() {
        Capability::Portable => data.iter().sum::<f64>(),
        Capability::Vector(instructions) => instructions.run(Read { data }),
    });
    size_of_val(data)
}

struct MultiplyAdds {
    rounds: usize,
}

impl Kernel for MultiplyAdds {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        let mut sums = [simd.splat_reals(0.0); CHAINS];
        let [a, b] = black_box([0.5, 1.0]);
        let (a, b) = (simd.splat_reals(a), simd.splat_reals(b));
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = simd.multiply_add(*sum, a, b);
            }
        }
        total(simd, sums)
    }
}

struct Read<'a> {
    data: &'a [f64],
}

impl Kernel for Read<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        let mut sums = [simd.splat_reals(0.0); 4];
        let one = simd.splat_reals(1.0);
        let step = sums.len() * S::LANES;
        let whole = self.data.len() - self.data.len() % step;
        for at in (0..whole).step_by(step) {
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: at + step ≤ whole ≤ data.len(), and (i + 1)·LANES ≤ step.
                *sum =
                    simd.multiply_add(unsafe { simd.load_reals(self.data.as_ptr().add(at + i * S::LANES)) }, one, *sum);
            }
        }
        total(simd, sums) + self.data[whole..].iter().sum::<f64>()
    }
}

#[inline(always)]
fn total<S: Simd, const N: usize>(simd: S, sums: [S::Reals; N]) -> f64 {
    let one = simd.splat_reals(1.0);
    let mut all = simd.splat_reals(0.0);
    for sum in sums {
        all = simd.multiply_add(sum, one, all);
    }
    // As many as the longest vector has.
    let mut lanes = [0.0; 8];
    // SAFETY: there is room for eight, and no vector has more.
    unsafe { simd.store_reals(all, lanes.as_mut_ptr()) };
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Backend, VectorInstructions};

    fn vectors() -> impl Iterator<Item = VectorInstructions> {
        Backend::available().filter_map(|backend| match Capability::new(backend) {
            Some(Capability::Vector(instructions)) => Some(instructions),
            _ => None,
        })
    }

    #[test]
    fn every_number_is_read_once() {
        for len in [0, 1, 31, 32, 33, 1000] {
            let data: Vec<f64> = (1..=len).map(f64::from).collect();
            for instructions in vectors() {
                assert_eq!(
                    instructions.run(Read { data: &data }),
                    f64::from(len * (len + 1)) / 2.0,
                    "{instructions:?}"
                );
            }
            assert_eq!(read(&data), 8 * len as usize);
        }
    }

    #[test]
    fn all_multiply_adds_are_done() {
        for instructions in vectors() {
            // x/2 + 1, from 0: 1, 3/2, 7/4.
            let sum = instructions.run(MultiplyAdds { rounds: 3 });
            assert_eq!(sum, (CHAINS * instructions.lanes()) as f64 * 1.75, "{instructions:?}");
        }
        assert_eq!(multiply_adds(0), 0);
    }
}
