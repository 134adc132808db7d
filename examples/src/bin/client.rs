//! Runs a script through a relay and prints its result as JSON.
//!
//! The client answers what compiled scripts ask of their initiator: `getDataSrv` for the arguments
//! and the relay, `callbackSrv.response` for the result, `errorHandlingSrv.error` for errors.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Parser};
use examples::failure::{Failure, Result, exit};
use examples::{local, log, samples, script};
use peer_core::client::{CallError, Client, Request};
use peer_core::config::KeyPairConfig;
use peer_core::network::peer_of_address;
use peer_core::peer::load_key;

/// Runs a script through a relay.
#[derive(Parser)]
#[command(name = "client", version)]
#[command(group = ArgGroup::new("what").required(true).args(["air", "record"]))]
struct Arguments {
    /// Address of the relay, with `/p2p/<peer id>` at its end.
    #[arg(long)]
    relay: String,
    /// File with the script.
    #[arg(long)]
    air: Option<PathBuf>,
    /// File with compiled functions, `.jsonl` or `.jsonl.gz`; see --function.
    #[arg(long, requires = "function")]
    record: Option<PathBuf>,
    /// The function of --record to run; arguments that are not given are made up by their types.
    #[arg(long, requires = "record")]
    function: Option<String>,
    /// Arguments by their names, a JSON object.
    #[arg(long, default_value = "{}")]
    args: String,
    /// Milliseconds that the particle may live.
    #[arg(long, default_value_t = 7000)]
    ttl: u64,
    /// Secret key in base64 or base58; a new one otherwise.
    #[arg(long, env = "AQUAMARINE_CLIENT_KEY", hide_env_values = true)]
    key: Option<String>,
    /// What to log to stderr.
    #[arg(long, default_value = "warn")]
    log: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::to_stderr(&arguments.log);
    exit(run(arguments).await)
}

async fn run(arguments: Arguments) -> Result<()> {
    // Everything is checked before anything is sent.
    let request = request(&arguments)?;
    let key = match arguments.key {
        Some(value) => {
            let config = KeyPairConfig {
                value: Some(value),
                ..KeyPairConfig::default()
            };
            load_key(&config, None).map_err(Failure::input)?
        }
        None => local::random_key()?,
    };
    let client = Client::connect(key, &arguments.relay)
        .await
        .map_err(Failure::new)?;
    let result = client.call(request).await;
    client.stop().await;
    match result {
        Ok(value) => {
            println!("{value}");
            Ok(())
        }
        Err(CallError::Error(error)) => Err(Failure::new(format_args!(
            "{}\n{error}",
            CallError::Error(error.clone())
        ))),
        Err(error) => Err(Failure::new(error)),
    }
}

fn request(arguments: &Arguments) -> Result<Request> {
    let mut values = script::arguments(&arguments.args)?;
    let mut request = match (&arguments.air, &arguments.record, &arguments.function) {
        (Some(file), _, _) => Request::new(script::read(file)?),
        (None, Some(file), Some(function)) => {
            let record = script::record(file, function)?;
            script::check(&record.air, function)?;
            let relay = peer_of_address(&arguments.relay).map(|peer| peer.to_string());
            let made_up = samples::of(&record, &relay.unwrap_or_default());
            for (name, value) in made_up.arguments {
                values.entry(name).or_insert(value);
            }
            Request::new(record.air).callbacks(made_up.callbacks)
        }
        _ => {
            return Err(Failure::input(
                "expected --air FILE, or --record FILE --function NAME",
            ));
        }
    };
    request = request.ttl(Duration::from_millis(arguments.ttl));
    for (name, value) in &values {
        request = request.argument(name, value).map_err(Failure::input)?;
    }
    Ok(request)
}
