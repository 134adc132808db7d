//! Proofs of capacity: drives a prover, in this process or behind JSON-RPC (§5 of the description
//! of capacity and deals).
//!
//! [`CapacityState`] decides: which core proves which unit, what to ask the prover for, which of its
//! proofs count. It has no clock, no prover and no chain. [`Capacity`] moves it: what happens on the
//! chain goes in as [`CapacityEvent`]s, proofs come out at a [`ProofReceiver`]. [`MarketProofs`] is both ends
//! on a chain.
//!
//! ```
//! use std::collections::BTreeMap;
//! use ccp::{Difficulty, GlobalNonce, PhysicalCore, UnitId};
//! use deal_types::EpochClock;
//! use peer_core::capacity::{CapacityConfig, CapacityEvent, CapacityRules, CapacityState};
//!
//! let rules = CapacityRules {
//!     epochs: EpochClock::new(0, 100).ok_or("zero duration")?,
//!     min_proofs: 2,
//!     max_proofs: 5,
//! };
//! let mut state = CapacityState::new(rules, CapacityConfig::default());
//! let unit = UnitId([7; 32]);
//! for event in [
//!     CapacityEvent::Block { timestamp: 250 },
//!     CapacityEvent::GlobalNonce(GlobalNonce([1; 32])),
//!     CapacityEvent::Difficulty(Difficulty([9; 32])),
//!     CapacityEvent::CommitmentActivated { units: [(unit, 1)].into() },
//! ] {
//!     state.handle(event);
//! }
//! let cores = BTreeMap::from([(unit, PhysicalCore(3))]);
//! let commitment = state.commitment(&cores).ok_or("nothing to prove")?;
//! assert_eq!(commitment.allocation, [(PhysicalCore(3), unit)].into());
//! # Ok::<_, &str>(())
//! ```

mod drive;
mod local;
mod market;
mod plan;
mod remote;
mod tracker;

pub use self::{
    drive::{Capacity, CapacityParts, CapacityStopped, ProofReceiver},
    local::LocalProver,
    market::MarketProofs,
    plan::{CapacityConfig, CapacityEvent, CapacityRules, CapacityState, Poll},
    remote::{RemoteProver, RemoteProverConfig},
    tracker::ProofTracker,
};

use std::collections::BTreeMap;

use async_trait::async_trait;
use ccp::{BatchRequest, BatchResponse, LogicalCore, ProofIndex, UnitId, prover::Commitment};
use thiserror::Error;

/// A prover, wherever it is. Implementations bound the time that a call takes.
#[async_trait]
pub trait CapacityProver: Send + Sync {
    /// Proves this from now on, instead of what was proven before.
    ///
    /// # Errors
    /// The prover does not take it, or does not answer.
    async fn commit(&self, commitment: &Commitment) -> Result<(), CapacityError>;

    /// Proves nothing from now on.
    ///
    /// # Errors
    /// The prover does not answer.
    async fn withdraw(&self) -> Result<(), CapacityError>;

    /// At most `limit` proofs with greater numbers than those known, of the units that are named.
    ///
    /// # Errors
    /// The prover does not answer.
    async fn proofs_after(
        &self,
        known: &BTreeMap<UnitId, ProofIndex>,
        limit: usize,
    ) -> Result<Vec<BatchResponse>, CapacityError>;

    /// Full batches of proofs, at most `max` of them; nothing when there are less than `min`.
    ///
    /// # Errors
    /// The prover does not answer.
    async fn batches(
        &self,
        requests: &BTreeMap<UnitId, BatchRequest>,
        min: usize,
        max: usize,
    ) -> Result<Vec<BatchResponse>, CapacityError>;

    /// Where the prover's own threads, those that prove nothing, run from now on.
    ///
    /// # Errors
    /// The prover does not take it, or does not answer.
    async fn set_utility_cores(&self, cores: &[LogicalCore]) -> Result<(), CapacityError>;
}

/// Why a prover did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CapacityError {
    /// No answer in time, or none that can be understood; trying again may help.
    #[error("prover {prover} does not answer {method}: {reason}")]
    Unreachable {
        /// The prover.
        prover: String,
        /// What it was asked for.
        method: &'static str,
        /// What happened.
        reason: String,
    },
    /// It said no.
    #[error("prover {prover} refused {method} with code {code}: {message}")]
    Refused {
        /// The prover.
        prover: String,
        /// What it was asked for.
        method: &'static str,
        /// The code of its error.
        code: i64,
        /// Its message, cut after 300 characters.
        message: String,
    },
    /// A text that names no prover.
    #[error("{text:?} is not http:// with a host, an optional port and nothing else")]
    Address {
        /// The text, cut after 80 characters.
        text: String,
    },
}

#[cfg(test)]
mod tests;
