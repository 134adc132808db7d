//! Traces that the program `peer` exports.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]
#![cfg(unix)]

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const CLIENT: &str = env!("CARGO_BIN_EXE_client");
const PEER: &str = env!("CARGO_BIN_EXE_peer");

/// From the relay to another peer and back.
const THERE_AND_BACK: &str = r#"
(seq
 (seq
  (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
  (call %init_peer_id% ("getDataSrv" "other") [] other)
 )
 (seq
  (seq
   (call relay ("op" "identity") ["there"] there)
   (seq
    (call other ("op" "identity") [there] back)
    (call relay ("op" "noop") [])
   )
  )
  (call %init_peer_id% ("callbackSrv" "response") [back])
 )
)
"#;

/// Keeps what is posted to it.
struct Collector {
    url: String,
    batches: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let batches = Arc::new(Mutex::new(Vec::new()));
        let kept = batches.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = kept.clone();
                thread::spawn(move || serve(stream.unwrap(), &kept));
            }
        });
        Self { url, batches }
    }

    fn spans(&self) -> Vec<Span> {
        self.batches
            .lock()
            .unwrap()
            .iter()
            .flat_map(spans)
            .collect()
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<Value>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut length = 0;
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        assert_eq!(line, "POST /v1/traces HTTP/1.1\r\n");
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line)?;
            if let Some(number) = line.strip_prefix("content-length: ") {
                length = number.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        kept.lock()
            .unwrap()
            .push(serde_json::from_slice(&body).unwrap());
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")?;
    }
}

/// A span and the peer whose it is.
#[derive(Clone, Debug)]
struct Span {
    peer: String,
    span: Value,
}

impl Span {
    fn text(&self, key: &str) -> &str {
        self.span[key].as_str().unwrap()
    }

    fn attribute(&self, key: &str) -> &str {
        attribute(&self.span, key)
    }
}

fn attribute<'v>(of: &'v Value, key: &str) -> &'v str {
    let mut attributes = of["attributes"].as_array().unwrap().iter();
    let found = attributes.find(|attribute| attribute["key"] == key);
    found.map_or("", |found| found["value"]["stringValue"].as_str().unwrap())
}

/// The spans of a batch.
fn spans(batch: &Value) -> Vec<Span> {
    let of = &batch["resourceSpans"][0];
    let peer = attribute(&of["resource"], "service.instance.id").to_owned();
    let spans = of["scopeSpans"][0]["spans"].as_array().unwrap().iter();
    let spans = spans.map(|span| Span {
        peer: peer.clone(),
        span: span.clone(),
    });
    spans.collect()
}

/// A running `peer` and what it announced.
struct Host {
    process: Child,
    stdout: BufReader<ChildStdout>,
    id: String,
    address: String,
    http: String,
}

impl Host {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(PEER)
            .args(["--listen-ip", "127.0.0.1", "--log", "warn"])
            .args(["--tcp-port", "0", "--websocket-port", "0"])
            .args(["--http-port", "0", "--allow-local-addresses"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        // Owned from here on, so that a failing test ends the process too.
        let mut host = Self {
            process,
            stdout,
            id: String::new(),
            address: String::new(),
            http: String::new(),
        };
        loop {
            let mut line = String::new();
            host.stdout.read_line(&mut line).unwrap();
            let (name, value) = line.trim_end().split_once(' ').unwrap_or(("", ""));
            match name {
                "peer_id" => value.clone_into(&mut host.id),
                "listen" if host.address.is_empty() => value.clone_into(&mut host.address),
                "listen" => {}
                "http" => value.clone_into(&mut host.http),
                _ => {
                    assert_eq!(line, "ready\n");
                    return host;
                }
            }
        }
    }

    /// Sends a particle through this peer to the other one and back.
    fn visit(&self, other: &str) {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("script.air");
        std::fs::write(&script, THERE_AND_BACK).unwrap();
        let script = script.to_string_lossy();
        let given = json!({ "other": other }).to_string();
        let arguments = ["--relay", &self.address, "--air", &script, "--args", &given];
        let output = run(CLIENT, &arguments);
        assert_eq!(text(&output.stderr), "");
        assert_eq!(text(&output.stdout), "\"there\"\n");
    }

    fn connected_peers(&self) -> Option<u32> {
        let port = self.http.rsplit_once(':')?.1;
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).ok()?;
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let name = "connection_pool_connected_peers ";
        let value = answer.lines().find_map(|line| line.strip_prefix(name))?;
        value.parse().ok()
    }

