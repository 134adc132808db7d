use particle::{
    KeyPair, Signer as _,
    data::{CallState, Data, Envelope, SignedCids, State, Versions, sign_cids, stored_public_key},
};

use super::*;
use crate::{CallResult, CallResults, RunParameters, step};

fn key(number: u8) -> KeyPair {
    KeyPair::from_seed(&[number; 32])
}

fn id(number: u8) -> String {
    key(number).peer_id().to_string()
}

fn subject() -> Subject {
    Subject {
        init_peer_id: id(1),
        particle_id: "particle-1".to_owned(),
        timestamp: 1,
        ttl: 7000,
        compat: Compat::V0_64,
        limits: Limits::for_strangers(),
    }
}

/// The script with `A`, `B` and `C` for peers 1 to 3.
fn script(text: &str) -> Script {
    let text = text
        .replace("\"A\"", &format!("\"{}\"", id(1)))
        .replace("\"B\"", &format!("\"{}\"", id(2)))
        .replace("\"C\"", &format!("\"{}\"", id(3)));
    Script::parse(&text).unwrap()
}

/// Runs the script at peer `number` until its host has nothing to do; a call of `f` returns `"f"`,
/// one of `fail` fails.
fn run_at(script: &Script, number: u8, previous: &[u8], current: &[u8]) -> Vec<u8> {
    let subject = subject();
    let parameters = RunParameters {
        init_peer_id: subject.init_peer_id,
        current_peer_id: id(number),
        timestamp: subject.timestamp,
        ttl: subject.ttl,
        particle_id: subject.particle_id,
        key: key(number).into(),
        limits: Default::default(),
        compat: subject.compat,
        check_signatures: true,
        policy: Default::default(),
    };
    let mut outcome = step(script, previous, current, &parameters, &CallResults::new());
    while !outcome.call_requests.is_empty() {
        let answer = |name: &str| CallResult {
            ret_code: i32::from(name == "fail"),
            result: format!("{name:?}"),
        };
        let results = outcome.call_requests.iter();
        let results = results.map(|(id, request)| (*id, answer(&request.function_name)));
        outcome = step(script, &outcome.data, &[], &parameters, &results.collect());
    }
    outcome.data
}

/// Runs the script at peers 1 to 3, one after the other.
fn run(script: &Script) -> Vec<u8> {
    (1..=3).fold(Vec::new(), |data, number| {
        run_at(script, number, &[], &data)
    })
}

