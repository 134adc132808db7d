//! From a deal on the chain to a service that answers, and back to nothing: the published decider
//! and worker spell on a chain in memory, with a folder as content store.

use std::{fs, path::Path, sync::Arc, time::Duration};

use deal_types::{
    Address, Bytes32, DealStatus, PeerKey,
    peer_chain::{DealWorker, PeerChain, PeerDeal, PeerDealInfo, TxReceipt},
    unixfs,
};
use particle::PeerId;
use peer_core::{chain::MemoryChain, spells::TriggerConfig};
use serde_json::{Value, json};

use super::{
    modules::{DECIDER_SPELL, WORKER_SPELL, own_spell_modules, provide_file, spell_modules},
    rig::{Rig, host_key, manager, names, reason, stranger, until},
    system::with_ipfs,
};

pub(crate) const GREETING: &[u8] = include_bytes!("../../../examples/wasm/greeting.wasm");
const PARROT: &[u8] = include_bytes!("../../../examples/wasm/parrot.wasm");
/// How often the decider looks at the chain.
pub(crate) const PERIOD: Duration = Duration::from_secs(120);

const DEAL: Address = Address([7; 20]);

/// A spell of the definition: tells what it was given.
const TICKER: &str = r#"
    (seq
        (call %init_peer_id% ("getDataSrv" "w_word") [] word)
        (seq
            (call %init_peer_id% ("json" "obj") ["told" word] response)
            (call %init_peer_id% ("callbackSrv" "response") [response])))"#;

/// Puts content into the store; its identifier.
fn add(store: &Path, content: &[u8]) -> String {
    let cid = unixfs::cid_of(content).to_string();
    fs::write(store.join(&cid), content).unwrap();
    cid
}

/// A definition of a worker with one service and one spell.
pub(crate) fn define(store: &Path, module: &str, wasm: &[u8], word: &str) -> String {
    let config = json!(TriggerConfig::periodic(60)).to_string();
    // Other spells of a worker may change what begins with `w_`, and nothing else.
    let init_args = json!({ "w_word": word }).to_string();
    let definition = json!({
        "services": [{
            "name": "service",
            "modules": [{ "name": module, "wasm": add(store, wasm) }],
            "total_memory_limit": 0,
        }],
        "spells": [{
            "name": "ticker",
            "script": add(store, TICKER.as_bytes()),
            "config": add(store, config.as_bytes()),
            "init_args": add(store, init_args.as_bytes()),
        }],
    });
    add(store, definition.to_string().as_bytes())
}

/// A host that serves deals; nothing where the published modules cannot be had.
pub(crate) fn with_decider() -> Option<Rig> {
    let mut rig = Rig::new();
    with_ipfs(&mut rig)?;
    let folder = rig.folder.path().to_owned();
    rig.system.spell = spell_modules(&folder)?;
    let decider = &mut rig.system.decider;
    decider.spell_script = Some(provide_file(&folder, DECIDER_SPELL)?);
    decider.worker_script = Some(provide_file(&folder, WORKER_SPELL)?);
    decider.worker_ipfs_multiaddr = "/ip4/127.0.0.1/tcp/5001".to_owned();
    Some(rig)
}

fn deal(app_cid: &str, status: DealStatus) -> Vec<PeerDeal> {
    let info = PeerDealInfo {
        status,
        unit_ids: Vec::new(),
        app_cid: app_cid.to_owned(),
        onchain_worker_id: Bytes32([5; 32]),
    };
    vec![PeerDeal {
        deal: DEAL,
        info: Ok(info),
    }]
}

async fn told(rig: &Rig, worker: PeerId) -> Option<Value> {
    let told = rig
        .ask(&manager(), worker, "ticker.get_string", &[json!("told")])
        .await;
    let told = told.ok()?;
    let text = told["value"].as_str()?;
    (!text.is_empty()).then(|| serde_json::from_str(text).unwrap())
}

