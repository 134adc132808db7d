//! Who is started when: a state machine that is told the time and what happens.

use std::collections::{BTreeMap, BTreeSet};

use particle::PeerId;
use serde_json::{Value, json};

use super::TriggerConfig;

/// Names a spell: the scope and the id of its service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpellId {
    /// The host or a worker.
    pub scope: PeerId,
    /// The id of the service.
    pub id: String,
}

impl SpellId {
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.scope, self.id)
    }
}

/// What starts a spell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpellEvent {
    /// Its time has come.
    Timer {
        /// Seconds since the Unix epoch.
        timestamp: u64,
    },
    /// A peer came or went.
    Peer {
        /// The peer.
        peer_id: PeerId,
        /// Whether it came.
        connected: bool,
    },
    /// The chain has a new block.
    Block {
        /// Its number.
        number: u64,
    },
}

impl SpellEvent {
    /// The event as scripts of spells read it.
    #[must_use]
    pub fn describe(&self) -> Value {
        match self {
            Self::Timer { timestamp } => {
                json!({ "timer": [{ "timestamp": timestamp }], "peer": [] })
            }
            Self::Peer { peer_id, connected } => {
                let peer = json!({ "peer_id": peer_id.to_string(), "connected": connected });
                json!({ "timer": [], "peer": [peer] })
            }
            Self::Block { number } => {
                json!({ "timer": [], "peer": [], "block": [{ "number": number }] })
            }
        }
    }
}

/// A spell to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firing {
    /// The spell.
    pub spell: SpellId,
    /// Why.
    pub event: SpellEvent,
}

/// The subscriptions of the spells of a host.
#[derive(Debug, Default)]
pub struct Bus {
    spells: BTreeMap<SpellId, Subscription>,
    timers: BTreeSet<(u64, SpellId)>,
}

#[derive(Debug)]
struct Subscription {
    config: TriggerConfig,
    /// In milliseconds since the Unix epoch.
    next_ms: Option<u64>,
}

impl Bus {
    /// Subscribes a spell, in place of what it was subscribed for before.
    pub fn subscribe(&mut self, spell: SpellId, config: TriggerConfig, now_ms: u64) {
        let next_ms = first(&config, now_ms);
        self.insert(spell, config, next_ms);
    }

    /// [`Bus::subscribe`] of a spell of an earlier run: what was to run once, and had its time, is
    /// not run again.
    pub fn resubscribe(&mut self, spell: SpellId, config: TriggerConfig, now_ms: u64) {
        let is_over = config.clock.period_sec == 0 && ms(config.clock.start_sec) <= now_ms;
        let next_ms = first(&config, now_ms).filter(|_| !is_over);
        self.insert(spell, config, next_ms);
    }

    fn insert(&mut self, spell: SpellId, config: TriggerConfig, next_ms: Option<u64>) {
        self.unsubscribe(&spell);
        if config.is_empty() {
            return;
        }
        if let Some(at) = next_ms {
            self.timers.insert((at, spell.clone()));
        }
        self.spells.insert(spell, Subscription { config, next_ms });
    }

    /// Forgets a spell.
    pub fn unsubscribe(&mut self, spell: &SpellId) {
        if let Some(Subscription {
            next_ms: Some(at), ..
        }) = self.spells.remove(spell)
        {
            self.timers.remove(&(at, spell.clone()));
        }
    }

