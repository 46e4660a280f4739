//! Lines of text about a plan, for people.

use gpt2_fhe::run::{Attention, Circuit, FAILURE_MEANING, Mode, Outcome, Plan};
use nn::attention::Part;
use nn::matrix::relative_error;
use nn::packed::PackedHead;
use tfhe_core::key_graph::{Edge, KeyShape, Node};
use tfhe_core::params::Grouping;

use super::arguments::{Quantization, Selection};
use super::input::HeadInput;
use super::report::{SecurityReport, distribution, security};
use super::text::{bytes, line, plural, power_of_two};
use tfhe_core::security::{self as levels, Basis};

/// The parameter set, and how hard its keys are to break.
pub(super) fn parameters(plan: &Plan) -> Vec<String> {
    let parameters = &plan.parameters;
    let (lookup, arithmetic) = (parameters.lookup().size().get(), parameters.arithmetic().size().get());
    let rings = match parameters.key(Node::Lookup) == parameters.key(Node::Arithmetic) {
        true => format!("a ring of {lookup}"),
        false => format!("rings of {arithmetic} for arithmetic and {lookup} for lookups"),
    };
    let mut lines = vec![line("parameters", format!("{}: {rings}, q = 2^64, binary secrets", parameters.name()))];
    for (index, key) in parameters.keys().iter().enumerate() {
        let size = match key.shape() {
            KeyShape::Lwe(dimension) => format!("{} bits", dimension.get()),
            KeyShape::Glwe(shape) => {
                format!("{} × {} coefficients", shape.dimension.get(), shape.polynomial_size.get())
            }
        };
        let level = level(security(key));
        let (noise, std) = (distribution(key.noise()), key.noise().variance().log2_std());
        let names = key.nodes().iter().map(|node| node.name()).collect::<Vec<_>>().join(" and ");
        let label = if index == 0 { "keys" } else { "" };
        lines.push(line(label, format!("{names}: {size}, {noise} noise, σ = 2^{std:.2}; {level}")));
    }
    lines.push(estimator());
    lines
}

fn level(level: Option<SecurityReport>) -> String {
    match level {
        Some(SecurityReport { bits, basis: Basis::Estimate, .. }) => format!("{bits:.1} bits, estimated for this key"),
        Some(SecurityReport { bits, dimension, log2_std, basis: Basis::Bound }) => {
            format!("at least {bits:.1} bits, no less than an estimated key of n = {dimension}, σ = 2^{log2_std:.2}")
        }
        None => "not covered by an estimate: INSECURE".into(),
    }
}

/// What the figures of security are.
fn estimator() -> String {
    line("", format!("bits: log2 of the cheapest attack's cost (lattice estimator, {})", levels::SOURCE))
}

/// What will be done, how reliably, and what will be sent.
pub(super) fn work(plan: &Plan) -> Vec<String> {
    let statistics = &plan.statistics;
    let (lookups, pbs) = (statistics.lookups(), statistics.pbs());
    let external = plan.external_products();
    let others = match statistics.external_products() {
        0 => String::new(),
        count => format!(", and {} besides", count),
    };
    let products_of_bootstrappings = match pbs {
        0 => plural(external, "external product"),
        _ => format!("{}: {}{others}", plural(external, "external product"), in_each_bootstrapping(plan)),
    };
    let products = plural(statistics.tensor_products(), "product");
    let key_switches = match statistics.key_switches() {
        1 => "1 key switch".into(),
        count => format!("{count} key switches"),
    };
    let (failure, bytes_sent) = (power_of_two(plan.log2_failure_probability), &plan.bytes);
    let automorphisms = match plan.circuit() {
        Some(Circuit::Exact) => String::new(),
        Some(Circuit::Packed) | None => format!(", {}", plural(statistics.automorphisms(), "automorphism")),
    };
    let mut lines = vec![line(
        "work",
        format!("{} by {}", plural(lookups, "table lookup"), plural(pbs, "bootstrapping") + " (PBS)"),
    )];
    lines.extend(by_gadget(plan));
    lines.extend([
        line("", products_of_bootstrappings),
        line("", format!("{products} of ciphertexts, {key_switches}{automorphisms}")),
        line("failure", format!("{failure}: {FAILURE_MEANING}")),
        line(
            "sent",
            format!(
                "evaluation keys {} once; request {}, answer {}",
                bytes(bytes_sent.evaluation_key),
                bytes(bytes_sent.request),
                bytes(bytes_sent.response)
            ),
        ),
    ]);
    lines
}

