//! Replays `vectors/aquavm` (calls of the interpreter) and `vectors/aquavm-bench` (the same, one
//! folder a call).

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use aquavm::{Compat, Key, Limits, Outcome, RunParameters};
use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{
    Report,
    air_parser::check_diagnostic,
    bytes::{same_bytes, same_data_bytes},
    read_text,
    run::{Call, decoded, requests, same, same_data},
};

/// Replays `files`.
pub(super) fn replay(files: &[PathBuf], report: &mut Report) -> Result<(), String> {
    for file in files {
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.ends_with(".jsonl.gz") || name.ends_with(".jsonl") {
            for (index, line) in read_text(file)?.lines().enumerate() {
                let record: Value = serde_json::from_str(line)
                    .map_err(|error| format!("{}:{}: {error}", file.display(), index + 1))?;
                report.record(title(name, &record), call(&record));
            }
        } else if name == "size-limits.json" {
            let records: Vec<Value> = serde_json::from_str(&read_text(file)?)
                .map_err(|error| format!("{}: {error}", file.display()))?;
            for record in records {
                report.record(title(name, &record), call(&record));
            }
        } else if name == "params.json" {
            let folder = file.parent().unwrap_or(Path::new("."));
            report.record(folder.display().to_string(), benchmark(folder));
        } else if !file.with_file_name("params.json").exists() {
            report.unknown.push(file.clone());
        }
    }
    Ok(())
}

fn title(file: &str, record: &Value) -> String {
    let test = record["test"].as_str().unwrap_or_default();
    format!("{file} {test} #{}", record["seq"])
}

/// One line.
fn call(record: &Value) -> Result<(), String> {
    let call = read_call(record)?;
    check_outcome(record, &call, &call.invoke())
}

/// The inputs of a record.
pub(crate) fn read_call(record: &Value) -> Result<Call, String> {
    let check_signatures = record["signatures"].as_bool().ok_or("no signatures")?;
    let results = match record.get("call_results_raw") {
        Some(raw) => bytes(raw)?,
        None => aquavm::encode_call_results(&results(&record["call_results"])?),
    };
    Ok(Call {
        script: text(&record["air"])?,
        previous: bytes(&record["prev_data"])?,
        current: bytes(&record["data"])?,
        parameters: parameters(&record["params"], check_signatures, compat(record))?,
        results,
    })
}

/// Compares the outcome of `call` with its record.
pub(crate) fn check_outcome(
    record: &Value,
    call: &Call,
    outcome: &Outcome<Vec<u8>>,
) -> Result<(), String> {
    let expected = &record["outcome"];
    compare(expected, &call.script, compat(record), outcome)?;
    let byte_stable = |name: &str| {
        record["byte_stable"]
            .as_array()
            .is_some_and(|stable| stable.contains(&json!(name)))
    };
    if byte_stable("call_requests_raw") {
        let expected = bytes(&expected["call_requests_raw"])?;
        same_bytes("call_requests_raw", &outcome.call_requests, &expected)?;
    }
    if byte_stable("next_peer_pks") {
        let ours = json!(outcome.next_peers);
        same("next_peer_pks in order", &ours, &expected["next_peer_pks"])?;
    }
    if byte_stable("data") {
        same_data_bytes(&outcome.data, &bytes(&expected["data"])?)?;
    }
    Ok(())
}

/// Whether a run with this code gives new data: success, errors that `xor` could have caught, and
/// unused results. They equal the previous data only by chance.
pub(crate) fn has_new_data(ret_code: i64) -> bool {
    matches!(ret_code, 0 | 10_000..=19_999 | 30_000)
}

/// The line of interpreters that a record is of; 0.64 where it does not say.
fn compat(record: &Value) -> Compat {
    match record["interpreter"].as_str() {
        Some(version) if version < "0.64" => Compat::V0_63,
        _ => Compat::V0_64,
    }
}

/// One folder of `vectors/aquavm-bench`.
fn benchmark(folder: &Path) -> Result<(), String> {
    let call = read_benchmark(folder)?;
    let outcome = call.invoke();
    let expected = read_text(&folder.join("outcome.json.gz"))?;
    let expected: Value = serde_json::from_str(&expected).map_err(|error| error.to_string())?;
    compare(&expected, &call.script, Compat::V0_64, &outcome)
}

