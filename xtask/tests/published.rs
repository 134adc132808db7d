//! Published modules: read as recorded, answering as recorded, and damaged.
//!
//! They are fetched by name. Where that is impossible one line says so, unless the environment
//! asks for them: `AQUAMARINE_REQUIRE=published`.

#![cfg(feature = "marine")]
#![allow(
    clippy::panic,
    reason = "helpers of tests stand outside of test functions"
)]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use xtask::{
    conformance::{Kind, Report, read_published, rehearse_published, replay},
    mutate::{Arguments, mutate},
    packages::{has_npm, is_required},
};

#[test]
fn modules_are_read_as_recorded() {
    let report = read_published(&vectors("published-modules.json.gz"));
    check("published modules", report.unwrap());
}

#[test]
fn plans_do_what_instructions_do() {
    let report = rehearse_published(&vectors("published-modules.json.gz"));
    check("plans of published modules", report.unwrap());
}

#[test]
fn services_answer_as_recorded() {
    let report = replay(Kind::Marine, &[vectors("published-runs.json")]);
    check("published services", report.unwrap());
}

/// A few of each: `cargo xtask mutate` does thousands.
#[test]
fn damaged_modules_are_refused_or_read() {
    let arguments = Arguments {
        count: 30,
        compile_every: 0,
        seed: 2,
        filter: String::new(),
        modules: None,
    };
    let summary = mutate(&arguments, |_| ()).unwrap();
    say(&format!("damaged modules: {}", summary.text()));
    unreachable("damaged modules", &summary.missing);
    assert!(summary.failures.is_empty(), "{:#?}", summary.failures);
    assert!(summary.modules == 0 || summary.accepted > 0);
}

fn vectors(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors/marine")
        .join(file)
}

fn check(what: &str, report: Report) {
    say(&format!("{what}: {}", report.summary()));
    let reasons: Vec<String> = report
        .skipped
        .iter()
        .map(|(title, reason)| format!("{title}: {reason}"))
        .collect();
    unreachable(what, &reasons);
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
}

/// Says what could not be fetched, or fails for it.
fn unreachable(what: &str, reasons: &[String]) {
    // Modules that only npm has are no more than the client's presence asks for.
    let missing: Vec<_> = reasons
        .iter()
        .filter(|reason| has_npm() || !reason.starts_with("npm:"))
        .collect();
    if let Some(first) = reasons.first() {
        say(&format!(
            "skipped: {what}: {} not fetched, such as {first}",
            reasons.len()
        ));
    }
    assert!(
        missing.is_empty() || !is_required(),
        "AQUAMARINE_REQUIRE asks for published: {missing:#?}"
    );
}

/// Writes a line that is seen also when the test passes: only macros are captured.
fn say(line: &str) {
    // A closed standard error is no reason to fail.
    drop(writeln!(std::io::stderr(), "{line}"));
}
