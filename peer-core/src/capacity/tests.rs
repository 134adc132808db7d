use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use ccp::{
    BatchRequest, BatchResponse, Difficulty, EpochParameters, GlobalNonce, LocalNonce, LogicalCore,
    PhysicalCore, Proof, ProofIndex, RawProof, ResultHash, UnitId, prover::Commitment,
};
use deal_types::EpochClock;
use particle::KeyPair;

use super::*;
use crate::{
    store::MemoryStore,
    workers::{CoresConfig, Topology, Workers},
};

const EPOCH: u64 = 1000;

fn unit(number: u8) -> UnitId {
    UnitId([number; 32])
}

fn rules() -> CapacityRules {
    CapacityRules {
        epochs: EpochClock::new(0, EPOCH).unwrap(),
        min_proofs: 2,
        max_proofs: 4,
    }
}

fn begin(nonce: u8, epoch: u64, units: &[(u8, u64)]) -> Vec<CapacityEvent> {
    vec![
        CapacityEvent::Block {
            timestamp: (epoch - 1) * EPOCH + 1,
        },
        CapacityEvent::GlobalNonce(GlobalNonce([nonce; 32])),
        CapacityEvent::Difficulty(Difficulty([9; 32])),
        CapacityEvent::CommitmentActivated {
            units: units
                .iter()
                .map(|(id, start)| (unit(*id), *start))
                .collect(),
        },
    ]
}

fn state(units: &[(u8, u64)]) -> CapacityState {
    let mut state = CapacityState::new(rules(), CapacityConfig::default());
    for event in begin(1, 5, units) {
        assert!(!state.is_known());
        assert!(state.handle(event.clone()), "{event:?}");
        assert!(!state.handle(event.clone()), "{event:?} again");
    }
    assert!(state.is_known());
    state
}

fn confirm(state: &mut CapacityState, number: u8, count: u64) -> bool {
    let proofs = [(unit(number), count)].into();
    state.handle(CapacityEvent::ProofsConfirmed { epoch: 5, proofs })
}

/// Unit n has core n.
fn cores(units: &[u8]) -> BTreeMap<UnitId, PhysicalCore> {
    units
        .iter()
        .map(|id| (unit(*id), PhysicalCore((*id).into())))
        .collect()
}

fn allocation(state: &CapacityState, units: &[u8]) -> Vec<(u32, u8)> {
    let commitment = state.commitment(&cores(units));
    let allocation = commitment
        .map(|commitment| commitment.allocation)
        .unwrap_or_default();
    allocation
        .into_iter()
        .map(|(core, unit)| (core.0, unit.0[0]))
        .collect()
}

fn proof(nonce: u8, number: u8, index: u64) -> Proof {
    let raw = RawProof {
        epoch: EpochParameters {
            global_nonce: GlobalNonce([nonce; 32]),
            difficulty: Difficulty([9; 32]),
        },
        local_nonce: LocalNonce([index as u8; 32]),
        cu_id: unit(number),
        result_hash: ResultHash([5; 32]),
    };
    raw.number(ProofIndex(index))
}

fn answer(proofs: &[Proof]) -> Vec<BatchResponse> {
    proofs
        .iter()
        .map(|proof| BatchResponse {
            cu_id: proof.cu_id,
            proof_batches: vec![*proof],
        })
        .collect()
}

