//! Which particles an engine takes.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use particle::{Particle, PeerId};

use super::{
    ActorId, DataKey, DropReason, Engine, Event, Output, Scope, Source, Timer,
    actor::{Actor, Phase},
};
use crate::{config::EngineLimits, host::ParticleContext};

impl Engine {
    pub(super) fn admit(
        &mut self,
        peer_id: PeerId,
        particle: Particle,
        verified: bool,
        source: Source,
        now_ms: u64,
    ) {
        let id = particle.id.clone();
        if let Err(reason) = self.try_admit(peer_id, particle, verified, source, now_ms) {
            self.drop_particle(id, peer_id, source, reason, now_ms);
        }
    }

    pub(super) fn try_admit(
        &mut self,
        peer_id: PeerId,
        particle: Particle,
        verified: bool,
        source: Source,
        now_ms: u64,
    ) -> Result<(), DropReason> {
        let deadline_ms = self.check(&particle, now_ms)?;
        let scope = self.scopes.get(&peer_id).ok_or(DropReason::UnknownScope)?;
        if let Some(&actor_id) = scope.by_signature.get(&particle.signature) {
            let actor = self
                .actors
                .get_mut(&actor_id)
                .ok_or(DropReason::UnknownScope)?;
            // One signature is verified once; what differs in the header cannot have it.
            if !same_header(&actor.particle, &particle) {
                return Err(DropReason::BadSignature {
                    reason: format!(
                        "particle {:?} has the signature of another particle",
                        particle.id
                    ),
                });
            }
            check_active(scope, &particle.init_peer_id, &self.managers, self.host_id)?;
            if matches!(actor.phase, Phase::Stuck) {
                return Err(DropReason::Stuck);
            }
            if actor.knows(&particle.data) {
                return Err(DropReason::Duplicate);
            }
            if actor.inbox.len() >= self.limits.max_queued_per_particle {
                return Err(DropReason::QueueFull {
                    limit: self.limits.max_queued_per_particle,
                });
            }
            self.check_memory(particle.data.len())?;
            self.push(actor_id, particle.data, source);
            return Ok(());
        }
        if !verified {
            particle
                .verify()
                .map_err(|error| DropReason::BadSignature {
                    reason: error.to_string(),
                })?;
        }
        check_active(scope, &particle.init_peer_id, &self.managers, self.host_id)?;
        if self.actors.len() >= self.limits.max_actors {
            return Err(DropReason::TooManyParticles {
                limit: self.limits.max_actors,
            });
        }
        let limit = self.limits.max_actors_per_peer;
        let started = self.by_initiator.get(&particle.init_peer_id);
        if started.is_some_and(|started| *started >= limit) {
            return Err(DropReason::TooManyOfOnePeer { limit });
        }
        self.check_memory(particle.data.len())?;
        self.create(peer_id, particle, source, deadline_ms, now_ms);
        Ok(())
    }

    /// Checks what needs no memory of the particle; returns its deadline.
    pub(super) fn check(&self, particle: &Particle, now_ms: u64) -> Result<u64, DropReason> {
        let limits = &self.limits;
        let deadline_ms = particle
            .timestamp
            .checked_add(particle.ttl.into())
            .filter(|&deadline_ms| now_ms <= deadline_ms)
            .ok_or(DropReason::Expired)?;
        if let Some(limit) = limits.max_ttl
            && u64::from(particle.ttl) > limit.as_millis()
        {
            return Err(DropReason::TtlTooLong {
                limit_ms: limit.as_millis(),
            });
        }
        if !is_valid_id(&particle.id, limits.max_id_length) {
            return Err(DropReason::BadId);
        }
        // The state machine itself only flags these when its limits are soft; what is refused
        // here costs no memory.
        if limits.vm.hard_limit_enabled {
            let (size, limit) = (particle.script.len(), limits.vm.air_size_limit.0);
            if size as u64 > limit {
                return Err(DropReason::ScriptTooLarge { size, limit });
            }
            let (size, limit) = (particle.data.len(), limits.vm.particle_size_limit.0);
            if size as u64 > limit {
                return Err(DropReason::DataTooLarge { size, limit });
            }
        }
        Ok(deadline_ms)
    }

