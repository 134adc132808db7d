//! Adapters of the SDK's form, understood once.

use super::{
    ExecutionError, Lifted, Link, LinkedModule, Returned,
    interpreter::{from_core, from_raw, integer},
};
use crate::{
    backend::{CoreSignature, CoreType, Store},
    itypes::{
        IType, IValue,
        memory::{
            GuestMemory as _, Lift, MemoryError, Values, kind, lower_bytes, lower_record,
            lower_sequence,
        },
        templates::{
            self, GET_RESULT_PTR, GET_RESULT_SIZE, RELEASE_OBJECTS, SET_RESULT_PTR, SET_RESULT_SIZE,
        },
    },
    module::{Adapter, Core, Function, Instruction, Integer, InterfaceSection},
};

/// Values that fit on the stack of a call.
const INLINE: usize = 16;

/// How to call an exported function.
#[derive(Debug)]
pub(crate) struct ExportPlan {
    arguments: Vec<IType>,
    output: Option<IType>,
    core: usize,
    slots: usize,
}

/// How to serve an imported function.
#[derive(Debug)]
pub(crate) struct ImportPlan {
    arguments: Vec<IType>,
    output: Option<IType>,
    release: bool,
    link: usize,
}

impl ExportPlan {
    /// The plan for an adapter, if it is one of the SDK's; `core` are the core exports.
    pub(crate) fn of(
        function: &Function,
        adapter: &Adapter,
        core: &[super::CoreFunction],
    ) -> Option<Self> {
        let index = adapter
            .instructions
            .iter()
            .find_map(|instruction| match instruction {
                Instruction::CallCore(index) if *index > SET_RESULT_PTR => Some(*index),
                _ => None,
            })?;
        if function.outputs.len() > 1
            || templates::export(function, index) != adapter.instructions
            || !has_service_functions(core)
        {
            return None;
        }
        let signature = &core.get(index as usize)?.signature;
        let arguments: Vec<IType> = function
            .arguments
            .iter()
            .map(|argument| argument.ty.clone())
            .collect();
        let output = function.outputs.first().cloned();
        if *signature != flatten(&arguments, output.as_ref()) {
            return None;
        }
        let slots = signature.parameters.len().max(signature.results.len());
        Some(Self {
            arguments,
            output,
            core: index as usize,
            slots,
        })
    }

    pub(super) fn run<T>(
        &self,
        module: &LinkedModule,
        store: &mut dyn Store,
        arguments: &[IValue],
        look: impl FnOnce(Returned<'_>) -> Result<T, MemoryError>,
    ) -> Result<T, ExecutionError> {
        let mut inline = [0; INLINE];
        let mut spilled = Vec::new();
        let values = match inline.get_mut(..self.slots) {
            Some(values) => values,
            None => {
                spilled.resize(self.slots, 0);
                spilled.as_mut_slice()
            }
        };
        let mut slots = values.iter_mut();
        let mut put = |value: u64| {
            if let Some(slot) = slots.next() {
                *slot = value;
            }
        };
        for (index, ty) in self.arguments.iter().enumerate() {
            let value = arguments.get(index).ok_or_else(|| {
                ExecutionError::new(
                    format!("arg.get {index}"),
                    format!("cannot access invocation inputs #{index} because it doesn't exist"),
                )
            })?;
            let fail = |error| ExecutionError::memory(lowering(ty), error);
            match lower(module, store, ty, value).map_err(fail)? {
                Lowered::One(value) => put(value),
                Lowered::Two(pointer, length) => {
                    put(pointer.into());
                    put(length.into());
                }
            }
        }
        module.call_core(store, self.core, values)?;
        let scalar = match &self.output {
            Some(ty) if ty.is_complex() => None,
            Some(ty) => Some(vec![lift_scalar(ty, values.first().copied().unwrap_or(0))]),
            None => Some(Vec::new()),
        };
        let fail = |error| {
            let lifting = self.output.as_ref().map(lifting);
            ExecutionError::memory(lifting.unwrap_or(Instruction::Dup), error)
        };
        let (Some(ty), None) = (&self.output, &scalar) else {
            return look(Returned::Values(scalar.unwrap_or_default())).map_err(fail);
        };
        let pointer = register(module, store, GET_RESULT_PTR)?;
        let length = match ty {
            IType::Record(_) => 0,
            _ => register(module, store, GET_RESULT_SIZE)?,
        };
        let mut guest = module.guest(store);
        let lift = Lift::new(guest.memory(), &*module.section, module.value_size);
        let result = look(Returned::Lifted(Lifted {
            lift,
            ty,
            pointer,
            length,
        }))
        .map_err(fail)?;
        module.call_core(store, RELEASE_OBJECTS as usize, &mut [])?;
        Ok(result)
    }
}

impl ImportPlan {
    /// The plan for an adapter, if it is one of the SDK's; `function` is the imported function.
    pub(crate) fn of(
        function: &Function,
        adapter: &Adapter,
        section: &InterfaceSection,
        core: &[super::CoreFunction],
    ) -> Option<Self> {
        let exports = section.exports.len();
        let index = adapter
            .instructions
            .iter()
            .find_map(|instruction| match instruction {
                Instruction::CallCore(index) if *index as usize >= exports => Some(*index),
                _ => None,
            })?;
        if function.outputs.len() > 1
            || templates::import(function, index) != adapter.instructions
            || !has_service_functions(core)
        {
            return None;
        }
        let arguments: Vec<IType> = function
            .arguments
            .iter()
            .map(|argument| argument.ty.clone())
            .collect();
        Some(Self {
            release: arguments.iter().any(IType::is_complex),
            output: function.outputs.first().cloned(),
            arguments,
            link: index as usize - exports,
        })
    }

