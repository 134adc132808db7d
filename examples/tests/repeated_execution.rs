//! The example `repeated-execution`: a majority proves its result, and liars are named.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::process::{Command, Output};

use serde_json::Value;

fn run(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_repeated-execution"))
        .args(arguments.split(' '))
        .output()
        .unwrap()
}

fn verdict(arguments: &str) -> Value {
    let output = run(arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    serde_json::from_str(&stdout).unwrap()
}

fn counts(verdict: &Value) -> [usize; 3] {
    ["result", "liars", "silent"].map(|part| verdict[part].as_array().unwrap().len())
}

#[test]
fn a_liar_is_caught() {
    let honest = verdict("--json --workers 3 --liars 0 --silent 0 --patience 20000");
    assert_eq!(counts(&honest), [1, 0, 0]);
    let caught = verdict("--json --workers 5 --liars 1 --silent 1 --patience 5000");
    assert_eq!(counts(&caught), [1, 1, 1]);
    // What is true does not depend on who lies.
    assert_eq!(caught["result"], honest["result"]);
    assert_ne!(caught["liars"], caught["silent"]);
    assert!(!caught["proof"].as_array().unwrap().is_empty());
}

#[test]
fn without_a_majority_nothing_is_proven() {
    let undecided = verdict("--json --workers 4 --liars 2 --silent 0 --patience 20000");
    assert_eq!(counts(&undecided), [0, 0, 0]);
    let few = run("--workers 4 --needed 2");
    assert_eq!(few.status.code(), Some(1));
    let stderr = String::from_utf8(few.stderr).unwrap();
    assert!(stderr.contains("2 of 4 peers are no majority"), "{stderr}");
    let many = run("--workers 2 --liars 2 --silent 1");
    assert_eq!(many.status.code(), Some(2));
}
