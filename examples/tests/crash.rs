//! `kill -9` under load: what a peer acknowledged is there when it starts again.
//!
//! `cargo xtask crash --rounds N --seed S` runs this with more rounds.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use particle::KeyPair;
use peer_core::client::{CallError, Client, Request};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// Rounds when nothing else is asked for.
const ROUNDS: u64 = 10;
/// Clients that deploy and remove at the same time.
const WORKERS: u64 = 4;
/// How soon a peer is there again.
const RESTART: Duration = Duration::from_secs(2);
/// How long a script may take on a busy machine.
const TTL: Duration = Duration::from_secs(60);

const GREETING: &[u8] = include_bytes!("../wasm/greeting.wasm");

/// A peer in a process of its own.
struct Host {
    process: Child,
    address: String,
    took: Duration,
}

impl Host {
    fn start(folder: &Path, manager: &KeyPair) -> Self {
        let began = Instant::now();
        let process = Command::new(env!("CARGO_BIN_EXE_peer"))
            .args([
                "--tcp-port",
                "0",
                "--websocket-port",
                "0",
                "--http-port",
                "0",
            ])
            .args(["--listen-ip", "127.0.0.1", "--log", "error"])
            .args(["--management-peer-id", &manager.peer_id().to_string()])
            .arg("--data-dir")
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut host = Self {
            process,
            address: String::new(),
            took: Duration::ZERO,
        };
        let stdout = host.process.stdout.take().unwrap();
        for line in BufReader::new(stdout).lines() {
            let line = line.unwrap();
            match line.split_once(' ') {
                Some(("listen", address)) if host.address.is_empty() => {
                    address.clone_into(&mut host.address);
                }
                None if line == "ready" => {
                    host.took = began.elapsed();
                    return host;
                }
                _ => {}
            }
        }
        panic!("the peer ended before it was ready");
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What the peer said that it did.
#[derive(Default)]
struct Journal {
    /// Services with their aliases.
    services: BTreeMap<String, String>,
    removed: BTreeSet<String>,
    /// Blueprints and modules.
    others: BTreeSet<String>,
    acknowledged: u64,
}

/// Numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        // xorshift64*, good enough to choose.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }
}

fn script(body: &str, results: &str) -> String {
    format!(
        r#"(xor
            (seq
                (seq (call %init_peer_id% ("getDataSrv" "-relay-") [] relay) {body})
                (call %init_peer_id% ("callbackSrv" "response") [{results}]))
            (call %init_peer_id% ("errorHandlingSrv" "error") [:error: 0]))"#
    )
}

async fn ask(client: &Client, body: &str, results: &str) -> Result<Value, CallError> {
    client
        .call(Request::new(script(body, results)).ttl(TTL))
        .await
}

/// Adds a module, unlike all others by a section of its own; its CID.
async fn add_module(client: &Client, number: u64) -> Result<Value, CallError> {
    let mut bytes = GREETING.to_vec();
    bytes.extend([0, 10, 1, b'n']);
    bytes.extend(number.to_le_bytes());
    let body = r#"(seq
        (call %init_peer_id% ("getDataSrv" "module") [] module)
        (seq
            (call relay ("dist" "default_module_config") ["greeting"] config)
            (call relay ("dist" "add_module") [module config] cid)))"#;
    let request = Request::new(script(body, "cid"))
        .argument("module", &bytes)
        .unwrap()
        .ttl(TTL);
    client.call(request).await
}

async fn add_blueprint(client: &Client, name: &str, cid: &str) -> Result<Value, CallError> {
    let body = format!(
        r#"(seq
            (seq
                (call relay ("op" "array") ["{cid}"] cids)
                (call relay ("dist" "make_blueprint") ["{name}" cids] text))
            (call relay ("dist" "add_blueprint") [text] id))"#
    );
    ask(client, &body, "id").await
}

async fn create(client: &Client, blueprint: &str, alias: &str) -> Result<Value, CallError> {
    let body = format!(
        r#"(seq
            (call relay ("srv" "create") ["{blueprint}"] id)
            (call relay ("srv" "add_alias") ["{alias}" id]))"#
    );
    ask(client, &body, "id").await
}

