//! TFHE by the book: a second implementation, to hold `tfhe-core` against.
//!
//! It shares no code with it. There are integers only (but for [`Ties::Twice`]), sums are written as sums (N² multiplications for a product), nothing is in place or
//! in parallel, and no function is longer than its formula. Who knows that these lines are right knows what `tfhe-core`'s results have
//! to be: the same to the last bit where that computes exactly, and within a predicted error where it has transforms in floating point.
//!
//! A torus element is a `u64` x that stands for x/2^64 modulo 1, so that wrapping arithmetic is arithmetic on the torus. "CGGI" is
//! Chillotti, Gama, Georgieva, Izabachène, "TFHE: Fast Fully Homomorphic Encryption over the Torus", J. Cryptology 33 (2020).

/// A polynomial modulo X^N + 1, lowest degree first.
pub type Polynomial = Vec<u64>;

/// A GLWE ciphertext (A_1 … A_k, B), or its plaintext's parts: a list of polynomials.
pub type Glwe = Vec<Polynomial>;

/// The rows of a key under a GLWE key: `rows[i][level]` is a GLWE ciphertext, the level of q/β first.
pub type Rows = Vec<Vec<Glwe>>;

/// Cuts words into polynomials of N coefficients.
pub fn polynomials(words: &[u64], n: usize) -> Vec<Polynomial> {
    words.chunks_exact(n).map(<[u64]>::to_vec).collect()
}

/// Cuts words `[inputs][ℓ][columns][N]` into rows.
pub fn rows(words: &[u64], levels: usize, columns: usize, n: usize) -> Rows {
    let of_input = |words: &[u64]| words.chunks_exact(columns * n).map(|row| polynomials(row, n)).collect();
    words.chunks_exact(levels * columns * n).map(of_input).collect()
}

// Polynomials.

/// a + b.
pub fn add(a: &[u64], b: &[u64]) -> Vec<u64> {
    a.iter().zip(b).map(|(x, y)| x.wrapping_add(*y)).collect()
}

/// a − b.
pub fn subtract(a: &[u64], b: &[u64]) -> Vec<u64> {
    a.iter().zip(b).map(|(x, y)| x.wrapping_sub(*y)).collect()
}

/// c·a for an integer c, which may be negative (modulo 2^64).
pub fn scale(c: u64, a: &[u64]) -> Vec<u64> {
    a.iter().map(|x| c.wrapping_mul(*x)).collect()
}

/// `sum += a·b`: the coefficient of X^(i+j) gets a_i·b_j, and X^N = −1.
pub fn add_product(sum: &mut [u64], a: &[u64], b: &[u64]) {
    let n = sum.len();
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b[..n - i].iter().enumerate() {
            sum[i + j] = sum[i + j].wrapping_add(x.wrapping_mul(*y));
        }
        for (j, y) in b[n - i..].iter().enumerate() {
            sum[j] = sum[j].wrapping_sub(x.wrapping_mul(*y));
        }
    }
}

/// p(X^g) for odd g, or X^e·p: each coefficient j goes to the exponent that `exponent` says, modulo 2N, and X^N = −1.
fn moved(p: &[u64], exponent: impl Fn(usize) -> usize) -> Polynomial {
    let n = p.len();
    let mut out = vec![0; n];
    for (j, &x) in p.iter().enumerate() {
        let to = exponent(j) % (2 * n);
        out[to % n] = if to < n { x } else { x.wrapping_neg() };
    }
    out
}

/// X^e·p.
pub fn rotate(p: &[u64], e: usize) -> Polynomial {
    moved(p, |j| j + e)
}

/// p(X^g), for odd g.
pub fn substitute(p: &[u64], g: usize) -> Polynomial {
    moved(p, |j| j * g)
}

// Ciphertexts.

