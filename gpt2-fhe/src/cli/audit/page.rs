//! An audit as a page: one file, without scripts, that loads nothing.

use std::fmt::Write as _;

use gpt2_fhe::audit::{AuditClaim, AuditSection, ClaimVerdict, NoiseHistogram};

use super::report::Audit;
use crate::cli::page::{Page, escaped};

const STYLE: &str = "
.summary { font-size: 1.1rem; font-weight: 600 }
.claim { border-top: 1px solid var(--line); padding: .6rem 0 }
.claim p { margin: 0 }
.verdict { font-weight: 600; margin-right: .5rem; white-space: nowrap }
.holds { color: var(--good) } .broken { color: var(--bad) } .open { color: var(--open) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 .8rem; margin: .3rem 0; font-size: .9rem }
dd { margin: 0; font-variant-numeric: tabular-nums }
.body { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start }
.body dl { flex: 1 1 18rem }
svg { width: 20rem; max-width: 100%; height: auto; flex: 0 1 20rem }
svg rect { fill: var(--bar) } svg path { fill: none; stroke: var(--curve); stroke-width: 1.5 } svg line { stroke: var(--line) }
svg text { fill: var(--soft); font-size: 11px; text-anchor: middle }
@media (max-width: 36rem) { dl { grid-template-columns: 1fr } dt { margin-top: .2rem } }
";

/// Pixels of a picture.
const PICTURE: [f64; 2] = [320.0, 120.0];
/// Those below it, for numbers.
const AXIS: f64 = 16.0;

pub(super) fn page(audit: &Audit) -> String {
    let mut out = format!("<h1>Audit of gpt2-fhe {}</h1>\n", audit.version);
    let what = if audit.quick { "Quick audit" } else { "Audit" };
    let sets = escaped(&audit.sets.join(", "));
    let _ = writeln!(out, "<p class=\"summary\">{}</p>", escaped(&audit.summary()));
    let _ = writeln!(out, "<p class=\"soft\">{what} of the parameter sets {sets}. Transforms: {}.</p>", audit.backend);
    let broken: Vec<&AuditClaim> = audit.claims().filter(|claim| claim.verdict == ClaimVerdict::Broken).collect();
    if !broken.is_empty() {
        out += "<ul>\n";
        for claim in broken {
            let (id, sentence) = (escaped(&claim.id), escaped(&claim.sentence));
            let _ = writeln!(out, "<li class=\"broken\"><a href=\"#{id}\">{sentence}</a></li>");
        }
        out += "</ul>\n";
    }
    out += "<nav><ul>\n";
    for section in &audit.sections {
        let (id, title) = (section.id, escaped(section.title));
        let counts =
            [ClaimVerdict::Holds, ClaimVerdict::Broken, ClaimVerdict::NotChecked].map(|v| (section.count(v), v));
        let counts = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, verdict)| format!("{count} {}", in_words(*verdict)));
        let counts = counts.collect::<Vec<_>>().join(", ");
        let _ = writeln!(out, "<li><a href=\"#{id}\">{id}. {title}</a> <small>{counts}</small></li>");
    }
    out += "</ul></nav>\n";
    audit.sections.iter().for_each(|section| out += &of_section(section));
    Page { title: "Audit of gpt2-fhe", style: STYLE, body: &out, script: "" }.document()
}

fn of_section(section: &AuditSection) -> String {
    let mut out = format!("<section id=\"{0}\">\n<h2>{0}. {1}</h2>\n<ul>\n", section.id, escaped(section.title));
    for sentence in &section.explanation {
        let _ = writeln!(out, "<li>{}</li>", escaped(sentence));
    }
    out += "</ul>\n";
    section.claims.iter().for_each(|claim| out += &of_claim(claim));
    if !section.assumptions.is_empty() {
        out += "<p class=\"soft\">Not shown by this:</p>\n<ul class=\"soft\">\n";
        for sentence in &section.assumptions {
            let _ = writeln!(out, "<li>{}</li>", escaped(sentence));
        }
        out += "</ul>\n";
    }
    out + "</section>\n"
}

