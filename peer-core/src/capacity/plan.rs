//! What to prove and what to ask for: decided here, done elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ccp::{
    Allocation, BatchRequest, BatchResponse, Difficulty, EpochParameters, GlobalNonce,
    PhysicalCore, Proof, ProofIndex, UnitId, prover::Commitment,
};
use deal_types::EpochClock;

use super::ProofTracker;

/// Proofs that are asked for at once when an epoch ends.
const LAST_PROOFS: usize = 50;
/// Blocks in a row that have to say that time is not as late as was said before.
const BELIEVED: u32 = 8;
/// Units of a commitment: more than any host has.
const MAX_UNITS: usize = 1 << 16;

/// How a prover is polled, under the published names (§5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityConfig {
    /// The time between two polls.
    pub proof_poll_period: Duration,
    /// Batches below which proofs stay with the prover.
    pub min_batch_count: usize,
    /// Batches that are taken at once.
    pub max_batch_count: usize,
    /// Proofs of a batch, at most.
    pub max_proof_batch_size: usize,
    /// The time before the end of an epoch in which proofs are taken however few there are.
    pub epoch_end_window: Duration,
}

impl Default for CapacityConfig {
    fn default() -> Self {
        Self {
            proof_poll_period: Duration::from_secs(60),
            min_batch_count: 1,
            max_batch_count: 4,
            max_proof_batch_size: 2,
            epoch_end_window: Duration::from_secs(300),
        }
    }
}

/// What the chain says once and for all (§5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityRules {
    /// When epochs begin.
    pub epochs: EpochClock,
    /// Proofs that a unit has to have in an epoch.
    pub min_proofs: u64,
    /// Proofs of a unit in an epoch that are paid for.
    pub max_proofs: u64,
}

/// What happened on the chain (§5.3).
///
/// After a [`Block`](Self::Block) of a new epoch the nonce is to be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CapacityEvent {
    /// There is a new block.
    Block {
        /// Its time, in seconds since 1970.
        timestamp: u64,
    },
    /// The nonce was read.
    GlobalNonce(GlobalNonce),
    /// The threshold was read.
    Difficulty(Difficulty),
    /// A commitment of this peer is active.
    CommitmentActivated {
        /// Its units, each with the epoch from which on it is to be proven.
        units: BTreeMap<UnitId, u64>,
    },
    /// It is not active any more: over, failed or removed.
    CommitmentEnded,
    /// A unit of the commitment came back from a deal.
    UnitActivated {
        /// The unit.
        unit: UnitId,
        /// The epoch from which on it is to be proven.
        start_epoch: u64,
    },
    /// A unit went to a deal.
    UnitDeactivated {
        /// The unit.
        unit: UnitId,
    },
    /// Transactions with proofs succeeded.
    ProofsConfirmed {
        /// The epoch in which they did.
        epoch: u64,
        /// Proofs of each unit.
        proofs: BTreeMap<UnitId, u64>,
    },
    /// The proofs that the chain has were read: what was confirmed before may be gone with its block.
    ProofsCounted {
        /// The epoch in which they are counted.
        epoch: u64,
        /// Proofs of each unit; none of the others.
        proofs: BTreeMap<UnitId, u64>,
    },
}

/// What to ask a prover for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Nothing: no unit needs a proof.
    Nothing,
    /// Whatever there is.
    After {
        /// The last known proof of each unit.
        known: BTreeMap<UnitId, ProofIndex>,
        /// Proofs to take at most.
        limit: usize,
    },
    /// Full batches.
    Batches {
        /// What is wanted of each unit.
        requests: BTreeMap<UnitId, BatchRequest>,
        /// Batches below which there is no answer.
        min: usize,
        /// Batches to take at most.
        max: usize,
    },
}

/// What a peer knows about the proofs that it has to make. See the page of the module.
#[derive(Clone, Debug)]
pub struct CapacityState {
    rules: CapacityRules,
    config: CapacityConfig,
    /// Time of the last block.
    timestamp: u64,
    /// The epoch of that time; 0 before the first block.
    epoch: u64,
    /// Blocks in a row that were of an earlier epoch.
    behind: u32,
    difficulty: Option<Difficulty>,
    global_nonce: Option<GlobalNonce>,
    /// Units of the commitment with the epoch in which they begin.
    units: BTreeMap<UnitId, u64>,
    /// Whether it is known if there is a commitment.
    asked: bool,
    tracker: ProofTracker,
}

/// Units by what they need, each in the order of their ids.
#[derive(Default)]
struct Groups {
    /// They have less proofs than they must have.
    priority: Vec<UnitId>,
    /// They may have more.
    others: Vec<UnitId>,
    /// They begin in a later epoch.
    pending: Vec<UnitId>,
    /// They have all that are paid for.
    finished: Vec<UnitId>,
}

