//! Workers: one per deal, with services of their own.

use std::time::Duration;

use particle::PeerId;
use serde_json::json;

use super::rig::{Rig, host_key, manager, reason, stranger};

const GREETING: &[u8] = include_bytes!("../../../examples/wasm/greeting.wasm");

async fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.start().await;
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_has_one_worker() {
    let rig = rig().await;
    let host = host_key().peer_id();
    let arguments = [json!("0xABCD"), json!([])];
    let refused = rig
        .ask(&stranger(), host, "worker.create", &arguments)
        .await;
    assert_eq!(
        reason(refused),
        "Only management or host peer can create worker"
    );
    let id = rig.worker("0xABCD").await;
    for by in [manager(), host_key()] {
        for spelling in ["abcd", "0xabcd", "ABCD", "0xABcd", "0x0xABCD"] {
            let again = [json!(spelling), json!([])];
            let again = rig.ask(&by, host, "worker.create", &again).await;
            assert_eq!(reason(again), "Worker for abcd already exists");
        }
    }
    let ids = [json!([id.to_string()]), json!([])];
    for (deal, expected) in [("ABCD", &ids[0]), ("other", &ids[1])] {
        let found = rig.ask(&stranger(), host, "worker.get_worker_id", &[json!(deal)]);
        assert_eq!(found.await.as_ref(), Ok(expected));
    }
    let other = rig.worker("other").await;
    let mut listed: Vec<String> =
        serde_json::from_value(rig.at_host("worker.list", &[]).await).unwrap();
    let mut expected = [id.to_string(), other.to_string()];
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    // More cores than any machine has.
    let units: Vec<[u8; 32]> = (0..=255).map(|unit| [unit; 32]).collect();
    let many = rig.ask(
        &manager(),
        host,
        "worker.create",
        &[json!("many"), json!(units)],
    );
    let text = reason(many.await);
    assert!(
        text.starts_with("Failed to allocate cores for 12D3KooW"),
        "{text}"
    );
    assert!(
        text.contains(": Couldn't assign core: no free cores left. Required: 256"),
        "{text}"
    );
    assert_eq!(
        rig.at_host("worker.get_worker_id", &[json!("many")]).await,
        json!([])
    );
    let refused = rig.ask(&stranger(), host, "worker.remove", &[json!(id.to_string())]);
    assert_eq!(
        reason(refused.await),
        format!(
            "Worker {id} can be removed only by worker creator {}, host or a host manager",
            manager().peer_id()
        )
    );
    for id in [id, other] {
        rig.at_host("worker.remove", &[json!(id.to_string())]).await;
    }
    let gone = rig.ask(&manager(), host, "worker.remove", &[json!(id.to_string())]);
    assert_eq!(reason(gone.await), format!("Worker {id} not found"));
    assert!(rig.entries("keypairs").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_do_not_see_each_other() {
    let mut rig = rig().await;
    let host = host_key().peer_id();
    let (one, two) = (rig.worker("one").await, rig.worker("two").await);
    let service = rig.deploy(one, "greeting", GREETING).await;
    // The manager is its creator.
    rig.manage(one, "srv.add_alias", &[json!("hello"), json!(service)])
        .await;
    let check = async |rig: &Rig| {
        let greeting = rig.ask(&stranger(), one, "hello.greeting", &[json!("Eve")]);
        assert!(greeting.await.unwrap().as_str().unwrap().contains("Eve"));
        for elsewhere in [host, two] {
            let missing = rig.ask(&stranger(), elsewhere, "hello.greeting", &[json!("Eve")]);
            let text = reason(missing.await);
            assert_eq!(
                text,
                "Service with id 'hello' not found (function greeting)"
            );
            let list = rig.ask(&stranger(), elsewhere, "srv.list", &[]).await;
            assert_eq!(list, Ok(json!([])));
        }
        let info = rig
            .ask(&stranger(), one, "srv.info", &[json!("hello")])
            .await
            .unwrap();
        assert_eq!(info["worker_id"], json!(one.to_string()));
        assert_eq!(info["owner_id"], json!(manager().peer_id().to_string()));
        assert_eq!(info["aliases"], json!(["hello"]));
    };
    check(&rig).await;
    let scope = |id: PeerId| format!("WorkerId(WorkerId(PeerId(\"{id}\")))");
    let wrong = rig.ask(&stranger(), two, "srv.resolve_alias", &[json!("hello")]);
    let text = reason(wrong.await);
    let expected = format!(
        "Error: Service with alias 'hello' is not found on worker '{}'\n",
        scope(two)
    );
    assert!(text.starts_with(&expected), "{text}");
    let missing = rig.ask(
        &manager(),
        two,
        "srv.add_alias",
        &[json!("x"), json!(service)],
    );
    let text = reason(missing.await);
    let expected = format!(
        "Error: Service with id '{service}' not found on {}\n",
        scope(two)
    );
    assert!(text.starts_with(&expected), "{text}");
    for (name, by) in [("hello", stranger()), ("worker-spell", stranger())] {
        let refused = rig.ask(&by, one, "srv.add_alias", &[json!(name), json!(service)]);
        let text = reason(refused.await);
        assert_eq!(
            text,
            "This function is only available to the host or worker spells"
        );
    }
    // Each scope has its key.
    for id in [one, two, host] {
        let named = rig.ask(&stranger(), id, "sig.get_peer_id", &[]).await;
        assert_eq!(named, Ok(json!(id.to_string())));
        let refused = rig.ask(&stranger(), id, "sig.sign", &[json!([1])]).await;
        let expected = format!(
            "peer '{}' is not allowed to sign data on '{id}'",
            stranger().peer_id()
        );
        assert_eq!(reason(refused), expected);
    }
    rig.restart().await;
    check(&rig).await;
    assert_eq!(rig.entries("workdir").len(), 1);
    rig.at_host("worker.remove", &[json!(one.to_string())])
        .await;
    assert!(rig.entries("workdir").is_empty());
    assert!(rig.entries("ephemeral/workdir").is_empty());
    assert_eq!(rig.entries("keypairs"), [format!("{two}_keypair.toml")]);
    assert!(!rig.entries("ephemeral/vault").contains(&one.to_string()));
    rig.restart().await;
    let listed = rig.at_host("worker.list", &[]).await;
    assert_eq!(listed, json!([two.to_string()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn deactivated_workers_hear_managers_only() {
    let mut rig = rig().await;
    let host = host_key().peer_id();
    let worker = rig.worker("deal").await;
    let deal = [json!("deal")];
    for (function, text) in [
        ("activate", "Only management or host peer can activate deal"),
        (
            "deactivate",
            "Only management or host peer can deactivate deal",
        ),
    ] {
        let refused = rig.ask(&stranger(), host, &format!("worker.{function}"), &deal);
        assert_eq!(reason(refused.await), text);
    }
    let missing = rig.ask(&stranger(), host, "worker.is_active", &[json!("none")]);
    assert_eq!(reason(missing.await), "Worker for deal_id none not found");
    assert_eq!(rig.at_host("worker.is_active", &deal).await, json!(true));
    let again = rig.ask(&manager(), host, "worker.activate", &deal).await;
    assert_eq!(reason(again), "Deal has already been activated");
    rig.at_host("worker.deactivate", &deal).await;
    let again = rig.ask(&manager(), host, "worker.deactivate", &deal).await;
    assert_eq!(reason(again), "Deal has already been deactivated");
    let check_rests = async |rig: &Rig| {
        assert_eq!(rig.at_host("worker.is_active", &deal).await, json!(false));
        let heard = rig
            .ask(&manager(), worker, "op.identity", &[json!(1)])
            .await;
        assert_eq!(heard, Ok(json!(1)));
        let unheard = rig.send(&stranger(), worker, "op.identity", &[json!(1)]);
        let waited = tokio::time::timeout(Duration::from_millis(300), unheard);
        assert!(waited.await.is_err());
    };
    check_rests(&rig).await;
    rig.restart().await;
    check_rests(&rig).await;
    rig.at_host("worker.activate", &deal).await;
    let heard = rig
        .ask(&stranger(), worker, "op.identity", &[json!(2)])
        .await;
    assert_eq!(heard, Ok(json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_virtual_machines() {
    let rig = rig().await;
    let host = host_key().peer_id();
    let worker = rig.worker("deal").await;
    let image = [json!("image")];
    let on_host = rig.ask(&manager(), host, "vm.create", &image).await;
    assert_eq!(
        reason(on_host),
        "This function is only available for workers"
    );
    let status = rig.ask(&stranger(), host, "vm.status", &[]).await;
    assert_eq!(reason(status), "This function is only available on workers");
    let refused = reason(rig.ask(&stranger(), worker, "vm.create", &image).await);
    assert!(refused.starts_with("Failed to create VM on "), "{refused}");
    for (by, function) in [
        (manager(), "vm.create"),
        (manager(), "vm.start"),
        (stranger(), "vm.status"),
    ] {
        let disabled = rig.ask(&by, worker, function, &image).await;
        assert_eq!(reason(disabled), "This feature is disabled", "{function}");
    }
}
