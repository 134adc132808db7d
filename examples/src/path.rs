//! The path of a particle: which peer did what, when, and whether its signatures were verified.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use particle::PeerId;
use peer_core::engine::{DropReason, Event};
use peer_core::peer::{PeerEvent, PeerEventKind};
use serde::Serialize;

/// One step on the path.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Milliseconds since the particle was made.
    pub at_ms: f64,
    /// The peer.
    pub peer: PeerId,
    /// What happened.
    #[serde(flatten)]
    pub kind: StepKind,
}

impl Step {
    /// What an event says about the path of a particle that was made at `start`; nothing for events
    /// that say nothing.
    pub fn of(event: &PeerEvent, start: SystemTime) -> Option<Self> {
        let at_ms = event.at.duration_since(start).unwrap_or_default();
        Some(Self {
            at_ms: milliseconds(at_ms),
            peer: event.peer,
            kind: step(&event.kind)?,
        })
    }
}

/// What can happen to a particle on its path.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum StepKind {
    /// The peer executed the script up to where others have to continue.
    Executed {
        /// Functions the script asked this peer for.
        calls: Vec<String>,
        /// Who is to continue.
        next: Vec<PeerId>,
        /// Milliseconds that the run took.
        took_ms: f64,
        /// Whether the signature of the particle and those of all peers in its data hold.
        verified: bool,
        /// What went wrong; nothing when all went well.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// The peer executed a function.
    Called {
        /// The function.
        function: String,
        /// Milliseconds that the call took.
        took_ms: f64,
        /// Whether it returned a result.
        ok: bool,
    },
    /// The peer sent the particle on.
    Sent {
        /// To whom.
        to: PeerId,
    },
    /// The peer could not send the particle on.
    NotSent {
        /// To whom.
        to: PeerId,
        /// Why.
        reason: String,
    },
    /// The peer refused the particle.
    Refused {
        /// Why.
        reason: String,
        /// False when its signature was the reason.
        verified: bool,
    },
}

/// The steps of one particle, in the order of time.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Path {
    steps: Vec<Step>,
}

impl Path {
    /// The path of the particle `id` out of the events of all peers.
    pub fn of(id: &str, start: SystemTime, events: &[PeerEvent]) -> Self {
        let mut steps: Vec<Step> = events
            .iter()
            .filter(|event| event.particle_id() == id)
            .filter_map(|event| Step::of(event, start))
            .collect();
        steps.sort_by(|one, other| one.at_ms.total_cmp(&other.at_ms));
        Self { steps }
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Peers the particle visited, by their first step.
    pub fn peers(&self) -> Vec<PeerId> {
        let mut seen = BTreeSet::new();
        self.steps
            .iter()
            .map(|step| step.peer)
            .filter(|peer| seen.insert(*peer))
            .collect()
    }

    /// Whether every run verified all signatures and nobody refused the particle.
    pub fn is_verified(&self) -> bool {
        self.steps.iter().all(|step| match &step.kind {
            StepKind::Executed { verified, .. } | StepKind::Refused { verified, .. } => *verified,
            _ => true,
        })
    }

    /// Rows for a table: time, peer, what, verified. `names` are what peers are called.
    pub fn rows(&self, names: &Names) -> Vec<Vec<String>> {
        let rows = self.steps.iter().filter_map(|step| {
            let (what, verified) = match &step.kind {
                StepKind::Executed {
                    calls,
                    next,
                    verified,
                    error,
                    ..
                } => {
                    let mut parts = Vec::new();
                    if !calls.is_empty() {
                        parts.push(format!("asks for {}", several(calls)));
                    }
                    if !next.is_empty() {
                        let next: Vec<String> = next.iter().map(|peer| names.of(peer)).collect();
                        parts.push(format!("sends to {}", several(&next)));
                    }
                    if let Some(error) = error {
                        parts.push(format!("fails: {error}"));
                    }
                    if parts.is_empty() {
                        parts.push("merges".to_owned());
                    }
                    (parts.join(", "), if *verified { "yes" } else { "NO" })
                }
                StepKind::Called {
                    function,
                    took_ms,
                    ok,
                } => {
                    let ok = if *ok { "" } else { ", FAILED" };
                    (format!("executed {function} in {took_ms:.1} ms{ok}"), "")
                }
                StepKind::NotSent { to, reason } => {
                    (format!("could not send to {}: {reason}", names.of(to)), "")
                }
                StepKind::Refused { reason, verified } => (
                    format!("refused it: {reason}"),
                    if *verified { "" } else { "NO" },
                ),
                StepKind::Sent { .. } => return None,
            };
            Some(vec![
                format!("{:.1}", step.at_ms),
                names.of(&step.peer),
                what,
                verified.to_owned(),
            ])
        });
        rows.collect()
    }
}

/// What peers are called in print.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<PeerId, String>);

impl Names {
    /// Names for these peers.
    pub fn new(names: impl IntoIterator<Item = (PeerId, String)>) -> Self {
        Self(names.into_iter().collect())
    }

