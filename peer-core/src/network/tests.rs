//! Two and more networks on loopback.

mod blocks;
mod kademlia;
mod strangers;

use std::time::Duration;

use bytes::Bytes;
use particle::{KeyPair, Particle, PeerId};
use tokio::sync::{mpsc, oneshot};

use super::handle::{Network, Role};
use super::identity::to_libp2p;
use super::table::Outgoing;
use super::{DialError, Incoming, NetworkError, NetworkEvent, SendError};
use crate::config::{ByteSize, HumanDuration, NetworkConfig};
use crate::connectivity::Connectivity;

struct Node {
    network: Network,
    received: mpsc::Receiver<Incoming>,
}

impl Node {
    fn id(&self) -> PeerId {
        self.network.peer_id()
    }

    fn tcp(&self) -> &str {
        &self.network.listen_addresses()[0]
    }

    fn websocket(&self) -> &str {
        &self.network.listen_addresses()[1]
    }

    async fn next(&mut self) -> Incoming {
        within(self.received.recv()).await.unwrap()
    }

    /// Sends bytes that need not be a frame of a particle.
    async fn send_raw(&self, peer: &PeerId, bytes: Vec<u8>) {
        let connections = self.network.raw_connections(&to_libp2p(peer).unwrap());
        let (done, report) = oneshot::channel();
        let outgoing = Outgoing {
            frame: Bytes::from(bytes),
            done,
        };
        connections[0].queue.send(outgoing).await.unwrap();
        // The receiver may reset the stream before everything is written.
        let _ = within(report).await;
    }
}

fn config() -> NetworkConfig {
    NetworkConfig {
        listen: vec![
            "/ip4/0.0.0.0/tcp/0".to_owned(),
            "/ip4/127.0.0.1/tcp/0/ws".to_owned(),
        ],
        allow_local_addresses: true,
        ..NetworkConfig::default()
    }
}

async fn node(seed: u8) -> Node {
    start(seed, config(), Role::Host).await.unwrap()
}

async fn client(seed: u8) -> Node {
    let config = NetworkConfig {
        listen: Vec::new(),
        ..config()
    };
    start(seed, config, Role::Client).await.unwrap()
}

async fn start(seed: u8, config: NetworkConfig, role: Role) -> Result<Node, NetworkError> {
    let key = KeyPair::from_seed(&[seed; 32]);
    let (network, received) = Network::start(&key, &config, role).await?;
    Ok(Node { network, received })
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work)
        .await
        .unwrap()
}

