//! Processor time.

use rustix::time::{ClockId, clock_gettime};

/// What `work` gives, and the nanoseconds that it took on this thread.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    measure(ClockId::ThreadCPUTime, work)
}

/// The same, on all threads of the process.
pub fn timed_process<T>(work: impl FnOnce() -> T) -> (T, u64) {
    measure(ClockId::ProcessCPUTime, work)
}

fn measure<T>(clock: ClockId, work: impl FnOnce() -> T) -> (T, u64) {
    let start = now(clock);
    let result = work();
    (result, now(clock) - start)
}

fn now(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
