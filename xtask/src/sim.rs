//! `cargo xtask sim`: the script of the `local-network` example in a simulated network.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZero,
    ops::Range,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Instant,
};

use particle::{Particle, data::Envelope};
use peer_core::{
    host::{Ending, FunctionCall, FunctionOutcome, Initiator, NativeFunctions},
    simulator::{Link, PeerOptions, SimPeer, Simulator},
};
use serde_json::{Value, json};

use crate::agreement::Knowledge;

/// What the example's client sends.
const SCRIPT: &str = include_str!("../../examples/aqua/local-network.air");
/// Time to live of the particle, in milliseconds.
const TTL_MS: u32 = 120_000;
/// How long the script waits for peers, in milliseconds.
const PATIENCE_MS: u64 = 60_000;

/// How many simulations of how many peers.
#[derive(clap::Args)]
pub struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// How many peers besides the client.
    #[arg(long, default_value_t = 200)]
    peers: usize,
}

/// What a simulation came to.
#[derive(Debug)]
pub struct Survey {
    /// What every peer answered, in the order of their ids.
    pub answers: BTreeMap<String, Value>,
    /// The sum over all answers.
    pub total: u64,
    /// Everything that is observable, as bytes.
    pub snapshot: Vec<u8>,
    /// Virtual time until the result, in milliseconds.
    pub took_ms: u64,
    /// Runs of the state machine at all peers.
    pub runs: u64,
}

/// Runs the task.
pub fn run(arguments: &Arguments) -> ExitCode {
    let started = Instant::now();
    let seeds = arguments.first_seed..arguments.first_seed.saturating_add(arguments.seeds);
    match surveys(seeds, arguments.peers) {
        Ok(first) => {
            println!(
                "{} seeds with {} peers agree: {} answers each, total {}; {:.0} s in all",
                arguments.seeds,
                arguments.peers,
                first.answers.len(),
                first.total,
                started.elapsed().as_secs_f64(),
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Simulates the survey with each of the seeds, and with the first of them twice; as many at a time
/// as there are cores. Returns what the first one came to.
///
/// # Errors
/// The seed, and how its answers or bytes differ from those of the first; or that there is no seed.
pub fn surveys(seeds: Range<u64>, peers: usize) -> Result<Survey, String> {
    let told = |seed: u64, error: String| format!("seed {seed} with {peers} peers: {error}");
    let first = seeds.clone().next().ok_or("no seeds")?;
    let reference = survey(first, peers).map_err(|error| told(first, error))?;
    let next = Mutex::new(seeds);
    let work = || {
        loop {
            let seed = next.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(seed) = seed else { return Ok(()) };
            survey(seed, peers)
                .and_then(|survey| {
                    if seed == first && survey.snapshot != reference.snapshot {
                        return Err("the second run of the seed gives other bytes".to_owned());
                    }
                    // Keys follow from the seed; what peers answer does not.
                    compare(&reference, &survey)
                })
                .map_err(|error| told(seed, error))?;
        }
    };
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| Err("a simulation panicked".to_owned()))
        })
    })?;
    Ok(reference)
}

/// Checks that two seeds gave the same answers and the same total.
///
/// # Errors
/// What differs.
fn compare(one: &Survey, other: &Survey) -> Result<(), String> {
    let values = |survey: &Survey| -> BTreeSet<String> {
        survey.answers.values().map(Value::to_string).collect()
    };
    if one.total != other.total {
        return Err(format!("total {} instead of {}", other.total, one.total));
    }
    if values(one) != values(other) {
        return Err("other answers than those of the first seed".to_owned());
    }
    Ok(())
}

