//! Spells, with our own module and with the published ones.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use particle::{KeyPair, PeerId};
use peer_core::{chain::MemoryChain, client::Client, spells::TriggerConfig};
use serde_json::{Value, json};

use super::rig::{Rig, host_key, manager, reason, stranger, until};

const GREETING: &[u8] = include_bytes!("../../../examples/wasm/greeting.wasm");

/// Makes two tests of each function, which gets a rig that does not run yet.
macro_rules! with_each_module {
    ($($test:ident)*) => {
        mod own {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test(super::Rig::with_own_spells()).await;
                }
            )*
        }

        mod published {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    if let Some(rig) = super::Rig::with_published_spells() {
                        super::$test(rig).await;
                    }
                }
            )*
        }
    };
}

with_each_module! {
    a_spell_runs_keeps_its_data_and_goes
    errors_of_a_spell_are_stored
    what_is_not_installed
    once_never_and_again
    peers_that_come_and_go_start_spells
    blocks_start_spells
    only_the_worker_spell_passes_the_guard
}

/// A script that runs where the spell lives.
fn on_worker(body: &str) -> String {
    format!(
        r#"(xor
            (seq (call %init_peer_id% ("op" "noop") [] noop) {body})
            (call %init_peer_id% ("errorHandlingSrv" "error") [%last_error% 7]))"#
    )
}

/// Stores an argument, who and where the spell is, and what started it.
fn telling() -> String {
    on_worker(
        r#"(seq
            (seq
                (seq
                    (call %init_peer_id% ("getDataSrv" "greeting") [] greeting)
                    (call %init_peer_id% ("getDataSrv" "-relay-") [] relay))
                (seq
                    (call %init_peer_id% ("getDataSrv" "spell_id") [] id)
                    (call %init_peer_id% ("spell" "get_string") ["hw_trigger"] trigger)))
            (seq
                (seq
                    (call %init_peer_id% ("json" "obj") ["told" greeting "relay" relay "id" id "me" %init_peer_id%] response)
                    (call %init_peer_id% ("json" "put") [response "trigger" trigger.$.value] full))
                (call %init_peer_id% ("callbackSrv" "response") [full])))"#,
    )
}

fn install(script: &str, config: &Value, alias: &str) -> Vec<Value> {
    let mut arguments = vec![json!(script), json!({ "greeting": "hi" }), config.clone()];
    arguments.extend((!alias.is_empty()).then(|| json!(alias)));
    arguments
}

fn periodic(period_sec: u32) -> Value {
    json!(TriggerConfig::periodic(period_sec))
}

fn clock(start_sec: u64, end_sec: u64, period_sec: u64) -> Value {
    let mut config = periodic(0);
    config["clock"] =
        json!({ "start_sec": start_sec, "end_sec": end_sec, "period_sec": period_sec });
    config
}

fn never() -> Value {
    json!(TriggerConfig::default())
}

impl Rig {
    async fn install(&self, at: PeerId, script: &str, config: &Value, alias: &str) -> String {
        let id = self
            .manage(at, "spell.install", &install(script, config, alias))
            .await;
        id.as_str().unwrap().to_owned()
    }

    /// A text of a spell, parsed where it is JSON; nothing where there is none.
    async fn told(&self, at: PeerId, spell: &str, key: &str) -> Option<Value> {
        let result = self
            .manage(at, &format!("{spell}.get_string"), &[json!(key)])
            .await;
        assert_eq!(result["success"], true, "{result}");
        if result["absent"] == true {
            return None;
        }
        let text = result["value"].as_str().unwrap();
        Some(serde_json::from_str(text).unwrap_or_else(|_| json!(text)))
    }

    async fn counter(&self, at: PeerId, spell: &str) -> u64 {
        let result = self
            .manage(at, &format!("{spell}.get_u32"), &[json!("hw_counter")])
            .await;
        result["value"].as_u64().unwrap()
    }

