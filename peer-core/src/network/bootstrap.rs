//! Keeping connections to the bootstrap nodes: dial, pause longer after each failure, join the
//! Kademlia table, and dial again when the node goes away.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libp2p::Multiaddr;
use particle::PeerId;
use tokio::sync::broadcast::error::RecvError;

use super::{Network, NetworkEvent};
use crate::config::NetworkConfig;

/// Bootstrap nodes that are connected.
#[derive(Debug, Default)]
pub(crate) struct Connected(Mutex<BTreeSet<String>>);

impl Connected {
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    fn set(&self, address: &str, connected: bool) {
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if connected {
            addresses.insert(address.to_owned());
        } else {
            addresses.remove(address);
        }
    }
}

/// The pauses between attempts.
#[derive(Clone, Copy, Debug)]
struct Pauses {
    first: Duration,
    longest: Duration,
}

impl Pauses {
    /// The pause after `failures` failures in a row: doubled each time, with a tenth of jitter so
    /// that peers that lost a node together do not come back together.
    fn after(&self, failures: u32, random: u64) -> Duration {
        let factor = 1u32
            .checked_shl(failures.saturating_sub(1))
            .unwrap_or(u32::MAX);
        let pause = self.first.saturating_mul(factor).min(self.longest);
        pause.mul_f64(0.9 + 0.2 * (random % 1024) as f64 / 1024.0)
    }
}

/// Starts one task per node. They end when the network is shut down.
pub(crate) fn start(network: &Network, nodes: Vec<Multiaddr>, config: &NetworkConfig) {
    let pauses = Pauses {
        first: config.bootstrap.reconnect_delay.0,
        longest: config.bootstrap.bootstrap_max_delay.0,
    };
    let successes = Arc::new(AtomicUsize::new(0));
    let frequency = config.bootstrap_frequency.max(1);
    for node in nodes {
        let keeper = Keeper {
            network: network.clone(),
            node,
            pauses,
            successes: successes.clone(),
            frequency,
        };
        let mut stopped = network.stopped();
        tokio::spawn(async move {
            tokio::select! {
                () = keeper.run() => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        });
    }
}

struct Keeper {
    network: Network,
    node: Multiaddr,
    pauses: Pauses,
    successes: Arc<AtomicUsize>,
    frequency: usize,
}

impl Keeper {
    async fn run(self) {
        let text = self.node.to_string();
        loop {
            let mut events = self.network.events();
            let peer = self.reach().await;
            self.network.bootstraps().set(&text, true);
            self.network.counters().bootstrap_connected.increment();
            tracing::info!("connected to bootstrap node {text}");
            self.join(peer).await;
            loop {
                match events.recv().await {
                    Ok(NetworkEvent::Disconnected { peer: gone, .. }) if gone == peer => break,
                    Err(RecvError::Closed) => return,
                    // Events were lost: look.
                    Err(RecvError::Lagged(_)) if !self.network.is_connected(&peer) => break,
                    _ => {}
                }
            }
            self.network.bootstraps().set(&text, false);
            self.network.counters().bootstrap_disconnected.increment();
            tracing::warn!("lost bootstrap node {text}");
        }
    }

    /// Dials until the node answers.
    async fn reach(&self) -> PeerId {
        let mut failures = 0;
        loop {
            match self.network.dial_multiaddr(self.node.clone()).await {
                Ok(peer) => return peer,
                Err(error) => {
                    failures += 1;
                    let pause = self
                        .pauses
                        .after(failures, RandomState::new().hash_one(failures));
                    tracing::warn!(
                        "bootstrap node {} does not answer: {error}; next attempt in {:.1} s",
                        self.node,
                        pause.as_secs_f64()
                    );
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Enters the node into the Kademlia table and looks around from there, now and then.
    async fn join(&self, peer: PeerId) {
        self.network
            .add_contact(&peer, &[self.node.to_string()])
            .await;
        let nth = self.successes.fetch_add(1, Ordering::Relaxed);
        if nth.is_multiple_of(self.frequency)
            && let Err(error) = self.network.bootstrap().await
        {
            tracing::warn!("Kademlia bootstrap at {}: {error}", self.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let pauses = Pauses {
            first: Duration::from_secs(2),
            longest: Duration::from_secs(60),
        };
        let whole = |failures| pauses.after(failures, 512).as_secs();
        assert_eq!([1, 2, 3, 4, 5, 6].map(whole), [2, 4, 8, 16, 32, 60]);
        assert_eq!(whole(u32::MAX), 60);
        assert!(pauses.after(1, 0) < pauses.after(1, 1023));
    }
}
