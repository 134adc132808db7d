//! The market in one command, without any network: three providers prove capacity and serve the deal
//! of a developer, whose calls become golden particles; then the table of who earned what.
//!
//! The parts are in `examples/src/market`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use deal_types::U256;
use examples::failure::{Failure, Result, exit};
use examples::local::{self, LocalNetwork};
use examples::log;
use examples::market::developer::{self, CALL_TTL, Called};
use examples::market::golden::Tickets;
use examples::market::ledger::{CALL_EPOCH, Ledger, OWNER, PAYMENT_DIGITS, STAKER};
use examples::market::provider::{self, Provider};
use examples::market::report::{Earned, Report, Stage, whole};
use examples::market::spell::Fired;
use examples::path::Path;
use examples::spells;
use peer_core::client::Client;
use peer_core::golden::Collector;

/// Plays a market from the first offer to the last payment.
#[derive(Parser)]
#[command(name = "marketplace", version)]
struct Arguments {
    /// How often the developer calls all workers.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=200))]
    calls: u16,
    /// Print one line of JSON and nothing else.
    #[arg(long)]
    json: bool,
    /// Write a page with plots and the path of a golden particle.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// What to log to stderr.
    #[arg(long, default_value = "error")]
    log: String,
}

const PROVIDERS: u8 = 3;
/// Particles and bytes that a peer keeps until they become tickets.
const KEPT: (usize, usize) = (1_024, 64 << 20);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::to_stderr(&arguments.log);
    exit(run(arguments).await)
}

/// Times the stages, and tells a person about them.
struct Story {
    person: bool,
    began: Instant,
    stages: Vec<Stage>,
}

