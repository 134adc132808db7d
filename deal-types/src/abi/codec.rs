//! Values to bytes and back.

use super::{AbiError, Type, Value};
use crate::{Address, Bytes32, U256};

const WORD: usize = 32;

/// Writes a list of parameters.
///
/// # Errors
/// Values that do not fit `types`.
pub fn encode(types: &[Type], values: &[Value]) -> Result<Vec<u8>, AbiError> {
    let mut bytes = Vec::new();
    encode_sequence(types.iter(), values, &mut bytes)?;
    Ok(bytes)
}

/// Reads a list of parameters; bytes that nothing points at are ignored, as contracts do.
///
/// # Errors
/// Bytes that are too short, out of range or point at the same words more than once.
pub fn decode(types: &[Type], bytes: &[u8]) -> Result<Vec<Value>, AbiError> {
    let mut decoder = Decoder {
        bytes,
        budget: bytes.len() / WORD,
    };
    decoder.sequence(types.iter(), 0)
}

fn encode_sequence<'a>(
    types: impl ExactSizeIterator<Item = &'a Type> + Clone,
    values: &[Value],
    bytes: &mut Vec<u8>,
) -> Result<(), AbiError> {
    if types.len() != values.len() {
        return Err(AbiError::Count {
            expected: types.len(),
            actual: values.len(),
        });
    }
    let head: usize = types.clone().map(Type::head_words).sum();
    let (mut offset, mut tails) = (head * WORD, Vec::new());
    for (part, value) in types.zip(values) {
        if part.is_dynamic() {
            put_number(bytes, offset);
            let start = tails.len();
            encode_value(part, value, &mut tails)?;
            offset += tails.len() - start;
        } else {
            encode_value(part, value, bytes)?;
        }
    }
    bytes.append(&mut tails);
    Ok(())
}

fn encode_value(part: &Type, value: &Value, bytes: &mut Vec<u8>) -> Result<(), AbiError> {
    match (part, value) {
        (Type::Uint(bits), Value::Uint(value)) if value.bit_len() <= usize::from(*bits) => {
            bytes.extend_from_slice(&value.to_be_bytes::<WORD>());
        }
        (Type::Bool, Value::Bool(value)) => put_number(bytes, usize::from(*value)),
        (Type::Address, Value::Address(address)) => {
            bytes.extend_from_slice(&[0; 12]);
            bytes.extend_from_slice(&address.0);
        }
        (Type::FixedBytes(length), Value::FixedBytes(content))
            if content.len() == usize::from(*length) =>
        {
            put_padded(bytes, content);
        }
        (Type::Bytes, Value::Bytes(content)) => {
            put_number(bytes, content.len());
            put_padded(bytes, content);
        }
        (Type::String, Value::String(text)) => {
            put_number(bytes, text.len());
            put_padded(bytes, text.as_bytes());
        }
        (Type::List(element), Value::List(values)) => {
            put_number(bytes, values.len());
            encode_sequence(values.iter().map(|_| &**element), values, bytes)?;
        }
        (Type::Array(element, length), Value::List(values)) => {
            encode_sequence((0..*length).map(|_| &**element), values, bytes)?;
        }
        (Type::Tuple(types), Value::Tuple(values)) => {
            encode_sequence(types.iter(), values, bytes)?;
        }
        _ => {
            return Err(AbiError::Mismatch {
                expected: part.to_string(),
                actual: value.kind(),
            });
        }
    }
    Ok(())
}

fn put_number(bytes: &mut Vec<u8>, value: usize) {
    bytes.extend_from_slice(&[0; 24]);
    bytes.extend_from_slice(&(value as u64).to_be_bytes());
}

fn put_padded(bytes: &mut Vec<u8>, content: &[u8]) {
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(WORD), 0);
    // Heads and tails always begin at multiples of a word, so the length alone says the padding.
}

struct Decoder<'a> {
    bytes: &'a [u8],
    /// Words that may still be read.
    budget: usize,
}