const SCRIPT: &str = r#"(seq (call "A" ("s" "one") ["x"] x)
    (seq (call "B" ("s" "two") [x] $s)
    (seq (call "B" ("s" "log") [x])
    (seq (canon "B" $s #c)
         (call "C" ("s" "three") [#c x] z)))))"#;

fn changed(data: &[u8], change: impl FnOnce(&mut Data<'_>)) -> Vec<u8> {
    let envelope = Envelope::decode(data).unwrap();
    let mut data = envelope.data().unwrap();
    change(&mut data);
    data.encode(&Versions::of_interpreter(
        Compat::V0_64.interpreter_version(),
    ))
    .unwrap()
}

fn code(script: &Script, data: &[u8]) -> i64 {
    verify(script, data, &subject()).unwrap_err().code()
}

#[test]
fn each_step_says_who_did_what() {
    let script = script(SCRIPT);
    let verification = verify(&script, &run(&script), &subject()).unwrap();
    let signers: Vec<_> = verification
        .steps
        .iter()
        .map(|step| step.signed_by.clone())
        .collect();
    let [a, b, c] = [1, 2, 3].map(|number| Some(id(number)));
    assert_eq!(signers, [a, b.clone(), None, b, c]);
    assert_eq!(verification.ending, Ending::Complete);
    assert_eq!(verification.unreached, []);
    assert_eq!(verification.signers[&id(2)], 2);
    let Event::Call {
        peer,
        service,
        function,
        argument_hash,
        end: CallEnd::Returned { value, .. },
    } = &verification.steps[1].event
    else {
        panic!("{:?}", verification.steps[1]);
    };
    assert_eq!((&**peer, &**service, &**function), (&*id(2), "s", "two"));
    let hash = particle::cid::value_cid(r#"["one"]"#);
    assert_eq!(argument_hash.as_deref(), Some(&*hash));
    assert_eq!(&**value, "\"two\"");
    assert_eq!(verification.steps[2].unproven, [Unproven::UnusedResult]);
    let Event::Canon {
        result: Some(CanonResult { values, .. }),
        ..
    } = &verification.steps[3].event
    else {
        panic!("{:?}", verification.steps[3]);
    };
    assert_eq!(
        values.iter().map(|text| &**text).collect::<Vec<_>>(),
        ["\"two\""]
    );
    assert_eq!(verification.steps[3].unproven, [Unproven::Completeness]);
}

#[test]
fn a_beginning_is_valid_and_says_what_comes_next() {
    let script = script(SCRIPT);
    let data = run_at(&script, 1, &[], &[]);
    let verification = verify(&script, &data, &subject()).unwrap();
    assert_eq!(verification.ending, Ending::Waiting);
    assert_eq!(verification.steps[1].unproven, [Unproven::Forwarding]);
    let nothing = verify(&script, &[], &subject()).unwrap();
    assert_eq!(nothing.steps.len(), 1);
    assert_eq!(nothing.steps[0].position, None);
}

#[test]
fn failures_are_signed_as_well() {
    let script = script(r#"(seq (call "A" ("s" "fail") [] x) (call "B" ("s" "two") [x] y))"#);
    let verification = verify(&script, &run_at(&script, 1, &[], &[]), &subject()).unwrap();
    assert_eq!(verification.steps[0].signed_by, Some(id(1)));
    assert!(matches!(
        &verification.ending,
        Ending::Failed { code: 10000, .. }
    ));
}

#[test]
fn a_forged_value_is_refused() {
    let script = script(SCRIPT);
    let forged = changed(&run(&script), |data| {
        let cid = data
            .cid_info
            .values
            .iter()
            .find(|(_, text)| **text == "\"two\"");
        let cid = cid.unwrap().0;
        data.cid_info.values.insert(cid, "\"six\"");
    });
    assert_eq!(code(&script, &forged), 8);
}

#[test]
fn a_dropped_state_is_refused() {
    let script = script(SCRIPT);
    let dropped = changed(&run(&script), |data| drop(data.trace.remove(3)));
    assert_eq!(code(&script, &dropped), 9);
}

#[test]
fn a_dropped_signature_is_refused() {
    let script = script(SCRIPT);
    let owner = stored_public_key(key(2).public_key()).unwrap();
    let dropped = changed(&run(&script), |data| {
        let signatures = data.signatures.iter();
        data.signatures = signatures.filter(|(key, _)| *key != owner).collect();
    });
    assert_eq!(code(&script, &dropped), 9);
}

#[test]
fn a_replay_is_refused() {
    let script = script(SCRIPT);
    let data = run(&script);
    let other = Subject {
        particle_id: "particle-2".to_owned(),
        ..subject()
    };
    assert_eq!(verify(&script, &data, &other).unwrap_err().code(), 9);
    // The same id with another script: nothing but the arguments and names can tell.
    let other = self::script(&SCRIPT.replace("two", "six"));
    assert_eq!(code(&other, &data), 20017);
}

#[test]
fn a_foreign_signature_is_refused() {
    let script = script(SCRIPT);
    let data = run(&script);
    let owner = stored_public_key(key(2).public_key()).unwrap();
    let envelope = Envelope::decode(&data).unwrap();
    let signed = SignedCids::collect(&envelope.data().unwrap()).unwrap();
    let mut cids = signed.get(&id(2)).to_vec();
    let signature = sign_cids(&key(3), &mut cids, "particle-1");
    let foreign = changed(&data, |data| {
        // What is inserted has to live as long as the data.
        let signature: &'static [u8] = Vec::leak(signature.to_vec());
        let owner: &'static [u8] = Vec::leak(owner.to_vec());
        data.signatures.insert(owner, signature);
    });
    assert_eq!(code(&script, &foreign), 9);
}

#[test]
fn a_signed_result_for_other_arguments_is_refused() {
    let honest = script(SCRIPT);
    let other = script(&SCRIPT.replace("\"x\"", "\"y\""));
    // Peer 1 answered a call with other arguments than the script gives.
    let data = run_at(&other, 1, &[], &[]);
    assert_eq!(code(&honest, &data), 20017);
}

#[test]
fn a_forged_unused_result_is_told_not_to_be_proven() {
    let script = script(r#"(seq (call "A" ("s" "one") [] x) (call "B" ("s" "log") [x]))"#);
    let forged = changed(&run_at(&script, 1, &[], &[]), |data| {
        data.trace[1] = State::Call(CallState::Unused("bagaaihra"));
    });
    let verification = verify(&script, &forged, &subject()).unwrap();
    assert_eq!(verification.steps[1].signed_by, None);
    assert_eq!(verification.steps[1].unproven, [Unproven::UnusedResult]);
}

#[test]
fn states_that_the_script_does_not_reach_are_told() {
    let long = script(SCRIPT);
    let short = script(r#"(call "A" ("s" "one") ["x"] x)"#);
    let verification = verify(&short, &run(&long), &subject()).unwrap();
    assert_eq!(verification.steps.len(), 1);
    let unreached: Vec<_> = verification
        .unreached
        .iter()
        .map(|state| (state.position, state.signed_by.clone()))
        .collect();
    let [b, c] = [2, 3].map(|number| Some(id(number)));
    assert_eq!(unreached, [(1, b.clone()), (2, None), (3, b), (4, c)]);
}

#[test]
fn a_replay_stops_where_it_is_told_to() {
    let script = script(SCRIPT);
    let data = run(&script);
    let at = |steps| replay(&script, &data, &subject(), steps).unwrap();
    assert_eq!(at(0).variables.len(), 0);
    let second = at(2);
    assert_eq!(second.step.unwrap().position, Some(1));
    let names: Vec<_> = second.variables.iter().collect();
    assert_eq!(
        names,
        [
            (&"$s".to_owned(), &"[\"two\"]".to_owned()),
            (&"x".to_owned(), &"\"one\"".to_owned())
        ]
    );
    assert_eq!(at(100).variables["#c"], "[\"two\"]");
    assert_eq!(at(100).variables["z"], "\"three\"");
}

#[test]
fn local_policy_refuses_what_nobody_could_verify() {
    let long = script(SCRIPT);
    let short = script(r#"(call "A" ("s" "one") ["x"] x)"#);
    let data = run(&long);
    let subject = subject();
    let mut parameters = RunParameters {
        init_peer_id: subject.init_peer_id,
        current_peer_id: id(4),
        timestamp: subject.timestamp,
        ttl: subject.ttl,
        particle_id: subject.particle_id,
        key: key(4).into(),
        limits: Default::default(),
        compat: subject.compat,
        check_signatures: true,
        policy: Default::default(),
    };
    let at_4 = |script: &Script, parameters: &RunParameters| {
        step(script, &[], &data, parameters, &CallResults::new())
    };
    let accepted = at_4(&short, &parameters);
    assert_eq!(accepted.ret_code, 0);
    // What peers 2 and 3 signed is gone, their signatures are not.
    assert_eq!(code(&short, &accepted.data), 9);
    parameters.policy.refuse_unreached_states = true;
    let refused = at_4(&short, &parameters);
    assert_eq!((refused.ret_code, refused.data.len()), (9, 0));
    assert_eq!(at_4(&long, &parameters).ret_code, 0);
}

#[test]
fn local_policy_drops_what_nothing_refers_to() {
    let script = script(SCRIPT);
    let honest = run(&script);
    let bloated = changed(&honest, |data| {
        let cid: &'static str = String::leak(particle::cid::value_cid("\"bloat\"").to_string());
        data.cid_info.values.insert(cid, "\"bloat\"");
    });
    assert!(bloated.len() > honest.len());
    let dropped = changed(&bloated, |data| data.drop_unreferenced());
    assert_eq!(dropped, honest);
}

#[test]
fn garbage_is_refused() {
    let script = script("(null)");
    assert_eq!(code(&script, b"garbage"), 3);
    assert_eq!(code(&script, &[0x80]), 3);
}

#[test]
fn following_a_script_without_end_ends() {
    // Folds in folds in folds over a hundred values.
    let folds = (0..5).rev().fold("(null)".to_owned(), |body, level| {
        format!("(fold #s i{level} (seq {body} (next i{level})))")
    });
    let filled = (0..100).fold(String::new(), |rest, _| format!("(seq (ap 1 $s) {rest}"));
    let script = script(&format!(
        "{filled} (seq (canon \"A\" $s #s) {folds}){}",
        ")".repeat(100)
    ));
    let data = {
        let parameters = RunParameters {
            init_peer_id: id(1),
            current_peer_id: id(1),
            timestamp: 1,
            ttl: 7000,
            particle_id: subject().particle_id,
            key: key(1).into(),
            limits: Limits::default(),
            compat: Compat::V0_64,
            check_signatures: true,
            policy: Default::default(),
        };
        // Of a script with the same beginning, which ends.
        let short = Script::parse(&script.text().replace(&folds, "(null)")).unwrap();
        step(&short, &[], &[], &parameters, &CallResults::new()).data
    };
    let mut bounded = subject();
    bounded.limits.steps = 100_000;
    let refused = verify(&script, &data, &bounded).unwrap_err();
    assert_eq!(refused.code(), 20_000);
    assert_eq!(
        refused.to_string(),
        "the script executes more than 100000 instructions"
    );
}
