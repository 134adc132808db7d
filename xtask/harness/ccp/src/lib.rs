//! What the programs of this harness have in common: they read a task a line and print a figure.

use std::{
    io::{BufRead as _, Write as _},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// Seconds of CPU that this thread has used.
pub fn thread_seconds() -> f64 {
    seconds(ClockId::ThreadCPUTime)
}

/// Seconds of CPU that this process has used.
pub fn process_seconds() -> f64 {
    seconds(ClockId::ProcessCPUTime)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Work of a number of threads, each for so much CPU time: how much of it was done for each second of
/// that. So a machine with other work to do measures the same, only later.
///
/// Each thread prepares with `begin` and then does `work`, which says how much it did.
pub fn rate<S>(
    threads: usize,
    time: Duration,
    begin: impl Fn(usize) -> S + Sync,
    work: impl Fn(&mut S) -> u64 + Sync,
) -> f64 {
    let one = |index: usize| {
        let mut state = begin(index);
        let before = thread_seconds();
        let (mut done, mut spent) = (0, 0.0);
        while spent < time.as_secs_f64() {
            done += work(&mut state);
            spent = thread_seconds() - before;
        }
        (done, spent)
    };
    let results: Vec<(u64, f64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|index| scope.spawn({ let one = &one; move || one(index) })).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let done: u64 = results.iter().map(|(done, _)| done).sum();
    let spent: f64 = results.iter().map(|(_, spent)| spent).sum();
    done as f64 / spent
}

/// Answers each line of the input with what `figure` gives for its words.
pub fn serve(mut figure: impl FnMut(&[&str]) -> f64) {
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        println!("{}", figure(&words));
        std::io::stdout().flush().unwrap();
    }
}

/// A thread's nonce, never that of another.
pub fn nonce(index: usize) -> [u8; 32] {
    let mut nonce = [7; 32];
    nonce[31] = index as u8;
    nonce
}

/// The nonce after it.
pub fn next(nonce: &mut [u8; 32]) {
    let counter = u64::from_le_bytes(nonce[..8].try_into().unwrap()).wrapping_add(1);
    nonce[..8].copy_from_slice(&counter.to_le_bytes());
}
