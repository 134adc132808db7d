//! Who signed what: honest data, and data that somebody touched.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests stand outside of test functions"
)]

use particle::{
    KeyPair, Signer as _, Tetraplet,
    cid::value_cid,
    data::{
        CallState, Content as _, Data, DataSignatureError, SIGNATURE_LEN, STORED_KEY_LEN,
        ServiceResult, State, StoreError, VerifyOptions, check_signatures, sign_cids,
        stored_public_key,
    },
};

const PARTICLE: &str = "particle-1";

/// Texts that data borrows: peers that each return some values of their service.
struct Network {
    peers: Vec<Peer>,
    argument_hash: String,
}

struct Peer {
    id: String,
    stored_key: [u8; STORED_KEY_LEN],
    stored_signature: [u8; SIGNATURE_LEN],
    tetraplet_cid: String,
    results: Vec<(String, String, String)>,
}

fn network(results: &[(u8, &[&str])], particle_id: &str) -> Network {
    let argument_hash = value_cid("[]").to_string();
    let peers = results.iter().map(|(seed, values)| {
        let key = KeyPair::from_seed(&[*seed; 32]);
        let id = key.peer_id().to_string();
        let tetraplet = Tetraplet::of_call(&id, "service", "function");
        let tetraplet_cid = tetraplet.cid(&mut Vec::new()).to_string();
        let results: Vec<(String, String, String)> = values
            .iter()
            .map(|value| {
                let value_cid_text = value_cid(value).to_string();
                let result = ServiceResult {
                    value_cid: &value_cid_text,
                    argument_hash: &argument_hash,
                    tetraplet_cid: &tetraplet_cid,
                };
                (
                    result.cid(&mut Vec::new()).to_string(),
                    value_cid_text.clone(),
                    (*value).to_owned(),
                )
            })
            .collect();
        let mut cids: Vec<&str> = results.iter().map(|(cid, _, _)| cid.as_str()).collect();
        Peer {
            stored_key: stored_public_key(key.public_key()).unwrap(),
            stored_signature: sign_cids(&key, &mut cids, particle_id),
            id,
            tetraplet_cid,
            results,
        }
    });
    Network {
        peers: peers.collect(),
        argument_hash,
    }
}

impl Network {
    fn data(&self) -> Data<'_> {
        let mut data = Data::default();
        let info = &mut data.cid_info;
        for peer in &self.peers {
            let tetraplet = Tetraplet::of_call(&peer.id, "service", "function");
            info.tetraplets.insert(&peer.tetraplet_cid, tetraplet);
            for (cid, value_cid, value) in &peer.results {
                info.values.insert(value_cid, value);
                info.service_results.insert(
                    cid,
                    ServiceResult {
                        value_cid,
                        argument_hash: &self.argument_hash,
                        tetraplet_cid: &peer.tetraplet_cid,
                    },
                );
                data.trace.push(State::Call(CallState::Scalar(cid)));
            }
            data.signatures
                .insert(&peer.stored_key, &peer.stored_signature);
        }
        data
    }
}

#[test]
fn honest_data_passes() {
    let network = network(&[(1, &["1", "2"]), (2, &["3"])], PARTICLE);
    let data = network.data();
    assert_eq!(data.verify_stores(VerifyOptions::default()), Ok(()));
    let merged = check_signatures(&Data::default(), &data, PARTICLE, None).unwrap();
    assert_eq!(merged.signatures, data.signatures);
    assert_eq!(merged.signed.get(&network.peers[0].id).len(), 2);
    let own = KeyPair::from_seed(&[1; 32]);
    let with_own_key = check_signatures(&data, &data, PARTICLE, Some(&own)).unwrap();
    assert_eq!(with_own_key.signatures, merged.signatures);
    assert_eq!(with_own_key.signed, merged.signed);
    // What was made to check the signature in the data is that signature.
    let made = with_own_key.own.unwrap();
    assert_eq!(made.cids, merged.signed.get(&network.peers[0].id));
    assert_eq!(made.signature, network.peers[0].stored_signature);
}

#[test]
fn a_forged_own_signature_is_refused() {
    let mut network = network(&[(1, &["1", "2"]), (2, &["3"])], PARTICLE);
    if let Some(byte) = network.peers[0].stored_signature.last_mut() {
        *byte ^= 1;
    }
    let data = network.data();
    let own = KeyPair::from_seed(&[1; 32]);
    for key in [None, Some(&own)] {
        let refused = check_signatures(&Data::default(), &data, PARTICLE, key);
        assert!(refused.is_err());
    }
}

