//! The command `audit`: evidence for each claim about the cryptography.

mod circuits;
mod page;
mod report;
mod text;

use anyhow::{anyhow, bail};
use gpt2_fhe::audit::estimates::Estimates;
use gpt2_fhe::audit::{AuditError, ClaimVerdict};
use gpt2_fhe::audit::{failure, keys, messages, noise, randomness, secrets, transforms};
use gpt2_fhe::block;
use tfhe_core::key_graph::{KeyShape, Parameters};
use tfhe_core::params::PolynomialSize;
use tfhe_core::sets;
use tfhe_core::simd::Backend;

use super::arguments::{AuditArguments, no_randomness};
use super::files::{self, OutputFiles};
use super::output::{print, print_json};
use super::progress::Stages;
use super::verdict::Verdict;
use report::Audit;

/// Products that are compared with those by hand, of each size on each backend.
const PRODUCTS: [u64; 2] = [64, 16];

/// Checks every claim, and prints what became of it.
///
/// # Errors
/// What is wrong with the arguments; that the system has no randomness, or the file cannot be written.
pub(super) fn run(arguments: &AuditArguments) -> anyhow::Result<Verdict> {
    let sets = chosen(&arguments.set)?;
    let outputs = [("--html", arguments.html.as_deref())];
    let files = OutputFiles::create(&outputs, &[], arguments.replacing.force)?;
    let report = audit(arguments, &sets)?;
    let contents = arguments.html.iter().map(|_| files::bytes(page::page(&report).into_bytes())).collect();
    files
        .write(contents, || if arguments.reporting.json { print_json(&report) } else { print(&text::text(&report)) })?;
    Ok(match report.does_not_hold {
        0 => Verdict::Right,
        count => Verdict::Broken(count),
    })
}

/// The named sets, or all.
fn chosen(names: &[String]) -> anyhow::Result<Vec<Parameters>> {
    let mut all: Vec<Parameters> = Vec::new();
    if names.is_empty() {
        let compile = |literal: tfhe_core::key_graph::ParametersLiteral| Ok(literal.compile()?);
        return sets::ALL.into_iter().map(compile).collect();
    }
    for name in names {
        let Some(set) = sets::by_name(name) else {
            let known = sets::ALL.map(|literal| literal.name).join(", ");
            bail!("there is no parameter set {name:?}; give --set one of {known}");
        };
        if !all.contains(&set) {
            all.push(set);
        }
    }
    Ok(all)
}

fn audit(arguments: &AuditArguments, sets: &[Parameters]) -> anyhow::Result<Audit> {
    let quick = arguments.quick;
    let (seed, samples) = (arguments.resources.client_seed()?, arguments.resources.sample_seed()?);
    let stages = Stages::new("reading the recorded estimates");
    let begin = |label: &str| stages.begin(label);
    let told = |error: AuditError| match error {
        AuditError::Randomness(error) => no_randomness(error),
        error => anyhow!(error),
    };
    let mut sections = vec![keys::section(sets, &Estimates::recorded()?)];
    sections.push(noise::section(sets, quick, (&seed, &samples), &mut |label| begin(label)).map_err(told)?);
    begin("planning circuits");
    sections.push(failure::section(&circuits::planned(quick)?));
    begin("drawing random numbers");
    sections.push(randomness::section(sets, (&seed, &samples)).map_err(told)?);
    begin("printing secrets");
    let blocks = block::agreement::parameters();
    sections.push(secrets::section(&blocks).map_err(told)?);
    begin("comparing products");
    let products = PRODUCTS[usize::from(quick)];
    sections.push(transforms::section(&sizes(sets), products, &samples).map_err(told)?);
    begin("searching what is sent");
    sections.push(messages::section(&blocks, &block::keys::needs(), &samples).map_err(told)?);
    let count = |verdict| sections.iter().map(|section| section.count(verdict)).sum();
    Ok(Audit {
        r#type: "audit",
        version: env!("CARGO_PKG_VERSION"),
        quick,
        sets: sets.iter().map(Parameters::name).collect(),
        backend: Backend::selected()?.name(),
        holds: count(ClaimVerdict::Holds),
        does_not_hold: count(ClaimVerdict::Broken),
        not_checked: count(ClaimVerdict::NotChecked),
        sections,
    })
}

/// The sizes of the sets' rings.
fn sizes(sets: &[Parameters]) -> Vec<PolynomialSize> {
    let of_key = |shape: KeyShape| match shape {
        KeyShape::Lwe(_) => None,
        KeyShape::Glwe(shape) => Some(shape.polynomial_size),
    };
    let mut sizes: Vec<_> = sets.iter().flat_map(Parameters::keys).filter_map(|key| of_key(key.shape())).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}
