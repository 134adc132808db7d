//! Changes to particle data, one at a time.

use bumpalo::Bump;
use particle::{
    Tetraplet,
    data::{
        CallState, Data, FoldLore, Generations, Provenance, ServiceResult, State, Store, Subtrace,
        Subtraces,
    },
};

use super::choices::Choices;

/// Values that scripts look into, and texts that are no value at all.
pub(crate) const VALUES: [&str; 14] = [
    "null",
    "0",
    "-1",
    "1e400",
    "\"\"",
    "\"a\"",
    "[]",
    "[1,2]",
    "{}",
    r#"{"key":"a","value":1}"#,
    r#"{"key":[],"value":1}"#,
    r#"{"message":"no","ret_code":1}"#,
    "{ \"k\" : 1 }",
    "{",
];

/// One change of `data`. `donor` are data of another run, some of which may be taken over.
pub(crate) fn change<'a>(
    data: &mut Data<'a>,
    donor: &Data<'a>,
    choices: &mut Choices<'_>,
    arena: &'a Bump,
) {
    let at = choices.below(data.trace.len());
    match choices.byte() % 20 {
        0 => {
            let sizes = State::Par {
                left: choices.number(),
                right: choices.number(),
            };
            put(data, at, sizes);
        }
        1 => {
            let other = choices.below(data.trace.len());
            if !data.trace.is_empty() {
                data.trace.swap(at, other);
            }
        }
        2 => {
            if let Some(state) = data.trace.get(at).cloned() {
                data.trace.insert(choices.below(data.trace.len()), state);
            }
        }
        3 => {
            if !data.trace.is_empty() {
                data.trace.remove(at);
            }
        }
        4 => data.trace.truncate(at),
        5 => change_generation(data, at, choices),
        6 | 7 => change_lore(data, choices),
        8 => {
            let state = call_state(data, choices);
            put(data, at, State::Call(state));
        }
        9 => {
            let state = match choices.byte() % 2 {
                0 => State::CanonSentBy(peer(data, choices)),
                _ => State::Canon(key(&data.cid_info.canon_results, choices)),
            };
            put(data, at, state);
        }
        10 => {
            // A state of the other run, with everything behind it.
            let info = &mut data.cid_info;
            info.values.merge(donor.cid_info.values.clone());
            info.tetraplets.merge(donor.cid_info.tetraplets.clone());
            info.canon_elements
                .merge(donor.cid_info.canon_elements.clone());
            info.canon_results
                .merge(donor.cid_info.canon_results.clone());
            info.service_results
                .merge(donor.cid_info.service_results.clone());
            for (key, signature) in donor.signatures.iter() {
                data.signatures.insert(key, signature);
            }
            let from = choices.below(donor.trace.len());
            let count = 1 + choices.below(4);
            let states = donor.trace.iter().skip(from).take(count).cloned();
            let end = data.trace.len();
            data.trace.splice(at.min(end)..at.min(end), states);
        }
        11 | 12 => {
            let text = value_text(data, choices, arena);
            edit(&mut data.cid_info.values, choices, |value, _| *value = text);
        }
        13 => {
            let text = name(data, choices);
            edit(
                &mut data.cid_info.tetraplets,
                choices,
                |tetraplet, choices| {
                    let Tetraplet {
                        peer_pk,
                        service_id,
                        function_name,
                        lens,
                    } = tetraplet;
                    match choices.byte() % 4 {
                        0 => *peer_pk = text,
                        1 => *service_id = text,
                        2 => *function_name = text,
                        _ => *lens = text,
                    }
                },
            );
        }
        14 => change_service_result(data, choices),
        15 => change_element(data, choices),
        16 => change_canon(data, choices),
        17 => data.last_call_request_id = choices.number(),
        18 => forget(data, choices),
        _ => {
            let first = data.signatures.iter().next();
            if let Some((key, _)) = first {
                data.signatures.insert(key, b"\x00short");
            }
        }
    }
}

fn put<'a>(data: &mut Data<'a>, at: usize, state: State<'a>) {
    match data.trace.get_mut(at) {
        Some(place) => *place = state,
        None => data.trace.push(state),
    }
}

fn change_generation(data: &mut Data<'_>, at: usize, choices: &mut Choices<'_>) {
    match data.trace.get_mut(at) {
        Some(State::Call(CallState::Stream { generation, .. })) => *generation = choices.number(),
        Some(state) => {
            let count = choices.below(3);
            let generations: Vec<u32> = (0..count).map(|_| choices.number()).collect();
            *state = State::Ap(generations.into());
        }
        None => data.trace.push(State::Ap(Generations::One(0))),
    }
}

/// Changes, repeats or drops an element of the fold that comes first, or makes a fold.
fn change_lore(data: &mut Data<'_>, choices: &mut Choices<'_>) {
    let skipped = choices.below(3);
    let mut folds = data.trace.iter_mut().filter_map(|state| match state {
        State::Fold(lore) => Some(lore),
        _ => None,
    });
    let Some(lore) = folds.nth(skipped) else {
        data.trace.push(State::Fold(Box::new([element(choices)])));
        return;
    };
    let mut elements = std::mem::take(lore).into_vec();
    let at = choices.below(elements.len());
    match (choices.byte() % 6, elements.get_mut(at)) {
        (0, Some(element)) => element.value_pos = choices.number(),
        (1, Some(element)) => {
            if let Subtraces::Pair(before, _) = &mut element.subtraces {
                *before = subtrace(choices);
            }
        }
        (2, Some(element)) => {
            if let Subtraces::Pair(_, after) = &mut element.subtraces {
                *after = subtrace(choices);
            }
        }
        (3, Some(element)) => {
            let count = choices.below(4);
            let subtraces: Vec<_> = (0..count).map(|_| subtrace(choices)).collect();
            element.subtraces = subtraces.into();
        }
        (4, Some(_)) => {
            elements.remove(at);
        }
        _ => elements.insert(at, element(choices)),
    }
    *lore = elements.into();
}

