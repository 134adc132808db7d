//! Bytes of the interface section, both ways.

use std::{fmt, sync::Arc};

use semver::Version;

use super::section::{
    Adapter, Argument, Core, Export, Function, Implementation, Import, Instruction, Integer,
    InterfaceSection, Type,
};
use crate::{
    itypes::{IType, RecordType},
    limits::{MAX_ARRAY_DEPTH, MAX_INTERFACE_SECTION, MAX_QUOTED_BYTES, MAX_SECTION_ITEMS},
};

const TYPES: u8 = 0x00;
const IMPORTS: u8 = 0x01;
const ADAPTERS: u8 = 0x02;
const EXPORTS: u8 = 0x03;
const IMPLEMENTATIONS: u8 = 0x04;
const VERSION: u8 = 0x05;

const FUNCTION_TYPE: u8 = 0x00;
const RECORD_TYPE: u8 = 0x01;

const RECORD: u8 = 0x0E;
const ARRAY: u8 = 0x36;
const BYTE_ARRAY: u8 = 0x3C;

/// Longest list that every reader understands: its length is one byte to some, LEB128 to others.
const MAX_PORTABLE_LIST: usize = 127;
/// Most bytes of a LEB128 number.
const MAX_ULEB_BYTES: usize = 9;

/// Types without a parameter, by their code.
const PLAIN_TYPES: [IType; 14] = [
    IType::S8,
    IType::S16,
    IType::S32,
    IType::S64,
    IType::U8,
    IType::U16,
    IType::U32,
    IType::U64,
    IType::F32,
    IType::F64,
    IType::String,
    IType::Boolean,
    IType::I32,
    IType::I64,
];

const SIGNED: [Integer; 4] = [Integer::S8, Integer::S16, Integer::S32, Integer::S64];
const UNSIGNED: [Integer; 4] = [Integer::U8, Integer::U16, Integer::U32, Integer::U64];

/// An interface section that cannot be decoded.
#[derive(Debug)]
pub struct DecodeError {
    kind: Kind,
    /// What was left of the section where it stopped making sense.
    rest: Vec<u8>,
    rest_len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Eof,
    Alt,
    Char,
    TooLarge,
    NoneOf,
    Many0,
    IsNot,
    NonEmpty,
}

impl DecodeError {
    fn new(kind: Kind, rest: &[u8]) -> Self {
        let quoted = rest.get(..MAX_QUOTED_BYTES).unwrap_or(rest);
        Self {
            kind,
            rest: quoted.to_vec(),
            rest_len: rest.len(),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("IT section is corrupted: Parsing Error: ([")?;
        for (index, byte) in self.rest.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{byte}")?;
        }
        if self.rest_len > self.rest.len() {
            write!(formatter, ", … {} more", self.rest_len - self.rest.len())?;
        }
        // Consumers compare this text, its advice included.
        write!(
            formatter,
            "], {:?}).\nProbably the module was compiled with an old version of marine cli, please \
             try to update and recompile.\nTo update marine run: cargo install marine --force",
            self.kind
        )
    }
}

impl std::error::Error for DecodeError {}

/// An interface section that has no portable encoding.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// A name longer than one byte can say.
    #[error("name {name:?} has {size} bytes, at most 255 can be encoded")]
    NameTooLong {
        /// The start of the name.
        name: String,
        /// Its size in bytes.
        size: usize,
    },
    /// A list longer than all readers understand.
    #[error("{what} has {count} entries, at most 127 can be encoded")]
    ListTooLong {
        /// The list.
        what: &'static str,
        /// Its length.
        count: usize,
    },
    /// A negative constant, whose encoding readers refuse.
    #[error("a push of the negative number {value} cannot be encoded")]
    NegativePush {
        /// The number.
        value: i64,
    },
    /// A record without fields.
    #[error("record {name:?} has no fields")]
    EmptyRecord {
        /// Its name.
        name: String,
    },
}

