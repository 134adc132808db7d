//! The network of a simulation: who reaches whom, how fast, how surely.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use particle::PeerId;
use sha2::{Digest as _, Sha256};

use super::Random;
use crate::connectivity::{Connectivity, Contact};

/// How messages travel on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Shortest and longest time of a message, in milliseconds.
    pub latency_ms: (u64, u64),
    /// How many of a thousand messages are lost.
    pub loss_per_mille: u16,
    /// How many of a thousand messages arrive twice.
    pub duplicate_per_mille: u16,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            latency_ms: (1, 20),
            loss_per_mille: 0,
            duplicate_per_mille: 0,
        }
    }
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives after these times, in milliseconds.
    Arrives(Vec<u64>),
    /// It waits until the link is released.
    Held,
    /// It is lost.
    Lost,
}

/// Who is there and how they are linked. Peers are numbers in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Fabric {
    peers: Vec<Member>,
    default_link: Link,
    links: BTreeMap<(usize, usize), Link>,
    held: BTreeSet<(usize, usize)>,
    /// The part of the network each peer is in, when it is partitioned.
    parts: BTreeMap<usize, usize>,
}

#[derive(Debug)]
struct Member {
    peer_id: String,
    /// Place in the key space of Kademlia.
    place: [u8; 32],
    alive: bool,
    /// The only peer that a client is connected to.
    relay: Option<usize>,
}

impl Fabric {
    pub(super) fn add(&mut self, peer_id: &PeerId, relay: Option<usize>) {
        self.peers.push(Member {
            peer_id: peer_id.to_string(),
            place: Sha256::digest(peer_id.to_bytes()).into(),
            alive: true,
            relay,
        });
    }

    pub(super) fn set_alive(&mut self, peer: usize, alive: bool) {
        if let Some(member) = self.peers.get_mut(peer) {
            member.alive = alive;
        }
    }

    pub(super) fn set_default_link(&mut self, link: Link) {
        self.default_link = link;
    }

    pub(super) fn set_link(&mut self, from: usize, to: usize, link: Link) {
        self.links.insert((from, to), link);
    }

    pub(super) fn partition(&mut self, parts: &[Vec<usize>]) {
        self.parts = parts
            .iter()
            .enumerate()
            .flat_map(|(part, peers)| peers.iter().map(move |&peer| (peer, part)))
            .collect();
    }

    pub(super) fn hold(&mut self, from: usize, to: usize) {
        self.held.insert((from, to));
    }

    pub(super) fn release(&mut self, from: usize, to: usize) {
        self.held.remove(&(from, to));
    }

    /// Whether a message gets from one to the other at all.
    pub(super) fn reaches(&self, from: usize, to: usize) -> bool {
        let (Some(sender), Some(receiver)) = (self.peers.get(from), self.peers.get(to)) else {
            return false;
        };
        // Whoever is in no part is cut off from those who are.
        let together = self.parts.get(&from) == self.parts.get(&to);
        let linked = sender.relay.is_none_or(|relay| relay == to)
            && receiver.relay.is_none_or(|relay| relay == from);
        receiver.alive && together && linked
    }

    pub(super) fn fate(&self, from: usize, to: usize, random: &mut Random) -> Fate {
        if self.held.contains(&(from, to)) {
            return Fate::Held;
        }
        let link = self.links.get(&(from, to)).unwrap_or(&self.default_link);
        if !self.reaches(from, to) || random.happens(link.loss_per_mille) {
            return Fate::Lost;
        }
        let (low, high) = link.latency_ms;
        let copies = 1 + usize::from(random.happens(link.duplicate_per_mille));
        Fate::Arrives((0..copies).map(|_| random.between(low, high)).collect())
    }

    fn find(&self, peer_id: &str) -> Option<usize> {
        self.peers.iter().position(|peer| peer.peer_id == peer_id)
    }
}

/// The network as one peer's builtins see it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) fabric: Arc<Mutex<Fabric>>,
    pub(super) own: usize,
}

impl View {
    fn reaches(&self, peer_id: &str) -> bool {
        let fabric = lock(&self.fabric);
        let peer = fabric.find(peer_id);
        peer.is_some_and(|peer| fabric.reaches(self.own, peer))
    }
}

#[async_trait]
impl Connectivity for View {
    async fn is_connected(&self, peer_id: &str) -> bool {
        self.reaches(peer_id)
    }

    async fn connect(&self, contact: Contact) -> Result<bool, String> {
        Ok(self.reaches(&contact.peer_id))
    }

    async fn get_contact(&self, peer_id: &str) -> Option<Contact> {
        let peer = lock(&self.fabric).find(peer_id)?;
        Some(Contact {
            peer_id: peer_id.to_owned(),
            addresses: vec![format!("/memory/{}", peer + 1)],
        })
    }

    async fn neighborhood(&self, key: &[u8], count: usize) -> Vec<String> {
        let target = Sha256::digest(key);
        let fabric = lock(&self.fabric);
        let mut near: Vec<([u8; 32], &String)> = fabric
            .peers
            .iter()
            .enumerate()
            .filter(|(index, peer)| *index != self.own && peer.relay.is_none() && peer.alive)
            .map(|(_, peer)| {
                let mut distance = peer.place;
                distance.iter_mut().zip(&target).for_each(|(a, b)| *a ^= b);
                (distance, &peer.peer_id)
            })
            .collect();
        near.sort_unstable();
        near.into_iter()
            .take(count)
            .map(|(_, peer_id)| peer_id.clone())
            .collect()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use particle::KeyPair;

    use super::*;

    #[test]
    fn parts_clients_and_the_dead() {
        let mut fabric = Fabric::default();
        for seed in 0..4 {
            let relay = (seed == 3).then_some(0);
            fabric.add(&KeyPair::from_seed(&[seed; 32]).peer_id(), relay);
        }
        assert!(fabric.reaches(0, 1) && fabric.reaches(3, 0) && fabric.reaches(0, 3));
        assert!(!fabric.reaches(3, 1) && !fabric.reaches(1, 3) && !fabric.reaches(0, 9));
        fabric.partition(&[vec![0, 3], vec![1]]);
        assert!(!fabric.reaches(0, 1) && !fabric.reaches(1, 2) && fabric.reaches(0, 3));
        fabric.partition(&[]);
        fabric.set_alive(1, false);
        assert!(!fabric.reaches(0, 1) && fabric.reaches(0, 2));
        let mut random = Random::new(1);
        fabric.hold(0, 2);
        assert_eq!(fabric.fate(0, 2, &mut random), Fate::Held);
        fabric.release(0, 2);
        fabric.set_link(
            0,
            2,
            Link {
                latency_ms: (5, 5),
                loss_per_mille: 0,
                duplicate_per_mille: 1_000,
            },
        );
        assert_eq!(fabric.fate(0, 2, &mut random), Fate::Arrives(vec![5, 5]));
        assert_eq!(fabric.fate(0, 1, &mut random), Fate::Lost);
    }
}
