//! Prints the predicted noise of the operations of the named sets, and what fails with which probability: the figures of
//! the book that are formulas.
//!
//! ```text
//! cargo run --release -p integration-tests --example predictions
//! ```

use gpt2_fhe::integer::prediction::Predictor;
use tfhe_core::key_graph::Node::{Arithmetic, Lookup};
use tfhe_core::key_graph::{Bootstrap, Edge, KeyParameters, KeyShape, Node, Parameters, ParametersLiteral};
use tfhe_core::noise::{
    self, Distribution, LevelNoise, LookedUpNoise, RefreshNoise, RefreshParameters, Spread, Variance,
};
use tfhe_core::params::{Gadget, GlweDimension, GlweShape, Grouping, PolynomialSize, Precision};
use tfhe_core::rounding::Transforms;
use tfhe_core::security;
use tfhe_core::sets::{
    ALL, COARSE, HEAD_EXACT, HEAD_EXACT_NARROW, HEAD_EXACT_WIDE, MESSAGE_2_CARRY_2, PACKED_BLOCK, PACKED_HEAD, PRECISE,
    TOY,
};

fn line(set: &str, what: &str, variance: Variance) {
    println!("{set}: {what}: log2 of sigma {:.2}", variance.log2_std());
}

fn gadget(parameters: &Parameters, edge: Edge) -> Gadget {
    parameters.gadget(edge).expect("named sets have what their circuits take")
}

fn automorphisms(parameters: &Parameters, ring: Node) -> Gadget {
    gadget(parameters, Edge::Automorphisms { ring, gadget: 0 })
}

/// Variances of a named set with one ring.
fn predictor(literal: ParametersLiteral) -> Predictor {
    Predictor::new(&literal.compile().expect("named sets are valid")).expect("a set with one ring")
}

/// Key switches, modulus switch, automorphisms and packing of a set with one ring.
fn one_ring(literal: ParametersLiteral) {
    let parameters = literal.compile().expect("named sets are valid");
    let (name, small, ring) = (parameters.name(), *parameters.small(), parameters.lookup());
    let (shape, key) = (ring.shape, small.noise().variance());
    let to_small = gadget(&parameters, Edge::Keyswitch { from: Lookup });
    let keyswitch = |variance| noise::lwe_keyswitch(to_small, ring.lwe_dimension(), variance);
    line(name, "LWE key switch", keyswitch(key));
    line(name, "LWE key switch, its rounding alone", keyswitch(Variance::ZERO));
    let switch = noise::modulus_switch(small.lwe_dimension(), ring.size());
    line(name, "modulus switch", switch);
    line(name, "key switch and modulus switch", predictor(literal).switches());
    // Half of the masks' roundings to 32 bits meet a key bit of 1.
    let rounding = 2f64.powi(-64) / 12.0 * (1.0 + small.lwe_dimension().get() as f64 / 2.0);
    println!("{name}: a key in 32 bits: variance 2^{:.1}, of its noise 2^{:.1}", rounding.log2(), 2.0 * key.log2_std());
    (0..parameters.bootstraps().len()).for_each(|index| bootstrapping(&parameters, index));
    let key = ring.noise.variance();
    let packing = |gadget, which: &str| {
        let automorphism = noise::glwe_keyswitch(gadget, shape, key);
        line(name, &format!("automorphism{which}"), automorphism);
        line(name, &format!("packing{which}"), noise::trace(automorphism, shape.polynomial_size.log2()));
    };
    packing(automorphisms(&parameters, Lookup), "");
    if let Ok(second) = parameters.gadget(Edge::Automorphisms { ring: Lookup, gadget: 1 }) {
        packing(second, ", second gadget");
    }
    let gadget = gadget(&parameters, Edge::Relinearization { ring: Lookup });
    line(name, "relinearization", noise::relinearization(gadget, shape, key));
    line(name, "relinearization, its rounding alone", noise::relinearization(gadget, shape, Variance::ZERO));
}

