use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;

use super::*;
use crate::{
    ToyPuzzle,
    prover::{MemoryBudget, ProverOptions, Topology},
};

/// A service with two cores.
fn service(folder: &std::path::Path) -> Service {
    let options = ProverOptions {
        topology: Topology::new([0, 1].map(|core| vec![LogicalCore(core)])),
        threads_per_core: None,
        hashes_per_round: 16,
        dataset_chunk: 16,
        pin: false,
        memory: MemoryBudget::new(|| None),
        check_every: 0,
    };
    let puzzle = ToyPuzzle {
        pause: Duration::from_micros(200),
        ..ToyPuzzle::default()
    };
    Service::open(folder, Arc::new(puzzle), options).unwrap()
}

fn ask(service: &Service, request: &Value) -> Value {
    let answer = answer(service, request.to_string().as_bytes()).unwrap();
    serde_json::from_str(&answer).unwrap()
}

fn call(service: &Service, method: &str, params: &Value) -> Value {
    ask(
        service,
        &json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}),
    )
}

fn word(byte: u8) -> String {
    hex::encode([byte; 32])
}

fn commitment(nonce: u8) -> Value {
    let easy = format!("0f{}", "ff".repeat(31));
    json!({
        "global_nonce": word(nonce),
        "difficulty": easy,
        "cu_allocation": {"0": word(2), "1": word(3)},
    })
}

/// Waits until units 2 and 3 have at least so many proofs.
fn wait(service: &Service, count: usize) {
    let end = Instant::now() + Duration::from_secs(20);
    let requests = json!({word(2): 0, word(3): 0});
    loop {
        let answer = call(service, "ccp_get_proofs_after", &json!([requests, 1000]));
        let units = answer["result"].as_array().unwrap();
        let enough = |unit: &Value| unit["proof_batches"].as_array().unwrap().len() >= count;
        if units.len() == 2 && units.iter().all(enough) {
            return;
        }
        assert!(Instant::now() < end, "{answer}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path());
    let null = json!({"jsonrpc": "2.0", "id": 7, "result": null});
    assert_eq!(
        call(&service, "ccp_on_active_commitment", &commitment(1)),
        null
    );
    wait(&service, 5);

    let known = json!({word(2): 1, word(9): 0});
    let positional = call(&service, "ccp_get_proofs_after", &json!([known, 2]));
    let named = json!({"last_known_proofs": known, "limit": 2});
    assert_eq!(call(&service, "ccp_get_proofs_after", &named), positional);
    let batch = &positional["result"][0];
    assert_eq!(positional["result"].as_array().unwrap().len(), 1);
    assert_eq!(batch["cu_id"], word(2));
    let numbers: Vec<u64> = batch["proof_batches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|proof| proof["id"]["idx"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [2, 3]);
    assert_eq!(batch["proof_batches"][0]["id"]["global_nonce"], word(1));

    let requests = json!({word(3): {"last_seen_proof_idx": 0, "proof_batch_size": 2}});
    let answer = call(
        &service,
        "ccp_get_batch_proofs_after",
        &json!([requests, 1, 1]),
    );
    assert_eq!(
        answer["result"][0]["proof_batches"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let answer = call(
        &service,
        "ccp_get_batch_proofs_after",
        &json!([requests, 100_000, 1]),
    );
    assert_eq!(answer["result"], json!([]));

    let cores = json!({"utility_core_ids": [0]});
    assert_eq!(call(&service, "ccp_realloc_utility_cores", &cores), null);
    for params in [json!([]), json!({})] {
        assert_eq!(call(&service, "ccp_on_no_active_commitment", &params), null);
    }
    // What was found stays.
    wait(&service, 5);
    let absent = json!({"jsonrpc": "2.0", "id": "x", "method": "ccp_on_no_active_commitment"});
    assert_eq!(ask(&service, &absent)["id"], "x");
}

#[test]
fn bad_requests_have_their_codes_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path());
    call(&service, "ccp_on_active_commitment", &commitment(1));
    call(&service, "ccp_on_active_commitment", &commitment(2));
    let with = |key: &str, value: Value| {
        let mut changed = commitment(2);
        changed[key] = value;
        changed
    };
    let active = "ccp_on_active_commitment";
    let (after, batches) = ("ccp_get_proofs_after", "ccp_get_batch_proofs_after");
    let empty_batch = json!({word(2): {"last_seen_proof_idx": 0, "proof_batch_size": 0}});
    for (method, params, code, text) in [
        (
            active,
            with("global_nonce", json!("zz")),
            -32602,
            "parameter `global_nonce`: global nonce \"zz\"",
        ),
        (
            active,
            with("difficulty", json!(word(1)[1..])),
            -32602,
            "is not 64 hexadecimal digits",
        ),
        (
            active,
            with("difficulty", json!(7)),
            -32602,
            "parameter `difficulty`",
        ),
        (
            active,
            with("cu_allocation", json!({"0": "0x00"})),
            -32602,
            "unit id \"0x00\"",
        ),
        (
            active,
            with("cu_allocation", json!({"-1": word(1)})),
            -32602,
            "key \"-1\"",
        ),
        (
            active,
            with("difficulty", json!(word(0))),
            1,
            "expected more than zero",
        ),
        (
            active,
            with("cu_allocation", json!({"2": word(1)})),
            1,
            "core 2 does not exist",
        ),
        (active, commitment(1), 1, "belongs to an epoch that is over"),
        (
            active,
            with("surplus", json!(1)),
            -32602,
            "there is no parameter `surplus`",
        ),
        (
            active,
            json!([word(1)]),
            -32602,
            "parameter `difficulty` is missing",
        ),
        (
            active,
            json!([1, 2, 3, 4]),
            -32602,
            "4 parameters, expected 3",
        ),
        (active, json!("x"), -32602, "neither a list nor an object"),
        (after, json!([{"xx": 1}, 1]), -32602, "unit id \"xx\""),
        (after, json!([{}, -1]), -32602, "parameter `limit`"),
        (
            batches,
            json!([empty_batch, 1, 1]),
            -32602,
            "is 0, expected at least 1",
        ),
        (
            "ccp_realloc_utility_cores",
            json!([[0, 9]]),
            1,
            "logical core 9 does not exist",
        ),
        (
            "ccp_nothing",
            json!([]),
            -32601,
            "there is no method `ccp_nothing`",
        ),
    ] {
        let answer = call(&service, method, &params);
        assert_eq!(answer["error"]["code"], code, "{method} {params}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(text), "{method} {params}: {message}");
        assert_eq!(answer["id"], 7);
    }
    let (unit, other) = (word(2), word(3));
    let raw = |text: &str| -> Value {
        serde_json::from_str(&answer(&service, text.as_bytes()).unwrap()).unwrap()
    };
    // Two commitments for one core: a map would hide the first.
    let twice = raw(&format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{active}\",\"params\":{{\"global_nonce\":\"{unit}\",\
         \"difficulty\":\"{unit}\",\"cu_allocation\":{{\"1\":\"{unit}\",\"1\":\"{other}\"}}}}}}"
    ));
    assert_eq!(
        twice["error"]["message"],
        "parameter `cu_allocation` has 1 twice"
    );
    for (text, code) in [
        ("", -32700),
        ("{", -32700),
        ("7", -32600),
        ("[]", -32600),
        ("{\"method\":\"x\",\"id\":1}", -32600),
        ("{\"jsonrpc\":\"1.0\",\"method\":\"x\",\"id\":1}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"id\":[]}", -32600),
        (&format!("[{}1]", "1,".repeat(64)), -32600),
        (&"[".repeat(10_000), -32700),
    ] {
        assert_eq!(raw(text)["error"]["code"], code, "{text}");
    }
    assert_eq!(
        service.view().epoch.unwrap().global_nonce,
        GlobalNonce([2; 32])
    );
    wait(&service, 1);
}

#[test]
fn hex_is_taken_in_its_old_forms() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path());
    let old = json!({
        "global_nonce": vec![1; 32],
        "difficulty": format!("0x0F{}", "FF".repeat(31)),
        "cu_allocation": {"1": vec![3; 32]},
    });
    assert_eq!(
        call(&service, "ccp_on_active_commitment", &old)["result"],
        Value::Null
    );
    assert_eq!(
        service.view().epoch.unwrap().global_nonce,
        GlobalNonce([1; 32])
    );
}

#[test]
fn calls_come_together_and_without_answers() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path());
    let call = |id: Option<u32>| {
        let mut call =
            json!({"jsonrpc": "2.0", "method": "ccp_get_proofs_after", "params": [{}, 1]});
        if let Some(id) = id {
            call["id"] = json!(id);
        }
        call
    };
    let answers = ask(
        &service,
        &json!([call(Some(1)), call(None), 3, call(Some(2))]),
    );
    let ids: Vec<&Value> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| &answer["id"])
        .collect();
    assert_eq!(ids, [&json!(1), &Value::Null, &json!(2)]);
    assert_eq!(answer(&service, call(None).to_string().as_bytes()), None);
}

