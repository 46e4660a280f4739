//! What servers and clients are given that they cannot use: each is refused with an error that says what is wrong, before
//! anything is computed, and nothing panics.

use gpt2_fhe::boundary::{EncryptError, Refused};
use gpt2_fhe::client::Client;
use gpt2_fhe::encoding::Encoding;
use gpt2_fhe::integer::counted::CountedIntegers;
use gpt2_fhe::integer::encoding::IntegerEncoding;
use gpt2_fhe::integer::evaluator::IntegerEvaluator;
use gpt2_fhe::integer::multiply::Multiply;
use gpt2_fhe::integer::prediction::Predictor;
use gpt2_fhe::integer::prepared::PreparedProgram;
use gpt2_fhe::integer::simulated::SimulatedIntegers;
use gpt2_fhe::integer::tensor::IntegerTensor;
use gpt2_fhe::packed::ciphertexts::PreparedAttention;
use gpt2_fhe::packed::encoding::PackedEncoding;
use gpt2_fhe::packed::keys::needs;
use gpt2_fhe::packed::layout::{Layout, Sizes};
use gpt2_fhe::server::Server;
use gpt2_fhe::track::{EvaluationError, Observer, Unobserved};
use integration_tests::layer::Layer;
use nn::attention::Part;
use nn::clear::{ClearEvaluator, ClearTensor};
use nn::evaluator::{Evaluator, Form, LinearMap};
use nn::integer::{IntegerAttention, IntegerOptions};
use nn::matrix::Matrix;
use nn::packed::{PackedAttention, PackedOptions, Span};
use nn::table::LookupTable;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::{Edge, Node, Parameters, ParametersLiteral};
use tfhe_core::keys::{Answer, ClientKeys, EvaluationKeys, Mismatch, MissingKey, Needs, Request};
use tfhe_core::params::{Grouping, Precision};
use tfhe_core::random::SampleSeed;
use tfhe_core::sets::{HEAD_EXACT, HEAD_EXACT_WIDE, PACKED_HEAD, TOY};
use tfhe_core::torus;

/// Nothing may be begun of what is refused.
struct Idle;

impl Observer for Idle {
    fn begin(&mut self, step: &'static str, _operations: usize) {
        panic!("{step} was begun");
    }

    fn advance(&mut self, _operations: usize) -> bool {
        false
    }
}

fn seed() -> ClientSeed {
    ClientSeed::from_number(1)
}

fn set(literal: ParametersLiteral) -> Parameters {
    literal.compile().unwrap()
}

/// Keys that encrypt nothing that these tests compute on: all that can be wrong with them is what they are for.
fn keys(literal: ParametersLiteral, needs: &Needs) -> EvaluationKeys {
    let keys = ClientKeys::generate(&set(literal), &seed()).unwrap();
    keys.evaluation_keys(needs).unwrap().prepare().unwrap()
}

fn refused<T: std::fmt::Debug>(result: Result<T, EvaluationError>) -> Refused {
    match result.unwrap_err() {
        EvaluationError::Refused(refused) => refused,
        other => panic!("{other}"),
    }
}

/// What `client` says of an input that it cannot encrypt.
fn not_encrypted(client: &Client, input: &Matrix<i32>, encoding: &impl Encoding) -> Refused {
    match client.encrypt(input, encoding).unwrap_err() {
        EncryptError::Refused(refused) => refused,
        other => panic!("{other}"),
    }
}

const BITS: u32 = 2;

/// A head of two channels on two tokens, ready for products by `multiply`, and an input.
fn exact_head(multiply: Multiply) -> (PreparedProgram, Matrix<i32>) {
    let layer = Layer::synthetic(2, 2);
    let (prepared, head) = prepare(&layer, Part::Head(0), BITS, multiply);
    (prepared, head.client().quantize_input(&layer.unseen).unwrap())
}

fn prepare(layer: &Layer, part: Part, bits: u32, multiply: Multiply) -> (PreparedProgram, IntegerAttention) {
    let options = IntegerOptions::new(bits);
    let head = IntegerAttention::calibrate(&layer.weights, part, &layer.calibration, &options).unwrap();
    (PreparedProgram { program: head.program().clone(), multiply }, head)
}

