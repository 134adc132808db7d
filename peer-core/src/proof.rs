//! Evidence that a peer executed what it says it did.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use particle::{KeyPair, PeerId, Signer as _, Verifier as _};
use thiserror::Error;

/// How a peer proves, and others check, that a function was executed.
///
/// The protocol knows one proof: the peer's signature, by which it answers for the result
/// ([`SignatureOnly`]). [`RepeatedExecution`] compares the results of several peers; attestation by
/// hardware or a succinct proof are further implementations.
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

/// What statements begin with, so that nothing else can be taken for one.
const DOMAIN: &[u8] = b"aquamarine execution 1";

impl Statement<'_> {
    /// The statement as bytes, the same for everybody and different for different statements.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let peer_id = self.peer_id.to_bytes();
        let parts = [
            DOMAIN,
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
    /// Too few peers had the same result.
    #[error("{agreeing} of {members} peers had the result {result_cid}, where {needed} have to")]
    Quorum {
        /// The result.
        result_cid: String,
        /// How many had it.
        agreeing: usize,
        /// How many peers there are.
        members: usize,
        /// How many have to agree.
        needed: usize,
    },
    /// A quorum that proves nothing: two results could have it, or none.
    #[error("{needed} of {members} peers are no majority of them")]
    NoMajority {
        /// How many peers there are.
        members: usize,
        /// How many would have to agree.
        needed: usize,
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
        verify_signature(statement, proof)
    }
}

impl fmt::Debug for SignatureOnly {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SignatureOnly({})", self.key.peer_id())
    }
}

/// The proof is that several peers executed the same call to the same result, and signed it.
///
/// More than half of the peers have to agree, so that no two results can be proven of one call; who
/// signed another one is known by name. Votes are collected with [`RepeatedExecution::vote`]; a
/// proof holds the agreeing signatures, and anybody who knows the peers can check it.
///
/// ```
/// use std::sync::Arc;
/// use particle::KeyPair;
/// use peer_core::proof::{ExecutionProof, RepeatedExecution, SignatureOnly, Statement};
///
/// let keys = [1, 2, 3].map(|seed| Arc::new(KeyPair::from_seed(&[seed; 32])));
/// let quorum = RepeatedExecution::new(keys.iter().map(|key| key.peer_id()), 2)?;
/// let of = |peer: usize, result_cid| Statement {
///     peer_id: keys[peer].peer_id(),
///     particle_id: "particle",
///     service_id: "service",
///     function_name: "function",
///     argument_hash: "hash",
///     result_cid,
/// };
/// for (peer, result) in [(0, "five"), (1, "five"), (2, "six")] {
///     let signed = SignatureOnly::new(keys[peer].clone()).prove(&of(peer, result))?;
///     quorum.vote(&of(peer, result), &signed)?;
/// }
/// let proof = quorum.prove(&of(0, "five"))?;
/// quorum.verify(&of(1, "five"), &proof)?;
/// assert!(quorum.prove(&of(2, "six")).is_err());
/// assert_eq!(quorum.dissenters(&of(0, "five")), [keys[2].peer_id()]);
/// # Ok::<_, peer_core::proof::ProofError>(())
/// ```
pub struct RepeatedExecution {
    members: BTreeSet<PeerId>,
    needed: usize,
    votes: Mutex<Votes>,
}

/// Calls whose votes are kept.
const MAX_QUESTIONS: usize = 1_024;
/// Signatures that a proof may hold.
const MAX_SIGNATURES: usize = 1_024;

#[derive(Default)]
struct Votes {
    of: BTreeMap<Vec<u8>, BTreeMap<PeerId, Vote>>,
    /// The calls from the oldest on.
    order: VecDeque<Vec<u8>>,
}

struct Vote {
    result_cid: String,
    signature: Vec<u8>,
}

impl RepeatedExecution {
    /// A proof takes the agreement of `needed` of these peers.
    ///
    /// # Errors
    /// Not more than half of the peers, or more than all.
    pub fn new(
        members: impl IntoIterator<Item = PeerId>,
        needed: usize,
    ) -> Result<Self, ProofError> {
        let members: BTreeSet<PeerId> = members.into_iter().collect();
        let count = members.len();
        if needed > count || needed.saturating_mul(2) <= count || needed > MAX_SIGNATURES {
            return Err(ProofError::NoMajority {
                members: count,
                needed,
            });
        }
        Ok(Self {
            members,
            needed,
            votes: Mutex::default(),
        })
    }