    async fn await_counter(&self, at: PeerId, spell: &str, least: u64) -> u64 {
        until("a spell is started", async || {
            let counter = self.counter(at, spell).await;
            (counter >= least).then_some(counter)
        })
        .await
    }
}

async fn a_spell_runs_keeps_its_data_and_goes(mut rig: Rig) {
    rig.start().await;
    let worker = rig.worker("deal").await;
    let id = rig
        .install(worker, &telling(), &periodic(60), "teller")
        .await;
    let told = until("the spell told", async || {
        rig.told(worker, "teller", "me").await
    })
    .await;
    assert_eq!(told, json!(worker.to_string()));
    assert_eq!(rig.told(worker, &id, "told").await, Some(json!("hi")));
    let relay = rig.told(worker, &id, "relay").await;
    assert_eq!(relay, Some(json!(host_key().peer_id().to_string())));
    assert_eq!(rig.told(worker, &id, "id").await, Some(json!(id)));
    let trigger = rig.told(worker, &id, "trigger").await.unwrap();
    let trigger: Value = serde_json::from_str(trigger.as_str().unwrap()).unwrap();
    assert!(trigger["timer"][0]["timestamp"].is_u64(), "{trigger}");
    assert_eq!(trigger["peer"], json!([]));
    assert_eq!(rig.counter(worker, &id).await, 1);
    let script = rig.manage(worker, "teller.get_script", &[]).await;
    assert_eq!(script["value"], json!(telling()));
    let config = rig.manage(worker, "teller.get_trigger_config", &[]).await;
    assert_eq!(config["config"], periodic(60));
    let info = rig.manage(worker, "srv.info", &[json!("teller")]).await;
    assert_eq!(info["service_type"], "spell");
    assert_eq!(info["owner_id"], json!(worker.to_string()));
    // Its minute, and the next one.
    for counter in 2..=3 {
        rig.advance(Duration::from_secs(60));
        rig.await_counter(worker, "teller", counter).await;
    }
    rig.restart().await;
    // The start is in the past: at once.
    rig.await_counter(worker, "teller", 4).await;
    assert_eq!(rig.manage(worker, "spell.list", &[]).await, json!([id]));
    // A spell is no service, and a service no spell.
    let removed = rig
        .ask(&manager(), worker, "srv.remove", &[json!("teller")])
        .await;
    let text = reason(removed);
    assert!(
        text.starts_with(&format!(
            "Error: Forbidden. User id '{}' cannot call function 'remove_service': cannot remove a \
             spell\n",
            manager().peer_id()
        )),
        "{text}"
    );
    let service = rig.deploy(worker, "greeting", GREETING).await;
    let removed = rig
        .ask(&manager(), worker, "spell.remove", &[json!(service)])
        .await;
    let text = reason(removed);
    assert!(
        text.contains("cannot call function 'remove_spell': the service isn't a spell\n"),
        "{text}"
    );
    let refused = rig
        .ask(&stranger(), worker, "spell.remove", &[json!("teller")])
        .await;
    assert_eq!(
        reason(refused),
        format!(
            "Failed to remove spell {id}, spell can be removed by worker creator {}, worker itself \
             {worker} or peer manager",
            manager().peer_id()
        )
    );
    rig.manage(worker, "spell.remove", &[json!("teller")]).await;
    assert_eq!(rig.manage(worker, "spell.list", &[]).await, json!([]));
    assert_eq!(rig.entries("workdir"), [service]);
    let gone = reason(rig.ask(&manager(), worker, "teller.get_script", &[]).await);
    assert_eq!(
        gone,
        "Service with id 'teller' not found (function get_script)"
    );
    let spells = rig.peer().deployment().unwrap().spells().of_scope(worker);
    assert!(spells.is_empty(), "{spells:?}");
}