fn element(choices: &mut Choices<'_>) -> FoldLore {
    FoldLore {
        value_pos: choices.number(),
        subtraces: Subtraces::Pair(subtrace(choices), subtrace(choices)),
    }
}

fn subtrace(choices: &mut Choices<'_>) -> Subtrace {
    Subtrace {
        begin_pos: choices.number(),
        len: choices.number(),
    }
}

fn call_state<'a>(data: &Data<'a>, choices: &mut Choices<'_>) -> CallState<'a> {
    let kind = choices.byte() % 6;
    let cid = key(&data.cid_info.service_results, choices);
    match kind {
        0 => CallState::SentBy(peer(data, choices)),
        1 => CallState::SentByWithId {
            peer_id: peer(data, choices),
            call_id: choices.number(),
        },
        2 => CallState::Scalar(cid),
        3 => CallState::Stream {
            cid,
            generation: choices.number(),
        },
        4 => CallState::Unused(key(&data.cid_info.values, choices)),
        _ => CallState::Failed(cid),
    }
}

fn change_service_result(data: &mut Data<'_>, choices: &mut Choices<'_>) {
    let value = key(&data.cid_info.values, choices);
    let tetraplet = key(&data.cid_info.tetraplets, choices);
    edit(
        &mut data.cid_info.service_results,
        choices,
        |result, choices| {
            let ServiceResult {
                value_cid,
                argument_hash,
                tetraplet_cid,
            } = result;
            match choices.byte() % 3 {
                0 => *value_cid = value,
                1 => *argument_hash = value,
                _ => *tetraplet_cid = tetraplet,
            }
        },
    );
}

fn change_element(data: &mut Data<'_>, choices: &mut Choices<'_>) {
    let value = key(&data.cid_info.values, choices);
    let tetraplet = key(&data.cid_info.tetraplets, choices);
    let provenance = match choices.byte() % 3 {
        0 => Provenance::Literal,
        1 => Provenance::ServiceResult(key(&data.cid_info.service_results, choices)),
        _ => Provenance::Canon(key(&data.cid_info.canon_results, choices)),
    };
    edit(
        &mut data.cid_info.canon_elements,
        choices,
        |element, choices| match choices.byte() % 3 {
            0 => element.value = value,
            1 => element.tetraplet = tetraplet,
            _ => element.provenance = provenance,
        },
    );
}

fn change_canon(data: &mut Data<'_>, choices: &mut Choices<'_>) {
    let element = key(&data.cid_info.canon_elements, choices);
    let tetraplet = key(&data.cid_info.tetraplets, choices);
    edit(
        &mut data.cid_info.canon_results,
        choices,
        |result, choices| {
            let mut values = result.values.to_vec();
            match choices.byte() % 4 {
                0 => values.push(element),
                1 => values.reverse(),
                2 => values.truncate(choices.below(values.len())),
                _ => result.tetraplet = tetraplet,
            }
            result.values = values.into();
        },
    );
}

/// Drops a store, or all signatures.
fn forget(data: &mut Data<'_>, choices: &mut Choices<'_>) {
    let info = &mut data.cid_info;
    match choices.byte() % 6 {
        0 => info.values = Store::default(),
        1 => info.tetraplets = Store::default(),
        2 => info.canon_elements = Store::default(),
        3 => info.canon_results = Store::default(),
        4 => info.service_results = Store::default(),
        _ => data.signatures = Default::default(),
    }
}

/// Changes one entry of a store.
fn edit<'a, V: Clone>(
    store: &mut Store<'a, V>,
    choices: &mut Choices<'_>,
    change: impl FnOnce(&mut V, &mut Choices<'_>),
) {
    let at = choices.below(store.len());
    let entry = store.iter().nth(at);
    if let Some((cid, mut value)) = entry.map(|(cid, value)| (cid, value.clone())) {
        change(&mut value, choices);
        store.insert(cid, value);
    }
}

/// The key of an entry; a text that is no CID where there is none.
fn key<'a, V>(store: &Store<'a, V>, choices: &mut Choices<'_>) -> &'a str {
    let at = choices.below(store.len());
    store.iter().nth(at).map_or("nothing", |(cid, _)| cid)
}

fn peer<'a>(data: &Data<'a>, choices: &mut Choices<'_>) -> &'a str {
    let tetraplets = &data.cid_info.tetraplets;
    let at = choices.below(tetraplets.len());
    let tetraplet = tetraplets.iter().nth(at);
    tetraplet.map_or("nobody", |(_, tetraplet)| tetraplet.peer_pk)
}

fn name<'a>(data: &Data<'a>, choices: &mut Choices<'_>) -> &'a str {
    match choices.byte() % 4 {
        0 => peer(data, choices),
        1 => "",
        2 => ".$.[0]",
        _ => choices.of(&["s", "echo", "f", "list", "object"]),
    }
}

fn value_text<'a>(data: &Data<'a>, choices: &mut Choices<'_>, arena: &'a Bump) -> &'a str {
    match choices.byte() % 8 {
        0 => {
            let depth = 1 + choices.below(200);
            arena.alloc_str(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)))
        }
        1 => {
            let at = choices.below(data.cid_info.values.len());
            let value = data.cid_info.values.iter().nth(at);
            value.map_or("1", |(_, text)| *text)
        }
        _ => choices.of(&VALUES),
    }
}
