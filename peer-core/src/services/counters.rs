//! What is counted over all services of a peer.

use crate::counters::{Counter, Histogram, SECONDS};

/// Counters of services. Services of one peer share them, so their number is no matter.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServiceCounters {
    /// Services added, those of the configuration and of earlier runs too.
    pub created: Counter,
    /// Services removed.
    pub removed: Counter,
    /// Instances that could not be made for a call.
    pub creation_failures: Counter,
    /// Calls that were answered.
    pub calls_ok: Counter,
    /// Calls that failed.
    pub calls_failed: Counter,
    /// Seconds for making an instance at a call.
    pub creation_time: Histogram,
    /// Seconds for a call.
    pub call_time: Histogram,
    /// Seconds that a call waited for its service.
    pub lock_wait: Histogram,
}

impl Default for ServiceCounters {
    fn default() -> Self {
        let times = || Histogram::new(SECONDS);
        Self {
            created: Counter::default(),
            removed: Counter::default(),
            creation_failures: Counter::default(),
            calls_ok: Counter::default(),
            calls_failed: Counter::default(),
            creation_time: times(),
            call_time: times(),
            lock_wait: times(),
        }
    }
}
