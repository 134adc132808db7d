//! What stakers earn while units work in deals: sums that unlock epoch after epoch.

use std::collections::VecDeque;

use crate::{U256, contract::RewardState};

/// Each epoch adds an equal part of its reward to all slots; then the first slot unlocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StakerRewards {
    slots: VecDeque<U256>,
    unlocked: U256,
    rate: U256,
    epoch: u64,
}

impl StakerRewards {
    /// Nothing earned, with so many slots, from an epoch on.
    #[must_use]
    pub fn new(slots: u64, epoch: u64) -> Self {
        // Vesting is a matter of months; a chain with more slots could not compute either.
        let slots = usize::try_from(slots)
            .unwrap_or(usize::MAX)
            .clamp(1, MAX_SLOTS);
        Self {
            slots: vec![U256::ZERO; slots].into(),
            unlocked: U256::ZERO,
            rate: U256::ZERO,
            epoch,
        }
    }

    /// The epoch up to which it is accounted for.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Accounts for the epochs before `epoch`, in each of which a unit of reward is worth so many wei.
    pub fn advance(&mut self, epoch: u64, worth: U256) {
        let epochs = epoch.saturating_sub(self.epoch);
        let slots = U256::from(self.slots.len());
        let reward = self.rate.saturating_mul(worth);
        let part = reward.checked_div(slots).unwrap_or_default();
        // After as many epochs as there are slots nothing but the rate is left.
        let stepped = epochs.min(self.slots.len() as u64);
        for _ in 0..stepped {
            for slot in &mut self.slots {
                *slot = slot.saturating_add(part);
            }
            let first = self.slots.pop_front().unwrap_or_default();
            self.slots.push_back(U256::ZERO);
            self.unlocked = self.unlocked.saturating_add(first);
        }
        let later = U256::from(epochs - stepped).saturating_mul(slots);
        self.unlocked = self.unlocked.saturating_add(later.saturating_mul(part));
        self.epoch = self.epoch.max(epoch);
    }

    /// Changes what is earned in an epoch, from the epoch it was advanced to on.
    pub fn set_rate(&mut self, rate: U256) {
        self.rate = rate;
    }

    /// What is earned in an epoch.
    #[must_use]
    pub fn rate(&self) -> U256 {
        self.rate
    }

    /// What has unlocked so far, in wei.
    #[must_use]
    pub fn unlocked(&self) -> U256 {
        self.unlocked
    }

    /// Everything that was earned so far, in wei.
    #[must_use]
    pub fn total(&self) -> U256 {
        let add = |sum: U256, slot: &U256| sum.saturating_add(*slot);
        self.slots.iter().fold(self.unlocked, add)
    }

    /// As it stands in the log.
    #[must_use]
    pub fn state(&self) -> RewardState {
        RewardState {
            schedule: self.slots.iter().copied().collect(),
            unlocked: self.unlocked,
        }
    }
}

/// Slots that are kept at most.
const MAX_SLOTS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_epochs_as_recorded() {
        let mut rewards = StakerRewards::new(18, 4);
        rewards.set_rate(U256::from(5));
        rewards.advance(6, U256::from(100_000_000_000_u64));
        let part = U256::from(27_777_777_777_u64);
        assert_eq!(rewards.unlocked(), part * U256::from(3));
        let state = rewards.state();
        assert_eq!(state.schedule[..16], [part * U256::from(2); 16]);
        assert_eq!(state.schedule[16..], [part, U256::ZERO]);
    }

    #[test]
    fn many_epochs_are_as_many_steps() {
        let mut far = StakerRewards::new(4, 1);
        far.set_rate(U256::from(7));
        let mut near = far.clone();
        far.advance(40, U256::from(8));
        for epoch in 2..=40 {
            near.advance(epoch, U256::from(8));
        }
        assert_eq!(far, near);
        assert_eq!(far.total(), U256::from(39 * 4 * 14));
        far.advance(u64::MAX, U256::MAX);
    }
}
