//! A whole run: a recorded call or one of a random network, with what a hostile peer could change.

mod case;

use std::sync::LazyLock;

use aquavm::{Outcome, Script, decode_call_requests, invoke, verify};
use particle::{
    KeyPair,
    data::{Data, Envelope, VerifyOptions, check_signatures},
};

use super::{bounded, choices::Choices, described, records::Call};
use case::Case;

/// Bytes that a run may take for each byte of its inputs, and for each state that it may add.
const FACTOR: usize = 200;
const STATE: usize = 400;

/// Limit of the trace: folds in folds over streams that grow make it long without need of input.
const MAX_STATES: u32 = 10_000;

/// Changes of one call; more find nothing that these do not.
const MAX_CHANGES: usize = 16;

/// Codes of runs that leave the previous data as they are, that lose them, that give new ones.
const KEPT: [i64; 24] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20_000, 20_002, 20_003, 20_004, 20_005, 20_006, 20_007, 20_008,
    20_010, 20_012, 20_013, 20_014, 20_016, 20_017,
];
const LOST: [i64; 2] = [20_001, 30_001];
const NEW: [i64; 14] = [
    0, 10_000, 10_001, 10_002, 10_003, 10_005, 10_006, 10_007, 10_008, 10_009, 10_010, 10_011,
    10_012, 30_000,
];

/// Checks the run that the bytes describe.
pub fn step(input: &[u8]) {
    let mut choices = Choices(input);
    let arena = bumpalo::Bump::new();
    let mut case = Case::new(&mut choices, &arena);
    for _ in 0..MAX_CHANGES {
        if choices.is_empty() {
            break;
        }
        case.change(&mut choices);
    }
    check(&case.call(), case.own);
}

fn run(call: &Call) -> Outcome<Vec<u8>> {
    invoke(
        &call.script,
        &call.previous,
        &call.current,
        &call.parameters,
        &call.results,
    )
}

fn check(call: &Call, own: bool) {
    let size = call.script.len() + call.previous.len() + call.current.len() + call.results.len();
    let states = MAX_STATES as usize * STATE;
    let outcome = bounded("a run", size + states / FACTOR, FACTOR, || run(call));
    assert_eq!(run(call), outcome, "the same call gives another outcome");

    let requests = decode_call_requests(&outcome.call_requests).expect("requests of our own");
    let silent = requests.is_empty() && outcome.next_peers.is_empty();
    let code = outcome.ret_code;
    assert_eq!(code == 0, outcome.error_message.is_empty());
    assert!(
        !outcome
            .next_peers
            .contains(&call.parameters.current_peer_id)
    );
    if KEPT.contains(&code) {
        assert!(silent && outcome.data == call.previous, "after code {code}");
    } else if LOST.contains(&code) {
        assert!(silent && outcome.data.is_empty(), "after code {code}");
    } else {
        assert!(NEW.contains(&code), "code {code}");
        check_new_data(call, own, &outcome, !requests.is_empty());
    }
    if let Ok(script) = Script::parse(&call.script) {
        let subject = verify::Subject {
            init_peer_id: call.parameters.init_peer_id.clone(),
            particle_id: call.parameters.particle_id.clone(),
            timestamp: call.parameters.timestamp,
            ttl: call.parameters.ttl,
            compat: call.parameters.compat,
            limits: call.parameters.limits,
        };
        if let Err(error) = verify::verify(&script, &call.current, &subject) {
            described(&error);
        }
    }
}

/// What a peer passes on, the next one can read. Unless its own store was bad before, the contents
/// verify, and where it follows all policies the signatures too, but for data that it keeps unsigned.
fn check_new_data(call: &Call, own: bool, outcome: &Outcome<Vec<u8>>, asks: bool) {
    let envelope = Envelope::decode(&outcome.data).expect("an envelope of our own");
    assert_eq!(envelope.check_version(), Ok(()));
    let data = envelope.data().expect("an archive of our own");
    let parameters = &call.parameters;
    if !parameters.check_signatures || !is_trustworthy(call) {
        return;
    }
    let verified = data.verify_stores(VerifyOptions::default());
    assert_eq!(verified, Ok(()));
    let policy = parameters.policy;
    if own && policy.refuse_unreached_states && policy.ignore_foreign_requests {
        let checked = check_signatures(&Data::default(), &data, &parameters.particle_id, None);
        let kept = policy.defer_signature && asks && outcome.next_peers.is_empty();
        assert_eq!(checked.is_err(), kept, "{checked:?}");
    }
}

/// Whether the peer is who it says, and its previous data would get through its own checks.
fn is_trustworthy(call: &Call) -> bool {
    static PEERS: LazyLock<Vec<(Vec<u8>, String)>> = LazyLock::new(|| {
        let peer = |key: &KeyPair| (key.secret_bytes().to_vec(), key.peer_id().to_string());
        case::keys().iter().map(peer).collect()
    });
    let parameters = &call.parameters;
    let aquavm::Key::Raw { secret, .. } = &parameters.key else {
        return false;
    };
    let own = PEERS.iter().find(|(seed, _)| seed == secret);
    if own.is_none_or(|(_, peer_id)| *peer_id != parameters.current_peer_id) {
        return false;
    }
    let Ok(envelope) = Envelope::decode(&call.previous) else {
        return false;
    };
    envelope.data().is_ok_and(|data| {
        data.verify_stores(VerifyOptions::default()).is_ok()
            && check_signatures(&Data::default(), &data, &parameters.particle_id, None).is_ok()
    })
}
