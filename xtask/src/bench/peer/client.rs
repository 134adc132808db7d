//! Clients that do no more than they must: signed particles are made before, answers are only
//! counted.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use particle::{KeyPair, Particle, PeerId, frame};
use peer_core::{
    config::{HumanDuration, NetworkConfig},
    network::{Incoming, Network, Role, peer_of_address},
};
use tokio::sync::mpsc;

/// How long an answer is waited for; after that it is lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often is looked for lost ones.
const LOOK: Duration = Duration::from_millis(100);
/// Frames that a client may have received and not counted.
const QUEUE: usize = 4096;

/// Particles that a client may be writing at a time. When the peer holds it back further, it gives
/// up particles instead of sending them late.
const MAX_SENDING: usize = 64;
/// Frames that are made ahead of their time.
const AHEAD: usize = 1024;

/// One client of a relay.
pub(super) struct Client {
    seed: [u8; 32],
    key: KeyPair,
    network: Network,
    received: mpsc::Receiver<Incoming>,
    relay: PeerId,
    made: u64,
    sending: Arc<AtomicUsize>,
}

/// How a client offers its particles.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// So many are under way at a time.
    InFlight(usize),
    /// One in each interval, whatever becomes of them.
    Every(Duration),
}

/// Signed and encoded particles.
pub(super) enum Frames {
    /// All of them are there.
    Ready(std::vec::IntoIter<Bytes>),
    /// They are made on a thread of their own.
    Made(mpsc::Receiver<Bytes>),
}

impl Frames {
    async fn next(&mut self) -> Option<Bytes> {
        match self {
            Self::Ready(frames) => frames.next(),
            Self::Made(frames) => frames.recv().await,
        }
    }
}

/// What became of the particles.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// From when it was to be sent until the answer was there.
    pub(super) latencies: Vec<Duration>,
    pub(super) lost: usize,
    /// Particles that were not sent, because the peer held the client back.
    pub(super) held_back: usize,
}

impl Client {
    pub(super) async fn connect(number: u64, relay: &str) -> Result<Self, String> {
        let relay_id = peer_of_address(relay)
            .ok_or_else(|| format!("`{relay}` does not end in /p2p/ and a peer id"))?;
        let mut seed = [0xbe; 32];
        let run = SystemTime::now().duration_since(UNIX_EPOCH);
        let run = run.map_or(0, |time| time.as_nanos() as u64);
        for (target, byte) in seed
            .iter_mut()
            .zip(number.to_le_bytes().into_iter().chain(run.to_le_bytes()))
        {
            *target = byte;
        }
        let key = KeyPair::from_seed(&seed);
        let config = NetworkConfig {
            listen: Vec::new(),
            connection_idle_timeout: HumanDuration::from_secs(3600),
            particle_queue_buffer: QUEUE,
            ..NetworkConfig::default()
        };
        let (network, received) = Network::start(&key, &config, Role::Client)
            .await
            .map_err(|error| error.to_string())?;
        network
            .dial(relay)
            .await
            .map_err(|error| error.to_string())?;
        Ok(Self {
            seed,
            key,
            network,
            received,
            relay: relay_id,
            made: 0,
            sending: Arc::default(),
        })
    }

    pub(super) fn id(&self) -> PeerId {
        self.key.peer_id()
    }

    /// So many particles with this script.
    pub(super) fn prepare(&mut self, script: &str, count: usize, ttl: Duration) -> Frames {
        let make = self.maker(script, ttl);
        let frames: Vec<Bytes> = (0..count).map(make).collect();
        Frames::Ready(frames.into_iter())
    }

    /// Particles with this script until nobody takes them.
    pub(super) fn produce(&mut self, script: &str, ttl: Duration) -> Frames {
        let make = self.maker(script, ttl);
        let (sender, frames) = mpsc::channel(AHEAD);
        std::thread::spawn(move || {
            for frame in (0..).map(make) {
                if sender.blocking_send(frame).is_err() {
                    return;
                }
            }
        });
        Frames::Made(frames)
    }

