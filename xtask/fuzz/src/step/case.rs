//! A call that is being changed.

use std::sync::{LazyLock, OnceLock};

use aquavm::{CallResult, CallResults, Compat, Key, Policy, encode_call_results};
use bumpalo::Bump;
use particle::{
    KeyPair,
    data::{Data, Envelope, MIN_INTERPRETER_VERSION, Versions},
};

use super::{
    super::{
        choices::Choices,
        data,
        network::{Network, Random, Writer},
        records,
        seal::{hash_again, sign_again},
    },
    Call, MAX_STATES, run,
};

/// Random networks that calls are taken from.
const NETWORKS: usize = 64;

/// What scripts are patched with.
const PIECES: [&str; 20] = [
    "(seq ",
    "(par ",
    "(xor ",
    "(null)",
    "(never)",
    "(new $s ",
    "(fold $s i ",
    "(next i)",
    ")",
    "(",
    "(ap 1 $s)",
    "(ap i $s)",
    "(canon %init_peer_id% $s #c)",
    "(fail 1 \"x\")",
    "(ap (\"k\" i) %m)",
    " x",
    ".$.[0]",
    ".length",
    " $s",
    "[]",
];

pub(super) struct Case<'a> {
    arena: &'a Bump,
    call: Call,
    previous: Side<'a>,
    current: Side<'a>,
    /// Data that states are taken from.
    donor: Data<'a>,
    /// Whether CIDs and signatures are made to fit what was changed.
    hash: bool,
    sign: bool,
    /// Whether the previous data are what this peer wrote when it ran this script.
    pub(super) own: bool,
}

/// One of the two data of a call.
#[derive(Clone)]
struct Side<'a> {
    bytes: Vec<u8>,
    /// What the bytes hold; where it was changed, what they are to hold.
    data: Option<Data<'a>>,
    versions: Versions,
    changed: bool,
}

/// The keys of the peers in the records.
pub(super) fn keys() -> &'static [KeyPair] {
    static KEYS: LazyLock<Vec<KeyPair>> = LazyLock::new(|| {
        let seeds = 1..=4_u8;
        seeds.map(|seed| KeyPair::from_seed(&[seed; 32])).collect()
    });
    &KEYS
}

/// A recorded call, or one of a random network.
fn base(choices: &mut Choices<'_>) -> Call {
    static CALLS: [OnceLock<Vec<Call>>; NETWORKS] = [const { OnceLock::new() }; NETWORKS];
    let index = usize::from(choices.short());
    let records = records::all();
    let seed = index.checked_sub(records.len()).map(|rest| rest % NETWORKS);
    let Some((seed, calls)) = seed.and_then(|seed| Some((seed, CALLS.get(seed)?))) else {
        return records[index].clone();
    };
    let calls = calls.get_or_init(|| network_calls(seed));
    calls[choices.below(calls.len())].clone()
}

/// Each peer of a network gets what each one has.
fn network_calls(seed: usize) -> Vec<Call> {
    let mut random = Random(seed as u64);
    let script = Writer::script(&mut random, 1 + seed % 4);
    let mut network = Network::new(&script);
    network.run(&mut random);
    let call = |peer: usize, previous: &[u8], current: &[u8]| {
        let mut parameters = network.parameters(peer);
        if let Key::Pair(key) = &parameters.key {
            let secret = key.secret_bytes().to_vec();
            parameters.key = Key::Raw { format: 0, secret };
        }
        Call {
            script: network.script.text().to_owned(),
            previous: previous.to_vec(),
            current: current.to_vec(),
            parameters,
            results: encode_call_results(&CallResults::new()),
        }
    };
    let stored = network.stored.iter();
    let pairs = stored.clone().enumerate().flat_map(|(peer, previous)| {
        let others = stored.clone();
        others.map(move |current| (peer, previous, current))
    });
    pairs
        .map(|(peer, previous, current)| call(peer, previous, current))
        .collect()
}

impl<'a> Side<'a> {
    fn new(bytes: Vec<u8>, arena: &'a Bump) -> Self {
        let envelope = Envelope::decode(&bytes).ok();
        let data = envelope.as_ref().and_then(|envelope| {
            let archive: &'a [u8] = arena.alloc_slice_copy(&envelope.archive);
            Data::decode_archive(archive).ok()
        });
        let oldest = Versions::of_interpreter(MIN_INTERPRETER_VERSION);
        let versions = envelope.map_or(oldest, |envelope| envelope.versions);
        Self {
            bytes,
            data,
            versions,
            changed: false,
        }
    }
}

