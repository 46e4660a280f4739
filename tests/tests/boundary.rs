//! What servers and clients are given that they cannot use: each is refused with an error that says what is wrong, before
//! anything is computed, and nothing panics.

use gpt2_fhe::boundary::{EncryptError, Refused};
use gpt2_fhe::client::Client;
use gpt2_fhe::engine::encrypted::EncryptedInput;
use gpt2_fhe::engine::plan::{Multiply, Predictor};
use gpt2_fhe::engine::{EngineError, Observer, Unobserved};
use gpt2_fhe::packed::client::PackedHeadClient;
use gpt2_fhe::packed::evaluator::PreparedAttention;
use gpt2_fhe::packed::keys::needs;
use gpt2_fhe::packed::layout::{Layout, Sizes};
use gpt2_fhe::packed::server::PackedServer;
use gpt2_fhe::packed::wire::{PackedInput, PackedOutput, WireScales};
use gpt2_fhe::server::{EncryptedOutput, Server};
use integration_tests::layer::Layer;
use nn::attention::Part;
use nn::integer::{IntegerAttention, IntegerOptions};
use nn::matrix::Matrix;
use nn::packed::{PackedAttention, PackedOptions, Span};
use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::{Edge, Node, Parameters, ParametersLiteral};
use tfhe_core::keys::{Answer, ClientKeys, EvaluationKeys, Mismatch, MissingKey, Needs};
use tfhe_core::params::Precision;
use tfhe_core::sets::{HEAD_EXACT, HEAD_EXACT_WIDE, PACKED_HEAD, TOY};

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

fn refused<T: std::fmt::Debug>(result: Result<T, EngineError>) -> Refused {
    match result.unwrap_err() {
        EngineError::Refused(refused) => refused,
        other => panic!("{other}"),
    }
}

const BITS: u32 = 2;

/// A head of two channels on two tokens.
fn exact_head() -> (IntegerAttention, Matrix<i32>) {
    let layer = Layer::synthetic(2, 2);
    let options = IntegerOptions::new(BITS);
    let head = IntegerAttention::calibrate(&layer.weights, Part::Head(0), &layer.calibration, &options).unwrap();
    let input = head.client().quantize_input(&layer.unseen).unwrap();
    (head, input)
}

#[test]
fn the_exact_server_refuses_keys_that_it_cannot_use() {
    let (head, _) = exact_head();
    let (program, small) = (head.program(), Needs::default().keyswitch(Node::Lookup));
    let refused = |literal, needs: &Needs| {
        let keys = keys(literal, needs);
        Server::new(program, &keys, Multiply::Lut).map(|_| ()).unwrap_err()
    };
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
    let gadgets: &[_] = &[(Node::Lookup, (8, 3, Precision::Single)); 3];
    let small_ring = ParametersLiteral { bootstraps: gadgets, ..TOY };
    assert_eq!(refused(small_ring, &Needs::everything(&set(small_ring))), Refused::SmallRing("toy"));
    let bare = ParametersLiteral { relinearizations: &[], ..TOY };
    assert!(matches!(refused(bare, &Needs::default()), Refused::Set(_)));
    let of_products = Server::new(program, &keys(TOY, &Needs::everything(&set(TOY))), Multiply::Product).map(|_| ());
    assert_eq!(of_products.unwrap_err(), missing(Edge::Bootstrapping { gadget: 2 }));
}

/// With few bits fewer operands are looked up than with many: sums and differences of factors of ten bits have eleven.
#[test]
fn the_exact_server_refuses_programs_of_tables_that_cannot_be_read() {
    let layer = Layer::synthetic(2, 2);
    let keys = keys(HEAD_EXACT, &Predictor::needs(Multiply::Lut, 2, true));
    let head = |bits| {
        let options = IntegerOptions::new(bits);
        IntegerAttention::calibrate(&layer.weights, Part::Head(0), &layer.calibration, &options).unwrap()
    };
    let widest = |head: &IntegerAttention| head.program().factors().map(|(_, factor)| factor.operand_bits);
    let narrow = head(BITS);
    assert!(Server::new(narrow.program(), &keys, Multiply::Lut).is_ok());
    let wide = (3..=16).map(head).find(|head| widest(head).into_iter().any(|bits| bits > 10)).expect("wide factors");
    let bits = widest(&wide).into_iter().max().unwrap();
    let refused = Server::new(wide.program(), &keys, Multiply::Lut).map(|_| ()).unwrap_err();
    assert_eq!(refused, Refused::TooWide { bits, limit: 10 });
}

