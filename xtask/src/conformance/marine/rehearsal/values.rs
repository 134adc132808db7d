//! Values at random, and in memory as the protocol description lays them out: written without the
//! runtime's code, which this checks.

use marine_runtime::{IType, IValue, module::InterfaceSection};

use crate::random::Random;

/// Most items of an array.
const MAX_ITEMS: usize = 3;
/// First address that anything has.
const HEAP: usize = 64;
/// Bytes that a memory has.
const SIZE: usize = 1 << 20;

/// A memory that is filled from its start.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) bytes: Vec<u8>,
    next: usize,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; SIZE],
            next: HEAP,
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        if let Some(used) = self.bytes.get_mut(..self.next) {
            used.fill(0);
        }
        self.next = HEAP;
    }

    /// What is in use.
    pub(super) fn used(&self) -> &[u8] {
        self.bytes.get(..self.next).unwrap_or_default()
    }

    /// Room for `size` bytes.
    pub(super) fn allocate(&mut self, size: usize) -> Option<u32> {
        let start = self.next;
        let end = start.checked_add(size).filter(|end| *end <= SIZE)?;
        self.next = end;
        u32::try_from(start).ok()
    }

    fn put(&mut self, bytes: &[u8]) -> Option<u32> {
        let start = self.allocate(bytes.len())?;
        let place = self.bytes.get_mut(start as usize..self.next)?;
        place.copy_from_slice(bytes);
        Some(start)
    }

    /// The bytes that a value has in a record or an array; what they point at is put into memory.
    pub(super) fn cell(&mut self, value: &IValue) -> Option<Vec<u8>> {
        let counted = |start: u32, count: usize| {
            let count = u32::try_from(count).ok()?;
            Some([start.to_le_bytes(), count.to_le_bytes()].concat())
        };
        Some(match value {
            IValue::Boolean(value) => vec![u8::from(*value)],
            IValue::S8(value) => value.to_le_bytes().to_vec(),
            IValue::U8(value) => vec![*value],
            IValue::S16(value) => value.to_le_bytes().to_vec(),
            IValue::U16(value) => value.to_le_bytes().to_vec(),
            IValue::S32(value) | IValue::I32(value) => value.to_le_bytes().to_vec(),
            IValue::U32(value) => value.to_le_bytes().to_vec(),
            IValue::S64(value) | IValue::I64(value) => value.to_le_bytes().to_vec(),
            IValue::U64(value) => value.to_le_bytes().to_vec(),
            IValue::F32(value) => value.to_le_bytes().to_vec(),
            IValue::F64(value) => value.to_le_bytes().to_vec(),
            IValue::String(text) => counted(self.put(text.as_bytes())?, text.len())?,
            IValue::ByteArray(bytes) => counted(self.put(bytes)?, bytes.len())?,
            IValue::Array(values) => {
                let cells = self.cells(values)?;
                counted(self.put(&cells)?, values.len())?
            }
            IValue::Record(values) => {
                let cells = self.cells(values)?;
                self.put(&cells)?.to_le_bytes().to_vec()
            }
        })
    }

    fn cells(&mut self, values: &[IValue]) -> Option<Vec<u8>> {
        let mut cells = Vec::new();
        for value in values {
            cells.extend(self.cell(value)?);
        }
        Some(cells)
    }

    /// The value that a cell holds.
    pub(super) fn value(
        &self,
        ty: &IType,
        cell: &[u8],
        section: &InterfaceSection,
    ) -> Option<IValue> {
        Some(match ty {
            IType::Boolean => IValue::Boolean(number(cell)? != 0),
            IType::S8 => IValue::S8(number(cell)? as i8),
            IType::U8 => IValue::U8(number(cell)? as u8),
            IType::S16 => IValue::S16(number(cell)? as i16),
            IType::U16 => IValue::U16(number(cell)? as u16),
            IType::S32 => IValue::S32(number(cell)? as i32),
            IType::I32 => IValue::I32(number(cell)? as i32),
            IType::U32 => IValue::U32(number(cell)? as u32),
            IType::S64 => IValue::S64(number(cell)?.cast_signed()),
            IType::I64 => IValue::I64(number(cell)?.cast_signed()),
            IType::U64 => IValue::U64(number(cell)?),
            IType::F32 => IValue::F32(f32::from_bits(number(cell)? as u32)),
            IType::F64 => IValue::F64(f64::from_bits(number(cell)?)),
            IType::String => IValue::String(String::from_utf8(self.area(cell, 1)?.to_vec()).ok()?),
            IType::ByteArray => IValue::ByteArray(self.area(cell, 1)?.to_vec()),
            IType::Array(element) => {
                let size = size_of(element);
                let items = self.area(cell, size)?.chunks_exact(size);
                let items = items.map(|item| self.value(element, item, section));
                IValue::Array(items.collect::<Option<_>>()?)
            }
            IType::Record(id) => {
                let record = section.record(*id)?;
                let mut start = number(cell)? as usize;
                let mut values = Vec::with_capacity(record.fields.len());
                for field in &record.fields {
                    let end = start.checked_add(size_of(&field.ty))?;
                    values.push(self.value(&field.ty, self.bytes.get(start..end)?, section)?);
                    start = end;
                }
                IValue::Record(values)
            }
        })
    }

    /// The area that a cell with address and count describes.
    fn area(&self, cell: &[u8], size: usize) -> Option<&[u8]> {
        let (start, count) = cell.split_at_checked(4)?;
        let (start, count) = (number(start)? as usize, number(count)? as usize);
        if count == 0 {
            return Some(&[]);
        }
        self.bytes
            .get(start..start.checked_add(count.checked_mul(size)?)?)
    }
}

