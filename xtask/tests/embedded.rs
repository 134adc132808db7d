//! The state machine gives the same bytes here and as a Wasm module.

#![cfg(feature = "marine")]

use std::path::Path;

use aquavm::Outcome;
use marine_runtime::Engine;
use xtask::{
    conformance::particle_data_calls,
    embedded::{MAX_SIZE, Module, build},
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
    }
}
