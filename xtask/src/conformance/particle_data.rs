//! Replays `vectors/particle-data`.
//!
//! The bytes: decoding, encoding, CIDs, signatures, canonical values.

mod from_json;

use std::path::{Path, PathBuf};

use particle::{
    cid::value_cid,
    data::{Envelope, SignedCids, VerifyOptions, check_signatures, signed_message},
};
use serde_json::Value;

use super::{Report, read_text};

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
        for (index, line) in read_text(file)?.lines().enumerate() {
            let record: Value = serde_json::from_str(line)
                .map_err(|error| format!("{}:{}: {error}", file.display(), index + 1))?;
            let name = match record.get("id").and_then(Value::as_str) {
                Some(id) => id.to_owned(),
                None => format!("{}:{}", stem(file), index + 1),
            };
            report.record(name, check(&record));
        }
    }
    Ok(())
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
        .take(1200)
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
