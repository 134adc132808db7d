//! The seam between proofs and the function that makes them hard.

use std::{fmt, ops::ControlFlow, sync::Arc};

use crate::{
    Difficulty, EpochParameters, GlobalNonce, LocalNonce, Proof, PuzzleKey, RawProof, ResultHash,
    UnitId,
};

/// A memory-hard function with a key.
pub trait Puzzle: Send + Sync {
    /// Prepares what is needed to hash with a key; this can take seconds and much memory.
    ///
    /// # Errors
    /// When there is not enough memory, or the implementation fails.
    fn prepare(&self, key: &PuzzleKey) -> Result<Arc<dyn Prepared>, PuzzleError>;

    /// Begins to prepare a key so that several threads can go on with it.
    ///
    /// Where preparing cannot be divided this does all of it.
    ///
    /// # Errors
    /// When there is not enough memory, or the implementation fails.
    fn begin(&self, key: &PuzzleKey) -> Result<Arc<dyn Preparation>, PuzzleError> {
        Ok(Arc::new(Whole(self.prepare(key)?)))
    }

    /// The memory that it takes.
    fn footprint(&self) -> Footprint {
        Footprint::default()
    }

    /// The same function computed another way, with less memory: to check results with, where memory
    /// or processor may have failed.
    fn checker(&self) -> Option<Arc<dyn Puzzle>> {
        None
    }
}

/// Bytes of memory that a puzzle takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// For a key, while it is prepared: the most that is taken at a time.
    pub preparing: u64,
    /// For a key, once it is prepared.
    pub prepared: u64,
    /// For each solver.
    pub solver: u64,
}

/// The preparation of a key, divided into items that any number of threads can compute.
pub trait Preparation: Send + Sync + fmt::Debug {
    /// Takes the next items, at most so many, and computes them; each item is taken once. Says
    /// whether there were any to take.
    ///
    /// # Errors
    /// When the implementation fails: then the preparation cannot be finished.
    fn advance(&self, items: u64) -> Result<bool, PuzzleError>;

    /// How far it is.
    fn progress(&self) -> Progress;

    /// The prepared key once every item is computed.
    ///
    /// # Errors
    /// When the implementation fails.
    fn finish(&self) -> Result<Option<Arc<dyn Prepared>>, PuzzleError>;
}

/// Items of a preparation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Progress {
    /// Those that are computed.
    pub done: u64,
    /// All.
    pub total: u64,
}

/// A preparation that was not divided.
#[derive(Debug)]
pub(crate) struct Whole(pub(crate) Arc<dyn Prepared>);

impl Preparation for Whole {
    fn advance(&self, _items: u64) -> Result<bool, PuzzleError> {
        Ok(false)
    }

    fn progress(&self) -> Progress {
        Progress { done: 1, total: 1 }
    }

    fn finish(&self) -> Result<Option<Arc<dyn Prepared>>, PuzzleError> {
        Ok(Some(Arc::clone(&self.0)))
    }
}

/// A puzzle with its key, to be shared by threads.
pub trait Prepared: Send + Sync + fmt::Debug {
    /// Memory of a thread's own to hash with.
    ///
    /// # Errors
    /// When there is not enough memory.
    fn solver<'a>(&'a self) -> Result<Box<dyn Solver + 'a>, PuzzleError>;
}

/// Hashes local nonces, one thread's worth.
pub trait Solver {
    /// The hash of a nonce.
    ///
    /// # Errors
    /// When the implementation fails.
    fn hash(&mut self, nonce: &LocalNonce) -> Result<ResultHash, PuzzleError>;

    /// Hashes up to `limit` nonces from `start` on, as long as `visit`, which sees each nonce with its
    /// hash, says so. Returns the nonce to go on from.
    ///
    /// An implementation can overlap the hashes; so this is the way to hash many.
    ///
    /// # Errors
    /// When the implementation fails.
    fn scan(
        &mut self,
        start: LocalNonce,
        limit: u64,
        visit: &mut dyn FnMut(LocalNonce, ResultHash) -> ControlFlow<()>,
    ) -> Result<LocalNonce, PuzzleError> {
        let mut nonce = start;
        for _ in 0..limit {
            let hash = self.hash(&nonce)?;
            let hashed = nonce;
            nonce = hashed.next();
            if visit(hashed, hash).is_break() {
                break;
            }
        }
        Ok(nonce)
    }
}

