//! Small networks, each showing one verb of the simulator.

mod adversaries;
mod topology;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use super::*;
use crate::{
    config::EngineLimits,
    host::{Ending, FunctionOutcome, Initiator, NativeFunctions},
};

const TTL: u32 = 30_000;

/// A network where "alice" notes what scripts tell her through `note.it`.
struct Bench {
    simulator: Simulator,
    alice: SimPeer,
    others: Vec<SimPeer>,
    notes: Arc<Mutex<Vec<Value>>>,
}

impl Bench {
    fn new(seed: u64, others: usize, limits: &EngineLimits) -> Self {
        let mut simulator = Simulator::new(seed);
        let notes = Arc::new(Mutex::new(Vec::new()));
        let heard = notes.clone();
        let host = NativeFunctions::new().with("note", "it", move |call| {
            let note = call.arguments.first().map(|raw| raw.get());
            let note = note.map(|text| serde_json::from_str(text).unwrap());
            heard.lock().unwrap().push(note.unwrap_or_default());
            FunctionOutcome::Empty
        });
        let alice = simulator.add_peer(
            PeerOptions::new("alice")
                .with_host(Arc::new(host))
                .with_limits(limits.clone()),
        );
        let others = (0..others)
            .map(|number| {
                simulator.add_peer(
                    PeerOptions::new(format!("peer {number}")).with_limits(limits.clone()),
                )
            })
            .collect();
        Self {
            simulator,
            alice,
            others,
            notes,
        }
    }

    fn id(&self, peer: SimPeer) -> PeerId {
        self.simulator.peer_id(peer).unwrap()
    }

    /// Asks every other peer, and notes each answer.
    fn ask_all(&self) -> String {
        let mut script = "(null)".to_owned();
        for (number, &peer) in self.others.iter().enumerate() {
            script = format!(
                r#"(par (seq (call "{peer}" ("op" "identity") [{number}] answer{number})
                             (call "{alice}" ("note" "it") [answer{number}]))
                        {script})"#,
                peer = self.id(peer),
                alice = self.id(self.alice),
            );
        }
        script
    }

    fn start(&mut self, script: &str) -> Particle {
        self.simulator.start(self.alice, script, TTL).unwrap()
    }

    fn idle(&mut self) {
        assert!(
            self.simulator.run_until_idle(u64::from(TTL)),
            "{:?}",
            self.simulator
        );
    }

    /// What was noted since the last time, sorted.
    fn notes(&self) -> Vec<i64> {
        let mut notes: Vec<i64> = std::mem::take(&mut *self.notes.lock().unwrap())
            .iter()
            .map(|note| note.as_i64().unwrap())
            .collect();
        notes.sort_unstable();
        notes
    }
}

fn limits() -> EngineLimits {
    EngineLimits::default()
}

#[test]
fn everybody_answers_whatever_the_seed() {
    let mut snapshots = Vec::new();
    for seed in [1, 1, 2, 3] {
        let mut bench = Bench::new(seed, 5, &limits());
        let script = bench.ask_all();
        bench.start(&script);
        bench.idle();
        assert_eq!(bench.notes(), [0, 1, 2, 3, 4]);
        snapshots.push(bench.simulator.snapshot().encode().unwrap());
    }
    assert_eq!(snapshots[0], snapshots[1], "the same seed, the same bytes");
    assert_ne!(snapshots[1], snapshots[2]);
    let snapshot = Snapshot::decode(&snapshots[3]).unwrap();
    assert_eq!((snapshot.seed, snapshot.peers.len()), (3, 6));
    assert_eq!(snapshot.peers[0].particles.len(), 1);
}

#[test]
fn doubled_messages_change_nothing() {
    let mut bench = Bench::new(7, 5, &limits());
    bench.simulator.set_default_link(Link {
        duplicate_per_mille: 1_000,
        ..Link::default()
    });
    let script = bench.ask_all();
    bench.start(&script);
    bench.idle();
    assert_eq!(bench.notes(), [0, 1, 2, 3, 4]);
}