/// The products of one of a set's bootstrapping keys, and what their noise is made of.
fn bootstrapping(parameters: &Parameters, index: usize) {
    let (name, shape) = (parameters.name(), parameters.lookup().shape);
    let Bootstrap { gadget, grouping, .. } = parameters.bootstraps()[index];
    let (n, key) = (parameters.small().lwe_dimension(), parameters.lookup().noise.variance());
    line(name, &format!("external product {index}"), noise::external_product(gadget, shape, key));
    let all = noise::blind_rotation(gadget, grouping, shape, n, key);
    line(name, &format!("bootstrapping {index}"), all);
    let without_rows = noise::blind_rotation(gadget, grouping, shape, n, Variance::ZERO);
    line(name, &format!("bootstrapping {index}, its rows"), Variance::new(all.get() - without_rows.get()));
    let product = noise::fft_error(gadget, shape, shape.dimension.get() + 1);
    // Of two bits together, three products, each turned and as it is.
    let products = match grouping {
        Grouping::One => n.get() as f64,
        Grouping::Two => 2.0 * grouping.ciphertexts(n) as f64,
    };
    let transforms = product.repeated(products);
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
        let vectors = [Transforms::AVX2, Transforms::AVX512, Transforms::AVX512_ADDERS];
        let all = vectors.into_iter().chain([Transforms::RUSTFFT_AVX, Transforms::RUSTFFT, Transforms::ANY]);
        let all = all.map(|transforms| format!("{:.1}", of(transforms))).collect::<Vec<_>>().join(" ");
        println!("split, 2^{} and {} levels, {what}: {all}", gadget.base_log(), gadget.levels());
    };
    let ring = (exact.lookup().size(), packed.lookup().size());
    margin("precise, head_exact", exact.bootstraps()[PRECISE].gadget, ring.0, 2);
    margin("precise, head_exact_wide", wide.bootstraps()[PRECISE].gadget, ring.0, 2);
    margin("automorphisms, head_exact", automorphisms(&exact, Lookup), ring.0, 1);
    margin("automorphisms, head_exact_wide", automorphisms(&wide, Lookup), ring.0, 1);
    margin("lookup ring, packed_head", automorphisms(&packed, Lookup), ring.1, 1);
    margin("automorphisms, packed_head", automorphisms(&packed, Arithmetic), ring.0, 1);
}

/// Lookups of an input with some noise, by the number of bits that a table reads.
fn failures(literal: ParametersLiteral, bits: std::ops::RangeInclusive<u32>, what: &str, input: Variance) {
    let predictor = predictor(literal);
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
        parameters.keys().iter().for_each(|key| print_level(literal.name, key));
    }
}

fn print_level(set: &str, key: &KeyParameters) {
    // By its kind, in sets with one ring, or by its name.
    let what = match (key.shape(), key.nodes()) {
        (KeyShape::Lwe(_), _) => "LWE",
        (KeyShape::Glwe(_), [name]) => name.name(),
        (KeyShape::Glwe(_), _) => "GLWE",
    };
    let (dimension, log2_std) = (key.lwe_dimension().get(), key.noise().variance().log2_std());
    let level = security::level(dimension, key.noise()).map(|level| level.bits);
    let level = level.map_or("none".to_owned(), |bits| format!("{bits:.1} bits"));
    println!("{set}: security of {what}: dimension {dimension}, log2 of sigma {log2_std:.2}: {level}");
}

/// Key switches between the three keys of the packed head's set.
fn two_rings() {
    let parameters = PACKED_HEAD.compile().expect("named sets are valid");
    let name = parameters.name();
    let (lookup, arithmetic) = (parameters.lookup(), parameters.arithmetic());
    let small = parameters.small().ring().expect("the small key is a GLWE key");
    // A long key, cut into polynomials of the small ring.
    let cut = |dimension: usize| {
        let size = small.shape.polynomial_size;
        let dimension = GlweDimension::new(dimension / size.get()).expect("a ring divides another");
        GlweShape { dimension, polynomial_size: size }
    };
    for (from, ring) in [(Arithmetic, arithmetic), (Lookup, lookup)] {
        let (gadget, cut) = (gadget(&parameters, Edge::Keyswitch { from }), cut(ring.size().get()));
        let variance = noise::glwe_keyswitch_from(gadget, cut, small.shape, small.noise.variance());
        line(name, &format!("key switch from the {} ring", from.name()), variance);
    }
    let lift = gadget(&parameters, Edge::Lift { from: Lookup, to: Arithmetic });
    let lift = noise::glwe_keyswitch_from(lift, lookup.shape, arithmetic.shape, arithmetic.noise.variance());
    line(name, "lift", lift);
    let automorphism = |gadget| noise::glwe_keyswitch(gadget, lookup.shape, lookup.noise.variance());
    let one = automorphism(automorphisms(&parameters, Lookup));
    let steps = lookup.size().log2();
    line(name, "automorphism of the lookup ring", one);
    line(name, "trace of the lookup ring", noise::trace(one, steps));
    let coarser = Gadget::new(9, 4, Precision::Split).expect("a gadget of 36 bits");
    line(name, "trace of the lookup ring by 2^9 and 4 levels", noise::trace(automorphism(coarser), steps));
    let weighing = gadget(&parameters, Edge::ExternalProduct { ring: Arithmetic });
    line(name, "transforms of the external product", noise::fft_error(weighing, arithmetic.shape, 2));
    weighed_values(&parameters);
}

