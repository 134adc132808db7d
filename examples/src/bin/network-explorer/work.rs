//! What keeps the peers busy.

use std::sync::Arc;
use std::time::Duration;

use examples::survey;
use particle::PeerId;
use peer_core::client::{Client, Request};
use tokio::sync::Semaphore;

/// Particles of one client that may be under way at a time.
const UNDER_WAY: usize = 16;
/// Time to live of a particle.
const TTL: Duration = Duration::from_secs(15);
/// How many numbers a peer looks at.
const COUNT: u32 = 200;
/// Milliseconds after which a survey does not wait for further answers.
const PATIENCE_MS: u32 = 2_000;
/// One of so many walks wants to go to a peer that nobody knows.
const LOST: usize = 6;

/// Visits one peer after the other.
const WALK: &str = r#"
(xor
    (seq
        (seq
            (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
            (seq
                (call %init_peer_id% ("getDataSrv" "peers") [] peers)
                (call %init_peer_id% ("getDataSrv" "count") [] count)
            )
        )
        (seq
            (seq
                (call relay ("op" "noop") [])
                (fold peers peer
                    (seq
                        (call peer ("sampler" "measure") ["walk" count] sample)
                        (next peer)
                    )
                )
            )
            (seq
                (call relay ("op" "noop") [])
                (call %init_peer_id% ("callbackSrv" "response") [])
            )
        )
    )
    (seq
        (call relay ("op" "noop") [])
        (call %init_peer_id% ("errorHandlingSrv" "error") [:error: 0])
    )
)"#;

/// Starts particles without end, surveys and walks in turn, each over other peers.
pub(crate) async fn keep_busy(
    client: &Arc<Client>,
    peers: Vec<PeerId>,
    place: usize,
    pause: Duration,
) {
    let under_way = Arc::new(Semaphore::new(UNDER_WAY));
    for turn in 0_usize.. {
        tokio::time::sleep(pause).await;
        // Never closed.
        let Ok(permit) = under_way.clone().acquire_owned().await else {
            return;
        };
        let request = match request(&peers, turn * 7 + place * 5, turn) {
            Ok(request) => request,
            Err(error) => {
                tracing::error!(%error, "no request");
                return;
            }
        };
        match client.start(request).await {
            Ok(call) => {
                tokio::spawn(async move {
                    if let Err(error) = call.result().await {
                        tracing::debug!(%error, "a particle failed");
                    }
                    drop(permit);
                });
            }
            Err(error) => tracing::warn!(%error, "a particle was not sent"),
        }
    }
}

fn request(peers: &[PeerId], first: usize, turn: usize) -> Result<Request, serde_json::Error> {
    let chosen = peers.iter().cycle().skip(first % peers.len().max(1));
    let length = (2 + turn % 6).min(peers.len());
    let mut chosen: Vec<PeerId> = chosen.take(length).copied().collect();
    let is_walk = !turn.is_multiple_of(2);
    if is_walk && (turn / 2 + 1).is_multiple_of(LOST) {
        chosen.push(stranger());
    }
    Request::new(if is_walk { WALK } else { survey::SCRIPT })
        .ttl(TTL)
        .argument("peers", &chosen)?
        .argument("topic", "explorer")?
        .argument("count", &COUNT)?
        .argument("patience", &PATIENCE_MS)
}

/// A peer that is nowhere.
fn stranger() -> PeerId {
    particle::KeyPair::from_seed(&[255; 32]).peer_id()
}
