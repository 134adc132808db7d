//! `particle-inspect` as a user runs it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use aquavm::{CallResult, CallResults, RunParameters, Script, step};
use particle::{KeyPair, Particle, frame};

/// A particle after its first call, of which the second one is left.
fn particle() -> Particle {
    let key = KeyPair::from_seed(&[1; 32]);
    let other = KeyPair::from_seed(&[2; 32]).peer_id();
    let script = format!(
        r#"(seq (call %init_peer_id% ("math" "add") [2 3] sum) (call "{other}" ("s" "<b>") [sum] x))"#
    );
    let mut particle = Particle::new(&key, "particle-1".to_owned(), 1, 7000, script);
    let parameters = RunParameters {
        init_peer_id: key.peer_id().to_string(),
        current_peer_id: key.peer_id().to_string(),
        timestamp: 1,
        ttl: 7000,
        particle_id: particle.id.clone(),
        key: key.into(),
        limits: Default::default(),
        compat: Default::default(),
        check_signatures: true,
        policy: Default::default(),
    };
    let script = Script::parse(&particle.script).unwrap();
    let first = step(&script, &[], &[], &parameters, &CallResults::new());
    let results = [(1, CallResult::ok("5"))].into();
    let second = step(&script, &first.data, &[], &parameters, &results);
    particle.data = second.data.into();
    particle
}

fn inspect(particle: &Particle, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("particle");
    fs::write(&file, frame::encode(particle)).unwrap();
    inspect_file(&file, arguments)
}

fn inspect_file(file: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_particle-inspect"))
        .arg(file)
        .args(arguments)
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_timeline_says_who_did_what() {
    let text = out(&inspect(&particle(), &[]));
    for line in [
        "P0 runs math.add, arguments bagaaihra",
        ": 5\n",
        "signed by P0",
        "P1 runs s.<b>, arguments bagaaihra",
        "not proven: who forwarded",
        "the script waits for other peers",
        "P0 signed 1 results",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[test]
fn the_page_escapes_what_it_shows() {
    let page = out(&inspect(&particle(), &["--html"]));
    assert!(page.starts_with("<!doctype html>"));
    assert!(page.contains("<li class=\"signed\">"));
    assert!(page.contains("s.&lt;b>") && !page.contains("s.<b>"));
}

#[test]
fn a_step_shows_what_names_stand_for() {
    let text = out(&inspect(&particle(), &["--step", "1"]));
    assert!(text.contains("sum = 5"), "{text}");
    assert!(!text.contains("s.<b>"), "{text}");
}

#[test]
fn what_proves_nothing_is_refused() {
    let mut other = particle();
    other.id = "particle-2".to_owned();
    let refused = inspect(&other, &[]);
    assert_eq!(refused.status.code(), Some(1));
    // Signed again, the data still belong to the first particle.
    let key = KeyPair::from_seed(&[1; 32]);
    let mut again = Particle::new(&key, other.id, 1, 7000, other.script);
    again.data = other.data;
    let refused = inspect(&again, &[]);
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("refused with code 9"), "{message}");
    let missing = inspect_file(Path::new("no-such-file"), &[]);
    assert_eq!(missing.status.code(), Some(2));
}
