//! An engine fed by hand, in virtual time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use particle::{KeyPair, Particle, PeerId};

use super::{
    run::{RequestedCall, RunOutcome},
    *,
};
use crate::{
    config::{ByteSize, HumanDuration},
    host::FunctionOutcome,
};

const START: u64 = 1_000_000;
const TTL: u32 = 10_000;

/// An engine with what it asked for, sorted by kind.
struct Bench {
    engine: Engine,
    now: u64,
    runs: VecDeque<RunJob>,
    calls: VecDeque<CallJob>,
    sent: Vec<(Vec<PeerId>, Particle)>,
    cancelled: Vec<u32>,
    stored: Vec<String>,
    events: Vec<Event>,
}

impl Bench {
    fn new(change: impl FnOnce(&mut EngineLimits)) -> Self {
        let mut limits = EngineLimits {
            max_parallel_runs: 2,
            ..EngineLimits::default()
        };
        change(&mut limits);
        Self {
            engine: Engine::new(key(1), limits).with_events(),
            now: START,
            runs: VecDeque::new(),
            calls: VecDeque::new(),
            sent: Vec::new(),
            cancelled: Vec::new(),
            stored: Vec::new(),
            events: Vec::new(),
        }
    }

    fn handle(&mut self, input: Input) {
        self.engine.handle(input, self.now);
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Run(job) => self.runs.push_back(job),
                Output::Call(job) => self.calls.push_back(job),
                Output::CancelCall { call_id, .. } => self.cancelled.push(call_id),
                Output::Send { to, particle } => self.sent.push((to, particle)),
                Output::Load { .. } => self.stored.push("load".to_owned()),
                Output::Save { data, .. } => self
                    .stored
                    .push(format!("save {}", String::from_utf8_lossy(&data))),
                Output::Forget { .. } => self.stored.push("forget".to_owned()),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    fn arrive(&mut self, particle: &Particle, data: &str) {
        let particle = Particle {
            data: Bytes::copy_from_slice(data.as_bytes()),
            ..particle.clone()
        };
        self.handle(Input::Particle {
            particle,
            source: Source::Peer(key(9).peer_id()),
        });
    }

    fn finish(&mut self, outcome: RunOutcome) -> RunJob {
        let job = self.runs.pop_front().expect("a run");
        self.handle(Input::RunFinished(RunFinished {
            actor: job.actor,
            run_id: job.run_id,
            outcome: Ok(outcome),
            elapsed: Duration::ZERO,
        }));
        job
    }

    fn answer(&mut self, outcome: FunctionOutcome) -> u32 {
        let job = self.calls.pop_front().expect("a call");
        let call_id = job.call.call_id;
        self.handle(job.finish(outcome));
        call_id
    }

    fn advance(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        self.handle(Input::Timer);
    }

    /// Reasons of drops since the last time.
    fn drops(&mut self) -> Vec<DropReason> {
        self.events
            .drain(..)
            .filter_map(|event| match event {
                Event::Dropped { reason, .. } => Some(reason),
                _ => None,
            })
            .collect()
    }
}

fn key(seed: u8) -> Arc<KeyPair> {
    Arc::new(KeyPair::from_seed(&[seed; 32]))
}

fn particle(id: &str) -> Particle {
    Particle::new(&key(8), id.to_owned(), START, TTL, "(null)".to_owned())
}

fn data(text: &str) -> RunOutcome {
    RunOutcome {
        data: Bytes::copy_from_slice(text.as_bytes()),
        ..RunOutcome::default()
    }
}

fn calls(text: &str, ids: impl IntoIterator<Item = u32>) -> RunOutcome {
    let calls = ids.into_iter().map(|call_id| RequestedCall {
        call_id,
        service_id: "service".to_owned(),
        function_name: "function".to_owned(),
        arguments: Vec::new(),
        tetraplets: Vec::new(),
    });
    RunOutcome {
        calls: calls.collect(),
        ..data(text)
    }
}

#[test]
fn a_particle_runs_calls_and_goes_on() {
    let mut bench = Bench::new(|_| {});
    bench.arrive(&particle("a"), "in");
    assert_eq!(bench.runs[0].current, "in");
    assert_eq!(bench.runs[0].prev, "");
    let remote = key(2).peer_id();
    bench.finish(RunOutcome {
        next_peers: vec![remote.to_string()],
        ..calls("one", [1])
    });
    let (to, sent) = &bench.sent[0];
    assert_eq!(
        (to.as_slice(), &sent.data[..]),
        (&[remote][..], &b"one"[..])
    );
    assert_eq!(sent.signature, particle("a").signature);
    assert_eq!(bench.answer(FunctionOutcome::value(&5)), 1);
    let run = bench.finish(data("two"));
    assert_eq!((&run.prev[..], &run.current[..]), (&b"one"[..], &b""[..]));
    assert_eq!(
        run.results,
        BTreeMap::from([(
            1,
            CallResult {
                ret_code: 0,
                result: "5".to_owned()
            }
        )])
    );
    assert!(bench.runs.is_empty() && bench.engine.is_idle());
    let key = DataKey {
        peer_id: key(1).peer_id(),
        signature: particle("a").signature,
    };
    assert_eq!(bench.engine.data(&key).unwrap(), "two");
    let names: Vec<&str> = bench
        .events
        .iter()
        .map(|event| match event {
            Event::Admitted { .. } => "admitted",
            Event::Executed(execution) if execution.calls.len() == 1 => "executed with a call",
            Event::Executed(_) => "executed",
            Event::Called(_) => "called",
            _ => "other",
        })
        .collect();
    assert_eq!(
        names,
        ["admitted", "executed with a call", "called", "executed"]
    );
}

#[test]
fn one_run_at_a_time_takes_one_copy_and_all_results() {
    let mut bench = Bench::new(|_| {});
    let a = particle("a");
    bench.arrive(&a, "1");
    bench.arrive(&a, "2");
    bench.arrive(&a, "3");
    assert_eq!(bench.runs.len(), 1);
    bench.finish(calls("x", [1, 2, 3]));
    // While the second copy runs, two results come in.
    assert_eq!(bench.runs[0].current, "2");
    bench.answer(FunctionOutcome::Empty);
    bench.answer(FunctionOutcome::Empty);
    assert_eq!(bench.runs.len(), 1);
    bench.finish(data("y"));
    let run = bench.finish(data("z"));
    assert_eq!(run.current, "3");
    assert_eq!(run.results.keys().copied().collect::<Vec<_>>(), [1, 2]);
    bench.answer(FunctionOutcome::NotDefined);
    let run = bench.finish(data("z"));
    assert_eq!(run.results[&3].ret_code, 1);
}

#[test]
fn copies_that_change_nothing_are_dropped() {
    let mut bench = Bench::new(|_| {});
    let a = particle("a");
    bench.arrive(&a, "");
    bench.arrive(&a, "");
    bench.arrive(&a, "same");
    bench.arrive(&a, "same");
    assert_eq!(
        bench.drops(),
        [DropReason::Duplicate, DropReason::Duplicate]
    );
    bench.finish(data("same"));
    // The copy that waited has become what is known.
    assert!(bench.runs.is_empty());
    assert_eq!(bench.drops(), [DropReason::Duplicate]);
    bench.arrive(&a, "same");
    assert_eq!(bench.drops(), [DropReason::Duplicate]);
    bench.arrive(&a, "other");
    assert_eq!(bench.runs.len(), 1);
    assert_eq!(bench.engine.counters().dropped["duplicate"], 4);
}

#[test]
fn what_is_refused_at_admission() {
    let mut bench = Bench::new(|limits| {
        limits.max_ttl = Some(HumanDuration::from_secs(60));
        limits.vm.hard_limit_enabled = true;
        limits.vm.air_size_limit = ByteSize(100);
        limits.vm.particle_size_limit = ByteSize(100);
    });
    let make = |id: &str, timestamp, ttl, script: &str| {
        Particle::new(&key(8), id.to_owned(), timestamp, ttl, script.to_owned())
    };
    let forged = Particle {
        init_peer_id: key(7).peer_id(),
        ..particle("a")
    };
    let renamed = Particle {
        id: "b".to_owned(),
        ..particle("a")
    };
    for (particle, data, reason) in [
        (make("a", START - 11, 10, "(null)"), "", "expired"),
        (make("a", u64::MAX, 10, "(null)"), "", "expired"),
        (make("a", START, 60_001, "(null)"), "", "ttl_too_long"),
        (make("", START, TTL, "(null)"), "", "bad_id"),
        (make("..", START, TTL, "(null)"), "", "bad_id"),
        (make("../x", START, TTL, "(null)"), "", "bad_id"),
        (make(&"x".repeat(129), START, TTL, "(null)"), "", "bad_id"),
        (
            make("a", START, TTL, &"x".repeat(101)),
            "",
            "script_too_large",
        ),
        (
            make("a", START, TTL, "(null)"),
            &*"x".repeat(101),
            "data_too_large",
        ),
        (forged, "", "bad_signature"),
        (renamed.clone(), "", "bad_signature"),
    ] {
        bench.arrive(&particle, data);
        let drops = bench.drops();
        assert_eq!(drops.len(), 1, "{particle:?}");
        assert_eq!(drops[0].name(), reason, "{}", drops[0]);
    }
    // Neither does a signature that is known let another header pass.
    bench.arrive(&particle("a"), "");
    bench.arrive(&renamed, "1");
    assert_eq!(bench.drops()[0].name(), "bad_signature");
    assert_eq!(bench.engine.particles(), 1);
    // The last millisecond counts.
    bench.arrive(&make("c", START - 10, 10, "(null)"), "");
    assert!(bench.drops().is_empty());
}

#[test]
fn ready_particles_take_turns() {
    let mut bench = Bench::new(|_| {});
    for id in ["a", "b", "c", "d"] {
        bench.arrive(&particle(id), "1");
    }
    bench.arrive(&particle("a"), "2");
    // Two at a time, in the order of arrival; the second turn of "a" comes after the first of all.
    let mut order = Vec::new();
    for _ in 0..5 {
        assert!(bench.runs.len() <= 2);
        order.push(bench.finish(data("x")).particle.id.clone());
    }
    assert_eq!(order, ["a", "b", "c", "d", "a"]);
}

#[test]
fn queues_are_bounded() {
    let mut bench = Bench::new(|limits| {
        limits.max_queued_per_particle = 2;
        limits.max_actors = 2;
        limits.max_data_total = ByteSize(10);
    });
    let a = particle("a");
    for number in 0..4 {
        bench.arrive(&a, &number.to_string());
    }
    assert_eq!(bench.drops(), [DropReason::QueueFull { limit: 2 }]);
    bench.arrive(&particle("b"), "123456789");
    assert_eq!(bench.drops(), [DropReason::OutOfMemory { limit: 10 }]);
    bench.arrive(&particle("b"), "");
    bench.arrive(&particle("c"), "");
    assert_eq!(bench.drops(), [DropReason::TooManyParticles { limit: 2 }]);
    assert_eq!(bench.engine.held_bytes(), 2);
    // Everything is given back.
    bench.finish(data("123"));
    assert_eq!(bench.engine.held_bytes(), 4);
    bench.advance(u64::from(TTL) + 1);
    assert_eq!(bench.engine.held_bytes(), 0);
    assert_eq!(bench.engine.particles(), 0);
    assert_eq!(bench.engine.next_deadline(), None);
}

#[test]
fn one_peer_cannot_fill_the_memory_of_all() {
    let mut bench = Bench::new(|limits| limits.max_actors_per_peer = 2);
    for id in ["a", "b", "c"] {
        bench.arrive(&particle(id), "");
    }
    assert_eq!(bench.drops(), [DropReason::TooManyOfOnePeer { limit: 2 }]);
    let other = Particle::new(&key(5), "d".to_owned(), START, TTL, "(null)".to_owned());
    bench.arrive(&other, "");
    assert_eq!(bench.engine.particles(), 3);
    bench.advance(u64::from(TTL) + 1);
    let late = Particle::new(&key(5), "e".to_owned(), bench.now, TTL, "(null)".to_owned());
    bench.arrive(&late, "");
    assert!(bench.drops().is_empty());
}

#[test]
fn a_call_that_does_not_answer_fails() {
    let mut bench = Bench::new(|limits| limits.call_timeout = HumanDuration::from_millis(100));
    bench.arrive(&particle("a"), "");
    bench.finish(calls("x", [1, 2]));
    bench.advance(60);
    bench.answer(FunctionOutcome::value(&1));
    bench.finish(data("y"));
    assert_eq!(bench.engine.next_deadline(), Some(START + 101));
    bench.advance(41);
    assert_eq!(bench.cancelled, [2]);
    let run = bench.finish(data("z"));
    assert_eq!(run.results[&2].ret_code, 1);
    assert!(
        run.results[&2]
            .result
            .contains("did not answer within 100 ms"),
        "{:?}",
        run.results
    );
    // The answer that comes after all is not heard.
    bench.answer(FunctionOutcome::value(&2));
    assert!(bench.runs.is_empty());
    assert_eq!(bench.engine.counters().timed_out_calls, 1);
}

#[test]
fn a_run_that_does_not_end_blocks_only_its_particle() {
    let mut bench = Bench::new(|limits| {
        limits.run_timeout = HumanDuration::from_millis(100);
        limits.max_parallel_runs = 1;
    });
    let (a, b) = (particle("a"), particle("b"));
    bench.arrive(&a, "");
    bench.arrive(&a, "1");
    bench.arrive(&b, "");
    bench.advance(101);
    assert_eq!(bench.engine.counters().timed_out_runs, 1);
    bench.arrive(&a, "2");
    assert_eq!(bench.drops(), [DropReason::Stuck]);
    // Others go on; what the late run returns is not used.
    assert_eq!(bench.runs.len(), 2);
    assert_eq!(bench.engine.load().stuck, 1);
    let stuck = bench.finish(calls("late", [1]));
    assert_eq!(stuck.particle.id, "a");
    assert!(bench.calls.is_empty());
    assert_eq!(bench.finish(data("x")).particle.id, "b");
    assert!(bench.engine.is_idle());
    assert_eq!(bench.engine.load().stuck, 0);
}

#[test]
fn too_many_hanging_runs_keep_their_places() {
    let mut bench = Bench::new(|limits| {
        limits.run_timeout = HumanDuration::from_millis(100);
        limits.max_parallel_runs = 1;
    });
    for number in 0..8 {
        bench.arrive(&particle(&format!("p{number}")), "");
        bench.advance(101);
    }
    // Four hang beside the one that has the place.
    assert_eq!(bench.runs.len(), 5);
    assert_eq!(bench.engine.load().stuck, 5);
    bench.finish(data("late"));
    assert_eq!(bench.runs.len(), 4);
}

#[test]
fn expiry_ends_everything() {
    let mut bench = Bench::new(|_| {});
    bench.arrive(&particle("a"), "");
    bench.finish(calls("x", [1, 2]));
    bench.arrive(&particle("b"), "");
    bench.advance(u64::from(TTL));
    assert!(bench.cancelled.is_empty());
    bench.advance(1);
    assert_eq!(bench.cancelled, [1, 2]);
    let expired: Vec<(String, usize, bool)> = bench
        .events
        .drain(..)
        .filter_map(|event| match event {
            Event::Expired {
                particle,
                pending_calls,
                running,
                ..
            } => Some((particle.id.clone(), pending_calls, running)),
            _ => None,
        })
        .collect();
    assert_eq!(
        expired,
        [("a".to_owned(), 2, false), ("b".to_owned(), 0, true)]
    );
    bench.answer(FunctionOutcome::Empty);
    bench.finish(calls("y", [1]));
    assert!(bench.runs.is_empty() && bench.engine.is_idle());
    assert_eq!(bench.engine.counters().expired_with_work, 2);
}

#[test]
fn a_panic_in_a_run_changes_nothing() {
    let mut bench = Bench::new(|_| {});
    bench.arrive(&particle("a"), "");
    bench.finish(data("kept"));
    bench.arrive(&particle("a"), "1");
    let job = bench.runs.pop_front().unwrap();
    bench.handle(Input::RunFinished(RunFinished {
        actor: job.actor,
        run_id: job.run_id,
        outcome: Err("broken".to_owned()),
        elapsed: Duration::ZERO,
    }));
    bench.arrive(&particle("a"), "2");
    assert_eq!(bench.runs[0].prev, "kept");
    assert!(bench.events.iter().any(|event| matches!(
        event,
        Event::Executed(execution) if execution.failure.as_deref() == Some("broken")
    )));
}

#[test]
fn a_bad_next_peer_stops_all_effects_but_the_data() {
    let mut bench = Bench::new(|_| {});
    bench.arrive(&particle("a"), "");
    bench.finish(RunOutcome {
        next_peers: vec![key(2).peer_id().to_string(), "nobody".to_owned()],
        ..calls("x", [1])
    });
    assert!(bench.sent.is_empty() && bench.calls.is_empty());
    bench.arrive(&particle("a"), "1");
    assert_eq!(bench.runs[0].prev, "x");
}

#[test]
fn a_failed_run_still_has_effects() {
    let mut bench = Bench::new(|_| {});
    bench.arrive(&particle("a"), "");
    bench.finish(RunOutcome {
        ret_code: 10_006,
        next_peers: vec![key(2).peer_id().to_string()],
        ..calls("x", [1])
    });
    assert_eq!((bench.sent.len(), bench.calls.len()), (1, 1));
    assert_eq!(bench.engine.counters().failed_runs, 1);
}

#[test]
fn workers_are_scopes_of_their_own() {
    let mut bench = Bench::new(|_| {});
    let worker = key(3);
    bench.engine.add_worker(worker.clone());
    let to_worker = || RunOutcome {
        next_peers: vec![worker.peer_id().to_string()],
        ..data("host")
    };
    bench.arrive(&particle("a"), "");
    bench.finish(to_worker());
    assert!(bench.sent.is_empty());
    let run = bench.finish(RunOutcome {
        next_peers: vec![key(1).peer_id().to_string()],
        ..data("worker")
    });
    assert_eq!(run.peer_id, worker.peer_id());
    assert_eq!(run.current, "host");
    // Back at the host, which keeps data of its own.
    let run = bench.finish(data("end"));
    assert_eq!(
        (&run.prev[..], &run.current[..]),
        (&b"host"[..], &b"worker"[..])
    );

    // Deactivated workers serve nobody but managers.
    assert!(bench.engine.set_worker_active(&worker.peer_id(), false));
    bench.arrive(&particle("b"), "");
    bench.events.clear();
    bench.finish(to_worker());
    assert_eq!(bench.drops(), [DropReason::InactiveWorker]);
    assert!(!bench.engine.set_worker_active(&key(1).peer_id(), false));
    assert!(bench.engine.limit_worker_runs(&worker.peer_id(), 0));
    assert!(!bench.engine.limit_worker_runs(&key(1).peer_id(), 1));

    assert!(bench.engine.remove_worker(&worker.peer_id()));
    assert!(!bench.engine.remove_worker(&worker.peer_id()));
    assert_eq!(bench.engine.particles(), 2);
    bench.arrive(&particle("c"), "");
    bench.finish(to_worker());
    assert_eq!(bench.sent.len(), 1);
}

#[test]
fn stored_data_is_read_before_and_written_before_effects() {
    let mut bench = Bench::new(|limits| limits.persist_data = true);
    bench.arrive(&particle("a"), "in");
    assert!(bench.runs.is_empty());
    assert_eq!(bench.stored, ["load"]);
    bench.handle(Input::Loaded {
        actor: ActorId(0),
        data: Bytes::from_static(b"stored"),
    });
    assert_eq!(bench.runs[0].prev, "stored");
    let job = bench.runs.pop_front().unwrap();
    bench.engine.handle(
        Input::RunFinished(RunFinished {
            actor: job.actor,
            run_id: job.run_id,
            outcome: Ok(calls("new", [1])),
            elapsed: Duration::ZERO,
        }),
        START,
    );
    let outputs: Vec<Output> = std::iter::from_fn(|| bench.engine.poll_output()).collect();
    let save = outputs
        .iter()
        .position(|o| matches!(o, Output::Save { .. }));
    let call = outputs.iter().position(|o| matches!(o, Output::Call(_)));
    assert!(save < call && save.is_some(), "{outputs:?}");
    bench.advance(u64::from(TTL) + 1);
    assert_eq!(bench.stored, ["load", "forget"]);
}

#[test]
fn calls_of_one_particle_are_limited() {
    let mut bench = Bench::new(|limits| limits.max_parallel_calls = 2);
    bench.arrive(&particle("a"), "");
    bench.finish(calls("x", 1..=5));
    assert_eq!(bench.calls.len(), 2);
    let mut order = Vec::new();
    while !bench.calls.is_empty() {
        order.push(bench.answer(FunctionOutcome::Empty));
        assert!(bench.calls.len() <= 2);
    }
    assert_eq!(order, [1, 2, 3, 4, 5]);
}

#[test]
fn what_is_done_holds_its_data_only() {
    let mut bench = Bench::new(|limits| limits.max_parallel_calls = 1);
    for id in ["a", "b"] {
        let particle = particle(id);
        bench.arrive(&particle, "1");
        bench.arrive(&particle, "2");
        bench.finish(calls("x", [1, 2]));
        bench.finish(data("y"));
        bench.answer(FunctionOutcome::Empty);
        bench.finish(data("z"));
        bench.answer(FunctionOutcome::Empty);
        bench.finish(data("z"));
    }
    assert!(bench.engine.is_idle());
    let actors: Vec<_> = bench.engine.actors.values().collect();
    for actor in &actors {
        assert_eq!(actor.inbox.capacity() + actor.waiting_calls.capacity(), 0);
        assert!(actor.calls.is_empty() && actor.results.is_empty());
    }
    assert_eq!(bench.engine.held_bytes(), 2);
}

#[test]
fn results_and_data_have_a_place_or_are_refused() {
    let mut bench = Bench::new(|limits| limits.max_data_total = ByteSize(30));
    bench.arrive(&particle("a"), "in");
    bench.finish(calls("0123456789", [1, 2, 3]));
    assert_eq!(bench.engine.held_bytes(), 10);
    let text = |length: usize| FunctionOutcome::value(&"x".repeat(length - 2));
    bench.answer(text(5));
    // It runs with the first result; its bytes count until the run has ended.
    assert_eq!(bench.engine.held_bytes(), 15);
    bench.answer(text(15));
    assert_eq!(bench.engine.held_bytes(), 30);
    bench.answer(text(5));
    bench.finish(data("0123456789"));
    let run = bench.finish(data(&"y".repeat(31)));
    assert_eq!(run.results[&2].result.len(), 15);
    assert_eq!(
        (run.results[&3].ret_code, &*run.results[&3].result),
        (
            1,
            r#""a result of 5 bytes is not kept: the data of all particles exceeds 30 bytes""#,
        )
    );
    // The data before stay.
    assert_eq!(bench.engine.held_bytes(), 10);
    let failures = bench.events.iter().filter_map(|event| match event {
        Event::Executed(execution) => execution.failure.clone(),
        _ => None,
    });
    assert_eq!(
        failures.collect::<Vec<_>>(),
        ["data of 31 bytes are not kept: the data of all particles exceeds 30 bytes"]
    );
    assert_eq!(bench.engine.counters().failed_runs, 1);
    bench.advance(u64::from(particle("a").ttl) + 1);
    assert_eq!(bench.engine.held_bytes(), 0);
}
