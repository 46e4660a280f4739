//! The command `audit`. That it can find something wrong is tested where its claims are made: what is shipped cannot be made to.

use super::*;

/// Of the toy set alone: seconds.
fn audit() -> Command {
    let mut command = program();
    command.args(["audit", "--quick", "--set", "toy", "--seed", "1"]);
    command
}

#[test]
fn an_audit_has_claims_with_verdicts_and_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.html");
    let audited = json(audit().arg("--html").arg(&path));
    assert_keys(
        &audited,
        &["type", "version", "quick", "backend", "holds", "does_not_hold", "not_checked", "sections"],
    );
    assert_eq!((audited["type"].as_str(), audited["does_not_hold"].as_u64()), (Some("audit"), Some(0)));
    let sections = audited["sections"].as_array().unwrap();
    let ids: Vec<&str> = sections.iter().map(|section| section["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["A", "B", "C", "D", "E", "F", "G"]);
    let claims: Vec<&Value> = sections.iter().flat_map(|section| section["claims"].as_array().unwrap()).collect();
    let count = |verdict: &str| claims.iter().filter(|claim| claim["verdict"] == verdict).count() as u64;
    assert_eq!(Some(count("holds")), audited["holds"].as_u64());
    assert_eq!(Some(count("not checked")), audited["not_checked"].as_u64());
    assert!(count("holds") > 30, "{}", count("holds"));
    let mut names: Vec<&str> = claims.iter().map(|claim| claim["id"].as_str().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), claims.len(), "every claim has a name of its own");

    let page = std::fs::read_to_string(&path).unwrap();
    assert!(names.iter().all(|name| page.contains(&format!("id=\"{name}\""))));
    assert!(page.contains("<svg") && page.contains("prefers-color-scheme") && !page.contains("<script"));
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("url("));
    assert_error(audit().arg("--html").arg(&path), "exists already");
}

#[test]
fn an_audit_as_text_ends_with_a_summary_and_a_seed_repeats_it() {
    let [one, two] = [(), ()].map(|()| success(&mut audit()));
    assert_eq!(one.lines().count(), two.lines().count());
    let noise =
        |text: &str| text.lines().filter(|line| line.contains("measured: 2^")).map(String::from).collect::<Vec<_>>();
    assert_eq!(noise(&one), noise(&two));
    let last = one.lines().last().unwrap();
    assert!(last.contains("claims hold") && last.contains(", 0 do not, "), "{last}");
    assert!(one.lines().all(|line| line.chars().count() <= 118), "{one}");
}

#[test]
fn sets_that_are_not_there_are_named() {
    let what = "there is no parameter set \"nothing\"; give --set one of toy, message_2_carry_2";
    assert_error(program().args(["audit", "--set", "nothing"]), what);
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("no").join("audit.html");
    assert_error(audit().arg("--html").arg(nowhere), "its folder is not there");
}

#[test]
fn the_help_explains_its_words() {
    assert!(success(program().arg("--help")).contains("\n  audit "));
    let help = success(program().args(["audit", "--help"]));
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    for word in ["noise: ", "parameter set: ", "claim: ", "bits: "] {
        assert!(help.contains(&format!("\n  {word}")), "{word}: {help}");
    }
}