fn exact_client(literal: ParametersLiteral, seed: &ClientSeed) -> Client {
    Client::new(IntegerEncoding::CIRCUIT, &set(literal), seed).unwrap()
}

#[test]
fn the_exact_server_refuses_keys_that_it_cannot_use() {
    let small = Needs::default().keyswitch(Node::Lookup);
    let refused_by = |multiply, literal, needs: &Needs| {
        let ((prepared, _), keys) = (exact_head(multiply), keys(literal, needs));
        Server::new(&prepared, &keys).map(|_| ()).unwrap_err()
    };
    let refused = |literal, needs: &Needs| refused_by(Multiply::Lut, literal, needs);
    let missing = |edge| Refused::Keys(MissingKey::Edge(edge));
    let automorphisms = Edge::Automorphisms { ring: Node::Lookup, gadget: 0 };
    assert_eq!(refused(TOY, &Needs::default()), missing(Edge::Keyswitch { from: Node::Lookup }));
    assert_eq!(refused(TOY, &small), missing(automorphisms));
    let few = Refused::Keys(MissingKey::Automorphisms { edge: automorphisms, made: 2, asked: 0 });
    assert_eq!(refused(TOY, &small.clone().automorphisms(Node::Lookup, 0, 2)), few);
    let all = small.automorphisms(Node::Lookup, 0, 0);
    assert_eq!(refused(TOY, &all), missing(Edge::Bootstrapping { gadget: 0 }));
    // A set of fewer gadgets than the program's.
    assert_eq!(refused(TOY, &all.bootstrapping(0)), missing(Edge::Bootstrapping { gadget: 1 }));
    assert_eq!(refused(PACKED_HEAD, &Needs::default()), Refused::TwoRings("packed_head"));
    let gadgets: &[_] = &[(Node::Lookup, (8, 3, Precision::Single), Grouping::One); 3];
    let small_ring = ParametersLiteral { bootstraps: gadgets, ..TOY };
    assert_eq!(refused(small_ring, &Needs::everything(&set(small_ring))), Refused::SmallRing("toy"));
    let bare = ParametersLiteral { relinearizations: &[], ..TOY };
    assert!(matches!(refused(bare, &Needs::default()), Refused::Set(_)));
    let of_products = refused_by(Multiply::Product, TOY, &Needs::everything(&set(TOY)));
    assert_eq!(of_products, missing(Edge::Bootstrapping { gadget: 2 }));
}

/// With few bits fewer operands are looked up than with many: sums and differences of factors of ten bits have eleven.
#[test]
fn the_exact_server_refuses_programs_of_tables_that_cannot_be_read() {
    let layer = Layer::synthetic(2, 2);
    let keys = keys(HEAD_EXACT, &Predictor::needs(&set(HEAD_EXACT), Multiply::Lut, 2, true));
    let head = |bits| prepare(&layer, Part::Head(0), bits, Multiply::Lut).0;
    let widest = |head: &PreparedProgram| head.program.factors().map(|(_, factor)| factor.operand_bits);
    assert!(Server::new(&head(BITS), &keys).is_ok());
    let wide = (3..=16).map(head).find(|head| widest(head).into_iter().any(|bits| bits > 10)).expect("wide factors");
    let bits = widest(&wide).into_iter().max().unwrap();
    let refused = Server::new(&wide, &keys).map(|_| ()).unwrap_err();
    assert_eq!(refused, Refused::TooWide { bits, limit: 10 });
}

