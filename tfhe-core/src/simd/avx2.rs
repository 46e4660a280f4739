//! [`Simd`] with AVX2 and FMA: four lanes.

use std::arch::x86_64::*;

use super::{Kernel, Simd};

/// Proof that the CPU has AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// `None` if the CPU lacks them.
    pub(crate) fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

/// Calls an intrinsic. It is safe because `Avx2` is a proof that the CPU has the instruction.
macro_rules! avx2 {
    ($call:expr) => {
        // SAFETY: the intrinsic touches registers only, and the receiver `Avx2` proves that the CPU has AVX2 and FMA.
        unsafe { $call }
    };
}

impl Simd for Avx2 {
    const LANES: usize = 4;
    type Reals = __m256d;
    type Words = __m256i;

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma")]
        fn enabled<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` proves that the CPU has the enabled features.
        unsafe { enabled(self, kernel) }
    }

    #[inline(always)]
    fn splat_words(self, x: u64) -> __m256i {
        avx2!(_mm256_set1_epi64x(x as i64))
    }

    #[inline(always)]
    unsafe fn load_words(self, from: *const u64) -> __m256i {
        // SAFETY: the caller's; the load is unaligned.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_words(self, x: __m256i, to: *mut u64) {
        // SAFETY: the caller's; the store is unaligned.
        unsafe { _mm256_storeu_si256(to.cast(), x) }
    }

    #[inline(always)]
    fn add_words(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_add_epi64(a, b))
    }

    #[inline(always)]
    fn subtract_words(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_sub_epi64(a, b))
    }

    /// x = high·2^32 + low modulo 2^64 with signed halves, each in the lower half of its lane: the only products here
    /// are of signed 32-bit integers.
    type Factor = [__m256i; 2];
    /// Sums of digit·low modulo 2^64 and of digit·high, of which only the residue modulo 2^32 matters.
    type Sum = [__m256i; 2];

    #[inline(always)]
    fn factor(self, x: __m256i) -> [__m256i; 2] {
        // low = x mod± 2^32, so high = (x − low)/2^32 = ⌊(x + 2^31)/2^32⌋.
        [x, avx2!(_mm256_srli_epi64::<32>(_mm256_add_epi64(x, _mm256_set1_epi64x(1 << 31))))]
    }

    #[inline(always)]
    fn zero_sum(self) -> [__m256i; 2] {
        [self.splat_words(0); 2]
    }

    #[inline(always)]
    fn multiply_add_digit(self, sum: [__m256i; 2], factor: [__m256i; 2], digit: __m256i) -> [__m256i; 2] {
        avx2!([
            _mm256_add_epi64(sum[0], _mm256_mul_epi32(factor[0], digit)),
            _mm256_add_epi64(sum[1], _mm256_mul_epi32(factor[1], digit)),
        ])
    }

    #[inline(always)]
    fn sum_value(self, sum: [__m256i; 2]) -> __m256i {
        avx2!(_mm256_add_epi64(sum[0], _mm256_slli_epi64::<32>(sum[1])))
    }

    #[inline(always)]
    fn prefetch(self, address: *const u64) {
        avx2!(_mm_prefetch::<_MM_HINT_T1>(address.cast()))
    }
}
