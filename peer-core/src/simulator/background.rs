//! What peers of a simulation do besides answering calls: things that go on in virtual time, and
//! that change the scopes of an engine.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use particle::Particle;

use super::{Due, SimError, SimPeer, Simulator, fabric::lock};
use crate::{
    clock::Clock,
    engine::{Engine, Input, Source},
};

/// What goes on at peers, by number of the task.
pub(super) type Background = BTreeMap<u64, (usize, Pin<Box<dyn Future<Output = ()> + Send>>)>;

/// What was asked of engines and is not done yet.
pub(super) type Requests = Arc<Mutex<VecDeque<Request>>>;

pub(super) struct Request {
    peer: usize,
    /// A peer that has crashed since does not hear it.
    life: u64,
    wish: Wish,
}

enum Wish {
    Change(Box<dyn FnOnce(&mut Engine) + Send>),
    Submit(Particle),
}

/// The engine of a simulated peer, for what goes on beside it. It ends with the peer's life.
#[derive(Clone)]
pub struct SimControl {
    peer: usize,
    life: u64,
    requests: Requests,
}

impl SimControl {
    /// Changes the engine, before anything else happens to it.
    pub fn change(&self, change: impl FnOnce(&mut Engine) + Send + 'static) {
        self.push(Wish::Change(Box::new(change)));
    }

    /// Gives the engine a particle made at the peer.
    pub fn submit(&self, particle: Particle) {
        self.push(Wish::Submit(particle));
    }

    fn push(&self, wish: Wish) {
        lock(&self.requests).push_back(Request {
            peer: self.peer,
            life: self.life,
            wish,
        });
    }
}

impl std::fmt::Debug for SimControl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SimControl({}, life {})", self.peer, self.life)
    }
}

#[cfg(feature = "marine")]
impl crate::workers::ScopeControl for SimControl {
    fn add_worker(&self, worker: &crate::workers::Worker) {
        let worker = worker.clone();
        self.change(move |engine| worker.join(engine));
    }

    fn set_worker_active(&self, worker: particle::PeerId, active: bool) {
        self.change(move |engine| {
            engine.set_worker_active(&worker, active);
        });
    }

    fn remove_worker(&self, worker: particle::PeerId) {
        self.change(move |engine| {
            engine.remove_worker(&worker);
        });
    }

    fn submit(&self, particle: Particle) {
        self.submit(particle);
    }
}

impl Simulator {
    /// The clock of the simulation.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// The engine of a peer, for what goes on beside it: workers that come and go, spells.
    ///
    /// # Errors
    /// A peer of another simulation.
    pub fn control(&self, peer: SimPeer) -> Result<SimControl, SimError> {
        let life = self.node(peer)?.life;
        Ok(SimControl {
            peer: peer.0,
            life,
            requests: self.requests.clone(),
        })
    }

    /// Lets something go on at a peer, in virtual time, until it ends or the peer crashes. A
    /// simulation does not wait for it to become idle.
    ///
    /// # Errors
    /// A peer of another simulation.
    pub fn spawn(
        &mut self,
        peer: SimPeer,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), SimError> {
        self.node(peer)?;
        let task = self.next_task;
        self.next_task += 1;
        self.background.insert(task, (peer.0, Box::pin(future)));
        self.poll_background(task);
        self.obey();
        Ok(())
    }

    /// Goes on with a task; false when it is none of these.
    pub(super) fn poll_background(&mut self, task: u64) -> bool {
        let waker = self.woken.waker(task);
        let Some((_, future)) = self.background.get_mut(&task) else {
            return false;
        };
        if let Poll::Ready(()) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.background.remove(&task);
        }
        true
    }

    /// Does what was asked of engines.
    pub(super) fn obey(&mut self) {
        loop {
            let request = lock(&self.requests).pop_front();
            let Some(Request { peer, life, wish }) = request else {
                return;
            };
            let Some(node) = self.nodes.get_mut(peer).filter(|node| node.life == life) else {
                continue;
            };
            match wish {
                Wish::Change(change) => {
                    if let Some(engine) = node.engine_mut() {
                        change(engine);
                    }
                }
                Wish::Submit(particle) => {
                    let source = Source::Local;
                    let input = Input::Particle { particle, source };
                    self.schedule(self.now_ms, Due::Work { peer, life, input });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use particle::KeyPair;

    use super::*;
    use crate::simulator::PeerOptions;

    #[test]
    fn things_go_on_until_the_peer_crashes() {
        let mut simulator = Simulator::new(1);
        let peer = simulator.add_peer(PeerOptions::new("a"));
        let (clock, control) = (simulator.clock(), simulator.control(peer).unwrap());
        let key = Arc::new(KeyPair::from_seed(&[7; 32]));
        let task = async move {
            for number in 0.. {
                clock.sleep(Duration::from_secs(10)).await;
                let id = format!("p{number}");
                let script = "(null)".to_owned();
                let particle = Particle::new(&key, id, clock.now_ms(), 1_000, script);
                control.submit(particle);
            }
        };
        simulator.spawn(peer, task).unwrap();
        assert!(simulator.run_until_idle(1));
        simulator.run_for(35_000);
        assert_eq!(simulator.engine(peer).unwrap().counters().admitted, 3);
        simulator.crash(peer);
        simulator.restart(peer);
        simulator.run_for(35_000);
        assert_eq!(simulator.engine(peer).unwrap().counters().admitted, 0);
    }

    #[test]
    fn scopes_change_before_the_next_input() {
        let mut simulator = Simulator::new(1);
        let peer = simulator.add_peer(PeerOptions::new("a"));
        let worker = Arc::new(KeyPair::from_seed(&[7; 32]));
        let key = worker.clone();
        let control = simulator.control(peer).unwrap();
        control.change(move |engine| engine.add_worker(key));
        let id = worker.peer_id();
        let script = format!(r#"(call "{id}" ("op" "noop") [] x)"#);
        simulator.start(peer, &script, 7_000).unwrap();
        assert!(simulator.run_until_idle(7_000));
        assert_eq!(simulator.totals().calls, 1);
        assert_eq!(simulator.totals().lost, 0);
    }
}
