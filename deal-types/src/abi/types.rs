//! What a signature names, and values of it.

use std::{fmt, str::FromStr};

use super::AbiError;
use crate::{Address, U256, primitives::shorten};

/// A type of the interface of contracts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// `uintN`: an unsigned integer of N bits.
    Uint(u16),
    /// `bool`.
    Bool,
    /// `address`.
    Address,
    /// `bytesN`: N bytes at the left of a word.
    FixedBytes(u8),
    /// `bytes`.
    Bytes,
    /// `string`.
    String,
    /// `T[]`.
    List(Box<Type>),
    /// `T[N]`.
    Array(Box<Type>, usize),
    /// `(A,B,…)`, a struct or a list of parameters.
    Tuple(Vec<Type>),
}

/// Tuples and lists inside each other that a signature may have.
const MAX_DEPTH: usize = 8;
/// Elements of a fixed array.
const MAX_ARRAY: usize = 1024;

impl Type {
    /// Whether values stand behind an offset.
    pub(crate) fn is_dynamic(&self) -> bool {
        match self {
            Self::Bytes | Self::String | Self::List(_) => true,
            Self::Array(element, _) => element.is_dynamic(),
            Self::Tuple(types) => types.iter().any(Self::is_dynamic),
            _ => false,
        }
    }

    /// Words that a value takes in place.
    pub(crate) fn head_words(&self) -> usize {
        match self {
            _ if self.is_dynamic() => 1,
            Self::Array(element, length) => element.head_words() * length,
            Self::Tuple(types) => types.iter().map(Self::head_words).sum(),
            _ => 1,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uint(bits) => write!(f, "uint{bits}"),
            Self::Bool => f.write_str("bool"),
            Self::Address => f.write_str("address"),
            Self::FixedBytes(length) => write!(f, "bytes{length}"),
            Self::Bytes => f.write_str("bytes"),
            Self::String => f.write_str("string"),
            Self::List(element) => write!(f, "{element}[]"),
            Self::Array(element, length) => write!(f, "{element}[{length}]"),
            Self::Tuple(types) => {
                f.write_str("(")?;
                for (index, part) in types.iter().enumerate() {
                    if index > 0 {
                        f.write_str(",")?;
                    }
                    write!(f, "{part}")?;
                }
                f.write_str(")")
            }
        }
    }
}

impl FromStr for Type {
    type Err = AbiError;

    fn from_str(text: &str) -> Result<Self, AbiError> {
        match parse(text, 0) {
            Some((parsed, "")) => Ok(parsed),
            _ => Err(AbiError::Signature {
                text: shorten(text),
            }),
        }
    }
}

/// Reads a type from the front of `text`.
fn parse(text: &str, depth: usize) -> Option<(Type, &str)> {
    if depth > MAX_DEPTH {
        return None;
    }
    let (mut parsed, mut rest) = match text.strip_prefix('(') {
        Some(inner) => parse_tuple(inner, depth)?,
        None => parse_name(text)?,
    };
    let mut suffixes = depth;
    while let Some(suffix) = rest.strip_prefix('[') {
        suffixes += 1;
        if suffixes > MAX_DEPTH {
            return None;
        }
        let (length, after) = suffix.split_once(']')?;
        parsed = match length {
            "" => Type::List(Box::new(parsed)),
            _ => {
                let length = number(length).filter(|length| (1..=MAX_ARRAY).contains(length))?;
                Type::Array(Box::new(parsed), length)
            }
        };
        rest = after;
    }
    Some((parsed, rest))
}

fn parse_tuple(mut text: &str, depth: usize) -> Option<(Type, &str)> {
    let mut types = Vec::new();
    if let Some(rest) = text.strip_prefix(')') {
        return (depth == 0).then_some((Type::Tuple(types), rest));
    }
    loop {
        let (part, rest) = parse(text, depth + 1)?;
        types.push(part);
        if let Some(rest) = rest.strip_prefix(')') {
            return Some((Type::Tuple(types), rest));
        }
        text = rest.strip_prefix(',')?;
    }
}

fn parse_name(text: &str) -> Option<(Type, &str)> {
    let end = text
        .find(|letter: char| !letter.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    let parsed = match name {
        "bool" => Type::Bool,
        "address" => Type::Address,
        "bytes" => Type::Bytes,
        "string" => Type::String,
        _ => {
            if let Some(bits) = name.strip_prefix("uint") {
                let bits = number(bits).and_then(|bits| u16::try_from(bits).ok())?;
                ((8..=256).contains(&bits) && bits % 8 == 0).then_some(Type::Uint(bits))?
            } else {
                let length = number(name.strip_prefix("bytes")?)?;
                let length = u8::try_from(length).ok()?;
                (1..=32)
                    .contains(&length)
                    .then_some(Type::FixedBytes(length))?
            }
        }
    };
    Some((parsed, rest))
}

/// A decimal number without sign or leading zeros.
fn number(text: &str) -> Option<usize> {
    let canonical = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    canonical.then(|| text.parse().ok()).flatten()
}

/// A value of a [`Type`].
///
/// [`Display`](fmt::Display) is what explorers show: numbers in decimal, bytes in hex, addresses with
/// checksum, lists and tuples in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// An unsigned integer.
    Uint(U256),
    /// A truth value.
    Bool(bool),
    /// An account or contract.
    Address(Address),
    /// Between 1 and 32 bytes.
    FixedBytes(Vec<u8>),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A text.
    String(String),
    /// A list, of any length or fixed.
    List(Vec<Value>),
    /// A struct.
    Tuple(Vec<Value>),
}

impl Value {
    /// What kind of value it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Uint(_) => "a number",
            Self::Bool(_) => "a truth value",
            Self::Address(_) => "an address",
            Self::FixedBytes(_) => "fixed bytes",
            Self::Bytes(_) => "bytes",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uint(value) => write!(f, "{value}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Address(value) => write!(f, "{value}"),
            Self::FixedBytes(bytes) | Self::Bytes(bytes) => write!(f, "0x{}", hex::encode(bytes)),
            Self::String(text) => write!(f, "{text:?}"),
            Self::List(values) | Self::Tuple(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{value}")?;
                }
                f.write_str("]")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_round_trip() {
        for text in [
            "uint256",
            "bytes32[][][]",
            "(bytes32,address,bytes32[])[]",
            "((bytes4,bytes32),uint256[3],string)",
            "()",
        ] {
            assert_eq!(text.parse::<Type>().unwrap().to_string(), text);
        }
        let deep = format!("{}bool{}", "(".repeat(100_000), ")".repeat(100_000));
        for bad in [
            "",
            "uint",
            "uint7",
            "uint264",
            "uint08",
            "bytes0",
            "bytes33",
            "bool[0]",
            "bool[",
            "(bool",
            "(bool,)",
            "(,)",
            "bool ",
            "(())",
            "bool[9999999999999999999999]",
            "int256",
            &deep,
            &format!("bool{}", "[]".repeat(100_000)),
        ] {
            assert!(bad.parse::<Type>().is_err(), "{}", shorten(bad));
        }
    }

    #[test]
    fn fixed_arrays_take_their_words_in_place() {
        let parsed: Type = "(uint256[3],(bytes4,bytes32))".parse().unwrap();
        assert_eq!((parsed.is_dynamic(), parsed.head_words()), (false, 5));
        let parsed: Type = "(uint256[3],string)".parse().unwrap();
        assert_eq!((parsed.is_dynamic(), parsed.head_words()), (true, 1));
    }
}
