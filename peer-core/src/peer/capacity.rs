//! Proofs of the capacity that a configuration promises to a chain.

use std::{sync::Arc, time::Duration};

use deal_types::chain::CapacityMarket;
use tokio::task::{AbortHandle, spawn_blocking};

use super::PeerError;
use crate::capacity::{
    Capacity, CapacityConfig, CapacityParts, MarketProofs, RemoteProver, RemoteProverConfig,
};
use crate::config::PeerConfig;
use crate::store::{Store, StoreError};
use crate::workers::Workers;

/// Before a chain that failed is asked for its terms again.
const PAUSE: Duration = Duration::from_secs(15);

/// What is proven, with which prover.
pub(super) struct Plan {
    market: CapacityMarket,
    prover: RemoteProver,
    config: CapacityConfig,
}

impl Plan {
    /// Nothing where the configuration names no prover.
    pub(super) fn new(
        config: &PeerConfig,
        market: CapacityMarket,
    ) -> Result<Option<Self>, PeerError> {
        let listener = &config.chain_listener_config;
        let Some(address) = &listener.ccp_endpoint else {
            return Ok(None);
        };
        let wrong = |reason: String| PeerError::Setting {
            key: "chain_listener_config.ccp_endpoint",
            reason,
        };
        if config.data_dir.is_none() {
            return Err(wrong("proofs of capacity need a `data_dir`".to_owned()));
        }
        let prover = RemoteProver::new(RemoteProverConfig::new(address));
        Ok(Some(Self {
            market,
            prover: prover.map_err(|error| wrong(error.to_string()))?,
            config: CapacityConfig {
                proof_poll_period: listener.proof_poll_period.into(),
                min_batch_count: listener.min_batch_count,
                max_batch_count: listener.max_batch_count,
                max_proof_batch_size: listener.max_proof_batch_size,
                epoch_end_window: listener.epoch_end_window.into(),
            },
        }))
    }

    /// Proves in the background, since the chain may be away.
    pub(super) fn start(self, workers: Arc<Workers>, store: Arc<dyn Store>) -> AbortHandle {
        tokio::spawn(self.prove(workers, store)).abort_handle()
    }

    async fn prove(self, workers: Arc<Workers>, store: Arc<dyn Store>) {
        let market = self.market;
        let terms = loop {
            match market.terms().await {
                Ok(terms) => break terms,
                Err(error) => tracing::warn!(%error, "the terms of the market are not known yet"),
            }
            tokio::time::sleep(PAUSE).await;
        };
        let (prover, config) = (Arc::new(self.prover), self.config);
        let open = move || {
            let receiver = MarketProofs::open(market, terms.epochs, store.clone())?;
            let receiver = Arc::new(receiver);
            let capacity = Capacity::start(CapacityParts {
                prover,
                workers,
                store,
                receiver: receiver.clone(),
                rules: terms.into(),
                config,
                utility_cores: Vec::new(),
            })?;
            Ok::<_, StoreError>((receiver, capacity))
        };
        match spawn_blocking(open).await {
            Ok(Ok((receiver, capacity))) => {
                receiver.follow(&capacity).await;
            }
            Ok(Err(error)) => tracing::error!(%error, "capacity is not proven"),
            Err(error) => tracing::error!(%error, "capacity is not proven"),
        }
    }
}
