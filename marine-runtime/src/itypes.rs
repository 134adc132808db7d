//! Interface types: what crosses the border of a module.

pub mod json;
pub(crate) mod memory;
pub(crate) mod templates;

use std::{fmt, sync::Arc};

use crate::module::Argument;

/// A type of the interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of scalars say it all")]
pub enum IType {
    Boolean,
    S8,
    S16,
    S32,
    S64,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
    /// UTF-8 text.
    String,
    /// Bytes: the same as an array of `u8`, stored compactly.
    ByteArray,
    /// A sequence.
    Array(Arc<IType>),
    /// A core integer.
    I32,
    /// A core integer.
    I64,
    /// The record with this id, which is a position in the type table of its module.
    Record(u32),
}

/// The type of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordType {
    /// Its name.
    pub name: String,
    /// Its fields in order of declaration, at least one.
    pub fields: Vec<Argument>,
}

/// A value of the interface.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names of scalars say it all")]
pub enum IValue {
    Boolean(bool),
    S8(i8),
    S16(i16),
    S32(i32),
    S64(i64),
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    F32(f32),
    F64(f64),
    String(String),
    ByteArray(Vec<u8>),
    Array(Vec<IValue>),
    I32(i32),
    I64(i64),
    /// Values of the fields in order of declaration.
    Record(Vec<IValue>),
}

/// Where record types are looked up.
pub trait Records {
    /// The record with `id`.
    fn record(&self, id: u32) -> Option<&RecordType>;
}

impl Records for crate::module::InterfaceSection {
    fn record(&self, id: u32) -> Option<&RecordType> {
        Self::record(self, id).map(Arc::as_ref)
    }
}

/// A module without records.
impl Records for () {
    fn record(&self, _: u32) -> Option<&RecordType> {
        None
    }
}

impl IType {
    /// How many arrays are around the innermost type, and that type.
    #[must_use]
    pub fn innermost(&self) -> (usize, &Self) {
        let mut arrays = 0;
        let mut ty = self;
        while let Self::Array(inner) = ty {
            arrays += 1;
            ty = inner;
        }
        (arrays, ty)
    }

    /// Bytes that a value takes in a record or array.
    pub(crate) fn cell_size(&self) -> u32 {
        match self {
            Self::Boolean | Self::S8 | Self::U8 => 1,
            Self::S16 | Self::U16 => 2,
            Self::S32 | Self::U32 | Self::I32 | Self::F32 | Self::Record(_) => 4,
            Self::S64
            | Self::U64
            | Self::I64
            | Self::F64
            | Self::String
            | Self::ByteArray
            | Self::Array(_) => 8,
        }
    }

    /// The tag that `allocate` is told for elements of this type.
    pub(crate) fn allocation_tag(&self) -> u32 {
        match self {
            Self::Boolean => 0,
            Self::U8 => 1,
            Self::U16 => 2,
            Self::U32 | Self::String | Self::ByteArray | Self::Array(_) | Self::Record(_) => 3,
            Self::U64 => 4,
            Self::S8 => 5,
            Self::S16 => 6,
            Self::S32 | Self::I32 => 7,
            Self::S64 | Self::I64 => 8,
            Self::F32 => 9,
            Self::F64 => 10,
        }
    }

    /// Whether values are passed by reference to memory.
    pub(crate) fn is_complex(&self) -> bool {
        matches!(
            self,
            Self::String | Self::ByteArray | Self::Array(_) | Self::Record(_)
        )
    }

    /// The form used in published interfaces: `i8` … `u64`, `string`, `[]T`, names of records.
    pub fn interface_text<'a, R: Records>(&'a self, records: &'a R) -> InterfaceText<'a, R> {
        InterfaceText { ty: self, records }
    }
}

/// The form of the text representation of interface sections: `s8`, `array (T)`, `record 7`.
impl fmt::Display for IType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (arrays, innermost) = self.innermost();
        for _ in 0..arrays {
            formatter.write_str("array (")?;
        }
        match innermost {
            Self::Boolean => formatter.write_str("bool"),
            Self::S8 => formatter.write_str("s8"),
            Self::S16 => formatter.write_str("s16"),
            Self::S32 => formatter.write_str("s32"),
            Self::S64 => formatter.write_str("s64"),
            Self::U8 => formatter.write_str("u8"),
            Self::U16 => formatter.write_str("u16"),
            Self::U32 => formatter.write_str("u32"),
            Self::U64 => formatter.write_str("u64"),
            Self::F32 => formatter.write_str("f32"),
            Self::F64 => formatter.write_str("f64"),
            Self::String => formatter.write_str("string"),
            Self::ByteArray => formatter.write_str("array (u8)"),
            Self::I32 => formatter.write_str("i32"),
            Self::I64 => formatter.write_str("i64"),
            Self::Record(id) => write!(formatter, "record {id}"),
            Self::Array(_) => Ok(()),
        }?;
        for _ in 0..arrays {
            formatter.write_str(")")?;
        }
        Ok(())
    }
}

/// A type as published interfaces write it; see [`IType::interface_text`].
#[derive(Debug)]
pub struct InterfaceText<'a, R> {
    ty: &'a IType,
    records: &'a R,
}

impl<R: Records> fmt::Display for InterfaceText<'_, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (arrays, innermost) = self.ty.innermost();
        for _ in 0..arrays {
            formatter.write_str("[]")?;
        }
        match innermost {
            IType::S8 => formatter.write_str("i8"),
            IType::S16 => formatter.write_str("i16"),
            IType::S32 => formatter.write_str("i32"),
            IType::S64 => formatter.write_str("i64"),
            IType::ByteArray => formatter.write_str("[]u8"),
            IType::Record(id) => match self.records.record(*id) {
                Some(record) => formatter.write_str(&record.name),
                None => write!(formatter, "record {id}"),
            },
            other => write!(formatter, "{other}"),
        }
    }
}

impl IValue {
    /// Whether the value has the type, as callees of other modules check it.
    #[must_use]
    pub fn has_type(&self, ty: &IType, records: &impl Records) -> bool {
        match (self, ty) {
            (Self::Boolean(_), IType::Boolean)
            | (Self::S8(_), IType::S8)
            | (Self::S16(_), IType::S16)
            | (Self::S32(_), IType::S32)
            | (Self::S64(_), IType::S64)
            | (Self::U8(_), IType::U8)
            | (Self::U16(_), IType::U16)
            | (Self::U32(_), IType::U32)
            | (Self::U64(_), IType::U64)
            | (Self::F32(_), IType::F32)
            | (Self::F64(_), IType::F64)
            | (Self::String(_), IType::String)
            | (Self::ByteArray(_), IType::ByteArray)
            | (Self::I32(_), IType::I32)
            | (Self::I64(_), IType::I64) => true,
            (Self::ByteArray(_), IType::Array(element)) => **element == IType::U8,
            (Self::Array(values), IType::ByteArray) => {
                values.iter().all(|value| matches!(value, Self::U8(_)))
            }
            (Self::Array(values), IType::Array(element)) => {
                values.iter().all(|value| value.has_type(element, records))
            }
            (Self::Record(values), IType::Record(id)) => {
                records.record(*id).is_some_and(|record| {
                    record.fields.len() == values.len()
                        && record
                            .fields
                            .iter()
                            .zip(values)
                            .all(|(field, value)| value.has_type(&field.ty, records))
                })
            }
            _ => false,
        }
    }
}
