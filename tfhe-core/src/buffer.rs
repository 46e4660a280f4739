//! Buffers of `f64` aligned to cache lines.

use bytemuck::Zeroable;

#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
struct CacheLine([f64; 8]);

/// A slice of `f64`s on the heap that starts at a cache line, so that vector loads of it never straddle two.
#[derive(Clone)]
pub struct AlignedBuffer {
    lines: Vec<CacheLine>,
    len: usize,
}

impl AlignedBuffer {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self { lines: vec![CacheLine::zeroed(); len.div_ceil(8)], len }
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
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl std::ops::DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [f64] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuffer({} f64)", self.len)
    }
}