/// Products of probabilities with values, by the scale of the GGSW ciphertext: what `circuit` says of GPT-2's head 0, layer 0, on 6 tokens.
fn weighed_values(parameters: &Parameters) {
    // "values projected", and `value_norm`, which is that of two parts as large as the larger one.
    let (projected, norm) = (Variance::from_log2_std(-52.21), 4996.84 / 2f64.sqrt());
    const TOKENS: f64 = 6.0;
    // log2 of the scale of scores; steps that gather a group's tokens, and the coefficients that they keep.
    const SCORES: i32 = 28;
    const STEPS: u32 = 3;
    const KEPT: usize = 512;
    let (name, ring) = (parameters.name(), parameters.arithmetic());
    let automorphism = noise::glwe_keyswitch(automorphisms(parameters, Arithmetic), ring.shape, ring.noise.variance());
    let relinearization = gadget(parameters, Edge::Relinearization { ring: Arithmetic });
    let relinearization = noise::relinearization(relinearization, ring.shape, ring.noise.variance());
    let energy = projected.repeated(KEPT as f64) + noise::trace_energy(automorphism, STEPS, ring.size());
    line(name, "energy of values' noise", energy);
    let none = || Spread::new(Variance::ZERO, 1);
    for log in [24, 26, 28, 29, 30] {
        // The input has the smaller of the scales that are asked for.
        let projected = projected.scaled(2f64.powi((SCORES - log).max(0)));
        let values = Spread::new(projected, KEPT) + Spread::of_trace(automorphism, STEPS, ring.size());
        let gadget = Gadget::new(log as u32, 1, Precision::Single).expect("a gadget of one level");
        let squares = TOKENS * norm.powi(2);
        let transforms = noise::fft_error(gadget, ring.shape, 2);
        let without = |message, relinearization, squares| {
            let sum = noise::product_with_ggsw(gadget, ring.shape, message, relinearization, squares).variance();
            Variance::new(sum.get() - transforms.get())
        };
        let terms = [
            without(values, Variance::ZERO, 0.0),
            without(none(), relinearization, 0.0),
            without(none(), Variance::ZERO, squares),
            transforms,
        ];
        let sum = terms.into_iter().sum::<Variance>();
        let logs = terms.into_iter().chain([sum]).map(|term| format!("{:.2}", term.log2_std())).collect::<Vec<_>>();
        println!("{name}: product with values at 2^{log}: {}", logs.join(" "));
    }
}

