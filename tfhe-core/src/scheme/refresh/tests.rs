//! At toy sizes, where thousands of lanes take a second: noise from both sides, layouts, and what is refused.

mod levels;

use super::*;
use crate::automorphism::SeededAutomorphismKeys;
use crate::bootstrapping_key::SeededBootstrappingKey;
use crate::fft::NegacyclicFft;
use crate::glwe::GlweSecretKey;
use crate::glwe_keyswitch::SeededGlweKeyswitchKey;
use crate::noise::tests::assert_variance;
use crate::noise::{self, Distribution, RefreshNoise, RefreshParameters, Variance};
use crate::params::{Gadget, GlweDimension, Grouping, NoiseDistribution, Precision};
use crate::random::{SampleSeed, SecretSeed};
use crate::torus;

/// N' and N.
const LOOKUP: usize = 256;
const ARITHMETIC: usize = 512;
/// Keys over which noise is averaged: rounding errors meet a secret's bits, whose number varies from key to key.
const CLIENTS: u64 = 8;

const SMALL_NOISE: NoiseDistribution = NoiseDistribution::TUniform { bound_log: 40 };
const LOOKUP_NOISE: NoiseDistribution = NoiseDistribution::TUniform { bound_log: 20 };
const ARITHMETIC_NOISE: NoiseDistribution = NoiseDistribution::TUniform { bound_log: 4 };

fn shape(k: usize, n: usize) -> GlweShape {
    GlweShape { dimension: GlweDimension::new(k).unwrap(), polynomial_size: PolynomialSize::new(n).unwrap() }
}

fn gadgets() -> [Gadget; 4] {
    let gadget = |base_log, levels, precision| Gadget::new(base_log, levels, precision).unwrap();
    [
        gadget(3, 4, Precision::Single),
        gadget(10, 3, Precision::Single),
        gadget(6, 7, Precision::Split),
        gadget(9, 4, Precision::Single),
    ]
}

/// Of the rows of GGSW ciphertexts.
fn relinearization_gadget() -> Gadget {
    Gadget::new(8, 6, Precision::Split).unwrap()
}

/// One client's secrets, and the keys made of them.
struct Client {
    seed: SecretSeed,
    fft: NegacyclicFft,
    small: GlweSecretKey,
    lookup: GlweSecretKey,
    arithmetic: GlweSecretKey,
    keyswitch: GlweKeyswitchKey,
    bootstrapping: BootstrappingKey,
    automorphisms: AutomorphismKeys,
    lift: GlweKeyswitchKey,
    lift_gadget: Gadget,
}

impl Client {
    fn new(number: u64) -> Self {
        Self::with_lift(number, gadgets()[3])
    }

    fn with_lift(number: u64, lift_gadget: Gadget) -> Self {
        let seed = SecretSeed::from_number(number);
        let [small_fft, lookup_fft, fft] =
            [32, LOOKUP, ARITHMETIC].map(|n| NegacyclicFft::new(PolynomialSize::new(n).unwrap()));
        let secret = |stream, shape, fft| GlweSecretKey::generate(&mut seed.experiment_bits(stream), shape, fft);
        let small = secret(0, shape(4, 32), &small_fft);
        let lookup = secret(1, shape(1, LOOKUP), &lookup_fft);
        let arithmetic = secret(2, shape(1, ARITHMETIC), &fft);
        let cut = GlweSecretKey::from_lwe_key(&arithmetic.extracted_lwe_key(), shape(16, 32), &small_fft);
        let [keyswitch, bootstrapping, automorphisms, _] = gadgets();
        let streams = |stream| seed.experiment(stream);
        let keyswitch = SeededGlweKeyswitchKey::generate(&small_fft, &cut, &small, keyswitch, SMALL_NOISE, streams(0));
        let (from, noise) = (small.extracted_lwe_key(), LOOKUP_NOISE);
        let bootstrapping =
            SeededBootstrappingKey::generate(&lookup_fft, &from, &lookup, bootstrapping, noise, streams(1));
        let automorphisms =
            SeededAutomorphismKeys::generate(&lookup_fft, &lookup, 1..=8, automorphisms, noise, streams(2));
        let larger = lookup.in_larger_ring(&fft);
        let lift =
            SeededGlweKeyswitchKey::generate(&fft, &larger, &arithmetic, lift_gadget, ARITHMETIC_NOISE, streams(3));
        Self {
            keyswitch: keyswitch.prepare(&small_fft),
            bootstrapping: bootstrapping.prepare(&lookup_fft, lookup.shape()),
            automorphisms: automorphisms.prepare(&lookup_fft),
            lift: lift.prepare(&fft),
            lift_gadget,
            seed,
            fft,
            small,
            lookup,
            arithmetic,
        }
    }

