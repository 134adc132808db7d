//! The observer's run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hashbrown::HashMap;
use particle::{
    Tetraplet,
    cid::{content_cid, value_cid},
    data::{
        CallState, CidInfo, Data, Provenance, SignedCids, State, VerifyOptions, check_signatures,
    },
};

use super::{
    CAVEATS, CallEnd, CanonResult, Ending, Event, Step, Subject, Unproven, Unreached, Verification,
    VerifyError,
};
use crate::{
    arena::Arena,
    error::PreparationError,
    outcome::CallRequest,
    parameters::{Key, Policy, RunParameters},
    results::Answers,
    run::{Run, stores_error},
    script::Script,
    vm::{self, Abort, Finished, Inputs, Seen, Watch},
};

pub(super) struct Observed {
    pub(super) verification: Verification,
    pub(super) variables: BTreeMap<String, String>,
}

/// Executes the script over `data` as a peer that appears nowhere, up to `limit` states.
pub(super) fn observe(
    script: &Script,
    data: &[u8],
    subject: &Subject,
    limit: Option<usize>,
) -> Result<Observed, VerifyError> {
    // A name that neither script nor data can foresee: nothing is asked of the observer.
    let [script_cid, data_cid] = [script.text().as_bytes(), data].map(content_cid);
    let observer = format!(
        "observer {}",
        &*value_cid(&format!("{} {}", &*script_cid, &*data_cid))
    );
    let parameters = &RunParameters {
        init_peer_id: subject.init_peer_id.clone(),
        current_peer_id: observer,
        timestamp: subject.timestamp,
        ttl: subject.ttl,
        particle_id: subject.particle_id.clone(),
        // Nothing is signed.
        key: Key::Raw {
            format: 0,
            secret: Vec::new(),
        },
        limits: subject.limits,
        compat: subject.compat,
        check_signatures: true,
        policy: Policy::default(),
    };
    let run = Run {
        previous: &[],
        current: data,
        parameters,
        script_size: script.text().len(),
    };
    let envelope = run.envelope(data)?;
    run.check_version(&envelope)?;
    let data = run.data(&envelope)?;
    // All checks that are only local: nobody has to agree with an observer.
    let options = VerifyOptions {
        referenced_values_are_json: true,
        generations_are_dense: true,
    };
    data.verify_stores(options).map_err(stores_error)?;
    let signed = check_signatures(&Data::default(), &data, &parameters.particle_id, None)
        .map_err(|error| PreparationError::Signatures {
            reason: error.to_string(),
        })?
        .signed;

    let arena = Arena::new();
    let (mut requests, results) = (BTreeMap::<u32, CallRequest>::new(), Answers::default());
    let finished = vm::execute(Inputs {
        program: script.program(),
        arena: &arena,
        parameters,
        previous: &[],
        current: &data.trace,
        stores: data.cid_info.clone(),
        last_call_id: 0,
        results: &results,
        requests: &mut requests,
        watch: Some(Watch {
            limit,
            ..Watch::default()
        }),
    });
    let mut finished = match finished {
        Ok(finished) => finished,
        Err(Abort::Uncatchable(error) | Abort::Compactification(error)) => return Err(error.into()),
    };
    let watch = finished.watch.take().unwrap_or_default();
    let mut teller = Teller {
        info: &finished.stores,
        trace: &finished.trace,
        observer: &parameters.current_peer_id,
        texts: HashMap::new(),
    };
    let mut instructions = HashMap::new();
    let mut steps = Vec::with_capacity(watch.seen.len());
    for seen in &watch.seen {
        let text = instructions
            .entry(seen.op)
            .or_insert_with(|| script.program().instruction_text(seen.op));
        steps.extend(teller.step(seen, text.trim_end().to_owned()));
    }
    Ok(Observed {
        variables: watch.variables.unwrap_or_default(),
        verification: Verification {
            unreached: unreached(&data, &watch.seen),
            ending: ending(&finished, &steps),
            steps,
            signers: signers(&signed),
            caveats: CAVEATS,
        },
    })
}

fn ending(finished: &Finished<'_>, steps: &[Step]) -> Ending {
    if let Some(error) = &finished.error {
        return Ending::Failed {
            code: error.code(),
            message: error.to_string(),
        };
    }
    let waits = |step: &Step| {
        matches!(
            step.event,
            Event::Call {
                end: CallEnd::Next | CallEnd::Pending { .. },
                ..
            } | Event::Canon { result: None, .. }
        )
    };
    match steps.iter().any(waits) {
        true => Ending::Waiting,
        false => Ending::Complete,
    }
}

fn signers(signed: &SignedCids<'_>) -> BTreeMap<String, usize> {
    signed
        .iter()
        .map(|(peer_id, cids)| (peer_id.to_owned(), cids.len()))
        .collect()
}

/// The states that no instruction took.
fn unreached(data: &Data<'_>, seen: &[Seen<'_>]) -> Vec<Unreached> {
    let taken: BTreeSet<u32> = seen.iter().filter_map(|seen| seen.found).collect();
    (0..)
        .zip(&data.trace)
        .filter(|(position, _)| !taken.contains(position))
        .map(|(position, state)| Unreached {
            position,
            signed_by: signer(&data.cid_info, state).map(str::to_owned),
        })
        .collect()
}

