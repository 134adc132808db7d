//! A compiled function in the simulator: a client behind a relay, two more peers, and a host at
//! each that answers every call with a value that fits how the script uses it.

use std::sync::Arc;

use air_parser::Ast;
use async_trait::async_trait;
use peer_core::{
    engine::Event,
    host::{FunctionCall, FunctionHost, FunctionOutcome},
    simulator::{PeerOptions, Simulator},
};

use super::shapes::Shapes;

/// Time to live of the particle, in virtual milliseconds.
const TTL_MS: u32 = 60_000;
/// The code of a script that does not parse.
const SCRIPT_ERROR: i64 = 1;
/// The codes of errors that no script can catch.
const UNCATCHABLE: std::ops::RangeInclusive<i64> = 20_000..=20_017;

/// Runs a function until nothing moves.
///
/// # Errors
/// A network that does not come to rest, or a run with a code that says that script or data make
/// no sense.
pub(super) fn run(ast: &Ast<'_>) -> Result<(), String> {
    let mut simulator = Simulator::new(1);
    let answers = Arc::new(Shapes::of(ast));
    let mut ids: Vec<String> = Vec::new();
    let mut relay = None;
    for name in ["relay", "near", "far", "client"] {
        let host = Arc::new(Stub {
            shapes: answers.clone(),
            peers: ids.clone(),
        });
        let mut options = PeerOptions::new(name).with_host(host);
        if name == "client" {
            options = options.with_relay(relay.ok_or("no relay")?);
        }
        let peer = simulator.add_peer(options);
        relay.get_or_insert(peer);
        ids.extend(simulator.peer_id(peer).map(|id| id.to_string()));
    }
    let client = simulator.peers().last().ok_or("no client")?;
    simulator.record_events();
    simulator
        .start(client, ast.source(), TTL_MS)
        .map_err(|error| error.to_string())?;
    let rest = simulator.run_until_idle(u64::from(TTL_MS));
    let mut runs = 0;
    for (peer, event) in simulator.take_events() {
        let Event::Executed(execution) = event else {
            continue;
        };
        runs += 1;
        let code = execution.ret_code;
        if code == SCRIPT_ERROR || UNCATCHABLE.contains(&code) {
            return Err(format!(
                "{peer:?} ended with {code}: {}",
                execution.error_message
            ));
        }
    }
    if runs == 0 {
        return Err("nothing ran".to_owned());
    }
    if !rest {
        return Err(format!("still moving after {runs} runs"));
    }
    Ok(())
}

/// Answers whatever is asked.
struct Stub {
    shapes: Arc<Shapes>,
    /// The peers that were there before; the first is the relay.
    peers: Vec<String>,
}

#[async_trait]
impl FunctionHost for Stub {
    async fn call(&self, call: &FunctionCall) -> FunctionOutcome {
        let own = [call.peer_id.to_string()];
        let peers = match self.peers.as_slice() {
            [] => &own,
            peers => peers,
        };
        FunctionOutcome::value(
            &self
                .shapes
                .result(&call.service_id, &call.function_name, peers),
        )
    }
}
