//! Opening a golden ticket: every check, each with its own error.

use std::collections::BTreeSet;

use super::{
    MembershipProof, Participant, ParticleHeader, Ticket, TreeError, data_digest, luck,
    participants_root,
};
use crate::{Address, Bytes32, PeerKey, U256};

/// What shows that a particle was executed. Peers implement it with the verifier of particle data.
pub trait ExecutionEvidence {
    /// The particle.
    fn header(&self) -> ParticleHeader<'_>;

    /// Its data as the worker held them when its part was finished.
    fn data(&self) -> &[u8];

    /// Whether the initiator's signature of the particle is valid.
    fn is_particle_signed(&self) -> bool;

    /// How many call results in the data a worker has signed; `None` if its signature is missing or
    /// does not belong to its results.
    fn signed_calls(&self, worker: PeerKey) -> Option<u32>;
}

/// What everybody knows of a deal and epoch when a ticket is opened.
#[derive(Clone, Debug)]
pub struct OpenContext<'a> {
    /// The chain.
    pub chain_id: u64,
    /// The deal.
    pub deal: Address,
    /// The epoch of the particles.
    pub epoch: u64,
    /// The first millisecond of the epoch, and that of the next one, since 1970.
    pub epoch_ms: (u64, u64),
    /// Root and number of the tickets that the worker committed to.
    pub root: Bytes32,
    /// See `root`.
    pub count: u64,
    /// The beacon of the epoch.
    pub beacon: Bytes32,
    /// The greatest number that wins.
    pub threshold: U256,
    /// Keys of the workers that were activated in the epoch.
    pub workers: &'a BTreeSet<PeerKey>,
    /// Keys whose particles count.
    pub initiators: &'a BTreeSet<PeerKey>,
    /// Workers that have to take part in a particle.
    pub min_participants: usize,
}

/// Why a ticket is not golden. The order is that of the checks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpeningError {
    /// The leaf is not in the worker's tree.
    #[error("leaf {leaf} is not at {index} of the {count} that were committed")]
    Membership {
        /// The leaf.
        leaf: Bytes32,
        /// Where it should be.
        index: u64,
        /// How many there are.
        count: u64,
    },
    /// The draw.
    #[error("ticket drew {luck} where at most {threshold} wins")]
    NotGolden {
        /// What it drew.
        luck: U256,
        /// The greatest number that wins.
        threshold: U256,
    },
    /// A ticket of another chain.
    #[error("ticket is of chain {actual} instead of {expected}")]
    ChainId {
        /// The chain in the ticket.
        actual: u64,
        /// The chain.
        expected: u64,
    },
    /// A ticket of another deal.
    #[error("ticket is of deal {actual} instead of {expected}")]
    Deal {
        /// The deal in the ticket.
        actual: Address,
        /// The deal.
        expected: Address,
    },
    /// A ticket of another epoch.
    #[error("ticket is of epoch {actual} instead of {expected}")]
    Epoch {
        /// The epoch in the ticket.
        actual: u64,
        /// The epoch.
        expected: u64,
    },
    /// A ticket of another worker.
    #[error("ticket is of worker {actual} instead of {expected}")]
    Worker {
        /// The worker in the ticket.
        actual: PeerKey,
        /// The worker that opens it.
        expected: PeerKey,
    },
    /// Participants that are listed twice.
    #[error(transparent)]
    Participants(#[from] TreeError),
    /// Other participants than the ticket has.
    #[error("participants have the root {actual} instead of {expected}")]
    ParticipantsRoot {
        /// The root of those listed.
        actual: Bytes32,
        /// The root in the ticket.
        expected: Bytes32,
    },
    /// A participant that is no worker of the deal.
    #[error("{worker} was no activated worker of the deal")]
    NotAWorker {
        /// The participant.
        worker: PeerKey,
    },
    /// A particle that too few workers took part in.
    #[error("{actual} workers took part where {needed} have to")]
    TooFewParticipants {
        /// How many took part.
        actual: usize,
        /// How many have to.
        needed: usize,
    },
    /// A worker that opens a ticket of others.
    #[error("{worker} did not take part itself")]
    NotAParticipant {
        /// The worker.
        worker: PeerKey,
    },
    /// Another particle than the ticket is for.
    #[error("particle has the digest {actual} instead of {expected}")]
    ParticleDigest {
        /// The digest of the particle.
        actual: Bytes32,
        /// The digest in the ticket.
        expected: Bytes32,
    },
    /// A particle of another epoch.
    #[error("particle of {timestamp_ms} ms is outside the epoch")]
    Timestamp {
        /// When it was made.
        timestamp_ms: u64,
    },
    /// A particle that its initiator did not sign.
    #[error("particle is not signed by {initiator}")]
    ParticleSignature {
        /// The initiator.
        initiator: PeerKey,
    },
    /// A particle of someone whose particles do not count.
    #[error("particles of {initiator} do not count for the deal")]
    Initiator {
        /// The initiator.
        initiator: PeerKey,
    },
    /// A participant whose signature is missing or wrong.
    #[error("the data have no valid signature of {worker}")]
    ParticipantSignature {
        /// The participant.
        worker: PeerKey,
    },
    /// A participant that signed another number of results.
    #[error("{worker} signed {actual} results instead of {claimed}")]
    ExecutedCalls {
        /// The participant.
        worker: PeerKey,
        /// What is claimed.
        claimed: u32,
        /// What is signed.
        actual: u32,
    },
    /// Other data than the ticket is for.
    #[error("data have the digest {actual} instead of {expected}")]
    DataDigest {
        /// The digest of the data.
        actual: Bytes32,
        /// The digest in the ticket.
        expected: Bytes32,
    },
}

