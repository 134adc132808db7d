//! Particle data as JSON.

use particle::data::{Data, Envelope};
use serde::Serialize;

#[derive(Serialize)]
struct Readable<'a> {
    data: &'a Data<'a>,
    versions: Versions,
}

#[derive(Serialize)]
struct Versions {
    version: String,
    interpreter_version: String,
}

/// The data with the versions that wrote them, on many lines.
///
/// # Errors
/// Data that are none, or those of an interpreter that is too old.
pub(crate) fn json(bytes: &[u8]) -> Result<String, String> {
    let envelope = Envelope::decode(bytes).map_err(|error| error.to_string())?;
    envelope
        .check_version()
        .map_err(|error| error.to_string())?;
    let data = envelope.data().map_err(|error| error.to_string())?;
    let readable = Readable {
        data: &data,
        versions: Versions {
            version: envelope.versions.data.to_string(),
            interpreter_version: envelope.versions.interpreter.to_string(),
        },
    };
    serde_json::to_string_pretty(&readable).map_err(|error| error.to_string())
}
