use std::net::Ipv4Addr;

use particle::KeyPair;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;

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
