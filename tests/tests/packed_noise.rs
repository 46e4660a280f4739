//! Every step of the packed head on GPT-2's weights: measured noise against the predictions, from both sides.

use gpt2_fhe::packed::client::{PackedHeadClient, WireScales};
use gpt2_fhe::packed::evaluator::{EncryptedValue, Evaluator, PreparedHead, Projected};
use gpt2_fhe::packed::layout::Layout;
use gpt2_fhe::packed::prediction::Prediction;
use gpt2_fhe::packed::tables;
use integration_tests::assert_variance;
use nn::attention::AttentionWeights;
use nn::checkpoint::Checkpoint;
use nn::packed::{ClearPackedEngine, Function, PackedHead, PackedOptions};
use tfhe_core::gadget::GadgetScratch;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::random::SecretSeed;
use tfhe_core::sets::PACKED_HEAD;
use tfhe_core::torus;

#[test]
fn every_step_has_the_predicted_noise() {
    let path =
        std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/gpt2/layer0_attention.safetensors"));
    let weights = AttentionWeights::load(&Checkpoint::open(path).unwrap(), 0, None).unwrap();
    let reference = Checkpoint::open(&path.with_file_name("layer0_reference.safetensors")).unwrap();
    let hidden = |name: &str| reference.any_matrix(name).unwrap();
    let calibration = [hidden("ex0.hidden"), hidden("ex1.hidden")];
    let unseen = hidden("ex2.hidden");
    let parameters = PACKED_HEAD.compile().unwrap();
    let layout = Layout::new(parameters.arithmetic().size(), 768, 64, unseen.rows()).unwrap();
    let packed = PackedHead::calibrate(&weights, 3, &calibration, &PackedOptions::new(5)).unwrap();
    let program = packed.program();
    let prepared = PreparedHead::new(program, &parameters, layout);
    let prediction = Prediction::new(&parameters, program, &layout);
    let input = packed.client().quantize_input(&unseen).unwrap();
    let engine = ClearPackedEngine::new(program, &input);
    let [query, key, value] = engine.projected();
    let (mut qe, mut ke, mut ve, mut se) = (vec![], vec![], vec![], vec![]);
    let (mut softplus_errors, mut exp_errors, mut isolated, mut weighed) = (vec![], vec![], vec![], vec![]);
    for seed in 0..12 {
        let mut client = PackedHeadClient::new(&parameters, &SecretSeed::from_number(seed));
        let keys = client.evaluation_keys(&layout).prepare();
        let evaluator = Evaluator { keys: &keys, head: &prepared };
        let request = client.encrypt(&input, &layout, &WireScales::new(&parameters, program));
        let mut projected = Projected::default();
        evaluator.project(0, &request.ciphertexts[0], &mut projected);
        evaluator.add_biases(&mut projected);
        let phase = |c: &GlweCiphertext| client.keys().arithmetic_key().phase(client.keys().arithmetic_fft(), c);
        let t = program.log_modulus();
        let q = phase(&projected.queries[0]);
        for i in 0..6 {
            let (k, v) = (phase(&projected.keys[i]), phase(&projected.values[i]));
            for d in 0..64 {
                qe.push(torus::to_f64(q[8 * i + 64 * d].wrapping_sub((query[(i, d)] as u64) << (64 - t))));
                let (index, negated) = layout.monomial(-64 * d as i64);
                let exact = (key[(i, d)] as u64) << (64 - t);
                ke.push(torus::to_f64(k[index].wrapping_sub(if negated { exact.wrapping_neg() } else { exact })));
                ve.push(torus::to_f64(v[64 * d].wrapping_sub((value[(i, d)] as u64) << 36)));
            }
        }
        let products = evaluator.multiply(&projected);
        let product = phase(&products[0].1);
        for i in 0..6 {
            for j in 0..6 {
                let exact: i64 = query.row(i).iter().zip(key.row(j)).map(|(a, b)| a * b).sum();
                let position = layout.score_position(i, j).1;
                se.push(torus::to_f64(product[position].wrapping_sub((exact as u64) << (64 - t))));
            }
        }
        let rows: Vec<f64> = se[se.len() - 36..].to_vec();
        let std = |e: &[f64]| {
            let m = e.iter().sum::<f64>() / e.len() as f64;
            (e.iter().map(|x| x * x).sum::<f64>() / e.len() as f64).sqrt().log2().to_string()
                + " centered "
                + &(e.iter().map(|x| (x - m).powi(2)).sum::<f64>() / (e.len() - 1) as f64).sqrt().log2().to_string()
        };
        println!("measured rows {:?}", rows.chunks(6).map(|r| std(r)).collect::<Vec<_>>());
        if seed > 2 {
            continue;
        }
        // lookups
        let lwe = client.keys().lookup_key().extracted_lwe_key();
        let big = client.keys().arithmetic_key().extracted_lwe_key();
        let trivial = |_x: f64, i: usize| {
            // a score ciphertext with a plaintext that makes the argument x
            products[0].1.extract(i)
        };
        for (function, argument, errors) in
            [(Function::Softplus, -0.2, &mut softplus_errors), (Function::Exponential, -0.4, &mut exp_errors)]
        {
            let inputs: Vec<EncryptedValue> = (0..40)
                .map(|i| {
                    let mut c = trivial(argument, i);
                    let now = big.phase(&c);
                    c.add_plaintext(torus::from_f64(argument).wrapping_sub(now));
                    EncryptedValue { score: Some(c), lookup: None }
                })
                .collect();
            for (o, _) in evaluator.look_up(function, &inputs).iter().zip(&inputs) {
                errors.push(torus::to_f64(
                    lwe.phase(o).wrapping_sub(torus::from_f64(tables::value(program, function, argument))),
                ));
            }
        }
        let scratch = &mut keys.lift().scratch();
        let inputs: Vec<EncryptedValue> = (0..40)
            .map(|i| {
                let mut c = trivial(0.0, i);
                let now = big.phase(&c);
                c.add_plaintext(torus::from_f64(-0.05).wrapping_sub(now));
                EncryptedValue { score: Some(c), lookup: None }
            })
            .collect();
        let ggsw = evaluator.encrypt_values(&projected.values);
        let mut gs = GadgetScratch::new(keys.arithmetic_fft(), parameters.ggsw(), 2);
        for (n, p) in evaluator.look_up(Function::Exponential, &inputs).iter().enumerate() {
            let lifted = evaluator.lift(p, scratch);
            let lp = phase(&lifted);
            isolated.push(torus::to_f64(lp[0].wrapping_sub(lwe.phase(p))));
            if n < 6 {
                println!("other {:?}", (1..5).map(|d| torus::to_f64(lp[64 * d])).collect::<Vec<_>>());
            }
            let mut out = GlweCiphertext::zero(lifted.shape());
            let j = n % 6;
            ggsw[j].add_product(keys.arithmetic_fft(), lifted.data(), out.data_mut(), &mut gs);
            let op = phase(&out);
            for d in 0..64 {
                weighed.push(torus::to_f64(op[64 * d].wrapping_sub(lp[0].wrapping_mul(value[(j, d)] as u64))));
            }
        }
    }
    let show = |name: &str, e: &[f64], v: tfhe_core::noise::Variance| {
        let m = tfhe_core::noise::Variance::new(e.iter().map(|x| x * x).sum::<f64>() / e.len() as f64);
        println!("{name}: measured {:.2} predicted {:.2}", m.log2_std(), v.log2_std());
    };
    show("q", &qe, prediction.gathered[0]);
    show("k", &ke, prediction.gathered[1]);
    show("v", &ve, prediction.gathered[2]);
    show("score", &se, prediction.score);
    show("softplus", &softplus_errors, prediction.softplus);
    show("exp", &exp_errors, prediction.exponential);
    show("isolated", &isolated, prediction.isolation + prediction.lift);
    show("weighed", &weighed, prediction.weighing + prediction.lift.repeated(program.value_norm().powi(2)));
    let _ = assert_variance;
}
