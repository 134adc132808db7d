//! The HTTP interface for operators (§8.7 of the peer description): `/health`, `/metrics`,
//! `/peer_id`, `/versions` and, where the configuration allows it, `/config`.
//!
//! It has no authentication and nothing that changes the peer. It answers one request of a
//! connection; connections are bounded in number, in time and in what they may send.

mod exchange;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::json;
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

use self::exchange::{Answer, serve};
use crate::{
    config::{ConfigError, PeerConfig},
    metrics::{MEDIA_TYPE, Metrics},
    peer::{HealthCheck, Peer},
};

/// Connections at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 64;
/// Pause when the system has no socket to give.
const PAUSE: Duration = Duration::from_millis(100);
/// What the versions say about services that are not part of this program.
const NOT_INCLUDED: &str = "not included";

/// Why the interface did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for HTTP: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration has no text form.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The running interface; it stops when this is dropped.
#[derive(Debug)]
pub struct Http {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// What requests are answered from.
struct Shared {
    peer: Peer,
    metrics: Option<Arc<Metrics>>,
    health: bool,
    config: Option<String>,
}

impl Http {
    /// Serves the peer on `listen_ip` and `http_port` of the configuration. `metrics` are the
    /// peer's own.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(
        peer: &Peer,
        config: &PeerConfig,
        metrics: Arc<Metrics>,
    ) -> Result<Self, HttpError> {
        let address = SocketAddr::new(config.listen_ip, config.http_port);
        let failed = |source| HttpError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if config.tokio_metrics_enabled {
            metrics.watch_runtime(tokio::runtime::Handle::current());
        }
        let shared = Arc::new(Shared {
            peer: peer.clone(),
            metrics: config.metrics_enabled.then_some(metrics),
            health: config.health_check_enabled,
            config: match config.config_endpoint_enabled {
                true => Some(config.to_public_toml()?),
                false => None,
            },
        });
        let task = tokio::spawn(listen(listener, shared));
        Ok(Self { address, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Accepts connections; they end with this future.
async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                connections.spawn(async move {
                    let served = serve(stream, |path| shared.answer(path)).await;
                    if let Err(error) = served {
                        tracing::debug!("an HTTP request was not answered: {error}");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!("no HTTP connection: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// In the order in which the published peer has them.
#[derive(Serialize)]
struct Versions<'a> {
    node: &'a str,
    avm: &'a str,
    spell: &'a str,
    aqua_ipfs: &'a str,
    trust_graph: &'a str,
    registry: &'a str,
    decider: &'a str,
}

impl Shared {
    fn answer(&self, path: &str) -> Answer {
        let answer = match path {
            "/health" if self.health => Some(health(&self.peer.health())),
            "/metrics" => self
                .metrics
                .as_ref()
                .map(|metrics| Answer::ok(MEDIA_TYPE, metrics.text())),
            "/peer_id" => Some(Answer::json(&json!({ "peer_id": self.peer.peer_id() }))),
            "/versions" => Some(self.versions()),
            "/config" => self
                .config
                .as_ref()
                .map(|text| Answer::ok("application/toml; charset=utf-8", text.clone())),
            _ => None,
        };
        answer.unwrap_or_else(Answer::nothing)
    }

    fn versions(&self) -> Answer {
        let node = self.peer.node_info();
        Answer::json(&Versions {
            node: &node.node_version,
            avm: &node.air_version,
            spell: &node.spell_version,
            aqua_ipfs: NOT_INCLUDED,
            trust_graph: NOT_INCLUDED,
            registry: NOT_INCLUDED,
            decider: NOT_INCLUDED,
        })
    }
}

/// Passing checks first. Half well is told by another status than not well at all.
fn health(checks: &[HealthCheck]) -> Answer {
    let (passed, failed): (Vec<_>, Vec<_>) = checks.iter().partition(|check| check.passed);
    let status = match (passed.is_empty(), failed.is_empty()) {
        (_, true) => 200,
        (false, false) => 429,
        (true, false) => 503,
    };
    let told = |checks: Vec<&HealthCheck>, text: &'static str| {
        let checks = checks.into_iter();
        let told = checks.map(move |check| json!({ check.name: text }));
        told.collect::<Vec<_>>()
    };
    Answer::json(&[told(passed, "Ok"), told(failed, "Fail")].concat()).with_status(status)
}

#[cfg(test)]
mod tests;
