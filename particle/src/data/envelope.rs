//! The envelope: versions, and the archive as a byte string.

use std::borrow::Cow;

use semver::Version;

use super::{ArchiveError, Data, EncodeError, decode, encode};
use crate::msgpack::{self, Key, MsgpackError, Reader};

/// The version of the data format that this library writes.
pub const DATA_VERSION: Version = Version::new(0, 17, 2);

/// The oldest interpreter whose data is accepted.
pub const MIN_INTERPRETER_VERSION: Version = Version::new(0, 61, 0);

/// The archive of empty data, where an empty byte string stands for it.
const EMPTY_ARCHIVE: &[u8] = &empty_archive();

/// Versions of the data format and of the interpreter that wrote the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Version of the data format; nobody looks at it.
    pub data: Version,
    /// Version of the interpreter.
    pub interpreter: Version,
}

/// Particle data before its archive is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What wrote the data.
    pub versions: Versions,
    /// The archive.
    pub archive: Cow<'a, [u8]>,
}

/// What is wrong with an envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Not even the versions can be read.
    #[error("particle data of {length} bytes is no envelope: {reason}")]
    Unreadable {
        /// Length of the data.
        length: usize,
        /// What is wrong.
        reason: String,
    },
    /// The versions can be read, the rest cannot.
    #[error(
        "particle data of format {} written by interpreter {} has no readable archive: {reason}",
        versions.data, versions.interpreter
    )]
    NoArchive {
        /// The versions.
        versions: Versions,
        /// What is wrong.
        reason: String,
    },
}

/// Data of an interpreter that is too old.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("particle data was written by interpreter {actual}, expected at least {required}")]
pub struct VersionError {
    /// The interpreter that wrote the data.
    pub actual: Version,
    /// The oldest that is accepted.
    pub required: Version,
}

impl Versions {
    /// The versions that go with data written by interpreter `version`.
    #[must_use]
    pub fn of_interpreter(version: Version) -> Self {
        Self {
            data: DATA_VERSION,
            interpreter: version,
        }
    }
}

impl<'a> Envelope<'a> {
    /// Reads an envelope; an empty byte string stands for empty data.
    ///
    /// # Errors
    /// See [`EnvelopeError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        if bytes.is_empty() {
            return Ok(Self {
                versions: Versions::of_interpreter(MIN_INTERPRETER_VERSION),
                archive: Cow::Borrowed(EMPTY_ARCHIVE),
            });
        }
        let unreadable = |reason: String| EnvelopeError::Unreadable {
            length: bytes.len(),
            reason,
        };
        let (versions, archive) = fields(bytes).map_err(unreadable)?;
        match archive {
            Ok(archive) => Ok(Self { versions, archive }),
            Err(reason) => Err(EnvelopeError::NoArchive { versions, reason }),
        }
    }

    /// Refuses data of interpreters that are too old.
    ///
    /// # Errors
    /// When the version is less than [`MIN_INTERPRETER_VERSION`].
    pub fn check_version(&self) -> Result<(), VersionError> {
        let actual = &self.versions.interpreter;
        if *actual < MIN_INTERPRETER_VERSION {
            return Err(VersionError {
                actual: actual.clone(),
                required: MIN_INTERPRETER_VERSION,
            });
        }
        Ok(())
    }

    /// Reads the archive, checking all of it.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn data(&self) -> Result<Data<'_>, ArchiveError> {
        Data::decode_archive(&self.archive)
    }
}

impl<'a> Data<'a> {
    /// Reads an archive without an envelope, checking all of it.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn decode_archive(archive: &'a [u8]) -> Result<Self, ArchiveError> {
        decode::decode(archive)
    }

    /// Writes the archive without an envelope: stores sorted, equal CIDs and peer ids once.
    ///
    /// # Errors
    /// When the archive would be too large for its offsets.
    pub fn encode_archive(self) -> Result<Vec<u8>, EncodeError> {
        let out = encode::buffer(&self, 0);
        encode::encode(&self, out)
    }

    /// Writes envelope and archive. The same content gives the same bytes.
    ///
    /// # Errors
    /// When the archive would be too large for its offsets.
    pub fn encode(self, versions: &Versions) -> Result<Vec<u8>, EncodeError> {
        let estimate = encode::estimate(&self);
        let mut out = encode::buffer(&self, 128);
        // The width of the length is a guess until the length is known.
        push_header(&mut out, versions, estimate);
        let guessed = out.len();
        let mut out = encode::encode(&self, out)?;
        let length = out.len() - guessed;
        let mut header = Vec::with_capacity(guessed + 4);
        push_header(&mut header, versions, length);
        match out.get_mut(..guessed) {
            Some(place) if header.len() == guessed => place.copy_from_slice(&header),
            _ => {
                out.splice(..guessed, header);
            }
        }
        Ok(out)
    }
}

