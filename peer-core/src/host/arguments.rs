//! Reading the arguments of a call, with the errors that scripts know.

use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};
use thiserror::Error;

use super::typed_error_text;

/// A reader over the arguments of a call, front to back.
#[derive(Clone, Debug)]
pub struct Arguments<'a> {
    rest: &'a [Box<RawValue>],
}

/// What is wrong with an argument (§2.9 of the peer description, arguments and error JSON).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// Fewer arguments than needed.
    #[error("Field '{0}' is missing from args to call_service")]
    MissingField(&'static str),
    /// A required argument of another type.
    #[error("Error deserializing field '{field}': expected {expected_type}, got {value}")]
    DeserializeError {
        /// Name of the argument.
        field: &'static str,
        /// What was given.
        value: Value,
        /// What was expected.
        expected_type: String,
    },
    /// An optional argument of another type.
    #[error("Error while deserializing field '{field}': {err}")]
    SerdeJson {
        /// Name of the argument.
        field: &'static str,
        /// What is wrong.
        err: serde_json::Error,
    },
    /// An optional argument given as an array of several elements.
    #[error("Option's array must contain at most 1 element, '{field}' was of {length} elements")]
    NonUnaryOption {
        /// Name of the argument.
        field: &'static str,
        /// Number of elements.
        length: usize,
    },
}

impl ArgumentError {
    /// The text that a script receives.
    #[must_use]
    pub fn to_json_text(&self) -> String {
        typed_error_text(self)
    }
}

impl<'a> Arguments<'a> {
    /// A reader over these arguments.
    #[must_use]
    pub fn new(arguments: &'a [Box<RawValue>]) -> Self {
        Self { rest: arguments }
    }

    /// How many arguments have not been read.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next argument as JSON text.
    pub fn next_raw(&mut self) -> Option<&'a RawValue> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// The next argument, which must be there.
    ///
    /// # Errors
    /// A missing argument, or one that is not a `T`.
    pub fn next<T: DeserializeOwned>(&mut self, field: &'static str) -> Result<T, ArgumentError> {
        let raw = self.next_raw().ok_or(ArgumentError::MissingField(field))?;
        serde_json::from_str(raw.get()).map_err(|_| ArgumentError::DeserializeError {
            field,
            value: quoted(raw),
            expected_type: type_name::<T>(),
        })
    }

    /// The next argument, which may be missing, `null` or an empty array (then it is nothing),
    /// an array of one `T`, or a `T`.
    ///
    /// # Errors
    /// An array of several `T`, or anything else.
    pub fn next_opt<T: DeserializeOwned>(
        &mut self,
        field: &'static str,
    ) -> Result<Option<T>, ArgumentError> {
        let Some(raw) = self.next_raw() else {
            return Ok(None);
        };
        if raw.get() == "null" {
            return Ok(None);
        }
        if let Ok(mut elements) = serde_json::from_str::<Vec<T>>(raw.get()) {
            let length = elements.len();
            return match length {
                0 | 1 => Ok(elements.pop()),
                _ => Err(ArgumentError::NonUnaryOption { field, length }),
            };
        }
        serde_json::from_str(raw.get())
            .map(Some)
            .map_err(|err| ArgumentError::SerdeJson { field, err })
    }
}

/// Bytes of an argument that an error quotes whole. It does so twice, so errors that are arguments of
/// the next call would grow without bound.
const MAX_QUOTED: usize = 64 << 10;

/// An argument as errors show it: one that is too long shows its beginning as a text.
fn quoted(raw: &RawValue) -> Value {
    let text = raw.get();
    if text.len() <= MAX_QUOTED {
        return to_value(raw);
    }
    let beginning: String = text.chars().take(100).collect();
    Value::String(format!("{beginning}… ({} bytes)", text.len()))
}

/// An argument as a tree. What is too deep for one shows as a text.
pub(crate) fn to_value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_else(|error| Value::String(error.to_string()))
}

/// The name of a type, without the modules of the standard library.
fn type_name<T>() -> String {
    std::any::type_name::<T>()
        .replace("alloc::string::", "")
        .replace("alloc::vec::", "")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(values: &[Value]) -> Vec<Box<RawValue>> {
        values
            .iter()
            .map(|value| serde_json::value::to_raw_value(value).unwrap())
            .collect()
    }

    #[test]
    fn required() {
        let arguments = raw(&[json!("a"), json!({"b": 1})]);
        let mut arguments = Arguments::new(&arguments);
        assert_eq!(arguments.next::<String>("first").unwrap(), "a");
        assert_eq!(
            arguments.next::<String>("second").unwrap_err().to_string(),
            r#"Error deserializing field 'second': expected String, got {"b":1}"#
        );
        assert_eq!(
            arguments
                .next::<String>("third")
                .unwrap_err()
                .to_json_text(),
            "Error: Field 'third' is missing from args to call_service\nMissingField(\"third\")"
        );
    }

    #[test]
    fn optional() {
        for (value, expected) in [
            (json!(null), Ok(None)),
            (json!([]), Ok(None)),
            (json!([5]), Ok(Some(5))),
            (json!(5), Ok(Some(5))),
            (
                json!([5, 6]),
                Err("Option's array must contain at most 1 element, 'x' was of 2 elements"),
            ),
        ] {
            let arguments = raw(std::slice::from_ref(&value));
            let read = Arguments::new(&arguments).next_opt::<i64>("x");
            assert_eq!(
                read.map_err(|error| error.to_string()),
                expected.map_err(str::to_owned),
                "{value}"
            );
        }
        assert_eq!(Arguments::new(&[]).next_opt::<i64>("x").unwrap(), None);
        let arguments = raw(&[json!("five")]);
        let error = Arguments::new(&arguments).next_opt::<i64>("x").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("Error while deserializing field 'x': invalid type"),
            "{error}"
        );
        // A list of lists is an option of a list.
        let arguments = raw(&[json!([["a", "b"]]), json!(["a", "b"])]);
        let mut arguments = Arguments::new(&arguments);
        for _ in 0..2 {
            let list = arguments.next_opt::<Vec<String>>("x").unwrap().unwrap();
            assert_eq!(list, ["a", "b"]);
        }
    }

    #[test]
    fn long_arguments_are_quoted_in_part() {
        let text = |length: usize| {
            let arguments = raw(&[json!(["x".repeat(length - 4)])]);
            let error = Arguments::new(&arguments).next::<u32>("field").unwrap_err();
            error.to_string()
        };
        let whole = text(MAX_QUOTED);
        assert!(
            whole.ends_with("xx\"]") && whole.len() > MAX_QUOTED,
            "{whole}"
        );
        let part = text(MAX_QUOTED + 1);
        assert!(
            part.starts_with("Error deserializing field 'field': expected u32, got \"[\\\"xxxx"),
            "{part}"
        );
        assert!(part.ends_with("xx… (65537 bytes)\""), "{part}");
    }
}