/// Deploys and removes until the peer is gone.
async fn work(client: Arc<Client>, journal: Arc<Mutex<Journal>>, made: Arc<AtomicU64>, seed: u64) {
    let mut random = Random(seed | 1);
    let cid = {
        let number = made.fetch_add(1, Ordering::Relaxed);
        match add_module(&client, number).await {
            Ok(cid) => cid.as_str().unwrap().to_owned(),
            Err(_) => return,
        }
    };
    let mut blueprint = None;
    loop {
        let number = made.fetch_add(1, Ordering::Relaxed);
        let name = format!("n{number}");
        let kind = random.next(10);
        let done = match (kind, &blueprint) {
            (0, _) => add_module(&client, number).await,
            (_, None) | (1, _) => {
                let id = add_blueprint(&client, &name, &cid).await;
                if let Ok(id) = &id {
                    blueprint = id.as_str().map(str::to_owned);
                }
                id
            }
            (2, _) => {
                // In doubt from here on: whatever becomes of it is right until it is acknowledged.
                let Some((id, _)) = journal.lock().await.services.pop_first() else {
                    continue;
                };
                let body = format!(r#"(call relay ("srv" "remove") ["{id}"])"#);
                let removed = ask(&client, &body, "relay").await;
                if removed.is_ok() {
                    let mut journal = journal.lock().await;
                    journal.removed.insert(id);
                    journal.acknowledged += 1;
                    continue;
                }
                removed
            }
            (_, Some(blueprint)) => create(&client, blueprint, &name).await,
        };
        let Ok(id) = done else { return };
        let id = id.as_str().unwrap().to_owned();
        let mut journal = journal.lock().await;
        journal.acknowledged += 1;
        if kind > 2 && id.len() == 36 {
            journal.services.insert(id, name);
        } else {
            journal.others.insert(id);
        }
    }
}

/// Everything that was acknowledged and is not there, or is there and should not be.
async fn lost(client: &Client, journal: &Journal) -> Vec<String> {
    let body = r#"(seq
        (call relay ("srv" "list") [] services)
        (seq
            (call relay ("dist" "list_modules") [] modules)
            (call relay ("dist" "list_blueprints") [] blueprints)))"#;
    let lists = ask(client, body, "services modules blueprints")
        .await
        .unwrap();
    let services: BTreeMap<&str, &Value> = lists[0]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| (service["id"].as_str().unwrap(), &service["aliases"]))
        .collect();
    let others = format!("{}{}", lists[1], lists[2]);
    let mut lost = Vec::new();
    for (id, alias) in &journal.services {
        if services.get(id.as_str()) != Some(&&json!([alias])) {
            lost.push(format!("service {id}, alias {alias}"));
        }
    }
    let back = |id: &&String| services.contains_key(id.as_str());
    lost.extend(
        journal
            .removed
            .iter()
            .filter(back)
            .map(|id| format!("removed service {id}")),
    );
    let missing = |id: &&String| !others.contains(id.as_str());
    lost.extend(journal.others.iter().filter(missing).cloned());
    lost
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost() {
    let (rounds, seed) = (
        setting("AQUAMARINE_CRASH_ROUNDS", ROUNDS),
        setting("AQUAMARINE_CRASH_SEED", 1),
    );
    let folder = tempfile::tempdir().unwrap();
    let manager = KeyPair::from_seed(&[9; 32]);
    let journal = Arc::new(Mutex::new(Journal::default()));
    let made = Arc::new(AtomicU64::new(0));
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut restarts = Vec::new();
    for round in 0..=rounds {
        let mut host = Host::start(folder.path(), &manager);
        let client = Client::connect(manager.clone(), &host.address)
            .await
            .unwrap();
        let client = Arc::new(client);
        {
            let journal = journal.lock().await;
            let lost = lost(&client, &journal).await;
            assert!(
                lost.is_empty(),
                "round {round} of seed {seed}: of {} acknowledged, lost: {lost:#?}",
                journal.acknowledged
            );
            if let Some(alias) = journal.services.values().next_back() {
                let body = format!(r#"(call relay ("{alias}" "greeting") ["Ada"] text)"#);
                assert_eq!(ask(&client, &body, "text").await.unwrap(), "Hi, Ada");
            }
        }
        if round > 0 {
            restarts.push(host.took);
        }
        if round == rounds {
            break;
        }
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                let seed = random.next(u64::MAX);
                tokio::spawn(work(client.clone(), journal.clone(), made.clone(), seed))
            })
            .collect();
        let before = journal.lock().await.acknowledged;
        // Killed in the middle of something, but not before anything was done.
        let patience = Instant::now();
        while journal.lock().await.acknowledged < before + 5 {
            assert!(patience.elapsed() < TTL, "nothing is acknowledged");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(random.next(300))).await;
        host.kill();
        for worker in workers {
            worker.abort();
            let _ = worker.await;
        }
        client.stop().await;
    }
    restarts.sort_unstable();
    let journal = journal.lock().await;
    println!(
        "rounds {rounds}, seed {seed}: acknowledged {}, lost 0; {} services, {} removed; \
         ready again after {} to {} ms",
        journal.acknowledged,
        journal.services.len(),
        journal.removed.len(),
        restarts.first().unwrap().as_millis(),
        restarts.last().unwrap().as_millis(),
    );
    // Other programs may hold up one restart, but not all of them.
    assert!(restarts.first().unwrap() < &RESTART, "{restarts:?}");
}
