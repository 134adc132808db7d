//! A peer proves its capacity, with a prover in its process and with one behind JSON-RPC.

#![cfg(all(feature = "daemon", feature = "peer"))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use ccp::{
    Difficulty, GlobalNonce, Proof, ToyPuzzle, UnitId,
    daemon::{Config, Daemon},
    prover::ProverOptions,
    service::Service,
    verify,
};
use deal_types::EpochClock;
use particle::KeyPair;
use peer_core::{
    capacity::{
        Capacity, CapacityConfig, CapacityError, CapacityEvent, CapacityParts, CapacityProver,
        CapacityRules, LocalProver, ProofReceiver, RemoteProver, RemoteProverConfig,
    },
    store::MemoryStore,
    workers::{CoresConfig, Topology, Workers},
};
use tokio::time::{sleep, timeout};

const TOKEN: &str = "0123456789abcdef-token";
const UNIT: UnitId = UnitId([2; 32]);

#[derive(Default)]
struct Receiver(Mutex<Vec<Proof>>);

#[async_trait]
impl ProofReceiver for Receiver {
    async fn deliver(&self, proofs: Vec<Proof>) -> bool {
        self.0.lock().unwrap().extend(proofs);
        true
    }
}

/// Two epochs.
async fn epochs(prover: Arc<dyn CapacityProver>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryStore::default());
    // One core, whatever machine this is.
    let cores = CoresConfig {
        range: Some("0".parse().unwrap()),
        system_cores: 1,
        shared: true,
        topology: Topology::new(vec![1]),
    };
    let key = Arc::new(KeyPair::from_seed(&[1; 32]));
    let receiver = Arc::new(Receiver::default());
    let mut easy = [0xff; 32];
    easy[0] = 0x0f;
    let difficulty = Difficulty(easy);
    let capacity = Capacity::start(CapacityParts {
        prover,
        workers: Arc::new(Workers::open(key, folder.path(), store.clone(), &cores).unwrap()),
        store,
        receiver: receiver.clone(),
        rules: CapacityRules {
            epochs: EpochClock::new(0, 1000).unwrap(),
            min_proofs: 2,
            max_proofs: 5,
        },
        config: CapacityConfig {
            proof_poll_period: Duration::from_millis(20),
            ..CapacityConfig::default()
        },
        utility_cores: Vec::new(),
    })
    .unwrap();
    let mut commitment = capacity.commitment();
    let units = [(UNIT, 1)].into();
    capacity
        .tell(CapacityEvent::CommitmentActivated { units })
        .await
        .unwrap();
    capacity
        .tell(CapacityEvent::Difficulty(difficulty))
        .await
        .unwrap();
    for epoch in 1..=2_u8 {
        let nonce = GlobalNonce([epoch; 32]);
        let timestamp = u64::from(epoch - 1) * 1000;
        capacity
            .tell(CapacityEvent::Block { timestamp })
            .await
            .unwrap();
        capacity
            .tell(CapacityEvent::GlobalNonce(nonce))
            .await
            .unwrap();
        let proofs = loop {
            let mut proofs = receiver.0.lock().unwrap().clone();
            proofs.retain(|proof| proof.id.global_nonce == nonce);
            if proofs.len() >= 5 {
                break proofs;
            }
            sleep(Duration::from_millis(5)).await;
        };
        for (proof, number) in proofs.iter().zip(1..) {
            assert_eq!(proof.id.idx.0, number, "none is left out or comes twice");
            assert_eq!(
                verify(&ToyPuzzle::default(), proof, &UNIT, &nonce, &difficulty),
                Ok(())
            );
        }
        assert!(commitment.borrow_and_update().is_some());
        // All that are paid for: nothing is proven any more.
        let confirmed = CapacityEvent::ProofsConfirmed {
            epoch: epoch.into(),
            proofs: [(UNIT, 5)].into(),
        };
        capacity.tell(confirmed).await.unwrap();
        commitment.wait_for(Option::is_none).await.unwrap();
    }
}

fn puzzle() -> Arc<ToyPuzzle> {
    Arc::new(ToyPuzzle {
        pause: Duration::from_millis(1),
        ..ToyPuzzle::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let options = ProverOptions::for_this_machine().unwrap();
    let prover = LocalProver::start(Service::open(folder.path(), puzzle(), options).unwrap());
    timeout(Duration::from_secs(60), epochs(Arc::new(prover)))
        .await
        .unwrap();
}

/// A daemon in a thread; where it listens, and what ends it.
fn daemon(folder: &Path) -> (String, tokio::sync::oneshot::Sender<()>) {
    std::fs::write(folder.join("token"), TOKEN).unwrap();
    let config = folder.join("ccp.toml");
    let text = "[rpc-endpoint]\nport = 0\nbearer-token-file = \"token\"\n";
    std::fs::write(&config, text).unwrap();
    let daemon = Daemon::open(Config::load(&config).unwrap(), puzzle()).unwrap();
    let (sender, address) = std::sync::mpsc::channel();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let announce = move |addresses: ccp::daemon::Addresses| {
            sender.send(addresses.rpc.to_string()).unwrap();
        };
        daemon.serve(announce, async {
            let _ = ended.await;
        })
    });
    (format!("http://{}", address.recv().unwrap()), end)
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_json_rpc() {
    let folder = tempfile::tempdir().unwrap();
    let (address, end) = daemon(folder.path());
    let mut config = RemoteProverConfig::new(address);
    let stranger = RemoteProver::new(config.clone()).unwrap();
    let error = stranger.withdraw().await.unwrap_err();
    assert!(error.to_string().contains("HTTP status 401"), "{error}");
    config.bearer_token = Some(TOKEN.to_owned());
    let prover = RemoteProver::new(config).unwrap();
    let unknown = ccp::LogicalCore(60_000);
    let error = prover.set_utility_cores(&[unknown]).await.unwrap_err();
    assert!(
        matches!(error, CapacityError::Refused { code: 1, .. }),
        "{error}"
    );
    prover
        .set_utility_cores(&[ccp::LogicalCore(0)])
        .await
        .unwrap();
    timeout(Duration::from_secs(60), epochs(Arc::new(prover)))
        .await
        .unwrap();
    drop(end);
}
