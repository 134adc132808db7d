mod outage;

use std::{collections::BTreeMap, sync::Arc};

use ccp::{
    BatchRequest, BatchResponse, EpochParameters, LocalNonce, LogicalCore, ProofIndex, RawProof,
    ResultHash, prover::Commitment,
};
use deal_types::{
    Address, OnChainCid, PeerKey, U256,
    chain::{Chain as _, MemoryChain, Order},
    contract::{
        AddPaymentTokenToWhitelist, Call, CreateCommitment, DepositCollateral, GetProofCounts,
        MarketEvent, RegisterMarketOffer, SetProviderInfo,
    },
    market::RegisterComputePeer,
    sim::{Block, Contract, Genesis, Target, Transaction},
    unixfs,
};
use tokio::sync::watch;

use super::*;
use crate::{
    capacity::{CapacityConfig, CapacityError, CapacityParts, CapacityProver, tests::workers},
    store::MemoryStore,
};

const OWNER: Address = Address([1; 20]);
const PROVIDER: Address = Address([2; 20]);
const PEER: PeerKey = PeerKey([10; 32]);
const UNITS: [Bytes32; 2] = [Bytes32([11; 32]), Bytes32([12; 32])];

/// A prover for which every nonce is a proof.
struct Lucky {
    epoch: watch::Sender<Option<EpochParameters>>,
}

#[async_trait]
impl CapacityProver for Lucky {
    async fn commit(&self, commitment: &Commitment) -> Result<(), CapacityError> {
        self.epoch.send_replace(Some(commitment.epoch));
        Ok(())
    }

    async fn withdraw(&self) -> Result<(), CapacityError> {
        self.epoch.send_replace(None);
        Ok(())
    }

    async fn proofs_after(
        &self,
        known: &BTreeMap<UnitId, ProofIndex>,
        _limit: usize,
    ) -> Result<Vec<BatchResponse>, CapacityError> {
        let next = known.iter().map(|(unit, last)| (*unit, last.0 + 1));
        Ok(self.proofs(next))
    }

    async fn batches(
        &self,
        requests: &BTreeMap<UnitId, BatchRequest>,
        _min: usize,
        _max: usize,
    ) -> Result<Vec<BatchResponse>, CapacityError> {
        let next = requests.iter();
        Ok(self.proofs(next.map(|(unit, request)| (*unit, request.last_seen_proof_idx.0 + 1))))
    }

    async fn set_utility_cores(&self, _: &[LogicalCore]) -> Result<(), CapacityError> {
        Ok(())
    }
}

impl Lucky {
    fn proofs(&self, next: impl Iterator<Item = (UnitId, u64)>) -> Vec<BatchResponse> {
        let Some(epoch) = *self.epoch.borrow() else {
            return Vec::new();
        };
        let answer = next.map(|(cu_id, index)| {
            let proof = RawProof {
                epoch,
                local_nonce: LocalNonce([index as u8; 32]),
                cu_id,
                result_hash: ResultHash([0; 32]),
            };
            BatchResponse {
                cu_id,
                proof_batches: vec![proof.number(ProofIndex(index))],
            }
        });
        answer.collect()
    }
}

/// A market with one peer of two units, whose commitment waits for its collateral.
struct World {
    chain: MemoryChain,
    orders: u64,
    commitment_id: Bytes32,
}

