//! Golden particles: executed particles as lottery tickets.
//!
//! A worker makes a [`Ticket`] for each particle that it finished, commits to all tickets of an
//! epoch by the root of a [`TicketTree`], and opens those that turn out to be golden once the
//! beacon of the epoch is known. This module has the encodings, the tree, the draw, the checks of an
//! [`Opening`] and the [`Round`] from commitment to payment; all of it is pure. That the particle was
//! executed, [`ExecutionEvidence`] has to show.
//!
//! ```
//! use deal_types::{Bytes32, golden};
//!
//! let threshold = golden::threshold(1_000, 8);
//! let leaf = Bytes32([1; 32]);
//! println!("golden: {}", golden::luck(Bytes32([2; 32]), leaf) <= threshold);
//! ```

mod book;
mod open;
mod round;
mod settle;
mod tree;

pub use book::TicketBook;
pub use open::{ExecutionEvidence, OpenContext, Opening, OpeningError};
pub use round::{Round, RoundConfig, RoundError, RoundOutcome};
pub use settle::{Selection, Settlement, Split, bond_per_ticket, select, settle};
pub use tree::{MembershipProof, TicketTree, TreeError, merkle_root};

use ruint::aliases::U512;

use crate::{
    Address, Bytes32, PeerKey, U256,
    hash::{keccak256_of, sha256, sha256_of},
};

/// Winners that an epoch of a deal aims at.
pub const DEFAULT_WINNERS: u64 = 8;
/// Tickets that a worker may commit in an epoch.
pub const DEFAULT_QUOTA: u64 = 1024;
/// Tickets of one initiator among them.
pub const DEFAULT_INITIATOR_QUOTA: u64 = 256;

/// A worker that took part in a particle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Participant {
    /// The worker.
    pub worker: PeerKey,
    /// How many call results in the particle's data it has signed.
    pub executed_calls: u32,
}

impl Participant {
    fn leaf(&self) -> Bytes32 {
        keccak256_of(&[&[0], &self.worker.0, &self.executed_calls.to_be_bytes()])
    }
}

/// The root over participants, whatever their order.
///
/// # Errors
/// A worker that is listed twice.
pub fn participants_root(participants: &[Participant]) -> Result<Bytes32, TreeError> {
    let mut sorted = participants.to_vec();
    sorted.sort_unstable();
    for (first, second) in sorted.iter().zip(sorted.iter().skip(1)) {
        if first.worker == second.worker {
            return Err(TreeError::DuplicateParticipant {
                worker: first.worker,
            });
        }
    }
    Ok(merkle_root(sorted.iter().map(Participant::leaf).collect()))
}

/// What identifies a particle.
#[derive(Clone, Copy, Debug)]
pub struct ParticleHeader<'a> {
    /// The id.
    pub id: &'a str,
    /// The key of its initiator.
    pub init_peer: PeerKey,
    /// When it was made, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// How long it lives, in milliseconds.
    pub ttl_ms: u32,
    /// The text of its script.
    pub script: &'a str,
    /// The initiator's signature.
    pub signature: [u8; 64],
}

impl ParticleHeader<'_> {
    /// The digest that stands for the particle in a ticket.
    #[must_use]
    pub fn digest(&self) -> Bytes32 {
        // Ids come from packets whose length fits 32 bits.
        let length = u32::try_from(self.id.len()).unwrap_or(u32::MAX);
        sha256_of(&[
            b"aqua-gp/particle/1",
            &length.to_be_bytes(),
            self.id.as_bytes(),
            &self.init_peer.0,
            &self.timestamp_ms.to_be_bytes(),
            &self.ttl_ms.to_be_bytes(),
            &sha256(self.script.as_bytes()).0,
            &self.signature,
        ])
    }
}

/// The digest of a particle's data as the worker held them when its part was finished.
#[must_use]
pub fn data_digest(data: &[u8]) -> Bytes32 {
    sha256(data)
}

/// What a worker claims to have executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The chain.
    pub chain_id: u64,
    /// The deal.
    pub deal: Address,
    /// The epoch in which the particle was made.
    pub epoch: u64,
    /// The worker that makes the ticket.
    pub worker: PeerKey,
    /// [`ParticleHeader::digest`].
    pub particle_digest: Bytes32,
    /// [`data_digest`].
    pub data_digest: Bytes32,
    /// [`participants_root`].
    pub participants_root: Bytes32,
}

impl Ticket {
    /// The bytes that are hashed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [
            b"aqua-gp/ticket/1".as_slice(),
            &self.chain_id.to_be_bytes(),
            &self.deal.0,
            &self.epoch.to_be_bytes(),
            &self.worker.0,
            &self.particle_digest.0,
            &self.data_digest.0,
            &self.participants_root.0,
        ]
        .concat()
    }

    /// The leaf in the worker's tree.
    #[must_use]
    pub fn leaf(&self) -> Bytes32 {
        keccak256_of(&[&[0], &self.encode()])
    }
}

/// The beacon of epoch e: the nonce of epoch e + 2 mixed with the hash of that epoch's first block.
#[must_use]
pub fn beacon(global_nonce: Bytes32, first_block: Bytes32) -> Bytes32 {
    keccak256_of(&[&global_nonce.0, &first_block.0])
}

