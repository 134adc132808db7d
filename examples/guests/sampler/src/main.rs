//! Measures something reproducible on the peer that it runs on: every peer gives another answer, and always the same.

use std::cell::Cell;

use marine_sdk::{get_call_parameters, marine, module_manifest};

module_manifest!();

/// More than this many numbers take too long for one call.
const MAX_COUNT: u32 = 1_000_000;

thread_local! {
    static RUNS: Cell<u32> = const { Cell::new(0) };
}

/// What one peer has measured.
#[marine]
#[derive(Debug, PartialEq)]
pub struct Sample {
    /// The peer that measured.
    pub peer: String,
    /// The service on it.
    pub service: String,
    /// Where the peer started to count; it depends on the topic and the peer.
    pub start: u32,
    /// How many primes there are among the numbers from there on.
    pub primes: u32,
    /// The largest of them, or 0.
    pub largest: u32,
    /// A hash of topic and peer, in hexadecimal.
    pub digest: String,
}

/// Counts the primes among `count` numbers. Where they start depends on `topic` and on this peer.
#[marine]
pub fn measure(topic: &str, count: u32) -> Sample {
    RUNS.set(RUNS.get().saturating_add(1));
    let call = get_call_parameters();
    let digest = fnv1a(topic.bytes().chain([0]).chain(call.host_id.bytes()));
    let start = (digest % 1_000_000) as u32;
    let end = start + count.min(MAX_COUNT);
    let (primes, largest) = (start..end)
        .filter(|number| is_prime(*number))
        .fold((0, 0), |(primes, _), number| (primes + 1, number));
    Sample {
        peer: call.host_id,
        service: call.service_id,
        start,
        primes,
        largest,
        digest: format!("{digest:016x}"),
    }
}

/// How often this service has measured since it was started.
#[marine]
pub fn runs() -> u32 {
    RUNS.get()
}

/// The sum of the primes in several answers: the order of the answers does not matter.
#[marine]
pub fn total(samples: &Vec<Sample>) -> u64 {
    samples.iter().map(|sample| u64::from(sample.primes)).sum()
}

fn main() {}

fn is_prime(number: u32) -> bool {
    number >= 2
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use marine_sdk::{CallParameters, set_call_parameters};

    #[test]
    fn a_peer_always_gives_its_answer() {
        let on = |host: &str| {
            set_call_parameters(CallParameters {
                host_id: host.to_owned(),
                ..CallParameters::default()
            });
            measure("topic", 1000)
        };
        let one = on("one");
        assert_eq!(one, on("one"));
        assert_ne!(one.start, on("two").start);
        assert!(one.primes > 0 && one.largest > one.start);
        let sum = u64::from(one.primes);
        assert_eq!(total(&vec![one]), sum);
        assert_eq!(runs(), 3);
    }

    #[test]
    fn primes() {
        assert_eq!((0..100).filter(|n| is_prime(*n)).count(), 25);
    }
}