fn of_claim(claim: &AuditClaim) -> String {
    let class = match claim.verdict {
        ClaimVerdict::Holds => "holds",
        ClaimVerdict::Broken => "broken",
        ClaimVerdict::NotChecked => "open",
    };
    let (id, verdict, sentence) = (escaped(&claim.id), claim.verdict.name(), escaped(&claim.sentence));
    let mut out = format!(
        "<div class=\"claim\" id=\"{id}\">\n<p><span class=\"verdict {class}\">{verdict}</span>{sentence}</p>\n"
    );
    out += "<div class=\"body\"><dl>\n";
    for figure in &claim.figures {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escaped(&figure.name), escaped(&figure.text));
    }
    out += "</dl>\n";
    out += &claim.histogram.as_ref().map(picture).unwrap_or_default();
    out += "</div>\n";
    for note in &claim.notes {
        let _ = writeln!(out, "<p><small>{}</small></p>", escaped(note));
    }
    out + "</div>\n"
}

/// Of several claims.
fn in_words(verdict: ClaimVerdict) -> &'static str {
    match verdict {
        ClaimVerdict::Holds => "hold",
        ClaimVerdict::Broken => "do not hold",
        ClaimVerdict::NotChecked => "not checked",
    }
}

/// Bars of what was measured, and the curve that was predicted.
fn picture(histogram: &NoiseHistogram) -> String {
    let [width, height] = PICTURE;
    let bins = histogram.counts.len().max(1) as f64;
    let measured = histogram.counts.iter().map(|&count| count as f64);
    let most = measured.clone().chain(histogram.expected.iter().copied()).fold(1.0, f64::max);
    let (step, scale) = (width / bins, (height - 4.0) / most);
    let mut out = format!(
        "<svg viewBox=\"0 0 {width} {}\" role=\"img\" aria-label=\"measured errors as bars, the predicted distribution as a curve\">\n",
        height + AXIS
    );
    for (bin, count) in measured.enumerate() {
        let (x, bar) = (bin as f64 * step, count * scale);
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{bar:.1}\"/>",
            height - bar,
            step * 0.85
        );
    }
    let point = |(bin, expected): (usize, &f64)| {
        let start = if bin == 0 { 'M' } else { 'L' };
        format!("{start}{:.1} {:.1}", (bin as f64 + 0.425) * step, height - expected * scale)
    };
    let curve: Vec<String> = histogram.expected.iter().enumerate().map(point).collect();
    let _ = writeln!(
        out,
        "<path d=\"{}\"/>\n<line x1=\"0\" x2=\"{width}\" y1=\"{height}\" y2=\"{height}\"/>",
        curve.join(" ")
    );
    for deviation in [-3, -2, -1, 0, 1, 2, 3] {
        let x = (f64::from(deviation) - histogram.start) / histogram.width * step;
        let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{:.1}\">{deviation} σ</text>", height + AXIS - 3.0);
    }
    out + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_loads_nothing_and_names_what_does_not_hold() {
        let claim = AuditClaim::new("X.y", "a < b & c", ClaimVerdict::Broken).figure("n", 7.0, "7");
        let section =
            AuditSection { id: "X", title: "test", explanation: vec![], claims: vec![claim], assumptions: vec![] };
        let audit = Audit {
            r#type: "audit",
            version: "0",
            quick: true,
            sets: vec!["toy"],
            backend: "portable",
            holds: 0,
            does_not_hold: 1,
            not_checked: 0,
            sections: vec![section],
        };
        let page = page(&audit);
        assert!(!page.contains("http") && !page.contains("<script") && !page.contains("url("), "{page}");
        assert_eq!(page.matches("a &lt; b &amp; c").count(), 2, "{page}");
    }
}