/// Why a puzzle could not be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PuzzleError {
    /// There is not enough memory.
    #[error("the puzzle needs {needed} bytes of memory, which are not available")]
    OutOfMemory {
        /// Bytes that are needed.
        needed: u64,
    },
    /// There is not enough memory, found before any was taken.
    #[error(
        "the puzzle needs {needed} bytes of memory, but only {available} can be taken without harm to \
         what runs already"
    )]
    Refused {
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are available.
        available: u64,
    },
    /// The implementation failed.
    #[error("the puzzle failed: {reason}")]
    Failed {
        /// What it said.
        reason: String,
    },
}

/// Tries up to `tries` nonces from `start` on and returns the first proof with the nonce to go on from.
///
/// # Errors
/// Those of the puzzle.
pub fn search(
    solver: &mut dyn Solver,
    epoch: EpochParameters,
    unit: UnitId,
    start: LocalNonce,
    tries: u64,
) -> Result<(Option<RawProof>, LocalNonce), PuzzleError> {
    let mut found = None;
    let next = solver.scan(start, tries, &mut |local_nonce, result_hash| {
        if !result_hash.meets(&epoch.difficulty) {
            return ControlFlow::Continue(());
        }
        found = Some(RawProof {
            epoch,
            local_nonce,
            cu_id: unit,
            result_hash,
        });
        ControlFlow::Break(())
    })?;
    Ok((found, next))
}

/// Why a proof is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A proof of another unit.
    #[error("proof is for unit {actual}, not {expected}")]
    Unit {
        /// The unit that was expected.
        expected: UnitId,
        /// The unit of the proof.
        actual: UnitId,
    },
    /// A proof of another epoch.
    #[error("proof is for global nonce {actual}, not {expected}")]
    GlobalNonce {
        /// The nonce that was expected.
        expected: GlobalNonce,
        /// The nonce of the proof.
        actual: GlobalNonce,
    },
    /// A proof that was made for another threshold.
    #[error("proof is for difficulty {actual}, not {expected}")]
    Difficulty {
        /// The threshold that was expected.
        expected: Difficulty,
        /// The threshold of the proof.
        actual: Difficulty,
    },
    /// A hash that is greater than the threshold.
    #[error("hash {hash} is greater than difficulty {difficulty}")]
    NotMet {
        /// The hash in the proof.
        hash: ResultHash,
        /// The threshold.
        difficulty: Difficulty,
    },
    /// A hash that the nonce does not have.
    #[error("nonce {nonce} has hash {actual}, not {claimed}")]
    WrongHash {
        /// The nonce in the proof.
        nonce: LocalNonce,
        /// The hash in the proof.
        claimed: ResultHash,
        /// The hash of the nonce.
        actual: ResultHash,
    },
    /// The puzzle could not be computed; this says nothing about the proof.
    #[error(transparent)]
    Puzzle(#[from] PuzzleError),
}

/// Verifies a proof of `unit` for the nonce and the threshold of an epoch.
///
/// What costs nothing is checked first. Many proofs of one unit and epoch are verified faster with
/// a [`Verifier`].
///
/// # Errors
/// The first check that fails.
pub fn verify(
    puzzle: &dyn Puzzle,
    proof: &Proof,
    unit: &UnitId,
    global_nonce: &GlobalNonce,
    difficulty: &Difficulty,
) -> Result<(), VerifyError> {
    let epoch = EpochParameters {
        global_nonce: *global_nonce,
        difficulty: *difficulty,
    };
    check_claims(proof, unit, &epoch)?;
    let prepared = puzzle.prepare(&PuzzleKey::new(global_nonce, unit))?;
    check_hash(proof, &mut *prepared.solver()?)
}

