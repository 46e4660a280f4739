//! Prints the predicted noise of the operations of the named sets, and what fails with which probability: the figures of
//! the book that are formulas.
//!
//! ```text
//! cargo run --release -p integration-tests --example predictions
//! ```

use gpt2_fhe::engine::plan::Predictor;
use tfhe_core::noise::{self, Distribution, RefreshNoise, RefreshParameters, Variance};
use tfhe_core::params::{
    Gadget, GlweDimension, GlweShape, LweDimension, NoiseDistribution, Parameters, ParametersLiteral, PolynomialSize,
    Precision,
};
use tfhe_core::rounding::Transforms;
use tfhe_core::security;
use tfhe_core::sets::{
    ALL, COARSE, HEAD_EXACT, HEAD_EXACT_WIDE, MESSAGE_2_CARRY_2, PACKED_BLOCK, PACKED_HEAD, PRECISE, TOY,
};

fn line(set: &str, what: &str, variance: Variance) {
    println!("{set}: {what}: log2 of sigma {:.2}", variance.log2_std());
}

/// Key switches, modulus switch, automorphisms and packing of a set with one ring.
fn one_ring(literal: ParametersLiteral) {
    let parameters = literal.compile().expect("named sets are valid");
    let (name, shape) = (parameters.name(), parameters.glwe_shape());
    let key = parameters.lwe_noise().variance();
    let keyswitch = |variance| noise::lwe_keyswitch(parameters.keyswitch(), shape.extracted_lwe_dimension(), variance);
    line(name, "LWE key switch", keyswitch(key));
    line(name, "LWE key switch, its rounding alone", keyswitch(Variance::ZERO));
    let switch = noise::modulus_switch(parameters.lwe_dimension(), parameters.polynomial_size());
    line(name, "modulus switch", switch);
    line(name, "key switch and modulus switch", Predictor::new(&parameters).switches());
    // Half of the masks' roundings to 32 bits meet a key bit of 1.
    let rounding = 2f64.powi(-64) / 12.0 * (1.0 + parameters.lwe_dimension().get() as f64 / 2.0);
    println!("{name}: a key in 32 bits: variance 2^{:.1}, of its noise 2^{:.1}", rounding.log2(), 2.0 * key.log2_std());
    (0..parameters.bootstraps().len()).for_each(|index| bootstrapping(&parameters, index));
    let (gadget, key) = (parameters.glwe_keyswitch(), parameters.glwe_noise().variance());
    let automorphism = noise::glwe_keyswitch(gadget, shape, key);
    line(name, "automorphism", automorphism);
    line(name, "packing", noise::trace(automorphism, shape.polynomial_size.log2()));
    line(name, "relinearization", noise::relinearization(gadget, shape, key));
    line(name, "relinearization, its rounding alone", noise::relinearization(gadget, shape, Variance::ZERO));
}

/// The products of one of a set's bootstrapping keys, and what their noise is made of.
fn bootstrapping(parameters: &Parameters, index: usize) {
    let (name, shape, gadget) = (parameters.name(), parameters.glwe_shape(), parameters.bootstraps()[index]);
    let (n, key) = (parameters.lwe_dimension(), parameters.glwe_noise().variance());
    line(name, &format!("external product {index}"), noise::external_product(gadget, shape, key));
    let all = noise::blind_rotation(gadget, shape, n, key);
    line(name, &format!("bootstrapping {index}"), all);
    let without_rows = noise::blind_rotation(gadget, shape, n, Variance::ZERO);
    line(name, &format!("bootstrapping {index}, its rows"), Variance::new(all.get() - without_rows.get()));
    let product = noise::fft_error(gadget, shape, shape.dimension.get() + 1);
    let transforms = product.repeated(n.get() as f64);
    let rounding = Variance::new(without_rows.get() - transforms.get());
    line(name, &format!("bootstrapping {index}, its rounding"), rounding);
    if product.get() > 0.0 {
        line(name, &format!("bootstrapping {index}, transforms of one product"), product);
        line(name, &format!("bootstrapping {index}, transforms of all"), transforms);
    }
}

/// Margins of split precision, in standard deviations of the transforms' error: of each backend, and the bound over all.
fn split_margins() {
    let [exact, wide] = [HEAD_EXACT, HEAD_EXACT_WIDE].map(|literal| literal.compile().expect("named sets are valid"));
    let packed = PACKED_HEAD.compile().expect("named sets are valid");
    let margin = |what: &str, gadget: Gadget, size: PolynomialSize, inputs: usize| {
        let of = |transforms| noise::split_margin_log2(gadget.on(transforms), size, inputs).exp2();
        let all = [Transforms::AVX2, Transforms::AVX512, Transforms::RUSTFFT_AVX, Transforms::RUSTFFT, Transforms::ANY];
        let all = all.map(|transforms| format!("{:.1}", of(transforms))).join(" ");
        println!("split, 2^{} and {} levels, {what}: {all}", gadget.base_log(), gadget.levels());
    };
    let ring = (exact.polynomial_size(), packed.lookup().size());
    margin("precise, head_exact", exact.bootstraps()[PRECISE], ring.0, 2);
    margin("precise, head_exact_wide", wide.bootstraps()[PRECISE], ring.0, 2);
    margin("automorphisms, head_exact", exact.glwe_keyswitch(), ring.0, 1);
    margin("automorphisms, head_exact_wide", wide.glwe_keyswitch(), ring.0, 1);
    margin("lookup ring, packed_head", packed.lookup_automorphism(), ring.1, 1);
    margin("automorphisms, packed_head", packed.arithmetic_keyswitch(), ring.0, 1);
}

