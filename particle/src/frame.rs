//! The particle on the wire: length, multicodec, MessagePack map.
//!
//! One frame is one particle. Other peers write `signature` and `data` as binaries; the JS client
//! writes them as arrays of integers but accepts only binaries.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    Particle, PeerIdError, Signature,
    msgpack::{self, Key, MsgpackError, Reader},
};

/// Longest payload that peers accept, in bytes (100 MiB).
pub const MAX_FRAME_LEN: usize = 104_857_600;

/// Longest payload that a JS client accepts, in bytes (4 MiB); longer ones are lost there.
pub const MAX_JS_FRAME_LEN: usize = 4_194_304;

/// The multicodec of MessagePack (0x0201) as a varint.
const MESSAGEPACK: [u8; 2] = [0x81, 0x04];
/// A u64 takes at most ten bytes.
const MAX_VARINT_LEN: usize = 10;

/// What a frame holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// A particle.
    Particle(Box<Particle>),
    /// A probe of the protocol without content; to be ignored.
    Upgrade,
}

/// Why a frame cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// More than the limit.
    #[error("frame of {length} bytes, expected at most {limit}")]
    TooLong {
        /// Length that the frame states.
        length: u64,
        /// The limit.
        limit: usize,
    },
    /// The length is no number.
    #[error("frame does not start with a varint of at most 64 bits")]
    Length,
    /// Another encoding.
    #[error("frame payload starts with {start:02x?}, expected 81 04 (multicodec MessagePack)")]
    Codec {
        /// The first bytes of the payload.
        start: Vec<u8>,
    },
    /// Not the MessagePack that was expected.
    #[error("particle {field} {reason}")]
    Field {
        /// What was read: `message` or the name of a field.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A field that is not there.
    #[error("particle field {field} is missing")]
    Missing {
        /// Name of the field.
        field: &'static str,
    },
    /// A field that is there twice.
    #[error("particle field {field} is there twice")]
    Duplicate {
        /// Name of the field.
        field: &'static str,
    },
    /// Neither `Particle` nor `Upgrade`.
    #[error("particle action is \"{action}\", expected \"Particle\" or \"Upgrade\"")]
    Action {
        /// The action, shortened.
        action: String,
    },
    /// The initiator is no peer id.
    #[error("particle init_peer_id is unusable: {source}")]
    InitPeerId {
        /// What is wrong.
        source: PeerIdError,
    },
}

/// Reads the frame at the start of `bytes`: the message and the length of the frame, or `None`
/// while bytes are missing.
///
/// ```
/// use particle::{KeyPair, Particle, frame::{self, Message}};
///
/// let key = KeyPair::from_seed(&[1; 32]);
/// let particle = Particle::new(&key, "id".to_owned(), 1, 7000, "(null)".to_owned());
/// let bytes = frame::encode(&particle);
/// let message = Message::Particle(Box::new(particle));
/// assert_eq!(frame::decode(&bytes)?, Some((message, bytes.len())));
/// assert_eq!(frame::decode(&bytes[..10])?, None);
/// # Ok::<(), frame::FrameError>(())
/// ```
///
/// # Errors
/// See [`FrameError`].
pub fn decode(bytes: &[u8]) -> Result<Option<(Message, usize)>, FrameError> {
    decode_with_limit(bytes, MAX_FRAME_LEN)
}

/// As [`decode`], with another limit of the payload. A frame that states more is refused before
/// it has arrived.
///
/// # Errors
/// See [`FrameError`].
pub fn decode_with_limit(
    bytes: &[u8],
    limit: usize,
) -> Result<Option<(Message, usize)>, FrameError> {
    let Some((length, rest)) = split_length(bytes)? else {
        return Ok(None);
    };
    let length = match usize::try_from(length) {
        Ok(length) if length <= limit => length,
        _ => return Err(FrameError::TooLong { length, limit }),
    };
    let Some((payload, after)) = rest.split_at_checked(length) else {
        return Ok(None);
    };
    Ok(Some((decode_payload(payload)?, bytes.len() - after.len())))
}

/// Reads what a frame holds after its length.
///
/// # Errors
/// See [`FrameError`].
pub fn decode_payload(payload: &[u8]) -> Result<Message, FrameError> {
    let body = payload
        .strip_prefix(&MESSAGEPACK)
        .ok_or_else(|| FrameError::Codec {
            start: payload.iter().copied().take(5).collect(),
        })?;
    Fields::read(body)?.message()
}

