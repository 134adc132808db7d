//! The survey of the `local-network` example in simulated networks of 200 peers.
#![cfg(feature = "peer")]

use xtask::sim::surveys;

#[test]
fn twenty_seeds_give_the_same_answers() {
    let first = surveys(1..21, 200).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(first.answers.len(), 200);
}