fn push_header(out: &mut Vec<u8>, versions: &Versions, length: usize) {
    out.push(0x83);
    msgpack::push_text(out, "version");
    msgpack::push_text(out, &versions.data.to_string());
    msgpack::push_text(out, "interpreter_version");
    msgpack::push_text(out, &versions.interpreter.to_string());
    msgpack::push_text(out, "inner_data");
    msgpack::push_binary_header(out, length);
}

type Fields<'a> = (Versions, Result<Cow<'a, [u8]>, String>);

/// Reads all fields; the outer error means that not even the versions are there.
fn fields(bytes: &[u8]) -> Result<Fields<'_>, String> {
    let describe = |error: MsgpackError| error.to_string();
    let mut reader = Reader::new(bytes);
    let count = reader.map().map_err(|error| no_map(bytes, error))?;
    let (mut data, mut interpreter, mut archive) = (None, None, None);
    for _ in 0..count {
        let key = reader.key().map_err(describe)?;
        let mut value = reader.skip().map_err(describe)?;
        match key {
            Key::Name(b"version") | Key::Index(0) => version(&mut data, "version", &mut value)?,
            Key::Name(b"interpreter_version") | Key::Index(1) => {
                version(&mut interpreter, "interpreter_version", &mut value)?;
            }
            Key::Name(b"inner_data") | Key::Index(2) => {
                archive = Some(match archive {
                    None => value.bytes().map_err(|error| format!("inner_data {error}")),
                    Some(_) => Err("inner_data is there twice".to_owned()),
                });
            }
            _ => {}
        }
    }
    // The messages and the order of these checks are those of all interpreters.
    let missing = |name: &str| format!("missing field `{name}`");
    let archive = archive.unwrap_or_else(|| Err(missing("inner_data")));
    let absent = |name: &str| archive.clone().err().unwrap_or_else(|| missing(name));
    let versions = Versions {
        data: data.ok_or_else(|| absent("version"))?,
        interpreter: interpreter.ok_or_else(|| absent("interpreter_version"))?,
    };
    Ok((versions, archive))
}

/// What was found where the envelope's map should be.
fn no_map(bytes: &[u8], error: MsgpackError) -> String {
    let expected = "expected struct InterpreterDataEnvelope";
    match (error, Reader::new(bytes).unsigned()) {
        (MsgpackError::Unexpected { .. }, Ok(number)) => {
            format!("invalid type: integer `{number}`, {expected}")
        }
        (
            MsgpackError::Unexpected {
                marker: 0x90..=0x9f | 0xdc | 0xdd,
                ..
            },
            _,
        ) => format!("invalid type: sequence, {expected}"),
        _ => error.to_string(),
    }
}

fn version(
    version: &mut Option<Version>,
    name: &str,
    value: &mut Reader<'_>,
) -> Result<(), String> {
    let text = value.text().map_err(|error| format!("{name} {error}"))?;
    let parsed = Version::parse(text).map_err(|error| {
        let shown: String = text.chars().take(32).collect();
        format!("{name} \"{shown}\" is no semantic version: {error}")
    })?;
    match version.replace(parsed) {
        None => Ok(()),
        Some(_) => Err(format!("{name} is there twice")),
    }
}

/// Every list is empty and points to offset 0: `-position` in the eight bytes of each.
const fn empty_archive() -> [u8; 60] {
    let mut archive = [0; 60];
    let mut position = 0;
    while position < 60 {
        if position != 8 {
            let [a, b, c, d] = (-(position as i32)).to_be_bytes();
            archive
                .split_at_mut(position)
                .1
                .split_at_mut(4)
                .0
                .copy_from_slice(&[a, b, c, d]);
        }
        position += if position == 8 { 4 } else { 8 };
    }
    archive
}
