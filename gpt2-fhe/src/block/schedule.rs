//! What a request has a server do, in order: lookups that can be done by others, and what it does itself between them.

use std::collections::BTreeMap;

use nn::table::SmoothTable;

/// What a server does itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnOperation {
    /// An argument of a lookup from a large key to the small one.
    KeySwitch,
    /// An automorphism that takes a request apart.
    Expansion,
    /// An automorphism of the lookup ring that packs results, with its share of the key switch to the arithmetic ring.
    Packing,
    /// A GGSW ciphertext of one looked-up integer.
    Multiplier,
    /// A polynomial of weights, transformed.
    Weights,
    /// Its product with a ciphertext.
    MapProduct,
    /// An external product outside of bootstrappings.
    ExternalProduct,
}

impl OwnOperation {
    /// All, in the order in which their times are given.
    pub const ALL: [Self; 7] = [
        Self::KeySwitch,
        Self::Expansion,
        Self::Packing,
        Self::Multiplier,
        Self::Weights,
        Self::MapProduct,
        Self::ExternalProduct,
    ];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::KeySwitch => "key switch",
            Self::Expansion => "expansion",
            Self::Packing => "packing",
            Self::Multiplier => "multiplier",
            Self::Weights => "weights",
            Self::MapProduct => "map product",
            Self::ExternalProduct => "external product",
        }
    }
}

/// One thing that is done, when what stands before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduled {
    /// By the server.
    Own {
        /// What.
        operation: OwnOperation,
        /// How often.
        count: usize,
        /// In how many parts that can be done at the same time.
        parts: usize,
    },
    /// Lookups that wait for nothing else.
    Lookups {
        /// Of which step.
        step: &'static str,
        /// The number of the set's bootstrapping gadget.
        gadget: usize,
        /// How many.
        lookups: usize,
        /// Blind rotations of each.
        rotations: usize,
        /// Key switches of the argument of each.
        switches: usize,
        /// How many different tables they have.
        tables: usize,
    },
}

/// Everything that a request has done, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule(pub Vec<Scheduled>);

impl Schedule {
    /// Notes what the server does.
    pub(super) fn own(&mut self, operation: OwnOperation, count: usize, parts: usize) {
        if count > 0 {
            self.0.push(Scheduled::Own { operation, count, parts: parts.max(1) });
        }
    }

    /// Blind rotations of all lookups.
    pub fn rotations(&self) -> usize {
        let rotations = |scheduled: &Scheduled| match *scheduled {
            Scheduled::Lookups { lookups, rotations, .. } => lookups * rotations,
            Scheduled::Own { .. } => 0,
        };
        self.0.iter().map(rotations).sum()
    }

    /// How often the server does something.
    pub fn count(&self, of: OwnOperation) -> usize {
        let count = |scheduled: &Scheduled| match *scheduled {
            Scheduled::Own { operation, count, .. } if operation == of => count,
            Scheduled::Lookups { lookups, switches, .. } if of == OwnOperation::KeySwitch => lookups * switches,
            _ => 0,
        };
        self.0.iter().map(count).sum()
    }
}

/// How many different tables there are.
pub(super) fn distinct(tables: &[&SmoothTable]) -> usize {
    // Many numbers have one table, at one place; what is at different places is compared.
    let places: BTreeMap<*const SmoothTable, &SmoothTable> =
        tables.iter().map(|&table| (std::ptr::from_ref(table), table)).collect();
    let mut found: Vec<&SmoothTable> = Vec::new();
    for table in places.into_values() {
        if !found.contains(&table) {
            found.push(table);
        }
    }
    found.len()
}
