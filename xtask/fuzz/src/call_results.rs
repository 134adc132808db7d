//! The results of calls, as they come through the interpreter interface.

use std::sync::LazyLock;

use aquavm::{
    Compat, RunParameters, Script, decode_call_requests, decode_call_results, encode_call_results,
    invoke_script, step,
};
use particle::{KeyPair, data::Envelope, value};

use super::{bounded, described};

/// Bytes that reading may take for each byte: an empty result takes two dozen bytes, an entry of a
/// map much more.
const FACTOR: usize = 40;

/// A peer that waits for the result of its first call.
struct Waiting {
    script: Script,
    parameters: RunParameters,
    data: Vec<u8>,
}

/// Checks results, and lets a run use them.
pub fn call_results(input: &[u8]) {
    let decoded = bounded("call results", input.len(), FACTOR, || {
        decode_call_results(input)
    });
    let results = match &decoded {
        Ok(results) => {
            let written = encode_call_results(results);
            assert_eq!(decode_call_results(&written).as_ref(), Ok(results));
            for result in results.values() {
                check_text(&result.result);
            }
            Some(results)
        }
        Err(error) => {
            described(error);
            None
        }
    };
    // What a host reads is made by an interpreter; it is checked all the same.
    bounded("call requests", input.len(), FACTOR, || {
        if let Err(error) = decode_call_requests(input) {
            described(&error);
        }
    });

    static WAITING: LazyLock<Waiting> = LazyLock::new(Waiting::new);
    let Waiting {
        script,
        parameters,
        data,
    } = &*WAITING;
    let outcome = invoke_script(script, data, &[], parameters, input);
    let no_id = |error: &String| error.contains("is not a decimal number");
    let expected: &[i64] = match results {
        None if decoded.as_ref().is_err_and(no_id) => &[10_000, 10_007, 30_000],
        None => &[5],
        Some(results) if results.keys().any(|id| *id != 1) => &[10_000, 10_007, 30_000],
        Some(_) => &[0, 10_000, 10_007],
    };
    assert!(
        expected.contains(&outcome.ret_code),
        "{} {}",
        outcome.ret_code,
        outcome.error_message
    );
    let envelope = Envelope::decode(&outcome.data).expect("data of our own");
    assert!(envelope.data().is_ok());
    if let Some(results) = results {
        // Hosts in Rust pass the same results without their encoding.
        let direct = step(script, data, &[], parameters, results);
        assert_eq!(direct.ret_code, outcome.ret_code);
        assert_eq!(direct.data, outcome.data);
    }
}

impl Waiting {
    fn new() -> Self {
        let key = KeyPair::from_seed(&[1; 32]);
        let peer_id = key.peer_id().to_string();
        let parameters = RunParameters {
            init_peer_id: peer_id.clone(),
            current_peer_id: peer_id,
            timestamp: 1_700_000_000_000,
            ttl: 7000,
            particle_id: "particle-1".to_owned(),
            key: key.into(),
            limits: Default::default(),
            compat: Compat::V0_64,
            check_signatures: true,
            policy: Default::default(),
        };
        let text = r#"(seq (call %init_peer_id% ("s" "f") [] x) (ap x.$.[0].a $s))"#;
        let script = Script::parse(text).expect("a script");
        let data = step(&script, &[], &[], &parameters, &Default::default()).data;
        Self {
            script,
            parameters,
            data,
        }
    }
}

/// The short cut to the canonical text of a value ends where the long way does.
fn check_text(text: &str) {
    let slow = serde_json::from_str::<serde_json::Value>(text);
    match (value::normalize(text), slow) {
        (Ok(fast), Ok(slow)) => {
            assert_eq!(*fast, value::print(&slow).expect("a value"));
            // Not always the same text once more: `serde_json` reads some floats as their neighbours.
            let again: serde_json::Value = serde_json::from_str(&fast).expect("a value");
            let slow = value::print(&again).expect("a value");
            assert_eq!(value::normalize(&fast).expect("a value"), slow);
        }
        (Err(error), Err(_)) => {
            described(&error);
        }
        (fast, slow) => panic!("{text}: {fast:?}, but {slow:?}"),
    }
}
