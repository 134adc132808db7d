//! Starts the particles of spells.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

use futures::{
    FutureExt as _, Stream, StreamExt as _, future::Fuse, pin_mut, select_biased,
    stream::FuturesUnordered,
};
use particle::{Particle, PeerId};

use super::{Firing, SpellError, SpellEvent, SpellId, Spells};

/// Spells that are started at a time; further ones wait.
const MAX_STARTING: usize = 32;
/// Firings that wait; further ones are dropped.
const MAX_WAITING: usize = 4_096;
/// Longest sleep: then the clock is looked at again, which somebody may have set.
const MAX_SLEEP: Duration = Duration::from_secs(600);

/// What happens around a host that spells may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happening {
    /// A connection was established.
    Connected(PeerId),
    /// The last connection of a peer is gone.
    Disconnected(PeerId),
    /// The chain has a new block.
    Block(u64),
}

impl Spells {
    /// Starts particles of spells until it is dropped. Only the first driver does anything.
    pub async fn drive(&self, happenings: impl Stream<Item = Happening> + Send) {
        let woken = self
            .woken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut woken) = woken else { return };
        let happenings = happenings.fuse();
        pin_mut!(happenings);
        let mut waiting = VecDeque::<Firing>::new();
        let mut busy = BTreeSet::new();
        let mut starting = FuturesUnordered::new();
        loop {
            self.enqueue(&mut waiting, self.bus().due(self.parts.clock.now_ms()));
            // One firing of a spell at a time: they count.
            let mut place = 0;
            while busy.len() < MAX_STARTING
                && let Some(firing) = waiting.get(place)
            {
                if busy.contains(&firing.spell) {
                    place += 1;
                    continue;
                }
                if let Some(firing) = waiting.remove(place) {
                    busy.insert(firing.spell.clone());
                    starting.push(self.start(firing));
                }
            }
            let mut pause = match self.bus().next_deadline() {
                Some(at) => {
                    let left = at.saturating_sub(self.parts.clock.now_ms());
                    let left = Duration::from_millis(left).min(MAX_SLEEP);
                    self.parts.clock.sleep(left).fuse()
                }
                None => Fuse::terminated(),
            };
            select_biased! {
                spell = starting.select_next_some() => {
                    busy.remove(&spell);
                }
                _ = woken.next() => {}
                () = pause => {}
                happening = happenings.select_next_some() => {
                    let firings = match happening {
                        Happening::Connected(peer) => self.bus().peer(peer, true),
                        Happening::Disconnected(peer) => self.bus().peer(peer, false),
                        Happening::Block(number) => self.bus().block(number),
                    };
                    self.enqueue(&mut waiting, firings);
                }
            }
        }
    }

    fn enqueue(&self, waiting: &mut VecDeque<Firing>, firings: Vec<Firing>) {
        for firing in firings {
            // A spell that is slower than its clock does not fall behind further and further.
            let is_timer = matches!(firing.event, SpellEvent::Timer { .. });
            let repeats = |other: &Firing| {
                other.spell == firing.spell && matches!(other.event, SpellEvent::Timer { .. })
            };
            if is_timer && waiting.iter().any(repeats) {
                continue;
            }
            if waiting.len() >= MAX_WAITING {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    spell = firing.spell.id,
                    "too many spells wait to be started"
                );
                continue;
            }
            waiting.push_back(firing);
        }
    }

    async fn start(&self, firing: Firing) -> SpellId {
        let spell = firing.spell.clone();
        match self.fire(firing).await {
            Ok(()) => self.fired.fetch_add(1, Ordering::Relaxed),
            Err(reason) => {
                tracing::error!(spell = spell.id, scope = %spell.scope, reason, "a spell was not started");
                self.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
        spell
    }

    /// Starts a spell (§6.4 of the peer description).
    async fn fire(&self, firing: Firing) -> Result<(), String> {
        let Firing { spell, event } = firing;
        let text = |error: SpellError| error.to_string();
        let key = self.parts.workers.key(spell.scope);
        let key = key.ok_or("its worker is gone")?;
        let service = self.service(&spell);
        let counter = service.get_u32("hw_counter").await;
        if let Err(SpellError::NotFound { .. }) = &counter {
            // It was removed, or not brought back: nothing changes until the next start.
            self.unsubscribe(&spell);
        }
        let counter = counter.map_err(text)?.unwrap_or(0);
        let next = counter.wrapping_add(1);
        service.set_u32("hw_counter", next).await.map_err(text)?;
        let script = service.script().await.map_err(text)?;
        let event = event.describe().to_string();
        service
            .set_string("hw_trigger", &event)
            .await
            .map_err(text)?;
        let particle = Particle::new(
            &key,
            format!("spell_{}_{counter}", spell.id),
            self.parts.clock.now_ms(),
            u32::try_from(self.parts.ttl.as_millis()).unwrap_or(u32::MAX),
            script,
        );
        let control = self.parts.workers.control();
        control.ok_or("there is no engine yet")?.submit(particle);
        Ok(())
    }
}