/// Lookups of an input with some noise, by the number of bits that a table reads.
fn failures(literal: ParametersLiteral, bits: std::ops::RangeInclusive<u32>, what: &str, input: Variance) {
    let predictor = Predictor::new(&literal.compile().expect("named sets are valid"));
    let variance = input + predictor.switches();
    for p in bits {
        let tolerance = 2f64.powi(-(p as i32) - 2);
        println!(
            "{}: a table of {p} bits, {what}: {:.1} sigma, fails with 2^{:.1}",
            literal.name,
            tolerance / variance.std(),
            predictor.failure(input, tolerance)
        );
    }
}

/// The security level of every set.
fn security_levels() {
    for literal in ALL {
        let parameters = literal.compile().expect("named sets are valid");
        print_level(literal.name, "LWE", parameters.lwe_dimension(), parameters.lwe_noise());
        let glwe = parameters.glwe_shape().extracted_lwe_dimension();
        print_level(literal.name, "GLWE", glwe, parameters.glwe_noise());
    }
    let parameters = PACKED_HEAD.compile().expect("named sets are valid");
    for (what, ring) in parameters.rings() {
        print_level(parameters.name(), what, ring.lwe_dimension(), ring.noise);
    }
}

fn print_level(set: &str, what: &str, dimension: LweDimension, noise: NoiseDistribution) {
    let log2_std = noise.variance().log2_std();
    let level = security::level(dimension.get(), noise).map(|level| level.bits);
    let level = level.map_or("none".to_owned(), |bits| format!("{bits:.1} bits"));
    println!("{set}: security of {what}: dimension {}, log2 of sigma {log2_std:.2}: {level}", dimension.get());
}

/// Key switches between the three keys of the packed head's set.
fn two_rings() {
    let parameters = PACKED_HEAD.compile().expect("named sets are valid");
    let name = parameters.name();
    let (small, lookup, arithmetic) = (parameters.small(), parameters.lookup(), parameters.arithmetic());
    // A long key, cut into polynomials of the small ring.
    let cut = |dimension: usize| {
        let size = small.shape.polynomial_size;
        let dimension = GlweDimension::new(dimension / size.get()).expect("a ring divides another");
        GlweShape { dimension, polynomial_size: size }
    };
    let to_small = |from: usize| {
        noise::glwe_keyswitch_from(parameters.keyswitch(), cut(from), small.shape, small.noise.variance())
    };
    line(name, "key switch from the arithmetic ring", to_small(arithmetic.size().get()));
    line(name, "key switch from the lookup ring", to_small(lookup.size().get()));
    let lift =
        noise::glwe_keyswitch_from(parameters.lift(), lookup.shape, arithmetic.shape, arithmetic.noise.variance());
    line(name, "lift", lift);
    let automorphism = |gadget| noise::glwe_keyswitch(gadget, lookup.shape, lookup.noise.variance());
    let one = automorphism(parameters.lookup_automorphism());
    let steps = lookup.size().log2();
    line(name, "automorphism of the lookup ring", one);
    line(name, "trace of the lookup ring", noise::trace(one, steps));
    let coarser = Gadget::new(9, 4, Precision::Split).expect("a gadget of 36 bits");
    line(name, "trace of the lookup ring by 2^9 and 4 levels", noise::trace(automorphism(coarser), steps));
    line(name, "transforms of the external product", noise::fft_error(parameters.ggsw(), arithmetic.shape, 2));
}

/// A refresh with the set of a whole block, step by step, and how it is read.
fn refreshes() {
    let parameters = PACKED_BLOCK.compile().expect("named sets are valid");
    let name = parameters.name();
    let of = |bootstrap| noise::refresh(&RefreshParameters::new(&parameters, bootstrap, Transforms::ANY));
    let RefreshNoise { keyswitch, modulus_switch, packing, lift, .. } = of(COARSE);
    let none = Distribution::ZERO;
    line(name, "refresh, key switch of the argument", keyswitch);
    line(name, "refresh, modulus switch of the argument", modulus_switch);
    line(name, "refresh, argument", of(COARSE).argument(&none).variance());
    line(name, "refresh, packing", packing);
    line(name, "refresh, lift", lift);
    for (bootstrap, gadget) in parameters.bootstraps().iter().enumerate() {
        let (what, noise) = (format!("refresh 2^{}, {}", gadget.base_log(), gadget.levels()), of(bootstrap));
        line(name, &format!("{what}, bootstrapping"), noise.bootstrapping);
        line(name, &format!("{what}, value"), noise.fresh());
        line(name, &format!("{what}, value of slope 1/256"), noise.value(&none, 1.0 / 256.0).variance());
    }
    for guard in [6, 5, 4] {
        let failure = of(COARSE).log2_misread(&none, 2f64.powi(-guard));
        println!("{name}: a guard band of 2^-{guard}: misread with 2^{failure:.1}");
    }
}

fn main() {
    [TOY, MESSAGE_2_CARRY_2, HEAD_EXACT, HEAD_EXACT_WIDE].into_iter().for_each(one_ring);
    split_margins();
    failures(HEAD_EXACT, 4..=6, "an input without noise", Variance::ZERO);
    failures(MESSAGE_2_CARRY_2, 4..=4, "an input without noise", Variance::ZERO);
    let sum = Predictor::new(&MESSAGE_2_CARRY_2.compile().expect("named sets are valid")).bootstrap(COARSE).scaled(5.0);
    line(MESSAGE_2_CARRY_2.name, "five times a bootstrapping", sum);
    failures(MESSAGE_2_CARRY_2, 4..=4, "five times a bootstrapping", sum);
    two_rings();
    refreshes();
    security_levels();
}
