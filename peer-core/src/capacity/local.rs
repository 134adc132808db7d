//! A prover in this process.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use ccp::{
    BatchRequest, BatchResponse, LogicalCore, ProofIndex, UnitId,
    prover::Commitment,
    service::{Service, ServiceError, View},
};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{MissedTickBehavior, interval},
};

use super::{CapacityError, CapacityProver};

/// What errors call it.
const NAME: &str = "in this process";
/// The code of the errors of a prover that did not do what it was asked for.
const FAILED: i64 = 1;
/// Seconds between two tries of what failed.
const RETRY: u64 = 30;

/// A prover in this process: the same as a daemon, with its proofs on disk, without a port.
///
/// Dropping it stops its threads, and waits for the hash that each is at.
#[derive(Debug)]
pub struct LocalProver {
    service: Arc<Service>,
    house: JoinHandle<()>,
}

impl LocalProver {
    /// Looks after a prover from now on. To be called inside a runtime of tokio.
    #[must_use]
    pub fn start(service: Service) -> Self {
        let service = Arc::new(service);
        let house = tokio::spawn(keep_house(Arc::clone(&service)));
        Self { service, house }
    }

    /// What everything is at.
    #[must_use]
    pub fn view(&self) -> View {
        self.service.view()
    }

    /// Lets the service do something that may wait for the disk.
    async fn ask<T: Send + 'static>(
        &self,
        method: &'static str,
        work: impl FnOnce(&Service) -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, CapacityError> {
        let service = Arc::clone(&self.service);
        match spawn_blocking(move || work(&service)).await {
            Ok(done) => done.map_err(|error| CapacityError::Refused {
                prover: NAME.to_owned(),
                method,
                code: FAILED,
                message: error.to_string(),
            }),
            Err(error) => Err(CapacityError::Unreachable {
                prover: NAME.to_owned(),
                method,
                reason: error.to_string(),
            }),
        }
    }
}

impl Drop for LocalProver {
    fn drop(&mut self) {
        self.house.abort();
    }
}

/// What is done from time to time.
async fn keep_house(service: Arc<Service>) {
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for second in 0_u64.. {
        tick.tick().await;
        let service = Arc::clone(&service);
        let work = move || {
            service.tick();
            if second.is_multiple_of(RETRY) {
                service.retry();
            }
        };
        // A panic was reported when it happened.
        let _ = spawn_blocking(work).await;
    }
}

#[async_trait]
impl CapacityProver for LocalProver {
    async fn commit(&self, commitment: &Commitment) -> Result<(), CapacityError> {
        let commitment = commitment.clone();
        self.ask("commit", move |service| service.commit(commitment))
            .await
    }

    async fn withdraw(&self) -> Result<(), CapacityError> {
        self.ask("withdraw", Service::withdraw).await
    }

    async fn proofs_after(
        &self,
        known: &BTreeMap<UnitId, ProofIndex>,
        limit: usize,
    ) -> Result<Vec<BatchResponse>, CapacityError> {
        Ok(self.service.proofs_after(known, limit))
    }

    async fn batches(
        &self,
        requests: &BTreeMap<UnitId, BatchRequest>,
        min: usize,
        max: usize,
    ) -> Result<Vec<BatchResponse>, CapacityError> {
        Ok(self.service.batches(requests, min, max))
    }

    /// Nothing: all its threads prove, the others are those of the peer.
    async fn set_utility_cores(&self, _cores: &[LogicalCore]) -> Result<(), CapacityError> {
        Ok(())
    }
}
