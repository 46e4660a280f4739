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

/// Tensors of which one has another number somewhere.
fn patched(tensors: &NamedTensors, name: &str, at: usize, number: f64) -> NamedTensors {
    let shape = tensors.tensors().find(|(other, _)| *other == name).expect("a tensor of this name").1.shape.clone();
    let mut changed = tensors.clone();
    match tensors.reals(name, &shape) {
        Ok(mut reals) => {
            reals[at] = number;
            changed.set_reals(name, &shape, reals);
        }
        Err(_) => {
            let mut integers: Vec<i64> = tensors.integers(name, &shape).expect("reals or integers");
            integers[at] = number as i64;
            changed.set_integers(name, &shape, integers);
        }
    }
    changed
}

fn without(tensors: &NamedTensors, name: &str) -> NamedTensors {
    let mut rest = NamedTensors::default();
    for (other, tensor) in tensors.tensors().filter(|(other, _)| *other != name) {
        rest.insert(other, tensor.clone()).unwrap();
    }
    rest
}

/// Of the numbers of a server's half, each that is not one of calibration is refused where it is read, by a line of its own.
#[test]
fn numbers_of_the_servers_half_are_checked_one_by_one() {
    let programs = tiny::programs();
    let million = 1e6;
    for (index, name, at, number, what) in [
        (0, "channels", 0, 1.0, "in 2 ..= 1048576"),
        (0, "channels", 0, 1e12, "in 2 ..= 1048576"),
        (0, "channels", 0, 10.0, "9 channels in heads of 4"),
        (0, "channels", 0, -1.0, "a usize"),
        (0, "head_size", 0, 0.0, "in 1 ..= 8"),
        (0, "head_size", 0, 3.0, "8 channels in heads of 3"),
        (0, "public_tokens", 0, 16.0, "in 0 ..= 15"),
        (0, "public_tokens", 0, 2.0, "has shape [2, 1, 4], but [2, 2, 4]"),
        (0, "max_tokens", 0, 0.0, "in 1 ..= 65536"),
        (0, "max_tokens", 0, million, "in 1 ..= 65536"),
        (0, "blocks.0.attention.key.weight", 5, 2.0 * million, "at most 2^20"),
        (0, "blocks.0.attention.value.weight", 5, -2.0 * million, "at most 2^20"),
        (0, "blocks.0.attention.query.weight", 5, 1e12, "a i32"),
        (0, "blocks.0.attention.key.terms", 0, 1.0, "the order of the arguments"),
        (0, "blocks.0.attention.key.terms", 21, 8.0, "the order of the arguments"),
        (0, "blocks.0.attention.key.terms", 1, 8.0, "it must be a channel"),
        (0, "blocks.0.attention.key.terms", 1, -1.0, "it must be a channel"),
        (0, "blocks.0.attention.key.terms", 2, 0.0, "at least 1 and at most 2^40"),
        (0, "blocks.0.attention.key.terms", 2, 2e12, "at least 1 and at most 2^40"),
        (0, "blocks.0.attention.key.constants", 0, 1e10, "at most 2^32 turns"),
        (0, "blocks.0.attention.key.constants", 0, f64::NAN, "must be finite"),
        (0, "blocks.0.attention.key.tables", 0, 0.0, "a turn of the argument of a table of tensor"),
        (0, "blocks.0.attention.key.tables", 1, 1e300, "a result of one of a table of tensor"),
        (0, "blocks.0.attention.key.tables", 1, 1e9, "an integer that multiplies"),
        (0, "blocks.0.attention.key.tables", 2, 1.0, "the least argument"),
        (0, "blocks.0.attention.key.tables", 3, 0.6, "near enough to the least for half a turn"),
        (0, "blocks.0.attention.norm.epsilon", 0, -1.0, "at least 0"),
        (0, "blocks.0.attention.norm.factor", 2, 0.0, "a pole"),
        (0, "blocks.0.attention.norm.factor", 0, 1.0, "the variance that a block's tables read"),
        (0, "blocks.0.attention.softmax.factors", 0, 3.0, "in 1 ..= 2"),
        (0, "blocks.0.attention.softmax.factors", 1, 0.0, "in 1 ..= 65536"),
        (0, "blocks.0.attention.softmax.tables", 1, 1.0, "as the function has them"),
        (0, "blocks.0.attention.softmax.tables", 4, 1.0, "a turn of an exponent is"),
        (0, "blocks.0.attention.softmax.tables", 6, -1e9, "half a turn"),
        (0, "blocks.0.attention.softmax.tables", 8, 1.0, "a turn of a sum of exponentials"),
        (0, "blocks.0.attention.softmax.tables", 9, 1.0, "a result of the logarithm of a sum"),
        (0, "blocks.0.attention.softmax.tables", 20, 1.0, "a turn of an exponent is"),
        (0, "blocks.0.attention.log_factor", 1, -1.0, "a result of the logarithm of r"),
        (0, "blocks.0.attention.log_constant", 0, f64::INFINITY, "must be finite"),
        (0, "blocks.0.attention.known_keys", 0, 2e16, "at most 2^53"),
        (0, "blocks.0.attention.known_values", 0, 1e12, "at most 2^32 turns"),
        (0, "blocks.1.mlp.activation.function", 0, 6.0, "in 0 ..= 5"),
        (0, "blocks.1.mlp.activation.tables", 3, 0.7, "as the function has them"),
        (0, "blocks.1.mlp.half.weight", 0, 2.0 * million, "at most 2^20"),
        (5, "last_state.multiples", 3, 2.0 * million, "at most 2^20"),
        (5, "last_state.constants", 3, -1e12, "at most 2^32 turns"),
        (5, "last_state.mlp.activation.function", 0, 6.0, "in 0 ..= 5"),
        (0, "logits.constants", 3, -1e12, "at most 2^32 turns"),
        (0, "logits.weight", 3, 2.0 * million, "at most 2^20"),
        (1, "blocks.0.attention.query.factor", 0, 1.0, "the variance that a block's tables read"),
        (1, "blocks.0.attention.query.bias", 0, f64::NAN, "must be finite"),
        (4, "blocks.0.attention.softmax.clip.heads", 0, 2.0, "numbers below 2, in order"),
        (4, "blocks.0.attention.softmax.clip.tables", 0, 1.0, "a turn of an exponent that is clipped"),
        (4, "blocks.0.attention.softmax.clip.tables", 1, 1.0, "a result of clipping"),
    ] {
        let (client, program) = (programs[index].client(), programs[index].program());
        let tensors = patched(&program.to_tensors(), name, at, number);
        let read = StreamProgram::from_tensors(&tensors, &client.layers(), client.part());
        let error = read.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(what) && !error.contains('\n'), "{name} {at} {number}: {error:?} without {what:?}");
    }
}

