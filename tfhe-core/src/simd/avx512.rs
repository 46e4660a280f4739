//! [`Simd`] with AVX-512 F, DQ, VL and BW: eight lanes.

use std::arch::x86_64::*;

use super::{Kernel, Simd};

/// Proof that the CPU has AVX-512 F, DQ, VL and BW.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// `None` if the CPU lacks them.
    pub(crate) fn new() -> Option<Self> {
        let has_all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw");
        has_all.then_some(Self(()))
    }
}

/// Calls an intrinsic. It is safe because `Avx512` is a proof that the CPU has the instruction.
macro_rules! avx512 {
    ($call:expr) => {
        // SAFETY: the intrinsic touches registers only, and the receiver `Avx512` proves that the CPU has AVX-512 F, DQ,
        // VL and BW.
        unsafe { $call }
    };
}

impl Simd for Avx512 {
    const LANES: usize = 8;
    type Reals = __m512d;
    type Words = __m512i;

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
        fn enabled<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` proves that the CPU has the enabled features.
        unsafe { enabled(self, kernel) }
    }

    #[inline(always)]
    fn splat_words(self, x: u64) -> __m512i {
        avx512!(_mm512_set1_epi64(x as i64))
    }

    #[inline(always)]
    unsafe fn load_words(self, from: *const u64) -> __m512i {
        // SAFETY: the caller's; the load is unaligned.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_words(self, x: __m512i, to: *mut u64) {
        // SAFETY: the caller's; the store is unaligned.
        unsafe { _mm512_storeu_si512(to.cast(), x) }
    }

    #[inline(always)]
    fn add_words(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_add_epi64(a, b))
    }

    #[inline(always)]
    fn subtract_words(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_sub_epi64(a, b))
    }

    type Factor = __m512i;
    type Sum = __m512i;

    #[inline(always)]
    fn factor(self, x: __m512i) -> __m512i {
        x
    }

    #[inline(always)]
    fn zero_sum(self) -> __m512i {
        self.splat_words(0)
    }

    #[inline(always)]
    fn multiply_add_digit(self, sum: __m512i, factor: __m512i, digit: __m512i) -> __m512i {
        avx512!(_mm512_add_epi64(sum, _mm512_mullo_epi64(factor, digit)))
    }

    #[inline(always)]
    fn sum_value(self, sum: __m512i) -> __m512i {
        sum
    }

    #[inline(always)]
    fn prefetch(self, address: *const u64) {
        avx512!(_mm_prefetch::<_MM_HINT_T1>(address.cast()))
    }
}
