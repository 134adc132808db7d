//! What is measured, and how much better than the reference it shall be.

use serde_json::{Value, json};

/// The published modules come from here.
pub(super) const PACKAGE: &str = "fluence-spell-distro";
pub(super) const VERSION: &str = "0.7.6";
/// Names and hashes.
pub(super) const PUBLISHED: [(&str, &str); 2] = [
    (
        "spell",
        "dbbf64ae827722809ff40461a88931e2fa59e990dd228ad36b364ee522c1f01f",
    ),
    (
        "sqlite3",
        "0e51a456cfc929f5c1bb297c06de864150e668dc263982d93fce993093e9f832",
    ),
];

/// A service: its modules, the facade last.
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) modules: &'static [&'static str],
}

pub(super) const SERVICES: &[Service] = &[
    Service {
        name: "echo",
        modules: &["echo"],
    },
    Service {
        name: "relay",
        modules: &["echo", "relay"],
    },
    Service {
        name: "spell",
        modules: &["sqlite3", "spell"],
    },
    Service {
        name: "parrot",
        modules: &["parrot"],
    },
];

pub(super) fn service(name: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|service| service.name == name)
}

/// A call.
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) service: &'static str,
    pub(super) function: &'static str,
    pub(super) arguments: fn() -> Value,
    /// With interface values instead of JSON.
    pub(super) typed: bool,
    /// On wasmtime and on wasmer.
    pub(super) wanted: [f64; 2],
}

/// The time to load a service.
pub(super) struct Load {
    pub(super) name: &'static str,
    pub(super) service: &'static str,
    /// Whether ours finds its machine code on disk.
    pub(super) cached: bool,
    pub(super) wanted: [f64; 2],
}

/// The memory of a service that is not called.
pub(super) struct Idle {
    pub(super) name: &'static str,
    pub(super) service: &'static str,
    /// How many there are.
    pub(super) count: usize,
    pub(super) wanted: [f64; 2],
}

const fn call(
    name: &'static str,
    [service, function]: [&'static str; 2],
    arguments: fn() -> Value,
    wanted: [f64; 2],
) -> Call {
    Call {
        name,
        service,
        function,
        arguments,
        typed: false,
        wanted,
    }
}

pub(super) const CALLS: &[Call] = &[
    call(
        "empty call",
        ["echo", "nothing"],
        || json!([]),
        [20.0, 10.0],
    ),
    call(
        "string of 16 B",
        ["echo", "string_echo"],
        || text(16),
        [25.0, 12.0],
    ),
    call(
        "string of 1 KiB",
        ["echo", "string_echo"],
        || text(1024),
        [25.0, 12.0],
    ),
    call(
        "string of 64 KiB",
        ["echo", "string_echo"],
        || text(65_536),
        [0.0, 0.0],
    ),
    call(
        "nested record",
        ["relay", "trip"],
        || json!([trip(1)]),
        [25.0, 12.0],
    ),
    call(
        "100 nested records",
        ["relay", "trips"],
        || json!([(0..100).map(trip).collect::<Vec<_>>()]),
        [25.0, 12.0],
    ),
    call(
        "1,000 strings",
        ["echo", "strings_echo"],
        || {
            json!([(0..1000)
                .map(|number| format!("text number {number}"))
                .collect::<Vec<_>>()])
        },
        [0.0, 0.0],
    ),
    call(
        "module to module, string of 1 KiB",
        ["relay", "far_text"],
        || text(1024),
        [30.0, 15.0],
    ),
    call(
        "1 MiB of bytes as JSON",
        ["echo", "bytes_echo"],
        || bytes(1 << 20),
        [40.0, 30.0],
    ),
    Call {
        typed: true,
        ..call(
            "1 MiB of bytes, typed",
            ["echo", "bytes_echo"],
            || bytes(1 << 20),
            [3.0, 2.0],
        )
    },
    call(
        "pure Wasm code",
        ["relay", "work"],
        || json!([40]),
        [1.0, 0.75],
    ),
    call(
        "spell insert",
        ["spell", "set_string"],
        || json!(["hw_key", "value"]),
        [1.5, 1.2],
    ),
    call(
        "spell select",
        ["spell", "get_string"],
        || json!(["hw_key"]),
        [1.5, 1.2],
    ),
];

pub(super) const LOADS: &[Load] = &[
    Load {
        name: "spell + sqlite3, cold load",
        service: "spell",
        cached: false,
        wanted: [0.0, 0.0],
    },
    Load {
        name: "spell + sqlite3, load from cache",
        service: "spell",
        cached: true,
        wanted: [100.0, 50.0],
    },
];

pub(super) const IDLE: &[Idle] = &[
    Idle {
        name: "memory of an idle spell + sqlite3",
        service: "spell",
        count: 20,
        wanted: [15.0, 10.0],
    },
    Idle {
        name: "memory of an idle small service, one of 1,000",
        service: "parrot",
        count: 1000,
        wanted: [10.0, 8.0],
    },
];

fn text(length: usize) -> Value {
    json!(["0123456789abcdef".repeat(length / 16)])
}

fn bytes(length: usize) -> Value {
    json!([(0..length)
        .map(|number| (number * 7 % 256) as u8)
        .collect::<Vec<_>>()])
}

/// A record in a record, and lists of both kinds.
fn trip(number: u32) -> Value {
    let place = |name: &str, shift: f64| json!({ "name": name, "latitude": 48.25 + shift, "longitude": 11.5 - shift });
    json!({
        "id": number,
        "title": "a round trip",
        "start": place("start", 0.0),
        "stops": [place("first", 0.5), place("second", 1.0)],
        "tags": ["hills", "lake"],
        "done": false,
    })
}
