//! The packed head, encrypted, against the clear engine and its predictions.

use gpt2_fhe::engine::Unobserved;
use gpt2_fhe::packed::client::{PackedHeadClient, WireScales};
use gpt2_fhe::packed::counted::CountedPacked;
use gpt2_fhe::packed::evaluator::PreparedHead;
use gpt2_fhe::packed::layout::Layout;
use gpt2_fhe::packed::prediction::Prediction;
use gpt2_fhe::packed::server::PackedServer;
use gpt2_fhe::packed::simulated::SimulatedPacked;
use nn::attention::AttentionWeights;
use nn::checkpoint::Checkpoint;
use nn::matrix::relative_error;
use nn::packed::{ClearPackedEngine, PackedHead, PackedOptions};
use tfhe_core::random::SecretSeed;
use tfhe_core::sets::PACKED_HEAD;

#[test]
fn head_of_gpt2() {
    let path =
        std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/gpt2/layer0_attention.safetensors"));
    let weights = AttentionWeights::load(&Checkpoint::open(path).unwrap(), 0, None).unwrap();
    let reference = Checkpoint::open(&path.with_file_name("layer0_reference.safetensors")).unwrap();
    let hidden = |name: &str| reference.any_matrix(name).unwrap();
    let calibration = [hidden("ex0.hidden"), hidden("ex1.hidden")];
    let unseen = hidden("ex2.hidden");
    let parameters = PACKED_HEAD.compile().unwrap();
    let start = std::time::Instant::now();
    let mut client = PackedHeadClient::new(&parameters, &SecretSeed::from_number(1));
    let layout = Layout::new(parameters.arithmetic().size(), 768, 64, unseen.rows()).unwrap();
    let seeded = client.evaluation_keys(&layout);
    println!("keys {} bytes, {:?}", seeded.bytes(), start.elapsed());
    let keys = seeded.prepare();
    println!("prepared {} bytes, {:?}", keys.bytes(), start.elapsed());
    for head in 0..12 {
        let packed = PackedHead::calibrate(&weights, head, &calibration, &PackedOptions::new(6)).unwrap();
        let prepared = PreparedHead::new(packed.program(), &parameters, layout);
        let prediction = Prediction::new(&parameters, packed.program(), &layout);
        let statistics = CountedPacked::count(packed.program(), &prediction, layout);
        if head == 0 {
            println!("{prediction:?}");
            println!("{statistics:#?}");
        }
        let scales = WireScales::new(&parameters, packed.program());
        let input = packed.client().quantize_input(&unseen).unwrap();
        let request = client.encrypt(&input, &layout, &scales);
        let start = std::time::Instant::now();
        let (answer, statistics) = PackedServer::new(&prepared, &keys).evaluate(&request, &mut Unobserved).unwrap();
        let time = start.elapsed();
        let output = packed.client().dequantize_output(&client.decrypt(&answer, &layout, &scales, 64));
        let clear = packed.client().dequantize_output(&ClearPackedEngine::new(packed.program(), &input).evaluate());
        let simulated = |i| {
            let mut engine = SimulatedPacked::new(
                packed.program(),
                &parameters,
                &prediction,
                layout,
                &input,
                &SecretSeed::from_number(i),
            );
            relative_error(&packed.client().dequantize_output(&engine.evaluate()), &clear)
        };
        let simulated: Vec<f64> = (0..20).map(simulated).collect();
        for (name, f) in [
            ("none", (|_| {}) as fn(&mut Prediction)),
            ("score", |p| p.score = tfhe_core::noise::Variance::ZERO),
            ("reading", |p| {
                p.score_keyswitch = tfhe_core::noise::Variance::ZERO;
                p.lookup_keyswitch = p.score_keyswitch;
                p.modulus_switch = p.score_keyswitch;
            }),
            ("softplus", |p| p.softplus = tfhe_core::noise::Variance::ZERO),
            ("exponential", |p| p.exponential = tfhe_core::noise::Variance::ZERO),
            ("weighing", |p| p.weighing = tfhe_core::noise::Variance::ZERO),
            ("lift", |p| p.lift = tfhe_core::noise::Variance::ZERO),
        ] {
            let mut prediction = prediction.clone();
            f(&mut prediction);
            let mut total = 0.0;
            for i in 0..20 {
                let mut engine = SimulatedPacked::new(
                    packed.program(),
                    &parameters,
                    &prediction,
                    layout,
                    &input,
                    &SecretSeed::from_number(i),
                );
                total += relative_error(&packed.client().dequantize_output(&engine.evaluate()), &clear) / 20.0;
            }
            print!("{name} {total:.4} ");
        }
        println!(
            "turn {:.2} limit {:.1} norm {:.1}",
            packed.program().score_turn(),
            packed.program().output_limit(),
            packed.program().value_norm()
        );
        let expected = weights.head(head).unwrap().attend(&unseen).output;
        println!(
            "head {head}: {time:?} request {} answer {} error {:.4} (clear {:.4}), to clear {:.4}, simulated {:.4}, log2 failure {:.1}; {:?}",
            request.bytes(),
            answer.bytes(),
            relative_error(&output, &expected),
            relative_error(&clear, &expected),
            relative_error(&output, &clear),
            simulated.iter().sum::<f64>() / 20.0,
            CountedPacked::count(packed.program(), &prediction, layout).log2_failure_probability(),
            statistics.steps.iter().map(|s| (s.name, s.seconds)).collect::<Vec<_>>()
        );
    }
}