    /// When [`Bus::due`] has something, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// How many spells have a timer.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.timers.len()
    }

    /// Triggers of the spells of a scope.
    #[must_use]
    pub fn of_scope(&self, scope: PeerId) -> BTreeMap<String, TriggerConfig> {
        let spells = self.spells.iter().filter(|(spell, _)| spell.scope == scope);
        spells
            .map(|(spell, subscription)| (spell.id.clone(), subscription.config))
            .collect()
    }

    /// The spells whose time has come. Times that were missed are not made up for.
    pub fn due(&mut self, now_ms: u64) -> Vec<Firing> {
        let mut firings = Vec::new();
        while let Some((at, _)) = self.timers.first()
            && *at <= now_ms
            && let Some((_, spell)) = self.timers.pop_first()
        {
            let Some(subscription) = self.spells.get_mut(&spell) else {
                continue;
            };
            subscription.next_ms = following(&subscription.config, now_ms);
            if let Some(next) = subscription.next_ms {
                self.timers.insert((next, spell.clone()));
            }
            let timestamp = now_ms / 1_000;
            firings.push(Firing {
                spell,
                event: SpellEvent::Timer { timestamp },
            });
        }
        firings
    }

    /// The spells that wait for peers that come, or go.
    #[must_use]
    pub fn peer(&self, peer_id: PeerId, connected: bool) -> Vec<Firing> {
        let event = SpellEvent::Peer { peer_id, connected };
        self.that(event, |config| match connected {
            true => config.connections.connect,
            false => config.connections.disconnect,
        })
    }

    /// The spells that wait for a block.
    #[must_use]
    pub fn block(&self, number: u64) -> Vec<Firing> {
        self.that(SpellEvent::Block { number }, |config| {
            let (start, end) = (config.blockchain.start_block, config.blockchain.end_block);
            start != 0 && number >= start.into() && (end == 0 || number <= end.into())
        })
    }

    fn that(&self, event: SpellEvent, wants: impl Fn(&TriggerConfig) -> bool) -> Vec<Firing> {
        let spells = self.spells.iter();
        spells
            .filter(|(_, subscription)| wants(&subscription.config))
            .map(|(spell, _)| Firing {
                spell: spell.clone(),
                event,
            })
            .collect()
    }
}

fn ms(sec: u32) -> u64 {
    u64::from(sec) * 1_000
}

/// The first time of a fresh subscription.
fn first(config: &TriggerConfig, now_ms: u64) -> Option<u64> {
    let clock = &config.clock;
    let is_over = clock.end_sec != 0 && ms(clock.end_sec) <= now_ms;
    (clock.start_sec != 0 && !is_over).then(|| ms(clock.start_sec).max(now_ms))
}

/// The time after one at `now_ms`.
fn following(config: &TriggerConfig, now_ms: u64) -> Option<u64> {
    let clock = &config.clock;
    let next = now_ms.saturating_add(ms(clock.period_sec));
    let is_over = clock.end_sec != 0 && ms(clock.end_sec) <= next;
    (clock.period_sec != 0 && !is_over).then_some(next)
}

#[cfg(test)]
mod tests {
    use particle::KeyPair;

    use super::{
        super::{BlockchainTrigger, ClockTrigger, ConnectionTrigger},
        *,
    };

    fn spell(id: &str) -> SpellId {
        SpellId {
            scope: KeyPair::from_seed(&[1; 32]).peer_id(),
            id: id.to_owned(),
        }
    }

    fn clock(start_sec: u32, end_sec: u32, period_sec: u32) -> TriggerConfig {
        TriggerConfig {
            clock: ClockTrigger {
                start_sec,
                end_sec,
                period_sec,
            },
            ..TriggerConfig::default()
        }
    }

    fn connections(connect: bool, disconnect: bool) -> TriggerConfig {
        TriggerConfig {
            connections: ConnectionTrigger {
                connect,
                disconnect,
            },
            ..TriggerConfig::default()
        }
    }

    fn names(firings: &[Firing]) -> Vec<&str> {
        firings.iter().map(|firing| &*firing.spell.id).collect()
    }

    /// The times in seconds at which things happen within `until`.
    fn times(bus: &mut Bus, until: u64) -> Vec<(u64, String)> {
        let mut times = Vec::new();
        while let Some(at) = bus.next_deadline()
            && at <= until * 1_000
        {
            for firing in bus.due(at) {
                assert_eq!(
                    firing.event,
                    SpellEvent::Timer {
                        timestamp: at / 1_000
                    }
                );
                times.push((at / 1_000, firing.spell.id));
            }
        }
        times
    }

