//! Counts the visits of peers. The counts themselves are in the module `counter`: the two make one service.

use marine_sdk::{get_call_parameters, marine, module_manifest};

module_manifest!();

/// What the module `counter` returns.
#[marine]
pub struct Count {
    pub name: String,
    pub count: u64,
}

#[marine]
#[module_import("counter")]
extern "C" {
    /// Adds to a count and returns it.
    fn add(name: String, amount: u64) -> Count;
}

/// Counts a visit of the peer that calls.
#[marine]
pub fn visit() -> Count {
    add(get_call_parameters().particle.init_peer_id, 1)
}

fn main() {}
