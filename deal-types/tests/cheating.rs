//! No attack on golden particles pays.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

#[allow(dead_code, reason = "the example has a main function")]
#[path = "../examples/cheating.rs"]
mod cheating;

#[test]
fn no_attack_pays() {
    for (name, attack) in cheating::ATTACKS {
        let (mean, error) =
            cheating::gain(attack, 60).unwrap_or_else(|error| panic!("{name}: {error}"));
        let allowed = cheating::allowance(attack) + 4.0 * error;
        assert!(
            mean <= allowed,
            "{name} gains {mean} where {allowed} is allowed"
        );
    }
}
