//! A peer of one's own: a native function and an own implementation of a trait at one of the
//! seams, here an observer that counts what scripts ask for.
//!
//! A client calls the function through the peer, and the peer says what it saw.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use examples::failure::{Failure, Result, exit};
use examples::local::random_key;
use peer_core::client::{Client, Request};
use peer_core::config::PeerConfig;
use peer_core::engine::Event;
use peer_core::host::{FunctionOutcome, NativeFunctions};
use peer_core::peer::{Observer, Peer, PeerEvent, PeerEventKind};

const SCRIPT: &str = r#"
(xor
    (seq
        (seq
            (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
            (call %init_peer_id% ("getDataSrv" "text") [] text)
        )
        (seq
            (call relay ("text" "reverse") [text] reversed)
            (call %init_peer_id% ("callbackSrv" "response") [reversed])
        )
    )
    (call %init_peer_id% ("errorHandlingSrv" "error") [:error: 0])
)"#;

/// Counts the functions that were called, by name.
#[derive(Default)]
struct Census(Mutex<BTreeMap<String, usize>>);

impl Observer for Census {
    fn observe(&self, event: &PeerEvent) {
        if let PeerEventKind::Engine(Event::Called(call)) = &event.kind {
            let name = format!("{}.{}", call.service_id, call.function_name);
            *self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(name)
                .or_default() += 1;
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    exit(run().await)
}

async fn run() -> Result<()> {
    // Arguments are read with the errors that scripts know; results are anything with a JSON form.
    let functions = NativeFunctions::new().with("text", "reverse", |call| {
        match call.arguments().next::<String>("text") {
            Ok(text) => FunctionOutcome::value(&text.chars().rev().collect::<String>()),
            Err(error) => FunctionOutcome::error(&error.to_json_text()),
        }
    });
    let census = Arc::new(Census::default());
    let peer = Peer::builder(random_key()?)
        .config(PeerConfig {
            listen_ip: Ipv4Addr::LOCALHOST.into(),
            tcp_port: 0,
            websocket_port: 0,
            ..PeerConfig::default()
        })
        .functions(Arc::new(functions))
        .observer(census.clone())
        .start()
        .await
        .map_err(Failure::new)?;
    let addresses = peer.network().listen_addresses();
    let address = addresses
        .first()
        .ok_or_else(|| Failure::new("the peer does not listen"))?;
    println!("a peer with an own function listens on {address}");

    let client = Client::connect(random_key()?, address)
        .await
        .map_err(Failure::new)?;
    let request = Request::new(SCRIPT)
        .argument("text", "aquamarine")
        .map_err(Failure::input)?;
    let reversed = client.call(request).await.map_err(Failure::new)?;
    println!("text.reverse answers {reversed}");
    for (name, count) in &*census.0.lock().unwrap_or_else(PoisonError::into_inner) {
        println!("{name} was called {count} time(s)");
    }
    client.stop().await;
    peer.stop().await;
    Ok(())
}
