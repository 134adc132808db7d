//! Values in the linear memory of a module (“Layout in linear memory” in the protocol
//! description).

use super::{IType, IValue, RecordType, Records};

/// The memory of a module and its allocator.
pub trait GuestMemory {
    /// The linear memory. It may move whenever the module runs.
    fn memory(&mut self) -> &mut [u8];

    /// Asks the module for `size` bytes for elements of the kind `tag`.
    ///
    /// # Errors
    /// Whatever the module does instead.
    fn allocate(&mut self, size: u32, tag: u32) -> Result<u32, MemoryError>;
}

/// A value that cannot be read from, or written to, the memory of a module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// A string or bytes that reach outside.
    #[error("read out of the memory bounds (index {end} > memory length {length})")]
    Bytes {
        /// First byte behind the range.
        end: u64,
        /// Size of the memory in bytes.
        length: usize,
    },
    /// A record or array that reaches outside.
    #[error(
        "Out-of-bound Wasm memory access: offset {offset}, size {size}, while memory_size {length}"
    )]
    Range {
        /// First byte of the range.
        offset: u32,
        /// Size of the range in bytes.
        size: u64,
        /// Size of the memory in bytes.
        length: usize,
    },
    /// Text that is not UTF-8.
    #[error("{source}")]
    NotUtf8 {
        /// Where it ends to be UTF-8.
        source: std::str::Utf8Error,
    },
    /// A record that nobody knows.
    #[error("Record with type id '{id}' not found")]
    UnknownRecord {
        /// Id of the record's type.
        id: u32,
    },
    /// A value that would fill the host's memory.
    #[error("a value of more than {limit} bytes of host memory")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// More bytes than a module can address.
    #[error("a value of {size} bytes doesn't fit into the memory of a module")]
    TooLong {
        /// Its size in bytes.
        size: usize,
    },
    /// A value of another type.
    #[error("read a value `{ty}` from the stack, that can't be converted to `{value}`")]
    Type {
        /// The type.
        ty: String,
        /// Kind of the value.
        value: &'static str,
    },
    /// The allocator of the module failed.
    #[error("call to allocate function was failed: {reason}")]
    Allocate {
        /// Why.
        reason: String,
        /// The trap behind it, if there was one.
        trap: Option<crate::backend::Trap>,
    },
    /// The module has no usable allocator or memory.
    #[error("{reason}")]
    Unusable {
        /// What is missing.
        reason: &'static str,
    },
}

/// What is made of values that are read: [`Values`], or text.
pub(crate) trait Make {
    /// What a value becomes.
    type Value;

    /// A number or truth value.
    fn scalar(&mut self, value: IValue) -> Self::Value;

    /// A string.
    fn text(&mut self, text: &str) -> Self::Value;

    /// A byte array, or an array of bytes.
    fn bytes(&mut self, bytes: &[u8]) -> Self::Value;

    /// An array of `count` elements; `next` gives one after the other.
    fn array(
        &mut self,
        count: usize,
        next: impl FnMut(&mut Self) -> Result<Option<Self::Value>, MemoryError>,
    ) -> Result<Self::Value, MemoryError>;

    /// A record; `next` gives one field after the other, whose types it is told.
    fn record(
        &mut self,
        record: &RecordType,
        next: impl FnMut(&mut Self, &IType) -> Result<Self::Value, MemoryError>,
    ) -> Result<Self::Value, MemoryError>;
}

/// Makes interface values.
pub(crate) struct Values;

impl Make for Values {
    type Value = IValue;

    fn scalar(&mut self, value: IValue) -> IValue {
        value
    }

    fn text(&mut self, text: &str) -> IValue {
        IValue::String(text.to_owned())
    }

    fn bytes(&mut self, bytes: &[u8]) -> IValue {
        IValue::ByteArray(bytes.to_vec())
    }

    fn array(
        &mut self,
        count: usize,
        mut next: impl FnMut(&mut Self) -> Result<Option<IValue>, MemoryError>,
    ) -> Result<IValue, MemoryError> {
        let mut values = Vec::with_capacity(count);
        while let Some(value) = next(self)? {
            values.push(value);
        }
        Ok(IValue::Array(values))
    }

