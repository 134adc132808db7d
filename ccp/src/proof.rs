//! Proofs, and the messages that carry them.

use serde::{Deserialize, Serialize};

use crate::{Difficulty, EpochParameters, GlobalNonce, LocalNonce, ProofIndex, ResultHash, UnitId};

/// What tells proofs of a unit apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProofId {
    /// The nonce of the epoch.
    pub global_nonce: GlobalNonce,
    /// The threshold that was met.
    pub difficulty: Difficulty,
    /// The number, which begins again when the global nonce changes.
    pub idx: ProofIndex,
}

impl ProofId {
    /// Whether this proof was numbered after `other`.
    #[must_use]
    pub fn after(&self, other: &Self) -> bool {
        self.idx > other.idx
    }
}

/// Everything that is needed to verify a proof and to submit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Proof {
    /// The epoch and the number.
    pub id: ProofId,
    /// The nonce that was found.
    pub local_nonce: LocalNonce,
    /// The unit.
    pub cu_id: UnitId,
    /// The hash of the nonce.
    pub result_hash: ResultHash,
}

/// A proof before it has a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RawProof {
    /// The epoch.
    pub epoch: EpochParameters,
    /// The nonce that was found.
    pub local_nonce: LocalNonce,
    /// The unit.
    pub cu_id: UnitId,
    /// The hash of the nonce.
    pub result_hash: ResultHash,
}

impl RawProof {
    /// The proof with its number.
    #[must_use]
    pub fn number(self, idx: ProofIndex) -> Proof {
        let EpochParameters {
            global_nonce,
            difficulty,
        } = self.epoch;
        Proof {
            id: ProofId {
                global_nonce,
                difficulty,
                idx,
            },
            local_nonce: self.local_nonce,
            cu_id: self.cu_id,
            result_hash: self.result_hash,
        }
    }
}

/// How many proofs of a unit a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRequest {
    /// The last proof that it has.
    pub last_seen_proof_idx: ProofIndex,
    /// Proofs of a batch.
    pub proof_batch_size: usize,
}

/// Proofs of a unit, in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchResponse {
    /// The unit.
    pub cu_id: UnitId,
    /// The proofs: one flat list, whatever the name says.
    pub proof_batches: Vec<Proof>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_have_their_published_form() {
        let epoch = EpochParameters {
            global_nonce: GlobalNonce([1; 32]),
            difficulty: Difficulty([2; 32]),
        };
        let raw = RawProof {
            epoch,
            local_nonce: LocalNonce([3; 32]),
            cu_id: UnitId([4; 32]),
            result_hash: ResultHash([5; 32]),
        };
        let proof = raw.number(ProofIndex(3));
        let word = |byte: &str| byte.repeat(32);
        let text = format!(
            "{{\"id\":{{\"global_nonce\":\"{}\",\"difficulty\":\"{}\",\"idx\":3}},\
             \"local_nonce\":\"{}\",\"cu_id\":\"{}\",\"result_hash\":\"{}\"}}",
            word("01"),
            word("02"),
            word("03"),
            word("04"),
            word("05")
        );
        assert_eq!(serde_json::to_string(&proof).unwrap(), text);
        assert_eq!(serde_json::from_str::<Proof>(&text).unwrap(), proof);
        assert!(raw.number(ProofIndex(4)).id.after(&proof.id));
        assert!(!proof.id.after(&proof.id));
    }
}
