//! The network's puzzle in safe Rust.

use std::sync::Arc;

use crate::{
    Footprint, LocalNonce, Prepared, Puzzle, PuzzleError, PuzzleKey, ResultHash, Solver,
    randomx::{Cache, Hasher, Parameters},
};

/// Bytes of the cache of a key, and of a solver's scratchpad.
const CACHE: u64 = 256 << 20;
const SCRATCHPAD: u64 = 2 << 20;

/// RandomX with the parameters of the network, in light mode.
///
/// A key takes 256 MiB and about a second, a hash a fraction of a second: enough to verify.
#[derive(Clone, Copy, Debug)]
pub struct PortablePuzzle {
    parameters: Parameters,
}

impl PortablePuzzle {
    /// The puzzle of the network.
    #[must_use]
    pub fn new() -> Self {
        Self::with_parameters(Parameters::NETWORK)
    }

    /// Another variant of RandomX.
    #[must_use]
    pub fn with_parameters(parameters: Parameters) -> Self {
        Self { parameters }
    }
}

impl Default for PortablePuzzle {
    fn default() -> Self {
        Self::new()
    }
}

impl Puzzle for PortablePuzzle {
    fn prepare(&self, key: &PuzzleKey) -> Result<Arc<dyn Prepared>, PuzzleError> {
        match Cache::new(&key.0, self.parameters) {
            Ok(cache) => Ok(Arc::new(cache)),
            Err(error) => Err(PuzzleError::OutOfMemory {
                needed: error.needed as u64,
            }),
        }
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            preparing: CACHE,
            prepared: CACHE,
            solver: SCRATCHPAD,
        }
    }
}

impl Prepared for Cache {
    fn solver<'a>(&'a self) -> Result<Box<dyn Solver + 'a>, PuzzleError> {
        Ok(Box::new(Hasher::new(self)))
    }
}

impl Solver for Hasher<'_> {
    fn hash(&mut self, nonce: &LocalNonce) -> Result<ResultHash, PuzzleError> {
        Ok(ResultHash(Hasher::hash(self, &nonce.0)))
    }
}
