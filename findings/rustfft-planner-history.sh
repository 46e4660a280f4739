#!/usr/bin/env bash
# rustfft: the bits of a transform depend on which other lengths the planner has planned before.
#
# One would expect: the plan of a length is a function of the length, the direction and the processor. A planner's
# cache saves time and changes nothing.
# What happens: with AVX, a length that is done by way of a longer transform seems to take an inner length
# that is in the cache rather than the one that it would choose. So 389 alone and 389 after 107 differ in their last bits. The
# scalar planner does not do so, and powers of two are not affected.
# Seen with: rustfft 6.4.1 on x86-64 with AVX and FMA.
# Why it matters: results that must be equal bit by bit, as between a test run alone and the whole suite, or between a
# program's first call and a later one. Use a planner for each length, or only powers of two.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cargo init --quiet --vcs none --name check
echo 'rustfft = "=6.4.1"' >> Cargo.toml
cat > src/main.rs <<'RS'
use rustfft::{FftPlanner, FftPlannerAvx, FftPlannerScalar, num_complex::Complex};

fn signal(n: usize) -> Vec<Complex<f64>> {
    let part = |i: usize, a: usize, b: usize| ((i * a + 7) % b) as f64 / b as f64 - 0.5;
    (0..n).map(|i| Complex::new(part(i, 7919, 1009), part(i, 104_729, 997))).collect()
}

/// The transform of length `n` by a new planner that has planned `before`, of either kind.
fn run(scalar: bool, before: &[usize], n: usize) -> Vec<Complex<f64>> {
    let (mut auto, mut plain) = (FftPlanner::new(), FftPlannerScalar::new());
    let mut plan = |n| if scalar { plain.plan_fft_forward(n) } else { auto.plan_fft_forward(n) };
    for &length in before {
        plan(length);
    }
    let mut buffer = signal(n);
    plan(n).process(&mut buffer);
    buffer
}

fn main() {
    println!("rustfft 6.4.1");
    if FftPlannerAvx::<f64>::new().is_err() {
        println!("this processor has no AVX: nothing to see");
        return;
    }
    let all: Vec<usize> = (1..=600).collect();
    let tried: Vec<usize> = (1..9).map(|k| 1 << k).chain(380..=440).chain([512]).collect();
    let changed = |scalar| tried.iter().copied().filter(|&n| run(scalar, &[], n) != run(scalar, &all, n)).collect::<Vec<_>>();
    let (with_avx, by_scalar) = (changed(false), changed(true));
    println!("of {} lengths, those whose bits change once all up to 600 are planned: {} with AVX, {} by the scalar planner",
        tried.len(), with_avx.len(), by_scalar.len());
    println!("the first: {:?}; powers of two among them: {}", &with_avx[..with_avx.len().min(8)],
        with_avx.iter().filter(|n| n.is_power_of_two()).count());
    let (alone, after) = (run(false, &[], 389), run(false, &[107], 389));
    let distance = alone.iter().zip(&after).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max);
    println!("length 389, alone and after 107: {:?} and {:?}; largest difference {distance:e}", alone[1], after[1]);
    let as_described = !with_avx.is_empty() && by_scalar.is_empty() && distance > 0.0 && distance < 1e-10;
    println!("{}", if as_described { "as described" } else { "CHANGED" });
    std::process::exit(i32::from(!as_described));
}
RS
cargo run --quiet --release
