//! What the fuzz targets check: one function a kind of input, which panics where the crates under
//! test break a promise.
//!
//! The targets call them with what a fuzzer made, `xtask/tests/fuzz.rs` with what was kept. All
//! memory is counted, so that a small input that costs much is found as well.

mod archive;
mod call_results;
mod choices;
mod data;
mod envelope;
#[path = "../../tests/laws/network.rs"]
#[allow(dead_code, reason = "the laws of merging use more of it")]
mod network;
mod records;
mod script;
mod seal;
mod step;

use peak_alloc::PeakAlloc;

pub use archive::archive;
pub use call_results::call_results;
pub use envelope::envelope;
pub use script::script;
pub use step::step;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What every piece of work may take, whatever the size of its input.
const SMALL: usize = 64 << 10;

/// Does `work`, which may at no time take more than a constant and `factor` times `size` bytes.
fn bounded<T>(what: &str, size: usize, factor: usize, work: impl FnOnce() -> T) -> T {
    let limit = SMALL + factor * size;
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let result = work();
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(
        peak <= limit,
        "{what} of {size} bytes took {peak} bytes of memory, expected at most {limit}"
    );
    result
}

/// An error has a text, and a short one.
fn described(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    assert!(!text.is_empty(), "an error without a text");
    text
}