#[test]
fn cores_help_units_that_must_have_proofs() {
    // 1 and 2 must, 3 may, 4 begins later, 5 has all.
    let mut state = state(&[(1, 5), (2, 1), (3, 1), (4, 6), (5, 1)]);
    assert!(confirm(&mut state, 3, 2), "the least number is reached");
    assert!(!confirm(&mut state, 3, 1), "nothing is reached");
    assert!(confirm(&mut state, 5, 9));
    let order: Vec<u8> = state.wanted_units().iter().map(|unit| unit.0[0]).collect();
    assert_eq!(order, [1, 2, 3, 4, 5]);
    let all = [1, 2, 3, 4, 5];
    assert_eq!(
        allocation(&state, &all),
        [(1, 1), (2, 2), (3, 1), (4, 2), (5, 1)]
    );
    // A unit without a core is not proven, whoever could help.
    assert_eq!(allocation(&state, &[2, 4]), [(2, 2), (4, 2)]);
    assert_eq!(allocation(&state, &[3, 4]), []);

    // None must: those that may have their own, and those to come help. The others rest.
    confirm(&mut state, 1, 2);
    confirm(&mut state, 2, 4);
    assert_eq!(allocation(&state, &all), [(1, 1), (3, 3), (4, 1)]);
    confirm(&mut state, 1, 2);
    confirm(&mut state, 3, 2);
    assert_eq!(allocation(&state, &all), [], "all have all");

    // Another epoch, in which unit 4 begins.
    assert!(state.handle(CapacityEvent::Block {
        timestamp: 5 * EPOCH
    }));
    assert_eq!(
        allocation(&state, &all),
        [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]
    );
    assert!(
        !state.handle(CapacityEvent::Block { timestamp: 1 }),
        "a node that lags"
    );
    // Confirmed too late.
    assert!(!confirm(&mut state, 1, 4));
    assert_eq!(allocation(&state, &all).len(), 5);

    assert!(state.handle(CapacityEvent::UnitDeactivated { unit: unit(2) }));
    assert_eq!(allocation(&state, &[1, 3]), [(1, 1), (3, 3)]);
    assert!(state.handle(CapacityEvent::CommitmentEnded));
    assert_eq!(allocation(&state, &all), []);
}

#[test]
fn a_time_that_was_none_is_forgotten() {
    let mut state = state(&[(1, 1), (2, 7)]);
    let block = |epoch: u64| CapacityEvent::Block {
        timestamp: (epoch - 1) * EPOCH + 2,
    };
    assert!(state.handle(block(90)));
    assert_eq!(allocation(&state, &[1, 2]), [(1, 1), (2, 2)]);
    // One node that lags behind is nothing; when all say so, they are right.
    for _ in 0..7 {
        assert!(!state.handle(block(5)));
    }
    assert!(!state.handle(block(90)));
    for _ in 0..7 {
        assert!(!state.handle(block(5)));
    }
    assert!(state.handle(block(5)));
    assert_eq!(allocation(&state, &[1, 2]), [(1, 1), (2, 1)]);
    assert!(confirm(&mut state, 1, 2), "the epoch is the fifth again");
}

#[test]
fn proofs_are_as_many_as_the_chain_has() {
    let mut state = state(&[(1, 1), (2, 1)]);
    let counted = |epoch, proofs: &[(u8, u64)]| CapacityEvent::ProofsCounted {
        epoch,
        proofs: proofs
            .iter()
            .map(|(id, count)| (unit(*id), *count))
            .collect(),
    };
    assert!(!state.handle(counted(4, &[(1, 9)])), "another epoch");
    assert!(!state.handle(counted(5, &[(1, 1), (7, 4)])));
    assert!(state.handle(counted(5, &[(1, 4), (2, 2)])));
    assert_eq!(allocation(&state, &[1, 2]), [(2, 2)]);
    // A block with proofs was taken back.
    assert!(state.handle(counted(5, &[(1, 3)])));
    assert_eq!(allocation(&state, &[1, 2]), [(1, 2), (2, 2)]);
    assert_eq!(state.tracker().confirmed(&unit(2)), 0);
    assert_eq!(state.tracker().confirmed(&unit(7)), 0);
}

#[test]
fn units_on_one_core_take_turns() {
    let state = state(&[(1, 1), (2, 1)]);
    let shared = BTreeMap::from([(unit(1), PhysicalCore(7)), (unit(2), PhysicalCore(7))]);
    let commitment = state.commitment(&shared).unwrap();
    assert_eq!(commitment.allocation, [(PhysicalCore(7), unit(1))].into());
}