    /// The core type that the adapter has.
    pub(crate) fn signature(&self) -> CoreSignature {
        flatten(&self.arguments, self.output.as_ref())
    }

    pub(crate) fn run(
        &self,
        module: &LinkedModule,
        store: &mut dyn Store,
        raw: &[u64],
        results: &mut [u64],
    ) -> Result<(), ExecutionError> {
        let arguments = lift_arguments(&self.arguments, module, store, raw)?;
        if self.release {
            module.call_core(store, RELEASE_OBJECTS as usize, &mut [])?;
        }
        let index = self.link + module.core.len();
        let link = module.links.get(self.link).ok_or_else(|| {
            ExecutionError::new(
                format!("call-core {index}"),
                format!("the local or import function `{index}` doesn't exist"),
            )
        })?;
        let output = link
            .run(store, &arguments)
            .map_err(|error| ExecutionError::callee(index, &link.name, error.into_trap()))?;
        let Some(ty) = &self.output else {
            return Ok(());
        };
        let value = output.first().ok_or_else(|| {
            ExecutionError::new(format!("call-core {index}"), "returned no value")
        })?;
        lower_output(ty, module, store, value, results)
    }
}

/// Reads what a module passed to a function of these types.
pub(crate) fn lift_arguments(
    types: &[IType],
    module: &LinkedModule,
    store: &mut dyn Store,
    raw: &[u64],
) -> Result<Vec<IValue>, ExecutionError> {
    let mut raw = raw.iter().copied();
    let mut next = || raw.next().unwrap_or(0);
    let mut arguments = Vec::with_capacity(types.len());
    for ty in types {
        let first = next();
        if !ty.is_complex() {
            arguments.push(lift_scalar(ty, first));
            continue;
        }
        let length = if matches!(ty, IType::Record(_)) {
            0
        } else {
            next()
        };
        let mut guest = module.guest(store);
        let mut lift = Lift::new(guest.memory(), &*module.section, module.value_size);
        let value = lift
            .value(ty, first as u32, length as u32, &mut Values)
            .map_err(|error| ExecutionError::memory(lifting(ty), error))?;
        arguments.push(value);
    }
    Ok(arguments)
}

/// Gives a module the result of a function that it imports.
pub(crate) fn lower_output(
    ty: &IType,
    module: &LinkedModule,
    store: &mut dyn Store,
    value: &IValue,
    results: &mut [u64],
) -> Result<(), ExecutionError> {
    let fail = |error| ExecutionError::memory(lowering(ty), error);
    match lower(module, store, ty, value).map_err(fail)? {
        Lowered::One(pointer) if ty.is_complex() => {
            module.call_core(store, SET_RESULT_PTR as usize, &mut [pointer])?;
        }
        Lowered::One(value) => {
            if let Some(slot) = results.first_mut() {
                *slot = value;
            }
        }
        Lowered::Two(pointer, length) => {
            module.call_core(store, SET_RESULT_SIZE as usize, &mut [length.into()])?;
            module.call_core(store, SET_RESULT_PTR as usize, &mut [pointer.into()])?;
        }
    }
    Ok(())
}

impl Link {
    /// Calls the function in the other module.
    pub(super) fn run(
        &self,
        store: &mut dyn Store,
        arguments: &[IValue],
    ) -> Result<Vec<IValue>, ExecutionError> {
        match self.callee.functions.get(&self.name) {
            Some(function) => self.callee.call(store, function, arguments),
            None => Err(ExecutionError::new(
                "call-core",
                format!(
                    "module with name '{}' doesn't have function with name {}",
                    self.callee.name, self.name
                ),
            )),
        }
    }
}

enum Lowered {
    One(u64),
    Two(u32, u32),
}

fn lower(
    module: &LinkedModule,
    store: &mut dyn Store,
    ty: &IType,
    value: &IValue,
) -> Result<Lowered, MemoryError> {
    let section = &*module.section;
    let mut guest = module.guest(store);
    let scalar = match (value, ty) {
        (IValue::String(text), IType::String) => {
            let (pointer, length) = lower_bytes(&mut guest, text.as_bytes())?;
            return Ok(Lowered::Two(pointer, length));
        }
        (value, IType::ByteArray | IType::Array(_)) => {
            let (pointer, count) = lower_sequence(&mut guest, ty, value, section)?;
            return Ok(Lowered::Two(pointer, count));
        }
        (IValue::Record(values), IType::Record(id)) => {
            Some(u64::from(lower_record(&mut guest, *id, values, section)?))
        }
        (IValue::Boolean(value), IType::Boolean) => Some(u64::from(*value)),
        (IValue::F32(value), IType::F32) => Some(u64::from(value.to_bits())),
        (IValue::F64(value), IType::F64) => Some(value.to_bits()),
        (IValue::I32(value), IType::I32) => Some(u64::from(value.cast_unsigned())),
        (IValue::I64(value), IType::I64) => Some(value.cast_unsigned()),
        (value, ty) => integer_type(ty)
            .and_then(|integer_type| integer(value, integer_type))
            .map(|value| match core_type(ty) {
                CoreType::I32 => u64::from(value as u32),
                _ => value.cast_unsigned(),
            }),
    };
    scalar.map(Lowered::One).ok_or_else(|| MemoryError::Type {
        ty: format!("{ty:?}"),
        value: kind(value),
    })
}

fn lift_scalar(ty: &IType, raw: u64) -> IValue {
    match ty {
        IType::Boolean => IValue::Boolean(raw as u32 != 0),
        other => match integer_type(other) {
            Some(integer) if core_type(other) == CoreType::I32 => {
                from_core(integer, i64::from(raw as u32 as i32))
            }
            Some(integer) => from_core(integer, raw.cast_signed()),
            None => from_raw(raw, core_type(other)),
        },
    }
}

fn register(
    module: &LinkedModule,
    store: &mut dyn Store,
    index: u32,
) -> Result<u32, ExecutionError> {
    let mut values = [0];
    module.call_core(store, index as usize, &mut values)?;
    let [value] = values;
    Ok(value as u32)
}

/// Whether the first six exports are what every adapter of the SDK calls.
pub(crate) fn has_service_functions(core: &[super::CoreFunction]) -> bool {
    const INT: &[CoreType] = &[CoreType::I32];
    let expected: [(&[CoreType], &[CoreType]); 6] = [
        (&[CoreType::I32, CoreType::I32], INT),
        (&[], &[]),
        (&[], INT),
        (&[], INT),
        (INT, &[]),
        (INT, &[]),
    ];
    core.len() >= expected.len()
        && core
            .iter()
            .zip(expected)
            .all(|(function, (parameters, results))| {
                function.signature.parameters == parameters && function.signature.results == results
            })
}

/// The core type of a function with these interface types.
pub(crate) fn flatten(arguments: &[IType], output: Option<&IType>) -> CoreSignature {
    let mut signature = CoreSignature::default();
    for ty in arguments {
        signature.parameters.push(core_type(ty));
        if ty.is_complex() && !matches!(ty, IType::Record(_)) {
            signature.parameters.push(CoreType::I32);
        }
    }
    signature
        .results
        .extend(output.filter(|ty| !ty.is_complex()).map(core_type));
    signature
}

fn core_type(ty: &IType) -> CoreType {
    match ty {
        IType::S64 | IType::U64 | IType::I64 => CoreType::I64,
        IType::F32 => CoreType::F32,
        IType::F64 => CoreType::F64,
        _ => CoreType::I32,
    }
}

fn integer_type(ty: &IType) -> Option<Integer> {
    Some(match ty {
        IType::S8 => Integer::S8,
        IType::S16 => Integer::S16,
        IType::S32 => Integer::S32,
        IType::S64 => Integer::S64,
        IType::U8 => Integer::U8,
        IType::U16 => Integer::U16,
        IType::U32 => Integer::U32,
        IType::U64 => Integer::U64,
        _ => return None,
    })
}

/// The instruction that lowers values of a type, for messages.
fn lowering(ty: &IType) -> Instruction {
    match ty {
        IType::String => Instruction::StringLower,
        IType::ByteArray => Instruction::ArrayLower(IType::U8),
        IType::Array(element) => Instruction::ArrayLower((**element).clone()),
        IType::Record(id) => Instruction::RecordLower(*id),
        IType::Boolean => Instruction::I32FromBool,
        other => {
            let to = if core_type(other) == CoreType::I64 {
                Core::I64
            } else {
                Core::I32
            };
            match integer_type(other) {
                Some(from) => Instruction::ToCore { to, from },
                None => Instruction::ArgumentGet(0),
            }
        }
    }
}

/// The instruction that lifts values of a type, for messages.
fn lifting(ty: &IType) -> Instruction {
    match ty {
        IType::String => Instruction::StringLift,
        IType::Array(element) => Instruction::ArrayLift((**element).clone()),
        IType::Record(id) => Instruction::RecordLift(*id),
        _ => Instruction::ByteArrayLift,
    }
}
