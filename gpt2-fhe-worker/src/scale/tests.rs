use std::sync::Arc;

use tfhe_core::blind_rotation::Wanted;
use tfhe_core::bootstrapping_key::{BootstrappingKey, SeededBootstrappingKey};
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::{GlweCiphertext, GlweSecretKey};
use tfhe_core::lwe::{LweCiphertext, LweSecretKey};
use tfhe_core::params::{Gadget, GlweShape, LweDimension, NoiseDistribution, Precision};
use tfhe_core::random::{EncryptionSeed, SecretStream};
use tfhe_core::torus::encode;

use super::*;
use crate::cutting::Cutting;
use crate::dispatcher::{Dispatcher, KeyFile};

const SECONDS: f64 = 0.004;

fn constant() -> Durations {
    Durations::constant(&[SECONDS])
}

fn sizes() -> MessageSizes {
    MessageSizes { batch: 100.0, input: 1_346.0, table: 16_384.0, answer: 100.0, output: vec![5_000.0] }
}

fn cluster(workers: usize) -> Cluster {
    Cluster {
        workers,
        server_cores: 4,
        own_lookups: false,
        bandwidth: f64::INFINITY,
        latency: 0.0,
        messages: MessageSeconds::default(),
        in_flight: 1 << 20,
        cutting: Cutting { least: 8, most: 8, rounds: 1 },
    }
}

/// Calls of which each has as many batches of 8.
fn calls() -> Vec<LookupCall> {
    let own = || vec![OwnWork { seconds: 0.3, parts: 10 }, OwnWork { seconds: 0.05, parts: 1 }];
    [4096, 8, 1024].map(|rotations| LookupCall { gadget: 0, rotations, tables: 12, own: own() }).to_vec()
}

/// Both, in seconds.
fn both(calls: &[LookupCall], sizes: &MessageSizes, durations: &Durations, cluster: &Cluster) -> [f64; 2] {
    let simulated = simulate((calls, None), sizes, durations, cluster, 1).unwrap();
    [ClosedForm::new(calls, sizes, durations, cluster).unwrap().seconds(), simulated.seconds]
}

fn assert_near(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-9 * a.abs().max(b.abs()), "{a} and {b}");
}

/// 10 parts on 4 cores take three turns, one part one.
const SERVER: f64 = 3.0 * (0.3 * 3.0 / 10.0 + 0.05);

#[test]
fn one_worker_takes_the_sum_of_all_rotations() {
    let [closed, simulated] = both(&calls(), &MessageSizes::none(1), &constant(), &cluster(1));
    assert_near(closed, SERVER + (4096 + 8 + 1024) as f64 * SECONDS);
    assert_near(simulated, closed);
}

#[test]
fn without_workers_the_server_computes() {
    let [closed, simulated] = both(&calls(), &sizes(), &constant(), &cluster(0));
    // 512, 1 and 128 batches on 4 cores.
    assert_near(closed, SERVER + f64::from(128 + 1 + 32) * 8.0 * SECONDS);
    assert_near(simulated, closed);
}

#[test]
fn of_many_workers_the_serial_rest_is_left() {
    let [closed, simulated] = both(&calls(), &MessageSizes::none(1), &constant(), &cluster(100_000));
    assert_near(closed, SERVER + 3.0 * 8.0 * SECONDS);
    assert_near(simulated, closed);
    let form = ClosedForm::new(&calls(), &MessageSizes::none(1), &constant(), &cluster(100_000)).unwrap();
    assert_eq!(form.binding(), Binding::Server);
    assert_near(form.chain, form.rotations);
    let slow =
        ClosedForm::new(&calls(), &MessageSizes::none(1), &Durations::constant(&[1.0]), &cluster(100_000)).unwrap();
    assert_eq!(slow.binding(), Binding::Chain);
    let few = ClosedForm::new(&calls(), &MessageSizes::none(1), &constant(), &cluster(4)).unwrap();
    assert_eq!(few.binding(), Binding::Rotations);
}

