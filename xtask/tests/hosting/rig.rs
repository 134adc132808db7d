//! A peer with a clock that can be moved, and scripts that make one call.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::Path,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use deal_types::peer_chain::PeerChain;
use particle::{KeyPair, Particle, PeerId, Signer as _};
use peer_core::chain::MemoryChain;
use peer_core::{
    clock::Clock,
    config::{PeerConfig, SystemServicesConfig},
    host::{FunctionOutcome, NativeFunctions},
    peer::Peer,
    store::DiskStore,
};
use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};

/// Longest that anything may take: generous, since other tests run beside.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
/// Lifetime of the scripts, in milliseconds.
const TTL_MS: u32 = 100_000;

/// All peers of this process compile a module once.
static ENGINE: LazyLock<marine_runtime::Engine> = LazyLock::new(marine_runtime::Engine::wasmer);

/// The clock of the system, moved on by hand.
#[derive(Default)]
pub(crate) struct MovedClock {
    by_ms: AtomicU64,
    moved: Notify,
}

#[async_trait::async_trait]
impl Clock for MovedClock {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        since.as_millis() as u64 + self.by_ms.load(Ordering::SeqCst)
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.now_ms() + duration.as_millis() as u64;
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let now = self.now_ms();
            if now >= until {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(until - now)) => {}
                () = moved => {}
            }
        }
    }
}

/// What scripts of the rig ask for, and tell.
#[derive(Default)]
struct Desk {
    asked: Mutex<BTreeMap<String, Asked>>,
}

struct Asked {
    arguments: Vec<Value>,
    answer: Option<oneshot::Sender<Result<Value, String>>>,
}

impl Desk {
    fn functions(self: &Arc<Self>) -> NativeFunctions {
        let (arguments, answers, errors) = (self.clone(), self.clone(), self.clone());
        NativeFunctions::new()
            .with("test", "argument", move |call| {
                let index: usize = call.arguments().next("index").unwrap();
                let asked = arguments.asked.lock().unwrap();
                FunctionOutcome::value(&asked[&call.particle.id].arguments[index])
            })
            // As clients sign what they are asked to.
            .with("test", "sign", |call| {
                let data: Vec<u8> = call.arguments().next("data").unwrap();
                let keys = [manager(), stranger()];
                let mut keys = keys.iter();
                let key = keys.find(|key| key.peer_id() == call.particle.init_peer_id);
                FunctionOutcome::value(key.unwrap().sign(&data).as_bytes())
            })
            .with("test", "answer", move |call| {
                let value = call.arguments().next("value").unwrap();
                answers.end(&call.particle.id, Ok(value));
                FunctionOutcome::Empty
            })
            .with("test", "error", move |call| {
                let error: Value = call.arguments().next("error").unwrap();
                let message = error["message"].as_str().unwrap();
                errors.end(&call.particle.id, Err(message.to_owned()));
                FunctionOutcome::Empty
            })
    }

    fn end(&self, id: &str, result: Result<Value, String>) {
        let mut asked = self.asked.lock().unwrap();
        let answer = asked.get_mut(id).and_then(|asked| asked.answer.take());
        if let Some(answer) = answer {
            drop(answer.send(result));
        }
    }
}

/// A peer in a folder.
pub(crate) struct Rig {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: Arc<MovedClock>,
    pub(crate) system: SystemServicesConfig,
    pub(crate) chain: Option<Arc<dyn PeerChain>>,
    /// A chain that tells of its blocks itself.
    pub(crate) mined: Option<Arc<MemoryChain>>,
    pub(crate) dev_mode: bool,
    desk: Arc<Desk>,
    peer: Option<Peer>,
}

pub(crate) fn host_key() -> KeyPair {
    KeyPair::from_seed(&[1; 32])
}

pub(crate) fn manager() -> KeyPair {
    KeyPair::from_seed(&[9; 32])
}

pub(crate) fn stranger() -> KeyPair {
    KeyPair::from_seed(&[8; 32])
}

