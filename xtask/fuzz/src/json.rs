//! Values of interface types as JSON, both ways.

use marine_runtime::{
    IType, IValue,
    itypes::json::{arguments_from_text, arguments_from_value, result_to_text, result_to_value},
    module::Function,
};
use serde_json::Value;

use super::{
    bounded,
    choices::Choices,
    described,
    types::{self, Table},
};

/// Bytes that reading may take for each byte of text: a digit and a comma become a value of a
/// document and then one of an interface, in vectors that have just grown.
const FACTOR: usize = 128;

/// Checks values of types that the input describes: in the text behind the types, and made of it.
pub fn json(input: &[u8]) {
    let Some((length, rest)) = input.split_first() else {
        return;
    };
    let (header, rest) = rest.split_at(usize::from(*length).min(rest.len()));
    let mut choices = Choices(header);
    let table = types::table(&mut choices);
    let known = table.0.len();
    let count = choices.below(5);
    let arguments = (0..count).map(|_| types::ty(&mut choices, known)).collect();
    let function = Function {
        arguments: types::named(arguments),
        outputs: Vec::new(),
    };
    if let Ok(text) = std::str::from_utf8(rest)
        && let Some(values) = read(text, &function, &table)
    {
        for (value, argument) in values.iter().zip(&function.arguments) {
            assert!(value.has_type(&argument.ty, &table), "{value:?}");
            write(value, &argument.ty, &table);
        }
    }
    let mut choices = Choices(rest);
    for argument in &function.arguments {
        let value = types::value(&mut choices, &argument.ty, &table);
        let text = write(&value, &argument.ty, &table);
        let one = Function {
            arguments: vec![argument.clone()],
            outputs: Vec::new(),
        };
        let again = read(&format!("[{text}]"), &one, &table);
        assert_eq!(again, Some(vec![value]), "{text}");
    }
}

/// The reader of text takes what the reader of documents takes, for the same values, and says the
/// same of the rest.
fn read(text: &str, function: &Function, table: &Table) -> Option<Vec<IValue>> {
    let (direct, document) = bounded("arguments", text.len(), FACTOR, || {
        let direct = arguments_from_text(text, function, table);
        let document = serde_json::from_str::<Value>(text)
            .map(|document| arguments_from_value(&document, function, table));
        (direct, document)
    });
    match (direct, document) {
        (Ok(direct), Ok(Ok(values))) => {
            // Minus zero is not zero here.
            assert_eq!(format!("{direct:?}"), format!("{values:?}"), "{text}");
            Some(direct)
        }
        (Err(error), Ok(Err(other))) => {
            assert_eq!(described(&error), described(&other), "{text}");
            None
        }
        (Err(error), Err(_)) => {
            described(&error);
            None
        }
        (direct, document) => panic!("{text}: {direct:?}, but {document:?}"),
    }
}

/// The two writers write the same.
fn write(value: &IValue, ty: &IType, table: &Table) -> String {
    let function = Function {
        arguments: Vec::new(),
        outputs: vec![ty.clone()],
    };
    let values = std::slice::from_ref(value);
    let text = result_to_text(values, &function, table).expect("a value of the type");
    let document = result_to_value(values, &function, table).expect("a value of the type");
    let read: Value = serde_json::from_str(&text).expect("JSON");
    // What is written may be read as its neighbour, so compare what both readings write.
    let again: Value = serde_json::from_str(&document.to_string()).expect("JSON");
    assert_eq!(read, again, "{text}");
    text
}
