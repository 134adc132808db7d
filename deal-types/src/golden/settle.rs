//! Which tickets count and who is paid.

use std::collections::BTreeMap;

use super::Participant;
use crate::{Bytes32, PeerKey, U256};

/// Calls of one participant that count for [`Split::Weighted`].
const MAX_WEIGHT: u32 = 16;

/// How the reward of a particle is split among its participants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// Equal parts.
    #[default]
    Equal,
    /// By executed calls, of which at most 16 count for each participant.
    Weighted,
}

/// What an epoch of a deal pays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// What each worker gets.
    pub payouts: BTreeMap<PeerKey, U256>,
    /// What remains of the pool for the next epoch: everything when nothing was opened.
    pub remainder: U256,
}

/// Splits `pool` among the participants of valid openings; the sum never exceeds the pool.
#[must_use]
pub fn settle(pool: U256, openings: &[Vec<Participant>], split: Split) -> Settlement {
    let mut settlement = Settlement {
        payouts: BTreeMap::new(),
        remainder: pool,
    };
    let count = U256::from(openings.len());
    let Some(reward) = pool.checked_div(count) else {
        return settlement;
    };
    for participants in openings {
        let weights: Vec<u32> = participants
            .iter()
            .map(|participant| match split {
                Split::Equal => 1,
                Split::Weighted => participant.executed_calls.min(MAX_WEIGHT),
            })
            .collect();
        let total = U256::from(weights.iter().map(|weight| u64::from(*weight)).sum::<u64>());
        for (participant, weight) in participants.iter().zip(weights) {
            let part = share(reward, weight, total);
            // Parts are rounded down, so the remainder is at least as large as each of them.
            if let Some(rest) = settlement.remainder.checked_sub(part) {
                settlement.remainder = rest;
                let payout = settlement.payouts.entry(participant.worker).or_default();
                *payout = payout.saturating_add(part);
            }
        }
    }
    settlement
}

/// `floor(reward · weight / total)` without overflow.
fn share(reward: U256, weight: u32, total: U256) -> U256 {
    let weight = U256::from(weight);
    let (Some(whole), Some(rest)) = (reward.checked_div(total), reward.checked_rem(total)) else {
        return U256::ZERO;
    };
    // The weight is part of the total, so the first product is at most the reward; the second is
    // below the total times the weight, both under 40 bits.
    let part = rest
        .saturating_mul(weight)
        .checked_div(total)
        .unwrap_or_default();
    whole.saturating_mul(weight).saturating_add(part)
}

/// What a worker locks for each ticket: `pool / (2 · quota)`.
#[must_use]
pub fn bond_per_ticket(pool: U256, quota: u64) -> U256 {
    pool.checked_div(U256::from(quota).saturating_mul(U256::from(2)))
        .unwrap_or_default()
}

/// How many tickets count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Tickets of a worker in an epoch.
    pub quota: u64,
    /// Tickets of one initiator among them.
    pub initiator_quota: u64,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            quota: super::DEFAULT_QUOTA,
            initiator_quota: super::DEFAULT_INITIATOR_QUOTA,
        }
    }
}

/// Chooses among particles (digest, initiator) those that become tickets: the smallest digests,
/// so that the choice cannot be steered. The result is sorted.
#[must_use]
pub fn select(particles: &[(Bytes32, PeerKey)], selection: Selection) -> Vec<Bytes32> {
    let mut sorted = particles.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut by_initiator = BTreeMap::<PeerKey, u64>::new();
    let mut chosen = Vec::new();
    for (digest, initiator) in sorted {
        if chosen.len() as u64 >= selection.quota {
            break;
        }
        let used = by_initiator.entry(initiator).or_default();
        if *used < selection.initiator_quota {
            *used += 1;
            chosen.push(digest);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn participant(key: u8, executed_calls: u32) -> Participant {
        Participant {
            worker: PeerKey([key; 32]),
            executed_calls,
        }
    }

    #[test]
    fn parts_are_rounded_down() {
        let openings = [
            vec![participant(1, 1), participant(2, 40)],
            vec![participant(1, 3)],
        ];
        let equal = settle(U256::from(101), &openings, Split::Equal);
        let paid = |settlement: &Settlement, key| settlement.payouts[&PeerKey([key; 32])];
        assert_eq!(
            (paid(&equal, 1), paid(&equal, 2)),
            (U256::from(75), U256::from(25))
        );
        assert_eq!(equal.remainder, U256::ONE);
        let weighted = settle(U256::from(101), &openings, Split::Weighted);
        // 50 · 1 / 17 and 50 · 16 / 17, then 50.
        assert_eq!(
            (paid(&weighted, 1), paid(&weighted, 2)),
            (U256::from(52), U256::from(47))
        );
        let nothing = settle(U256::from(101), &[], Split::Equal);
        assert_eq!(nothing.remainder, U256::from(101));
        assert_eq!(bond_per_ticket(U256::from(4096), 1024), U256::from(2));
    }

    #[test]
    fn quotas_keep_the_smallest_digests() {
        let digest = |byte| Bytes32([byte; 32]);
        let particles: Vec<_> = (0..10)
            .map(|byte| (digest(9 - byte), PeerKey([byte % 2; 32])))
            .collect();
        let chosen = select(
            &particles,
            Selection {
                quota: 5,
                initiator_quota: 2,
            },
        );
        assert_eq!(chosen, [digest(0), digest(1), digest(2), digest(3)]);
        let chosen = select(
            &particles,
            Selection {
                quota: 3,
                initiator_quota: 9,
            },
        );
        assert_eq!(chosen, [digest(0), digest(1), digest(2)]);
    }

    proptest! {
        #[test]
        fn money_is_conserved(
            pool: [u64; 4],
            openings in prop::collection::vec(prop::collection::vec((any::<u8>(), any::<u32>()), 0..6), 0..6),
            weighted: bool,
        ) {
            let pool = U256::from_limbs(pool);
            let openings: Vec<Vec<_>> = openings
                .into_iter()
                .map(|list| list.into_iter().map(|(key, calls)| participant(key, calls)).collect())
                .collect();
            let split = if weighted { Split::Weighted } else { Split::Equal };
            let settlement = settle(pool, &openings, split);
            let paid = settlement.payouts.values().fold(U256::ZERO, |sum, part| sum + part);
            prop_assert_eq!(paid + settlement.remainder, pool);
        }
    }
}
