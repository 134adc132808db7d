//! Golden particles at a peer: what its workers executed, as evidence for tickets.
//!
//! [`ExecutedParticle`] checks a particle with the verifier of particle data; the tickets, their
//! draw and their payment are in [`deal_types::golden`]. A [`Collector`] observes a peer and keeps
//! what its workers have finished.

use std::collections::BTreeMap;
#[cfg(feature = "network")]
use std::{
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aquavm::{
    Compat, Limits, Script,
    verify::{Subject, VerifyError, verify},
};
use deal_types::{
    PeerKey,
    golden::{ExecutionEvidence, ParticleHeader},
};
use particle::{Particle, ParticleError, PeerId};
use thiserror::Error;

#[cfg(feature = "network")]
use crate::{
    engine,
    peer::{Observer, PeerEvent, PeerEventKind},
};

/// Why a particle proves nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The chain knows ed25519 keys only.
    #[error("{peer_id} has no key that the chain knows")]
    Key {
        /// The peer.
        peer_id: PeerId,
    },
    /// Its initiator did not sign it.
    #[error(transparent)]
    Signature(#[from] ParticleError),
    /// Its script is none.
    #[error("the script of particle {id:?} is none: {reason}")]
    Script {
        /// The particle.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// Its data are not what its script gives.
    #[error("the data of particle {id:?} prove nothing: {source}")]
    Data {
        /// The particle.
        id: String,
        /// What is wrong.
        source: Box<VerifyError>,
    },
}

/// A particle with its data, and who signed how many results in them.
#[derive(Debug)]
pub struct ExecutedParticle {
    particle: Particle,
    init_peer: PeerKey,
    signature: [u8; 64],
    signed: BTreeMap<PeerKey, u32>,
    problem: Option<EvidenceError>,
}

impl ExecutedParticle {
    /// Checks a particle. One that proves nothing is evidence of nothing, so that whoever opened a
    /// ticket with it pays for that; [`ExecutedParticle::problem`] tells what is wrong.
    #[must_use]
    pub fn new(particle: Particle, compat: Compat) -> Self {
        let mut executed = Self {
            init_peer: PeerKey([0; 32]),
            signature: [0; 64],
            signed: BTreeMap::new(),
            problem: None,
            particle,
        };
        executed.problem = executed.examine(compat).err();
        executed
    }

    /// Why nothing in the particle counts, if that is so.
    #[must_use]
    pub fn problem(&self) -> Option<&EvidenceError> {
        self.problem.as_ref()
    }

    /// The particle.
    #[must_use]
    pub fn particle(&self) -> &Particle {
        &self.particle
    }

    /// Whose signatures hold, and for how many results.
    #[must_use]
    pub fn signed(&self) -> &BTreeMap<PeerKey, u32> {
        &self.signed
    }

    fn examine(&mut self, compat: Compat) -> Result<(), EvidenceError> {
        let (particle, id) = (&self.particle, || self.particle.id.clone());
        let peer_id = particle.init_peer_id;
        let unknown = EvidenceError::Key { peer_id };
        let Ok(init_peer) = PeerKey::from_peer_id_bytes(&peer_id.to_bytes()) else {
            return Err(unknown);
        };
        let Ok(signature) = particle.signature.as_bytes().try_into() else {
            return Err(unknown);
        };
        particle.verify()?;
        let script = Script::parse(&particle.script).map_err(|errors| EvidenceError::Script {
            id: id(),
            reason: errors.to_string(),
        })?;
        let subject = Subject {
            init_peer_id: peer_id.to_string(),
            particle_id: id(),
            timestamp: particle.timestamp,
            ttl: particle.ttl,
            compat,
            limits: Limits::for_strangers(),
        };
        let verification = verify(&script, &particle.data, &subject);
        let verification = verification.map_err(|source| EvidenceError::Data {
            id: id(),
            source: Box::new(source),
        })?;
        let signed = verification
            .signers
            .iter()
            .filter_map(|(peer, count)| {
                let count = u32::try_from(*count).unwrap_or(u32::MAX);
                // Peers with other keys are no workers of deals.
                Some((peer.parse().ok()?, count))
            })
            .collect();
        (self.init_peer, self.signature, self.signed) = (init_peer, signature, signed);
        Ok(())
    }
}

impl ExecutionEvidence for ExecutedParticle {
    fn header(&self) -> ParticleHeader<'_> {
        ParticleHeader {
            id: &self.particle.id,
            init_peer: self.init_peer,
            timestamp_ms: self.particle.timestamp,
            ttl_ms: self.particle.ttl,
            script: &self.particle.script,
            signature: self.signature,
        }
    }

    fn data(&self) -> &[u8] {
        &self.particle.data
    }

    fn is_particle_signed(&self) -> bool {
        self.problem.is_none()
    }

    fn signed_calls(&self, worker: PeerKey) -> Option<u32> {
        self.signed.get(&worker).copied()
    }
}

/// Keeps what workers of a peer have finished, until tickets are made of it.
///
/// A particle is finished when it has expired. Of more than can be kept those with the smallest
/// digests remain, as with the tickets themselves.
#[cfg(feature = "network")]
#[derive(Debug)]
pub struct Collector {
    particles: usize,
    bytes: usize,
    kept: Mutex<BTreeMap<PeerId, Kept>>,
}

#[cfg(feature = "network")]
#[derive(Debug, Default)]
struct Kept {
    by_digest: BTreeMap<deal_types::Bytes32, Particle>,
    bytes: usize,
}

#[cfg(feature = "network")]
impl Collector {
    /// Keeps at most so many particles of each worker, with so many bytes of data in all.
    #[must_use]
    pub fn new(particles: usize, bytes: usize) -> Self {
        Self {
            particles,
            bytes,
            kept: Mutex::default(),
        }
    }

    /// Begins to keep what a worker finishes.
    pub fn watch(&self, worker: PeerId) {
        self.lock().entry(worker).or_default();
    }

    /// Takes the particles that were made in a time, in milliseconds since 1970, and forgets older
    /// ones.
    #[must_use]
    pub fn take(&self, worker: PeerId, made: Range<u64>) -> Vec<Particle> {
        let mut kept = self.lock();
        let Some(kept) = kept.get_mut(&worker) else {
            return Vec::new();
        };
        let all = std::mem::take(kept);
        let mut taken = Vec::new();
        for (digest, particle) in all.by_digest {
            if made.contains(&particle.timestamp) {
                taken.push(particle);
            } else if particle.timestamp >= made.end {
                kept.bytes = kept.bytes.saturating_add(particle.data.len());
                kept.by_digest.insert(digest, particle);
            }
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PeerId, Kept>> {
        // Nothing is half done when a thread dies with the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, worker: PeerId, particle: Particle) {
        let mut kept = self.lock();
        let Some(kept) = kept.get_mut(&worker) else {
            return;
        };
        let init_peer = PeerKey::from_peer_id_bytes(&particle.init_peer_id.to_bytes());
        let signature = particle.signature.as_bytes().try_into();
        let (Ok(init_peer), Ok(signature)) = (init_peer, signature) else {
            return;
        };
        let header = ParticleHeader {
            id: &particle.id,
            init_peer,
            timestamp_ms: particle.timestamp,
            ttl_ms: particle.ttl,
            script: &particle.script,
            signature,
        };
        kept.bytes = kept.bytes.saturating_add(particle.data.len());
        if let Some(before) = kept.by_digest.insert(header.digest(), particle) {
            kept.bytes = kept.bytes.saturating_sub(before.data.len());
        }
        while kept.by_digest.len() > self.particles || kept.bytes > self.bytes {
            let Some((_, largest)) = kept.by_digest.pop_last() else {
                break;
            };
            kept.bytes = kept.bytes.saturating_sub(largest.data.len());
        }
    }
}

#[cfg(feature = "network")]
impl Observer for Collector {
    fn observe(&self, event: &PeerEvent) {
        let PeerEventKind::Engine(engine::Event::Expired {
            particle,
            peer_id,
            data,
            ..
        }) = &event.kind
        else {
            return;
        };
        if data.is_empty() {
            return;
        }
        let finished = Particle {
            id: particle.id.clone(),
            init_peer_id: particle.init_peer_id,
            timestamp: particle.timestamp,
            ttl: particle.ttl,
            script: particle.script.to_string(),
            signature: particle.signature.clone(),
            data: data.clone(),
        };
        self.keep(*peer_id, finished);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use aquavm::{CallResult, RunParameters, step};
    use deal_types::{
        Address, Bytes32, U256,
        golden::{Round, RoundConfig, RoundError, Selection, Split, TicketBook},
    };
    use particle::{KeyPair, Signer as _};

    use super::*;

    const EPOCH: u64 = 7;

    fn key(number: u8) -> KeyPair {
        KeyPair::from_seed(&[number; 32])
    }

    fn peer_key(number: u8) -> PeerKey {
        key(number).peer_id().to_string().parse().unwrap()
    }

    /// A particle of peer 1 that peers 2 and 3 execute one after the other.
    fn executed(id: &str) -> Particle {
        let script = format!(
            r#"(seq (call "{}" ("s" "f") [] a) (call "{}" ("s" "g") [a] b))"#,
            key(2).peer_id(),
            key(3).peer_id()
        );
        let mut particle = Particle::new(&key(1), id.to_owned(), 700, 60_000, script);
        let script = Script::parse(&particle.script).unwrap();
        let mut data = Vec::new();
        for number in [2, 3] {
            let parameters = RunParameters {
                init_peer_id: particle.init_peer_id.to_string(),
                current_peer_id: key(number).peer_id().to_string(),
                timestamp: particle.timestamp,
                ttl: particle.ttl,
                particle_id: particle.id.clone(),
                key: key(number).into(),
                limits: Default::default(),
                compat: Default::default(),
                check_signatures: true,
                policy: Default::default(),
            };
            let asked = step(&script, &[], &data, &parameters, &Default::default());
            let results = [(1, CallResult::ok("5"))].into();
            let done = step(&script, &asked.data, &[], &parameters, &results);
            assert_eq!(done.ret_code, 0, "{}", done.error_message);
            data = done.data;
        }
        particle.data = data.into();
        particle
    }

    fn config() -> RoundConfig {
        RoundConfig {
            chain_id: 1,
            deal: Address([4; 20]),
            epoch: EPOCH,
            epoch_ms: (700, 800),
            pool: U256::from(1_000),
            winners: 8,
            bond_per_ticket: U256::from(10),
            quota: 4,
            min_participants: 2,
            split: Split::Equal,
            workers: BTreeSet::from([peer_key(2), peer_key(3)]),
            initiators: BTreeSet::from([peer_key(1)]),
        }
    }

    #[test]
    fn what_was_executed_is_paid() {
        let evidence = ExecutedParticle::new(executed("particle"), Compat::default());
        assert!(evidence.problem().is_none(), "{:?}", evidence.problem());
        let expected = BTreeMap::from([(peer_key(2), 1), (peer_key(3), 1)]);
        assert_eq!(evidence.signed(), &expected);
        let selection = Selection::default();
        let book = TicketBook::make(peer_key(3), &config(), selection, [evidence]).unwrap();
        assert_eq!(book.tree().count(), 1);
        let mut round = Round::new(config());
        round
            .commit(peer_key(3), book.tree().root(), 1, EPOCH + 1)
            .unwrap();
        round.set_beacon(Bytes32([5; 32]));
        let winners = book.winners(Bytes32([5; 32]), round.threshold()).unwrap();
        let (opening, evidence) = &winners[0];
        assert_eq!(round.open(opening, *evidence, EPOCH + 2), Ok(()));
        let outcome = round.settle(EPOCH + 4).unwrap();
        assert_eq!(
            outcome.settlement.payouts,
            BTreeMap::from([
                (peer_key(2), U256::from(500)),
                (peer_key(3), U256::from(500))
            ])
        );
    }

    #[test]
    fn what_was_not_executed_proves_nothing() {
        let good = executed("particle");
        let with = |change: fn(&mut Particle)| {
            let mut particle = good.clone();
            change(&mut particle);
            ExecutedParticle::new(particle, Compat::default())
        };
        let cut = with(|particle| particle.data = particle.data.slice(..particle.data.len() / 2));
        assert!(matches!(cut.problem(), Some(EvidenceError::Data { .. })));
        let renamed = with(|particle| particle.id.push('2'));
        let other = with(|particle| {
            particle.signature = key(2).sign(&particle.signed_bytes());
        });
        for unsigned in [&renamed, &other] {
            assert!(matches!(
                unsigned.problem(),
                Some(EvidenceError::Signature(_))
            ));
        }
        // Signatures in data cover the id of the particle: those of another one do not help.
        let moved = Particle {
            data: good.data.clone(),
            ..executed("another")
        };
        let moved = ExecutedParticle::new(moved, Compat::default());
        assert!(matches!(moved.problem(), Some(EvidenceError::Data { .. })));
        for evidence in [cut, renamed, other, moved] {
            assert!(evidence.signed().is_empty());
            assert!(!evidence.is_particle_signed());
            assert_eq!(evidence.signed_calls(peer_key(2)), None);
        }
    }

    #[test]
    fn a_cheater_who_opens_it_loses_the_bond() {
        let good = ExecutedParticle::new(executed("particle"), Compat::default());
        let book = TicketBook::make(peer_key(2), &config(), Selection::default(), [good]).unwrap();
        let mut round = Round::new(config());
        round
            .commit(peer_key(2), book.tree().root(), 1, EPOCH + 1)
            .unwrap();
        round.set_beacon(Bytes32([5; 32]));
        let winners = book.winners(Bytes32([5; 32]), round.threshold()).unwrap();
        let mut forged = executed("particle");
        forged.data = forged.data.slice(1..);
        let forged = ExecutedParticle::new(forged, Compat::default());
        let refused = round.open(&winners[0].0, &forged, EPOCH + 2);
        assert!(
            matches!(refused, Err(RoundError::Opening(_))),
            "{refused:?}"
        );
        let outcome = round.settle(EPOCH + 4).unwrap();
        assert_eq!(outcome.burned.get(&peer_key(2)), Some(&U256::from(10)));
    }

    #[cfg(feature = "network")]
    #[test]
    fn the_smallest_digests_are_kept() {
        let collector = Collector::new(3, 1 << 20);
        let worker = key(2).peer_id();
        let particles: Vec<Particle> = (0..6).map(|n| executed(&n.to_string())).collect();
        collector.keep(worker, particles[0].clone());
        assert!(collector.take(worker, 0..u64::MAX).is_empty());
        collector.watch(worker);
        for particle in &particles {
            collector.keep(worker, particle.clone());
        }
        assert!(collector.take(worker, 0..700).is_empty());
        let taken = collector.take(worker, 700..800);
        assert_eq!(taken.len(), 3);
        assert!(collector.take(worker, 700..800).is_empty());
        let small = Collector::new(100, particles[0].data.len() * 2);
        small.watch(worker);
        for particle in &particles {
            small.keep(worker, particle.clone());
        }
        assert_eq!(small.take(worker, 0..u64::MAX).len(), 2);
    }
}