/// Writes a particle as other peers do: `signature` and `data` as binaries.
#[must_use]
pub fn encode(particle: &Particle) -> Vec<u8> {
    let payload = encode_payload(particle);
    let mut frame = Vec::with_capacity(payload.len() + MAX_VARINT_LEN);
    let mut length = payload.len();
    while length >= 0x80 {
        frame.push(length as u8 | 0x80);
        length >>= 7;
    }
    frame.push(length as u8);
    frame.extend_from_slice(&payload);
    frame
}

/// Writes a particle without the length in front.
#[must_use]
pub fn encode_payload(particle: &Particle) -> Vec<u8> {
    let Particle {
        id,
        init_peer_id,
        timestamp,
        ttl,
        script,
        signature,
        data,
    } = particle;
    let signature = signature.as_bytes();
    let mut out = Vec::with_capacity(id.len() + script.len() + signature.len() + data.len() + 192);
    out.extend_from_slice(&MESSAGEPACK);
    out.push(0x88);
    msgpack::push_text(&mut out, "action");
    msgpack::push_text(&mut out, "Particle");
    msgpack::push_text(&mut out, "id");
    msgpack::push_text(&mut out, id);
    msgpack::push_text(&mut out, "init_peer_id");
    msgpack::push_text(&mut out, &init_peer_id.to_string());
    msgpack::push_text(&mut out, "timestamp");
    msgpack::push_unsigned(&mut out, *timestamp);
    msgpack::push_text(&mut out, "ttl");
    msgpack::push_unsigned(&mut out, u64::from(*ttl));
    msgpack::push_text(&mut out, "script");
    msgpack::push_text(&mut out, script);
    msgpack::push_text(&mut out, "signature");
    msgpack::push_binary_header(&mut out, signature.len());
    out.extend_from_slice(signature);
    msgpack::push_text(&mut out, "data");
    msgpack::push_binary_header(&mut out, data.len());
    out.extend_from_slice(data);
    out
}

fn split_length(bytes: &[u8]) -> Result<Option<(u64, &[u8])>, FrameError> {
    let mut length = 0_u64;
    for (position, byte) in bytes.iter().enumerate() {
        let digit = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if position >= MAX_VARINT_LEN || (position == MAX_VARINT_LEN - 1 && digit > 1) {
            return Err(FrameError::Length);
        }
        length |= digit << (7 * position);
        if byte & 0x80 == 0 {
            let rest = bytes.get(position + 1..).unwrap_or_default();
            return Ok(Some((length, rest)));
        }
    }
    if bytes.len() >= MAX_VARINT_LEN {
        Err(FrameError::Length)
    } else {
        Ok(None)
    }
}

#[derive(Default)]
struct Fields<'a> {
    action: Option<&'a str>,
    id: Option<&'a str>,
    init_peer_id: Option<&'a str>,
    timestamp: Option<u64>,
    ttl: Option<u64>,
    script: Option<&'a str>,
    signature: Option<Cow<'a, [u8]>>,
    data: Option<Cow<'a, [u8]>>,
}

impl<'a> Fields<'a> {
    fn read(body: &'a [u8]) -> Result<Self, FrameError> {
        let mut fields = Self::default();
        let mut reader = Reader::new(body);
        let malformed = |error| field_error("message", error);
        for _ in 0..reader.map().map_err(malformed)? {
            let key = reader.key().map_err(malformed)?;
            let mut value = reader.skip().map_err(malformed)?;
            let Key::Name(name) = key else { continue };
            match name {
                b"action" => set(&mut fields.action, "action", value.text())?,
                b"id" => set(&mut fields.id, "id", value.text())?,
                b"init_peer_id" => set(&mut fields.init_peer_id, "init_peer_id", value.text())?,
                b"timestamp" => set(&mut fields.timestamp, "timestamp", value.unsigned())?,
                b"ttl" => set(&mut fields.ttl, "ttl", value.unsigned())?,
                b"script" => set(&mut fields.script, "script", value.text())?,
                b"signature" => set(&mut fields.signature, "signature", value.bytes())?,
                b"data" => set(&mut fields.data, "data", value.bytes())?,
                _ => {}
            }
        }
        Ok(fields)
    }

