//! What strangers may try at a running peer.

use std::{net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use particle::{Particle, frame};

use super::*;
use crate::{
    client::{Client, Request},
    config::{EngineLimits, HumanDuration, VmLimits},
    network::peer_of_address,
};

/// Folds in each other over a stream: more steps than anybody waits for, from a short text.
const ENDLESS: &str = r#"
    (seq
        (seq
            (seq (seq (ap 1 $s) (ap 2 $s)) (seq (ap 3 $s) (ap 4 $s)))
            (seq (seq (ap 5 $s) (ap 6 $s)) (seq (ap 7 $s) (ap 8 $s))))
        (seq
            (canon %init_peer_id% $s #s)
            FOLDS))"#;

fn endless(relay: &PeerId) -> String {
    let folds = (0..24).fold("(null)".to_owned(), |inner, depth| {
        format!("(fold #s i{depth} (seq {inner} (next i{depth})))")
    });
    ENDLESS
        .replace("FOLDS", &folds)
        .replace("%init_peer_id%", &format!("\"{relay}\""))
}

async fn host(engine: EngineLimits) -> Peer {
    let config = PeerConfig {
        listen_ip: Ipv4Addr::LOCALHOST.into(),
        tcp_port: 0,
        websocket_port: 0,
        engine,
        ..PeerConfig::default()
    };
    Peer::builder(KeyPair::from_seed(&[1; 32]))
        .config(config)
        .start()
        .await
        .unwrap()
}

/// A stranger with a connection, who writes particles by hand.
struct Stranger {
    key: KeyPair,
    network: Network,
    host: PeerId,
}

impl Stranger {
    async fn connect(peer: &Peer) -> Self {
        let key = KeyPair::from_seed(&[7; 32]);
        let settings = NetworkConfig {
            listen: Vec::new(),
            ..NetworkConfig::default()
        };
        let (network, _) = Network::start(&key, &settings, Role::Client).await.unwrap();
        let address = &peer.network().listen_addresses()[0];
        network.dial(address).await.unwrap();
        Self {
            key,
            network,
            host: peer_of_address(address).unwrap(),
        }
    }

    fn particle(&self, id: &str, script: &str) -> Particle {
        let now = SystemClock.now_ms();
        Particle::new(&self.key, id.to_owned(), now, 60_000, script.to_owned())
    }

    async fn send(&self, particle: &Particle) {
        let frame = Bytes::from(frame::encode(particle));
        self.network.send_frame(&self.host, frame).await.unwrap();
    }
}

async fn until(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap();
}

/// The peer still answers.
async fn is_well(peer: &Peer) {
    let relay = &peer.network().listen_addresses()[0];
    let client = Client::connect(KeyPair::from_seed(&[8; 32]), relay)
        .await
        .unwrap();
    let script = r#"(seq
        (seq
            (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
            (call relay ("op" "identity") ["well"] answer))
        (call %init_peer_id% ("callbackSrv" "response") [answer]))"#;
    let request = Request::new(script).ttl(Duration::from_secs(60));
    assert_eq!(client.call(request).await.unwrap(), "well");
    client.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn particles_that_are_not_what_they_say_are_refused_and_counted() {
    let peer = host(EngineLimits {
        max_ttl: Some(HumanDuration::from_secs(600)),
        ..EngineLimits::default()
    })
    .await;
    let stranger = Stranger::connect(&peer).await;
    let good = || stranger.particle("id", "(null)");
    let signed = |id: &str, timestamp, ttl| {
        Particle::new(
            &stranger.key,
            id.to_owned(),
            timestamp,
            ttl,
            "(null)".to_owned(),
        )
    };
    let now = SystemClock.now_ms();
    let forged = Particle {
        init_peer_id: KeyPair::from_seed(&[1; 32]).peer_id(),
        ..good()
    };
    let foreign = Particle {
        signature: stranger.particle("other", "(null)").signature,
        ..good()
    };
    let changed = Particle {
        script: "(null) ".to_owned(),
        ..good()
    };
    for (particle, reason) in [
        (forged, "bad_signature"),
        (foreign, "bad_signature"),
        (changed, "bad_signature"),
        (signed("old", now - 10_000, 5_000), "expired"),
        (signed("wrapped", u64::MAX, u32::MAX), "expired"),
        (signed("eternal", now, u32::MAX), "ttl_too_long"),
        (signed("../../secret", now, 60_000), "bad_id"),
        (signed("", now, 60_000), "bad_id"),
    ] {
        let dropped = || peer.counters().dropped.get(reason).copied().unwrap_or(0);
        let before = dropped();
        stranger.send(&particle).await;
        until(|| dropped() > before).await;
    }
    // The same particle again changes nothing.
    let particle = good();
    stranger.send(&particle).await;
    until(|| peer.counters().runs == 1).await;
    stranger.send(&particle).await;
    until(|| peer.counters().received == 10).await;
    assert_eq!(
        peer.counters().runs
            + peer
                .counters()
                .dropped
                .get("duplicate")
                .copied()
                .unwrap_or(0),
        2
    );
    is_well(&peer).await;
    stranger.network.shutdown().await;
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_without_end_and_bombs_leave_the_peer_well() {
    let peer = host(EngineLimits {
        vm: VmLimits {
            max_steps: 200_000,
            ..VmLimits::default()
        },
        ..EngineLimits::default()
    })
    .await;
    let stranger = Stranger::connect(&peer).await;
    let relay = peer.peer_id();
    let deep = "(seq (null) ".repeat(50_000) + "(null)" + &")".repeat(50_000);
    let json = format!(
        r#"(call "{relay}" ("json" "parse") ["{}"] value)"#,
        "[".repeat(200_000)
    );
    let wide = format!(
        r#"(seq
            (call "{relay}" ("json" "parse") ["{}1{}"] value)
            (call "{relay}" ("op" "array") [value value value value] again))"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    for (number, script) in [endless(&relay), deep, json, wide, "(".repeat(100_000)]
        .iter()
        .enumerate()
    {
        let before = peer.counters().runs;
        stranger
            .send(&stranger.particle(&format!("bomb {number}"), script))
            .await;
        until(|| peer.counters().runs > before).await;
    }
    // As many as there are places, and more.
    let script = endless(&relay);
    for number in 0..20 {
        stranger
            .send(&stranger.particle(&format!("endless {number}"), &script))
            .await;
    }
    is_well(&peer).await;
    until(|| peer.load().running == 0).await;
    assert!(peer.counters().failed_runs >= 21, "{:?}", peer.counters());
    stranger.network.shutdown().await;
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_hangs_is_given_up_and_reported() {
    let peer = host(EngineLimits {
        run_timeout: HumanDuration::from_millis(100),
        max_parallel_runs: 1,
        vm: VmLimits {
            max_steps: 20_000_000,
            ..VmLimits::default()
        },
        ..EngineLimits::default()
    })
    .await;
    let stranger = Stranger::connect(&peer).await;
    let script = endless(&peer.peer_id());
    stranger.send(&stranger.particle("hangs", &script)).await;
    until(|| peer.counters().timed_out_runs == 1 || peer.counters().failed_runs == 1).await;
    // Nobody waits for it.
    is_well(&peer).await;
    // And it ends.
    until(|| peer.load().stuck == 0).await;
    assert!(peer.health().iter().all(|check| check.passed));
    stranger.network.shutdown().await;
    peer.stop().await;
}
