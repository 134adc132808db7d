//! Our module and the published one are called alike, and answer alike.

use serde_json::{Value, json};

use super::{
    AS_HOST, AS_SPELL, AS_STRANGER, AS_WORKER, Caller, OWN, Spell, last_error, trigger, writes,
};

/// A result without what depends on the clock, and without the texts of errors, which have reasons of
/// databases in them; whether the specified part is there is asked in other tests.
fn comparable(mut result: Value) -> Value {
    fn visit(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match name.as_str() {
                        "timestamp" => *value = json!(value.is_u64()),
                        "error" => *value = json!(value.as_str().map(str::is_empty)),
                        _ => visit(value),
                    }
                }
            }
            Value::Array(elements) => elements.iter_mut().for_each(visit),
            _ => {}
        }
    }
    visit(&mut result);
    let errors = result.get_mut("particle_errors");
    if let Some(errors) = errors.and_then(Value::as_array_mut) {
        errors.sort_by_key(Value::to_string);
    }
    result
}

/// Calls of all functions, the good ones and those that are refused.
fn calls() -> Vec<(Caller, &'static str, Value)> {
    let mut calls = Vec::new();
    let everybody = [AS_STRANGER, AS_HOST, AS_WORKER, AS_SPELL, ("stranger", OWN)];
    for caller in everybody {
        calls.extend([
            (caller, "get_script", json!([])),
            (caller, "script_cid", json!([])),
            (caller, "get_trigger_config", json!([])),
            (caller, "set_script", json!(["(null)"])),
            (caller, "set_trigger_config", json!([trigger(5)])),
            (caller, "push_mailbox", json!(["message"])),
            (caller, "get_mailbox", json!([])),
            (caller, "store_log", json!(["line"])),
            (caller, "get_logs", json!([])),
            (caller, "store_error", json!([last_error("no"), 1, 2])),
            (caller, "get_errors", json!([OWN])),
            (caller, "get_all_errors", json!([])),
        ]);
        for key in [
            "own", "h_k", "w_k", "hw_k", "_k", "h", "hw", "hx_k", "h_a_b", "",
        ] {
            for (function, arguments) in writes(key) {
                calls.push((caller, function, arguments));
                for function in ["get_string", "get_u32", "exists", "list_get_strings"] {
                    calls.push((AS_STRANGER, function, json!([key])));
                }
            }
        }
    }
    calls.extend([
        (AS_SPELL, "get_script", json!([])),
        (AS_SPELL, "script_cid", json!([])),
        (AS_SPELL, "get_trigger_config", json!([])),
    ]);
    // Lists and scalars of one name.
    for (function, arguments) in [
        ("set_string", json!(["k", ""])),
        ("list_push_string", json!(["k", "a"])),
        ("list_push_string", json!(["k", "b"])),
        ("list_push_string", json!(["k", "a"])),
        ("list_push_string", json!(["k", ""])),
        ("list_remove_string", json!(["k", "a"])),
        ("list_push_string", json!(["k", "c"])),
        ("list_pop_string", json!(["k"])),
        ("set_u32", json!(["k", 7])),
        ("list_pop_string", json!(["k"])),
        ("list_pop_string", json!(["k"])),
        ("list_pop_string", json!(["k"])),
        ("remove_key", json!(["k"])),
        ("remove_key", json!(["k"])),
        (
            "set_json_fields",
            json!([r#"{"k": {"b": 1, "a": [1.50, "x"]}, "z": null, "e": "" }"#]),
        ),
        ("set_json_fields", json!(["[1]"])),
        ("set_json_fields", json!(["nothing"])),
        ("set_json_fields", json!([r#"{}"#])),
    ] {
        calls.push((AS_SPELL, function, arguments));
        for key in ["k", "z", "e"] {
            for function in ["get_string", "get_u32", "exists", "list_get_strings"] {
                calls.push((AS_STRANGER, function, json!([key])));
            }
        }
    }
    // The first that is not allowed ends it: here in the order of keys, there in one by chance, so
    // what was set before is not compared.
    let object = r#"{"w_b": 1, "h_c": 2, "h_a": 3, "w_d": 4}"#;
    calls.push((AS_HOST, "set_json_fields", json!([object])));
    calls.push((AS_WORKER, "set_json_fields", json!([object])));
    // More than is kept.
    for number in 0..55 {
        calls.push((AS_STRANGER, "push_mailbox", json!([number.to_string()])));
    }
    calls.push((AS_STRANGER, "get_mailbox", json!([])));
    for _ in 0..51 {
        calls.push((AS_SPELL, "pop_mailbox", json!([])));
    }
    calls.push((AS_STRANGER, "get_mailbox", json!([])));
    calls
}

#[test]
fn both_modules_answer_alike() {
    let Some(mut published) = Spell::published() else {
        return;
    };
    let mut own = Spell::own();
    let mut differences = Vec::new();
    for (caller, function, arguments) in calls() {
        let [ours, theirs] =
            [&mut own, &mut published].map(|spell| spell.call(caller, function, arguments.clone()));
        let [mine, yours] = [&ours, &theirs].map(|result| comparable(result.clone()));
        if mine != yours {
            differences.push(format!(
                "{caller:?} {function}{arguments}\n  ours:   {ours}\n  theirs: {theirs}"
            ));
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// Functions, arguments and records are the same, in the same order of fields.
#[test]
fn both_modules_have_the_same_interface() {
    let Some(published) = Spell::published() else {
        return;
    };
    let own = Spell::own();
    let [ours, theirs] = [own, published].map(|spell| {
        let interface = spell.service.unwrap().interface();
        let mut interface = serde_json::to_value(&interface).unwrap();
        for (list, name) in [("function_signatures", "name"), ("record_types", "name")] {
            if let Some(list) = interface[list].as_array_mut() {
                list.sort_by_key(|element| element[name].to_string());
                for element in list {
                    // Numbers of records are of no interest.
                    if let Some(element) = element.as_object_mut() {
                        element.remove("id");
                    }
                }
            }
        }
        interface
    });
    assert_eq!(ours, theirs);
}
