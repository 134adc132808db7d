//! A service deployed over the wire, by a client whom the peer trusts, and over a restart.

#![cfg(all(feature = "network", feature = "marine"))]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "common/store.rs"]
mod store;

use std::{net::Ipv4Addr, path::Path, time::Duration};

use particle::KeyPair;
use peer_core::{
    client::{CallError, Client, Request},
    config::{KeyPairConfig, PeerConfig},
    peer::{Peer, load_builtins_key},
};
use serde_json::{Value, json};

const GREETING: &[u8] = include_bytes!("../../examples/wasm/greeting.wasm");

/// Deploys a module and gives the service a name; the result is its id.
const DEPLOY: &str = r#"
    (xor
        (seq
            (seq
                (seq
                    (seq
                        (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
                        (call %init_peer_id% ("getDataSrv" "module") [] module))
                    (seq
                        (call relay ("dist" "default_module_config") ["greeting"] config)
                        (call relay ("dist" "add_module") [module config] cid)))
                (seq
                    (seq
                        (call relay ("op" "array") [cid] cids)
                        (call relay ("dist" "make_blueprint") ["greeting" cids] text))
                    (seq
                        (call relay ("dist" "add_blueprint") [text] blueprint)
                        (seq
                            (call relay ("srv" "create") [blueprint] id)
                            (call relay ("srv" "add_alias") ["hello" id])))))
            (call %init_peer_id% ("callbackSrv" "response") [id]))
        (call %init_peer_id% ("errorHandlingSrv" "error") [%last_error% 1]))"#;

/// Calls the service by its name.
const GREET: &str = r#"
    (xor
        (seq
            (seq
                (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
                (call relay ("hello" "greeting") ["Eve"] greeting))
            (call %init_peer_id% ("callbackSrv" "response") [greeting]))
        (call %init_peer_id% ("errorHandlingSrv" "error") [%last_error% 1]))"#;

async fn start(folder: &Path, manager: &KeyPair) -> Peer {
    let config = PeerConfig {
        builtins_key_pair: Some(KeyPairConfig::default()),
        listen_ip: Ipv4Addr::LOCALHOST.into(),
        tcp_port: 0,
        websocket_port: 0,
        management_peer_id: Some(manager.peer_id().to_string()),
        data_dir: Some(folder.to_owned()),
        ..PeerConfig::default()
    };
    Peer::builder(KeyPair::from_seed(&[1; 32]))
        .config(config)
        .start()
        .await
        .unwrap()
}

async fn ask(peer: &Peer, key: KeyPair, script: &str) -> Result<Value, CallError> {
    let relay = peer.network().listen_addresses().first().unwrap();
    let client = Client::connect(key, relay).await.unwrap();
    let request = Request::new(script)
        .argument("module", GREETING)
        .unwrap()
        .ttl(Duration::from_secs(60));
    let answer = client.call(request).await;
    client.stop().await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let manager = || KeyPair::from_seed(&[9; 32]);
    let stranger = || KeyPair::from_seed(&[8; 32]);

    let peer = start(folder.path(), &manager()).await;
    let refused = ask(&peer, stranger(), DEPLOY).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("This function is only available to the host or worker spells"),
        "{refused}"
    );
    let id = ask(&peer, manager(), DEPLOY).await.unwrap();
    assert_eq!(id.as_str().unwrap().len(), 36, "{id}");
    let greeting = ask(&peer, stranger(), GREET).await.unwrap();
    // The key beside the peer's own administrates as well: the name moves to its service.
    let file = folder.path().join("builtins_secret_key.ed25519");
    let second = KeyPairConfig {
        path: Some(file),
        generate_on_absence: false,
        ..KeyPairConfig::default()
    };
    let second = load_builtins_key(&second, None).unwrap();
    let other = ask(&peer, second, DEPLOY).await.unwrap();
    assert_ne!(other, id);
    peer.stop().await;
    drop(peer);

    store::is_free(folder.path()).await;
    let peer = start(folder.path(), &manager()).await;
    assert_eq!(ask(&peer, stranger(), GREET).await.unwrap(), greeting);
    assert!(greeting.as_str().unwrap().contains("Eve"), "{greeting}");
    assert_ne!(greeting, json!(""));
    peer.stop().await;
}
