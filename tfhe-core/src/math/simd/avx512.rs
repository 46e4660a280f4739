//! [`Simd`] with AVX-512 F, DQ, VL and BW: eight lanes.

use std::arch::x86_64::*;

use super::{Kernel, Simd};

/// Proof that the CPU has AVX-512 F, DQ, VL and BW.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512<const ADDERS: bool>(());

impl<const ADDERS: bool> Avx512<ADDERS> {
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

impl<const ADDERS: bool> Simd for Avx512<ADDERS> {
    const LANES: usize = 8;
    const ADDERS: bool = ADDERS;
    type Reals = __m512d;
    type Words = __m512i;

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
        fn enabled<S: Simd, K: Kernel>(simd: S, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` proves that the CPU has the enabled features.
        unsafe { enabled(self, kernel) }
    }

    #[inline(always)]
    fn splat_reals(self, x: f64) -> __m512d {
        avx512!(_mm512_set1_pd(x))
    }

    #[inline(always)]
    unsafe fn load_reals(self, from: *const f64) -> __m512d {
        // SAFETY: the caller's; the load is unaligned.
        unsafe { _mm512_loadu_pd(from) }
    }

    #[inline(always)]
    unsafe fn store_reals(self, x: __m512d, to: *mut f64) {
        // SAFETY: the caller's; the store is unaligned.
        unsafe { _mm512_storeu_pd(to, x) }
    }

    #[inline(always)]
    fn add(self, a: __m512d, b: __m512d) -> __m512d {
        avx512!(_mm512_add_pd(a, b))
    }

    #[inline(always)]
    fn subtract(self, a: __m512d, b: __m512d) -> __m512d {
        avx512!(_mm512_sub_pd(a, b))
    }

    #[inline(always)]
    fn multiply(self, a: __m512d, b: __m512d) -> __m512d {
        avx512!(_mm512_mul_pd(a, b))
    }

    #[inline(always)]
    fn multiply_add(self, a: __m512d, b: __m512d, c: __m512d) -> __m512d {
        avx512!(_mm512_fmadd_pd(a, b, c))
    }

    #[inline(always)]
    fn multiply_subtract(self, a: __m512d, b: __m512d, c: __m512d) -> __m512d {
        avx512!(_mm512_fmsub_pd(a, b, c))
    }

    #[inline(always)]
    fn negate_multiply_add(self, a: __m512d, b: __m512d, c: __m512d) -> __m512d {
        avx512!(_mm512_fnmadd_pd(a, b, c))
    }

    #[inline(always)]
    fn interleave(self, a: __m512d, b: __m512d) -> (__m512d, __m512d) {
        avx512!((_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b)))
    }

    /// These shuffles with constant patterns are faster than permutations by a register.
    #[inline(always)]
    fn exchange(self, a: __m512d, b: __m512d) -> (__m512d, __m512d) {
        avx512!((_mm512_shuffle_f64x2::<0b10_00_10_00>(a, b), _mm512_shuffle_f64x2::<0b11_01_11_01>(a, b)))
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

    #[inline(always)]
    fn negate_where(self, x: __m512i, negate: bool) -> __m512i {
        avx512!(_mm512_mask_sub_epi64(x, (negate as u8).wrapping_neg(), _mm512_setzero_si512(), x))
    }

    #[inline(always)]
    fn shift_left(self, x: __m512i, shift: u32) -> __m512i {
        avx512!(_mm512_sllv_epi64(x, _mm512_set1_epi64(shift as i64)))
    }

    #[inline(always)]
    fn shift_right(self, x: __m512i, shift: u32) -> __m512i {
        avx512!(_mm512_srlv_epi64(x, _mm512_set1_epi64(shift as i64)))
    }

    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_and_si512(a, b))
    }

    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_xor_si512(a, b))
    }

    #[inline(always)]
    unsafe fn store_integers(self, x: __m512i, to: *mut i32) {
        // SAFETY: the caller's; the store is unaligned.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtepi64_epi32(x)) }
    }

    #[inline(always)]
    unsafe fn load_integers(self, from: *const i32) -> __m512d {
        // SAFETY: the caller's; the load is unaligned.
        avx512!(_mm512_cvtepi32_pd(_mm256_loadu_si256(from.cast())))
    }

    #[inline(always)]
    fn signed_reals(self, x: __m512i) -> __m512d {
        avx512!(_mm512_cvtepi64_pd(x))
    }

    /// Adding 3·2^51 to a number of less than 2^51 rounds it to an integer.
    #[inline(always)]
    fn rounded_quotients(self, x: __m512i, dropped: u32) -> __m512d {
        avx512!({
            let rounder = _mm512_set1_pd(3.0 * 2f64.powi(51));
            let scale = _mm512_set1_pd(2f64.powi(-(dropped as i32)));
            _mm512_sub_pd(_mm512_fmadd_pd(_mm512_cvtepi64_pd(x), scale, rounder), rounder)
        })
    }

    #[inline(always)]
    fn bits(self, x: __m512d) -> __m512i {
        avx512!(_mm512_castpd_si512(x))
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
    fn splat_integers(self, x: i32) -> __m512i {
        avx512!(_mm512_set1_epi32(x))
    }

    #[inline(always)]
    fn add_integers(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_add_epi32(a, b))
    }

    #[inline(always)]
    fn add_pair_products(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_add_epi32(sum, _mm512_madd_epi16(a, b)))
    }

    #[inline(always)]
    fn prefetch_near(self, address: *const u64) {
        avx512!(_mm_prefetch::<_MM_HINT_T0>(address.cast()))
    }

    #[inline(always)]
    fn prefetch(self, address: *const u64) {
        avx512!(_mm_prefetch::<_MM_HINT_T1>(address.cast()))
    }
}