#[test]
fn numbers_of_the_clients_half_are_checked_one_by_one() {
    let programs = tiny::programs();
    for (index, name, at, number, what) in [
        (0, "turns", 0, 0.0, "greater than 0"),
        (0, "turns", 8, 1e-40, "from 2^-100 to 2^100"),
        (0, "turns", 3, f64::NAN, "must be finite"),
        (0, "variance", 0, 0.0, "greater than 0"),
        (0, "variance", 0, 1e-40, "from 2^-100 to 2^100"),
        (0, "logits.turns", 3, 1e40, "from 2^-100 to 2^100"),
        (0, "logits.middles", 3, 1e20, "at most 2^40"),
        (0, "logits.middles", 3, f64::NEG_INFINITY, "must be finite"),
        (5, "last_state.turns", 3, 1e40, "from 2^-100 to 2^100"),
        (5, "last_state.middles", 3, 1e20, "at most 2^40"),
        (0, "head_size", 0, 9.0, "in 1 ..= 8"),
        (0, "max_tokens", 0, 1.0, "in 0 ..= 0"),
        (0, "public_tokens", 0, -1.0, "a u32"),
    ] {
        let client = programs[index].client();
        let tensors = patched(&client.to_tensors(), name, at, number);
        let error = BlocksClient::from_tensors(&tensors, &client.layers(), client.part()).unwrap_err().to_string();
        assert!(error.contains(what) && !error.contains('\n'), "{name} {at} {number}: {error:?} without {what:?}");
    }
}

