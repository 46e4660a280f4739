//! A blind rotation, CMUX by CMUX, with what the owner of the key sees of each: what the lessons on it and on lookups show.

use tfhe_core::bootstrapping_key::BootstrappingKey;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::modulus_switch::{ModulusSwitchedLwe, modulus_switch};
use tfhe_core::noise;
use tfhe_core::params::{Grouping, LweDimension};
use tfhe_core::polynomial::rotate;
use tfhe_core::programmable_bootstrap::table_polynomial;
use tfhe_core::torus::{encode, to_f64};

use super::toys::Toy;

/// Bits of a message, with which the table is read: 4 of them on half a turn.
pub(super) const MESSAGE_BITS: u32 = 3;
/// The table.
pub(super) const TABLE: [i64; 4] = [1, 3, 0, 2];

/// A state of the accumulator.
pub(super) struct Turned {
    /// What it is: a ciphertext.
    pub(super) accumulator: GlweCiphertext,
    /// By how many steps it has been turned since the table.
    pub(super) steps: usize,
    /// Its phase.
    pub(super) phase: Vec<u64>,
    /// The polynomial that it encrypts: that of the table, turned.
    pub(super) exact: Vec<u64>,
    /// The standard deviation that its noise should have.
    pub(super) predicted: f64,
}

impl Turned {
    fn new(toy: &Toy, accumulator: GlweCiphertext, steps: usize, cmuxes: usize) -> anyhow::Result<Self> {
        let mut exact = vec![0; toy.size()];
        rotate(&table(toy), steps, &mut exact);
        let phase = toy.phase(&accumulator);
        let predicted = match cmuxes {
            0 => 0.0,
            count => {
                let gadget = toy.gadget().on(toy.fft().transforms());
                noise::blind_rotation(gadget, Grouping::One, toy.shape(), LweDimension::new(count)?, toy.fresh()).std()
            }
        };
        Ok(Self { accumulator, steps, phase, exact, predicted })
    }

    /// The largest noise of all coefficients.
    pub(super) fn largest_noise(&self) -> f64 {
        let errors = self.phase.iter().zip(&self.exact).map(|(&x, &y)| to_f64(x.wrapping_sub(y)));
        errors.fold(0.0, |most: f64, x| if x.abs() > most.abs() { x } else { most })
    }

    /// The noise of the first coefficient.
    pub(super) fn noise(&self) -> f64 {
        to_f64(self.phase[0].wrapping_sub(self.exact[0]))
    }
}

/// The polynomial of the table.
pub(super) fn table(toy: &Toy) -> Vec<u64> {
    table_polynomial(toy.shape().polynomial_size, &TABLE.map(|value| encode(value, MESSAGE_BITS)))
}

/// All states of a blind rotation.
pub(super) struct Rotation {
    /// The input, in steps of which a turn has 2N.
    pub(super) switched: ModulusSwitchedLwe,
    /// After the first turn, and after each CMUX.
    pub(super) states: Vec<Turned>,
    /// What the program has that does all of it at once.
    pub(super) at_once: GlweCiphertext,
}

impl Rotation {
    /// Of the table, by an encrypted phase.
    ///
    /// # Errors
    /// None that is known.
    pub(super) fn new(toy: &Toy, input: &LweCiphertext) -> anyhow::Result<Self> {
        let rows = toy.ggsw_rows()?;
        let key = BootstrappingKey::from_raw(toy.fft(), toy.shape(), toy.gadget(), &rows)?;
        let start = GlweCiphertext::trivial(toy.shape(), &table(toy));
        let at_once = key.blind_rotate(std::slice::from_ref(input), &[&start]).swap_remove(0);
        let switched = modulus_switch(input, toy.shape().polynomial_size);
        let turn = 2 * toy.size();
        let mut steps = turn - switched.body();
        let rotated = |input: &GlweCiphertext, steps: usize| input.map_polynomials(|x, y| rotate(x, steps, y));
        let mut accumulator = rotated(&start, steps);
        let mut states = vec![Turned::new(toy, accumulator.clone(), steps % turn, 0)?];
        for (i, rows) in rows.iter().enumerate() {
            let by = switched.mask()[i];
            let ggsw = toy.ggsw(rows)?;
            accumulator = match by {
                // Between a ciphertext and itself there is nothing to choose.
                0 => accumulator,
                by => ggsw.cmux(toy.fft(), &accumulator, &rotated(&accumulator, by), &mut ggsw.scratch(toy.fft())),
            };
            steps += by * toy.small_bits()[i] as usize;
            states.push(Turned::new(toy, accumulator.clone(), steps % turn, i + 1)?);
        }
        Ok(Self { switched, states, at_once })
    }

    /// The last state.
    pub(super) fn end(&self) -> &Turned {
        self.states.last().expect("there is a first state")
    }

    /// By how many of 2N steps back the polynomial was turned: the rounded phase.
    pub(super) fn rounded_phase(&self, size: usize) -> usize {
        (2 * size - self.end().steps) % (2 * size)
    }
}
