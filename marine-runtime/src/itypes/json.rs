//! Between JSON and interface values (“Calls with JSON” in the protocol description).
//!
//! There are two readers. [`arguments_from_value`] works on a parsed document and yields the exact
//! error texts. [`arguments_from_text`] first tries a reader that goes from text to typed values
//! without a tree in between; that one only knows well-formed arguments and leaves everything else
//! to the first, so both accept the same documents with equal results.

mod bytes;
mod text;

use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde_json::{Map, Value};

pub(crate) use self::text::Text;
use super::{IType, IValue, Records};
use crate::{
    limits::MAX_QUOTED_VALUE,
    module::{Argument, Function},
};

/// Arguments that do not fit a function.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentsError {
    /// The text is not JSON, or nested too deep.
    #[error("arguments are not JSON: {source}")]
    NotJson {
        /// Where and why.
        source: serde_json::Error,
    },
    /// Too few or too many arguments or fields.
    #[error("function requires {required} arguments, {provided} provided")]
    Count {
        /// How many there must be.
        required: usize,
        /// How many there are.
        provided: usize,
    },
    /// A named argument or field is not there.
    #[error("missing argument with name {name}")]
    Missing {
        /// Its name.
        name: String,
    },
    /// `null` for a function that has arguments.
    #[error(
        "the called function has the following signature: {signature}, but no arguments is provided"
    )]
    NoArguments {
        /// Names and types of the arguments.
        signature: String,
    },
    /// One scalar for a function that has not one argument.
    #[error(
        "called function has the following signature: '{signature}', and it isn't suitable for an argument '{value}' provided"
    )]
    Unsuitable {
        /// Names and types of the arguments.
        signature: String,
        /// The value.
        value: String,
    },
    /// A scalar of a wrong kind or out of range.
    #[error("error {source:?} occurred while deserializing function arguments")]
    Scalar {
        /// What was found, and what was expected.
        source: serde_json::Error,
    },
    /// Something that is no array where bytes are needed.
    #[error("expected bytearray, got {value}")]
    NotBytes {
        /// The value.
        value: String,
    },
    /// Something that is no array where one is needed.
    #[error("expected array of {element} types, got {value}")]
    NotAnArray {
        /// Type of the elements.
        element: String,
        /// The value.
        value: String,
    },
    /// Something that is neither object nor array where a record is needed.
    #[error("record with type id `{id}` should be encoded as array or map of fields")]
    NotARecord {
        /// Id of the record's type.
        id: u32,
    },
    /// A record that nobody knows.
    #[error("record with type id `{id}` wasn't found")]
    UnknownRecord {
        /// Id of the record's type.
        id: u32,
    },
}

/// A result that does not fit its type.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultError {
    /// A value of another type.
    #[error("value {value} is incompatible to type {ty}")]
    Incompatible {
        /// The value.
        value: String,
        /// The type.
        ty: String,
    },
    /// A record that nobody knows.
    #[error("record id {id} wasn't found in module record types")]
    UnknownRecord {
        /// Id of the record's type.
        id: u32,
    },
    /// A record with other fields.
    #[error("output record {value} isn't compatible to output record fields {fields}")]
    Record {
        /// The value.
        value: String,
        /// The fields of the type.
        fields: String,
    },
    /// Not as many values as outputs.
    #[error("resulted values {values} and function signature {outputs} aren't compatible")]
    Count {
        /// The values.
        values: String,
        /// The outputs of the signature.
        outputs: String,
    },
}

/// Converts the arguments of `function` from JSON text.
///
/// # Errors
/// See [`ArgumentsError`].
pub fn arguments_from_text(
    text: &str,
    function: &Function,
    records: &impl Records,
) -> Result<Vec<IValue>, ArgumentsError> {
    if let Some(arguments) = text::arguments(text, &function.arguments, records) {
        return Ok(arguments);
    }
    let value = serde_json::from_str(text).map_err(|source| ArgumentsError::NotJson { source })?;
    arguments_from_value(&value, function, records)
}

