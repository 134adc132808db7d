//! The example `network-explorer`: its page and what the page is told.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(120);

struct Explorer {
    process: Child,
    address: String,
}

impl Explorer {
    fn start(peers: usize) -> Self {
        let process = Command::new(env!("CARGO_BIN_EXE_network-explorer"))
            .args(["--http", "127.0.0.1:0", "--clients", "1", "--pause", "50"])
            .args(["--peers", &peers.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Owned from here on, so that a failing test ends the process too.
        let mut explorer = Self {
            process,
            address: String::new(),
        };
        let stdout = explorer.process.stdout.take().unwrap();
        let mut lines = BufReader::new(stdout).lines();
        let address = lines.next().unwrap().unwrap();
        explorer.address = address.strip_prefix("http ").unwrap().to_owned();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        explorer
    }

    fn ask(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: explorer\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// Head and body.
    fn get(&self, path: &str) -> (String, String) {
        let mut answer = String::new();
        self.ask(path).read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }
}

impl Drop for Explorer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_page_learns_what_peers_do() {
    let explorer = Explorer::start(4);

    let (head, page) = explorer.get("/");
    assert!(head.contains("content-security-policy: default-src 'none'"));
    for outside in ["src=", "@import", "url(http", "//cdn"] {
        assert!(!page.contains(outside), "the page has {outside}");
    }

    let mut nodes = 0;
    let mut links = BTreeSet::new();
    let mut travelled = BTreeSet::new();
    let mut done = None;
    let started = Instant::now();
    let lines = BufReader::new(explorer.ask("/events")).lines();
    for line in lines.map(Result::unwrap) {
        assert!(started.elapsed() < PATIENCE, "no particle at rest");
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        let news: Value = serde_json::from_str(data).unwrap();
        for node in news["nodes"].as_array().unwrap() {
            nodes = nodes.max(node[0].as_u64().unwrap() + 1);
        }
        if let Some(pairs) = news["links"].as_array() {
            links = pairs.iter().map(Value::to_string).collect();
        }
        for flight in news["flights"].as_array().unwrap() {
            travelled.insert(flight["particle"].as_str().unwrap().to_owned());
        }
        let particles = news["particles"].as_array().unwrap();
        let rests = particles.iter().find(|particle| {
            let visited = particle["visited"].as_array().map_or(0, Vec::len);
            let id = particle["id"].as_str().unwrap_or_default();
            particle["state"] == "at rest" && visited > 2 && travelled.contains(id)
        });
        if let Some(particle) = rests
            && !links.is_empty()
        {
            done = Some(particle["id"].as_str().unwrap().to_owned());
            break;
        }
    }
    assert_eq!(nodes, 5, "four peers and a client");

    let (_, body) = explorer.get(&format!("/particles/{}", done.unwrap()));
    let particle: Value = serde_json::from_str(&body).unwrap();
    let steps = particle["steps"].as_array().unwrap();
    let has = |kind: &str| steps.iter().any(|step| step["step"] == kind);
    assert!(
        has("executed") && has("called") && has("sent"),
        "{particle:#}"
    );
    let sampled = |step: &&Value| step["function"] == "sampler.measure" && step["ok"] == true;
    assert!(steps.iter().filter(sampled).count() > 1, "{particle:#}");
    let (head, _) = explorer.get("/particles/nobody");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
}