/// A linear map of an input adds its bias and gives the scale that is asked for, on phases as on plain numbers.
#[test]
fn maps_of_an_input_have_biases_and_scales() {
    let predictor = Predictor::new(&set(HEAD_EXACT)).unwrap();
    let (PreparedProgram { program, .. }, _) = prepare(&Layer::synthetic(2, 2), Part::Head(1), 4, Multiply::Product);
    let input = Matrix::new(2, 2, vec![3, -1, 0, 2]).unwrap();
    let weight = Matrix::new(2, 3, vec![2, 0, -1, 1, 4, 1]).unwrap();
    let map = LinearMap { weight: &weight, bias: &[10, 0, -20], form: Form::Integers { bits: 6 } };
    let Ok(clear) = ClearEvaluator::<LookupTable>::new().linear("map", &ClearTensor::input(&input), &[map]);
    let expected = [[15, -4, -24], [12, 8, -18]];
    assert_eq!(clear[0].rows(), expected.map(|row| row.map(|x: i64| x as f64).to_vec()));

    let backend = SimulatedIntegers::new(predictor.clone(), &SampleSeed::from_number(1));
    let observer = &mut Unobserved;
    let mut phases = IntegerEvaluator::new(backend, predictor, Multiply::Product, &program, observer);
    // Sent at a scale for more bits than are asked for.
    let mapped = phases.linear("map", &IntegerTensor::Input(input, 9), &[map]).unwrap();
    for (row, expected) in mapped.into_iter().flat_map(|tensor| phases.lanes(tensor)).zip(expected) {
        let found: Vec<i64> = row.iter().map(|entry| torus::decode(entry.ciphertext, 7)).collect();
        assert_eq!(found, expected);
        assert!(row.iter().all(|entry| entry.bits == 6));
    }
}

/// What a client is to expect is what the evaluator's results have.
#[test]
fn the_exact_answer_s_scale_is_agreed_on() {
    let layer = Layer::synthetic(2, 2);
    let predictor = Predictor::new(&set(HEAD_EXACT)).unwrap();
    for part in [Part::Head(1), Part::Whole] {
        for (bits, multiply) in (2..=6).flat_map(|bits| [(bits, Multiply::Lut), (bits, Multiply::Product)]) {
            let (PreparedProgram { program, .. }, _) = prepare(&layer, part, bits, multiply);
            let observer = &mut Unobserved;
            let mut evaluator = IntegerEvaluator::new(CountedIntegers, predictor.clone(), multiply, &program, observer);
            let output =
                program.evaluate(&mut evaluator, &IntegerTensor::Input(2, program.accumulator_bits()), 2).unwrap();
            let encoding = IntegerEncoding::new(predictor.parameters(), &program, 2);
            assert_eq!((output.len(), output[0].len()), encoding.output_size());
            assert!(
                output.iter().flatten().all(|entry| entry.bits == encoding.output_bits),
                "{part:?}, {bits} bits, {multiply:?}"
            );
        }
    }
}

/// Of the server's side: numbers of tokens, sizes, scales, keys of others, of other sets, and of other circuits.
#[test]
fn the_exact_server_refuses_requests_that_are_not_its_own() {
    let (prepared, input) = exact_head(Multiply::Lut);
    let (program, client) = (&prepared.program, exact_client(HEAD_EXACT, &seed()));
    let keys = client
        .evaluation_keys(&Predictor::needs(&set(HEAD_EXACT), Multiply::Lut, BITS, false))
        .unwrap()
        .prepare()
        .unwrap();
    let server = Server::new(&prepared, &keys).unwrap();
    let encoding = IntegerEncoding::new(&set(HEAD_EXACT), program, 2);
    let request = client.encrypt(&input, &encoding).unwrap();
    let of_encoding = |encoding: IntegerEncoding| refused(server.evaluate(&request, &encoding, &mut Idle));
    let most = program.max_tokens();
    for tokens in [0, most + 1, usize::MAX] {
        assert_eq!(of_encoding(IntegerEncoding { tokens, ..encoding }), Refused::Tokens { tokens, most });
    }
    for bits in [0, 63, u32::MAX] {
        assert_eq!(of_encoding(IntegerEncoding { input_bits: bits, ..encoding }), Refused::Scale(bits));
        assert_eq!(of_encoding(IntegerEncoding { output_bits: bits, ..encoding }), Refused::Scale(bits));
    }
    assert_eq!(of_encoding(IntegerEncoding { size: 2048, ..encoding }), Refused::OtherRings("head_exact"));
    // An encoding of another program, and a request for one.
    let context = Refused::Message(Mismatch::Context("request"));
    let IntegerEncoding { inputs, input_bits, outputs, output_bits, .. } = encoding;
    let evaluate = |request: &Request| refused(server.evaluate(request, &encoding, &mut Idle));
    for other in [
        IntegerEncoding { tokens: 1, ..encoding },
        IntegerEncoding { inputs: inputs + 1, ..encoding },
        IntegerEncoding { input_bits: input_bits + 1, ..encoding },
        IntegerEncoding { outputs: outputs + 1, ..encoding },
        IntegerEncoding { output_bits: output_bits + 1, ..encoding },
    ] {
        assert_eq!(of_encoding(other), context, "{other:?}");
        let (tokens, inputs) = other.input_size();
        let request = client.encrypt(&Matrix::from_fn(tokens, inputs, |_, _| 1), &other).unwrap();
        assert_eq!(evaluate(&request), context, "{other:?}");
    }
    let keys_of_another = Refused::Message(Mismatch::Keys("request"));
    for seed in [ClientSeed::from_number(2), ClientSeed::from_system().unwrap(), seed().bound_to("layer", 1)] {
        assert_eq!(evaluate(&exact_client(HEAD_EXACT, &seed).encrypt(&input, &encoding).unwrap()), keys_of_another);
    }
    let of_circuit = Client::new(PackedEncoding::CIRCUIT, &set(HEAD_EXACT), &seed()).unwrap();
    assert_eq!(evaluate(&of_circuit.encrypt(&input, &encoding).unwrap()), keys_of_another);
    let other = exact_client(HEAD_EXACT_WIDE, &seed()).encrypt(&input, &encoding).unwrap();
    assert_eq!(evaluate(&other), Refused::Message(Mismatch::Set("request")));

    // What the server answers is what the client expects, and only that.
    let (answer, _) = server.evaluate(&request, &encoding, &mut Unobserved).unwrap();
    let clear = program.evaluate_clear(&mut nn::clear::ClearEvaluator::new(), &input);
    let decrypted = client.decrypt(&answer, &encoding, request.label()).unwrap();
    assert_eq!(decrypted, clear.map(|&integer| integer as f64));
    the_exact_client_refuses(&client, &answer, &encoding, &request);
    let other = exact_client(HEAD_EXACT, &ClientSeed::from_number(2));
    let refused = other.decrypt(&answer, &encoding, request.label()).unwrap_err();
    assert_eq!(refused, Refused::Message(Mismatch::Keys("answer")));
}

