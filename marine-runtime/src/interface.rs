//! The interface that a module offers to its callers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    itypes::IType,
    module::{Function, InterfaceSection, Type},
};

/// Functions and records of a module, in the JSON shape that peers publish.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Functions, by name.
    pub function_signatures: Vec<FunctionSignature>,
    /// Records that the functions need, each after the ones it contains.
    pub record_types: Vec<RecordSignature>,
}

/// One function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionSignature {
    /// Its name.
    pub name: String,
    /// Name and type of each argument.
    pub arguments: Vec<(String, String)>,
    /// No type or one.
    pub output_types: Vec<String>,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSignature {
    /// Its name.
    pub name: String,
    /// Its id, unique in the module.
    pub id: u32,
    /// Its fields in order of declaration.
    pub fields: Vec<FieldSignature>,
}

/// One field of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldSignature {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: String,
}

/// A function of the interface, as its section describes it.
#[derive(Clone, Copy, Debug)]
pub struct InterfaceFunction<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type.
    pub function: &'a Function,
    /// Position of the type of its adapter.
    pub adapter: u32,
}

impl Interface {
    /// The interface that `section` describes.
    #[must_use]
    pub fn of(section: &InterfaceSection) -> Self {
        let functions = functions(section);
        let text = |ty: &IType| ty.interface_text(section).to_string();
        let mut needed = BTreeSet::new();
        for function in functions.values() {
            let arguments = function
                .function
                .arguments
                .iter()
                .map(|argument| &argument.ty);
            for ty in arguments.chain(&function.function.outputs) {
                require(section, ty, &mut needed);
            }
        }
        let mut by_name: Vec<(&str, u32)> = needed
            .iter()
            .filter_map(|id| {
                section
                    .record(*id)
                    .map(|record| (record.name.as_str(), *id))
            })
            .collect();
        by_name.sort_unstable();
        let mut record_types = Vec::new();
        let mut done = BTreeSet::new();
        for (_, id) in by_name {
            emit(section, id, &mut done, &mut |id| {
                if let Some(record) = section.record(id) {
                    let fields = record.fields.iter().map(|field| FieldSignature {
                        name: field.name.clone(),
                        ty: text(&field.ty),
                    });
                    let fields = fields.collect();
                    record_types.push(RecordSignature {
                        name: record.name.clone(),
                        id,
                        fields,
                    });
                }
            });
        }
        let function_signatures = functions
            .values()
            .map(|function| FunctionSignature {
                name: function.name.to_owned(),
                arguments: function
                    .function
                    .arguments
                    .iter()
                    .map(|argument| (argument.name.clone(), text(&argument.ty)))
                    .collect(),
                output_types: function.function.outputs.iter().map(text).collect(),
            })
            .collect();
        Self {
            function_signatures,
            record_types,
        }
    }

    /// The same as JSON with fields as pairs, as application services print it.
    #[must_use]
    pub fn to_json_with_field_pairs(&self) -> serde_json::Value {
        let records = self.record_types.iter().map(|record| {
            let fields = record.fields.iter().map(|field| (&field.name, &field.ty));
            serde_json::json!({
                "name": record.name,
                "id": record.id,
                "fields": fields.collect::<Vec<_>>(),
            })
        });
        serde_json::json!({
            "function_signatures": self.function_signatures,
            "record_types": records.collect::<Vec<_>>(),
        })
    }

