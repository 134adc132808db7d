//! Replays `vectors/particle-data`.
//!
//! The bytes: decoding, encoding, CIDs, signatures, canonical values. And the runs that made or
//! refused them.

mod from_json;

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use aquavm::{CallResult, Compat, Key, Limits, Outcome, RunParameters, Script, step};
use particle::{
    KeyPair,
    cid::value_cid,
    data::{Envelope, SignedCids, VerifyOptions, check_signatures, signed_message},
};
use serde_json::{Value, json};

use super::{
    Report, read_text,
    run::{Call, decoded, requests, same_data},
};

/// Replays `files`.
pub(super) fn replay(files: &[PathBuf], report: &mut Report) -> Result<(), String> {
    for file in files {
        let check: fn(&Value) -> Result<(), String> = match stem(file) {
            "golden" => golden,
            "negative" => negative,
            "values" => value,
            _ => {
                report.unknown.push(file.clone());
                continue;
            }
        };
        let mut written = Written::default();
        for (index, line) in read_text(file)?.lines().enumerate() {
            let record: Value = serde_json::from_str(line)
                .map_err(|error| format!("{}:{}: {error}", file.display(), index + 1))?;
            let name = match record.get("id").and_then(Value::as_str) {
                Some(id) => id.to_owned(),
                None => format!("{}:{}", stem(file), index + 1),
            };
            let mut run = |record: &Value| match stem(file) {
                "golden" => golden_run(record, &mut written),
                "negative" => negative_run(record),
                _ => value_run(record),
            };
            report.record(name, check(&record).and_then(|()| run(&record)));
        }
    }
    Ok(())
}

/// The calls of the interpreter in `files`, with the names of their records.
pub(super) fn calls(files: &[PathBuf]) -> Result<Vec<(String, Call)>, String> {
    let mut calls = Vec::new();
    for file in files.iter().filter(|file| stem(file) != "values") {
        for (index, line) in read_text(file)?.lines().enumerate() {
            let name = format!("{}:{}", stem(file), index + 1);
            let record: Value =
                serde_json::from_str(line).map_err(|error| format!("{name}: {error}"))?;
            let call = call(&record).map_err(|error| format!("{name}: {error}"))?;
            calls.push((name, call));
        }
    }
    Ok(calls)
}

/// The name of a file without `.jsonl` or `.jsonl.gz`.
fn stem(file: &Path) -> &str {
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(name);
    name.strip_suffix(".jsonl").unwrap_or_default()
}

fn golden(record: &Value) -> Result<(), String> {
    let bytes = hex(record, "/output/data")?;
    let envelope = Envelope::decode(&bytes).map_err(|error| error.to_string())?;
    let data = envelope.data().map_err(|error| error.to_string())?;
    let decoded = record.get("decoded").ok_or("no decoded data")?;
    same(
        "version",
        envelope.versions.data.to_string(),
        text(decoded, "/version")?,
    )?;
    let interpreter = envelope.versions.interpreter.to_string();
    same(
        "interpreter_version",
        interpreter,
        text(decoded, "/interpreter_version")?,
    )?;
    let mut expected = decoded.clone();
    if let Some(object) = expected.as_object_mut() {
        object.remove("version");
        object.remove("interpreter_version");
    }
    let ours = serde_json::to_value(&data).map_err(|error| error.to_string())?;
    same("decoded data", &ours, &expected)?;
    same("archive", &*envelope.archive, &*hex(record, "/inner_data")?)?;

    data.verify_stores(VerifyOptions {
        referenced_values_are_json: true,
        generations_are_dense: true,
    })
    .map_err(|error| error.to_string())?;
    golden_signatures(record, &data)?;

    let parsed = from_json::data(decoded)?;
    same("data from JSON", &parsed, &data)?;
    let encoded = data
        .clone()
        .encode(&envelope.versions)
        .map_err(|error| error.to_string())?;
    if record.get("byte_reproducible") == Some(&Value::Bool(true)) {
        same("encoded bytes", &encoded, &bytes)?;
    }
    let again = Envelope::decode(&encoded).map_err(|error| error.to_string())?;
    same(
        "data after a round trip",
        &again.data().map_err(|error| error.to_string())?,
        &data,
    )
}

