//! `json-conversion.json`: arguments from JSON, results to JSON.

use std::collections::BTreeMap;

use marine_runtime::{
    IType, IValue, RecordType, Records,
    itypes::json::{
        arguments_from_text, arguments_from_value, from_value, result_to_text, result_to_value,
    },
    module::Function,
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Report,
    ast::{TypeNote, arguments},
    expect,
};

#[derive(Deserialize)]
pub(super) struct Document {
    modules: BTreeMap<String, Module>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Module {
    records: BTreeMap<u32, RecordNote>,
    exports: BTreeMap<String, FunctionNote>,
}

#[derive(Deserialize)]
struct RecordNote {
    name: String,
    fields: Vec<(String, TypeNote)>,
}

#[derive(Deserialize)]
struct FunctionNote {
    arguments: Vec<(String, TypeNote)>,
    outputs: Vec<TypeNote>,
}

#[derive(Deserialize)]
struct Case {
    module: String,
    function: String,
    args: Value,
    #[serde(default, deserialize_with = "present")]
    ok: Option<Value>,
    error: Option<String>,
}

/// Tells a `null` from nothing.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

struct Table(BTreeMap<u32, RecordType>);

impl Records for Table {
    fn record(&self, id: u32) -> Option<&RecordType> {
        self.0.get(&id)
    }
}

pub(super) fn replay(document: &Document, report: &mut Report) -> Result<(), String> {
    for (index, case) in document.cases.iter().enumerate() {
        let module = document
            .modules
            .get(&case.module)
            .ok_or_else(|| format!("module {} is not described", case.module))?;
        let name = format!(
            "json-conversion.json: {index} {}.{}",
            case.module, case.function
        );
        report.record(name, check(module, case));
    }
    Ok(())
}

fn check(module: &Module, case: &Case) -> Result<(), String> {
    let mut records = BTreeMap::new();
    for (id, record) in &module.records {
        let fields = arguments(&record.fields)?;
        records.insert(
            *id,
            RecordType {
                name: record.name.clone(),
                fields,
            },
        );
    }
    let records = Table(records);
    let Some(note) = module.exports.get(&case.function) else {
        let error = format!("function with name `{}` is missing", case.function);
        return expect("error", Some(error), case.error.clone());
    };
    let function = Function {
        arguments: arguments(&note.arguments)?,
        outputs: note
            .outputs
            .iter()
            .map(TypeNote::ty)
            .collect::<Result<_, _>>()?,
    };
    let wrap = |error: marine_runtime::itypes::json::ArgumentsError| {
        format!(
            "arguments from json deserialization error in module \"{}\", function \"{}\": {error}",
            case.module, case.function
        )
    };
    let from_tree = arguments_from_value(&case.args, &function, &records).map_err(wrap);
    let text = case.args.to_string();
    let from_text = arguments_from_text(&text, &function, &records).map_err(wrap);
    expect("text and tree", from_text, from_tree.clone())?;
    expect("error", from_tree.as_ref().err(), case.error.as_ref())?;
    let (Ok(values), Some(expected)) = (from_tree, &case.ok) else {
        return Ok(());
    };
    // What these functions do is known; the others return constants, which are taken from the record.
    let result = match (
        case.function.as_str(),
        values.as_slice(),
        function.outputs.as_slice(),
    ) {
        ("greeting", [IValue::String(name)], _) => vec![IValue::String(format!("Hi, {name}"))],
        (_, _, [ty]) => vec![constant(expected, ty, &records)?],
        _ => Vec::new(),
    };
    let tree = result_to_value(&result, &function, &records).map_err(|error| error.to_string())?;
    let text = result_to_text(&result, &function, &records).map_err(|error| error.to_string())?;
    let parsed: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    expect("result", normal(&tree), normal(expected))?;
    expect("result as text", normal(&parsed), normal(expected))
}

fn constant(value: &Value, ty: &IType, records: &Table) -> Result<IValue, String> {
    from_value(value, ty, records).map_err(|error| error.to_string())
}

/// Numbers as floats: JavaScript writes `9` for `9.0`.
fn normal(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(values) => values.iter().map(normal).collect(),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| (name.clone(), normal(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}
