//! A peer that proves on a chain which is away, says nothing, lies, and takes blocks back. Time is
//! virtual.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use ccp::RawProof;
use deal_types::{
    chain::{Chain, ChainLog, Head, LogFilter, MemoryConnection, MinedTransaction, UnitProof},
    sim::Params,
};
use tokio::task::JoinHandle;

use super::*;

const EPOCH: u64 = 4 * 3_600;
/// Seconds between blocks.
const BLOCK: u64 = 12;
const MAX_PROOFS: u64 = 60;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nobody is there.
    Away,
    /// Nothing is ever answered.
    Silent,
    /// Transactions arrive, and nobody hears of it.
    AnswersLost,
    /// The newest block follows none that there is.
    OtherParent,
    /// The newest block is of a far future.
    FarAhead,
}

/// A connection with a fault.
struct Line {
    inner: MemoryConnection,
    fault: Mutex<Option<Fault>>,
    asked: AtomicU64,
    sent: Mutex<BTreeSet<Bytes32>>,
}

impl Line {
    fn set(&self, fault: impl Into<Option<Fault>>) {
        *self.fault.lock().unwrap() = fault.into();
    }

    fn fault(&self) -> Option<Fault> {
        *self.fault.lock().unwrap()
    }

    async fn reach(&self) -> Result<&MemoryConnection, ChainError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.fault() {
            Some(Fault::Away) => Err(away()),
            Some(Fault::Silent) => std::future::pending().await,
            _ => Ok(&self.inner),
        }
    }
}

fn away() -> ChainError {
    ChainError::Unreachable {
        endpoint: "node".into(),
        reason: "away".into(),
    }
}

#[async_trait]
impl Chain for Line {
    fn account(&self) -> Address {
        self.inner.account()
    }

    async fn head(&self) -> Result<Head, ChainError> {
        let mut head = self.reach().await?.head().await?;
        match self.fault() {
            Some(Fault::OtherParent) => head.parent = Bytes32([9; 32]),
            Some(Fault::FarAhead) => {
                head.number += 1 << 40;
                head.timestamp += 1 << 40;
            }
            _ => {}
        }
        Ok(head)
    }

    async fn block(&self, number: u64) -> Result<Option<Head>, ChainError> {
        self.reach().await?.block(number).await
    }

    async fn logs(
        &self,
        filter: &LogFilter,
        from: u64,
        to: u64,
    ) -> Result<Vec<ChainLog>, ChainError> {
        self.reach().await?.logs(filter, from, to).await
    }

    async fn call(&self, to: Address, input: Vec<u8>) -> Result<Vec<u8>, ChainError> {
        self.reach().await?.call(to, input).await
    }

    async fn submit(&self, order: &Order) -> Result<Bytes32, ChainError> {
        let hash = self.reach().await?.submit(order).await?;
        self.sent.lock().unwrap().insert(hash);
        match self.fault() {
            Some(Fault::AnswersLost) => Err(away()),
            _ => Ok(hash),
        }
    }

    async fn receipt(&self, transaction: Bytes32) -> Result<Option<MinedTransaction>, ChainError> {
        self.reach().await?.receipt(transaction).await
    }

    async fn changed(&self) {
        self.inner.changed().await;
    }
}

/// What outlives the process of a peer, and the world around it.
struct Site {
    world: World,
    line: Arc<Line>,
    prover: Arc<Lucky>,
    folder: tempfile::TempDir,
    store: Arc<MemoryStore>,
    terms: CapacityTerms,
    begin: Head,
}

/// The process.
struct Peer {
    capacity: Arc<Capacity>,
    following: JoinHandle<CapacityStopped>,
}

impl Site {
    /// A peer in the first block of the first epoch of its commitment.
    async fn new() -> Self {
        let params = Params {
            epoch_duration: EPOCH,
            max_proofs_per_epoch: MAX_PROOFS,
            ..Params::default()
        };
        let mut world = World::new(Genesis {
            params,
            ..Genesis::default()
        })
        .await;
        world.activate().await;
        let begin = world.chain.mine(EPOCH);
        let line = Arc::new(Line {
            inner: world.chain.connect(PROVIDER),
            fault: Mutex::default(),
            asked: AtomicU64::new(0),
            sent: Mutex::default(),
        });
        let market = CapacityMarket::new(line.clone(), world.chain.market(), PEER);
        Self {
            terms: market.terms().await.unwrap(),
            world,
            line,
            prover: Arc::new(Lucky {
                epoch: watch::Sender::new(None),
            }),
            folder: tempfile::tempdir().unwrap(),
            store: Arc::default(),
            begin,
        }
    }