/// Other sizes and scales than those that were agreed on with the request, answers to others, and too few ciphertexts.
fn the_exact_client_refuses(client: &Client, answer: &Answer, encoding: &IntegerEncoding, request: &Request) {
    let decrypt = |encoding: IntegerEncoding| client.decrypt(answer, &encoding, request.label()).unwrap_err();
    let context = Refused::Message(Mismatch::Context("request"));
    assert_eq!(decrypt(IntegerEncoding { tokens: usize::MAX, ..*encoding }), context);
    assert_eq!(decrypt(IntegerEncoding { outputs: 0, ..*encoding }), context);
    assert_eq!(decrypt(IntegerEncoding { output_bits: encoding.output_bits + 1, ..*encoding }), context);
    for bits in [0, 63, u32::MAX] {
        assert_eq!(decrypt(IntegerEncoding { output_bits: bits, ..*encoding }), Refused::Scale(bits));
    }
    assert_eq!(decrypt(IntegerEncoding { size: 2048, ..*encoding }), Refused::OtherRings("head_exact"));
    let empty = Answer::new(request.label(), Vec::new(), 64);
    let none = Refused::Message(Mismatch::Count { what: "answer", expected: 1, actual: 0 });
    assert_eq!(client.decrypt(&empty, encoding, request.label()).unwrap_err(), none);
    let (tokens, inputs) = encoding.input_size();
    let again = client.encrypt(&Matrix::from_fn(tokens, inputs, |_, _| 1), encoding).unwrap();
    let to_another = client.decrypt(answer, encoding, again.label()).unwrap_err();
    assert_eq!(to_another, Refused::Message(Mismatch::Request));
}

