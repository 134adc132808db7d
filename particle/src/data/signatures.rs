//! Signatures over the results of each peer.

use hashbrown::HashMap;

use super::{CallState, Data, Signatures, State};
use crate::{KeyPair, PublicKey, SignatureError, Signer as _, Verifier as _, cid};

/// Length of a stored Ed25519 key: format byte and raw key.
pub const STORED_KEY_LEN: usize = 33;
/// Length of a stored Ed25519 signature: format byte and raw signature.
pub const SIGNATURE_LEN: usize = 65;

/// Format byte of Ed25519, the only accepted one.
const ED25519: u8 = 0;
/// Stands where a peer still owes itself its signature, in data that it keeps and sends to nobody; in
/// data of others it is refused like any signature of another format.
pub const UNSIGNED: [u8; SIGNATURE_LEN] = [u8::MAX; SIGNATURE_LEN];
/// Format byte of secp256k1.
const SECP256K1: u8 = 2;

// Reasons for refusing a key, in the words of all interpreters.

/// A key of a type that is known but not accepted.
pub const SECP256K1_REFUSED: &str = "signature algorithm Secp256k1 not whitelisted";
/// A key of an unknown type.
pub const INVALID_PREFIX: &str = "invalid key data: Invalid type prefix";
/// A key of the right type with a wrong number of bytes.
pub const INVALID_LENGTH: &str =
    "invalid key data: Failed to decode, invalid length: could not convert slice to array";

/// The id of an Ed25519 key has 52 characters.
const MAX_PEER_ID_LEN: usize = 128;

/// Why signatures do not stand for the data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataSignatureError {
    /// A key that is malformed or of another type.
    #[error("malformed key: \"{key}\": {reason}")]
    MalformedKey {
        /// The stored key in base58, shortened.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A result of a peer that signed nothing.
    // The spelling is that of the messages of all interpreters.
    #[error("peer_id doens't match any available public key: \"{peer_id}\"")]
    NoKey {
        /// The peer.
        peer_id: String,
    },
    /// A state that refers to something that no store holds.
    #[error("CID \"{cid}\" of the trace or of a result is in no store")]
    MissingCid {
        /// The CID.
        cid: String,
    },
    /// A signature over something else.
    #[error("signature mismatch for \"{peer_id}\": {reason}, values: CIDS: {cids:?}")]
    Mismatch {
        /// The peer.
        peer_id: String,
        /// What is wrong.
        reason: String,
        /// The CIDs that the signature should stand for, ascending.
        cids: Vec<String>,
    },
    /// Neither of two sets of results contains the other.
    #[error(
        "inconsistent CID multisets on merge for peer \"{peer_id}\", prev: {previous:?}, current: \
         {current:?}"
    )]
    Inconsistent {
        /// The peer.
        peer_id: String,
        /// Its CIDs in previous data, ascending.
        previous: Vec<String>,
        /// Its CIDs in current data, ascending.
        current: Vec<String>,
    },
}

/// Signing reads the message twice and verifying once: with more CIDs than these, verifying is the
/// cheaper check.
const MAX_SIGNED_AGAIN: usize = 128;

/// The CIDs that each peer answers for: a multiset by peer id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignedCids<'a> {
    by_peer: HashMap<&'a str, Vec<&'a str>>,
}

/// What remains of the signatures of two data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergedSignatures<'a> {
    /// The signatures of both sides, of each peer that over more CIDs.
    pub signatures: Signatures<'a>,
    /// Which CIDs those signatures stand for.
    pub signed: SignedCids<'a>,
    /// A signature of this peer over what current data say that it signed, known from previous data
    /// or made again to check theirs.
    pub own: Option<OwnSignature<'a>>,
}

/// What this peer signed, and the signature as data store it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnSignature<'a> {
    /// The CIDs in ascending order.
    pub cids: Vec<&'a str>,
    /// The only signature that this library makes over them.
    pub signature: [u8; SIGNATURE_LEN],
}

impl Data<'_> {
    /// Whether the peer that keeps these data has not signed them yet: see [`UNSIGNED`].
    #[must_use]
    pub fn owes_signature(&self) -> bool {
        let mut signatures = self.signatures.iter();
        signatures.any(|(_, signature)| signature == UNSIGNED)
    }
}

impl<'a> SignedCids<'a> {
    /// Collects what the peers of a trace answer for: service results that are bound or failed
    /// and canon results, each for the peer in its tetraplet. CIDs are in ascending order.
    ///
    /// # Errors
    /// When a result or its tetraplet is in no store.
    pub fn collect(data: &Data<'a>) -> Result<Self, DataSignatureError> {
        let mut signed = Self::unsorted(data)?;
        for cids in signed.by_peer.values_mut() {
            cid::sort(cids);
        }
        Ok(signed)
    }

