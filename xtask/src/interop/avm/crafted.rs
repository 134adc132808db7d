//! Inputs that no honest network has: one change to a call each, by the code or rule it is about.

use aquavm::{CallResult, Compat, Key, encode_call_results};
use particle::data::{
    CallState, Data, Envelope, FoldLore, Generations, Signatures, State, Store, Subtrace,
    Subtraces, Versions,
};
use semver::Version;

use crate::conformance::run::Call;

/// A call of A on the data of `from` after `script` was played, with a change.
pub(super) struct Crafted {
    pub(super) group: &'static str,
    pub(super) name: &'static str,
    pub(super) script: &'static str,
    pub(super) from: char,
    pub(super) change: Change,
}

/// What is changed.
pub(super) enum Change {
    /// Anything of the call.
    Call(fn(&mut Call)),
    /// The decoded current data.
    Data(fn(&mut Data<'_>)),
}

const CALL: &str = r#"(seq (call "@B" ("s" "object") [1] x) (call "@A" ("s" "args") [x.$.num]))"#;
const FOLD: &str = r#"(seq (seq (ap 1 $s) (ap 2 $s)) (fold $s i (seq (call "@B" ("s" "echo") [i]) (next i)) (null)))"#;
const PAR: &str = r#"(par (call "@B" ("s" "echo") [1]) (par (call "@B" ("s" "echo") [2]) (null)))"#;
const CANON: &str = r#"(seq (ap 1 $s) (canon "@B" $s #all))"#;

/// All changes.
pub(super) fn all() -> Vec<Crafted> {
    let call = |group, name, change| Crafted {
        group,
        name,
        script: CALL,
        from: 'B',
        change: Change::Call(change),
    };
    let data = |group, name, script, change| Crafted {
        group,
        name,
        script,
        from: 'B',
        change: Change::Data(change),
    };
    vec![
        call("code-2", "no-archive", |call| {
            call.current = envelope("0.62.0", Some(b""))
        }),
        call("code-2", "short-archive", |call| {
            call.current = envelope("0.62.0", Some(&[0; 56]));
        }),
        call("code-2", "odd-archive", |call| {
            call.current = envelope("0.62.0", Some(&[255; 64]));
        }),
        call("code-2", "previous", |call| {
            call.previous = envelope("0.62.0", Some(&[255; 64]));
        }),
        call("code-3", "text", |call| {
            call.current = b"no envelope".to_vec()
        }),
        call("code-3", "empty-map", |call| call.current = vec![0x80]),
        call("code-3", "cut", |call| call.current.truncate(20)),
        call("code-3", "previous", |call| call.previous = vec![0x80]),
        call("code-3", "positional", |call| {
            call.current = b"\x93\xa60.17.2\xa60.62.0\xc4\x00".to_vec();
        }),
        call("code-4", "no-data", |call| {
            call.current = envelope("0.62.0", None)
        }),
        call("code-5", "nothing", |call| call.results.clear()),
        call("code-5", "json", |call| {
            call.results = b"\x80\x04{}".to_vec()
        }),
        call("code-5", "integer-id", |call| {
            call.results = b"\x81\x04\x81\x01\x82\xa8ret_code\x00\xa6result\xa11".to_vec();
        }),
        call("code-6", "old", |call| {
            version(call, Version::new(0, 60, 9))
        }),
        call("code-6", "oldest-accepted", |call| {
            version(call, Version::new(0, 61, 0))
        }),
        call("code-6", "new", |call| {
            version(call, Version::new(99, 0, 0))
        }),
        call("code-7", "short", |call| key(call, 0, 31)),
        call("code-7", "empty", |call| key(call, 0, 0)),
        call("code-7", "secp256k1", |call| key(call, 2, 32)),
        call("code-7", "unknown", |call| key(call, 9, 32)),
        data("code-8", "value", CALL, |data| {
            let cids: Vec<_> = data.cid_info.values.iter().map(|(cid, _)| cid).collect();
            data.cid_info.values = Store::with_capacity(cids.len());
            for cid in cids {
                data.cid_info.values.insert(cid, "7");
            }
        }),
        data("code-8", "no-value", CALL, |data| {
            data.cid_info.values = Store::with_capacity(0);
        }),
        data("code-8", "no-tetraplet", CALL, |data| {
            data.cid_info.tetraplets = Store::with_capacity(0);
        }),
        data("code-8", "no-element", CANON, |data| {
            data.cid_info.canon_elements = Store::with_capacity(0);
        }),
        call("code-9", "particle", |call| {
            call.parameters.particle_id.push('x')
        }),
        data("code-9", "no-signatures", CALL, |data| {
            data.signatures = Signatures::default()
        }),
        data("code-9", "other-signature", CALL, |data| {
            let signatures: Vec<_> = data.signatures.iter().collect();
            let mut swapped = Signatures::default();
            let turned = signatures.iter().rev().map(|(_, signature)| *signature);
            for ((key, _), signature) in signatures.iter().zip(turned) {
                swapped.insert(key, signature);
            }
            data.signatures = swapped;
        }),
        data("code-9", "bad-key", CALL, |data| {
            data.signatures.insert(b"\x00short", b"\x00")
        }),
        data("code-9", "less-than-signed", CALL, |data| {
            data.trace.clear()
        }),
        data("code-9", "more-than-signed", CALL, |data| {
            data.trace.extend(data.trace.first().cloned());
        }),
        call("code-10", "script", |call| {
            call.parameters.limits.script = 10;
            call.parameters.limits.hard = true;
        }),
        call("code-10", "particle", |call| {
            call.parameters.limits.particle = 10;
            call.parameters.limits.hard = true;
        }),
        call("code-10", "call-result", |call| {
            call.results = encode_call_results(&[(1, CallResult::ok("[1,2,3]"))].into());
            call.parameters.limits.call_result = 6;
            call.parameters.limits.hard = true;
        }),
        call("limits", "soft-script", |call| {
            call.parameters.limits.script = 10
        }),
        call("limits", "soft-particle", |call| {
            call.parameters.limits.particle = 10
        }),
        call("limits", "soft-call-result", |call| {
            call.results = encode_call_results(&[(1, CallResult::ok("[1,2,3]"))].into());
            call.parameters.limits.call_result = 6;
        }),
        call("limits", "exact", |call| {
            let limits = &mut call.parameters.limits;
            limits.script = call.script.len() as u64;
            limits.particle = call.current.len() as u64;
            limits.hard = true;
        }),
        call("code-30000", "unknown-id", |call| {
            call.results = encode_call_results(&[(7, CallResult::ok("1"))].into());
        }),
        call("code-30000", "nothing-asked", |call| {
            call.script = "(null)".to_owned();
            call.current.clear();
            call.results = encode_call_results(&[(1, CallResult::ok("1"))].into());
        }),
        data("code-20012", "scalar-as-failure", CALL, |data| {
            for state in &mut data.trace {
                if let State::Call(CallState::Scalar(cid)) = *state {
                    *state = State::Call(CallState::Failed(cid));
                }
            }
        }),
        data("code-20006", "scalar-as-stream", CALL, |data| {
            for state in &mut data.trace {
                if let State::Call(CallState::Scalar(cid)) = *state {
                    *state = State::Call(CallState::Stream { cid, generation: 0 });
                }
            }
        }),
        data("data", "call-id-of-others", CALL, |data| {
            data.last_call_request_id = 1000
        }),
        data("data", "states-after-the-end", CALL, |data| {
            data.trace.push(State::Ap(Generations::One(0)));
        }),
        data("data", "sent-by-nobody", CALL, |data| {
            for state in &mut data.trace {
                if let State::Call(CallState::SentBy(peer_id)) = *state {
                    *state = State::Call(CallState::SentByWithId {
                        peer_id,
                        call_id: 5,
                    });
                }
            }
        }),
        data("merge-par", "longer-than-the-trace", PAR, |data| {
            par(data, 0, 9, 0)
        }),
        data("merge-par", "overflow", PAR, |data| {
            par(data, 0, u32::MAX, u32::MAX)
        }),
        data("merge-par", "shorter-left", PAR, |data| par(data, 0, 0, 3)),
        data("merge-par", "shorter-right", PAR, |data| par(data, 0, 1, 1)),
        data("merge-par", "inner-too-long", PAR, |data| {
            par(data, 2, 3, 3)
        }),
        data("merge-par", "empty", PAR, |data| par(data, 0, 0, 0)),
        data("merge-ap", "no-generation", FOLD, |data| {
            ap(data, Generations::Other(Box::new([])))
        }),
        data("merge-ap", "two-generations", FOLD, |data| {
            ap(data, Generations::Other(Box::new([0, 1])));
        }),
        data("merge-ap", "later-generation", FOLD, |data| {
            ap(data, Generations::One(3))
        }),
        data("merge-fold", "no-lore", FOLD, |data| {
            fold(data, |lore| lore.clear())
        }),
        data("merge-fold", "position-outside", FOLD, |data| {
            fold(data, |lore| {
                lore.iter_mut().for_each(|element| element.value_pos += 100)
            });
        }),
        data("merge-fold", "position-of-fold", FOLD, |data| {
            fold(data, |lore| {
                lore.iter_mut().for_each(|element| element.value_pos = 2)
            });
        }),
        data("merge-fold", "position-twice", FOLD, |data| {
            fold(data, |lore| {
                lore.iter_mut().for_each(|element| element.value_pos = 0)
            });
        }),
        data("merge-fold", "one-descriptor", FOLD, |data| {
            subtraces(data, |_, _| {
                Subtraces::Other(Box::new([Subtrace::default()]))
            });
        }),
        data("merge-fold", "three-descriptors", FOLD, |data| {
            subtraces(data, |before, after| {
                Subtraces::Other(Box::new([before, after, after]))
            });
        }),
        data("merge-fold", "too-long", FOLD, |data| {
            subtraces(data, |before, after| {
                Subtraces::Pair(Subtrace { len: 50, ..before }, after)
            });
        }),
        data("merge-fold", "lens-overflow", FOLD, |data| {
            subtraces(data, |before, after| {
                Subtraces::Pair(
                    Subtrace {
                        len: u32::MAX,
                        ..before
                    },
                    after,
                )
            });
        }),
        data("merge-fold", "begin-outside", FOLD, |data| {
            subtraces(data, |before, after| {
                Subtraces::Pair(
                    Subtrace {
                        begin_pos: 90,
                        ..before
                    },
                    after,
                )
            });
        }),
        data("merge-fold", "elements-turned", FOLD, |data| {
            fold(data, |lore| lore.reverse())
        }),
        data("merge-fold", "fewer-elements", FOLD, |data| {
            fold(data, |lore| lore.truncate(1))
        }),
        data("merge-canon", "sent-by-other", CANON, |data| {
            data.trace.truncate(1);
            data.trace.push(State::CanonSentBy("somebody"));
            // Its result is not in the trace any more, so the signature of B goes too.
            data.signatures = Signatures::default();
        }),
    ]
}

/// The change, applied; data that cannot be decoded stay as they are.
pub(super) fn apply(change: &Change, call: &mut Call) {
    match change {
        Change::Call(change) => change(call),
        Change::Data(change) => rewrite(call, Compat::V0_63.interpreter_version(), change),
    }
}

fn rewrite(call: &mut Call, version: Version, change: impl FnOnce(&mut Data<'_>)) {
    let bytes = std::mem::take(&mut call.current);
    let changed = Envelope::decode(&bytes).ok().and_then(|envelope| {
        let mut data = envelope.data().ok()?;
        change(&mut data);
        data.encode(&Versions::of_interpreter(version)).ok()
    });
    call.current = changed.unwrap_or(bytes);
}

fn version(call: &mut Call, version: Version) {
    rewrite(call, version, |_| {});
}

fn key(call: &mut Call, format: u8, len: usize) {
    call.parameters.key = Key::Raw {
        format,
        secret: vec![1; len],
    };
}

fn par(data: &mut Data<'_>, at: usize, left: u32, right: u32) {
    if let Some(state) = data.trace.get_mut(at) {
        *state = State::Par { left, right };
    }
}

fn ap(data: &mut Data<'_>, generations: Generations) {
    if let Some(state) = data.trace.first_mut() {
        *state = State::Ap(generations);
    }
}

fn fold(data: &mut Data<'_>, change: impl Fn(&mut Vec<FoldLore>)) {
    for state in &mut data.trace {
        if let State::Fold(lore) = state {
            let mut elements = std::mem::take(lore).into_vec();
            change(&mut elements);
            *lore = elements.into_boxed_slice();
        }
    }
}

fn subtraces(data: &mut Data<'_>, change: impl Fn(Subtrace, Subtrace) -> Subtraces) {
    fold(data, |lore| {
        if let Some(element) = lore.first_mut()
            && let Subtraces::Pair(before, after) = element.subtraces
        {
            element.subtraces = change(before, after);
        }
    });
}

/// An envelope with any archive, or none.
fn envelope(interpreter: &str, archive: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = vec![if archive.is_some() { 0x83 } else { 0x82 }];
    for text in ["version", "0.17.2", "interpreter_version", interpreter] {
        bytes.push(0xa0 + text.len() as u8);
        bytes.extend_from_slice(text.as_bytes());
    }
    if let Some(archive) = archive {
        bytes.extend_from_slice(b"\xaainner_data\xc4");
        bytes.push(archive.len() as u8);
        bytes.extend_from_slice(archive);
    }
    bytes
}