/// A ticket with all that shows that it is golden, but for the particle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The worker that opens it.
    pub worker: PeerKey,
    /// The ticket.
    pub ticket: Ticket,
    /// Where it stands in the worker's tree.
    pub membership: MembershipProof,
    /// Who took part.
    pub participants: Vec<Participant>,
}

impl Opening {
    /// Checks everything that does not depend on time or on other openings.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify(
        &self,
        context: &OpenContext<'_>,
        evidence: &impl ExecutionEvidence,
    ) -> Result<(), OpeningError> {
        self.check_draw(context)?;
        self.check_fields(context)?;
        self.check_participants(context)?;
        self.check_particle(context, evidence)?;
        self.check_execution(evidence)
    }

    fn check_draw(&self, context: &OpenContext<'_>) -> Result<(), OpeningError> {
        let leaf = self.ticket.leaf();
        if !self.membership.verify(context.root, context.count, leaf) {
            return Err(OpeningError::Membership {
                leaf,
                index: self.membership.index,
                count: context.count,
            });
        }
        let (luck, threshold) = (luck(context.beacon, leaf), context.threshold);
        if luck > threshold {
            return Err(OpeningError::NotGolden { luck, threshold });
        }
        Ok(())
    }

    fn check_fields(&self, context: &OpenContext<'_>) -> Result<(), OpeningError> {
        let ticket = &self.ticket;
        if ticket.chain_id != context.chain_id {
            return Err(OpeningError::ChainId {
                actual: ticket.chain_id,
                expected: context.chain_id,
            });
        }
        if ticket.deal != context.deal {
            return Err(OpeningError::Deal {
                actual: ticket.deal,
                expected: context.deal,
            });
        }
        if ticket.epoch != context.epoch {
            return Err(OpeningError::Epoch {
                actual: ticket.epoch,
                expected: context.epoch,
            });
        }
        if ticket.worker != self.worker {
            return Err(OpeningError::Worker {
                actual: ticket.worker,
                expected: self.worker,
            });
        }
        Ok(())
    }

    fn check_participants(&self, context: &OpenContext<'_>) -> Result<(), OpeningError> {
        let root = participants_root(&self.participants)?;
        if root != self.ticket.participants_root {
            return Err(OpeningError::ParticipantsRoot {
                actual: root,
                expected: self.ticket.participants_root,
            });
        }
        let mut workers = self
            .participants
            .iter()
            .map(|participant| participant.worker);
        if let Some(worker) = workers
            .clone()
            .find(|worker| !context.workers.contains(worker))
        {
            return Err(OpeningError::NotAWorker { worker });
        }
        if self.participants.len() < context.min_participants {
            return Err(OpeningError::TooFewParticipants {
                actual: self.participants.len(),
                needed: context.min_participants,
            });
        }
        if !workers.any(|worker| worker == self.worker) {
            return Err(OpeningError::NotAParticipant {
                worker: self.worker,
            });
        }
        Ok(())
    }

    fn check_particle(
        &self,
        context: &OpenContext<'_>,
        evidence: &impl ExecutionEvidence,
    ) -> Result<(), OpeningError> {
        let header = evidence.header();
        let (actual, expected) = (header.digest(), self.ticket.particle_digest);
        if actual != expected {
            return Err(OpeningError::ParticleDigest { actual, expected });
        }
        let (first, next) = context.epoch_ms;
        if !(first..next).contains(&header.timestamp_ms) {
            return Err(OpeningError::Timestamp {
                timestamp_ms: header.timestamp_ms,
            });
        }
        let initiator = header.init_peer;
        if !evidence.is_particle_signed() {
            return Err(OpeningError::ParticleSignature { initiator });
        }
        if !context.initiators.contains(&initiator) {
            return Err(OpeningError::Initiator { initiator });
        }
        Ok(())
    }

    fn check_execution(&self, evidence: &impl ExecutionEvidence) -> Result<(), OpeningError> {
        for Participant {
            worker,
            executed_calls,
        } in &self.participants
        {
            let signed = evidence.signed_calls(*worker).filter(|count| *count > 0);
            let worker = *worker;
            let actual = signed.ok_or(OpeningError::ParticipantSignature { worker })?;
            if actual != *executed_calls {
                return Err(OpeningError::ExecutedCalls {
                    worker,
                    claimed: *executed_calls,
                    actual,
                });
            }
        }
        let (actual, expected) = (data_digest(evidence.data()), self.ticket.data_digest);
        if actual != expected {
            return Err(OpeningError::DataDigest { actual, expected });
        }
        Ok(())
    }
}
