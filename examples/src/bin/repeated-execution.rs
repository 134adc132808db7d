//! Proof of execution by repetition: several workers make the same call, sign what came out, and
//! whoever asked finds the result that a majority stands for, and the worker that lied.
//!
//! The Aqua function `settle` (`aqua/repeated-execution.aqua`) asks all workers at once and waits
//! for the slow ones only so long; the client compares the votes with `RepeatedExecution`. stdout
//! has the verdict, with `--json` as one line.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Parser;
use examples::failure::{Failure, Result, exit};
use examples::local::{LocalNetwork, random_key};
use examples::log;
use particle::cid::value_cid;
use particle::{KeyPair, PeerId};
use peer_core::client::{Client, Request};
use peer_core::host::{FunctionCall, FunctionHost, FunctionOutcome, NativeFunctions};
use peer_core::proof::{
    ExecutionProof as _, ProofError, RepeatedExecution, SignatureOnly, Statement,
};
use serde::{Deserialize, Serialize};

/// The script, compiled from the Aqua source beside it.
const SCRIPT: &str = include_str!("../../aqua/repeated-execution.air");
/// Calls whose results a worker remembers to sign them.
const MAX_DONE: usize = 1_024;
/// Most rounds of one call.
const MAX_ROUNDS: u32 = 100_000;
/// Time of the particle beyond the patience of the script.
const WAY_BACK: Duration = Duration::from_secs(5);

/// Lets workers execute the same call and settles on what most of them signed.
#[derive(Parser)]
#[command(name = "repeated-execution", version)]
struct Arguments {
    /// How many workers there are.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=20))]
    workers: u8,
    /// How many of them lie, each in its own way.
    #[arg(long, default_value_t = 1)]
    liars: u8,
    /// How many of them never answer.
    #[arg(long, default_value_t = 1)]
    silent: u8,
    /// How many have to agree; more than half when not given.
    #[arg(long)]
    needed: Option<u32>,
    /// What is computed.
    #[arg(long, default_value = "aquamarine")]
    topic: String,
    /// How often.
    #[arg(long, default_value_t = 1_000)]
    rounds: u32,
    /// Milliseconds that the slowest worker is waited for.
    #[arg(long, default_value_t = 2_000)]
    patience: u32,
    /// Print the verdict as one line of JSON.
    #[arg(long)]
    json: bool,
    /// What to log to stderr.
    #[arg(long, default_value = "error")]
    log: String,
}

/// What a worker does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Computes too little, and stands for it.
    Lying(u32),
    /// Takes the call and never answers.
    Silent,
}

/// The call as the worker and whoever asked name it.
#[derive(Serialize)]
struct Asked(String, u32);

impl Asked {
    /// The hash that stands for the arguments in statements.
    fn hash(&self) -> Result<String> {
        let text = serde_json::to_string(self).map_err(Failure::new)?;
        Ok(value_cid(&text).to_string())
    }
}

/// A statement about the call.
fn statement<'a>(
    peer_id: PeerId,
    call: &'a FunctionCall,
    argument_hash: &'a str,
    result_cid: &'a str,
) -> Statement<'a> {
    Statement {
        peer_id,
        particle_id: &call.particle.id,
        service_id: "work",
        function_name: "digest",
        argument_hash,
        result_cid,
    }
}

fn cid_of(result: &str) -> Result<String> {
    let text = serde_json::to_string(result).map_err(Failure::new)?;
    Ok(value_cid(&text).to_string())
}

/// The work: a hash of a hash of a hash.
fn digest(topic: &str, rounds: u32) -> String {
    (0..rounds).fold(topic.to_owned(), |text, _| value_cid(&text).to_string())
}

/// Signs what it executed, and nothing else.
struct Worker {
    manner: Manner,
    proof: SignatureOnly,
    id: PeerId,
    done: Mutex<BTreeSet<Vec<u8>>>,
}

impl Worker {
    fn new(key: KeyPair, manner: Manner) -> Arc<Self> {
        let id = key.peer_id();
        Arc::new(Self {
            manner,
            proof: SignatureOnly::new(Arc::new(key)),
            id,
            done: Mutex::default(),
        })
    }

