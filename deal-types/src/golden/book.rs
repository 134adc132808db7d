//! The tickets that a worker makes of what it executed, and which of them win.

use std::collections::BTreeMap;

use super::{
    ExecutionEvidence, Opening, Participant, RoundConfig, Selection, Ticket, TicketTree, TreeError,
    data_digest, luck, participants_root, select,
};
use crate::{Bytes32, PeerKey, U256};

/// A worker's tickets of an epoch, with what it opens them with.
#[derive(Clone, Debug)]
pub struct TicketBook<E> {
    worker: PeerKey,
    tree: TicketTree,
    pages: BTreeMap<Bytes32, Page<E>>,
}

#[derive(Clone, Debug)]
struct Page<E> {
    ticket: Ticket,
    participants: Vec<Participant>,
    evidence: E,
}

impl<E: ExecutionEvidence> TicketBook<E> {
    /// Makes a ticket of everything executed that counts in the round, as far as the quotas allow.
    ///
    /// What does not count is left out: other epochs, initiators who are not authorised, particles
    /// without this worker or with too few others.
    ///
    /// # Errors
    /// None that honest arguments cause.
    pub fn make(
        worker: PeerKey,
        config: &RoundConfig,
        selection: Selection,
        executed: impl IntoIterator<Item = E>,
    ) -> Result<Self, TreeError> {
        let mut candidates = BTreeMap::new();
        for evidence in executed {
            if let Some(page) = Page::of(worker, config, evidence)? {
                candidates.insert(page.ticket.particle_digest, page);
            }
        }
        let particles: Vec<_> = candidates
            .iter()
            .map(|(digest, page)| (*digest, page.evidence.header().init_peer))
            .collect();
        let pages: BTreeMap<_, _> = select(&particles, selection)
            .iter()
            .filter_map(|digest| candidates.remove(digest))
            .map(|page| (page.ticket.leaf(), page))
            .collect();
        let tree = TicketTree::build(pages.keys().copied().collect())?;
        Ok(Self {
            worker,
            tree,
            pages,
        })
    }

    /// What the worker commits to, and reveals.
    #[must_use]
    pub fn tree(&self) -> &TicketTree {
        &self.tree
    }

    /// The winners, each with what shows that it is one.
    ///
    /// # Errors
    /// None that the book's own tree causes.
    pub fn winners(
        &self,
        beacon: Bytes32,
        threshold: U256,
    ) -> Result<Vec<(Opening, &E)>, TreeError> {
        let mut winners = Vec::new();
        for (index, (leaf, page)) in (0..).zip(&self.pages) {
            if luck(beacon, *leaf) > threshold {
                continue;
            }
            let opening = Opening {
                worker: self.worker,
                ticket: page.ticket,
                membership: self.tree.prove(index)?,
                participants: page.participants.clone(),
            };
            winners.push((opening, &page.evidence));
        }
        Ok(winners)
    }
}

impl<E: ExecutionEvidence> Page<E> {
    fn of(worker: PeerKey, config: &RoundConfig, evidence: E) -> Result<Option<Self>, TreeError> {
        let header = evidence.header();
        let (first, next) = config.epoch_ms;
        let participants: Vec<Participant> = config
            .workers
            .iter()
            .filter_map(|worker| {
                let executed_calls = evidence.signed_calls(*worker).filter(|calls| *calls > 0)?;
                Some(Participant {
                    worker: *worker,
                    executed_calls,
                })
            })
            .collect();
        let counts = (first..next).contains(&header.timestamp_ms)
            && config.initiators.contains(&header.init_peer)
            && evidence.is_particle_signed()
            && participants.len() >= config.min_participants
            && participants.iter().any(|one| one.worker == worker);
        if !counts {
            return Ok(None);
        }
        let ticket = Ticket {
            chain_id: config.chain_id,
            deal: config.deal,
            epoch: config.epoch,
            worker,
            particle_digest: header.digest(),
            data_digest: data_digest(evidence.data()),
            participants_root: participants_root(&participants)?,
        };
        Ok(Some(Self {
            ticket,
            participants,
            evidence,
        }))
    }
}