fn golden_signatures(record: &Value, data: &particle::data::Data<'_>) -> Result<(), String> {
    let particle_id = text(record, "/input/particle_id")?;
    let empty = particle::data::Data::default();
    check_signatures(&empty, data, particle_id, None).map_err(|error| error.to_string())?;
    let signed = SignedCids::collect(data).map_err(|error| error.to_string())?;
    let expected = record
        .get("signed")
        .and_then(Value::as_object)
        .ok_or("no signed CIDs")?;
    for (peer_id, expected) in expected {
        let cids = signed.get(peer_id);
        let sorted = serde_json::to_value(cids).map_err(|error| error.to_string())?;
        same("signed CIDs", Some(&sorted), expected.get("cids_sorted"))?;
        let message = signed_message(cids, particle_id);
        same("signed bytes", &message, &hex(expected, "/signed_bytes")?)?;
    }
    same("number of signers", data.signatures.len(), expected.len())
}

/// What the bytes alone decide: codes 2, 3, 4, 6, 8 and 9; everything else must get through.
fn negative(record: &Value) -> Result<(), String> {
    let expected = match record.pointer("/suggested_ret_code_for_us") {
        Some(code) if !code.is_null() => code.as_i64(),
        _ => record.pointer("/output/ret_code").and_then(Value::as_i64),
    };
    let expected = expected.ok_or("no expected code")?;
    let previous = hex(record, "/input/prev_data")?;
    let current = hex(record, "/input/current_data")?;
    let limits_come_first = expected == 10;
    if limits_come_first {
        return Ok(());
    }
    let outcome = checks(&previous, &current, text(record, "/input/particle_id")?);
    match (outcome, expected) {
        (Ok(()), 2 | 3 | 4 | 6 | 8 | 9) => Err(format!("accepted, expected code {expected}")),
        (Ok(()), _) => Ok(()),
        (Err((code, _)), expected) if code == expected => Ok(()),
        (Err((code, error)), expected) => {
            Err(format!("code {code} ({error}), expected code {expected}"))
        }
    }
}

fn checks(previous: &[u8], current: &[u8], particle_id: &str) -> Result<(), (i64, String)> {
    use particle::data::EnvelopeError;
    let envelope = |bytes| {
        Envelope::decode(bytes).map_err(|error| match error {
            EnvelopeError::NoArchive { .. } => (4, error.to_string()),
            _ => (3, error.to_string()),
        })
    };
    let previous = envelope(previous)?;
    let current = envelope(current)?;
    current
        .check_version()
        .map_err(|error| (6, error.to_string()))?;
    let previous = previous.data().map_err(|error| (2, error.to_string()))?;
    let current = current.data().map_err(|error| (2, error.to_string()))?;
    let options = VerifyOptions {
        referenced_values_are_json: true,
        generations_are_dense: false,
    };
    current
        .verify_stores(options)
        .map_err(|error| (8, error.to_string()))?;
    check_signatures(&previous, &current, particle_id, None)
        .map_err(|error| (9, error.to_string()))?;
    Ok(())
}

