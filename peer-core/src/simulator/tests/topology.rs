//! Scripts that gather results over several peers: folds, joins and paths, as compilers make them.
//! Whatever the seed, everything arrives completely and once.

use super::*;

/// Runs `script` with `{alice}`, `{p0}`, `{p1}`, `{p2}` filled in, and returns what was noted,
/// sorted by its text.
fn gathered(seed: u64, script: &str) -> Vec<Value> {
    let mut bench = Bench::new(seed, 3, &limits());
    bench.simulator.record_calls();
    bench.simulator.set_default_link(Link {
        latency_ms: (1, 300),
        loss_per_mille: 0,
        duplicate_per_mille: 100,
    });
    let mut script = script.replace("{alice}", &bench.id(bench.alice).to_string());
    for (number, &peer) in bench.others.iter().enumerate() {
        script = script.replace(&format!("{{p{number}}}"), &bench.id(peer).to_string());
    }
    bench.start(&script);
    bench.idle();
    let violations = bench.simulator.violations();
    assert!(violations.is_empty(), "seed {seed}: {violations:?}");
    let mut notes = std::mem::take(&mut *bench.notes.lock().unwrap());
    notes.sort_by_key(Value::to_string);
    notes
}

fn check(script: &str, expected: &[Value]) {
    for seed in 0..8 {
        assert_eq!(gathered(seed, script), expected, "seed {seed}");
    }
}

/// Continues `body` when `stream` has `count` values: they are in `#seen` then.
fn join(stream: &str, count: usize, body: &str) -> String {
    format!(
        r#"(new $watched
             (fold {stream} value
               (seq (seq (ap value $watched) (canon "{{alice}}" $watched #watched))
                    (xor (match #watched.length {count}
                           (seq (canon "{{alice}}" $watched #seen) {body}))
                         (next value)))
               (never)))"#
    )
}

#[test]
fn a_value_hops_over_all_peers_and_back() {
    check(
        r#"(seq (seq (call "{p0}" ("op" "identity") ["hop"] a)
                     (call "{p1}" ("op" "identity") [a] b))
                (seq (call "{p2}" ("op" "identity") [b] c)
                     (call "{alice}" ("note" "it") [c])))"#,
        &[json!("hop")],
    );
}

#[test]
fn the_initiator_is_the_same_on_every_hop() {
    let script = r#"
        (seq (seq (call "{p0}" ("op" "identity") [%init_peer_id%] a)
                  (call "{p1}" ("op" "array") [a %init_peer_id%] b))
             (seq (call "{p2}" ("array" "dedup") [b] c)
                  (seq (call "{alice}" ("op" "array_length") [c] one)
                       (call %init_peer_id% ("note" "it") [one]))))"#;
    check(script, &[json!(1)]);
}

#[test]
fn branches_join() {
    check(
        r#"(seq (par (call "{p0}" ("op" "identity") [1] a)
                     (par (call "{p1}" ("op" "identity") [2] b)
                          (call "{p2}" ("op" "identity") [3] c)))
                (seq (call "{alice}" ("op" "array") [a b c] all)
                     (call "{alice}" ("note" "it") [all])))"#,
        &[json!([1, 2, 3])],
    );
}

const PEERS: &str = r#"(call "{alice}" ("op" "array") ["{p0}" "{p1}" "{p2}"] peers)"#;

#[test]
fn three_folds_in_parallel() {
    let script = format!(
        r#"(seq {PEERS}
             (seq
               (fold peers x (par
                 (fold peers y (par
                   (fold peers z (par
                     (seq (seq (call x ("op" "identity") [1] a) (call y ("op" "identity") [2] b))
                          (seq (call z ("op" "array") [a b 3] c) (call "{{alice}}" ("note" "it") [c])))
                     (next z)))
                   (next y)))
                 (next x)))
               (null)))"#
    );
    check(&script, &vec![json!([1, 2, 3]); 27]);
}

