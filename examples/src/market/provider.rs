//! A provider: a prover that shows his capacity, and a peer that serves deals.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    time::Duration,
};

use ccp::{
    Difficulty, EpochParameters, GlobalNonce, PhysicalCore, PortablePuzzle, PuzzleError, RawProof,
    UnitId,
    prover::{Commitment, ProofSink, Prover, ProverOptions, WorkerId},
};
use deal_types::{
    Address, Bytes32, Cid, OnChainCid, PeerKey, U256,
    chain::PeerMarket,
    contract::{
        CreateCommitment, DepositCollateral, FltCollateralPerUnit, GetDifficulty, GetGlobalNonce,
        MarketEvent, RegisterMarketOffer, SetProviderInfo, SubmitProofs, WithdrawReward,
        WithdrawRewards,
    },
    distributive::{Distributive, Limits},
    market::RegisterComputePeer,
    peer_chain::{PeerChain as _, TxReceipt},
    unixfs,
};
use particle::{KeyPair, PeerId};
use peer_core::{
    client::{Client, Request},
    content::PeerBlocks,
    peer::Peer,
};
use serde_json::Value;

use super::{
    ledger::{Ledger, STAKER, payments},
    spell::{self, Fired, Installed},
};
use crate::failure::{Failure, Result};

/// Proofs that a unit needs in an epoch.
pub const PROOFS: usize = 2;
/// What a provider asks for a unit and epoch, in whole payment tokens.
const MIN_PRICE: u64 = 1;
/// The staker's part of rewards, in 10⁻⁷.
const STAKER_RATE: u64 = 3_000_000;
/// How long proving and deploying may take.
const PATIENCE: Duration = Duration::from_secs(110);

/// A provider with one peer of one unit.
pub struct Provider {
    /// What he is called.
    pub name: String,
    /// His account.
    pub account: Address,
    /// The key that manages his peer.
    operator: KeyPair,
    peer: Peer,
    unit: Bytes32,
    market: Arc<PeerMarket>,
    offer: Bytes32,
    commitment: Bytes32,
}

/// A worker that serves a deal.
#[derive(Clone, Debug)]
pub struct Hosted {
    /// The peer that it lives on.
    pub host: PeerId,
    /// The worker.
    pub worker: PeerId,
    /// Its key, as the chain has it.
    pub key: PeerKey,
    /// Its place in the deal.
    pub onchain_id: Bytes32,
    /// The spells that live on it.
    pub spells: Vec<Installed>,
}

/// Hands proofs over, and ends with the first failure.
struct Finder(mpsc::SyncSender<std::result::Result<RawProof, PuzzleError>>);

impl ProofSink for Finder {
    fn found(&self, _: WorkerId, proof: RawProof) {
        // Whoever has enough proofs listens no longer.
        let _ = self.0.send(Ok(proof));
    }

    fn failed(&self, _: WorkerId, _: UnitId, error: &PuzzleError) {
        let _ = self.0.send(Err(error.clone()));
    }
}

/// The account of the provider with a number.
pub fn account(number: u8) -> Address {
    Address([0x20 + number; 20])
}

/// What the peer with a number asks the chain.
pub fn peer_market(ledger: &Ledger, number: u8, peer: PeerId) -> Result<Arc<PeerMarket>> {
    let key = PeerKey::from_peer_id_bytes(&peer.to_bytes()).map_err(Failure::new)?;
    let chain = Arc::new(ledger.connect(account(number)));
    Ok(Arc::new(PeerMarket::new(chain, ledger.market(), key)))
}

