//! The example binaries as a user runs them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const CLIENT: &str = env!("CARGO_BIN_EXE_client");
const LOCAL_NETWORK: &str = env!("CARGO_BIN_EXE_local-network");
const PEER: &str = env!("CARGO_BIN_EXE_peer");

const ECHO: &str = r#"
(xor
 (seq
  (seq
   (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
   (call %init_peer_id% ("getDataSrv" "text") [] text)
  )
  (seq
   (call relay ("op" "concat_strings") [text text] result)
   (call %init_peer_id% ("callbackSrv" "response") [result])
  )
 )
 (call %init_peer_id% ("errorHandlingSrv" "error") [:error: 0])
)
"#;

/// A running `peer` and what it announced.
struct Host {
    process: Child,
    id: String,
    listen: Vec<String>,
}

impl Host {
    fn start(arguments: &[&str]) -> Self {
        let log: &[&str] = if arguments.contains(&"--log") {
            &[]
        } else {
            &["--log", "error"]
        };
        let process = Command::new(PEER)
            .args(["--tcp-port", "0", "--websocket-port", "0"])
            .args(log)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Owned from here on, so that a failing test ends the process too.
        let mut host = Self {
            process,
            id: String::new(),
            listen: Vec::new(),
        };
        let mut lines = BufReader::new(host.process.stdout.take().unwrap()).lines();
        let mut next = || lines.next().unwrap().unwrap();
        host.id = next().strip_prefix("peer_id ").unwrap().to_owned();
        loop {
            let line = next();
            if line == "ready" {
                return host;
            }
            host.listen
                .push(line.strip_prefix("listen ").unwrap().to_owned());
        }
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

fn file(directory: &tempfile::TempDir, name: &str, content: &str) -> String {
    let path = directory.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn a_peer_announces_itself_and_stops_when_asked() {
    let mut host = Host::start(&[]);
    assert_eq!(host.listen.len(), 2);
    for address in &host.listen {
        assert!(address.starts_with("/ip4/127.0.0.1/tcp/"), "{address}");
        assert!(address.ends_with(&format!("/p2p/{}", host.id)), "{address}");
    }
    assert!(host.listen[1].contains("/ws/p2p/"), "{:?}", host.listen);
    for signal in ["-INT", "-TERM"] {
        let mut host = Host::start(&[]);
        let pid = host.process.id().to_string();
        // The shell's own `kill`: the program of that name is not on every machine.
        let kill = format!("kill {signal} {pid}");
        let sent = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(sent.success(), "{signal}");
        let asked = Instant::now();
        assert!(host.process.wait().unwrap().success(), "{signal}");
        assert!(asked.elapsed() < Duration::from_secs(5));
    }
    assert!(host.process.try_wait().unwrap().is_none());
}

#[test]
fn a_key_file_keeps_the_peer_id() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_string_lossy().into_owned();
    let first = Host::start(&["--data-dir", &data]).id.clone();
    let second = Host::start(&["--data-dir", &data]).id.clone();
    assert_eq!(first, second);
}

#[test]
fn a_port_in_use_and_a_bad_configuration_are_explained() {
    let host = Host::start(&[]);
    let port = host.listen[0].split('/').nth(4).unwrap();
    let output = run(PEER, &["--tcp-port", port, "--websocket-port", "0"]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(
        message.contains(&format!("/tcp/{port}")) && message.contains("in use"),
        "{message}"
    );

    let directory = tempfile::tempdir().unwrap();
    let config = file(&directory, "peer.toml", "tcp_prot = 1");
    let output = run(PEER, &["--config", &config]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("did you mean `tcp_port`?"));
}

#[test]
fn a_bootstrap_node_that_does_not_answer_is_reported_and_the_peer_goes_on() {
    let nobody = "/ip4/127.0.0.1/tcp/1";
    let mut host = Host::start(&["--log", "warn", "--bootstrap", nobody]);
    let mut line = String::new();
    BufReader::new(host.process.stderr.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains(nobody) && line.contains("refused"), "{line}");
    assert!(host.process.try_wait().unwrap().is_none());
}

#[test]
fn a_client_runs_a_script_through_both_transports() {
    let host = Host::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let script = file(&directory, "echo.air", ECHO);
    for address in &host.listen {
        let output = run(
            CLIENT,
            &[
                "--relay",
                address,
                "--air",
                &script,
                "--args",
                r#"{"text": "ab"}"#,
            ],
        );
        assert_eq!(text(&output.stderr), "");
        assert_eq!(text(&output.stdout), "\"abab\"\n");
    }
}

#[test]
fn errors_of_a_script_reach_the_client() {
    let host = Host::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let script = file(&directory, "echo.air", ECHO);
    let output = run(
        CLIENT,
        &[
            "--relay",
            &host.listen[0],
            "--air",
            &script,
            "--args",
            r#"{"text": 1}"#,
        ],
    );
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(
        message.contains("all arguments of 'concat_strings' must be strings"),
        "{message}"
    );
    assert!(message.contains(&host.id), "{message}");
}

#[test]
fn a_syntax_error_is_shown_and_nothing_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let script = file(&directory, "bad.air", "(seq\n (null)\n (call x)\n)\n");
    // Nobody listens there: the script is refused before the relay is dialed.
    let relay = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
    for output in [
        run(CLIENT, &["--relay", relay, "--air", &script]),
        run(LOCAL_NETWORK, &["--script", &script, "--json"]),
    ] {
        assert_eq!(output.status.code(), Some(2));
        let message = text(&output.stderr);
        assert!(
            message.contains("3:9") && message.contains('^'),
            "{message}"
        );
        assert!(message.contains("bad.air"), "{message}");
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn a_relay_that_does_not_answer_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let script = file(&directory, "echo.air", ECHO);
    let relay = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
    let output = run(CLIENT, &["--relay", relay, "--air", &script]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/ip4/127.0.0.1/tcp/1/"));
    let output = run(
        CLIENT,
        &["--relay", "/ip4/127.0.0.1/tcp/1", "--air", &script],
    );
    assert!(text(&output.stderr).contains("does not end in /p2p/"));
}

#[test]
fn a_function_of_a_recording_is_run_with_arguments_by_type() {
    let host = Host::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let record = serde_json::json!({
        "function": "twice",
        "air": ECHO,
        "arguments": {"tag": "labeledProduct", "fields": {
            "text": {"tag": "scalar", "name": "string"}}},
    });
    let records = file(&directory, "functions.jsonl", &format!("{record}\n"));
    let arguments = [
        "--relay",
        &host.listen[0],
        "--record",
        &records,
        "--function",
        "twice",
    ];
    assert_eq!(text(&run(CLIENT, &arguments).stdout), "\"texttext\"\n");
    let mut unknown = arguments;
    unknown[5] = "thrice";
    assert_eq!(run(CLIENT, &unknown).status.code(), Some(2));
}

#[test]
fn local_network_prints_one_line_of_json_and_a_page() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("path.html");
    let output = run(
        LOCAL_NETWORK,
        &["--peers", "3", "--json", "--html", &page.to_string_lossy()],
    );
    assert_eq!(text(&output.stderr), "");
    assert!(output.status.success());
    let line = text(&output.stdout);
    assert_eq!(line.lines().count(), 1);
    let report: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(report["result"][0].as_array().unwrap().len(), 3);
    assert!(report["latency_ms"].as_f64().unwrap() > 0.0);
    assert!(report["path"].as_array().unwrap().len() > 6);
    let mut html = String::new();
    std::fs::File::open(page)
        .unwrap()
        .read_to_string(&mut html)
        .unwrap();
    assert!(html.contains("<svg") && html.contains("sampler.measure"));
}

#[test]
fn custom_peer_shows_its_function() {
    let output = run(env!("CARGO_BIN_EXE_custom-peer"), &[]);
    assert_eq!(text(&output.stderr), "");
    assert!(text(&output.stdout).contains("text.reverse answers \"eniramauqa\""));
}
