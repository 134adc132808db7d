//! Sockets that never become a peer, and peers of other kinds.

use futures::StreamExt as _;
use libp2p::swarm::{Config, SwarmEvent};
use libp2p::{Multiaddr, StreamProtocol, Swarm, identify, kad};
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

/// What others put into Kademlia is not kept: nobody finds it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_not_stored() {
    let host = node(1).await;
    let host_id = to_libp2p(&host.id()).unwrap();
    let key = key_pair(&KeyPair::from_seed(&[6; 32])).unwrap();
    let peer = key.public().to_peer_id();
    let protocol = StreamProtocol::try_from_owned(config().network.kademlia_protocol()).unwrap();
    let store = kad::store::MemoryStore::new(peer);
    let mut swarm = Swarm::new(
        transport(&key, Duration::from_secs(5)).unwrap(),
        kad::Behaviour::with_config(peer, store, kad::Config::new(protocol)),
        peer,
        Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(60)),
    );
    let address: Multiaddr = host.tcp().parse().unwrap();
    swarm.behaviour_mut().add_address(&host_id, address);
    let name = kad::RecordKey::new(b"name");
    let record = kad::Record::new(name.clone(), b"value".to_vec());
    swarm
        .behaviour_mut()
        .put_record_to(record, [host_id].into_iter(), kad::Quorum::One);
    let looked_up = async {
        loop {
            let event = swarm.select_next_some().await;
            let SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed { result, .. }) = event
            else {
                continue;
            };
            match result {
                // The protocol has no way to say that it was not stored.
                kad::QueryResult::PutRecord(put) => {
                    put.unwrap();
                    swarm.behaviour_mut().get_record(name.clone());
                }
                kad::QueryResult::GetRecord(found) => return found,
                _ => {}
            }
        }
    };
    let found = within(looked_up).await;
    assert!(found.is_err(), "{found:?}");
    // Who says nothing about itself stays connected, and is not in the table.
    assert!(
        host.network
            .is_connected(&KeyPair::from_seed(&[6; 32]).peer_id())
    );
    assert!(host.network.neighborhood(b"key", 20).await.is_empty());
}