/// The peer that answers for a state.
fn signer<'a>(info: &CidInfo<'a>, state: &State<'_>) -> Option<&'a str> {
    let tetraplet = match state {
        State::Call(
            CallState::Scalar(cid) | CallState::Stream { cid, .. } | CallState::Failed(cid),
        ) => info.service_results.get(cid)?.tetraplet_cid,
        State::Canon(cid) => info.canon_results.get(cid)?.tetraplet,
        _ => return None,
    };
    info.tetraplets
        .get(tetraplet)
        .map(|tetraplet| tetraplet.peer_pk)
}

/// Turns states into steps.
struct Teller<'f, 'x> {
    info: &'f CidInfo<'x>,
    trace: &'f [State<'x>],
    observer: &'f str,
    /// Texts by CID: many states may show one long value.
    texts: HashMap<&'f str, Arc<str>>,
}

impl<'f> Teller<'f, '_> {
    fn step(&mut self, seen: &Seen<'_>, instruction: String) -> Option<Step> {
        let state = self.trace.get(seen.position as usize)?;
        let mut unproven = Vec::new();
        let event = match state {
            State::Par { left, right } => Event::Par {
                left: *left,
                right: *right,
            },
            State::Fold(lore) => {
                unproven.push(Unproven::Order);
                Event::Fold { values: lore.len() }
            }
            State::Ap(_) => Event::Ap,
            State::Call(call) => {
                let end = self.call_end(call, &mut unproven);
                let target = seen.target.unwrap_or_default();
                let Tetraplet {
                    peer_pk,
                    service_id,
                    function_name,
                    ..
                } = target;
                Event::Call {
                    peer: peer_pk.to_owned(),
                    service: service_id.to_owned(),
                    function: function_name.to_owned(),
                    argument_hash: seen.argument_hash.map(str::to_owned),
                    end,
                }
            }
            State::CanonSentBy(_) | State::Canon(_) => Event::Canon {
                peer: seen.target.unwrap_or_default().peer_pk.to_owned(),
                result: self.canon_result(state, &mut unproven),
            },
        };
        Some(Step {
            position: seen.found,
            instruction,
            event,
            signed_by: signer(self.info, state).map(str::to_owned),
            unproven,
        })
    }

    fn call_end(&mut self, call: &CallState<'_>, unproven: &mut Vec<Unproven>) -> CallEnd {
        match call {
            CallState::SentBy(sender) if *sender == self.observer => CallEnd::Next,
            CallState::SentBy(sender)
            | CallState::SentByWithId {
                peer_id: sender, ..
            } => {
                unproven.push(Unproven::Forwarding);
                CallEnd::Pending {
                    sender: (*sender).to_owned(),
                }
            }
            CallState::Unused(cid) => {
                unproven.push(Unproven::UnusedResult);
                CallEnd::Unused {
                    value_cid: (*cid).to_owned(),
                }
            }
            CallState::Scalar(cid) | CallState::Stream { cid, .. } => {
                if matches!(call, CallState::Stream { .. }) {
                    unproven.push(Unproven::Order);
                }
                let (value_cid, value) = self.result(cid);
                CallEnd::Returned {
                    result: (*cid).to_owned(),
                    value_cid,
                    value,
                }
            }
            CallState::Failed(cid) => {
                let (value_cid, value) = self.result(cid);
                CallEnd::Failed {
                    result: (*cid).to_owned(),
                    value_cid,
                    value,
                }
            }
        }
    }

    fn canon_result(
        &mut self,
        state: &State<'_>,
        unproven: &mut Vec<Unproven>,
    ) -> Option<CanonResult> {
        let State::Canon(cid) = state else {
            if matches!(state, State::CanonSentBy(sender) if *sender != self.observer) {
                unproven.push(Unproven::Forwarding);
            }
            return None;
        };
        unproven.push(Unproven::Completeness);
        let info = self.info;
        let canon = info.canon_results.get(cid)?;
        let elements = || {
            let cids = canon.values.iter();
            cids.filter_map(|cid| info.canon_elements.get(cid))
        };
        let literals = elements()
            .filter(|element| element.provenance == Provenance::Literal)
            .count();
        if literals > 0 {
            unproven.push(Unproven::Literals(literals));
        }
        let values = elements().map(|element| self.text(element.value)).collect();
        Some(CanonResult {
            cid: (*cid).to_owned(),
            values,
        })
    }

    fn result(&mut self, cid: &str) -> (String, Arc<str>) {
        let info = self.info;
        match info.service_results.get(cid) {
            Some(result) => (result.value_cid.to_owned(), self.text(result.value_cid)),
            None => Default::default(),
        }
    }

    fn text(&mut self, cid: &'f str) -> Arc<str> {
        let info = self.info;
        let text = || info.values.get(cid).copied().unwrap_or_default().into();
        Arc::clone(self.texts.entry(cid).or_insert_with(text))
    }
}
