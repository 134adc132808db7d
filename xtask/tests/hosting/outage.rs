//! A peer whose deals are on a real market, which it reaches through a node that stalls, lies and is
//! away for an hour of its time.

use std::{sync::Arc, time::Duration};

use deal_types::{
    AccessType, Address, Bytes32, Cid, OnChainCid, PeerKey, U256,
    chain::{Chain as _, ChainExt as _, MemoryChain, Order},
    contract::{
        AddPaymentTokenToWhitelist, Call, CreateCommitment, DeployDeal, DepositCollateral,
        MarketEvent, MatchDeal, RegisterMarketOffer, RemoveWorker, SetProviderInfo, StopDeal,
        token,
    },
    market::RegisterComputePeer,
    sim::{Block, Contract, Genesis, Target, Transaction},
    unixfs,
};
use particle::PeerId;
use serde_json::json;

use super::{
    deals::{GREETING, PERIOD, define, with_decider},
    node::{Fault, Ledger, market_at, wallet},
    rig::{Rig, host_key, stranger, until},
};

const OWNER: Address = Address([1; 20]);
const CLIENT: Address = Address([4; 20]);
const UNITS: [Bytes32; 2] = [Bytes32([11; 32]), Bytes32([12; 32])];

/// A market with one committed peer of two units, and a node that serves it.
struct World {
    ledger: Ledger,
    token: Address,
    offer: Bytes32,
    orders: u64,
}

fn peer() -> PeerKey {
    let id = host_key().peer_id();
    PeerKey::from_peer_id_bytes(&id.to_bytes()).unwrap()
}

fn uint(number: u64) -> U256 {
    U256::from(number)
}

