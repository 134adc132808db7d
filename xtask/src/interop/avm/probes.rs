//! Calls with something wrong: damaged or hostile data, foreign particles, odd parameters.

use aquavm::{CallResult, Compat, Key, encode_call_results};
use particle::data::{
    CallState, Envelope, FoldLore, Generations, State, Subtrace, Subtraces, Versions,
};
use semver::Version;

use crate::conformance::run::Call;
use crate::random::Random;

/// Spoils a call; says how.
pub(super) fn spoil(random: &mut Random, call: &mut Call) -> &'static str {
    match random.below(20) {
        0 => {
            call.parameters.particle_id.push('x');
            "the data of another particle"
        }
        1 => {
            call.current.truncate(random.below(call.current.len()));
            "cut data"
        }
        2 => {
            if let Some(byte) = call.current.get_mut(random.below(56)) {
                *byte ^= 1 << random.below(8);
            }
            "a damaged envelope"
        }
        3 => {
            call.results = encode_call_results(&[(7777, CallResult::ok("1"))].into());
            "a result that nobody waits for"
        }
        4 => {
            call.results = random
                .pick(&[&b""[..], b"\x80\x04\x80", b"\x81\x04\x81\x01\x90", b"\x81"])
                .map(|bytes| bytes.to_vec())
                .unwrap_or_default();
            "damaged results"
        }
        5 => {
            call.parameters.key = match random.below(3) {
                0 => Key::Raw {
                    format: 2,
                    secret: vec![1; 32],
                },
                1 => Key::Raw {
                    format: 77,
                    secret: vec![1; 32],
                },
                _ => Key::Raw {
                    format: 0,
                    secret: vec![1; random.below(40)],
                },
            };
            "another key"
        }
        6 => {
            let limits = &mut call.parameters.limits;
            let limit = random.below(200) as u64;
            match random.below(3) {
                0 => limits.script = limit,
                1 => limits.particle = limit,
                _ => limits.call_result = limit / 10,
            }
            limits.hard = random.chance(70);
            "small limits"
        }
        7 => {
            let current = std::mem::take(&mut call.current);
            call.previous = current;
            "the data of another peer as its own"
        }
        8 => {
            call.script.truncate(
                call.script
                    .floor_char_boundary(random.below(call.script.len())),
            );
            "a cut script"
        }
        9 => {
            let at = random.below(call.current.len());
            if let Some(byte) = call.current.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
            "a damaged archive"
        }
        10 => rewrite(random, call, |random, _, versions| {
            versions.interpreter = match random.below(3) {
                0 => Version::new(0, 60, random.below(9) as u64),
                1 => Version::new(0, 61, 0),
                _ => Version::new(99, 0, 0),
            };
            "another version"
        }),
        _ => rewrite(random, call, |random, trace, _| change(random, trace)),
    }
}

/// Changes current data in their decoded form. Data that cannot be decoded stay.
fn rewrite(
    random: &mut Random,
    call: &mut Call,
    change: impl FnOnce(&mut Random, &mut Vec<State<'_>>, &mut Versions) -> &'static str,
) -> &'static str {
    let bytes = std::mem::take(&mut call.current);
    let mut versions = Versions::of_interpreter(Compat::V0_63.interpreter_version());
    let changed = Envelope::decode(&bytes).ok().and_then(|envelope| {
        let mut data = envelope.data().ok()?;
        let what = change(random, &mut data.trace, &mut versions);
        Some((what, data.encode(&versions).ok()?))
    });
    match changed {
        Some((what, changed)) => {
            call.current = changed;
            what
        }
        None => {
            call.current = bytes;
            "the same data"
        }
    }
}

/// Changes what no signature covers, mostly.
fn change(random: &mut Random, trace: &mut Vec<State<'_>>) -> &'static str {
    let len = trace.len();
    let at = random.below(len);
    let other = random.below(len);
    match random.below(6) {
        0 => {
            if at < len && other < len {
                trace.swap(at, other);
            }
            return "two states swapped";
        }
        1 => {
            if at < len {
                trace.remove(at);
            }
            return "a state less";
        }
        2 => {
            let state = match random.below(4) {
                0 => State::Par {
                    left: random.below(3) as u32,
                    right: random.below(3) as u32,
                },
                1 => State::Ap(Generations::One(0)),
                2 => State::Fold(Box::default()),
                _ => match trace.get(other) {
                    Some(state) => state.clone(),
                    None => State::Ap(Generations::One(1)),
                },
            };
            trace.insert(at, state);
            return "a state more";
        }
        _ => {}
    }
    let small = random.below(4) as u32;
    // Foreign texts are not needed: what is there is put elsewhere.
    let Some(state) = trace.get_mut(at) else {
        return "the same data";
    };
    match state {
        State::Par { left, right } => {
            *(if random.chance(50) { left } else { right }) = small;
            "other par sizes"
        }
        State::Call(CallState::Stream { generation, .. }) => {
            *generation = small;
            "another generation of a call"
        }
        State::Call(CallState::SentBy(peer)) => {
            *state = State::Call(CallState::SentByWithId {
                peer_id: peer,
                call_id: small,
            });
            "a request of somebody else"
        }
        State::Call(CallState::SentByWithId { call_id, .. }) => {
            *call_id = small;
            "another call id"
        }
        State::Call(CallState::Scalar(cid)) if small == 0 => {
            *state = State::Call(CallState::Failed(cid));
            "a failure for a success"
        }
        State::Call(CallState::Scalar(cid)) => {
            *state = State::Call(CallState::Stream {
                cid,
                generation: small,
            });
            "a stream for a scalar"
        }
        State::Call(CallState::Unused(cid)) => {
            *state = State::Call(CallState::SentBy(cid));
            "a call undone"
        }
        State::Call(CallState::Failed(cid)) => {
            *state = State::Call(CallState::Scalar(cid));
            "a success for a failure"
        }
        State::Ap(generations) => {
            *generations = match random.below(4) {
                0 => Generations::Other(Box::new([])),
                1 => Generations::Other(Box::new([small, 1])),
                _ => Generations::One(small),
            };
            "other generations"
        }
        State::Fold(lore) => {
            change_lore(random, lore, small);
            "other fold lore"
        }
        State::CanonSentBy(peer) => {
            *state = State::Call(CallState::SentBy(peer));
            "a call for a canon"
        }
        State::Canon(cid) => {
            *state = State::CanonSentBy(cid);
            "a canon undone"
        }
    }
}

fn change_lore(random: &mut Random, lore: &mut Box<[FoldLore]>, small: u32) {
    let at = random.below(lore.len());
    let Some(element) = lore.get_mut(at) else {
        *lore = Box::new([FoldLore {
            value_pos: small,
            subtraces: Subtraces::Pair(Subtrace::default(), Subtrace::default()),
        }]);
        return;
    };
    match random.below(4) {
        0 => element.value_pos = small,
        1 => element.subtraces = Subtraces::Other(Box::new([Subtrace::default()])),
        kind => {
            if let Subtraces::Pair(before, after) = &mut element.subtraces {
                let subtrace = if random.chance(50) { before } else { after };
                if kind == 2 {
                    subtrace.begin_pos = small;
                } else {
                    subtrace.len = small;
                }
            }
        }
    }
}