/// The inputs in a folder of `vectors/aquavm-bench`.
fn read_benchmark(folder: &Path) -> Result<Call, String> {
    let parse = |name: &str| -> Result<Value, String> {
        serde_json::from_str(&read_text(&folder.join(name))?).map_err(|error| error.to_string())
    };
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let call_results = match folder.join("call_results.json").exists() {
        true => results(&parse("call_results.json")?)?,
        false => BTreeMap::new(),
    };
    Ok(Call {
        script: read_text(&folder.join("script.air"))?,
        previous: read("prev_data.bin")?,
        current: read("cur_data.bin")?,
        parameters: parameters(&parse("params.json")?, true, Compat::V0_64)?,
        results: aquavm::encode_call_results(&call_results),
    })
}

/// Results by call id; a result is a JSON value, or a text where it is none.
fn results(results: &Value) -> Result<aquavm::CallResults, String> {
    let object = results.as_object().ok_or("no call results")?;
    object
        .iter()
        .map(|(id, result)| {
            let id = id.parse().map_err(|_| format!("call id {id}"))?;
            let ret_code = result["ret_code"].as_i64().unwrap_or_default();
            let ret_code = i32::try_from(ret_code).map_err(|error| error.to_string())?;
            let result = match result.get("result_text") {
                Some(text) => self::text(text)?,
                None => expand_json(&result["result"])?,
            };
            Ok((id, aquavm::CallResult { ret_code, result }))
        })
        .collect()
}

/// The compact text of a value, in which strings may be written in parts.
fn expand_json(value: &Value) -> Result<String, String> {
    match value.get("concat") {
        Some(_) => serde_json::to_string(&text(value)?),
        None => serde_json::to_string(value),
    }
    .map_err(|error| error.to_string())
}

/// A string, which may be written in parts.
fn text(value: &Value) -> Result<String, String> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    let parts = value["concat"]
        .as_array()
        .ok_or_else(|| format!("no text: {value}"))?;
    parts
        .iter()
        .map(|part| match part.get("repeat") {
            Some(unit) => {
                let times = part["times"].as_u64().unwrap_or_default();
                let times = usize::try_from(times).map_err(|error| error.to_string())?;
                Ok(text(unit)?.repeat(times))
            }
            None => text(part),
        })
        .collect()
}

/// Base64, or one byte many times.
fn bytes(value: &Value) -> Result<Vec<u8>, String> {
    if let Some(byte) = value["bytes_repeat"].as_u64() {
        let times = value["times"].as_u64().unwrap_or_default();
        let times = usize::try_from(times).map_err(|error| error.to_string())?;
        return Ok(vec![byte as u8; times]);
    }
    let text = value.as_str().ok_or_else(|| format!("no bytes: {value}"))?;
    BASE64
        .decode(text.as_bytes())
        .map_err(|error| error.to_string())
}

fn parameters(
    params: &Value,
    check_signatures: bool,
    compat: Compat,
) -> Result<RunParameters, String> {
    let number = |name: &str| {
        params[name]
            .as_u64()
            .ok_or_else(|| format!("parameter {name}: {}", params[name]))
    };
    Ok(RunParameters {
        init_peer_id: text(&params["init_peer_id"])?,
        current_peer_id: text(&params["current_peer_id"])?,
        timestamp: number("timestamp")?,
        ttl: u32::try_from(number("ttl")?).map_err(|error| error.to_string())?,
        particle_id: text(&params["particle_id"])?,
        key: Key::Raw {
            format: u8::try_from(number("key_format")?).map_err(|error| error.to_string())?,
            secret: hex::decode(text(&params["secret_key_hex"])?)
                .map_err(|error| error.to_string())?,
        },
        limits: Limits {
            script: number("air_size_limit")?,
            particle: number("particle_size_limit")?,
            call_result: number("call_result_size_limit")?,
            hard: params["hard_limit_enabled"] == json!(true),
            ..Limits::default()
        },
        compat,
        check_signatures,
        policy: Default::default(),
    })
}

