//! The main job of `local-network`: ask all peers, collect what they answer, say who is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use particle::PeerId;
use peer_core::client::{Call, Client, Request};
use peer_core::engine::Event;
use peer_core::peer::{Observer, PeerEvent, PeerEventKind};
use serde::Serialize;
use serde_json::Value;

use crate::failure::{Failure, Result};
use crate::local::LocalNetwork;
use crate::path::{Names, Path, StepKind};

/// The script, compiled from the Aqua source beside it.
pub const SCRIPT: &str = include_str!("../aqua/local-network.air");
/// The service that the script asks.
pub const SERVICE: &str = "sampler";
/// Time of the particle beyond the patience of the script, for the way back.
const WAY_BACK: Duration = Duration::from_secs(5);

/// What the peers are asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The script.
    pub script: String,
    /// What the peers measure.
    pub topic: String,
    /// How much they measure.
    pub count: u32,
    /// How long the relay waits for answers.
    pub patience: Duration,
}

/// A question under way.
pub struct Asked {
    call: Call,
    since: Instant,
    patience: Duration,
}

/// What came of a question.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What the script gave back.
    pub result: Value,
    /// Peers that were asked.
    pub peers: Vec<PeerId>,
    /// Peers that did not answer.
    pub missing: Vec<Missing>,
    /// Milliseconds from the start of the script to its result.
    pub latency_ms: f64,
    /// The path of the particle.
    pub path: Path,
}

/// A peer that did not answer.
#[derive(Debug, Serialize)]
pub struct Missing {
    /// The peer.
    pub peer: PeerId,
    /// Why, as far as it is known.
    pub reason: String,
}

impl Default for Question {
    fn default() -> Self {
        Self {
            script: SCRIPT.to_owned(),
            topic: "aquamarine".to_owned(),
            count: 1000,
            patience: Duration::from_secs(10),
        }
    }
}

impl Question {
    /// Sends the question to all peers of the network.
    ///
    /// # Errors
    /// The script has errors or the relay is gone.
    pub async fn ask(self, network: &LocalNetwork, client: &Client) -> Result<Asked> {
        let patience_ms = u32::try_from(self.patience.as_millis()).unwrap_or(u32::MAX);
        let request = Request::new(self.script)
            .argument("peers", &network.ids())
            .and_then(|request| request.argument("topic", &self.topic))
            .and_then(|request| request.argument("count", &self.count))
            .and_then(|request| request.argument("patience", &patience_ms))
            .map_err(Failure::new)?
            .ttl(self.patience.saturating_add(WAY_BACK));
        let since = Instant::now();
        let call = client.start(request).await.map_err(Failure::new)?;
        Ok(Asked {
            call,
            since,
            patience: self.patience,
        })
    }
}

impl Asked {
    /// Waits for the result.
    ///
    /// # Errors
    /// The script failed or did not return in time; the message says which peers could not be
    /// reached.
    pub async fn report(self, network: &LocalNetwork, names: &Names) -> Result<Report> {
        let Self {
            call,
            since,
            patience,
        } = self;
        let (id, started) = (call.particle_id.clone(), call.started);
        let result = call.result().await;
        let latency = since.elapsed();
        let path = Path::of(&id, started, &network.recorder().events());
        let result = result.map_err(|error| {
            let lost: Vec<String> = lost(&path)
                .into_iter()
                .map(|(peer, reason)| format!("\n  {}: {reason}", names.of(&peer)))
                .collect();
            Failure::new(format_args!("{error}{}", lost.concat()))
        })?;
        let missing = missing(&network.ids(), &result, &path, patience);
        let latency_ms = (latency.as_secs_f64() * 1e6).round() / 1e3;
        Ok(Report {
            result,
            peers: network.ids(),
            missing,
            latency_ms,
            path,
        })
    }
}

impl Report {
    /// The answers of the peers as rows for a table, in the order of the peers, with headings; if
    /// the result has the form of the script above.
    pub fn rows(&self, names: &Names) -> Option<(Vec<&'static str>, Vec<Vec<String>>)> {
        let samples = samples(&self.result)?;
        let headings = vec!["peer", "from", "primes", "largest", "digest"];
        let mut rows: Vec<_> = samples
            .iter()
            .map(|(peer, sample)| {
                let place = self.peers.iter().position(|known| known == peer);
                let cell = |field: &str| match sample.get(field) {
                    Some(Value::String(text)) => text.clone(),
                    Some(value) => value.to_string(),
                    None => String::new(),
                };
                let row = ["start", "primes", "largest", "digest"].map(cell);
                (place, [vec![names.of(peer)], row.to_vec()].concat())
            })
            .collect();
        rows.sort();
        Some((headings, rows.into_iter().map(|(_, row)| row).collect()))
    }

    /// The sum that the script made, if the result has the form of the script above.
    pub fn total(&self) -> Option<u64> {
        self.result.get(1)?.as_u64()
    }
}

/// Prints each answer as it is given.
#[derive(Default)]
pub struct Progress {
    names: OnceLock<Names>,
    answers: AtomicUsize,
}

impl Progress {
    /// Starts to print; before, the peers have no names.
    pub fn start(&self, names: Names) {
        // Names do not change.
        let _ = self.names.set(names);
    }
}

impl Observer for Progress {
    fn observe(&self, event: &PeerEvent) {
        let (Some(names), PeerEventKind::Engine(Event::Called(call))) =
            (self.names.get(), &event.kind)
        else {
            return;
        };
        if call.service_id == SERVICE {
            let nth = self.answers.fetch_add(1, Ordering::Relaxed) + 1;
            let how = if call.ret_code == 0 {
                "answers"
            } else {
                "FAILS"
            };
            println!("  {} {how} ({nth})", names.of(&event.peer));
        }
    }
}

/// Peers that gave no answer, with the reason as far as the path shows it.
fn missing(peers: &[PeerId], result: &Value, path: &Path, patience: Duration) -> Vec<Missing> {
    let answered: BTreeSet<PeerId> = match samples(result) {
        Some(samples) => samples.into_iter().map(|(peer, _)| peer).collect(),
        // Another script: whoever executed it took part.
        None => path.peers().into_iter().collect(),
    };
    let lost = lost(path);
    peers
        .iter()
        .filter(|peer| !answered.contains(peer))
        .map(|peer| {
            let reason = lost
                .get(peer)
                .cloned()
                .unwrap_or_else(|| format!("no answer within {:.1} s", patience.as_secs_f64()));
            Missing {
                peer: *peer,
                reason,
            }
        })
        .collect()
}

/// Peers the particle did not reach or where a function failed, with the reason.
fn lost(path: &Path) -> BTreeMap<PeerId, String> {
    let mut lost = BTreeMap::new();
    for step in path.steps() {
        match &step.kind {
            StepKind::NotSent { to, reason } => {
                lost.insert(*to, reason.clone());
            }
            StepKind::Called {
                function,
                ok: false,
                ..
            } => {
                lost.entry(step.peer)
                    .or_insert_with(|| format!("{function} failed there"));
            }
            StepKind::Executed {
                error: Some(error), ..
            } => {
                lost.entry(step.peer).or_insert_with(|| error.clone());
            }
            _ => {}
        }
    }
    lost
}

/// The answers by the peers that gave them.
fn samples(result: &Value) -> Option<Vec<(PeerId, &Value)>> {
    let samples = result.get(0)?.as_array()?;
    samples
        .iter()
        .map(|sample| Some((sample.get("peer")?.as_str()?.parse().ok()?, sample)))
        .collect()
}