#[test]
fn many_own_results_are_verified() {
    let results: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let results: Vec<&str> = results.iter().map(String::as_str).collect();
    let network = network(&[(1, &results)], PARTICLE);
    let own = KeyPair::from_seed(&[1; 32]);
    let merged = check_signatures(&Data::default(), &network.data(), PARTICLE, Some(&own)).unwrap();
    assert_eq!(merged.own, None);
    assert_eq!(merged.signed.get(&network.peers[0].id).len(), 200);
}

#[test]
fn own_results_of_previous_data_need_no_check() {
    let results: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let results: Vec<&str> = results.iter().map(String::as_str).collect();
    let network = network(&[(1, &results)], PARTICLE);
    let data = network.data();
    let own = KeyPair::from_seed(&[1; 32]);
    let check = |current: &Data<'_>| {
        check_signatures(&data, current, PARTICLE, Some(&own))
            .map(|merged| merged.own.map(|own| own.signature))
    };
    assert_eq!(check(&data), Ok(Some(network.peers[0].stored_signature)));
    // Another signature is checked, and so is the same one over other CIDs.
    let mut forged = data.clone();
    let signature = [0; SIGNATURE_LEN];
    let key = &network.peers[0].stored_key;
    forged.signatures.insert(key, &signature);
    assert!(check(&forged).is_err());
    let mut fewer = data.clone();
    fewer.trace.pop();
    assert!(check(&fewer).is_err());
}

#[test]
fn touched_data_is_refused() {
    let network = network(&[(1, &["1", "2"]), (2, &["3"])], PARTICLE);
    let check = |data: &Data<'_>, particle_id| {
        check_signatures(&Data::default(), data, particle_id, None).unwrap_err()
    };

    let mut altered = network.data();
    let (cid, result) = altered.cid_info.service_results.iter().next().unwrap();
    let result = ServiceResult {
        argument_hash: cid,
        ..*result
    };
    altered.cid_info.service_results.insert(cid, result);
    let stores = altered.verify_stores(VerifyOptions::default());
    assert!(matches!(stores, Err(StoreError::Mismatch { .. })));

    let data = network.data();
    assert!(matches!(
        check(&data, "other"),
        DataSignatureError::Mismatch { .. }
    ));

    let mut dropped = data.clone();
    dropped.trace.pop();
    assert!(matches!(
        check(&dropped, PARTICLE),
        DataSignatureError::Mismatch { .. }
    ));

    let mut twice = data.clone();
    twice.trace.push(twice.trace[0].clone());
    assert!(matches!(
        check(&twice, PARTICLE),
        DataSignatureError::Mismatch { .. }
    ));

    let mut foreign = data.clone();
    foreign.signatures = Default::default();
    foreign.signatures.insert(
        &network.peers[0].stored_key,
        &network.peers[0].stored_signature,
    );
    assert!(matches!(
        check(&foreign, PARTICLE),
        DataSignatureError::NoKey { .. }
    ));

    let mut unknown = data.clone();
    unknown.trace.push(State::Canon("nothing"));
    assert!(matches!(
        check(&unknown, PARTICLE),
        DataSignatureError::MissingCid { .. }
    ));

    for key in [&b""[..], b"\0", b"\x02234", &[0xff; 33], &[0; 90_000]] {
        let mut malformed = data.clone();
        malformed
            .signatures
            .insert(key, &network.peers[0].stored_signature);
        assert!(matches!(
            check(&malformed, PARTICLE),
            DataSignatureError::MalformedKey { .. } | DataSignatureError::Mismatch { .. }
        ));
    }
    for signature in [&b""[..], b"\0", &[1; 65], &[0; 64]] {
        let mut malformed = data.clone();
        malformed
            .signatures
            .insert(&network.peers[0].stored_key, signature);
        assert!(matches!(
            check(&malformed, PARTICLE),
            DataSignatureError::Mismatch { .. }
        ));
    }
}

#[test]
fn the_larger_set_wins() {
    let small = network(&[(1, &["1"]), (2, &["3"])], PARTICLE);
    let large = network(&[(1, &["2", "1"]), (3, &[])], PARTICLE);
    let other = network(&[(1, &["4", "5"])], PARTICLE);
    let (small, large, other) = (small.data(), large.data(), other.data());
    let key = stored_public_key(KeyPair::from_seed(&[1; 32]).public_key()).unwrap();
    for (previous, current) in [(&small, &large), (&large, &small)] {
        let merged = check_signatures(previous, current, PARTICLE, None).unwrap();
        assert_eq!(merged.signatures.len(), 3);
        assert_eq!(merged.signatures.get(&key), large.signatures.get(&key));
    }
    for (previous, current) in [(&small, &other), (&other, &large)] {
        let error = check_signatures(previous, current, PARTICLE, None).unwrap_err();
        assert!(
            matches!(error, DataSignatureError::Inconsistent { .. }),
            "{error}"
        );
    }
}
