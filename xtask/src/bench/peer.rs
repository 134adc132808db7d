//! `cargo xtask bench peer`: what a peer carries, measured from outside by clients that speak the
//! protocol and do little else. It can be pointed at any peer.

mod client;
mod idle;
mod overload;
mod scenario;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use particle::{KeyPair, Signer as _, Verifier as _};

use self::{
    client::{Client, Frames, Outcome, Pace},
    scenario::{Place, Scenario},
};
use super::report::{self, Section};
use crate::{
    host::{Host, Profile, build, cpu},
    tidy::workspace_root,
};

/// How to measure.
#[derive(clap::Args)]
pub struct Arguments {
    /// Multiaddress of the peer to measure, with its peer id, instead of one that is started.
    #[arg(long)]
    target: Option<String>,
    /// Process id of that peer, where it runs on this machine: then its memory and processor time
    /// are measured too.
    #[arg(long, requires = "target")]
    target_process: Option<u32>,
    /// The binary to start instead of one that is built.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// How the binary is built.
    #[arg(long, default_value = "release")]
    profile: Profile,
    /// What to run; everything when not given.
    #[arg(long, value_enum, value_delimiter = ',')]
    scenario: Vec<Scenario>,
    /// Seconds for each phase.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Clients at a time.
    #[arg(long, default_value_t = 4)]
    clients: usize,
    /// Particles that each client has under way.
    #[arg(long, default_value_t = 4)]
    in_flight: usize,
    /// Seconds that a particle lives.
    #[arg(long, default_value_t = 30)]
    ttl: u64,
    /// After that: seconds of echoes at 120 % of what the peer carries.
    #[arg(long)]
    overload: Option<u64>,
    /// Instead of load: measure the memory that so many idle clients take.
    #[arg(long, value_delimiter = ',')]
    idle: Vec<usize>,
    /// Write the table to BENCHMARKS.md.
    #[arg(long)]
    write: bool,
}

/// What was measured of one scenario.
struct Row {
    scenario: Scenario,
    rate: f64,
    busy: Outcome,
    calm: Outcome,
    /// Processor time of the peer for each particle, where it can be told.
    cpu: Option<Duration>,
    /// Processor time of the clients for each particle.
    own_cpu: Duration,
}

/// Particles a second that are prepared for all clients together.
const MAX_RATE: usize = 12_000;

/// Runs the task.
pub(super) fn run(arguments: &Arguments) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let table = if arguments.idle.is_empty() {
        runtime.block_on(load(arguments))?
    } else {
        let binary = arguments.binary()?;
        let start = || Host::start(&binary, &PORTS);
        runtime.block_on(idle::measure(&arguments.idle, start))?
    };
    println!("{table}");
    if arguments.write {
        let section = match arguments.idle.is_empty() {
            true => Section::Peer,
            false => Section::Idle,
        };
        report::write(&workspace_root(), section, &table)?;
    }
    Ok(())
}

/// Any ports.
const PORTS: [&str; 4] = ["--tcp-port", "0", "--websocket-port", "0"];

impl Arguments {
    fn binary(&self) -> Result<PathBuf, String> {
        match &self.binary {
            Some(path) => Ok(path.clone()),
            None => build(self.profile),
        }
    }
}

async fn load(arguments: &Arguments) -> Result<String, String> {
    let mut table = String::new();
    let mut hosts: Vec<Host> = Vec::new();
    let (mut addresses, process) = match &arguments.target {
        Some(address) => (vec![address.clone()], arguments.target_process),
        None => {
            let service = workspace_root().join("examples/wasm/greeting.wasm");
            let service = format!("greeting={}", service.display());
            let binary = arguments.binary()?;
            let mut options: Vec<&str> = PORTS.to_vec();
            options.extend(["--service", &service]);
            let began = Instant::now();
            let first = Host::start(&binary, &options)?;
            let address = first.address()?.to_owned();
            let mut client = Client::connect(0, &address).await?;
            let script = Scenario::Echo.script(&Place::new(&client, &address, None, &[])?);
            client.once(&script).await?;
            table.push_str(&format!(
                "Listening {} ms after the start of the process, first answer {} ms after it. At \
                 rest, after that: {:.1} MiB.\n\n",
                first.ready_after.as_millis(),
                began.elapsed().as_millis(),
                first.resident()? as f64 / f64::from(1 << 20),
            ));
            client.stop().await;
            let mut further = options;
            further.extend(["--bootstrap", &address]);
            let second = Host::start(&binary, &further)?;
            let addresses = vec![address.clone(), second.address()?.to_owned()];
            let id = first.id();
            hosts.extend([first, second]);
            (addresses, Some(id))
        }
    };
    let relay = addresses.remove(0);
    let second = addresses.pop();
    let mut rows = Vec::new();
    for scenario in Scenario::chosen(&arguments.scenario, second.is_some()) {
        rows.push(measure(arguments, scenario, &relay, second.as_deref(), process).await?);
    }
    table.push_str(&format!(
        "One verification and two signatures, which an echo cannot do without, take {} µs here.\n\n",
        signatures()?.as_micros()
    ));
    table.push_str(&format!(
        "| {} clients × {} in flight | a second | p50 | p99 | max | lost | p50 at half | p99 at half | lost | peer CPU each | clients' CPU each |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        arguments.clients, arguments.in_flight
    ));
    for row in &rows {
        table.push_str(&row.text());
    }
    if let (Some(seconds), Some(row), Some(host)) =
        (arguments.overload, rows.first(), hosts.first())
    {
        let during = Duration::from_secs(seconds);
        table.push_str(&overload::measure(arguments, row.rate, host, during).await?);
    }
    if let Some(host) = hosts.first() {
        let resident = host.resident()? as f64 / f64::from(1 << 20);
        table.push_str(&format!(
            "\nMemory of the relay after all: {resident:.1} MiB.\n"
        ));
    }
    Ok(table)
}