    pub(super) fn check_memory(&self, additional: usize) -> Result<(), DropReason> {
        check_memory(&self.limits, self.held, additional)
    }

    pub(super) fn create(
        &mut self,
        peer_id: PeerId,
        particle: Particle,
        source: Source,
        deadline_ms: u64,
        now_ms: u64,
    ) {
        let actor_id = ActorId(self.next_actor);
        self.next_actor += 1;
        let signature = particle.signature.clone();
        let context = Arc::new(ParticleContext {
            id: particle.id,
            init_peer_id: particle.init_peer_id,
            timestamp: particle.timestamp,
            ttl: particle.ttl,
            script: self.scripts.text(particle.script),
            signature: particle.signature,
        });
        let mut actor = Actor::new(peer_id, context.clone(), deadline_ms);
        if self.limits.persist_data {
            actor.phase = Phase::Loading;
            let key = DataKey {
                peer_id,
                signature: signature.clone(),
            };
            self.outputs.push_back(Output::Load {
                actor: actor_id,
                key,
            });
        }
        self.actors.insert(actor_id, Box::new(actor));
        *self.by_initiator.entry(context.init_peer_id).or_default() += 1;
        if let Some(scope) = self.scopes.get_mut(&peer_id) {
            scope.by_signature.insert(signature, actor_id);
        }
        self.timers
            .insert((deadline_ms.saturating_add(1), actor_id, Timer::Expiry));
        self.counters.admitted += 1;
        if self.events {
            self.outputs.push_back(Output::Event(Event::Admitted {
                particle: context,
                peer_id,
                source,
                at_ms: now_ms,
            }));
        }
        self.push(actor_id, particle.data, source);
    }

    pub(super) fn push(&mut self, actor_id: ActorId, data: Bytes, source: Source) {
        if let Some(actor) = self.actors.get_mut(&actor_id) {
            self.held += data.len();
            self.queued += 1;
            actor.inbox.push_back((data, source));
            self.make_ready(actor_id);
        }
    }

    pub(super) fn loaded(&mut self, actor_id: ActorId, data: Bytes) {
        let Some(actor) = self.actors.get_mut(&actor_id) else {
            return;
        };
        if matches!(actor.phase, Phase::Loading) {
            self.held += data.len();
            actor.prev = data;
            actor.phase = Phase::Idle;
            self.make_ready(actor_id);
        }
    }

    pub(super) fn drop_particle(
        &mut self,
        mut particle_id: String,
        peer_id: PeerId,
        source: Source,
        reason: DropReason,
        now_ms: u64,
    ) {
        self.counters.count_drop(&reason);
        if self.events {
            if let Some((end, _)) = particle_id.char_indices().nth(self.limits.max_id_length) {
                particle_id.truncate(end);
            }
            self.outputs.push_back(Output::Event(Event::Dropped {
                particle_id,
                peer_id,
                source,
                reason,
                at_ms: now_ms,
            }));
        }
    }
}

/// Whether so many bytes more may be held.
pub(super) fn check_memory(
    limits: &EngineLimits,
    held: usize,
    additional: usize,
) -> Result<(), DropReason> {
    let limit = limits.max_data_total.0;
    if (held as u64).saturating_add(additional as u64) > limit {
        return Err(DropReason::OutOfMemory { limit });
    }
    Ok(())
}

fn same_header(known: &ParticleContext, particle: &Particle) -> bool {
    known.id == particle.id
        && known.timestamp == particle.timestamp
        && known.ttl == particle.ttl
        && known.init_peer_id == particle.init_peer_id
        && *known.script == *particle.script
}

/// A deactivated worker executes only what its managers ask for.
fn check_active(
    scope: &Scope,
    init_peer_id: &PeerId,
    managers: &BTreeSet<PeerId>,
    host_id: PeerId,
) -> Result<(), DropReason> {
    if scope.active || *init_peer_id == host_id || managers.contains(init_peer_id) {
        return Ok(());
    }
    Err(DropReason::InactiveWorker)
}

/// Ids name files of services, so they must not lead out of a directory.
fn is_valid_id(id: &str, max_length: usize) -> bool {
    !id.is_empty()
        && id.len() <= max_length
        && id != "."
        && id != ".."
        && !id.contains(['/', '\\', '\0'])
}
