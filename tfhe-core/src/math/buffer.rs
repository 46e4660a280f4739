//! Buffers of `f64` aligned to cache lines.
//!
//! A bootstrapping key is read from one end to the other, tens of megabytes of it, for each block of ciphertexts. In pages of 4 KiB,
//! as the heap has them, each page costs the processor a walk through tables that are far from its caches by then. So what
//! belongs together can be gathered in one piece of memory, for which huge pages are asked (`Gathered`).

use std::sync::Arc;

use bytemuck::Zeroable;
use memmap2::MmapMut;

#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
struct CacheLine([f64; 8]);

/// A slice of `f64`s that starts at a cache line, so that vector loads of it never straddle two.
#[derive(Clone)]
pub struct AlignedBuffer {
    memory: Memory,
    len: usize,
}

#[derive(Clone)]
enum Memory {
    Heap(Vec<CacheLine>),
    /// A part of gathered memory, from this byte on, that nobody writes to any more.
    Gathered(Arc<MmapMut>, usize),
}

impl AlignedBuffer {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self { memory: Memory::Heap(vec![CacheLine::zeroed(); len.div_ceil(8)]), len }
    }

    /// A copy of `data`.
    pub fn copy_of(data: &[f64]) -> Self {
        let mut buffer = Self::zeros(data.len());
        buffer.copy_from_slice(data);
        buffer
    }

    /// The same memory as integers.
    pub(crate) fn cast<T: bytemuck::Pod>(&self) -> &[T] {
        bytemuck::cast_slice(self)
    }

    /// The same memory as integers.
    pub(crate) fn cast_mut<T: bytemuck::Pod>(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(self)
    }
}

impl std::ops::Deref for AlignedBuffer {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        match &self.memory {
            Memory::Heap(lines) => &bytemuck::cast_slice(lines)[..self.len],
            Memory::Gathered(memory, first) => {
                bytemuck::cast_slice(&memory[*first..*first + size_of::<f64>() * self.len])
            }
        }
    }
}

impl std::ops::DerefMut for AlignedBuffer {
    /// Copies what is in gathered memory first.
    fn deref_mut(&mut self) -> &mut [f64] {
        if let Memory::Gathered(..) = self.memory {
            *self = Self::copy_of(self);
        }
        match &mut self.memory {
            Memory::Heap(lines) => &mut bytemuck::cast_slice_mut(lines)[..self.len],
            Memory::Gathered(..) => unreachable!("copied to the heap above"),
        }
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuffer({} f64)", self.len)
    }
}

/// Memory in which buffers are gathered, one after the other.
pub(crate) struct Gathered {
    memory: MmapMut,
    filled: usize,
}

impl Gathered {
    /// Room for buffers of `len` numbers in all. `None` where the system gives no such memory: then they stay where they are.
    pub(crate) fn with_room(len: usize) -> Option<Self> {
        /// What a huge page holds where there are any; the last one is filled up.
        const HUGE_PAGE: usize = 2 << 20;
        let memory = MmapMut::map_anon((len * size_of::<f64>()).next_multiple_of(HUGE_PAGE)).ok()?;
        // Only a wish: without huge pages everything works as well, slower.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        Some(Self { memory, filled: 0 })
    }

    /// Copies a buffer in, and returns where it is.
    ///
    /// # Panics
    /// If there is no room.
    pub(crate) fn take(&mut self, buffer: &AlignedBuffer) -> GatheredPlace {
        let place = GatheredPlace { first: self.filled, len: buffer.len };
        let bytes = bytemuck::cast_slice(&buffer[..]);
        self.memory[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
        // The next buffer starts at a cache line, too.
        self.filled += bytes.len().next_multiple_of(size_of::<CacheLine>());
        place
    }

    /// The buffers.
    pub(crate) fn finish(self, places: &[GatheredPlace]) -> Vec<AlignedBuffer> {
        let memory = Arc::new(self.memory);
        let buffer = |place: &GatheredPlace| AlignedBuffer {
            memory: Memory::Gathered(memory.clone(), place.first),
            len: place.len,
        };
        places.iter().map(buffer).collect()
    }
}

/// Where a buffer is in gathered memory.
#[derive(Clone, Copy)]
pub(crate) struct GatheredPlace {
    first: usize,
    len: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathered_buffers_hold_what_they_held_and_are_aligned() {
        let buffers: Vec<AlignedBuffer> =
            [3_usize, 8, 1000].iter().map(|&n| AlignedBuffer::copy_of(&vec![n as f64; n])).collect();
        let room = buffers.iter().map(|buffer| buffer.len().next_multiple_of(8)).sum();
        let mut gathered = Gathered::with_room(room).unwrap();
        let places: Vec<_> = buffers.iter().map(|buffer| gathered.take(buffer)).collect();
        let mut moved = gathered.finish(&places);
        for (before, after) in buffers.iter().zip(&moved) {
            assert_eq!(before[..], after[..]);
            assert!(after.as_ptr().cast::<CacheLine>().is_aligned());
        }
        moved[1][0] = 5.0;
        assert_eq!((moved[1][0], moved[1][1], buffers[1][0]), (5.0, 8.0, 8.0));
    }
}