    fn refresh(&self) -> Refresh<'_> {
        Refresh::new(&self.keyswitch, &self.bootstrapping, &self.automorphisms, &self.lift).unwrap()
    }

    /// Encrypts values, in turns, from the first coefficient on.
    fn encrypt(&self, values: &[f64], index: u64) -> GlweCiphertext {
        let mut plaintext: Vec<u64> = values.iter().map(|&value| torus::from_f64(value)).collect();
        plaintext.resize(ARITHMETIC, 0);
        let seed = &mut self.seed.experiment(10 + index);
        self.arithmetic.encrypt(&self.fft, &plaintext, ARITHMETIC_NOISE, seed).expand()
    }

    /// Each value in a ciphertext of its own. In one they would share what the key switch rounds: masks of neighbouring coefficients are
    /// shifts of each other, and meet key bits of mean one half.
    fn encrypt_each(&self, values: &[f64]) -> Vec<GlweCiphertext> {
        (0..).zip(values).map(|(index, &value)| self.encrypt(&[value], index)).collect()
    }

    fn phase(&self, ciphertext: &GlweCiphertext) -> Vec<u64> {
        self.arithmetic.phase(&self.fft, ciphertext)
    }

    /// For this CPU's transforms.
    fn parameters(&self) -> RefreshParameters {
        let [keyswitch, bootstrapping, automorphism, _] = gadgets().map(|gadget| gadget.on(self.fft.transforms()));
        RefreshParameters {
            keyswitch: Some(keyswitch),
            lookup_keyswitch: None,
            log_tables: 0,
            bootstrapping,
            grouping: Grouping::One,
            result_bits: 64,
            automorphism,
            lift: self.lift_gadget.on(self.fft.transforms()),
            small: (self.small.shape(), SMALL_NOISE),
            lookup: (self.lookup.shape(), LOOKUP_NOISE),
            arithmetic: (self.arithmetic.shape(), ARITHMETIC_NOISE),
        }
    }

    /// The prediction for this CPU's transforms.
    fn noise(&self) -> RefreshNoise {
        noise::refresh(&self.parameters())
    }

    /// The predicted error of a product with a GGSW ciphertext of such rows.
    fn product_distribution(&self, level: &noise::LevelNoise, gadget: Gadget, squares: f64) -> Distribution {
        let (shape, transforms) = (self.arithmetic.shape(), self.fft.transforms());
        let secret =
            noise::relinearization(relinearization_gadget().on(transforms), shape, ARITHMETIC_NOISE.variance());
        level.product(gadget.on(transforms), shape, secret, squares)
    }

    /// Its variance.
    fn product(&self, level: &noise::LevelNoise, gadget: Gadget, squares: f64) -> f64 {
        self.product_distribution(level, gadget, squares).variance().get()
    }
}

fn table(range: std::ops::RangeInclusive<f64>, function: impl Fn(f64) -> f64) -> FunctionTable {
    FunctionTable::new(shape(1, LOOKUP), range, function).unwrap()
}

/// Places without signs.
fn at(coefficients: &[usize]) -> Vec<Place> {
    coefficients.iter().map(|&coefficient| coefficient.into()).collect()
}

fn input() -> Distribution {
    Distribution::from(ARITHMETIC_NOISE.variance())
}

/// `count` values, uniform in [−limit, limit].
fn uniform(count: usize, limit: f64, number: u64) -> Vec<f64> {
    let mut samples = SampleSeed::from_number(number).stream(0);
    (0..count).map(|_| torus::to_f64(samples.uniform()) * 2.0 * limit).collect()
}

/// The mean is zero, within four standard errors.
fn assert_no_mean(what: &str, errors: &[f64]) {
    let (count, sum) = (errors.len() as f64, errors.iter().sum::<f64>());
    let square = errors.iter().map(|e| e * e).sum::<f64>();
    assert!(sum.abs() < 4.0 * square.sqrt(), "{what}: a mean of {:e} over {count}", sum / count);
}