impl World {
    async fn new(genesis: Genesis) -> Self {
        let chain = MemoryChain::new(OWNER, 1_000, genesis).unwrap();
        let token = chain.with_sim(|sim| {
            for account in [OWNER, PROVIDER] {
                sim.fund(account, U256::from(10).pow(U256::from(20)));
            }
            let block = Block {
                number: 1,
                timestamp: 1_000,
                previous_hash: Bytes32::ZERO,
            };
            let create = Transaction {
                from: OWNER,
                target: Target::Create(Contract::WrappedToken),
                value: U256::ZERO,
            };
            sim.transact(block, &create).created.unwrap()
        });
        let mut world = Self {
            chain,
            orders: 0,
            commitment_id: Bytes32::ZERO,
        };
        world
            .send(OWNER, &AddPaymentTokenToWhitelist { token }, 0)
            .await;
        let info = SetProviderInfo {
            name: "P".into(),
            metadata: OnChainCid::try_from(unixfs::cid_of(b"about")).unwrap(),
        };
        world.send(PROVIDER, &info, 0).await;
        let offer = RegisterMarketOffer {
            min_price_per_cu_per_epoch: U256::from(10),
            payment_token: token,
            effectors: vec![],
            peers: vec![RegisterComputePeer {
                peer_id: PEER.to_word(),
                owner: PROVIDER,
                unit_ids: UNITS.to_vec(),
            }],
            min_protocol_version: U256::ONE,
            max_protocol_version: U256::ONE,
        };
        world.send(PROVIDER, &offer, 0).await;
        let commit = CreateCommitment {
            peer_id: PEER.to_word(),
            duration: U256::from(1_000),
            delegator: PROVIDER,
            reward_delegation_rate: U256::ONE,
        };
        let events = world.send(PROVIDER, &commit, 0).await;
        let MarketEvent::CommitmentCreated(created) = &events[0] else {
            panic!("{events:?}");
        };
        world.commitment_id = created.commitment_id;
        world
    }

    async fn activate(&mut self) {
        let collateral = DepositCollateral {
            commitment_ids: vec![self.commitment_id],
        };
        self.send(PROVIDER, &collateral, 200_000_000_000_000_000)
            .await;
    }

    /// Sends a call to the market in a block of its own; what it logged.
    async fn send<C: Call>(&mut self, from: Address, call: &C, value: u128) -> Vec<MarketEvent> {
        self.orders += 1;
        let connection = self.chain.connect(from);
        let order = Order {
            key: Bytes32::from_uint(U256::from(self.orders)),
            to: self.chain.market(),
            input: call.encode(),
            value: U256::from(value),
        };
        let hash = connection.submit(&order).await.unwrap();
        self.chain.mine(0);
        let mined = connection.receipt(hash).await.unwrap().unwrap();
        assert!(mined.succeeded, "{}", C::NAME);
        mined.logs.iter().map(|log| log.event().unwrap()).collect()
    }

    /// Proofs of both units in this epoch.
    async fn counts(&self) -> Vec<U256> {
        let question = GetProofCounts {
            commitment_id: self.commitment_id,
        };
        let connection = self.chain.connect(PROVIDER);
        let output = connection
            .call(self.chain.market(), question.encode())
            .await;
        let (units, counts) = GetProofCounts::decode_output(&output.unwrap()).unwrap();
        assert_eq!(units, UNITS);
        counts
    }
}

#[tokio::test]
async fn a_commitment_is_proven_until_nothing_more_counts() {
    let mut world = World::new(Genesis::default()).await;
    let market = CapacityMarket::new(
        Arc::new(world.chain.connect(PROVIDER)),
        world.chain.market(),
        PEER,
    );
    let terms = market.terms().await.unwrap();
    let prover = Arc::new(Lucky {
        epoch: watch::Sender::new(None),
    });
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryStore::default());
    let proofs = MarketProofs::open(market, terms.epochs, store.clone()).unwrap();
    let proofs = Arc::new(proofs);
    let capacity = Capacity::start(CapacityParts {
        prover: prover.clone(),
        workers: workers(folder.path(), store.clone()),
        store,
        receiver: proofs.clone(),
        rules: terms.into(),
        config: CapacityConfig {
            proof_poll_period: Duration::from_millis(5),
            // Never near: the chain's time stands still between blocks.
            epoch_end_window: Duration::ZERO,
            ..CapacityConfig::default()
        },
        utility_cores: Vec::new(),
    })
    .unwrap();
    let capacity = Arc::new(capacity);
    let following = {
        let (proofs, capacity) = (proofs.clone(), capacity.clone());
        tokio::spawn(async move { proofs.follow(&capacity).await })
    };

    // Nothing is proven for a commitment that is not active, nor before its first epoch.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(*prover.epoch.borrow(), None);
    world.activate().await;
    world.chain.mine(15);
    let mut told = prover.epoch.subscribe();
    told.wait_for(Option::is_some).await.unwrap();

    // Blocks come; each takes what was sent, until both units have all that counts.
    let full = U256::from(terms.max_proofs);
    for _ in 0..200 {
        if world.counts().await == [full; 2] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        world.chain.mine(0);
    }
    assert_eq!(world.counts().await, [full; 2]);
    world.chain.mine(0);
    told.wait_for(Option::is_none).await.unwrap();

    // Another epoch, another nonce, and it goes on.
    let before = world.chain.mine(15);
    told.wait_for(Option::is_some).await.unwrap();
    let nonce = told.borrow().map(|epoch| epoch.global_nonce.0);
    let view = proofs.market().view().await.unwrap();
    assert_eq!(view.head.timestamp, before.timestamp);
    assert_eq!(nonce, Some(view.global_nonce.0));
    following.abort();
}