async fn errors_of_a_spell_are_stored(mut rig: Rig) {
    rig.start().await;
    let worker = rig.worker("deal").await;
    let failing = on_worker(r#"(call %init_peer_id% ("no-such" "function") [] result)"#);
    let id = rig.install(worker, &failing, &periodic(0), "").await;
    let errors = until("the error is stored", async || {
        let errors = rig
            .manage(worker, &format!("{id}.get_all_errors"), &[])
            .await;
        let errors = errors["particle_errors"].as_array().unwrap().clone();
        (!errors.is_empty()).then_some(errors)
    })
    .await;
    assert_eq!(errors[0]["particle_id"], json!(format!("spell_{id}_0")));
    let entry = &errors[0]["errors"][0];
    assert_eq!(entry["error_idx"], 7);
    let error = &entry["last_error"];
    assert_eq!(error["error_code"], 10_000);
    assert_eq!(error["peer_id"], json!(worker.to_string()));
    assert!(
        error["instruction"].as_str().unwrap().contains("no-such"),
        "{error}"
    );
    assert!(
        error["message"].as_str().unwrap().contains("not found"),
        "{error}"
    );
    // What is not there, and what asks for it without being a spell.
    let missing = on_worker(r#"(call %init_peer_id% ("getDataSrv" "nothing") [] result)"#);
    let id = rig.install(worker, &missing, &periodic(0), "").await;
    until("the other error is stored", async || {
        let errors = rig
            .manage(worker, &format!("{id}.get_all_errors"), &[])
            .await;
        let text = errors["particle_errors"][0]["errors"][0]["last_error"]["message"].clone();
        let text = text.as_str()?;
        assert!(
            text.contains(&format!(
                "Failed to get argument nothing for spell {id}: value not found"
            )),
            "{text}"
        );
        Some(())
    })
    .await;
    let none = rig.ask(&manager(), worker, "getDataSrv.nothing", &[]).await;
    let text = reason(none);
    assert!(
        text.starts_with("Invalid particle id: expected 'spell_{SPELL_ID}_{COUNTER}', got test-"),
        "{text}"
    );
    let relay = rig
        .ask(&stranger(), worker, "getDataSrv.-relay-", &[])
        .await;
    assert_eq!(relay, Ok(json!(host_key().peer_id().to_string())));
}

async fn what_is_not_installed(mut rig: Rig) {
    rig.start().await;
    let host = host_key().peer_id();
    let worker = rig.worker("deal").await;
    let period = "Error: invalid config: period is too big. Max period is 100 years (or approx \
                  3153600000 seconds)\n";
    let end = "Error: invalid config: end_sec is less than start_sec or in the past\n";
    for (config, expected) in [
        (clock(1, 0, 3_153_600_001), period),
        (clock(1, 10, 60), end),
        (clock(4_000_000_000, 3_900_000_000, 60), end),
    ] {
        let refused = rig.ask(
            &manager(),
            worker,
            "spell.install",
            &install("(null)", &config, ""),
        );
        let text = reason(refused.await);
        assert!(text.starts_with(expected), "{config}: {text}");
    }
    let partial = json!({ "clock": { "start_sec": 1 } });
    let refused = rig.ask(
        &manager(),
        worker,
        "spell.install",
        &install("(null)", &partial, ""),
    );
    let text = reason(refused.await);
    assert!(
        text.starts_with("Error: Error deserializing field 'trigger_config': expected "),
        "{text}"
    );
    let arguments = install("(null)", &never(), "");
    let by_stranger = rig
        .ask(&stranger(), worker, "spell.install", &arguments)
        .await;
    assert_eq!(
        reason(by_stranger),
        format!(
            "Failed to install spell on WorkerId(PeerId(\"{worker}\")), spell can be installed by \
             worker creator {}, worker itself {worker} or peer manager; init_peer_id={}",
            manager().peer_id(),
            stranger().peer_id()
        )
    );
    for by in [stranger(), host_key()] {
        let refused = rig.ask(&by, host, "spell.install", &arguments).await;
        assert_eq!(
            reason(refused),
            "Failed to install spell in the root scope, only management peer id can install \
             top-level spells"
        );
    }
    // A name that cannot be given takes the spell with it.
    let named = install("(null)", &never(), "self");
    let text = reason(rig.ask(&manager(), worker, "spell.install", &named).await);
    assert!(
        text.starts_with("Failed to add alias self for spell "),
        "{text}"
    );
    let list = rig.at_host("worker.list", &[]).await;
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(rig.manage(worker, "spell.list", &[]).await, json!([]));
    assert!(rig.entries("workdir").is_empty());
    // Only the host's manager has spells on the host.
    let id = rig.at_host("spell.install", &arguments).await;
    assert_eq!(rig.at_host("spell.list", &[]).await, json!([id]));
    let update = [id.clone(), periodic(60)];
    let refused = rig
        .ask(&stranger(), host, "spell.update_trigger_config", &update)
        .await;
    let id = id.as_str().unwrap();
    assert_eq!(
        reason(refused),
        format!(
            "Failed to update spell config {id}, spell config can be updated by worker itself {host} \
             or peer manager; init_peer_id={}",
            stranger().peer_id()
        )
    );
    let refused = rig
        .ask(&stranger(), host, "spell.remove", &[json!(id)])
        .await;
    assert_eq!(
        reason(refused),
        format!("Failed to remove spell {id}, worker itself {host} or peer manager")
    );
}

async fn once_never_and_again(mut rig: Rig) {
    rig.start().await;
    let worker = rig.worker("deal").await;
    let once = rig.install(worker, &telling(), &periodic(0), "once").await;
    let idle = rig.install(worker, &telling(), &never(), "idle").await;
    rig.await_counter(worker, &once, 1).await;
    rig.advance(Duration::from_secs(1_000));
    assert_eq!(rig.counter(worker, &once).await, 1);
    assert_eq!(rig.counter(worker, &idle).await, 0);
    // A spell that rests is started by a new configuration, and stopped by an empty one.
    let update = [json!("idle"), periodic(60)];
    rig.manage(worker, "spell.update_trigger_config", &update)
        .await;
    rig.await_counter(worker, "idle", 1).await;
    rig.manage(
        worker,
        "spell.update_trigger_config",
        &[json!("idle"), never()],
    )
    .await;
    let config = rig.manage(worker, "idle.get_trigger_config", &[]).await;
    assert_eq!(config["config"], never());
    let stopped = rig.counter(worker, "idle").await;
    rig.advance(Duration::from_secs(1_000));
    rig.restart().await;
    rig.advance(Duration::from_secs(1_000));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.counter(worker, "once").await, 1);
    assert_eq!(rig.counter(worker, "idle").await, stopped);
    // Only the worker spell comes back with its deal.
    let other = rig
        .install(worker, &telling(), &periodic(60), "other")
        .await;
    rig.manage(
        worker,
        "srv.add_alias",
        &[json!("worker-spell"), json!(idle)],
    )
    .await;
    rig.await_counter(worker, &other, 1).await;
    rig.at_host("worker.deactivate", &[json!("deal")]).await;
    let resting = rig.manage(worker, "other.get_trigger_config", &[]).await;
    assert_eq!(resting["config"], never());
    let (of_other, of_idle) = (
        rig.counter(worker, &other).await,
        rig.counter(worker, &idle).await,
    );
    rig.at_host("worker.activate", &[json!("deal")]).await;
    rig.await_counter(worker, &idle, of_idle + 1).await;
    assert_eq!(rig.counter(worker, &other).await, of_other);
    let config = rig
        .manage(worker, "worker-spell.get_trigger_config", &[])
        .await;
    assert_eq!(config["config"], periodic(900));
}

async fn peers_that_come_and_go_start_spells(mut rig: Rig) {
    rig.start().await;
    let worker = rig.worker("deal").await;
    let mut config = never();
    config["connections"] = json!({ "connect": true, "disconnect": true });
    rig.install(worker, &telling(), &config, "watcher").await;
    let visitor = KeyPair::from_seed(&[33; 32]);
    let address = rig.peer().network().listen_addresses()[0].clone();
    assert!(address.contains(&Ipv4Addr::LOCALHOST.to_string()));
    let client = Client::connect(visitor.clone(), &address).await.unwrap();
    let expected = |connected: bool| json!({ "timer": [], "peer": [{ "peer_id": visitor.peer_id().to_string(), "connected": connected }] });
    let seen = async |connected: bool| {
        until("the visitor is seen", async || {
            let trigger = rig.told(worker, "watcher", "hw_trigger").await?;
            (trigger == expected(connected)).then_some(())
        })
        .await;
    };
    seen(true).await;
    client.stop().await;
    seen(false).await;
    assert_eq!(rig.counter(worker, "watcher").await, 2);
}

/// Blocks start spells as they are mined, each block in their range once, those included that came
/// while nobody told of them.
async fn blocks_start_spells(mut rig: Rig) {
    let chain = Arc::new(MemoryChain::default());
    rig.mined = Some(chain.clone());
    rig.start().await;
    let worker = rig.worker("deal").await;
    let mut config = never();
    config["blockchain"] = json!({ "start_block": 3, "end_block": 4 });
    rig.install(worker, &telling(), &config, "miner").await;
    for _ in 0..6 {
        chain.mine();
    }
    rig.await_counter(worker, "miner", 2).await;
    let trigger = until("the last block is told", async || {
        let trigger = rig.told(worker, "miner", "hw_trigger").await?;
        (trigger["block"][0]["number"] == 4).then_some(trigger)
    })
    .await;
    assert_eq!(
        trigger,
        json!({ "timer": [], "peer": [], "block": [{ "number": 4 }] })
    );
    assert_eq!(rig.counter(worker, "miner").await, 2);
}

async fn only_the_worker_spell_passes_the_guard(mut rig: Rig) {
    rig.start().await;
    let worker = rig.worker("deal").await;
    let deploying = on_worker(
        r#"(seq
            (seq
                (call %init_peer_id% ("op" "array") ["bafkreifdehdwcppttfsqaju4kodgn5wgbefrarbzc72k4sore2bwpeq2fa"] cids)
                (seq
                    (call %init_peer_id% ("dist" "make_blueprint") ["b" cids] text)
                    (call %init_peer_id% ("dist" "add_blueprint") [text] blueprint)))
            (seq
                (call %init_peer_id% ("json" "obj") ["made" blueprint] response)
                (call %init_peer_id% ("callbackSrv" "response") [response])))"#,
    );
    let plain = rig.install(worker, &deploying, &periodic(0), "plain").await;
    until("the refusal is stored", async || {
        let errors = rig
            .manage(worker, &format!("{plain}.get_all_errors"), &[])
            .await;
        let text = errors["particle_errors"][0]["errors"][0]["last_error"]["message"].clone();
        let text = text.as_str()?;
        assert!(
            text.contains("This function is only available to the host or worker spells"),
            "{text}"
        );
        Some(())
    })
    .await;
    rig.install(worker, &deploying, &periodic(0), "worker-spell")
        .await;
    let made = until("the worker spell deploys", async || {
        rig.told(worker, "worker-spell", "made").await
    });
    assert!(made.await.as_str().unwrap().starts_with("bafkrei"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_modules_there_are_no_spells() {
    let mut rig = Rig::new();
    rig.start().await;
    let arguments = install("(null)", &never(), "");
    let refused = rig.ask(
        &manager(),
        host_key().peer_id(),
        "spell.install",
        &arguments,
    );
    let text = reason(refused.await);
    assert!(
        text.contains("the host has no modules of the spell service"),
        "{text}"
    );
}
