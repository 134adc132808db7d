//! Types of Aqua as the compiler describes them: values of HTTP clients into those of scripts and
//! back, and their JSON schemas.
//!
//! The two differ in options: a script has an array of none or one element, JSON has null or the
//! value.

use serde_json::{Map, Value, json};

/// Types nested deeper than this are refused.
const MAX_DEPTH: usize = 32;

/// A type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Text,
    Truth,
    /// Whole numbers from the first to the second.
    Whole(i64, u64),
    Float,
    Option(Box<Type>),
    Array(Box<Type>),
    /// Fields in the order of their names.
    Struct(Vec<(String, Type)>),
    /// Whatever JSON has.
    Any,
}

/// An argument of a function.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Argument {
    Value(Type),
    /// A function of the caller, whose calls are events; these are the types of its arguments.
    Events(Vec<Type>),
}

impl Type {
    /// Reads the compiler's description.
    pub(crate) fn read(description: &Value) -> Result<Self, String> {
        Self::read_at(description, 0)
    }

    fn read_at(description: &Value, depth: usize) -> Result<Self, String> {
        if depth > MAX_DEPTH {
            return Err(format!("a type is nested deeper than {MAX_DEPTH}"));
        }
        let inner = || {
            let inner = description.get("type").unwrap_or(&Value::Null);
            Self::read_at(inner, depth + 1).map(Box::new)
        };
        match text(description, "tag") {
            "scalar" => match text(description, "name") {
                "string" => Ok(Self::Text),
                "bool" => Ok(Self::Truth),
                "f32" | "f64" => Ok(Self::Float),
                "u8" => Ok(Self::Whole(0, u8::MAX.into())),
                "u16" => Ok(Self::Whole(0, u16::MAX.into())),
                "u32" => Ok(Self::Whole(0, u32::MAX.into())),
                "u64" => Ok(Self::Whole(0, u64::MAX)),
                "i8" => Ok(Self::Whole(i8::MIN.into(), i8::MAX as u64)),
                "i16" => Ok(Self::Whole(i16::MIN.into(), i16::MAX as u64)),
                "i32" => Ok(Self::Whole(i32::MIN.into(), i32::MAX as u64)),
                "i64" => Ok(Self::Whole(i64::MIN, i64::MAX as u64)),
                other => Err(format!("`{other}` is no scalar type")),
            },
            "option" => Ok(Self::Option(inner()?)),
            "array" => Ok(Self::Array(inner()?)),
            "struct" => Ok(Self::Struct(
                fields(description)
                    .map(|(name, field)| Ok((name.clone(), Self::read_at(field, depth + 1)?)))
                    .collect::<Result<_, String>>()?,
            )),
            "topType" => Ok(Self::Any),
            other => Err(format!("HTTP has no value of the type `{other}`")),
        }
    }

    /// A value of an HTTP client as a script has it; the error names the place.
    pub(crate) fn to_script(&self, value: &Value, place: &str) -> Result<Value, String> {
        let expected = |what: &str| Err(format!("{place} is {value}, expected {what}"));
        match (self, value) {
            (Self::Any, _) | (Self::Text, Value::String(_)) | (Self::Truth, Value::Bool(_)) => {
                Ok(value.clone())
            }
            (Self::Float, Value::Number(_)) => Ok(value.clone()),
            (Self::Whole(from, to), Value::Number(number)) => {
                let fits = match (number.as_u64(), number.as_i64()) {
                    (Some(number), _) => number <= *to,
                    (None, Some(number)) => number >= *from,
                    (None, None) => false,
                };
                match fits {
                    true => Ok(value.clone()),
                    false => expected(&format!("a whole number from {from} to {to}")),
                }
            }
            (Self::Option(_), Value::Null) => Ok(json!([])),
            (Self::Option(inner), _) => Ok(json!([inner.to_script(value, place)?])),
            (Self::Array(inner), Value::Array(values)) => values
                .iter()
                .enumerate()
                .map(|(index, value)| inner.to_script(value, &format!("{place}[{index}]")))
                .collect(),
            (Self::Struct(fields), Value::Object(object)) => {
                if let Some(name) = object
                    .keys()
                    .find(|name| fields.iter().all(|(field, _)| field != *name))
                {
                    return Err(format!("{place} has no field `{name}`"));
                }
                let mut made = Map::new();
                for (name, field) in fields {
                    let value = object.get(name).unwrap_or(&Value::Null);
                    made.insert(
                        name.clone(),
                        field.to_script(value, &format!("{place}.{name}"))?,
                    );
                }
                Ok(Value::Object(made))
            }
            _ => expected(self.name()),
        }
    }

    /// A value of a script as an HTTP client gets it; what is not of the type stays as it is.
    pub(crate) fn to_http(&self, value: Value) -> Value {
        match (self, value) {
            (Self::Option(inner), Value::Array(values)) => match values.into_iter().next() {
                Some(value) => inner.to_http(value),
                None => Value::Null,
            },
            (Self::Array(inner), Value::Array(values)) => values
                .into_iter()
                .map(|value| inner.to_http(value))
                .collect(),
            (Self::Struct(fields), Value::Object(mut object)) => {
                for (name, field) in fields {
                    if let Some(value) = object.get_mut(name) {
                        *value = field.to_http(value.take());
                    }
                }
                Value::Object(object)
            }
            (_, value) => value,
        }
    }