#[test]
fn the_exact_client_encrypts_what_is_agreed_on() {
    let client = exact_client(TOY, &seed());
    let size = set(TOY).arithmetic().size().get();
    let encoding = IntegerEncoding { size, tokens: 1, inputs: 3, input_bits: 4, outputs: 3, output_bits: 4 };
    let input = Matrix::from_fn(1, 3, |_, _| 1);
    let refused = |encoding: IntegerEncoding| not_encrypted(&client, &input, &encoding);
    for bits in [0, 63, u32::MAX] {
        assert_eq!(refused(IntegerEncoding { input_bits: bits, ..encoding }), Refused::Scale(bits));
        assert_eq!(refused(IntegerEncoding { output_bits: bits, ..encoding }), Refused::Scale(bits));
    }
    let wide = Refused::Size { size: (1, 4), expected: (1, 3) };
    assert_eq!(not_encrypted(&client, &Matrix::from_fn(1, 4, |_, _| 1), &encoding), wide);
    assert_eq!(refused(IntegerEncoding { size: 2 * size, ..encoding }), Refused::OtherRings("toy"));
    assert!(
        client.evaluation_keys(&Predictor::needs(&set(HEAD_EXACT), Multiply::Lut, BITS, false)).is_err(),
        "the toy set has one gadget"
    );
}

/// Every integer of an input, and every number of an answer, has a place of its own, within as many ciphertexts as are sent.
#[test]
fn places_of_encodings_are_their_own() {
    fn check(encoding: &impl Encoding, size: usize) {
        let of_input = |(rows, columns): (usize, usize), place: &dyn Fn(usize, usize) -> (usize, usize), count| {
            let places: std::collections::BTreeSet<_> = (0..rows)
                .flat_map(|row| (0..columns).map(move |column| (row, column)))
                .map(|(r, c)| place(r, c))
                .collect();
            assert_eq!(places.len(), rows * columns);
            assert!(places.iter().all(|&(_, coefficient)| coefficient < size));
            assert_eq!(places.last().map(|&(ciphertext, _)| ciphertext + 1), Some(count));
        };
        of_input(encoding.input_size(), &|token, column| encoding.input_place(token, column), encoding.request_len());
        let output = |row, column| {
            let (ciphertext, coefficient, _) = encoding.output_place(row, column);
            (ciphertext, coefficient)
        };
        of_input(encoding.output_size(), &output, encoding.answer_len());
    }
    for (tokens, inputs, outputs) in [(1, 1, 1), (6, 768, 64), (6, 768, 768), (3, 5000, 4096), (7, 4096, 5000)] {
        check(&IntegerEncoding { size: 4096, tokens, inputs, input_bits: 14, outputs, output_bits: 14 }, 4096);
    }
    let parameters = set(PACKED_HEAD);
    for (head, output, heads) in [(32, 32, 1), (64, 64, 1), (64, 768, 12)] {
        let sizes = Sizes { embedding: 768, head, output, heads };
        for span in [Span::all(1), Span::all(6), Span::all(9), Span::new(16, 19)] {
            let layout = layout(&parameters, sizes, span);
            check(&PackedEncoding { layout, log_input: 14, output_turns: 0.001 }, layout.size());
        }
    }
}

/// One head of the packed circuit.
struct Packed {
    attention: PackedAttention,
    prepared: PreparedAttention,
    input: Matrix<i32>,
    encoding: PackedEncoding,
    client: Client,
}

impl Packed {
    fn new() -> Self {
        let (layer, parameters) = (Layer::synthetic(32, 4), set(PACKED_HEAD));
        let attention = layer.quantize(Part::Head(0), &PackedOptions::new(5));
        let program = attention.program();
        let layout = layout(&parameters, SIZES, Span::all(4));
        Self {
            prepared: PreparedAttention::new(program, &parameters).unwrap(),
            input: attention.client().quantize_input(&layer.unseen).unwrap(),
            encoding: PackedEncoding::new(&parameters, program, layout).unwrap(),
            client: packed_client(PACKED_HEAD, &seed()),
            attention,
        }
    }

    fn request(&self) -> Request {
        self.client.encrypt(&self.input, &self.encoding).unwrap()
    }

    fn keys(&self) -> EvaluationKeys {
        self.client.evaluation_keys(&needs(&self.encoding.layout)).unwrap().prepare().unwrap()
    }

    /// The encoding with another layout.
    fn laid_out(&self, layout: Layout) -> PackedEncoding {
        PackedEncoding { layout, ..self.encoding }
    }
}

/// Two numbers to each of 32 channels.
const SIZES: Sizes = Sizes { embedding: 96, head: 32, output: 64, heads: 1 };

fn layout(parameters: &Parameters, sizes: Sizes, span: Span) -> Layout {
    Layout::new(parameters, sizes, span).unwrap()
}

