//! A small network in which one particle travels: peers run its script on both interpreters, and
//! one of the two outcomes goes on.

use std::collections::{BTreeMap, BTreeSet};

use aquavm::{
    CallResult, CallResults, Compat, Key, Limits, Outcome, RunParameters, decode_call_requests,
    encode_call_results,
};
use particle::KeyPair;

use super::{
    both::{self, Verdict},
    deviations::Deviation,
    probes,
    reference::{Ended, Reference},
    services,
};
use crate::{
    conformance::run::{Call, decoded},
    random::Random,
};

/// Names of the peers; a script writes `@A`.
const NAMES: [char; 4] = ['A', 'B', 'C', 'D'];

/// Bytes of data above which a scenario ends: folds over streams that they fill grow without end.
const MAX_DATA: usize = 1 << 20;

/// What to play.
#[derive(Clone)]
pub(super) struct Scenario {
    /// The script, with `@A` to `@D` for the ids of the peers; the particle starts at A.
    pub(super) script: String,
    /// Decides who runs when and with what.
    pub(super) seed: u64,
    /// Most steps.
    pub(super) steps: usize,
    /// Whose outcome goes on.
    pub(super) carry: Carry,
    /// Whether hostile data and odd parameters come in as well.
    pub(super) probing: bool,
    /// Whether data that were sent before come again, to anybody.
    pub(super) strays: bool,
}

/// Whose outcome goes on after a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Carry {
    /// Ours or theirs, by lot.
    Mixed,
    /// Theirs.
    Theirs,
}

/// How a scenario ended.
pub(super) struct Played {
    /// Calls that were made of both.
    pub(super) steps: usize,
    /// The deliberate deviations that were met, each with what led to it.
    pub(super) deviations: Vec<(&'static Deviation, String)>,
    /// What differs, where both do not agree.
    pub(super) difference: Option<Difference>,
}

/// A difference, with what led to it.
pub(super) struct Difference {
    /// Number of the step.
    pub(super) step: usize,
    /// Who ran, on what.
    pub(super) action: String,
    /// What differs.
    pub(super) what: String,
    /// The call.
    pub(super) call: Call,
}

struct Peer {
    name: char,
    id: String,
    previous: Vec<u8>,
    inbox: Vec<Vec<u8>>,
    /// Results not yet given to the interpreter.
    results: CallResults,
    /// Results given before.
    used: CallResults,
}

/// The ids of the peers, by the order of their names.
pub(super) fn peer_ids() -> Vec<String> {
    (1..)
        .zip(NAMES)
        .map(|(seed, _)| KeyPair::from_seed(&[seed; 32]).peer_id().to_string())
        .collect()
}

/// A script with ids instead of names.
pub(super) fn with_ids(script: &str) -> String {
    NAMES
        .iter()
        .zip(peer_ids())
        .fold(script.to_owned(), |text, (name, id)| {
            text.replace(&format!("@{name}"), &id)
        })
}

/// A text with names instead of ids.
pub(super) fn with_names(text: &str) -> String {
    NAMES
        .iter()
        .zip(peer_ids())
        .fold(text.to_owned(), |text, (name, id)| {
            text.replace(&id, &format!("@{name}"))
        })
}

/// Parameters of a run at the peer with this index.
pub(super) fn parameters(index: usize, ids: &[String], particle_id: &str) -> RunParameters {
    let id = |index: usize| ids.get(index).cloned().unwrap_or_default();
    RunParameters {
        init_peer_id: id(0),
        current_peer_id: id(index),
        timestamp: 1_700_000_000_123,
        ttl: 7_000,
        particle_id: particle_id.to_owned(),
        key: Key::Raw {
            format: 0,
            secret: vec![index as u8 + 1; 32],
        },
        limits: Limits {
            script: 1 << 32,
            particle: 1 << 32,
            call_result: 1 << 32,
            hard: false,
            ..Limits::default()
        },
        compat: Compat::V0_63,
        check_signatures: true,
        policy: Default::default(),
    }
}

/// Sees each call and what the published interpreter made of it.
pub(super) type Observer<'o> = &'o mut dyn FnMut(&Call, &Ended);

/// Plays a scenario until nothing moves, both differ, or its steps are spent.
///
/// # Errors
/// A driver that fails.
pub(super) fn play(
    reference: &mut Reference,
    scenario: &Scenario,
    observer: Observer<'_>,
) -> Result<Played, String> {
    Network::new(scenario).play(reference, scenario, observer)
}

/// Peers, what each of them stores, and what is on its way.
pub(super) struct Network {
    random: Random,
    script: String,
    ids: Vec<String>,
    peers: Vec<Peer>,
    /// All data that were ever sent.
    seen: Vec<Vec<u8>>,
    /// What the data in `seen` hold.
    contents: BTreeSet<String>,
    particle_id: String,
    /// Small soft limits for all sizes.
    limits: Option<u64>,
}

/// Ours and theirs.
type Outcomes = [Outcome<Vec<u8>>; 2];

/// A step to make.
struct Turn {
    peer: usize,
    current: Vec<u8>,
    results: CallResults,
    action: String,
}

impl Network {
    /// A network in which the particle of `scenario` is about to start at A.
    pub(super) fn new(scenario: &Scenario) -> Self {
        let ids = peer_ids();
        let mut random = Random::new(scenario.seed);
        let limits = (scenario.probing && random.chance(4)).then(|| random.below(300) as u64);
        let mut peers: Vec<Peer> = NAMES
            .iter()
            .zip(&ids)
            .map(|(&name, id)| Peer {
                name,
                id: id.clone(),
                previous: Vec::new(),
                inbox: Vec::new(),
                results: CallResults::new(),
                used: CallResults::new(),
            })
            .collect();
        if let Some(first) = peers.first_mut() {
            first.inbox.push(Vec::new());
        }
        Self {
            random,
            script: with_ids(&scenario.script),
            ids,
            peers,
            seen: Vec::new(),
            contents: BTreeSet::new(),
            particle_id: format!("particle-{:x}", scenario.seed),
            limits,
        }
    }