/// Verifies proofs of one unit and epoch.
#[derive(Clone, Debug)]
pub struct Verifier {
    unit: UnitId,
    epoch: EpochParameters,
    prepared: Arc<dyn Prepared>,
}

impl Verifier {
    /// Prepares the puzzle once.
    ///
    /// # Errors
    /// Those of the puzzle.
    pub fn new(
        puzzle: &dyn Puzzle,
        unit: UnitId,
        epoch: EpochParameters,
    ) -> Result<Self, PuzzleError> {
        let prepared = puzzle.prepare(&PuzzleKey::new(&epoch.global_nonce, &unit))?;
        Ok(Self {
            unit,
            epoch,
            prepared,
        })
    }

    /// Verifies a proof.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify(&self, proof: &Proof) -> Result<(), VerifyError> {
        check_claims(proof, &self.unit, &self.epoch)?;
        check_hash(proof, &mut *self.prepared.solver()?)
    }

    /// Verifies proofs on `threads` threads (at least one); the results are in the order of the
    /// proofs.
    pub fn verify_all(&self, proofs: &[Proof], threads: usize) -> Vec<Result<(), VerifyError>> {
        let part = proofs.len().div_ceil(threads.max(1)).max(1);
        std::thread::scope(|scope| {
            let threads: Vec<_> = proofs
                .chunks(part)
                .map(|proofs| (proofs.len(), scope.spawn(|| self.verify_part(proofs))))
                .collect();
            threads
                .into_iter()
                .flat_map(|(count, thread)| {
                    thread.join().unwrap_or_else(|_| {
                        let reason = "a verifying thread panicked".to_owned();
                        vec![Err(PuzzleError::Failed { reason }.into()); count]
                    })
                })
                .collect()
        })
    }

    fn verify_part(&self, proofs: &[Proof]) -> Vec<Result<(), VerifyError>> {
        let mut solver = self.prepared.solver();
        let check = |proof: &Proof| {
            check_claims(proof, &self.unit, &self.epoch)?;
            let solver = solver.as_mut().map_err(|error| error.clone())?;
            check_hash(proof, &mut **solver)
        };
        proofs.iter().map(check).collect()
    }
}

fn check_claims(proof: &Proof, unit: &UnitId, epoch: &EpochParameters) -> Result<(), VerifyError> {
    if proof.cu_id != *unit {
        return Err(VerifyError::Unit {
            expected: *unit,
            actual: proof.cu_id,
        });
    }
    let (expected, actual) = (epoch.global_nonce, proof.id.global_nonce);
    if expected != actual {
        return Err(VerifyError::GlobalNonce { expected, actual });
    }
    let (expected, actual) = (epoch.difficulty, proof.id.difficulty);
    if expected != actual {
        return Err(VerifyError::Difficulty { expected, actual });
    }
    if !proof.result_hash.meets(&expected) {
        return Err(VerifyError::NotMet {
            hash: proof.result_hash,
            difficulty: expected,
        });
    }
    Ok(())
}

