//! Proofs of capacity.

use super::{
    Exec, Refusal,
    capacity::no_commitment_on_unit,
    exec::{message, require},
    market::Unit,
};
use crate::{
    Bytes32, CommitmentStatus,
    contract::{ProofSubmitted, Revert, SubmitProof, SubmitProofs},
    keccak256_of, next_global_nonce,
};

impl Exec<'_> {
    pub(super) fn submit_proof(&mut self, call: &SubmitProof) -> Result<(), Refusal> {
        self.accept(call.unit_id, call.local_unit_nonce, call.result_hash)
    }

    pub(super) fn submit_proofs(&mut self, call: &SubmitProofs) -> Result<(), Refusal> {
        let count = call.unit_ids.len();
        require(count > 0, "No proofs given")?;
        require(
            call.local_unit_nonces.len() == count,
            "Invalid local nonces number",
        )?;
        require(
            call.result_hashes.len() == count,
            "Invalid result hashes number",
        )?;
        let rest = call.local_unit_nonces.iter().zip(&call.result_hashes);
        for (unit, (nonce, hash)) in call.unit_ids.iter().zip(rest) {
            self.accept(*unit, *nonce, *hash)?;
        }
        Ok(())
    }

    /// `claimed` is the hash that the prover tells. It is not compared with the computed one, but
    /// goes into the next nonce.
    fn accept(
        &mut self,
        unit_id: Bytes32,
        nonce: Bytes32,
        claimed: Bytes32,
    ) -> Result<(), Refusal> {
        let (sender, block) = (self.sender, self.block);
        let epoch = self.epoch()?;
        let market = self.market()?;
        let unit = market.unit(unit_id)?.clone();
        let peer = market.peer(unit.peer)?;
        require(
            peer.owner == sender,
            "Only compute peer owner can submit proof",
        )?;
        let id = peer.commitment;
        if id.is_zero() {
            return Err(no_commitment_on_unit());
        }
        let start = market.ledger(id)?.commitment.start;
        require(start <= epoch, "Capacity commitment is not started")?;
        require(!self.is_moved(&unit, id)?, "Compute unit is in deal")?;
        let status = self.account(id)?;
        if status != CommitmentStatus::Active {
            return Err(Revert::CapacityCommitmentIsNotActive { status }.into());
        }
        self.grant(id, unit_id)?;
        let market = self.market()?;
        let params = market.params();
        let (minimum, maximum) = (params.min_proofs_per_epoch, params.max_proofs_per_epoch);
        let unit = market.unit(unit_id)?;
        if unit.proofs_of(epoch) >= maximum {
            // More proofs than count do no harm.
            return Ok(());
        }
        let global = market.global_nonce(epoch);
        let key = keccak256_of(&[&global.0, &unit_id.0]);
        if !market.proofs.insert((key, nonce)) {
            return Err(message("Proof is already submitted for this unit"));
        }
        let hash = market.genesis.verifier.hash(key, nonce);
        require(
            hash <= market.difficulty(epoch),
            "Proof is bigger than difficulty",
        )?;
        market.set_next_nonce(
            epoch,
            next_global_nonce(global, block.previous_hash, unit_id, nonce, claimed),
        );
        let unit = market.unit_mut(unit_id)?;
        let proofs = unit.proofs_of(epoch) + 1;
        (unit.proof_epoch, unit.proofs) = (epoch, proofs);
        if proofs == minimum {
            market.ledger_mut(id)?.commitment.successes += 1;
        }
        // The first proofs count once there are enough of them.
        let counted = match proofs {
            proofs if proofs < minimum => 0,
            proofs if proofs == minimum => minimum,
            _ => 1,
        };
        *market.counted_proofs.entry(epoch).or_default() += counted;
        self.tell_stats(id, epoch - 1)?;
        self.tell(ProofSubmitted {
            commitment_id: id,
            unit_id,
            local_unit_nonce: nonce,
        })
    }

    /// Whether a unit works for a deal instead of proving for a commitment. One that joined the deal
    /// before the commitment proves nevertheless.
    fn is_moved(&mut self, unit: &Unit, commitment: Bytes32) -> Result<bool, Refusal> {
        if unit.deal.is_zero() {
            return Ok(false);
        }
        let worker = self.deal(unit.deal)?.worker(unit.worker)?.1;
        Ok(worker.commitment == commitment)
    }

    /// The units of a commitment and their proofs in this epoch.
    pub(super) fn proof_counts(&mut self, id: Bytes32) -> Result<Vec<(Bytes32, u64)>, Refusal> {
        let epoch = self.epoch()?;
        let market = self.market()?;
        let peer = market.ledger(id)?.commitment.peer;
        let units = market.peer(peer)?.units.clone();
        units
            .into_iter()
            .map(|id| Ok((id, market.unit(id)?.proofs_of(epoch))))
            .collect()
    }
}
