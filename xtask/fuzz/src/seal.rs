//! What makes changed data believable: CIDs that fit, and signatures of those peers whose keys the
//! records give away.

use std::collections::HashMap;

use bumpalo::Bump;
use particle::{
    KeyPair, Signer as _,
    cid::{CidText, value_cid},
    data::{
        CallState, CanonElement, CanonResult, Content, Data, Provenance, SignedCids, State, Store,
        sign_cids, stored_public_key,
    },
};

/// Chains of canon results that refer to each other are followed this far.
const ROUNDS: usize = 8;

/// Gives every content the key that belongs to it, also where it is referred to.
pub(crate) fn hash_again<'a>(data: &mut Data<'a>, arena: &'a Bump) {
    let mut scratch = Vec::new();
    for _ in 0..ROUNDS {
        let mut renamed = HashMap::new();
        let info = &mut data.cid_info;
        rekey(&mut info.values, &mut renamed, arena, |text| {
            value_cid(text)
        });
        rekey(&mut info.tetraplets, &mut renamed, arena, |content| {
            content.cid(&mut scratch)
        });
        rekey(&mut info.service_results, &mut renamed, arena, |content| {
            content.cid(&mut scratch)
        });
        rekey(&mut info.canon_elements, &mut renamed, arena, |content| {
            content.cid(&mut scratch)
        });
        rekey(&mut info.canon_results, &mut renamed, arena, |content| {
            content.cid(&mut scratch)
        });
        if renamed.is_empty() {
            return;
        }
        rename(data, &renamed);
    }
}

fn rekey<'a, V: Clone>(
    store: &mut Store<'a, V>,
    renamed: &mut HashMap<&'a str, &'a str>,
    arena: &'a Bump,
    mut cid_of: impl FnMut(&V) -> CidText,
) {
    let entries: Vec<(&str, V)> = store
        .iter()
        .map(|(cid, value)| {
            let own = cid_of(value);
            if *own == *cid {
                return (cid, value.clone());
            }
            let own: &'a str = arena.alloc_str(&own);
            renamed.insert(cid, own);
            (own, value.clone())
        })
        .collect();
    *store = entries.into_iter().collect();
}

fn rename<'a>(data: &mut Data<'a>, renamed: &HashMap<&'a str, &'a str>) {
    let new = |cid: &mut &'a str| {
        if let Some(own) = renamed.get(cid) {
            *cid = own;
        }
    };
    for state in &mut data.trace {
        match state {
            State::Call(
                CallState::Scalar(cid)
                | CallState::Stream { cid, .. }
                | CallState::Unused(cid)
                | CallState::Failed(cid),
            )
            | State::Canon(cid) => new(cid),
            _ => {}
        }
    }
    let info = &mut data.cid_info;
    edit_all(&mut info.service_results, |result| {
        new(&mut result.value_cid);
        new(&mut result.tetraplet_cid);
    });
    edit_all(
        &mut info.canon_elements,
        |element: &mut CanonElement<'a>| {
            new(&mut element.value);
            new(&mut element.tetraplet);
            match &mut element.provenance {
                Provenance::Literal => {}
                Provenance::ServiceResult(cid) | Provenance::Canon(cid) => new(cid),
            }
        },
    );
    edit_all(&mut info.canon_results, |result: &mut CanonResult<'a>| {
        new(&mut result.tetraplet);
        let mut values = result.values.to_vec();
        values.iter_mut().for_each(new);
        result.values = values.into();
    });
}

fn edit_all<'a, V: Clone>(store: &mut Store<'a, V>, change: impl Fn(&mut V)) {
    let entries: Vec<_> = store
        .iter()
        .map(|(cid, value)| {
            let mut value = value.clone();
            change(&mut value);
            (cid, value)
        })
        .collect();
    *store = entries.into_iter().collect();
}

/// Signs for every one of `keys` what the trace says of its peer.
pub(crate) fn sign_again<'a>(
    data: &mut Data<'a>,
    keys: &[KeyPair],
    particle_id: &str,
    arena: &'a Bump,
) {
    let Ok(signed) = SignedCids::collect(data) else {
        return;
    };
    for key in keys {
        let mut cids = signed.get(&key.peer_id().to_string()).to_vec();
        let Some(stored) = stored_public_key(key.public_key()) else {
            continue;
        };
        let stored: &'a [u8] = arena.alloc_slice_copy(&stored);
        if cids.is_empty() && data.signatures.get(stored).is_none() {
            continue;
        }
        let signature = sign_cids(key, &mut cids, particle_id);
        data.signatures
            .insert(stored, arena.alloc_slice_copy(&signature));
    }
}