/// b − Σ a_i·s_i of an LWE ciphertext (a_1 … a_n, b): the message and its noise (Regev, STOC 2005; CGGI, section 3.1).
pub fn lwe_phase(key: &[u64], ciphertext: &[u64]) -> u64 {
    let (body, mask) = ciphertext.split_last().expect("a body");
    mask.iter().zip(key).fold(*body, |phase, (a, s)| phase.wrapping_sub(a.wrapping_mul(*s)))
}

/// B − Σ A_i·S_i of a GLWE ciphertext (Brakerski, Gentry, Vaikuntanathan, ITCS 2012; CGGI, section 3.1).
pub fn glwe_phase(key: &[Polynomial], ciphertext: &[Polynomial]) -> Polynomial {
    let (body, mask) = ciphertext.split_last().expect("a body");
    let mut product = vec![0; body.len()];
    mask.iter().zip(key).for_each(|(a, s)| add_product(&mut product, a, s));
    subtract(body, &product)
}

/// The LWE ciphertext of coefficient h: Σ_{i+j=h} A_i·S_j − Σ_{i+j=h+N} A_i·S_j is an inner product with the coefficients of S, of
/// A_{h−j} for j ≤ h and of −A_{N+h−j} for j > h (CGGI, section 4.2).
pub fn sample_extract(ciphertext: &[Polynomial], h: usize) -> Vec<u64> {
    let (body, mask) = ciphertext.split_last().expect("a body");
    let n = body.len();
    let of = |a: &Polynomial| -> Vec<u64> {
        (0..n).map(|j| if j <= h { a[h - j] } else { a[n + h - j].wrapping_neg() }).collect()
    };
    mask.iter().flat_map(of).chain([body[h]]).collect()
}

// Gadgets.

/// What a decomposition does where two answers are as good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// As `tfhe-core` does, so that errors and digits have mean zero. An element halfway between two multiples of q/β^ℓ goes to the one
    /// that is an even number of them away from −q/2, so that ±q/2 both happen. A digit of ±β/2 has the sign with which the digit above
    /// it becomes even.
    Even,
    /// The same, but halfway goes up: as `tfhe-core` does inside of products on AVX2.
    Up,
    /// The same as [`Self::Even`], but what is rounded is what an f64 holds of the element, 53 bits of it: as `tfhe-core` does inside of
    /// products on AVX-512. Only what is within 2^-53 of halfway can come out in another way.
    Twice,
    /// As tfhe-rs does. Halfway goes up; what is q/2 after that is −q/2 if it was rounded up to it, and q/2 otherwise. A digit of ±β/2
    /// is negative if the digit above it, before carries, is β/2 or more.
    NextDigit,
}

/// (β = 2^base_log, ℓ), and what it does with ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decomposition {
    /// log2 β.
    pub base_log: u32,
    /// ℓ.
    pub levels: usize,
    /// Where two answers are as good.
    pub ties: Ties,
}

impl Decomposition {
    /// The integer c with c·q/β^ℓ nearest to x, −β^ℓ/2 ≤ c ≤ β^ℓ/2.
    pub fn nearest(&self, x: u64) -> i128 {
        let bits = self.base_log * self.levels as u32;
        let (unit, all) = (1_i128 << (64 - bits), 1_i128 << bits);
        match self.ties {
            Ties::Even | Ties::Up | Ties::Twice => {
                let x = if self.ties == Ties::Twice { x as i64 as f64 as i128 } else { i128::from(x as i64) };
                let (quotient, rest) = (x.div_euclid(unit), x.rem_euclid(unit));
                let tie_is_up = self.ties == Ties::Up || (quotient + all / 2) % 2 == 1;
                quotient + i128::from(2 * rest > unit || (2 * rest == unit && tie_is_up))
            }
            Ties::NextDigit => {
                let up = 2 * (x as i128 % unit) >= unit;
                let rounded = (x as i128 / unit + i128::from(up)) % all;
                rounded - if rounded > all / 2 || (rounded == all / 2 && up) { all } else { 0 }
            }
        }
    }

