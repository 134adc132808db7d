//! Values for the arguments of a compiled function, made up from the compiler's description of
//! their types.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use peer_core::host::{FunctionCall, FunctionHost, FunctionOutcome};
use serde_json::{Map, Value, json};

use crate::script::Record;

/// Types nested deeper than this get null.
const MAX_DEPTH: usize = 32;

/// What a function is called with: values, and answers of those arguments that are functions.
pub struct Samples {
    /// A value for each argument that is no function.
    pub arguments: BTreeMap<String, Value>,
    /// Answers for those that are.
    pub callbacks: Arc<dyn FunctionHost>,
}

/// Makes up the arguments of a function. A text that the script uses as the id of a peer gets
/// `peer`; other texts are a few letters, numbers are 1, arrays have two elements and options one.
pub fn of(record: &Record, peer: &str) -> Samples {
    let fields = record.arguments.get("fields").and_then(Value::as_object);
    let mut arguments = BTreeMap::new();
    let mut answers = BTreeMap::new();
    for (name, description) in fields.into_iter().flatten() {
        if tag(description) == "arrow" {
            let codomain = description.get("codomain").unwrap_or(&Value::Null);
            answers.insert(name.clone(), result(codomain, peer));
        } else {
            let text = if is_peer(record, name) { peer } else { "text" };
            arguments.insert(name.clone(), sample(description, text, 0));
        }
    }
    Samples {
        arguments,
        callbacks: Arc::new(Callbacks(answers)),
    }
}

/// Answers every function by its name.
struct Callbacks(BTreeMap<String, Value>);

#[async_trait]
impl FunctionHost for Callbacks {
    async fn call(&self, call: &FunctionCall) -> FunctionOutcome {
        match self.0.get(&call.function_name) {
            Some(answer) => FunctionOutcome::value(answer),
            None => FunctionOutcome::NotDefined,
        }
    }
}

/// Whether the script goes to the peer, or to the peers, that the argument names.
fn is_peer(record: &Record, name: &str) -> bool {
    let argument = format!("-{name}-arg-");
    let air = &record.air;
    air.contains(&format!("(call {argument}"))
        || air.contains(&format!("(canon {argument}"))
        || folds_over_peers(air, &argument)
        || ["peer", "node", "relay", "via"]
            .iter()
            .any(|part| name.to_lowercase().contains(part))
}

/// Whether the script folds over the argument and goes to the elements.
fn folds_over_peers(air: &str, argument: &str) -> bool {
    air.split(&format!("(fold {argument} "))
        .skip(1)
        .any(|rest| {
            let iterator: String = rest
                .chars()
                .take_while(|char| !char.is_whitespace() && *char != ')')
                .collect();
            !iterator.is_empty()
                && (air.contains(&format!("(call {iterator} "))
                    || air.contains(&format!("(canon {iterator} ")))
        })
}

fn result(codomain: &Value, text: &str) -> Value {
    let items = codomain.get("items").and_then(Value::as_array);
    match items.map(Vec::as_slice) {
        Some([only]) => sample(only, text, 0),
        Some(items) if !items.is_empty() => {
            items.iter().map(|item| sample(item, text, 0)).collect()
        }
        _ => json!({}),
    }
}

fn sample(description: &Value, text: &str, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    let element = || {
        let element = description.get("type").unwrap_or(&Value::Null);
        sample(element, text, depth + 1)
    };
    match tag(description) {
        "scalar" => match description.get("name").and_then(Value::as_str) {
            Some("string") => json!(text),
            Some("bool") => json!(true),
            Some("f32" | "f64") => json!(1.5),
            Some(_) => json!(1),
            None => Value::Null,
        },
        "array" => json!([element(), element()]),
        "option" => json!([element()]),
        "struct" => {
            let fields = description.get("fields").and_then(Value::as_object);
            let fields = fields.into_iter().flatten();
            let fields = fields.map(|(name, field)| (name.clone(), sample(field, text, depth + 1)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        "topType" => json!(text),
        _ => Value::Null,
    }
}

fn tag(description: &Value) -> &str {
    description
        .get("tag")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_the_types() {
        let record: Record = serde_json::from_value(json!({
            "function": "f",
            "air": "(fold -where-arg- w-0 (call w-0 (\"op\" \"noop\") []))",
            "arguments": {"tag": "labeledProduct", "fields": {
                "where": {"tag": "array", "type": {"tag": "scalar", "name": "string"}},
                "count": {"tag": "scalar", "name": "u32"},
                "maybe": {"tag": "option", "type": {"tag": "scalar", "name": "bool"}},
                "what": {"tag": "struct", "name": "S", "fields": {
                    "a": {"tag": "scalar", "name": "string"}}},
                "cb": {"tag": "arrow", "domain": {}, "codomain": {"tag": "nil"}},
            }},
        }))
        .unwrap();
        let samples = of(&record, "PEER");
        assert_eq!(
            json!(samples.arguments),
            json!({"where": ["PEER", "PEER"], "count": 1, "maybe": [true], "what": {"a": "text"}})
        );
    }
}
