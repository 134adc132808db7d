//! Laws of merging, over random scripts in random networks.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

#[path = "laws/network.rs"]
mod network;

use std::collections::BTreeSet;

use aquavm::{
    CallResults, Compat, Limits, step,
    verify::{CallEnd, Event, Subject, Verification, verify},
};
use network::{Network, Random, Writer};
use particle::{
    KeyPair,
    data::{CallState, Data, Envelope, Signatures, SignedCids, State, Store, sign_cids},
};
use proptest::prelude::*;
use xtask::agreement::Knowledge;

fn network(seed: u64, depth: usize) -> (Network, Random) {
    let mut random = Random(seed);
    let script = Writer::script(&mut random, depth);
    (Network::new(&script), random)
}

fn subject(network: &Network) -> Subject {
    let parameters = network.parameters(0);
    Subject {
        init_peer_id: parameters.init_peer_id,
        particle_id: parameters.particle_id,
        timestamp: parameters.timestamp,
        ttl: parameters.ttl,
        compat: Compat::V0_64,
        limits: Limits::for_strangers(),
    }
}

/// Whether two peers know the same.
fn agree(one: &[u8], other: &[u8]) -> Result<(), TestCaseError> {
    let [one, other] = [one, other].map(|data| Envelope::decode(data).unwrap());
    let [one, other] = [&one, &other].map(|envelope| envelope.data().unwrap());
    let compared = Knowledge::of(&one).compare(&Knowledge::of(&other));
    compared.map_err(TestCaseError::fail)
}