    /// The digits d_1 … d_ℓ with Σ d_i·q/β^i nearest to x and |d_i| ≤ β/2, modulo 2^64 (CGGI, Algorithm 1; Joye, ePrint 2021/1402,
    /// section 4): from the last on, what is above β/2 becomes negative and carries.
    pub fn digits(&self, x: u64) -> Vec<u64> {
        let base = 1_i128 << self.base_log;
        let mut rest = self.nearest(x);
        let mut digits = vec![0; self.levels];
        for digit in digits[1..].iter_mut().rev() {
            let (above, remainder) = (rest.div_euclid(base), rest.rem_euclid(base));
            let tie_is_negative = match self.ties {
                Ties::NextDigit => 2 * above.rem_euclid(base) >= base,
                _ => above.rem_euclid(2) == 1,
            };
            let carry = i128::from(2 * remainder > base || (2 * remainder == base && tie_is_negative));
            *digit = (remainder - carry * base) as u64;
            rest = above + carry;
        }
        digits[0] = rest as u64;
        digits
    }

    /// Σ_i Σ_level digit_level(P_i)·`rows[i][level]`: what every product with a key under a GLWE key is.
    pub fn product(&self, polynomials: &[Polynomial], rows: &[Vec<Glwe>]) -> Glwe {
        let (columns, n) = (rows[0][0].len(), polynomials[0].len());
        let mut sum = vec![vec![0; n]; columns];
        for (polynomial, levels) in polynomials.iter().zip(rows) {
            let digits: Vec<Vec<u64>> = polynomial.iter().map(|&x| self.digits(x)).collect();
            for (level, row) in levels.iter().enumerate() {
                let digits: Polynomial = digits.iter().map(|digits| digits[level]).collect();
                sum.iter_mut().zip(row).for_each(|(sum, column)| add_product(sum, &digits, column));
            }
        }
        sum
    }

    /// GGSW(m) ⊡ C, a ciphertext of m·M: row i of a GGSW ciphertext encrypts −m·S_i·q/β^level, and the last m·q/β^level (CGGI,
    /// Definition 3.12).
    pub fn external_product(&self, ggsw: &[Vec<Glwe>], ciphertext: &[Polynomial]) -> Glwe {
        self.product(ciphertext, ggsw)
    }

    /// C_0 + GGSW(s) ⊡ (C_1 − C_0), a ciphertext of the plaintext of C_s (CGGI, section 3.4).
    pub fn cmux(&self, ggsw: &[Vec<Glwe>], zero: &[Polynomial], one: &[Polynomial]) -> Glwe {
        let difference: Glwe = one.iter().zip(zero).map(|(one, zero)| subtract(one, zero)).collect();
        let chosen = self.external_product(ggsw, &difference);
        zero.iter().zip(&chosen).map(|(zero, chosen)| add(zero, chosen)).collect()
    }

    /// X^(−b + Σ a_i·s_i)·V: it starts with X^(−b)·V, and bit s_i chooses whether to turn by a_i more (CGGI, Algorithm 3). The
    /// exponents (a_1 … a_n, b) are modulo 2N.
    pub fn blind_rotation(&self, key: &[Rows], exponents: &[usize], accumulator: &[Polynomial]) -> Glwe {
        let (&body, mask) = exponents.split_last().expect("a body");
        let turn = |ciphertext: &[Polynomial], e: usize| ciphertext.iter().map(|p| rotate(p, e)).collect::<Glwe>();
        let start = turn(accumulator, 2 * accumulator[0].len() - body);
        mask.iter().zip(key).fold(start, |turned, (&a, bit)| self.cmux(bit, &turned, &turn(&turned, a)))
    }