    fn record(
        &mut self,
        record: &RecordType,
        mut next: impl FnMut(&mut Self, &IType) -> Result<IValue, MemoryError>,
    ) -> Result<IValue, MemoryError> {
        let mut values = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            values.push(next(self, &field.ty)?);
        }
        Ok(IValue::Record(values))
    }
}

/// Reads values; counts what they cost the host.
pub(crate) struct Lift<'a, R> {
    memory: &'a [u8],
    records: &'a R,
    budget: usize,
    limit: usize,
}

impl<'a, R: Records> Lift<'a, R> {
    /// Values that take at most `limit` bytes of host memory in all.
    pub(crate) fn new(memory: &'a [u8], records: &'a R, limit: usize) -> Self {
        Self {
            memory,
            records,
            budget: limit,
            limit,
        }
    }

    /// The bytes of a string or byte array. Nothing is looked at for length 0: the pointer may
    /// dangle then.
    pub(crate) fn bytes(&mut self, pointer: u32, length: u32) -> Result<&'a [u8], MemoryError> {
        if length == 0 {
            return Ok(&[]);
        }
        let end = u64::from(pointer) + u64::from(length);
        let bytes = usize::try_from(end)
            .ok()
            .and_then(|end| self.memory.get(pointer as usize..end))
            .ok_or(MemoryError::Bytes {
                end,
                length: self.memory.len(),
            })?;
        self.charge(bytes.len())?;
        Ok(bytes)
    }

    pub(crate) fn string(&mut self, pointer: u32, length: u32) -> Result<&'a str, MemoryError> {
        std::str::from_utf8(self.bytes(pointer, length)?)
            .map_err(|source| MemoryError::NotUtf8 { source })
    }

    /// A value that is not on the stack of a call. `length` means nothing for records.
    pub(crate) fn value<M: Make>(
        &mut self,
        ty: &IType,
        pointer: u32,
        length: u32,
        make: &mut M,
    ) -> Result<M::Value, MemoryError> {
        match ty {
            IType::String => self.string(pointer, length).map(|text| make.text(text)),
            IType::ByteArray => self.bytes(pointer, length).map(|bytes| make.bytes(bytes)),
            IType::Array(element) => self.array(element, pointer, length, make),
            IType::Record(id) => self.record(*id, pointer, make),
            scalar => Err(type_error(scalar, "I32")),
        }
    }

    pub(crate) fn array<M: Make>(
        &mut self,
        element: &IType,
        pointer: u32,
        count: u32,
        make: &mut M,
    ) -> Result<M::Value, MemoryError> {
        if *element == IType::U8 {
            return self.bytes(pointer, count).map(|bytes| make.bytes(bytes));
        }
        let size = element.cell_size();
        let mut cells = match count {
            0 => [].chunks_exact(1),
            _ => self
                .range(pointer, u64::from(count) * u64::from(size))?
                .chunks_exact(size as usize),
        };
        self.charge(count as usize * size_of::<IValue>())?;
        make.array(count as usize, |make| {
            cells
                .next()
                .map(|cell| self.cell(element, cell, make))
                .transpose()
        })
    }

    pub(crate) fn record<M: Make>(
        &mut self,
        id: u32,
        pointer: u32,
        make: &mut M,
    ) -> Result<M::Value, MemoryError> {
        let records = self.records;
        let record = records
            .record(id)
            .ok_or(MemoryError::UnknownRecord { id })?;
        let size: u64 = record
            .fields
            .iter()
            .map(|field| u64::from(field.ty.cell_size()))
            .sum();
        let mut rest = self.range(pointer, size)?;
        self.charge(record.fields.len() * size_of::<IValue>())?;
        make.record(record, |make, ty| {
            let (cell, tail) = rest
                .split_at_checked(ty.cell_size() as usize)
                .ok_or_else(|| self.outside(pointer, size))?;
            rest = tail;
            self.cell(ty, cell, make)
        })
    }

    fn cell<M: Make>(
        &mut self,
        ty: &IType,
        cell: &[u8],
        make: &mut M,
    ) -> Result<M::Value, MemoryError> {
        let outside = || MemoryError::Range {
            offset: 0,
            size: 8,
            length: cell.len(),
        };
        let four = || cell.first_chunk::<4>().copied().ok_or_else(outside);
        let eight = || cell.first_chunk::<8>().copied().ok_or_else(outside);
        let two = || cell.first_chunk::<2>().copied().ok_or_else(outside);
        let one = || cell.first().copied().ok_or_else(outside);
        let scalar = match ty {
            IType::Boolean => IValue::Boolean(one()? != 0),
            IType::S8 => IValue::S8(one()?.cast_signed()),
            IType::U8 => IValue::U8(one()?),
            IType::S16 => IValue::S16(i16::from_le_bytes(two()?)),
            IType::U16 => IValue::U16(u16::from_le_bytes(two()?)),
            IType::S32 => IValue::S32(i32::from_le_bytes(four()?)),
            IType::I32 => IValue::I32(i32::from_le_bytes(four()?)),
            IType::U32 => IValue::U32(u32::from_le_bytes(four()?)),
            IType::F32 => IValue::F32(f32::from_le_bytes(four()?)),
            IType::S64 => IValue::S64(i64::from_le_bytes(eight()?)),
            IType::I64 => IValue::I64(i64::from_le_bytes(eight()?)),
            IType::U64 => IValue::U64(u64::from_le_bytes(eight()?)),
            IType::F64 => IValue::F64(f64::from_le_bytes(eight()?)),
            IType::Record(id) => return self.record(*id, u32::from_le_bytes(four()?), make),
            IType::String | IType::ByteArray | IType::Array(_) => {
                let both = u64::from_le_bytes(eight()?);
                return self.value(ty, both as u32, (both >> 32) as u32, make);
            }
        };
        Ok(make.scalar(scalar))
    }

    fn range(&self, offset: u32, size: u64) -> Result<&'a [u8], MemoryError> {
        let end = u64::from(offset)
            .checked_add(size)
            .and_then(|end| usize::try_from(end).ok());
        end.and_then(|end| self.memory.get(offset as usize..end))
            .ok_or_else(|| self.outside(offset, size))
    }

    fn outside(&self, offset: u32, size: u64) -> MemoryError {
        MemoryError::Range {
            offset,
            size,
            length: self.memory.len(),
        }
    }

    fn charge(&mut self, bytes: usize) -> Result<(), MemoryError> {
        self.budget = self
            .budget
            .checked_sub(bytes)
            .ok_or(MemoryError::TooLarge { limit: self.limit })?;
        Ok(())
    }
}

