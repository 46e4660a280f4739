//! Transforms and what is done to polynomials beside them.

use std::collections::BTreeSet;

use kernel_benches::Benches;
use kernel_benches::work::Work;
use tfhe_core::buffer::AlignedBuffer;
use tfhe_core::decomposition::decompose;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::params::PolynomialSize;

use crate::{name, named_sets, random};

/// Those of named sets, smaller ones, and those of larger tables.
const SIZES: [usize; 7] = [128, 512, 1024, 2048, 4096, 8192, 32768];

pub(crate) fn time(benches: &mut Benches) {
    let plan = |n| NegacyclicFft::new(PolynomialSize::new(n).unwrap());
    for n in SIZES {
        let (fft, torus, mut values) = (plan(n), random(n), AlignedBuffer::zeros(n));
        let scratch = &mut fft.scratch();
        let digits: Vec<i32> = torus.iter().map(|&x| (x >> 48) as i32 - (1 << 15)).collect();
        benches.group("transform_forward_integers").kernel(n, Work::transform(n), |b| {
            b.iter(|| fft.forward_integers(&digits, &mut values, scratch));
        });
        benches.group("transform_forward_torus").kernel(n, Work::transform(n), |b| {
            b.iter(|| fft.forward_torus(&torus, &mut values, scratch));
        });
        let (saved, mut output) = (values.to_vec(), torus.clone());
        benches.group("transform_inverse").kernel(n, Work::transform(n), |b| {
            b.iter(|| {
                values.copy_from_slice(&saved);
                fft.inverse_add_torus(&mut values, &mut output, scratch);
            });
        });
        let mut sum = AlignedBuffer::zeros(n);
        benches.group("multiply_accumulate").kernel(n, Work::pointwise(n), |b| {
            b.iter(|| fft.multiply_accumulate(&mut sum, &saved, &saved));
        });
    }
    let mut seen = BTreeSet::new();
    for set in named_sets().map(|literal| literal.compile().unwrap()) {
        for bootstrap in set.bootstraps() {
            let (gadget, n) = (bootstrap.gadget, set.lookup().size().get());
            if seen.insert((n, name(gadget))) {
                let (torus, mut digits) = (random(n), vec![0; gadget.levels() * n]);
                benches.group(format!("decompose_{}", name(gadget))).kernel(n, Work::ONE, |b| {
                    b.iter(|| decompose(&torus, gadget, &mut digits));
                });
            }
        }
    }
}
