//! Adapters one instruction at a time.

use super::{ExecutionError, LinkedModule};
use crate::{
    backend::{CoreType, Store},
    itypes::{
        IType, IValue,
        memory::{GuestMemory as _, Lift, Values, kind, lower_array, lower_bytes, lower_record},
    },
    limits::MAX_ADAPTER_STACK,
    module::{Core, Instruction, Integer},
};

/// Runs an adapter; what it leaves on its stack is the result.
pub(super) fn run(
    module: &LinkedModule,
    store: &mut dyn Store,
    instructions: &[Instruction],
    arguments: &[IValue],
) -> Result<Vec<IValue>, ExecutionError> {
    let mut machine = Machine {
        module,
        store,
        arguments,
        stack: Vec::new(),
    };
    for instruction in instructions {
        machine.step(instruction)?;
        if machine.stack.len() > MAX_ADAPTER_STACK {
            return Err(ExecutionError::new(
                instruction,
                format!("needs more than {MAX_ADAPTER_STACK} values on the stack"),
            ));
        }
    }
    Ok(machine.stack)
}

struct Machine<'a> {
    module: &'a LinkedModule,
    store: &'a mut dyn Store,
    arguments: &'a [IValue],
    stack: Vec<IValue>,
}

impl Machine<'_> {
    fn step(&mut self, instruction: &Instruction) -> Result<(), ExecutionError> {
        let section = &self.module.section;
        let fail = |error| ExecutionError::memory(instruction, error);
        match instruction {
            Instruction::ArgumentGet(index) => {
                let Some(argument) = self.arguments.get(*index as usize) else {
                    return Err(ExecutionError::new(
                        instruction,
                        format!(
                            "cannot access invocation inputs #{index} because it doesn't exist"
                        ),
                    ));
                };
                self.stack.push(argument.clone());
            }
            Instruction::CallCore(index) => self.call(instruction, *index as usize)?,
            Instruction::FromCore { to, from } => {
                let value = self.core(instruction, *from)?;
                self.stack.push(from_core(*to, value));
            }
            Instruction::ToCore { to, from } => {
                let [value] = self.pop(instruction)?;
                let value =
                    integer(&value, *from).ok_or_else(|| wrong(instruction, from, &value))?;
                self.stack.push(match to {
                    Core::I32 => IValue::I32(value as i32),
                    Core::I64 => IValue::I64(value),
                });
            }
            Instruction::StringLift => {
                let (pointer, length) = self.range(instruction)?;
                let limit = self.module.value_size;
                let memory = self.memory(instruction)?;
                let text = Lift::new(memory, &(), limit)
                    .string(pointer, length)
                    .map_err(fail)?
                    .to_owned();
                self.stack.push(IValue::String(text));
            }
            Instruction::ByteArrayLift => {
                let (pointer, length) = self.range(instruction)?;
                let limit = self.module.value_size;
                let memory = self.memory(instruction)?;
                let bytes = Lift::new(memory, &(), limit)
                    .bytes(pointer, length)
                    .map_err(fail)?
                    .to_vec();
                self.stack.push(IValue::ByteArray(bytes));
            }
            Instruction::ArrayLift(element) => {
                let (pointer, count) = self.range(instruction)?;
                let section = section.clone();
                let limit = self.module.value_size;
                let memory = self.memory(instruction)?;
                let lifted =
                    Lift::new(memory, &*section, limit).array(element, pointer, count, &mut Values);
                self.stack.push(lifted.map_err(fail)?);
            }
            Instruction::RecordLift(id) => {
                let pointer = self.core(instruction, Core::I32)? as u32;
                let section = section.clone();
                let limit = self.module.value_size;
                let memory = self.memory(instruction)?;
                let lifted = Lift::new(memory, &*section, limit).record(*id, pointer, &mut Values);
                self.stack.push(lifted.map_err(fail)?);
            }
            Instruction::StringLower => {
                let [pointer, value] = self.pop(instruction)?;
                let IValue::String(text) = value else {
                    return Err(wrong(instruction, &IType::String, &value));
                };
                self.place(instruction, &pointer, text.as_bytes())?;
            }
            Instruction::ByteArrayLower => {
                let [pointer, value] = self.pop(instruction)?;
                let bytes = bytes_of(&value)
                    .ok_or_else(|| wrong(instruction, &IType::ByteArray, &value))?;
                self.place(instruction, &pointer, &bytes)?;
            }
            Instruction::ArrayLower(element) => {
                let [value] = self.pop(instruction)?;
                let mut guest = self.module.guest(self.store);
                let (pointer, count) = match &value {
                    IValue::ByteArray(bytes) if *element == IType::U8 => {
                        lower_bytes(&mut guest, bytes)
                    }
                    IValue::Array(values) => {
                        if !values
                            .iter()
                            .all(|value| value.has_type(element, &**section))
                        {
                            return Err(wrong(instruction, element, &value));
                        }
                        lower_array(&mut guest, element, values, &**section)
                    }
                    _ => return Err(wrong(instruction, element, &value)),
                }
                .map_err(fail)?;
                self.push_range(pointer, count);
            }
            Instruction::RecordLower(id) => {
                let [value] = self.pop(instruction)?;
                let IValue::Record(values) = &value else {
                    return Err(wrong(instruction, &IType::Record(*id), &value));
                };
                let mut guest = self.module.guest(self.store);
                let pointer = lower_record(&mut guest, *id, values, &**section).map_err(fail)?;
                self.stack.push(IValue::I32(pointer.cast_signed()));
            }
            Instruction::StringSize => {
                let [value] = self.pop(instruction)?;
                let IValue::String(text) = &value else {
                    return Err(wrong(instruction, &IType::String, &value));
                };
                self.push_size(instruction, text.len())?;
            }
            Instruction::ByteArraySize => {
                let [value] = self.pop(instruction)?;
                let size = match &value {
                    IValue::ByteArray(bytes) => bytes.len(),
                    IValue::Array(values) => values.len(),
                    _ => return Err(wrong(instruction, &IType::ByteArray, &value)),
                };
                self.push_size(instruction, size)?;
            }
            Instruction::Dup => {
                let [value] = self.pop(instruction)?;
                self.stack.push(value.clone());
                self.stack.push(value);
            }
            Instruction::Swap2 => {
                let [below, top] = self.pop(instruction)?;
                self.stack.push(top);
                self.stack.push(below);
            }
            Instruction::BoolFromI32 => {
                let value = self.core(instruction, Core::I32)?;
                self.stack.push(IValue::Boolean(value != 0));
            }
            Instruction::I32FromBool => {
                let [value] = self.pop(instruction)?;
                let IValue::Boolean(value) = value else {
                    return Err(wrong(instruction, &IType::Boolean, &value));
                };
                self.stack.push(IValue::I32(value.into()));
            }
            Instruction::PushI32(value) => self.stack.push(IValue::I32(*value)),
            Instruction::PushI64(value) => self.stack.push(IValue::I64(*value)),
        }
        Ok(())
    }

    fn call(&mut self, instruction: &Instruction, index: usize) -> Result<(), ExecutionError> {
        if let Some(function) = self.module.core.get(index) {
            let parameters = &function.signature.parameters;
            let arguments = self.pop_many(instruction, parameters.len())?;
            let slots = parameters.len().max(function.signature.results.len());
            let mut values = Vec::with_capacity(slots);
            for (argument, ty) in arguments.iter().zip(parameters) {
                values.push(raw(instruction, argument, *ty)?);
            }
            values.resize(slots, 0);
            self.module.call_core(self.store, index, &mut values)?;
            let results = function.signature.results.iter().zip(values);
            self.stack
                .extend(results.map(|(ty, raw)| from_raw(raw, *ty)));
            return Ok(());
        }
        let link = index.checked_sub(self.module.core.len());
        let Some(link) = link.and_then(|link| self.module.links.get(link)) else {
            return Err(ExecutionError::new(
                instruction,
                format!("the local or import function `{index}` doesn't exist"),
            ));
        };
        let arguments = self.pop_many(instruction, link.function.arguments.len())?;
        for (value, argument) in arguments.iter().zip(&link.function.arguments) {
            if !value.has_type(&argument.ty, &*self.module.section) {
                return Err(wrong(instruction, &argument.ty, value));
            }
        }
        let results = link.run(self.store, &arguments).map_err(|error| {
            let trap = error.into_trap();
            ExecutionError::callee(index, &link.name, trap)
        })?;
        self.stack.extend(results);
        Ok(())
    }

    fn pop_many(
        &mut self,
        instruction: &Instruction,
        count: usize,
    ) -> Result<Vec<IValue>, ExecutionError> {
        match self.stack.len().checked_sub(count) {
            Some(start) => Ok(self.stack.split_off(start)),
            None => Err(ExecutionError::new(
                instruction,
                format!(
                    "needed to read `{count}` value(s) from the stack, but it doesn't contain \
                     enough data"
                ),
            )),
        }
    }

    /// Takes the topmost values, the lowest of them first.
    fn pop<const N: usize>(
        &mut self,
        instruction: &Instruction,
    ) -> Result<[IValue; N], ExecutionError> {
        self.pop_many(instruction, N)?.try_into().map_err(|_| {
            ExecutionError::new(
                instruction,
                "found another number of values than it asked for",
            )
        })
    }

    fn core(&mut self, instruction: &Instruction, ty: Core) -> Result<i64, ExecutionError> {
        let [value] = self.pop(instruction)?;
        match (&value, ty) {
            (IValue::I32(value), Core::I32) => Ok((*value).into()),
            (IValue::I64(value), Core::I64) => Ok(*value),
            _ => Err(wrong(instruction, &ty, &value)),
        }
    }

    fn range(&mut self, instruction: &Instruction) -> Result<(u32, u32), ExecutionError> {
        let length = self.core(instruction, Core::I32)? as u32;
        let pointer = self.core(instruction, Core::I32)? as u32;
        Ok((pointer, length))
    }

    fn push_range(&mut self, pointer: u32, length: u32) {
        self.stack.push(IValue::I32(pointer.cast_signed()));
        self.stack.push(IValue::I32(length.cast_signed()));
    }

    fn push_size(&mut self, instruction: &Instruction, size: usize) -> Result<(), ExecutionError> {
        let size = u32::try_from(size).map_err(|_| {
            ExecutionError::new(instruction, format!("{size} bytes fit into no module"))
        })?;
        self.stack.push(IValue::I32(size.cast_signed()));
        Ok(())
    }

    fn memory(&mut self, instruction: &Instruction) -> Result<&mut [u8], ExecutionError> {
        match self.module.memory {
            Some(memory) => Ok(self.store.memory(memory)),
            None => Err(ExecutionError::new(
                instruction,
                "memory `0` does not exist",
            )),
        }
    }

    /// Writes bytes to memory that the adapter got itself: pointer and length.
    fn place(
        &mut self,
        instruction: &Instruction,
        pointer: &IValue,
        bytes: &[u8],
    ) -> Result<(), ExecutionError> {
        let IValue::I32(pointer) = pointer else {
            return Err(wrong(instruction, &Core::I32, pointer));
        };
        let pointer = pointer.cast_unsigned();
        let mut guest = self.module.guest(self.store);
        // Writing checks the range; `memory` is asked anew since the module ran in between.
        if guest.memory().is_empty() && !bytes.is_empty() {
            return Err(ExecutionError::new(
                instruction,
                "memory `0` does not exist",
            ));
        }
        crate::itypes::memory::write(&mut guest, pointer, bytes)
            .map_err(|error| ExecutionError::memory(instruction, error))?;
        self.stack.push(IValue::I32(pointer.cast_signed()));
        self.push_size(instruction, bytes.len())
    }
}

