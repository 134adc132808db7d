//! Replays recorded behaviour: the copies in this repository always, the recordings that hold
//! scripts of others from `$AQUAMARINE_VECTORS` or `../shared/vectors` where that exists.

#![allow(
    clippy::panic,
    reason = "helpers of tests stand outside of test functions"
)]

use std::{
    collections::BTreeSet,
    env,
    fs::File,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
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

/// Without the published modules, which are fetched: `cargo xtask conformance marine` has them.
#[cfg(feature = "marine")]
#[test]
fn marine() {
    for file in [
        "call-parameters-lowering.json",
        "json-conversion.json",
        "loader.json",
    ] {
        committed(Kind::Marine, &format!("marine/{file}"));
    }
}

#[test]
fn ccp_and_deals() {
    let report = replayed(Kind::Ccp, "ccp-and-deals", committed_path("ccp-and-deals"));
    assert!(
        report.failures.is_empty() && report.skipped.is_empty(),
        "not all records passed"
    );
}

/// All published hashes, by the portable verifier in a wasm32 build.
#[cfg(feature = "marine")]
#[test]
fn ccp_hashes_in_wasm() {
    let path = committed_path("ccp-and-deals").join("randomx.json");
    let report = replayed(Kind::CcpWasm, "ccp-and-deals, wasm32", path);
    assert!(report.failures.is_empty(), "not all records passed");
    if !report.skipped.is_empty() {
        assert!(
            !xtask::guest::is_required(),
            "AQUAMARINE_REQUIRE asks for guest"
        );
    }
}

#[test]
fn aquavm_own() {
    committed(Kind::Aquavm, "aquavm-own");
}

/// Each code that the published interpreter can end a run with. The others need a broken
/// interpreter or script checker; 20010 a trace without its contents, at which it traps.
#[test]
fn aquavm_own_has_every_code() {
    const CODES: [i64; 34] = [
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10_000, 10_001, 10_002, 10_003, 10_005, 10_006, 10_007,
        10_008, 10_009, 10_010, 10_011, 10_012, 20_000, 20_004, 20_005, 20_006, 20_007, 20_012,
        20_013, 20_014, 20_016, 20_017, 30_000,
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/aquavm-own");
    let (mut codes, mut scenarios) = (BTreeSet::new(), BTreeSet::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "gz") {
            continue;
        }
        let mut text = String::new();
        GzDecoder::new(File::open(path).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        for line in text.lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            codes.insert(record["outcome"]["ret_code"].as_i64().unwrap());
            scenarios.insert(record["test"].as_str().unwrap().to_owned());
        }
    }
    let missing: Vec<_> = CODES.iter().filter(|code| !codes.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(scenarios.len() >= 500, "{}", scenarios.len());
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

#[test]
fn aqua_compiled() {
    recorded(Kind::AquaCompiled, "aqua-compiled");
}

/// Replays a folder of this repository.
fn committed(kind: Kind, folder: &str) {
    check(kind, folder, committed_path(folder));
}

fn committed_path(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors")
        .join(folder)
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
    let report = replayed(kind, folder, path);
    assert!(
        report.failures.is_empty() && report.skipped.is_empty(),
        "{folder}: not all records passed"
    );
}

/// Replays a folder, says how it went, and makes sure that there was something.
fn replayed(kind: Kind, folder: &str, path: PathBuf) -> Report {
    let report = match replay(kind, &[path]) {
        Ok(report) => report,
        Err(error) => panic!("{folder}: {error}"),
    };
    say(&format!(
        "conformance {folder}: {} files, {}",
        report.files,
        report.summary()
    ));
    for (name, difference) in report.failures.iter().take(10) {
        say(&format!("FAILED {name}: {difference}"));
    }
    assert!(report.passed > 0, "{folder}: nothing was replayed");
    assert!(
        report.unknown.is_empty(),
        "{folder}: unknown files {:?}",
        report.unknown
    );
    report
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