    /// What a peer stores.
    pub(super) fn data_of(&self, name: char) -> Vec<u8> {
        let peer = self.peers.iter().find(|peer| peer.name == name);
        peer.map(|peer| peer.previous.clone()).unwrap_or_default()
    }

    /// Data come to A, before anything that is on its way.
    pub(super) fn send_to_first(&mut self, data: Vec<u8>) {
        if let Some(first) = self.peers.first_mut() {
            first.inbox = vec![data];
        }
    }

    /// Goes on until nothing moves, both differ, or the steps are spent.
    ///
    /// # Errors
    /// A driver that fails.
    pub(super) fn play(
        &mut self,
        reference: &mut Reference,
        scenario: &Scenario,
        observer: Observer<'_>,
    ) -> Result<Played, String> {
        let mut played = Played {
            steps: 0,
            deviations: Vec::new(),
            difference: None,
        };
        while played.steps < scenario.steps {
            let Some(turn) = self.turn(scenario.strays) else {
                break;
            };
            if scenario.probing && self.random.chance(12) {
                let (call, action) = self.probe(&turn);
                let end = self.step(reference, call, action, &mut played, observer)?;
                if end.is_none() && played.difference.is_some() {
                    break;
                }
            }
            let call = self.call(turn.peer, turn.current, &turn.results);
            let used = turn.results;
            let Some([ours, theirs]) =
                self.step(reference, call, turn.action, &mut played, observer)?
            else {
                break;
            };
            if theirs.data.len() > MAX_DATA {
                break;
            }
            let mine = scenario.carry == Carry::Mixed && self.random.chance(50);
            self.deliver(turn.peer, if mine { ours } else { theirs }, used)?;
        }
        Ok(played)
    }

    /// Makes the call of both; `None` unless both gave an outcome and agree.
    fn step(
        &mut self,
        reference: &mut Reference,
        call: Call,
        action: String,
        played: &mut Played,
        observer: Observer<'_>,
    ) -> Result<Option<Outcomes>, String> {
        played.steps += 1;
        let answers = both::call(reference, &call)?;
        match answers.verdict {
            Verdict::Same => {}
            Verdict::Deviation(deviation) => {
                let ours = &answers.ours;
                let met = format!("{action}, ours: {} {}", ours.ret_code, ours.error_message);
                played.deviations.push((deviation, met));
                return Ok(None);
            }
            Verdict::Different(what) => {
                played.difference = Some(Difference {
                    step: played.steps,
                    action,
                    what,
                    call,
                });
                return Ok(None);
            }
        }
        observer(&call, &answers.theirs);
        Ok(match answers.theirs {
            Ended::Outcome(theirs) => Some([answers.ours, theirs]),
            Ended::Trapped(_) => None,
        })
    }