/// Converts the arguments of `function` from a JSON document.
///
/// # Errors
/// See [`ArgumentsError`].
pub fn arguments_from_value(
    value: &Value,
    function: &Function,
    records: &impl Records,
) -> Result<Vec<IValue>, ArgumentsError> {
    let arguments = function.arguments.as_slice();
    match value {
        Value::Array(values) => by_position(values, arguments, records),
        Value::Object(values) => by_name(values, arguments, records),
        Value::Null if arguments.is_empty() => Ok(Vec::new()),
        Value::Null => Err(ArgumentsError::NoArguments {
            signature: signature(arguments),
        }),
        scalar => match arguments {
            [argument] => Ok(vec![from_value(scalar, &argument.ty, &())?]),
            _ => Err(ArgumentsError::Unsuitable {
                signature: signature(arguments),
                value: quote(scalar),
            }),
        },
    }
}

/// Converts one value from a JSON document.
///
/// # Errors
/// See [`ArgumentsError`].
pub fn from_value(
    value: &Value,
    ty: &IType,
    records: &impl Records,
) -> Result<IValue, ArgumentsError> {
    match ty {
        IType::Boolean => scalar(value).map(IValue::Boolean),
        IType::S8 => scalar(value).map(IValue::S8),
        IType::S16 => scalar(value).map(IValue::S16),
        IType::S32 => scalar(value).map(IValue::S32),
        IType::S64 => scalar(value).map(IValue::S64),
        IType::U8 => scalar(value).map(IValue::U8),
        IType::U16 => scalar(value).map(IValue::U16),
        IType::U32 => scalar(value).map(IValue::U32),
        IType::U64 => scalar(value).map(IValue::U64),
        IType::I32 => scalar(value).map(IValue::I32),
        IType::I64 => scalar(value).map(IValue::I64),
        IType::F32 => scalar(value).map(IValue::F32),
        IType::F64 => scalar(value).map(IValue::F64),
        IType::String => scalar(value).map(IValue::String),
        IType::ByteArray => match value {
            Value::Array(values) => values
                .iter()
                .map(scalar)
                .collect::<Result<_, _>>()
                .map(IValue::ByteArray),
            other => Err(ArgumentsError::NotBytes {
                value: quote(other),
            }),
        },
        IType::Array(element) => match value {
            Value::Array(values) => values
                .iter()
                .map(|value| from_value(value, element, records))
                .collect::<Result<_, _>>()
                .map(IValue::Array),
            other => Err(ArgumentsError::NotAnArray {
                element: format!("{element:?}"),
                value: quote(other),
            }),
        },
        IType::Record(id) => {
            let record = records
                .record(*id)
                .ok_or(ArgumentsError::UnknownRecord { id: *id })?;
            match value {
                Value::Array(values) => by_position(values, &record.fields, records),
                Value::Object(values) => by_name(values, &record.fields, records),
                _ => Err(ArgumentsError::NotARecord { id: *id }),
            }
            .map(IValue::Record)
        }
    }
}

/// The result of a call as JSON text: `null`, or the one value.
///
/// # Errors
/// See [`ResultError`].
pub fn result_to_text(
    values: &[IValue],
    function: &Function,
    records: &impl Records,
) -> Result<String, ResultError> {
    match (values, function.outputs.as_slice()) {
        ([], []) => Ok("null".to_owned()),
        ([value], [ty]) => {
            let mut output = String::new();
            text::write(&mut output, value, ty, records)?;
            Ok(output)
        }
        (values, outputs) => Err(ResultError::Count {
            values: quote(values),
            outputs: quote(outputs),
        }),
    }
}

/// The result of a call as a JSON document. Keys of records lose their order; use
/// [`result_to_text`] where that matters.
///
/// # Errors
/// See [`ResultError`].
pub fn result_to_value(
    values: &[IValue],
    function: &Function,
    records: &impl Records,
) -> Result<Value, ResultError> {
    match (values, function.outputs.as_slice()) {
        ([], []) => Ok(Value::Null),
        ([value], [ty]) => to_value(value, ty, records),
        (values, outputs) => Err(ResultError::Count {
            values: quote(values),
            outputs: quote(outputs),
        }),
    }
}