/// Writes bytes where the module wants them: pointer and length.
pub(crate) fn lower_bytes(
    guest: &mut (impl GuestMemory + ?Sized),
    bytes: &[u8],
) -> Result<(u32, u32), MemoryError> {
    let length = length_of(bytes.len())?;
    let pointer = guest.allocate(length, IType::U8.allocation_tag())?;
    write(guest, pointer, bytes)?;
    Ok((pointer, length))
}

/// Writes an array: pointer and count. An empty one needs no memory.
pub(crate) fn lower_array(
    guest: &mut (impl GuestMemory + ?Sized),
    element: &IType,
    values: &[IValue],
    records: &impl Records,
) -> Result<(u32, u32), MemoryError> {
    if values.is_empty() {
        return Ok((0, 0));
    }
    let size = values.len().saturating_mul(element.cell_size() as usize);
    let pointer = guest.allocate(length_of(size)?, element.allocation_tag())?;
    let mut cells = Vec::with_capacity(size);
    for value in values {
        lower_cell(guest, element, value, records, &mut cells)?;
    }
    write(guest, pointer, &cells)?;
    Ok((pointer, length_of(values.len())?))
}

/// Writes a record, what it contains first: pointer.
pub(crate) fn lower_record(
    guest: &mut (impl GuestMemory + ?Sized),
    id: u32,
    values: &[IValue],
    records: &impl Records,
) -> Result<u32, MemoryError> {
    let record = records
        .record(id)
        .ok_or(MemoryError::UnknownRecord { id })?;
    if record.fields.len() != values.len() {
        return Err(type_error(&IType::Record(id), "Record"));
    }
    let mut body = Vec::with_capacity(record.fields.len() * 8);
    for (field, value) in record.fields.iter().zip(values) {
        lower_cell(guest, &field.ty, value, records, &mut body)?;
    }
    let pointer = guest.allocate(length_of(body.len())?, IType::U8.allocation_tag())?;
    write(guest, pointer, &body)?;
    Ok(pointer)
}

