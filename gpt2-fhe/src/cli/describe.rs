//! Lines of text about a plan, for people.

use gpt2_fhe::run::CircuitPlan;
use tfhe_core::params::Parameters;

use super::arguments::Selection;
use super::input::HeadInput;
use super::report::{SecurityReport, distribution, glwe_security, lwe_security};
use super::text::{bytes, line, plural, power_of_two};

/// The parameter set, and how hard its keys are to break.
pub(super) fn parameters(parameters: &Parameters) -> Vec<String> {
    let shape = parameters.glwe_shape();
    let (n, k, size) = (parameters.lwe_dimension().get(), shape.dimension.get(), shape.polynomial_size.get());
    let (lwe_noise, glwe_noise) = (parameters.lwe_noise(), parameters.glwe_noise());
    vec![
        line("parameters", format!("{}: n = {n}, k = {k}, N = {size}, q = 2^64, binary secrets", parameters.name())),
        line(
            "noise of a key",
            format!(
                "small {}, σ = 2^{:.2} of the torus; large {}, σ = 2^{:.2}",
                distribution(lwe_noise),
                lwe_noise.variance().log2_std(),
                distribution(glwe_noise),
                glwe_noise.variance().log2_std(),
            ),
        ),
        line("security", format!("small key (LWE) {}", security(lwe_security(parameters)))),
        line("", format!("large key (GLWE) {}", security(glwe_security(parameters)))),
    ]
}

fn security(level: Option<SecurityReport>) -> String {
    match level {
        Some(SecurityReport { bits, dimension, log2_std }) => {
            format!("{bits:.1} bits (lattice estimator, MATZOV model, at n = {dimension}, σ = 2^{log2_std:.2})")
        }
        None => "not covered by an estimate: INSECURE".into(),
    }
}

/// What will be done, how reliably, and what will be sent.
pub(super) fn work(plan: &CircuitPlan) -> Vec<String> {
    let statistics = &plan.statistics;
    let (lookups, products) = (statistics.lookups(), statistics.tensor_products());
    let (pbs, key_switches) = (statistics.pbs(), statistics.key_switches());
    let dimension = plan.parameters.lwe_dimension().get();
    vec![
        line("work", format!("{lookups} table lookups, {products} products of ciphertexts")),
        line("", format!("{pbs} bootstrappings (PBS) of {dimension} external products, {key_switches} key switches")),
        line(
            "failure",
            format!(
                "{}: the chance that anything decrypts to a wrong integer",
                power_of_two(plan.log2_failure_probability)
            ),
        ),
        line(
            "sent",
            format!(
                "evaluation keys {} once; request {}, answer {}",
                bytes(plan.bytes.evaluation_key),
                bytes(plan.bytes.request),
                bytes(plan.bytes.response)
            ),
        ),
    ]
}

/// Which head on which input.
pub(super) fn head(selection: &Selection, input: &HeadInput) -> String {
    let (tokens, size) = (input.hidden.rows(), input.hidden.cols());
    let lines = [
        format!("Attention head {} of {} in layer {}", selection.head, input.heads, selection.layer),
        line("input", format!("{} of {size} values (tensor \"{}\")", plural(tokens, "token"), selection.tensor)),
        line("output", format!("{tokens} × {} values", input.head.program().head_size())),
        line(
            "circuit",
            format!(
                "{}, {} bits, tables of {} bits after rounding, multiplication by {}",
                selection.circuit.name(),
                selection.bits,
                selection.msbs,
                selection.multiply.name()
            ),
        ),
    ];
    lines.join("\n")
}
