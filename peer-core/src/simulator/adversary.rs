//! Peers that cheat: ready-made ways of [tampering](super::Simulator::tamper).

use std::sync::Arc;

use particle::{
    KeyPair, Particle, Signer as _,
    cid::value_cid,
    data::{
        CallState, Content as _, Data, Envelope, ServiceResult, SignedCids, State, sign_cids,
        stored_public_key,
    },
    value,
};

use super::{Random, SimPeer, Tamper};

/// Most messages of one particle that [`Adversary::Replay`] keeps to send again.
const KEPT: usize = 8;

/// A way to cheat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Adversary {
    /// Tells every receiver another result of its own functions, each signed as it must be: only
    /// those who compare what they were told can notice.
    Equivocate,
    /// Changes a result of another peer. All contents fit their CIDs; the signature of that peer
    /// is the one thing that it cannot make.
    Forge,
    /// Cuts off the end of the data.
    Truncate,
    /// Sends what it has sent before once more, after each new message.
    Replay,
    /// Sends every message so many times, and as many particles that nobody asked for.
    Flood {
        /// How many of each.
        copies: usize,
    },
}

impl Adversary {
    /// What the peer with this key sends instead of what it should.
    #[must_use]
    pub fn tamper(self, key: Arc<KeyPair>) -> Tamper {
        match self {
            Self::Equivocate => Box::new(move |_, particle, to| {
                let own = key.peer_id().to_string();
                // Who gets which story has to be the same every time, or it would be noticed at once.
                let story = format!("story {}", to.0);
                let told = rewrite(particle, &story, Some(&key), |peer| peer == own);
                vec![told.unwrap_or_else(|| particle.clone())]
            }),
            Self::Forge => Box::new(move |_, particle, _| {
                let own = key.peer_id().to_string();
                let forged = rewrite(particle, "forged", None, |peer| peer != own);
                vec![forged.unwrap_or_else(|| particle.clone())]
            }),
            Self::Truncate => Box::new(|random, particle, _| {
                let length = particle.data.len() as u64;
                let left = random.between(0, length.saturating_sub(1)) as usize;
                vec![with_data(particle, particle.data.slice(..left))]
            }),
            Self::Replay => {
                let mut sent: Vec<(SimPeer, Particle)> = Vec::new();
                Box::new(move |_, particle, to| {
                    let before = sent.iter().filter(|(receiver, _)| *receiver == to);
                    let mut messages = vec![particle.clone()];
                    messages.extend(before.map(|(_, particle)| particle.clone()));
                    if sent.len() == KEPT {
                        sent.remove(0);
                    }
                    sent.push((to, particle.clone()));
                    messages
                })
            }
            Self::Flood { copies } => Box::new(move |random, particle, _| {
                let mut messages = vec![particle.clone(); copies];
                messages.extend((0..copies).map(|_| unasked(random, &key, particle)));
                messages
            }),
        }
    }
}

/// A particle that does nothing, alive for as long as `model`.
fn unasked(random: &mut Random, key: &KeyPair, model: &Particle) -> Particle {
    let id = super::uuid(random);
    Particle::new(key, id, model.timestamp, model.ttl, "(null)".to_owned())
}

fn with_data(particle: &Particle, data: bytes::Bytes) -> Particle {
    Particle {
        data,
        ..particle.clone()
    }
}

/// Replaces the value of every call result of the peers that `whose` names by `text`, and signs for
/// `key` again. Nothing when there is no such result, or nothing that can be read.
fn rewrite(
    particle: &Particle,
    text: &str,
    key: Option<&KeyPair>,
    whose: impl Fn(&str) -> bool,
) -> Option<Particle> {
    let text = value::print(text).ok()?;
    let value_cid = value_cid(&text);
    let envelope = Envelope::decode(&particle.data).ok()?;
    let data = envelope.data().ok()?;
    let info = &data.cid_info;
    let mut scratch = Vec::new();
    // The old and the new name of each result, which the data will borrow.
    let changed: Vec<(&str, ServiceResult<'_>, String)> = info
        .service_results
        .iter()
        .filter(|(_, result)| {
            let tetraplet = info.tetraplets.get(result.tetraplet_cid);
            tetraplet.is_some_and(|tetraplet| whose(tetraplet.peer_pk))
        })
        .map(|(cid, result)| {
            let result = ServiceResult {
                value_cid: value_cid.as_str(),
                ..*result
            };
            (cid, result, result.cid(&mut scratch).as_str().to_owned())
        })
        .collect();
    if changed.is_empty() {
        return None;
    }
    let stored_key = key.and_then(|key| stored_public_key(key.public_key()));
    let signature;
    let mut data: Data<'_> = data.clone();
    data.cid_info.values.insert(value_cid.as_str(), &text);
    for (_, result, cid) in &changed {
        data.cid_info.service_results.insert(cid, *result);
    }
    for state in &mut data.trace {
        if let State::Call(CallState::Scalar(cid) | CallState::Stream { cid, .. }) = state
            && let Some((_, _, new)) = changed.iter().find(|(old, _, _)| old == cid)
        {
            *cid = new;
        }
    }
    if let (Some(key), Some(stored)) = (key, &stored_key) {
        let signed = SignedCids::collect(&data).ok()?;
        let mut cids = signed.get(&key.peer_id().to_string()).to_vec();
        signature = sign_cids(key, &mut cids, &particle.id);
        data.signatures.insert(stored, &signature);
    }
    data.drop_unreferenced();
    let data = data.encode(&envelope.versions).ok()?;
    Some(with_data(particle, data.into()))
}

/// Whose results of calls `data` has, and their JSON texts: for tests of what was told.
#[cfg(test)]
pub(super) fn results(data: &[u8]) -> Vec<(particle::PeerId, String)> {
    let envelope = Envelope::decode(data).unwrap();
    let data = envelope.data().unwrap();
    let info = &data.cid_info;
    let results = info.service_results.iter().map(|(_, result)| {
        let tetraplet = info.tetraplets.get(result.tetraplet_cid).unwrap();
        let value = info.values.get(result.value_cid).unwrap();
        (tetraplet.peer_pk.parse().unwrap(), (*value).to_owned())
    });
    results.collect()
}
