//! The services that every peer of the network has: what they answer depends on function, peer and
//! arguments only.

use aquavm::{CallRequest, CallResult};
use serde_json::{Value, json};

use crate::random::Random;

/// What a script can expect of the result of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Any,
    Number,
    Text,
    Peer,
    Array,
    Objects,
    Peers,
    Object,
    Failure,
}

/// The functions, what they give, and how often a random script calls each.
pub(super) const FUNCTIONS: [(&str, Kind, usize); 15] = [
    ("echo", Kind::Any, 12),
    ("args", Kind::Array, 12),
    ("number", Kind::Number, 8),
    ("text", Kind::Text, 6),
    ("peer", Kind::Peer, 6),
    ("peers", Kind::Peers, 6),
    ("list", Kind::Array, 10),
    ("objects", Kind::Objects, 8),
    ("object", Kind::Object, 10),
    ("empty", Kind::Array, 2),
    ("null", Kind::Any, 2),
    ("odd", Kind::Any, 5),
    ("error", Kind::Object, 4),
    ("fail", Kind::Failure, 8),
    ("spaced", Kind::Array, 2),
];

/// Answers `request` at `peer`; `peers` are the ids of the network.
pub(super) fn answer(request: &CallRequest, peer: &str, peers: &[String]) -> CallResult {
    let hash = particle::cid::value_cid(&format!(
        "{peer} {} {}",
        request.function_name, request.arguments
    ));
    let seed = hash.as_str().bytes().fold(0_u64, |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    let mut random = Random::new(seed);
    let arguments: Vec<Value> = serde_json::from_str(&request.arguments).unwrap_or_default();
    let number = random.below(4);
    let any_peer = random.pick(peers).cloned().unwrap_or_default();
    let value = match request.function_name.as_str() {
        "echo" => arguments.first().cloned().unwrap_or(Value::Null),
        "args" => Value::Array(arguments),
        "number" => json!(number),
        "text" => json!(random.word(&["a", "b", "key", "num", "größe", "\" \\ \n\u{7f}"])),
        "peer" => json!(any_peer),
        "peers" => json!([peer, any_peer]),
        "list" => list(&mut random),
        "objects" => {
            let count = 1 + random.below(3);
            (0..count).map(|index| object(index, &any_peer)).collect()
        }
        "object" => object(number, &any_peer),
        "empty" => json!([]),
        "null" => Value::Null,
        "odd" => odd(&mut random),
        "error" => error_object(&mut random),
        "fail" => {
            let result = random.word(&["\"no\"", "{\"why\": [1, 2.0]}", "plain words", "null", ""]);
            return CallResult {
                ret_code: [1, 42, -7, i32::MAX, i32::MIN]
                    .get(random.below(5))
                    .copied()
                    .unwrap_or(1),
                result: result.to_owned(),
            };
        }
        "spaced" => {
            return CallResult::ok(
                " [ 1 , {\"b\" : 2, \"a\" : 1.0e1, \"b\":3} ,\t\"\\u00e4\\/\" ] ",
            );
        }
        "broken" => {
            return CallResult::ok(random.word(&["", "{", "nul", "[1,]", "1 2", "\"\\x\""]));
        }
        other => json!(other),
    };
    CallResult::ok(value.to_string())
}

fn list(random: &mut Random) -> Value {
    let lists = [
        json!([1]),
        json!([1, 2]),
        json!([1, 2, 3]),
        json!(["a", "b", "a"]),
        json!([[1], [2, 3]]),
        json!([0, "x", null, true]),
    ];
    random.pick(&lists).cloned().unwrap_or_default()
}

fn object(number: usize, peer: &str) -> Value {
    json!({
        "num": number,
        "text": "word",
        "arr": [number, {"num": 7}, "z"],
        "obj": {"b": 1, "a": [true, null]},
        "peer": peer,
    })
}

/// Values at the borders of JSON.
fn odd(random: &mut Random) -> Value {
    let values = [
        json!(-1),
        json!(1.0),
        json!(1.5e300),
        json!(-0.0),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(true),
        json!(""),
        json!({}),
        json!({"": {"z": 1, "a": 2}}),
        json!("\u{0}\u{1f}\u{2028}😀/"),
    ];
    random.pick(&values).cloned().unwrap_or_default()
}

/// Objects that `fail` accepts, or nearly.
fn error_object(random: &mut Random) -> Value {
    let values = [
        json!({"error_code": 5, "message": "mine", "extra": [1]}),
        json!({"error_code": -3, "message": "", "peer_id": "nobody"}),
        json!({"error_code": 7, "message": "with text", "instruction": "of another script"}),
        json!({"error_code": 0, "message": "zero"}),
        json!({"error_code": 1.5, "message": "float"}),
        json!({"message": "no code"}),
        json!({"error_code": 6}),
        json!({"error_code": 6, "message": 6}),
    ];
    random.pick(&values).cloned().unwrap_or_default()
}
