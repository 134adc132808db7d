//! Replays `vectors/air`: small scripts in a small network, every run of them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
};

use aquavm::{CallResult, CallResults, Compat, Limits, Outcome, RunParameters, Script};
use particle::{KeyPair, data::Envelope};
use serde_json::{Value, json};

use super::{
    Report,
    air_parser::check_diagnostic,
    read_text,
    run::{readable, requests, same},
};

/// Return code of a script that is none; its text is visible to nobody, and its drawing free.
const PARSE_ERROR: i64 = 1;

/// Replays `files`.
pub(super) fn replay(files: &[PathBuf], report: &mut Report) -> Result<(), String> {
    for file in files {
        if file
            .extension()
            .is_none_or(|extension| extension != "jsonl")
        {
            report.unknown.push(file.clone());
            continue;
        }
        for (index, line) in read_text(file)?.lines().enumerate() {
            let record: Value = serde_json::from_str(line)
                .map_err(|error| format!("{}:{}: {error}", file.display(), index + 1))?;
            let title = record.get("name").and_then(Value::as_str);
            let name = format!("{}:{} {}", stem(file), index + 1, title.unwrap_or_default());
            report.record(name, scenario(&record));
        }
    }
    Ok(())
}

fn stem(file: &std::path::Path) -> &str {
    file.file_stem()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

/// A network that delivers in order of sending, and answers calls at once.
struct Network<'r> {
    script: &'r str,
    options: &'r Value,
    stored: BTreeMap<String, Vec<u8>>,
    sent: VecDeque<(String, Vec<u8>)>,
    /// Peer that got call results.
    answered: Option<(String, CallResults)>,
}

fn scenario(record: &Value) -> Result<(), String> {
    let options = &record["options"];
    let steps = record["steps"].as_array().ok_or("no steps")?;
    let first = steps.first().ok_or("no steps")?;
    let mut network = Network {
        script: record["script"].as_str().ok_or("no script")?,
        options,
        stored: BTreeMap::new(),
        sent: VecDeque::new(),
        answered: None,
    };
    let peer = first["peer"].as_str().ok_or("no peer")?;
    let extra: CallResults = options["extra_results"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(id, result)| {
            let id = id.parse().map_err(|_| format!("call id {id}"))?;
            Ok((id, CallResult::ok(result.to_string())))
        })
        .collect::<Result<_, String>>()?;
    network.answered = Some((peer.to_owned(), extra));
    for (index, step) in steps.iter().enumerate() {
        network
            .step(step)
            .map_err(|difference| format!("step {}: {difference}", index + 1))?;
    }
    Ok(())
}

