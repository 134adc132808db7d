//! Whether a service has the interface that a program was compiled with.

use std::collections::BTreeMap;

use crate::{FunctionSignature, Interface, RecordSignature};

/// The first difference between two interfaces.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Difference(String);

/// Checks that `actual` has all functions of `expected` (JSON as peers publish it) with the same arguments, results
/// and records. Further functions and the ids of records do not matter.
///
/// # Errors
/// The first difference, or what is wrong with the JSON.
pub fn check(expected: &str, actual: &Interface) -> Result<(), Difference> {
    let expected: Interface = serde_json::from_str(expected)
        .map_err(|error| Difference(format!("what was compiled in is no interface: {error}")))?;
    let records = Records {
        expected: by_name(&expected),
        actual: by_name(actual),
    };
    for function in &expected.function_signatures {
        let name = &function.name;
        let Some(other) = actual
            .function_signatures
            .iter()
            .find(|other| other.name == *name)
        else {
            return Err(Difference(format!("it has no function {name}")));
        };
        if shapes(function) != shapes(other) {
            return Err(Difference(format!(
                "function {name} is {}, expected {}",
                text(other),
                text(function)
            )));
        }
        let types = function.arguments.iter().map(|(_, ty)| ty);
        for ty in types.chain(&function.output_types) {
            records.check(ty)?;
        }
    }
    Ok(())
}

struct Records<'a> {
    expected: BTreeMap<&'a str, &'a RecordSignature>,
    actual: BTreeMap<&'a str, &'a RecordSignature>,
}

impl Records<'_> {
    /// Compares the record that is in a type, and those in it.
    fn check(&self, ty: &str) -> Result<(), Difference> {
        let mut open = vec![ty];
        let mut seen = std::collections::BTreeSet::new();
        while let Some(ty) = open.pop() {
            let name = ty.trim_start_matches("[]");
            let Some(record) = self.expected.get(name) else {
                continue;
            };
            if !seen.insert(name) {
                continue;
            }
            let Some(other) = self.actual.get(name) else {
                return Err(Difference(format!("it has no record {name}")));
            };
            for (index, field) in record.fields.iter().enumerate() {
                match other.fields.get(index) {
                    Some(other) if other == field => open.push(&field.ty),
                    Some(other) => {
                        return Err(Difference(format!(
                            "field {} of record {name} is {}: {}, expected {}: {}",
                            index + 1,
                            other.name,
                            other.ty,
                            field.name,
                            field.ty
                        )));
                    }
                    None => {
                        return Err(Difference(format!(
                            "record {name} has no field {}",
                            field.name
                        )));
                    }
                }
            }
            if let Some(further) = other.fields.get(record.fields.len()) {
                return Err(Difference(format!(
                    "record {name} has a further field {}: {}",
                    further.name, further.ty
                )));
            }
        }
        Ok(())
    }
}

fn by_name(interface: &Interface) -> BTreeMap<&str, &RecordSignature> {
    let records = interface.record_types.iter();
    records
        .map(|record| (record.name.as_str(), record))
        .collect()
}

/// What a caller must agree on: not the names of arguments.
fn shapes(function: &FunctionSignature) -> (Vec<&str>, &[String]) {
    let arguments = function.arguments.iter().map(|(_, ty)| ty.as_str());
    (arguments.collect(), &function.output_types)
}

fn text(function: &FunctionSignature) -> String {
    let arguments: Vec<_> = function
        .arguments
        .iter()
        .map(|(name, ty)| format!("{name}: {ty}"))
        .collect();
    let output = function.output_types.join(", ");
    let arrow = if output.is_empty() { "" } else { " -> " };
    format!("({}){arrow}{output}", arguments.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn interface(output: &str, field: &str) -> serde_json::Value {
        json!({
            "function_signatures": [
                {"name": "get", "arguments": [["key", "string"]], "output_types": [output]},
            ],
            "record_types": [{"name": "Item", "id": 6, "fields": [{"name": field, "ty": "u8"}]}],
        })
    }

    #[test]
    fn the_first_difference_is_named() {
        let expected = interface("[]Item", "body").to_string();
        let compare = |other: serde_json::Value| {
            let other: Interface = serde_json::from_value(other).unwrap();
            check(&expected, &other)
                .map_err(|difference| difference.to_string())
                .err()
        };
        assert_eq!(compare(interface("[]Item", "body")), None);
        assert_eq!(
            compare(interface("Item", "body")).unwrap(),
            "function get is (key: string) -> Item, expected (key: string) -> []Item"
        );
        assert_eq!(
            compare(interface("[]Item", "text")).unwrap(),
            "field 1 of record Item is text: u8, expected body: u8"
        );
        assert_eq!(
            compare(json!({"function_signatures": [], "record_types": []})).unwrap(),
            "it has no function get"
        );
    }
}