fn lower_cell(
    guest: &mut (impl GuestMemory + ?Sized),
    ty: &IType,
    value: &IValue,
    records: &impl Records,
    cells: &mut Vec<u8>,
) -> Result<(), MemoryError> {
    let pair = |cells: &mut Vec<u8>, (pointer, length): (u32, u32)| {
        cells.extend_from_slice(&pointer.to_le_bytes());
        cells.extend_from_slice(&length.to_le_bytes());
    };
    match (value, ty) {
        (IValue::Boolean(value), IType::Boolean) => cells.push(u8::from(*value)),
        (IValue::S8(value), IType::S8) => cells.extend(value.to_le_bytes()),
        (IValue::U8(value), IType::U8) => cells.push(*value),
        (IValue::S16(value), IType::S16) => cells.extend(value.to_le_bytes()),
        (IValue::U16(value), IType::U16) => cells.extend(value.to_le_bytes()),
        (IValue::S32(value), IType::S32) | (IValue::I32(value), IType::I32) => {
            cells.extend(value.to_le_bytes());
        }
        (IValue::U32(value), IType::U32) => cells.extend(value.to_le_bytes()),
        (IValue::F32(value), IType::F32) => cells.extend(value.to_le_bytes()),
        (IValue::S64(value), IType::S64) | (IValue::I64(value), IType::I64) => {
            cells.extend(value.to_le_bytes());
        }
        (IValue::U64(value), IType::U64) => cells.extend(value.to_le_bytes()),
        (IValue::F64(value), IType::F64) => cells.extend(value.to_le_bytes()),
        (IValue::String(text), IType::String) => pair(cells, lower_bytes(guest, text.as_bytes())?),
        (IValue::Record(values), IType::Record(id)) => {
            cells.extend(lower_record(guest, *id, values, records)?.to_le_bytes());
        }
        (value, IType::ByteArray | IType::Array(_)) => {
            pair(cells, lower_sequence(guest, ty, value, records)?);
        }
        (value, ty) => return Err(type_error(ty, kind(value))),
    }
    Ok(())
}

/// Writes a byte array or array given as either kind of value: pointer and count.
pub(crate) fn lower_sequence(
    guest: &mut (impl GuestMemory + ?Sized),
    ty: &IType,
    value: &IValue,
    records: &impl Records,
) -> Result<(u32, u32), MemoryError> {
    match (value, ty) {
        (IValue::ByteArray(bytes), IType::ByteArray) => lower_bytes(guest, bytes),
        (IValue::ByteArray(bytes), IType::Array(element)) if **element == IType::U8 => {
            lower_bytes(guest, bytes)
        }
        (IValue::Array(values), IType::ByteArray) => {
            lower_array(guest, &IType::U8, values, records)
        }
        (IValue::Array(values), IType::Array(element)) => {
            lower_array(guest, element, values, records)
        }
        (value, ty) => Err(type_error(ty, kind(value))),
    }
}

pub(crate) fn write(
    guest: &mut (impl GuestMemory + ?Sized),
    pointer: u32,
    bytes: &[u8],
) -> Result<(), MemoryError> {
    if bytes.is_empty() {
        return Ok(());
    }
    if pointer == 0 {
        return Err(MemoryError::Allocate {
            reason: format!("it returned 0 for {} bytes", bytes.len()),
            trap: None,
        });
    }
    let memory = guest.memory();
    let length = memory.len();
    let start = pointer as usize;
    match start
        .checked_add(bytes.len())
        .and_then(|end| memory.get_mut(start..end))
    {
        Some(place) => {
            place.copy_from_slice(bytes);
            Ok(())
        }
        None => Err(MemoryError::Range {
            offset: pointer,
            size: bytes.len() as u64,
            length,
        }),
    }
}

fn length_of(size: usize) -> Result<u32, MemoryError> {
    u32::try_from(size).map_err(|_| MemoryError::TooLong { size })
}

