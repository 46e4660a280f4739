//! Vector instructions, chosen when the program runs.
//!
//! One binary serves every CPU: each kernel is written once over the trait `Simd` and compiled once for each
//! instruction set, and the one to run is chosen from what the CPU has ([`Backend::selected`]), never by timing, so that
//! the same program on the same kind of CPU computes the same bits.
//!
//! The types `Avx2` and `Avx512` are proofs: their constructors return a value only on a CPU that has the
//! instructions, and the operations of `Simd` take one. This is what makes those operations safe to call.
//!
//! In the book: [the kernels](../../../book/A1-the-kernels.html).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod digits;
#[cfg(any(test, feature = "testing"))]
mod limits;
pub(crate) mod matrix;
pub(crate) mod packed;

use std::sync::OnceLock;

use crate::rounding::Transforms;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
#[cfg(any(test, feature = "testing"))]
pub use limits::{multiply_adds, read};

/// The environment variable that forces a backend: `portable`, `avx2` or `avx512`.
pub const BACKEND_VARIABLE: &str = "TFHE_BACKEND";

/// A family of implementations of the transforms and of the other kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backend {
    /// rustfft and plain loops, on every CPU.
    Portable,
    /// 256-bit vectors: AVX2 and FMA.
    Avx2,
    /// 512-bit vectors: AVX-512 F, DQ, VL and BW.
    Avx512,
}

/// Why a backend cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The name is none of the backends'.
    #[error("unknown backend {0:?} in {BACKEND_VARIABLE}: use portable, avx2 or avx512, or unset the variable")]
    Unknown(String),
    /// This CPU lacks the instructions.
    #[error("this CPU does not support the backend {backend}; it has: {available}", backend = .0, available = Backend::list_available())]
    Unsupported(Backend),
}

impl Backend {
    const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// The backends that this CPU can run, from the slowest to the fastest.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|backend| Capability::new(*backend).is_some())
    }

    /// The backend that everything uses unless told otherwise: the one named by the environment variable
    /// [`BACKEND_VARIABLE`], or the fastest that this CPU can run. Read once.
    ///
    /// # Errors
    /// If the variable names no backend, or one that this CPU cannot run.
    pub fn selected() -> Result<Self, BackendError> {
        Capability::selected().map(Capability::backend)
    }

    /// The name used in [`BACKEND_VARIABLE`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    fn list_available() -> String {
        Self::available().map(Self::name).collect::<Vec<_>>().join(", ")
    }
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Backend {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, BackendError> {
        Self::ALL.into_iter().find(|b| b.name() == name).ok_or_else(|| BackendError::Unknown(name.to_owned()))
    }
}

/// What decides the bits of results of transforms in this process: the selected backend, and how its butterflies add. Two processes of one
/// version of this crate with the same name compute the same bits.
///
/// # Panics
/// If the environment selects an unusable backend; a program should call [`Backend::selected`] once to report that.
pub fn arithmetic_name() -> String {
    let adders = match selected_capability() {
        #[cfg(target_arch = "x86_64")]
        Capability::Vector(VectorInstructions::Avx512Adders(_)) => "-adders",
        _ => "",
    };
    let backend = selected_capability().backend().name();
    format!("{backend}{adders}")
}

/// A backend that this CPU is known to support.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Capability {
    Portable,
    Vector(VectorInstructions),
}

/// [`Capability::selected`], for computations that cannot fail.
///
/// # Panics
/// If the environment selects an unusable backend; a program should call [`Backend::selected`] once to report that.
pub(crate) fn selected_capability() -> Capability {
    Capability::selected().unwrap_or_else(|error| panic!("{error}"))
}

/// Vector instructions that this CPU is known to have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum VectorInstructions {
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512<false>),
    /// With [`Simd::ADDERS`].
    #[cfg(target_arch = "x86_64")]
    Avx512Adders(Avx512<true>),
}

/// Whether this CPU adds floating-point numbers in units of their own, beside those that multiply: AMD's Zen does, and what is licensed of
/// it. (Its two units of either kind take four vectors a cycle; Intel's ports take two, of whichever kind.)
#[cfg(target_arch = "x86_64")]
fn has_adders() -> bool {
    // Asked once: on virtual machines the question is one to the host.
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        // It was unsafe in earlier versions of the standard library.
        #[allow(unused_unsafe)]
        // SAFETY: every CPU of this architecture has the instruction, and leaf 0 of it.
        let vendor = unsafe { std::arch::x86_64::__cpuid(0) };
        let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
        [b"AuthenticAMD", b"HygonGenuine"].iter().any(|vendor| vendor.as_slice() == name.as_flattened())
    })
}

impl Capability {
    /// `None` if this CPU cannot run `backend`.
    pub(crate) fn new(backend: Backend) -> Option<Self> {
        match backend {
            Backend::Portable => Some(Self::Portable),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => Avx2::new().map(|proof| Self::Vector(VectorInstructions::Avx2(proof))),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512 if has_adders() => {
                Avx512::new().map(|proof| Self::Vector(VectorInstructions::Avx512Adders(proof)))
            }
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512 => Avx512::new().map(|proof| Self::Vector(VectorInstructions::Avx512(proof))),
            #[cfg(not(target_arch = "x86_64"))]
            Backend::Avx2 | Backend::Avx512 => None,
        }
    }