/// A number of up to eight bytes.
fn number(bytes: &[u8]) -> Option<u64> {
    let mut whole = [0; 8];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_le_bytes(whole))
}

/// Bytes of a cell.
fn size_of(ty: &IType) -> usize {
    match ty {
        IType::Boolean | IType::S8 | IType::U8 => 1,
        IType::S16 | IType::U16 => 2,
        IType::S32 | IType::U32 | IType::I32 | IType::F32 | IType::Record(_) => 4,
        IType::S64 | IType::U64 | IType::I64 | IType::F64 => 8,
        IType::String | IType::ByteArray | IType::Array(_) => 8,
    }
}

/// How many core values a value is passed as.
pub(super) fn slots(ty: &IType) -> usize {
    match ty {
        IType::String | IType::ByteArray | IType::Array(_) => 2,
        _ => 1,
    }
}

/// The core values of a cell.
pub(super) fn to_slots(value: &IValue, cell: &[u8]) -> Option<Vec<u64>> {
    Some(match value {
        IValue::String(_) | IValue::ByteArray(_) | IValue::Array(_) => {
            let (start, count) = cell.split_at_checked(4)?;
            vec![number(start)?, number(count)?]
        }
        // Guests extend the sign.
        IValue::S8(value) => vec![u64::from(i32::from(*value).cast_unsigned())],
        IValue::S16(value) => vec![u64::from(i32::from(*value).cast_unsigned())],
        _ => vec![number(cell)?],
    })
}

/// The cell of core values.
pub(super) fn from_slots(ty: &IType, values: &[u64]) -> Option<Vec<u8>> {
    match (ty, values) {
        (IType::String | IType::ByteArray | IType::Array(_), [start, count]) => {
            let (start, count) = (*start as u32, *count as u32);
            Some([start.to_le_bytes(), count.to_le_bytes()].concat())
        }
        (ty, [value]) => Some(value.to_le_bytes().get(..size_of(ty))?.to_vec()),
        _ => None,
    }
}

/// A value of a type. No number is without its equal.
pub(super) fn random(ty: &IType, section: &InterfaceSection, random: &mut Random) -> IValue {
    let edge = random.chance(30);
    let bits = match edge {
        true => *random
            .pick(&[0, 1, u64::MAX, 1 << 63, 0x8080_8080, 127])
            .unwrap_or(&0),
        false => random.next(),
    };
    match ty {
        IType::Boolean => IValue::Boolean(bits & 1 == 1),
        IType::S8 => IValue::S8(bits as i8),
        IType::U8 => IValue::U8(bits as u8),
        IType::S16 => IValue::S16(bits as i16),
        IType::U16 => IValue::U16(bits as u16),
        IType::S32 => IValue::S32(bits as i32),
        IType::I32 => IValue::I32(bits as i32),
        IType::U32 => IValue::U32(bits as u32),
        IType::S64 => IValue::S64(bits.cast_signed()),
        IType::I64 => IValue::I64(bits.cast_signed()),
        IType::U64 => IValue::U64(bits),
        IType::F32 => IValue::F32(bits as i32 as f32 / 8.0),
        IType::F64 => IValue::F64(bits.cast_signed() as f64 / 8.0),
        IType::String => {
            let words = [
                "",
                "a",
                "ünï – çødé",
                "{\"key\": \"\\u0000\"}",
                "\0",
                "12D3KooW",
            ];
            IValue::String(random.word(&words).to_owned())
        }
        IType::ByteArray => {
            let length = random.below(40);
            IValue::ByteArray((0..length).map(|_| random.next() as u8).collect())
        }
        IType::Array(element) => {
            let length = random.below(MAX_ITEMS + 1);
            IValue::Array(
                (0..length)
                    .map(|_| self::random(element, section, random))
                    .collect(),
            )
        }
        IType::Record(id) => {
            let fields = section.record(*id).map(|record| record.fields.as_slice());
            let fields = fields.unwrap_or_default().iter();
            IValue::Record(
                fields
                    .map(|field| self::random(&field.ty, section, random))
                    .collect(),
            )
        }
    }
}

/// Whether values are the same; bytes are an array of them.
pub(super) fn equal(left: &[IValue], right: &[IValue]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(left, right)| same(left, right))
}

fn same(left: &IValue, right: &IValue) -> bool {
    match (left, right) {
        (IValue::Array(left), IValue::Array(right))
        | (IValue::Record(left), IValue::Record(right)) => equal(left, right),
        (IValue::ByteArray(bytes), IValue::Array(values))
        | (IValue::Array(values), IValue::ByteArray(bytes)) => {
            values.len() == bytes.len()
                && values
                    .iter()
                    .zip(bytes)
                    .all(|(value, byte)| *value == IValue::U8(*byte))
        }
        (left, right) => left == right,
    }
}
