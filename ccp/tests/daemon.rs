//! The daemon as a process: requests over HTTP, kills at any moment, one state for one daemon.
#![cfg(feature = "daemon")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use ccp::{
    Footprint, ToyPuzzle,
    daemon::{Config, Daemon},
};
use serde_json::{Value, json};

/// The folder of the daemon that a child of this test is to be.
const CHILD: &str = "AQUAMARINE_CCP_TEST_CHILD";

/// Not a test of its own: a daemon with an easy puzzle, where a test started it as one.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let config = Config::load(&Path::new(&folder).join("ccp.toml")).unwrap();
    let puzzle = ToyPuzzle {
        pause: Duration::from_millis(1),
        items: 1,
        footprint: Footprint::default(),
    };
    let daemon = match Daemon::open(config, Arc::new(puzzle)) {
        Ok(daemon) => daemon,
        Err(error) => {
            println!("error: {error}");
            return;
        }
    };
    let announce = |addresses| println!("{}", json!({ "listening": addresses }));
    daemon.serve(announce, std::future::pending()).unwrap();
}

/// A daemon in a process of its own.
struct Process {
    child: Child,
    rpc: SocketAddr,
    metrics: Option<SocketAddr>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a daemon; what it says when it cannot.
fn start(folder: &Path) -> Result<Process, String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some((_, json)) = line.split_once("{\"listening\":") {
            let addresses: Value = serde_json::from_str(json.strip_suffix('}').unwrap()).unwrap();
            let address = |name: &str| addresses[name].as_str().map(|text| text.parse().unwrap());
            return Ok(Process {
                rpc: address("rpc").unwrap(),
                metrics: address("prometheus"),
                child,
            });
        }
        if let Some((_, error)) = line.split_once("error: ") {
            child.wait().unwrap();
            return Err(error.to_owned());
        }
    }
    child.wait().unwrap();
    panic!("the daemon ended without a word");
}

/// A folder with a configuration.
fn folder(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[rpc-endpoint]\nport = 0\n{more}\n[prometheus-endpoint]\nport = 0\n\
         [optimizations]\nthreads-per-core = 2\n"
    );
    std::fs::write(folder.path().join("ccp.toml"), text).unwrap();
    folder
}

