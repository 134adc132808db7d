//! Replays what fuzzing found: the inputs that together reach most of the code, and those that broke
//! a promise once.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

#[allow(unreachable_pub, reason = "the interface of a package elsewhere")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::sync::{Mutex, PoisonError};

use xtask::fuzz::{Target, committed};

#[test]
fn script() {
    replay(Target::Script, targets::script);
}

#[test]
fn envelope() {
    replay(Target::Envelope, targets::envelope);
}

#[test]
fn archive() {
    replay(Target::Archive, targets::archive);
}

#[test]
fn call_results() {
    replay(Target::CallResults, targets::call_results);
}

#[test]
fn step() {
    replay(Target::Step, targets::step);
}

#[test]
fn section() {
    replay(Target::Section, targets::section);
}

#[test]
fn adapter() {
    replay(Target::Adapter, targets::adapter);
}

#[test]
fn wasi() {
    replay(Target::Wasi, targets::wasi);
}

#[test]
fn json() {
    replay(Target::Json, targets::json);
}

#[test]
fn frame() {
    replay(Target::Frame, targets::frame);
}

#[test]
fn identify() {
    replay(Target::Identify, targets::identify);
}

#[test]
fn builtins() {
    replay(Target::Builtins, targets::builtins);
}

fn replay(target: Target, check: fn(&[u8])) {
    // The memory that is counted is that of the process: one test at a time, with the reading of its
    // inputs. One that failed says so itself; the others go on.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);

    let inputs = committed(target).unwrap();
    assert!(inputs.len() > 10, "only {} inputs", inputs.len());
    for (name, input) in inputs {
        let outcome = std::panic::catch_unwind(|| check(&input));
        assert!(outcome.is_ok(), "{name} breaks a promise");
    }
}
