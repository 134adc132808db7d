//! Memory that connected clients take which do nothing.

use std::time::Duration;

use futures::{StreamExt as _, stream};

use super::client::Client;
use crate::host::Host;

/// Clients that connect at a time.
const AT_A_TIME: usize = 16;
/// How long the peer has to come to rest.
const REST: Duration = Duration::from_secs(3);

/// Measures both transports, each with a new peer.
pub(super) async fn measure(
    counts: &[usize],
    start: impl Fn() -> Result<Host, String>,
) -> Result<String, String> {
    let mut table = "| transport | idle clients | memory | for each | after they left |\n\
                     |---|--:|--:|--:|--:|\n"
        .to_owned();
    for (place, transport) in ["TCP", "WebSocket"].into_iter().enumerate() {
        for &count in counts {
            let host = start()?;
            let address = host.listen.get(place).ok_or("the peer does not listen")?;
            tokio::time::sleep(REST).await;
            let before = host.resident()?;
            let clients: Vec<Result<Client, String>> = stream::iter(0..count)
                .map(|number| Client::connect(number as u64, address))
                .buffer_unordered(AT_A_TIME)
                .collect()
                .await;
            let clients: Vec<Client> = clients.into_iter().collect::<Result<_, _>>()?;
            tokio::time::sleep(REST).await;
            let with = host.resident()?;
            stream::iter(&clients)
                .for_each_concurrent(AT_A_TIME, Client::stop)
                .await;
            drop(clients);
            tokio::time::sleep(REST).await;
            let after = host.resident()?;
            let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
            let each = with.saturating_sub(before) as f64 / count.max(1) as f64 / 1024.0;
            table.push_str(&format!(
                "| {transport} | {count} | {} (at rest {}) | {each:.1} KiB | {} |\n",
                mebibytes(with),
                mebibytes(before),
                mebibytes(after),
            ));
        }
    }
    Ok(table)
}
