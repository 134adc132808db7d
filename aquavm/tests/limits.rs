//! Every limit holds at its value and not beyond, with the code that says which one it was.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use aquavm::{
    CallResult, CallResults, Limits, Outcome, RunParameters, Script, encode_call_results, invoke,
    step,
};
use particle::KeyPair;

fn parameters(change: impl FnOnce(&mut Limits)) -> RunParameters {
    let key = KeyPair::from_seed(&[1; 32]);
    let peer_id = key.peer_id().to_string();
    let mut limits = Limits {
        hard: true,
        ..Limits::default()
    };
    change(&mut limits);
    RunParameters {
        init_peer_id: peer_id.clone(),
        current_peer_id: peer_id,
        timestamp: 1,
        ttl: 1,
        particle_id: "particle".to_owned(),
        key: key.into(),
        limits,
        compat: Default::default(),
        check_signatures: true,
        policy: Default::default(),
    }
}

fn run(script: &str, current: &[u8], change: impl FnOnce(&mut Limits)) -> Outcome<Vec<u8>> {
    let results = encode_call_results(&CallResults::new());
    invoke(script, &[], current, &parameters(change), &results)
}

fn code(script: &str, change: impl FnOnce(&mut Limits)) -> i64 {
    run(script, &[], change).ret_code
}

const CALL: &str = r#"(call %init_peer_id% ("s" "f") [] x)"#;

#[test]
fn the_defaults_are_the_references() {
    let limits = Limits::default();
    let sizes = [limits.script, limits.particle, limits.call_result];
    assert_eq!(sizes, [16 << 20, 64 << 20, 32 << 20]);
    assert_eq!((limits.stream, limits.trace), (1023, u32::MAX));
    assert!(!limits.hard);
}

#[test]
fn size_of_the_script() {
    assert_eq!(code("(null)", |limits| limits.script = 6), 0);
    assert_eq!(code("(null)", |limits| limits.script = 5), 10);
    let soft = run("(null)", &[], |limits| {
        limits.script = 5;
        limits.hard = false;
    });
    assert_eq!((soft.ret_code, soft.flags.script), (0, true));
}

#[test]
fn size_of_the_data() {
    let data = run(CALL, &[], |_| {}).data;
    let size = data.len() as u64;
    let with = |limit| run(CALL, &data, |limits| limits.particle = limit);
    assert_eq!(with(size).ret_code, 0);
    let refused = with(size - 1);
    assert_eq!((refused.ret_code, refused.data.len()), (10, 0));
}

#[test]
fn size_of_a_result() {
    let data = run(CALL, &[], |_| {}).data;
    let script = Script::parse(CALL).unwrap();
    let results = [(1, CallResult::ok("[1]"))].into();
    let with = |limit| {
        let parameters = parameters(|limits| limits.call_result = limit);
        step(&script, &data, &[], &parameters, &results)
    };
    assert_eq!(with(3).ret_code, 0);
    let refused = with(2);
    assert_eq!((refused.ret_code, &refused.data), (10, &data));
    assert!(refused.flags.call_result);
}

#[test]
fn depth_of_the_script() {
    let script = "(seq (seq (null) (null)) (null))";
    assert_eq!(code(script, |limits| limits.depth = 3), 0);
    assert_eq!(code(script, |limits| limits.depth = 2), 1);
    assert!(Script::parse_with(script, 3).is_ok());
    assert!(Script::parse_with(script, 2).is_err());
}

#[test]
fn length_of_the_trace() {
    let script = "(seq (seq (ap 1 $s) (ap 2 $s)) (ap 3 $s))";
    assert_eq!(code(script, |limits| limits.trace = 3), 0);
    let refused = run(script, &[], |limits| limits.trace = 2);
    assert_eq!(refused.ret_code, 20_000);
    assert!(refused.data.is_empty());
    // Loops in loops are what makes a long trace of a short script.
    let squared = "(seq (seq (ap 1 $s) (seq (ap 2 $s) (canon %init_peer_id% $s #s))) \
        (fold #s i (seq (fold #s j (seq (ap j $t) (next j))) (next i))))";
    assert_eq!(code(squared, |limits| limits.trace = 7), 0);
    assert_eq!(code(squared, |limits| limits.trace = 6), 20_000);
}

#[test]
fn size_of_a_stream() {
    let script = "(seq (seq (ap 1 $s) (ap 2 $s)) (ap (\"k\" 3) %m))";
    assert_eq!(code(script, |limits| limits.stream = 2), 0);
    assert_eq!(code(script, |limits| limits.stream = 1), 20_013);
    let refused = run("(ap (1 1) %m)", &[], |limits| limits.stream = 0);
    assert_eq!(refused.ret_code, 20_013);
}

#[test]
fn instructions_executed() {
    assert_eq!(code("(null)", |limits| limits.steps = 1), 0);
    assert_eq!(code("(null)", |limits| limits.steps = 0), 20000);
    // Folds in folds over three values: 3 + 9 + 27 rounds of a few instructions.
    let numbers = r#"
        (seq (ap 1 $s) (seq (ap 2 $s) (seq (ap 3 $s)
            (seq (canon %init_peer_id% $s #s)
                (fold #s a (seq
                    (fold #s b (seq
                        (fold #s c (seq (null) (next c)))
                        (next b)))
                    (next a)))))))"#;
    let mut needed = 1;
    while code(numbers, |limits| limits.steps = needed) == 20000 {
        needed += 1;
    }
    assert_eq!(code(numbers, |limits| limits.steps = needed), 0);
    assert!((80..400).contains(&needed), "{needed}");
    let refused = run(numbers, &[], |limits| limits.steps = 50);
    assert_eq!(
        refused.error_message,
        "the script executes more than 50 instructions"
    );
}

#[test]
fn memory_of_values_and_requests() {
    // Each level holds the one before it twice.
    let doubled = (0..60).rev().fold(
        "(call %init_peer_id% (\"s\" \"f\") [x60])".to_owned(),
        |rest, level| {
            let next = level + 1;
            format!(
                "(seq (seq (ap x{level} $s{level}) (ap x{level} $s{level})) \
                 (seq (canon %init_peer_id% $s{level} #s{level}) \
                 (seq (ap #s{level} x{next}) {rest})))"
            )
        },
    );
    let doubled = format!("(seq (ap 0 x0) {doubled})");
    let refused = run(&doubled, &[], |limits| limits.memory = 10 << 20);
    assert_eq!((refused.ret_code, refused.data.len()), (20_000, 0));
    assert_eq!(
        refused.error_message,
        "the script makes more than 10485760 bytes of values and requests"
    );

    let long = "x".repeat(10_000);
    let request = r#"(call %init_peer_id% ("s" "f") [x x])"#;
    let many = (0..100).fold(request.to_owned(), |rest, _| {
        format!("(par {request} {rest})")
    });
    let many = format!("(seq (ap \"{long}\" x) {many})");
    assert_eq!(code(&many, |limits| limits.memory = 3 << 20), 0);
    assert_eq!(code(&many, |limits| limits.memory = 2_000_000), 20_000);
    // One call with many arguments is refused before they are put together.
    let arguments = "x ".repeat(1_000);
    let wide = format!(r#"(seq (ap "{long}" x) (call %init_peer_id% ("s" "f") [{arguments}] y))"#);
    assert_eq!(code(&wide, |limits| limits.memory = 20_000_000), 0);
    assert_eq!(code(&wide, |limits| limits.memory = 1_000_000), 20_000);
}
