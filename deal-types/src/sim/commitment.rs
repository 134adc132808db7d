//! The state machine of a capacity commitment: statuses as a pure function of what is kept and of
//! the current epoch.

use crate::{Address, Bytes32, CommitmentStatus, U256};

/// A commitment of a peer's capacity, as it was accounted for up to [`Commitment::accounted`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// The peer.
    pub peer: Bytes32,
    /// Length in epochs.
    pub duration: u64,
    /// The staker's part of rewards, in 10⁻⁷.
    pub rate: U256,
    /// Who pays the collateral; zero for anyone.
    pub staker: Address,
    /// Collateral for a unit, in wei.
    pub collateral_per_unit: U256,
    /// Units when it was created.
    pub unit_count: u64,
    /// The first epoch; zero until the collateral is paid.
    pub start: u64,
    /// Where it stood when it was accounted for last.
    pub stored: CommitmentStatus,
    /// The last epoch that is accounted for.
    pub accounted: u64,
    /// Units that proved enough in the epoch after that.
    pub successes: u64,
    /// Units that have to prove.
    pub active: u64,
    /// Units that have to prove from the epoch after the current one on.
    pub additional: u64,
    /// Epochs missed by units so far.
    pub fails: u64,
    /// The epoch in which it failed; zero if it did not.
    pub failed_epoch: u64,
    /// Units taken out.
    pub exited: u64,
}

impl Commitment {
    /// The epoch after the last.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.duration)
    }

    /// Collateral of all units, in wei.
    #[must_use]
    pub fn collateral(&self) -> U256 {
        self.collateral_per_unit
            .saturating_mul(U256::from(self.unit_count))
    }

    /// Where it stands in an epoch.
    #[must_use]
    pub fn status(&self, epoch: u64, max_failed_ratio: u64) -> CommitmentStatus {
        self.clone().account(epoch, max_failed_ratio)
    }

    /// Accounts for every epoch before `epoch`, and says where the commitment stands.
    ///
    /// Epochs in which units miss their proofs count as fails; once there are `max_failed_ratio` for
    /// each unit the commitment has failed, in the epoch in which that many were reached.
    pub fn account(&mut self, epoch: u64, max_failed_ratio: u64) -> CommitmentStatus {
        if self.stored == CommitmentStatus::Removed {
            return CommitmentStatus::Removed;
        }
        if self.start == 0 {
            return CommitmentStatus::WaitDelegation;
        }
        if self.start > epoch {
            return CommitmentStatus::WaitStart;
        }
        let mut complete = epoch.saturating_sub(1);
        if self.stored != CommitmentStatus::Active || complete <= self.accounted {
            return self.stored;
        }
        let last = self.end().saturating_sub(1);
        let mut status = CommitmentStatus::Active;
        if complete >= last {
            complete = last;
            status = CommitmentStatus::Inactive;
        }
        // Units that were added in the last accounted epoch have to prove from the next one on.
        let epochs = complete.saturating_sub(self.accounted);
        let later = epochs.saturating_sub(1).saturating_mul(self.additional);
        let required = self.active.saturating_mul(epochs).saturating_add(later);
        let missed = required.saturating_sub(self.successes);
        let limit = max_failed_ratio.saturating_mul(self.unit_count);
        if self.fails.saturating_add(missed) >= limit {
            status = CommitmentStatus::Failed;
            self.fail(limit);
        } else {
            self.fails += missed;
        }
        self.active = self.active.saturating_add(self.additional);
        self.additional = 0;
        if status != CommitmentStatus::Active {
            self.active = 0;
        }
        self.accounted = complete;
        self.successes = 0;
        self.stored = status;
        status
    }

    /// Finds the epoch in which the fails reach `limit`.
    fn fail(&mut self, limit: u64) {
        let rest = limit.saturating_sub(self.fails);
        self.fails = limit;
        // Successes are those of the first epoch that is not accounted for.
        let first = self.active.saturating_sub(self.successes);
        let epochs = match rest.checked_sub(first) {
            None | Some(0) => 1,
            Some(rest) => {
                let each = self.active.saturating_add(self.additional).max(1);
                rest.div_ceil(each).saturating_add(1)
            }
        };
        self.failed_epoch = self.accounted.saturating_add(epochs);
    }
}
