//! A host for daily use: configuration, flags and environment in, a peer out.
//!
//! stdout has `peer_id ID`, then for each listener `listen ADDRESS/p2p/ID`, then `ready`. Logs go
//! to stderr. SIGINT and SIGTERM stop the peer.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use examples::failure::{Failure, Result, exit};
use examples::{local, log, signals::StopSignals};
use peer_core::config::{NetworkName, PeerConfig, ServiceConfig};
use peer_core::peer::{Peer, load_key};

/// A peer. Flags override the environment, which overrides the configuration file.
#[derive(Parser)]
#[command(name = "peer", version)]
struct Arguments {
    /// Configuration in TOML.
    #[arg(long, env = "AQUAMARINE_CONFIG")]
    config: Option<PathBuf>,
    /// Secret key in base64 or base58.
    #[arg(
        long,
        env = "AQUAMARINE_KEY",
        hide_env_values = true,
        conflicts_with = "key_file"
    )]
    key: Option<String>,
    /// File with the secret key; written with a new one when it does not exist.
    #[arg(long, env = "AQUAMARINE_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Address to listen on.
    #[arg(long, env = "AQUAMARINE_LISTEN_IP")]
    listen_ip: Option<IpAddr>,
    /// TCP port; 0 is any.
    #[arg(long, env = "AQUAMARINE_TCP_PORT")]
    tcp_port: Option<u16>,
    /// WebSocket port; 0 is any.
    #[arg(long, env = "AQUAMARINE_WEBSOCKET_PORT")]
    websocket_port: Option<u16>,
    /// Multiaddress of a peer to connect to; may be given several times.
    #[arg(long, env = "AQUAMARINE_BOOTSTRAP", value_delimiter = ',')]
    bootstrap: Vec<String>,
    /// Id of the peer that may administrate this one.
    #[arg(long, env = "AQUAMARINE_MANAGEMENT_PEER_ID")]
    management_peer_id: Option<String>,
    /// Directory for what the peer keeps.
    #[arg(long, env = "AQUAMARINE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// The network to belong to: dar, stage, kras or 64 hexadecimal digits.
    #[arg(long, env = "AQUAMARINE_NETWORK")]
    network: Option<NetworkName>,
    /// Keep private and loopback addresses of other peers.
    #[arg(long, env = "AQUAMARINE_ALLOW_LOCAL_ADDRESSES")]
    allow_local_addresses: bool,
    /// A service to host: NAME=FILE.wasm, or NAME=FIRST.wasm,SECOND.wasm with the facade last.
    #[arg(
        long,
        env = "AQUAMARINE_SERVICE",
        value_name = "NAME=FILES",
        value_delimiter = ';'
    )]
    service: Vec<String>,
    /// What to log: error, warn, info, debug, trace, or directives by module.
    #[arg(long, env = "AQUAMARINE_LOG", default_value = "info")]
    log: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::to_stderr(&arguments.log);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(error).report(),
    };
    let result = exit(runtime.block_on(run(arguments)));
    // A computation that does not end must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

async fn run(arguments: Arguments) -> Result<()> {
    // Before anything is announced: who reads `ready` may send a signal at once.
    let mut signals = StopSignals::listen().map_err(Failure::new)?;
    let config = arguments.config()?;
    let key =
        load_key(&config.root_key_pair, config.data_dir.as_deref()).map_err(Failure::input)?;
    let peer = Peer::builder(key)
        .config(config)
        .start()
        .await
        .map_err(Failure::new)?;

    let mut announcement = format!("peer_id {}\n", peer.peer_id());
    for address in peer.network().listen_addresses() {
        announcement.push_str(&format!("listen {address}\n"));
    }
    announcement.push_str("ready\n");
    let mut stdout = std::io::stdout();
    // Whoever started the peer may not be interested.
    let _ = stdout
        .write_all(announcement.as_bytes())
        .and_then(|()| stdout.flush());

    signals.received().await;
    tracing::info!("stopping");
    peer.stop().await;
    Ok(())
}

impl Arguments {
    /// The file's settings under those of flags and environment.
    fn config(&self) -> Result<PeerConfig> {
        let mut config = match &self.config {
            Some(file) => PeerConfig::from_file(file).map_err(Failure::input)?,
            None => PeerConfig::default(),
        };
        if let Some(key) = &self.key {
            config.root_key_pair.value = Some(key.clone());
        }
        if let Some(file) = &self.key_file {
            config.root_key_pair.path = Some(file.clone());
        }
        if let Some(ip) = self.listen_ip {
            config.listen_ip = ip;
        }
        if let Some(port) = self.tcp_port {
            config.tcp_port = port;
        }
        if let Some(port) = self.websocket_port {
            config.websocket_port = port;
        }
        if !self.bootstrap.is_empty() {
            config.bootstrap_nodes.clone_from(&self.bootstrap);
        }
        if let Some(peer) = &self.management_peer_id {
            config.management_peer_id = Some(peer.clone());
        }
        if let Some(directory) = &self.data_dir {
            config.data_dir = Some(directory.clone());
        }
        if let Some(network) = &self.network {
            config.network = network.clone();
        }
        config.allow_local_addresses |= self.allow_local_addresses;
        for text in &self.service {
            config.services.push(service(text)?);
        }
        Ok(config)
    }
}

/// Reads `NAME=FILE.wasm,…`.
fn service(text: &str) -> Result<ServiceConfig> {
    let Some((name, files)) = text
        .split_once('=')
        .filter(|(name, files)| !name.is_empty() && !files.is_empty())
    else {
        let message = format!("`{text}` is not a service, expected NAME=FILE.wasm");
        return Err(Failure::input(message));
    };
    Ok(local::service(
        name,
        files.split(',').map(PathBuf::from).collect(),
    ))
}
