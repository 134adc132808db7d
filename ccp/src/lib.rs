//! Proof of capacity: a provider proves, epoch after epoch, that each compute unit that he sells
//! is really there, and anyone can verify it.
//!
//! A unit and the nonce of an epoch make the key of a memory-hard function, RandomX in a variant
//! of the network. A proof is a local nonce whose hash is not greater than the difficulty.
//!
//! ```no_run
//! use ccp::{Difficulty, EpochParameters, GlobalNonce, LocalNonce, PortablePuzzle, ProofIndex,
//!     Puzzle, PuzzleKey, UnitId};
//!
//! let puzzle = PortablePuzzle::new();
//! let (unit, mut easy) = (UnitId([2; 32]), [0xff; 32]);
//! easy[0] = 0x3f; // one hash in four
//! let epoch =
//!     EpochParameters { global_nonce: GlobalNonce([1; 32]), difficulty: Difficulty(easy) };
//!
//! // The prover.
//! let prepared = puzzle.prepare(&PuzzleKey::new(&epoch.global_nonce, &unit))?;
//! let mut solver = prepared.solver()?;
//! let start = LocalNonce([3; 32]); // random bytes
//! let (proof, _) = ccp::search(&mut *solver, epoch, unit, start, 100)?;
//! let proof = proof.ok_or("no luck")?.number(ProofIndex(1));
//!
//! // Anyone else.
//! ccp::verify(&puzzle, &proof, &unit, &epoch.global_nonce, &epoch.difficulty)?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layout
//!
//! | item | what |
//! |---|---|
//! | [`GlobalNonce`], [`Difficulty`], [`UnitId`], … | 32-byte words with their text forms |
//! | [`Proof`], [`BatchRequest`], … | what travels between prover and peer |
//! | [`Puzzle`], [`Prepared`], [`Solver`] | the seam for the memory-hard function |
//! | [`verify`], [`Verifier`] | verification, one by one or in batches |
//! | `daemon::Daemon` | the prover as a program: JSON-RPC, metrics, state on disk (feature `daemon`) |
//! | `service::Service` | a prover with its memory on disk, for a process of one's own (feature `service`) |
//! | `prover::Prover` | threads that prove units on the cores allocated to them (feature `prover`) |
//! | [`audit`] | what proofs say about a provider: his hash rate, and whether he claims too much |
//! | [`ToyPuzzle`] | a puzzle for tests and simulations |
//! | `NativePuzzle` | RandomX by the C++ library, with the dataset (feature `native`) |
//! | `PortablePuzzle`, `randomx` | RandomX in safe Rust (feature `portable`, default) |
//!
//! # Invariants
//!
//! Verification depends on its arguments only and gives the same result on every platform,
//! wasm32 included. There is no unsafe code, and no C unless it is asked for with the feature `native`.
//! No input makes it panic.

pub mod audit;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "native")]
mod native;
#[cfg(feature = "portable")]
mod portable;
mod proof;
#[cfg(feature = "prover")]
pub mod prover;
mod puzzle;
#[cfg(feature = "portable")]
pub mod randomx;
#[cfg(feature = "service")]
pub mod service;
mod toy;
mod types;

#[cfg(feature = "native")]
pub use native::{Argon2, NativeOptions, NativePuzzle};
#[cfg(feature = "portable")]
pub use portable::PortablePuzzle;
pub use proof::{BatchRequest, BatchResponse, Proof, ProofId, RawProof};
pub use puzzle::{
    Footprint, Preparation, Prepared, Progress, Puzzle, PuzzleError, Solver, Verifier, VerifyError,
    search, verify,
};
pub use toy::ToyPuzzle;
pub use types::{
    Allocation, Difficulty, EpochParameters, GlobalNonce, LocalNonce, LogicalCore, ParseError,
    PhysicalCore, ProofIndex, PuzzleKey, ResultHash, UnitId,
};
