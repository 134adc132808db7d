//! Our own module of spells: what each function does and for whom, that it does what the published one
//! does, and that it keeps its data within bounds.
//!
//! The published modules are fetched by name. Where that is impossible one line says so, unless the
//! environment asks for them: `AQUAMARINE_REQUIRE=published`.

#![cfg(feature = "marine")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests stand outside of test functions"
)]

use std::{
    fs,
    io::Write as _,
    path::Path,
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use marine_runtime::{
    CallParameters, Engine, ModuleConfig, ParticleParameters, Service, ServiceConfig,
};
use serde_json::{Value, json};
use xtask::packages::{SPELL, SQLITE, fetch, is_required};

#[path = "spell/bounds.rs"]
mod bounds;
#[path = "spell/published.rs"]
mod published;

const ID: &str = "the-spell";
const HOST: &str = "host";
const WORKER: &str = "worker";
/// A particle of the spell.
const OWN: &str = "spell_the-spell_7";

static ENGINE: LazyLock<Engine> = LazyLock::new(Engine::wasmer);

/// Who calls: who made the particle, and its id.
type Caller = (&'static str, &'static str);

const AS_SPELL: Caller = (WORKER, OWN);
const AS_HOST: Caller = (HOST, "p");
const AS_WORKER: Caller = (WORKER, "p");
const AS_STRANGER: Caller = ("stranger", "p");

/// A service in a folder of its own.
struct Spell {
    folder: tempfile::TempDir,
    modules: Vec<(&'static str, Vec<u8>)>,
    service: Option<Service>,
    worker: &'static str,
}

impl Spell {
    /// Of our own module.
    fn own() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/wasm/spell.wasm");
        Self::of(vec![("spell", fs::read(path).unwrap())])
    }

    /// Of the published modules; nothing where they cannot be had.
    fn published() -> Option<Self> {
        let modules = [("sqlite3", SQLITE), ("spell", SPELL)].map(|(name, file)| {
            let bytes = fetch(&file).inspect_err(|error| {
                assert!(
                    !is_required() && error.is_unreachable(),
                    "AQUAMARINE_REQUIRE asks for published: {error}"
                );
                let line = format!("skipped: {error}\n");
                // A closed standard error is no reason to fail.
                drop(std::io::stderr().write_all(line.as_bytes()));
            });
            Some((name, bytes.ok()?))
        });
        Some(Self::of(modules.into_iter().collect::<Option<_>>()?))
    }

    fn of(modules: Vec<(&'static str, Vec<u8>)>) -> Self {
        let mut spell = Self {
            folder: tempfile::tempdir().unwrap(),
            modules,
            service: None,
            worker: WORKER,
        };
        spell.restart();
        spell
    }

    /// Ends the service and makes another one of what is in the folder.
    fn restart(&mut self) {
        self.service = None;
        let storage = self.folder.path().join("storage");
        let temporary = self.folder.path().join("tmp");
        for folder in [&storage, &temporary] {
            fs::create_dir_all(folder).unwrap();
        }
        let modules = self.modules.iter().map(|(name, bytes)| {
            let mut module = ModuleConfig::from_bytes(*name, bytes.clone());
            module.mapped_dirs = [
                ("/storage".to_owned(), storage.clone()),
                ("/tmp".to_owned(), temporary.clone()),
            ]
            .into();
            module
        });
        let config = ServiceConfig {
            // As much as the page on running a host recommends.
            total_memory_limit: Some(64 << 20),
            ..ServiceConfig::new(modules.collect())
        };
        self.service = Some(Service::new(config, &ENGINE).unwrap());
    }

    /// The text of a result: with the fields of records in their order.
    fn text(&mut self, (init, particle): Caller, function: &str, arguments: &Value) -> String {
        let parameters = CallParameters {
            particle: ParticleParameters {
                id: particle.to_owned(),
                init_peer_id: init.to_owned(),
                ..ParticleParameters::default()
            },
            service_id: ID.to_owned(),
            service_creator_peer_id: self.worker.to_owned(),
            host_id: HOST.to_owned(),
            worker_id: self.worker.to_owned(),
            tetraplets: Vec::new(),
        };
        let service = self.service.as_mut().unwrap();
        let result = service.call(function, &arguments.to_string(), &parameters, None);
        result.unwrap_or_else(|error| panic!("{function}: {error}"))
    }

    fn call(&mut self, caller: Caller, function: &str, arguments: Value) -> Value {
        serde_json::from_str(&self.text(caller, function, &arguments)).unwrap()
    }

    /// A call of the spell itself that must succeed.
    fn done(&mut self, function: &str, arguments: Value) -> Value {
        let result = self.call(AS_SPELL, function, arguments);
        assert_eq!(result["success"], true, "{function}: {result}");
        assert_eq!(result["error"], "", "{function}: {result}");
        result
    }

    /// The error of a call that must fail.
    fn refused(&mut self, caller: Caller, function: &str, arguments: Value) -> String {
        let result = self.call(caller, function, arguments);
        assert_eq!(result["success"], false, "{function}: {result}");
        result["error"].as_str().unwrap().to_owned()
    }

    fn value(&mut self, function: &str, key: &str) -> Value {
        self.done(function, json!([key]))["value"].clone()
    }
}

fn trigger(period_sec: u32) -> Value {
    json!({
        "clock": { "start_sec": 1, "end_sec": 2, "period_sec": period_sec },
        "connections": { "connect": true, "disconnect": false },
        "blockchain": { "start_block": 3, "end_block": u32::MAX },
    })
}

fn last_error(message: &str) -> Value {
    json!({ "error_code": 10_000, "instruction": "call", "message": message, "peer_id": "peer" })
}

#[test]
fn script_and_trigger_belong_to_the_creator() {
    let mut spell = Spell::own();
    let none = spell.refused(AS_STRANGER, "get_script", json!([]));
    assert!(none.contains("No such file or directory"), "{none}");
    let none = spell.refused(AS_STRANGER, "script_cid", json!([]));
    assert!(none.starts_with("error loading script: "), "{none}");
    let none = spell.refused(AS_STRANGER, "get_trigger_config", json!([]));
    assert_eq!(
        none,
        "Trigger Config is not set. Use set_trigger_config to set it."
    );
    for caller in [AS_HOST, AS_STRANGER] {
        let refused = spell.refused(caller, "set_script", json!(["(null)"]));
        assert_eq!(refused, "Only owner of the service can set the script");
        let refused = spell.refused(caller, "set_trigger_config", json!([trigger(5)]));
        assert_eq!(refused, "SetTriggerConfigForbidden");
    }
    for script in ["(null)", "", "(seq (null) (null))\n"] {
        let set = spell.text(AS_WORKER, "set_script", &json!([script]));
        assert_eq!(set, r#"{"success":true,"error":""}"#);
        assert_eq!(
            spell.text(AS_STRANGER, "get_script", &json!([])),
            json!({ "value": script })
                .to_string()
                .replace('}', r#","success":true,"error":""}"#)
        );
        let cid = deal_types_cid(script);
        assert_eq!(spell.done("script_cid", json!([]))["value"], json!(cid));
    }
    for period in [5, 0] {
        let set = spell.call(AS_WORKER, "set_trigger_config", json!([trigger(period)]));
        assert_eq!(set["success"], true, "{set}");
        let config = spell.call(AS_STRANGER, "get_trigger_config", json!([]));
        assert_eq!(
            config,
            json!({ "config": trigger(period), "success": true, "error": "" })
        );
    }
}

/// As IPFS names a file of one block.
fn deal_types_cid(text: &str) -> String {
    deal_types::unixfs::cid_of(text.as_bytes()).to_string()
}

#[test]
fn values_and_lists() {
    let mut spell = Spell::own();
    let absent = spell.text(AS_STRANGER, "get_string", &json!(["k"]));
    assert_eq!(
        absent,
        r#"{"value":"","success":true,"error":"","absent":true}"#
    );
    assert_eq!(spell.value("exists", "k"), json!(false));
    for value in ["text", "", "ü\0\"\n"] {
        spell.done("set_string", json!(["k", value]));
        let read = spell.call(AS_STRANGER, "get_string", json!(["k"]));
        assert_eq!(
            read,
            json!({ "value": value, "success": true, "error": "", "absent": false })
        );
    }
    assert_eq!(spell.done("get_u32", json!(["k"]))["absent"], true);
    // A number takes the place of a text, and the other way round.
    spell.done("set_u32", json!(["k", u32::MAX]));
    assert_eq!(
        spell.text(AS_STRANGER, "get_u32", &json!(["k"])),
        r#"{"value":4294967295,"success":true,"error":"","absent":false}"#
    );
    assert_eq!(spell.done("get_string", json!(["k"]))["absent"], true);
    spell.done("set_string", json!(["k", "t"]));
    assert_eq!(spell.done("get_u32", json!(["k"]))["absent"], true);
    // A list of the same name is something else.
    assert_eq!(spell.value("list_get_strings", "k"), json!([]));
    assert_eq!(spell.done("list_pop_string", json!(["k"]))["absent"], true);
    for value in ["a", "b", "a", "", "c"] {
        spell.done("list_push_string", json!(["k", value]));
    }
    let list = spell.value("list_get_strings", "k");
    assert_eq!(list, json!(["a", "b", "a", "", "c"]));
    assert_eq!(spell.value("get_string", "k"), json!("t"));
    for value in ["a", "none"] {
        spell.done("list_remove_string", json!(["k", value]));
    }
    let popped = spell.done("list_pop_string", json!(["k"]));
    assert_eq!(
        (&popped["value"], &popped["absent"]),
        (&json!("c"), &json!(false))
    );
    assert_eq!(spell.value("list_get_strings", "k"), json!(["b", ""]));
    // Both go.
    for _ in 0..2 {
        spell.done("remove_key", json!(["k"]));
        assert_eq!(spell.value("exists", "k"), json!(false));
        assert_eq!(spell.value("list_get_strings", "k"), json!([]));
    }
    spell.done("list_push_string", json!(["only", "x"]));
    assert_eq!(spell.value("exists", "only"), json!(true));
    spell.done("list_pop_string", json!(["only"]));
    assert_eq!(spell.value("exists", "only"), json!(false));
}

#[test]
fn members_of_an_object() {
    let mut spell = Spell::own();
    let object = json!({ "text": "t", "n": 1.5, "none": null, "deep": { "b": [1, "x"] } });
    spell.done("set_json_fields", json!([object.to_string()]));
    for (key, value) in object.as_object().unwrap() {
        let text = spell.value("get_string", key);
        assert_eq!(text.as_str().unwrap(), value.to_string());
    }
    for text in ["[]", "1", "{", "", "null"] {
        let refused = spell.refused(AS_SPELL, "set_json_fields", json!([text]));
        assert!(
            refused.starts_with("passed string must represent a JSON object"),
            "{refused}"
        );
    }
    // The fields before the first that is not allowed stay.
    let object = json!({ "hw_a": 1, "k_b": 2, "w_c": 3 });
    let refused = spell.refused(AS_WORKER, "set_json_fields", json!([object.to_string()]));
    assert!(
        refused.contains("writing to the `k_b` is forbidden"),
        "{refused}"
    );
    let is_there = ["hw_a", "k_b", "w_c"].map(|key| spell.value("exists", key) == true);
    assert_eq!(is_there, [true, false, false]);
}

/// Calls that write a key, with it.
fn writes(key: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("set_string", json!([key, "v"])),
        ("set_u32", json!([key, 1])),
        ("set_json_fields", json!([json!({ key: 1 }).to_string()])),
        ("list_push_string", json!([key, "v"])),
        ("list_remove_string", json!([key, "v"])),
        ("list_pop_string", json!([key])),
        ("remove_key", json!([key])),
    ]
}

#[test]
fn who_may_write_which_key() {
    let mut spell = Spell::own();
    let keys = ["own", "h_k", "w_k", "hw_k", "_k", "hw", "hx_k"];
    for (caller, role, allowed) in [
        (AS_SPELL, "Spell", &keys[..]),
        (AS_HOST, "Host", &["h_k", "hw_k"]),
        (AS_WORKER, "Worker", &["w_k", "hw_k"]),
        (AS_STRANGER, "", &[]),
        // The name of a particle of the spell proves nothing, nor does that of another spell.
        (("stranger", OWN), "", &[]),
        ((WORKER, "spell_another_7"), "Worker", &["w_k", "hw_k"]),
        ((WORKER, "spell_the-spell"), "Worker", &["w_k", "hw_k"]),
    ] {
        for key in keys {
            for (function, arguments) in writes(key) {
                if allowed.contains(&key) {
                    let result = spell.call(caller, function, arguments);
                    assert_eq!(result["success"], true, "{role} {function}: {result}");
                    continue;
                }
                let error = spell.refused(caller, function, arguments);
                let whom = match role {
                    "" => "any outside caller".to_owned(),
                    role => format!("the callers with the role {role}"),
                };
                assert!(
                    error.contains(&format!("writing to the `{key}` is forbidden for {whom}")),
                    "{role} {function} {key}: {error}"
                );
            }
        }
    }
    // On the host itself, host and worker are the same peer.
    spell.worker = HOST;
    let here = spell.call(AS_HOST, "set_string", json!(["w_k", "v"]));
    assert_eq!(here["success"], false, "{here}");
    let here = spell.call((HOST, OWN), "set_string", json!(["own", "v"]));
    assert_eq!(here["success"], true, "{here}");
}

#[test]
fn messages_logs_and_errors() {
    let mut spell = Spell::own();
    let empty = spell.text(AS_SPELL, "pop_mailbox", &json!([]));
    assert_eq!(
        empty,
        r#"{"message":[],"success":true,"absent":true,"error":""}"#
    );
    for number in 0..52 {
        let pushed = spell.call(AS_STRANGER, "push_mailbox", json!([number.to_string()]));
        assert_eq!(pushed["success"], true, "{pushed}");
    }
    let mailbox = spell.call(AS_STRANGER, "get_mailbox", json!([]));
    let messages = mailbox["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 50);
    assert_eq!(
        (&messages[0]["message"], &messages[49]["message"]),
        (&json!("51"), &json!("2"))
    );
    assert_eq!(messages[0]["init_peer_id"], "stranger");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let age = since.as_secs() - messages[0]["timestamp"].as_u64().unwrap();
    assert!(age < 600, "{mailbox}");
    for caller in [AS_HOST, AS_WORKER, AS_STRANGER] {
        for (function, arguments) in [
            ("pop_mailbox", json!([])),
            ("store_log", json!(["line"])),
            ("store_error", json!([last_error("x"), 1, 2])),
        ] {
            let error = spell.refused(caller, function, arguments);
            let expected = format!("{function} can be called only by the associated spell script");
            assert!(error.contains(&expected), "{error}");
        }
    }
    let popped = spell.done("pop_mailbox", json!([]));
    assert_eq!(popped["absent"], false);
    assert_eq!(popped["message"][0]["message"], "51");
    let popped = spell.done("pop_mailbox", json!([]));
    assert_eq!(popped["message"][0]["message"], "50");

    for number in 0..502 {
        spell.done("store_log", json!([number.to_string()]));
    }
    let logs = spell.call(AS_STRANGER, "get_logs", json!([]));
    let logs = logs["logs"].as_array().unwrap();
    assert_eq!(logs.len(), 500);
    assert_eq!(
        (&logs[0]["message"], &logs[499]["message"]),
        (&json!("2"), &json!("501"))
    );
    assert!(logs[0]["timestamp"].is_u64());

    let none = spell.call(AS_STRANGER, "get_errors", json!([OWN]));
    assert_eq!(none, json!([]));
    for index in [7, 8] {
        spell.done("store_error", json!([last_error("no"), index, 1_000]));
    }
    let errors = spell.text(AS_STRANGER, "get_errors", &json!([OWN]));
    let entry = |index: u32| {
        format!(
            r#"{{"last_error":{{"error_code":10000,"instruction":"call","message":"no","peer_id":"peer"}},"error_idx":{index}}}"#
        )
    };
    assert_eq!(errors, format!("[{},{}]", entry(7), entry(8)));
    let all = spell.text(AS_STRANGER, "get_all_errors", &json!([]));
    assert_eq!(
        all,
        format!(
            r#"{{"particle_errors":[{{"particle_id":"{OWN}","errors":{errors}}}],"success":true,"error":""}}"#
        )
    );
}

#[test]
fn a_restart_keeps_everything() {
    let mut spell = Spell::own();
    let made = spell.call(AS_WORKER, "set_script", json!(["(null)"]));
    assert_eq!(made["success"], true);
    spell.call(AS_WORKER, "set_trigger_config", json!([trigger(9)]));
    spell.done("set_string", json!(["text", "t"]));
    spell.done("set_u32", json!(["number", 3]));
    spell.done("set_string", json!(["gone", "t"]));
    spell.done("remove_key", json!(["gone"]));
    for value in ["a", "b", "c"] {
        spell.done("list_push_string", json!(["list", value]));
        spell.call(AS_STRANGER, "push_mailbox", json!([value]));
        spell.done("store_log", json!([value]));
    }
    spell.done("list_pop_string", json!(["list"]));
    spell.done("pop_mailbox", json!([]));
    spell.done("store_error", json!([last_error("no"), 1, 2]));
    let seen = |spell: &mut Spell| {
        [
            ("get_script", json!([])),
            ("script_cid", json!([])),
            ("get_trigger_config", json!([])),
            ("get_string", json!(["text"])),
            ("get_u32", json!(["number"])),
            ("exists", json!(["gone"])),
            ("list_get_strings", json!(["list"])),
            ("get_mailbox", json!([])),
            ("get_logs", json!([])),
            ("get_all_errors", json!([])),
        ]
        .map(|(function, arguments)| spell.text(AS_STRANGER, function, &arguments))
    };
    let before = seen(&mut spell);
    assert!(before[6].contains(r#"["a","b"]"#), "{before:?}");
    for _ in 0..2 {
        spell.restart();
        assert_eq!(seen(&mut spell), before);
    }
    // And goes on from there.
    spell.done("list_push_string", json!(["list", "d"]));
    spell.restart();
    assert_eq!(
        spell.value("list_get_strings", "list"),
        json!(["a", "b", "d"])
    );
}