/// What the cryptography of one echo takes of this processor: the median of many.
fn signatures() -> Result<Duration, String> {
    let key = KeyPair::from_seed(&[1; 32]);
    let mut taken = Vec::new();
    for number in 0_u64..1_000 {
        let text = number.to_le_bytes();
        let began = Instant::now();
        let signature = key.sign(&text);
        std::hint::black_box(key.sign(signature.as_bytes()));
        key.public_key()
            .verify(&text, signature.as_bytes())
            .map_err(|error| error.to_string())?;
        taken.push(began.elapsed());
    }
    taken.sort_unstable();
    Ok(taken.get(taken.len() / 2).copied().unwrap_or_default())
}

async fn measure(
    arguments: &Arguments,
    scenario: Scenario,
    relay: &str,
    second: Option<&str>,
    process: Option<u32>,
) -> Result<Row, String> {
    let during = Duration::from_secs(arguments.seconds);
    let ttl = Duration::from_secs(arguments.ttl);
    let mut others = Vec::new();
    for number in 0..scenario.others() {
        others.push(Client::connect(1_000 + number as u64, relay).await?);
    }
    let mut clients = Vec::new();
    for number in 0..arguments.clients {
        clients.push(Client::connect(number as u64 + 1, relay).await?);
    }
    let scripts: Vec<String> = clients
        .iter()
        .map(|client| Ok(scenario.script(&Place::new(client, relay, second, &others)?)))
        .collect::<Result<_, String>>()?;
    // Connections, caches, services: everything has been used once.
    for (client, script) in clients.iter_mut().zip(&scripts) {
        client.once(script).await?;
    }
    let count = MAX_RATE * arguments.seconds as usize / arguments.clients.max(1);
    let frames = prepare(&mut clients, &scripts, count, ttl);
    let cpu_before = process.map(cpu).transpose()?;
    let own_before = cpu(std::process::id())?;
    let began = Instant::now();
    let busy = drive(clients, frames, Pace::InFlight(arguments.in_flight), during).await?;
    let took = began.elapsed();
    let (mut clients, busy) = busy;
    let answered = busy.latencies.len().max(1);
    let rate = answered as f64 / took.as_secs_f64();
    let each = |before: Duration, after: Duration| {
        after.saturating_sub(before) / u32::try_from(answered).unwrap_or(u32::MAX)
    };
    let cpu_each = match (cpu_before, process) {
        (Some(before), Some(process)) => Some(each(before, cpu(process)?)),
        _ => None,
    };
    let own_cpu = each(own_before, cpu(std::process::id())?);
    // Half of that.
    let interval = Duration::from_secs_f64(2.0 * arguments.clients as f64 / rate);
    let count = (during.as_secs_f64() / interval.as_secs_f64()).ceil() as usize;
    let frames = prepare(&mut clients, &scripts, count, ttl);
    let (clients, calm) = drive(clients, frames, Pace::Every(interval), during).await?;
    for client in clients.iter().chain(&others) {
        client.stop().await;
    }
    Ok(Row {
        scenario,
        rate,
        busy,
        calm,
        cpu: cpu_each,
        own_cpu,
    })
}

fn prepare(clients: &mut [Client], scripts: &[String], count: usize, ttl: Duration) -> Vec<Frames> {
    let pairs = clients.iter_mut().zip(scripts);
    pairs
        .map(|(client, script)| client.prepare(script, count, ttl))
        .collect()
}

/// All clients at once, each on a task of its own.
async fn drive(
    clients: Vec<Client>,
    frames: Vec<Frames>,
    pace: Pace,
    during: Duration,
) -> Result<(Vec<Client>, Outcome), String> {
    let tasks: Vec<_> = clients
        .into_iter()
        .zip(frames)
        .map(|(mut client, frames)| {
            tokio::spawn(async move {
                let outcome = client.drive(frames, pace, during).await;
                (client, outcome)
            })
        })
        .collect();
    let (mut clients, mut outcomes) = (Vec::new(), Vec::new());
    for task in tasks {
        let (client, outcome) = task.await.map_err(|error| error.to_string())?;
        clients.push(client);
        outcomes.push(outcome);
    }
    Ok((clients, Outcome::join(outcomes)))
}

impl Row {
    fn text(&self) -> String {
        let milliseconds = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
        let microseconds = |time: Duration| format!("{} µs", time.as_micros());
        let cells = [
            self.scenario.title().to_owned(),
            format!("{:.0}", self.rate),
            milliseconds(self.busy.percentile(50)),
            milliseconds(self.busy.percentile(99)),
            milliseconds(self.busy.percentile(100)),
            self.busy.lost.to_string(),
            milliseconds(self.calm.percentile(50)),
            milliseconds(self.calm.percentile(99)),
            self.calm.lost.to_string(),
            self.cpu.map_or_else(|| "—".to_owned(), microseconds),
            microseconds(self.own_cpu),
        ];
        format!("| {} |\n", cells.join(" | "))
    }
}