    /// The CIDs of a peer in ascending order.
    #[must_use]
    pub fn get(&self, peer_id: &str) -> &[&'a str] {
        self.by_peer.get(peer_id).map_or(&[], Vec::as_slice)
    }

    /// All peers with their CIDs, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &[&'a str])> {
        self.by_peer
            .iter()
            .map(|(peer_id, cids)| (*peer_id, cids.as_slice()))
    }

    fn unsorted(data: &Data<'a>) -> Result<Self, DataSignatureError> {
        let missing = |cid: &str| DataSignatureError::MissingCid {
            cid: cid.to_owned(),
        };
        let info = &data.cid_info;
        let mut by_peer: HashMap<&'a str, Vec<&'a str>> = HashMap::new();
        // Neighbours often share the tetraplet, then in one place of the archive.
        let mut last: Option<(&str, &mut Vec<&'a str>)> = None;
        for state in &data.trace {
            let (cid, tetraplet) = match state {
                State::Call(
                    CallState::Scalar(cid) | CallState::Stream { cid, .. } | CallState::Failed(cid),
                ) => {
                    let result = info.service_results.get(cid).ok_or_else(|| missing(cid))?;
                    (*cid, result.tetraplet_cid)
                }
                State::Canon(cid) => {
                    let result = info.canon_results.get(cid).ok_or_else(|| missing(cid))?;
                    (*cid, result.tetraplet)
                }
                _ => continue,
            };
            if let Some((same, cids)) = &mut last
                && std::ptr::eq(*same, tetraplet)
            {
                cids.push(cid);
                continue;
            }
            let found = info.tetraplets.get(tetraplet);
            let peer_pk = found.ok_or_else(|| missing(tetraplet))?.peer_pk;
            // No key has such an id, and using it as a key would cost its length.
            if peer_pk.len() > MAX_PEER_ID_LEN {
                let peer_id = peer_pk.chars().take(MAX_PEER_ID_LEN).collect();
                return Err(DataSignatureError::NoKey { peer_id });
            }
            let cids = by_peer.entry(peer_pk).or_default();
            cids.push(cid);
            last = Some((tetraplet, cids));
        }
        Ok(Self { by_peer })
    }
}

/// Checks the signatures of `previous` (trusted: keys and owners only) and of `current` (all),
/// and merges them.
///
/// `own_key` is the key of this peer. What it signed in current data needs no check where its own
/// data have the same signature over the same CIDs. Otherwise a short message is signed again,
/// which is cheaper than verifying; another signature than that one is verified like any other.
///
/// # Errors
/// See [`DataSignatureError`].
pub fn check_signatures<'a>(
    previous: &Data<'a>,
    current: &Data<'a>,
    particle_id: &str,
    own_key: Option<&KeyPair>,
) -> Result<MergedSignatures<'a>, DataSignatureError> {
    let mut keys = Keys::default();
    let own_key = own_key.and_then(|key| Some((stored_public_key(key.public_key())?, key)));
    if let Some((stored, key)) = &own_key {
        keys.add_known(stored, key.public_key());
    }
    let previous_signed = Side::new(previous, &mut keys)?;
    let current_signed = Side::new(current, &mut keys)?;
    let own = own_key.as_ref().and_then(|(stored, key)| {
        let (_, peer_id) = keys.get(stored).ok()?;
        let known = current_signed.made_before(&previous_signed, stored, peer_id);
        known.or_else(|| current_signed.signed_again(stored, peer_id, key, particle_id))
    });
    let verified = own
        .as_ref()
        .and_then(|own| Some((own_key.as_ref()?.0.as_slice(), own.signature.as_slice())));
    current_signed.verify(&keys, particle_id, verified)?;
    let merged = merge(previous_signed, current_signed, &keys)?;
    Ok(MergedSignatures { own, ..merged })
}

/// The message that a peer signs: its CIDs (ascending) and the particle id, each with its length.
#[must_use]
pub fn signed_message(cids: &[&str], particle_id: &str) -> Vec<u8> {
    let length: usize = cids.iter().map(|cid| cid.len() + 4).sum();
    let mut message = Vec::with_capacity(length + particle_id.len() + 8);
    message.extend_from_slice(&(cids.len() as u32).to_le_bytes());
    for text in cids.iter().chain([&particle_id]) {
        message.extend_from_slice(&(text.len() as u32).to_le_bytes());
        message.extend_from_slice(text.as_bytes());
    }
    message
}

