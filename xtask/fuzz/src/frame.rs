//! Frames of the particle protocol.

use particle::{
    KeyPair, Particle,
    frame::{self, FrameError, Message},
};

use super::{bounded, described};

/// Bytes that reading may take for each byte: an array of numbers becomes bytes, in a vector that has
/// just grown.
const FACTOR: usize = 4;
/// Room for payloads here.
const LIMIT: usize = 1 << 20;

/// Checks bytes that came by a stream.
pub fn frame(input: &[u8]) {
    let decoded = bounded("a frame", input.len(), FACTOR, || {
        frame::decode_with_limit(input, LIMIT)
    });
    parts(input, &decoded);
    match decoded {
        Ok(Some((Message::Particle(particle), length))) => {
            assert!(length <= input.len());
            again(&particle);
            // Nobody signed it with the key of its maker; whatever it is, that is said.
            let verified = particle.verify();
            if let Err(error) = verified {
                described(&error);
            }
        }
        Ok(Some((_, length))) => assert!(length <= input.len()),
        Ok(None) => {}
        Err(error) => {
            let text = described(&error);
            assert!(text.len() < 400, "{text}");
        }
    }
    payload(input);
}

/// A frame that arrives in parts is the same frame, and a part is never taken for the whole.
fn parts(input: &[u8], whole: &Result<Option<(Message, usize)>, FrameError>) {
    let length = match whole {
        Ok(Some((_, length))) => *length,
        _ => input.len(),
    };
    for end in [0, 1, length / 2, length.saturating_sub(1)] {
        let part = frame::decode_with_limit(input.get(..end).unwrap_or_default(), LIMIT);
        match part {
            Ok(None) => {}
            Ok(Some(_)) => assert!(end >= length, "{end} of {length} bytes are a frame"),
            // What is wrong at the start stays wrong.
            Err(error) => assert_eq!(whole.as_ref(), Err(&error)),
        }
    }
}

/// What is written is read again.
fn again(particle: &Particle) {
    let bytes = frame::encode(particle);
    let (message, length) = frame::decode(&bytes)
        .expect("a frame of our own")
        .expect("the whole of it");
    assert_eq!(length, bytes.len());
    assert_eq!(message, Message::Particle(Box::new(particle.clone())));
}

/// The input as the fields of a particle, and as its payload.
fn payload(input: &[u8]) {
    if let Err(error) = frame::decode_payload(input) {
        described(&error);
    }
    let key = KeyPair::from_seed(&[1; 32]);
    let text = String::from_utf8_lossy(input).into_owned();
    let mut particle = Particle::new(&key, text.clone(), u64::MAX, u32::MAX, text);
    particle.data = input.to_vec().into();
    again(&particle);
}
