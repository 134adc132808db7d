//! A peer's questions to a chain in memory.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use async_trait::async_trait;
use deal_types::{
    AccessType, Address, Bytes32, Cid, DealStatus, OnChainCid, PeerKey, U256,
    chain::{
        CapacityMarket, Chain, ChainError, ChainLog, Head, LogFilter, MemoryChain,
        MemoryConnection, MinedTransaction, Order, PeerMarket, Submission, TransactionState,
        UnitProof,
    },
    contract::{
        AddPaymentTokenToWhitelist, Call, CreateCommitment, DeployDeal, DepositCollateral,
        MarketEvent, MatchDeal, RegisterMarketOffer, SetProviderInfo, StopDeal, token,
    },
    market::RegisterComputePeer,
    peer_chain::{DealWorker, PeerChain, PeerChainError, PeerDeal, PeerDealInfo, TxReceipt},
    sim::{Block, Contract, Genesis, Target, Transaction},
    unixfs,
};

const OWNER: Address = Address([1; 20]);
const PROVIDER: Address = Address([2; 20]);
const CLIENT: Address = Address([4; 20]);
const PEER: PeerKey = PeerKey([10; 32]);
const UNITS: [Bytes32; 2] = [Bytes32([11; 32]), Bytes32([12; 32])];
const WORKER: PeerKey = PeerKey([0xa1; 32]);

/// A connection that can be cut.
struct Cable {
    inner: MemoryConnection,
    cut: AtomicBool,
    calls: AtomicU64,
    /// A contract whose answers are cut off.
    garbled: Mutex<Option<Address>>,
    /// What is said to be the newest block.
    lie: Mutex<Option<Head>>,
}

impl Cable {
    fn reach(&self) -> Result<&MemoryConnection, ChainError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.cut.load(Ordering::Relaxed) {
            return Err(ChainError::Unreachable {
                endpoint: "node".into(),
                reason: "cut".into(),
            });
        }
        Ok(&self.inner)
    }
}

#[async_trait]
impl Chain for Cable {
    fn account(&self) -> Address {
        self.inner.account()
    }

    async fn head(&self) -> Result<Head, ChainError> {
        let head = self.reach()?.head().await?;
        let lie = *self.lie.lock().unwrap();
        Ok(lie.unwrap_or(head))
    }

    async fn block(&self, number: u64) -> Result<Option<Head>, ChainError> {
        self.reach()?.block(number).await
    }

    async fn logs(
        &self,
        filter: &LogFilter,
        from: u64,
        to: u64,
    ) -> Result<Vec<ChainLog>, ChainError> {
        self.reach()?.logs(filter, from, to).await
    }

    async fn call(&self, to: Address, input: Vec<u8>) -> Result<Vec<u8>, ChainError> {
        let mut answer = self.reach()?.call(to, input).await?;
        if *self.garbled.lock().unwrap() == Some(to) {
            answer.truncate(5);
        }
        Ok(answer)
    }

    async fn submit(&self, order: &Order) -> Result<Bytes32, ChainError> {
        self.reach()?.submit(order).await
    }

    async fn receipt(&self, transaction: Bytes32) -> Result<Option<MinedTransaction>, ChainError> {
        self.reach()?.receipt(transaction).await
    }

    async fn changed(&self) {
        self.inner.changed().await;
    }
}

struct World {
    chain: MemoryChain,
    token: Address,
    offer: Bytes32,
    orders: u64,
    cable: Arc<Cable>,
    peer: PeerMarket,
}

fn app_cid() -> Cid {
    unixfs::cid_of(b"definition")
}

fn uint(number: u64) -> U256 {
    U256::from(number)
}

