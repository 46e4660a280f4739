//! The packed head on GPT-2's own weights, without noise.

mod common;

use nn::attention::AttentionWeights;
use nn::checkpoint::Checkpoint;
use nn::matrix::{Matrix, relative_error};
use nn::packed::{ClearPackedEngine, PackedHead, PackedOptions};

/// Calibrated on two prompts, measured on the third: what quantization alone costs, for each of the twelve heads.
#[test]
fn heads_of_gpt2_stay_close_to_f32_on_an_unseen_prompt() {
    let Some(shared) = common::shared("gpt2/layer0_attention.safetensors") else { return };
    let weights = AttentionWeights::load(&Checkpoint::open(&shared).unwrap(), 0, None).unwrap();
    let reference = Checkpoint::open(shared.with_file_name("layer0_reference.safetensors")).unwrap();
    let hidden = |name: &str| reference.any_matrix(name).unwrap();
    let calibration = [hidden("ex0.hidden"), hidden("ex1.hidden")];
    let unseen = hidden("ex2.hidden");
    let mut errors: Vec<f64> = (0..12)
        .map(|head| {
            let packed = PackedHead::calibrate(&weights, head, &calibration, &PackedOptions::new(5)).unwrap();
            let expected = weights.head(head).unwrap().attend(&unseen).output;
            let mut engine =
                ClearPackedEngine::new(packed.program(), &packed.client().quantize_input(&unseen).unwrap());
            let output = packed.client().dequantize_output(&engine.evaluate());
            assert_eq!(engine.out_of_range(), 0, "head {head}");
            let error = relative_error(&output, &expected);
            println!("head {head}: relative error {error:.4}, {:?}", packed.program().weight_levels());
            error
        })
        .collect();
    errors.sort_by(f64::total_cmp);
    println!("median {:.4}, worst {:.4}", (errors[5] + errors[6]) / 2.0, errors[11]);
    assert!(errors[6] < 0.05 && errors[11] < 0.07, "{errors:?}");
}

#[test]
fn one_token_attends_to_itself() {
    let weights = common::random_attention(8, 2);
    let hidden = Matrix::from_fn(1, 8, |_, column| (column as f32).sin());
    let options = PackedOptions { max_tokens: Some(4), ..PackedOptions::new(8) };
    let packed = PackedHead::calibrate(&weights, 1, std::slice::from_ref(&hidden), &options).unwrap();
    let output = packed.evaluate_clear(&hidden).unwrap();
    let expected = weights.head(1).unwrap().attend(&hidden).output;
    assert!(relative_error(&output, &expected) < 0.01);
}

#[test]
fn bad_options_and_inputs_are_refused() {
    let weights = common::random_attention(8, 2);
    let hidden = Matrix::from_fn(3, 8, |row, column| ((row + 3 * column) as f32).sin());
    let calibrate = |options| PackedHead::calibrate(&weights, 0, std::slice::from_ref(&hidden), &options);
    let options = PackedOptions::new(6);
    for wrong in [
        PackedOptions { input_bits: 9, ..options },
        PackedOptions { weight_bits: 1, ..options },
        PackedOptions { value_bits: 0, ..options },
        PackedOptions { guard: f64::NAN, ..options },
        PackedOptions { log_modulus: 64, ..options },
        PackedOptions { max_tokens: Some(65), ..options },
        PackedOptions { max_tokens: Some(0), ..options },
    ] {
        assert!(calibrate(wrong).is_err(), "{wrong:?}");
    }
    let packed = calibrate(options).unwrap();
    for rows in [0, 4] {
        assert!(packed.client().quantize_input(&Matrix::from_fn(rows, 8, |_, _| 0.0)).is_err());
    }
    assert!(packed.client().quantize_input(&Matrix::from_fn(1, 8, |_, _| f32::NAN)).is_err());
    assert!(PackedHead::calibrate(&weights, 2, &[hidden], &options).is_err());
    assert!(PackedHead::calibrate(&weights, 0, &[], &options).is_err());
}