    /// The same, two bits at a time, with three GGSW ciphertexts of each pair: of s_1(1 − s_2), (1 − s_1)s_2 and s_1·s_2, of which the one
    /// that is 1 adds what the accumulator lacks to be turned by a_1, a_2 or both (Bourse, Minelli, Minihold, Paillier, Crypto 2018).
    pub fn blind_rotation_by_pairs(&self, key: &[Rows], exponents: &[usize], accumulator: &[Polynomial]) -> Glwe {
        let (&body, mask) = exponents.split_last().expect("a body");
        let turn = |ciphertext: &[Polynomial], e: usize| ciphertext.iter().map(|p| rotate(p, e)).collect::<Glwe>();
        let mut turned = turn(accumulator, 2 * accumulator[0].len() - body);
        for (pair, key) in mask.chunks(2).zip(key.chunks(3)) {
            let (first, second) = (pair[0], *pair.get(1).unwrap_or(&0));
            let products: Vec<Glwe> = key.iter().map(|ggsw| self.external_product(ggsw, &turned)).collect();
            for (product, exponent) in products.iter().zip([first, second, first + second]) {
                let lacking = turn(product, exponent % (2 * accumulator[0].len()));
                for ((sum, more), less) in turned.iter_mut().zip(&lacking).zip(product) {
                    *sum = add(sum, &subtract(more, less));
                }
            }
        }
        turned
    }

    /// Programmable bootstrapping: the coefficient of V that the phase points to, as an LWE ciphertext (CGGI, Algorithm 4).
    pub fn bootstrap(&self, key: &[Rows], exponents: &[usize], accumulator: &[Polynomial]) -> Vec<u64> {
        sample_extract(&self.blind_rotation(key, exponents, accumulator), 0)
    }

    /// (0, b) − Σ_i Σ_j digit_j(a_i)·`key[i][j]`, where `key[i][j]` is an encryption of s'_i·q/β^j under the new key (CGGI, Algorithm 2).
    pub fn lwe_keyswitch(&self, key: &[Vec<Vec<u64>>], ciphertext: &[u64]) -> Vec<u64> {
        let (&body, mask) = ciphertext.split_last().expect("a body");
        let mut out = vec![0; key[0][0].len()];
        *out.last_mut().expect("a body") = body;
        for (&a, levels) in mask.iter().zip(key) {
            for (digit, row) in self.digits(a).into_iter().zip(levels) {
                out = subtract(&out, &scale(digit, row));
            }
        }
        out
    }

    /// The same into a GLWE ciphertext, of the constant polynomial b: `key[i][j]` encrypts the constant s'_i·q/β^j; times X^place (CGGI,
    /// Algorithm 2).
    pub fn packing_keyswitch(&self, key: &[Vec<Glwe>], ciphertext: &[u64], place: usize) -> Glwe {
        let (columns, n) = (key[0][0].len(), key[0][0][0].len());
        // Laid end to end, the rows are those of a switch between vectors; b is added to the constant coefficient of B.
        let flat: Vec<Vec<Vec<u64>>> = key.iter().map(|row| row.iter().map(|row| row.concat()).collect()).collect();
        let mut without_body = ciphertext.to_vec();
        let body = std::mem::take(without_body.last_mut().expect("a body"));
        let mut out = polynomials(&self.lwe_keyswitch(&flat, &without_body), n);
        out[columns - 1][0] = out[columns - 1][0].wrapping_add(body);
        out.iter().map(|p| rotate(p, place)).collect()
    }

    /// (0, B) + Σ digits(A_i)·`key[i]`, where `key[i][level]` encrypts −Z_i·q/β^level under the new key (Chillotti, Ligier, Orfila, Tap,
    /// ePrint 2021/729, appendix).
    pub fn glwe_keyswitch(&self, key: &[Vec<Glwe>], ciphertext: &[Polynomial]) -> Glwe {
        let (body, mask) = ciphertext.split_last().expect("a body");
        let mut out = self.product(mask, key);
        let last = out.last_mut().expect("a body");
        *last = add(last, body);
        out
    }

    /// σ_g(C), of M(X^g) under S again: X ↦ X^g in every polynomial gives a ciphertext under S(X^g), from which the key leads back to S
    /// (Chen, Dai, Kim, Song, ePrint 2020/015, section 2.4).
    pub fn automorphism(&self, key: &[Vec<Glwe>], ciphertext: &[Polynomial], g: usize) -> Glwe {
        let image: Glwe = ciphertext.iter().map(|p| substitute(p, g)).collect();
        self.glwe_keyswitch(key, &image)
    }

