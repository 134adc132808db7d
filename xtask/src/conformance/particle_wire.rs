//! Replays `vectors/particle-wire`.
//!
//! Frames: decoding, signature, encoding to the same map, and the data inside. Then the client's
//! side of every case: what it received is merged into what it had sent before, and has to lead to
//! the recorded result.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use aquavm::{CallRequest, CallResult, CallResults, Compat, Limits, RunParameters, Script, step};
use particle::{
    KeyPair, Particle,
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
        } else if name == "index.jsonl" {
            cases(file, report)?;
        } else if name != "peers.json" {
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
fn agrees_with_index(file: &Path, particle: &Particle) -> Result<(), String> {
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

/// Replays every case of an index at the clients.
fn cases(index: &Path, report: &mut Report) -> Result<(), String> {
    let mut messages: Vec<Value> = Vec::new();
    for line in read_text(index)?.lines() {
        let line: Value =
            serde_json::from_str(line).map_err(|error| format!("{}: {error}", index.display()))?;
        if line.get("file").is_some() {
            messages.push(line);
            continue;
        }
        let name = line.get("case").and_then(Value::as_str).unwrap_or_default();
        let outcome = case(index, &messages, &line);
        report.record(format!("case {name}"), outcome);
        messages.clear();
    }
    Ok(())
}

/// One case: the messages in order, then the call that they belong to.
fn case(index: &Path, messages: &[Value], call: &Value) -> Result<(), String> {
    let mut clients: BTreeMap<&str, Client> = BTreeMap::new();
    for message in messages {
        let text = |name| message.get(name).and_then(Value::as_str);
        let (Some(file), Some(name)) = (text("file"), text("client")) else {
            return Err(format!("no file or client: {message}"));
        };
        let bytes = fs::read(index.with_file_name(file)).map_err(|error| error.to_string())?;
        let particle = self::message(&bytes)?;
        let client = match clients.entry(name) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(Client::new(name, &particle)?)
            }
        };
        match text("direction") {
            Some("in") => client
                .receive(&particle.data)
                .map_err(|error| format!("{file}: {error}"))?,
            // What the recorded client had, answers of its services included.
            _ => client.data = particle.data.to_vec(),
        }
    }
    let client = clients.get("A").ok_or("no messages of client A")?;
    let expected = call.get("result").cloned().unwrap_or_default();
    if client.ended.as_ref() == Some(&expected) || client.ended.is_none() && expected.is_null() {
        return Ok(());
    }
    Err(format!("result {:?}, expected {expected}", client.ended))
}

/// A client with one particle.
struct Client {
    script: Script,
    parameters: RunParameters,
    data: Vec<u8>,
    /// What the caller got.
    ended: Option<Value>,
}

impl Client {
    fn new(name: &str, particle: &Particle) -> Result<Self, String> {
        let seed = match name {
            "A" => 1,
            "B" => 2,
            _ => return Err(format!("no key for client {name}")),
        };
        let key = KeyPair::from_seed(&[seed; 32]);
        Ok(Self {
            script: Script::parse(&particle.script).map_err(|error| error.to_string())?,
            parameters: RunParameters {
                init_peer_id: particle.init_peer_id.to_string(),
                current_peer_id: key.peer_id().to_string(),
                timestamp: particle.timestamp,
                ttl: particle.ttl,
                particle_id: particle.id.to_string(),
                key: key.into(),
                limits: Limits::default(),
                compat: Compat::default(),
                check_signatures: true,
                policy: Default::default(),
            },
            data: Vec::new(),
            ended: None,
        })
    }

    /// Runs until nothing is left to call.
    fn receive(&mut self, data: &[u8]) -> Result<(), String> {
        let none = CallResults::new();
        let mut outcome = step(&self.script, &self.data, data, &self.parameters, &none);
        loop {
            if outcome.ret_code != 0 {
                return Err(format!("{}: {}", outcome.ret_code, outcome.error_message));
            }
            self.data = outcome.data;
            if outcome.call_requests.is_empty() {
                return Ok(());
            }
            let mut results = CallResults::new();
            for (id, request) in &outcome.call_requests {
                results.insert(*id, self.answer(request)?);
            }
            outcome = step(&self.script, &self.data, &[], &self.parameters, &results);
        }
    }

    /// The services of a client, as far as the cases need them.
    fn answer(&mut self, request: &CallRequest) -> Result<CallResult, String> {
        let arguments: Vec<Value> =
            serde_json::from_str(&request.arguments).map_err(|error| error.to_string())?;
        let service = (request.service_id.as_str(), request.function_name.as_str());
        let first = arguments.first().cloned().unwrap_or_default();
        match service {
            ("callbackSrv", "response") => {
                self.ended = Some(match arguments.len() {
                    0 | 1 => first,
                    _ => Value::Array(arguments),
                });
            }
            ("errorHandlingSrv", "error") => {
                self.ended = Some(serde_json::json!({ "error": first }));
            }
            ("callbackSrv", _) => {}
            ("remote-service", "hello") => {
                let greeting = format!("hello, {}", first.as_str().unwrap_or_default());
                return Ok(CallResult::ok(Value::from(greeting).to_string()));
            }
            _ => return Err(format!("nobody answers {request:?}")),
        }
        Ok(CallResult::ok("{}"))
    }
}