/// The id of the service that the worker has under its name.
async fn deployed(rig: &Rig, worker: PeerId) -> Result<Value, String> {
    let name = [json!("service")];
    rig.ask(&stranger(), worker, "srv.resolve_alias", &name)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_becomes_a_worker_and_goes() {
    if let Some(rig) = with_decider() {
        become_a_worker_and_go(rig).await;
    }
}

/// The decider and the worker's spell are published scripts; the module under them is ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_deal_becomes_a_worker_with_our_module_of_spells() {
    if let Some(mut rig) = with_decider() {
        rig.system.spell = own_spell_modules();
        become_a_worker_and_go(rig).await;
    }
}

async fn become_a_worker_and_go(mut rig: Rig) {
    let store = rig.folder.path().join("content");
    let chain = Arc::new(MemoryChain::default());
    rig.chain = Some(chain.clone());
    let first = define(&store, "greeting", GREETING, "first");
    chain.set_deals(deal(&first, DealStatus::Active));
    rig.start().await;

    let registered = until("the worker is registered", async || {
        chain.registered().pop()
    })
    .await;
    assert_eq!(
        (registered.deal, registered.onchain_worker_id),
        (DEAL, Bytes32([5; 32]))
    );
    let worker: PeerId = registered.worker.to_string().parse().unwrap();
    chain.set_receipt(registered.transaction, TxReceipt::Ok { block_number: 3 });
    let service = until("the service is deployed", async || {
        deployed(&rig, worker).await.ok()
    })
    .await;
    let greeting = rig
        .ask(&stranger(), worker, "service.greeting", &[json!("Eve")])
        .await;
    assert!(greeting.unwrap().as_str().unwrap().contains("Eve"));
    until("the spell of the worker tells", async || {
        (told(&rig, worker).await == Some(json!("first"))).then_some(())
    })
    .await;
    let status = until("the installation has ended", async || {
        let status = [json!("__installation_spell_status__")];
        let status = rig
            .manage(worker, "worker-spell.list_get_strings", &status)
            .await;
        let status = status["value"].as_array().unwrap().last()?.clone();
        status
            .as_str()
            .unwrap()
            .contains("INSTALLATION_SUCCESSFUL")
            .then_some(status)
    });
    status.await;

    // All of it outlives the process.
    rig.restart().await;
    let again = deployed(&rig, worker).await;
    assert_eq!(again, Ok(service.clone()));
    assert_eq!(chain.registered().len(), 1);

    // Another definition: another service under the name, and the spell has other data.
    let second = define(&store, "parrot", PARROT, "second");
    chain.set_deals(deal(&second, DealStatus::Active));
    rig.until_moving(PERIOD, "the service is replaced", async || {
        let id = deployed(&rig, worker).await;
        id.ok().filter(|id| *id != service)
    })
    .await;
    let gone = rig
        .ask(
            &stranger(),
            worker,
            "srv.info",
            std::slice::from_ref(&service),
        )
        .await;
    assert!(reason(gone).contains("not found"));
    let minute = Duration::from_secs(60);
    rig.until_moving(
        minute,
        "the spell of the worker has other data",
        async || (told(&rig, worker).await == Some(json!("second"))).then_some(()),
    )
    .await;

    // A deal that is short of money rests, and comes back.
    let active = async || {
        let id = Address::to_deal_id(DEAL);
        rig.at_host("worker.is_active", &[json!(id)]).await == json!(true)
    };
    for (status, expected) in [
        (DealStatus::InsufficientFunds, false),
        (DealStatus::SmallBalance, true),
    ] {
        chain.set_deals(deal(&second, status));
        rig.until_moving(PERIOD, "the deal is followed", async || {
            (active().await == expected).then_some(())
        })
        .await;
    }

    // A deal that is gone leaves nothing.
    chain.set_deals(Vec::new());
    rig.until_moving(PERIOD, "the worker is gone", async || {
        let workers = rig.at_host("worker.list", &[]).await;
        (workers == json!([])).then_some(())
    })
    .await;
    // Files of a service go when its last call has ended.
    until("nothing is left of the worker", async || {
        let listed = rig.at_host("srv.list", &[]).await;
        let services = listed.as_array().unwrap().iter();
        let mut left: Vec<&str> = services.map(|of| of["id"].as_str().unwrap()).collect();
        let mut files = names(&rig.data().join("workdir"));
        left.sort_unstable();
        files.sort_unstable();
        let vaults = rig.entries("ephemeral/vault");
        let clean = files == left
            && rig.entries("keypairs").is_empty()
            && !vaults.contains(&worker.to_string());
        clean.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_scripts_ask_the_chain() {
    let mut rig = Rig::new();
    let chain = Arc::new(MemoryChain::default());
    rig.chain = Some(chain.clone());
    rig.start().await;
    let host = host_key().peer_id();
    let worker = rig.worker(&DEAL.to_deal_id()).await;
    let key: PeerKey = worker.to_string().parse().unwrap();
    let unit = Bytes32([3; 32]);
    chain.set_workers(
        DEAL,
        vec![
            DealWorker {
                unit_ids: vec![unit],
                host: key,
                worker: Some(key),
            },
            DealWorker {
                unit_ids: Vec::new(),
                host: key,
                worker: None,
            },
        ],
    );
    // In both scopes, for anybody.
    for at in [host, worker] {
        let resolved = rig
            .ask(
                &stranger(),
                at,
                "subnet.resolve",
                &[json!(DEAL.to_deal_id())],
            )
            .await;
        let expected = json!({
            "success": true,
            "error": [],
            "workers": [
                { "cu_ids": [unit.to_string()], "pat_id": unit.to_string(), "host_id": worker.to_string(), "worker_id": [worker.to_string()] },
                { "cu_ids": [], "pat_id": "", "host_id": worker.to_string(), "worker_id": [] },
            ],
        });
        assert_eq!(resolved, Ok(expected));
    }
    let short = rig
        .ask(&stranger(), host, "subnet.resolve", &[json!("0xABC")])
        .await
        .unwrap();
    assert_eq!(
        short["error"],
        json!(["Invalid deal id 'abc': invalid length"])
    );
    for (function, text) in [
        ("get_deals", "get_deals"),
        ("register_worker", "register_worker"),
        ("get_tx_receipts", "get_tx_receipt"),
    ] {
        let refused = rig
            .ask(&manager(), host, &format!("connector.{function}"), &[])
            .await;
        assert_eq!(
            reason(refused),
            format!("Only the root worker can call connector.{text}")
        );
    }
    chain.set_deals(deal("bafy", DealStatus::NotEnoughWorkers));
    let deals = rig
        .ask(&host_key(), host, "connector.get_deals", &[])
        .await
        .unwrap();
    let info = json!({
        "status": "NOT_ENOUGH_WORKERS",
        "cu_ids": [],
        "app_cid": "bafy",
        "onchain_worker_id": vec![5; 32],
    });
    let expected = json!([{
        "success": true,
        "error": [],
        "deal_id": "0707070707070707070707070707070707070707",
        "deal_info": [info],
    }]);
    assert_eq!(deals, expected);
    let register = |place: Value| [json!(DEAL.to_deal_id()), json!(worker.to_string()), place];
    let empty = rig
        .ask(
            &host_key(),
            host,
            "connector.register_worker",
            &register(json!([])),
        )
        .await;
    assert_eq!(reason(empty), "Invalid onchain_worker_id: empty");
    let sent = register(json!(vec![5; 32]));
    let hash = rig
        .ask(&host_key(), host, "connector.register_worker", &sent)
        .await
        .unwrap();
    let asked = [json!([hash, "0x12"])];
    let receipts = async || {
        rig.ask(&host_key(), host, "connector.get_tx_receipts", &asked)
            .await
            .unwrap()
    };
    let pending = receipts().await;
    assert_eq!(
        pending[0],
        json!({ "success": true, "error": [], "status": "pending", "receipt": [] })
    );
    assert_eq!(pending[1]["success"], false);
    assert_eq!(pending[1]["status"], "");
    chain.set_receipt(
        chain.registered()[0].transaction,
        TxReceipt::Failed { block_number: 9 },
    );
    let failed = receipts().await;
    assert_eq!(failed[0]["status"], "failed");
    assert_eq!(
        failed[0]["receipt"],
        json!([{ "block_number": 9, "tx_hash": hash }])
    );
    chain.set_outage(Some("cut"));
    let cut = rig.ask(&host_key(), host, "connector.get_deals", &[]).await;
    assert_eq!(
        reason(cut),
        "Failed to get deals: the chain cannot be reached: cut"
    );
    assert!(chain.block_number().await.is_err());
}
