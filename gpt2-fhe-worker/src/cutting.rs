//! How blind rotations that wait for nothing are cut into batches: by who hands them out, and by the model of that.

use std::ops::Range;

use tfhe_core::blind_rotation::{BLIND_ROTATION_BLOCK, TOGETHER};

/// How many batches there are on their way for each core of workers: one is computed, the next is there when it is done.
pub const IN_FLIGHT: usize = 2;

/// How calls are cut into batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutting {
    /// Rotations of a batch, at least, where there are as many.
    pub least: usize,
    /// Rotations of a batch, at most.
    pub most: usize,
    /// How many batches each core is to have of a call, if they are not too small for it: so that all end at about the same time.
    pub rounds: usize,
}

impl Default for Cutting {
    /// At most some tenths of a second on one core, beside which a batch's way is nothing.
    fn default() -> Self {
        Self { least: 1, most: 64, rounds: 3 }
    }
}

impl Cutting {
    /// The batches of a call of so many rotations for so many cores, as many for each: of whole blocks of blind rotations but for the last
    /// one, of less than a block only where cores would have none. Those of a block more are the first, so that whoever takes one batch
    /// after the other ends at the same time as all others.
    pub fn ranges(&self, rotations: usize, cores: usize) -> Vec<Range<usize>> {
        let (cores, least) = (cores.max(1), self.least.max(1));
        let most = self.most.max(least);
        let unit = rotations.div_ceil(cores).clamp(least, BLIND_ROTATION_BLOCK.max(least)).min(most);
        let (units, most) = (rotations.div_ceil(unit), most / unit);
        let count = units.div_ceil(most).max(cores * self.rounds.max(1)).next_multiple_of(cores).min(units);
        let (of_all, larger) = (units / count.max(1), units % count.max(1));
        let start = |range: usize| ((range * of_all + range.min(larger)) * unit).min(rotations);
        (0..count).map(|range| start(range)..start(range + 1)).collect()
    }

    /// How many rotations of each.
    pub fn sizes(&self, rotations: usize, cores: usize) -> Vec<usize> {
        self.ranges(rotations, cores).iter().map(ExactSizeIterator::len).collect()
    }

    /// How many rotations a call should have for so many cores, where there are so many.
    pub fn together(&self, cores: usize) -> usize {
        (2 * self.most * cores).max(TOGETHER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_whole_blocks_and_as_many_for_each_core() {
        let of_most = |most| Cutting { most, ..Cutting::default() };
        assert_eq!(of_most(64).sizes(256, 2), [48, 48, 40, 40, 40, 40]);
        assert_eq!(of_most(64).sizes(1024, 4), [64; 16]);
        assert_eq!(of_most(64).sizes(5, 4), [2, 2, 1]);
        assert_eq!(of_most(8).sizes(17, 1), [8, 8, 1]);
        assert_eq!(of_most(64).sizes(0, 4), [0; 0]);
        assert_eq!(Cutting { least: 8, ..of_most(64) }.sizes(20, 196), [8, 8, 4]);
        for rotations in [1, 7, 8, 9, 100, 777, 1000, 4096] {
            for cores in [1, 2, 3, 8, 70, 5000] {
                for (least, most, rounds) in [(1, 1, 1), (1, 64, 3), (8, 64, 2), (8, 8, 1), (16, 4, 0)] {
                    let what = format!("{rotations} {cores} {least} {most} {rounds}");
                    let ranges = Cutting { least, most, rounds }.ranges(rotations, cores);
                    let sizes: Vec<usize> = ranges.iter().map(ExactSizeIterator::len).collect();
                    let (last, whole) = sizes.split_last().unwrap();
                    let largest = sizes[0];
                    assert!(sizes.is_sorted_by(|a, b| a >= b) && *last > 0, "{what}: {sizes:?}");
                    assert!(whole.iter().all(|size| (least..=most.max(least)).contains(size)), "{what}: {sizes:?}");
                    assert!(
                        whole.iter().all(|size| largest - size <= BLIND_ROTATION_BLOCK.max(least)),
                        "{what}: {sizes:?}"
                    );
                    if sizes.len().is_multiple_of(cores) {
                        // Whoever is free takes the next one: no core has a block more than it must.
                        let mut busy = vec![0; cores];
                        sizes.iter().for_each(|size| *busy.iter_mut().min().unwrap() += size);
                        let unit = BLIND_ROTATION_BLOCK.max(least).min(most.max(least));
                        assert!(*busy.iter().max().unwrap() < rotations.div_ceil(cores) + unit, "{what}: {sizes:?}");
                    }
                    assert!(ranges.into_iter().flatten().eq(0..rotations), "{what}");
                }
            }
        }
    }
}
