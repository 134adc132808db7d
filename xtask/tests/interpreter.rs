//! Our Marine module takes the place of the published interpreter: the same interface, and the same bytes as here.

#![cfg(feature = "marine")]
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use std::{io::Read as _, path::Path};

use aquavm::Compat;
use marine_runtime::{Engine, Interface, module::ModuleInfo};
use serde_json::{Value, json};
use xtask::{
    conformance::{Call, particle_data_calls},
    guest::is_required,
    interpreter::{Interpreter, MAX_SIZE, NAME, build},
};

/// The published interpreter whose place it takes.
const PUBLISHED: (&str, &str) = ("air-interpreter-wasm", "0.62.0");

#[test]
fn the_module_is_an_interpreter() {
    let Some(wasm) = build().unwrap() else {
        assert!(!is_required(), "AQUAMARINE_REQUIRE asks for guest");
        return;
    };
    assert!(wasm.len() <= MAX_SIZE, "{} bytes", wasm.len());
    assert_eq!(interface(&wasm), published_interface());

    let calls = calls();
    assert!(calls.len() > 100, "{} calls", calls.len());
    for engine in [Engine::wasmer(), Engine::wasmtime().unwrap()] {
        let mut interpreter = Interpreter::start(&engine, wasm.clone()).unwrap();
        let name = engine.backend().name();
        for (title, call) in &calls {
            let inside = interpreter
                .invoke(call)
                .unwrap_or_else(|error| panic!("{title} on {name}: {error}"));
            assert_eq!(inside, call.invoke(), "{title} on {name}");
        }
        scripts_as_json(&mut interpreter);
        data_as_json(&mut interpreter, &calls);
    }
}

/// The recorded runs, as the module makes them.
fn calls() -> Vec<(String, Call)> {
    let mut calls = particle_data_calls(&vectors("particle-data")).unwrap();
    for (_, call) in &mut calls {
        call.parameters.compat = Compat::V0_63;
    }
    calls
}

fn vectors(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors")
        .join(name)
}

/// The interface without the numbers of records, which each build gives anew.
fn interface(wasm: &[u8]) -> Value {
    let module = ModuleInfo::decode(NAME, wasm).unwrap();
    let interface = serde_json::to_value(Interface::of(&module.interface)).unwrap();
    without_numbers(interface)
}

fn published_interface() -> Value {
    let packed = std::fs::read(vectors("marine/published-modules.json.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_string(&mut text)
        .unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let (package, version) = PUBLISHED;
    let module = document["modules"]
        .as_array()
        .unwrap()
        .iter()
        .find(|module| module["package"] == package && module["version"] == version)
        .unwrap();
    without_numbers(module["interface"].clone())
}

fn without_numbers(mut interface: Value) -> Value {
    for record in interface["record_types"].as_array_mut().unwrap() {
        record.as_object_mut().unwrap().remove("id").unwrap();
    }
    interface
}

/// Every instruction there is.
const SCRIPT: &str = r##"
    (seq
        (new $s (par
            (call %init_peer_id% ("s" "f") [1 2.0 true [] %ttl% :error:.$.code "é\"] $s)
            (xor (ap 7 $s) (fail 1 "no"))))
        (seq
            (seq (ap ("k" %timestamp%) %m) (canon %init_peer_id% %m #%c))
            (fold [] i
                (seq
                    (match i.$.a "x" (mismatch i 2 (fail %last_error%)))
                    (next i))
                (call "p" ("s" "g") [i]))))
"##;

fn scripts_as_json(interpreter: &mut Interpreter) {
    let mut ast = |script: &str| interpreter.text("ast", &json!([script])).unwrap();
    assert_eq!(ast("(null)"), r#"{"Null":null}"#);
    assert_eq!(ast("(never)"), r#"{"Never":null}"#);
    let tree: Value = serde_json::from_str(&ast(SCRIPT)).unwrap();
    let expected = json!({"Seq": {
        "left": {"New": {"variable": "$s", "body": {"Par": {
            "left": {"Call": {
                "peer": "%init_peer_id%",
                "service": "\"s\"",
                "function": "\"f\"",
                "arguments": ["1", "2.", "true", "[]", "%ttl%", ":error:.$.code", "\"é\\\""],
                "output": "$s",
            }},
            "right": {"Xor": {
                "left": {"Ap": {"argument": "7", "target": "$s"}},
                "right": {"Fail": {"code": 1, "message": "no"}},
            }},
        }}}},
        "right": {"Seq": {
            "left": {"Seq": {
                "left": {"ApMap": {"key": "\"k\"", "argument": "%timestamp%", "map": "%m"}},
                "right": {"Canon": {"peer": "%init_peer_id%", "source": "%m", "target": "#%c"}},
            }},
            "right": {"Fold": {
                "iterable": "[]",
                "iterator": "i",
                "body": {"Seq": {
                    "left": {"Match": {
                        "left": "i.$.a",
                        "right": "\"x\"",
                        "body": {"Mismatch": {
                            "left": "i",
                            "right": "2",
                            "body": {"Fail": {"operand": "%last_error%"}},
                        }},
                    }},
                    "right": {"Next": {"iterator": "i"}},
                }},
                "last": {"Call": {
                    "peer": "\"p\"",
                    "service": "\"s\"",
                    "function": "\"g\"",
                    "arguments": ["i"],
                    "output": null,
                }},
            }},
        }},
    }});
    assert_eq!(tree, expected);

    // Depth costs no stack, and no script makes it trap.
    let deep = format!(
        "{}(null){}",
        "(seq (null) ".repeat(20_000),
        ")".repeat(20_000)
    );
    assert!(ast(&deep).len() > deep.len());
    assert!(ast("(call").contains("error"));
}

fn data_as_json(interpreter: &mut Interpreter, calls: &[(String, Call)]) {
    let mut readable = |data: &[u8]| {
        interpreter
            .text("to_human_readable_data", &json!([data]))
            .unwrap()
    };
    let empty = readable(&[]);
    assert!(empty.starts_with("{\n  \"data\": {\n"), "{empty}");
    let mut read = 0;
    for (title, call) in calls {
        let text = readable(&call.current);
        let Ok(json) = serde_json::from_str::<Value>(&text) else {
            continue;
        };
        for part in ["trace", "lcid", "cid_info", "signatures"] {
            assert!(json["data"].get(part).is_some(), "{title}: {text}");
        }
        for part in ["version", "interpreter_version"] {
            assert!(json["versions"][part].is_string(), "{title}: {text}");
        }
        read += 1;
    }
    assert!(read > 100, "only {read} data can be read");
    let old = b"\x83\xa7version\xa60.17.2\xb3interpreter_version\xa60.60.0\xaainner_data\xc4\x00";
    assert!(readable(old).contains("0.61.0"), "{}", readable(old));
    assert!(readable(b"none").contains("no envelope"));
}
