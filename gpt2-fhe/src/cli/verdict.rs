//! How commands end.

/// How a command that ran to its end went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should.
    Right,
    /// So many of the decrypted integers are not the clear engine's.
    Mismatch(usize),
}