impl InterfaceSection {
    /// Decodes the payload of the section.
    ///
    /// # Errors
    /// Any payload that does not follow the grammar or its limits.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        if payload.len() > MAX_INTERFACE_SECTION {
            return Err(DecodeError::new(Kind::TooLarge, payload));
        }
        let mut reader = Reader { rest: payload };
        let mut versions = Vec::new();
        let mut types = Vec::new();
        let mut imports = Vec::new();
        let mut adapters = Vec::new();
        let mut exports = Vec::new();
        let mut implementations = Vec::new();
        while !reader.rest.is_empty() {
            match reader.byte()? {
                VERSION => versions.push(reader.string()?),
                TYPES => reader.group(&mut types, Reader::ty)?,
                IMPORTS => reader.group(&mut imports, |reader| {
                    Ok(Import {
                        namespace: reader.name()?,
                        name: reader.name()?,
                        type_index: reader.index()?,
                    })
                })?,
                ADAPTERS => reader.group(&mut adapters, |reader| {
                    Ok(Adapter {
                        type_index: reader.index()?,
                        instructions: reader.list(Reader::instruction)?,
                    })
                })?,
                EXPORTS => reader.group(&mut exports, |reader| {
                    Ok(Export {
                        name: reader.name()?,
                        type_index: reader.index()?,
                    })
                })?,
                IMPLEMENTATIONS => reader.group(&mut implementations, |reader| {
                    Ok(Implementation {
                        core: reader.index()?,
                        adapter: reader.index()?,
                    })
                })?,
                _ => return Err(reader.error(Kind::Alt)),
            }
        }
        let version = match versions.as_slice() {
            [version] => Version::parse(version).map_err(|_| reader.error(Kind::IsNot))?,
            [] => return Err(reader.error(Kind::NoneOf)),
            _ => return Err(reader.error(Kind::Many0)),
        };
        Ok(Self {
            version,
            types,
            imports,
            adapters,
            exports,
            implementations,
        })
    }

    /// The payload of the section, in the order that published modules use.
    ///
    /// # Errors
    /// Names, lists or constants that readers do not agree about.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut writer = Writer {
            bytes: vec![VERSION],
        };
        writer.string(&self.version.to_string())?;
        writer.group(TYPES, &self.types, Writer::ty)?;
        writer.group(IMPORTS, &self.imports, |writer, import| {
            writer.string(&import.namespace)?;
            writer.string(&import.name)?;
            writer.index(import.type_index);
            Ok(())
        })?;
        writer.group(ADAPTERS, &self.adapters, |writer, adapter| {
            writer.index(adapter.type_index);
            writer.list("an adapter", &adapter.instructions, Writer::instruction)
        })?;
        writer.group(EXPORTS, &self.exports, |writer, export| {
            writer.string(&export.name)?;
            writer.index(export.type_index);
            Ok(())
        })?;
        writer.group(
            IMPLEMENTATIONS,
            &self.implementations,
            |writer, implementation| {
                writer.index(implementation.core);
                writer.index(implementation.adapter);
                Ok(())
            },
        )?;
        Ok(writer.bytes)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn error(&self, kind: Kind) -> DecodeError {
        DecodeError::new(kind, self.rest)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (byte, rest) = self
            .rest
            .split_first()
            .ok_or_else(|| self.error(Kind::Eof))?;
        self.rest = rest;
        Ok(*byte)
    }

    fn string(&mut self) -> Result<&'a str, DecodeError> {
        let length = self.byte()?;
        let (text, rest) = self
            .rest
            .split_at_checked(length.into())
            .ok_or_else(|| self.error(Kind::Eof))?;
        let text = std::str::from_utf8(text).map_err(|_| self.error(Kind::Char))?;
        self.rest = rest;
        Ok(text)
    }

    fn name(&mut self) -> Result<String, DecodeError> {
        self.string().map(str::to_owned)
    }

    fn uleb(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for position in 0..MAX_ULEB_BYTES {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << (7 * position);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error(Kind::TooLarge))
    }

    fn index(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.uleb()?).map_err(|_| self.error(Kind::TooLarge))
    }

    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let mut items = Vec::new();
        self.group(&mut items, &mut item)?;
        Ok(items)
    }

    /// Appends a counted run of items. Every item takes at least one byte, so a count beyond the
    /// rest of the section ends it early; nothing is reserved on the count's word.
    fn group<T>(
        &mut self,
        items: &mut Vec<T>,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.uleb()?;
        for _ in 0..count {
            if items.len() >= MAX_SECTION_ITEMS {
                return Err(self.error(Kind::TooLarge));
            }
            items.push(item(self)?);
        }
        Ok(())
    }

    fn ty(&mut self) -> Result<Type, DecodeError> {
        match self.byte()? {
            FUNCTION_TYPE => Ok(Type::Function(Arc::new(Function {
                arguments: self.list(Self::argument)?,
                outputs: self.list(Self::itype)?,
            }))),
            RECORD_TYPE => {
                let record = RecordType {
                    name: self.name()?,
                    fields: self.list(Self::argument)?,
                };
                if record.fields.is_empty() {
                    return Err(self.error(Kind::NonEmpty));
                }
                Ok(Type::Record(Arc::new(record)))
            }
            _ => Err(self.error(Kind::Alt)),
        }
    }

    fn argument(&mut self) -> Result<Argument, DecodeError> {
        Ok(Argument {
            name: self.name()?,
            ty: self.itype()?,
        })
    }

    fn itype(&mut self) -> Result<IType, DecodeError> {
        let mut arrays = 0;
        let innermost = loop {
            match self.byte()? {
                ARRAY if arrays >= MAX_ARRAY_DEPTH => return Err(self.error(Kind::TooLarge)),
                ARRAY => arrays += 1,
                RECORD => break IType::Record(self.index()?),
                BYTE_ARRAY => break IType::ByteArray,
                code => match PLAIN_TYPES.get(usize::from(code)) {
                    Some(ty) => break ty.clone(),
                    None => return Err(self.error(Kind::Alt)),
                },
            }
        };
        Ok((0..arrays).fold(innermost, |ty, _| IType::Array(Arc::new(ty))))
    }

    fn instruction(&mut self) -> Result<Instruction, DecodeError> {
        let code = self.byte()?;
        if let Some(conversion) = integer_conversion(code) {
            return Ok(conversion);
        }
        Ok(match code {
            0x00 => Instruction::ArgumentGet(self.index()?),
            0x01 => Instruction::CallCore(self.index()?),
            0x22 => Instruction::StringLift,
            0x23 => Instruction::StringLower,
            0x24 => Instruction::StringSize,
            0x34 => Instruction::Dup,
            0x35 => Instruction::Swap2,
            0x37 => Instruction::ArrayLift(self.itype()?),
            0x38 => Instruction::ArrayLower(self.itype()?),
            0x3A => Instruction::RecordLift(self.index()?),
            0x3B => Instruction::RecordLower(self.index()?),
            0x3E => Instruction::BoolFromI32,
            0x3F => Instruction::I32FromBool,
            // The number is the value's bits: what does not fit is cut off.
            0x40 => Instruction::PushI32(self.uleb()? as u32 as i32),
            0x41 => Instruction::PushI64(self.uleb()?.cast_signed()),
            0x43 => Instruction::ByteArrayLift,
            0x44 => Instruction::ByteArrayLower,
            0x45 => Instruction::ByteArraySize,
            _ => return Err(self.error(Kind::Alt)),
        })
    }
}

