//! What a daemon proves, on disk.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{self, StateError};
use crate::{Allocation, EpochParameters, GlobalNonce, LogicalCore, prover::Commitment};

/// Nonces of past epochs that are remembered.
const PAST: usize = 16;

/// What is saved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    /// What is proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) commitment: Option<Commitment>,
    /// The nonce of the last epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) nonce: Option<GlobalNonce>,
    /// Those before it, the latest last.
    pub(super) past: Vec<GlobalNonce>,
    /// Where the daemon's own threads run.
    pub(super) utility_cores: Vec<LogicalCore>,
}

/// What other provers save.
#[derive(Deserialize)]
struct Foreign {
    epoch_params: EpochParameters,
    cu_allocation: Allocation,
    #[serde(default)]
    utility_cores: Vec<LogicalCore>,
}

/// The file, with what it has.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    saved: Saved,
}

impl Store {
    /// Reads the file. A damaged one is put aside: then there is nothing to prove until somebody says
    /// so, and the proofs that there are stay.
    pub(super) fn open(folder: &Path) -> Result<Self, StateError> {
        let path = folder.join("state.json");
        let read = files::text(&path).and_then(|text| match text {
            None => Ok(Saved::default()),
            Some(text) => files::unseal(&path, &text, |text| {
                let foreign: Option<Foreign> = serde_json::from_str(text).ok()?;
                Some(foreign.map_or_else(Saved::default, Saved::from))
            }),
        });
        let saved = match read {
            Ok(saved) => saved,
            Err(error @ StateError::Damaged { .. }) => {
                let aside = files::put_aside(&path)?;
                tracing::error!(
                    "{error}; it was put aside as {}: nothing is proven until the next commitment",
                    aside.display()
                );
                Saved::default()
            }
            Err(error) => return Err(error),
        };
        Ok(Self { path, saved })
    }

    pub(super) fn saved(&self) -> &Saved {
        &self.saved
    }

    /// Whether an epoch is over already.
    pub(super) fn is_past(&self, nonce: &GlobalNonce) -> bool {
        self.saved.past.contains(nonce)
    }

    /// Saves what is proven from now on.
    pub(super) fn commit(&mut self, commitment: &Commitment) -> Result<(), StateError> {
        let mut saved = self.saved.clone();
        let nonce = commitment.epoch.global_nonce;
        if let Some(before) = saved.nonce.replace(nonce)
            && before != nonce
        {
            saved.past.push(before);
            let surplus = saved.past.len().saturating_sub(PAST);
            saved.past.drain(..surplus);
        }
        saved.commitment = Some(commitment.clone());
        self.save(saved)
    }

    /// Saves that nothing is proven.
    pub(super) fn withdraw(&mut self) -> Result<(), StateError> {
        self.save(Saved {
            commitment: None,
            ..self.saved.clone()
        })
    }

    /// Saves where the daemon's own threads run.
    pub(super) fn set_utility_cores(&mut self, cores: Vec<LogicalCore>) -> Result<(), StateError> {
        self.save(Saved {
            utility_cores: cores,
            ..self.saved.clone()
        })
    }

    fn save(&mut self, saved: Saved) -> Result<(), StateError> {
        if saved != self.saved {
            files::write(&self.path, &saved)?;
            self.saved = saved;
        }
        Ok(())
    }
}

impl From<Foreign> for Saved {
    fn from(foreign: Foreign) -> Self {
        Self {
            commitment: Some(Commitment {
                epoch: foreign.epoch_params,
                allocation: foreign.cu_allocation,
            }),
            nonce: Some(foreign.epoch_params.global_nonce),
            past: Vec::new(),
            utility_cores: foreign.utility_cores,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Difficulty, PhysicalCore, UnitId};

    fn commitment(nonce: u8) -> Commitment {
        Commitment {
            epoch: EpochParameters {
                global_nonce: GlobalNonce([nonce; 32]),
                difficulty: Difficulty([9; 32]),
            },
            allocation: [(PhysicalCore(10), UnitId([7; 32]))].into(),
        }
    }

    #[test]
    fn what_is_saved_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        assert_eq!(*store.saved(), Saved::default());
        for nonce in 0..20 {
            store.commit(&commitment(nonce)).unwrap();
        }
        store.set_utility_cores(vec![LogicalCore(1)]).unwrap();
        let again = Store::open(folder.path()).unwrap();
        assert_eq!(again.saved(), store.saved());
        assert_eq!(again.saved().commitment, Some(commitment(19)));
        assert_eq!(again.saved().past.len(), PAST);
        assert!(again.is_past(&GlobalNonce([18; 32])) && !again.is_past(&GlobalNonce([19; 32])));
        store.withdraw().unwrap();
        let again = Store::open(folder.path()).unwrap();
        assert_eq!(again.saved().commitment, None);
        assert!(!again.is_past(&GlobalNonce([19; 32])));
    }

    #[test]
    fn states_of_other_provers_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let word = |byte: &str| byte.repeat(32);
        let text = format!(
            "{{\"epoch_params\":{{\"global_nonce\":\"{}\",\"difficulty\":\"{}\"}},\
             \"cu_allocation\":{{\"10\":\"{}\"}},\"msr_state\":{{\"msr_preset\":{{\"items\":[]}}}},\
             \"utility_cores\":[3]}}",
            word("01"),
            word("09"),
            word("07")
        );
        fs::write(folder.path().join("state.json"), text).unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.saved().commitment, Some(commitment(1)));
        assert_eq!(store.saved().utility_cores, [LogicalCore(3)]);
        fs::write(folder.path().join("state.json"), "null").unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(*store.saved(), Saved::default());
    }

    #[test]
    fn damaged_states_are_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        Store::open(folder.path())
            .unwrap()
            .commit(&commitment(1))
            .unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let mut flipped = text.clone().into_bytes();
        let at = text.find("0707").unwrap();
        flipped[at] ^= 1;
        for bytes in [&text.as_bytes()[..text.len() / 2], &flipped, b"", b"{}"] {
            fs::write(&path, bytes).unwrap();
            let store = Store::open(folder.path()).unwrap();
            assert_eq!(*store.saved(), Saved::default());
        }
        // All are kept for a person to look at.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    }
}
