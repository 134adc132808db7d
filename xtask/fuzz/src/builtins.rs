//! The functions of a host, called one after the other with any arguments by anybody.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::executor::block_on;
use marine_runtime::Engine;
use particle::{KeyPair, PeerId, Signature};
use peer_core::{
    builtins::{Builtins, Guard},
    chain::MemoryChain,
    clock::Clock,
    connectivity::NoNetwork,
    deployment::{Deployment, DeploymentConfig, DeploymentParts},
    host::{FunctionCall, FunctionHost as _, HostChain, OwnedTetraplet, ParticleContext},
    services::{Inline, Marine, Services},
    store::MemoryStore,
};
use serde_json::{Map, Value, json, value::to_raw_value};

use super::{
    bounded_by,
    choices::Choices,
    puppets::{Puppets, Scene, Stage},
};

/// What the calls of an input may take together: a host with its tables, and base64 of a text.
const MEMORY: usize = 4 << 20;
/// Calls in one input.
const CALLS: usize = 12;
/// Results that later calls may use, in bytes of text each.
const KEPT: usize = 1 << 10;
/// Bytes of an error that quotes no argument.
const LONGEST: usize = 1 << 10;
/// Bytes of an error for each of the arguments: it may quote one as JSON and as the type `Value`, whose
/// names are longer than brackets.
const QUOTED: usize = 16;

/// Every function that a host has without services.
const FUNCTIONS: [(&str, &[&str]); 19] = [
    (
        "peer",
        &[
            "timestamp_ms",
            "timestamp_sec",
            "identify",
            "is_connected",
            "connect",
            "get_contact",
            "timeout",
        ],
    ),
    ("kad", &["neighborhood", "neigh_with_addrs", "merge"]),
    (
        "op",
        &[
            "noop",
            "array",
            "array_length",
            "concat",
            "identity",
            "concat_strings",
            "string_to_b58",
            "string_from_b58",
            "bytes_to_b58",
            "bytes_from_b58",
            "sha256_string",
        ],
    ),
    ("debug", &["stringify"]),
    (
        "math",
        &["add", "sub", "mul", "fmul", "div", "rem", "pow", "log"],
    ),
    ("cmp", &["gt", "gte", "lt", "lte", "cmp"]),
    (
        "array",
        &[
            "sum",
            "dedup",
            "intersect",
            "diff",
            "sdiff",
            "slice",
            "length",
        ],
    ),
    (
        "json",
        &[
            "obj",
            "put",
            "puts",
            "parse",
            "stringify",
            "obj_pairs",
            "puts_pairs",
        ],
    ),
    (
        "srv",
        &[
            "list",
            "create",
            "get_interface",
            "resolve_alias",
            "resolve_alias_opt",
            "add_alias",
            "remove",
            "info",
        ],
    ),
    (
        "dist",
        &[
            "add_module",
            "add_module_from_vault",
            "add_module_bytes_from_vault",
            "add_blueprint",
            "make_module_config",
            "load_module_config",
            "default_module_config",
            "make_blueprint",
            "load_blueprint",
            "list_modules",
            "get_module_interface",
            "list_blueprints",
            "get_blueprint",
        ],
    ),
    ("stat", &["service_memory", "service_stat"]),
    ("sig", &["sign", "verify", "get_peer_id"]),
    ("vault", &["put", "cat"]),
    ("run-console", &["print"]),
    (
        "vm",
        &["create", "start", "stop", "reboot", "reset", "status"],
    ),
    (
        "worker",
        &[
            "create",
            "get_worker_id",
            "remove",
            "list",
            "activate",
            "deactivate",
            "is_active",
        ],
    ),
    (
        "spell",
        &["install", "remove", "list", "update_trigger_config"],
    ),
    (
        "connector",
        &["get_deals", "register_worker", "get_tx_receipts"],
    ),
    ("subnet", &["resolve"]),
];

/// Functions that strangers never have an answer of.
const GUARDED: [(&str, &str); 13] = [
    ("peer", "connect"),
    ("srv", "create"),
    ("srv", "add_alias"),
    ("srv", "remove"),
    ("dist", "add_module"),
    ("dist", "add_module_from_vault"),
    ("dist", "add_module_bytes_from_vault"),
    ("dist", "add_blueprint"),
    ("run-console", "print"),
    ("worker", "create"),
    ("worker", "activate"),
    ("connector", "get_deals"),
    ("connector", "register_worker"),
];