    /// [`Backend::selected`], with the proof.
    pub(crate) fn selected() -> Result<Self, BackendError> {
        static SELECTED: OnceLock<Result<Capability, BackendError>> = OnceLock::new();
        SELECTED.get_or_init(|| Self::select(std::env::var_os(BACKEND_VARIABLE))).clone()
    }

    fn select(variable: Option<std::ffi::OsString>) -> Result<Self, BackendError> {
        // An empty variable is one that is not set.
        let backend = match variable.filter(|name| !name.is_empty()) {
            Some(name) => name.to_string_lossy().parse()?,
            None => Backend::available().last().unwrap_or(Backend::Portable),
        };
        Self::new(backend).ok_or(BackendError::Unsupported(backend))
    }

    /// Its vector instructions, and then those of the narrower backends, which it includes.
    pub(crate) fn narrower(self) -> impl Iterator<Item = VectorInstructions> {
        let backends = Backend::ALL.into_iter().rev().filter(move |&backend| backend <= self.backend());
        backends.filter_map(|backend| match Self::new(backend) {
            Some(Self::Vector(instructions)) => Some(instructions),
            _ => None,
        })
    }

    pub(crate) fn backend(self) -> Backend {
        match self {
            Self::Portable => Backend::Portable,
            Self::Vector(instructions) => instructions.backend(),
        }
    }
}

/// What is the same of all vector instructions but for the type of the proof.
macro_rules! each {
    ($instructions:expr, $simd:pat => $what:expr) => {
        match $instructions {
            #[cfg(target_arch = "x86_64")]
            VectorInstructions::Avx2($simd) => $what,
            #[cfg(target_arch = "x86_64")]
            VectorInstructions::Avx512($simd) => $what,
            #[cfg(target_arch = "x86_64")]
            VectorInstructions::Avx512Adders($simd) => $what,
        }
    };
}

impl VectorInstructions {
    /// Those of a backend that this CPU can run, whether or not they suit it.
    #[cfg(test)]
    pub(crate) fn of(backend: Backend) -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let all = match backend {
            Backend::Portable => [None, None],
            Backend::Avx2 => [Avx2::new().map(Self::Avx2), None],
            Backend::Avx512 => [Avx512::new().map(Self::Avx512), Avx512::new().map(Self::Avx512Adders)],
        };
        #[cfg(not(target_arch = "x86_64"))]
        let all = {
            let _ = backend;
            [None]
        };
        all.into_iter().flatten()
    }

    fn backend(self) -> Backend {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => Backend::Avx2,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) | Self::Avx512Adders(_) => Backend::Avx512,
        }
    }

    /// Runs the version of `kernel` for these instructions.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        each!(self, simd => simd.run(kernel))
    }

    /// The rounding errors of transforms with these instructions.
    pub(crate) fn transforms(self) -> Transforms {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => Transforms::AVX2,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => Transforms::AVX512,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Adders(_) => Transforms::AVX512_ADDERS,
        }
    }

    /// The number of 64-bit lanes.
    pub(crate) fn lanes(self) -> usize {
        fn of<S: Simd>(_: S) -> usize {
            S::LANES
        }
        each!(self, simd => of(simd))
    }
}

impl std::fmt::Display for VectorInstructions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        fn of<S: Simd>(_: S) -> &'static str {
            if S::ADDERS { ", with adders" } else { "" }
        }
        write!(f, "{}{}", self.backend(), each!(*self, simd => of(simd)))
    }
}

/// A computation written once for every instruction set.
///
/// `run` and everything it calls must be `#[inline(always)]`: it is compiled inside a function that enables the
/// instruction set, and only what is inlined there may use it.
pub(crate) trait Kernel {
    type Output;

    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Operations on vectors of [`Simd::LANES`] lanes of 64 bits.
///
/// A value of an implementing type proves that the CPU has the instructions.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    const LANES: usize;
    /// Whether additions have units of their own beside those that multiply and add: then a product and two sums take less time than two
    /// multiply-adds.
    const ADDERS: bool;
    /// f64 lanes.
    type Reals: Copy;
    /// u64 lanes.
    type Words: Copy;

    /// Runs a kernel compiled for this instruction set.
    fn run<K: Kernel>(self, kernel: K) -> K::Output;

