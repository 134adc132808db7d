//! A network in one command: real libp2p peers on loopback, a Wasm service on each, and a script
//! compiled from Aqua that asks all of them at once and adds up what they answer.
//!
//! The script is `examples/aqua/local-network.aqua`, the service `examples/guests/sampler`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use examples::diagram::{self, Heading};
use examples::failure::{Failure, Result, exit};
use examples::local::{self, LocalNetwork};
use examples::path::{Names, short};
use examples::survey::{Progress, Question, Report};
use examples::{log, script, table};
use peer_core::client::Client;

/// Starts a network, asks all its peers, shows the answers and the path of the particle.
#[derive(Parser)]
#[command(name = "local-network", version)]
struct Arguments {
    /// How many peers to start.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    peers: u32,
    /// Another script; it can ask for `peers`, `topic`, `count` and `patience`.
    #[arg(long, value_name = "FILE.air")]
    script: Option<PathBuf>,
    /// Print one line of JSON and nothing else.
    #[arg(long)]
    json: bool,
    /// Write the path of the particle as a sequence diagram.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// What the peers measure.
    #[arg(long, default_value = "aquamarine")]
    topic: String,
    /// How many numbers each peer looks at.
    #[arg(long, default_value_t = 1000)]
    count: u32,
    /// Milliseconds to wait for answers.
    #[arg(long, default_value_t = 10_000)]
    patience: u32,
    /// What to log to stderr.
    #[arg(long, default_value = "error")]
    log: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::to_stderr(&arguments.log);
    exit(run(arguments).await)
}

async fn run(arguments: Arguments) -> Result<()> {
    // A script with errors ends the example before anything is started.
    let mut question = Question {
        topic: arguments.topic.clone(),
        count: arguments.count,
        patience: Duration::from_millis(arguments.patience.into()),
        ..Question::default()
    };
    if let Some(file) = &arguments.script {
        question.script = script::read(file)?;
    }
    let person = !arguments.json;

    let progress = Arc::new(Progress::default());
    let network = LocalNetwork::start(arguments.peers as usize, |_, builder| {
        builder.service(local::sampler()).observer(progress.clone())
    })
    .await?;
    let client = Client::builder(local::random_key()?, network.relay()?)
        .observer(network.recorder())
        .connect()
        .await
        .map_err(Failure::new)?;
    let names = network.names().with(client.peer_id(), "client");
    if person {
        introduce(&network);
        progress.start(names.clone());
    }

    let asked = question.ask(&network, &client).await?;
    let report = asked.report(&network, &names).await?;
    client.stop().await;
    network.stop().await;

    if person {
        show(&report, &names);
    } else {
        println!("{}", serde_json::to_string(&report).map_err(Failure::new)?);
    }
    if let Some(file) = &arguments.html {
        let page = diagram::render(&report.path, &names, &heading(&report));
        std::fs::write(file, page).map_err(|error| {
            Failure::new(format_args!("cannot write {}: {error}", file.display()))
        })?;
    }
    if report.missing.is_empty() {
        return Ok(());
    }
    let missing = report.missing.iter();
    let missing: Vec<String> = missing
        .map(|missing| {
            format!(
                "{} ({}): {}",
                names.of(&missing.peer),
                missing.peer,
                missing.reason
            )
        })
        .collect();
    Err(Failure::new(format_args!(
        "no answer from\n  {}",
        missing.join("\n  ")
    )))
}

fn introduce(network: &LocalNetwork) {
    println!("{} peers:", network.peers().len());
    for (index, peer) in network.peers().iter().enumerate() {
        let addresses = peer.network().listen_addresses().join("\n          ");
        println!("  peer {:<3} {addresses}", index + 1);
    }
    println!("\nasking all of them through peer 1:");
}

fn show(report: &Report, names: &Names) {
    println!();
    match report.rows(names) {
        Some((headings, rows)) => print!("{}", table::render(&headings, &rows)),
        None => println!("{:#}", report.result),
    }
    if let Some(total) = report.total() {
        println!("{total} primes in all");
    }
    println!("\nthe path of the particle:");
    let headings = ["ms", "peer", "what", "signatures verified"];
    print!("{}", table::render(&headings, &report.path.rows(names)));
    println!(
        "\n{:.1} ms from the first step to the result",
        report.latency_ms
    );
}

fn heading(report: &Report) -> Heading {
    let peers: Vec<String> = report.peers.iter().map(short).collect();
    let verified = if report.path.is_verified() {
        "all"
    } else {
        "NOT all"
    };
    Heading {
        title: "The path of a particle".to_owned(),
        lines: vec![
            format!("{} peers: {}", peers.len(), peers.join(", ")),
            format!(
                "{:.1} ms to the result; {verified} signatures verified",
                report.latency_ms
            ),
        ],
    }
}