fn check_hash(proof: &Proof, solver: &mut dyn Solver) -> Result<(), VerifyError> {
    let actual = solver.hash(&proof.local_nonce)?;
    if actual == proof.result_hash {
        Ok(())
    } else {
        let (nonce, claimed) = (proof.local_nonce, proof.result_hash);
        Err(VerifyError::WrongHash {
            nonce,
            claimed,
            actual,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ProofId, ProofIndex};

    /// Adds key and nonce byte by byte.
    #[derive(Debug)]
    struct Sum(PuzzleKey);

    struct Easy;

    impl Puzzle for Easy {
        fn prepare(&self, key: &PuzzleKey) -> Result<Arc<dyn Prepared>, PuzzleError> {
            Ok(Arc::new(Sum(*key)))
        }
    }

    impl Prepared for Sum {
        fn solver<'a>(&'a self) -> Result<Box<dyn Solver + 'a>, PuzzleError> {
            Ok(Box::new(Sum(self.0)))
        }
    }

    impl Solver for Sum {
        fn hash(&mut self, nonce: &LocalNonce) -> Result<ResultHash, PuzzleError> {
            let mut hash = self.0.0;
            for (byte, addend) in hash.iter_mut().zip(nonce.0) {
                *byte = byte.wrapping_add(addend);
            }
            Ok(ResultHash(hash))
        }
    }

    fn epoch() -> EpochParameters {
        EpochParameters {
            global_nonce: GlobalNonce([1; 32]),
            difficulty: Difficulty([0x0f; 32]),
        }
    }

    fn found() -> Proof {
        let unit = UnitId([2; 32]);
        let prepared = Easy
            .prepare(&PuzzleKey::new(&epoch().global_nonce, &unit))
            .unwrap();
        let mut solver = prepared.solver().unwrap();
        let start = LocalNonce([0; 32]);
        let (proof, next) = search(&mut *solver, epoch(), unit, start, 256).unwrap();
        let proof = proof.unwrap();
        // The nonce that is published belongs to the hash, not to the one after it.
        assert_eq!(solver.hash(&proof.local_nonce), Ok(proof.result_hash));
        assert_eq!(proof.local_nonce.next(), next);
        proof.number(ProofIndex(1))
    }

    #[test]
    fn a_search_that_finds_nothing_goes_on() {
        let prepared = Easy.prepare(&PuzzleKey([0; 32])).unwrap();
        let mut solver = prepared.solver().unwrap();
        let hard = EpochParameters {
            difficulty: Difficulty([0; 32]),
            ..epoch()
        };
        let start = LocalNonce([1; 32]);
        let (proof, next) = search(&mut *solver, hard, UnitId([2; 32]), start, 3).unwrap();
        assert_eq!((proof, next), (None, start.next().next().next()));
    }

    #[test]
    fn every_check_has_its_error() {
        let proof = found();
        let epoch = epoch();
        let check = |proof: &Proof| {
            verify(
                &Easy,
                proof,
                &UnitId([2; 32]),
                &epoch.global_nonce,
                &epoch.difficulty,
            )
        };
        assert_eq!(check(&proof), Ok(()));
        let unit = Proof {
            cu_id: UnitId([3; 32]),
            ..proof
        };
        assert!(matches!(check(&unit), Err(VerifyError::Unit { .. })));
        let id = ProofId {
            global_nonce: GlobalNonce([9; 32]),
            ..proof.id
        };
        assert!(matches!(
            check(&Proof { id, ..proof }),
            Err(VerifyError::GlobalNonce { .. })
        ));
        let id = ProofId {
            difficulty: Difficulty([0xff; 32]),
            ..proof.id
        };
        assert!(matches!(
            check(&Proof { id, ..proof }),
            Err(VerifyError::Difficulty { .. })
        ));
        let result_hash = ResultHash([0x10; 32]);
        assert!(matches!(
            check(&Proof {
                result_hash,
                ..proof
            }),
            Err(VerifyError::NotMet { .. })
        ));
        let result_hash = ResultHash([0; 32]);
        assert!(matches!(
            check(&Proof {
                result_hash,
                ..proof
            }),
            Err(VerifyError::WrongHash { .. })
        ));
    }

    #[test]
    fn batches_keep_their_order() {
        let good = found();
        let bad = Proof {
            local_nonce: good.local_nonce.next(),
            ..good
        };
        let verifier = Verifier::new(&Easy, UnitId([2; 32]), epoch()).unwrap();
        let proofs = [good, bad, good, good, bad];
        for threads in [0, 1, 2, 3, 9] {
            let results = verifier.verify_all(&proofs, threads);
            let valid: Vec<bool> = results.iter().map(Result::is_ok).collect();
            assert_eq!(valid, [true, false, true, true, false], "{threads} threads");
        }
        assert!(verifier.verify_all(&[], 2).is_empty());
        assert_eq!(verifier.verify(&good), Ok(()));
    }
}
