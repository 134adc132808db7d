//! Evidence that a peer executed what it says it did.

use std::{fmt, sync::Arc};

use particle::{KeyPair, PeerId, Signer as _, Verifier as _};
use thiserror::Error;

/// How a peer proves, and others check, that a function was executed.
///
/// The protocol knows one proof: the peer's signature, by which it answers for the result
/// ([`SignatureOnly`]). Repeated execution by a quorum, attestation by hardware or a succinct proof
/// are further implementations.
pub trait ExecutionProof: Send + Sync {
    /// Makes the proof of a statement about this peer.
    ///
    /// # Errors
    /// A statement about another peer, or one that cannot be proven.
    fn prove(&self, statement: &Statement<'_>) -> Result<Vec<u8>, ProofError>;

    /// Checks a proof.
    ///
    /// # Errors
    /// A proof that does not show what the statement says.
    fn verify(&self, statement: &Statement<'_>, proof: &[u8]) -> Result<(), ProofError>;
}

/// What is to be proven: that a peer executed a function with these arguments to this result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// The peer that executed.
    pub peer_id: PeerId,
    /// The particle by whose order.
    pub particle_id: &'a str,
    /// The service.
    pub service_id: &'a str,
    /// The function.
    pub function_name: &'a str,
    /// Hash of the arguments, as the particle data has it.
    pub argument_hash: &'a str,
    /// Content identifier of the result.
    pub result_cid: &'a str,
}

impl Statement<'_> {
    /// The statement as bytes, the same for everybody and different for different statements.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let peer_id = self.peer_id.to_bytes();
        let parts = [
            b"aquamarine execution 1".as_slice(),
            &peer_id,
            self.particle_id.as_bytes(),
            self.service_id.as_bytes(),
            self.function_name.as_bytes(),
            self.argument_hash.as_bytes(),
            self.result_cid.as_bytes(),
        ];
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

/// Why there is no proof.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Only the peer itself can prove what it did.
    #[error("the statement is about peer {peer_id}, which this is not")]
    ForeignPeer {
        /// The peer of the statement.
        peer_id: PeerId,
    },
    /// The proof shows something else, or nothing.
    #[error("the proof of peer {peer_id} does not hold: {reason}")]
    Invalid {
        /// The peer of the statement.
        peer_id: PeerId,
        /// What is wrong.
        reason: String,
    },
}

/// The proof is the peer's signature: who signs a wrong result can be held to it.
#[derive(Clone)]
pub struct SignatureOnly {
    key: Arc<KeyPair>,
}

impl SignatureOnly {
    /// Proofs by this key.
    #[must_use]
    pub fn new(key: Arc<KeyPair>) -> Self {
        Self { key }
    }
}

impl ExecutionProof for SignatureOnly {
    fn prove(&self, statement: &Statement<'_>) -> Result<Vec<u8>, ProofError> {
        if statement.peer_id != self.key.peer_id() {
            return Err(ProofError::ForeignPeer {
                peer_id: statement.peer_id,
            });
        }
        let signature = self.key.sign(&statement.to_bytes());
        Ok(signature.as_bytes().to_vec())
    }

    fn verify(&self, statement: &Statement<'_>, proof: &[u8]) -> Result<(), ProofError> {
        let invalid = |reason: String| ProofError::Invalid {
            peer_id: statement.peer_id,
            reason,
        };
        let key = statement.peer_id.public_key();
        key.map_err(|error| invalid(error.to_string()))?
            .verify(&statement.to_bytes(), proof)
            .map_err(|error| invalid(error.to_string()))
    }
}

impl fmt::Debug for SignatureOnly {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SignatureOnly({})", self.key.peer_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_peer_itself_proves() {
        let [one, two] = [1, 2].map(|seed| Arc::new(KeyPair::from_seed(&[seed; 32])));
        let statement = Statement {
            peer_id: one.peer_id(),
            particle_id: "particle",
            service_id: "service",
            function_name: "function",
            argument_hash: "hash",
            result_cid: "cid",
        };
        let [one, two] = [one, two].map(SignatureOnly::new);
        let proof = one.prove(&statement).unwrap();
        assert_eq!(two.verify(&statement, &proof), Ok(()));
        let other = Statement {
            result_cid: "other",
            ..statement
        };
        assert!(two.verify(&other, &proof).is_err());
        assert!(matches!(
            two.prove(&statement),
            Err(ProofError::ForeignPeer { .. })
        ));
        // Texts cannot move from one field to the next.
        let moved = Statement {
            service_id: "servicef",
            function_name: "unction",
            ..statement
        };
        assert!(two.verify(&moved, &proof).is_err());
    }
}
