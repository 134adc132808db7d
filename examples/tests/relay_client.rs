//! The example `relay-client`: a client of one relay asks a client of another.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::{Duration, Instant},
};

use examples::local::LocalNetwork;

const PROGRAM: &str = env!("CARGO_BIN_EXE_relay-client");

/// A client that offers its function.
struct Offering {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    id: String,
    relay: String,
}

impl Offering {
    fn start(relay: &str) -> Self {
        let mut process = Command::new(PROGRAM)
            .args(["--relay", relay])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut next = || lines.next().unwrap().unwrap();
        let id = next().strip_prefix("peer_id ").unwrap().to_owned();
        let relay = next().strip_prefix("relay ").unwrap().to_owned();
        assert_eq!(next(), "ready");
        Self {
            process,
            lines,
            id,
            relay,
        }
    }
}

impl Drop for Offering {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ask(relay: &str, peer: &str, via: &str, ttl: &str) -> Output {
    Command::new(PROGRAM)
        .args(["--relay", relay, "--ask", peer, "--via", via])
        .args(["--text", "four words of text", "--ttl", ttl])
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_one_relay_asks_a_client_of_another() {
    let network = LocalNetwork::start(2, |_, builder| builder).await.unwrap();
    let relays = network.peers().iter().map(|peer| peer.network());
    let relays: Vec<String> = relays
        .map(|network| network.listen_addresses().first().unwrap().clone())
        .collect();
    let [near, far] = relays.as_slice() else {
        panic!("{relays:?}");
    };
    let mut offering = Offering::start(far);

    let answer = ask(near, &offering.id, &offering.relay, "30000");
    assert_eq!(String::from_utf8_lossy(&answer.stderr), "");
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "4\n");
    let line = offering.lines.next().unwrap().unwrap();
    assert!(line.starts_with("4 for 12D3Koo"), "{line}");

    // A relay has no such function, and says so across the other one.
    let refused = ask(near, &offering.relay, &offering.relay, "30000");
    assert_eq!(refused.status.code(), Some(1));
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        message.contains("Service with id 'words' not found") && message.contains(&offering.relay),
        "{message}"
    );

    // A client that has left answers no more.
    drop(offering.process.kill());
    let asked = Instant::now();
    let late = ask(near, &offering.id, &offering.relay, "1500");
    assert!(String::from_utf8_lossy(&late.stderr).contains("expired after its ttl"));
    assert!(asked.elapsed() < Duration::from_secs(20));
}
