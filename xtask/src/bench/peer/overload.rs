//! More than a peer carries, for long: what is shed, what is lost, what memory does.

use std::time::Duration;

use super::{
    Arguments,
    client::{Client, Pace},
    drive,
    scenario::{Place, Scenario},
};
use crate::host::Host;

/// How much more than the peer carries.
const FACTOR: f64 = 1.2;
/// How often memory is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Offers `FACTOR` times `rate` echoes a second to a host.
pub(super) async fn measure(
    arguments: &Arguments,
    rate: f64,
    host: &Host,
    during: Duration,
) -> Result<String, String> {
    let relay = host.address()?;
    let ttl = Duration::from_secs(arguments.ttl);
    let mut clients = Vec::new();
    for number in 0..arguments.clients {
        clients.push(Client::connect(2_000 + number as u64, relay).await?);
    }
    let mut frames = Vec::new();
    for client in &mut clients {
        let script = Scenario::Echo.script(&Place::new(client, relay, None, &[])?);
        frames.push(client.produce(&script, ttl));
    }
    let before = host.metrics()?;
    let interval = Duration::from_secs_f64(arguments.clients as f64 / (rate * FACTOR));
    let driving = tokio::spawn(drive(clients, frames, Pace::Every(interval), during));
    let mut memory = Vec::new();
    while !driving.is_finished() {
        tokio::time::sleep(LOOK).await;
        memory.push(host.resident()?);
    }
    let (_clients, outcome) = driving.await.map_err(|error| error.to_string())??;
    let after = host.metrics()?;
    let grown = |name: &str| after.sum(name) - before.sum(name);
    let mebibytes =
        |bytes: Option<&u64>| bytes.map_or(0.0, |bytes| *bytes as f64 / f64::from(1 << 20));
    let answered = outcome.latencies.len();
    Ok(format!(
        "\nFor {} s, {:.0} echoes a second were offered, of which {:.0} a second were answered within \
         5 s (p50 {:.1} ms, p99 {:.1} ms), {} were held back, and {} were sent and lost. The peer refused {} streams, shed {} particles, could not send \
         {}, and let {} expire with work left. Its memory after a quarter of the time: {:.1} MiB, at \
         the end: {:.1} MiB, at most {:.1} MiB.\n",
        during.as_secs(),
        rate * FACTOR,
        answered as f64 / during.as_secs_f64(),
        outcome.percentile(50).as_secs_f64() * 1e3,
        outcome.percentile(99).as_secs_f64() * 1e3,
        outcome.held_back,
        outcome.lost,
        grown("network_refused_total{"),
        grown("engine_particles_dropped_total{")
            - grown("engine_particles_dropped_total{reason=\"duplicate\"}"),
        grown("connectivity_particle_send_failure_total{"),
        grown("engine_particles_expired_with_work_total"),
        mebibytes(memory.get(memory.len() / 4)),
        mebibytes(memory.last()),
        mebibytes(memory.iter().max()),
    ))
}
