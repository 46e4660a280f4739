//! All that an audit says.

use gpt2_fhe::audit::{AuditClaim, AuditSection};
use serde::Serialize;

/// The JSON object.
#[derive(Serialize)]
pub(super) struct Audit {
    pub(super) r#type: &'static str,
    pub(super) version: &'static str,
    /// Whether it was a quick one.
    pub(super) quick: bool,
    pub(super) sets: Vec<&'static str>,
    /// The transforms that noise was measured with.
    pub(super) backend: &'static str,
    pub(super) holds: usize,
    pub(super) does_not_hold: usize,
    pub(super) not_checked: usize,
    pub(super) sections: Vec<AuditSection>,
}

impl Audit {
    /// "41 claims hold, 0 do not, 3 are not checked here".
    pub(super) fn summary(&self) -> String {
        let Self { holds, does_not_hold, not_checked, .. } = self;
        let loose = self.claims().filter(|claim| claim.notes.iter().any(|note| note.starts_with("loose"))).count();
        let loose = if loose > 0 { format!(" ({loose} with a loose prediction)") } else { String::new() };
        format!("{holds} claims hold{loose}, {does_not_hold} do not, {not_checked} are not checked here")
    }

    /// All of them, section by section.
    pub(super) fn claims(&self) -> impl Iterator<Item = &AuditClaim> {
        self.sections.iter().flat_map(|section| &section.claims)
    }
}