impl Rig {
    /// A peer that does not run yet.
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::default(),
            system: SystemServicesConfig::default(),
            chain: None,
            mined: None,
            dev_mode: false,
            desk: Arc::default(),
            peer: None,
        }
    }

    /// A peer that does not run yet, with our own module for spells.
    pub(crate) fn with_own_spells() -> Self {
        let mut rig = Self::new();
        rig.system.spell = super::modules::own_spell_modules();
        rig
    }

    /// The same with the published modules; nothing where they cannot be had.
    pub(crate) fn with_published_spells() -> Option<Self> {
        let mut rig = Self::new();
        rig.system.spell = super::modules::spell_modules(rig.folder.path())?;
        Some(rig)
    }

    pub(crate) async fn start(&mut self) {
        let mut config = PeerConfig {
            listen_ip: Ipv4Addr::LOCALHOST.into(),
            tcp_port: 0,
            websocket_port: 0,
            allow_local_addresses: true,
            management_peer_id: Some(manager().peer_id().to_string()),
            data_dir: Some(self.data()),
            system_services: self.system.clone(),
            ..PeerConfig::default()
        };
        config.dev_mode.enable = self.dev_mode;
        let builder = Peer::builder(host_key())
            .config(config)
            .clock(self.clock.clone())
            .wasm(ENGINE.clone())
            .functions(Arc::new(self.desk.functions()));
        let builder = match &self.chain {
            Some(chain) => builder.chain(chain.clone()),
            None => builder,
        };
        let builder = match &self.mined {
            Some(chain) => builder.chain(chain.clone()).heads(chain.heads()),
            None => builder,
        };
        self.peer = Some(builder.start().await.unwrap());
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    pub(crate) async fn stop(&mut self) {
        let peer = self.peer.take().unwrap();
        peer.stop().await;
        drop(peer);
        // The store is free again when the last call of the old peer has ended.
        let store = self.data().join("store.redb");
        until("the store is free", async || DiskStore::open(&store).ok()).await;
    }

    pub(crate) fn peer(&self) -> &Peer {
        self.peer.as_ref().unwrap()
    }

    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn advance(&self, duration: Duration) {
        let by_ms = duration.as_millis() as u64;
        self.clock.by_ms.fetch_add(by_ms, Ordering::SeqCst);
        self.clock.moved.notify_waiters();
    }

    /// Makes one call at the host or a worker, whether anybody waits or not: the result, or the text
    /// of the error.
    pub(crate) fn ask(
        &self,
        by: &KeyPair,
        at: PeerId,
        name: &str,
        arguments: &[Value],
    ) -> impl Future<Output = Result<Value, String>> + use<> {
        let (answer, name) = (self.send(by, at, name, arguments), name.to_owned());
        async move {
            let answer = tokio::time::timeout(PATIENCE, answer).await;
            let answer = answer.unwrap_or_else(|_| panic!("{name} did not answer"));
            answer.unwrap()
        }
    }

    pub(crate) fn send(
        &self,
        by: &KeyPair,
        at: PeerId,
        name: &str,
        arguments: &[Value],
    ) -> oneshot::Receiver<Result<Value, String>> {
        let (service, function) = name.split_once('.').unwrap();
        let names: Vec<String> = (0..arguments.len())
            .map(|index| format!("a{index}"))
            .collect();
        let host = self.peer().peer_id();
        let fetched =
            names
                .iter()
                .enumerate()
                .fold("(null)".to_owned(), |before, (index, name)| {
                    format!(
                        r#"(seq {before} (call "{host}" ("test" "argument") [{index}] {name}))"#
                    )
                });
        let script = format!(
            r#"(xor
                (seq
                    (seq {fetched} (call "{at}" ("{service}" "{function}") [{}] result))
                    (call "{host}" ("test" "answer") [result]))
                (call "{host}" ("test" "error") [%last_error%]))"#,
            names.join(" ")
        );
        self.run(by, script, arguments)
    }

    /// Runs a script, which calls `test.answer` at the host.
    pub(crate) fn run(
        &self,
        by: &KeyPair,
        script: String,
        arguments: &[Value],
    ) -> oneshot::Receiver<Result<Value, String>> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let id = format!("test-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = oneshot::channel();
        let asked = Asked {
            arguments: arguments.to_vec(),
            answer: Some(sender),
        };
        self.desk.asked.lock().unwrap().insert(id.clone(), asked);
        let particle = Particle::new(by, id, self.clock.now_ms(), TTL_MS, script);
        self.peer().submit(particle);
        receiver
    }

    /// A call by the manager that must succeed.
    pub(crate) async fn manage(&self, at: PeerId, name: &str, arguments: &[Value]) -> Value {
        let answer = self.ask(&manager(), at, name, arguments).await;
        answer.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A call at the host by the manager that must succeed.
    pub(crate) async fn at_host(&self, name: &str, arguments: &[Value]) -> Value {
        self.manage(host_key().peer_id(), name, arguments).await
    }

    /// A new worker without cores.
    pub(crate) async fn worker(&self, deal: &str) -> PeerId {
        let id = self
            .at_host("worker.create", &[json!(deal), json!([])])
            .await;
        id.as_str().unwrap().parse().unwrap()
    }

    /// Deploys one module; the id of the service.
    pub(crate) async fn deploy(&self, at: PeerId, name: &str, bytes: &[u8]) -> String {
        let text = data_encoding::BASE64.encode(bytes);
        let config = json!({ "name": name });
        let cid = self
            .manage(at, "dist.add_module", &[json!(text), config])
            .await;
        let blueprint = [json!(name), json!([cid])];
        let blueprint = self.manage(at, "dist.make_blueprint", &blueprint).await;
        let blueprint = self.manage(at, "dist.add_blueprint", &[blueprint]).await;
        let id = self.manage(at, "srv.create", &[blueprint]).await;
        id.as_str().unwrap().to_owned()
    }

    /// The names of what is in a folder of the peer; none where there is no folder.
    pub(crate) fn entries(&self, folder: &str) -> Vec<String> {
        names(&self.data().join(folder))
    }
}

/// The entries of a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Waits for something.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = std::time::Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

impl Rig {
    /// Waits for something that happens by the clock, which is moved on now and then: whatever is
    /// under way has time to end in between.
    pub(crate) async fn until_moving<T>(
        &self,
        by: Duration,
        what: &str,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        const PAUSE: Duration = Duration::from_secs(15);
        let mut moved = None;
        until(what, async || {
            if moved.is_none_or(|at: std::time::Instant| at.elapsed() > PAUSE) {
                self.advance(by);
                moved = Some(std::time::Instant::now());
            }
            look().await
        })
        .await
    }
}

/// The text of a failed call, without what the state machine says around it.
pub(crate) fn reason(answer: Result<Value, String>) -> String {
    let text = answer.unwrap_err();
    let inner = text
        .strip_prefix("Local service error, ret_code is 1, error message is '")
        .and_then(|text| text.strip_suffix('\''))
        .unwrap_or_else(|| panic!("{text}"));
    serde_json::from_str(inner).unwrap_or_else(|_| inner.to_owned())
}
