//! A developer: packs an application, makes a deal, and calls it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use deal_types::{
    AccessType, Address, Cid, DealStatus, OnChainCid, PeerKey, U256,
    contract::{DeployDeal, GetDealStatus, MarketEvent, MatchDeal, token},
    distributive::{Blocks, ClockTrigger, DistributiveBuilder, TriggerConfig},
};
use particle::PeerId;
use peer_core::{
    client::{Client, Request},
    config::NetworkConfig,
    network::{BlockProvider, Network, Role},
};
use serde_json::Value;

use super::{
    ledger::{DEVELOPER, Ledger, payments},
    provider::{Hosted, Provider},
};
use crate::{
    failure::{Failure, Result},
    local::{LocalNetwork, random_key},
};

/// What the developer pays for a unit and epoch, in whole payment tokens.
pub const PRICE: u64 = 2;
/// What the developer deposits, in whole payment tokens.
pub const DEPOSIT: u64 = 100;
/// How long the particles of calls live: what was executed becomes a ticket when they have expired.
pub const CALL_TTL: Duration = Duration::from_secs(12);

const GREETING: &[u8] = include_bytes!("../../wasm/greeting.wasm");
const PARROT: &[u8] = include_bytes!("../../wasm/parrot.wasm");
/// What the spell is called on the workers.
pub const SPELL_NAME: &str = "greeter";
/// Seconds between two firings of the spell.
const SPELL_PERIOD: u32 = 2;
/// Whom the spell greets.
const GREETED: &str = r#"{"name":"everybody"}"#;
/// Greets by the clock, with a service of its worker, and tells its log. `getDataSrv` has the spell's
/// data, `spell` is its own store; who initiates it is the worker.
const SPELL: &str = r#"(xor
    (seq
        (seq
            (call %init_peer_id% ("getDataSrv" "name") [] name)
            (call %init_peer_id% ("greeting" "greeting") [name] greeting))
        (call %init_peer_id% ("spell" "store_log") [greeting] stored))
    (call %init_peer_id% ("errorHandlingSrv" "error") [%last_error% 1]))"#;

/// Packs two services and a spell: what a deal names, and the blocks of it.
pub fn application() -> (Cid, Blocks) {
    let mut builder = DistributiveBuilder::new();
    builder.service("greeting", None, [("greeting", GREETING)]);
    builder.service("parrot", None, [("parrot", PARROT)]);
    let trigger = TriggerConfig {
        clock: ClockTrigger {
            // Long ago: at once.
            start_sec: 1,
            end_sec: 0,
            period_sec: SPELL_PERIOD,
        },
        ..TriggerConfig::default()
    };
    builder.spell(SPELL_NAME, SPELL, &trigger, GREETED);
    builder.build()
}

/// What the developer's node gives to whoever asks.
struct Published(Blocks);

#[async_trait]
impl BlockProvider for Published {
    async fn block(&self, cid: &[u8]) -> Option<Vec<u8>> {
        self.0.get(&Cid::from_bytes(cid).ok()?).cloned()
    }
}

/// Starts a node of the developer that has the blocks of an application, connected with all peers.
///
/// # Errors
/// It does not start, or cannot reach a peer.
pub async fn publish(blocks: Blocks, peers: &LocalNetwork) -> Result<Network> {
    let config = NetworkConfig::default();
    let (node, _received) = Network::start(&random_key()?, &config, Role::Client)
        .await
        .map_err(Failure::new)?;
    node.provide_blocks(Arc::new(Published(blocks)));
    for peer in peers.peers() {
        if let Some(address) = peer.network().listen_addresses().first() {
            node.dial(address).await.map_err(Failure::new)?;
        }
    }
    Ok(node)
}