impl CapacityState {
    /// A peer that knows nothing of the chain yet.
    #[must_use]
    pub fn new(rules: CapacityRules, config: CapacityConfig) -> Self {
        Self {
            rules,
            config,
            timestamp: 0,
            epoch: 0,
            behind: 0,
            difficulty: None,
            global_nonce: None,
            units: BTreeMap::new(),
            asked: false,
            tracker: ProofTracker::default(),
        }
    }

    /// The same with what was remembered of proofs.
    #[must_use]
    pub fn with_tracker(mut self, tracker: ProofTracker) -> Self {
        self.tracker = tracker;
        self
    }

    /// Whether enough is known to say what is to be proven. Before that a prover that goes on with what it
    /// proved before a restart may be right.
    #[must_use]
    pub fn is_known(&self) -> bool {
        let parameters = self.global_nonce.is_some() && self.difficulty.is_some();
        self.asked && (self.units.is_empty() || parameters && self.epoch > 0)
    }

    /// What is remembered of proofs.
    #[must_use]
    pub fn tracker(&self) -> &ProofTracker {
        &self.tracker
    }

    /// Takes in what happened; whether other cores may have to prove other units now.
    pub fn handle(&mut self, event: CapacityEvent) -> bool {
        match event {
            CapacityEvent::Block { timestamp } => {
                let epoch = self.rules.epochs.epoch_at(timestamp).unwrap_or_default();
                if epoch < self.epoch {
                    // A node that lags behind changes nothing, unless it was the others that lied.
                    self.behind = self.behind.saturating_add(1);
                    if self.behind < BELIEVED {
                        return false;
                    }
                    self.timestamp = timestamp;
                }
                self.behind = 0;
                self.timestamp = self.timestamp.max(timestamp);
                let other = epoch != self.epoch;
                if other {
                    self.epoch = epoch;
                    self.tracker.begin_epoch(epoch);
                }
                other
            }
            CapacityEvent::GlobalNonce(nonce) => {
                self.tracker.begin_nonce(nonce);
                self.global_nonce.replace(nonce) != Some(nonce)
            }
            CapacityEvent::Difficulty(difficulty) => {
                self.difficulty.replace(difficulty) != Some(difficulty)
            }
            CapacityEvent::CommitmentActivated { mut units } => {
                while units.len() > MAX_UNITS {
                    units.pop_last();
                }
                let first = !std::mem::replace(&mut self.asked, true);
                let changed = self.units != units;
                self.units = units;
                changed || first
            }
            CapacityEvent::CommitmentEnded => {
                let first = !std::mem::replace(&mut self.asked, true);
                !std::mem::take(&mut self.units).is_empty() || first
            }
            CapacityEvent::UnitActivated { unit, start_epoch } => {
                self.asked
                    && self.units.len() < MAX_UNITS
                    && self.units.insert(unit, start_epoch) != Some(start_epoch)
            }
            CapacityEvent::UnitDeactivated { unit } => self.units.remove(&unit).is_some(),
            CapacityEvent::ProofsConfirmed { epoch, proofs } => {
                if epoch != self.epoch {
                    return false;
                }
                let units = proofs.into_iter();
                let total = |(unit, count)| {
                    let before = self.tracker.confirmed(&unit);
                    (unit, before.saturating_add(count))
                };
                let counts = units.map(total).collect();
                self.count(counts)
            }
            CapacityEvent::ProofsCounted { epoch, proofs } => {
                if epoch != self.epoch {
                    return false;
                }
                let counted = |unit: &UnitId| (*unit, proofs.get(unit).copied().unwrap_or(0));
                let counts = self.units.keys().map(counted).collect();
                self.count(counts)
            }
        }
    }

    /// Units have so many proofs now; whether one has all that it must or may have, or not any more.
    fn count(&mut self, counts: BTreeMap<UnitId, u64>) -> bool {
        let CapacityRules {
            min_proofs,
            max_proofs,
            ..
        } = self.rules;
        let mut changed = false;
        for (unit, count) in counts {
            if !self.units.contains_key(&unit) {
                continue;
            }
            let before = self.tracker.confirmed.insert(unit, count).unwrap_or(0);
            for bound in [min_proofs, max_proofs] {
                changed |= (before < bound) != (count < bound);
            }
        }
        changed
    }

    /// The units of the commitment in the order in which they get cores.
    #[must_use]
    pub fn wanted_units(&self) -> Vec<UnitId> {
        let Groups {
            priority,
            others,
            pending,
            finished,
        } = self.groups();
        [priority, others, pending, finished].concat()
    }