/// Signs `cids`, which are sorted in place; the result is what the data stores.
pub fn sign_cids(key: &KeyPair, cids: &mut [&str], particle_id: &str) -> [u8; SIGNATURE_LEN] {
    cid::sort(cids);
    let signature = key.sign(&signed_message(cids, particle_id));
    let mut stored = [ED25519; SIGNATURE_LEN];
    for (to, from) in stored.iter_mut().skip(1).zip(signature.as_bytes()) {
        *to = *from;
    }
    stored
}

/// A key in the form in which data stores it; only Ed25519 keys have one.
#[must_use]
pub fn stored_public_key(key: &PublicKey) -> Option<[u8; STORED_KEY_LEN]> {
    let PublicKey::Ed25519(key) = key else {
        return None;
    };
    let mut stored = [ED25519; STORED_KEY_LEN];
    for (to, from) in stored.iter_mut().skip(1).zip(key.as_bytes()) {
        *to = *from;
    }
    Some(stored)
}

/// Keys by their stored bytes: each is decoded once.
#[derive(Default)]
struct Keys {
    by_bytes: HashMap<Box<[u8]>, (PublicKey, String)>,
}

impl Keys {
    fn add_known(&mut self, stored: &[u8], key: &PublicKey) {
        self.by_bytes
            .insert(stored.into(), (key.clone(), key.peer_id().to_string()));
    }

    fn add(&mut self, stored: &[u8]) -> Result<(), DataSignatureError> {
        if self.by_bytes.contains_key(stored) {
            return Ok(());
        }
        let malformed = |reason: &str| DataSignatureError::MalformedKey {
            key: base58(stored),
            reason: reason.to_owned(),
        };
        let key = match stored {
            [ED25519, key @ ..] => PublicKey::ed25519_from_bytes(key).map_err(|_| {
                malformed(match key.len() {
                    32 => "invalid key data: Failed to decode with ed25519: signature error: Cannot decompress Edwards point",
                    _ => INVALID_LENGTH,
                })
            })?,
            [SECP256K1, ..] => return Err(malformed(SECP256K1_REFUSED)),
            [_, ..] => return Err(malformed(INVALID_PREFIX)),
            [] => return Err(malformed("invalid key data: no type prefix")),
        };
        self.add_known(stored, &key);
        Ok(())
    }

    fn get(&self, stored: &[u8]) -> Result<&(PublicKey, String), DataSignatureError> {
        self.by_bytes
            .get(stored)
            .ok_or_else(|| DataSignatureError::MalformedKey {
                key: base58(stored),
                reason: "expected a key that was read before".to_owned(),
            })
    }
}

/// One of the two data.
struct Side<'a> {
    signatures: Signatures<'a>,
    signed: SignedCids<'a>,
}

impl<'a> Side<'a> {
    fn new(data: &Data<'a>, keys: &mut Keys) -> Result<Self, DataSignatureError> {
        for (key, _) in data.signatures.iter() {
            keys.add(key)?;
        }
        let signed = SignedCids::collect(data)?;
        let mut owned = 0;
        for (key, _) in data.signatures.iter() {
            let (_, peer_id) = keys.get(key)?;
            owned += usize::from(signed.by_peer.contains_key(peer_id.as_str()));
        }
        if owned < signed.by_peer.len() {
            return Err(Self::without_key(data, &signed, keys));
        }
        Ok(Self {
            signatures: data.signatures.clone(),
            signed,
        })
    }

    fn without_key(data: &Data<'a>, signed: &SignedCids<'a>, keys: &Keys) -> DataSignatureError {
        let mut peers: Vec<&str> = signed.by_peer.keys().copied().collect();
        peers.sort_unstable();
        for (key, _) in data.signatures.iter() {
            if let Ok((_, peer_id)) = keys.get(key) {
                peers.retain(|peer| peer != peer_id);
            }
        }
        let peer_id = peers.first().copied().unwrap_or_default().to_owned();
        DataSignatureError::NoKey { peer_id }
    }

