//! Sockets that never become a peer, and peers of other kinds.

use futures::StreamExt as _;
use libp2p::swarm::{Config, SwarmEvent};
use libp2p::{Multiaddr, Swarm, identify};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::identity::key_pair;
use super::super::transport::transport;
use super::*;

/// Who does not speak the particle protocol, as identify says, is sent away and counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_without_the_protocol_is_sent_away() {
    let host = node(1).await;
    let key = key_pair(&KeyPair::from_seed(&[5; 32])).unwrap();
    let settings = identify::Config::new("/something/else/1.0.0".to_owned(), key.public());
    let mut swarm = Swarm::new(
        transport(&key, Duration::from_secs(5)).unwrap(),
        identify::Behaviour::new(settings),
        key.public().to_peer_id(),
        Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(60)),
    );
    let address: Multiaddr = host.tcp().parse().unwrap();
    swarm.dial(address).unwrap();
    let closed = async {
        let mut connected = false;
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => connected = true,
                SwarmEvent::ConnectionClosed { .. } => return connected,
                _ => {}
            }
        }
    };
    assert!(within(closed).await);
    assert_eq!(host.network.counters().foreign_peers.get(), 1);
    eventually(|| host.network.connected_peers().is_empty()).await;
}

/// Sockets that say a little now and then, on both transports, are closed as silent ones are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_trickle_are_closed() {
    let mut config = config();
    config.socket_timeout = HumanDuration::from_millis(400);
    let host = start(1, config, Role::Host).await.unwrap();
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nX-Filler: ";
    for (address, beginning) in [
        (host.tcp(), "\x13/multistream/1.0.0\n"),
        (host.websocket(), upgrade),
    ] {
        let port = address.split('/').nth(4).unwrap();
        let socket = TcpStream::connect(format!("127.0.0.1:{port}"));
        let (mut reader, mut writer) = socket.await.unwrap().into_split();
        let text = beginning.to_owned();
        let talking = tokio::spawn(async move {
            let mut written = 0;
            for byte in text.bytes().chain(std::iter::repeat(b'a')) {
                if writer.write_all(&[byte]).await.is_err() {
                    break;
                }
                written += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            written
        });
        let mut said = Vec::new();
        // The end or a reset; nothing is said to who says nothing.
        let _ = within(reader.read_to_end(&mut said)).await;
        let written = within(talking).await.unwrap();
        assert!(written > 5, "{address}: closed after {written} bytes");
        assert!(said.len() < 1024, "{address}");
    }
    // It still serves others.
    let client = client(2).await;
    within(client.network.dial(host.tcp())).await.unwrap();
    host.network.shutdown().await;
}