/// Texts that functions look into.
const TEXTS: [&str; 20] = [
    "",
    "a",
    "registry",
    "get_record_bytes",
    "spell",
    "worker-spell",
    "../x",
    "/tmp/vault/particle-x/y",
    "12D3KooWANqfCDrV79MZdMnMqTvDdqSAPSxdgFY1L6DCq2DVGB4D",
    "0x00000000000000000000000000000000000000aB",
    "Cn8eVZg",
    "0",
    "-9223372036854775808",
    "/ip4/127.0.0.1/tcp/1",
    "{\"dependencies\":[{\"/\":\"bafkreids22lgia5bqs63uigw4mqwhsoxvtnkpfqxqy5uwyyerrldsr32ce\"}],\"name\":\"b\"}",
    "bafkreids22lgia5bqs63uigw4mqwhsoxvtnkpfqxqy5uwyyerrldsr32ce",
    "AGFzbQEAAAA=",
    "[[[[",
    "name",
    "\u{0}\u{fffd}\"\\",
];
const NUMBERS: [i64; 10] = [
    0,
    1,
    -1,
    5,
    64,
    65,
    i64::MIN,
    i64::MAX,
    1 << 32,
    3_153_600_001,
];
/// Ids of particles: those of spells have a meaning.
const PARTICLES: [&str; 5] = ["particle", "spell_a_0", "spell_", "spell__", "spell_a"];

/// A clock that stands, and does not wait.
struct Noon;

#[async_trait]
impl Clock for Noon {
    fn now_ms(&self) -> u64 {
        1_000_000
    }

    async fn sleep(&self, _duration: Duration) {}
}

/// Calls functions as the input says: whatever the arguments, there is an answer in JSON.
pub fn builtins(input: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder of our own");
    bounded_by("calls of functions", MEMORY, || {
        let host = host(input, folder.path());
        let mut choices = Choices(input);
        let mut script = Script {
            results: Vec::new(),
            workers: Vec::new(),
        };
        for number in 0..CALLS {
            if choices.is_empty() {
                break;
            }
            let call = script.call(&mut choices, number);
            let (code, text) = block_on(host.call(&call)).into_result(&call);
            script.take(&call, code, &text);
        }
    });
}

