//! [`Simd`] with AVX2 and FMA: four lanes.

use std::arch::x86_64::*;

use super::{Kernel, Simd};

/// The bit pattern of 2^52 + i is that of 2^52 plus i, for 0 ≤ i < 2^52.
const TWO_TO_52: f64 = (1_u64 << 52) as f64;
/// The bit pattern of 2^84 + i·2^32 is that of 2^84 plus i, for 0 ≤ i < 2^52.
const TWO_TO_84: f64 = (1_u128 << 84) as f64;

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
    /// Products that wait to be added take registers, of which there are sixteen: slower, also on CPUs that have the units.
    const ADDERS: bool = false;
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
    fn splat_reals(self, x: f64) -> __m256d {
        avx2!(_mm256_set1_pd(x))
    }

    #[inline(always)]
    unsafe fn load_reals(self, from: *const f64) -> __m256d {
        // SAFETY: the caller's; the load is unaligned.
        unsafe { _mm256_loadu_pd(from) }
    }

    #[inline(always)]
    unsafe fn store_reals(self, x: __m256d, to: *mut f64) {
        // SAFETY: the caller's; the store is unaligned.
        unsafe { _mm256_storeu_pd(to, x) }
    }

    #[inline(always)]
    fn add(self, a: __m256d, b: __m256d) -> __m256d {
        avx2!(_mm256_add_pd(a, b))
    }

    #[inline(always)]
    fn subtract(self, a: __m256d, b: __m256d) -> __m256d {
        avx2!(_mm256_sub_pd(a, b))
    }

    #[inline(always)]
    fn multiply(self, a: __m256d, b: __m256d) -> __m256d {
        avx2!(_mm256_mul_pd(a, b))
    }

    #[inline(always)]
    fn multiply_add(self, a: __m256d, b: __m256d, c: __m256d) -> __m256d {
        avx2!(_mm256_fmadd_pd(a, b, c))
    }

    #[inline(always)]
    fn multiply_subtract(self, a: __m256d, b: __m256d, c: __m256d) -> __m256d {
        avx2!(_mm256_fmsub_pd(a, b, c))
    }

    #[inline(always)]
    fn negate_multiply_add(self, a: __m256d, b: __m256d, c: __m256d) -> __m256d {
        avx2!(_mm256_fnmadd_pd(a, b, c))
    }

    #[inline(always)]
    fn interleave(self, a: __m256d, b: __m256d) -> (__m256d, __m256d) {
        avx2!((_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b)))
    }

    #[inline(always)]
    fn exchange(self, a: __m256d, b: __m256d) -> (__m256d, __m256d) {
        avx2!((_mm256_permute2f128_pd::<0x20>(a, b), _mm256_permute2f128_pd::<0x31>(a, b)))
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

    #[inline(always)]
    fn negate_where(self, x: __m256i, negate: bool) -> __m256i {
        avx2!({
            let ones = _mm256_set1_epi64x(-i64::from(negate));
            _mm256_sub_epi64(_mm256_xor_si256(x, ones), ones)
        })
    }

    #[inline(always)]
    fn shift_left(self, x: __m256i, shift: u32) -> __m256i {
        avx2!(_mm256_sllv_epi64(x, _mm256_set1_epi64x(shift as i64)))
    }

    #[inline(always)]
    fn shift_right(self, x: __m256i, shift: u32) -> __m256i {
        avx2!(_mm256_srlv_epi64(x, _mm256_set1_epi64x(shift as i64)))
    }

    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_and_si256(a, b))
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_xor_si256(a, b))
    }

    #[inline(always)]
    unsafe fn store_integers(self, x: __m256i, to: *mut i32) {
        let lower = avx2!(_mm256_permutevar8x32_epi32(x, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6)));
        // SAFETY: the caller's; the store is unaligned.
        unsafe { _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(lower)) }
    }

    #[inline(always)]
    unsafe fn load_integers(self, from: *const i32) -> __m256d {
        // SAFETY: the caller's; the load is unaligned.
        avx2!(_mm256_cvtepi32_pd(_mm_loadu_si128(from.cast())))
    }

    /// The halves become the mantissas of numbers of 2^52 and 2^84 (the high half with its sign bit flipped, that is
    /// plus 2^31); what was added is taken off the exact high number, and one addition rounds.
    #[inline(always)]
    fn signed_reals(self, x: __m256i) -> __m256d {
        avx2!({
            let two_to_52 = _mm256_set1_epi64x(TWO_TO_52.to_bits() as i64);
            let low = _mm256_blend_epi32::<0b1010_1010>(x, two_to_52);
            let high_bits = TWO_TO_84.to_bits() ^ (1 << 31);
            let high = _mm256_xor_si256(_mm256_srli_epi64::<32>(x), _mm256_set1_epi64x(high_bits as i64));
            let added = _mm256_set1_pd(TWO_TO_84 + 2f64.powi(63) + TWO_TO_52);
            _mm256_add_pd(_mm256_sub_pd(_mm256_castsi256_pd(high), added), _mm256_castsi256_pd(low))
        })
    }

    /// AVX2 has no arithmetic shift of 64-bit lanes: x + 2^63 is shifted instead, and the quotient, too large by
    /// 2^(63−dropped) ≤ 2^50, becomes the mantissa of a number of 2^52.
    #[inline(always)]
    fn rounded_quotients(self, x: __m256i, dropped: u32) -> __m256d {
        avx2!({
            let biased = _mm256_xor_si256(x, _mm256_set1_epi64x(i64::MIN));
            let twice = _mm256_srlv_epi64(biased, _mm256_set1_epi64x(dropped as i64 - 1));
            let add = 1 + (TWO_TO_52.to_bits() << 1);
            let bits = _mm256_srli_epi64::<1>(_mm256_add_epi64(twice, _mm256_set1_epi64x(add as i64)));
            let bias = 2f64.powi(63 - dropped as i32);
            _mm256_sub_pd(_mm256_castsi256_pd(bits), _mm256_set1_pd(TWO_TO_52 + bias))
        })
    }

    #[inline(always)]
    fn bits(self, x: __m256d) -> __m256i {
        avx2!(_mm256_castpd_si256(x))
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
    fn splat_integers(self, x: i32) -> __m256i {
        avx2!(_mm256_set1_epi32(x))
    }

    #[inline(always)]
    fn add_integers(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_add_epi32(a, b))
    }

    #[inline(always)]
    fn add_pair_products(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_add_epi32(sum, _mm256_madd_epi16(a, b)))
    }

    #[inline(always)]
    fn prefetch_near(self, address: *const u64) {
        avx2!(_mm_prefetch::<_MM_HINT_T0>(address.cast()))
    }

    #[inline(always)]
    fn prefetch(self, address: *const u64) {
        avx2!(_mm_prefetch::<_MM_HINT_T1>(address.cast()))
    }
}