    fn functions(self: &Arc<Self>) -> NativeFunctions {
        let (work, sign) = (self.clone(), self.clone());
        NativeFunctions::new()
            .with("work", "digest", move |call| outcome(work.digest(call)))
            .with("proof", "sign", move |call| outcome(sign.sign(call)))
    }

    fn digest(&self, call: &FunctionCall) -> Result<String> {
        let mut arguments = call.arguments();
        let topic: String = arguments.next("topic").map_err(Failure::input)?;
        let rounds: u32 = arguments.next("rounds").map_err(Failure::input)?;
        if rounds > MAX_ROUNDS {
            let message = format_args!("{rounds} rounds, at most {MAX_ROUNDS} are computed");
            return Err(Failure::input(message));
        }
        let result = match self.manner {
            Manner::Lying(less) => digest(&topic, rounds.saturating_sub(less)),
            _ => digest(&topic, rounds),
        };
        let hash = Asked(topic, rounds).hash()?;
        let cid = cid_of(&result)?;
        let statement = statement(self.id, call, &hash, &cid).to_bytes();
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if done.len() >= MAX_DONE {
            done.clear();
        }
        done.insert(statement);
        Ok(result)
    }

    fn sign(&self, call: &FunctionCall) -> Result<Vec<u8>> {
        let mut arguments = call.arguments();
        let service: String = arguments.next("service").map_err(Failure::input)?;
        let function: String = arguments.next("function").map_err(Failure::input)?;
        let topic: String = arguments.next("topic").map_err(Failure::input)?;
        let rounds: u32 = arguments.next("rounds").map_err(Failure::input)?;
        let result: String = arguments.next("result").map_err(Failure::input)?;
        let (hash, cid) = (Asked(topic, rounds).hash()?, cid_of(&result)?);
        let statement = Statement {
            service_id: &service,
            function_name: &function,
            ..statement(self.id, call, &hash, &cid)
        };
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if !done.contains(&statement.to_bytes()) {
            return Err(Failure::new(format_args!(
                "this peer has not executed {service}.{function} to {result}"
            )));
        }
        self.proof.prove(&statement).map_err(Failure::new)
    }
}

/// Takes calls and leaves them alone.
struct Silence;

#[async_trait::async_trait]
impl FunctionHost for Silence {
    async fn call(&self, call: &FunctionCall) -> FunctionOutcome {
        match call.service_id.as_str() {
            "work" => std::future::pending().await,
            _ => FunctionOutcome::NotDefined,
        }
    }
}

/// What a worker signed.
#[derive(Deserialize)]
struct Vote {
    worker: PeerId,
    result: String,
    signature: Vec<u8>,
}

/// What the votes prove.
#[derive(Debug, Serialize, Deserialize)]
struct Verdict {
    /// Nothing or one: what enough workers stand for.
    result: Vec<String>,
    /// Their signatures.
    proof: Vec<u8>,
    /// Workers that stand for something else.
    liars: Vec<PeerId>,
    /// Workers without a valid vote.
    silent: Vec<PeerId>,
}

fn decide(call: &FunctionCall) -> Result<Verdict> {
    let mut arguments = call.arguments();
    let workers: Vec<PeerId> = arguments.next("workers").map_err(Failure::input)?;
    let needed: u32 = arguments.next("needed").map_err(Failure::input)?;
    let topic: String = arguments.next("topic").map_err(Failure::input)?;
    let rounds: u32 = arguments.next("rounds").map_err(Failure::input)?;
    let votes: Vec<Vote> = arguments.next("votes").map_err(Failure::input)?;
    let hash = Asked(topic, rounds).hash()?;
    let quorum = RepeatedExecution::new(workers.iter().copied(), needed as usize);
    let quorum = quorum.map_err(Failure::input)?;
    let mut results = BTreeMap::new();
    let mut silent: BTreeSet<PeerId> = workers.into_iter().collect();
    for vote in votes {
        let cid = cid_of(&vote.result)?;
        let statement = statement(vote.worker, call, &hash, &cid);
        match quorum.vote(&statement, &vote.signature) {
            Ok(()) => {
                silent.remove(&vote.worker);
                results.insert(cid, vote.result);
            }
            Err(error) => eprintln!("a vote does not count: {error}"),
        }
    }
    let mut verdict = Verdict {
        result: Vec::new(),
        proof: Vec::new(),
        liars: Vec::new(),
        silent: silent.into_iter().collect(),
    };
    for (cid, result) in results {
        let statement = statement(call.host_id, call, &hash, &cid);
        match quorum.prove(&statement) {
            Ok(proof) => {
                // Whoever is handed the proof checks it like this.
                quorum.verify(&statement, &proof).map_err(Failure::new)?;
                verdict.liars = quorum.dissenters(&statement);
                verdict.result = vec![result];
                verdict.proof = proof;
            }
            Err(ProofError::Quorum { .. }) => {}
            Err(error) => return Err(Failure::new(error)),
        }
    }
    Ok(verdict)
}