impl Story {
    fn told(&mut self, name: &'static str, result: String) {
        let seconds = self.began.elapsed().as_secs_f64();
        if self.person {
            println!("{seconds:5.1} s  {name}: {result}");
        }
        self.began = Instant::now();
        self.stages.push(Stage {
            name,
            seconds,
            result,
        });
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let mut story = Story {
        person: !arguments.json,
        began: Instant::now(),
        stages: Vec::new(),
    };
    let mut epochs = Vec::new();

    // The chain, and a peer of each provider that follows it.
    let accounts: Vec<_> = (1..=PROVIDERS).map(provider::account).collect();
    let ledger = Ledger::new(&accounts).await?;
    let collector = Arc::new(Collector::new(KEPT.0, KEPT.1));
    let folder = Folder::new()?;
    let mut keys = Vec::new();
    for _ in 0..PROVIDERS {
        keys.push((local::random_key()?, local::random_key()?));
    }
    let mut markets = Vec::new();
    for (number, (key, _)) in (1..).zip(&keys) {
        markets.push(provider::peer_market(&ledger, number, key.peer_id())?);
    }
    let spell_modules = spells::modules(&folder.0)?;
    let network = LocalNetwork::with_keys(
        keys.iter().map(|(key, _)| key.clone()).collect(),
        |index, config| {
            config.data_dir = Some(folder.0.join(index.to_string()));
            let operator = keys
                .get(index)
                .map(|(_, operator)| operator.peer_id().to_string());
            config.management_peer_id = operator;
            config.system_services.spell = spell_modules.clone();
            // Three hosts share the cores of one machine.
            config.dev_mode.enable = true;
        },
        |index, builder| {
            let builder = builder.observer(collector.clone());
            match markets.get(index) {
                Some(market) => builder.chain(market.clone()),
                None => builder,
            }
        },
    )
    .await?;
    let names = network.names();
    story.told("chain and peers", format!("market {}", ledger.market()));

    // Offers and commitments; they are active from the next epoch on.
    let mut providers = Vec::new();
    let peers = network.peers().iter().cloned();
    for ((number, peer), ((_, operator), market)) in (1..).zip(peers).zip(keys.iter().zip(markets))
    {
        let operator = operator.clone();
        providers.push(Provider::join(&ledger, number, peer, operator, market).await?);
    }
    epochs.push(ledger.next_epoch(0).await?.0);
    story.told(
        "offers and commitments",
        format!("{} providers", providers.len()),
    );

    let mut proofs = 0;
    for provider in &providers {
        proofs += provider.prove(&ledger).await?;
    }
    epochs.push(ledger.next_epoch(0).await?.0);
    story.told(
        "proofs of capacity",
        format!("{proofs} verified by the chain"),
    );

    // The developer packs an application and makes a deal, which takes the units.
    let (app_cid, blocks) = developer::application();
    let deal = developer::deploy(&ledger, app_cid, providers.len()).await?;
    let matched = developer::fill(&ledger, deal, &providers).await?;
    let in_deal = u64::try_from(matched).map_err(Failure::new)?;
    story.told(
        "deal and matching",
        format!("{matched} units work for {deal}"),
    );

    // Its blocks travel over the network: nobody has to be trusted, as each one is verified.
    let published = developer::publish(blocks, &network).await?;
    let mut hosted = Vec::new();
    for provider in &providers {
        let worker = provider.host(&ledger, published.peer_id()).await?;
        collector.watch(worker.worker);
        hosted.push(worker);
    }
    published.shutdown().await;
    epochs.push(ledger.next_epoch(in_deal).await?.0);
    let installed: usize = hosted.iter().map(|hosted| hosted.spells.len()).sum();
    story.told(
        "deployment",
        format!(
            "{} workers registered, {installed} spells installed",
            hosted.len()
        ),
    );

    // Calls, in the epoch in which the clocks meet.
    if ledger.epoch().await? != CALL_EPOCH {
        return Err(Failure::new("the calls are in the wrong epoch"));
    }
    let client = Client::builder(local::random_key()?, network.relay()?)
        .observer(network.recorder())
        .connect()
        .await
        .map_err(Failure::new)?;
    let names = names.with(client.peer_id(), "developer");
    let names = hosted
        .iter()
        .zip(&providers)
        .fold(names, |names, (hosted, provider)| {
            names.with(hosted.worker, &format!("worker of {}", provider.name))
        });
    let mut calls = Vec::new();
    for number in 0..usize::from(arguments.calls) {
        calls.push(developer::call(&client, &hosted, number).await?);
    }
    let status = developer::status(&ledger, deal).await?;
    let last = calls.last().map(|call: &Called| call.result.to_string());
    story.told(
        "calls",
        format!(
            "{} answered, the last with {}",
            calls.len(),
            last.unwrap_or_default()
        ),
    );
    // What is executed becomes a ticket when the particle has expired.
    tokio::time::sleep(CALL_TTL + Duration::from_secs(2)).await;
    // Meanwhile the peers started the spells by themselves.
    let mut spells = Vec::new();
    for (provider, hosted) in providers.iter().zip(&hosted) {
        spells.extend(provider.fired(hosted).await?);
    }
    let firings: u64 = spells.iter().map(|spell| spell.firings).sum();
    let last = spells.last().map(|spell: &Fired| spell.last.clone());
    story.told(
        "spells",
        format!(
            "{firings} firings on {} workers, the last told {:?}",
            spells.len(),
            last.unwrap_or_default()
        ),
    );
    let initiator = developer::key_of(client.peer_id())?;
    client.stop().await;

    // Tickets, draw, openings.
    epochs.push(ledger.next_epoch(in_deal).await?.0);
    let mut tickets = Tickets::commit(&ledger, deal, &hosted, initiator, &collector)?;
    let (record, first_block) = ledger.next_epoch(in_deal).await?;
    epochs.push(record);
    let golden = tickets.open(&ledger, first_block).await?;
    for _ in 0..2 {
        epochs.push(ledger.next_epoch(in_deal).await?.0);
    }
    let owners = hosted
        .iter()
        .zip(&providers)
        .map(|(hosted, provider)| (hosted.key, provider.account));
    let owners: BTreeMap<_, _> = owners.collect();
    let path = golden.first().and_then(|golden| {
        let call = calls
            .iter()
            .find(|call| call.particle_id == golden.particle_id)?;
        let events = network.recorder().events();
        Some(Path::of(&call.particle_id, call.started, &events))
    });

    let before = balances(&ledger, &providers).await?;
    let (golden, payouts) = tickets.settle(&ledger, golden, &owners).await?;
    let paid = format!(
        "{} of {} tickets won {} tokens",
        golden.golden.len(),
        golden.tickets,
        whole(
            payouts
                .values()
                .fold(U256::ZERO, |sum, amount| sum.saturating_add(*amount)),
            PAYMENT_DIGITS
        )
    );
    story.told("golden particles", paid);
    for (provider, hosted) in providers.iter().zip(&hosted) {
        provider.withdraw(&ledger, deal, hosted).await?;
    }
    let after = balances(&ledger, &providers).await?;
    story.told("rewards", "withdrawn".to_owned());
    network.stop().await;

    let golden_of = |index: usize| {
        let worker = hosted.get(index).map(|hosted| hosted.key);
        let payout = worker.and_then(|worker| payouts.get(&worker).copied());
        payout.unwrap_or_default()
    };
    let earned = before
        .iter()
        .zip(&after)
        .enumerate()
        .map(|(index, (before, after))| {
            let golden = golden_of(index);
            let payment = after.payment.saturating_sub(before.payment);
            Earned {
                name: after.name.clone(),
                capacity: after.native.saturating_sub(before.native).to_string(),
                deal: payment.saturating_sub(golden).to_string(),
                golden: golden.to_string(),
            }
        });
    let report = Report {
        app_cid: app_cid.to_string(),
        deal: deal.to_string(),
        deal_status: status.to_string(),
        proofs,
        calls: calls.len(),
        spells,
        stages: story.stages,
        epochs,
        golden,
        earned: earned.collect(),
        path: path.unwrap_or_default(),
        left_out: vec![
            "The round of golden particles is kept beside the chain, whose contracts know none; the \
             developer pays it by transfers.",
        ],
    };
    if arguments.json {
        println!("{}", serde_json::to_string(&report).map_err(Failure::new)?);
    } else {
        println!("\n{}", report.table());
        for left_out in &report.left_out {
            println!("note: {left_out}");
        }
    }
    if let Some(file) = &arguments.html {
        std::fs::write(file, report.page(&names)).map_err(|error| {
            Failure::new(format_args!("cannot write {}: {error}", file.display()))
        })?;
    }
    if report.golden.golden.is_empty() {
        return Err(Failure::new("no particle was golden"));
    }
    Ok(())
}

/// What somebody has.
struct Balance {
    name: String,
    native: U256,
    payment: U256,
}

/// The balances of the providers, then of staker and owner.
async fn balances(ledger: &Ledger, providers: &[Provider]) -> Result<Vec<Balance>> {
    let others = [("staker", STAKER), ("market owner", OWNER)];
    let accounts = providers
        .iter()
        .map(|provider| (provider.name.as_str(), provider.account))
        .chain(others);
    let mut balances = Vec::new();
    for (name, account) in accounts {
        balances.push(Balance {
            name: name.to_owned(),
            native: ledger.native(account),
            payment: ledger.payment(account).await?,
        });
    }
    Ok(balances)
}

/// A folder that goes with the program.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let name = format!("aquamarine-marketplace-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).map_err(|error| {
            Failure::new(format_args!("cannot make {}: {error}", path.display()))
        })?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
