//! HTTP in front of Aqua functions, so that a program that speaks only HTTP can call them.
//!
//! `POST /call/<function>` with the arguments as a JSON object answers with the result; with
//! `accept: text/event-stream` each call of a function among the arguments is an event. Requests on
//! configured routes become particles. `GET /openapi.json` describes it all. It belongs behind a
//! proxy that ends TLS and bounds connections.
//!
//! stdout has `http ADDRESS`, then `ready`. SIGINT and SIGTERM stop the gateway.

mod caller;
mod functions;
mod limits;
mod openapi;
mod server;
mod types;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use examples::failure::{Failure, Result, exit};
use examples::{local, log, script, signals::StopSignals};
use peer_core::client::Client;
use peer_core::config::KeyPairConfig;
use peer_core::peer::load_key;

use self::caller::ClientCaller;
use self::functions::{Config, Function};
use self::limits::Keys;
use self::server::{Offer, Parts};

/// HTTP in front of Aqua functions.
#[derive(Parser)]
#[command(name = "gateway", version)]
struct Arguments {
    /// Settings in TOML: relay, functions, listeners, keys.
    config: PathBuf,
    /// What to log to stderr.
    #[arg(long, default_value = "info")]
    log: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::to_stderr(&arguments.log);
    exit(run(&arguments).await)
}

async fn run(arguments: &Arguments) -> Result<()> {
    let mut signals = StopSignals::listen().map_err(Failure::new)?;
    // Everything is checked before anything is dialed.
    let config = Config::read(&arguments.config).map_err(Failure::input)?;
    let key = match &config.key {
        Some(value) => {
            let config = KeyPairConfig {
                value: Some(value.clone()),
                ..KeyPairConfig::default()
            };
            load_key(&config, None).map_err(Failure::input)?
        }
        None => local::random_key()?,
    };
    let offer = Offer::new(Parts {
        functions: functions(&config)?,
        listeners: config.listeners,
        keys: Keys::new(config.keys).map_err(Failure::input)?,
        max_calls: config.max_calls,
    });
    let offer = offer.map_err(Failure::input)?;
    if offer.is_open() {
        tracing::warn!("there are no keys: everybody may call");
    }

    let client = Client::connect(key, &config.relay).await;
    let client = Arc::new(client.map_err(Failure::new)?);
    let router = server::router(offer, Arc::new(ClientCaller::new(client.clone())));
    let named = |error: std::io::Error| Failure::new(format_args!("{}: {error}", config.listen));
    let listener = tokio::net::TcpListener::bind(&config.listen).await;
    let listener = listener.map_err(named)?;
    let address = listener.local_addr().map_err(named)?;
    let mut stdout = std::io::stdout();
    // Whoever started the gateway may not be interested.
    let _ = writeln!(stdout, "http {address}\nready").and_then(|()| stdout.flush());

    let served = axum::serve(listener, router).into_future();
    // Calls under way end with the gateway: a stream could go on for as long as its function may.
    tokio::select! {
        served = served => served.map_err(Failure::new)?,
        () = signals.received() => {}
    }
    client.stop().await;
    Ok(())
}

fn functions(config: &Config) -> Result<Vec<Function>> {
    let functions = config.functions.iter().map(|config| {
        let record = script::record(&config.record, &config.name)?;
        script::check(&record.air, &config.name)?;
        Function::new(config, record.air, &record.arguments, &record.returns)
            .map_err(Failure::input)
    });
    functions.collect()
}