    /// What happens next, if anything can.
    fn turn(&mut self, strays: bool) -> Option<Turn> {
        let ready: Vec<usize> = (0..self.peers.len())
            .filter(|&index| {
                self.peers
                    .get(index)
                    .is_some_and(|peer| !peer.inbox.is_empty() || !peer.results.is_empty())
            })
            .collect();
        let stray = self.random.chance(if ready.is_empty() { 40 } else { 10 });
        if strays && stray && !self.seen.is_empty() {
            return self.stray();
        }
        let index = *self.random.pick(&ready)?;
        let peer = self.peers.get_mut(index)?;
        let mut results = CallResults::new();
        let mut current = Vec::new();
        let wants_results = !peer.results.is_empty() && self.random.chance(80);
        if wants_results {
            let portion = self.random.chance(35);
            for (id, result) in std::mem::take(&mut peer.results) {
                if portion && self.random.chance(50) {
                    peer.results.insert(id, result);
                } else {
                    results.insert(id, result);
                }
            }
        }
        if !wants_results || self.random.chance(25) {
            current = self.random.take(&mut peer.inbox).unwrap_or_default();
            if !current.is_empty() && self.random.chance(10) {
                peer.inbox.push(current.clone());
            }
        }
        if strays
            && self.random.chance(1)
            && let Some((&id, result)) = peer.used.iter().next()
        {
            // Once more a result that was used.
            results.entry(id).or_insert_with(|| result.clone());
        }
        let action = format!(
            "{} runs with {} bytes and results of {:?}",
            peer.name,
            current.len(),
            results.keys().collect::<Vec<_>>()
        );
        Some(Turn {
            peer: index,
            current,
            results,
            action,
        })
    }

    /// Data that were sent before come to some peer.
    fn stray(&mut self) -> Option<Turn> {
        let index = self.random.below(self.peers.len());
        let current = self.random.pick(&self.seen)?.clone();
        let peer = self.peers.get(index)?;
        Some(Turn {
            peer: index,
            action: format!("{} runs with stray {} bytes", peer.name, current.len()),
            current,
            results: CallResults::new(),
        })
    }

    fn call(&self, index: usize, current: Vec<u8>, results: &CallResults) -> Call {
        let mut parameters = parameters(index, &self.ids, &self.particle_id);
        if let Some(limit) = self.limits {
            parameters.limits = Limits {
                script: limit,
                particle: 4 * limit,
                call_result: limit / 8,
                hard: false,
                ..Limits::default()
            };
        }
        Call {
            script: self.script.clone(),
            previous: self
                .peers
                .get(index)
                .map(|peer| peer.previous.clone())
                .unwrap_or_default(),
            current,
            parameters,
            results: encode_call_results(results),
        }
    }

    /// A call that something is wrong with, instead of `turn`; its outcome does not go on.
    fn probe(&mut self, turn: &Turn) -> (Call, String) {
        let mut call = self.call(turn.peer, turn.current.clone(), &turn.results);
        if call.current.is_empty()
            && let Some(data) = self.random.pick(&self.seen)
        {
            call.current = data.clone();
        }
        let what = probes::spoil(&mut self.random, &mut call);
        let name = self.peers.get(turn.peer).map_or('?', |peer| peer.name);
        (call, format!("{name} runs with {what}"))
    }

    /// Stores and sends what a run gave.
    fn deliver(
        &mut self,
        index: usize,
        outcome: Outcome<Vec<u8>>,
        used: CallResults,
    ) -> Result<(), String> {
        let requests = decode_call_requests(&outcome.call_requests)?;
        let Some(peer) = self.peers.get_mut(index) else {
            return Ok(());
        };
        let answers: BTreeMap<u32, CallResult> = requests
            .iter()
            .map(|(id, request)| (*id, services::answer(request, &peer.id, &self.ids)))
            .collect();
        peer.used.extend(used);
        peer.results.extend(answers);
        if !outcome.data.is_empty() {
            peer.previous.clone_from(&outcome.data);
        }
        for next in outcome.next_peers {
            let Some(target) = self.peers.iter_mut().find(|peer| peer.id == next) else {
                continue;
            };
            target.inbox.push(outcome.data.clone());
        }
        // Old data are worth keeping only while they are few.
        if !outcome.data.is_empty() && self.seen.len() < 40 {
            // Their bytes come in random order; the choice of strays must not depend on it.
            let content = decoded(&outcome.data)?.to_string();
            if self.contents.insert(content) {
                self.seen.push(outcome.data);
            }
        }
        Ok(())
    }
}
