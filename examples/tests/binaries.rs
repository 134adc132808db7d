//! The example binaries as a user runs them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
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
    http: String,
}

impl Host {
    fn start(arguments: &[&str]) -> Self {
        let log: &[&str] = if arguments.contains(&"--log") {
            &[]
        } else {
            &["--log", "error"]
        };
        let process = Command::new(PEER)
            .args([
                "--tcp-port",
                "0",
                "--websocket-port",
                "0",
                "--http-port",
                "0",
            ])
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
            http: String::new(),
        };
        let mut lines = BufReader::new(host.process.stdout.take().unwrap()).lines();
        let mut next = || lines.next().unwrap().unwrap();
        host.id = next().strip_prefix("peer_id ").unwrap().to_owned();
        loop {
            let line = next();
            if line == "ready" {
                return host;
            }
            match line.split_once(' ').unwrap() {
                ("listen", address) => host.listen.push(address.to_owned()),
                ("http", address) => address.clone_into(&mut host.http),
                _ => panic!("{line}"),
            }
        }
    }

    fn get(&self, path: &str) -> String {
        let port = self.http.rsplit_once(':').unwrap().1;
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
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
    let others = ["--websocket-port", "0", "--http-port", "0"];
    let output = run(PEER, &[&["--tcp-port", port], &others[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(
        message.contains(&format!("/tcp/{port}")) && message.contains("in use"),
        "{message}"
    );

    let directory = tempfile::tempdir().unwrap();
    let config = file(&directory, "peer.toml", "tcp_prot = 1");
    for flag in ["--config", "--check-config"] {
        let output = run(PEER, &[flag, &config]);
        assert_eq!(output.status.code(), Some(2));
        let message = text(&output.stderr);
        assert!(message.contains("did you mean `tcp_port`?"), "{message}");
        assert!(message.contains("peer.toml"), "{message}");
    }
}

#[test]
fn the_configuration_is_explained_and_checked() {
    let output = run(PEER, &["--print-config-schema"]);
    assert!(output.status.success());
    let page = text(&output.stdout);
    assert!(page.contains("| `tcp_port` | integer | `977` |"), "{page}");

    let directory = tempfile::tempdir().unwrap();
    let config = file(&directory, "peer.toml", "tcp_port = 1\nno_banner = true");
    let output = run(PEER, &["--check-config", &config]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("`no_banner` has no effect here"));
}

#[test]
fn files_environment_and_flags_are_laid_on_top_of_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let low = file(
        &directory,
        "low.toml",
        "websocket_port = 1\nconfig_endpoint_enabled = true",
    );
    let high = file(&directory, "high.toml", "[kademlia]\nquery_timeout = '4s'");
    let output = Command::new(PEER)
        .args(["--config", &format!("{low},{high}"), "--print-config"])
        // It ends at once: this address is nobody's to listen on.
        .args(["--listen-ip", "192.0.2.1", "--websocket-port", "3"])
        .envs([
            ("FLUENCE_TCP_PORT", "2"),
            ("FLUENCE_WEBSOCKET_PORT", "2"),
            ("FLUENCE_LOG_FORMAT", "logfmt"),
            ("FLUENCE_TCP_PROT", "2"),
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stderr);
    for part in [
        "tcp_port = 2\n",
        "websocket_port = 3\n",
        "query_timeout = \"4s\"",
        "config_endpoint_enabled = true",
        "level=warn target=peer::arguments msg=\"the variable FLUENCE_TCP_PROT is no key",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    let shown = key.to_string_lossy().into_owned();
    let host = Host::start(&["--key-file", &shown]);
    let mode = std::fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(host);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let output = run(PEER, &["--key-file", &shown]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("640"));
}

#[test]
fn a_peer_is_watched_over_http() {
    let host = Host::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let script = file(&directory, "echo.air", ECHO);
    let arguments = ["--relay", &host.listen[0], "--air", &script];
    let output = run(
        CLIENT,
        &[&arguments[..], &["--args", r#"{"text": "ab"}"#]].concat(),
    );
    assert!(output.status.success());
    assert!(host.get("/peer_id").contains(&host.id));
    assert!(host.get("/health").starts_with("HTTP/1.1 200"));
    let metrics = host.get("/metrics");
    let received = "connection_pool_received_particles_total{particle_type=\"Common\"} ";
    let line = metrics.lines().find(|line| line.starts_with(received));
    let count: u32 = line.unwrap()[received.len()..].parse().unwrap();
    assert!(count > 0, "{metrics}");
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
