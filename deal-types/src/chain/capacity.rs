//! What a peer that proves capacity asks of a chain and tells it (§5.3, §5.5).

use std::{collections::BTreeMap, sync::Arc};

use super::{Chain, ChainError, ChainExt as _, Head, Order, TransactionState};
use crate::{
    Address, Bytes32, CommitmentStatus, DealStatus, EpochClock, PeerKey, U256,
    contract::{
        EpochDuration, GetComputePeer, GetComputeUnits, GetDifficulty, GetGlobalNonce,
        GetProofCounts, GetStatus, InitTimestamp, MaxProofsPerEpoch, MinProofsPerEpoch, Revert,
        SubmitProofs,
    },
};

/// What the market says once and for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityTerms {
    /// When epochs begin.
    pub epochs: EpochClock,
    /// Proofs that a unit has to have in an epoch.
    pub min_proofs: u64,
    /// Proofs of a unit in an epoch that count.
    pub max_proofs: u64,
}

/// What there is to prove, as of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapacityView {
    /// The block.
    pub head: Head,
    /// The nonce that proofs are for.
    pub global_nonce: Bytes32,
    /// The threshold below which hashes are proofs.
    pub difficulty: Bytes32,
    /// The peer's commitment while it is active.
    pub commitment: Option<ActiveCommitment>,
}

/// A commitment that proofs count for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveCommitment {
    /// Its id.
    pub id: Bytes32,
    /// The units that are in no deal, each with the epoch from which on it has to prove.
    pub units: BTreeMap<Bytes32, u64>,
    /// Proofs of those units that the market has in the epoch of the block.
    pub proofs: BTreeMap<Bytes32, u64>,
}

/// A proof as the market takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitProof {
    /// The unit.
    pub unit: Bytes32,
    /// The nonce that was found.
    pub local_nonce: Bytes32,
    /// The hash of it.
    pub result_hash: Bytes32,
}

/// What became of proofs that were submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Submission {
    /// They are under way in this transaction.
    Sent(Bytes32),
    /// There are as many as count already.
    TooMany,
    /// The commitment is not active any more.
    NotActive(CommitmentStatus),
    /// The market does not take them.
    Refused(Revert),
}

/// A peer's capacity on a chain.
pub struct CapacityMarket {
    chain: Arc<dyn Chain>,
    market: Address,
    peer: PeerKey,
}

impl CapacityMarket {
    /// The capacity of `peer` on the market behind `chain`, whose account owns the peer there.
    #[must_use]
    pub fn new(chain: Arc<dyn Chain>, market: Address, peer: PeerKey) -> Self {
        Self {
            chain,
            market,
            peer,
        }
    }

    /// Returns when the chain may have a new block, or after a while.
    pub async fn changed(&self) {
        self.chain.changed().await;
    }

    /// The terms of the market.
    ///
    /// # Errors
    /// The chain does not answer, or with epochs of no duration.
    pub async fn terms(&self) -> Result<CapacityTerms, ChainError> {
        let (start,) = self.chain.read(self.market, &InitTimestamp {}).await?;
        let (duration,) = self.chain.read(self.market, &EpochDuration {}).await?;
        let (min,) = self.chain.read(self.market, &MinProofsPerEpoch {}).await?;
        let (max,) = self.chain.read(self.market, &MaxProofsPerEpoch {}).await?;
        let epochs = EpochClock::new(
            small("initTimestamp", start)?,
            small("epochDuration", duration)?,
        );
        let epochs = epochs.ok_or_else(|| ChainError::Answer {
            method: "epochDuration",
            what: "epochs of no duration".to_owned(),
        })?;
        Ok(CapacityTerms {
            epochs,
            min_proofs: small("minProofsPerEpoch", min)?,
            max_proofs: small("maxProofsPerEpoch", max)?,
        })
    }

    /// What there is to prove. A peer that is not registered has nothing to prove.
    ///
    /// # Errors
    /// The chain does not answer, or with a block that does not follow the one before it.
    pub async fn view(&self) -> Result<CapacityView, ChainError> {
        let head = self.chain.head().await?;
        self.check(head).await?;
        let (global_nonce,) = self.chain.read(self.market, &GetGlobalNonce {}).await?;
        let (difficulty,) = self.chain.read(self.market, &GetDifficulty {}).await?;
        Ok(CapacityView {
            head,
            global_nonce,
            difficulty,
            commitment: self.commitment().await?,
        })
    }