impl World {
    async fn new() -> Self {
        let provider = wallet().address();
        let chain = MemoryChain::new(OWNER, 1_000, Genesis::default()).unwrap();
        let token = chain.with_sim(|sim| {
            for account in [OWNER, provider, CLIENT] {
                sim.fund(account, uint(10).pow(uint(20)));
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
            ledger: Ledger::new(chain),
            token,
            offer: Bytes32::ZERO,
            orders: 0,
        };
        let market = world.market();
        let whitelist = AddPaymentTokenToWhitelist { token };
        world.send(OWNER, market, &whitelist, 0).await;
        let info = SetProviderInfo {
            name: "P".into(),
            metadata: OnChainCid::try_from(unixfs::cid_of(b"about")).unwrap(),
        };
        world.send(provider, market, &info, 0).await;
        let offer = RegisterMarketOffer {
            min_price_per_cu_per_epoch: uint(10),
            payment_token: token,
            effectors: vec![],
            peers: vec![RegisterComputePeer {
                peer_id: peer().to_word(),
                owner: provider,
                unit_ids: UNITS.to_vec(),
            }],
            min_protocol_version: uint(1),
            max_protocol_version: uint(1),
        };
        let events = world.send(provider, market, &offer, 0).await;
        let offer = events.iter().find_map(|event| match event {
            MarketEvent::MarketOfferRegistered(event) => Some(event.offer_id),
            _ => None,
        });
        world.offer = offer.unwrap();
        let commit = CreateCommitment {
            peer_id: peer().to_word(),
            duration: uint(1_000),
            delegator: provider,
            reward_delegation_rate: uint(1),
        };
        let events = world.send(provider, market, &commit, 0).await;
        let MarketEvent::CommitmentCreated(created) = &events[0] else {
            panic!("{events:?}");
        };
        let collateral = DepositCollateral {
            commitment_ids: vec![created.commitment_id],
        };
        let amount = 200_000_000_000_000_000;
        world.send(provider, market, &collateral, amount).await;
        world.ledger.chain.mine(15);
        world
    }

    fn market(&self) -> Address {
        self.ledger.chain.market()
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
        let connection = self.ledger.chain.connect(from);
        let order = Order {
            key: Bytes32::from_uint(uint(self.orders)),
            to,
            input: call.encode(),
            value: U256::from(value),
        };
        let hash = connection.submit(&order).await.unwrap();
        self.ledger.chain.mine(0);
        let mined = connection.receipt(hash).await.unwrap().unwrap();
        assert!(mined.succeeded, "{}", C::NAME);
        mined.logs.iter().map(|log| log.event().unwrap()).collect()
    }

    /// A deal that takes one unit.
    async fn deal(&mut self, definition: &str, unit: Bytes32) -> Address {
        let (market, token) = (self.market(), self.token);
        let deposit = 1_000;
        self.send(CLIENT, token, &token::Wrap {}, deposit).await;
        let approve = token::Approve {
            spender: market,
            value: U256::from(deposit),
        };
        self.send(CLIENT, token, &approve, 0).await;
        let cid: Cid = definition.parse().unwrap();
        let deploy = DeployDeal {
            app_cid: cid.try_into().unwrap(),
            payment_token: token,
            deposit_amount: U256::from(deposit),
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

    /// The client ends a deal, and has its unit back on the market.
    async fn end(&mut self, deal: Address) {
        self.send(CLIENT, deal, &StopDeal {}, 0).await;
        let remove = RemoveWorker {
            onchain_id: Bytes32::from_uint(uint(1)),
        };
        self.send(CLIENT, deal, &remove, 0).await;
    }

    /// The worker that is registered for a deal; blocks are made meanwhile.
    async fn registered(&self, deal: Address) -> Option<PeerId> {
        self.ledger.chain.mine(0);
        let connection = self.ledger.chain.connect(CLIENT);
        let workers = connection.resolve_subnet(deal).await.unwrap();
        let worker = workers.first()?.worker?;
        Some(worker.to_string().parse().unwrap())
    }
}

/// Whether the service of a deal's worker answers.
async fn greets(rig: &Rig, deal: Address, worker: PeerId) -> Option<()> {
    // Who asks a worker that is not there, or not active yet, gets no answer.
    let name = json!(deal.to_string());
    if !workers(rig).await.contains(&worker.to_string())
        || rig.at_host("worker.is_active", &[name]).await != json!(true)
    {
        return None;
    }
    let answer = rig.ask(&stranger(), worker, "service.greeting", &[json!("Eve")]);
    let greeting = answer.await.ok()?;
    greeting.as_str()?.contains("Eve").then_some(())
}

/// Whether all of a worker's definition is installed.
async fn installed(rig: &Rig, worker: PeerId) -> Option<()> {
    let status = [json!("__installation_spell_status__")];
    let name = "worker-spell.list_get_strings";
    let told = rig.manage(worker, name, &status).await;
    let last = told["value"].as_array()?.last()?.clone();
    last.as_str()?
        .contains("INSTALLATION_SUCCESSFUL")
        .then_some(())
}

/// The workers of the host.
async fn workers(rig: &Rig) -> Vec<String> {
    let listed = rig.at_host("worker.list", &[]).await;
    serde_json::from_value(listed).unwrap()
}

/// Time passes, in which the decider looks at the chain.
async fn pass(rig: &Rig, world: &World, periods: u32) {
    for _ in 0..periods {
        let before = world.ledger.requests();
        rig.advance(PERIOD);
        // What it asks arrives, where anybody is there to hear it.
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(25)).await;
            if world.ledger.requests() > before {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deals_outlive_a_chain_that_fails() {
    let Some(mut rig) = with_decider() else {
        return;
    };
    rig.dev_mode = true;
    let mut world = World::new().await;
    let market = world.market();
    let node = world.ledger.listen("127.0.0.1:0".parse().unwrap()).await;
    let address = node.address;
    let seen = || Arc::new(market_at(address, market, peer()));
    rig.chain = Some(seen());
    let store = rig.folder.path().join("content");
    let definition = define(&store, "greeting", GREETING, "word");
    let first = world.deal(&definition, UNITS[0]).await;
    rig.start().await;
    let worker = rig
        .until_moving(PERIOD, "the worker is registered", async || {
            world.registered(first).await
        })
        .await;
    // It is active once the decider has seen that it is registered.
    rig.until_moving(PERIOD, "the service is deployed", async || {
        greets(&rig, first, worker).await
    })
    .await;

    // Nothing that the node does or says now harms the deal.
    for fault in [Fault::Stall, Fault::Garbage, Fault::OtherBlock] {
        world.ledger.set(fault);
        pass(&rig, &world, 3).await;
        assert_eq!(greets(&rig, first, worker).await, Some(()), "{fault:?}");
        assert_eq!(workers(&rig).await, [worker.to_string()], "{fault:?}");
    }
    world.ledger.set(None);

    // It goes away for an hour, in which the peer is started anew; on the chain one deal ends and
    // another begins.
    node.stop().await;
    world.end(first).await;
    let second = world.deal(&definition, UNITS[1]).await;
    pass(&rig, &world, 15).await;
    assert_eq!(greets(&rig, first, worker).await, Some(()));
    rig.stop().await;
    rig.chain = Some(seen());
    rig.start().await;
    pass(&rig, &world, 15).await;
    until("the service answers after a restart", async || {
        greets(&rig, first, worker).await
    })
    .await;
    assert_eq!(workers(&rig).await, [worker.to_string()]);

    let _node = world.ledger.listen(address).await;
    let other = rig
        .until_moving(PERIOD, "the other worker is registered", async || {
            world.registered(second).await
        })
        .await;
    rig.until_moving(PERIOD, "the other service answers", async || {
        greets(&rig, second, other).await
    })
    .await;
    until("the other installation has ended", async || {
        installed(&rig, other).await
    })
    .await;
    rig.until_moving(PERIOD, "the ended deal is gone", async || {
        (workers(&rig).await == [other.to_string()]).then_some(())
    })
    .await;
    assert_eq!(greets(&rig, second, other).await, Some(()));
    assert_eq!(world.ledger.sent(), 2, "each worker is registered once");
}
