use super::*;
use crate::block::{ModelProgram, tiny};
use crate::gpt2::Nonlinearity;

#[test]
fn blocks_are_read_as_they_were_written() {
    for model in tiny::programs() {
        let (client, program) = (model.client(), model.program());
        let (layers, part) = (client.layers(), client.part());
        let tensors = program.to_tensors();
        let read = StreamProgram::from_tensors(&tensors, &layers, part).unwrap();
        assert_eq!(&read, program, "{part:?}");
        assert_eq!(read.to_tensors(), tensors, "to the last bit");
        let own = client.to_tensors();
        let read_client = BlocksClient::from_tensors(&own, &layers, part).unwrap();
        assert_eq!((&read_client, read_client.to_tensors()), (client, own));
        assert_eq!(ModelProgram::of_halves(read, read_client, *model.options()).unwrap(), model);
    }
}

/// Calibration takes exactly those activations that have a number.
#[test]
fn every_activation_that_is_taken_has_a_number() {
    for activation in [
        Activation::GeluTanh,
        Activation::Gelu,
        Activation::GeluClipped,
        Activation::GeluSigmoid,
        Activation::Relu,
        Activation::Relu6,
        Activation::ReluSquared,
        Activation::LeakyRelu,
        Activation::Prelu,
        Activation::Silu,
        Activation::HardSwish,
        Activation::Mish,
        Activation::Xielu,
        Activation::Sigmoid,
        Activation::SqrtSoftplus,
        Activation::Tanh,
        Activation::Laplace,
        Activation::Linear,
    ] {
        let is_taken = crate::block::calibrate::gate_of(&Nonlinearity::Fixed(activation)).is_ok();
        assert_eq!(GATES.contains(&activation), is_taken, "{activation:?}");
    }
}
