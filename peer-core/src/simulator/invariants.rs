//! What must hold for honest peers, whatever others do.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex},
};

use aquavm::{
    Script,
    verify::{CallEnd, Event, Subject, VerifyError, verify},
};
use async_trait::async_trait;
use particle::{PeerId, Signature, data::Envelope, value};

use super::{SimPeer, Simulator, fabric::lock};
use crate::host::{FunctionCall, FunctionHost, FunctionOutcome, ParticleContext};

/// Bytes of the texts of failed calls that wait for a run, of a particle.
const FAILURES: usize = 1 << 10;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// An honest peer holds a result that the honest peer that is said to have made it never made.
    #[error(
        "{holder:?} holds {value:?} as result of {service_id}.{function_name} at {executor}, which \
         did not return it (particle {particle_id})"
    )]
    Invented {
        /// Who holds it.
        holder: SimPeer,
        /// Who is said to have made it.
        executor: PeerId,
        /// The particle.
        particle_id: String,
        /// The service.
        service_id: String,
        /// The function.
        function_name: String,
        /// The JSON text of the result.
        value: String,
    },
    /// An honest peer holds data that no honest peers can have made.
    #[error("{holder:?} holds data of particle {particle_id} that does not verify: {error}")]
    Unverifiable {
        /// Who holds it.
        holder: SimPeer,
        /// The particle.
        particle_id: String,
        /// What is wrong with it.
        error: VerifyError,
    },
    /// An honest peer remembers a particle that has expired.
    #[error("{holder:?} remembers particle {particle_id}, which expired at {deadline_ms}")]
    Overdue {
        /// Who remembers it.
        holder: SimPeer,
        /// The particle.
        particle_id: String,
        /// When it expired, in milliseconds since the Unix epoch.
        deadline_ms: u64,
    },
    /// An honest peer holds more bytes of data than it may.
    #[error("{holder:?} holds {bytes} bytes of data, at most {limit} are allowed")]
    TooMuch {
        /// Who holds them.
        holder: SimPeer,
        /// How many it holds.
        bytes: u64,
        /// How many it may hold.
        limit: u64,
    },
}

impl Simulator {
    /// Checks all peers that are up and that nobody made dishonest: what they remember verifies,
    /// ends in time, and has no result that its maker did not return. Results are known from
    /// [`Simulator::record_calls`] on; without it they are not checked.
    ///
    /// Not in here: that peers agree. They do when messages arrive and everybody is honest, which
    /// a simulation may just want not to be so.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let (holder, Some(engine)) = (SimPeer(index), node.engine()) else {
                continue;
            };
            if !node.honest {
                continue;
            }
            let (bytes, limit) = (engine.held_bytes() as u64, node.limits().max_data_total.0);
            // The short texts of calls that failed come on top.
            let texts = (engine.particles() * FAILURES) as u64;
            if bytes > limit.saturating_add(texts) {
                violations.push(Violation::TooMuch {
                    holder,
                    bytes,
                    limit,
                });
            }
            for (particle, data) in engine.remembered() {
                let deadline_ms = particle.deadline().unwrap_or_default();
                if deadline_ms < self.now_ms {
                    violations.push(Violation::Overdue {
                        holder,
                        particle_id: particle.id.clone(),
                        deadline_ms,
                    });
                }
                self.check_data(holder, particle, data, &mut violations);
            }
        }
        violations
    }

    fn is_honest(&self, peer_id: &PeerId) -> bool {
        let index = self.by_id.get(peer_id);
        index.is_some_and(|&index| self.nodes.get(index).is_some_and(|node| node.honest))
    }

    fn check_data(
        &self,
        holder: SimPeer,
        particle: &ParticleContext,
        data: &[u8],
        violations: &mut Vec<Violation>,
    ) {
        // While calls are under way the holder keeps data for itself, which it has not signed.
        let unsigned =
            |envelope: Envelope<'_>| envelope.data().is_ok_and(|data| data.owes_signature());
        if Envelope::decode(data).is_ok_and(unsigned) {
            return;
        }
        // A script that nobody can parse has no results.
        let Ok(script) = Script::parse(&particle.script) else {
            return;
        };
        let subject = Subject {
            init_peer_id: particle.init_peer_id.to_string(),
            particle_id: particle.id.clone(),
            timestamp: particle.timestamp,
            ttl: particle.ttl,
            compat: aquavm::Compat::default(),
            limits: aquavm::Limits::for_strangers(),
        };
        let verification = match verify(&script, data, &subject) {
            Ok(verification) => verification,
            Err(error) => {
                violations.push(Violation::Unverifiable {
                    holder,
                    particle_id: particle.id.clone(),
                    error,
                });
                return;
            }
        };
        let ledger = lock(&self.ledger);
        let Some(calls) = ledger.as_ref() else {
            return;
        };
        for step in verification.steps {
            let (
                Some(signer),
                Event::Call {
                    service,
                    function,
                    end: CallEnd::Returned { value, .. },
                    ..
                },
            ) = (&step.signed_by, &step.event)
            else {
                continue;
            };
            // What liars return is theirs to say.
            let Some(executor) = signer.parse().ok().filter(|peer| self.is_honest(peer)) else {
                continue;
            };
            let made = Made {
                executor,
                signature: particle.signature.clone(),
                service_id: service.clone(),
                function_name: function.clone(),
            };
            let returned = calls.get(&made);
            if !returned.is_some_and(|values| values.contains(&**value)) {
                violations.push(Violation::Invented {
                    holder,
                    executor,
                    particle_id: particle.id.clone(),
                    service_id: service.clone(),
                    function_name: function.clone(),
                    value: value.to_string(),
                });
            }
        }
    }
}

/// Which call returned something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Made {
    executor: PeerId,
    signature: Signature,
    service_id: String,
    function_name: String,
}

/// What calls returned, as canonical JSON texts; nothing while nobody wants to know.
pub(super) type Ledger = Mutex<Option<Calls>>;

pub(super) type Calls = HashMap<Made, HashSet<String>>;

/// A host whose results are noted.
pub(super) struct Witness {
    pub(super) host: Arc<dyn FunctionHost>,
    pub(super) ledger: Arc<Ledger>,
}

#[async_trait]
impl FunctionHost for Witness {
    async fn call(&self, call: &FunctionCall) -> FunctionOutcome {
        let outcome = self.host.call(call).await;
        if let Some(calls) = lock(&self.ledger).as_mut() {
            let (ret_code, text) = outcome.clone().into_result(call);
            if let (0, Ok(text)) = (ret_code, value::normalize(&text)) {
                let made = Made {
                    executor: call.peer_id,
                    signature: call.particle.signature.clone(),
                    service_id: call.service_id.clone(),
                    function_name: call.function_name.clone(),
                };
                calls.entry(made).or_default().insert(text.into_owned());
            }
        }
        outcome
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Witness").finish_non_exhaustive()
    }
}
