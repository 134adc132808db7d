//! The proofs of an epoch, numbered and on disk before anybody sees them.

use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::files::{self, BAD, GONE, StateError, io_error};
use crate::{BatchRequest, BatchResponse, EpochParameters, Proof, ProofIndex, RawProof, UnitId};

/// Proofs that are kept for a unit and epoch: far more than anybody may submit.
pub const MAX_PROOFS: usize = 4096;
/// Proofs that wait until they can be written.
const MAX_WAITING: usize = 1024;

/// What became of a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// It is on disk and can be asked for.
    Kept(Proof),
    /// It could not be written and waits in memory.
    Waiting,
    /// It belongs to another epoch, or there are enough.
    Dropped,
}

/// The proofs.
#[derive(Debug)]
pub(super) struct Ledger {
    /// `cc_proofs`.
    folder: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    epoch: Option<EpochParameters>,
    units: BTreeMap<UnitId, Kept>,
    waiting: VecDeque<RawProof>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The last number that was given.
    last: u64,
    proofs: BTreeMap<u64, Proof>,
}

impl Ledger {
    /// Reads what is below a folder. Damaged files are put aside, so that what is left is right.
    pub(super) fn open(state: &Path) -> Result<Self, StateError> {
        let folder = state.join("cc_proofs");
        fs::create_dir_all(&folder).map_err(io_error(&folder, "make this folder"))?;
        let mut inner = Inner::default();
        for name in files::names(&folder)? {
            let path = folder.join(&name);
            match name.parse::<UnitId>() {
                Ok(unit) if path.is_dir() => {
                    for name in files::names(&path)? {
                        inner.load(Some(unit), &name, &path.join(&name))?;
                    }
                }
                // As other provers keep them.
                _ if path.is_file() => inner.load(None, &name, &path)?,
                _ => tracing::warn!("{} is ignored: it is no unit", path.display()),
            }
        }
        Ok(Self {
            folder,
            inner: Mutex::new(inner),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what is a proof in this epoch and forgets everything else. When only the threshold
    /// changes, proofs that meet it keep their numbers.
    ///
    /// A failure leaves proofs that nobody gets: they do not belong to the epoch.
    pub(super) fn begin(&self, epoch: EpochParameters) -> Result<(), StateError> {
        let mut inner = self.inner();
        let before = inner.epoch.replace(epoch);
        let over = before.is_some_and(|before| before.global_nonce != epoch.global_nonce);
        inner
            .waiting
            .retain(|proof| proof.epoch.global_nonce == epoch.global_nonce);
        let mut outcome = Ok(());
        for (unit, kept) in &mut inner.units {
            let folder = self.folder.join(unit.to_string());
            let result = kept.begin(&folder, epoch, over);
            outcome = outcome.and(result);
        }
        inner.units.retain(|_, kept| kept.last > 0);
        outcome
    }

    /// Numbers a proof and keeps it.
    pub(super) fn record(&self, proof: RawProof) -> Result<Recorded, StateError> {
        let mut inner = self.inner();
        if !inner.waiting.is_empty() {
            // In the order in which they were found, so that no number is given twice.
            if inner.waiting.len() >= MAX_WAITING {
                return Ok(Recorded::Dropped);
            }
            inner.waiting.push_back(proof);
            return Ok(Recorded::Waiting);
        }
        let recorded = inner.write(&self.folder, proof);
        if recorded.is_err() {
            inner.waiting.push_back(proof);
        }
        recorded
    }

    /// Writes what could not be written before; how many still wait.
    pub(super) fn write_waiting(&self) -> Result<usize, StateError> {
        let mut inner = self.inner();
        while let Some(proof) = inner.waiting.front().copied() {
            inner.write(&self.folder, proof)?;
            inner.waiting.pop_front();
        }
        Ok(0)
    }

    /// Proofs that can be asked for, and those that wait for the disk.
    pub(super) fn counts(&self) -> (usize, usize) {
        let inner = self.inner();
        let kept = inner.units.values().map(|kept| kept.proofs.len()).sum();
        (kept, inner.waiting.len())
    }

    /// At most `limit` proofs with greater numbers than those known, smallest first.
    pub(super) fn after(
        &self,
        known: &BTreeMap<UnitId, ProofIndex>,
        limit: usize,
    ) -> Vec<BatchResponse> {
        let inner = self.inner();
        let mut found: Vec<&Proof> = known
            .iter()
            .flat_map(|(unit, last)| inner.proofs_after(unit, *last).take(limit))
            .collect();
        found.sort_by_key(|proof| (proof.id.idx, proof.cu_id));
        group(found.into_iter().take(limit))
    }

    /// Full batches, at most `max` in turns over the units; nothing when there are less than `min`.
    pub(super) fn batches(
        &self,
        requests: &BTreeMap<UnitId, BatchRequest>,
        min: usize,
        max: usize,
    ) -> Vec<BatchResponse> {
        let inner = self.inner();
        let mut units: Vec<(Vec<&Proof>, usize)> = Vec::new();
        for (unit, request) in requests {
            let size = request.proof_batch_size.max(1);
            let proofs: Vec<&Proof> = inner
                .proofs_after(unit, request.last_seen_proof_idx)
                .collect();
            units.push((proofs, size));
        }
        let full = |(proofs, size): &(Vec<&Proof>, usize)| proofs.len() / size;
        if units.iter().map(full).sum::<usize>() < min {
            return Vec::new();
        }
        // The first batch of each unit, then the second of each.
        let rounds = units.iter().map(full).max().unwrap_or_default();
        let mut taken = vec![0_usize; units.len()];
        let mut left = max;
        for round in 0..rounds.min(max) {
            for (unit, taken) in units.iter().zip(&mut taken) {
                if left > 0 && full(unit) > round {
                    *taken += unit.1;
                    left -= 1;
                }
            }
        }
        let proofs = units.iter().zip(taken);
        group(proofs.flat_map(|((proofs, _), taken)| proofs.iter().copied().take(taken)))
    }
}

impl Inner {
    /// Reads one file.
    fn load(&mut self, unit: Option<UnitId>, name: &str, path: &Path) -> Result<(), StateError> {
        // Numbers of damaged proofs are not given again: they may have been seen.
        let number = name
            .split_once(['.', '-'])
            .map_or(name, |(number, _)| number);
        let Ok(number) = number.parse::<u64>() else {
            tracing::warn!("{} is ignored: its name is no number", path.display());
            return Ok(());
        };
        if let Some(unit) = unit {
            let kept = self.units.entry(unit).or_default();
            kept.last = kept.last.max(number);
        }
        if name.ends_with(BAD) || name.ends_with(GONE) {
            return Ok(());
        }
        let read = files::text(path).and_then(|text| {
            let text = text.unwrap_or_default();
            let proof: Proof = files::unseal(path, &text, |text| serde_json::from_str(text).ok())?;
            let named = proof.id.idx.0 == number && unit.is_none_or(|unit| unit == proof.cu_id);
            match named && proof.id.idx.0 > 0 {
                true => Ok(proof),
                false => Err(files::damaged(path, "it has the proof of another name")),
            }
        });
        match read {
            Ok(proof) => {
                let kept = self.units.entry(proof.cu_id).or_default();
                kept.last = kept.last.max(number);
                kept.proofs.insert(number, proof);
                Ok(())
            }
            Err(error @ StateError::Damaged { .. }) => {
                let aside = files::put_aside(path)?;
                tracing::error!("{error}; it was put aside as {}", aside.display());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, folder: &Path, proof: RawProof) -> Result<Recorded, StateError> {
        let Some(epoch) = self.epoch else {
            return Ok(Recorded::Dropped);
        };
        // A proof that was found just before the threshold changed may still be one.
        let same = proof.epoch.global_nonce == epoch.global_nonce;
        if !same || !proof.result_hash.meets(&epoch.difficulty) {
            return Ok(Recorded::Dropped);
        }
        let kept = self.units.entry(proof.cu_id).or_default();
        if kept.proofs.len() >= MAX_PROOFS {
            return Ok(Recorded::Dropped);
        }
        let number = kept.last + 1;
        let proof = RawProof { epoch, ..proof }.number(ProofIndex(number));
        let folder = folder.join(proof.cu_id.to_string());
        if !folder.is_dir() {
            fs::create_dir(&folder).map_err(io_error(&folder, "make this folder"))?;
            files::sync_folder(&folder)?;
        }
        files::write(&folder.join(number.to_string()), &proof)?;
        kept.last = number;
        kept.proofs.insert(number, proof);
        Ok(Recorded::Kept(proof))
    }

    fn proofs_after(&self, unit: &UnitId, last: ProofIndex) -> impl Iterator<Item = &Proof> {
        let epoch = self.epoch;
        self.units
            .get(unit)
            .into_iter()
            .flat_map(move |kept| kept.proofs.range(last.0.saturating_add(1)..))
            .map(|(_, proof)| proof)
            .filter(move |proof| {
                epoch.is_some_and(|epoch| {
                    proof.id.global_nonce == epoch.global_nonce
                        && proof.id.difficulty == epoch.difficulty
                })
            })
    }
}

impl Kept {
    /// Begins an epoch, or another threshold unless the last epoch is `over`.
    fn begin(
        &mut self,
        folder: &Path,
        epoch: EpochParameters,
        over: bool,
    ) -> Result<(), StateError> {
        let mut outcome = Ok(());
        let same_epoch = |proof: &Proof| proof.id.global_nonce == epoch.global_nonce;
        if over || !self.proofs.is_empty() && !self.proofs.values().any(same_epoch) {
            // Numbers begin again, also those of damaged files.
            self.last = 0;
        }
        for (number, proof) in std::mem::take(&mut self.proofs) {
            let path = folder.join(number.to_string());
            let stays = same_epoch(&proof) && proof.result_hash.meets(&epoch.difficulty);
            let changed = if !stays && number == self.last {
                let gone = folder.join(format!("{number}{GONE}"));
                fs::rename(&path, gone).map_err(io_error(&path, "rename"))
            } else if !stays {
                remove(&path)
            } else if proof.id.difficulty == epoch.difficulty {
                self.proofs.insert(number, proof);
                Ok(())
            } else {
                let mut renamed = proof;
                renamed.id.difficulty = epoch.difficulty;
                let written = files::write(&path, &renamed);
                // Otherwise it keeps its old threshold, with which nobody gets it, for another try.
                let kept = if written.is_ok() { renamed } else { proof };
                self.proofs.insert(number, kept);
                written
            };
            outcome = outcome.and(changed);
        }
        if self.last == 0 && outcome.is_ok() {
            for name in files::names(folder).unwrap_or_default() {
                outcome = outcome.and(remove(&folder.join(name)));
            }
            if outcome.is_ok() && folder.is_dir() {
                fs::remove_dir(folder).map_err(io_error(folder, "remove"))?;
            }
        }
        outcome
    }
}

fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error(path, "remove")(error))
        }
        _ => Ok(()),
    }
}

/// One response for each unit, units in the order of their ids, proofs in that of their numbers.
fn group<'a>(proofs: impl Iterator<Item = &'a Proof>) -> Vec<BatchResponse> {
    let mut units = BTreeMap::<UnitId, Vec<Proof>>::new();
    for proof in proofs {
        units.entry(proof.cu_id).or_default().push(*proof);
    }
    units
        .into_iter()
        .map(|(cu_id, proof_batches)| BatchResponse {
            cu_id,
            proof_batches,
        })
        .collect()
}

#[cfg(test)]
mod tests;