#[test]
fn polls_ask_for_what_is_needed() {
    let mut state = state(&[(1, 1), (2, 1), (3, 1)]);
    state.delivered(&[proof(1, 1, 3), proof(2, 2, 9)]);
    confirm(&mut state, 1, 3);
    confirm(&mut state, 3, 4);
    let request = |last, size| BatchRequest {
        last_seen_proof_idx: ProofIndex(last),
        proof_batch_size: size,
    };
    // Unit 1 needs one more, unit 2 was handed on in another epoch, unit 3 needs none.
    let requests = [(unit(1), request(3, 1)), (unit(2), request(0, 2))].into();
    assert_eq!(
        state.poll(),
        Poll::Batches {
            requests,
            min: 1,
            max: 4
        }
    );
    state.handle(CapacityEvent::Block {
        timestamp: 5 * EPOCH - 299,
    });
    let known = [(unit(1), ProofIndex(3)), (unit(2), ProofIndex(0))].into();
    assert_eq!(state.poll(), Poll::After { known, limit: 50 });
    confirm(&mut state, 1, 1);
    confirm(&mut state, 2, 4);
    assert_eq!(state.poll(), Poll::Nothing);
    // Numbers begin again with another nonce.
    state.handle(CapacityEvent::Block {
        timestamp: 5 * EPOCH,
    });
    assert!(state.handle(CapacityEvent::GlobalNonce(GlobalNonce([2; 32]))));
    assert_eq!(state.tracker().last_seen(&unit(1)), ProofIndex(0));
}

#[test]
fn only_proofs_that_count_are_handed_on() {
    let mut state = state(&[(1, 1), (2, 1)]);
    confirm(&mut state, 2, 4);
    let mut easier = proof(1, 1, 6);
    easier.id.difficulty = Difficulty([10; 32]);
    let mut wrong = proof(1, 1, 7);
    wrong.result_hash = ResultHash([10; 32]);
    let given = [
        proof(1, 1, 1),
        proof(1, 1, 1), // twice
        proof(2, 1, 2), // of another epoch
        proof(1, 2, 3), // not needed
        proof(1, 3, 4), // of nobody
        easier,
        wrong,
        proof(1, 1, 8),
    ];
    let chosen = state.select(answer(&given));
    assert_eq!(chosen, [proof(1, 1, 1), proof(1, 1, 8)]);
    state.delivered(&chosen);
    assert_eq!(state.select(answer(&given)), []);
    assert_eq!(state.tracker().last_seen(&unit(1)), ProofIndex(8));
}

#[test]
fn what_was_handed_on_survives_a_restart() {
    let mut state = state(&[(1, 1)]);
    confirm(&mut state, 1, 2);
    state.delivered(&[proof(1, 1, 3)]);
    let saved = state.tracker().saved().unwrap();
    let tracker = ProofTracker::read(&saved.value.unwrap()).unwrap();
    assert_eq!(tracker, *state.tracker());
    let mut again = CapacityState::new(rules(), CapacityConfig::default()).with_tracker(tracker);
    for event in begin(1, 5, &[(1, 1)]) {
        again.handle(event);
    }
    assert_eq!(again.tracker(), state.tracker());
    assert!(ProofTracker::read(b"nothing").is_err());
}

