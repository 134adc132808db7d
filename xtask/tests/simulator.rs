//! The survey of the `local-network` example in simulated networks of 200 peers.
#![cfg(feature = "peer")]

use xtask::sim::{compare, survey};

#[test]
fn twenty_seeds_give_the_same_answers() {
    let reference = survey(1, 200).unwrap();
    assert_eq!(reference.answers.len(), 200);
    for seed in 2..=20 {
        let other = survey(seed, 200).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        compare(&reference, &other).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    let again = survey(1, 200).unwrap();
    assert!(
        again.snapshot == reference.snapshot,
        "the same seed, the same bytes"
    );
}