impl Provider {
    /// Registers with an offer of one peer with one unit, and a commitment whose collateral the
    /// staker pays.
    ///
    /// # Errors
    /// The market refuses.
    pub async fn join(
        ledger: &Ledger,
        number: u8,
        peer: Peer,
        operator: KeyPair,
        market: Arc<PeerMarket>,
    ) -> Result<Self> {
        let (account, diamond) = (account(number), ledger.market());
        let name = format!("provider {number}");
        let metadata: Cid = unixfs::cid_of(name.as_bytes());
        let info = SetProviderInfo {
            name: name.clone(),
            metadata: OnChainCid::try_from(metadata).map_err(Failure::new)?,
        };
        ledger.send(account, diamond, &info, U256::ZERO).await?;
        let key = PeerKey::from_peer_id_bytes(&peer.peer_id().to_bytes());
        let peer_id = key.map_err(Failure::new)?.to_word();
        let unit = deal_types::keccak256_of(&[b"unit", &peer_id.0]);
        let register = RegisterMarketOffer {
            min_price_per_cu_per_epoch: payments(MIN_PRICE),
            payment_token: ledger.token(),
            effectors: Vec::new(),
            peers: vec![RegisterComputePeer {
                peer_id,
                owner: account,
                unit_ids: vec![unit],
            }],
            min_protocol_version: U256::ONE,
            max_protocol_version: U256::ONE,
        };
        let events = ledger.send(account, diamond, &register, U256::ZERO).await?;
        let offer = events.iter().find_map(|event| match event {
            MarketEvent::MarketOfferRegistered(event) => Some(event.offer_id),
            _ => None,
        });
        let commit = CreateCommitment {
            peer_id,
            duration: U256::from(100),
            delegator: STAKER,
            reward_delegation_rate: U256::from(STAKER_RATE),
        };
        let events = ledger.send(account, diamond, &commit, U256::ZERO).await?;
        let commitment = events.iter().find_map(|event| match event {
            MarketEvent::CommitmentCreated(event) => Some(event.commitment_id),
            _ => None,
        });
        let missing = || Failure::new(format_args!("{name}: the market logged no offer"));
        let (offer, commitment) = offer.zip(commitment).ok_or_else(missing)?;
        let (collateral,) = ledger.read(diamond, &FltCollateralPerUnit {}).await?;
        let deposit = DepositCollateral {
            commitment_ids: vec![commitment],
        };
        ledger.send(STAKER, diamond, &deposit, collateral).await?;
        Ok(Self {
            name,
            account,
            operator,
            peer,
            unit,
            market,
            offer,
            commitment,
        })
    }

    /// His offer.
    pub fn offer(&self) -> Bytes32 {
        self.offer
    }

    /// His unit.
    pub fn unit(&self) -> Bytes32 {
        self.unit
    }

    /// His peer.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Finds as many proofs as the epoch needs and submits them; how many the chain took.
    ///
    /// # Errors
    /// The prover finds none in time, or the chain refuses one.
    pub async fn prove(&self, ledger: &Ledger) -> Result<usize> {
        let market = ledger.market();
        let (nonce,) = ledger.read(market, &GetGlobalNonce {}).await?;
        let (difficulty,) = ledger.read(market, &GetDifficulty {}).await?;
        let epoch = EpochParameters {
            global_nonce: GlobalNonce(nonce.0),
            difficulty: Difficulty(difficulty.0),
        };
        let unit = UnitId(self.unit.0);
        let proofs = tokio::task::spawn_blocking(move || find(epoch, unit));
        let proofs = proofs.await.map_err(Failure::new)??;
        let submit = SubmitProofs {
            unit_ids: vec![self.unit; proofs.len()],
            local_unit_nonces: proofs
                .iter()
                .map(|proof| Bytes32(proof.local_nonce.0))
                .collect(),
            result_hashes: proofs
                .iter()
                .map(|proof| Bytes32(proof.result_hash.0))
                .collect(),
        };
        let events = ledger
            .send(self.account, market, &submit, U256::ZERO)
            .await?;
        let accepted = |event: &&MarketEvent| matches!(event, MarketEvent::ProofSubmitted(_));
        Ok(events.iter().filter(accepted).count())
    }