async fn eventually(mut condition: impl FnMut() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

fn particle(text: &str, size: usize) -> Particle {
    let key = KeyPair::from_seed(&[9; 32]);
    let mut particle = Particle::new(&key, text.to_owned(), 1, 2, "(null)".to_owned());
    particle.data = Bytes::from(vec![7; size]);
    particle
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn particles_travel_both_ways_on_both_transports() {
    let mut host = node(1).await;
    let mut client = client(2).await;
    for address in [host.tcp().to_owned(), host.websocket().to_owned()] {
        assert!(address.starts_with("/ip4/127.0.0.1/tcp/"), "{address}");
        assert!(
            address.ends_with(&format!("/p2p/{}", host.id())),
            "{address}"
        );
        assert_eq!(
            within(client.network.dial(&address)).await.unwrap(),
            host.id()
        );
        for size in [0, 100, 300_000] {
            let sent = particle("there", size);
            within(client.network.send(&host.id(), &sent))
                .await
                .unwrap();
            let received = host.next().await;
            assert_eq!((received.from, received.particle), (client.id(), sent));
            // The client does not listen: this goes through the connection it made.
            let sent = particle("back", size);
            within(host.network.send(&client.id(), &sent))
                .await
                .unwrap();
            let received = client.next().await;
            assert_eq!((received.from, received.particle), (host.id(), sent));
        }
        assert!(client.network.disconnect(&host.id()).await);
        eventually(|| !host.network.is_connected(&client.id())).await;
    }
    host.network.shutdown().await;
    client.network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_ends_the_stream_but_not_the_connection() {
    let mut config = config();
    config.protocol.max_frame_size = ByteSize(10_000);
    let mut host = start(1, config, Role::Host).await.unwrap();
    let client = client(2).await;
    within(client.network.dial(host.tcp())).await.unwrap();
    let mut events = host.network.events();

    let good = particle::frame::encode(&particle("good", 10));
    let mut foreign_codec = good.clone();
    foreign_codec[2] = 0x7f;
    for bytes in [
        vec![0; 100],
        vec![0xff; 100],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        foreign_codec,
        good[..good.len() / 2].to_vec(),
        particle::frame::encode(&particle("long", 20_000)),
        Vec::new(),
    ] {
        client.send_raw(&host.id(), bytes).await;
    }
    within(client.network.send(&host.id(), &particle("still here", 10)))
        .await
        .unwrap();
    let received = host.next().await;
    assert_eq!(received.particle, particle("still here", 10));
    eventually(|| {
        let counters = host.network.counters();
        counters.refused_frames.get() + counters.incomplete_frames.get() >= 6
    })
    .await;
    assert_eq!(host.network.counters().received.get(), 1);
    assert!(client.network.is_connected(&host.id()));
    while let Ok(event) = events.try_recv() {
        assert!(
            !matches!(event, NetworkEvent::Disconnected { .. }),
            "{event:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_does_not_take_particles_holds_its_senders_back() {
    let mut config = config();
    config.particle_queue_buffer = 1;
    config.protocol.max_inbound_streams = 2;
    let mut host = start(1, config, Role::Host).await.unwrap();
    let client = client(2).await;
    within(client.network.dial(host.tcp())).await.unwrap();
    for _ in 0..200 {
        within(client.network.send(&host.id(), &particle("wait", 10)))
            .await
            .unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(host.network.counters().received.get() <= 4);
    for _ in 0..200 {
        host.next().await;
    }
}

/// A socket that is opened and says nothing is closed, on both transports.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_sockets_are_closed() {
    let mut config = config();
    config.socket_timeout = HumanDuration::from_millis(300);
    let host = start(1, config, Role::Host).await.unwrap();
    for address in [host.tcp(), host.websocket()] {
        let port = address.split('/').nth(4).unwrap();
        let socket = format!("127.0.0.1:{port}");
        let mut stream = tokio::net::TcpStream::connect(socket).await.unwrap();
        let mut rest = Vec::new();
        // What the host says first, if anything, and then the end or a reset.
        let _ = within(tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest)).await;
        assert!(rest.len() < 1024, "{address}");
    }
    host.network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_limited() {
    let mut config = config();
    config.max_established_incoming = Some(1);
    let host = start(1, config, Role::Host).await.unwrap();
    let (first, second) = (client(2).await, client(3).await);
    within(first.network.dial(host.tcp())).await.unwrap();
    // Who dials has a connection a moment before who is dialed.
    eventually(|| host.network.is_connected(&first.id())).await;
    // The handshake may succeed; the connection is not kept.
    let _ = within(second.network.dial(host.tcp())).await;
    eventually(|| !second.network.is_connected(&host.id())).await;
    assert!(first.network.is_connected(&host.id()));
    assert_eq!(host.network.connected_peers(), [first.id()]);
}

/// Addresses that lead nowhere from outside stay out of the pool and of Kademlia.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn advertised_local_addresses_are_not_believed() {
    for allowed in [true, false] {
        let mut config = config();
        config.allow_local_addresses = allowed;
        let host = start(1, config, Role::Host).await.unwrap();
        // It listens on loopback and says so.
        let liar = node(2).await;
        within(liar.network.dial(host.tcp())).await.unwrap();
        // Over TCP it is also the address that it comes from.
        let advertised = liar.websocket().split("/p2p/").next().unwrap().to_owned();
        let known = || async {
            let liar = liar.id().to_string();
            let contact = Connectivity::get_contact(&host.network, &liar).await;
            contact.is_some_and(|contact| contact.addresses.contains(&advertised))
        };
        if allowed {
            within(async {
                while !known().await {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            })
            .await;
        } else {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(!known().await);
            let neighbors = Connectivity::neighborhood(&host.network, b"key", 20).await;
            assert!(neighbors.is_empty(), "{neighbors:?}");
        }
        liar.network.shutdown().await;
        host.network.shutdown().await;
    }
}

/// Who does not read what is sent to it loses its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_are_dropped() {
    let mut patient = config();
    patient.protocol.upgrade_timeout = HumanDuration::from_millis(200);
    let host = start(1, patient, Role::Host).await.unwrap();
    let mut deaf = config();
    deaf.listen.clear();
    deaf.particle_queue_buffer = 1;
    deaf.protocol.max_inbound_streams = 1;
    let client = start(2, deaf, Role::Client).await.unwrap();
    within(client.network.dial(host.tcp())).await.unwrap();
    let id = client.id();
    eventually(|| host.network.is_connected(&id)).await;
    for _ in 0..8 {
        let network = host.network.clone();
        tokio::spawn(async move { network.send(&id, &particle("unread", 400_000)).await });
    }
    eventually(|| host.network.counters().slow_readers.get() == 1).await;
    eventually(|| !host.network.is_connected(&id)).await;
    assert!(host.network.counters().send_failed.get() >= 3);
}

/// A connection that floods does not keep the others waiting for all of its particles.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_take_turns() {
    let mut config = config();
    config.particle_queue_buffer = 1;
    let mut host = start(1, config, Role::Host).await.unwrap();
    let (loud, quiet) = (client(2).await, client(3).await);
    within(loud.network.dial(host.tcp())).await.unwrap();
    within(quiet.network.dial(host.tcp())).await.unwrap();
    for _ in 0..100 {
        within(loud.network.send(&host.id(), &particle("loud", 10)))
            .await
            .unwrap();
    }
    eventually(|| host.network.counters().received.get() >= 50).await;
    within(quiet.network.send(&host.id(), &particle("quiet", 10)))
        .await
        .unwrap();
    eventually(|| host.network.counters().received.get() == 101).await;
    let mut before = 0;
    while host.next().await.particle.id != "quiet" {
        before += 1;
    }
    assert!(before < 20, "{before} came before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_found_through_kademlia() {
    let hub = node(1).await;
    let near = |seed| {
        let address = hub.tcp().to_owned();
        async move {
            let config = NetworkConfig {
                bootstrap_nodes: vec![address],
                ..config()
            };
            start(seed, config, Role::Host).await.unwrap()
        }
    };
    let (first, mut second) = (near(2).await, near(3).await);
    eventually(|| hub.network.connected_peers().len() == 2).await;
    // Identify has to tell the hub where they listen.
    within(async {
        while hub.network.neighborhood(b"key", 20).await.len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let sent = particle("hello", 10);
    // Peers that dial each other at once close one connection, and what is on its way there is lost:
    // the protocol has no answers.
    let received = within(async {
        loop {
            first.network.send(&second.id(), &sent).await.unwrap();
            let waiting = tokio::time::timeout(Duration::from_secs(2), second.received.recv());
            if let Ok(Some(received)) = waiting.await {
                return received;
            }
        }
    });
    assert_eq!(received.await.particle, sent);
    assert!(first.network.is_connected(&second.id()));
    let contact = first
        .network
        .get_contact(&second.id().to_string())
        .await
        .unwrap();
    assert!(!contact.addresses.is_empty());
    assert_eq!(first.network.connected_bootstraps(), [hub.tcp()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_peer_cannot_be_reached() {
    let mut config = config();
    config.kademlia.query_timeout = HumanDuration::from_millis(200);
    let host = start(1, config, Role::Host).await.unwrap();
    let nobody = KeyPair::from_seed(&[77; 32]).peer_id();
    let error = within(host.network.send(&nobody, &particle("x", 1)))
        .await
        .unwrap_err();
    assert!(matches!(error, SendError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&nobody.to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named() {
    let host = node(1).await;
    let port = host.tcp().split('/').nth(4).unwrap();
    let address = format!("/ip4/0.0.0.0/tcp/{port}");
    let config = NetworkConfig {
        listen: vec![address.clone()],
        ..config()
    };
    let error = start(2, config, Role::Host)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains(&address) && error.contains("in use"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_that_fails_says_why() {
    let client = client(1).await;
    let host = node(2).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", nobody.port());
    let error = within(client.network.dial(&address))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&address) && error.contains("refused"),
        "{error}"
    );

    let other = KeyPair::from_seed(&[3; 32]).peer_id();
    let address = host
        .tcp()
        .replace(&host.id().to_string(), &other.to_string());
    let error = within(client.network.dial(&address))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(&host.id().to_string()), "{error}");

    let error = within(client.network.dial("no address")).await.unwrap_err();
    assert!(matches!(error, DialError::Address { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bootstrap_node_is_found_when_it_comes_and_when_it_comes_back() {
    let address = {
        let hub = node(1).await;
        let address = hub.tcp().to_owned();
        hub.network.shutdown().await;
        address
    };
    let mut peer_config = NetworkConfig {
        bootstrap_nodes: vec![address.clone()],
        ..config()
    };
    peer_config.bootstrap.reconnect_delay = HumanDuration::from_millis(100);
    let peer = start(2, peer_config, Role::Host).await.unwrap();
    let port = address.split("/p2p/").next().unwrap().to_owned();
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(peer.network.connected_bootstraps().is_empty());
        let hub_config = NetworkConfig {
            listen: vec![port.clone()],
            ..config()
        };
        let hub = start(1, hub_config, Role::Host).await.unwrap();
        eventually(|| peer.network.connected_bootstraps() == [address.clone()]).await;
        hub.network.shutdown().await;
        eventually(|| peer.network.connected_bootstraps().is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sending_to_oneself_needs_no_connection() {
    let mut host = node(1).await;
    let id = host.id();
    host.network.send(&id, &particle("me", 1)).await.unwrap();
    assert_eq!(host.next().await.from, id);
    assert!(host.network.is_connected(&id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_connection_of_a_returning_client_is_used() {
    let host = node(1).await;
    let old = client(2).await;
    within(old.network.dial(host.tcp())).await.unwrap();
    // The host may learn of a connection later than the client that made it.
    eventually(|| host.network.is_connected(&old.id())).await;
    let mut new = client(2).await;
    within(new.network.dial(host.websocket())).await.unwrap();
    eventually(|| {
        host.network
            .raw_connections(&to_libp2p(&new.id()).unwrap())
            .len()
            == 2
    })
    .await;
    within(host.network.send(&new.id(), &particle("x", 1)))
        .await
        .unwrap();
    new.next().await;
}
