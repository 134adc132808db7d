//! The prover as a program: JSON-RPC for peers, metrics, state that survives crashes.
//!
//! The program `ccp` is little more than [`Daemon`]; a binary of your own can give it another puzzle.

mod config;
mod http;
mod rpc;
mod websocket;

use std::{
    fs,
    future::Future,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

pub use config::{
    Argon2, Config, ConfigError, LogLevel, Logs, Optimizations, PrometheusEndpoint, RpcEndpoint,
    State, Tokio, Workers,
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{
    Puzzle,
    prover::{ProverOptions, TopologyError, pin},
    service::{Service, StateError, View},
};

/// Time between two tries of what failed.
const RETRY: Duration = Duration::from_secs(30);

/// Why a daemon does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// Its state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its token cannot be used.
    #[error("bearer token file {}: {reason}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The cores are not known.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// It cannot serve.
    #[error("cannot serve: {0}")]
    Serve(#[from] io::Error),
}

/// Where a daemon listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Addresses {
    /// JSON-RPC.
    pub rpc: SocketAddr,
    /// Metrics.
    pub prometheus: Option<SocketAddr>,
}

/// A prover with its state, ready to serve.
#[derive(Debug)]
pub struct Daemon {
    config: Config,
    token: Option<String>,
    service: Arc<Service>,
}

impl Daemon {
    /// Opens the state and goes on with what was proven when it was last closed, or killed.
    ///
    /// # Errors
    /// A state that cannot be used, or is in use.
    pub fn open(config: Config, puzzle: Arc<dyn Puzzle>) -> Result<Self, DaemonError> {
        let options = ProverOptions {
            threads_per_core: config.optimizations.threads_per_core,
            hashes_per_round: config.workers.hashes_per_round,
            dataset_chunk: config.workers.dataset_chunk_size,
            ..ProverOptions::for_this_machine()?
        };
        let token = token(&config)?;
        let service = Service::open(&config.state.path, puzzle, options)?;
        let wanted = &config.tokio.utility_thread_ids;
        if service.utility_cores().is_empty() && !wanted.is_empty() {
            // A core that does not exist is a mistake, but no reason not to prove.
            if let Err(error) = service.set_utility_cores(wanted.clone()) {
                tracing::error!("tokio.utility-thread-ids: {error}");
            }
        }
        Ok(Self {
            config,
            token,
            service: Arc::new(service),
        })
    }

    /// What everything is at.
    #[must_use]
    pub fn view(&self) -> View {
        self.service.view()
    }

    /// Something that gives views while the daemon serves.
    pub fn viewer(&self) -> impl Fn() -> View + Send + 'static {
        let service = Arc::clone(&self.service);
        move || service.view()
    }

    /// Serves until `shutdown`; says where as soon as it listens.
    ///
    /// # Errors
    /// An address that cannot be listened at.
    pub fn serve(
        self,
        listening: impl FnOnce(Addresses),
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), DaemonError> {
        let tokio = &self.config.tokio;
        let mut builder = match tokio.worker_threads {
            None => tokio::runtime::Builder::new_current_thread(),
            Some(threads) => {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                builder.worker_threads(threads);
                builder
            }
        };
        let (service, next) = (Arc::clone(&self.service), AtomicUsize::new(0));
        let runtime = builder
            .enable_all()
            .thread_name("ccp-serve")
            .max_blocking_threads(tokio.max_blocking_threads.unwrap_or(4))
            .thread_keep_alive(Duration::from_secs(10))
            .on_thread_start(move || {
                pin_to(&service, next.fetch_add(1, Ordering::Relaxed));
            })
            .build()?;
        runtime.block_on(self.serve_inside(listening, shutdown))
    }

    async fn serve_inside(
        self,
        listening: impl FnOnce(Addresses),
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), DaemonError> {
        let endpoint = &self.config.rpc_endpoint;
        if !endpoint.host.is_loopback() && self.token.is_none() {
            tracing::warn!(
                "{} can be reached by others: set rpc-endpoint.bearer-token-file",
                endpoint.host
            );
        }
        let rpc = http::listen((endpoint.host, endpoint.port).into()).await?;
        let prometheus = match &self.config.prometheus_endpoint {
            Some(endpoint) => Some(http::listen((endpoint.host, endpoint.port).into()).await?),
            None => None,
        };
        let addresses = Addresses {
            rpc: rpc.local_addr()?,
            prometheus: prometheus
                .as_ref()
                .map(|listener| listener.local_addr())
                .transpose()?,
        };
        let (stop, stopped) = watch::channel(false);
        let stopping = || {
            let mut stopped = stopped.clone();
            async move {
                // An error means that the sender is gone: then it is time as well.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            }
        };
        if let Some(listener) = prometheus {
            let serving = http::serve_metrics(listener, Arc::clone(&self.service), stopping());
            tokio::spawn(serving);
        }
        tracing::info!(
            "serves at {}, state in {}",
            addresses.rpc,
            self.service.folder().display()
        );
        listening(addresses);
        let serving = http::serve_rpc(
            rpc,
            Arc::clone(&self.service),
            endpoint.facade_queue_size,
            self.token.as_deref(),
            stopping(),
        );
        let logs = self.config.logs.clone();
        tokio::select! {
            served = serving => served?,
            () = keep_house(&self.service, &logs) => {}
            () = shutdown => {}
        }
        stop.send_replace(true);
        tracing::info!("stops");
        Ok(())
    }
}

/// What is done from time to time.
async fn keep_house(service: &Arc<Service>, logs: &Logs) {
    let [mut tick, mut retry, mut rates] =
        [Duration::from_secs(1), RETRY, logs.interval()].map(|time| {
            let mut interval = interval(time);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
    let mut cores = service.utility_cores();
    pin_to(service, 0);
    loop {
        let service = Arc::clone(service);
        let report = logs.report_hashrate;
        // All of them may wait for the disk; a task that panicked said so already.
        tokio::select! {
            _ = tick.tick() => {
                let wanted = service.utility_cores();
                if wanted != cores {
                    cores = wanted;
                    pin_to(&service, 0);
                }
                let _ = tokio::task::spawn_blocking(move || service.tick()).await;
            }
            _ = retry.tick() => service.retry(),
            _ = rates.tick() => {
                let _ = tokio::task::spawn_blocking(move || service.write_hashrates(report)).await;
            }
        }
    }
}

/// Binds this thread, one of those that serve, to a core meant for them.
fn pin_to(service: &Service, thread: usize) {
    let cores = service.utility_cores();
    if let Some(core) = cores.iter().cycle().nth(thread % cores.len().max(1))
        && !pin(*core)
    {
        tracing::warn!("a serving thread is not bound to logical core {}", core.0);
    }
}

fn token(config: &Config) -> Result<Option<String>, DaemonError> {
    let Some(path) = &config.rpc_endpoint.bearer_token_file else {
        return Ok(None);
    };
    let invalid = |reason: String| DaemonError::Token {
        path: path.clone(),
        reason,
    };
    let token = fs::read_to_string(path).map_err(|error| invalid(error.to_string()))?;
    let token = token.trim();
    match token.len() >= 16 && token.chars().all(|c| c.is_ascii_graphic()) {
        true => Ok(Some(token.to_owned())),
        false => Err(invalid(
            "expected one token of at least 16 printable ASCII characters".to_owned(),
        )),
    }
}
