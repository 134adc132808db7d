//! What the fuzz targets check: one function a kind of input, which panics where the crates under
//! test break a promise.
//!
//! The targets call them with what a fuzzer made, `xtask/tests/fuzz.rs` with what was kept. All
//! memory is counted, so that a small input that costs much is found as well.

mod adapter;
mod archive;
mod builtins;
mod call_results;
mod choices;
mod data;
mod envelope;
mod frame;
mod identify;
mod json;
#[path = "../../tests/laws/network.rs"]
#[allow(dead_code, reason = "the laws of merging use more of it")]
mod network;
mod puppets;
mod records;
mod script;
mod seal;
mod section;
mod step;
mod types;
mod wasi;
mod wasm;

use peak_alloc::PeakAlloc;

pub use adapter::adapter;
pub use archive::archive;
pub use builtins::builtins;
pub use call_results::call_results;
pub use envelope::envelope;
pub use frame::frame;
pub use identify::identify;
pub use json::json;
pub use script::script;
pub use section::section;
pub use step::step;
pub use wasi::wasi;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What every piece of work may take, whatever the size of its input.
const SMALL: usize = 64 << 10;

/// Does `work`, which may at no time take more than a constant and `factor` times `size` bytes.
fn bounded<T>(what: &str, size: usize, factor: usize, work: impl FnOnce() -> T) -> T {
    bounded_by(
        &format!("{what} of {size} bytes"),
        SMALL + factor * size,
        work,
    )
}

/// Does `work`, which may at no time take more than `limit` bytes.
fn bounded_by<T>(what: &str, limit: usize, work: impl FnOnce() -> T) -> T {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let result = work();
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(
        peak <= limit,
        "{what} took {peak} bytes of memory, expected at most {limit}"
    );
    result
}

/// An error has a text, and a short one.
fn described(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    assert!(!text.is_empty(), "an error without a text");
    text
}
