//! The data of a particle, with their envelope.

use particle::data::{Data, Envelope, Versions};

use super::{archive::check, bounded, described};

/// Bytes that reading may take for each byte: an array of numbers becomes bytes.
const FACTOR: usize = 2;

/// Checks data as they come with a particle.
pub fn envelope(input: &[u8]) {
    let decoded = bounded("an envelope", input.len(), FACTOR, || {
        Envelope::decode(input)
    });
    let envelope = match decoded {
        Ok(envelope) => envelope,
        Err(error) => {
            described(&error);
            return;
        }
    };
    if let Err(error) = envelope.check_version() {
        described(&error);
    }
    if let Some(data) = check(&envelope.archive) {
        round_trip(&data, &envelope.versions);
    }
}

/// What is written is read again, and written the same.
fn round_trip(data: &Data<'_>, versions: &Versions) {
    let encode = |data: &Data<'_>| data.clone().encode(versions).expect("data that were read");
    let written = encode(data);
    let envelope = Envelope::decode(&written).expect("an envelope of our own");
    assert_eq!(envelope.versions, *versions);
    let again = envelope.data().expect("an archive of our own");
    assert_eq!(again, *data);
    assert_eq!(encode(&again), written);
}