/// Where tables are flat, the error is that of bootstrapping, packing and lift, at every number of places; elsewhere, that of packing
/// and lift.
#[test]
fn refreshed_values_have_the_predicted_noise_at_every_number_of_places() {
    let mut errors = Vec::new();
    let mut between = Vec::new();
    let (mut products, mut pairs) = (0.0, 0);
    let mut predicted = Variance::ZERO;
    for number in 0..CLIENTS {
        let client = Client::new(number);
        predicted = client.noise().fresh();
        let tables: Vec<FunctionTable> =
            (0..LOOKUP).map(|lane| table(-0.125..=0.125, move |_| (lane as f64 + 0.5) / 512.0 - 0.25)).collect();
        let ciphertext = &client.encrypt(&uniform(LOOKUP, 0.12, number), 0);
        for count in [1, 2, 3, 5, 8, 31, 64, 100, LOOKUP] {
            // As far apart as they can be.
            let spacing = ARITHMETIC / count.next_power_of_two();
            let lane = |i: usize| Lane {
                source: Source { ciphertext, coefficient: i },
                table: &tables[i],
                place: (i * spacing).into(),
            };
            let lanes: Vec<Lane<'_>> = (0..count).map(lane).collect();
            let phase = client.phase(&client.refresh().refresh(&[&lanes]).unwrap()[0]);
            let of_count: Vec<f64> = lanes
                .iter()
                .map(|lane| torus::to_f64(phase[lane.place.coefficient].wrapping_sub(lane.table.value(0.0))))
                .collect();
            products += of_count.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>();
            pairs += count - 1;
            errors.extend(of_count);
            let taken: BTreeSet<usize> = lanes.iter().map(|lane| lane.place.coefficient).collect();
            between.extend((0..ARITHMETIC).filter(|j| !taken.contains(j)).map(|j| torus::to_f64(phase[j])));
        }
    }
    // 3760 samples: one standard error of the variance is 2.3 %.
    assert_variance("refreshed", &errors, predicted, 0.09);
    assert_no_mean("refreshed", &errors);
    let correlation = products / (pairs as f64 * predicted.get());
    println!("correlation of neighbours {correlation:.4} ({pairs} pairs)");
    assert!(correlation.abs() < 4.0 / (pairs as f64).sqrt(), "correlation of neighbours {correlation}");
    let largest = between.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    assert!(largest < 8.0 * predicted.std(), "{largest} at a coefficient without a place");
}

/// Packing and lift by themselves, of ciphertexts that are not looked up first, at every number of places: many more samples, so a
/// narrower bound.
#[test]
fn packing_and_lift_have_the_predicted_noise() {
    let mut errors = Vec::new();
    let mut predicted = Variance::ZERO;
    for number in 0..4 * CLIENTS {
        let client = Client::new(number);
        let noise = client.noise();
        predicted = noise.packing + noise.lift;
        let key = client.lookup.extracted_lwe_key();
        let (mut masks, mut noises) = client.seed.experiment(9).into_streams();
        let counts_of_a_client = LOOKUP / (4 * CLIENTS as usize);
        for count in (1..=LOOKUP).skip(number as usize * counts_of_a_client).take(counts_of_a_client) {
            let values: Vec<LweCiphertext> =
                (0..count as u64).map(|i| key.encrypt(i << 55, LOOKUP_NOISE, &mut masks, &mut noises)).collect();
            let before: Vec<u64> = values.iter().map(|value| key.phase(value)).collect();
            // From an odd multiple of the step on, so that all of them are moved.
            let spacing = 2 * (LOOKUP / count.next_power_of_two());
            let places: Vec<Place> = (0..count).map(|i| ((2 + i * spacing) % ARITHMETIC).into()).collect();
            let phase = client.phase(&client.refresh().pack(values, &places).unwrap());
            errors.extend(
                places.iter().zip(&before).map(|(place, &x)| torus::to_f64(phase[place.coefficient].wrapping_sub(x))),
            );
        }
    }
    // 32,896 samples: one standard error of the variance is 0.8 %, and 32 keys vary by as much.
    assert_variance("packing and lift", &errors, predicted, 0.05);
    assert_no_mean("packing and lift", &errors);
}

