use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::{Duration, Instant},
};

use super::*;
use crate::{
    EpochParameters, Footprint, GlobalNonce, LogicalCore, ProofIndex, ResultHash, ToyPuzzle, verify,
};

/// Long enough for any of it on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Sender {
    proofs: SyncSender<RawProof>,
    failures: SyncSender<(UnitId, PuzzleError)>,
}

impl ProofSink for Sender {
    fn found(&self, _: WorkerId, proof: RawProof) {
        // Full: the test has seen enough.
        let _ = self.proofs.try_send(proof);
    }

    fn failed(&self, _: WorkerId, unit: UnitId, error: &PuzzleError) {
        let _ = self.failures.try_send((unit, error.clone()));
    }
}

struct Rig {
    prover: Prover,
    proofs: Receiver<RawProof>,
    failures: Receiver<(UnitId, PuzzleError)>,
}

fn rig(puzzle: impl Puzzle + 'static, memory: MemoryBudget) -> Rig {
    let (proofs, found) = sync_channel(100);
    let (failures, failed) = sync_channel(100);
    let options = ProverOptions {
        // Two cores of two threads each, wherever the test runs.
        topology: Topology::new([[0, 1], [2, 3]].map(|core| core.map(LogicalCore).to_vec())),
        threads_per_core: None,
        hashes_per_round: 10,
        dataset_chunk: 3,
        pin: false,
        memory,
        check_every: 1,
    };
    Rig {
        prover: Prover::new(
            Arc::new(puzzle),
            Arc::new(Sender { proofs, failures }),
            options,
        ),
        proofs: found,
        failures: failed,
    }
}

fn unlimited() -> MemoryBudget {
    MemoryBudget::new(|| None)
}

fn commitment(nonce: u8, difficulty: u8, units: &[u8]) -> Commitment {
    let cores = (0..).map(PhysicalCore);
    let mut threshold = [0xff; 32];
    threshold[0] = difficulty;
    Commitment {
        epoch: EpochParameters {
            global_nonce: GlobalNonce([nonce; 32]),
            difficulty: Difficulty(threshold),
        },
        allocation: cores
            .zip(units.iter().map(|unit| UnitId([*unit; 32])))
            .collect(),
    }
}

/// Slow enough that threads do not fill the machine.
fn toy(items: u64) -> ToyPuzzle {
    ToyPuzzle {
        items,
        pause: Duration::from_micros(200),
        footprint: Footprint {
            preparing: 1000,
            prepared: 800,
            solver: 24,
        },
    }
}

impl Rig {
    /// The first proof that satisfies.
    fn wait(&self, what: &str, satisfies: impl Fn(&RawProof) -> bool) -> RawProof {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Ok(proof) = self.proofs.recv_timeout(PATIENCE)
                && satisfies(&proof)
            {
                return proof;
            }
        }
        panic!("no proof: {what}");
    }
}

#[test]
fn two_units_are_proven_on_two_cores() {
    let rig = rig(toy(50), unlimited());
    rig.prover.commit(commitment(1, 0x0f, &[1, 2])).unwrap();
    for unit in [1, 2] {
        let proof = rig.wait("unit", |proof| proof.cu_id == UnitId([unit; 32]));
        let epoch = proof.epoch;
        verify(
            &toy(0),
            &proof.number(ProofIndex(1)),
            &UnitId([unit; 32]),
            &epoch.global_nonce,
            &epoch.difficulty,
        )
        .unwrap();
    }
    let workers = rig.prover.workers();
    assert_eq!(workers.len(), 4);
    assert!(
        rig.prover
            .units()
            .iter()
            .all(|unit| unit.phase == Phase::Proving)
    );
    assert!(
        workers
            .iter()
            .any(|worker| worker.hashes > 0 && worker.proofs > 0)
    );
}

