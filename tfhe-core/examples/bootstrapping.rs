//! Chapter 5 of the book: a table is read at an encrypted index, and leaves fresh noise.
//!
//! ```text
//! cargo run --release -p tfhe-core --example bootstrapping
//! ```

use std::error::Error;

use tfhe_core::derivation::ClientSeed;
use tfhe_core::fingerprint::Fields;
use tfhe_core::key_graph::{Node, ParametersLiteral};
use tfhe_core::keys::{ClientKeys, Needs};
use tfhe_core::modulus_switch::modulus_switch;
use tfhe_core::programmable_bootstrap::{half_slot, table_accumulator};
use tfhe_core::torus::{decode, encode, to_f64};
use tfhe_core::{noise, sets};
use zeroize::Zeroizing;

fn main() -> Result<(), Box<dyn Error>> {
    read_table(sets::TOY, 2)?;
    read_table(sets::MESSAGE_2_CARRY_2, 4)
}

/// Squares modulo 2^p of all p-bit numbers, each read from a table at an encrypted index.
fn read_table(set: ParametersLiteral, p: u32) -> Result<(), Box<dyn Error>> {
    // The client has the secret, and gives the server keys that say nothing of it.
    let parameters = set.compile()?;
    let client = ClientKeys::generate(&parameters, &ClientSeed::from_system()?)?;
    let needs = Needs::default().keyswitch(Node::Lookup).bootstrapping(0);
    let server = client.evaluation_keys(&needs)?.prepare()?;
    let ring = parameters.lookup();
    println!("{}: n = {}, N = {}", parameters.name(), parameters.small().lwe_dimension().get(), ring.size().get());

    // Coefficient m of one ciphertext holds m, at m/2^(p+1) plus half a slot.
    let mut plaintext = Zeroizing::new(vec![0; ring.size().get()]);
    for (m, x) in (0..1 << p).zip(plaintext.iter_mut()) {
        *x = encode(m, p + 1).wrapping_add(half_slot(p));
    }
    let encoding = Fields::new("all indices of a table, a coefficient each").fingerprint();
    let request = client.encrypt(&[plaintext], &encoding, 64)?;

    // The server takes the coefficients out, switches them to the small key, and reads the table.
    let packed = request.open(&server, &encoding, 1)?[0].expand();
    let indices: Vec<_> = (0..1 << p).map(|m| packed.sample_extract(m)).collect();
    let small = server.keyswitch(Node::Lookup)?.keyswitch(&indices);
    let square = |m: i64| m * m % (1 << p);
    let values: Vec<u64> = (0..1 << p).map(|m| encode(square(m), p + 1)).collect();
    let table = table_accumulator(ring.shape, &values);
    let bootstrapping = server.bootstrapping_key(0)?;
    let results = bootstrapping.programmable_bootstrap(&small, &vec![&table; values.len()]);

    // By how many coefficients the table was turned is what this is the encryption of.
    if parameters.name() == sets::TOY.name {
        let switched = modulus_switch(&small[2], ring.size());
        println!(
            "index 2, in {}ths of a turn: body {}, mask {:?}",
            2 * ring.size().get(),
            switched.body(),
            switched.mask()
        );
    }
    let (gadget, n) = (bootstrapping.gadget(), bootstrapping.lwe_dimension());
    let fresh = noise::blind_rotation(gadget, bootstrapping.grouping(), ring.shape, n, ring.noise.variance());
    let mut largest = 0.0_f64;
    for (m, (result, &value)) in results.iter().zip(&values).enumerate() {
        let phase = client.phase_of_sample(Node::Lookup, result);
        print!("{m}->{} ", decode(phase, p + 1));
        assert_eq!(decode(phase, p + 1), square(m as i64));
        largest = largest.max(to_f64(phase.wrapping_sub(value)).abs());
    }
    println!(
        "\nlog2 of the noise: at most {:.1}, predicted standard deviation {:.2}\n",
        largest.log2(),
        fresh.log2_std()
    );
    assert!(largest < 8.0 * fresh.std());
    Ok(())
}