fn key(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

fn host(input: &[u8], folder: &std::path::Path) -> HostChain {
    let key = Arc::new(key(1));
    let clock = Arc::new(Noon);
    let services = Arc::new(Services::new(Arc::new(Inline), clock.clone()));
    let engine = Engine::new(Arc::new(Puppets::new(input, false, nothing)));
    let guard = Guard::new([self::key(2).peer_id()]);
    let parts = DeploymentParts {
        key: key.clone(),
        marine: Marine::new(engine, key),
        services: services.clone(),
        store: Arc::new(MemoryStore::default()),
        guard: guard.clone(),
        blocking: Arc::new(Inline),
        clock: clock.clone(),
        chain: Some(Arc::new(MemoryChain::default())),
    };
    let deployment =
        Deployment::open(DeploymentConfig::new(folder), parts).expect("an empty folder");
    let builtins = Builtins::new(Arc::new(NoNetwork), clock).with_guard(guard);
    HostChain::new()
        .with(Arc::new(builtins))
        .with(Arc::new(deployment))
        .with(services)
}

/// Services that do nothing.
fn nothing(
    _stage: &mut Stage,
    _scene: &mut Scene<'_>,
) -> Result<(), marine_runtime::backend::Trap> {
    Ok(())
}

/// What happened so far, which later calls refer to.
struct Script {
    results: Vec<Value>,
    workers: Vec<PeerId>,
}

impl Script {
    fn call(&self, choices: &mut Choices<'_>, number: usize) -> FunctionCall {
        let (service, functions) = FUNCTIONS[choices.below(FUNCTIONS.len())];
        let function = functions[choices.below(functions.len())];
        let host_id = key(1).peer_id();
        let who = choices.byte();
        let local = |byte: u8| match self.workers.get(usize::from(byte)) {
            Some(worker) => *worker,
            None => host_id,
        };
        let init_peer_id = match who & 3 {
            0 => key(3).peer_id(),
            1 => key(2).peer_id(),
            2 => host_id,
            _ => local(who >> 4),
        };
        let peer_id = if who & 4 == 0 {
            host_id
        } else {
            local(who >> 4)
        };
        let arguments: Vec<Value> = (0..choices.below(7))
            .map(|_| self.value(choices, 0))
            .collect();
        let tetraplet = |choices: &mut Choices<'_>| OwnedTetraplet {
            peer_pk: if choices.byte() & 1 == 0 {
                peer_id.to_string()
            } else {
                choices.of(&TEXTS).to_owned()
            },
            service_id: choices.of(&TEXTS).to_owned(),
            function_name: choices.of(&TEXTS).to_owned(),
            lens: choices.of(&TEXTS[..2]).to_owned(),
        };
        let tetraplets = match service {
            "sig" => vec![(0..choices.below(3)).map(|_| tetraplet(choices)).collect()],
            _ => Vec::new(),
        };
        FunctionCall {
            particle: Arc::new(ParticleContext {
                id: choices.of(&PARTICLES).to_owned(),
                init_peer_id,
                timestamp: 999_999,
                ttl: 7_000,
                script: "(null)".into(),
                signature: Signature::from_bytes([7; 64]),
            }),
            host_id,
            peer_id,
            call_id: u32::try_from(number).unwrap_or_default(),
            service_id: service.to_owned(),
            function_name: function.to_owned(),
            arguments: arguments
                .iter()
                .map(|argument| to_raw_value(argument).expect("JSON"))
                .collect(),
            tetraplets,
            deadline_ms: 1_006_999,
        }
    }

    fn value(&self, choices: &mut Choices<'_>, depth: usize) -> Value {
        let kind = choices.byte();
        match kind % 13 {
            0 => Value::Null,
            1 => json!(kind > 100),
            2 => json!(choices.number()),
            3 => json!(choices.of(&NUMBERS)),
            4 | 5 => json!(choices.of(&TEXTS)),
            6 => {
                let length = choices.below(40).min(choices.0.len());
                let (bytes, rest) = choices.0.split_at(length);
                choices.0 = rest;
                match kind > 128 {
                    true => json!(bytes),
                    false => json!(String::from_utf8_lossy(bytes)),
                }
            }
            7 | 8 if depth < 4 => {
                let items = 0..choices.below(4);
                items.map(|_| self.value(choices, depth + 1)).collect()
            }
            9 if depth < 4 => {
                let fields = (0..choices.below(4)).map(|_| {
                    let name = choices.of(&TEXTS).to_owned();
                    (name, self.value(choices, depth + 1))
                });
                Value::Object(fields.collect::<Map<_, _>>())
            }
            10 => json!({
                "clock": {
                    "start_sec": choices.number(),
                    "end_sec": choices.number(),
                    "period_sec": choices.of(&NUMBERS),
                },
                "connections": { "connect": kind > 128, "disconnect": false },
                "blockchain": { "start_block": choices.number(), "end_block": 0 },
            }),
            11 => json!({ "name": choices.of(&TEXTS), "logger_enabled": [true] }),
            _ => {
                let place = choices.below(self.results.len());
                self.results.get(place).cloned().unwrap_or(json!(0.5))
            }
        }
    }

    /// Checks an answer and keeps it.
    fn take(&mut self, call: &FunctionCall, code: i32, text: &str) {
        let name = format!("{}.{}", call.service_id, call.function_name);
        let answer: Value = serde_json::from_str(text).expect("an answer in JSON");
        let strange = call.particle.init_peer_id == key(3).peer_id();
        match code {
            0 => {
                let guarded = (call.service_id.as_str(), call.function_name.as_str());
                assert!(
                    !(strange && GUARDED.contains(&guarded)),
                    "a stranger was answered by {name}: {text}"
                );
            }
            1 => {
                let Value::String(error) = &answer else {
                    panic!("{name} fails with {text}");
                };
                let arguments: usize = call.arguments.iter().map(|raw| raw.get().len()).sum();
                assert!(
                    !error.is_empty() && error.len() < LONGEST + QUOTED * arguments,
                    "{name}: {error}"
                );
                let unknown = format!(
                    "Service with id '{}' not found (function {})",
                    call.service_id, call.function_name
                );
                assert_ne!(*error, unknown, "a function that is not there");
            }
            code => panic!("{name} ends with code {code}: {text}"),
        }
        if name == "worker.create"
            && code == 0
            && let Some(worker) = answer.as_str().and_then(|id| id.parse().ok())
        {
            self.workers.push(worker);
        }
        if text.len() <= KEPT {
            self.results.push(answer);
        }
    }
}