fn packed_client(literal: ParametersLiteral, seed: &ClientSeed) -> Client {
    Client::new(PackedEncoding::CIRCUIT, &set(literal), seed).unwrap()
}

#[test]
fn the_packed_server_refuses_keys_that_it_cannot_use() {
    let packed = Packed::new();
    let of_keys = |keys: &EvaluationKeys| Server::new(&packed.prepared, keys).map(|_| ()).unwrap_err();
    let few = keys(PACKED_HEAD, &Needs::default().keyswitch(Node::Arithmetic).keyswitch(Node::Lookup));
    let lift = Edge::Lift { from: Node::Lookup, to: Node::Arithmetic };
    assert_eq!(of_keys(&few), Refused::Keys(MissingKey::Edge(lift)));
    // Of a larger head: automorphisms that keep a larger subring.
    let larger = layout(&set(PACKED_HEAD), Sizes { head: 64, ..SIZES }, Span::all(4));
    let edge = Edge::Automorphisms { ring: Node::Arithmetic, gadget: 0 };
    let fewer = MissingKey::Automorphisms { edge, made: 6, asked: 5 };
    assert_eq!(of_keys(&keys(PACKED_HEAD, &needs(&larger))), Refused::Keys(fewer));
    assert_eq!(of_keys(&keys(TOY, &Needs::default())), Refused::Prepared("toy"));
}

#[test]
fn the_packed_server_refuses_encodings_and_requests_that_are_not_its_own() {
    let packed = Packed::new();
    let (parameters, encoding, request, keys) = (set(PACKED_HEAD), packed.encoding, packed.request(), packed.keys());
    let server = Server::new(&packed.prepared, &keys).unwrap();
    let of_encoding = |encoding: &PackedEncoding| refused(server.evaluate(&request, encoding, &mut Idle));
    // A layout for the rings of another set than that of the keys and the attention.
    let one_ring = packed.laid_out(layout(&set(HEAD_EXACT), SIZES, Span::all(4)));
    assert_eq!(of_encoding(&one_ring), Refused::OtherRings("packed_head"));
    for sizes in [Sizes { head: 16, ..SIZES }, Sizes { heads: 2, ..SIZES }, Sizes { embedding: 97, ..SIZES }] {
        assert_eq!(of_encoding(&packed.laid_out(layout(&parameters, sizes, Span::all(4)))), Refused::Layout);
    }
    let most = packed.attention.program().max_tokens();
    let long = packed.laid_out(layout(&parameters, SIZES, Span::new(most, most + 1)));
    assert_eq!(of_encoding(&long), Refused::Tokens { tokens: most + 1, most });
    assert_eq!(of_encoding(&PackedEncoding { log_input: 0, ..encoding }), Refused::Scale(0));

    // An encoding of other scales or rows, and a request for one.
    let evaluate = |request: &Request| refused(server.evaluate(request, &encoding, &mut Idle));
    let encrypt = |encoding: &PackedEncoding| packed.client.encrypt(&packed.input, encoding).unwrap();
    let context = Refused::Message(Mismatch::Context("request"));
    for other in [
        packed.laid_out(layout(&parameters, SIZES, Span::new(3, 4))),
        PackedEncoding { log_input: encoding.log_input - 1, ..encoding },
        PackedEncoding { output_turns: 0.001, ..encoding },
    ] {
        assert_eq!(of_encoding(&other), context, "{other:?}");
        assert_eq!(evaluate(&encrypt(&other)), context, "{other:?}");
    }
    for other in [ClientSeed::from_number(2), ClientSeed::from_system().unwrap()] {
        let request = packed_client(PACKED_HEAD, &other).encrypt(&packed.input, &encoding).unwrap();
        assert_eq!(evaluate(&request), Refused::Message(Mismatch::Keys("request")));
    }
    let finer = &[
        (Node::Lookup, (23, 1, Precision::Single), Grouping::One),
        (Node::Lookup, (14, 2, Precision::Single), Grouping::One),
    ];
    let finer = packed_client(ParametersLiteral { bootstraps: finer, ..PACKED_HEAD }, &seed());
    let request = finer.encrypt(&packed.input, &encoding).unwrap();
    assert_eq!(evaluate(&request), Refused::Message(Mismatch::Set("request")));
}