/// Of the server's side: numbers of tokens, sizes, scales, keys of others, of other sets, and of other circuits.
#[test]
fn the_exact_server_refuses_requests_that_are_not_its_own() {
    let (head, input) = exact_head();
    let (program, bits) = (head.program(), head.program().accumulator_bits());
    let client = Client::new(&set(HEAD_EXACT), &seed()).unwrap();
    let keys = client.evaluation_keys(Multiply::Lut, BITS, false).unwrap().prepare().unwrap();
    let server = Server::new(program, &keys, Multiply::Lut).unwrap();
    let evaluate = |input: &EncryptedInput| refused(server.evaluate(input, &mut Idle));
    let encrypt = |client: &Client, input: &Matrix<i32>, bits| client.encrypt(input, bits).unwrap();
    let request = encrypt(&client, &input, bits);
    let count = |tokens| evaluate(&EncryptedInput { tokens, ..request.clone() });
    let most = program.max_tokens();
    for tokens in [0, most + 1, usize::MAX] {
        assert_eq!(count(tokens), Refused::Tokens { tokens, most });
    }
    let context = Refused::Message(Mismatch::Context("request"));
    assert_eq!(count(1), context);
    assert_eq!(evaluate(&encrypt(&client, &input, bits + 1)), context);
    assert_eq!(evaluate(&encrypt(&client, &Matrix::from_fn(2, 7, |_, _| 0), bits)), context);
    let keys_of_another = Refused::Message(Mismatch::Keys("request"));
    for seed in [ClientSeed::from_number(2), ClientSeed::from_system().unwrap(), seed().bound_to("layer", 1)] {
        let other = Client::new(&set(HEAD_EXACT), &seed).unwrap();
        assert_eq!(evaluate(&encrypt(&other, &input, bits)), keys_of_another);
    }
    let other = Client::new(&set(HEAD_EXACT_WIDE), &seed()).unwrap();
    assert_eq!(evaluate(&encrypt(&other, &input, bits)), Refused::Message(Mismatch::Set("request")));

    // What the server answers is what the client expects, and only that.
    let (output, _) = server.evaluate(&request, &mut Unobserved).unwrap();
    let (label, size) = (request.request.label(), (2, program.output_size()));
    let clear = program.evaluate_clear(&mut nn::clear::ClearEngine::new(), &input);
    assert_eq!(client.decrypt(&output, label, size).unwrap(), clear);
    the_exact_client_refuses(&client, &output, label, size);
    let again = encrypt(&client, &Matrix::from_fn(2, input.cols(), |_, _| 1), bits);
    let to_another = client.decrypt(&output, again.request.label(), size).unwrap_err();
    assert_eq!(to_another, Refused::Message(Mismatch::Request));
    let other = Client::new(&set(HEAD_EXACT), &ClientSeed::from_number(2)).unwrap();
    assert_eq!(other.decrypt(&output, label, size).unwrap_err(), Refused::Message(Mismatch::Keys("answer")));
}

fn the_exact_client_refuses(
    client: &Client,
    output: &EncryptedOutput,
    label: &tfhe_core::keys::Label,
    size: (usize, usize),
) {
    let decrypt = |output: EncryptedOutput| client.decrypt(&output, label, size).unwrap_err();
    let size_refused = |refused| matches!(refused, Refused::Size { what: "answer", .. });
    assert!(size_refused(decrypt(EncryptedOutput { rows: usize::MAX, ..output.clone() })));
    assert!(size_refused(decrypt(EncryptedOutput { columns: 0, ..output.clone() })));
    for bits in [0, 63, u32::MAX] {
        assert_eq!(decrypt(EncryptedOutput { bits, ..output.clone() }), Refused::Scale(bits));
    }
    let answer = Answer::new(label, Vec::new());
    let none = Refused::Message(Mismatch::Count { what: "answer", expected: 1, actual: 0 });
    assert_eq!(decrypt(EncryptedOutput { answer, ..output.clone() }), none);
}