/// A refresh with the set of a whole block, step by step, and how it is read.
fn refreshes() {
    let parameters = PACKED_BLOCK.compile().expect("named sets are valid");
    let name = parameters.name();
    let of = |bootstrap| {
        let parameters = RefreshParameters::new(&parameters, bootstrap, Transforms::ANY);
        noise::refresh(&parameters.expect("a set that refreshes"))
    };
    let RefreshNoise { keyswitch, modulus_switch, packing, lift, .. } = of(COARSE);
    let none = Distribution::ZERO;
    line(name, "refresh, key switch of the argument", keyswitch);
    line(name, "refresh, modulus switch of the argument", modulus_switch);
    line(name, "refresh, argument", of(COARSE).argument(&none).variance());
    line(name, "refresh, packing", packing);
    line(name, "refresh, lift", lift);
    for (bootstrap, Bootstrap { gadget, .. }) in parameters.bootstraps().iter().enumerate() {
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

/// Products with looked-up GGSW ciphertexts: what a row has, and what an external product adds.
fn looked_up() {
    let parameters = PACKED_BLOCK.compile().expect("named sets are valid");
    let (name, size) = (parameters.name(), parameters.arithmetic().size().get());
    let of = |set: &Parameters| LookedUpNoise::new(set, PRECISE, Transforms::ANY).expect("a set with products");
    let noise = of(&parameters);
    let places = |count: usize| (0..count).map(|i| i * size / count).collect::<Vec<_>>();
    line(name, "looked-up GGSW, relinearization of a row", noise.relinearization());
    let values = RefreshParameters::new(&parameters, PRECISE, Transforms::ANY).expect("a set that refreshes");
    for count in [1, 64, 1024] {
        let what = format!("looked-up GGSW of {count}");
        let level = noise.level(&places(count));
        line(name, &format!("{what}, energy of a row"), level.energy());
        let besides = LevelNoise::packed(&values, Variance::ZERO, &places(count));
        line(name, &format!("{what}, energy of a row but for bootstrappings"), besides.energy());
        line(name, &format!("{what}, product"), noise.product(&places(count), 0.0).variance());
    }
    let (all, no_secret) = (noise.product(&places(1), 0.0), noise.with_relinearization(Variance::ZERO));
    let share = 1.0 - no_secret.product(&places(1), 0.0).variance().get() / all.variance().get();
    println!("{name}: relinearization in a product of 1: {:.2} % of the variance", 100.0 * share);
    // What is rounded of the other factor.
    let (external, shape) =
        (gadget(&parameters, Edge::ExternalProduct { ring: Arithmetic }), parameters.arithmetic().shape);
    for (what, squares) in [("1", 1.0), ("2^16", 65536.0)] {
        let rounding = noise::product_with_ggsw_rounding(external, shape, squares);
        line(name, &format!("looked-up GGSW, rounding for squares of {what}"), rounding);
    }
    let ones: Vec<i64> = (0..size).map(|j| i64::from(j % 64 == 0)).collect();
    println!("{name}: 64 ones count as {:.0} squares", noise::effective_squares(&ones));
    let coarse = ParametersLiteral { lifts: PACKED_HEAD.lifts, ..PACKED_BLOCK }.compile().expect("a valid set");
    line(name, "looked-up GGSW of 1, product, lift of packed_head", of(&coarse).product(&places(1), 0.0).variance());
    let lifts = &[(Lookup, Arithmetic, (9, 4, Precision::Split))];
    let split = ParametersLiteral { lifts, ..PACKED_BLOCK }.compile().expect("a valid set");
    line(name, "looked-up GGSW of 1, product, lift 2^9, 4 split", of(&split).product(&places(1), 0.0).variance());
    for (base_log, levels, precision) in
        [(2, 31, Precision::Split), (9, 5, Precision::Split), (11, 4, Precision::Split), (11, 4, Precision::Single)]
    {
        let ring = parameters.arithmetic();
        let gadget = Gadget::new(base_log, levels, precision).expect("a gadget of at most 63 bits");
        let added = noise::relinearization(gadget, ring.shape, ring.noise.variance());
        line(name, &format!("relinearization 2^{base_log}, {levels} {precision:?}"), added);
    }
    // Arguments, by how many tables share a rotation, and by what they are sums of.
    for (parts, nodes) in [("arithmetic", &[Arithmetic][..]), ("lookup", &[Lookup]), ("both", &[Arithmetic, Lookup])] {
        for log_tables in 0..=2 {
            let reading = values.with_tables(log_tables).with_arguments(&parameters, nodes).expect("two key switches");
            let what = format!("argument of {parts}, {} tables", 1 << log_tables);
            line(name, &what, noise::refresh(&reading).argument(&Distribution::ZERO).variance());
        }
    }
}

fn main() {
    [TOY, MESSAGE_2_CARRY_2, HEAD_EXACT_NARROW, HEAD_EXACT, HEAD_EXACT_WIDE].into_iter().for_each(one_ring);
    split_margins();
    failures(HEAD_EXACT_NARROW, 3..=5, "an input without noise", Variance::ZERO);
    failures(HEAD_EXACT, 4..=6, "an input without noise", Variance::ZERO);
    failures(MESSAGE_2_CARRY_2, 4..=4, "an input without noise", Variance::ZERO);
    let sum = predictor(MESSAGE_2_CARRY_2).bootstrap(COARSE).scaled(5.0);
    line(MESSAGE_2_CARRY_2.name, "five times a bootstrapping", sum);
    failures(MESSAGE_2_CARRY_2, 4..=4, "five times a bootstrapping", sum);
    two_rings();
    refreshes();
    looked_up();
    security_levels();
}
