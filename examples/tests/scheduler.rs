//! A spell by the clock, as a user runs it: with the module that is part of this repository.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use std::process::Command;

#[test]
fn it_needs_no_other_modules() {
    let output = Command::new(env!("CARGO_BIN_EXE_scheduler"))
        .args(["--period", "1", "--firings", "3"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[0].starts_with("peer /ip4/127.0.0.1/tcp/"), "{text}");
    assert!(lines[1].starts_with("spell "), "{text}");
    assert!(lines[2].starts_with("firing 1 at "), "{text}");
    assert!(!lines[2].contains("after the last"), "{text}");
    // What it remembers of the firing before comes from its own store.
    for (line, number) in lines[3..].iter().zip(2..) {
        assert!(line.starts_with(&format!("firing {number} at ")), "{text}");
        assert!(line.ends_with(" s after the last"), "{text}");
    }
}