#[test]
fn the_exact_client_encrypts_at_scales_of_the_torus() {
    let client = Client::new(&set(TOY), &seed()).unwrap();
    for bits in [0, 63, u32::MAX] {
        let refused = client.encrypt(&Matrix::from_fn(1, 3, |_, _| 1), bits).unwrap_err();
        assert_eq!(refused, EncryptError::Refused(Refused::Scale(bits)));
    }
    assert!(client.evaluation_keys(Multiply::Lut, BITS, false).is_err(), "the toy set has one gadget");
}

/// One head of the packed circuit.
struct Packed {
    attention: PackedAttention,
    prepared: PreparedAttention,
    input: Matrix<i32>,
    layout: Layout,
    scales: WireScales,
    client: PackedHeadClient,
}

impl Packed {
    fn new() -> Self {
        let (layer, parameters) = (Layer::synthetic(32, 4), set(PACKED_HEAD));
        let attention = layer.quantize(Part::Head(0), &PackedOptions::new(5));
        let program = attention.program();
        Self {
            prepared: PreparedAttention::new(program, &parameters).unwrap(),
            input: attention.client().quantize_input(&layer.unseen).unwrap(),
            layout: layout(&parameters, SIZES, Span::all(4)),
            scales: WireScales::new(&parameters, program).unwrap(),
            client: PackedHeadClient::new(&parameters, &seed()).unwrap(),
            attention,
        }
    }

    fn request(&self) -> PackedInput {
        self.client.encrypt(&self.input, &self.layout, &self.scales).unwrap()
    }
}

const SIZES: Sizes = Sizes { embedding: 96, head: 32, output: 32, heads: 1 };

fn layout(parameters: &Parameters, sizes: Sizes, span: Span) -> Layout {
    Layout::new(parameters, sizes, span).unwrap()
}

#[test]
fn the_packed_server_refuses_keys_and_layouts_that_it_cannot_use() {
    let packed = Packed::new();
    let (request, parameters) = (packed.request(), set(PACKED_HEAD));
    let evaluate = |keys: &EvaluationKeys, layout: &Layout| {
        refused(PackedServer::new(&packed.prepared, keys).evaluate(&request, layout, &mut Idle))
    };
    let few = keys(PACKED_HEAD, &Needs::default().keyswitch(Node::Arithmetic).keyswitch(Node::Lookup));
    let lift = Edge::Lift { from: Node::Lookup, to: Node::Arithmetic };
    assert_eq!(evaluate(&few, &packed.layout), Refused::Keys(MissingKey::Edge(lift)));
    // Of a larger head: automorphisms that keep a larger subring.
    let large = keys(PACKED_HEAD, &needs(&layout(&parameters, Sizes { head: 64, ..SIZES }, Span::all(4))));
    let edge = Edge::Automorphisms { ring: Node::Arithmetic, gadget: 0 };
    let fewer = MissingKey::Automorphisms { edge, made: 6, asked: 5 };
    assert_eq!(evaluate(&large, &packed.layout), Refused::Keys(fewer));
    assert_eq!(evaluate(&keys(TOY, &Needs::default()), &packed.layout), Refused::Prepared("toy"));
    // A layout for the rings of another set than that of the keys and the attention.
    let one_ring = layout(&set(HEAD_EXACT), SIZES, Span::all(4));
    assert_eq!(evaluate(&few, &one_ring), Refused::OtherRings("packed_head"));
    for sizes in [Sizes { head: 16, ..SIZES }, Sizes { heads: 2, ..SIZES }, Sizes { embedding: 97, ..SIZES }] {
        assert_eq!(evaluate(&large, &layout(&parameters, sizes, Span::all(4))), Refused::Layout);
    }
    let most = packed.attention.program().max_tokens();
    let long = layout(&parameters, SIZES, Span::new(most, most + 1));
    assert_eq!(evaluate(&large, &long), Refused::Tokens { tokens: most + 1, most });
}