/// Makes a deal for one worker at each provider.
///
/// # Errors
/// The market refuses.
pub async fn deploy(ledger: &Ledger, app_cid: Cid, workers: usize) -> Result<Address> {
    let (market, payment_token) = (ledger.market(), ledger.token());
    let amount = payments(DEPOSIT);
    let wrapped = payments(2 * DEPOSIT);
    ledger
        .send(DEVELOPER, payment_token, &token::Wrap {}, wrapped)
        .await?;
    let approve = token::Approve {
        spender: market,
        value: amount,
    };
    ledger
        .send(DEVELOPER, payment_token, &approve, U256::ZERO)
        .await?;
    let count = U256::from(workers);
    let call = DeployDeal {
        app_cid: OnChainCid::try_from(app_cid).map_err(Failure::new)?,
        payment_token,
        deposit_amount: amount,
        min_workers: count,
        target_workers: count,
        cu_count_per_worker: U256::ONE,
        max_workers_per_provider: U256::ONE,
        price_per_cu_per_epoch: payments(PRICE),
        effectors: Vec::new(),
        access_type: AccessType::None,
        access_list: Vec::new(),
        protocol_version: U256::ONE,
    };
    let events = ledger.send(DEVELOPER, market, &call, U256::ZERO).await?;
    let deal = events.iter().find_map(|event| match event {
        MarketEvent::DealCreated(event) => Some(event.deal),
        _ => None,
    });
    deal.ok_or_else(|| Failure::new("the market logged no deal"))
}

/// Gives the deal the unit of each provider; how many workers that makes.
///
/// # Errors
/// The market refuses.
pub async fn fill(ledger: &Ledger, deal: Address, providers: &[Provider]) -> Result<usize> {
    let call = MatchDeal {
        deal,
        offers: providers.iter().map(Provider::offer).collect(),
        compute_units: providers
            .iter()
            .map(|provider| vec![vec![provider.unit()]])
            .collect(),
    };
    let events = ledger
        .send(DEVELOPER, ledger.market(), &call, U256::ZERO)
        .await?;
    let matched = |event: &&MarketEvent| matches!(event, MarketEvent::ComputeUnitsMatched(_));
    Ok(events.iter().filter(matched).count())
}

/// Where the deal stands.
///
/// # Errors
/// It does not answer.
pub async fn status(ledger: &Ledger, deal: Address) -> Result<DealStatus> {
    Ok(ledger.read(deal, &GetDealStatus {}).await?.0)
}

/// One call of all workers.
#[derive(Clone, Debug)]
pub struct Called {
    /// The particle that made it.
    pub particle_id: String,
    /// When it was made.
    pub started: std::time::SystemTime,
    /// What it gave.
    pub result: Value,
}

/// Calls both services at every worker, one after the other, beginning with another one each time.
///
/// # Errors
/// A call fails.
pub async fn call(client: &Client, hosted: &[Hosted], number: usize) -> Result<Called> {
    let places: Vec<&Hosted> = hosted
        .iter()
        .cycle()
        .skip(number)
        .take(hosted.len())
        .collect();
    let last = places.len();
    let mut body = format!(
        r#"(seq (call relay ("op" "noop") [])
            (call %init_peer_id% ("callbackSrv" "response") [word{last}]))"#
    );
    for (step, place) in places.iter().enumerate().rev() {
        let (host, worker, next) = (place.host, place.worker, step + 1);
        body = format!(
            r#"(seq
                (seq
                    (seq (call relay ("op" "noop") []) (call "{host}" ("op" "noop") []))
                    (seq
                        (call "{worker}" ("greeting" "greeting") [word{step}] greeting{next})
                        (call "{worker}" ("parrot" "say") [greeting{next}] word{next})))
                {body})"#
        );
    }
    let script = format!(
        r#"(xor
            (seq
                (seq
                    (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
                    (call %init_peer_id% ("getDataSrv" "name") [] word0))
                {body})
            (call %init_peer_id% ("errorHandlingSrv" "error") [%last_error% 1]))"#
    );
    let request = Request::new(script)
        .argument("name", &format!("particle {number}"))
        .map_err(Failure::new)?
        .ttl(CALL_TTL);
    let call = client.start(request).await.map_err(Failure::new)?;
    let (particle_id, started) = (call.particle_id.clone(), call.started);
    let result = call.result().await.map_err(Failure::new)?;
    Ok(Called {
        particle_id,
        started,
        result,
    })
}

/// The key of a peer as the chain has it.
///
/// # Errors
/// It is of a kind that the chain does not know.
pub fn key_of(peer: PeerId) -> Result<PeerKey> {
    PeerKey::from_peer_id_bytes(&peer.to_bytes()).map_err(Failure::new)
}
