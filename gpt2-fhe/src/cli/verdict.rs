//! How commands end.

/// The exit code of a run with other numbers than the clear engine's, or farther from them than the noise explains.
pub(super) const MISMATCH: u8 = 2;
/// The exit code of an audit, or a lesson, with a claim that does not hold.
const BROKEN: u8 = 1;

/// How a command that ran to its end went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should.
    Right,
    /// So many of the decrypted integers are not the clear engine's.
    Mismatch(usize),
    /// So many claims of an audit, or of lessons, do not hold.
    Broken(usize),
}

impl Verdict {
    /// What is wrong, and the exit code that says so.
    pub(super) fn failure(self) -> Option<(String, u8)> {
        match self {
            Self::Right => None,
            Self::Mismatch(count) => {
                Some((format!("{count} decrypted numbers are not those of the clear engine"), MISMATCH))
            }
            Self::Broken(1) => Some(("1 claim does not hold".into(), BROKEN)),
            Self::Broken(count) => Some((format!("{count} claims do not hold"), BROKEN)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_code() {
        let code = |verdict: Verdict| verdict.failure().map(|(_, code)| code);
        assert_eq!([Verdict::Right, Verdict::Mismatch(3), Verdict::Broken(1)].map(code), [None, Some(2), Some(1)]);
        assert_eq!(Verdict::Broken(2).failure().unwrap().0, "2 claims do not hold");
    }
}
