//! A peer that does something by the clock: a script, a *spell*, is installed on it over the wire,
//! and from then on the peer starts it by itself.
//!
//! The spell lives on the peer with data of its own. Each time it is started it remembers when that
//! was and sends its particle to the client that installed it, which prints a line.
//!
//! Spells keep their data with our own module (`examples/guests/spell`), or with the two published ones:
//! `--spell FOLDER` has `sqlite3.wasm` and `spell.wasm`. stdout has `peer ADDRESS`, `spell ID`, then a line for each firing.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use examples::failure::{Failure, Result, exit};
use examples::{local, log, signals::StopSignals, spells};
use peer_core::client::{Client, Request};
use peer_core::config::{ModuleFile, PeerConfig, SystemServicesConfig};
use peer_core::host::{ArgumentError, Arguments, FunctionOutcome, NativeFunctions};
use peer_core::peer::Peer;
use peer_core::spells::TriggerConfig;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Time for a script of the client; the first call of a spell compiles its modules.
const TTL: Duration = Duration::from_secs(60);
/// Firings that wait to be printed.
const WAITING: usize = 64;

/// What the client does at the beginning.
const INSTALL: &str = r#"
(xor
    (seq
        (seq
            (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
            (seq
                (call %init_peer_id% ("getDataSrv" "script") [] script)
                (seq
                    (call %init_peer_id% ("getDataSrv" "data") [] data)
                    (call %init_peer_id% ("getDataSrv" "trigger") [] trigger)
                )
            )
        )
        (seq
            (call relay ("spell" "install") [script data trigger] id)
            (call %init_peer_id% ("callbackSrv" "response") [id])
        )
    )
    (call %init_peer_id% ("errorHandlingSrv" "error") [:error: 0])
)"#;

/// What the client does at the end.
const REMOVE: &str = r#"
(xor
    (seq
        (seq
            (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
            (call %init_peer_id% ("getDataSrv" "id") [] id)
        )
        (seq
            (call relay ("spell" "remove") [id])
            (call %init_peer_id% ("callbackSrv" "response") [])
        )
    )
    (call %init_peer_id% ("errorHandlingSrv" "error") [:error: 0])
)"#;

/// What the peer does each time. `getDataSrv` has the spell's data, `spell` is its own store, where
/// the peer has put how often and by what it was started; who initiates it is the peer.
const SPELL: &str = r#"
(xor
    (seq
        (seq
            (call %init_peer_id% ("getDataSrv" "client") [] client)
            (seq
                (call %init_peer_id% ("spell" "get_u32") ["hw_counter"] counter)
                (call %init_peer_id% ("spell" "get_string") ["hw_trigger"] trigger)
            )
        )
        (seq
            (seq
                (call %init_peer_id% ("spell" "get_string") ["last"] last)
                (call %init_peer_id% ("spell" "set_string") ["last" trigger.$.value] set)
            )
            (call client ("schedule" "fired") [counter.$.value trigger.$.value last.$.value])
        )
    )
    (call %init_peer_id% ("errorHandlingSrv" "error") [:error: 0])
)"#;

/// Installs a spell on a peer of its own and shows its firings.
#[derive(Parser)]
#[command(name = "scheduler", version)]
struct Options {
    /// Folder with the published `sqlite3.wasm` and `spell.wasm`; without it, our own module is used.
    #[arg(long, value_name = "FOLDER")]
    spell: Option<PathBuf>,
    /// Seconds between two firings.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    period: u32,
    /// Ends after so many firings; without it, when it is stopped.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    firings: Option<u64>,
    /// What to log to stderr.
    #[arg(long, default_value = "warn")]
    log: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    log::to_stderr(&options.log);
    exit(run(&options).await)
}

/// A line of stdout; whoever started the program may not be interested.
fn say(line: &str) {
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

async fn run(options: &Options) -> Result<()> {
    let mut signals = StopSignals::listen().map_err(Failure::new)?;
    let folder = tempfile::tempdir().map_err(Failure::new)?;
    let modules = match &options.spell {
        Some(published) => modules(published)?,
        None => spells::modules(folder.path())?,
    };
    // Spells of the peer itself are installed by who manages it.
    let manager = local::random_key()?;
    let config = PeerConfig {
        listen_ip: Ipv4Addr::LOCALHOST.into(),
        tcp_port: 0,
        websocket_port: 0,
        data_dir: Some(folder.path().to_owned()),
        management_peer_id: Some(manager.peer_id().to_string()),
        system_services: SystemServicesConfig {
            spell: modules,
            ..SystemServicesConfig::default()
        },
        ..PeerConfig::default()
    };
    let peer = Peer::builder(local::random_key()?).config(config);
    let peer = peer.start().await.map_err(Failure::new)?;
    let address = peer.network().listen_addresses().first();
    let address = address.ok_or_else(|| Failure::new("the peer does not listen"))?;
    say(&format!("peer {address}"));

    let (sender, mut firings) = mpsc::channel(WAITING);
    let host = peer.peer_id();
    let functions = NativeFunctions::new().with("schedule", "fired", move |call| {
        // Anybody can send a client a particle; those of the spell are made by the peer.
        if call.particle.init_peer_id != host {
            return FunctionOutcome::NotDefined;
        }
        match firing(&mut call.arguments()) {
            Ok(firing) => {
                // Those that nobody prints in time are not kept.
                let _ = sender.try_send(firing);
                FunctionOutcome::Empty
            }
            Err(error) => FunctionOutcome::error(&error.to_json_text()),
        }
    });
    let client = Client::builder(manager, address).functions(Arc::new(functions));
    let client = client.connect().await.map_err(Failure::new)?;
    let arguments = [
        ("script", json!(SPELL)),
        ("data", json!({ "client": client.peer_id() })),
        ("trigger", json!(TriggerConfig::periodic(options.period))),
    ];
    let spell = ask(&client, INSTALL, &arguments).await?;
    say(&format!("spell {}", spell.as_str().unwrap_or_default()));

    let mut left = options.firings;
    while left != Some(0) {
        tokio::select! {
            () = signals.received() => break,
            Some(firing) = firings.recv() => {
                say(&firing);
                left = left.map(|left| left - 1);
            }
        }
    }
    ask(&client, REMOVE, &[("id", spell)]).await?;
    client.stop().await;
    peer.stop().await;
    Ok(())
}

/// Runs a script that tells a result.
async fn ask(client: &Client, script: &str, arguments: &[(&str, Value)]) -> Result<Value> {
    let mut request = Request::new(script).ttl(TTL);
    for (name, value) in arguments {
        request = request.argument(name, value).map_err(Failure::new)?;
    }
    client.call(request).await.map_err(Failure::new)
}

/// The published modules of spells, dependencies first.
fn modules(folder: &Path) -> Result<Vec<ModuleFile>> {
    let modules = ["sqlite3", "spell"].map(|name| {
        let path = folder.join(name).with_extension("wasm");
        if !path.is_file() {
            return Err(Failure::input(format_args!(
                "there is no {}: the README of the examples says where it comes from",
                path.display()
            )));
        }
        let name = name.to_owned();
        Ok(ModuleFile { name, path })
    });
    modules.into_iter().collect()
}

/// The line for what the spell tells: how often it was started, by what, and by what before that.
fn firing(arguments: &mut Arguments<'_>) -> std::result::Result<String, ArgumentError> {
    let number: u32 = arguments.next("counter")?;
    let [now, last] = [arguments.next("trigger")?, arguments.next("last")?].map(timestamp);
    let at = now.map_or_else(|| "unknown".to_owned(), |now| now.to_string());
    let since = now.zip(last);
    let since = since.map(|(now, last)| format!(", {} s after the last", now.saturating_sub(last)));
    Ok(format!(
        "firing {number} at {at}{}",
        since.unwrap_or_default()
    ))
}

/// When the clock started a spell, in seconds since the Unix epoch.
fn timestamp(trigger: String) -> Option<u64> {
    let trigger: Value = serde_json::from_str(&trigger).ok()?;
    trigger.pointer("/timer/0/timestamp")?.as_u64()
}
