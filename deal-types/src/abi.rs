//! The binary interface of contracts: types, values, and the codec between values and bytes.
//!
//! Values are 32-byte words; what has no fixed size (texts, byte strings, lists) stands behind an
//! offset. [`Type`] is what a signature names, [`Value`] is a value of one, and [`Abi`] connects both
//! to Rust types, so that tables of events and calls need one codec only.
//!
//! Decoding never reads the same word twice, which bounds time and memory by the length of the
//! input even when offsets point at each other.

mod codec;
mod convert;
mod types;

pub use codec::{decode, encode};
pub use convert::{Abi, Element, Fields, List};
pub(crate) use convert::{check_count, fields, list, named_fields, next, structs, tuple_members};
pub use types::{Type, Value};

use crate::{Bytes32, keccak256};

/// Why bytes are not the values they should be, or values not of their type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AbiError {
    /// The text of a type or signature is malformed, or names a type that contracts here never use.
    #[error("{text:?} is not a type or signature of a contract")]
    Signature {
        /// The text (cut after 80 characters).
        text: String,
    },
    /// The bytes end before the value does.
    #[error("{length} bytes end before the {expected} at {offset}")]
    Truncated {
        /// Where the value begins.
        offset: usize,
        /// How many bytes there are.
        length: usize,
        /// What was expected.
        expected: &'static str,
    },
    /// Bits outside the type are set: an address over 160 bits, a byte string that is not padded
    /// with zeros, a truth value that is neither 0 nor 1.
    #[error("word {word} at {offset} is not of type {expected}")]
    Range {
        /// Where the word is.
        offset: usize,
        /// The word.
        word: Bytes32,
        /// The type that was expected.
        expected: String,
    },
    /// Offsets lead to the same words again.
    #[error("more values than the {length} bytes hold: offsets overlap")]
    Overlap {
        /// How many bytes there are.
        length: usize,
    },
    /// A string that is not UTF-8.
    #[error("string at {offset} is not valid UTF-8")]
    Utf8 {
        /// Where the string begins.
        offset: usize,
    },
    /// A value of another type than its place has.
    #[error("{actual} where {expected} was expected")]
    Mismatch {
        /// The type of the place.
        expected: String,
        /// The kind of value.
        actual: &'static str,
    },
    /// Another number of values than of types.
    #[error("{actual} values where {expected} were expected")]
    Count {
        /// How many types there are.
        expected: usize,
        /// How many values there are.
        actual: usize,
    },
    /// A number that names no variant of an enumeration of the contracts.
    #[error(transparent)]
    Variant(#[from] crate::UnknownVariant),
}

/// The first four bytes of the hash of a signature, which name a function or error.
///
/// ```
/// assert_eq!(deal_types::abi::selector("getStatus(bytes32)"), [0x5d, 0xe2, 0x8a, 0xe0]);
/// ```
#[must_use]
pub fn selector(signature: &str) -> [u8; 4] {
    let [a, b, c, d, ..] = keccak256(signature.as_bytes()).0;
    [a, b, c, d]
}

/// The hash of a signature, which is the first topic of an event.
#[must_use]
pub fn topic(signature: &str) -> Bytes32 {
    keccak256(signature.as_bytes())
}

/// The signature of a function, event or error: its name and the types in parentheses.
#[must_use]
pub fn signature(name: &str, types: &[Type]) -> String {
    let types: Vec<String> = types.iter().map(ToString::to_string).collect();
    format!("{name}({})", types.join(","))
}

/// Splits a signature into its name and types.
///
/// # Errors
/// A text that is not of that form.
pub fn parse_signature(text: &str) -> Result<(&str, Vec<Type>), AbiError> {
    let error = || AbiError::Signature {
        text: crate::primitives::shorten(text),
    };
    let start = text.find('(').ok_or_else(error)?;
    let (name, types) = text.split_at_checked(start).ok_or_else(error)?;
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(word) {
        return Err(error());
    }
    match types.parse()? {
        Type::Tuple(types) => Ok((name, types)),
        _ => Err(error()),
    }
}