/// The conversions between integers occupy the codes 0x02 to 0x21.
fn integer_conversion(code: u8) -> Option<Instruction> {
    let offset = usize::from(code.checked_sub(2)?);
    let pair = |integers: [Integer; 4], offset: usize| {
        let from = if offset.is_multiple_of(2) {
            Core::I32
        } else {
            Core::I64
        };
        integers
            .get(offset / 2)
            .map(|to| Instruction::FromCore { to: *to, from })
    };
    let quad = |integers: [Integer; 4], to: Core, offset: usize| {
        integers
            .get(offset)
            .map(|from| Instruction::ToCore { to, from: *from })
    };
    match offset {
        0..8 => pair(SIGNED, offset),
        8..12 => quad(SIGNED, Core::I32, offset - 8),
        12..16 => quad(SIGNED, Core::I64, offset - 12),
        16..24 => pair(UNSIGNED, offset - 16),
        24..28 => quad(UNSIGNED, Core::I32, offset - 24),
        28..32 => quad(UNSIGNED, Core::I64, offset - 28),
        _ => None,
    }
}

struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn string(&mut self, text: &str) -> Result<(), EncodeError> {
        let length = u8::try_from(text.len()).map_err(|_| EncodeError::NameTooLong {
            name: text.chars().take(64).collect(),
            size: text.len(),
        })?;
        self.bytes.push(length);
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn index(&mut self, index: u32) {
        write_uleb(&mut self.bytes, index.into());
    }

    fn group<T>(
        &mut self,
        kind: u8,
        items: &[T],
        mut item: impl FnMut(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        if items.is_empty() {
            return Ok(());
        }
        self.bytes.push(kind);
        write_uleb(&mut self.bytes, items.len() as u64);
        items.iter().try_for_each(|entry| item(self, entry))
    }

    fn list<T>(
        &mut self,
        what: &'static str,
        items: &[T],
        mut item: impl FnMut(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let count = items.len();
        if count > MAX_PORTABLE_LIST {
            return Err(EncodeError::ListTooLong { what, count });
        }
        write_uleb(&mut self.bytes, count as u64);
        items.iter().try_for_each(|entry| item(self, entry))
    }

    fn ty(&mut self, ty: &Type) -> Result<(), EncodeError> {
        match ty {
            Type::Function(function) => {
                self.bytes.push(FUNCTION_TYPE);
                self.list("an argument list", &function.arguments, Self::argument)?;
                self.list("an output list", &function.outputs, |writer, output| {
                    writer.itype(output);
                    Ok(())
                })
            }
            Type::Record(record) => {
                if record.fields.is_empty() {
                    return Err(EncodeError::EmptyRecord {
                        name: record.name.clone(),
                    });
                }
                self.bytes.push(RECORD_TYPE);
                self.string(&record.name)?;
                self.list("a record", &record.fields, Self::argument)
            }
        }
    }

    fn argument(&mut self, argument: &Argument) -> Result<(), EncodeError> {
        self.string(&argument.name)?;
        self.itype(&argument.ty);
        Ok(())
    }

    fn itype(&mut self, ty: &IType) {
        let (arrays, innermost) = ty.innermost();
        self.bytes.extend(std::iter::repeat_n(ARRAY, arrays));
        match innermost {
            IType::Record(id) => {
                self.bytes.push(RECORD);
                self.index(*id);
            }
            IType::ByteArray => self.bytes.push(BYTE_ARRAY),
            plain => {
                let code = PLAIN_TYPES.iter().position(|candidate| candidate == plain);
                self.bytes
                    .extend(code.and_then(|code| u8::try_from(code).ok()));
            }
        }
    }

    fn instruction(&mut self, instruction: &Instruction) -> Result<(), EncodeError> {
        match instruction {
            Instruction::ArgumentGet(index) => self.with_index(0x00, *index),
            Instruction::CallCore(index) => self.with_index(0x01, *index),
            Instruction::FromCore { .. } | Instruction::ToCore { .. } => {
                let code = (0x02..=0x21_u8)
                    .find(|code| integer_conversion(*code).as_ref() == Some(instruction));
                self.bytes.extend(code);
            }
            Instruction::StringLift => self.bytes.push(0x22),
            Instruction::StringLower => self.bytes.push(0x23),
            Instruction::StringSize => self.bytes.push(0x24),
            Instruction::Dup => self.bytes.push(0x34),
            Instruction::Swap2 => self.bytes.push(0x35),
            Instruction::ArrayLift(ty) => {
                self.bytes.push(0x37);
                self.itype(ty);
            }
            Instruction::ArrayLower(ty) => {
                self.bytes.push(0x38);
                self.itype(ty);
            }
            Instruction::RecordLift(id) => self.with_index(0x3A, *id),
            Instruction::RecordLower(id) => self.with_index(0x3B, *id),
            Instruction::BoolFromI32 => self.bytes.push(0x3E),
            Instruction::I32FromBool => self.bytes.push(0x3F),
            Instruction::PushI32(value) => return self.push(0x40, i64::from(*value)),
            Instruction::PushI64(value) => return self.push(0x41, *value),
            Instruction::ByteArrayLift => self.bytes.push(0x43),
            Instruction::ByteArrayLower => self.bytes.push(0x44),
            Instruction::ByteArraySize => self.bytes.push(0x45),
        }
        Ok(())
    }

    fn with_index(&mut self, code: u8, index: u32) {
        self.bytes.push(code);
        self.index(index);
    }

    fn push(&mut self, code: u8, value: i64) -> Result<(), EncodeError> {
        let bits = u64::try_from(value).map_err(|_| EncodeError::NegativePush { value })?;
        self.bytes.push(code);
        write_uleb(&mut self.bytes, bits);
        Ok(())
    }
}

/// Appends `value` as LEB128.
pub(super) fn write_uleb(bytes: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_code_that_is_an_instruction_comes_back() {
        let unused = (0x25..=0x33)
            .chain([0x36, 0x39, 0x3C, 0x3D, 0x42])
            .chain(0x46..=0xFF);
        let unused: Vec<u8> = unused.collect();
        for code in 0..=0xFF_u8 {
            let bytes = [code, 0x0A];
            let mut reader = Reader { rest: &bytes };
            match reader.instruction() {
                Ok(instruction) => {
                    assert!(!unused.contains(&code), "{code:#x} is {instruction}");
                    let used = bytes.len() - reader.rest.len();
                    let mut writer = Writer { bytes: Vec::new() };
                    writer.instruction(&instruction).unwrap();
                    assert_eq!(writer.bytes, bytes[..used], "{instruction}");
                }
                Err(error) => assert!(unused.contains(&code), "{code:#x}: {error}"),
            }
        }
    }

    #[test]
    fn what_readers_disagree_about_is_refused() {
        let section = |types| InterfaceSection {
            version: Version::new(0, 27, 0),
            types,
            imports: Vec::new(),
            adapters: Vec::new(),
            exports: Vec::new(),
            implementations: Vec::new(),
        };
        let function = |name: &str, count| {
            let arguments = vec![
                Argument {
                    name: name.to_owned(),
                    ty: IType::U8
                };
                count
            ];
            Type::Function(Arc::new(Function {
                arguments,
                outputs: Vec::new(),
            }))
        };
        assert!(section(vec![function("a", 127)]).encode().is_ok());
        assert_eq!(
            section(vec![function("a", 128)]).encode(),
            Err(EncodeError::ListTooLong {
                what: "an argument list",
                count: 128
            })
        );
        assert!(matches!(
            section(vec![function(&"n".repeat(256), 1)]).encode(),
            Err(EncodeError::NameTooLong { size: 256, .. })
        ));
    }

    #[test]
    fn a_count_that_lies_reserves_nothing() {
        let bytes = [
            VERSION, 1, b'1', TYPES, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F,
        ];
        let error = InterfaceSection::decode(&bytes).unwrap_err();
        assert_eq!(error.kind, Kind::Eof);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(section) = InterfaceSection::decode(&bytes) {
                let _ = section.validate();
                let _ = section.encode();
            }
        }
    }
}