/// Converts one value to a JSON document.
///
/// # Errors
/// See [`ResultError`].
pub fn to_value(value: &IValue, ty: &IType, records: &impl Records) -> Result<Value, ResultError> {
    Ok(match (value, ty) {
        (IValue::Boolean(value), IType::Boolean) => Value::from(*value),
        (IValue::S8(value), IType::S8) => Value::from(*value),
        (IValue::S16(value), IType::S16) => Value::from(*value),
        (IValue::S32(value), IType::S32) | (IValue::I32(value), IType::I32) => Value::from(*value),
        (IValue::S64(value), IType::S64) | (IValue::I64(value), IType::I64) => Value::from(*value),
        (IValue::U8(value), IType::U8) => Value::from(*value),
        (IValue::U16(value), IType::U16) => Value::from(*value),
        (IValue::U32(value), IType::U32) => Value::from(*value),
        (IValue::U64(value), IType::U64) => Value::from(*value),
        (IValue::F32(value), IType::F32) => Value::from(f64::from(*value)),
        (IValue::F64(value), IType::F64) => Value::from(*value),
        (IValue::String(value), IType::String) => Value::from(value.as_str()),
        (IValue::ByteArray(bytes), IType::ByteArray) => Value::from(bytes.as_slice()),
        (IValue::ByteArray(bytes), IType::Array(element)) if **element == IType::U8 => {
            Value::from(bytes.as_slice())
        }
        (IValue::Array(values), IType::ByteArray) => Value::Array(
            values
                .iter()
                .map(|value| to_value(value, &IType::U8, records))
                .collect::<Result<_, _>>()?,
        ),
        (IValue::Array(values), IType::Array(element)) => Value::Array(
            values
                .iter()
                .map(|value| to_value(value, element, records))
                .collect::<Result<_, _>>()?,
        ),
        (IValue::Record(values), IType::Record(id)) => {
            let record = records
                .record(*id)
                .ok_or(ResultError::UnknownRecord { id: *id })?;
            if record.fields.len() != values.len() {
                return Err(ResultError::Record {
                    value: quote(values),
                    fields: signature(&record.fields),
                });
            }
            let fields = record.fields.iter().zip(values).map(|(field, value)| {
                Ok((field.name.clone(), to_value(value, &field.ty, records)?))
            });
            Value::Object(fields.collect::<Result<_, _>>()?)
        }
        _ => return Err(incompatible(value, ty)),
    })
}

fn incompatible(value: &IValue, ty: &IType) -> ResultError {
    ResultError::Incompatible {
        value: quote(value),
        ty: format!("{ty:?}"),
    }
}

fn by_position(
    values: &[Value],
    arguments: &[Argument],
    records: &impl Records,
) -> Result<Vec<IValue>, ArgumentsError> {
    if values.len() != arguments.len() {
        return Err(ArgumentsError::Count {
            required: arguments.len(),
            provided: values.len(),
        });
    }
    let pairs = values.iter().zip(arguments);
    pairs
        .map(|(value, argument)| from_value(value, &argument.ty, records))
        .collect()
}

fn by_name(
    values: &Map<String, Value>,
    arguments: &[Argument],
    records: &impl Records,
) -> Result<Vec<IValue>, ArgumentsError> {
    let mut converted = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let value = values
            .get(&argument.name)
            .ok_or_else(|| ArgumentsError::Missing {
                name: argument.name.clone(),
            })?;
        converted.push(from_value(value, &argument.ty, records)?);
    }
    if values.len() > arguments.len() {
        return Err(ArgumentsError::Count {
            required: arguments.len(),
            provided: values.len(),
        });
    }
    Ok(converted)
}

/// A scalar, or the only element of an array: what a stream with one value looks like.
fn scalar<'a, T: Deserialize<'a>>(value: &'a Value) -> Result<T, ArgumentsError> {
    let value = match value {
        Value::Array(values) => match values.as_slice() {
            [value] => value,
            _ => value,
        },
        other => other,
    };
    T::deserialize(value).map_err(|source| ArgumentsError::Scalar { source })
}

/// Names and types in the form that error messages show.
fn signature(arguments: &[Argument]) -> String {
    let pairs: Vec<(&str, &IType)> = arguments
        .iter()
        .map(|argument| (argument.name.as_str(), &argument.ty))
        .collect();
    format!("{pairs:?}")
}

/// A value as error messages show it, cut where it gets long.
fn quote(value: &(impl fmt::Debug + ?Sized)) -> String {
    struct Limited(String);

    impl fmt::Write for Limited {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = MAX_QUOTED_VALUE.saturating_sub(self.0.len());
            if text.len() <= room {
                self.0.push_str(text);
                return Ok(());
            }
            let end = text.floor_char_boundary(room);
            self.0.push_str(text.get(..end).unwrap_or_default());
            Err(fmt::Error)
        }
    }

    let mut limited = Limited(String::new());
    if write!(limited, "{value:?}").is_err() {
        limited.0.push('…');
    }
    limited.0
}