#[test]
fn a_disk_that_takes_nothing_is_an_error_and_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path());
    call(&service, "ccp_on_active_commitment", &commitment(1));
    wait(&service, 1);
    let way = folder.path().join("state.json.tmp");
    std::fs::create_dir(&way).unwrap();
    let answer = call(&service, "ccp_on_active_commitment", &commitment(2));
    assert_eq!(answer["error"]["code"], 1);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("state.json.tmp: cannot write"),
        "{message}"
    );
    assert_eq!(
        service.view().epoch.unwrap().global_nonce,
        GlobalNonce([1; 32])
    );
    std::fs::remove_dir(&way).unwrap();
    let answer = call(&service, "ccp_on_active_commitment", &commitment(2));
    assert_eq!(answer["result"], Value::Null);
}

#[test]
fn a_restart_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let before = service(folder.path());
    call(&before, "ccp_on_active_commitment", &commitment(1));
    wait(&before, 2);
    drop(before);
    let after = service(folder.path());
    // At once, before anything is found again.
    wait(&after, 2);
    let view = after.view();
    assert_eq!(view.epoch.unwrap().global_nonce, GlobalNonce([1; 32]));
    assert!(
        view.workers
            .iter()
            .all(|worker| worker.status.unit.is_some())
    );
    // Epochs that are over stay over.
    call(&after, "ccp_on_active_commitment", &commitment(2));
    drop(after);
    let after = service(folder.path());
    let answer = call(&after, "ccp_on_active_commitment", &commitment(1));
    assert_eq!(answer["error"]["code"], 1);
}