    /// The JSON schema of the values of HTTP clients.
    pub(crate) fn schema(&self) -> Value {
        match self {
            Self::Text => json!({ "type": "string" }),
            Self::Truth => json!({ "type": "boolean" }),
            Self::Float => json!({ "type": "number" }),
            Self::Whole(from, to) => json!({ "type": "integer", "minimum": from, "maximum": to }),
            Self::Option(inner) => json!({ "anyOf": [inner.schema(), { "type": "null" }] }),
            Self::Array(inner) => json!({ "type": "array", "items": inner.schema() }),
            Self::Struct(fields) => {
                object_schema(fields.iter().map(|(name, field)| (name.as_str(), field)))
            }
            Self::Any => json!({}),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Truth => "true or false",
            Self::Whole(..) => "a whole number",
            Self::Float => "a number",
            Self::Option(_) => "a value or null",
            Self::Array(_) => "an array",
            Self::Struct(_) => "an object",
            Self::Any => "anything",
        }
    }
}

impl Argument {
    /// Reads the compiler's description of an argument.
    pub(crate) fn read(description: &Value) -> Result<Self, String> {
        if text(description, "tag") != "arrow" {
            return Type::read(description).map(Self::Value);
        }
        let codomain = description.get("codomain").unwrap_or(&Value::Null);
        if !results(codomain)?.is_empty() {
            return Err("a function with a result cannot be called over HTTP".to_owned());
        }
        let domain = description.get("domain").unwrap_or(&Value::Null);
        let named = fields(domain).map(|(_, field)| Type::read(field));
        let unnamed = items(domain).iter().map(Type::read);
        named
            .chain(unnamed)
            .collect::<Result<_, _>>()
            .map(Self::Events)
    }
}

/// Arguments by their names, from the compiler's description.
pub(crate) fn arguments(description: &Value) -> Result<Vec<(String, Argument)>, String> {
    fields(description)
        .map(|(name, field)| {
            let argument = Argument::read(field);
            let argument = argument.map_err(|error| format!("argument `{name}`: {error}"))?;
            Ok((name.clone(), argument))
        })
        .collect()
}

/// Types of results, from the compiler's description.
pub(crate) fn results(description: &Value) -> Result<Vec<Type>, String> {
    items(description).iter().map(Type::read).collect()
}

/// The schema of an object with these fields; those that may be null may be left out.
pub(crate) fn object_schema<'a>(fields: impl Iterator<Item = (&'a str, &'a Type)>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (name, field) in fields {
        properties.insert(name.to_owned(), field.schema());
        if !matches!(field, Type::Option(_) | Type::Any) {
            required.push(name);
        }
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn text<'a>(description: &'a Value, field: &str) -> &'a str {
    let text = description.get(field).and_then(Value::as_str);
    text.unwrap_or_default()
}

fn fields(description: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let fields = description.get("fields").and_then(Value::as_object);
    fields.into_iter().flatten()
}

fn items(description: &Value) -> &[Value] {
    let items = description.get("items").and_then(Value::as_array);
    items.map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person() -> Type {
        let scalar = |name: &str| json!({ "tag": "scalar", "name": name });
        Type::read(&json!({ "tag": "struct", "name": "Person", "fields": {
            "name": scalar("string"),
            "age": { "tag": "option", "type": scalar("u8") },
            "tags": { "tag": "array", "type": scalar("string") },
        }}))
        .unwrap()
    }

    #[test]
    fn values_go_there_and_back() {
        for (http, script) in [
            (
                json!({ "name": "Ann", "age": 30, "tags": ["a"] }),
                json!({ "name": "Ann", "age": [30], "tags": ["a"] }),
            ),
            (
                json!({ "name": "Bob", "age": null, "tags": [] }),
                json!({ "name": "Bob", "age": [], "tags": [] }),
            ),
        ] {
            assert_eq!(person().to_script(&http, "person").unwrap(), script);
            assert_eq!(person().to_http(script), http);
        }
    }

    #[test]
    fn errors_name_the_place() {
        for (value, message) in [
            (
                json!({ "name": 1, "tags": [] }),
                "person.name is 1, expected a text",
            ),
            (
                json!({ "name": "", "tags": ["a", 2] }),
                "person.tags[1] is 2, expected a text",
            ),
            (
                json!({ "name": "", "tags": [], "age": 256 }),
                "person.age is 256, expected a whole number from 0 to 255",
            ),
            (
                json!({ "name": "" }),
                "person.tags is null, expected an array",
            ),
            (
                json!({ "name": "", "tags": [], "nick": 1 }),
                "person has no field `nick`",
            ),
            (json!([]), "person is [], expected an object"),
        ] {
            assert_eq!(person().to_script(&value, "person").unwrap_err(), message);
        }
        let deep = (0..40).fold(
            json!({ "tag": "topType" }),
            |inner, _| json!({ "tag": "array", "type": inner }),
        );
        assert!(Type::read(&deep).unwrap_err().contains("deeper"));
    }

    #[test]
    fn functions_of_the_caller_are_events() {
        let arrow = |results: Value| {
            json!({ "tag": "arrow",
                "domain": { "tag": "unlabeledProduct", "items": [{ "tag": "topType" }] },
                "codomain": results })
        };
        let events = Argument::read(&arrow(json!({ "tag": "nil" }))).unwrap();
        assert_eq!(events, Argument::Events(vec![Type::Any]));
        let answer = json!({ "tag": "unlabeledProduct", "items": [{ "tag": "topType" }] });
        assert!(Argument::read(&arrow(answer)).is_err());
    }
}