    /// Asks it to stop; how it ended, and what it said meanwhile on stdout and stderr.
    fn stop(&mut self) -> (ExitStatus, String, String) {
        let kill = format!("kill -TERM {}", self.process.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(sent.success());
        let (mut written, mut logged) = (String::new(), String::new());
        self.stdout.read_to_string(&mut written).unwrap();
        let mut stderr = self.process.stderr.take().unwrap();
        stderr.read_to_string(&mut logged).unwrap();
        (self.process.wait().unwrap(), written, logged)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_collector_sees_one_trace_over_two_peers() {
    let collector = Collector::start();
    let otlp = [
        "--tracing-type",
        "otlp",
        "--tracing-otlp-endpoint",
        &collector.url,
    ];
    let mut first = Host::start(&otlp);
    let bootstrap = ["--bootstrap", first.address.as_str()];
    let mut second = Host::start(&[&otlp[..], &bootstrap].concat());
    let deadline = Instant::now() + Duration::from_secs(20);
    while first.connected_peers() != Some(1) {
        assert!(Instant::now() < deadline, "the peers do not connect");
        thread::sleep(Duration::from_millis(20));
    }
    first.visit(&second.id);
    for host in [&mut first, &mut second] {
        let (status, written, logged) = host.stop();
        assert!(status.success());
        assert_eq!(written, "");
        assert!(!logged.contains("spans"), "{logged}");
    }

    // What was left came with the end of the peers.
    let spans = collector.spans();
    let visit = spans.iter().find(|span| {
        span.peer == second.id
            && span.text("name") == "call"
            && span.attribute("call.function") == "identity"
    });
    let visit = visit.unwrap();
    assert_eq!(visit.attribute("call.service"), "op");
    let of_trace = |span: &&Span| span.text("traceId") == visit.text("traceId");
    let trace: Vec<&Span> = spans.iter().filter(of_trace).collect();
    let mut roots = BTreeSet::new();
    for host in [&first, &second] {
        let mine: Vec<&Span> = trace
            .iter()
            .copied()
            .filter(|s| s.peer == host.id)
            .collect();
        let names: BTreeSet<&str> = mine.iter().map(|span| span.text("name")).collect();
        assert_eq!(names, BTreeSet::from(["call", "run", "send"]));
        let run = |span: &&&Span| span.text("name") == "run";
        let runs: BTreeSet<&str> = mine.iter().filter(run).map(|s| s.text("spanId")).collect();
        for span in &mine {
            assert_eq!(span.attribute("peer.id"), host.id);
            assert_eq!(
                span.attribute("particle.id"),
                visit.attribute("particle.id")
            );
            let parent = span.text("parentSpanId");
            match span.text("name") {
                "run" => _ = roots.insert(parent),
                _ => assert!(runs.contains(parent), "{span:?}"),
            }
        }
    }
    assert_eq!(roots.len(), 1, "{trace:?}");
    let went = |span: &&Span| span.attribute("send.to") == second.id;
    let came = |span: &&Span| span.attribute("particle.from") == first.id;
    assert!(trace.iter().copied().any(|span| went(&span)));
    assert!(trace.iter().copied().any(|span| came(&span)));
}

#[test]
fn a_collector_that_is_away_or_hangs_holds_no_peer_up() {
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let away = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = |of: &TcpListener| format!("http://{}", of.local_addr().unwrap());
    let urls = [url(&hanging), url(&away)];
    drop(away);
    for url in &urls {
        let otlp = ["--tracing-type", "otlp", "--tracing-otlp-endpoint", url];
        let mut host = Host::start(&otlp);
        for _ in 0..3 {
            host.visit(&host.id);
        }
        let asked = Instant::now();
        let (status, _, logged) = host.stop();
        assert!(status.success());
        assert!(asked.elapsed() < Duration::from_secs(5), "{url}");
        let told = ["takes no spans", "the last spans were not sent"];
        assert!(told.iter().any(|part| logged.contains(part)), "{logged}");
    }
}

#[test]
fn traces_on_stdout_follow_the_announcement() {
    let mut host = Host::start(&["--tracing-type", "stdout"]);
    host.visit(&host.id);
    let (status, written, _) = host.stop();
    assert!(status.success());
    let batches = written
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let spans: Vec<Span> = batches.flat_map(|batch: Value| spans(&batch)).collect();
    let functions = spans.iter().map(|span| span.attribute("call.function"));
    let functions: BTreeSet<&str> = functions.collect();
    assert!(functions.is_superset(&BTreeSet::from(["identity", "noop"])));
}

#[test]
fn settings_of_traces_are_checked() {
    let output = run(PEER, &["--tracing-type", "jaeger"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("expected `disabled`, `stdout` or `otlp`"));

    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("peer.toml");
    for (table, part) in [
        ("typ = 'otlp'", "did you mean `type`?"),
        ("type = 'zipkin'", "`stdout`"),
        ("sample_ratio = 2", "2 is not a share, expected 0 to 1"),
        ("endpoint = 'grpc://collector:4317'", "`tracing.endpoint`"),
    ] {
        std::fs::write(&config, format!("[tracing]\n{table}\n")).unwrap();
        let output = run(PEER, &["--check-config", &config.to_string_lossy()]);
        assert_eq!(output.status.code(), Some(2), "{table}");
        let message = text(&output.stderr);
        assert!(message.contains(part), "{table}: {message}");
    }

    let output = Command::new(PEER)
        // It ends at once: this address is nobody's to listen on.
        .args(["--print-config", "--listen-ip", "192.0.2.1"])
        .args(["--tracing-otlp-endpoint", "http://127.0.0.1:9/traces?key=k"])
        .envs([
            ("FLUENCE_TRACING__TYPE", "otlp"),
            ("FLUENCE_TRACING__SAMPLE_RATIO", "0.25"),
        ])
        .output()
        .unwrap();
    let shown = text(&output.stderr);
    for part in [
        "[tracing]\ntype = \"otlp\"\n",
        "endpoint = \"http://127.0.0.1:9/…\"\n",
        "sample_ratio = 0.25\n",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
}