/// Any set of places, in any order: the places have what was put there, all other coefficients nothing.
#[test]
fn values_are_packed_at_any_places() {
    let client = Client::new(2);
    let noise = client.noise();
    let deviation = (noise.packing + noise.lift + LOOKUP_NOISE.variance()).std();
    let key = client.lookup.extracted_lwe_key();
    let (mut masks, mut noises) = client.seed.experiment(9).into_streams();
    let mut samples = SampleSeed::from_number(3).stream(0);
    for count in [1, 2, 3, 5, 9, 20, 60, 150, 255].repeat(4) {
        let mut places: Vec<usize> = (0..LOOKUP).map(|i| 2 * i).collect();
        (0..count).for_each(|i| places.swap(i, i + (samples.uniform() % (LOOKUP - i) as u64) as usize));
        places.truncate(count);
        let plaintexts: Vec<u64> = places.iter().map(|_| samples.uniform()).collect();
        let encrypt = |&x: &u64| key.encrypt(x, LOOKUP_NOISE, &mut masks, &mut noises);
        let values: Vec<LweCiphertext> = plaintexts.iter().map(encrypt).collect();
        let mut expected = vec![0; ARITHMETIC];
        places.iter().zip(&plaintexts).for_each(|(&place, &x)| expected[place] = x);
        let phase = client.phase(&client.refresh().pack(values, &at(&places)).unwrap());
        for (j, (&x, &y)) in phase.iter().zip(&expected).enumerate() {
            let error = torus::to_f64(x.wrapping_sub(y));
            assert!(error.abs() < 8.0 * deviation, "{count} places, coefficient {j}: {error:e}");
        }
    }
}

/// A straight line has the argument's error, its slope times, besides.
#[test]
fn reading_an_argument_costs_its_error_times_the_slope() {
    for slope in [0.25, -1.0] {
        let mut errors = Vec::new();
        let mut predicted = Variance::ZERO;
        for number in 0..CLIENTS {
            let client = Client::new(number);
            let values = uniform(LOOKUP, 0.12, 100 + number);
            let line = table(-0.125..=0.125, |x| slope * x);
            assert!((line.slope(0.1) - slope).abs() < 1e-6 && line.guard() == 0.125);
            predicted = client.noise().value(&input(), slope).variance();
            let ciphertexts = client.encrypt_each(&values);
            let lane = |(i, ciphertext)| Lane {
                source: Source { ciphertext, coefficient: 0 },
                table: &line,
                place: Place::from(2 * i),
            };
            let lanes: Vec<Lane<'_>> = ciphertexts.iter().enumerate().map(lane).collect();
            let phase = client.phase(&client.refresh().refresh(&[&lanes]).unwrap()[0]);
            errors.extend(values.iter().enumerate().map(|(i, x)| torus::to_f64(phase[2 * i]) - slope * x));
        }
        // 2048 samples: one standard error of the variance is 3.1 %.
        assert_variance(&format!("a line of slope {slope}"), &errors, predicted, 0.125);
        assert_no_mean("a line", &errors);
    }
}

/// At the end of its range a value is read beyond the guard band as often as predicted: counted, from both sides.
#[test]
fn values_are_read_beyond_the_guard_band_as_often_as_predicted() {
    let clients: Vec<Client> = (0..CLIENTS).map(Client::new).collect();
    let deviation = clients[0].noise().argument(&input()).variance().std();
    for deviations in [0.5, 1.0, 2.0] {
        let guard = deviations * deviation;
        let end = 0.25 - guard;
        let eighth = table(-end..=end, |_| 0.125);
        assert!((eighth.guard() - guard).abs() < 1e-12);
        // Of both sides, of which one is near.
        let expected = (clients[0].noise().log2_misread(&input(), guard) - 1.0).exp2();
        let mut misread = 0.0;
        for client in &clients {
            let ciphertexts = client.encrypt_each(&[end; LOOKUP]);
            let sources: Vec<Source<'_>> =
                ciphertexts.iter().map(|ciphertext| Source { ciphertext, coefficient: 0 }).collect();
            let switched = client.refresh().keyswitch(&sources).unwrap();
            let values = client.refresh().look_up(&switched, &[&eighth; LOOKUP]).unwrap();
            let key = client.lookup.extracted_lwe_key();
            misread += values.iter().filter(|value| torus::to_f64(key.phase(value)) < 0.0).count() as f64;
        }
        let count = (CLIENTS as usize * LOOKUP) as f64;
        println!("a guard band of {deviations} σ: {misread} of {count} misread, predicted {:.1}", expected * count);
        let tolerance = 4.0 * (expected * (1.0 - expected) * count).sqrt();
        assert!(
            (misread - expected * count).abs() < tolerance,
            "{misread} misread, not {} ± {tolerance}",
            expected * count
        );
    }
}