    /// Serves the deal that the chain has for this peer: a worker for its unit, and in it the
    /// services and spells of the distributive, whose blocks come from the developer's node and are checked; then
    /// names the worker there.
    ///
    /// # Errors
    /// The chain has no deal for the peer, the distributive is not what the deal names, or the peer
    /// refuses to deploy it.
    pub async fn host(&self, ledger: &Ledger, developer: PeerId) -> Result<Hosted> {
        let deals = self.market.deals().await.map_err(Failure::new)?;
        let deal = deals.into_iter().next();
        let deal = deal.ok_or_else(|| Failure::new(format_args!("{}: no deal", self.name)))?;
        let info = deal.info.map_err(Failure::new)?;
        let app_cid: Cid = info.app_cid.parse().map_err(Failure::new)?;
        let blocks = PeerBlocks::new(self.peer.network().clone(), vec![developer]);
        let app = Distributive::fetch(&blocks, app_cid, Limits::default());
        let app = app.await.map_err(Failure::new)?;

        let host = self.peer.peer_id();
        let client = self.client().await?;
        let create = Request::new(CREATE)
            .argument("deal", &deal.deal.to_deal_id())
            .and_then(|request| {
                let units: Vec<[u8; 32]> = info.unit_ids.iter().map(|unit| unit.0).collect();
                request.argument("units", &units)
            });
        let worker = text(ask(&client, create).await?)?;
        for service in &app.definition.services {
            let mut cids = Vec::new();
            for module in &service.modules {
                let wasm = app.files.get(&module.wasm);
                let wasm = wasm.ok_or_else(|| Failure::new(format_args!("no {}", module.wasm)))?;
                let add = Request::new(ADD_MODULE)
                    .argument("worker", &worker)
                    .and_then(|request| request.argument("name", &module.name))
                    .and_then(|request| request.argument("module", wasm));
                cids.push(text(ask(&client, add).await?)?);
            }
            let create = Request::new(ADD_SERVICE)
                .argument("worker", &worker)
                .and_then(|request| request.argument("name", &service.name))
                .and_then(|request| request.argument("modules", &cids));
            ask(&client, create).await?;
        }
        let mut spells = Vec::new();
        for spell in &app.definition.spells {
            spells.push(spell::install(&client, &worker, &app, spell).await?);
        }
        client.stop().await;

        let worker: PeerId = worker.parse().map_err(Failure::new)?;
        let key = PeerKey::from_peer_id_bytes(&worker.to_bytes()).map_err(Failure::new)?;
        let sent = self
            .market
            .register_worker(deal.deal, key, info.onchain_worker_id)
            .await
            .map_err(Failure::new)?;
        ledger.mine();
        let receipts = self.market.receipts(&[sent]).await.map_err(Failure::new)?;
        match receipts.first() {
            Some(TxReceipt::Ok { .. }) => Ok(Hosted {
                host,
                worker,
                key,
                onchain_id: info.onchain_worker_id,
                spells,
            }),
            other => Err(Failure::new(format_args!(
                "{}: the worker was not registered: {other:?}",
                self.name
            ))),
        }
    }

    /// What the spells of his worker did so far, each at least once.
    ///
    /// # Errors
    /// One does nothing.
    pub async fn fired(&self, hosted: &Hosted) -> Result<Vec<Fired>> {
        let client = self.client().await?;
        let mut all = Vec::new();
        for spell in &hosted.spells {
            all.push(spell::fired(&client, &self.name, hosted.worker, spell).await?);
        }
        client.stop().await;
        Ok(all)
    }

    /// Withdraws what the deal owes to his worker, and what is unlocked of the rewards for capacity.
    ///
    /// # Errors
    /// The market refuses.
    pub async fn withdraw(&self, ledger: &Ledger, deal: Address, hosted: &Hosted) -> Result<()> {
        let call = WithdrawRewards {
            onchain_id: hosted.onchain_id,
        };
        ledger.send(self.account, deal, &call, U256::ZERO).await?;
        let call = WithdrawReward {
            commitment_id: self.commitment,
        };
        let market = ledger.market();
        ledger.send(self.account, market, &call, U256::ZERO).await?;
        Ok(())
    }

