//! Particles of 3 MB and of 60 MB: from a client over two peers to another client, and back.

#![cfg(feature = "network")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use particle::KeyPair;
use peer_core::{
    client::{Client, Request},
    config::PeerConfig,
    host::{FunctionOutcome, NativeFunctions},
    peer::Peer,
};
use serde_json::json;

const SCRIPT: &str = r#"
    (xor
        (seq
            (seq
                (seq
                    (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
                    (call %init_peer_id% ("getDataSrv" "far") [] far))
                (seq
                    (call %init_peer_id% ("getDataSrv" "client") [] client)
                    (call %init_peer_id% ("getDataSrv" "text") [] text)))
            (seq
                (seq
                    (seq
                        (call relay ("op" "noop") [])
                        (call far ("op" "noop") []))
                    (call client ("text" "summary") [text] summary))
                (seq
                    (seq
                        (call far ("op" "noop") [])
                        (call relay ("op" "noop") []))
                    (call %init_peer_id% ("callbackSrv" "response") [summary]))))
        (call %init_peer_id% ("errorHandlingSrv" "error") [%last_error% 1]))"#;

async fn start(seed: u8, bootstrap_nodes: Vec<String>) -> Peer {
    let config = PeerConfig {
        listen_ip: Ipv4Addr::LOCALHOST.into(),
        tcp_port: 0,
        websocket_port: 0,
        allow_local_addresses: true,
        bootstrap_nodes,
        ..PeerConfig::default()
    };
    let peer = Peer::builder(KeyPair::from_seed(&[seed; 32])).config(config);
    peer.start().await.unwrap()
}

fn address(peer: &Peer) -> String {
    peer.network().listen_addresses().first().unwrap().clone()
}

/// Length and a sum that depends on every byte and its place.
fn summary(text: &str) -> (usize, u64) {
    let sum = text.bytes().fold(7, |sum: u64, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    (text.len(), sum >> 16)
}

/// Not the same block over and over again.
fn text(length: usize) -> String {
    let letters = (0..length).map(|place| {
        let mixed = (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        char::from(b'a' + (mixed % 26) as u8)
    });
    letters.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_particles_pass_over_two_peers() {
    let near = start(1, Vec::new()).await;
    let far = start(2, vec![address(&near)]).await;
    let functions = NativeFunctions::new().with("text", "summary", |call| {
        match call.arguments().next::<String>("text") {
            Ok(text) => FunctionOutcome::value(&summary(&text)),
            Err(error) => FunctionOutcome::error(&error.to_json_text()),
        }
    });
    let answering = Client::builder(KeyPair::from_seed(&[3; 32]), &address(&far))
        .functions(Arc::new(functions))
        .connect()
        .await
        .unwrap();
    let asking = Client::connect(KeyPair::from_seed(&[4; 32]), &address(&near))
        .await
        .unwrap();

    for length in [3_000_000, 60_000_000] {
        let text = text(length);
        let request = Request::new(SCRIPT)
            .ttl(Duration::from_secs(120))
            .argument("far", &far.peer_id().to_string())
            .unwrap()
            .argument("client", &answering.peer_id().to_string())
            .unwrap()
            .argument("text", &text)
            .unwrap();
        let answer = asking.call(request).await.unwrap();
        assert_eq!(answer, json!(summary(&text)), "{length} bytes");
    }

    asking.stop().await;
    answering.stop().await;
    far.stop().await;
    near.stop().await;
}
