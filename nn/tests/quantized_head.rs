//! The integer head on the real layer 0 of GPT-2.

use nn::attention::AttentionWeights;
use nn::checkpoint::Checkpoint;
use nn::clear::ClearEngine;
use nn::head::{HeadOptions, QuantizedHead};
use nn::matrix::relative_error;

const SHARED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");

#[test]
fn measure() {
    let weights = Checkpoint::open(format!("{SHARED}/gpt2/layer0_attention.safetensors")).unwrap();
    let weights = AttentionWeights::load(&weights, 0, None).unwrap();
    let reference = Checkpoint::open(format!("{SHARED}/gpt2/layer0_reference.safetensors")).unwrap();
    for head in [0, 5, 11] {
        for ex in ["ex0", "ex1", "ex2"] {
            let hidden = reference.any_matrix(&format!("{ex}.hidden")).unwrap();
            let expected =
                reference.tensor(&format!("{ex}.head_out")).unwrap().part(head).unwrap().into_matrix().unwrap();
            for bits in 2..=11 {
                for msbs in [8, 10] {
                    let options = HeadOptions { msbs, ..HeadOptions::new(bits) };
                    let q = QuantizedHead::calibrate(&weights, head, std::slice::from_ref(&hidden), &options).unwrap();
                    let mut engine = ClearEngine::new();
                    let x = q.client().quantize_input(&hidden).unwrap();
                    let out = q.client().dequantize_output(&q.program().evaluate_clear(&mut engine, &x));
                    println!(
                        "{head} {ex} {bits} {msbs}: {:.4}  oor {} over {} lookups {}",
                        relative_error(&out, &expected),
                        engine.out_of_range(),
                        engine.overflows(),
                        engine.lookups()
                    );
                    if head == 0 && ex == "ex0" && [3, 4, 8, 11].contains(&bits) {
                        for r in q.ranges() {
                            println!("     {:?}", r);
                        }
                        println!(
                            "{:?} acc {} tables {}",
                            q.program().factors(),
                            q.program().accumulator_bits(),
                            q.program().tables().count()
                        );
                    }
                }
            }
        }
    }
}