    async fn client(&self) -> Result<Client> {
        let address = self.peer.network().listen_addresses().first();
        let address = address.ok_or_else(|| Failure::new("the peer listens nowhere"))?;
        Client::builder(self.operator.clone(), address)
            .connect()
            .await
            .map_err(Failure::new)
    }
}

/// Proves one unit on one core until there are enough proofs.
fn find(epoch: EpochParameters, unit: UnitId) -> Result<Vec<RawProof>> {
    let (sender, found) = mpsc::sync_channel(PROOFS);
    let options = ProverOptions::for_this_machine().map_err(Failure::new)?;
    let puzzle = Arc::new(PortablePuzzle::new());
    let prover = Prover::new(puzzle, Arc::new(Finder(sender)), options);
    let allocation = BTreeMap::from([(PhysicalCore(0), unit)]);
    let commitment = Commitment { epoch, allocation };
    prover.commit(commitment).map_err(Failure::new)?;
    let mut proofs = Vec::new();
    while proofs.len() < PROOFS {
        let proof = found.recv_timeout(PATIENCE);
        let proof = proof
            .map_err(|_| Failure::new(format_args!("no proof of unit {unit} in {PATIENCE:?}")))?;
        proofs.push(proof.map_err(Failure::new)?);
    }
    prover.withdraw();
    // Its threads may wait to hand over one more.
    drop(found);
    Ok(proofs)
}

/// Runs a script that tells a result.
pub(super) async fn ask(client: &Client, request: serde_json::Result<Request>) -> Result<Value> {
    let request = request.map_err(Failure::new)?.ttl(PATIENCE);
    client.call(request).await.map_err(Failure::new)
}

/// A result that has to be a text.
pub(super) fn text(value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(Failure::new(format_args!(
            "{other} where a text was expected"
        ))),
    }
}

/// Makes a worker for a deal.
const CREATE: &str = r#"
(xor
    (seq
        (seq
            (seq
                (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
                (call %init_peer_id% ("getDataSrv" "deal") [] deal))
            (seq
                (call %init_peer_id% ("getDataSrv" "units") [] units)
                (call relay ("worker" "create") [deal units] worker)))
        (call %init_peer_id% ("callbackSrv" "response") [worker]))
    (call %init_peer_id% ("errorHandlingSrv" "error") [%last_error% 1]))"#;

/// Adds a module at a worker.
const ADD_MODULE: &str = r#"
(xor
    (seq
        (seq
            (seq
                (seq
                    (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
                    (call %init_peer_id% ("getDataSrv" "worker") [] worker))
                (seq
                    (call %init_peer_id% ("getDataSrv" "name") [] name)
                    (call %init_peer_id% ("getDataSrv" "module") [] module)))
            (seq
                (call relay ("dist" "default_module_config") [name] config)
                (call worker ("dist" "add_module") [module config] cid)))
        (call %init_peer_id% ("callbackSrv" "response") [cid]))
    (call %init_peer_id% ("errorHandlingSrv" "error") [%last_error% 1]))"#;

/// Makes a service of modules at a worker, under its name.
const ADD_SERVICE: &str = r#"
(xor
    (seq
        (seq
            (seq
                (seq
                    (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
                    (call %init_peer_id% ("getDataSrv" "worker") [] worker))
                (seq
                    (call %init_peer_id% ("getDataSrv" "name") [] name)
                    (call %init_peer_id% ("getDataSrv" "modules") [] modules)))
            (seq
                (seq
                    (call relay ("dist" "make_blueprint") [name modules] text)
                    (call worker ("dist" "add_blueprint") [text] blueprint))
                (seq
                    (call worker ("srv" "create") [blueprint] service)
                    (call worker ("srv" "add_alias") [name service]))))
        (call %init_peer_id% ("callbackSrv" "response") [service]))
    (call %init_peer_id% ("errorHandlingSrv" "error") [%last_error% 1]))"#;