    /// The signature of this peer over what it signed, where its own data have that signature over
    /// the same CIDs.
    fn made_before(
        &self,
        previous: &Self,
        stored_key: &[u8],
        peer_id: &str,
    ) -> Option<OwnSignature<'a>> {
        let signature = self.signatures.get(stored_key)?;
        let cids = self.signed.get(peer_id);
        let same = signature != UNSIGNED.as_slice()
            && previous.signatures.get(stored_key) == Some(signature)
            && previous.signed.get(peer_id) == cids;
        Some(OwnSignature {
            signature: signature.try_into().ok().filter(|_| same)?,
            cids: cids.to_vec(),
        })
    }

    /// The signature of this peer over what it signed, where that is short and signed.
    fn signed_again(
        &self,
        stored_key: &[u8],
        peer_id: &str,
        key: &KeyPair,
        particle_id: &str,
    ) -> Option<OwnSignature<'a>> {
        self.signatures.get(stored_key)?;
        let mut cids = self.signed.get(peer_id).to_vec();
        if cids.len() > MAX_SIGNED_AGAIN {
            return None;
        }
        let signature = sign_cids(key, &mut cids, particle_id);
        Some(OwnSignature { cids, signature })
    }

    /// `verified` is a key with the one signature of it that needs no check.
    fn verify(
        &self,
        keys: &Keys,
        particle_id: &str,
        verified: Option<(&[u8], &[u8])>,
    ) -> Result<(), DataSignatureError> {
        for (stored_key, stored) in self.signatures.iter() {
            if verified == Some((stored_key, stored)) {
                continue;
            }
            let (key, peer_id) = keys.get(stored_key)?;
            let cids = self.signed.get(peer_id);
            let mismatch = |reason: String| DataSignatureError::Mismatch {
                peer_id: peer_id.clone(),
                reason,
                cids: owned(cids),
            };
            let [ED25519, signature @ ..] = stored else {
                return Err(mismatch(
                    "expected a signature of format 0 (Ed25519)".to_owned(),
                ));
            };
            let message = signed_message(cids, particle_id);
            key.verify(&message, signature).map_err(|error| {
                // As the libraries of the other interpreters print it.
                let source = match error {
                    SignatureError::Malformed { .. } => "None",
                    SignatureError::Mismatch { .. } => {
                        "Some(Verification equation was not satisfied)"
                    }
                };
                let raw_key = stored_key.get(1..).unwrap_or_default();
                mismatch(format!(
                    "Verification(Ed25519(signature::Error {{ source: {source} }}, {:?}, {:?}))",
                    base58(signature),
                    base58(raw_key)
                ))
            })?;
        }
        Ok(())
    }
}

fn merge<'a>(
    previous: Side<'a>,
    mut current: Side<'a>,
    keys: &Keys,
) -> Result<MergedSignatures<'a>, DataSignatureError> {
    let Side {
        mut signatures,
        mut signed,
    } = previous;
    for (key, signature) in current.signatures.iter() {
        let (_, peer_id) = keys.get(key)?;
        let theirs = current.signed.by_peer.remove_entry(peer_id.as_str());
        if signatures.get(key).is_none() {
            signatures.insert(key, signature);
            signed.by_peer.extend(theirs);
            continue;
        }
        let ours = signed.get(peer_id);
        let cids = theirs.as_ref().map_or(&[][..], |(_, cids)| cids);
        let (larger, smaller) = if cids.len() > ours.len() {
            (cids, ours)
        } else {
            (ours, cids)
        };
        if !contains(larger, smaller) {
            return Err(DataSignatureError::Inconsistent {
                peer_id: peer_id.clone(),
                previous: owned(ours),
                current: owned(cids),
            });
        }
        if cids.len() > ours.len() {
            signatures.insert(key, signature);
            signed.by_peer.extend(theirs);
        }
    }
    Ok(MergedSignatures {
        signatures,
        signed,
        own: None,
    })
}

/// Whether the sorted list `smaller` is a part of the sorted list `larger`, with multiplicity.
fn contains(larger: &[&str], smaller: &[&str]) -> bool {
    let mut candidates = larger.iter();
    smaller.iter().all(|wanted| {
        candidates
            .by_ref()
            .find(|candidate| *candidate >= wanted)
            .is_some_and(|it| it == wanted)
    })
}

fn owned(cids: &[&str]) -> Vec<String> {
    cids.iter().map(|cid| (*cid).to_owned()).collect()
}

fn base58(stored: &[u8]) -> String {
    // Base58 encoding is quadratic, and a longer key is malformed anyway.
    bs58::encode(stored.get(..64).unwrap_or(stored)).into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containment_counts() {
        assert!(contains(&["a", "b", "b", "c"], &["b", "b"]));
        assert!(!contains(&["a", "b", "c"], &["b", "b"]));
        assert!(!contains(&["a"], &["b"]));
        assert!(contains(&[], &[]));
    }

    #[test]
    fn known_message() {
        let message = signed_message(&[], "particle-1");
        assert_eq!(hex::encode(message), "000000000a0000007061727469636c652d31");
    }
}
