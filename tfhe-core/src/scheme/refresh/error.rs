//! What a refresh refuses.

/// Why a refresh is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RefreshError {
    /// The range of a table.
    #[error(
        "a table cannot read arguments from {low} to {high} turns: give a range of at most half a turn, within 2^20 \
         turns of zero"
    )]
    Range {
        /// Its lower end.
        low: f64,
        /// Its upper end.
        high: f64,
    },
    /// A value of a table.
    #[error("the function of a table has no finite value at {argument} turns, or an integer beyond 2^53")]
    Value {
        /// Where.
        argument: f64,
    },
    /// A number of tables for one bootstrapping.
    #[error("{count} tables cannot share a bootstrapping: give 1 to {most} of them")]
    Tables {
        /// How many.
        count: usize,
        /// N'/8.
        most: usize,
    },
    /// A function is said to be negacyclic, and is not.
    #[error("the function of a table is not f(x + 1/2) = -f(x) at {argument} turns: give it a range of half a turn")]
    NotNegacyclic {
        /// Where.
        argument: f64,
    },
    /// Keys of different rings.
    #[error("the keys of a refresh do not belong together: {0}")]
    Keys(&'static str),
    /// An argument under the lookup ring's key, from which there is no key switch.
    #[error(
        "there is no key switch from the lookup ring to the small key: give a refresh one, by with_lookup_keyswitch"
    )]
    NoLookupKeyswitch,
    /// An argument without parts.
    #[error("argument {index} has no part under any key")]
    NoPart {
        /// Which.
        index: usize,
    },
    /// A ciphertext that is not under the key that is switched from.
    #[error("a value is taken from a ciphertext of LWE dimension {found}, the key switch is from {expected}")]
    Source {
        /// kN of the key switch.
        expected: usize,
        /// kN of the ciphertext.
        found: usize,
    },
    /// A coefficient that a ciphertext does not have.
    #[error("there is no coefficient {coefficient} in a ciphertext of {size}")]
    Coefficient {
        /// Its index.
        coefficient: usize,
        /// N.
        size: usize,
    },
    /// An argument, a table or a value of another dimension than the keys.
    #[error("{what} of dimension {found} where the bootstrapping key has {expected}")]
    Dimension {
        /// Of what.
        what: &'static str,
        /// What the key has.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// A place that the lift does not reach.
    #[error("a value cannot be put at coefficient {place}: places are the multiples of {step} below {size}")]
    Place {
        /// The coefficient.
        place: usize,
        /// N/N'.
        step: usize,
        /// N.
        size: usize,
    },
    /// Two values at one place.
    #[error("two values of one ciphertext have the place {place}")]
    Taken {
        /// The coefficient.
        place: usize,
    },
    /// Two lists that are not equally long.
    #[error("{arguments} arguments for {others} {what}")]
    Count {
        /// The length of the first.
        arguments: usize,
        /// The length of the second.
        others: usize,
        /// What the second lists.
        what: &'static str,
    },
}
