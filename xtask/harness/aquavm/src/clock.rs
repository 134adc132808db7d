//! Thread CPU time.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the processor that `work` took on this thread. What it returns is dropped after
/// the clock stopped.
pub fn time<T>(work: impl FnOnce() -> T) -> u64 {
    let (_, nanoseconds) = timed(work);
    nanoseconds
}

/// [`time`], with the result.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let start = now();
    let result = work();
    let end = now();
    (result, end - start)
}

/// The middle one of `samples`.
pub fn median(samples: &mut [u64]) -> u64 {
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

fn now() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
