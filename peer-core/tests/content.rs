//! Files that peers keep for each other, without a daemon.

#![cfg(all(feature = "network", feature = "marine"))]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

#[path = "common/store.rs"]
mod store;

use std::{net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use deal_types::{Cid, distributive::FetchError, unixfs};
use particle::KeyPair;
use peer_core::{
    client::{CallError, Client, Request},
    config::{ByteSize, ContentConfig, HumanDuration, PeerConfig},
    connectivity::Connectivity as _,
    content::PutError,
    network::{BlockProvider, Network, Role},
    peer::{Peer, PeerError},
};
use serde_json::{Value, json};

/// Gives wrong blocks to everybody.
struct Liar;

#[async_trait]
impl BlockProvider for Liar {
    async fn block(&self, _cid: &[u8]) -> Option<Vec<u8>> {
        Some(b"not what you want".to_vec())
    }
}

fn manager() -> KeyPair {
    KeyPair::from_seed(&[9; 32])
}

fn content() -> ContentConfig {
    ContentConfig {
        enable: true,
        ..ContentConfig::default()
    }
}

fn config(folder: &Path, bootstrap: &[&str], content: ContentConfig) -> PeerConfig {
    let mut config = PeerConfig {
        listen_ip: Ipv4Addr::LOCALHOST.into(),
        tcp_port: 0,
        websocket_port: 0,
        allow_local_addresses: true,
        bootstrap_nodes: bootstrap.iter().map(|&text| text.to_owned()).collect(),
        management_peer_id: Some(manager().peer_id().to_string()),
        data_dir: Some(folder.to_owned()),
        content,
        ..PeerConfig::default()
    };
    config.kademlia.query_timeout = HumanDuration::from_millis(500);
    config
}

async fn start(seed: u8, config: PeerConfig) -> Result<Peer, PeerError> {
    let peer = Peer::builder(KeyPair::from_seed(&[seed; 32])).config(config);
    peer.start().await
}

fn address(peer: &Peer) -> &str {
    &peer.network().listen_addresses()[0]
}

/// Waits until a peer has another one in its Kademlia table.
async fn knows(peer: &Peer, other: &Peer) {
    let other = other.peer_id().to_string();
    let mut tries = 0;
    while !peer.network().neighborhood(b"", 20).await.contains(&other) {
        tries += 1;
        assert!(tries < 400, "{other} is not known");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Runs calls at the relay, one after the other; the last value is the answer.
async fn run(
    peer: &Peer,
    key: KeyPair,
    calls: &[&str],
    arguments: &[(&str, &str)],
) -> Result<Value, CallError> {
    let get = |(name, _): &(&str, &str)| {
        format!(r#"(call %init_peer_id% ("getDataSrv" "{name}") [] {name})"#)
    };
    let call = |call: &&str| {
        let (name, rest) = call.split_once(' ').unwrap();
        let (service, function) = name.split_once('.').unwrap();
        format!(r#"(call relay ("{service}" "{function}") {rest})"#)
    };
    let steps = arguments.iter().map(get).chain(calls.iter().map(call));
    let steps = steps.fold(
        r#"(call %init_peer_id% ("getDataSrv" "-relay-") [] relay)"#.to_owned(),
        |before, step| format!("(seq {before} {step})"),
    );
    let script = format!(
        r#"(xor
            (seq {steps} (call %init_peer_id% ("callbackSrv" "response") [answer]))
            (call %init_peer_id% ("errorHandlingSrv" "error") [%last_error% 1]))"#
    );
    let client = Client::connect(key, address(peer)).await.unwrap();
    let mut request = Request::new(script).ttl(Duration::from_secs(30));
    for (name, value) in arguments {
        request = request.argument(name, value).unwrap();
    }
    let answer = client.call(request).await;
    client.stop().await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_travels_from_vault_to_vault() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let first = start(1, config(folders[0].path(), &[], content())).await;
    let first = first.unwrap();
    let near = config(folders[1].path(), &[address(&first)], content());
    let near = start(2, near).await.unwrap();
    knows(&near, &first).await;
    let far = start(3, config(folders[2].path(), &[], content())).await;
    let far = far.unwrap();

    let put = ["vault.put [text] path", "aqua-ipfs.put [path] answer"];
    let text = [("text", "to be kept")];
    let stored = run(&first, manager(), &put, &text).await.unwrap();
    let hash = unixfs::cid_of(b"to be kept").to_string();
    let expected = json!({ "success": true, "error": "", "hash": hash });
    assert_eq!(stored, expected);

    // By Kademlia, and by an address that a script names.
    let hash = [("hash", hash.as_str()), ("from", address(&first))];
    let cat = [
        "aqua-ipfs.cat [hash] read",
        "op.identity [read.$.contents] answer",
    ];
    let read = run(&near, manager(), &cat, &hash).await.unwrap();
    assert_eq!(read, "to be kept");
    let missing = ["aqua-ipfs.cat [hash] answer"];
    let missing = run(&far, manager(), &missing, &hash).await.unwrap();
    assert_eq!(missing["success"], false, "{missing}");
    let error = missing["error"].as_str().unwrap();
    assert_eq!(error, format!("block {} is missing", hash[0].1));
    let get = [
        "aqua-ipfs.get_from [hash from] got",
        "vault.cat [got.$.path] answer",
    ];
    let read = run(&far, manager(), &get, &hash).await.unwrap();
    assert_eq!(read, "to be kept");

    let own = [
        "aqua-ipfs.get_external_api_multiaddr [] got",
        "op.identity [got.$.multiaddr] answer",
    ];
    let own = run(&first, manager(), &own, &[]).await.unwrap();
    assert_eq!(own, address(&first));
    let stranger = KeyPair::from_seed(&[8; 32]);
    let refused = run(&near, stranger, &cat, &hash).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("only available to the host or worker spells"),
        "{refused}"
    );
    for (call, says) in [
        (r#"aqua-ipfs.cat ["nonsense"] answer"#, "nonsense"),
        (
            r#"aqua-ipfs.put ["../other"] answer"#,
            "doesn't belong to vault",
        ),
        (
            r#"aqua-ipfs.connect ["/ip4/127.0.0.1/tcp/1"] answer"#,
            "127.0.0.1",
        ),
    ] {
        let failed = run(&near, manager(), &[call], &[]).await.unwrap();
        assert_eq!(failed["success"], false);
        assert!(failed["error"].as_str().unwrap().contains(says), "{failed}");
    }
    for peer in [first, near, far] {
        peer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lies_does_not_hide_who_has_it() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let honest = start(1, config(folders[0].path(), &[], content())).await;
    let honest = honest.unwrap();
    let file: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number / 7) as u8)
        .collect();
    let held = honest.content().unwrap();
    let cid = held.store(file.clone()).await.unwrap();
    // What is there takes no room again.
    let bytes = held.shelf().held();
    assert!(bytes > 0 && bytes <= 3_000_000);
    assert_eq!(held.store(file.clone()).await.unwrap(), cid);
    assert_eq!(held.shelf().held(), bytes);

    let settings = PeerConfig {
        tcp_port: 0,
        websocket_port: 0,
        listen_ip: Ipv4Addr::LOCALHOST.into(),
        ..PeerConfig::default()
    };
    let key = KeyPair::from_seed(&[66; 32]);
    let (liar, _received) = Network::start(&key, &settings.network(), Role::Host)
        .await
        .unwrap();
    liar.provide_blocks(Arc::new(Liar));
    let asked = ContentConfig {
        peers: vec![
            liar.listen_addresses()[0].clone(),
            address(&honest).to_owned(),
        ],
        max_file: ByteSize(3_000_000),
        max_size: ByteSize(1_000),
        ..content()
    };
    let peer = start(2, config(folders[1].path(), &[], asked))
        .await
        .unwrap();
    let content = peer.content().unwrap();
    assert_eq!(content.fetch(cid, None).await.unwrap(), file);

    let nobody = unixfs::cid_of(b"nobody has this");
    let failed = content.fetch(nobody, None).await.unwrap_err().to_string();
    assert!(failed.contains("gave another block"), "{failed}");
    let larger = held.store(vec![1; 3_000_001]).await.unwrap();
    let refused = content.fetch(larger, None).await.unwrap_err();
    assert!(matches!(refused, FetchError::Load(_)), "{refused}");
    let refused = content.store(vec![1; 3_000_001]).await.unwrap_err();
    assert!(matches!(
        refused,
        PutError::TooLarge {
            length: 3_000_001,
            ..
        }
    ));
    content.store(vec![1; 600]).await.unwrap();
    let refused = content.store(vec![2; 600]).await.unwrap_err();
    assert!(matches!(
        refused,
        PutError::Full {
            held: 600,
            limit: 1_000,
            new: 600
        }
    ));

    // A block that the disk spoiled is not given to anybody.
    let spoiled = folders[0].path().join("blocks").join(cid.to_string());
    std::fs::write(spoiled, "spoiled").unwrap();
    let failed = content.fetch(cid, None).await;
    assert!(matches!(failed, Err(FetchError::Store(_))), "{failed:?}");
    liar.shutdown().await;
    peer.stop().await;
    honest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let settings = || config(folder.path(), &[], content());
    let peer = start(1, settings()).await.unwrap();
    let stored = peer.content().unwrap().store(vec![5; 1_000_000]).await;
    let cid: Cid = stored.unwrap();
    let held = peer.content().unwrap().shelf().held();
    peer.stop().await;
    drop(peer);
    store::is_free(folder.path()).await;
    let peer = start(1, settings()).await.unwrap();
    let content = peer.content().unwrap();
    assert_eq!(content.shelf().held(), held);
    assert_eq!(content.fetch(cid, None).await.unwrap(), vec![5; 1_000_000]);
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = async |config| match start(1, config).await {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    };
    let mut nowhere = config(folder.path(), &[], content());
    nowhere.data_dir = None;
    let said = refused(nowhere).await;
    assert!(
        said.contains("`content.enable`") && said.contains("`data_dir`"),
        "{said}"
    );
    let peers = ContentConfig {
        peers: vec!["/ip4/127.0.0.1/tcp/1".to_owned()],
        ..content()
    };
    let said = refused(config(folder.path(), &[], peers)).await;
    assert!(
        said.contains("`content.peers`") && said.contains("/p2p/PEER_ID"),
        "{said}"
    );
    let gateway = ContentConfig {
        gateway: Some("ftp://somewhere".to_owned()),
        ..content()
    };
    let said = refused(config(folder.path(), &[], gateway)).await;
    assert!(said.contains("`content.gateway`"), "{said}");
}