    #[test]
    fn periods_and_ends() {
        let mut bus = Bus::default();
        bus.subscribe(spell("each"), clock(1, 0, 10), 100_000);
        bus.subscribe(spell("once"), clock(115, 0, 0), 100_000);
        bus.subscribe(spell("past"), clock(7, 0, 0), 100_000);
        bus.subscribe(spell("ends"), clock(105, 120, 8), 100_000);
        bus.subscribe(spell("over"), clock(1, 99, 1), 100_000);
        assert_eq!(bus.timers(), 4);
        let expected = [
            (100, "each"),
            (100, "past"),
            (105, "ends"),
            (110, "each"),
            (113, "ends"),
            (115, "once"),
            (120, "each"),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(at, id)| (*at, (*id).to_owned()))
            .collect();
        assert_eq!(times(&mut bus, 125), expected);
        assert_eq!(bus.timers(), 1);
        // Missed times are not made up for; the period runs from when it fired.
        assert_eq!(names(&bus.due(177_500)), ["each"]);
        assert_eq!(bus.next_deadline(), Some(187_500));
    }

    #[test]
    fn a_new_subscription_replaces_the_old() {
        let mut bus = Bus::default();
        bus.subscribe(spell("a"), clock(1, 0, 10), 100_000);
        bus.subscribe(spell("a"), clock(1, 0, 1_000), 100_000);
        assert_eq!(times(&mut bus, 200), [(100, "a".to_owned())]);
        bus.unsubscribe(&spell("a"));
        assert_eq!((bus.next_deadline(), bus.timers()), (None, 0));
        bus.subscribe(spell("a"), clock(1, 0, 5), 200_000);
        bus.subscribe(spell("a"), TriggerConfig::default(), 200_000);
        assert_eq!(bus.next_deadline(), None);
        assert!(bus.of_scope(spell("a").scope).is_empty());
    }

    #[test]
    fn after_a_restart() {
        let mut bus = Bus::default();
        bus.resubscribe(spell("once"), clock(90, 0, 0), 100_000);
        bus.resubscribe(spell("later"), clock(110, 0, 0), 100_000);
        bus.resubscribe(spell("each"), clock(1, 0, 60), 100_000);
        bus.resubscribe(spell("over"), clock(1, 100, 60), 100_000);
        let expected = [(100, "each".to_owned()), (110, "later".to_owned())];
        assert_eq!(times(&mut bus, 120), expected);
    }

    #[test]
    fn connections_and_blocks() {
        let mut bus = Bus::default();
        bus.subscribe(spell("in"), connections(true, false), 0);
        bus.subscribe(spell("out"), connections(false, true), 0);
        let both = TriggerConfig {
            clock: clock(1, 0, 10).clock,
            ..connections(true, true)
        };
        bus.subscribe(spell("all"), both, 0);
        let blocks = TriggerConfig {
            blockchain: BlockchainTrigger {
                start_block: 5,
                end_block: 6,
            },
            ..TriggerConfig::default()
        };
        bus.subscribe(spell("block"), blocks, 0);
        let peer = KeyPair::from_seed(&[7; 32]).peer_id();
        assert_eq!(names(&bus.peer(peer, true)), ["all", "in"]);
        assert_eq!(names(&bus.peer(peer, false)), ["all", "out"]);
        assert_eq!(names(&bus.due(10_000)), ["all"]);
        for (number, expected) in [(4, 0), (5, 1), (6, 1), (7, 0)] {
            assert_eq!(bus.block(number).len(), expected, "{number}");
        }
    }

    #[test]
    fn events_as_scripts_read_them() {
        let peer_id = KeyPair::from_seed(&[7; 32]).peer_id();
        let timer = SpellEvent::Timer { timestamp: 7 };
        assert_eq!(
            timer.describe().to_string(),
            r#"{"peer":[],"timer":[{"timestamp":7}]}"#
        );
        let peer = SpellEvent::Peer {
            peer_id,
            connected: false,
        };
        assert_eq!(
            peer.describe(),
            json!({ "timer": [], "peer": [{ "peer_id": peer_id.to_string(), "connected": false }] })
        );
    }
}