#[test]
fn lost_messages_lose_only_their_branch() {
    let mut bench = Bench::new(7, 3, &limits());
    bench.simulator.set_link(
        bench.alice,
        bench.others[1],
        Link {
            loss_per_mille: 1_000,
            ..Link::default()
        },
    );
    let script = bench.ask_all();
    bench.start(&script);
    bench.idle();
    assert_eq!(bench.notes(), [0, 2]);
    assert_eq!(bench.simulator.totals().lost, 1);
}

#[test]
fn a_partition_separates_until_it_heals() {
    let mut bench = Bench::new(7, 3, &limits());
    let (alice, others) = (bench.alice, bench.others.clone());
    bench
        .simulator
        .partition(&[&[alice, others[0]], &[others[1], others[2]]]);
    let script = bench.ask_all();
    bench.start(&script);
    bench.idle();
    assert_eq!(bench.notes(), [0]);
    bench.simulator.heal();
    bench.start(&script);
    bench.idle();
    assert_eq!(bench.notes(), [0, 1, 2]);
}

#[test]
fn held_messages_wait_for_their_release() {
    let mut bench = Bench::new(7, 2, &limits());
    let (alice, other) = (bench.alice, bench.others[0]);
    bench.simulator.hold(other, alice);
    let script = bench.ask_all();
    bench.start(&script);
    bench.idle();
    assert_eq!(bench.notes(), [1]);
    bench.simulator.release(other, alice);
    bench.idle();
    assert_eq!(bench.notes(), [0]);
}

#[test]
fn a_crash_forgets_what_is_not_stored() {
    let mut remembered = Vec::new();
    for persist_data in [false, true] {
        let mut bench = Bench::new(
            7,
            2,
            &EngineLimits {
                persist_data,
                ..limits()
            },
        );
        let (alice, others) = (bench.alice, bench.others.clone());
        bench.simulator.hold(others[0], alice);
        let script = bench.ask_all();
        let particle = bench.start(&script);
        bench.idle();
        assert_eq!(bench.notes(), [1]);
        bench.simulator.crash(alice);
        assert!(bench.simulator.engine(alice).is_none());
        assert!(matches!(
            bench.simulator.inject(alice, particle.clone()),
            Err(SimError::Down { .. })
        ));
        bench.simulator.restart(alice);
        bench.simulator.release(others[0], alice);
        bench.idle();
        // The answer that was held comes through, whether or not the other one is known.
        assert_eq!(bench.notes(), [0], "persist_data = {persist_data}");
        let data = bench.simulator.data(alice, &particle.signature);
        remembered.push(data.unwrap().len());
    }
    assert!(remembered[0] < remembered[1], "{remembered:?}");
}

#[test]
fn a_peer_that_is_down_does_not_answer() {
    let mut bench = Bench::new(7, 2, &limits());
    let other = bench.others[1];
    bench.simulator.crash(other);
    let script = bench.ask_all();
    bench.start(&script);
    bench.idle();
    assert_eq!(bench.notes(), [0]);
    // Down while the message is on its way.
    bench.simulator.restart(other);
    bench.start(&script);
    bench.simulator.crash(other);
    bench.idle();
    assert_eq!(bench.notes(), [0]);
}