    fn message(self) -> Result<Message, FrameError> {
        match need("action", self.action)? {
            "Particle" => {}
            "Upgrade" => return Ok(Message::Upgrade),
            action => {
                return Err(FrameError::Action {
                    action: action.chars().take(32).collect(),
                });
            }
        }
        let init_peer_id = need("init_peer_id", self.init_peer_id)?
            .parse()
            .map_err(|source| FrameError::InitPeerId { source })?;
        let ttl = need("ttl", self.ttl)?;
        let ttl = u32::try_from(ttl).map_err(|_| FrameError::Field {
            field: "ttl",
            reason: format!("is {ttl}, expected at most {}", u32::MAX),
        })?;
        Ok(Message::Particle(Box::new(Particle {
            id: need("id", self.id)?.to_owned(),
            init_peer_id,
            timestamp: need("timestamp", self.timestamp)?,
            ttl,
            script: need("script", self.script)?.to_owned(),
            signature: Signature::from_bytes(need("signature", self.signature)?.into_owned()),
            data: Bytes::from(need("data", self.data)?.into_owned()),
        })))
    }
}

fn set<T>(
    slot: &mut Option<T>,
    field: &'static str,
    value: Result<T, MsgpackError>,
) -> Result<(), FrameError> {
    let value = value.map_err(|error| field_error(field, error))?;
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(FrameError::Duplicate { field }),
    }
}

fn need<T>(field: &'static str, value: Option<T>) -> Result<T, FrameError> {
    value.ok_or(FrameError::Missing { field })
}

fn field_error(field: &'static str, error: MsgpackError) -> FrameError {
    FrameError::Field {
        field,
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyPair;

    fn particle() -> Particle {
        let seed = "ee1e3c3d0fdfd6b4bd4f169c9a0383c5b0f8d8897d077282d75ee3bce3e9a4f1";
        let key = KeyPair::from_seed(&hex::decode(seed).unwrap().try_into().unwrap());
        let id = "2883f959-e9e7-4843-8c37-205d393ca372".to_owned();
        Particle::new(&key, id, 1_696_934_545_662, 7000, "abc".to_owned())
    }

    #[test]
    fn known_frame() {
        assert_eq!(
            hex::encode(encode(&particle())),
            "f701810488a6616374696f6ea85061727469636c65a26964d92432383833663935392d653965372d3438\
             34332d386333372d323035643339336361333732ac696e69745f706565725f6964d934313244334b6f6f\
             57414e71664344725637394d5a644d6e4d715476446471534150537864674659314c3644437132445647\
             423444a974696d657374616d70cf0000018b192e48fea374746ccd1b58a6736372697074a3616263a973\
             69676e6174757265c44029c7970e739fa9ed1d3a7031883b3258122f52ae961e84f481ef953075ce66c8\
             d9bc2347effd74a2e7dd9587dc3e899fbf6f0e9fa13ced984370718165c6fb07a464617461c400"
        );
    }

    #[test]
    fn a_frame_in_pieces() {
        let frame = encode(&particle());
        for length in 0..frame.len() {
            assert_eq!(decode(&frame[..length]), Ok(None));
        }
        let mut longer = frame.clone();
        longer.extend_from_slice(b"rest");
        let (message, length) = decode(&longer).unwrap().unwrap();
        assert_eq!(message, Message::Particle(Box::new(particle())));
        assert_eq!(length, frame.len());
    }

    #[test]
    fn what_is_no_frame() {
        let limit = 10;
        let too_long = FrameError::TooLong { length: 11, limit };
        assert_eq!(decode_with_limit(&[11], limit), Err(too_long));
        assert_eq!(decode(&[0xff; 10]), Err(FrameError::Length));
        assert!(matches!(
            decode(&[2, 0x80, 0x04]),
            Err(FrameError::Codec { .. })
        ));
        assert!(matches!(
            decode(&[3, 0x81, 0x04, 0x90]),
            Err(FrameError::Field { .. })
        ));
        let missing = FrameError::Missing { field: "action" };
        assert_eq!(decode(&[3, 0x81, 0x04, 0x80]), Err(missing));
    }
}