#[test]
fn a_narrow_way_carries_its_bytes() {
    let narrow = Cluster { bandwidth: 1e6, ..cluster(1000) };
    let (calls, sizes) = (calls(), sizes());
    let [closed, simulated] = both(&calls, &sizes, &constant(), &narrow);
    assert_near(simulated, closed);
    let form = ClosedForm::new(&calls, &sizes, &constant(), &narrow).unwrap();
    assert_eq!(form.binding(), Binding::Network);
    // Batches of 8 have 8 of the 12 polynomials.
    assert_near(form.bytes_out, 641.0 * (100.0 + 8.0 * (1346.0 + 16_384.0)));
    assert!(closed > form.bytes_out / 1e6 && closed < SERVER + form.bytes_out / 1e6 + 1.0, "{closed}");
}

#[test]
fn messages_are_written_and_read_by_the_servers_cores() {
    let calls = &calls()[..1];
    let of = |messages| Cluster { messages, ..cluster(1000) };
    let [before, _] = both(calls, &MessageSizes::none(1), &constant(), &of(MessageSeconds::default()));
    // A batch of 8 takes 8 ms to be written, of which the first is waited for, and four cores write 512.
    let slow_to_write = of(MessageSeconds { write: 0.001, read: 0.0 });
    let [closed, simulated] = both(calls, &MessageSizes::none(1), &constant(), &slow_to_write);
    assert_near(closed, before + 512.0 / 4.0 * 0.008);
    assert_near(simulated, closed);
    let form = ClosedForm::new(calls, &MessageSizes::none(1), &constant(), &slow_to_write).unwrap();
    assert_eq!(form.binding(), Binding::Network);
    // All results come together.
    let [closed, simulated] =
        both(calls, &MessageSizes::none(1), &constant(), &of(MessageSeconds { write: 0.0, read: 0.001 }));
    assert_near(closed, before + 512.0 / 4.0 * 0.008);
    assert_near(simulated, closed);
    // The same cores do both: results that are there are read before more is written.
    let [closed, simulated] =
        both(calls, &MessageSizes::none(1), &constant(), &of(MessageSeconds { write: 0.001, read: 0.001 }));
    assert_near(closed, SERVER / 3.0 + 512.0 / 4.0 * 0.016);
    assert!((1.0..1.05).contains(&(simulated / closed)), "{simulated} {closed}");
}

#[test]
fn a_message_takes_time() {
    let toy = crate::testing::Toy::new(1);
    let measured = MessageSeconds::measure(toy.sent.parameters(), *toy.sent.identity(), 23).unwrap();
    assert!([measured.write, measured.read].iter().all(|&seconds| seconds > 0.0 && seconds < 0.01), "{measured:?}");
}

#[test]
fn latency_is_waited_for_twice_in_each_call() {
    let far = Cluster { latency: 0.25, ..cluster(100_000) };
    let near = both(&calls(), &MessageSizes::none(1), &constant(), &cluster(100_000));
    let far = both(&calls(), &MessageSizes::none(1), &constant(), &far);
    near.iter().zip(far).for_each(|(near, far)| assert_near(near + 3.0 * 2.0 * 0.25, far));
}