impl World {
    /// A market with one committed peer of two units.
    async fn new() -> Self {
        let chain = MemoryChain::new(OWNER, 1_000, Genesis::default()).unwrap();
        let token = chain.with_sim(|sim| {
            for account in [OWNER, PROVIDER, CLIENT] {
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
        let cable = Arc::new(Cable {
            inner: chain.connect(PROVIDER),
            cut: AtomicBool::new(false),
            calls: AtomicU64::new(0),
            garbled: Mutex::default(),
            lie: Mutex::default(),
        });
        let peer = PeerMarket::new(cable.clone(), chain.market(), PEER);
        let mut world = Self {
            chain,
            token,
            offer: Bytes32::ZERO,
            orders: 0,
            cable,
            peer,
        };
        assert_eq!(world.peer.deals().await, Ok(vec![]));
        let market = world.chain.market();
        world
            .send(OWNER, market, &AddPaymentTokenToWhitelist { token }, 0)
            .await;
        let metadata = OnChainCid::try_from(app_cid()).unwrap();
        let info = SetProviderInfo {
            name: "P".into(),
            metadata,
        };
        world.send(PROVIDER, market, &info, 0).await;
        let offer = RegisterMarketOffer {
            min_price_per_cu_per_epoch: uint(10),
            payment_token: token,
            effectors: vec![],
            peers: vec![RegisterComputePeer {
                peer_id: PEER.to_word(),
                owner: PROVIDER,
                unit_ids: UNITS.to_vec(),
            }],
            min_protocol_version: uint(1),
            max_protocol_version: uint(1),
        };
        let events = world.send(PROVIDER, market, &offer, 0).await;
        let offers = events.iter().find_map(|event| match event {
            MarketEvent::MarketOfferRegistered(event) => Some(event.offer_id),
            _ => None,
        });
        world.offer = offers.unwrap();
        let commit = CreateCommitment {
            peer_id: PEER.to_word(),
            duration: uint(1_000),
            delegator: PROVIDER,
            reward_delegation_rate: uint(1),
        };
        let events = world.send(PROVIDER, market, &commit, 0).await;
        let MarketEvent::CommitmentCreated(created) = &events[0] else {
            panic!("{events:?}");
        };
        let id = created.commitment_id;
        let collateral = DepositCollateral {
            commitment_ids: vec![id],
        };
        world
            .send(PROVIDER, market, &collateral, 200_000_000_000_000_000)
            .await;
        world.chain.mine(15);
        world
    }

    /// Sends a call in a block of its own; what it logged.
    async fn send<C: Call>(
        &mut self,
        from: Address,
        to: Address,
        call: &C,
        value: u128,
    ) -> Vec<MarketEvent> {
        self.orders += 1;
        let connection = self.chain.connect(from);
        let order = Order {
            key: Bytes32::from_uint(uint(self.orders)),
            to,
            input: call.encode(),
            value: U256::from(value),
        };
        let hash = connection.submit(&order).await.unwrap();
        self.chain.mine(0);
        let mined = connection.receipt(hash).await.unwrap().unwrap();
        assert!(mined.succeeded, "{}", C::NAME);
        mined.logs.iter().map(|log| log.event().unwrap()).collect()
    }

    /// A deal that takes one unit.
    async fn deal(&mut self, app_cid: OnChainCid, unit: Bytes32) -> Address {
        let (market, token) = (self.chain.market(), self.token);
        self.send(CLIENT, token, &token::Wrap {}, 1_000).await;
        let approve = token::Approve {
            spender: market,
            value: uint(1_000),
        };
        self.send(CLIENT, token, &approve, 0).await;
        let deploy = DeployDeal {
            app_cid,
            payment_token: token,
            deposit_amount: uint(1_000),
            min_workers: uint(1),
            target_workers: uint(1),
            cu_count_per_worker: uint(1),
            max_workers_per_provider: uint(1),
            price_per_cu_per_epoch: uint(10),
            effectors: vec![],
            access_type: AccessType::None,
            access_list: vec![],
            protocol_version: uint(1),
        };
        let events = self.send(CLIENT, market, &deploy, 0).await;
        let Some(MarketEvent::DealCreated(created)) = events.last() else {
            panic!("{events:?}");
        };
        let deal = created.deal;
        let call = MatchDeal {
            deal,
            offers: vec![self.offer],
            compute_units: vec![vec![vec![unit]]],
        };
        self.send(CLIENT, market, &call, 0).await;
        deal
    }
}

fn word(number: u64) -> Bytes32 {
    Bytes32::from_uint(uint(number))
}

#[tokio::test]
async fn a_deal_is_found_served_and_read_again() {
    let mut world = World::new().await;
    let deal = world.deal(app_cid().try_into().unwrap(), UNITS[0]).await;
    let expected = |status| PeerDeal {
        deal,
        info: Ok(PeerDealInfo {
            status,
            unit_ids: vec![UNITS[0]],
            app_cid: app_cid().to_string(),
            onchain_worker_id: word(1),
        }),
    };
    let waiting = vec![expected(DealStatus::NotEnoughWorkers)];
    assert_eq!(world.peer.deals().await, Ok(waiting));

    let hash = world
        .peer
        .register_worker(deal, WORKER, word(1))
        .await
        .unwrap();
    let again = world.peer.register_worker(deal, WORKER, word(1)).await;
    assert_eq!(again, Ok(hash));
    assert_eq!(
        world.peer.receipts(&[hash]).await,
        Ok(vec![TxReceipt::Pending])
    );
    let block_number = world.chain.mine(0).number;
    assert_eq!(world.peer.block_number().await, Ok(block_number));
    let mined = vec![TxReceipt::Ok { block_number }, TxReceipt::Pending];
    assert_eq!(
        world.peer.receipts(&[hash, Bytes32([9; 32])]).await,
        Ok(mined)
    );
    let active = vec![expected(DealStatus::Active)];
    assert_eq!(world.peer.deals().await, Ok(active));
    let workers = vec![DealWorker {
        unit_ids: vec![UNITS[0]],
        host: PEER,
        worker: Some(WORKER),
    }];
    assert_eq!(world.peer.workers(deal).await, Ok(workers));

    // The block is taken back, and the transaction with it: it is made anew under the same hash.
    world.chain.rewind(1);
    assert_eq!(
        world.peer.receipts(&[hash]).await,
        Ok(vec![TxReceipt::Pending])
    );
    let block_number = world.chain.mine(0).number;
    assert_eq!(
        world.peer.receipts(&[hash]).await,
        Ok(vec![TxReceipt::Ok { block_number }])
    );
    assert_eq!(
        world.peer.deals().await,
        Ok(vec![expected(DealStatus::Active)])
    );
}

#[tokio::test]
async fn what_cannot_be_read_hides_nothing_else() {
    let mut world = World::new().await;
    let good = world.deal(app_cid().try_into().unwrap(), UNITS[0]).await;
    let bad = OnChainCid {
        prefixes: [9; 4],
        hash: Bytes32::ZERO,
    };
    let bad = world.deal(bad, UNITS[1]).await;
    let deals = world.peer.deals().await.unwrap();
    assert_eq!(deals.len(), 2);
    for deal in deals {
        assert_eq!(deal.info.is_ok(), deal.deal == good);
        assert_eq!(deal.info.is_err(), deal.deal == bad);
    }
    // A node that answers nonsense about one of them is not believed about the other.
    *world.cable.garbled.lock().unwrap() = Some(good);
    let nonsense = world.peer.deals().await;
    assert!(
        matches!(nonsense, Err(PeerChainError::Refused { .. })),
        "{nonsense:?}"
    );
    *world.cable.garbled.lock().unwrap() = None;
    assert_eq!(world.peer.deals().await.unwrap().len(), 2);
    let nobody = world.peer.workers(Address([0x77; 20])).await;
    assert!(
        matches!(nobody, Err(PeerChainError::Refused { .. })),
        "{nobody:?}"
    );
    // Someone else's worker: the contract says no.
    let stranger = PeerMarket::new(
        Arc::new(world.chain.connect(CLIENT)),
        world.chain.market(),
        PEER,
    );
    let hash = stranger
        .register_worker(good, WORKER, word(1))
        .await
        .unwrap();
    let block_number = world.chain.mine(0).number;
    assert_eq!(
        stranger.receipts(&[hash]).await,
        Ok(vec![TxReceipt::Failed { block_number }])
    );
}

#[tokio::test]
async fn a_chain_that_is_away() {
    let mut world = World::new().await;
    let deal = world.deal(app_cid().try_into().unwrap(), UNITS[0]).await;
    let hash = world
        .peer
        .register_worker(deal, WORKER, word(1))
        .await
        .unwrap();
    world.cable.cut.store(true, Ordering::Relaxed);
    let away = PeerChainError::Unreachable {
        reason: "node is not reachable: cut".into(),
    };
    assert_eq!(world.peer.deals().await, Err(away.clone()));
    assert_eq!(world.peer.block_number().await, Err(away.clone()));
    assert_eq!(world.peer.workers(deal).await, Err(away.clone()));
    // One attempt, not one for each.
    let before = world.cable.calls.load(Ordering::Relaxed);
    assert_eq!(world.peer.receipts(&[hash; 100]).await, Err(away.clone()));
    assert_eq!(world.cable.calls.load(Ordering::Relaxed), before + 1);
    assert_eq!(
        world.peer.register_worker(deal, WORKER, word(2)).await,
        Err(away)
    );
    world.cable.cut.store(false, Ordering::Relaxed);
    let block_number = world.chain.mine(0).number;
    assert_eq!(
        world.peer.receipts(&[hash]).await,
        Ok(vec![TxReceipt::Ok { block_number }])
    );
}

#[tokio::test]
async fn capacity_is_read_and_proven() {
    let mut world = World::new().await;
    let market = world.chain.market();
    let capacity = CapacityMarket::new(world.cable.clone(), market, PEER);
    let terms = capacity.terms().await.unwrap();
    assert_eq!((terms.min_proofs, terms.max_proofs), (2, 5));
    assert_eq!(terms.epochs.epoch_duration(), 15);
    // The second epoch: the commitment has begun.
    let view = capacity.view().await.unwrap();
    let epoch = terms.epochs.epoch_at(view.head.timestamp);
    assert_eq!(epoch, Some(2));
    let units = view.commitment.unwrap().units;
    assert_eq!(units, UNITS.map(|unit| (unit, 2)).into());

    // The published verifier of tests takes any hash below the difficulty.
    let proof = |nonce| UnitProof {
        unit: UNITS[0],
        local_nonce: Bytes32([nonce; 32]),
        result_hash: Bytes32::ZERO,
    };
    let proofs = [proof(1), proof(2)];
    let Ok(Submission::Sent(transaction)) = capacity.submit(&proofs).await else {
        panic!("not sent");
    };
    let again = capacity.submit(&proofs).await;
    assert_eq!(again, Ok(Submission::Sent(transaction)));
    assert_eq!(
        capacity.state(transaction).await,
        Ok(TransactionState::Pending)
    );
    let block = world.chain.mine(0).number;
    assert_eq!(
        capacity.state(transaction).await,
        Ok(TransactionState::Succeeded { block })
    );

    // A unit that goes to a deal is not proven, and a new epoch has a new nonce.
    world.deal(app_cid().try_into().unwrap(), UNITS[0]).await;
    world.chain.mine(15);
    let later = capacity.view().await.unwrap();
    assert_ne!(later.global_nonce, view.global_nonce);
    assert_eq!(later.difficulty, view.difficulty);
    let units: Vec<Bytes32> = later.commitment.unwrap().units.into_keys().collect();
    assert_eq!(units, [UNITS[1]]);

    let nobody = CapacityMarket::new(world.cable.clone(), market, PeerKey([0x55; 32]));
    assert_eq!(nobody.view().await.unwrap().commitment, None);
    world.cable.cut.store(true, Ordering::Relaxed);
    assert!(matches!(
        capacity.view().await,
        Err(ChainError::Unreachable { .. })
    ));
    assert!(matches!(
        capacity.submit(&proofs).await,
        Err(ChainError::Unreachable { .. })
    ));
}

#[tokio::test]
async fn a_deal_that_is_over_is_left() {
    let mut world = World::new().await;
    let market = world.chain.market();
    let capacity = CapacityMarket::new(world.cable.clone(), market, PEER);
    let over = world.deal(app_cid().try_into().unwrap(), UNITS[0]).await;
    let going = world.deal(app_cid().try_into().unwrap(), UNITS[1]).await;
    capacity.leave_deals().await.unwrap();
    world.chain.mine(0);
    assert_eq!(world.peer.deals().await.unwrap().len(), 2);
    world.send(CLIENT, over, &StopDeal {}, 0).await;
    for _ in 0..2 {
        capacity.leave_deals().await.unwrap();
    }
    world.chain.mine(0);
    let deals = world.peer.deals().await.unwrap();
    let deals: Vec<Address> = deals.iter().map(|deal| deal.deal).collect();
    assert_eq!(deals, [going]);
    let view = capacity.view().await.unwrap();
    let units: Vec<Bytes32> = view.commitment.unwrap().units.into_keys().collect();
    assert_eq!(units, [UNITS[0]], "it is proven again");
    world.cable.cut.store(true, Ordering::Relaxed);
    assert!(matches!(
        capacity.leave_deals().await,
        Err(ChainError::Unreachable { .. })
    ));
}

#[tokio::test]
async fn a_block_that_follows_none_is_not_believed() {
    let world = World::new().await;
    let capacity = CapacityMarket::new(world.cable.clone(), world.chain.market(), PEER);
    capacity.view().await.unwrap();
    let head = world.cable.inner.head().await.unwrap();
    for lie in [
        Head {
            parent: Bytes32([9; 32]),
            ..head
        },
        Head {
            number: head.number + 9,
            ..head
        },
        Head {
            timestamp: 1,
            ..head
        },
    ] {
        *world.cable.lie.lock().unwrap() = Some(lie);
        let error = capacity.view().await.unwrap_err().to_string();
        assert!(error.contains("does not follow"), "{error}");
    }
    *world.cable.lie.lock().unwrap() = None;
    capacity.view().await.unwrap();
}
