//! Replays recorded behaviour: the copies in this repository always, the recordings that hold
//! scripts of others from `$AQUAMARINE_VECTORS` or `../shared/vectors` where that exists.

#![allow(
    clippy::panic,
    reason = "helpers of tests stand outside of test functions"
)]

use std::{
    env,
    io::Write as _,
    path::{Path, PathBuf},
};

use xtask::conformance::{Kind, Report, replay};

#[test]
fn particle_data() {
    committed(Kind::ParticleData, "particle-data");
}

#[test]
fn particle_wire() {
    committed(Kind::ParticleWire, "particle-wire");
}

#[test]
fn air() {
    committed(Kind::Air, "air");
}

#[test]
fn aquavm() {
    recorded(Kind::Aquavm, "aquavm");
}

#[test]
fn aquavm_bench() {
    recorded(Kind::Aquavm, "aquavm-bench");
}

#[test]
fn air_parser() {
    recorded(Kind::AirParser, "air-parser");
}

/// Replays a folder of this repository.
fn committed(kind: Kind, folder: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors")
        .join(folder);
    check(kind, folder, path);
}

/// Replays a folder of recordings, if there are any.
fn recorded(kind: Kind, folder: &str) {
    match recordings().map(|recordings| recordings.join(folder)) {
        Some(path) if path.is_dir() => check(kind, folder, path),
        _ => say(&format!(
            "conformance {folder}: skipped: no recordings here"
        )),
    }
}

fn check(kind: Kind, folder: &str, path: PathBuf) {
    let report = match replay(kind, &[path]) {
        Ok(report) => report,
        Err(error) => panic!("{folder}: {error}"),
    };
    say(&format!(
        "conformance {folder}: {} files, {}",
        report.files,
        report.summary()
    ));
    let Report {
        passed,
        failures,
        skipped,
        unknown,
        ..
    } = report;
    for (name, difference) in failures.iter().take(10) {
        say(&format!("FAILED {name}: {difference}"));
    }
    assert!(passed > 0, "{folder}: nothing was replayed");
    assert!(
        failures.is_empty() && skipped.is_empty(),
        "{folder}: not all records passed"
    );
    assert!(unknown.is_empty(), "{folder}: unknown files {unknown:?}");
}

/// The recordings that are no part of this repository.
fn recordings() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let path = env::var_os("AQUAMARINE_VECTORS").map_or(beside, PathBuf::from);
    path.is_dir().then_some(path)
}

/// Writes a line that is seen also when the test passes: only macros are captured.
fn say(line: &str) {
    // A closed standard error is no reason to fail.
    drop(writeln!(std::io::stderr(), "{line}"));
}
