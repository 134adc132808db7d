//! The programs of adapters, in the shapes that published build tools write (“Call protocol,
//! ownership” in the protocol description).

use crate::{
    itypes::IType,
    module::{Argument, Core, Function, Instruction, Integer},
};

/// Positions of the service functions among the exports.
const ALLOCATE: u32 = 0;
const RELEASE_OBJECTS: u32 = 1;
const GET_RESULT_SIZE: u32 = 2;
const GET_RESULT_PTR: u32 = 3;
const SET_RESULT_SIZE: u32 = 4;
const SET_RESULT_PTR: u32 = 5;
/// What `allocate` is told for bytes.
const BYTES_TAG: i32 = 1;

/// The adapter of an exported function: lower the arguments, call, lift the result.
pub(super) fn exported(function: &Function, export: u32) -> Vec<Instruction> {
    use Instruction as I;
    let mut program = Vec::new();
    for (index, argument) in (0..).zip(&function.arguments) {
        program.push(I::ArgumentGet(index));
        match &argument.ty {
            IType::String => {
                program.extend([
                    I::StringSize,
                    I::PushI32(BYTES_TAG),
                    I::CallCore(ALLOCATE),
                    I::ArgumentGet(index),
                    I::StringLower,
                ]);
            }
            other => lower_in_place(&mut program, other),
        }
    }
    program.push(I::CallCore(export));
    for output in &function.outputs {
        match output {
            IType::Record(id) => {
                program.extend([I::CallCore(GET_RESULT_PTR), I::RecordLift(*id)]);
            }
            buffer @ (IType::String | IType::ByteArray | IType::Array(_)) => {
                program.extend([I::CallCore(GET_RESULT_PTR), I::CallCore(GET_RESULT_SIZE)]);
                program.extend(lift(buffer));
            }
            scalar => program.extend(lift(scalar)),
        }
        if output.is_complex() {
            program.push(I::CallCore(RELEASE_OBJECTS));
        }
    }
    program
}

/// The adapter of an imported function: lift the arguments, call, lower the result.
pub(super) fn imported(function: &Function, linkable: u32) -> Vec<Instruction> {
    use Instruction as I;
    let mut program = Vec::new();
    let mut raw = 0;
    for argument in &function.arguments {
        for _ in 0..core_count(&argument.ty) {
            program.push(I::ArgumentGet(raw));
            raw += 1;
        }
        program.extend(lift(&argument.ty));
    }
    if function
        .arguments
        .iter()
        .any(|argument| argument.ty.is_complex())
    {
        program.push(I::CallCore(RELEASE_OBJECTS));
    }
    program.push(I::CallCore(linkable));
    for output in &function.outputs {
        match output {
            IType::String => program.extend([
                I::Dup,
                I::StringSize,
                I::PushI32(BYTES_TAG),
                I::CallCore(ALLOCATE),
                I::Swap2,
                I::StringLower,
            ]),
            other => lower_in_place(&mut program, other),
        }
        match output {
            IType::Record(_) => program.push(I::CallCore(SET_RESULT_PTR)),
            IType::String | IType::ByteArray | IType::Array(_) => {
                program.extend([I::CallCore(SET_RESULT_SIZE), I::CallCore(SET_RESULT_PTR)]);
            }
            _ => {}
        }
    }
    program
}

/// The type that a module sees of an imported function: addresses and lengths.
pub(super) fn raw(function: &Function) -> Function {
    let mut arguments = Vec::new();
    for argument in &function.arguments {
        match argument.ty {
            IType::String | IType::ByteArray | IType::Array(_) => {
                // Both halves have one name in published modules.
                for _ in 0..2 {
                    arguments.push(Argument {
                        name: format!("{}_ptr", argument.name),
                        ty: IType::I32,
                    });
                }
            }
            _ => arguments.push(Argument {
                name: argument.name.clone(),
                ty: core_type(&argument.ty),
            }),
        }
    }
    let outputs = function
        .outputs
        .iter()
        .filter(|output| !output.is_complex());
    Function {
        arguments,
        outputs: outputs.map(core_type).collect(),
    }
}

/// How many core values an argument takes.
fn core_count(ty: &IType) -> usize {
    match ty {
        IType::String | IType::ByteArray | IType::Array(_) => 2,
        _ => 1,
    }
}

fn core_type(ty: &IType) -> IType {
    match ty {
        IType::S64 | IType::U64 | IType::I64 => IType::I64,
        IType::F32 => IType::F32,
        IType::F64 => IType::F64,
        _ => IType::I32,
    }
}

/// From core values on the stack to a value.
fn lift(ty: &IType) -> Option<Instruction> {
    Some(match ty {
        IType::Boolean => Instruction::BoolFromI32,
        IType::String => Instruction::StringLift,
        IType::ByteArray => Instruction::ByteArrayLift,
        IType::Array(item) => Instruction::ArrayLift(item.as_ref().clone()),
        IType::Record(id) => Instruction::RecordLift(*id),
        other => {
            let (to, from) = integer(other)?;
            Instruction::FromCore { to, from }
        }
    })
}

/// From a value on the stack to core values; a string needs memory first.
fn lower_in_place(program: &mut Vec<Instruction>, ty: &IType) {
    program.extend(match ty {
        IType::Boolean => Some(Instruction::I32FromBool),
        IType::ByteArray => Some(Instruction::ArrayLower(IType::U8)),
        IType::Array(item) => Some(Instruction::ArrayLower(item.as_ref().clone())),
        IType::Record(id) => Some(Instruction::RecordLower(*id)),
        other => integer(other).map(|(from, to)| Instruction::ToCore { to, from }),
    });
}

/// An integer type, and the core type it travels as.
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
