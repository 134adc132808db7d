//! The cryptography that the protocol demands of a run: one signing, one verification of each
//! distinct foreign signature in current data, one hash of each distinct CID entry of current data
//! and of each new entry.

use std::{collections::BTreeSet, hint::black_box};

use particle::{
    KeyPair, PublicKey, Signer as _, Verifier as _,
    data::{Content, Data, Envelope, SignedCids, signed_message, stored_public_key},
};
use serde::Serialize;

use crate::{clock::time, input::Input};

/// How often each operation is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Signatures to make.
    pub signings: usize,
    /// Distinct signatures of others to verify.
    pub verifications: usize,
    /// Texts to hash.
    pub hashes: usize,
    /// Bytes of those texts.
    pub hashed_bytes: usize,
}

/// The operations themselves, ready to be done.
pub struct Floor {
    key: KeyPair,
    message: Vec<u8>,
    signatures: Vec<Foreign>,
    texts: Vec<Vec<u8>>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Foreign {
    key: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Floor {
    /// What the run of `input` that returned `result` had to do.
    pub fn new(input: &Input, result: &[u8]) -> Result<Self, String> {
        let particle_id = &input.parameters.particle_id;
        let key = KeyPair::from_seed(&input.seed()?);
        let own = stored_public_key(key.public_key()).unwrap_or([0; 33]);
        let texts = |bytes: &[u8]| with_data(bytes, |data| Ok(texts(data)));
        let (previous, current) = (texts(&input.previous)?, texts(&input.current)?);
        let created = with_data(result, |data| {
            Ok(self::texts(data)
                .into_iter()
                .filter(|entry| !previous.contains(entry) && !current.contains(entry))
                .collect::<Vec<_>>())
        })?;
        let message = with_data(result, |data| {
            let signed = SignedCids::collect(data).map_err(|error| error.to_string())?;
            let cids = signed.get(&key.peer_id().to_string());
            Ok(signed_message(cids, particle_id))
        })?;
        let signatures = with_data(&input.current, |data| {
            let signed = SignedCids::collect(data).map_err(|error| error.to_string())?;
            let mut distinct = BTreeSet::new();
            for (stored, signature) in data.signatures.iter() {
                if stored == own {
                    continue;
                }
                let public = public_key(stored)?;
                let cids = signed.get(&public.peer_id().to_string());
                distinct.insert(Foreign {
                    key: stored.to_vec(),
                    message: signed_message(cids, particle_id),
                    signature: signature.to_vec(),
                });
            }
            Ok(distinct)
        })?;
        let texts = current.into_iter().chain(created);
        Ok(Self {
            key,
            message,
            signatures: signatures.into_iter().collect(),
            texts: texts.map(|(_, text)| text).collect(),
        })
    }

    pub fn counts(&self) -> Counts {
        Counts {
            signings: 1,
            verifications: self.signatures.len(),
            hashes: self.texts.len(),
            hashed_bytes: self.texts.iter().map(Vec::len).sum(),
        }
    }

    /// Does everything once; nanoseconds.
    pub fn measure(&self) -> Result<u64, String> {
        let mut verified = true;
        let nanoseconds = time(|| {
            for text in &self.texts {
                black_box(blake3::hash(text));
            }
            for foreign in &self.signatures {
                // Keys arrive as bytes, so reading them is a part of verifying.
                let signature = foreign.signature.get(1..).unwrap_or_default();
                verified &= public_key(&foreign.key)
                    .is_ok_and(|key| key.verify(&foreign.message, signature).is_ok());
            }
            black_box(self.key.sign(&self.message))
        });
        match verified {
            true => Ok(nanoseconds),
            false => Err("a signature of the input does not verify".to_owned()),
        }
    }
}

fn public_key(stored: &[u8]) -> Result<PublicKey, String> {
    let key = stored.get(1..).unwrap_or_default();
    PublicKey::ed25519_from_bytes(key).map_err(|error| error.to_string())
}

fn with_data<T>(
    bytes: &[u8],
    work: impl FnOnce(&Data<'_>) -> Result<T, String>,
) -> Result<T, String> {
    let envelope = Envelope::decode(bytes).map_err(|error| error.to_string())?;
    let data = envelope.data().map_err(|error| error.to_string())?;
    work(&data)
}

/// The entries of all stores: key and hashed text.
fn texts(data: &Data<'_>) -> BTreeSet<(String, Vec<u8>)> {
    let info = &data.cid_info;
    let mut texts: BTreeSet<_> = info
        .values
        .iter()
        .map(|(cid, text)| (cid.to_owned(), text.as_bytes().to_vec()))
        .collect();
    texts.extend(info.tetraplets.iter().map(json));
    texts.extend(info.canon_elements.iter().map(json));
    texts.extend(info.canon_results.iter().map(json));
    texts.extend(info.service_results.iter().map(json));
    texts
}

fn json<V: Content>((cid, content): (&str, &V)) -> (String, Vec<u8>) {
    let mut text = Vec::new();
    content.write_json(&mut text);
    (cid.to_owned(), text)
}