#[test]
fn addresses_are_checked() {
    let prover = |address: &str| RemoteProver::new(RemoteProverConfig::new(address));
    for good in [
        "http://127.0.0.1:9383",
        "http://[::1]:9383/",
        "http://prover",
    ] {
        assert!(prover(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "127.0.0.1:9383",
        "https://a",
        "http://",
        "http://:1",
        "http://a:b",
        "http://a/b",
    ] {
        assert!(
            matches!(prover(bad), Err(CapacityError::Address { .. })),
            "{bad}"
        );
    }
}

/// Writes down what it is told; a proof of each unit is ready.
#[derive(Default)]
struct Fake {
    told: Mutex<Vec<String>>,
    broken: Mutex<bool>,
}

impl Fake {
    fn note(&self, what: String) -> Result<(), CapacityError> {
        if *self.broken.lock().unwrap() {
            return Err(CapacityError::Unreachable {
                prover: "fake".to_owned(),
                method: "anything",
                reason: "broken".to_owned(),
            });
        }
        self.told.lock().unwrap().push(what);
        Ok(())
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

#[async_trait]
impl CapacityProver for Fake {
    async fn commit(&self, commitment: &Commitment) -> Result<(), CapacityError> {
        let pairs = commitment.allocation.iter();
        let pairs: Vec<String> = pairs
            .map(|(core, unit)| format!("{}:{}", core.0, unit.0[0]))
            .collect();
        self.note(pairs.join(" "))
    }

    async fn withdraw(&self) -> Result<(), CapacityError> {
        self.note("nothing".to_owned())
    }

    async fn proofs_after(
        &self,
        _known: &BTreeMap<UnitId, ProofIndex>,
        _limit: usize,
    ) -> Result<Vec<BatchResponse>, CapacityError> {
        Ok(Vec::new())
    }

    async fn batches(
        &self,
        requests: &BTreeMap<UnitId, BatchRequest>,
        _min: usize,
        _max: usize,
    ) -> Result<Vec<BatchResponse>, CapacityError> {
        let next = |(unit, request): (&UnitId, &BatchRequest)| {
            proof(1, unit.0[0], request.last_seen_proof_idx.0 + 1)
        };
        Ok(answer(&requests.iter().map(next).collect::<Vec<_>>()))
    }

    async fn set_utility_cores(&self, cores: &[LogicalCore]) -> Result<(), CapacityError> {
        self.note(format!("utility {}", cores[0].0))
    }
}

#[derive(Default)]
struct Receiver {
    proofs: Mutex<Vec<(u8, u64)>>,
    full: Mutex<bool>,
}

#[async_trait]
impl ProofReceiver for Receiver {
    async fn deliver(&self, proofs: Vec<Proof>) -> bool {
        if *self.full.lock().unwrap() {
            return false;
        }
        let pairs = proofs
            .iter()
            .map(|proof| (proof.cu_id.0[0], proof.id.idx.0));
        self.proofs.lock().unwrap().extend(pairs);
        true
    }
}

struct Host {
    _folder: tempfile::TempDir,
    prover: Arc<Fake>,
    workers: Arc<Workers>,
    store: Arc<MemoryStore>,
    receiver: Arc<Receiver>,
}

/// Cores 1 and 2 for units, and 0 for the host itself.
pub(super) fn workers(folder: &Path, store: Arc<MemoryStore>) -> Arc<Workers> {
    let config = CoresConfig {
        range: Some("0-2".parse().unwrap()),
        system_cores: 1,
        shared: false,
        topology: Topology::new(vec![1; 3]),
    };
    let key = Arc::new(KeyPair::from_seed(&[2; 32]));
    Arc::new(Workers::open(key, folder, store, &config).unwrap())
}

impl Host {
    /// A host with these cores.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryStore::default());
        Self {
            prover: Arc::default(),
            workers: workers(folder.path(), store.clone()),
            _folder: folder,
            store,
            receiver: Arc::default(),
        }
    }

    fn start(&self) -> Capacity {
        Capacity::start(CapacityParts {
            prover: self.prover.clone(),
            workers: self.workers.clone(),
            store: self.store.clone(),
            receiver: self.receiver.clone(),
            rules: rules(),
            config: CapacityConfig::default(),
            utility_cores: vec![LogicalCore(0)],
        })
        .unwrap()
    }

    /// What the prover was told next.
    async fn told(&self) -> Vec<String> {
        for _ in 0..10_000 {
            let told = self.prover.take();
            if !told.is_empty() {
                // What comes together with it.
                tokio::time::sleep(Duration::from_millis(20)).await;
                return [told, self.prover.take()].concat();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("the prover was told nothing");
    }
}

#[tokio::test]
async fn cores_go_to_deals_and_come_back() {
    let host = Host::new();
    let capacity = host.start();
    assert_eq!(host.told().await, ["utility 0"]);
    for event in begin(1, 5, &[(1, 1), (2, 1), (3, 1)]) {
        capacity.tell(event).await.unwrap();
    }
    // The first two win; the last free core is taken first.
    assert_eq!(host.told().await, ["1:2 2:1"]);

    // Unit 1 goes to a deal: its core stays for its worker, and nobody proves on it.
    capacity
        .tell(CapacityEvent::UnitDeactivated { unit: unit(1) })
        .await
        .unwrap();
    assert_eq!(host.told().await, ["1:2"]);
    let creator = KeyPair::from_seed(&[9; 32]).peer_id();
    let worker = host
        .workers
        .create("0xdea1", creator, vec![[1; 32]])
        .unwrap();
    assert!(
        host.workers
            .create("0xdea2", creator, vec![[7; 32]])
            .is_err(),
        "no core is free"
    );

    // The deal is over.
    host.workers.remove(worker, Vec::new()).unwrap();
    let back = CapacityEvent::UnitActivated {
        unit: unit(1),
        start_epoch: 1,
    };
    capacity.tell(back).await.unwrap();
    assert_eq!(host.told().await, ["1:2 2:1"]);

    // Unit 2 leaves the commitment for good: unit 3 has its core.
    let units = [(unit(1), 1), (unit(3), 1)].into();
    capacity
        .tell(CapacityEvent::CommitmentActivated { units })
        .await
        .unwrap();
    assert_eq!(host.told().await, ["2:1", "1:3 2:1"]);
    capacity.tell(CapacityEvent::CommitmentEnded).await.unwrap();
    assert_eq!(host.told().await, ["nothing"]);
    assert!(capacity.commitment().borrow().is_none());
    host.workers
        .create("0xdea3", creator, vec![[7; 32], [8; 32]])
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_prover_that_does_not_answer_is_told_later() {
    let host = Host::new();
    *host.prover.broken.lock().unwrap() = true;
    let capacity = host.start();
    for event in begin(1, 5, &[(1, 1)]) {
        capacity.tell(event).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(host.prover.take(), [] as [&str; 0]);
    *host.prover.broken.lock().unwrap() = false;
    let mut commitment = capacity.commitment();
    commitment.wait_for(Option::is_some).await.unwrap();
    assert_eq!(host.prover.take(), ["utility 0", "2:1"]);
}

#[tokio::test(start_paused = true)]
async fn proofs_are_handed_on_once() {
    let host = Host::new();
    *host.receiver.full.lock().unwrap() = true;
    let capacity = host.start();
    for event in begin(1, 5, &[(1, 1), (2, 1)]) {
        capacity.tell(event).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(*host.receiver.proofs.lock().unwrap(), []);
    *host.receiver.full.lock().unwrap() = false;
    tokio::time::sleep(Duration::from_secs(60)).await;
    // Over a restart too.
    drop(capacity);
    let capacity = host.start();
    for event in begin(1, 5, &[(1, 1), (2, 1)]) {
        capacity.tell(event).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(90)).await;
    let proofs = host.receiver.proofs.lock().unwrap().clone();
    // How often it polls at its start does not matter: none is left out, none comes twice.
    let rounds = proofs.len() as u64 / 2;
    let expected: Vec<(u8, u64)> = (1..=rounds).flat_map(|n| [(1, n), (2, n)]).collect();
    assert_eq!(proofs, expected);
    assert!(rounds >= 2);
}
