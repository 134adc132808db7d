//! Rewards for capacity, which unlock in equal parts.

use crate::U256;

/// A point of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VestingItem {
    /// When it is reached.
    pub epoch: u64,
    /// What is unlocked then, of all rewards so far, in wei.
    pub cumulative: U256,
}

/// What changed in a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VestingChange {
    /// The position of the item.
    pub index: usize,
    /// Whether the item is new.
    pub is_new: bool,
    /// The item.
    pub item: VestingItem,
}

/// The schedule of a commitment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vesting {
    items: Vec<VestingItem>,
}

impl Vesting {
    /// Adds a reward that was earned up to the epoch `earned`: `count` equal parts, the first in the
    /// next epoch that `period` divides.
    pub fn add(
        &mut self,
        reward: U256,
        earned: u64,
        period: u64,
        count: u64,
    ) -> Vec<VestingChange> {
        let mut changes = Vec::new();
        let part = reward.checked_div(U256::from(count)).unwrap_or_default();
        if part.is_zero() {
            return changes;
        }
        let start = earned
            .checked_div(period)
            .unwrap_or(earned)
            .saturating_add(1);
        let mut sum = U256::ZERO;
        // Rewards come in order, so only the last items can be those of later epochs.
        let mut index = self.items.len();
        let first = start.saturating_mul(period);
        while index
            .checked_sub(1)
            .and_then(|at| self.items.get(at))
            .is_some_and(|item| item.epoch >= first)
        {
            index -= 1;
        }
        let mut before = index
            .checked_sub(1)
            .and_then(|at| self.items.get(at))
            .map_or(U256::ZERO, |item| item.cumulative);
        for step in 0..count {
            sum = sum.saturating_add(part);
            let is_new = index >= self.items.len();
            let item = match self.items.get_mut(index) {
                Some(item) => {
                    item.cumulative = item.cumulative.saturating_add(sum);
                    *item
                }
                None => {
                    let item = VestingItem {
                        epoch: start.saturating_add(step).saturating_mul(period),
                        cumulative: before.saturating_add(part),
                    };
                    self.items.push(item);
                    item
                }
            };
            before = item.cumulative;
            changes.push(VestingChange {
                index,
                is_new,
                item,
            });
            index += 1;
        }
        changes
    }

    /// What is unlocked in an epoch, of all rewards so far.
    #[must_use]
    pub fn unlocked(&self, epoch: u64) -> U256 {
        let reached = self.items.partition_point(|item| item.epoch <= epoch);
        let last = reached.checked_sub(1).and_then(|at| self.items.get(at));
        last.map_or(U256::ZERO, |item| item.cumulative)
    }

    /// All rewards so far, less what was rounded away.
    #[must_use]
    pub fn total(&self) -> U256 {
        self.items.last().map_or(U256::ZERO, |item| item.cumulative)
    }
}