    /// C + σ_g(C) for g = 2^l + 1 and each l of `steps` in turn: from 1 to log2 N, N times the constant coefficient (ePrint 2020/015,
    /// Algorithm 1). `keys[l − 1]` is that of l.
    pub fn trace(&self, keys: &[Rows], ciphertext: &[Polynomial], steps: std::ops::RangeInclusive<usize>) -> Glwe {
        steps.fold(ciphertext.to_vec(), |sum, l| {
            let image = self.automorphism(&keys[l - 1], &sum, (1 << l) + 1);
            sum.iter().zip(&image).map(|(sum, image)| add(sum, image)).collect()
        })
    }

    /// N times the constant coefficients of H = 2^l ciphertexts, at the multiples of N/H. With E of the even ones, O of the odd ones, and
    /// D = X^(N/H)·O, it is (E + D) + σ_g(E − D), g = H + 1: σ_g changes the sign of X^(N/H) (ePrint 2020/015, Algorithm 2).
    fn merge(&self, keys: &[Rows], ciphertexts: &[Glwe]) -> Glwe {
        let count = ciphertexts.len();
        if count == 1 {
            return ciphertexts[0].clone();
        }
        let half =
            |first: usize| self.merge(keys, &ciphertexts.iter().skip(first).step_by(2).cloned().collect::<Vec<_>>());
        let (even, odd) = (half(0), half(1));
        let pairs = || even.iter().zip(&odd).map(|(even, odd)| (even, rotate(odd, even.len() / count)));
        let sum: Glwe = pairs().map(|(even, odd)| add(even, &odd)).collect();
        let difference: Glwe = pairs().map(|(even, odd)| subtract(even, &odd)).collect();
        let image = self.automorphism(&keys[count.ilog2() as usize - 1], &difference, count + 1);
        sum.iter().zip(&image).map(|(sum, image)| add(sum, image)).collect()
    }

    /// Packing: the constant coefficients of H = 2^l ciphertexts at the multiples of N/H, all others cleared. The steps multiply by N, so
    /// ciphertexts are divided by N before; after merging, the trace's other steps clear the rest (ePrint 2020/015, Algorithm 3).
    pub fn pack(&self, keys: &[Rows], ciphertexts: &[Glwe]) -> Glwe {
        let log_n = ciphertexts[0][0].len().ilog2();
        let divided = |p: &Polynomial| p.iter().map(|&x| divide(x, log_n)).collect();
        let divided: Vec<Glwe> = ciphertexts.iter().map(|c| c.iter().map(divided).collect()).collect();
        let first = ciphertexts.len().ilog2() as usize + 1;
        self.trace(keys, &self.merge(keys, &divided), first..=log_n as usize)
    }

    /// The ciphertext of M_1·M_2 at the factors' scale q/t, for k = 1, with a key whose rows encrypt S²·q/β^level: B_1·B_2 and A_1·B_2 +
    /// A_2·B_1 stay as they are, and A_1·A_2 comes back from S² to S (Fan, Vercauteren, ePrint 2012/144, section 4).
    pub fn multiply(&self, key: &[Vec<Glwe>], left: &[Polynomial], right: &[Polynomial], log_t: u32) -> Glwe {
        let lifted = |c: &[Polynomial]| [balanced(&c[0]), c[1].iter().map(|&x| lift(x)).collect()];
        let ([a1, b1], [a2, b2]) = (lifted(left), lifted(right));
        let (constant, square) = (scaled_product(&[(&b1, &b2)], log_t), scaled_product(&[(&a1, &a2)], log_t));
        let linear = scaled_product(&[(&a1, &b2), (&b1, &a2)], log_t);
        let back = self.product(&[square], key);
        vec![add(&linear, &back[0]), add(&constant, &back[1])]
    }
}