/// Lanes of several ciphertexts, each with its own range and function, to places in any order; outputs beside each other.
#[test]
fn lanes_have_tables_and_places_of_their_own() {
    let client = Client::new(0);
    let inputs = [client.encrypt(&[0.4, -0.3, 0.07], 0), client.encrypt(&[0.9, 0.2], 1)];
    let around = |middle: f64| middle - 0.1..=middle + 0.1;
    let negacyclic = FunctionTable::negacyclic(shape(1, LOOKUP), |x| (std::f64::consts::TAU * x).sin() / 8.0).unwrap();
    let tables = [
        table(around(0.4), |x| x / 4.0),
        table(around(-0.3), |x| -x),
        table(around(0.0), f64::abs),
        // A turn below: arguments are angles.
        table(around(-0.1), |x| x),
        negacyclic,
    ];
    assert_eq!(tables[4].guard(), f64::INFINITY);
    let lane = |input: usize, coefficient, table: usize, place: usize| Lane {
        source: Source { ciphertext: &inputs[input], coefficient },
        table: &tables[table],
        place: place.into(),
    };
    let first = [lane(0, 0, 0, 510), lane(0, 1, 1, 0), lane(0, 2, 2, 2), lane(1, 0, 3, 6), lane(1, 1, 4, 256)];
    let second = [lane(0, 1, 4, 8)];
    let refreshed = client.refresh().refresh(&[&first, &[], &second]).unwrap();
    let sine = |x: f64| (std::f64::consts::TAU * x).sin() / 8.0;
    let check = |ciphertext: &GlweCiphertext, expected: &[(usize, f64)]| {
        for (place, &x) in client.phase(ciphertext).iter().enumerate() {
            let expected = expected.iter().find(|(at, _)| *at == place).map_or(0.0, |(_, value)| *value);
            let error = torus::to_f64(x.wrapping_sub(torus::from_f64(expected)));
            assert!(error.abs() < 0.03, "{place}: {error}");
        }
    };
    check(&refreshed[0], &[(510, 0.1), (0, 0.3), (2, 0.07), (6, -0.1), (256, sine(0.2))]);
    assert_eq!(refreshed[1], GlweCiphertext::zero(shape(1, ARITHMETIC)));
    check(&refreshed[2], &[(8, sine(-0.3))]);
}