fn value(record: &Value) -> Result<(), String> {
    let result = text(record, "/result_text")?;
    let stored = text(record, "/stored_text")?;
    match (particle::value::normalize(result), text(record, "/state")?) {
        (Ok(normal), "executed") => same("stored text", &*normal, stored)?,
        (Err(_), "failed") => {}
        (normal, state) => return Err(format!("{normal:?}, expected state {state}")),
    }
    let cid = text(record, "/value_cid")?;
    same("CID", &*value_cid(stored), cid)?;
    for cid in [cid, text(record, "/value_cid_sha256")?] {
        particle::cid::verify(cid, stored.as_bytes()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// What our runs wrote where the recorded ones wrote other bytes for the same data.
type Written = HashMap<Vec<u8>, Vec<u8>>;

/// The run that made the data of a golden record, once on the recorded data and once on what our
/// own runs of the earlier steps made of them.
fn golden_run(record: &Value, written: &mut Written) -> Result<(), String> {
    let recorded = call(record)?;
    let ours = |data: &[u8]| written.get(data).cloned().unwrap_or_else(|| data.to_vec());
    let chained = Call {
        previous: ours(&recorded.previous),
        current: ours(&recorded.current),
        script: recorded.script.clone(),
        parameters: recorded.parameters.clone(),
        results: recorded.results.clone(),
    };
    let outcome = chained.invoke();
    golden_outcome(record, &recorded.invoke())?;
    golden_outcome(record, &outcome).map_err(|error| format!("on our own data: {error}"))?;
    written.insert(hex(record, "/output/data")?, outcome.data);
    Ok(())
}

fn golden_outcome(record: &Value, outcome: &Outcome<Vec<u8>>) -> Result<(), String> {
    let output = record.get("output").ok_or("no output")?;
    same_code(outcome, output.get("ret_code").and_then(Value::as_i64))?;
    same(
        "error_message",
        outcome.error_message.as_str(),
        text(output, "/error_message")?,
    )?;
    for (name, flag) in [
        ("air_size_limit_exceeded", outcome.flags.script),
        ("particle_size_limit_exceeded", outcome.flags.particle),
        ("call_result_size_limit_exceeded", outcome.flags.call_result),
    ] {
        same(name, Some(&json!(flag)), output.get(name))?;
    }
    same_sent(outcome, output)?;
    let expected = record.get("decoded").ok_or("no decoded data")?;
    same_decoded(&outcome.data, expected.clone())
}

/// Codes whose texts are drawings of the script (1) or hold addresses in memory (2).
const FREE_TEXTS: [i64; 2] = [1, 2];

/// The run that accepted or refused the input of a negative record.
fn negative_run(record: &Value) -> Result<(), String> {
    let call = call(record)?;
    let outcome = call.invoke();
    let output = record.get("output").ok_or("no output")?;
    let ours = record
        .get("suggested_ret_code_for_us")
        .and_then(Value::as_i64);
    if let Some(code) = ours {
        same_code(&outcome, Some(code))?;
        return same("data of an error", &outcome.data, &call.previous);
    }
    same_code(&outcome, output.get("ret_code").and_then(Value::as_i64))?;
    if !FREE_TEXTS.contains(&outcome.ret_code) {
        let expected = text(output, "/error_message")?;
        let ours = outcome.error_message.as_str();
        // Which of two bad signatures the reference finds first is random.
        let both = |kind: &str| ours.starts_with(kind) && expected.starts_with(kind);
        if !both("signature mismatch for ") {
            same("error_message", ours, expected)?;
        }
    }
    let flags = outcome.flags;
    let flags = json!([flags.script, flags.particle, flags.call_result]);
    same("flags", Some(&flags), output.get("flags"))?;
    same_sent(&outcome, output)?;
    if outcome.ret_code != 0 && output.get("data_is_prev") == Some(&Value::Bool(true)) {
        return same("data of an error", &outcome.data, &call.previous);
    }
    same_decoded(&outcome.data, decoded(&hex(output, "/data")?)?)
}

/// Runs a call whose service answers with the text of a record.
fn value_run(record: &Value) -> Result<(), String> {
    let key = KeyPair::from_seed(&[1; 32]);
    let peer_id = key.peer_id().to_string();
    let parameters = RunParameters {
        init_peer_id: peer_id.clone(),
        current_peer_id: peer_id,
        timestamp: 1_700_000_000_000,
        ttl: 7000,
        particle_id: "values".to_owned(),
        key: key.into(),
        limits: Limits::default(),
        compat: Compat::default(),
        check_signatures: true,
        policy: Default::default(),
    };
    let script = Script::parse(r#"(call %init_peer_id% ("s" "f") [] x)"#)
        .map_err(|error| error.to_string())?;
    let first = step(&script, &[], &[], &parameters, &Default::default());
    let results = [(1, CallResult::ok(text(record, "/result_text")?))].into();
    let outcome = step(&script, &first.data, &[], &parameters, &results);
    let expected = record.get("ret_code").and_then(Value::as_i64);
    same("ret_code", Some(outcome.ret_code), expected)?;
    let data = decoded(&outcome.data)?;
    let cid = text(record, "/value_cid")?;
    let value = data
        .pointer("/cid_info/value_store")
        .and_then(|values| values.get(cid)?.as_str());
    same("stored value", value, Some(text(record, "/stored_text")?))
}

/// The inputs of a record.
fn call(record: &Value) -> Result<Call, String> {
    let input = record.get("input").ok_or("no input")?;
    let number = |name: &str| {
        let number = input.get(name).and_then(Value::as_u64);
        number.ok_or_else(|| format!("no number {name}"))
    };
    let limits = input.get("limits");
    let limit = |name: &str| {
        limits
            .and_then(|limits| limits.get(name)?.as_u64())
            .unwrap_or(1 << 32)
    };
    let before_0_64 = record
        .get("interpreter")
        .and_then(Value::as_str)
        .is_some_and(|version| version.starts_with("0.6") && version < "0.64");
    Ok(Call {
        script: text(input, "/air")?.to_owned(),
        previous: hex(input, "/prev_data")?,
        current: hex(input, "/current_data")?,
        parameters: RunParameters {
            init_peer_id: text(input, "/init_peer_id")?.to_owned(),
            current_peer_id: text(input, "/current_peer_id")?.to_owned(),
            timestamp: number("timestamp")?,
            ttl: u32::try_from(number("ttl")?).map_err(|error| error.to_string())?,
            particle_id: text(input, "/particle_id")?.to_owned(),
            key: Key::Raw {
                format: u8::try_from(number("key_format")?).map_err(|error| error.to_string())?,
                secret: hex(input, "/secret_key")?,
            },
            limits: Limits {
                script: limit("air_size_limit"),
                particle: limit("particle_size_limit"),
                call_result: limit("call_result_size_limit"),
                hard: limits.and_then(|limits| limits.get("hard_limit_enabled"))
                    == Some(&Value::Bool(true)),
                ..Limits::default()
            },
            compat: match before_0_64 {
                true => Compat::V0_63,
                false => Compat::V0_64,
            },
            check_signatures: true,
            policy: Default::default(),
        },
        results: hex(input, "/call_results_bytes")?,
    })
}

fn same_code(outcome: &Outcome<Vec<u8>>, expected: Option<i64>) -> Result<(), String> {
    same("ret_code", Some(outcome.ret_code), expected)
        .map_err(|difference| format!("{difference} ({})", outcome.error_message))
}

/// Compares what leaves the peer: next peers as a set, call requests as a map.
fn same_sent(outcome: &Outcome<Vec<u8>>, output: &Value) -> Result<(), String> {
    let peers: BTreeSet<&str> = output
        .get("next_peer_pks")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let ours: BTreeSet<&str> = outcome.next_peers.iter().map(String::as_str).collect();
    same("next_peer_pks", ours, peers)?;
    same(
        "call requests",
        requests(&outcome.call_requests)?,
        requests(&hex(output, "/call_requests_bytes")?)?,
    )
}

/// Compares data but for the interpreter that wrote them.
fn same_decoded(ours: &[u8], mut expected: Value) -> Result<(), String> {
    let mut ours = decoded(ours)?;
    for data in [&mut ours, &mut expected] {
        if let Some(object) = data.as_object_mut() {
            object.remove("interpreter_version");
        }
    }
    same_data(&ours, &expected)
}

fn same<A, B>(what: &str, ours: A, theirs: B) -> Result<(), String>
where
    A: PartialEq<B> + std::fmt::Debug,
    B: std::fmt::Debug,
{
    if ours == theirs {
        return Ok(());
    }
    Err(format!("{what}: {ours:?}\nexpected: {theirs:?}")
        .chars()
        .take(2400)
        .collect())
}

fn text<'a>(record: &'a Value, pointer: &str) -> Result<&'a str, String> {
    record
        .pointer(pointer)
        .and_then(Value::as_str)
        .ok_or_else(|| format!("no text at {pointer}"))
}

fn hex(record: &Value, pointer: &str) -> Result<Vec<u8>, String> {
    hex::decode(text(record, pointer)?).map_err(|error| format!("{pointer}: {error}"))
}