/// The number that a ticket draws; it is golden when this is at most [`threshold`].
#[must_use]
pub fn luck(beacon: Bytes32, leaf: Bytes32) -> U256 {
    keccak256_of(&[b"aqua-gp/luck/1", &beacon.0, &leaf.0]).to_uint()
}

/// The greatest number that wins, for `tickets` committed in all and `winners` aimed at.
#[must_use]
pub fn threshold(tickets: u64, winners: u64) -> U256 {
    if tickets <= winners {
        return U256::MAX;
    }
    let product = U512::from(U256::MAX).checked_mul(U512::from(winners));
    let quotient = product.and_then(|product| product.checked_div(U512::from(tickets)));
    // More tickets than winners: there is at least one, and the quotient fits.
    quotient
        .and_then(|quotient| U256::checked_from_limbs_slice(quotient.as_limbs()))
        .unwrap_or(U256::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticket() -> Ticket {
        let worker = PeerKey([0x33; 32]);
        let participants = [Participant {
            worker,
            executed_calls: 3,
        }];
        let header = ParticleHeader {
            id: "particle-1",
            init_peer: PeerKey([0x11; 32]),
            timestamp_ms: 1_700_000_000_000,
            ttl_ms: 60_000,
            script: "(null)",
            signature: [0x22; 64],
        };
        Ticket {
            chain_id: 31_337,
            deal: Address([0x44; 20]),
            epoch: 7,
            worker,
            particle_digest: header.digest(),
            data_digest: data_digest(b"data"),
            participants_root: participants_root(&participants).unwrap(),
        }
    }

    #[test]
    fn ticket_of_the_protocol_description() {
        let ticket = ticket();
        let hex = |word: Bytes32| hex::encode(word);
        assert_eq!(
            hex(ticket.particle_digest),
            "c457a454a0bed4dbfaf7d591743fa3ebb463f84fdc4ee9aca439ee9888be04a3"
        );
        assert_eq!(
            hex(ticket.data_digest),
            "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"
        );
        assert_eq!(
            hex(ticket.participants_root),
            "7fb53d3bc366a6b77c3fc69f5e143f95d5af86d137b4d63f252a2d18c0cb41ec"
        );
        let leaf = ticket.leaf();
        assert_eq!(
            hex(leaf),
            "ab03052addf0f6bd7c206f2a378c33486799a44f4f8c7c89f52a0081954b5973"
        );
        let other = keccak256_of(&[&[0], b"other"]);
        let tree = TicketTree::build(vec![leaf, other]).unwrap();
        assert_eq!(
            hex(tree.root()),
            "633aaf08c249976abd6a82a2d96296380d515bfd7055017923218557452a69d8"
        );
        assert_eq!(
            hex(Bytes32::from_uint(luck(Bytes32([0x55; 32]), leaf))),
            "c061b7d1b63c2ce9636f641fe17de06e504929dcbfa00fe24e0054b73670ef46"
        );
    }

    #[test]
    fn every_field_changes_the_leaf() {
        let base = ticket();
        let word = Bytes32([9; 32]);
        let changed = [
            Ticket {
                chain_id: 1,
                ..base
            },
            Ticket {
                deal: Address([9; 20]),
                ..base
            },
            Ticket { epoch: 8, ..base },
            Ticket {
                worker: PeerKey([9; 32]),
                ..base
            },
            Ticket {
                particle_digest: word,
                ..base
            },
            Ticket {
                data_digest: word,
                ..base
            },
            Ticket {
                participants_root: word,
                ..base
            },
        ];
        for ticket in changed {
            assert_ne!(ticket.leaf(), base.leaf());
        }
    }

    #[test]
    fn about_as_many_win_as_were_aimed_at() {
        let (tickets, winners) = (100_000, 64);
        let (limit, beacon) = (threshold(tickets, winners), Bytes32([7; 32]));
        let golden = (0..tickets)
            .filter(|number| luck(beacon, sha256(&number.to_be_bytes())) <= limit)
            .count();
        // Five standard deviations of 8.
        assert!((24..=104).contains(&golden), "{golden}");
    }

    proptest! {
        #[test]
        fn participants_have_no_order(calls in prop::collection::btree_map(any::<[u8; 32]>(), any::<u32>(), 0..9)) {
            let participants: Vec<_> = calls
                .into_iter()
                .map(|(key, executed_calls)| Participant { worker: PeerKey(key), executed_calls })
                .collect();
            let root = participants_root(&participants).unwrap();
            let reversed: Vec<_> = participants.iter().rev().copied().collect();
            prop_assert_eq!(participants_root(&reversed).unwrap(), root);
            if let Some(first) = participants.first() {
                let twice = [participants.clone(), vec![*first]].concat();
                prop_assert!(participants_root(&twice).is_err());
            }
        }

        #[test]
        fn thresholds_fall_with_the_number_of_tickets(tickets: u64, winners: u64) {
            let limit = threshold(tickets, winners);
            prop_assert!(threshold(tickets.saturating_add(1), winners) <= limit);
            if tickets <= winners {
                prop_assert_eq!(limit, U256::MAX);
            }
        }
    }
}