#[test]
fn changes_are_told_once() {
    let view = |timestamp: u64, commitment: Option<(u8, &[(u8, u64)])>| CapacityView {
        head: deal_types::chain::Head {
            timestamp,
            ..Default::default()
        },
        global_nonce: Bytes32([timestamp as u8; 32]),
        difficulty: Bytes32([7; 32]),
        commitment: commitment.map(|(id, units)| ActiveCommitment {
            id: Bytes32([id; 32]),
            units: units
                .iter()
                .map(|(unit, start)| (Bytes32([*unit; 32]), *start))
                .collect(),
            proofs: [(Bytes32([3; 32]), timestamp)].into(),
        }),
    };
    let unit = |number: u8| UnitId([number; 32]);
    let counted = |count| CapacityEvent::ProofsCounted {
        epoch: 5,
        proofs: [(unit(3), count)].into(),
    };
    let mut seen = Seen::default();
    let mut changes = |view: CapacityView| seen.changes(&view, Some(5));
    assert_eq!(
        changes(view(1, None)),
        [
            CapacityEvent::Block { timestamp: 1 },
            CapacityEvent::GlobalNonce(GlobalNonce([1; 32])),
            CapacityEvent::Difficulty(Difficulty([7; 32])),
            CapacityEvent::CommitmentEnded,
        ]
    );
    assert_eq!(changes(view(1, None)), []);
    let units = [(unit(1), 3), (unit(2), 3)].into();
    assert_eq!(
        changes(view(1, Some((5, &[(1, 3), (2, 3)])))),
        [CapacityEvent::CommitmentActivated { units }, counted(1)]
    );
    assert_eq!(
        changes(view(1, Some((5, &[(2, 3), (3, 4)])))),
        [
            CapacityEvent::UnitDeactivated { unit: unit(1) },
            CapacityEvent::UnitActivated {
                unit: unit(3),
                start_epoch: 4
            },
        ]
    );
    // Another commitment begins anew.
    let units = [(unit(2), 3)].into();
    assert_eq!(
        changes(view(1, Some((6, &[(2, 3)])))),
        [CapacityEvent::CommitmentActivated { units }]
    );
    // Proofs are counted with every block, and when one was taken back.
    assert_eq!(
        changes(view(2, Some((6, &[(2, 3)])))),
        [
            CapacityEvent::Block { timestamp: 2 },
            CapacityEvent::GlobalNonce(GlobalNonce([2; 32])),
            counted(2)
        ]
    );
    let mut fewer = view(2, Some((6, &[(2, 3)])));
    fewer.commitment.as_mut().unwrap().proofs = [(Bytes32([3; 32]), 1)].into();
    assert_eq!(changes(fewer), [counted(1)]);
    assert_eq!(changes(view(2, None)), [CapacityEvent::CommitmentEnded]);
}