impl Network<'_> {
    fn step(&mut self, expected: &Value) -> Result<(), String> {
        let mut expected = expected.clone();
        settle_survivors(&mut expected);
        let expected = &expected;
        let (peer, current, results) = match self.answered.take() {
            Some((peer, results)) => (peer, Vec::new(), results),
            None => loop {
                let (peer, data) = self.sent.pop_front().ok_or("nothing to deliver")?;
                let only = self.options["only"].as_array();
                if only.is_none_or(|only| only.contains(&json!(peer))) {
                    break (peer, data, CallResults::new());
                }
            },
        };
        same("peer", &json!(peer), &expected["peer"])?;
        let previous = self.stored.get(&peer).cloned().unwrap_or_default();
        let outcome = self.run(&peer, &previous, &current, &results);
        if expected["reference_panics"] == json!(true) {
            return match outcome.ret_code {
                0 => Err("expected an error where the reference panics".to_owned()),
                _ => Ok(()),
            };
        }
        self.compare(expected, &outcome)?;
        for next in &outcome.next_peers {
            self.sent.push_back((next.clone(), outcome.data.clone()));
        }
        let results: CallResults = expected["call_requests"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|request| {
                let result = serde_json::from_value(request["result"].clone()).ok()?;
                Some((u32::try_from(request["id"].as_u64()?).ok()?, result))
            })
            .collect();
        if !results.is_empty() {
            self.answered = Some((peer.clone(), results));
        }
        self.stored.insert(peer, outcome.data);
        Ok(())
    }

    fn run(
        &self,
        peer: &str,
        previous: &[u8],
        current: &[u8],
        results: &CallResults,
    ) -> Outcome<Vec<u8>> {
        let limit = |name: &str| self.options[name].as_u64().unwrap_or(u64::from(u32::MAX));
        let parameters = RunParameters {
            init_peer_id: "A".to_owned(),
            current_peer_id: peer.to_owned(),
            timestamp: 1_700_000_000_000,
            ttl: 30_000,
            particle_id: "particle".to_owned(),
            key: KeyPair::from_seed(&[1; 32]).into(),
            limits: Limits {
                script: limit("air_limit"),
                particle: limit("particle_limit"),
                call_result: limit("cr_limit"),
                hard: self.options["hard"] == json!(true),
                ..Limits::default()
            },
            compat: Compat::V0_64,
            check_signatures: false,
            policy: Default::default(),
        };
        let results = aquavm::encode_call_results(results);
        // The recorder ended each script with a newline, which counts for the limit.
        let script = format!("{}\n", self.script);
        let outcome = aquavm::invoke(&script, previous, current, &parameters, &results);
        // The other entrance must agree.
        if let Ok(script) = Script::parse(&script) {
            let again = aquavm::invoke_script(&script, previous, current, &parameters, &results);
            if again != outcome {
                return Outcome {
                    ret_code: -1,
                    error_message: "a parsed script gives another outcome".to_owned(),
                    ..outcome
                };
            }
        }
        outcome
    }

    fn compare(&self, expected: &Value, outcome: &Outcome<Vec<u8>>) -> Result<(), String> {
        same("ret_code", &json!(outcome.ret_code), &expected["ret_code"])
            .map_err(|difference| format!("{difference} ({})", outcome.error_message))?;
        if outcome.ret_code == PARSE_ERROR {
            let errors = air_parser::parse(self.script)
                .err()
                .ok_or("a script that parses gives code 1")?;
            let expected = expected["error_message"].as_str().unwrap_or_default();
            check_diagnostic(&errors, expected)?;
        } else {
            same(
                "error_message",
                &json!(outcome.error_message),
                &expected["error_message"],
            )?;
        }
        let peers = |peers: &Value| -> BTreeSet<String> {
            let peers = peers.as_array().into_iter().flatten();
            peers.map(Value::to_string).collect()
        };
        let ours = json!(outcome.next_peers);
        if peers(&ours) != peers(&expected["next_peer_pks"]) {
            same("next_peer_pks", &ours, &expected["next_peer_pks"])?;
        }
        let flags = outcome.flags;
        same(
            "soft_limits",
            &json!([flags.script, flags.particle, flags.call_result]),
            &expected["soft_limits"],
        )?;
        let expected_requests = expected["call_requests"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|request| {
                let mut request = request.as_object().cloned().unwrap_or_default();
                request.remove("result");
                let id = request.remove("id").unwrap_or_default();
                (id.to_string(), Value::Object(request))
            });
        same(
            "call_requests",
            &requests(&outcome.call_requests)?,
            &Value::Object(expected_requests.collect()),
        )?;
        if expected["trace"].is_null() {
            return Ok(());
        }
        let envelope = Envelope::decode(&outcome.data).map_err(|error| error.to_string())?;
        let data = envelope.data().map_err(|error| error.to_string())?;
        same("trace", &readable(&data)?, &expected["trace"])
    }
}

/// Makes what follows from a map with the keys `N` and `"N"` definite.
///
/// As an argument such a map becomes an object with the values of one of them: which one is random
/// in the recordings, and the description of AIR tells us to take the key that came later ("Quirks
/// of the reference").
fn settle_survivors(step: &mut Value) {
    let mut keys: Vec<(Value, Vec<Value>)> = Vec::new();
    for element in canon_elements(&step["trace"]) {
        let (Some(key), Some(value)) = (element.get("key"), element.get("value")) else {
            continue;
        };
        match keys.iter_mut().find(|(known, _)| known == key) {
            Some((_, values)) => values.push(value.clone()),
            None => keys.push((key.clone(), vec![value.clone()])),
        }
    }
    for (number, first) in keys.iter().filter(|(key, _)| key.is_number()) {
        let text = number.to_string();
        let same_text = |(_, (key, _)): &(usize, &(Value, Vec<Value>))| *key == text.as_str();
        let Some((at, (_, second))) = keys.iter().enumerate().find(same_text) else {
            continue;
        };
        let number_at = keys.iter().position(|(key, _)| key == number);
        let survivor = if number_at > Some(at) { first } else { second };
        settle(step, &text, [first, second], survivor);
    }
}

/// The values of all elements of canons.
fn canon_elements(trace: &Value) -> impl Iterator<Item = &Value> {
    let states = trace.as_array().into_iter().flatten();
    states
        .filter_map(|state| state.pointer("/canon/values")?.as_array())
        .flatten()
        .filter_map(|element| element.get("value"))
}

/// Replaces the field `name` of objects where it holds the values of one of the candidates.
fn settle(value: &mut Value, name: &str, candidates: [&Vec<Value>; 2], survivor: &[Value]) {
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(field) = fields.get_mut(name)
                    && candidates.iter().any(|values| *field == json!(values))
                {
                    *field = json!(survivor);
                }
                open.extend(fields.values_mut());
            }
            Value::Array(elements) => open.extend(elements),
            _ => {}
        }
    }
}
