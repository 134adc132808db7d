//! Flags, environment and files of the peer.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Parser;
use examples::failure::{Failure, Result};
use examples::{local, log::LogFormat, traces};
use peer_core::config::{
    ConfigLayers, KeyFormat, NetworkName, PeerConfig, ServiceConfig, TracingType,
};

/// A configuration file that is read without being asked for.
const DEFAULT_CONFIG: &str = "Config.toml";
/// The variable with further files, separated by commas.
const CONFIG_VARIABLE: &str = "FLUENCE_CONFIG";

/// A peer. Flags override the environment, which overrides configuration files. Every key of the
/// configuration is a variable too: `tcp_port` is FLUENCE_TCP_PORT.
#[derive(Parser)]
#[command(name = "peer", version)]
pub(crate) struct Arguments {
    /// Configuration in TOML; several files are joined, later ones win.
    #[arg(short, long, env = "AQUAMARINE_CONFIG", value_delimiter = ',')]
    config: Vec<PathBuf>,
    /// Secret key in base64 or base58.
    #[arg(
        short = 'k',
        long,
        visible_aliases = ["keypair-value", "secret-key"],
        short_alias = 'y',
        env = "AQUAMARINE_KEY",
        hide_env_values = true,
        conflicts_with = "key_file"
    )]
    key: Option<String>,
    /// File with the secret key, readable by its owner only; written with a new key when it does
    /// not exist.
    #[arg(
        short = 'p',
        long,
        visible_alias = "keypair-path",
        env = "AQUAMARINE_KEY_FILE"
    )]
    key_file: Option<PathBuf>,
    /// Kind of the key: ed25519 or secp256k1.
    #[arg(short = 'f', long, value_parser = key_format)]
    keypair_format: Option<KeyFormat>,
    /// Write a missing key file with a new key, whatever the configuration says.
    #[arg(short, long)]
    gen_keypair: bool,
    /// Address to listen on.
    #[arg(long, env = "AQUAMARINE_LISTEN_IP")]
    listen_ip: Option<IpAddr>,
    /// TCP port; 0 is any.
    #[arg(short, long, env = "AQUAMARINE_TCP_PORT")]
    tcp_port: Option<u16>,
    /// WebSocket port; 0 is any.
    #[arg(
        short,
        long,
        visible_alias = "ws-port",
        env = "AQUAMARINE_WEBSOCKET_PORT"
    )]
    websocket_port: Option<u16>,
    /// Port of the HTTP interface for operators; 0 is any.
    #[arg(short = 's', long, env = "AQUAMARINE_HTTP_PORT")]
    http_port: Option<u16>,
    /// IP under which the peer is reached from outside.
    #[arg(
        short = 'x',
        long,
        visible_alias = "external-ip",
        env = "AQUAMARINE_EXTERNAL_ADDRESS"
    )]
    external_address: Option<IpAddr>,
    /// Multiaddress to announce, such as that of a TLS proxy; may be given several times.
    #[arg(
        short = 'z',
        long,
        visible_alias = "external-maddrs",
        env = "AQUAMARINE_EXTERNAL_MULTIADDRESS",
        value_delimiter = ','
    )]
    external_multiaddress: Vec<String>,
    /// Multiaddress of a peer to connect to; may be given several times.
    #[arg(
        short,
        long,
        visible_alias = "bootstraps",
        env = "AQUAMARINE_BOOTSTRAP",
        value_delimiter = ',',
        conflicts_with = "local"
    )]
    bootstrap: Vec<String>,
    /// Kademlia bootstrap runs at each n-th bootstrap connection.
    #[arg(short = 'q', long)]
    bootstrap_frequency: Option<usize>,
    /// Connect to no bootstrap node.
    #[arg(short, long)]
    local: bool,
    /// Id of the peer that may administrate this one.
    #[arg(
        short,
        long,
        visible_alias = "management-key",
        env = "AQUAMARINE_MANAGEMENT_PEER_ID"
    )]
    management_peer_id: Option<String>,
    /// Directory for what the peer keeps.
    #[arg(long, env = "AQUAMARINE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// The network to belong to: dar, stage, kras or 64 hexadecimal digits.
    #[arg(long, env = "AQUAMARINE_NETWORK")]
    network: Option<NetworkName>,
    /// Keep private and loopback addresses of other peers.
    #[arg(
        short,
        long,
        visible_alias = "allow-private-ips",
        env = "AQUAMARINE_ALLOW_LOCAL_ADDRESSES"
    )]
    allow_local_addresses: bool,
    /// Runs of the state machine at a time; 0 is twice the number of processors.
    #[arg(long)]
    aqua_pool_size: Option<usize>,
    /// A service to host: NAME=FILE.wasm, or NAME=FIRST.wasm,SECOND.wasm with the facade last.
    #[arg(
        long,
        env = "AQUAMARINE_SERVICE",
        value_name = "NAME=FILES",
        value_delimiter = ';'
    )]
    service: Vec<String>,
    /// What to log: error, warn, info, debug, trace, or directives by module. RUST_LOG overrides
    /// it.
    #[arg(long, env = "AQUAMARINE_LOG", default_value = "info")]
    pub(crate) log: String,
    /// How to log: for people, or as logfmt for machines.
    #[arg(long, env = "FLUENCE_LOG_FORMAT", default_value = "default")]
    pub(crate) log_format: LogFormat,
    /// Where traces of particles go: disabled (nowhere), stdout or otlp (a collector).
    #[arg(long, env = "AQUAMARINE_TRACING_TYPE", value_parser = tracing_type)]
    tracing_type: Option<TracingType>,
    /// URL of the collector for --tracing-type otlp, which speaks OTLP over HTTP.
    #[arg(long, env = "AQUAMARINE_TRACING_OTLP_ENDPOINT", value_name = "URL")]
    tracing_otlp_endpoint: Option<String>,
    /// Print the configuration that results, without secrets, before starting.
    #[arg(long)]
    print_config: bool,
    /// Print what every key of the configuration means, as Markdown, and end.
    #[arg(long)]
    pub(crate) print_config_schema: bool,
    /// Check a configuration file and end.
    #[arg(long, value_name = "FILE")]
    pub(crate) check_config: Option<PathBuf>,
    #[command(flatten)]
    ignored: Ignored,
}

