//! Peers that cheat, among peers that do not.

use super::*;
use crate::simulator::{Adversary, Violation, adversary::results};

/// Asks one peer after the other, the second being the liar, and notes what the last one says.
fn chain(bench: &Bench) -> String {
    let [first, liar, last] = [0, 1, 2].map(|index| bench.id(bench.others[index]));
    format!(
        r#"(seq
             (seq (call "{first}" ("op" "identity") [10] a)
                  (call "{liar}" ("op" "identity") [20] b))
             (seq (call "{last}" ("array" "sum") [[] ] zero)
                  (seq (call "{last}" ("op" "array") [a b] both)
                       (call "{alice}" ("note" "it") [a]))))"#,
        alice = bench.id(bench.alice),
    )
}

fn bench_with(seed: u64, adversary: Adversary) -> Bench {
    let mut bench = Bench::new(seed, 3, &limits());
    bench.simulator.record_events();
    bench.simulator.record_calls();
    bench.simulator.corrupt(bench.others[1], adversary);
    bench
}

/// Codes other than 0 with which peers ended runs.
fn codes(bench: &mut Bench) -> Vec<(SimPeer, i64)> {
    let events = bench.simulator.take_events();
    let codes = events.into_iter().filter_map(|(peer, event)| match event {
        Event::Executed(execution) => Some((peer, execution.ret_code)),
        _ => None,
    });
    codes.filter(|(_, code)| *code != 0).collect()
}

#[test]
fn nobody_honest_believes_what_was_not_said() {
    for adversary in [
        Adversary::Equivocate,
        Adversary::Forge,
        Adversary::Truncate,
        Adversary::Replay,
        Adversary::Flood { copies: 20 },
    ] {
        for seed in 0..10 {
            let mut bench = bench_with(seed, adversary);
            bench.simulator.set_default_link(Link {
                latency_ms: (1, 200),
                loss_per_mille: 0,
                duplicate_per_mille: 200,
            });
            for script in [chain(&bench), bench.ask_all()] {
                bench.start(&script);
            }
            bench.idle();
            let violations = bench.simulator.violations();
            assert!(
                violations.is_empty(),
                "{adversary:?}, seed {seed}: {violations:?}"
            );
            // The branches without the liar are not hurt.
            let notes = std::mem::take(&mut *bench.notes.lock().unwrap());
            assert!(
                notes.contains(&json!(0)) && notes.contains(&json!(2)),
                "{adversary:?}, seed {seed}: {notes:?}"
            );
            bench.simulator.run_for(u64::from(TTL) + 1);
            assert!(bench.simulator.violations().is_empty());
            for peer in bench.simulator.peers() {
                assert_eq!(bench.simulator.engine(peer).unwrap().particles(), 0);
            }
        }
    }
}

#[test]
fn what_is_forged_or_cut_is_refused() {
    for adversary in [Adversary::Forge, Adversary::Truncate] {
        let mut bench = bench_with(3, adversary);
        let script = chain(&bench);
        bench.start(&script);
        bench.idle();
        assert!(bench.notes().is_empty());
        let last = bench.others[2];
        let codes = codes(&mut bench);
        assert!(
            codes
                .iter()
                .any(|(peer, code)| *peer == last && (1..=9).contains(code)),
            "{adversary:?}: {codes:?}"
        );
    }
}

#[test]
fn two_stories_are_noticed_where_they_meet() {
    let mut bench = bench_with(5, Adversary::Equivocate);
    let [first, liar, last] = [0, 1, 2].map(|index| bench.id(bench.others[index]));
    let script = format!(
        r#"(seq (call "{liar}" ("op" "identity") ["truth"] told)
                (par (seq (call "{first}" ("op" "identity") [told] one)
                          (call "{alice}" ("note" "it") [1]))
                     (seq (call "{last}" ("op" "identity") [told] two)
                          (call "{alice}" ("note" "it") [2]))))"#,
        alice = bench.id(bench.alice),
    );
    let particle = bench.start(&script);
    bench.idle();
    let told = |peer: usize| {
        let data = bench
            .simulator
            .data(bench.others[peer], &particle.signature);
        let results = results(data.unwrap());
        let told = results.into_iter().find(|(peer, _)| *peer == liar);
        told.unwrap().1
    };
    assert_eq!(
        (told(0), told(2)),
        ("\"story 1\"".into(), "\"story 3\"".into())
    );
    assert_eq!(bench.notes().len(), 1, "the second story is not merged");
    let alice = bench.alice;
    let codes = codes(&mut bench);
    assert!(
        codes
            .iter()
            .any(|(peer, code)| *peer == alice && *code == 9),
        "{codes:?}"
    );
    assert!(bench.simulator.violations().is_empty());
}

#[test]
fn repetition_and_floods_change_nothing() {
    for adversary in [Adversary::Replay, Adversary::Flood { copies: 50 }] {
        let mut bench = bench_with(8, adversary);
        let script = bench.ask_all();
        bench.start(&script);
        let script = chain(&bench);
        bench.start(&script);
        bench.idle();
        assert_eq!(bench.notes(), [0, 1, 2, 10], "{adversary:?}");
    }
}

#[test]
fn a_flood_stays_within_the_limits() {
    let limits = EngineLimits {
        max_actors: 30,
        max_queued_per_particle: 4,
        ..limits()
    };
    let mut bench = Bench::new(2, 3, &limits);
    bench.simulator.record_calls();
    bench
        .simulator
        .corrupt(bench.others[1], Adversary::Flood { copies: 500 });
    let script = bench.ask_all();
    bench.start(&script);
    bench.idle();
    for peer in bench.simulator.peers() {
        assert!(bench.simulator.engine(peer).unwrap().particles() <= 30);
    }
    assert!(bench.simulator.violations().is_empty());
}

/// The checks find something where there is something to find.
#[test]
fn violations_are_found() {
    let mut bench = Bench::new(9, 3, &limits());
    let script = chain(&bench);
    bench.start(&script);
    bench.idle();
    // What was returned before nobody wrote it down.
    bench.simulator.record_calls();
    let violations = bench.simulator.violations();
    assert!(
        violations.iter().any(|violation| matches!(
            violation,
            Violation::Invented { holder, service_id, value, .. }
                if *holder == bench.alice && service_id == "op" && value == "10"
        )),
        "{violations:?}"
    );
}