/// How many external products a bootstrapping has: each one, or those of each gadget.
fn in_each_bootstrapping(plan: &Plan) -> String {
    let one = |gadget: usize| {
        let of_pairs = match plan.parameters.bootstraps()[gadget].grouping {
            Grouping::One => "",
            Grouping::Two => " (three for two bits of the key)",
        };
        format!("{}{of_pairs}", plan.products_of_bootstrapping(gadget))
    };
    let all: Vec<String> = (0..plan.parameters.bootstraps().len()).map(one).collect();
    match &all[..] {
        [one, others @ ..] if others.iter().all(|other| other == one) => format!("{one} in each bootstrapping"),
        _ => format!("in a bootstrapping, by gadget, {}", all.join(", ")),
    }
}

/// Bootstrappings by their gadget, where they are counted so.
fn by_gadget(plan: &Plan) -> Option<String> {
    let counts = plan.statistics.pbs_by_gadget();
    let one = |(&gadget, count): (&usize, &usize)| {
        let gadget = plan.parameters.gadget(Edge::Bootstrapping { gadget }).expect("a gadget of the plan's set");
        format!("{count} of base 2^{}, {}", gadget.base_log(), plural(gadget.levels(), "level"))
    };
    let parts: Vec<String> = counts.iter().map(one).collect();
    (!parts.is_empty()).then(|| line("", format!("by gadget: {}", parts.join("; "))))
}

/// Which head on which input.
pub(super) fn head(selection: &Selection, input: &HeadInput) -> String {
    let (tokens, size) = (input.hidden.rows(), input.hidden.cols());
    let lines = [
        match selection.place.part() {
            Part::Head(head) => format!("Attention head {head} of {} in layer {}", input.heads, selection.place.layer),
            Part::Whole => {
                format!("All {} attention heads of layer {}, and c_proj", input.heads, selection.place.layer)
            }
        },
        line("input", format!("{} of {size} values (tensor \"{}\")", plural(tokens, "token"), selection.input.tensor)),
        line("output", format!("{tokens} × {} values", input.head.output_size())),
        line("circuit", circuit(&input.quantization, &input.head)),
    ];
    lines.join("\n")
}

/// The circuit, and how the head is quantized for it.
pub(super) fn circuit(quantization: &Quantization, head: &Attention) -> String {
    let circuit = head.circuit();
    let (name, bits) = (circuit.name(), quantization.bits(circuit));
    match head {
        Attention::Exact(exact) => {
            let multiply = exact.multiply;
            let (msbs, multiply) = (quantization.options.msbs, multiply.name());
            format!("{name}, {bits} bits, tables of {msbs} bits after rounding, multiplication by {multiply}")
        }
        Attention::Packed(head) => {
            let levels = head.program().heads().iter().map(PackedHead::weight_levels);
            let [query, key, value] = levels.fold([0; 3], |a, b| [0, 1, 2].map(|part| a[part].max(b[part])));
            format!("{name}, inputs of {bits} bits, weights up to ±{query} (q), ±{key} (k), ±{value} (v)")
        }
    }
}

/// How what was decrypted compares with the clear engine's.
pub(super) fn agreement(mode: Mode, outcome: &Outcome) -> String {
    let total = outcome.clear_numbers.data().len();
    let (wrong, largest) = (outcome.mismatches(), outcome.max_abs_difference());
    match (mode, wrong, &outcome.tolerance) {
        (Mode::Clear, ..) => format!("{total} computed in the clear"),
        (_, 0, Some(_)) if !outcome.matches_clear() => {
            format!("{total} of which nothing can be said, as numbers left their ranges")
        }
        (_, 0, None) => format!("all {total} equal the clear engine's"),
        (_, 0, Some(_)) => {
            let difference = relative_error(&outcome.output, &outcome.clear_output);
            format!(
                "all {total} as near to the clear engine's as the noise allows: relative difference {difference:.4}"
            )
        }
        (_, wrong, None) => format!("{wrong} of {total} DIFFER from the clear engine's, by up to {largest}"),
        (_, wrong, Some(_)) => {
            format!("{wrong} of {total} are FARTHER from the clear engine's than the noise explains")
        }
    }
}