    /// What is to be proven with these cores; nothing when nobody needs a proof (§5.4).
    ///
    /// Units that must have proofs have a core each, and those of all others help them. When they
    /// have enough, units that may have more have theirs, and those of units to come help.
    #[must_use]
    pub fn commitment(&self, cores: &BTreeMap<UnitId, PhysicalCore>) -> Option<Commitment> {
        let epoch = EpochParameters {
            global_nonce: self.global_nonce?,
            difficulty: self.difficulty?,
        };
        let Groups {
            priority,
            others,
            pending,
            finished,
        } = self.groups();
        let (proven, helping) = match priority.is_empty() {
            false => (priority, [others, pending, finished].concat()),
            true => (others, pending),
        };
        let mut allocation = Allocation::new();
        let mut helped = Vec::new();
        for unit in proven {
            // Where units share a core the first one has it.
            if let Some(core) = cores.get(&unit)
                && !allocation.contains_key(core)
            {
                allocation.insert(*core, unit);
                helped.push(unit);
            }
        }
        let free: BTreeSet<PhysicalCore> = helping
            .iter()
            .filter_map(|unit| cores.get(unit).copied())
            .filter(|core| !allocation.contains_key(core))
            .collect();
        allocation.extend(free.into_iter().zip(helped.into_iter().cycle()));
        (!allocation.is_empty()).then_some(Commitment { epoch, allocation })
    }

    /// What to ask for (§5.5).
    #[must_use]
    pub fn poll(&self) -> Poll {
        let needed: Vec<(UnitId, u64)> = self
            .units
            .keys()
            .map(|unit| (*unit, self.needed(unit)))
            .filter(|(_, needed)| *needed > 0)
            .collect();
        if needed.is_empty() || self.global_nonce.is_none() || self.difficulty.is_none() {
            return Poll::Nothing;
        }
        let end = self.rules.epochs.start_of(self.epoch.saturating_add(1));
        let left = end.map_or(u64::MAX, |end| end.saturating_sub(self.timestamp));
        if left < self.config.epoch_end_window.as_secs() {
            let known = |(unit, _): (UnitId, u64)| (unit, self.tracker.last_seen(&unit));
            return Poll::After {
                known: needed.into_iter().map(known).collect(),
                limit: LAST_PROOFS,
            };
        }
        let request = |(unit, needed): (UnitId, u64)| {
            let most = self.config.max_proof_batch_size.max(1);
            let request = BatchRequest {
                last_seen_proof_idx: self.tracker.last_seen(&unit),
                proof_batch_size: usize::try_from(needed).map_or(most, |needed| needed.min(most)),
            };
            (unit, request)
        };
        Poll::Batches {
            requests: needed.into_iter().map(request).collect(),
            min: self.config.min_batch_count,
            max: self.config.max_batch_count,
        }
    }

    /// The proofs of an answer that are to be handed on: of this epoch and threshold, of units that
    /// need them, none twice.
    #[must_use]
    pub fn select(&self, answer: Vec<BatchResponse>) -> Vec<Proof> {
        let mut last = BTreeMap::<UnitId, ProofIndex>::new();
        let proofs = answer.into_iter().flat_map(|unit| unit.proof_batches);
        let counts = |proof: &Proof| {
            Some(proof.id.global_nonce) == self.global_nonce
                && Some(proof.id.difficulty) == self.difficulty
                && proof.result_hash.meets(&proof.id.difficulty)
                && self.units.contains_key(&proof.cu_id)
                && self.needed(&proof.cu_id) > 0
        };
        proofs
            .filter(counts)
            .filter(|proof| {
                let unit = proof.cu_id;
                let last = last
                    .entry(unit)
                    .or_insert_with(|| self.tracker.last_seen(&unit));
                let new = proof.id.idx > *last;
                if new {
                    *last = proof.id.idx;
                }
                new
            })
            .collect()
    }

    /// These proofs were handed on: they are not asked for again.
    pub fn delivered(&mut self, proofs: &[Proof]) {
        for proof in proofs {
            // Another epoch may have begun since.
            if Some(proof.id.global_nonce) == self.global_nonce {
                let last = self.tracker.last_seen(&proof.cu_id).max(proof.id.idx);
                self.tracker.last_seen.insert(proof.cu_id, last);
            }
        }
    }

    /// Proofs of a unit that are still paid for in this epoch.
    fn needed(&self, unit: &UnitId) -> u64 {
        self.rules
            .max_proofs
            .saturating_sub(self.tracker.confirmed(unit))
    }

    fn groups(&self) -> Groups {
        let mut groups = Groups::default();
        for (unit, start) in &self.units {
            let confirmed = self.tracker.confirmed(unit);
            let group = if *start > self.epoch {
                &mut groups.pending
            } else if confirmed < self.rules.min_proofs {
                &mut groups.priority
            } else if confirmed < self.rules.max_proofs {
                &mut groups.others
            } else {
                &mut groups.finished
            };
            group.push(*unit);
        }
        groups
    }
}
