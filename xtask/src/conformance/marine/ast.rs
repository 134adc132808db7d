//! The notation of types and sections in the records.

use std::sync::Arc;

use marine_runtime::{
    IType, RecordType,
    module::{Argument, Function, InterfaceSection, Type},
};
use serde::Deserialize;
use serde_json::{Value, json};

/// A type: a name, or what it is made of.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", untagged)]
pub(super) enum TypeNote {
    Plain(String),
    Array { array: Box<TypeNote> },
    Record { record: u32 },
}

impl TypeNote {
    pub(super) fn ty(&self) -> Result<IType, String> {
        Ok(match self {
            Self::Plain(name) => match name.as_str() {
                "bool" => IType::Boolean,
                "s8" => IType::S8,
                "s16" => IType::S16,
                "s32" => IType::S32,
                "s64" => IType::S64,
                "u8" => IType::U8,
                "u16" => IType::U16,
                "u32" => IType::U32,
                "u64" => IType::U64,
                "f32" => IType::F32,
                "f64" => IType::F64,
                "string" => IType::String,
                "bytes" => IType::ByteArray,
                "i32" => IType::I32,
                "i64" => IType::I64,
                other => return Err(format!("unknown type {other:?}")),
            },
            Self::Array { array } => IType::Array(Arc::new(array.ty()?)),
            Self::Record { record } => IType::Record(*record),
        })
    }
}

/// Names and types.
pub(super) fn arguments(notes: &[(String, TypeNote)]) -> Result<Vec<Argument>, String> {
    notes
        .iter()
        .map(|(name, ty)| {
            Ok(Argument {
                name: name.clone(),
                ty: ty.ty()?,
            })
        })
        .collect()
}

/// A decoded section in the notation of the records.
pub(super) fn section(section: &InterfaceSection) -> Value {
    let types = section.types.iter().map(|ty| match ty {
        Type::Function(function) => function_note(function),
        Type::Record(record) => record_note(record),
    });
    let imports = section.imports.iter();
    let imports = imports.map(|import| json!([import.namespace, import.name, import.type_index]));
    let exports = section
        .exports
        .iter()
        .map(|export| json!([export.name, export.type_index]));
    let adapters = section.adapters.iter().map(|adapter| {
        let code = adapter.instructions.iter().map(instruction);
        json!([adapter.type_index, code.collect::<Vec<_>>()])
    });
    let implementations = section.implementations.iter();
    let implementations =
        implementations.map(|implementation| json!([implementation.core, implementation.adapter]));
    json!({
        "types": types.collect::<Vec<_>>(),
        "imports": imports.collect::<Vec<_>>(),
        "exports": exports.collect::<Vec<_>>(),
        "adapters": adapters.collect::<Vec<_>>(),
        "implementations": implementations.collect::<Vec<_>>(),
    })
}

fn function_note(function: &Function) -> Value {
    json!({
        "kind": "func",
        "args": pairs(&function.arguments),
        "outs": function.outputs.iter().map(type_note).collect::<Vec<_>>(),
    })
}

fn record_note(record: &RecordType) -> Value {
    json!({ "kind": "record", "name": record.name, "fields": pairs(&record.fields) })
}

fn pairs(arguments: &[Argument]) -> Vec<Value> {
    arguments
        .iter()
        .map(|argument| json!([argument.name, type_note(&argument.ty)]))
        .collect()
}

fn type_note(ty: &IType) -> Value {
    match ty {
        IType::ByteArray => json!("bytes"),
        IType::Array(element) => json!({ "array": type_note(element) }),
        IType::Record(id) => json!({ "record": id }),
        plain => json!(plain.to_string()),
    }
}

fn instruction(instruction: &marine_runtime::module::Instruction) -> Value {
    use marine_runtime::module::Instruction;
    let text = instruction.to_string();
    let name = text.split(' ').next().unwrap_or_default();
    match instruction {
        Instruction::ArgumentGet(value) | Instruction::CallCore(value) => json!([name, value]),
        Instruction::PushI32(value) => json!([name, value]),
        Instruction::PushI64(value) => json!([name, value]),
        Instruction::ArrayLift(ty) | Instruction::ArrayLower(ty) => json!([name, type_note(ty)]),
        Instruction::RecordLift(id) | Instruction::RecordLower(id) => json!([name, id]),
        _ => json!([name]),
    }
}