/// Status and body of an answer.
fn http(address: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let length = body.len();
    let request =
        format!("{head}\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

const POST: &str = "POST / HTTP/1.1\r\ncontent-type: application/json";

fn call(address: SocketAddr, method: &str, params: Value) -> Value {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let (status, body) = http(address, POST, &request.to_string());
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn word(byte: u8) -> String {
    hex::encode([byte; 32])
}

/// One hash in 8 is a proof of unit 2, on core 0.
fn commitment(nonce: u8) -> Value {
    json!({
        "global_nonce": word(nonce),
        "difficulty": format!("1f{}", "ff".repeat(31)),
        "cu_allocation": {"0": word(2)},
    })
}

/// Proofs of unit 2 after a number.
fn proofs(address: SocketAddr, after: u64) -> Vec<Value> {
    let known = json!({word(2): after});
    let answer = call(address, "ccp_get_proofs_after", json!([known, 1_000_000]));
    let units = answer["result"].as_array().unwrap();
    units
        .iter()
        .flat_map(|unit| unit["proof_batches"].as_array().unwrap().clone())
        .collect()
}

fn number(proof: &Value) -> u64 {
    proof["id"]["idx"].as_u64().unwrap()
}

#[test]
fn a_hundred_kills_lose_nothing_and_give_nothing_twice() {
    let folder = folder("");
    let mut seen = BTreeMap::<u64, Value>::new();
    let mut nonces = BTreeSet::new();
    let last = |seen: &BTreeMap<u64, Value>| seen.last_key_value().map_or(0, |(idx, _)| *idx);
    for kill in 0..100_u64 {
        let daemon = start(folder.path()).unwrap();
        if kill == 0 {
            let answer = call(daemon.rpc, "ccp_on_active_commitment", commitment(1));
            assert_eq!(answer["result"], Value::Null, "{answer}");
        }
        // What was acknowledged before the kill is there, as it was, and nothing else before it.
        let again = proofs(daemon.rpc, 0);
        for (number, proof) in &seen {
            assert!(again.contains(proof), "kill {kill}: proof {number} is lost");
        }
        // Killed while it finds and writes; every now and then later, so that it also gets far.
        let end = Instant::now() + Duration::from_millis(5 + kill * 7 % 40);
        loop {
            for proof in proofs(daemon.rpc, last(&seen)) {
                assert!(number(&proof) > last(&seen), "kill {kill}: {proof}");
                let nonce = proof["local_nonce"].as_str().unwrap().to_owned();
                assert!(nonces.insert(nonce), "kill {kill}: twice: {proof}");
                seen.insert(number(&proof), proof);
            }
            if Instant::now() >= end {
                break;
            }
        }
        drop(daemon);
    }
    let numbers: Vec<u64> = seen.keys().copied().collect();
    assert_eq!(numbers, Vec::from_iter(1..=last(&seen)), "none is left out");
    assert!(seen.len() > 100, "{} proofs", seen.len());
}

#[test]
fn one_state_has_one_daemon() {
    let folder = folder("");
    let first = start(folder.path()).unwrap();
    let error = start(folder.path()).err().unwrap();
    assert!(error.contains("is in use by another daemon"), "{error}");
    call(first.rpc, "ccp_on_active_commitment", commitment(1));
    drop(first);
    start(folder.path()).unwrap();
}

#[test]
fn states_that_cannot_be_read_lose_nothing() {
    let folder = folder("");
    let state = folder.path().join("state/state.json");
    let first = start(folder.path()).unwrap();
    call(first.rpc, "ccp_on_active_commitment", commitment(1));
    let end = Instant::now() + Duration::from_secs(20);
    while proofs(first.rpc, 0).len() < 3 {
        assert!(Instant::now() < end);
    }
    let found = proofs(first.rpc, 0);
    drop(first);

    let text = std::fs::read_to_string(&state).unwrap();
    std::fs::write(&state, text.replace("\"version\":1", "\"version\":2")).unwrap();
    let damaged = start(folder.path()).unwrap();
    assert_eq!(
        proofs(damaged.rpc, 0),
        [] as [Value; 0],
        "no epoch is known"
    );
    call(damaged.rpc, "ccp_on_active_commitment", commitment(1));
    let kept = proofs(damaged.rpc, 0);
    assert!(found.iter().all(|proof| kept.contains(proof)));
    drop(damaged);
    assert!(folder.path().join("state/state.json.bad").is_file());
}

#[test]
fn http_is_checked_before_anything_is_read() {
    let token = "0123456789abcdef-token";
    let folder = folder("bearer-token-file = \"token\"");
    std::fs::write(folder.path().join("token"), "short").unwrap();
    let error = start(folder.path()).err().unwrap();
    assert!(
        error.contains("expected one token of at least 16"),
        "{error}"
    );
    std::fs::write(folder.path().join("token"), format!("{token}\n")).unwrap();
    let daemon = start(folder.path()).unwrap();
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "ccp_on_no_active_commitment"});
    let with = |head: &str| http(daemon.rpc, head, &request.to_string()).0;
    let authorized = format!("authorization: Bearer {token}");
    assert_eq!(with(POST), 401);
    assert_eq!(
        with(&format!("{POST}\r\nauthorization: Bearer {token}x")),
        401
    );
    assert_eq!(with(&format!("{POST}\r\n{authorized}")), 200);
    assert_eq!(
        with(&format!(
            "POST / HTTP/1.1\r\ncontent-type: text/plain\r\n{authorized}"
        )),
        415
    );
    assert_eq!(with(&format!("GET / HTTP/1.1\r\n{authorized}")), 426);
    assert_eq!(with(&format!("PUT / HTTP/1.1\r\n{authorized}")), 405);
    assert_eq!(Socket::open(daemon.rpc, "").err(), Some(401));
    assert!(Socket::open(daemon.rpc, &format!("{authorized}\r\n")).is_ok());
    let large = " ".repeat((1 << 20) + 1);
    assert_eq!(
        http(daemon.rpc, &format!("{POST}\r\n{authorized}"), &large).0,
        413
    );

    let metrics = daemon.metrics.unwrap();
    let (status, text) = http(metrics, "GET /metrics HTTP/1.1", "");
    assert_eq!(status, 200);
    assert!(text.contains("ccp_allocated_logical_cores 0"), "{text}");
    assert_eq!(http(metrics, "GET / HTTP/1.1", "").0, 404);
}

/// A WebSocket to a daemon.
struct Socket(TcpStream);

impl Socket {
    /// Opens one; the status when it is refused.
    fn open(address: SocketAddr, more: &str) -> Result<Self, u16> {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        match head.split(' ').nth(1).unwrap().parse().unwrap() {
            101 => {
                // The example of the protocol's description.
                assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
                Ok(Self(stream))
            }
            status => Err(status),
        }
    }

    /// Sends a text, masked with zeros; only its beginning when it is longer than it says.
    fn send(&mut self, text: &str, length: u64) {
        let mut frame = vec![0x81, 0xff];
        frame.extend(length.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).unwrap();
    }

    /// The next answer; nothing when the daemon is gone.
    fn receive(&mut self) -> Option<Value> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).ok()?;
        if head[0] != 0x81 {
            return None;
        }
        let mut length = usize::from(head[1]);
        if length == 126 {
            let mut long = [0; 2];
            self.0.read_exact(&mut long).unwrap();
            length = usize::from(u16::from_be_bytes(long));
        }
        let mut text = vec![0; length];
        self.0.read_exact(&mut text).unwrap();
        Some(serde_json::from_slice(&text).unwrap())
    }

    fn ask(&mut self, request: &str) -> Value {
        self.send(request, request.len() as u64);
        self.receive().unwrap()
    }
}