    /// Whether a block follows the one before it, as the chain tells that one.
    async fn check(&self, head: Head) -> Result<(), ChainError> {
        // Chains begin with 0 or 1.
        let Some(number) = head.number.checked_sub(1).filter(|number| *number > 0) else {
            return Ok(());
        };
        let before = self.chain.block(number).await?;
        let follows = |before: &Head| {
            (before.number, before.hash) == (number, head.parent)
                && before.timestamp <= head.timestamp
        };
        if before.as_ref().is_some_and(follows) {
            return Ok(());
        }
        let what = format!("{head:?}, which does not follow {before:?}");
        let method = "block";
        Err(ChainError::Answer { method, what })
    }

    async fn commitment(&self) -> Result<Option<ActiveCommitment>, ChainError> {
        let peer_id = self.peer.to_word();
        let question = GetComputePeer { peer_id };
        let commitment_id = match self.chain.read(self.market, &question).await {
            Ok((peer,)) => peer.commitment_id,
            Err(error) if super::ask::is_unregistered(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        if commitment_id == Bytes32::ZERO {
            return Ok(None);
        }
        let (status,) = self
            .chain
            .read(self.market, &GetStatus { commitment_id })
            .await?;
        if status != CommitmentStatus::Active {
            return Ok(None);
        }
        let (units,) = self
            .chain
            .read(self.market, &GetComputeUnits { peer_id })
            .await?;
        let free = units.into_iter().filter(|unit| unit.deal.is_zero());
        let units = free.map(|unit| Ok((unit.id, small("getComputeUnits", unit.start_epoch)?)));
        let units: BTreeMap<Bytes32, u64> = units.collect::<Result<_, ChainError>>()?;
        let question = GetProofCounts { commitment_id };
        let (proven, counts) = self.chain.read(self.market, &question).await?;
        let counts = proven.into_iter().zip(counts);
        let counts = counts.filter(|(unit, _)| units.contains_key(unit));
        let proofs = counts.map(|(unit, count)| Ok((unit, small("getProofCounts", count)?)));
        Ok(Some(ActiveCommitment {
            id: commitment_id,
            proofs: proofs.collect::<Result<_, ChainError>>()?,
            units,
        }))
    }

    /// Takes the peer's workers out of deals that are over or cannot pay, so that their units are
    /// proven again (§5.3). A deal that refuses holds up no other.
    ///
    /// # Errors
    /// The chain does not answer.
    pub async fn leave_deals(&self) -> Result<(), ChainError> {
        for (address, deal) in self.chain.deals_of(self.market, self.peer).await? {
            // One that cannot be read may be served all the same.
            let Ok(deal) = deal else { continue };
            if !matches!(
                deal.status,
                DealStatus::Ended | DealStatus::InsufficientFunds
            ) {
                continue;
            }
            let left = self.chain.remove_worker(address, deal.onchain_worker_id);
            // Another refusal may be none at the next look.
            if let Err(error) = left.await
                && error.is_transient()
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Submits proofs in one transaction; the same ones however often make one.
    ///
    /// # Errors
    /// The chain does not answer, or the account cannot pay.
    pub async fn submit(&self, proofs: &[UnitProof]) -> Result<Submission, ChainError> {
        let call = SubmitProofs {
            unit_ids: proofs.iter().map(|proof| proof.unit).collect(),
            local_unit_nonces: proofs.iter().map(|proof| proof.local_nonce).collect(),
            result_hashes: proofs.iter().map(|proof| proof.result_hash).collect(),
        };
        let order = Order::once("aquamarine/submit-proofs", self.market, &call);
        match self.chain.submit(&order).await {
            Ok(transaction) => Ok(Submission::Sent(transaction)),
            Err(ChainError::Revert(Revert::TooManyProofs {})) => Ok(Submission::TooMany),
            Err(ChainError::Revert(Revert::CapacityCommitmentIsNotActive { status })) => {
                Ok(Submission::NotActive(status))
            }
            Err(ChainError::Revert(refusal)) => Ok(Submission::Refused(refusal)),
            Err(error) => Err(error),
        }
    }

    /// What is known of a transaction.
    ///
    /// # Errors
    /// The chain does not answer.
    pub async fn state(&self, transaction: Bytes32) -> Result<TransactionState, ChainError> {
        self.chain.transaction_state(transaction).await
    }
}

/// A number of the contracts that fits into 64 bits.
fn small(method: &'static str, number: U256) -> Result<u64, ChainError> {
    u64::try_from(number).map_err(|_| ChainError::Answer {
        method,
        what: format!("{number}, which is more than 64 bits"),
    })
}
