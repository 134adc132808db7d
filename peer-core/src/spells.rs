//! Spells: scripts that the host starts by itself, at a time, when peers come and go, or with a
//! block of the chain (§6 of the peer description).
//!
//! A spell is a service of a spell module, our own or the published one, which keeps its script and
//! its data, and a [`TriggerConfig`]. [`Spells`] knows the triggers of all spells of a host; [`Spells::drive`]
//! starts their particles.
//!
//! ```
//! use peer_core::spells::TriggerConfig;
//!
//! // From now on, each minute.
//! let config = TriggerConfig::periodic(60);
//! assert!(config.check(1_700_000_000).is_ok());
//! assert!(TriggerConfig::default().is_empty());
//! ```

mod bus;
mod drive;
mod service;
mod trigger;

pub use self::{
    bus::{Bus, Firing, SpellEvent, SpellId},
    drive::Happening,
    service::{SpellError, SpellService},
    trigger::{
        BlockchainTrigger, ClockTrigger, ConnectionTrigger, MAX_PERIOD_SEC, TriggerConfig,
        TriggerError,
    },
};

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::channel::mpsc;
use particle::PeerId;

use crate::{
    clock::Clock,
    records,
    services::Services,
    store::{Change, Store, StoreError, Table},
    workers::Workers,
};

/// What spells work with.
pub struct SpellParts {
    /// Where spells are services.
    pub services: Arc<Services>,
    /// Whose keys sign particles of spells.
    pub workers: Arc<Workers>,
    /// Where triggers are kept.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The id of the host.
    pub host_id: PeerId,
    /// How long a particle of a spell lives.
    pub ttl: Duration,
}

/// The triggers of the spells of a host.
pub struct Spells {
    parts: SpellParts,
    bus: Mutex<Bus>,
    /// Wakes the driver.
    wake: mpsc::Sender<()>,
    woken: Mutex<Option<mpsc::Receiver<()>>>,
    fired: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// What has been counted about spells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpellCounters {
    /// Particles started.
    pub fired: u64,
    /// Firings that did not become a particle.
    pub failed: u64,
    /// Firings that were dropped because too many waited.
    pub dropped: u64,
    /// Spells with a timer.
    pub scheduled: u64,
}

impl Spells {
    /// Spells with the triggers that were kept before. Nothing fires before [`Spells::drive`].
    ///
    /// # Errors
    /// A store that cannot be read. An entry of it that cannot be read is logged.
    pub fn open(parts: SpellParts) -> Result<Self, StoreError> {
        let (wake, woken) = mpsc::channel(1);
        let mut bus = Bus::default();
        let now_ms = parts.clock.now_ms();
        for (key, record) in parts.store.scan(Table::Spells, b"")? {
            let key = String::from_utf8_lossy(&key).into_owned();
            let id = key.split_once('/').and_then(|(scope, id)| {
                let scope = scope.parse().ok()?;
                let id = id.to_owned();
                Some(SpellId { scope, id })
            });
            match (id, records::decode::<TriggerConfig>(&record)) {
                (Some(id), Ok(config)) => bus.resubscribe(id, config, now_ms),
                _ => tracing::error!(%key, "the trigger of a spell was not loaded"),
            }
        }
        Ok(Self {
            parts,
            bus: Mutex::new(bus),
            wake,
            woken: Mutex::new(Some(woken)),
            fired: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> SpellCounters {
        SpellCounters {
            fired: self.fired.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            scheduled: self.bus().timers() as u64,
        }
    }

    /// The service of a spell.
    #[must_use]
    pub fn service(&self, spell: &SpellId) -> SpellService<'_> {
        SpellService::new(&self.parts, spell.clone())
    }

    /// Begins to watch for what a spell is triggered by, in place of what it was before.
    pub fn subscribe(&self, spell: SpellId, config: TriggerConfig) {
        let now_ms = self.parts.clock.now_ms();
        self.bus().subscribe(spell, config, now_ms);
        self.wake();
    }

    /// Lets a spell rest.
    pub fn unsubscribe(&self, spell: &SpellId) {
        self.bus().unsubscribe(spell);
    }

    /// Triggers of the spells of a scope.
    #[must_use]
    pub fn of_scope(&self, scope: PeerId) -> BTreeMap<String, TriggerConfig> {
        self.bus().of_scope(scope)
    }

    fn bus(&self) -> MutexGuard<'_, Bus> {
        // Nothing is half done when a thread dies with the lock.
        self.bus.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // Full is as good.
        let _ = self.wake.clone().try_send(());
    }
}

impl fmt::Debug for Spells {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Spells({:?})", self.counters())
    }
}

/// The change that keeps the trigger of a spell.
///
/// # Errors
/// None for any trigger.
pub(crate) fn keep(
    spell: &SpellId,
    config: &TriggerConfig,
) -> Result<Change, records::RecordError> {
    let record = records::encode(config)?;
    Ok(Change::put(Table::Spells, spell.key(), record))
}

/// The change that forgets the trigger of a spell.
pub(crate) fn forget(spell: &SpellId) -> Change {
    Change::delete(Table::Spells, spell.key())
}