/// More lanes than are looked up together give what each output gives by itself.
#[test]
fn many_outputs_are_treated_in_parts() {
    let client = Client::new(1);
    let ciphertext = &client.encrypt(&uniform(LOOKUP, 0.1, 5), 0);
    let line = table(-0.125..=0.125, |x| x / 2.0);
    let lane = |i| Lane { source: Source { ciphertext, coefficient: i }, table: &line, place: Place::from(2 * i) };
    let all: Vec<Lane<'_>> = (0..LOOKUP).map(lane).collect();
    let outputs: Vec<&[Lane<'_>]> = vec![&all, &all[..1], &all, &all, &all[..200], &all, &all[3..]];
    assert_eq!(
        (treated_together(&outputs), treated_together(&outputs[5..]), treated_together(&outputs[6..])),
        (5, 2, 1)
    );
    let together = client.refresh().refresh(&outputs).unwrap();
    assert_eq!(together.len(), outputs.len());
    for (output, refreshed) in [1, 5, 6].map(|i| (outputs[i], &together[i])) {
        assert_eq!(&client.refresh().refresh(&[output]).unwrap()[0], refreshed);
    }
}

/// Equal to the number that equally spaced places take by the formula, and never less than the levels.
#[test]
fn packing_counts_its_keyswitches() {
    let client = Client::new(0);
    let count = |places: &[usize]| client.refresh().packing_keyswitches(&at(places)).unwrap();
    assert_eq!((count(&[]), count(&[0]), count(&[338])), (0, 8, 8));
    for places in [2, 16, 256] {
        let equally: Vec<usize> = (0..places).map(|i| i * (ARITHMETIC / places)).collect();
        assert_eq!(count(&equally), places - 1 + 8 - places.ilog2() as usize);
    }
    // Neighbours meet in the last two levels only.
    assert_eq!(count(&[0, 2, 4, 6]), 4 * 6 + 2 + 1);
}

#[test]
fn what_does_not_fit_is_refused() {
    let client = Client::new(0);
    let refresh = client.refresh();
    let ciphertext = &client.encrypt(&[0.1], 0);
    let line = &table(-0.125..=0.125, |x| x);
    let lane = |coefficient, place: usize| Lane {
        source: Source { ciphertext, coefficient },
        table: line,
        place: place.into(),
    };
    let error = |lanes: &[Lane<'_>]| refresh.refresh(&[&[lane(0, 0)], lanes]).unwrap_err();
    assert_eq!(error(&[lane(512, 0)]), RefreshError::Coefficient { coefficient: 512, size: 512 });
    for place in [1, 512] {
        assert_eq!(error(&[lane(0, place)]), RefreshError::Place { place, step: 2, size: 512 });
    }
    assert_eq!(error(&[lane(0, 4), lane(1, 4)]), RefreshError::Taken { place: 4 });
    let other = GlweCiphertext::zero(shape(1, 256));
    let source = Source { ciphertext: &other, coefficient: 0 };
    assert_eq!(error(&[Lane { source, ..lane(0, 0) }]), RefreshError::Source { expected: 512, found: 256 });
    for (k, n, found) in [(1, 512, (256, 512)), (2, 256, (1, 2))] {
        let other = FunctionTable::new(shape(k, n), 0.0..=0.1, |x| x).unwrap();
        let refused = error(&[Lane { table: &other, ..lane(0, 0) }]);
        let RefreshError::Dimension { expected, found: given, .. } = refused else { panic!("{refused}") };
        assert_eq!((expected, given), found);
    }
    let argument = refresh.keyswitch(&[Source { ciphertext, coefficient: 0 }]).unwrap();
    assert!(matches!(refresh.look_up(&argument, &[]), Err(RefreshError::Count { arguments: 1, others: 0, .. })));
    let value = refresh.look_up(&argument, &[line]).unwrap();
    assert!(matches!(refresh.look_up(&value, &[line]), Err(RefreshError::Dimension { expected: 128, found: 256, .. })));
    assert!(matches!(
        refresh.pack(argument, &at(&[0])),
        Err(RefreshError::Dimension { expected: 256, found: 128, .. })
    ));
    assert!(matches!(refresh.pack(value, &[]), Err(RefreshError::Count { .. })));
}

#[test]
fn keys_of_other_rings_are_refused() {
    let client = Client::new(0);
    let Client { keyswitch, bootstrapping, automorphisms, lift, .. } = &client;
    let refused = |result: Result<Refresh<'_>, RefreshError>| assert!(matches!(result, Err(RefreshError::Keys(_))));
    refused(Refresh::new(lift, bootstrapping, automorphisms, lift));
    refused(Refresh::new(keyswitch, bootstrapping, automorphisms, keyswitch));
    let few = SeededAutomorphismKeys::generate(
        &NegacyclicFft::new(PolynomialSize::new(LOOKUP).unwrap()),
        &client.lookup,
        2..=8,
        gadgets()[2],
        LOOKUP_NOISE,
        client.seed.experiment(5),
    );
    let few = few.prepare(&NegacyclicFft::new(PolynomialSize::new(LOOKUP).unwrap()));
    refused(Refresh::new(keyswitch, bootstrapping, &few, lift));
}

#[test]
fn ranges_and_functions_that_no_table_has_are_refused() {
    let new = |low: f64, high: f64| FunctionTable::new(shape(1, LOOKUP), low..=high, |x| x);
    assert!(new(0.3, 0.3).is_ok() && new(-0.25, 0.25).is_ok());
    for (low, high) in [(0.1, 0.0), (-0.3, 0.3), (f64::NAN, 0.0), (f64::NEG_INFINITY, 0.0), (1e9, 1e9)] {
        assert!(matches!(new(low, high), Err(RefreshError::Range { .. })), "{low} to {high}");
    }
    let inverse =
        FunctionTable::new(shape(1, LOOKUP), -0.25..=0.25, |x| if x.abs() < 0.01 { f64::NAN } else { 1.0 / x });
    assert!(matches!(inverse, Err(RefreshError::Value { argument }) if argument.abs() < 0.01));
    let line = FunctionTable::negacyclic(shape(1, LOOKUP), |x| x);
    assert!(matches!(line, Err(RefreshError::NotNegacyclic { .. })));
}
