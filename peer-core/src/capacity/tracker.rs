//! What is remembered of proofs (§5.2).

use std::collections::BTreeMap;

use ccp::{GlobalNonce, ProofIndex, UnitId};
use serde::{Deserialize, Serialize};

use crate::{
    records::{self, RecordError},
    store::Change,
    store::Table,
};

/// The key of the record in the table of the peer.
pub(super) const KEY: &str = "proof-tracker";

/// The last proof of each unit that was handed on, and how many the chain has confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProofTracker {
    /// The epoch that is counted.
    pub(super) epoch: u64,
    /// The nonce whose proofs are numbered.
    pub(super) global_nonce: Option<GlobalNonce>,
    pub(super) last_seen: BTreeMap<UnitId, ProofIndex>,
    pub(super) confirmed: BTreeMap<UnitId, u64>,
}

/// The form on disk.
#[derive(Serialize, Deserialize)]
struct Saved {
    epoch: u64,
    global_nonce: Option<[u8; 32]>,
    last_seen: Vec<([u8; 32], u64)>,
    confirmed: Vec<([u8; 32], u64)>,
}

impl ProofTracker {
    /// Confirmed proofs of a unit in the epoch.
    #[must_use]
    pub fn confirmed(&self, unit: &UnitId) -> u64 {
        self.confirmed.get(unit).copied().unwrap_or_default()
    }

    /// The last proof of a unit that was handed on; 0 before the first.
    #[must_use]
    pub fn last_seen(&self, unit: &UnitId) -> ProofIndex {
        self.last_seen.get(unit).copied().unwrap_or(ProofIndex(0))
    }

    pub(super) fn begin_epoch(&mut self, epoch: u64) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.confirmed.clear();
        }
    }

    pub(super) fn begin_nonce(&mut self, nonce: GlobalNonce) {
        if self.global_nonce != Some(nonce) {
            self.global_nonce = Some(nonce);
            self.last_seen.clear();
        }
    }

    pub(super) fn saved(&self) -> Result<Change, RecordError> {
        let saved = Saved {
            epoch: self.epoch,
            global_nonce: self.global_nonce.map(|nonce| nonce.0),
            last_seen: self
                .last_seen
                .iter()
                .map(|(unit, last)| (unit.0, last.0))
                .collect(),
            confirmed: self
                .confirmed
                .iter()
                .map(|(unit, count)| (unit.0, *count))
                .collect(),
        };
        Ok(Change::put(Table::Peer, KEY, records::encode(&saved)?))
    }

    pub(super) fn read(record: &[u8]) -> Result<Self, RecordError> {
        let saved: Saved = records::decode(record)?;
        let last_seen = saved.last_seen.into_iter();
        let confirmed = saved.confirmed.into_iter();
        Ok(Self {
            epoch: saved.epoch,
            global_nonce: saved.global_nonce.map(GlobalNonce),
            last_seen: last_seen
                .map(|(unit, last)| (UnitId(unit), ProofIndex(last)))
                .collect(),
            confirmed: confirmed
                .map(|(unit, count)| (UnitId(unit), count))
                .collect(),
        })
    }
}
