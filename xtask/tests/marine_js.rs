//! Modules of ours run in the published JS host.
//!
//! It is fetched with npm. Where that is impossible one line says so, unless the environment asks for published
//! packages and there is a client: `AQUAMARINE_REQUIRE=published`.

#![cfg(feature = "marine")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::Write as _;

use xtask::{
    guest,
    interop::marine_js::{Arguments, check, fetch},
    packages::{has_npm, is_required},
};

#[test]
fn our_modules_run_in_the_published_js_host() {
    if let Err(error) = fetch() {
        say(&format!("skipped: JS host: {error}"));
        assert!(
            !(has_npm() && is_required()),
            "AQUAMARINE_REQUIRE asks for published: {error}"
        );
        return;
    }
    let summary = check(&Arguments::new(6, 2)).unwrap();
    say(&format!("JS host: {}", summary.text()));
    assert!(summary.differences.is_empty(), "{:#?}", summary.differences);
    assert!(summary.same > 400, "{} calls", summary.same);
    // Where there is no compiler for guests, there is no interpreter either.
    assert!(summary.runs > 100 || !guest::is_required());
}

/// Writes a line that is seen also when the test passes: only macros are captured.
fn say(line: &str) {
    // A closed standard error is no reason to fail.
    drop(writeln!(std::io::stderr(), "{line}"));
}