/// Flags of the published peer that have no effect here.
#[derive(clap::Args)]
struct Ignored {
    #[arg(long, hide = true)]
    no_banner: bool,
    #[arg(long, hide = true)]
    dev_mode: bool,
    #[arg(short = 'd', long, hide = true)]
    certificate_dir: Option<String>,
    #[arg(short = 'u', long, hide = true)]
    blueprint_dir: Option<String>,
    #[arg(short = 'r', long, hide = true)]
    services_workdir: Option<String>,
    #[arg(long, hide = true)]
    enable_system_services: Option<String>,
    #[arg(long, hide = true)]
    wallet_key: Option<String>,
}

impl Arguments {
    /// The settings of all sources on top of each other.
    pub(crate) fn config(&self) -> Result<PeerConfig> {
        let mut layers = ConfigLayers::default();
        let default = Path::new(DEFAULT_CONFIG);
        let named = std::env::var(CONFIG_VARIABLE).unwrap_or_default();
        let named = named.split(',').filter(|name| !name.is_empty());
        let files = default
            .is_file()
            .then_some(default)
            .into_iter()
            .chain(named.map(Path::new))
            .chain(self.config.iter().map(PathBuf::as_path));
        for file in files {
            layers.file(file).map_err(Failure::input)?;
        }
        // What is no text can be no value.
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        layers.environment(variables).map_err(Failure::input)?;
        for note in layers.notes() {
            tracing::warn!("{note}");
        }
        for flag in self.ignored.given() {
            tracing::warn!("the flag {flag} has no effect here");
        }
        let mut config = layers.finish().map_err(Failure::input)?;
        self.override_config(&mut config)?;
        if self.tracing_otlp_endpoint.is_some() && config.tracing.r#type != TracingType::Otlp {
            tracing::warn!(
                "the flag --tracing-otlp-endpoint has no effect without --tracing-type otlp"
            );
        }
        if self.print_config {
            let text = config.to_public_toml().map_err(Failure::new)?;
            eprint!("{text}");
        }
        Ok(config)
    }

    fn override_config(&self, config: &mut PeerConfig) -> Result<()> {
        let key = &mut config.root_key_pair;
        replace(&mut key.format, self.keypair_format);
        if let Some(value) = &self.key {
            key.value = Some(value.clone());
        }
        if let Some(file) = &self.key_file {
            key.path = Some(file.clone());
            key.value = None;
            key.generate_on_absence = true;
        }
        key.generate_on_absence |= self.gen_keypair;
        replace(&mut config.listen_ip, self.listen_ip);
        replace(&mut config.tcp_port, self.tcp_port);
        replace(&mut config.websocket_port, self.websocket_port);
        replace(&mut config.http_port, self.http_port);
        replace(&mut config.network, self.network.clone());
        replace(&mut config.bootstrap_frequency, self.bootstrap_frequency);
        replace(
            &mut config.external_address,
            self.external_address.map(Some),
        );
        replace(&mut config.data_dir, self.data_dir.clone().map(Some));
        replace(&mut config.aquavm_pool_size, self.aqua_pool_size.map(Some));
        replace(&mut config.tracing.r#type, self.tracing_type);
        let collector = self.tracing_otlp_endpoint.clone();
        replace(&mut config.tracing.endpoint, collector);
        let manager = self.management_peer_id.clone().map(Some);
        replace(&mut config.management_peer_id, manager);
        if !self.external_multiaddress.is_empty() {
            config
                .external_multiaddresses
                .clone_from(&self.external_multiaddress);
        }
        if !self.bootstrap.is_empty() {
            config.bootstrap_nodes.clone_from(&self.bootstrap);
        }
        config.local |= self.local;
        config.allow_local_addresses |= self.allow_local_addresses;
        for text in &self.service {
            config.services.push(service(text)?);
        }
        Ok(())
    }
}

