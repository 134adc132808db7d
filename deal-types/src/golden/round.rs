//! One epoch of a deal from commitments to payment.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ExecutionEvidence, OpenContext, Opening, OpeningError, Participant, Settlement, Split,
    TicketTree, TreeError, luck, settle, threshold,
};
use crate::{Address, Bytes32, PeerKey, U256};

/// The rules of a round.
#[derive(Clone, Debug)]
pub struct RoundConfig {
    /// The chain.
    pub chain_id: u64,
    /// The deal.
    pub deal: Address,
    /// The epoch of the particles, e.
    pub epoch: u64,
    /// The first millisecond of e, and that of e + 1, since 1970.
    pub epoch_ms: (u64, u64),
    /// What is paid, in units of the deal's token.
    pub pool: U256,
    /// Winners that are aimed at.
    pub winners: u64,
    /// What a worker locks for each ticket.
    pub bond_per_ticket: U256,
    /// Tickets that a worker may commit.
    pub quota: u64,
    /// Workers that have to take part in a particle.
    pub min_participants: usize,
    /// How the reward of a particle is split.
    pub split: Split,
    /// Keys of the workers that are activated in e.
    pub workers: BTreeSet<PeerKey>,
    /// Keys whose particles count.
    pub initiators: BTreeSet<PeerKey>,
}

/// Why a round does not take something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoundError {
    /// Too early or too late.
    #[error("{what} in epoch {now}, for tickets of epoch {epoch}")]
    Phase {
        /// What was tried.
        what: &'static str,
        /// The epoch in which it was tried.
        now: u64,
        /// The epoch of the tickets.
        epoch: u64,
    },
    /// Not a worker of the deal.
    #[error("{worker} was no activated worker of the deal")]
    NotAWorker {
        /// Who it is.
        worker: PeerKey,
    },
    /// A second commitment of a worker.
    #[error("{worker} has committed already")]
    CommittedTwice {
        /// The worker.
        worker: PeerKey,
    },
    /// A worker that has not committed.
    #[error("{worker} has not committed")]
    NotCommitted {
        /// The worker.
        worker: PeerKey,
    },
    /// More tickets than count.
    #[error("{worker} commits {count} tickets where at most {quota} count")]
    Quota {
        /// The worker.
        worker: PeerKey,
        /// How many it commits.
        count: u64,
        /// How many count.
        quota: u64,
    },
    /// Leaves that are not those of the commitment.
    #[error("the leaves of {worker} are not those of its commitment")]
    Leaves {
        /// The worker.
        worker: PeerKey,
    },
    /// Leaves that are no tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A second opening of a ticket.
    #[error("leaf {leaf} was opened before")]
    OpenedTwice {
        /// The leaf.
        leaf: Bytes32,
    },
    /// The beacon is not known.
    #[error("the beacon of epoch {epoch} is not known")]
    NoBeacon {
        /// The epoch of the tickets.
        epoch: u64,
    },
    /// A ticket that is not golden.
    #[error(transparent)]
    Opening(#[from] OpeningError),
}

#[derive(Clone, Debug)]
struct Committed {
    root: Bytes32,
    count: u64,
    /// Whether an opening was invalid.
    burned: bool,
    leaves: Option<Vec<Bytes32>>,
}

/// What a round pays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoundOutcome {
    /// What the participants of golden particles get, and what remains of the pool.
    pub settlement: Settlement,
    /// Bonds that are paid back.
    pub returned: BTreeMap<PeerKey, U256>,
    /// Bonds that are lost.
    pub burned: BTreeMap<PeerKey, U256>,
}

/// The tickets of a deal's epoch e: committed in e + 1, drawn with the beacon of e + 2, opened in
/// e + 2 and e + 3, paid from e + 4 on.
///
/// Between the beacon and the end of the openings a worker also reveals its leaves, which shows
/// whether it left a winner unopened. One that does not loses its bond.
#[derive(Clone, Debug)]
pub struct Round {
    config: RoundConfig,
    committed: BTreeMap<PeerKey, Committed>,
    beacon: Option<Bytes32>,
    opened: BTreeMap<Bytes32, Vec<Participant>>,
}

impl Round {
    /// A round without tickets.
    #[must_use]
    pub fn new(config: RoundConfig) -> Self {
        Self {
            config,
            committed: BTreeMap::new(),
            beacon: None,
            opened: BTreeMap::new(),
        }
    }

    fn phase(&self, what: &'static str, now: u64, from: u64, to: u64) -> Result<(), RoundError> {
        let epoch = self.config.epoch;
        let after = now.checked_sub(epoch);
        if after.is_some_and(|after| (from..=to).contains(&after)) {
            Ok(())
        } else {
            Err(RoundError::Phase { what, now, epoch })
        }
    }

