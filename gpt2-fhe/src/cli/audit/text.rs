//! An audit as text.

use std::fmt::Write as _;

use gpt2_fhe::audit::{AuditClaim, AuditSection, ClaimVerdict, NoiseHistogram};

use super::report::Audit;
use crate::cli::text::wrapped;

/// Characters of the verdict and its space.
const MARGIN: usize = 16;
/// Heights of the bars of a picture.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(super) fn text(audit: &Audit) -> String {
    let mut out = String::new();
    for section in &audit.sections {
        let _ = write!(out, "{}", of_section(section));
    }
    let what = if audit.quick { "quick audit" } else { "audit" };
    let _ = write!(out, "{what} of {}, transforms: {}\n{}", audit.sets.join(", "), audit.backend, audit.summary());
    out
}

fn of_section(section: &AuditSection) -> String {
    let mut out = format!("{}. {}\n\n", section.id, section.title);
    for sentence in &section.explanation {
        out += &wrapped(sentence, 2, 4);
    }
    out += "\n";
    for claim in &section.claims {
        out += &of_claim(claim);
    }
    if !section.assumptions.is_empty() {
        out += "\n  not shown by this:\n";
        for sentence in &section.assumptions {
            out += &wrapped(&format!("- {sentence}"), 2, 4);
        }
    }
    out + "\n"
}

fn of_claim(claim: &AuditClaim) -> String {
    let verdict = match claim.verdict {
        ClaimVerdict::Broken => "DOES NOT HOLD",
        other => other.name(),
    };
    let mut out = wrapped(&format!("{verdict:<width$}{}", claim.sentence, width = MARGIN - 2), 2, MARGIN);
    let figures: Vec<String> = claim.figures.iter().map(|figure| format!("{}: {}", figure.name, figure.text)).collect();
    if !figures.is_empty() {
        out += &wrapped(&figures.join("; "), MARGIN + 2, MARGIN + 2);
    }
    if let Some(histogram) = &claim.histogram {
        let _ = writeln!(out, "{:indent$}{}", "", sparkline(histogram), indent = MARGIN + 2);
    }
    for note in &claim.notes {
        out += &wrapped(note, MARGIN + 2, MARGIN + 2);
    }
    out
}

/// A character for each bin.
fn sparkline(histogram: &NoiseHistogram) -> String {
    let most = histogram.counts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |&count: &u64| match count {
        0 => ' ',
        count => BARS[((count * 8).div_ceil(most) as usize).clamp(1, 8) - 1],
    };
    histogram.counts.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_does_not_hold_stands_out() {
        let claim = AuditClaim::new("X.y", "a sentence", ClaimVerdict::Broken).figure("n", 7.0, "7").note("a remark");
        let (margin, first) = (" ".repeat(MARGIN + 2), "  DOES NOT HOLD a sentence\n");
        assert_eq!(of_claim(&claim), format!("{first}{margin}n: 7\n{margin}a remark\n"));
    }
}