/// x/2^bits of the representative in [−q/2, q/2), to the nearest integer, and to the even one of two.
pub fn divide(x: u64, bits: u32) -> u64 {
    let (x, unit) = (x as i64 as i128, 1_i128 << bits);
    let (quotient, rest) = (x.div_euclid(unit), x.rem_euclid(unit));
    (quotient + i128::from(2 * rest > unit || (2 * rest == unit && quotient % 2 != 0))) as u64
}

/// The exponents modulo 2N of a blind rotation, (a_1 … a_n, b): each element times 2N/q, to the nearest integer (CGGI, Algorithm 3,
/// line 2). With compensation, half the sum of the mask's rounding errors is taken off b before: what they add to the phase, Σ δ_i·s_i,
/// is that on average (de Ruijter, D'Anvers, Verbauwhede, ePrint 2025/809).
pub fn modulus_switch(ciphertext: &[u64], n: usize, compensate: bool) -> Vec<usize> {
    let unit = (1_u128 << 64) / (2 * n as u128);
    let nearest = |x: u64| ((u128::from(x) + unit / 2) / unit % (2 * n as u128)) as usize;
    let (&body, mask) = ciphertext.split_last().expect("a body");
    let error = |&a: &u64| i128::from(a.wrapping_sub((nearest(a) as u64).wrapping_mul(unit as u64)) as i64);
    let mean = if compensate { mask.iter().map(error).sum::<i128>() / 2 } else { 0 };
    mask.iter().map(|&a| nearest(a)).chain([nearest(body.wrapping_sub(mean as u64))]).collect()
}

// Products of ciphertexts are of integers, so that it matters which one stands for a torus element.

/// An integer that stands for x, near [−q/2, q/2): c·2^44 and a rest from −2^43 − 2^21 on. (Limbs of 22, 22 and 20 bits with signs are
/// such a number.)
fn lift(x: u64) -> i128 {
    let upper = (x.wrapping_add((1 << 43) + (1 << 21)) >> 44) << 44;
    i128::from(upper as i64) + i128::from(x.wrapping_sub(upper) as i64)
}

/// Integers that stand for a mask, such that its sums P_j of the first j stay small: a_j or a_j ∓ q, whichever has the smaller
/// N/4·a² + √(N/4)·(P_j + a)² (derived in chapter 7 of the book, "Balance"). For a and a' = a ∓ q, the difference of the two costs is
/// (a' − a)·(N/4·(a' + a) + √(N/4)·(2·P_j + a' + a)). N is a power of four, and the root an integer.
fn balanced(mask: &[u64]) -> Vec<i128> {
    let quarter = mask.len() as i128 / 4;
    let root = quarter.isqrt();
    assert_eq!(root * root, quarter, "N is a power of four");
    let mut sum = 0_i128;
    let choose = |&x: &u64| {
        let a = lift(x);
        let other = a - (a.signum() << 64);
        let slope = quarter * (other + a) + root * (2 * sum + other + a);
        let chosen = if a.signum() * slope.signum() > 0 { other } else { a };
        sum += chosen;
        chosen
    };
    mask.iter().map(choose).collect()
}

/// Σ x·y·t/q over the pairs, to the nearest integer, modulo q. Sums modulo 2^128 have all the bits of it.
fn scaled_product(pairs: &[(&[i128], &[i128])], log_t: u32) -> Polynomial {
    let n = pairs[0].0.len();
    let mut sum = vec![0_i128; n];
    for (x, y) in pairs {
        for i in 0..n {
            for j in 0..n {
                let product = x[i].wrapping_mul(y[j]);
                let to = &mut sum[(i + j) % n];
                *to = if i + j < n { to.wrapping_add(product) } else { to.wrapping_sub(product) };
            }
        }
    }
    sum.iter().map(|&x| (x.wrapping_add(1 << (63 - log_t)) >> (64 - log_t)) as u64).collect()
}
