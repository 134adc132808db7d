//! A client behind a relay that offers a function to others, and a client of another relay that
//! asks for it.
//!
//! Nobody can dial a client: who wants something of it goes to its relay, which has the connection.
//! The way back is the same, for errors too: a client hands every particle to its own relay.
//!
//! Without `--ask` the client offers `words.count` until it is stopped. stdout has `peer_id ID`,
//! `relay ID`, `ready`, then a line for each call. With `--ask` it prints the answer as JSON.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use examples::failure::{Failure, Result, exit};
use examples::{local, log, signals::StopSignals};
use peer_core::client::{Client, Request};
use peer_core::host::{FunctionOutcome, NativeFunctions};

/// How often an offering client looks whether its relay is still there.
const LOOK_AFTER_RELAY: Duration = Duration::from_secs(1);

/// Asks `peer`, which is behind the relay `via`. What goes wrong there travels home first.
const ASK: &str = r#"
(xor
    (seq
        (seq
            (seq
                (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
                (call %init_peer_id% ("getDataSrv" "via") [] via)
            )
            (seq
                (call %init_peer_id% ("getDataSrv" "peer") [] peer)
                (call %init_peer_id% ("getDataSrv" "text") [] text)
            )
        )
        (seq
            (seq
                (call relay ("op" "noop") [])
                (call via ("op" "noop") [])
            )
            (xor
                (seq
                    (call peer ("words" "count") [text] count)
                    (seq
                        (seq
                            (call via ("op" "noop") [])
                            (call relay ("op" "noop") [])
                        )
                        (call %init_peer_id% ("callbackSrv" "response") [count])
                    )
                )
                (seq
                    (seq
                        (call via ("op" "noop") [])
                        (call relay ("op" "noop") [])
                    )
                    (fail :error:)
                )
            )
        )
    )
    (call %init_peer_id% ("errorHandlingSrv" "error") [:error: 0])
)"#;

/// A client that offers a function, or asks another one for it.
#[derive(Parser)]
#[command(name = "relay-client", version)]
struct Arguments {
    /// Address of the relay, with `/p2p/<peer id>` at its end.
    #[arg(long)]
    relay: String,
    /// Ask this client for the words of --text instead of offering to count them.
    #[arg(long, value_name = "PEER_ID", requires_all = ["via", "text"])]
    ask: Option<String>,
    /// The relay of the client to ask.
    #[arg(long, value_name = "PEER_ID", requires = "ask")]
    via: Option<String>,
    /// The text whose words are counted.
    #[arg(long, requires = "ask")]
    text: Option<String>,
    /// Milliseconds that an answer may take.
    #[arg(long, default_value_t = 7000)]
    ttl: u64,
    /// What to log to stderr.
    #[arg(long, default_value = "warn")]
    log: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::to_stderr(&arguments.log);
    exit(match &arguments.ask {
        Some(peer) => ask(&arguments, peer).await,
        None => offer(&arguments).await,
    })
}

/// A line of stdout; whoever started the program may not be interested.
fn say(line: &str) {
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

async fn offer(arguments: &Arguments) -> Result<()> {
    // Before anything is announced: who reads `ready` may send a signal at once.
    let mut signals = StopSignals::listen().map_err(Failure::new)?;
    let functions = NativeFunctions::new().with("words", "count", |call| {
        match call.arguments().next::<String>("text") {
            Ok(text) => {
                let count = text.split_whitespace().count();
                say(&format!("{} for {}", count, call.particle.init_peer_id));
                FunctionOutcome::value(&count)
            }
            Err(error) => FunctionOutcome::error(&error.to_json_text()),
        }
    });
    let client = Client::builder(local::random_key()?, &arguments.relay)
        .functions(Arc::new(functions))
        .connect()
        .await
        .map_err(Failure::new)?;
    say(&format!("peer_id {}", client.peer_id()));
    say(&format!("relay {}", client.relay()));
    say("ready");
    tokio::select! {
        () = signals.received() => {}
        () = stay_connected(&client, &arguments.relay) => {}
    }
    client.stop().await;
    Ok(())
}

/// Dials the relay again whenever it is gone: nobody else can.
async fn stay_connected(client: &Client, relay: &str) {
    let network = client.peer().network();
    loop {
        tokio::time::sleep(LOOK_AFTER_RELAY).await;
        if network.is_connected(&client.relay()) {
            continue;
        }
        match network.dial(relay).await {
            Ok(_) => tracing::info!("the relay is back"),
            Err(error) => tracing::warn!(%error, "the relay does not answer"),
        }
    }
}

async fn ask(arguments: &Arguments, peer: &str) -> Result<()> {
    let request = Request::new(ASK).ttl(Duration::from_millis(arguments.ttl));
    let request = request
        .argument("peer", peer)
        .and_then(|request| request.argument("via", &arguments.via))
        .and_then(|request| request.argument("text", &arguments.text))
        .map_err(Failure::input)?;
    let client = Client::connect(local::random_key()?, &arguments.relay)
        .await
        .map_err(Failure::new)?;
    let answer = client.call(request).await;
    client.stop().await;
    say(&answer.map_err(Failure::new)?.to_string());
    Ok(())
}
