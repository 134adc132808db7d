//! A host in the simulator: hours of spells in virtual time.

use std::sync::{Arc, Mutex};

use futures::stream;
use particle::KeyPair;
use peer_core::{
    builtins::Guard,
    deployment::{Deployment, DeploymentConfig, DeploymentParts},
    host::{FunctionOutcome, HostChain, NativeFunctions},
    services::{Inline, Marine, Services},
    simulator::{PeerOptions, Simulator},
    spells::TriggerConfig,
    store::MemoryStore,
};
use serde_json::{Value, json};

use super::modules::spell_modules;

/// Creates a worker, and a spell on it.
const INSTALL: &str = r#"
    (seq
        (seq
            (seq
                (call "HOST" ("test" "units") [] units)
                (call "HOST" ("worker" "create") ["deal" units] worker))
            (seq
                (seq
                    (call "HOST" ("test" "script") [] script)
                    (call "HOST" ("test" "data") [] data))
                (call "HOST" ("test" "config") [] config)))
        (call worker ("spell" "install") [script data config "spell-of-deal"] id))"#;

/// What the spell does.
const SCRIPT: &str = r#"(call %init_peer_id% ("op" "noop") [] x)"#;

const ASK: &str = r#"
    (seq
        (seq
            (call "HOST" ("worker" "get_worker_id") ["deal"] workers)
            (call workers.$.[0] ("spell-of-deal" "get_u32") ["hw_counter"] counter))
        (call "HOST" ("test" "answer") [counter]))"#;

#[test]
fn an_hour_of_minutes() {
    let folder = tempfile::tempdir().unwrap();
    let Some(modules) = spell_modules(folder.path()) else {
        return;
    };
    let mut simulator = Simulator::new(5);
    let key = Arc::new(KeyPair::from_seed(&[2; 32]));
    let services = Arc::new(Services::new(Arc::new(Inline), simulator.clock()));
    let parts = DeploymentParts {
        key: key.clone(),
        marine: Marine::new(marine_runtime::Engine::wasmer(), key.clone()),
        services: services.clone(),
        store: Arc::new(MemoryStore::default()),
        guard: Guard::default(),
        blocking: Arc::new(Inline),
        clock: simulator.clock(),
        chain: None,
    };
    let config = DeploymentConfig {
        spell_modules: modules,
        ..DeploymentConfig::new(folder.path().join("data"))
    };
    let deployment = Deployment::open(config, parts).unwrap();
    let answers: Arc<Mutex<Vec<Value>>> = Arc::default();
    let heard = answers.clone();
    let functions = NativeFunctions::new()
        .with("test", "units", |_| FunctionOutcome::value(&json!([])))
        .with("test", "script", |_| FunctionOutcome::value(SCRIPT))
        .with("test", "data", |_| FunctionOutcome::value(&json!({})))
        .with("test", "config", |_| {
            FunctionOutcome::value(&TriggerConfig::periodic(60))
        })
        .with("test", "answer", move |call| {
            heard
                .lock()
                .unwrap()
                .push(call.arguments().next("answer").unwrap());
            FunctionOutcome::Empty
        });
    let host = HostChain::new()
        .with(Arc::new(functions))
        .with(Arc::new(deployment.clone()))
        .with(services);
    let options = PeerOptions::new("host").with_key(key.clone());
    let peer = simulator.add_peer(options.with_host(Arc::new(host)));
    deployment.attach(Arc::new(simulator.control(peer).unwrap()));
    let spells = deployment.spells().clone();
    let driven = async move { spells.drive(stream::pending()).await };
    simulator.spawn(peer, driven).unwrap();

    let script = |text: &str| text.replace("HOST", &key.peer_id().to_string());
    simulator.start(peer, &script(INSTALL), 7_000).unwrap();
    simulator.run_for(3_600_500);
    simulator.start(peer, &script(ASK), 7_000).unwrap();
    simulator.run_for(1_000);
    let counter = answers.lock().unwrap().pop().unwrap();
    // At once, and after each of sixty minutes.
    assert_eq!(counter["value"], 61, "{counter}");
    let counters = deployment.spells().counters();
    assert_eq!((counters.fired, counters.failed), (61, 0));
}