#[test]
fn no_simulation_is_faster_than_any_bound() {
    let (calls, sizes) = (calls(), sizes());
    let rotations: usize = calls.iter().map(|call| call.rotations).sum();
    let mut compared = 0;
    for (workers, own_lookups, in_flight) in [(1, true, 1), (7, false, 2), (64, true, 2), (1000, false, 4)] {
        for (bandwidth, latency) in [(1e6, 0.0), (1e8, 0.01), (1e9, 0.0001)] {
            for (least, write, read) in [(1, 0.0, 0.0), (8, 1e-4, 2e-4), (64, 2e-3, 1e-3)] {
                let cutting = Cutting { least, most: 64, rounds: 2 };
                let messages = MessageSeconds { write, read };
                let cluster =
                    Cluster { own_lookups, bandwidth, latency, messages, in_flight, cutting, ..self::cluster(workers) };
                let simulated = simulate((&calls, None), &sizes, &constant(), &cluster, 1).unwrap();
                let computing = rotations as f64 * SECONDS / cluster.cores() as f64;
                let ways = [simulated.bytes_out, simulated.bytes_back].map(|bytes| bytes / bandwidth);
                for bound in [SERVER, computing, ways[0], ways[1]] {
                    assert!(simulated.seconds >= bound * (1.0 - 1e-9), "{cluster:?}: {} {bound}", simulated.seconds);
                }
                let closed = ClosedForm::new(&calls, &sizes, &constant(), &cluster).unwrap();
                // Of batches whose sizes differ, the closed form takes the mean.
                assert!(simulated.seconds >= 0.97 * closed.seconds(), "{cluster:?}: {simulated:?} {closed:?}");
                assert_near(simulated.computing, rotations as f64 * SECONDS);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 36);
}

#[test]
fn stragglers_are_waited_for() {
    let mut record = RunRecord::new(RecordHeader::here(16, 4, "drawn"));
    let batch = |seconds| BatchRecord {
        rotations: 8,
        seconds,
        turnaround: seconds + 0.002,
        bytes_out: 0,
        bytes_back: 0,
        by_server: false,
    };
    // One batch in a hundred takes ten times as long: the sum of all grows by a tenth.
    let batches = (0..1000).map(|i| batch(if i % 100 == 99 { 0.32 } else { 0.032 })).collect();
    let call = CallRecord { gadget: 0, rotations: 8 * 1000, tables: 1, own_seconds: 0.0, seconds: 1.0, batches };
    record.calls.push(call);
    assert_near(record.latency().unwrap(), 0.001);
    let durations = record.durations();
    assert_near(durations.mean(0).unwrap(), 0.004 * 1.09);
    let few = [LookupCall { gadget: 0, rotations: 8 * 1000, tables: 1, own: Vec::new() }];
    let [closed, simulated] = both(&few, &MessageSizes::none(1), &durations, &cluster(1000));
    assert_near(closed, 0.032 * 1.09);
    assert_near(simulated, 0.32);
    let seed = |seed| simulate((&few, None), &MessageSizes::none(1), &durations, &cluster(100), seed).unwrap();
    assert_eq!(seed(1), seed(1));
    assert_eq!(Durations::constant(&[]).mean(2), Err(NoDuration(2)));
}

#[test]
fn messages_have_the_bytes_of_their_formats() {
    let toy = crate::testing::Toy::new(1);
    let parameters = tfhe_core::sets::TOY.compile().unwrap();
    let dimension = parameters.small().lwe_dimension();
    let sizes = MessageSizes::of_formats(parameters.lookup().shape, dimension, &[crate::testing::BITS]);
    for count in [3, 40] {
        let mut batch = toy.batch(0, count);
        batch.lookups.iter_mut().for_each(|lookup| lookup.1 = 1);
        let result = crate::batch::BatchResult {
            id: batch.id,
            identity: batch.identity,
            worker: "0123456789abcdef".into(),
            seconds: 1.0,
            outcome: Ok(toy.results(&batch)),
        };
        let call = LookupCall { gadget: 0, rotations: count, tables: 3, own: Vec::new() };
        let [out, back] = [batch.encode().unwrap(), result.encode(batch.expected().as_ref()).unwrap()];
        for (name, bytes, expected) in
            [("batch", out, sizes.out(&call, count)), ("result", back, sizes.back(&call, count))]
        {
            assert!((bytes.len() as f64 - expected).abs() <= 24.0, "{name}: {} bytes, {expected}", bytes.len());
        }
    }
}

/// A bootstrapping key of toy sizes, insecure, and what it can turn.
struct Toy {
    key: BootstrappingKey,
    inputs: Vec<LweCiphertext>,
    polynomials: Vec<GlweCiphertext>,
}

impl Toy {
    fn new(count: usize) -> Self {
        let shape = GlweShape::new(1, 1024).unwrap();
        let fft = NegacyclicFft::new(shape.polynomial_size);
        let (gadget, noise) =
            (Gadget::new(10, 3, Precision::Single).unwrap(), NoiseDistribution::TUniform { bound_log: 17 });
        let mut secrets = SecretStream::from_system().unwrap();
        let big = GlweSecretKey::generate(&mut secrets, shape, &fft);
        let small = LweSecretKey::generate(&mut secrets, LweDimension::new(32).unwrap());
        let seed = EncryptionSeed::from_system().unwrap();
        let key = SeededBootstrappingKey::generate(&fft, &small, &big, gadget, noise, seed).prepare(&fft, shape);
        let (mut masks, mut noises) = EncryptionSeed::from_system().unwrap().into_streams();
        let mut input = |i: usize| small.encrypt(encode(i as i64 % 1024, 11), noise, &mut masks, &mut noises);
        let inputs = (0..count).map(&mut input).collect();
        let polynomial = |i: u64| GlweCiphertext::trivial(shape, &(0..1024).map(|j| i * j).collect::<Vec<u64>>());
        Self { key, inputs, polynomials: [polynomial(1), polynomial(2)].to_vec() }
    }
}

#[test]
fn a_recorded_run_has_the_same_bits_and_can_be_replayed() {
    let toy = Toy::new(203);
    let polynomials: Vec<&GlweCiphertext> = (0..203).map(|i| &toy.polynomials[i % 2]).collect();
    let bodies = vec![1; 203];
    let wanted = Wanted { bits: 64, bodies: &bodies };
    let mut expected = toy.key.blind_rotate(&toy.inputs, &polynomials);
    let identity = *crate::testing::Toy::new(1).sent.identity();
    let what = crate::batch::ExpectedResult { identity, shape: toy.key.shape(), bits: 64, bodies: bodies.clone() };
    what.trim(&mut expected);
    let dispatcher = Dispatcher::alone(2).unwrap();
    let session = dispatcher.begin([&toy.key, &toy.key], identity, &Arc::new(KeyFile::nowhere()));
    session.record("toy");
    for gadget in [0, 1, 0] {
        assert!(session.rotator(gadget).rotate(&toy.inputs, &polynomials, &wanted) == expected);
    }
    let mut record = session.take_record().unwrap();
    let gadgets: Vec<usize> = record.calls.iter().map(|call| call.gadget).collect();
    assert_eq!(gadgets, [0, 1, 0]);
    let sizes = Cutting::default().sizes(203, 2);
    for call in &record.calls {
        assert_eq!((call.rotations, call.tables), (203, 2));
        assert!(call.batches.iter().map(|batch| batch.rotations).eq(sizes.iter().copied()));
    }

    let folder = std::env::temp_dir().join(format!("gpt2-fhe-record-{}", std::process::id()));
    record.write(&folder).unwrap();
    assert_eq!(RunRecord::read(&folder).unwrap(), record);
    let changed = std::fs::read_to_string(&folder).unwrap().replace("\"rotations\":203", "\"rotations\":204");
    std::fs::write(&folder, changed).unwrap();
    let error = RunRecord::read(&folder).unwrap_err().to_string();
    assert!(error.contains("call 0 has 204 rotations"), "{error}");
    let huge = RunRecord { header: RecordHeader { workers: usize::MAX, ..record.header.clone() }, ..record.clone() };
    huge.write(&folder).unwrap();
    let error = RunRecord::read(&folder).unwrap_err().to_string();
    assert!(error.contains("cores of workers"), "{error}");
    std::fs::write(&folder, "{}").unwrap();
    assert!(RunRecord::read(&folder).unwrap_err().to_string().starts_with("not a record of lookups"));
    std::fs::remove_file(&folder).unwrap();

    // What a batch takes on this machine depends on who else uses it: from here on, as if every rotation had taken as long as any other.
    for call in &mut record.calls {
        assert!(call.seconds > 0.0 && call.batches.iter().all(|batch| batch.seconds > 0.0 && batch.by_server));
        call.batches.iter_mut().for_each(|batch| batch.seconds = batch.rotations as f64 * SECONDS);
        (call.own_seconds, call.seconds) = (0.5, 0.0);
    }
    // Of six batches two threads do three each.
    let replayed = record.replay(&record.cluster(), &MessageSizes::none(3), 1).unwrap();
    let longest = sizes[0] + sizes[2] + sizes[4];
    assert_near(replayed.seconds, 3.0 * (0.5 + longest as f64 * SECONDS));
    assert_eq!((replayed.batches, replayed.by_workers), (18, 0));
    let one = Cluster { server_cores: 1, ..record.cluster() };
    let slower = record.replay(&one, &MessageSizes::none(3), 1).unwrap();
    assert_near(slower.computing, replayed.computing);
    assert_near(slower.seconds, 3.0 * (0.5 + 203.0 * SECONDS));
}
