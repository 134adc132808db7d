//! What a simulation has come to, as bytes that can be compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Simulator, Totals};
use crate::records::{self, RecordError};

/// Everything that is observable of a simulation that is idle. Two runs of the same seed have the
/// same snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The seed.
    pub seed: u64,
    /// Where the generator of random numbers stands.
    pub random_state: u64,
    /// The time, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// What happened so far.
    pub totals: Totals,
    /// The peers, in the order in which they were added.
    pub peers: Vec<PeerSnapshot>,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerSnapshot {
    /// Its name.
    pub name: String,
    /// Its id in base58.
    pub peer_id: String,
    /// Whether it is up.
    pub alive: bool,
    /// What it counted, by name.
    pub counters: BTreeMap<String, u64>,
    /// What it remembers, by signature of the particle.
    pub particles: Vec<ParticleSnapshot>,
}

/// One particle at one peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ParticleSnapshot {
    /// The signature of the particle.
    pub signature: Vec<u8>,
    /// Its data.
    pub data: Vec<u8>,
}

impl Snapshot {
    /// The snapshot as a record.
    ///
    /// # Errors
    /// Never, for a snapshot that a simulator made.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        records::encode(self)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// Bytes that are no snapshot of this version.
    pub fn decode(record: &[u8]) -> Result<Self, RecordError> {
        records::decode(record)
    }
}

impl Simulator {
    /// What the simulation has come to.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let peers =
            self.nodes.iter().map(|node| {
                let mut particles: Vec<ParticleSnapshot> = Vec::new();
                let mut counters = BTreeMap::new();
                if let Some(engine) = node.engine() {
                    particles.extend(engine.remembered().map(|(particle, data)| {
                        ParticleSnapshot {
                            signature: particle.signature.as_bytes().to_vec(),
                            data: data.to_vec(),
                        }
                    }));
                    particles.sort_unstable();
                    let counted = engine.counters();
                    for (name, number) in [
                        ("received", counted.received),
                        ("admitted", counted.admitted),
                        ("runs", counted.runs),
                        ("failed_runs", counted.failed_runs),
                        ("calls", counted.calls),
                        ("failed_calls", counted.failed_calls),
                        ("sent", counted.sent),
                    ] {
                        counters.insert(name.to_owned(), number);
                    }
                    for (reason, number) in &counted.dropped {
                        counters.insert(format!("dropped_{reason}"), *number);
                    }
                }
                PeerSnapshot {
                    name: node.name().to_owned(),
                    peer_id: node.peer_id().to_string(),
                    alive: node.engine().is_some(),
                    counters,
                    particles,
                }
            });
        Snapshot {
            seed: self.seed,
            random_state: self.random.state(),
            now_ms: self.now_ms,
            totals: self.totals,
            peers: peers.collect(),
        }
    }
}