impl<'a> Case<'a> {
    pub(super) fn new(choices: &mut Choices<'_>, arena: &'a Bump) -> Self {
        let options = choices.byte();
        let bit = |index: u8| options & (1 << index) != 0;
        let mut call = base(choices);
        call.parameters.limits.trace = MAX_STATES;
        call.parameters.policy = Policy {
            refuse_unreached_states: bit(0),
            ignore_foreign_unused: bit(1),
            ignore_foreign_requests: bit(2),
            drop_unreferenced: bit(3),
            defer_signature: bit(7),
        };
        if bit(4) {
            call.parameters.compat = Compat::V0_64;
        }
        Self {
            arena,
            previous: Side::new(call.previous.clone(), arena),
            current: Side::new(call.current.clone(), arena),
            call,
            donor: Data::default(),
            hash: !bit(5),
            sign: !bit(6),
            own: true,
        }
    }

    /// The call as it is now.
    pub(super) fn call(&self) -> Call {
        Call {
            previous: self.bytes(&self.previous),
            current: self.bytes(&self.current),
            ..self.call.clone()
        }
    }

    fn bytes(&self, side: &Side<'a>) -> Vec<u8> {
        let Some(mut data) = side.data.clone().filter(|_| side.changed) else {
            return side.bytes.clone();
        };
        if self.hash {
            hash_again(&mut data, self.arena);
        }
        if self.sign {
            let particle_id = &self.call.parameters.particle_id;
            sign_again(&mut data, keys(), particle_id, self.arena);
        }
        data.encode(&side.versions).expect("data that were read")
    }

    /// Makes one change.
    pub(super) fn change(&mut self, choices: &mut Choices<'_>) {
        let kind = choices.byte() % 16;
        self.own &= !matches!(kind, 0 | 2 | 4 | 5 | 7 | 11);
        match kind {
            0 => self.previous = Side::new(base(choices).previous, self.arena),
            1 => self.current = Side::new(base(choices).current, self.arena),
            2 => std::mem::swap(&mut self.previous, &mut self.current),
            3 => {
                let side = Side::new(base(choices).current, self.arena);
                self.donor = side.data.unwrap_or_default();
            }
            4 => self.call.script = base(choices).script,
            5 => self.change_script(choices),
            6 => self.change_results(choices),
            7 => self.change_parameters(choices),
            8 => {
                // What this very call gives is what the peer has, or gets, in the next one.
                let side = Side::new(run(&self.call()).data, self.arena);
                match choices.byte() % 2 {
                    0 => self.previous = side,
                    _ => self.current = side,
                }
            }
            9 => {
                let mut bytes = self.bytes(&self.current);
                let at = choices.below(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = choices.byte();
                }
                self.current = Side::new(bytes, self.arena);
            }
            10 => {
                // Data of the other side: what both have in common meets its own copy.
                self.current = self.previous.clone();
            }
            kind => {
                let side = match kind {
                    11 => &mut self.previous,
                    _ => &mut self.current,
                };
                side.changed = true;
                if let Some(data) = &mut side.data {
                    data::change(data, &self.donor, choices, self.arena);
                }
            }
        }
    }

    /// Puts a piece into the script, or leaves one out.
    fn change_script(&mut self, choices: &mut Choices<'_>) {
        let script = &mut self.call.script;
        let place = |choices: &mut Choices<'_>| {
            let at = choices.below(script.len() + 1);
            script.floor_char_boundary(at)
        };
        let at = place(choices);
        let piece = choices.of(&PIECES);
        let end = match choices.byte() % 4 {
            0 => place(choices).max(at),
            _ => at,
        };
        script.replace_range(at..end, piece);
    }

    fn change_results(&mut self, choices: &mut Choices<'_>) {
        let count = choices.below(4);
        let results: CallResults = (0..count)
            .map(|_| {
                let id = choices.number();
                let ret_code = i32::from(choices.byte().saturating_sub(0xf0));
                let result = choices.of(&data::VALUES).to_owned();
                (id, CallResult { ret_code, result })
            })
            .collect();
        self.call.results = encode_call_results(&results);
    }

    fn change_parameters(&mut self, choices: &mut Choices<'_>) {
        let parameters = &mut self.call.parameters;
        match choices.byte() % 8 {
            0 => {
                let key = &keys()[choices.below(keys().len())];
                parameters.current_peer_id = key.peer_id().to_string();
                let secret = key.secret_bytes().to_vec();
                parameters.key = Key::Raw { format: 0, secret };
            }
            1 => {
                let secret = vec![1; choices.below(40)];
                let format = choices.byte() % 4;
                parameters.key = Key::Raw { format, secret };
            }
            2 => parameters.particle_id.push('x'),
            3 => parameters.init_peer_id = choices.of(&["", "A", "größe", "\"\\"]).to_owned(),
            4 => parameters.limits.hard = true,
            5 => parameters.limits.script = u64::from(choices.short()),
            6 => parameters.limits.particle = u64::from(choices.short()),
            _ => parameters.limits.call_result = u64::from(choices.byte()),
        }
    }
}