#[test]
fn three_folds_in_parallel_are_joined() {
    let script = format!(
        r#"(seq {PEERS}
             (new $results
               (par
                 (fold peers x (par
                   (fold peers y (par
                     (fold peers z (par
                       (seq (call x ("op" "identity") [1] a)
                            (seq (call y ("op" "identity") [a] b) (call z ("op" "identity") [b] $results)))
                       (next z)))
                     (next y)))
                   (next x)))
                 {})))"#,
        join("$results", 27, r#"(call "{alice}" ("note" "it") [#seen])"#)
    );
    check(&script, &[json!(vec![1; 27])]);
}

#[test]
fn sequential_folds_around_parallel_ones() {
    let script = format!(
        r#"(seq {PEERS}
             (new $results
               (seq
                 (fold peers x
                   (seq
                     (fold peers y (par (call y ("op" "identity") [1] $results) (next y)) (null))
                     (next x)))
                 {})))"#,
        join("$results", 9, r#"(call "{alice}" ("note" "it") [#seen])"#)
    );
    check(&script, &[json!(vec![1; 9])]);
}

#[test]
fn a_stream_is_folded_on_the_peer_that_fills_it() {
    let script = r#"
        (new $values
          (seq
            (seq (call "{p0}" ("op" "identity") [1] $values)
                 (seq (call "{p0}" ("op" "identity") [2] $values) (call "{p0}" ("op" "identity") [3] $values)))
            (fold $values value
              (par (seq (call "{p0}" ("op" "identity") [value] same)
                        (call "{alice}" ("note" "it") [same]))
                   (next value)))))"#;
    check(script, &[json!(1), json!(2), json!(3)]);
}

#[test]
fn pairs_are_joined() {
    let script = format!(
        r#"(seq {PEERS}
             (new $pairs
               (par
                 (fold peers x (par
                   (fold peers y (seq
                     (seq (call x ("op" "identity") ["x"] a)
                          (call y ("op" "array") [a "y"] $pairs))
                     (next y)))
                   (next x)))
                 {})))"#,
        join(
            "$pairs",
            9,
            r#"(seq (call "{alice}" ("op" "array_length") [#seen] count)
                    (call "{alice}" ("note" "it") [count]))"#
        )
    );
    check(&script, &[json!(9)]);
}

#[test]
fn a_path_is_walked_out_and_back() {
    let script = format!(
        r#"(seq {PEERS}
             (seq
               (fold peers via (seq (call via ("op" "noop") []) (next via)))
               (seq
                 (call "{{p1}}" ("op" "identity") ["reached"] result)
                 (seq
                   (fold peers via (seq (next via) (call via ("op" "noop") [])))
                   (call "{{alice}}" ("note" "it") [result])))))"#
    );
    check(&script, &[json!("reached")]);
}

#[test]
fn an_empty_stream_joins_at_once() {
    check(
        r#"(new $nothing
             (seq (canon "{p0}" $nothing #nothing)
                  (seq (call "{p1}" ("op" "array_length") [#nothing] none)
                       (seq (call "{alice}" ("note" "it") [none])
                            (call "{alice}" ("note" "it") [#nothing])))))"#,
        &[json!(0), json!([])],
    );
}

#[test]
fn the_faster_of_two_wins() {
    check(
        r#"(seq
             (par (call "{p0}" ("peer" "timeout") [20000 "slow"] $fastest)
                  (call "{alice}" ("peer" "timeout") [1000 "fast"] $fastest))
             (seq (canon "{alice}" $fastest #fastest)
                  (call "{alice}" ("note" "it") [#fastest.$.[0]])))"#,
        &[json!("fast")],
    );
}

#[test]
fn an_error_takes_the_other_branch_with_its_reason() {
    let script = r#"
        (xor (seq (call "{p0}" ("math" "add") ["one" 2] sum)
                  (call "{alice}" ("note" "it") [sum]))
             (call "{alice}" ("note" "it") [:error:.$.peer_id]))"#;
    for seed in 0..4 {
        let notes = gathered(seed, script);
        let mut simulator = Simulator::new(seed);
        let ids: Vec<String> = ["alice", "p0"]
            .map(|name| simulator.add_peer(PeerOptions::new(name)))
            .map(|peer| simulator.peer_id(peer).unwrap().to_string())
            .into();
        assert_eq!(notes, [json!(ids[1])]);
    }
}