fn type_error(ty: &IType, value: &'static str) -> MemoryError {
    MemoryError::Type {
        ty: format!("{ty:?}"),
        value,
    }
}

/// The kind of a value as error messages name it.
pub(crate) fn kind(value: &IValue) -> &'static str {
    match value {
        IValue::Boolean(_) => "Boolean",
        IValue::S8(_) => "S8",
        IValue::S16(_) => "S16",
        IValue::S32(_) => "S32",
        IValue::S64(_) => "S64",
        IValue::U8(_) => "U8",
        IValue::U16(_) => "U16",
        IValue::U32(_) => "U32",
        IValue::U64(_) => "U64",
        IValue::F32(_) => "F32",
        IValue::F64(_) => "F64",
        IValue::String(_) => "String",
        IValue::ByteArray(_) => "ByteArray",
        IValue::Array(_) => "Array",
        IValue::I32(_) => "I32",
        IValue::I64(_) => "I64",
        IValue::Record(_) => "Record",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A guest that hands out its memory from the front.
    struct Bump {
        memory: Vec<u8>,
        next: u32,
    }

    impl GuestMemory for Bump {
        fn memory(&mut self) -> &mut [u8] {
            &mut self.memory
        }

        fn allocate(&mut self, size: u32, _: u32) -> Result<u32, MemoryError> {
            if size == 0 {
                return Ok(0);
            }
            let pointer = self.next;
            self.next += size;
            self.memory.resize(self.next as usize, 0);
            Ok(pointer)
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let ty = IType::Array(Arc::new(IType::Array(Arc::new(IType::String))));
        let text = |text: &str| IValue::String(text.to_owned());
        let value = IValue::Array(vec![
            IValue::Array(vec![text("a"), text(""), text("ünï")]),
            IValue::Array(Vec::new()),
        ]);
        let mut guest = Bump {
            memory: Vec::new(),
            next: 16,
        };
        let (pointer, count) = lower_sequence(&mut guest, &ty, &value, &()).unwrap();
        let IType::Array(element) = &ty else {
            unreachable!()
        };
        let lifted = Lift::new(&guest.memory, &(), 1 << 20)
            .array(element, pointer, count, &mut Values)
            .unwrap();
        assert_eq!(lifted, value);
    }

    #[test]
    fn pointers_outside_are_errors_and_ends_are_not() {
        let memory = [b'a'; 16];
        let mut lift = Lift::new(&memory, &(), 1 << 20);
        assert_eq!(lift.string(8, 8).unwrap(), "aaaaaaaa");
        assert_eq!(lift.bytes(u32::MAX, 0).unwrap(), b"");
        assert_eq!(
            lift.bytes(9, 8).unwrap_err().to_string(),
            "read out of the memory bounds (index 17 > memory length 16)"
        );
        assert_eq!(
            lift.array(&IType::U64, u32::MAX, u32::MAX, &mut Values)
                .unwrap_err()
                .to_string(),
            "Out-of-bound Wasm memory access: offset 4294967295, size 34359738360, while \
             memory_size 16"
        );
    }

    #[test]
    fn overlapping_pointers_cannot_multiply_memory() {
        // 8192 arrays, each of them all of the memory.
        let cell = [0_u32.to_le_bytes(), 65_536_u32.to_le_bytes()].concat();
        let memory = cell.repeat(8192);
        let inner = IType::Array(Arc::new(IType::S8));
        let error = Lift::new(&memory, &(), 1 << 20)
            .array(&inner, 0, 8192, &mut Values)
            .unwrap_err();
        assert!(matches!(error, MemoryError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn an_allocator_that_fails_is_noticed() {
        struct Null;
        impl GuestMemory for Null {
            fn memory(&mut self) -> &mut [u8] {
                &mut []
            }
            fn allocate(&mut self, _: u32, _: u32) -> Result<u32, MemoryError> {
                Ok(0)
            }
        }
        assert_eq!(lower_bytes(&mut Null, b"").unwrap(), (0, 0));
        assert!(matches!(
            lower_bytes(&mut Null, b"a"),
            Err(MemoryError::Allocate { .. })
        ));
    }
}
