//! `json`: objects, and JSON as text.

use serde_json::{Map, Value};

use super::{Answer, Failure, check_arity, compact, value};
use crate::host::{Arguments, FunctionOutcome};

type Object = Map<String, Value>;

pub(super) fn call(function: &str, mut arguments: Arguments<'_>) -> Answer {
    match function {
        "obj" => put_all(Object::new(), arguments),
        "put" => {
            let mut object: Object = arguments.next("object")?;
            let key: String = arguments.next("key")?;
            let member: Value = arguments.next("value")?;
            object.insert(key, member);
            value(&object)
        }
        "puts" => {
            let object: Object = arguments.next("object")?;
            put_all(object, arguments)
        }
        "parse" => {
            check_arity(&arguments, 1)?;
            let text: String = arguments.next("json")?;
            let parsed: Value = serde_json::from_str(&text)
                .map_err(|error| format!("Error: error parsing json {text}: {error}\n{error:?}"))?;
            value(&parsed)
        }
        "stringify" => {
            check_arity(&arguments, 1)?;
            match arguments.next_raw() {
                Some(argument) => value(&compact(argument)),
                None => Ok(FunctionOutcome::NotDefined),
            }
        }
        "obj_pairs" => {
            check_arity(&arguments, 1)?;
            put_pairs(Object::new(), arguments)
        }
        "puts_pairs" => {
            check_arity(&arguments, 2)?;
            match arguments.next::<Value>("object")? {
                Value::Object(object) => put_pairs(object, arguments),
                other => Err(format!("expected json object, got {other}").into()),
            }
        }
        _ => Ok(FunctionOutcome::NotDefined),
    }
}

/// Puts keys and values that alternate.
fn put_all(mut object: Object, mut arguments: Arguments<'_>) -> Answer {
    while arguments.remaining() > 0 {
        let key: Value = arguments.next("key")?;
        if arguments.remaining() == 0 {
            let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            return Err(Failure(format!(
                "Expected odd number of arguments, got even. No value for key '{key}'"
            )));
        }
        let member: Value = arguments.next("value")?;
        let Value::String(key) = key else {
            return Err(Failure(format!(
                "All keys must be of type string. Key of the following pair is of invalid type: ({key}, {member})"
            )));
        };
        object.insert(key, member);
    }
    value(&object)
}

fn put_pairs(mut object: Object, mut arguments: Arguments<'_>) -> Answer {
    let pairs: Vec<(String, Value)> = arguments.next("pairs")?;
    object.extend(pairs);
    value(&object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::check;

    #[test]
    fn objects() {
        check(&[
            ("json.obj", json!([]), Ok(json!({}))),
            (
                "json.obj",
                json!(["b", 1, "a", [2]]),
                Ok(json!({"a": [2], "b": 1})),
            ),
            ("json.obj", json!(["a", 1, "a", 2]), Ok(json!({"a": 2}))),
            (
                "json.obj",
                json!(["a", 1, "b"]),
                Err("Expected odd number of arguments, got even. No value for key 'b'"),
            ),
            (
                "json.obj",
                json!([["a"], {"x": 1}]),
                Err(
                    "All keys must be of type string. Key of the following pair is of invalid type: ([\"a\"], {\"x\":1})",
                ),
            ),
            (
                "json.put",
                json!([{"a": 1}, "b", 2]),
                Ok(json!({"a": 1, "b": 2})),
            ),
            (
                "json.put",
                json!([{"a": 1}, "b"]),
                Err("Error: Field 'value' is missing from args to call_service\n…"),
            ),
            (
                "json.put",
                json!([[], "b", 1]),
                Err("Error: Error deserializing field 'object': expected…"),
            ),
            (
                "json.put",
                json!([{}, 1, 1]),
                Err("Error: Error deserializing field 'key': expected String, got 1\n…"),
            ),
            (
                "json.puts",
                json!([{"a": 1}, "b", 2, "a", 3]),
                Ok(json!({"a": 3, "b": 2})),
            ),
            ("json.puts", json!([{"a": 1}]), Ok(json!({"a": 1}))),
            (
                "json.puts",
                json!([{}, "b"]),
                Err("Expected odd number of arguments, got even. No value for key 'b'"),
            ),
            (
                "json.obj_pairs",
                json!([[["a", 1], ["b", [2]]]]),
                Ok(json!({"a": 1, "b": [2]})),
            ),
            (
                "json.obj_pairs",
                json!([]),
                Err("expected 1 arguments, got 0"),
            ),
            (
                "json.obj_pairs",
                json!([[["a"]]]),
                Err("Error: Error deserializing field 'pairs': expected…"),
            ),
            (
                "json.puts_pairs",
                json!([{"a": 1}, [["a", 2]]]),
                Ok(json!({"a": 2})),
            ),
            (
                "json.puts_pairs",
                json!([[1], []]),
                Err("expected json object, got [1]"),
            ),
            (
                "json.puts_pairs",
                json!([{}]),
                Err("expected 2 arguments, got 1"),
            ),
        ]);
    }

    #[test]
    fn texts() {
        check(&[
            (
                "json.parse",
                json!([r#"{"a": [1, 2.5, null]}"#]),
                Ok(json!({"a": [1, 2.5, null]})),
            ),
            (
                "json.parse",
                json!(["{"]),
                Err("Error: error parsing json {…"),
            ),
            (
                "json.parse",
                json!([&"[".repeat(100_000)]),
                Err("Error: error parsing json [[…"),
            ),
            ("json.parse", json!([]), Err("expected 1 arguments, got 0")),
            (
                "json.parse",
                json!([5]),
                Err("Error: Error deserializing field 'json': expected String, got 5\n…"),
            ),
            (
                "json.stringify",
                json!([{"b": 1, "a": "x"}]),
                Ok(json!(r#"{"a":"x","b":1}"#)),
            ),
            ("json.stringify", json!(["a"]), Ok(json!("\"a\""))),
            (
                "json.stringify",
                json!([1, 2]),
                Err("expected 1 arguments, got 2"),
            ),
        ]);
    }
}
