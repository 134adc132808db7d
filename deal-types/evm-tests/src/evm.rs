//! The published contracts in an EVM.

use std::{collections::BTreeMap, path::Path};

use deal_types::{
    Address, Bytes32, U256,
    abi::{self, Type, Value},
    contract::{LogData, Revert},
    sim::{Block, Params},
};
use revm::{
    Context, ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext, MainnetEvm,
    context::{
        BlockEnv, CfgEnv, TxEnv,
        result::{ExecutionResult, Output},
    },
    database::{CacheDB, EmptyDB},
    primitives::{TxKind, hardfork::SpecId},
    state::AccountInfo,
};

/// Creation code by name of contract.
pub struct Code(BTreeMap<String, Vec<u8>>);

impl Code {
    /// Reads the factories of the published package.
    pub fn load(factories: &Path) -> Result<Self, String> {
        let mut code = BTreeMap::new();
        for name in NAMES {
            let path = factories.join(format!("{name}__factory.js"));
            let text =
                std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let start = text.find("_bytecode = \"0x").ok_or("no bytecode")? + 15;
            let rest = &text[start..];
            let digits = &rest[..rest.find('"').ok_or("no end of bytecode")?];
            code.insert(
                (*name).to_owned(),
                hex::decode(digits).map_err(|e| e.to_string())?,
            );
        }
        Ok(Self(code))
    }

    fn get(&self, name: &str) -> Vec<u8> {
        self.0[name].clone()
    }
}

/// The contracts that are created, in order.
pub const NAMES: &[&str] = &[
    "DiamondCutFacet",
    "Deal",
    "RandomXProxyMock",
    "MockERC20",
    "WETH9",
    "CoreFacet",
    "CapacityFacet",
    "MarketFacet",
    "DealFactoryFacet",
    "ViewerFacet",
    "MulticallFacet",
    "OwnershipFacet",
    "DiamondLoupeFacet",
    "Diamond",
];

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The answer, or the data of the refusal.
    pub output: Result<Vec<u8>, Vec<u8>>,
    /// Address, topics, data.
    pub logs: Vec<(Address, LogData)>,
    pub created: Option<Address>,
    pub gas: u64,
}

type Db = CacheDB<EmptyDB>;
type Machine = MainnetEvm<Context<BlockEnv, TxEnv, CfgEnv, Db>>;

pub struct Evm {
    machine: Machine,
}

fn to(address: Address) -> revm::primitives::Address {
    revm::primitives::Address::from(address.0)
}

fn from(address: revm::primitives::Address) -> Address {
    Address(address.into_array())
}

fn number(value: U256) -> revm::primitives::U256 {
    revm::primitives::U256::from_be_bytes(value.to_be_bytes::<32>())
}

impl Evm {
    pub fn new(accounts: &[(Address, U256)]) -> Self {
        let mut db = CacheDB::new(EmptyDB::default());
        for (address, balance) in accounts {
            db.insert_account_info(
                to(*address),
                AccountInfo {
                    balance: number(*balance),
                    ..AccountInfo::default()
                },
            );
        }
        let machine = Context::mainnet()
            .with_db(db)
            .modify_cfg_chained(|cfg| {
                cfg.set_spec_and_mainnet_gas_params(SpecId::CANCUN);
                cfg.chain_id = 31337;
                cfg.disable_nonce_check = true;
                cfg.tx_gas_limit_cap = Some(u64::MAX);
            })
            .build_mainnet();
        Self { machine }
    }

    fn set_block(&mut self, block: &Block) {
        if let Some(previous) = block.number.checked_sub(1) {
            self.machine
                .ctx
                .journaled_state
                .database
                .cache
                .block_hashes
                .insert(
                    revm::primitives::U256::from(previous),
                    revm::primitives::B256::from(block.previous_hash.0),
                );
        }
        self.machine.set_block(BlockEnv {
            number: revm::primitives::U256::from(block.number),
            timestamp: revm::primitives::U256::from(block.timestamp),
            gas_limit: 60_000_000,
            ..BlockEnv::default()
        });
    }

    fn env(&self, from: Address, kind: TxKind, data: Vec<u8>, value: U256) -> TxEnv {
        TxEnv {
            caller: to(from),
            gas_limit: 30_000_000,
            gas_price: 0,
            kind,
            value: number(value),
            data: data.into(),
            nonce: 0,
            chain_id: Some(31337),
            ..TxEnv::default()
        }
    }

    pub fn transact(
        &mut self,
        block: &Block,
        sender: Address,
        target: Option<Address>,
        data: Vec<u8>,
        value: U256,
    ) -> Outcome {
        self.set_block(block);
        let kind = target.map_or(TxKind::Create, |address| TxKind::Call(to(address)));
        let tx = self.env(sender, kind, data, value);
        outcome(self.machine.transact_commit(tx).expect("transaction"))
    }