#[test]
fn the_packed_server_refuses_requests_that_are_not_its_own() {
    let packed = Packed::new();
    let parameters = set(PACKED_HEAD);
    let keys = packed.client.evaluation_keys(&packed.layout).unwrap().prepare().unwrap();
    let server = PackedServer::new(&packed.prepared, &keys);
    let evaluate = |request: &PackedInput| refused(server.evaluate(request, &packed.layout, &mut Idle));
    let context = Refused::Message(Mismatch::Context("request"));
    let encrypt = |layout: &Layout, scales: &WireScales| packed.client.encrypt(&packed.input, layout, scales).unwrap();
    let last = layout(&parameters, SIZES, Span::new(3, 4));
    assert_eq!(evaluate(&encrypt(&last, &packed.scales)), context);
    let scales = WireScales { log_input: packed.scales.log_input - 1, ..packed.scales };
    assert_eq!(evaluate(&encrypt(&packed.layout, &scales)), context);
    let scales = WireScales { output_turns: 0.001, ..packed.scales };
    assert_eq!(evaluate(&encrypt(&packed.layout, &scales)), context);
    for other in [ClientSeed::from_number(2), ClientSeed::from_system().unwrap()] {
        let client = PackedHeadClient::new(&parameters, &other).unwrap();
        let request = client.encrypt(&packed.input, &packed.layout, &packed.scales).unwrap();
        assert_eq!(evaluate(&request), Refused::Message(Mismatch::Keys("request")));
    }
    let finer = &[(Node::Lookup, (23, 1, Precision::Single)), (Node::Lookup, (14, 2, Precision::Single))];
    let finer = PackedHeadClient::new(&set(ParametersLiteral { bootstraps: finer, ..PACKED_HEAD }), &seed()).unwrap();
    let request = finer.encrypt(&packed.input, &packed.layout, &packed.scales).unwrap();
    assert_eq!(evaluate(&request), Refused::Message(Mismatch::Set("request")));
}

#[test]
fn the_packed_client_refuses_what_does_not_fit() {
    let packed = Packed::new();
    let parameters = set(PACKED_HEAD);
    let encrypt = |input: &Matrix<i32>, layout: &Layout, scales: &WireScales| match packed
        .client
        .encrypt(input, layout, scales)
        .unwrap_err()
    {
        EncryptError::Refused(refused) => refused,
        other => panic!("{other}"),
    };
    let small = Matrix::from_fn(3, 96, |_, _| 1);
    let size = Refused::Size { what: "input", rows: 3, columns: 96, expected_rows: 4, expected_columns: 96 };
    assert_eq!(encrypt(&small, &packed.layout, &packed.scales), size);
    let scales = WireScales { log_input: 0, ..packed.scales };
    assert_eq!(encrypt(&packed.input, &packed.layout, &scales), Refused::Scale(0));
    let one_ring = layout(&set(HEAD_EXACT), SIZES, Span::all(4));
    assert_eq!(encrypt(&packed.input, &one_ring, &packed.scales), Refused::OtherRings("packed_head"));

    let (request, attention) = (packed.request(), packed.attention.client());
    let label = request.request.label();
    let decrypt = |answer: Answer, layout: &Layout| {
        packed.client.decrypt(&PackedOutput { answer }, layout, &packed.scales, attention, label).unwrap_err()
    };
    let none = || Answer::new(label, Vec::new());
    let count = Mismatch::Count { what: "answer", expected: 1, actual: 0 };
    assert_eq!(decrypt(none(), &packed.layout), Refused::Message(count));
    assert_eq!(decrypt(none(), &one_ring), Refused::OtherRings("packed_head"));
    let wider = layout(&parameters, Sizes { output: 33, ..SIZES }, Span::all(4));
    assert_eq!(decrypt(none(), &wider), Refused::Layout);
    let mut changed = packed.input.clone();
    changed[(0, 0)] += 1;
    let other = packed.client.encrypt(&changed, &packed.layout, &packed.scales).unwrap();
    let answer = Answer::new(other.request.label(), Vec::new());
    assert_eq!(decrypt(answer, &packed.layout), Refused::Message(Mismatch::Request));
}

/// A set of the other circuit, or one that lacks an edge, is an error wherever the circuit takes an edge of it.
#[test]
fn sets_without_what_a_circuit_needs_are_refused() {
    let packed = Packed::new();
    let program = packed.attention.program();
    let bare = set(ParametersLiteral { external_products: &[], ..PACKED_HEAD });
    assert!(PreparedAttention::new(program, &bare).is_err() && WireScales::new(&bare, program).is_err());
    let exact = set(HEAD_EXACT);
    assert!(PackedHeadClient::new(&exact, &seed()).unwrap().evaluation_keys(&packed.layout).is_err());
    let prediction = gpt2_fhe::packed::prediction::Prediction::new(&exact, program, &packed.layout);
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
            Client::new(&set(TOY), &seed()).map(|_| ()).unwrap_err().to_string(),
            PackedHeadClient::new(&set(PACKED_HEAD), &seed()).map(|_| ()).unwrap_err().to_string(),
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