#[test]
fn websockets_are_answered_at_the_same_port() {
    let folder = folder("");
    let daemon = start(folder.path()).unwrap();
    let mut socket = Socket::open(daemon.rpc, "").unwrap();
    let call = |id: u64, method: &str, params: Value| {
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
    };
    let answer = socket.ask(&call(1, "ccp_on_active_commitment", commitment(1)));
    assert_eq!(answer, json!({"jsonrpc": "2.0", "id": 1, "result": null}));
    // The other way sees the same.
    let end = Instant::now() + Duration::from_secs(20);
    let params = json!([{word(2): 0}, 1]);
    while proofs(daemon.rpc, 0).is_empty() {
        assert!(Instant::now() < end);
    }
    let answer = socket.ask(&call(2, "ccp_get_proofs_after", params));
    let first = &answer["result"][0]["proof_batches"][0];
    assert_eq!(*first, proofs(daemon.rpc, 0)[0]);
    assert_eq!(socket.ask("{")["error"]["code"], -32700);
    // Nobody waits for an answer: the next one is that of the next call.
    let unanswered = json!({"jsonrpc": "2.0", "method": "ccp_get_proofs_after", "params": [{}, 1]});
    let unanswered = unanswered.to_string();
    socket.send(&unanswered, unanswered.len() as u64);
    assert_eq!(socket.ask(&call(3, "ccp_nothing", json!([])))["id"], 3);

    socket.send("", (1 << 20) + 1);
    assert_eq!(socket.receive(), None, "too long");
    let page = "origin: http://example.com\r\n";
    assert_eq!(Socket::open(daemon.rpc, page).err(), Some(403));
}

#[test]
fn the_program_says_what_is_wrong_and_ends_when_it_is_told_to() {
    let folder = folder("");
    let config = folder.path().join("ccp.toml");
    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ccp"));
        command
            .arg("--json")
            .arg(&config)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    let mut running = program().spawn().unwrap();
    let mut line = String::new();
    BufReader::new(running.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let said: Value = serde_json::from_str(&line).unwrap();
    let rpc: SocketAddr = said["listening"]["rpc"].as_str().unwrap().parse().unwrap();
    let answer = call(rpc, "ccp_get_proofs_after", json!([{}, 1]));
    assert_eq!(answer["result"], json!([]));
    let second = program().output().unwrap();
    assert!(!second.status.success());
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(error.contains("is in use by another daemon"), "{error}");
    let id = running.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    assert!(running.wait().unwrap().success());

    std::fs::write(&config, "[rpc-endpoint]\nprot = 1\n").unwrap();
    let wrong = program().output().unwrap();
    assert!(!wrong.status.success());
    let error = String::from_utf8(wrong.stderr).unwrap();
    assert!(error.contains("did you mean `port`?"), "{error}");
}

#[test]
fn an_idle_daemon_is_small() {
    let folder = folder("");
    let daemon = start(folder.path()).unwrap();
    call(daemon.rpc, "ccp_on_no_active_commitment", json!([]));
    let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", daemon.child.id())) else {
        return;
    };
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes: u64 = line
        .trim()
        .strip_suffix(" kB")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(kilobytes < 30 << 10, "{kilobytes} KiB");
}