    /// The interface as Aqua source; `service` is brought to PascalCase, `id` is the default id.
    #[must_use]
    pub fn to_aqua(&self, service: &str, id: Option<&str>) -> String {
        let service = pascal_case(service);
        let mut text = format!("aqua {service} declares *\n\n");
        for record in &self.record_types {
            text.push_str(&format!("data {}:\n", record.name));
            for field in &record.fields {
                text.push_str(&format!("  {}: {}\n", field.name, field.ty));
            }
            text.push('\n');
        }
        match id {
            Some(id) => text.push_str(&format!("service {service}({id:?}):\n")),
            None => text.push_str(&format!("service {service}:\n")),
        }
        for function in &self.function_signatures {
            let arguments: Vec<String> = function
                .arguments
                .iter()
                .map(|(name, ty)| format!("{name}: {ty}"))
                .collect();
            let output = match function.output_types.first() {
                Some(ty) => format!(" -> {ty}"),
                None => "  ".to_owned(),
            };
            text.push_str(&format!(
                "  {}({}){output}\n",
                function.name,
                arguments.join(", ")
            ));
        }
        text
    }
}

/// The interface functions of a module by name: exports whose type has an implementation.
#[must_use]
pub fn functions(section: &InterfaceSection) -> BTreeMap<&str, InterfaceFunction<'_>> {
    let adapters: BTreeMap<u32, u32> = section
        .implementations
        .iter()
        .map(|implementation| (implementation.core, implementation.adapter))
        .collect();
    let functions = section.exports.iter().filter_map(|export| {
        let adapter = *adapters.get(&export.type_index)?;
        let function = section.function(adapter)?;
        Some((
            export.name.as_str(),
            InterfaceFunction {
                name: &export.name,
                function,
                adapter,
            },
        ))
    });
    functions.collect()
}

/// Collects the ids of all records that values of `ty` contain.
fn require(section: &InterfaceSection, ty: &IType, needed: &mut BTreeSet<u32>) {
    let mut open = vec![ty];
    while let Some(ty) = open.pop() {
        let (_, IType::Record(id)) = ty.innermost() else {
            continue;
        };
        if let (true, Some(Type::Record(record))) =
            (needed.insert(*id), section.types.get(*id as usize))
        {
            open.extend(record.fields.iter().map(|field| &field.ty));
        }
    }
}

/// Visits `id` after all records that it contains, each once; without recursion, since nesting
/// is the module's to choose.
fn emit(
    section: &InterfaceSection,
    id: u32,
    done: &mut BTreeSet<u32>,
    visit: &mut impl FnMut(u32),
) {
    let mut path = vec![(id, 0)];
    while let Some((id, next_field)) = path.pop() {
        if done.contains(&id) {
            continue;
        }
        let field = section
            .record(id)
            .and_then(|record| record.fields.get(next_field));
        match field.map(|field| field.ty.innermost().1) {
            Some(IType::Record(inner)) => {
                path.push((id, next_field + 1));
                path.push((*inner, 0));
            }
            Some(_) => path.push((id, next_field + 1)),
            None => {
                done.insert(id);
                visit(id);
            }
        }
    }
}

fn pascal_case(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_alphanumeric());
    words
        .flat_map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_uppercase().chain(letters))
                .into_iter()
                .flatten()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_pascal_case() {
        assert_eq!(pascal_case("trust-graph"), "TrustGraph");
        assert_eq!(pascal_case("sqlite3"), "Sqlite3");
        assert_eq!(pascal_case("ipfs_effector"), "IpfsEffector");
    }

    #[test]
    fn aqua_source() {
        let interface: Interface = serde_json::from_value(serde_json::json!({
            "function_signatures": [
                {"name": "put", "arguments": [["key", "string"], ["n", "u64"]], "output_types": []},
                {"name": "get", "arguments": [], "output_types": ["Item"]},
            ],
            "record_types": [{"name": "Item", "id": 6, "fields": [{"name": "body", "ty": "[]u8"}]}],
        }))
        .unwrap();
        assert_eq!(
            interface.to_aqua("key-value", Some("kv")),
            "aqua KeyValue declares *\n\ndata Item:\n  body: []u8\n\nservice KeyValue(\"kv\"):\n  \
             put(key: string, n: u64)  \n  get() -> Item\n"
        );
        assert_eq!(
            interface.to_json_with_field_pairs()["record_types"][0]["fields"],
            serde_json::json!([["body", "[]u8"]])
        );
    }
}