fn outcome<T: Serialize>(result: Result<T>) -> FunctionOutcome {
    match result {
        Ok(value) => FunctionOutcome::value(&value),
        Err(failure) => FunctionOutcome::error(&failure.to_string()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::to_stderr(&arguments.log);
    exit(run(arguments).await)
}

async fn run(arguments: Arguments) -> Result<()> {
    let Arguments {
        workers: count,
        liars,
        silent,
        ..
    } = arguments;
    if u16::from(liars) + u16::from(silent) > u16::from(count) {
        let message = format_args!("{liars} liars and {silent} silent ones among {count} workers");
        return Err(Failure::input(message));
    }
    let needed = arguments.needed.unwrap_or(u32::from(count) / 2 + 1);
    let manner = |index: usize| match u8::try_from(index).unwrap_or(u8::MAX) {
        index if index < liars => Manner::Lying(u32::from(index) + 1),
        index if index < liars.saturating_add(silent) => Manner::Silent,
        _ => Manner::Honest,
    };
    let mut keys = Vec::new();
    for _ in 0..count {
        keys.push(random_key()?);
    }
    let own: Vec<KeyPair> = keys.clone();
    let extend = |index: usize, builder: peer_core::peer::PeerBuilder| {
        let worker = own.get(index).map(|key| (key.clone(), manner(index)));
        match worker {
            Some((_, Manner::Silent)) => builder.functions(Arc::new(Silence)),
            Some((key, manner)) => {
                builder.functions(Arc::new(Worker::new(key, manner).functions()))
            }
            None => builder,
        }
    };
    let network = LocalNetwork::with_keys(keys, |_, _| {}, extend).await?;
    let verdict = ask(&arguments, needed, &network).await;
    let names = network.names();
    network.stop().await;
    let verdict = verdict?;
    if arguments.json {
        println!("{}", serde_json::to_string(&verdict).map_err(Failure::new)?);
        return Ok(());
    }
    let named = |peers: &[PeerId]| {
        let named: Vec<String> = peers.iter().map(|peer| names.of(peer)).collect();
        named.join(", ")
    };
    match verdict.result.first() {
        Some(result) => println!("{needed} of {count} workers prove the result {result}"),
        None => println!("no {needed} of {count} workers had the same result"),
    }
    println!("lied: {}", named(&verdict.liars));
    println!("gave no valid answer: {}", named(&verdict.silent));
    Ok(())
}

async fn ask(arguments: &Arguments, needed: u32, network: &LocalNetwork) -> Result<Verdict> {
    let decide = NativeFunctions::new().with("quorum", "decide", |call| outcome(decide(call)));
    let client = Client::builder(random_key()?, network.relay()?)
        .functions(Arc::new(decide))
        .connect()
        .await
        .map_err(Failure::new)?;
    let patience = Duration::from_millis(arguments.patience.into());
    let request = Request::new(SCRIPT)
        .argument("workers", &network.ids())
        .and_then(|request| request.argument("needed", &needed))
        .and_then(|request| request.argument("topic", &arguments.topic))
        .and_then(|request| request.argument("rounds", &arguments.rounds))
        .and_then(|request| request.argument("patience", &arguments.patience))
        .map_err(Failure::input)?
        .ttl(patience.saturating_add(WAY_BACK));
    let answer = client.call(request).await;
    client.stop().await;
    let verdict = answer.map_err(Failure::new)?;
    serde_json::from_value(verdict).map_err(Failure::new)
}