    fn splat_reals(self, x: f64) -> Self::Reals;
    /// # Safety
    /// `from` must be valid for reading `LANES` numbers; it need not be aligned.
    unsafe fn load_reals(self, from: *const f64) -> Self::Reals;
    /// # Safety
    /// `to` must be valid for writing `LANES` numbers; it need not be aligned.
    unsafe fn store_reals(self, x: Self::Reals, to: *mut f64);
    fn add(self, a: Self::Reals, b: Self::Reals) -> Self::Reals;
    fn subtract(self, a: Self::Reals, b: Self::Reals) -> Self::Reals;
    fn multiply(self, a: Self::Reals, b: Self::Reals) -> Self::Reals;
    /// a·b + c, rounded once, as the next two.
    fn multiply_add(self, a: Self::Reals, b: Self::Reals, c: Self::Reals) -> Self::Reals;
    /// a·b − c.
    fn multiply_subtract(self, a: Self::Reals, b: Self::Reals, c: Self::Reals) -> Self::Reals;
    /// c − a·b.
    fn negate_multiply_add(self, a: Self::Reals, b: Self::Reals, c: Self::Reals) -> Self::Reals;
    /// The even lanes of both, alternating, and the odd ones: one step of a transposition.
    fn interleave(self, a: Self::Reals, b: Self::Reals) -> (Self::Reals, Self::Reals);
    /// The even pairs of lanes of a, then those of b; and the odd ones: the other steps.
    fn exchange(self, a: Self::Reals, b: Self::Reals) -> (Self::Reals, Self::Reals);

    fn splat_words(self, x: u64) -> Self::Words;
    /// # Safety
    /// `from` must be valid for reading `LANES` words; it need not be aligned.
    unsafe fn load_words(self, from: *const u64) -> Self::Words;
    /// # Safety
    /// `to` must be valid for writing `LANES` words; it need not be aligned.
    unsafe fn store_words(self, x: Self::Words, to: *mut u64);
    fn add_words(self, a: Self::Words, b: Self::Words) -> Self::Words;
    fn subtract_words(self, a: Self::Words, b: Self::Words) -> Self::Words;
    /// −x if `negate`, else x.
    fn negate_where(self, x: Self::Words, negate: bool) -> Self::Words;
    /// x·2^shift, for `shift` below 64.
    fn shift_left(self, x: Self::Words, shift: u32) -> Self::Words;

    /// ⌊x/2^shift⌋, for `shift` below 64.
    fn shift_right(self, x: Self::Words, shift: u32) -> Self::Words;
    fn and(self, a: Self::Words, b: Self::Words) -> Self::Words;
    fn xor(self, a: Self::Words, b: Self::Words) -> Self::Words;
    /// Stores the lower halves of the lanes.
    ///
    /// # Safety
    /// `to` must be valid for writing `LANES` integers; it need not be aligned.
    unsafe fn store_integers(self, x: Self::Words, to: *mut i32);

    /// # Safety
    /// `from` must be valid for reading `LANES` integers; it need not be aligned.
    unsafe fn load_integers(self, from: *const i32) -> Self::Reals;
    /// The signed representatives, rounded to 53 bits.
    fn signed_reals(self, x: Self::Words) -> Self::Reals;
    /// The signed representatives divided by 2^`dropped` and rounded, ties any way; `dropped` is 13 to 63. A rounding
    /// of the representatives to 53 bits may come first.
    fn rounded_quotients(self, x: Self::Words, dropped: u32) -> Self::Reals;
    /// The bit patterns.
    fn bits(self, x: Self::Reals) -> Self::Words;

    /// A factor of sums of products, prepared.
    type Factor: Copy;
    /// A sum of products modulo 2^64.
    type Sum: Copy;

    fn factor(self, x: Self::Words) -> Self::Factor;
    fn zero_sum(self) -> Self::Sum;
    /// `sum + factor·digit` in each lane; the digits must be sign-extended 32-bit integers.
    fn multiply_add_digit(self, sum: Self::Sum, factor: Self::Factor, digit: Self::Words) -> Self::Sum;
    fn sum_value(self, sum: Self::Sum) -> Self::Words;

    /// x in every 32-bit lane.
    fn splat_integers(self, x: i32) -> Self::Words;
    fn add_integers(self, a: Self::Words, b: Self::Words) -> Self::Words;
    /// sum + a_0·b_0 + a_1·b_1 modulo 2^32 in every 32-bit lane, for the signed halves of its a and b.
    fn add_pair_products(self, sum: Self::Words, a: Self::Words, b: Self::Words) -> Self::Words;

    /// Fetches the cache line at `address` into the first-level cache; any address will do.
    fn prefetch_near(self, address: *const u64);

    /// Fetches the cache line at `address` into the second-level cache; any address will do.
    fn prefetch(self, address: *const u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_selects_or_explains() {
        assert_eq!(Capability::select(Some("portable".into())).unwrap().backend(), Backend::Portable);
        for unset in [None, Some("".into())] {
            assert_eq!(Capability::select(unset).unwrap().backend(), Backend::available().last().unwrap());
        }
        let message = Capability::select(Some("sse9".into())).unwrap_err().to_string();
        assert_eq!(
            message,
            "unknown backend \"sse9\" in TFHE_BACKEND: use portable, avx2 or avx512, or unset the variable"
        );
        for backend in Backend::ALL {
            let selected = Capability::select(Some(backend.name().into()));
            assert_eq!(selected.is_ok(), Backend::available().any(|b| b == backend));
        }
    }
}
