//! A puzzle for tests and simulations.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sha3::Digest as _;

use crate::{
    Footprint, LocalNonce, Preparation, Prepared, Progress, Puzzle, PuzzleError, PuzzleKey,
    ResultHash, Solver,
};

/// Keccak-256 of key and nonce: nothing about it is hard, and it takes no memory.
///
/// For tests of provers, and for simulations. It can pretend to have a dataset and to be slow.
///
/// ```
/// use ccp::{LocalNonce, Puzzle, PuzzleKey, ToyPuzzle};
///
/// let prepared = ToyPuzzle::default().prepare(&PuzzleKey([1; 32]))?;
/// let hash = prepared.solver()?.hash(&LocalNonce([2; 32]))?;
/// assert_ne!(hash.0, [0; 32]);
/// # Ok::<_, ccp::PuzzleError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ToyPuzzle {
    /// Items of the dataset that it pretends to have.
    pub items: u64,
    /// The time that an item or a hash takes at least.
    pub pause: Duration,
    /// The memory that it says it takes.
    pub footprint: Footprint,
}

impl Puzzle for ToyPuzzle {
    fn prepare(&self, key: &PuzzleKey) -> Result<Arc<dyn Prepared>, PuzzleError> {
        Ok(Arc::new(Toy {
            key: *key,
            pause: self.pause,
        }))
    }

    fn begin(&self, key: &PuzzleKey) -> Result<Arc<dyn Preparation>, PuzzleError> {
        Ok(Arc::new(ToyPreparation {
            puzzle: *self,
            key: *key,
            taken: AtomicU64::new(0),
            done: AtomicU64::new(0),
        }))
    }

    fn footprint(&self) -> Footprint {
        self.footprint
    }
}

#[derive(Debug)]
struct ToyPreparation {
    puzzle: ToyPuzzle,
    key: PuzzleKey,
    taken: AtomicU64,
    done: AtomicU64,
}

impl Preparation for ToyPreparation {
    fn advance(&self, items: u64) -> Result<bool, PuzzleError> {
        let all = self.puzzle.items;
        let start = self.taken.fetch_add(items, Ordering::Relaxed).min(all);
        let count = items.min(all - start);
        rest(
            self.puzzle
                .pause
                .saturating_mul(count.try_into().unwrap_or(u32::MAX)),
        );
        self.done.fetch_add(count, Ordering::Relaxed);
        Ok(count > 0)
    }

    fn progress(&self) -> Progress {
        Progress {
            done: self.done.load(Ordering::Relaxed),
            total: self.puzzle.items,
        }
    }

    fn finish(&self) -> Result<Option<Arc<dyn Prepared>>, PuzzleError> {
        let Progress { done, total } = self.progress();
        if done < total {
            return Ok(None);
        }
        self.puzzle.prepare(&self.key).map(Some)
    }
}

#[derive(Debug)]
struct Toy {
    key: PuzzleKey,
    pause: Duration,
}

impl Prepared for Toy {
    fn solver<'a>(&'a self) -> Result<Box<dyn Solver + 'a>, PuzzleError> {
        Ok(Box::new(ToySolver(self)))
    }
}

struct ToySolver<'a>(&'a Toy);

impl Solver for ToySolver<'_> {
    fn hash(&mut self, nonce: &LocalNonce) -> Result<ResultHash, PuzzleError> {
        rest(self.0.pause);
        let mut hasher = sha3::Keccak256::new();
        hasher.update(self.0.key.0);
        hasher.update(nonce.0);
        Ok(ResultHash(hasher.finalize().into()))
    }
}

fn rest(pause: Duration) {
    if !pause.is_zero() {
        std::thread::sleep(pause);
    }
}