#[test]
fn the_packed_client_refuses_what_does_not_fit() {
    let packed = Packed::new();
    let (parameters, encoding) = (set(PACKED_HEAD), packed.encoding);
    let encrypt = |input: &Matrix<i32>, encoding: &PackedEncoding| not_encrypted(&packed.client, input, encoding);
    let small = Matrix::from_fn(3, 96, |_, _| 1);
    let size = Refused::Size { size: (3, 96), expected: (4, 96) };
    assert_eq!(encrypt(&small, &encoding), size);
    assert_eq!(encrypt(&packed.input, &PackedEncoding { log_input: 0, ..encoding }), Refused::Scale(0));
    let one_ring = packed.laid_out(layout(&set(HEAD_EXACT), SIZES, Span::all(4)));
    assert_eq!(encrypt(&packed.input, &one_ring), Refused::OtherRings("packed_head"));

    let request = packed.request();
    let decrypt = |answer: Answer, encoding: &PackedEncoding| {
        packed.client.decrypt(&answer, encoding, request.label()).unwrap_err()
    };
    let none = || Answer::new(request.label(), Vec::new(), 64);
    let count = Mismatch::Count { what: "answer", expected: 1, actual: 0 };
    assert_eq!(decrypt(none(), &encoding), Refused::Message(count));
    assert_eq!(decrypt(none(), &one_ring), Refused::OtherRings("packed_head"));
    // Another layout, or another scale, than was agreed on with the request.
    let wider = packed.laid_out(layout(&parameters, Sizes { output: 65, ..SIZES }, Span::all(4)));
    for other in [wider, PackedEncoding { output_turns: 0.001, ..encoding }] {
        assert_eq!(decrypt(none(), &other), Refused::Message(Mismatch::Context("request")));
    }
    // Of as many numbers as another attention has, the nearest to its centers are not known.
    let numbers = Matrix::from_fn(4, 33, |_, _| 0.0);
    assert!(packed.attention.client().nearest(&numbers, 1.0).is_err());
    let mut changed = packed.input.clone();
    changed[(0, 0)] += 1;
    let other = packed.client.encrypt(&changed, &encoding).unwrap();
    let answer = Answer::new(other.label(), Vec::new(), 64);
    assert_eq!(decrypt(answer, &encoding), Refused::Message(Mismatch::Request));
}

/// A set of the other circuit, or one that lacks an edge, is an error wherever the circuit takes an edge of it.
#[test]
fn sets_without_what_a_circuit_needs_are_refused() {
    let packed = Packed::new();
    let (program, layout) = (packed.attention.program(), packed.encoding.layout);
    let bare = set(ParametersLiteral { external_products: &[], ..PACKED_HEAD });
    assert!(PreparedAttention::new(program, &bare).is_err() && PackedEncoding::new(&bare, program, layout).is_err());
    assert!(packed_client(HEAD_EXACT, &seed()).evaluation_keys(&needs(&layout)).is_err());
    let prediction = gpt2_fhe::packed::prediction::Prediction::new(&set(HEAD_EXACT), program, &layout);
    let line = prediction.unwrap_err().to_string();
    assert!(line.starts_with("parameter set head_exact has no "), "{line}");
    assert_eq!(Predictor::new(&set(PACKED_HEAD)).unwrap_err(), Refused::TwoRings("packed_head"));
}

/// A backend that does not exist is an error of whoever makes or prepares keys. It is read once in a process, so in another one.
#[test]
fn an_unknown_backend_is_an_error() {
    const CHILD: &str = "BOUNDARY_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let line = "unknown backend \"abacus\"";
        for error in [
            ClientKeys::generate(&set(TOY), &seed()).map(|_| ()).unwrap_err().to_string(),
            Client::new(IntegerEncoding::CIRCUIT, &set(TOY), &seed()).map(|_| ()).unwrap_err().to_string(),
            Client::new(PackedEncoding::CIRCUIT, &set(PACKED_HEAD), &seed()).map(|_| ()).unwrap_err().to_string(),
        ] {
            assert!(error.starts_with(line), "{error}");
        }
        return;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "an_unknown_backend_is_an_error"]).env(CHILD, "1").env("TFHE_BACKEND", "abacus");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}