    fn market(&self) -> CapacityMarket {
        CapacityMarket::new(self.line.clone(), self.world.chain.market(), PEER)
    }

    fn start(&self) -> Peer {
        let proofs = self.proofs();
        let capacity = Capacity::start(CapacityParts {
            prover: self.prover.clone(),
            workers: workers(self.folder.path(), self.store.clone()),
            store: self.store.clone(),
            receiver: proofs.clone(),
            rules: self.terms.into(),
            config: CapacityConfig {
                epoch_end_window: Duration::ZERO,
                ..CapacityConfig::default()
            },
            utility_cores: Vec::new(),
        });
        let capacity = Arc::new(capacity.unwrap());
        let following = {
            let capacity = capacity.clone();
            tokio::spawn(async move { proofs.follow(&capacity).await })
        };
        Peer {
            capacity,
            following,
        }
    }

    fn proofs(&self) -> Arc<MarketProofs> {
        let proofs = MarketProofs::open(self.market(), self.terms.epochs, self.store.clone());
        Arc::new(proofs.unwrap())
    }

    /// Time passes, here and on the chain.
    async fn pass(&self, minutes: u64) {
        for _ in 0..minutes * 60 / BLOCK {
            tokio::time::sleep(Duration::from_secs(BLOCK)).await;
            self.world.chain.mine(BLOCK);
        }
    }

    /// How many proofs the chain has of both units together.
    async fn count(&self) -> u64 {
        let counts = self.world.counts().await.into_iter();
        counts.map(|count| u64::try_from(count).unwrap()).sum()
    }

    /// Waits until the chain has all proofs that count, and checks that it has each of the first ones,
    /// once, and refused none.
    async fn finish(&self) {
        for _ in 0..MAX_PROOFS {
            if self.count().await == 2 * MAX_PROOFS {
                break;
            }
            self.pass(1).await;
        }
        self.pass(1).await;
        let filter = LogFilter::default();
        let logs = self.line.logs(&filter, self.begin.number, u64::MAX).await;
        let mut proofs = BTreeMap::<Bytes32, Vec<u8>>::new();
        for log in logs.unwrap() {
            if let Ok(MarketEvent::ProofSubmitted(proof)) = log.event() {
                let nonce = proof.local_unit_nonce.0[0];
                proofs.entry(proof.unit_id).or_default().push(nonce);
            }
        }
        for unit in UNITS {
            let mut proofs = proofs.remove(&unit).unwrap();
            proofs.sort_unstable();
            let expected: Vec<u8> = (1..=MAX_PROOFS as u8).collect();
            assert_eq!(proofs, expected);
        }
        let sent = self.line.sent.lock().unwrap().clone();
        for transaction in sent {
            let mined = self.line.receipt(transaction).await.unwrap();
            assert!(mined.is_none_or(|mined| mined.succeeded), "sent twice");
        }
        assert_eq!(*self.prover.epoch.borrow(), None, "nothing more to prove");
    }
}