fn wrong(
    instruction: &Instruction,
    expected: &dyn std::fmt::Debug,
    value: &IValue,
) -> ExecutionError {
    ExecutionError::new(
        instruction,
        format!(
            "read a value `{expected:?}` from the stack, that can't be converted to `{}`",
            kind(value)
        ),
    )
}

fn bytes_of(value: &IValue) -> Option<Vec<u8>> {
    match value {
        IValue::ByteArray(bytes) => Some(bytes.clone()),
        IValue::Array(values) => values
            .iter()
            .map(|value| match value {
                IValue::U8(byte) => Some(*byte),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// Cuts off what does not fit and keeps the sign: equal widths are the same bits.
pub(super) fn from_core(to: Integer, value: i64) -> IValue {
    match to {
        Integer::S8 => IValue::S8(value as i8),
        Integer::S16 => IValue::S16(value as i16),
        Integer::S32 => IValue::S32(value as i32),
        Integer::S64 => IValue::S64(value),
        Integer::U8 => IValue::U8(value as u8),
        Integer::U16 => IValue::U16(value as u16),
        Integer::U32 => IValue::U32(value as u32),
        Integer::U64 => IValue::U64(value.cast_unsigned()),
    }
}

pub(super) fn integer(value: &IValue, ty: Integer) -> Option<i64> {
    Some(match (value, ty) {
        (IValue::S8(value), Integer::S8) => (*value).into(),
        (IValue::S16(value), Integer::S16) => (*value).into(),
        (IValue::S32(value), Integer::S32) => (*value).into(),
        (IValue::S64(value), Integer::S64) => *value,
        (IValue::U8(value), Integer::U8) => (*value).into(),
        (IValue::U16(value), Integer::U16) => (*value).into(),
        (IValue::U32(value), Integer::U32) => (*value).into(),
        (IValue::U64(value), Integer::U64) => value.cast_signed(),
        _ => return None,
    })
}

pub(crate) fn from_raw(raw: u64, ty: CoreType) -> IValue {
    match ty {
        CoreType::I32 => IValue::I32(raw as u32 as i32),
        CoreType::I64 => IValue::I64(raw.cast_signed()),
        CoreType::F32 => IValue::F32(f32::from_bits(raw as u32)),
        CoreType::F64 => IValue::F64(f64::from_bits(raw)),
    }
}

pub(super) fn raw(
    instruction: &Instruction,
    value: &IValue,
    ty: CoreType,
) -> Result<u64, ExecutionError> {
    match (value, ty) {
        (IValue::I32(value), CoreType::I32) => Ok(u64::from(value.cast_unsigned())),
        (IValue::I64(value), CoreType::I64) => Ok(value.cast_unsigned()),
        (IValue::F32(value), CoreType::F32) => Ok(u64::from(value.to_bits())),
        (IValue::F64(value), CoreType::F64) => Ok(value.to_bits()),
        _ => Err(ExecutionError::new(
            instruction,
            format!(
                "failed to cast the WIT value `{}` to its native type",
                kind(value)
            ),
        )),
    }
}