#[test]
fn epochs_and_difficulties_follow_each_other() {
    let rig = rig(toy(20), unlimited());
    rig.prover.commit(commitment(1, 0x0f, &[1, 1])).unwrap();
    rig.wait("epoch 1", |_| true);
    let before: u64 = rig
        .prover
        .workers()
        .iter()
        .map(|worker| worker.hashes)
        .sum();
    rig.prover.commit(commitment(1, 0x07, &[1, 1])).unwrap();
    let harder = commitment(1, 0x07, &[]).epoch;
    let proof = rig.wait("harder", |proof| proof.epoch == harder);
    assert!(proof.result_hash <= ResultHash(harder.difficulty.0));
    let after: u64 = rig
        .prover
        .workers()
        .iter()
        .map(|worker| worker.hashes)
        .sum();
    assert!(after > before);
    rig.prover.commit(commitment(2, 0x07, &[1, 2])).unwrap();
    let next = commitment(2, 0x07, &[]).epoch;
    for unit in [1, 2] {
        rig.wait("epoch 2", |proof| {
            proof.epoch == next && proof.cu_id == UnitId([unit; 32])
        });
    }
    rig.prover.pause(UnitId([1; 32])).unwrap();
    rig.prover.resume(UnitId([1; 32])).unwrap();
    rig.wait("resumed", |proof| proof.cu_id == UnitId([1; 32]));
    rig.prover.withdraw();
    assert!(rig.prover.units().is_empty());
}

#[test]
fn commitments_that_cannot_be_proven_change_nothing() {
    let rig = rig(toy(0), unlimited());
    rig.prover.commit(commitment(1, 0x0f, &[1])).unwrap();
    let error = rig
        .prover
        .commit(commitment(2, 0x0f, &[1, 2, 3]))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "core 2 does not exist: this machine has the physical cores 0 to 1"
    );
    let mut zero = commitment(2, 0, &[1]);
    zero.epoch.difficulty = Difficulty([0; 32]);
    let error = rig.prover.commit(zero).unwrap_err();
    assert!(
        matches!(error, ProverError::ZeroDifficulty { .. }),
        "{error}"
    );
    let unknown = rig.prover.pause(UnitId([9; 32])).unwrap_err();
    assert!(
        matches!(unknown, ProverError::UnknownUnit { .. }),
        "{unknown}"
    );
    rig.wait("the first", |proof| {
        proof.epoch.global_nonce == GlobalNonce([1; 32])
    });
}

#[test]
fn memory_that_is_not_there_is_refused_and_others_go_on() {
    // Enough for one key of 1,024 bytes, once the spare part is off.
    let budget = MemoryBudget::new(|| Some((128 << 20) + 1500));
    let rig = rig(toy(400), budget);
    rig.prover.commit(commitment(1, 0x0f, &[1, 2])).unwrap();
    let (unit, error) = rig.failures.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        error,
        PuzzleError::Refused {
            needed: 1024,
            available: 476
        }
    );
    let other = UnitId([3; 32].map(|byte: u8| byte - unit.0[0]));
    rig.wait("the other", |proof| proof.cu_id == other);
    // Once the other has its memory there is room again, as far as this budget knows.
    rig.prover.retry();
    rig.wait("the refused", |proof| proof.cu_id == unit);
}

/// Has a checker that disagrees.
struct Doubtful;

impl Puzzle for Doubtful {
    fn prepare(&self, key: &crate::PuzzleKey) -> Result<Arc<dyn crate::Prepared>, PuzzleError> {
        let other = crate::PuzzleKey(key.0.map(|byte| !byte));
        toy(0).prepare(&other)
    }

    fn checker(&self) -> Option<Arc<dyn Puzzle>> {
        Some(Arc::new(toy(0)))
    }
}

#[test]
fn wrong_hashes_are_no_proofs() {
    let rig = rig(Doubtful, unlimited());
    rig.prover.commit(commitment(1, 0x0f, &[1])).unwrap();
    let (_, error) = rig.failures.recv_timeout(PATIENCE).unwrap();
    assert!(
        error.to_string().contains("memory or processor fail"),
        "{error}"
    );
    assert!(rig.proofs.try_recv().is_err());
}

/// Panics.
struct Broken;

impl Puzzle for Broken {
    fn prepare(&self, _: &crate::PuzzleKey) -> Result<Arc<dyn crate::Prepared>, PuzzleError> {
        panic!("broken on purpose");
    }
}

#[test]
fn a_puzzle_that_panics_has_failed() {
    let rig = rig(Broken, unlimited());
    rig.prover.commit(commitment(1, 0x0f, &[1])).unwrap();
    let (unit, error) = rig.failures.recv_timeout(PATIENCE).unwrap();
    assert_eq!(unit, UnitId([1; 32]));
    assert!(matches!(error, PuzzleError::Failed { .. }));
}