impl Peer {
    /// The process is killed.
    async fn stop(self) {
        self.following.abort();
        let _ = self.following.await;
        drop(self.capacity);
    }
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_the_chain() {
    let site = Site::new().await;
    let peer = site.start();
    site.pass(10).await;
    let before = site.count().await;
    assert!((10..40).contains(&before), "{before}");

    // The last thing that is heard of the chain is nothing at all.
    site.line.set(Fault::AnswersLost);
    site.pass(2).await;
    site.line.set(Fault::Away);
    site.pass(1).await;
    let proven = site.prover.epoch.subscribe();
    let (asked, count) = (site.line.asked.load(Ordering::Relaxed), site.count().await);
    site.pass(30).await;
    // In the middle of it the peer is started anew.
    peer.stop().await;
    let peer = site.start();
    site.pass(30).await;
    let asked = site.line.asked.load(Ordering::Relaxed) - asked;
    assert!((50..100).contains(&asked), "asked {asked} times in an hour");
    assert_eq!(site.count().await, count);
    assert!(!proven.has_changed().unwrap(), "the prover goes on");

    site.line.set(None);
    site.pass(5).await;
    assert!(site.count().await > count);
    site.finish().await;
    peer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_ends_while_the_chain_is_away() {
    let site = Site::new().await;
    let peer = site.start();
    site.pass(5).await;
    let old = site.prover.epoch.borrow().unwrap();
    site.line.set(Fault::Away);
    site.pass(60).await;
    let begin = site.begin.timestamp + EPOCH;
    let now = site.line.inner.head().await.unwrap().timestamp;
    site.world.chain.mine(begin - now);
    site.line.set(None);
    site.pass(3).await;
    let new = site.prover.epoch.borrow().unwrap();
    assert_ne!(new.global_nonce, old.global_nonce);
    // What was under way for the old epoch is no burden on the new one.
    let counted = site.count().await;
    site.pass(10).await;
    assert!(site.count().await >= counted + 10);
    peer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_lies_and_goes_backwards() {
    let site = Site::new().await;
    let peer = site.start();
    site.pass(5).await;
    let proven = site.prover.epoch.subscribe();
    for fault in [Fault::OtherParent, Fault::FarAhead, Fault::Silent] {
        site.line.set(fault);
        site.pass(5).await;
        site.line.set(None);
        site.pass(2).await;
    }
    assert!(!proven.has_changed().unwrap(), "nothing of it was believed");

    // All is well until blocks with proofs vanish, and what was in them is forgotten.
    site.pass(10).await;
    let before = site.count().await;
    assert_eq!(site.world.chain.rewind(15), 15);
    assert!(site.count().await < before);
    // Once more while the peer starts anew.
    site.pass(5).await;
    peer.stop().await;
    assert_eq!(site.world.chain.rewind(10), 10);
    let peer = site.start();
    site.finish().await;
    peer.stop().await;
}

/// A proof of a unit.
fn proof(nonce: Bytes32, unit: Bytes32, index: u64) -> Proof {
    let raw = RawProof {
        epoch: EpochParameters {
            global_nonce: GlobalNonce(nonce.0),
            difficulty: Difficulty([0xff; 32]),
        },
        local_nonce: LocalNonce([index as u8; 32]),
        cu_id: UnitId(unit.0),
        result_hash: ResultHash([0; 32]),
    };
    raw.number(ProofIndex(index))
}

#[tokio::test]
async fn a_proof_that_is_refused_takes_no_other_with_it() {
    let site = Site::new().await;
    let market = site.market();
    let known = UnitProof {
        unit: UNITS[0],
        local_nonce: Bytes32([1; 32]),
        result_hash: Bytes32::ZERO,
    };
    market.submit(&[known]).await.unwrap();
    site.world.chain.mine(BLOCK);
    let nonce = market.view().await.unwrap().global_nonce;
    let proofs = [proof(nonce, UNITS[0], 1), proof(nonce, UNITS[1], 1)];
    assert!(site.proofs().deliver(proofs.to_vec()).await);
    site.world.chain.mine(BLOCK);
    assert_eq!(site.count().await, 1);

    // Another process goes on with it.
    let receiver = site.proofs();
    for _ in 0..3 {
        let view = market.view().await.unwrap();
        let mut journal = receiver.journal.lock().await;
        journal.tend(&market, &view).await.unwrap();
        drop(journal);
        site.world.chain.mine(BLOCK);
    }
    assert_eq!(site.world.counts().await, [U256::ONE; 2]);
    // What was taken is taken.
    assert!(receiver.deliver(proofs[1..].to_vec()).await);
    site.world.chain.mine(BLOCK);
    assert_eq!(site.count().await, 2);
}

#[tokio::test]
async fn while_proofs_cannot_be_sent_others_stay_with_the_prover() {
    let site = Site::new().await;
    let nonce = site.market().view().await.unwrap().global_nonce;
    let receiver = site.proofs();
    let [first, second] = [1, 2].map(|index| vec![proof(nonce, UNITS[0], index)]);
    site.line.set(Fault::Away);
    assert!(
        receiver.deliver(first.clone()).await,
        "kept, and sent later"
    );
    assert!(!receiver.deliver(second.clone()).await);
    // On disk as well.
    let receiver = site.proofs();
    assert!(!receiver.deliver(second.clone()).await);
    site.line.set(None);
    let view = site.market().view().await.unwrap();
    let mut journal = receiver.journal.lock().await;
    journal.tend(&site.market(), &view).await.unwrap();
    drop(journal);
    assert!(receiver.deliver(second).await);
    assert!(receiver.deliver(first).await, "it is known already");
    site.world.chain.mine(BLOCK);
    assert_eq!(site.count().await, 2);
    assert_eq!(site.line.sent.lock().unwrap().len(), 2);
}
