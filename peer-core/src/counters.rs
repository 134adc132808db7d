//! What is counted while a peer works: counters and histograms that any thread may add to.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A counter that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The current value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of times in seconds, those of the published peer (§8.8).
pub(crate) const SECONDS: &[f64] = &[
    0.0001, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 7.0, 15.0, 30.0, 60.0, 120.0,
];
/// Upper bounds of sizes of particle data in bytes, those of the published peer.
#[cfg(feature = "network")]
pub(crate) const SIZES: &[f64] = &[1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];

/// How often a value was at most each of some bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One more than there are bounds: what exceeds the last one.
    buckets: Box<[AtomicU64]>,
    /// In millionths, so that it can be added to without a lock.
    sum: AtomicU64,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    pub(crate) fn observe(&self, value: f64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        // Negative values and those beyond 2⁶⁴ do not occur; the conversion saturates.
        self.sum.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    pub(crate) fn observe_time(&self, time: Duration) {
        self.observe(time.as_secs_f64());
    }

    /// The sum of all values.
    pub fn sum(&self) -> f64 {
        self.sum.load(Ordering::Relaxed) as f64 / 1e6
    }

    /// Each bound with the number of values up to it and above the one before; the last bound is
    /// infinite.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self
            .buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed));
        bounds.zip(counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_the_bucket_of_their_bound() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.0, 1.0, 1.5, 2.5, 100.0] {
            histogram.observe(value);
        }
        let counts: Vec<u64> = histogram
            .buckets()
            .iter()
            .map(|(_, count)| *count)
            .collect();
        assert_eq!(counts, [2, 1, 2]);
        assert!((histogram.sum() - 105.0).abs() < 1e-6);
    }
}
