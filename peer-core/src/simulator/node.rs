//! One peer of a simulation.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use particle::{KeyPair, PeerId};

use super::{
    SimPeer, Tamper,
    fabric::View,
    invariants::{Ledger, Witness},
    time::VirtualClock,
};
use crate::{
    builtins::Builtins,
    config::EngineLimits,
    engine::{DataKey, Engine, ScriptCache},
    host::{FunctionHost, HostChain},
    store::{Change, Durability, MemoryStore, Store, Table},
};

/// How a peer is set up.
pub struct PeerOptions {
    name: String,
    key: Option<Arc<KeyPair>>,
    relay: Option<SimPeer>,
    limits: EngineLimits,
    host: Option<Arc<dyn FunctionHost>>,
    builtins: bool,
}

impl PeerOptions {
    /// A peer with the builtins and nothing else.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            key: None,
            relay: None,
            limits: EngineLimits {
                max_parallel_runs: 4,
                ..EngineLimits::default()
            },
            host: None,
            builtins: true,
        }
    }

    /// Sets the key.
    #[must_use]
    pub fn with_key(mut self, key: Arc<KeyPair>) -> Self {
        self.key = Some(key);
        self
    }

    /// Makes the peer a client of a relay: it is connected to nobody else, and sends everything
    /// there.
    #[must_use]
    pub fn with_relay(mut self, relay: SimPeer) -> Self {
        self.relay = Some(relay);
        self
    }

    /// Sets the limits of the engine. With `persist_data`, the data of particles survives a crash.
    #[must_use]
    pub fn with_limits(mut self, limits: EngineLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the functions beside the builtins; builtins are asked first.
    #[must_use]
    pub fn with_host(mut self, host: Arc<dyn FunctionHost>) -> Self {
        self.host = Some(host);
        self
    }

    /// Leaves the builtins out.
    #[must_use]
    pub fn without_builtins(mut self) -> Self {
        self.builtins = false;
        self
    }
}

impl fmt::Debug for PeerOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PeerOptions")
            .field("name", &self.name)
            .field("relay", &self.relay)
            .finish_non_exhaustive()
    }
}

pub(super) struct Node {
    name: String,
    key: Arc<KeyPair>,
    relay: Option<SimPeer>,
    limits: EngineLimits,
    engine: Option<Engine>,
    host: Arc<dyn FunctionHost>,
    store: MemoryStore,
    /// How often the peer was started: work of an earlier life is not heard any longer.
    pub(super) life: u64,
    pub(super) delay_ms: u64,
    pub(super) tamper: Option<Tamper>,
    /// Whether the peer never sent anything but what its engine wanted to send.
    pub(super) honest: bool,
    /// The deadline that the simulator knows of.
    pub(super) deadline_ms: Option<u64>,
}

impl Node {
    pub(super) fn new(
        options: PeerOptions,
        own_seed: [u8; 32],
        view: View,
        clock: Arc<VirtualClock>,
        scripts: &Arc<ScriptCache>,
    ) -> Self {
        let mut host = HostChain::new();
        if options.builtins {
            host = host.with(Arc::new(Builtins::new(Arc::new(view), clock)));
        }
        if let Some(own) = options.host {
            host = host.with(own);
        }
        let mut node = Self {
            name: options.name,
            key: options
                .key
                .unwrap_or_else(|| Arc::new(KeyPair::from_seed(&own_seed))),
            relay: options.relay,
            limits: options.limits,
            engine: None,
            host: Arc::new(host),
            store: MemoryStore::default(),
            life: 0,
            delay_ms: 0,
            tamper: None,
            honest: true,
            deadline_ms: None,
        };
        node.restart(scripts);
        node
    }

    /// Notes in `ledger` what the peer's functions return.
    pub(super) fn watch(&mut self, ledger: &Arc<Ledger>) {
        self.host = Arc::new(Witness {
            host: self.host.clone(),
            ledger: ledger.clone(),
        });
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn key(&self) -> &Arc<KeyPair> {
        &self.key
    }

    pub(super) fn peer_id(&self) -> PeerId {
        self.key.peer_id()
    }

    pub(super) fn relay(&self) -> Option<SimPeer> {
        self.relay
    }

    pub(super) fn limits(&self) -> &EngineLimits {
        &self.limits
    }

    pub(super) fn host(&self) -> &Arc<dyn FunctionHost> {
        &self.host
    }

    pub(super) fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    pub(super) fn engine_mut(&mut self) -> Option<&mut Engine> {
        self.engine.as_mut()
    }

    pub(super) fn crash(&mut self) {
        self.engine = None;
        self.life += 1;
    }

    pub(super) fn restart(&mut self, scripts: &Arc<ScriptCache>) {
        if self.engine.is_none() {
            let engine = Engine::new(self.key.clone(), self.limits.clone());
            self.engine = Some(engine.with_scripts(scripts.clone()).with_events());
        }
    }

    pub(super) fn load(&self, key: &DataKey) -> Bytes {
        let stored = self.store.get(Table::Particles, &key.to_bytes());
        stored.ok().flatten().map(Bytes::from).unwrap_or_default()
    }

    pub(super) fn save(&self, key: &DataKey, data: Option<&Bytes>) {
        let change = Change {
            table: Table::Particles,
            key: key.to_bytes(),
            value: data.map(|data| data.to_vec()),
        };
        // A store in memory does not fail.
        if let Err(error) = self.store.apply(&[change], Durability::Later) {
            tracing::error!(peer = %self.name, %error, "particle data was not stored");
        }
    }
}