/// Data with a change, encoded again.
fn changed(data: &[u8], change: impl FnOnce(&mut Data<'_>)) -> Vec<u8> {
    let envelope = Envelope::decode(data).unwrap();
    let mut data = envelope.data().unwrap();
    change(&mut data);
    data.encode(&envelope.versions).unwrap()
}

/// What signatures prove.
fn proven(verification: &Verification) -> BTreeSet<String> {
    let signed = verification.steps.iter();
    let signed = signed.filter(|step| step.signed_by.is_some());
    signed
        .map(|step| match &step.event {
            Event::Call {
                peer,
                service,
                function,
                argument_hash,
                end: CallEnd::Returned { result, .. } | CallEnd::Failed { result, .. },
            } => format!("{peer} {service} {function} {argument_hash:?} {result}"),
            event => format!("{event:?}"),
        })
        .collect()
}

/// Nothing is shown by scripts that do nothing.
#[test]
fn random_scripts_reach_every_kind_of_state() {
    let mut kinds = BTreeSet::new();
    for seed in 0..40 {
        let (mut network, mut random) = network(seed, 4);
        network.run(&mut random);
        network.exchange(&mut random);
        let envelope = Envelope::decode(&network.stored[0]).unwrap();
        for state in &envelope.data().unwrap().trace {
            kinds.insert(match state {
                State::Call(CallState::Failed(_)) => "failed",
                State::Call(CallState::Unused(_)) => "unused",
                State::Call(CallState::Stream { .. }) => "stream",
                State::Call(CallState::Scalar(_)) => "scalar",
                State::Canon(_) => "canon",
                State::Fold(lore) if !lore.is_empty() => "fold",
                State::Par { left, right } if left * right > 0 => "par",
                _ => continue,
            });
        }
    }
    let all = [
        "canon", "failed", "fold", "par", "scalar", "stream", "unused",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);
}

/// Whether a peer owes itself a signature.
fn unsigned(data: &[u8]) -> bool {
    let envelope = Envelope::decode(data).unwrap();
    envelope.data().unwrap().owes_signature()
}

/// Nobody takes data for signed that are not, whoever sends them.
#[test]
fn unsigned_data_are_refused() {
    let mut refused = 0;
    for seed in 0..40 {
        let (mut network, mut random) = network(seed, 4);
        network.policy.defer_signature = true;
        network.run(&mut random);
        for (peer, data) in network.kept.iter().filter(|(_, data)| unsigned(data)) {
            let own = network.parameters(*peer);
            // The peer itself remembers the same.
            for (parameters, previous) in [
                (&own, &**data),
                (&own, &network.stored[*peer]),
                (&network.bystander(), &[]),
            ] {
                let results = CallResults::new();
                let outcome = step(&network.script, previous, data, parameters, &results);
                assert_eq!(outcome.ret_code, 9, "{}", outcome.error_message);
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn peers_converge_whatever_is_delivered_when(seed: u64, depth in 0..5_usize) {
        let (mut network, mut random) = network(seed, depth);
        network.run(&mut random);
        network.exchange(&mut random);
        for data in &network.stored[1..] {
            agree(data, &network.stored[0])?;
        }
    }

    /// Whether peers sign what they keep makes no difference to others, nor in the end to themselves.
    #[test]
    fn deferred_signatures_leave_no_trace(seed: u64, depth in 0..5_usize) {
        let [signing, deferring] = [false, true].map(|defer_signature| {
            let (mut network, mut random) = network(seed, depth);
            network.policy.defer_signature = defer_signature;
            network.run(&mut random);
            network
        });
        prop_assert!(deferring.traffic == signing.traffic, "{}", signing.script.text());
        prop_assert!(deferring.stored == signing.stored, "{}", signing.script.text());
    }

    #[test]
    fn merging_is_idempotent_and_commutes(seed: u64, depth in 0..5_usize) {
        let (mut network, mut random) = network(seed, depth);
        network.run(&mut random);
        for (peer, data) in network.stored.iter().enumerate() {
            if data.is_empty() {
                continue;
            }
            let parameters = network.parameters(peer);
            let merge = |previous: &[u8], current: &[u8]| {
                step(&network.script, previous, current, &parameters, &CallResults::new())
            };
            let again = merge(data, data);
            prop_assert_eq!(&again.data, data, "{}", network.script.text());
            prop_assert!(again.call_requests.is_empty() && again.next_peers.is_empty());
            for other in &network.stored {
                agree(&merge(data, other).data, &merge(other, data).data)?;
            }
        }
    }

    /// Merged by a peer that takes no part, so that nothing but merging happens.
    #[test]
    fn merging_is_associative(seed: u64, depth in 0..5_usize) {
        let (mut network, mut random) = network(seed, depth);
        network.run(&mut random);
        let bystander = network.bystander();
        let merge = |previous: &[u8], current: &[u8]| {
            let results = CallResults::new();
            step(&network.script, previous, current, &bystander, &results).data
        };
        let known: Vec<_> = network.stored.iter().filter(|data| !data.is_empty()).collect();
        for (a, b, c) in known.iter().enumerate().flat_map(|(at, a)| {
            let others = known.iter().cycle().skip(at + 1);
            others.clone().take(2).zip(others.skip(1)).map(move |(b, c)| (a, b, c))
        }) {
            agree(&merge(&merge(a, b), c), &merge(a, &merge(b, c)))?;
        }
    }

    #[test]
    fn what_is_not_as_it_was_signed_is_refused(seed: u64, depth in 1..5_usize) {
        let (mut network, mut random) = network(seed, depth);
        network.run(&mut random);
        let honest = network.stored.iter().max_by_key(|data| data.len()).unwrap();
        let particle_id = network.parameters(0).particle_id;
        let mut bystander = network.bystander();
        let code = |data: &[u8]| {
            let outcome = step(&network.script, &[], data, &bystander, &CallResults::new());
            outcome.ret_code
        };
        prop_assert!(code(honest) < 20_000);

        let forged = changed(honest, |data| {
            let cids: Vec<_> = data.cid_info.values.iter().map(|(cid, _)| cid).collect();
            data.cid_info.values = Store::with_capacity(cids.len());
            for cid in cids {
                data.cid_info.values.insert(cid, "\"forged\"");
            }
        });
        prop_assert_eq!(code(&forged), 8);

        let dropped = changed(honest, |data| {
            // The first call asks for a list and is signed.
            let state = data.trace.iter_mut().find(|state| {
                matches!(state, State::Call(CallState::Scalar(_)))
            });
            *state.unwrap() = State::Call(CallState::SentBy("somebody"));
        });
        prop_assert_eq!(code(&dropped), 9);

        let unsigned = changed(honest, |data| data.signatures = Signatures::default());
        prop_assert_eq!(code(&unsigned), 9);

        let envelope = Envelope::decode(honest).unwrap();
        let data = envelope.data().unwrap();
        let foreign: Vec<_> = SignedCids::collect(&data)
            .unwrap()
            .iter()
            .map(|(_, cids)| sign_cids(&KeyPair::from_seed(&[99; 32]), &mut cids.to_vec(), &particle_id))
            .collect();
        // What a change puts into data has to outlive them, whatever their own life is.
        let foreign: &'static [_] = foreign.leak();
        let foreign = changed(honest, |data| {
            let keys: Vec<_> = data.signatures.iter().map(|(key, _)| key).collect();
            data.signatures = Signatures::default();
            for (key, signature) in keys.into_iter().zip(foreign) {
                data.signatures.insert(key, signature);
            }
        });
        prop_assert_eq!(code(&foreign), 9);

        bystander.particle_id.push('2');
        let replayed = step(&network.script, &[], honest, &bystander, &CallResults::new());
        prop_assert_eq!(replayed.ret_code, 9);
    }

    #[test]
    fn altered_bytes_prove_nothing_new(seed: u64, depth in 1..5_usize, place: usize, bit in 0..8_u8) {
        let (mut network, mut random) = network(seed, depth);
        network.run(&mut random);
        let subject = subject(&network);
        let data = network.stored.iter().max_by_key(|data| data.len()).unwrap();
        let honest = verify(&network.script, data, &subject).unwrap();
        let mut altered = data.clone();
        let place = place % altered.len();
        altered[place] ^= 1 << bit;
        // Refusing is what mostly happens; unsigned parts may be altered.
        if let Ok(verification) = verify(&network.script, &altered, &subject) {
            let proven = proven(&verification);
            prop_assert!(proven.is_subset(&self::proven(&honest)), "{proven:?}");
        }
        let other = Subject { particle_id: "another".to_owned(), ..subject };
        let replayed = verify(&network.script, data, &other).unwrap_err();
        prop_assert_eq!(replayed.code(), 9);
    }
}