    /// Takes in what a peer signed. Of several results of a peer the first stays.
    ///
    /// # Errors
    /// A peer that is no member, or a signature that is not its own.
    pub fn vote(&self, statement: &Statement<'_>, signature: &[u8]) -> Result<(), ProofError> {
        self.check(statement, signature)?;
        let question = question(statement);
        let mut votes = self.lock();
        if !votes.of.contains_key(&question) {
            votes.order.push_back(question.clone());
            if votes.order.len() > MAX_QUESTIONS {
                let oldest = votes.order.pop_front();
                oldest.and_then(|oldest| votes.of.remove(&oldest));
            }
        }
        let vote = || Vote {
            result_cid: statement.result_cid.to_owned(),
            signature: signature.to_vec(),
        };
        let of = votes.of.entry(question).or_default();
        of.entry(statement.peer_id).or_insert_with(vote);
        Ok(())
    }

    /// The peers that signed another result of the same call.
    #[must_use]
    pub fn dissenters(&self, statement: &Statement<'_>) -> Vec<PeerId> {
        let votes = self.lock();
        let of = votes.of.get(&question(statement)).into_iter().flatten();
        of.filter(|(_, vote)| vote.result_cid != statement.result_cid)
            .map(|(peer, _)| *peer)
            .collect()
    }

    fn check(&self, statement: &Statement<'_>, signature: &[u8]) -> Result<(), ProofError> {
        if !self.members.contains(&statement.peer_id) {
            return Err(invalid(statement, "it is none of the peers that execute"));
        }
        verify_signature(statement, signature)
    }