/// Simulates one survey: a client behind a relay asks all peers, then all peers exchange what they
/// know.
///
/// # Errors
/// An answer that is missing or wrong, or peers that disagree in the end.
pub fn survey(seed: u64, peers: usize) -> Result<Survey, String> {
    let mut simulator = Simulator::new(seed);
    simulator.set_default_link(Link {
        latency_ms: (1, 80),
        duplicate_per_mille: 50,
        ..Link::default()
    });
    let hosts: Vec<SimPeer> = (0..peers)
        .map(|number| {
            let functions = NativeFunctions::new()
                .with("sampler", "measure", move |call| measure(number, call));
            let options = PeerOptions::new(format!("peer {number}"));
            simulator.add_peer(options.with_host(Arc::new(functions)))
        })
        .collect();
    let relay = *hosts.first().ok_or("no peers")?;
    let ids: Vec<String> = hosts
        .iter()
        .filter_map(|&peer| simulator.peer_id(peer))
        .map(|id| id.to_string())
        .collect();
    let initiator = Arc::new(Initiator::new(BTreeMap::from([
        ("-relay-".to_owned(), json!(ids.first())),
        ("peers".to_owned(), json!(ids)),
        ("topic".to_owned(), json!("simulation")),
        ("count".to_owned(), json!(100)),
        ("patience".to_owned(), json!(PATIENCE_MS)),
    ])));
    let client = simulator.add_peer(
        PeerOptions::new("client")
            .with_relay(relay)
            .with_host(initiator.clone()),
    );
    let began = simulator.now_ms();
    let particle = simulator
        .start(client, SCRIPT, TTL_MS)
        .map_err(|error| error.to_string())?;
    let mut took_ms = None;
    while took_ms.is_none() && simulator.now_ms() < began + PATIENCE_MS {
        simulator.run_for(50);
        if !initiator.endings(&particle.id).is_empty() {
            took_ms = Some(simulator.now_ms() - began);
        }
    }
    let (samples, total) = match initiator.take_endings(&particle.id).as_slice() {
        [Ending::Response { arguments, .. }] => match arguments.as_slice() {
            [Value::Array(samples), total] => (samples.clone(), total.as_u64()),
            other => return Err(format!("the script returned {other:?}")),
        },
        other => return Err(format!("the script ended with {other:?}")),
    };
    let mut answers = BTreeMap::new();
    for mut sample in samples {
        // The id is a key here: it is the only thing that depends on the seed.
        let id = sample
            .as_object_mut()
            .and_then(|sample| sample.remove("peer"));
        let id = id.and_then(|id| id.as_str().map(str::to_owned));
        answers.insert(id.ok_or("a sample without a peer")?, sample);
    }
    if answers.len() != peers || ids.iter().any(|id| !answers.contains_key(id)) {
        return Err(format!("{} of {peers} peers answered", answers.len()));
    }
    simulator.run_until_idle(u64::from(TTL_MS));
    exchange(&mut simulator, &particle, relay)?;
    agree(&simulator, &particle)?;
    Ok(Survey {
        answers,
        total: total.ok_or("the total is not a number")?,
        snapshot: simulator
            .snapshot()
            .encode()
            .map_err(|error| error.to_string())?,
        took_ms: took_ms.unwrap_or_default(),
        runs: simulator.totals().runs,
    })
}

/// What the Wasm service of the example measures, made up: it depends on the peer's number only.
fn measure(number: usize, call: &FunctionCall) -> FunctionOutcome {
    FunctionOutcome::value(&json!({
        "peer": call.peer_id,
        "service": "sampler",
        "start": number * 100,
        "primes": number % 17,
        "largest": number * 100 + 97,
        "digest": format!("{number:08x}"),
    }))
}

/// Every peer tells the relay what it knows, then the relay tells everybody.
fn exchange(simulator: &mut Simulator, particle: &Particle, hub: SimPeer) -> Result<(), String> {
    let everybody: Vec<SimPeer> = simulator.peers().collect();
    let tell = |simulator: &mut Simulator, from: SimPeer, to: SimPeer| {
        let data = simulator.data(from, &particle.signature).cloned();
        let data = data.ok_or("a peer has no data")?;
        let particle = Particle {
            data,
            ..particle.clone()
        };
        simulator
            .inject(to, particle)
            .map_err(|error| error.to_string())
    };
    for &peer in &everybody {
        tell(simulator, peer, hub)?;
    }
    simulator.run_until_idle(u64::from(TTL_MS));
    for &peer in &everybody {
        tell(simulator, hub, peer)?;
    }
    simulator.run_until_idle(u64::from(TTL_MS));
    Ok(())
}

/// Whether the data of all peers say the same as those of the first.
fn agree(simulator: &Simulator, particle: &Particle) -> Result<(), String> {
    let envelope = |peer| {
        let bytes = simulator.data(peer, &particle.signature);
        Envelope::decode(bytes.ok_or("a peer has no data")?).map_err(|error| error.to_string())
    };
    let mut peers = simulator.peers();
    let first = envelope(peers.next().ok_or("no peers")?)?;
    let first = first.data().map_err(|error| error.to_string())?;
    let expected = Knowledge::of(&first);
    for peer in peers {
        let envelope = envelope(peer)?;
        let data = envelope.data().map_err(|error| error.to_string())?;
        expected
            .compare(&Knowledge::of(&data))
            .map_err(|what| format!("{peer:?} and the first one disagree about {what}"))?;
    }
    Ok(())
}