    /// `eth_call`.
    pub fn call(
        &mut self,
        block: &Block,
        sender: Address,
        target: Address,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, Vec<u8>> {
        self.set_block(block);
        let tx = self.env(sender, TxKind::Call(to(target)), data, U256::ZERO);
        outcome(self.machine.transact(tx).expect("call").result).output
    }

    pub fn balance(&mut self, address: Address) -> U256 {
        let db = &self.machine.ctx.journaled_state.database;
        let info = db
            .cache
            .accounts
            .get(&to(address))
            .map(|account| account.info.balance)
            .unwrap_or_default();
        U256::from_be_bytes(info.to_be_bytes::<32>())
    }
}

fn outcome(result: ExecutionResult) -> Outcome {
    let gas = result.tx_gas_used();
    match result {
        ExecutionResult::Success { logs, output, .. } => {
            let (bytes, created) = match output {
                Output::Call(bytes) => (bytes, None),
                Output::Create(_, address) => (Default::default(), address.map(from)),
            };
            let logs = logs
                .into_iter()
                .map(|log| {
                    let topics = log
                        .data
                        .topics()
                        .iter()
                        .map(|topic| Bytes32(topic.0))
                        .collect();
                    (
                        from(log.address),
                        LogData {
                            topics,
                            data: log.data.data.to_vec(),
                        },
                    )
                })
                .collect();
            Outcome {
                output: Ok(bytes.to_vec()),
                logs,
                created,
                gas,
            }
        }
        ExecutionResult::Revert { output, .. } => Outcome {
            output: Err(output.to_vec()),
            logs: vec![],
            created: None,
            gas,
        },
        ExecutionResult::Halt { reason, .. } => Outcome {
            output: Err(format!("halt {reason:?}").into_bytes()),
            logs: vec![],
            created: None,
            gas,
        },
    }
}

/// The text of a refusal.
pub fn refusal(data: &[u8]) -> String {
    match Revert::decode(data) {
        Ok(revert) => format!("{revert:?}"),
        Err(_) => format!("{} {}", hex::encode(data), String::from_utf8_lossy(data)),
    }
}

/// The input that creates a contract.
pub fn creation(code: &Code, name: &str, arguments: &[(Type, Value)]) -> Vec<u8> {
    let (types, values): (Vec<Type>, Vec<Value>) = arguments.iter().cloned().unzip();
    let mut input = code.get(name);
    input.extend(abi::encode(&types, &values).expect("arguments"));
    input
}

fn uint(value: impl Into<U256>) -> (Type, Value) {
    (Type::Uint(256), Value::Uint(value.into()))
}

fn word(value: Bytes32) -> (Type, Value) {
    (Type::FixedBytes(32), Value::FixedBytes(value.0.to_vec()))
}

fn address(value: Address) -> (Type, Value) {
    (Type::Address, Value::Address(value))
}

fn tuple(parts: Vec<(Type, Value)>) -> (Type, Value) {
    let (types, values) = parts.into_iter().unzip();
    (Type::Tuple(types), Value::Tuple(values))
}

/// Arguments of the market's constructor.
pub fn market_arguments(
    params: &Params,
    cut_facet: Address,
    deal: Address,
    verifier: Address,
    oracle: Address,
    wrapped: Address,
    cut: &[(Address, Vec<[u8; 4]>)],
) -> Vec<(Type, Value)> {
    let n = |value: u64| uint(U256::from(value));
    let capacity = tuple(vec![
        uint(params.flt_price),
        n(params.flt_price_update_period),
        uint(params.usd_collateral_per_unit),
        uint(params.usd_target_revenue_per_epoch),
        n(params.min_duration),
        n(params.max_duration),
        n(params.min_units_per_commitment),
        n(params.max_units_per_commitment),
        uint(params.min_reward_per_epoch),
        uint(params.max_reward_per_epoch),
        n(params.vesting_period_duration),
        n(params.vesting_period_count),
        uint(params.slashing_rate),
        n(params.min_proofs_per_epoch),
        n(params.max_proofs_per_epoch),
        n(params.withdraw_epochs_after_failed),
        n(params.max_failed_ratio),
        word(params.difficulty),
        uint(params.init_reward_pool),
        address(verifier),
        address(oracle),
        address(wrapped),
    ]);
    let cut_type = Type::List(Box::new(Type::Tuple(vec![
        Type::Address,
        Type::Uint(8),
        Type::List(Box::new(Type::FixedBytes(4))),
    ])));
    let cut_value = Value::List(
        cut.iter()
            .map(|(facet, selectors)| {
                Value::Tuple(vec![
                    Value::Address(*facet),
                    Value::Uint(U256::ZERO),
                    Value::List(
                        selectors
                            .iter()
                            .map(|s| Value::FixedBytes(s.to_vec()))
                            .collect(),
                    ),
                ])
            })
            .collect(),
    );
    vec![
        address(cut_facet),
        tuple(vec![
            n(params.epoch_duration),
            address(deal),
            (Type::Bool, Value::Bool(params.whitelist)),
            capacity,
        ]),
        tuple(vec![word(params.init_global_nonce)]),
        tuple(vec![
            n(params.min_deal_deposited_epochs),
            n(params.min_deal_rematching_epochs),
            n(params.min_protocol_version),
            n(params.max_protocol_version),
            n(params.max_units_per_provider),
        ]),
        (cut_type, cut_value),
    ]
}