/// Without a tensor, or with one of another shape, or with NaN in it, there is an error; or what is read is written otherwise, which the
/// fingerprint of a file tells.
#[test]
fn every_tensor_is_needed() {
    for model in tiny::programs() {
        let (layers, part) = (model.client().layers(), model.client().part());
        let tensors = model.program().to_tensors();
        let read = |tensors: &NamedTensors| StreamProgram::from_tensors(tensors, &layers, part);
        for (name, tensor) in tensors.tensors() {
            let mut wrong = vec![without(&tensors, name)];
            let mut longer = tensor.clone();
            longer.shape.insert(0, 1);
            let mut reshaped = tensors.clone();
            reshaped.insert(name, longer).unwrap();
            wrong.push(reshaped);
            if tensor.dtype == safetensors::Dtype::F64 {
                let error = read(&patched(&tensors, name, 0, f64::NAN)).unwrap_err().to_string();
                assert!(error.contains(name) && error.contains("finite"), "{name}: {error}");
            }
            for wrong in wrong {
                match read(&wrong) {
                    Err(error) => assert!(!error.to_string().contains('\n'), "{name}: {error}"),
                    Ok(program) => assert_ne!(program.to_tensors(), wrong, "{name}"),
                }
            }
        }
    }
}

/// How many blocks there are is said by a file; memory is taken for those whose tensors it has.
#[test]
fn blocks_that_are_not_there_are_missing() {
    let model = tiny::programs().swap_remove(0);
    let tensors = model.program().to_tensors();
    for (layers, part, what) in [
        (0..3, BlockPart::Whole, "\"blocks.2.attention"),
        (1..3, BlockPart::Whole, "\"blocks.2.attention"),
        (0..MAX_LAYER, BlockPart::Whole, "\"blocks.2.attention"),
        (0..MAX_LAYER + 1, BlockPart::Whole, "the number of blocks"),
        (0..usize::MAX, BlockPart::Whole, "the number of blocks"),
        (2..2, BlockPart::Whole, "the number of blocks"),
        (usize::MAX - 1..usize::MAX, BlockPart::Whole, "the first layer"),
        (0..2, BlockPart::Attention, "the part of blocks before their end"),
    ] {
        let error = StreamProgram::from_tensors(&tensors, &layers, part).unwrap_err().to_string();
        assert!(error.contains(what), "{layers:?} {part:?}: {error}");
    }
    let parts =
        [BlockPart::Attention, BlockPart::FeedForward].map(|part| tiny::program(0..1, part, 0, model.options()));
    for part in &parts {
        let other = StreamProgram::from_tensors(&part.program().to_tensors(), &(0..1), BlockPart::Whole);
        assert!(other.unwrap_err().to_string().contains("missing"));
    }
}

#[test]
fn halves_of_different_blocks_do_not_fit() {
    let programs = tiny::programs();
    for (index, one) in programs.iter().enumerate() {
        for (other_index, other) in programs.iter().enumerate() {
            let joined = ModelProgram::of_halves(one.program().clone(), other.client().clone(), *one.options());
            assert_eq!(joined.is_ok(), index == other_index, "{index} {other_index}");
        }
    }
}

#[test]
fn clients_check_what_they_are_given() {
    let model = tiny::programs().swap_remove(0);
    let client = model.client();
    let hidden = |rows, columns| crate::matrix::Matrix::from_fn(rows, columns, |_, _| 0.5_f32);
    // 16 positions, of which one is public.
    assert_eq!(client.encode(&hidden(15, 8)).unwrap().cols(), 10);
    for (rows, columns) in [(0, 8), (16, 8), (3, 7)] {
        let error = client.encode(&hidden(rows, columns)).unwrap_err().to_string();
        assert!(error.contains(&format!("has shape [{rows}, {columns}]")), "{error}");
    }
    assert!(client.encode(&hidden(1, 8).map(|_| f32::NAN)).is_err());
    let error = client.decode(&crate::matrix::Matrix::from_fn(1, 9, |_, _| 0.0)).unwrap_err().to_string();
    assert!(error.contains("[n, 12] is needed"), "{error}");
    let differing = ModelProgram::calibrate(
        &tiny::model(),
        0..1,
        BlockPart::Whole,
        (&[vec![0, 1, 2], vec![1, 1, 2]], 1),
        model.options(),
    );
    assert!(differing.unwrap_err().to_string().contains("the same in all texts"));
}
