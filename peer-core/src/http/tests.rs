use std::{collections::BTreeSet, net::Ipv4Addr};

use particle::KeyPair;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;
use crate::client::{Client, Request};

async fn served(change: impl FnOnce(&mut PeerConfig)) -> (Peer, Http) {
    let mut config = PeerConfig {
        listen_ip: Ipv4Addr::LOCALHOST.into(),
        tcp_port: 0,
        websocket_port: 0,
        http_port: 0,
        ..PeerConfig::default()
    };
    config.root_key_pair.value = Some("geheim".to_owned());
    change(&mut config);
    let metrics = Arc::new(Metrics::new());
    let peer = Peer::builder(KeyPair::from_seed(&[1; 32]))
        .config(config.clone())
        .observer(metrics.clone())
        .start()
        .await
        .unwrap();
    metrics.watch(&peer);
    let http = Http::start(&peer, &config, metrics).await.unwrap();
    (peer, http)
}

async fn ask(http: &Http, request: &str) -> String {
    let mut stream = TcpStream::connect(http.address()).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn the_runtime_is_shown_on_demand() {
    for shown in [false, true] {
        let (peer, http) = served(|config| config.tokio_metrics_enabled = shown).await;
        let answer = ask(&http, "GET /metrics").await;
        for name in [
            "tokio_workers_count 1",
            "tokio_worker_park_count_total{worker=\"0\"}",
        ] {
            assert_eq!(body(&answer).contains(name), shown, "{name}");
        }
        assert!(body(&answer).ends_with("# EOF\n"));
        peer.stop().await;
    }
}

#[tokio::test]
async fn everything_is_answered() {
    let (peer, http) = served(|_| {}).await;
    let answer = ask(&http, "GET /peer_id").await;
    assert_eq!(status(&answer), "200");
    assert_eq!(
        body(&answer),
        format!("{{\"peer_id\":\"{}\"}}", peer.peer_id())
    );
    let answer = ask(&http, "GET /versions").await;
    assert!(body(&answer).starts_with("{\"node\":\""), "{answer}");
    let answer = ask(&http, "GET /health").await;
    assert_eq!(status(&answer), "200");
    assert_eq!(
        body(&answer),
        r#"[{"vm_pool":"Ok"},{"persisted_services":"Ok"}]"#
    );
    let answer = ask(&http, "GET /metrics").await;
    assert!(
        answer.contains(MEDIA_TYPE) && answer.ends_with("# EOF\n"),
        "{answer}"
    );
    for path in ["/config", "/", "/metrics/"] {
        let answer = ask(&http, &format!("GET {path}")).await;
        assert_eq!(
            (status(&answer), body(&answer)),
            ("404", "No such endpoint")
        );
    }
    assert_eq!(status(&ask(&http, "POST /health").await), "405");
    drop(http);
    peer.stop().await;
}

#[tokio::test]
async fn what_is_off_is_not_there_and_the_configuration_has_no_secrets() {
    let (peer, http) = served(|config| {
        config.metrics_enabled = false;
        config.health_check_enabled = false;
        config.config_endpoint_enabled = true;
    })
    .await;
    for path in ["/metrics", "/health"] {
        assert_eq!(status(&ask(&http, &format!("GET {path}")).await), "404");
    }
    let answer = ask(&http, "GET /config").await;
    assert!(body(&answer).contains("tcp_port = 0"), "{answer}");
    assert!(!answer.contains("geheim"));
    drop(http);
    peer.stop().await;
}

#[tokio::test]
async fn a_bootstrap_node_that_is_missing_makes_the_peer_half_well() {
    let (peer, http) = served(|config| {
        config.bootstrap_nodes = vec!["/ip4/127.0.0.1/tcp/1".to_owned()];
    })
    .await;
    let answer = ask(&http, "GET /health").await;
    assert_eq!(status(&answer), "429");
    assert_eq!(
        body(&answer),
        r#"[{"vm_pool":"Ok"},{"persisted_services":"Ok"},{"bootstrap_nodes":"Fail"},{"kademlia_bootstrap":"Fail"}]"#
    );
    drop(http);
    peer.stop().await;
    let failed = HealthCheck {
        name: "vm_pool",
        passed: false,
    };
    assert_eq!(health(&[failed]).status, 503);
    assert_eq!(health(&[]).status, 200);
}

/// Names that strangers invent become no series: after many there are those that were there after
/// the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_do_not_grow_with_what_strangers_send() {
    let (peer, http) = served(|_| {}).await;
    let relay = peer.network().listen_addresses()[0].clone();
    let mut seen = BTreeSet::new();
    for round in 0..3_u8 {
        for number in 0..10_u8 {
            let key = KeyPair::from_seed(&[100 + 10 * round + number; 32]);
            let client = Client::connect(key, &relay).await.unwrap();
            let script = format!(
                r#"(seq
                    (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
                    (xor
                        (call relay ("service-{round}-{number}" "f{number}") [])
                        (call %init_peer_id% ("callbackSrv" "response") ["no"])))"#
            );
            assert_eq!(client.call(Request::new(&script)).await.unwrap(), "no");
            client.stop().await;
        }
        let answer = ask(&http, "GET /metrics").await;
        let series: BTreeSet<String> = body(&answer)
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
            .collect();
        assert!(series.len() > 100, "{}", series.len());
        let invented = |line: &String| {
            let functions = (0..10).map(|number| format!("\"f{number}\""));
            line.contains("service-") || functions.into_iter().any(|name| line.contains(&name))
        };
        assert!(!series.iter().any(invented));
        match round {
            0 => seen = series,
            // Connections can end in a few ways, each with a series of its own.
            _ => {
                let new: Vec<&String> = series.difference(&seen).collect();
                assert!(new.len() < 30, "{new:?}");
            }
        }
    }
    peer.stop().await;
}