    /// Makes the particles of a new round. Their ids end in their places.
    fn maker(
        &mut self,
        script: &str,
        ttl: Duration,
    ) -> impl FnMut(usize) -> Bytes + Send + 'static {
        self.made += 1;
        let ttl = u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX);
        let name = format!("{}-{}", self.key.peer_id(), self.made);
        let (key, script) = (KeyPair::from_seed(&self.seed), script.to_owned());
        move |place| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.map_or(0, |time| time.as_millis() as u64);
            let id = format!("{name}-{place}");
            let particle = Particle::new(&key, id, now, ttl, script.clone());
            Bytes::from(frame::encode(&particle))
        }
    }

    /// Sends particles for so long, or until there are no more, and counts the answers.
    pub(super) async fn drive(
        &mut self,
        mut frames: Frames,
        pace: Pace,
        during: Duration,
    ) -> Outcome {
        let began = Instant::now();
        let end = began + during;
        let mut outcome = Outcome::default();
        // When each was to be sent, until it is answered or lost.
        let mut sent: Vec<Option<Instant>> = Vec::new();
        let mut oldest = VecDeque::new();
        let mut under_way = 0;
        let mut look = tokio::time::interval(LOOK);
        let mut more = true;
        while more || under_way > 0 {
            let now = Instant::now();
            let due = match pace {
                Pace::InFlight(limit) => (under_way < limit).then_some(now),
                Pace::Every(interval) => {
                    let number = u32::try_from(sent.len()).unwrap_or(u32::MAX);
                    Some(began + interval * number)
                }
            };
            more &= now < end;
            if more && let Some(due) = due.filter(|due| *due <= now) {
                match frames.next().await {
                    Some(frame) => {
                        if self.send(frame) {
                            oldest.push_back(sent.len());
                            sent.push(Some(due));
                            under_way += 1;
                        } else {
                            sent.push(None);
                            outcome.held_back += 1;
                        }
                    }
                    None => more = false,
                }
                continue;
            }
            let wait = async {
                match due.filter(|_| more) {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                incoming = self.received.recv() => {
                    let Some(incoming) = incoming else { break };
                    let Some(place) = self.place(&incoming.particle.id) else { continue };
                    if let Some(since) = sent.get_mut(place).and_then(Option::take) {
                        under_way -= 1;
                        outcome.latencies.push(since.elapsed());
                    }
                }
                () = wait => {}
                _ = look.tick() => {
                    while let Some(place) = oldest.front().copied() {
                        if let Some(slot @ Some(_)) = sent.get_mut(place) {
                            if slot.is_some_and(|since| since.elapsed() < PATIENCE) {
                                break;
                            }
                            *slot = None;
                            under_way -= 1;
                            outcome.lost += 1;
                        }
                        oldest.pop_front();
                    }
                }
            }
        }
        outcome
    }

    /// The time until the answer to one particle.
    pub(super) async fn once(&mut self, script: &str) -> Result<Duration, String> {
        let frames = self.prepare(script, 1, PATIENCE);
        let outcome = self.drive(frames, Pace::InFlight(1), PATIENCE).await;
        let answered = outcome.latencies.first().copied();
        answered.ok_or_else(|| "the peer does not answer".to_owned())
    }

    /// Begins to send, unless too many are being sent.
    fn send(&self, frame: Bytes) -> bool {
        let sending = self.sending.clone();
        if sending.fetch_add(1, Ordering::Relaxed) >= MAX_SENDING {
            sending.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let (network, relay) = (self.network.clone(), self.relay);
        tokio::spawn(async move {
            // What is not sent is not answered, and counted as lost.
            let _ = network.send_frame(&relay, frame).await;
            sending.fetch_sub(1, Ordering::Relaxed);
        });
        true
    }

    /// The place of a particle of the present round.
    fn place(&self, id: &str) -> Option<usize> {
        let (name, place) = id.rsplit_once('-')?;
        let (_, round) = name.rsplit_once('-')?;
        (round.parse() == Ok(self.made)).then(|| place.parse().ok())?
    }

    pub(super) async fn stop(&self) {
        self.network.shutdown().await;
    }
}

impl Outcome {
    /// What became of all of them.
    pub(super) fn join(outcomes: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for outcome in outcomes {
            all.latencies.extend(outcome.latencies);
            all.lost += outcome.lost;
            all.held_back += outcome.held_back;
        }
        all.latencies.sort_unstable();
        all
    }

    /// The latency that so many of a hundred do not exceed.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let place = (self.latencies.len() * percent).div_ceil(100).max(1) - 1;
        self.latencies.get(place).copied().unwrap_or_default()
    }
}
