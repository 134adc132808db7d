//! The binary form of records that never leave this machine: values of stores, snapshots of the
//! simulator.
//!
//! A record is one byte of version, then the value in the bincode 2 format. Nothing that comes
//! from the network is read with this.

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// The version that [`encode`] writes.
pub const VERSION: u8 = 1;

/// Largest record that [`decode`] reads.
const MAX_SIZE: usize = 1 << 30;

/// Why a record cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// No bytes at all.
    #[error("the record is empty, expected a version and a value")]
    Empty,
    /// A version this program does not know.
    #[error("the record has version {version}, expected {VERSION}")]
    Version {
        /// The version of the record.
        version: u8,
    },
    /// Not the value that was expected.
    #[error("the record cannot be read: {0}")]
    Decode(#[from] bincode::error::DecodeError),
    /// Bytes after the value.
    #[error("the record has {count} bytes after its value")]
    Rest {
        /// How many.
        count: usize,
    },
    /// A value that has no binary form.
    #[error("the record cannot be written: {0}")]
    Encode(#[from] bincode::error::EncodeError),
}

/// The record of a value.
///
/// # Errors
/// A value whose type has no binary form, such as a sequence of unknown length.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, RecordError> {
    let mut bytes = vec![VERSION];
    bincode::serde::encode_into_std_write(value, &mut bytes, configuration())?;
    Ok(bytes)
}

/// The value of a record.
///
/// # Errors
/// Anything that [`encode`] did not write, or wrote in another version.
pub fn decode<T: DeserializeOwned>(record: &[u8]) -> Result<T, RecordError> {
    match record.split_first() {
        None => Err(RecordError::Empty),
        Some((&VERSION, bytes)) => {
            let (value, read) = bincode::serde::decode_from_slice(bytes, configuration())?;
            match bytes.len() - read {
                0 => Ok(value),
                count => Err(RecordError::Rest { count }),
            }
        }
        Some((&version, _)) => Err(RecordError::Version { version }),
    }
}

fn configuration() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_SIZE>()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn round_trip() {
        let value = BTreeMap::from([("a".to_owned(), vec![1_u64, 2]), ("b".to_owned(), vec![])]);
        let record = encode(&value).unwrap();
        assert_eq!(record[0], VERSION);
        assert_eq!(
            decode::<BTreeMap<String, Vec<u64>>>(&record).unwrap(),
            value
        );
    }

    #[test]
    fn what_is_no_record() {
        let record = encode(&"text").unwrap();
        assert!(matches!(decode::<String>(&[]), Err(RecordError::Empty)));
        assert!(matches!(
            decode::<String>(&[2, 0]),
            Err(RecordError::Version { version: 2 })
        ));
        assert!(matches!(
            decode::<String>(&record[..record.len() - 1]),
            Err(RecordError::Decode(_))
        ));
        let longer = [record.as_slice(), &[0]].concat();
        assert!(matches!(
            decode::<String>(&longer),
            Err(RecordError::Rest { count: 1 })
        ));
        // A length that no memory holds.
        assert!(decode::<Vec<u64>>(&[1, 253, 255, 255, 255, 255, 255, 255, 255, 255]).is_err());
    }
}
