//! The committed modules have the interfaces of their sources.

#![cfg(feature = "marine")]

use xtask::guest::{Outcome, check, is_required, sizes};

#[test]
fn committed_modules_are_up_to_date() {
    match check(&[]).unwrap() {
        Outcome::Good => {}
        Outcome::Skipped => assert!(!is_required(), "AQUAMARINE_REQUIRE asks for guest"),
        other => panic!("{other:?}: run `cargo xtask guest`"),
    }
}

#[test]
fn the_smallest_module_is_small() {
    match sizes::print().unwrap() {
        Outcome::Good => {}
        Outcome::Skipped => assert!(!is_required(), "AQUAMARINE_REQUIRE asks for guest"),
        other => panic!("{other:?}: see `cargo xtask guest --sizes`"),
    }
}
