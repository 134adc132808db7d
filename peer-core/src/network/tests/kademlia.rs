//! Who gets into whose Kademlia table, and with which addresses.

use super::*;
use crate::config::NetworkName;

/// A host that starts at these nodes and gives up lookups soon.
async fn member(seed: u8, network: NetworkName, bootstrap: &[&Node]) -> Node {
    let mut config = NetworkConfig {
        bootstrap_nodes: bootstrap.iter().map(|node| node.tcp().to_owned()).collect(),
        network,
        ..config()
    };
    config.kademlia.query_timeout = HumanDuration::from_millis(500);
    start(seed, config, Role::Host).await.unwrap()
}

async fn neighbors(node: &Node) -> Vec<String> {
    let mut neighbors = node.network.neighborhood(b"key", 20).await;
    neighbors.sort();
    neighbors
}

/// Waits until the table of a node holds these peers and no others.
async fn knows(node: &Node, peers: &[&Node]) {
    let mut expected: Vec<String> = peers.iter().map(|peer| peer.id().to_string()).collect();
    expected.sort();
    within(async {
        while neighbors(node).await != expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Peers of two networks are connected and exchange particles; their tables stay apart, also where
/// a bootstrap node belongs to the other network.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_networks_do_not_mix() {
    let ours = NetworkName::Custom([7; 32]);
    let mut dar = member(1, NetworkName::Dar, &[]).await;
    let dar_peer = member(2, NetworkName::Dar, &[&dar]).await;
    let mut custom = member(3, ours.clone(), &[&dar]).await;
    let custom_peer = member(4, ours, &[&custom, &dar_peer]).await;

    knows(&dar, &[&dar_peer]).await;
    knows(&dar_peer, &[&dar]).await;
    knows(&custom, &[&custom_peer]).await;
    knows(&custom_peer, &[&custom]).await;
    for (from, to) in [(&custom, &dar), (&custom_peer, &dar_peer)] {
        let connected =
            || from.network.is_connected(&to.id()) && to.network.is_connected(&from.id());
        eventually(connected).await;
    }

    for _ in 0..2 {
        let sent = particle("across", 1_000);
        within(dar.network.send(&custom.id(), &sent)).await.unwrap();
        let received = custom.next().await;
        assert_eq!((received.from, received.particle), (dar.id(), sent));
        std::mem::swap(&mut dar, &mut custom);
    }

    // Nobody is found through a table of the other network.
    for (from, to) in [(&dar_peer, custom.id()), (&custom, dar_peer.id())] {
        let found = within(from.network.discover(&to)).await;
        assert!(found.is_err(), "{found:?}");
    }
    knows(&dar, &[&dar_peer]).await;
    knows(&custom, &[&custom_peer]).await;
}

/// Who answers lookups with addresses that lead nowhere from outside does not get them into the
/// table, although this machine can be reached by them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_addresses_in_answers_are_not_kept() {
    let liar = member(1, NetworkName::Dar, &[]).await;
    let hidden = member(2, NetworkName::Dar, &[&liar]).await;
    knows(&liar, &[&hidden]).await;

    let mut config = NetworkConfig {
        bootstrap_nodes: vec![liar.tcp().to_owned()],
        allow_local_addresses: false,
        // Nobody can dial it.
        listen: Vec::new(),
        ..config()
    };
    config.kademlia.query_timeout = HumanDuration::from_millis(500);
    let victim = start(3, config, Role::Host).await.unwrap();
    // What the owner of a peer names is kept wherever it is.
    knows(&victim, &[&liar]).await;
    let found = within(victim.network.discover(&hidden.id())).await;
    assert!(found.is_err(), "{found:?}");
    knows(&victim, &[&liar]).await;
    // Its lookup may have connected to the peer, and the address of a connection is no secret. The
    // other one, which was only advertised, is not there.
    let known = Connectivity::get_contact(&victim.network, &hidden.id().to_string()).await;
    let advertised = [hidden.tcp(), hidden.websocket()].map(|address| {
        let (address, _) = address.split_once("/p2p/").unwrap();
        address.to_owned()
    });
    assert!(
        known.as_ref().is_none_or(|known| {
            let is_known = |address| known.addresses.contains(address);
            !advertised.iter().all(is_known)
        }),
        "{known:?}"
    );
}