impl Ignored {
    fn given(&self) -> impl Iterator<Item = &'static str> {
        [
            ("--no-banner", self.no_banner),
            ("--dev-mode", self.dev_mode),
            ("--certificate-dir", self.certificate_dir.is_some()),
            ("--blueprint-dir", self.blueprint_dir.is_some()),
            ("--services-workdir", self.services_workdir.is_some()),
            (
                "--enable-system-services",
                self.enable_system_services.is_some(),
            ),
            ("--wallet-key", self.wallet_key.is_some()),
        ]
        .into_iter()
        .filter_map(|(flag, given)| given.then_some(flag))
    }
}

/// Says whether a configuration file can be used, and what in it has no effect.
pub(crate) fn check(file: &Path) -> Result<()> {
    let mut layers = ConfigLayers::default();
    layers.file(file).map_err(Failure::input)?;
    let config = layers.finish().map_err(Failure::input)?;
    for note in layers.notes() {
        println!("{}: {note}", file.display());
    }
    if let Some(manager) = &config.management_peer_id {
        manager.parse::<particle::PeerId>().map_err(|error| {
            Failure::input(format_args!("management_peer_id {manager}: {error}"))
        })?;
    }
    traces::check(&config.tracing)?;
    println!("{}: the configuration can be used", file.display());
    Ok(())
}

fn replace<T>(setting: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *setting = given;
    }
}

fn key_format(text: &str) -> std::result::Result<KeyFormat, String> {
    match text {
        "ed25519" => Ok(KeyFormat::Ed25519),
        "secp256k1" => Ok(KeyFormat::Secp256k1),
        _ => Err("expected `ed25519` or `secp256k1`".to_owned()),
    }
}

fn tracing_type(text: &str) -> std::result::Result<TracingType, String> {
    match text {
        "disabled" => Ok(TracingType::Disabled),
        "stdout" => Ok(TracingType::Stdout),
        "otlp" => Ok(TracingType::Otlp),
        _ => Err("expected `disabled`, `stdout` or `otlp`".to_owned()),
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
