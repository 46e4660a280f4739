//! The command `head`: one attention head on one tensor.

use gpt2_fhe::run::{Attention, Mode, Outcome};
use nn::checkpoint::write_tensors;
use nn::packed::{PackedHead, Span};
use nn::tensor::Tensor;
use serde::Serialize;

use super::arguments::{Given, HeadArguments, NotApplicable, Selection};
use super::describe;
use super::files::{Contents, OutputFiles, bytes};
use super::head_trace::RunTrace;
use super::input::HeadInput;
use super::output::{print, print_json};
use super::progress::while_showing;
use super::run_report::RunReport;
use super::runner::Runner;
use super::verdict::Verdict;

/// Runs the head that the arguments select.
///
/// # Errors
/// What is wrong with the arguments or the files; that the head cannot be run reliably.
pub(super) fn run(arguments: &HeadArguments, given: &Given) -> anyhow::Result<Verdict> {
    let HeadArguments { selection, execution, out, trace, replacing, reporting } = arguments;
    let mode = execution.mode;
    if trace.is_some() && mode == Mode::Clear {
        let what = "--trace is of noise, which --mode clear has none of; choose --mode simulate or execute";
        return Err(NotApplicable::new(what).into());
    }
    let outputs = [("--trace", trace.as_deref()), ("--out", out.as_deref())];
    let files = OutputFiles::create(&outputs, &selection.inputs(), replacing.force)?;
    if trace.is_some() {
        files.keep_private(0)?;
    }
    let input = HeadInput::load(selection, given, Some(mode))?;
    if mode != Mode::Clear {
        // What cannot run is said before a file is made.
        while_showing("planning", || input.plan(selection))?;
    }
    let (layer, span) = (selection.place.layer, Span::all(input.hidden.rows()));
    let mut runner = Runner::new(execution, [(layer, &input.head)], span.tokens(), selection.place.part())?;
    let (outcome, places) = match trace {
        Some(_) => runner.trace(&input.head, layer, &input.hidden)?,
        None => (runner.run(&input.head, layer, &input.hidden, span)?, Vec::new()),
    };
    let tensor = Tensor::from(outcome.output.clone());
    let report = Report::new(selection, mode, &input, &outcome)?;
    let traced = trace.as_ref().map(|_| RunTrace::new(selection, mode, &input, &outcome, places));
    let traced = traced.map(|traced| traced.to_json()).transpose()?.map(bytes);
    let output =
        out.as_ref().map(|_| -> Contents<'_> { Box::new(|path| write_tensors(path, &[("head_out", &tensor)], &[])) });
    files.write(traced.into_iter().chain(output).collect(), || {
        if reporting.json {
            print_json(&report)
        } else {
            print(&report.run.text(describe::head(selection, &input), "‖output − f32‖ / ‖f32‖"))
        }
    })?;
    Ok(match outcome.mismatches() {
        count if mode == Mode::Execute && count > 0 => Verdict::Mismatch(count),
        _ => Verdict::Right,
    })
}

/// The JSON object. What a mode does not have is null.
#[derive(Serialize)]
struct Report<'a> {
    r#type: &'static str,
    version: &'static str,
    circuit: &'static str,
    /// Exact circuit only, as `msbs`.
    multiply: Option<&'static str>,
    bits: u32,
    msbs: Option<u32>,
    /// Packed circuit only: of each head, the largest weights of queries, keys and values.
    weight_levels: Option<Vec<[u32; 3]>>,
    tensor: &'a str,
    layer: usize,
    /// Null for all heads.
    head: Option<usize>,
    tokens: usize,
    /// The number of heads computed.
    heads: usize,
    #[serde(flatten)]
    run: RunReport<'a>,
}

impl<'a> Report<'a> {
    fn new(selection: &'a Selection, mode: Mode, input: &HeadInput, outcome: &'a Outcome) -> anyhow::Result<Self> {
        let (exact, packed) = match &input.head {
            Attention::Exact(exact) => (Some(&exact.multiply), None),
            Attention::Packed(head) => (None, Some(head)),
        };
        let (circuit, quantization) = (input.head.circuit(), &input.quantization);
        let errors = [outcome.relative_error(&input.reference), outcome.clear_relative_error(&input.reference)];
        Ok(Self {
            r#type: "head",
            version: env!("CARGO_PKG_VERSION"),
            circuit: circuit.name(),
            multiply: exact.map(|multiply| multiply.name()),
            bits: quantization.bits(circuit),
            msbs: exact.map(|_| quantization.options.msbs),
            weight_levels: packed
                .map(|packed| packed.program().heads().iter().map(PackedHead::weight_levels).collect()),
            tensor: &selection.input.tensor,
            layer: selection.place.layer,
            head: selection.place.head(),
            tokens: input.hidden.rows(),
            heads: selection.place.head().map_or(input.heads, |_| 1),
            run: RunReport::new(mode, outcome, errors)?,
        })
    }
}
