//! A host for daily use: configuration, flags and environment in, a peer out.
//!
//! stdout has `peer_id ID`, then for each listener `listen ADDRESS/p2p/ID`, then `http ADDRESS`,
//! then `ready`, and after that traces where they go to stdout. Logs go to stderr. SIGINT and SIGTERM
//! stop the peer.

mod arguments;
mod memory;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use examples::failure::{Failure, Result, exit};
use examples::{log, signals::StopSignals, traces::TraceExport};
use peer_core::config::PeerConfig;
use peer_core::http::Http;
use peer_core::metrics::Metrics;
use peer_core::peer::{Peer, load_key};

use self::arguments::Arguments;

/// The line that deployment scripts of the published peer wait for in its log.
const STARTED: &str = "Fluence has been successfully started.";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.print_config_schema {
        print!("{}", PeerConfig::reference());
        return ExitCode::SUCCESS;
    }
    if let Some(file) = &arguments.check_config {
        return exit(arguments::check(file));
    }
    log::start(&arguments.log, arguments.log_format);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(error).report(),
    };
    let result = exit(runtime.block_on(run(&arguments)));
    // A computation that does not end must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

async fn run(arguments: &Arguments) -> Result<()> {
    // Before anything is announced: who reads `ready` may send a signal at once.
    let mut signals = StopSignals::listen().map_err(Failure::new)?;
    let config = arguments.config()?;
    let key =
        load_key(&config.root_key_pair, config.data_dir.as_deref()).map_err(Failure::input)?;
    let metrics = Arc::new(Metrics::new());
    let traces = TraceExport::start(&config.tracing, key.peer_id())?;
    let mut builder = Peer::builder(key)
        .config(config.clone())
        .observer(metrics.clone());
    if let Some(traces) = &traces {
        builder = builder.observer(traces.observer());
    }
    // Kept until the announcement is written, which traces must come after.
    let mut stdout = std::io::stdout().lock();
    let peer = builder.start().await.map_err(Failure::new)?;
    metrics.watch(&peer);
    let http = match Http::start(&peer, &config, metrics).await {
        Ok(http) => http,
        Err(error) => {
            peer.stop().await;
            return Err(Failure::new(error));
        }
    };

    let mut announcement = format!("peer_id {}\n", peer.peer_id());
    for address in peer.network().listen_addresses() {
        announcement.push_str(&format!("listen {address}\n"));
    }
    announcement.push_str(&format!("http {}\nready\n", http.address()));
    // Whoever started the peer may not be interested.
    let _ = stdout
        .write_all(announcement.as_bytes())
        .and_then(|()| stdout.flush());
    drop(stdout);
    tracing::info!(peer_id = %peer.peer_id(), "{STARTED}");

    tokio::select! {
        () = signals.received() => {}
        () = memory::give_back(peer.network()) => {}
    }
    tracing::info!("stopping");
    drop(http);
    peer.stop().await;
    if let Some(traces) = traces {
        traces.stop().await;
    }
    Ok(())
}
