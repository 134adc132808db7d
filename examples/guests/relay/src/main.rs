//! Calls the module `echo`, and computes on its own: what benchmarks measure.

use marine_sdk::{marine, module_manifest};

module_manifest!();

/// A place with a name.
#[marine]
#[derive(Clone)]
pub struct Place {
    pub name: String,
    pub latitude: f64,
    pub longitude: f64,
}

/// A record in a record, and lists in both.
#[marine]
#[derive(Clone)]
pub struct Trip {
    pub id: u64,
    pub title: String,
    pub start: Place,
    pub stops: Vec<Place>,
    pub tags: Vec<String>,
    pub done: bool,
}

#[marine]
#[module_import("echo")]
extern "C" {
    /// The text.
    #[link_name = "string_echo"]
    fn echoed_text(value: String) -> String;
    /// The numbers.
    #[link_name = "u64s_echo"]
    fn echoed_numbers(value: &Vec<u64>) -> Vec<u64>;
}

/// The record.
#[marine]
pub fn trip(value: Trip) -> Trip {
    value
}

/// The records.
#[marine]
pub fn trips(value: Vec<Trip>) -> Vec<Trip> {
    value
}

/// The text, by way of the other module.
#[marine]
pub fn far_text(value: String) -> String {
    echoed_text(value)
}

/// The numbers, by way of the other module.
#[marine]
pub fn far_numbers(value: Vec<u64>) -> Vec<u64> {
    echoed_numbers(&value)
}

/// Sorts and mixes numbers: nothing but Wasm.
#[marine]
pub fn work(rounds: u32) -> u64 {
    let mut numbers: Vec<u64> = (0..512).collect();
    let mut state = 1u64;
    for _ in 0..rounds {
        for number in &mut numbers {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *number ^= state >> 17;
        }
        numbers.sort_unstable();
    }
    numbers.iter().fold(0, |sum, number| sum ^ number)
}

fn main() {}