impl Decoder<'_> {
    /// Reads values whose heads begin at `base`; offsets count from there.
    fn sequence<'t>(
        &mut self,
        types: impl ExactSizeIterator<Item = &'t Type>,
        base: usize,
    ) -> Result<Vec<Value>, AbiError> {
        let (mut position, mut values) = (base, Vec::new());
        for part in types {
            let place = if part.is_dynamic() {
                let offset = self.number(position, "offset")?;
                base.checked_add(offset)
                    .ok_or_else(|| self.truncated(position, "value"))?
            } else {
                position
            };
            values.push(self.value(part, place)?);
            position = position.saturating_add(part.head_words() * WORD);
        }
        Ok(values)
    }

    fn value(&mut self, part: &Type, position: usize) -> Result<Value, AbiError> {
        let range = |word: [u8; WORD]| AbiError::Range {
            offset: position,
            word: Bytes32(word),
            expected: part.to_string(),
        };
        Ok(match part {
            Type::Uint(bits) => {
                let word = self.word(position, "number")?;
                let value = U256::from_be_bytes(word);
                if value.bit_len() > usize::from(*bits) {
                    return Err(range(word));
                }
                Value::Uint(value)
            }
            Type::Bool => {
                let word = self.word(position, "truth value")?;
                let value = U256::from_be_bytes(word);
                if value > U256::ONE {
                    return Err(range(word));
                }
                Value::Bool(value == U256::ONE)
            }
            Type::Address => {
                let word = self.word(position, "address")?;
                let address = word
                    .strip_prefix(&[0; 12])
                    .and_then(|rest| rest.try_into().ok());
                Value::Address(Address(address.ok_or_else(|| range(word))?))
            }
            Type::FixedBytes(length) => {
                let word = self.word(position, "bytes")?;
                match word.split_at_checked(usize::from(*length)) {
                    Some((content, rest)) if rest.iter().all(|byte| *byte == 0) => {
                        Value::FixedBytes(content.to_vec())
                    }
                    _ => return Err(range(word)),
                }
            }
            Type::Bytes => Value::Bytes(self.content(position)?.to_vec()),
            Type::String => {
                let content = self.content(position)?.to_vec();
                let text = String::from_utf8(content);
                Value::String(text.map_err(|_| AbiError::Utf8 { offset: position })?)
            }
            Type::List(element) => {
                let length = self.number(position, "length")?;
                // Each element reads a word at least, so more than that cannot follow.
                if length > self.budget {
                    return Err(self.truncated(position, "list"));
                }
                let elements = (0..length).map(|_| &**element);
                Value::List(self.sequence(elements, position.saturating_add(WORD))?)
            }
            Type::Array(element, length) => {
                Value::List(self.sequence((0..*length).map(|_| &**element), position)?)
            }
            Type::Tuple(types) => Value::Tuple(self.sequence(types.iter(), position)?),
        })
    }

    fn content(&mut self, position: usize) -> Result<&[u8], AbiError> {
        let length = self.number(position, "length")?;
        let start = position.saturating_add(WORD);
        let error = self.truncated(start, "content");
        self.spend(length.div_ceil(WORD))?;
        let end = start.checked_add(length).ok_or_else(|| error.clone())?;
        self.bytes.get(start..end).ok_or(error)
    }

    /// A word that counts bytes.
    fn number(&mut self, position: usize, expected: &'static str) -> Result<usize, AbiError> {
        let word = self.word(position, expected)?;
        usize::try_from(U256::from_be_bytes(word)).map_err(|_| AbiError::Range {
            offset: position,
            word: Bytes32(word),
            expected: expected.into(),
        })
    }

    fn word(&mut self, position: usize, expected: &'static str) -> Result<[u8; WORD], AbiError> {
        self.spend(1)?;
        let (_, rest) = self
            .bytes
            .split_at_checked(position)
            .ok_or_else(|| self.truncated(position, expected))?;
        let word = rest
            .first_chunk()
            .ok_or_else(|| self.truncated(position, expected))?;
        Ok(*word)
    }

    fn spend(&mut self, words: usize) -> Result<(), AbiError> {
        let left = self.budget.checked_sub(words);
        self.budget = left.ok_or(if self.bytes.len() < WORD {
            self.truncated(0, "first word")
        } else {
            AbiError::Overlap {
                length: self.bytes.len(),
            }
        })?;
        Ok(())
    }

    fn truncated(&self, offset: usize, expected: &'static str) -> AbiError {
        AbiError::Truncated {
            offset,
            length: self.bytes.len(),
            expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A type with a value of it.
    fn typed() -> impl Strategy<Value = (Type, Value)> {
        let leaf = prop_oneof![
            any::<[u64; 4]>()
                .prop_map(|limbs| { (Type::Uint(256), Value::Uint(U256::from_limbs(limbs))) }),
            any::<u8>().prop_map(|value| (Type::Uint(8), Value::Uint(U256::from(value)))),
            any::<bool>().prop_map(|value| (Type::Bool, Value::Bool(value))),
            any::<[u8; 20]>().prop_map(|value| (Type::Address, Value::Address(Address(value)))),
            prop::collection::vec(any::<u8>(), 1..=32).prop_map(|bytes| {
                (
                    Type::FixedBytes(bytes.len() as u8),
                    Value::FixedBytes(bytes),
                )
            }),
            prop::collection::vec(any::<u8>(), 0..70)
                .prop_map(|bytes| (Type::Bytes, Value::Bytes(bytes))),
            ".{0,40}".prop_map(|text| (Type::String, Value::String(text))),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                (inner.clone(), 0_usize..4).prop_map(|((part, value), length)| {
                    (Type::List(Box::new(part)), Value::List(vec![value; length]))
                }),
                (inner.clone(), 1_usize..4).prop_map(|((part, value), length)| {
                    (
                        Type::Array(Box::new(part), length),
                        Value::List(vec![value; length]),
                    )
                }),
                prop::collection::vec(inner, 1..5).prop_map(|parts| {
                    let (types, values) = parts.into_iter().unzip();
                    (Type::Tuple(types), Value::Tuple(values))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(parts in prop::collection::vec(typed(), 0..5)) {
            let (types, values): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            let bytes = encode(&types, &values).unwrap();
            prop_assert_eq!(bytes.len() % WORD, 0);
            prop_assert_eq!(decode(&types, &bytes).unwrap(), values);
            let text = super::super::signature("f", &types);
            prop_assert_eq!(super::super::parse_signature(&text).unwrap(), ("f", types));
        }

        #[test]
        fn damaged_bytes_do_not_panic(
            parts in prop::collection::vec(typed(), 1..5),
            position: prop::sample::Index,
            byte: u8,
        ) {
            let (types, values): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            let mut bytes = encode(&types, &values).unwrap();
            let position = position.index(bytes.len());
            bytes[position] = byte;
            let _ = decode(&types, &bytes);
            let _ = decode(&types, &bytes[..position]);
        }
    }

    fn word(value: u64) -> [u8; WORD] {
        U256::from(value).to_be_bytes()
    }

    #[test]
    fn hostile_offsets_and_lengths_are_refused() {
        let types = ["bytes32[][][]".parse::<Type>().unwrap()];
        // Every list has many elements that all point at the same list.
        let mut bytes = [word(32), word(1000)].concat();
        bytes.extend((0..1000).flat_map(|_| word(0)));
        assert!(matches!(
            decode(&types, &bytes),
            Err(AbiError::Overlap { .. } | AbiError::Truncated { .. } | AbiError::Range { .. })
        ));
        let huge = [[0xff; WORD], word(1)].concat();
        assert!(matches!(decode(&types, &huge), Err(AbiError::Range { .. })));
        let long = [word(32), word(u64::MAX)].concat();
        assert!(matches!(
            decode(&types, &long),
            Err(AbiError::Truncated { .. })
        ));
        let far = [word(u64::MAX - 3), word(1)].concat();
        assert!(matches!(
            decode(&[Type::Bytes], &far),
            Err(AbiError::Truncated { .. })
        ));
        assert!(decode(&types, &[]).is_err());
        assert_eq!(decode(&[], &[]), Ok(vec![]));
    }

    #[test]
    fn bits_outside_a_type_are_refused() {
        for part in ["address", "bool", "uint8", "uint64", "bytes4"] {
            let error = decode(&[part.parse().unwrap()], &[0xff; WORD]).unwrap_err();
            assert!(matches!(error, AbiError::Range { .. }), "{part}: {error}");
        }
        let error = encode(&[Type::Uint(8)], &[Value::Uint(U256::from(256))]).unwrap_err();
        assert!(matches!(error, AbiError::Mismatch { .. }));
        let error = encode(&[Type::Bool], &[]).unwrap_err();
        assert_eq!(
            error,
            AbiError::Count {
                expected: 1,
                actual: 0
            }
        );
    }
}
