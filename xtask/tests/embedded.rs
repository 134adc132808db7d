//! The state machine gives the same bytes here and as a Wasm module.

#![cfg(feature = "marine")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

use aquavm::{
    Limits, Outcome, RunParameters, Script,
    verify::{Subject, verify},
};
use marine_runtime::Engine;
use xtask::{
    conformance::particle_data_calls,
    embedded::{MAX_SIZE, Machine, Module, build},
    guest::is_required,
};

#[test]
fn recorded_runs_give_the_same_bytes_in_wasm() {
    let Some(wasm) = build().unwrap() else {
        assert!(!is_required(), "AQUAMARINE_REQUIRE asks for guest");
        return;
    };
    assert!(wasm.len() <= MAX_SIZE, "{} bytes", wasm.len());
    let module = Module::compile(Engine::wasmtime().unwrap(), &wasm).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/particle-data");
    let calls = particle_data_calls(&folder).unwrap();
    assert!(calls.len() > 100, "{} calls", calls.len());
    let mut machine = module.start().unwrap();
    let mut verified = 0;
    for (name, call) in &calls {
        let native = call.invoke();
        let inside: Outcome<Vec<u8>> = machine
            .invoke(
                &call.script,
                &call.previous,
                &call.current,
                &call.parameters,
                &call.results,
            )
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(inside, native, "{name}");
        verified += usize::from(same_report(
            &mut machine,
            &call.script,
            &call.parameters,
            &native.data,
        ));
    }
    assert!(verified > 100, "only {verified} of the data prove anything");
}

/// Compares what the data prove here and in Wasm; whether they prove anything.
fn same_report(
    machine: &mut Machine,
    script: &str,
    parameters: &RunParameters,
    data: &[u8],
) -> bool {
    let subject = Subject {
        init_peer_id: parameters.init_peer_id.clone(),
        particle_id: parameters.particle_id.clone(),
        timestamp: parameters.timestamp,
        ttl: parameters.ttl,
        compat: parameters.compat,
        limits: Limits::for_strangers(),
    };
    let inside = machine.verify(script, data, &subject).unwrap();
    let native = match Script::parse(script) {
        Err(error) => Err((1, error.to_string())),
        Ok(script) => match verify(&script, data, &subject) {
            Err(error) => Err((error.code(), error.to_string())),
            Ok(verification) => Ok(serde_json::to_string(&verification).unwrap()),
        },
    };
    assert_eq!(inside, native, "{script}");
    native.is_ok()
}