    /// Commits a worker to its tickets; tells the bond that it locks.
    ///
    /// # Errors
    /// Anything but the first commitment of a worker, in the epoch after that of the tickets.
    pub fn commit(
        &mut self,
        worker: PeerKey,
        root: Bytes32,
        count: u64,
        now: u64,
    ) -> Result<U256, RoundError> {
        self.phase("commitment", now, 1, 1)?;
        if !self.config.workers.contains(&worker) {
            return Err(RoundError::NotAWorker { worker });
        }
        let quota = self.config.quota;
        if count > quota {
            return Err(RoundError::Quota {
                worker,
                count,
                quota,
            });
        }
        if self.committed.contains_key(&worker) {
            return Err(RoundError::CommittedTwice { worker });
        }
        let committed = Committed {
            root,
            count,
            burned: false,
            leaves: None,
        };
        self.committed.insert(worker, committed);
        Ok(self.bond(count))
    }

    fn bond(&self, count: u64) -> U256 {
        self.config
            .bond_per_ticket
            .saturating_mul(U256::from(count))
    }

    /// Sets the beacon, once.
    pub fn set_beacon(&mut self, beacon: Bytes32) {
        self.beacon.get_or_insert(beacon);
    }

    /// The greatest number that wins, given all commitments.
    #[must_use]
    pub fn threshold(&self) -> U256 {
        let add = |sum: u64, committed: &Committed| sum.saturating_add(committed.count);
        let tickets = self.committed.values().fold(0, add);
        threshold(tickets, self.config.winners)
    }

    /// Shows the leaves that a worker committed to.
    ///
    /// # Errors
    /// Leaves of another commitment, or outside the time of the openings.
    pub fn reveal(
        &mut self,
        worker: PeerKey,
        leaves: Vec<Bytes32>,
        now: u64,
    ) -> Result<(), RoundError> {
        self.phase("leaves", now, 2, 3)?;
        let committed = self.committed.get_mut(&worker);
        let committed = committed.ok_or(RoundError::NotCommitted { worker })?;
        let tree = TicketTree::build(leaves)?;
        if tree.root() != committed.root || tree.count() != committed.count {
            return Err(RoundError::Leaves { worker });
        }
        committed.leaves = Some(tree.leaves().to_vec());
        Ok(())
    }

    /// Opens a ticket. One that is not golden costs the worker its bond.
    ///
    /// # Errors
    /// See [`RoundError`].
    pub fn open(
        &mut self,
        opening: &Opening,
        evidence: &impl ExecutionEvidence,
        now: u64,
    ) -> Result<(), RoundError> {
        self.phase("opening", now, 2, 3)?;
        let (worker, epoch) = (opening.worker, self.config.epoch);
        let beacon = self.beacon.ok_or(RoundError::NoBeacon { epoch })?;
        let committed = self.committed.get(&worker);
        let committed = committed.ok_or(RoundError::NotCommitted { worker })?;
        let leaf = opening.ticket.leaf();
        if self.opened.contains_key(&leaf) {
            return Err(RoundError::OpenedTwice { leaf });
        }
        let context = OpenContext {
            chain_id: self.config.chain_id,
            deal: self.config.deal,
            epoch,
            epoch_ms: self.config.epoch_ms,
            root: committed.root,
            count: committed.count,
            beacon,
            threshold: self.threshold(),
            workers: &self.config.workers,
            initiators: &self.config.initiators,
            min_participants: self.config.min_participants,
        };
        let outcome = opening.verify(&context, evidence);
        if outcome.is_ok() {
            self.opened.insert(leaf, opening.participants.clone());
        } else if let Some(committed) = self.committed.get_mut(&worker) {
            committed.burned = true;
        }
        Ok(outcome?)
    }

    /// Pays the round.
    ///
    /// # Errors
    /// Before the time of the openings has passed.
    pub fn settle(&self, now: u64) -> Result<RoundOutcome, RoundError> {
        self.phase("settlement", now, 4, u64::MAX)?;
        let openings: Vec<Vec<Participant>> = self.opened.values().cloned().collect();
        let mut outcome = RoundOutcome {
            settlement: settle(self.config.pool, &openings, self.config.split),
            ..RoundOutcome::default()
        };
        let limit = self.threshold();
        for (worker, committed) in &self.committed {
            let bond = self.bond(committed.count);
            let is_open = |leaf: &Bytes32| {
                self.opened.contains_key(leaf)
                    || self
                        .beacon
                        .is_some_and(|beacon| luck(beacon, *leaf) > limit)
            };
            let shown = committed.leaves.as_ref();
            let honest =
                committed.count == 0 || shown.is_some_and(|leaves| leaves.iter().all(is_open));
            let bonds = if honest && !committed.burned {
                &mut outcome.returned
            } else {
                &mut outcome.burned
            };
            bonds.insert(*worker, bond);
        }
        Ok(outcome)
    }
}
