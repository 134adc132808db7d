//! What an engine counts.

use std::collections::BTreeMap;

use super::DropReason;

/// Counters of an engine since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Particles that arrived at the host, copies included.
    pub received: u64,
    /// Particles that were new.
    pub admitted: u64,
    /// Particles and copies dropped, by [`DropReason::name`].
    pub dropped: BTreeMap<&'static str, u64>,
    /// Runs of the state machine.
    pub runs: u64,
    /// Runs that ended with a code other than 0, or not at all.
    pub failed_runs: u64,
    /// Runs that exceeded their time.
    pub timed_out_runs: u64,
    /// Calls that were made.
    pub calls: u64,
    /// Calls that failed, or were given up.
    pub failed_calls: u64,
    /// Calls that exceeded their time.
    pub timed_out_calls: u64,
    /// Particles handed to the network, one per target.
    pub sent: u64,
    /// Particles whose deadline passed.
    pub expired: u64,
    /// Of these, the ones that something was still to be done for.
    pub expired_with_work: u64,
}

impl Counters {
    pub(super) fn count_drop(&mut self, reason: &DropReason) {
        *self.dropped.entry(reason.name()).or_default() += 1;
    }
}