/// Code of a script that does not parse: the drawing around its message is free.
const PARSE_ERROR: i64 = 1;
/// Code of an archive that cannot be read: its text holds addresses in the reference's memory.
const ARCHIVE_ERROR: i64 = 2;

/// How an element of a hash map begins where a message dumps one.
const ELEMENTS: [&str; 2] = ["ResolvedSubTraceDescs {", "CallServiceResult {"];

/// Whether a message dumps a hash map, in an order that the reference chooses at random.
fn has_random_order(message: &str) -> bool {
    ELEMENTS
        .iter()
        .any(|element| message.matches(element).count() > 1)
}

/// Whether both messages refuse a signature, but not of the same peer: the reference chooses at
/// random which of several it looks at first.
fn refuse_different_signatures(one: &str, other: &str) -> bool {
    let signer = |message: &str| {
        let rest = message.strip_prefix("signature mismatch for ")?;
        Some(rest.split(':').next()?.to_owned())
    };
    matches!((signer(one), signer(other)), (Some(one), Some(other)) if one != other)
}

/// What a message has in common with that of another interpreter of the same line. Those up to 0.63
/// name their own version, dump states in forms of their own, and say why bytes cannot be read in
/// the words of their libraries.
fn common_part(message: &str, compat: Compat) -> String {
    if compat == Compat::V0_64 {
        return message.to_owned();
    }
    let end = match message.ends_with("obtained") {
        true => message.find(" but '"),
        false => ["Envelope(", "Format("]
            .iter()
            .find_map(|mark| message.find(mark)),
    };
    let message = message.get(..end.unwrap_or(message.len()));
    let (own, other) = ("version is 0.63.0 and", "version is 0.62.0 and");
    message.unwrap_or_default().replace(other, own)
}

/// Compares by the rules of the records.
pub(crate) fn compare(
    expected: &Value,
    script: &str,
    compat: Compat,
    outcome: &Outcome<Vec<u8>>,
) -> Result<(), String> {
    same("ret_code", &json!(outcome.ret_code), &expected["ret_code"]).map_err(|difference| {
        format!(
            "{difference} ({})\nexpected: {}",
            outcome.error_message, expected["error_message"]
        )
    })?;
    let message = expected["error_message"].as_str().unwrap_or_default();
    match outcome.ret_code {
        PARSE_ERROR => {
            let errors = air_parser::parse(script)
                .err()
                .ok_or("a script that parses gives code 1")?;
            check_diagnostic(&errors, message)?;
        }
        ARCHIVE_ERROR => {}
        _ if has_random_order(message) => {}
        _ if refuse_different_signatures(&outcome.error_message, message) => {}
        _ => same(
            "error_message",
            &json!(common_part(&outcome.error_message, compat)),
            &json!(common_part(message, compat)),
        )?,
    }
    let mut peers: Vec<&str> = expected["next_peer_pks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    peers.sort_unstable();
    let mut ours: Vec<&str> = outcome.next_peers.iter().map(String::as_str).collect();
    ours.sort_unstable();
    same("next_peer_pks", &json!(ours), &json!(peers))?;
    let flags = outcome.flags;
    for (name, flag) in [
        ("air_size_limit_exceeded", flags.script),
        ("particle_size_limit_exceeded", flags.particle),
        ("call_result_size_limit_exceeded", flags.call_result),
    ] {
        same(name, &json!(flag), &expected[name])?;
    }
    same(
        "call_requests",
        &requests(&outcome.call_requests)?,
        &expected["call_requests"],
    )?;
    let expected = &expected["data_json"];
    if expected.get("decode_error").is_some() {
        // Only data that was handed back unchanged cannot be decoded.
        return match decoded(&outcome.data) {
            Ok(_) => Err("data: decodes, expected bytes that do not".to_owned()),
            Err(_) => Ok(()),
        };
    }
    let mut ours = decoded(&outcome.data)?;
    let own_version = Compat::V0_63.interpreter_version().to_string();
    if let (Some(version), Some(theirs)) = (
        ours.get_mut("interpreter_version"),
        expected.get("interpreter_version"),
    ) && *version == own_version.as_str()
    {
        // Each of the published interpreters up to 0.63 names itself.
        theirs.clone_into(version);
    }
    same_data(&ours, expected)
}
