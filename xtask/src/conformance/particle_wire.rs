//! Replays `vectors/particle-wire`.
//!
//! Frames: decoding, signature, encoding to the same map, and the data inside.

use std::{fs, path::PathBuf};

use particle::{
    Particle,
    data::{Data, Envelope, VerifyOptions, check_signatures},
    frame::{self, Message},
};
use serde_json::Value;

use super::{Report, read_text};

/// Replays `files`.
pub(super) fn replay(files: &[PathBuf], report: &mut Report) -> Result<(), String> {
    for file in files {
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.ends_with(".bin") {
            let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
            let outcome = message(&bytes).and_then(|particle| agrees_with_index(file, &particle));
            report.record(name, outcome);
        } else if name != "index.jsonl" && name != "peers.json" {
            report.unknown.push(file.clone());
        }
    }
    Ok(())
}

/// Decodes a whole stream, verifies it, and writes it again as the same map.
fn message(bytes: &[u8]) -> Result<Particle, String> {
    let decoded = frame::decode(bytes).map_err(|error| error.to_string())?;
    let Some((Message::Particle(particle), length)) = decoded else {
        return Err("no complete particle".to_owned());
    };
    if length != bytes.len() {
        return Err(format!(
            "frame of {length} bytes in a stream of {}",
            bytes.len()
        ));
    }
    particle.verify().map_err(|error| error.to_string())?;

    let encoded = frame::encode(&particle);
    let again = frame::decode(&encoded).map_err(|error| error.to_string())?;
    if again != Some((Message::Particle(particle.clone()), encoded.len())) {
        return Err("another particle after encoding and decoding".to_owned());
    }
    if fields(&encoded)? != fields(bytes)? {
        return Err("another map after encoding".to_owned());
    }

    let envelope = Envelope::decode(&particle.data).map_err(|error| error.to_string())?;
    envelope
        .check_version()
        .map_err(|error| error.to_string())?;
    let data = envelope.data().map_err(|error| error.to_string())?;
    data.verify_stores(VerifyOptions {
        referenced_values_are_json: true,
        generations_are_dense: true,
    })
    .map_err(|error| error.to_string())?;
    check_signatures(&Data::default(), &data, &particle.id, None)
        .map_err(|error| error.to_string())?;
    Ok(*particle)
}

/// The map of a frame, read by another decoder.
fn fields(frame: &[u8]) -> Result<Fields, String> {
    let payload = frame
        .iter()
        .position(|byte| byte & 0x80 == 0)
        .map(|at| at + 3);
    let body = payload.and_then(|at| frame.get(at..)).ok_or("no payload")?;
    rmp_serde::from_slice(body).map_err(|error| error.to_string())
}

#[derive(PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    action: String,
    id: String,
    init_peer_id: String,
    timestamp: u64,
    ttl: u32,
    script: String,
    signature: Octets,
    data: Octets,
}

/// A byte string or an array of integers.
#[derive(PartialEq)]
struct Octets(Vec<u8>);

impl<'de> serde::Deserialize<'de> for Octets {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Octets;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("bytes or an array of integers")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Octets, E> {
                Ok(Octets(bytes.to_vec()))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut elements: A,
            ) -> Result<Octets, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = elements.next_element()? {
                    bytes.push(byte);
                }
                Ok(Octets(bytes))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Compares with the line of the file in the index beside it, where there is one.
fn agrees_with_index(file: &std::path::Path, particle: &Particle) -> Result<(), String> {
    let index = file.with_file_name("index.jsonl");
    if !index.exists() {
        return Ok(());
    }
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    for line in read_text(&index)?.lines() {
        let line: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if line.get("file").and_then(Value::as_str) != Some(name) {
            continue;
        }
        if let Some(id) = line.get("particle").and_then(Value::as_str)
            && id != particle.id
        {
            return Err(format!("particle id {}, expected {id}", particle.id));
        }
        if let Some(size) = line.get("data_bytes").and_then(Value::as_u64)
            && size != particle.data.len() as u64
        {
            return Err(format!(
                "{} bytes of data, expected {size}",
                particle.data.len()
            ));
        }
        return Ok(());
    }
    Err("not in the index".to_owned())
}