    /// The same names and one more.
    #[must_use]
    pub fn with(mut self, peer: PeerId, name: &str) -> Self {
        self.0.insert(peer, name.to_owned());
        self
    }

    /// The name of a peer, or the end of its id.
    pub fn of(&self, peer: &PeerId) -> String {
        self.0.get(peer).cloned().unwrap_or_else(|| short(peer))
    }
}

/// The last characters of a peer id: the first ones are the same for all.
pub fn short(peer: &PeerId) -> String {
    let text = peer.to_string();
    let skip = text.chars().count().saturating_sub(8);
    format!("…{}", text.chars().skip(skip).collect::<String>())
}

fn step(kind: &PeerEventKind) -> Option<StepKind> {
    Some(match kind {
        PeerEventKind::Engine(Event::Executed(run)) => StepKind::Executed {
            calls: run
                .calls
                .iter()
                .map(|(_, service, function)| format!("{service}.{function}"))
                .collect(),
            next: run.next_peers.clone(),
            took_ms: milliseconds(run.elapsed),
            verified: run.data_verified,
            error: run.failure.clone().or_else(|| {
                let message = &run.error_message;
                (run.ret_code != 0).then(|| format!("{message} (code {})", run.ret_code))
            }),
        },
        PeerEventKind::Engine(Event::Called(call)) => StepKind::Called {
            function: format!("{}.{}", call.service_id, call.function_name),
            took_ms: call.finished_ms.saturating_sub(call.started_ms) as f64,
            ok: call.ret_code == 0,
        },
        // A copy of what is known already says nothing about the particle.
        PeerEventKind::Engine(Event::Dropped {
            reason: DropReason::Duplicate,
            ..
        }) => return None,
        PeerEventKind::Engine(Event::Dropped { reason, .. }) => StepKind::Refused {
            reason: reason.to_string(),
            verified: !matches!(reason, DropReason::BadSignature { .. }),
        },
        PeerEventKind::Sent { to, .. } => StepKind::Sent { to: *to },
        PeerEventKind::NotSent { to, reason, .. } => StepKind::NotSent {
            to: *to,
            reason: reason.clone(),
        },
        _ => return None,
    })
}

fn milliseconds(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// A list with equal things counted and not more than a few of them.
fn several(items: &[String]) -> String {
    const SHOWN: usize = 4;
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for item in items {
        match counts.iter_mut().find(|(known, _)| known == item) {
            Some((_, count)) => *count += 1,
            None => counts.push((item, 1)),
        }
    }
    let mut parts: Vec<String> = counts
        .iter()
        .take(SHOWN)
        .map(|(item, count)| {
            if *count == 1 {
                (*item).to_owned()
            } else {
                format!("{count} × {item}")
            }
        })
        .collect();
    if counts.len() > SHOWN {
        parts.push(format!("{} more", counts.len() - SHOWN));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_counted() {
        let items: Vec<String> = "a b a c d e f".split(' ').map(str::to_owned).collect();
        assert_eq!(several(&items), "2 × a, b, c, d, 2 more");
    }
}