#[test]
fn timeouts_race_in_virtual_time() {
    for (delay_ms, expected) in [(0, json!("answer")), (5_000, json!("too late"))] {
        let mut bench = Bench::new(7, 1, &limits());
        bench.simulator.slow(bench.others[0], delay_ms);
        let script = format!(
            r#"(seq
                 (par
                   (call "{other}" ("op" "identity") ["answer"] $first)
                   (call "{alice}" ("peer" "timeout") [1000 "too late"] $first))
                 (seq
                   (canon "{alice}" $first #first)
                   (call "{alice}" ("note" "it") [#first.$.[0]])))"#,
            other = bench.id(bench.others[0]),
            alice = bench.id(bench.alice),
        );
        bench.start(&script);
        bench.idle();
        assert_eq!(*bench.notes.lock().unwrap(), [expected]);
    }
}

#[test]
fn what_a_liar_sends_is_refused() {
    let mut bench = Bench::new(7, 3, &limits());
    bench.simulator.record_events();
    let liar = bench.others[1];
    bench.simulator.tamper(
        liar,
        Some(Box::new(|random, particle, _| {
            let mut data = particle.data.to_vec();
            // Somewhere in the second half, where values and signatures are.
            let half = data.len() / 2;
            let place = half + random.between(0, half as u64 - 1) as usize;
            data[place] ^= 0x55;
            vec![Particle {
                data: data.into(),
                ..particle.clone()
            }]
        })),
    );
    let script = bench.ask_all();
    bench.start(&script);
    bench.idle();
    assert_eq!(bench.notes(), [0, 2]);
    let refused: Vec<i64> = bench
        .simulator
        .take_events()
        .into_iter()
        .filter_map(|(peer, event)| match event {
            Event::Executed(execution) if peer == bench.alice => Some(execution.ret_code),
            _ => None,
        })
        .filter(|code| *code != 0)
        .collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!((2..=9).contains(&refused[0]), "{refused:?}");
}

#[test]
fn clients_reach_the_network_through_their_relay() {
    let mut simulator = Simulator::new(5);
    let relay = simulator.add_peer(PeerOptions::new("relay"));
    let other = simulator.add_peer(PeerOptions::new("other"));
    let [relay_id, other_id] = [relay, other].map(|peer| simulator.peer_id(peer).unwrap());
    let initiator = Arc::new(Initiator::new(BTreeMap::from([
        ("-relay-".to_owned(), json!(relay_id.to_string())),
        ("other".to_owned(), json!(other_id.to_string())),
    ])));
    let client = simulator.add_peer(
        PeerOptions::new("client")
            .with_relay(relay)
            .with_host(initiator.clone()),
    );
    let script = r#"
        (xor
          (seq
            (seq
              (call %init_peer_id% ("getDataSrv" "-relay-") [] -relay-)
              (call %init_peer_id% ("getDataSrv" "other") [] -other-arg-))
            (seq
              (seq
                (seq
                  (new $-hop- (new #-hopc- (canon -relay- $-hop- #-hopc-)))
                  (call -other-arg- ("op" "concat_strings") ["a" "b"] ret))
                (new $-hop- (new #-hopc- (canon -relay- $-hop- #-hopc-))))
              (call %init_peer_id% ("callbackSrv" "response") [ret])))
          (call %init_peer_id% ("errorHandlingSrv" "error") [:error: 0]))"#;
    let particle = simulator.start(client, script, TTL).unwrap();
    assert!(simulator.run_until_idle(u64::from(TTL)));
    assert_eq!(
        initiator.endings(&particle.id),
        [Ending::Response {
            name: "response".to_owned(),
            arguments: vec![json!("ab")],
        }]
    );
    // The other peer cannot reach the client itself.
    let direct = format!(
        r#"(seq (call "{other_id}" ("op" "noop") [])
                (call %init_peer_id% ("callbackSrv" "response") []))"#
    );
    let particle = simulator.start(client, &direct, TTL).unwrap();
    assert!(simulator.run_until_idle(u64::from(TTL)));
    assert!(initiator.endings(&particle.id).is_empty());
}

#[test]
fn particles_are_forgotten_at_their_deadline() {
    let mut bench = Bench::new(7, 3, &limits());
    let script = bench.ask_all();
    let particle = bench.start(&script);
    bench.idle();
    assert!(
        bench
            .simulator
            .data(bench.alice, &particle.signature)
            .is_some()
    );
    let idle_ms = bench.simulator.now_ms();
    bench.simulator.run_for(u64::from(TTL) + 1);
    for peer in bench.simulator.peers() {
        assert_eq!(bench.simulator.data(peer, &particle.signature), None);
        assert_eq!(bench.simulator.engine(peer).unwrap().held_bytes(), 0);
    }
    assert_eq!(bench.simulator.now_ms(), idle_ms + u64::from(TTL) + 1);
}
