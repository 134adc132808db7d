//! The adapters that the SDK generates (“Call protocol, ownership” in the protocol description).
//!
//! One description serves to generate them and to recognise them.

use crate::{
    itypes::IType,
    module::{Core, Function, Instruction, Integer},
};

/// Indices of the functions that every module exports first.
pub(crate) const ALLOCATE: u32 = 0;
pub(crate) const RELEASE_OBJECTS: u32 = 1;
pub(crate) const GET_RESULT_SIZE: u32 = 2;
pub(crate) const GET_RESULT_PTR: u32 = 3;
pub(crate) const SET_RESULT_SIZE: u32 = 4;
pub(crate) const SET_RESULT_PTR: u32 = 5;

/// The adapter of an exported function: interface values in, core call, interface value out.
pub(crate) fn export(function: &Function, core: u32) -> Vec<Instruction> {
    let mut code = Vec::new();
    for (index, argument) in (0_u32..).zip(&function.arguments) {
        code.push(Instruction::ArgumentGet(index));
        match &argument.ty {
            IType::String => code.extend([
                Instruction::StringSize,
                Instruction::PushI32(1),
                Instruction::CallCore(ALLOCATE),
                Instruction::ArgumentGet(index),
                Instruction::StringLower,
            ]),
            IType::ByteArray => code.push(Instruction::ArrayLower(IType::U8)),
            IType::Array(element) => code.push(Instruction::ArrayLower((**element).clone())),
            IType::Record(id) => code.push(Instruction::RecordLower(*id)),
            scalar => code.extend(to_core(scalar)),
        }
    }
    code.push(Instruction::CallCore(core));
    for output in &function.outputs {
        match output {
            IType::Record(id) => code.extend([
                Instruction::CallCore(GET_RESULT_PTR),
                Instruction::RecordLift(*id),
                Instruction::CallCore(RELEASE_OBJECTS),
            ]),
            ty if ty.is_complex() => code.extend([
                Instruction::CallCore(GET_RESULT_PTR),
                Instruction::CallCore(GET_RESULT_SIZE),
                lift(ty),
                Instruction::CallCore(RELEASE_OBJECTS),
            ]),
            scalar => code.extend(from_core(scalar)),
        }
    }
    code
}

/// The adapter of an imported function: core values in, call of the other module, core value out.
pub(crate) fn import(function: &Function, link: u32) -> Vec<Instruction> {
    let mut code = Vec::new();
    let mut raw = 0;
    for argument in &function.arguments {
        code.push(Instruction::ArgumentGet(raw));
        raw += 1;
        match &argument.ty {
            IType::Record(id) => code.push(Instruction::RecordLift(*id)),
            ty if ty.is_complex() => {
                code.push(Instruction::ArgumentGet(raw));
                raw += 1;
                code.push(lift(ty));
            }
            scalar => code.extend(from_core(scalar)),
        }
    }
    if function
        .arguments
        .iter()
        .any(|argument| argument.ty.is_complex())
    {
        code.push(Instruction::CallCore(RELEASE_OBJECTS));
    }
    code.push(Instruction::CallCore(link));
    for output in &function.outputs {
        match output {
            IType::String => code.extend([
                Instruction::Dup,
                Instruction::StringSize,
                Instruction::PushI32(1),
                Instruction::CallCore(ALLOCATE),
                Instruction::Swap2,
                Instruction::StringLower,
                Instruction::CallCore(SET_RESULT_SIZE),
                Instruction::CallCore(SET_RESULT_PTR),
            ]),
            IType::Record(id) => {
                code.push(Instruction::RecordLower(*id));
                code.push(Instruction::CallCore(SET_RESULT_PTR));
            }
            IType::ByteArray | IType::Array(_) => {
                let element = match output {
                    IType::Array(element) => (**element).clone(),
                    _ => IType::U8,
                };
                code.extend([
                    Instruction::ArrayLower(element),
                    Instruction::CallCore(SET_RESULT_SIZE),
                    Instruction::CallCore(SET_RESULT_PTR),
                ]);
            }
            scalar => code.extend(to_core(scalar)),
        }
    }
    code
}

fn lift(ty: &IType) -> Instruction {
    match ty {
        IType::String => Instruction::StringLift,
        IType::Array(element) => Instruction::ArrayLift((**element).clone()),
        _ => Instruction::ByteArrayLift,
    }
}

/// How a scalar becomes a core value; nothing for types that are core values.
fn to_core(ty: &IType) -> Option<Instruction> {
    if *ty == IType::Boolean {
        return Some(Instruction::I32FromBool);
    }
    integer(ty).map(|(from, to)| Instruction::ToCore { to, from })
}

fn from_core(ty: &IType) -> Option<Instruction> {
    if *ty == IType::Boolean {
        return Some(Instruction::BoolFromI32);
    }
    integer(ty).map(|(to, from)| Instruction::FromCore { to, from })
}

fn integer(ty: &IType) -> Option<(Integer, Core)> {
    Some(match ty {
        IType::S8 => (Integer::S8, Core::I32),
        IType::S16 => (Integer::S16, Core::I32),
        IType::S32 => (Integer::S32, Core::I32),
        IType::S64 => (Integer::S64, Core::I64),
        IType::U8 => (Integer::U8, Core::I32),
        IType::U16 => (Integer::U16, Core::I32),
        IType::U32 => (Integer::U32, Core::I32),
        IType::U64 => (Integer::U64, Core::I64),
        _ => return None,
    })
}
