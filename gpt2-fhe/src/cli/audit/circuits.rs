//! The circuits of the model inside this program, planned as `generate` runs them.

use gpt2_fhe::audit::failure::PlannedCircuit;
use gpt2_fhe::integer::multiply::Multiply;
use gpt2_fhe::run::block::{BlockModel, BlockText};
use gpt2_fhe::run::{Circuit, Plan};
use nn::attention::Part;
use nn::block::{BlockOptions, BlockPart, ModelProgram};
use nn::integer::IntegerOptions;
use nn::packed::{PackedOptions, Span};
use nn::record::Options;

use crate::cli::arguments::{Quantization, Recipe};
use crate::cli::model::LanguageModel;

/// The tokens of a request.
const TOKENS: usize = 8;

/// The packed attention of a layer and all blocks; unless it is to be quick, of all layers, and the exact circuit.
///
/// # Errors
/// If the model cannot be calibrated.
pub(super) fn planned(quick: bool) -> anyhow::Result<Vec<PlannedCircuit>> {
    let model = LanguageModel::load(None)?;
    let inputs = model.calibration_inputs(None, "")?;
    let layers = if quick { 1 } else { inputs.len() };
    let attention = |(circuit, layer, part): (Circuit, usize, Part)| -> anyhow::Result<PlannedCircuit> {
        let quantization = Quantization::of(&match circuit {
            Circuit::Packed => Options::Packed(PackedOptions::new(5)),
            Circuit::Exact => Options::Exact(IntegerOptions::new(4)),
        });
        let (bits, options) = (quantization.bits(circuit), &quantization.options);
        let recipe = Recipe { circuit, bits, multiply: Multiply::Product, options };
        let plan = model.quantize(layer, part, recipe, (&inputs[layer], TOKENS))?.plan(Span::all(TOKENS));
        let whole = if part == Part::Whole { "all heads" } else { "head 0" };
        let what = format!("{} attention, layer {layer}, {whole}, {TOKENS} tokens", circuit.name());
        let id = format!("{}.{layer}", circuit.name());
        Ok(PlannedCircuit { id, what, plan: plan.map_err(|error| error.to_string()) })
    };
    let packed = (0..layers).map(|layer| (Circuit::Packed, layer, Part::Whole));
    let exact = (!quick).then_some((Circuit::Exact, 0, Part::Head(0)));
    let mut circuits = packed.chain(exact).map(attention).collect::<anyhow::Result<Vec<_>>>()?;
    let what = format!("all blocks, {TOKENS} tokens");
    circuits.push(PlannedCircuit { id: "blocks".into(), what, plan: blocks(&model)? });
    Ok(circuits)
}

/// All blocks, up to the last token's hidden state.
fn blocks(model: &LanguageModel) -> anyhow::Result<Result<Plan, String>> {
    let (texts, config) = (model.block_texts(None, "")?, model.gpt2.config());
    let options = BlockOptions::of_width(config.n_embd);
    let program = ModelProgram::calibrate(&model.gpt2, 0..config.n_layer, BlockPart::Whole, (&texts, 0), &options)?;
    let program = program.with_last_state(&model.gpt2, &texts, &options)?;
    let planned = || BlockText::forecast(BlockModel::new(program)?.circuit(), &[TOKENS]);
    let plan: Result<Vec<Plan>, gpt2_fhe::run::RunError> = planned();
    Ok(plan.map_err(|error| error.to_string()).and_then(|mut plans| plans.pop().ok_or("no plan".into())))
}
