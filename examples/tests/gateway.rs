//! The example `gateway`: HTTP in front of functions that run on a peer.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use examples::local::LocalNetwork;
use peer_core::engine::Event;
use peer_core::peer::{PeerEvent, PeerEventKind};
use serde_json::{Value, json};

/// Doubles a text on the relay, and tells what it saw.
const TWICE: &str = r#"
(xor
 (seq
  (seq
   (seq
    (call %init_peer_id% ("getDataSrv" "-relay-") [] -relay-)
    (call %init_peer_id% ("getDataSrv" "text") [] -text-arg-)
   )
   (seq
    (call -relay- ("op" "concat_strings") [-text-arg- -text-arg-] ret)
    (call %init_peer_id% ("callbackSrv" "seen") [ret] init_call_res0)
   )
  )
  (call %init_peer_id% ("callbackSrv" "response") [ret])
 )
 (call %init_peer_id% ("errorHandlingSrv" "error") [:error: 0])
)
"#;

/// Waits on the relay for longer than anybody waits for it.
const SLOW: &str = r#"
(seq
 (call %init_peer_id% ("getDataSrv" "-relay-") [] -relay-)
 (seq
  (call -relay- ("peer" "timeout") [60000 "late"] ret)
  (call %init_peer_id% ("callbackSrv" "response") [ret])
 )
)
"#;

/// Takes a request to the relay.
const HOOK: &str = r#"
(seq
 (seq
  (call %init_peer_id% ("getDataSrv" "-relay-") [] -relay-)
  (call %init_peer_id% ("getDataSrv" "request") [] -request-arg-)
 )
 (call -relay- ("op" "identity") [-request-arg-] ret)
)
"#;

/// Five calls, and no more of them later.
const CONFIG: &str = r#"
relay = "RELAY"
listen = "127.0.0.1:0"

[[functions]]
name = "twice"
record = "functions.jsonl"
ttl_ms = 30000

[[functions]]
name = "slow"
record = "functions.jsonl"
ttl_ms = 500

[[functions]]
name = "hook"
record = "functions.jsonl"

[[listeners]]
route = "/hooks/push"
function = "hook"

[[keys]]
name = "test"
key = "a secret of tests"
requests_per_minute = 0
burst = 5
"#;

struct Gateway {
    process: Child,
    address: String,
}

impl Gateway {
    fn start(config: &std::path::Path) -> Self {
        let process = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .arg(config)
            .args(["--log", "warn"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Owned from here on, so that a failing test ends the process too.
        let mut gateway = Self {
            process,
            address: String::new(),
        };
        let stdout = gateway.process.stdout.take().unwrap();
        let mut lines = BufReader::new(stdout).lines();
        let address = lines.next().unwrap().unwrap();
        gateway.address = address.strip_prefix("http ").unwrap().to_owned();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        gateway
    }

    /// Status and the whole answer.
    fn ask(&self, head: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{head}\r\nhost: gateway\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }

    fn call(&self, function: &str, headers: &str, body: &Value) -> (u16, String) {
        self.ask(
            &format!("POST /call/{function} HTTP/1.1\r\n{headers}"),
            &body.to_string(),
        )
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn records() -> String {
    let text = json!({ "tag": "scalar", "name": "string" });
    let results = |items: Value| json!({ "tag": "unlabeledProduct", "items": items });
    let record = |name: &str, air: &str, fields: Value, items: Value| {
        json!({ "function": name, "air": air, "returns": results(items),
            "arguments": { "tag": "labeledProduct", "fields": fields } })
        .to_string()
    };
    let seen =
        json!({ "tag": "arrow", "codomain": { "tag": "nil" }, "domain": results(json!([text])) });
    let request = json!({ "tag": "struct", "name": "Request", "fields": {
        "method": text, "path": text, "query": text, "body": text } });
    [
        record(
            "twice",
            TWICE,
            json!({ "text": text, "seen": seen }),
            json!([text]),
        ),
        record("slow", SLOW, json!({}), json!([text])),
        record("hook", HOOK, json!({ "request": request }), json!([])),
    ]
    .join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_called_over_http() {
    let network = LocalNetwork::start(1, |_, builder| builder).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("functions.jsonl"), records()).unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, CONFIG.replace("RELAY", network.relay().unwrap())).unwrap();
    let gateway = Gateway::start(&file);
    let key = "x-api-key: a secret of tests";

    // A stranger gets the document, and nothing else.
    let (status, document) = gateway.ask("GET /openapi.json HTTP/1.1", "");
    assert_eq!(status, 200);
    assert!(document.contains("/call/twice"), "{document}");
    let text = json!({ "text": "ab" });
    assert_eq!(gateway.call("twice", "x-api-key: guessed", &text).0, 401);
    let (status, _) = gateway.ask("POST /hooks/push HTTP/1.1", "");
    assert_eq!(status, 401);

    let (status, answer) = gateway.call("twice", key, &text);
    assert_eq!(status, 200, "{answer}");
    assert!(answer.ends_with("\"abab\""), "{answer}");
    let events = format!("{key}\r\naccept: text/event-stream");
    let (_, answer) = gateway.call("twice", &events, &text);
    let seen = answer.find("event: seen\ndata: [\"abab\"]");
    let result = answer.find("event: result\ndata: \"abab\"");
    assert!(seen.is_some() && seen < result, "{answer}");
    let (status, answer) = gateway.call("twice", key, &json!({ "text": 1 }));
    assert_eq!(status, 400);
    assert!(answer.contains("text is 1, expected a text"), "{answer}");
    assert_eq!(gateway.call("slow", key, &json!({})).0, 504);

    let head = format!("PUT /hooks/push?by=test HTTP/1.1\r\n{key}");
    let (status, answer) = gateway.ask(&head, "pushed");
    assert_eq!(status, 202, "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    await_call(&network, body["particle"].as_str().unwrap()).await;

    let (status, answer) = gateway.call("twice", key, &text);
    assert_eq!(status, 429);
    assert!(answer.contains("retry-after: "), "{answer}");
}

/// Waits until the relay was called by the particle of a listener.
async fn await_call(network: &LocalNetwork, particle: &str) {
    let relay = network.ids()[0];
    let is_call = |event: &PeerEvent| {
        let PeerEventKind::Engine(Event::Called(call)) = &event.kind else {
            return false;
        };
        event.peer == relay
            && call.particle.id == particle
            && call.function_name == "identity"
            && call.ret_code == 0
    };
    let start = Instant::now();
    while !network.recorder().events().iter().any(is_call) {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{particle} came not to the relay"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