    fn too_few(&self, statement: &Statement<'_>, agreeing: usize) -> ProofError {
        ProofError::Quorum {
            result_cid: statement.result_cid.to_owned(),
            agreeing,
            members: self.members.len(),
            needed: self.needed,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Votes> {
        // Whatever is in there is signed.
        self.votes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ExecutionProof for RepeatedExecution {
    /// The signatures of all peers that had this result, whichever of them the statement is about.
    fn prove(&self, statement: &Statement<'_>) -> Result<Vec<u8>, ProofError> {
        let votes = self.lock();
        let of = votes.of.get(&question(statement)).into_iter().flatten();
        let agreeing: Vec<_> = of
            .filter(|(_, vote)| vote.result_cid == statement.result_cid)
            .take(MAX_SIGNATURES)
            .collect();
        if agreeing.len() < self.needed {
            return Err(self.too_few(statement, agreeing.len()));
        }
        let mut proof = Vec::new();
        for (peer, vote) in agreeing {
            for part in [&peer.to_bytes(), &vote.signature] {
                // Ids and signatures have a hundred bytes at most.
                proof.extend_from_slice(
                    &u16::try_from(part.len()).unwrap_or_default().to_be_bytes(),
                );
                proof.extend_from_slice(part);
            }
        }
        Ok(proof)
    }

    fn verify(&self, statement: &Statement<'_>, proof: &[u8]) -> Result<(), ProofError> {
        let broken = || invalid(statement, "it is no list of signatures");
        let (mut rest, mut agreeing) = (proof, BTreeSet::new());
        while !rest.is_empty() {
            let peer = take(&mut rest).ok_or_else(broken)?;
            let signature = take(&mut rest).ok_or_else(broken)?;
            let peer_id = PeerId::from_bytes(peer).map_err(|_| broken())?;
            let of = Statement {
                peer_id,
                ..*statement
            };
            if agreeing.len() >= MAX_SIGNATURES || !agreeing.insert(peer_id) {
                return Err(invalid(statement, "a peer is in it twice, or too many are"));
            }
            self.check(&of, signature)?;
        }
        match agreeing.len() >= self.needed {
            true => Ok(()),
            false => Err(self.too_few(statement, agreeing.len())),
        }
    }
}

impl fmt::Debug for RepeatedExecution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (needed, members) = (self.needed, self.members.len());
        write!(formatter, "RepeatedExecution({needed} of {members})")
    }
}

/// What was asked, whoever executed it.
fn question(statement: &Statement<'_>) -> Vec<u8> {
    let nobody = Statement {
        result_cid: "",
        ..*statement
    };
    // The peer is the second part.
    let own = nobody.peer_id.to_bytes();
    let bytes = nobody.to_bytes();
    let skipped = 8 + DOMAIN.len() + 8 + own.len();
    bytes.get(skipped..).unwrap_or_default().to_vec()
}

/// The next part, which stands behind its length.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk::<2>()?;
    let (part, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *rest = tail;
    Some(part)
}

fn invalid(statement: &Statement<'_>, reason: impl ToString) -> ProofError {
    ProofError::Invalid {
        peer_id: statement.peer_id,
        reason: reason.to_string(),
    }
}

fn verify_signature(statement: &Statement<'_>, signature: &[u8]) -> Result<(), ProofError> {
    let key = statement.peer_id.public_key();
    key.map_err(|error| invalid(statement, error))?
        .verify(&statement.to_bytes(), signature)
        .map_err(|error| invalid(statement, error))
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
    fn statement(peer_id: PeerId, result_cid: &str) -> Statement<'_> {
        Statement {
            peer_id,
            particle_id: "particle",
            service_id: "service",
            function_name: "function",
            argument_hash: "hash",
            result_cid,
        }
    }

    #[test]
    fn a_majority_proves_and_a_liar_is_known() {
        let keys: Vec<_> = (1..=5)
            .map(|seed| Arc::new(KeyPair::from_seed(&[seed; 32])))
            .collect();
        let ids: Vec<PeerId> = keys.iter().map(|key| key.peer_id()).collect();
        let quorum = RepeatedExecution::new(ids[..4].to_vec(), 3).unwrap();
        let signed = |at: usize, result: &str| {
            let own = SignatureOnly::new(keys[at].clone());
            own.prove(&statement(ids[at], result)).unwrap()
        };
        let vote =
            |at: usize, result: &str| quorum.vote(&statement(ids[at], result), &signed(at, result));
        vote(0, "five").unwrap();
        vote(1, "five").unwrap();
        vote(2, "six").unwrap();
        // A second thought does not count.
        vote(2, "five").unwrap();
        let two = quorum.prove(&statement(ids[0], "five")).unwrap_err();
        assert_eq!(
            two.to_string(),
            "2 of 4 peers had the result five, where 3 have to"
        );
        assert!(vote(4, "five").is_err());
        let borrowed = quorum.vote(&statement(ids[3], "five"), &signed(0, "five"));
        assert!(borrowed.is_err());
        vote(3, "five").unwrap();
        let proof = quorum.prove(&statement(ids[0], "five")).unwrap();
        for id in &ids[..4] {
            assert_eq!(quorum.verify(&statement(*id, "five"), &proof), Ok(()));
        }
        assert_eq!(quorum.dissenters(&statement(ids[0], "five")), [ids[2]]);
        // Another result, another call, half a proof, one peer twice.
        let other = Statement {
            argument_hash: "other",
            ..statement(ids[0], "five")
        };
        assert!(quorum.verify(&statement(ids[0], "six"), &proof).is_err());
        assert!(quorum.verify(&other, &proof).is_err());
        assert!(quorum.prove(&other).is_err());
        assert!(quorum.dissenters(&other).is_empty());
        for bad in [&proof[..proof.len() - 1], &proof[..proof.len() / 3], &[]] {
            assert!(quorum.verify(&statement(ids[0], "five"), bad).is_err());
        }
        let twice = [&proof[..], &proof[..]].concat();
        assert!(quorum.verify(&statement(ids[0], "five"), &twice).is_err());
    }

    #[test]
    fn quorums_are_majorities() {
        let ids: Vec<PeerId> = (1..=4)
            .map(|seed| KeyPair::from_seed(&[seed; 32]).peer_id())
            .collect();
        for (needed, allowed) in [(0, false), (2, false), (3, true), (4, true), (5, false)] {
            let quorum = RepeatedExecution::new(ids.clone(), needed);
            assert_eq!(quorum.is_ok(), allowed, "{needed}");
        }
        assert!(RepeatedExecution::new([], 0).is_err());
    }

    #[test]
    fn votes_are_forgotten_from_the_oldest_on() {
        let key = Arc::new(KeyPair::from_seed(&[1; 32]));
        let quorum = RepeatedExecution::new([key.peer_id()], 1).unwrap();
        let own = SignatureOnly::new(key.clone());
        let ids: Vec<String> = (0..=MAX_QUESTIONS).map(|n| n.to_string()).collect();
        let of = |id| Statement {
            particle_id: id,
            ..statement(key.peer_id(), "five")
        };
        for id in &ids {
            quorum.vote(&of(id), &own.prove(&of(id)).unwrap()).unwrap();
        }
        assert!(quorum.prove(&of(&ids[0])).is_err());
        assert!(quorum.prove(&of(&ids[1])).is_ok());
    }
}
