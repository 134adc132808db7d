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
    CallResults, Compat, step,
    verify::{CallEnd, Event, Subject, Verification, verify},
};
use network::{Knowledge, Network, Random, Writer};
use particle::data::{CallState, Envelope, State};
use proptest::prelude::*;

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
    }
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn peers_converge_whatever_is_delivered_when(seed: u64, depth in 0..5_usize) {
        let (mut network, mut random) = network(seed, depth);
        network.run(&mut random);
        network.exchange(&mut random);
        let first = Knowledge::of(&network.stored[0]);
        for data in &network.stored[1..] {
            prop_assert_eq!(&Knowledge::of(data), &first, "{}", network.script.text());
        }
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
                let (one, two) = (merge(data, other), merge(other, data));
                prop_assert_eq!(
                    Knowledge::of(&one.data),
                    Knowledge::of(&two.data),
                    "{}",
                    network.script.text()
                );
            }
        }
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
