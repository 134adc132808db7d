//! Looking up peers in Kademlia: concurrent lookups of one peer share one query, lookups end in
//! time, and a peer that is never found is not asked for again for a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;

use super::KademliaError;

/// Peers whose failed lookups are counted; beyond it the count starts anew.
const MAX_COUNTED_PEERS: usize = 4096;

/// What a lookup ends with.
pub(crate) type Answer = Result<Vec<Multiaddr>, KademliaError>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct DiscoveryLimits {
    /// How long one lookup may take.
    pub(crate) patience: Duration,
    /// Failed lookups in a row that ban a peer.
    pub(crate) fail_threshold: usize,
    /// How long a ban lasts.
    pub(crate) ban: Duration,
}

#[derive(Debug)]
struct Lookup {
    deadline: Instant,
    waiters: Vec<oneshot::Sender<Answer>>,
}

#[derive(Debug, Default)]
struct Failures {
    count: usize,
    banned_until: Option<Instant>,
}

/// Lookups under way and failures of the past. It has no clock: time is an argument.
#[derive(Debug)]
pub(crate) struct Discovery {
    limits: DiscoveryLimits,
    lookups: HashMap<PeerId, Lookup>,
    failures: HashMap<PeerId, Failures>,
}

impl Discovery {
    pub(crate) fn new(limits: DiscoveryLimits) -> Self {
        Self {
            limits,
            lookups: HashMap::new(),
            failures: HashMap::new(),
        }
    }

    /// Registers somebody who waits for addresses of `peer`. True: a query has to be started.
    pub(crate) fn wait_for(
        &mut self,
        peer: PeerId,
        waiter: oneshot::Sender<Answer>,
        now: Instant,
    ) -> bool {
        if let Some(until) = self
            .failures
            .get(&peer)
            .and_then(|failures| failures.banned_until)
        {
            if now < until {
                let _ = waiter.send(Err(KademliaError::PeerBanned));
                return false;
            }
            self.failures.remove(&peer);
        }
        match self.lookups.get_mut(&peer) {
            Some(lookup) => {
                lookup.waiters.push(waiter);
                false
            }
            None => {
                let deadline = now + self.limits.patience;
                self.lookups.insert(
                    peer,
                    Lookup {
                        deadline,
                        waiters: vec![waiter],
                    },
                );
                true
            }
        }
    }

    /// The routing table learned addresses of a peer: lookups are answered, a ban is lifted.
    pub(crate) fn learned(&mut self, peer: &PeerId, addresses: &[Multiaddr]) {
        if addresses.is_empty() {
            return;
        }
        self.failures.remove(peer);
        if let Some(lookup) = self.lookups.remove(peer) {
            for waiter in lookup.waiters {
                let _ = waiter.send(Ok(addresses.to_vec()));
            }
        }
    }

    /// Ends the lookups whose time is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        let late: Vec<PeerId> = self
            .lookups
            .iter()
            .filter(|(_, lookup)| lookup.deadline <= now)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in late {
            if let Some(lookup) = self.lookups.remove(&peer) {
                for waiter in lookup.waiters {
                    let _ = waiter.send(Err(KademliaError::PeerTimedOut));
                }
                self.count_failure(peer, now);
            }
        }
        self.failures
            .retain(|_, failures| failures.banned_until.is_none_or(|until| now < until));
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.lookups.values().map(|lookup| lookup.deadline).min()
    }

    fn count_failure(&mut self, peer: PeerId, now: Instant) {
        if self.failures.len() >= MAX_COUNTED_PEERS && !self.failures.contains_key(&peer) {
            self.failures.clear();
        }
        let failures = self.failures.entry(peer).or_default();
        failures.count += 1;
        if failures.count >= self.limits.fail_threshold {
            failures.banned_until = Some(now + self.limits.ban);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discovery() -> Discovery {
        Discovery::new(DiscoveryLimits {
            patience: Duration::from_secs(6),
            fail_threshold: 3,
            ban: Duration::from_secs(60),
        })
    }

    #[test]
    fn concurrent_lookups_share_one_query() {
        let (mut discovery, peer, now) = (discovery(), PeerId::random(), Instant::now());
        let (first, mut first_answer) = oneshot::channel();
        let (second, mut second_answer) = oneshot::channel();
        assert!(discovery.wait_for(peer, first, now));
        assert!(!discovery.wait_for(peer, second, now));
        let address: Multiaddr = "/ip4/1.1.1.1/tcp/1".parse().unwrap();
        discovery.learned(&peer, std::slice::from_ref(&address));
        assert_eq!(
            first_answer.try_recv().unwrap().unwrap(),
            std::slice::from_ref(&address)
        );
        assert_eq!(second_answer.try_recv().unwrap().unwrap(), [address]);
    }

    #[test]
    fn three_failures_ban_and_a_routing_update_lifts_the_ban() {
        let (mut discovery, peer, mut now) = (discovery(), PeerId::random(), Instant::now());
        for _ in 0..3 {
            let (waiter, mut answer) = oneshot::channel();
            assert!(discovery.wait_for(peer, waiter, now));
            now += Duration::from_secs(6);
            discovery.expire(now);
            assert!(matches!(
                answer.try_recv(),
                Ok(Err(KademliaError::PeerTimedOut))
            ));
        }
        let (waiter, mut answer) = oneshot::channel();
        assert!(!discovery.wait_for(peer, waiter, now));
        assert!(matches!(
            answer.try_recv(),
            Ok(Err(KademliaError::PeerBanned))
        ));
        discovery.learned(&peer, &["/ip4/1.1.1.1/tcp/1".parse().unwrap()]);
        let (waiter, _answer) = oneshot::channel();
        assert!(discovery.wait_for(peer, waiter, now));
    }

    #[test]
    fn a_ban_ends() {
        let (mut discovery, peer, mut now) = (discovery(), PeerId::random(), Instant::now());
        for _ in 0..3 {
            let (waiter, _answer) = oneshot::channel();
            discovery.wait_for(peer, waiter, now);
            now += Duration::from_secs(6);
            discovery.expire(now);
        }
        now += Duration::from_secs(61);
        let (waiter, _answer) = oneshot::channel();
        assert!(discovery.wait_for(peer, waiter, now));
    }
}
