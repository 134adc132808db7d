use std::time::{Instant, UNIX_EPOCH};

use particle::KeyPair;
use peer_core::otel::opentelemetry::Context;
use peer_core::otel::opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, Tracer as _, TracerProvider as _,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

fn start(config: &str) -> TraceExport {
    let config = peer_core::config::from_toml(config).unwrap();
    let peer = KeyPair::from_seed(&[1; 32]).peer_id();
    TraceExport::start(&config, peer).unwrap().unwrap()
}

fn write(export: &TraceExport, name: &'static str) {
    let at = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_001);
    let tracer = export.provider.tracer("aquamarine");
    let builder = SpanBuilder::from_name(name)
        .with_kind(SpanKind::Producer)
        .with_start_time(at)
        .with_attributes([KeyValue::new("size", 3), KeyValue::new("to", "somebody")]);
    let mut span = tracer.build_with_context(builder, &Context::new());
    span.set_status(Status::error("away"));
    span.end_with_timestamp(at + Duration::from_nanos(1));
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = format!("type = 'otlp'\nendpoint = 'http://{address}'");
    (listener, config)
}

/// The head and the body of one request.
async fn request(stream: &mut TcpStream) -> (String, Value) {
    let mut read = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
        let text = String::from_utf8(read.clone()).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            return (head.to_owned(), body);
        }
    }
}

async fn answer(stream: &mut TcpStream, status: &str, body: &str) {
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_has_the_form_that_collectors_take() {
    let (listener, config) = listen().await;
    let export = start(&config);
    write(&export, "send");
    let stopping = tokio::spawn(export.stop());
    let (mut stream, _) = listener.accept().await.unwrap();
    // It is sent again when the collector has too much to do.
    let (_, first) = request(&mut stream).await;
    answer(&mut stream, "503 Busy", "").await;
    let (head, batch) = request(&mut stream).await;
    answer(&mut stream, "200 OK", "{}").await;
    stopping.await.unwrap();

    assert_eq!(first, batch);
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    let of = &batch["resourceSpans"][0];
    let about = of["resource"]["attributes"].as_array().unwrap();
    let peer = KeyPair::from_seed(&[1; 32]).peer_id().to_string();
    for (key, value) in [
        ("service.name", "aquamarine-peer"),
        ("service.instance.id", peer.as_str()),
    ] {
        let wanted = json!({ "key": key, "value": { "stringValue": value } });
        assert!(about.contains(&wanted), "{about:?}");
    }
    let of = &of["scopeSpans"][0];
    assert_eq!(of["scope"]["name"], "aquamarine");
    let mut span = of["spans"][0].clone();
    for (key, digits) in [("traceId", 32), ("spanId", 16)] {
        let id = span.as_object_mut().unwrap().remove(key).unwrap();
        assert_eq!(id.as_str().unwrap().len(), digits, "{id}");
    }
    let wanted = json!({
        "name": "send",
        "kind": 4,
        "startTimeUnixNano": "1700000000000000001",
        "endTimeUnixNano": "1700000000000000002",
        "attributes": [
            { "key": "size", "value": { "intValue": "3" } },
            { "key": "to", "value": { "stringValue": "somebody" } },
        ],
        "status": { "code": 2, "message": "away" },
    });
    assert_eq!(span, wanted);
}

/// A collector that takes connections and never answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_holds_nothing_up() {
    let (listener, config) = listen().await;
    let export = start(&config);
    let began = Instant::now();
    for _ in 0..20 * QUEUE {
        write(&export, "run");
    }
    // Far more than what is kept; each costs microseconds.
    assert!(began.elapsed() < Duration::from_secs(8));
    let began = Instant::now();
    export.stop().await;
    assert!(began.elapsed() < LAST + Duration::from_secs(1));
    drop(listener);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_chosen_is_not_sent() {
    let (listener, config) = listen().await;
    let export = start(&format!("{config}\nsample_ratio = 0"));
    write(&export, "run");
    export.stop().await;
    let asked = tokio::time::timeout(Duration::from_millis(50), listener.accept());
    assert!(asked.await.is_err());
}

#[test]
fn addresses_and_answers_are_checked() {
    let with = |endpoint: &str| TracingConfig {
        endpoint: endpoint.to_owned(),
        ..TracingConfig::default()
    };
    for endpoint in ["http://[::1]:4318", "https://collector.example/otlp"] {
        check(&with(endpoint)).unwrap();
    }
    for endpoint in ["", "collector:4318", "grpc://collector", "ws://collector"] {
        let error = check(&with(endpoint)).unwrap_err().to_string();
        assert!(error.contains("tracing.endpoint"), "{error}");
    }
    let answer = r#"{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "old"}}"#;
    let rejected = json::rejected(answer.as_bytes()).unwrap();
    assert_eq!(rejected, "2 spans were rejected: \"old\"");
    for fine in [
        "",
        "{}",
        r#"{"partialSuccess": {}}"#,
        r#"{"partialSuccess": {"rejectedSpans": "0"}}"#,
    ] {
        assert_eq!(json::rejected(fine.as_bytes()), None, "{fine}");
    }
}
