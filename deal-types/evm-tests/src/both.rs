//! One market twice: the published contracts in an EVM, and the simulation. Every transaction goes to
//! both, and everything that they tell has to be equal.

use deal_types::{
    Address, Bytes32, OnChainCid, U256, abi,
    contract::{
        ActiveUnitCount, AddPaymentTokenToWhitelist, Call, FUNCTIONS, GetAppCid, GetCommitment,
        GetComputeUnits, GetDealStatus, GetFreeBalance, GetGlobalNonce, GetMaxPaidEpoch,
        GetProofCounts, GetRewardAmount, GetRewardBalance, GetRewardPool, GetWorkers, LogData,
        MarketEvent, Revert, TotalRewards, UnlockedRewards, WithdrawnRewards, token,
    },
    sim::{
        Block, Contract, Genesis, MarketSim, Params, Receipt, Refusal, Target, Transaction,
        Verifier,
    },
};

use crate::evm::{Code, Evm, NAMES, Outcome, creation, market_arguments, refusal};

/// An account, a peer, a unit, by number.
pub fn account(number: u8) -> Address {
    Address([number; 20])
}

/// A word, by number.
pub fn word(number: u8) -> Bytes32 {
    Bytes32([number; 32])
}

pub fn uint(number: u64) -> U256 {
    U256::from(number)
}

pub fn cid(number: u8) -> OnChainCid {
    OnChainCid {
        prefixes: [1, 0x55, 0x12, 0x20],
        hash: word(number),
    }
}

/// Both markets, and what they have in common.
pub struct Both {
    evm: Evm,
    sim: MarketSim,
    pub block: Block,
    pub market: Address,
    pub token: Address,
    pub owner: Address,
    init: u64,
    duration: u64,
    pub transactions: usize,
    pub differences: Vec<String>,
    pub deals: Vec<Address>,
    pub commitments: Vec<Bytes32>,
    pub peers: Vec<Bytes32>,
}

/// Accounts with native tokens.
pub const ACCOUNTS: u8 = 8;

impl Both {
    pub fn new(code: &Code, params: &Params) -> Result<Self, String> {
        let rich = U256::from(10).pow(U256::from(27));
        let accounts: Vec<_> = (1..=ACCOUNTS)
            .map(|number| (account(number), rich))
            .collect();
        let mut sim = MarketSim::new();
        for (account, balance) in &accounts {
            sim.fund(*account, *balance);
        }
        let mut both = Self {
            evm: Evm::new(&accounts),
            sim,
            block: Block {
                number: 1,
                timestamp: 1_000,
                previous_hash: word(0xbb),
            },
            market: Address::ZERO,
            token: Address::ZERO,
            owner: account(1),
            init: 1_000,
            duration: params.epoch_duration,
            transactions: 0,
            differences: Vec::new(),
            deals: Vec::new(),
            commitments: Vec::new(),
            peers: Vec::new(),
        };
        both.create(code, params)?;
        both.send(
            both.owner,
            both.market,
            &AddPaymentTokenToWhitelist { token: both.token },
            0,
        );
        Ok(both)
    }

    fn create(&mut self, code: &Code, params: &Params) -> Result<(), String> {
        let mut created = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        let mut cut = Vec::new();
        for name in NAMES {
            let word_type = abi::Type::FixedBytes(32);
            let threshold = abi::Value::FixedBytes(params.difficulty.0.to_vec());
            let arguments = match *name {
                "RandomXProxyMock" => vec![(word_type, threshold)],
                "Diamond" => market_arguments(
                    params, created[0], created[1], created[2], self.owner, created[4], &cut,
                ),
                _ => vec![],
            };
            let target = Target::Create(match *name {
                "Deal" => Contract::DealImplementation,
                "WETH9" => Contract::WrappedToken,
                "Diamond" => Contract::Market(Box::new(Genesis {
                    params: params.clone(),
                    deal_implementation: created[1],
                    oracle: self.owner,
                    owner_view: Address::ZERO,
                    verifier: Verifier::constant(params.difficulty),
                    cut_facet: created[0],
                    facets: cut
                        .iter()
                        .map(|(facet, selectors): &(Address, Vec<[u8; 4]>)| {
                            deal_types::contract::FacetCut {
                                facet: *facet,
                                action: 0,
                                selectors: selectors.clone(),
                            }
                        })
                        .collect(),
                })),
                _ => Contract::Library,
            });
            let input = creation(code, name, &arguments);
            let outcome = self
                .evm
                .transact(&self.block, self.owner, None, input, U256::ZERO);
            let receipt = self.simulate(self.owner, target, U256::ZERO);
            let address = outcome
                .created
                .ok_or_else(|| format!("{name} is not created: {outcome:?}"))?;
            self.compare(name, &outcome, &receipt);
            created.push(address);
            if name.ends_with("Facet") && *name != "DiamondCutFacet" {
                let selectors = FUNCTIONS
                    .iter()
                    .filter(|function| function.contract == *name);
                let selectors = selectors.map(|function| abi::selector(function.signature));
                let selectors: Vec<_> = selectors
                    .filter(|selector| seen.insert(*selector))
                    .collect();
                if !selectors.is_empty() {
                    cut.push((address, selectors));
                }
            }
            self.block.number += 1;
        }
        (self.token, self.market) = (created[4], created[13]);
        Ok(())
    }

    fn simulate(&mut self, from: Address, target: Target, value: U256) -> Receipt {
        self.sim.transact(
            self.block,
            &Transaction {
                from,
                target,
                value,
            },
        )
    }

    pub fn epoch(&self) -> u64 {
        1 + (self.block.timestamp - self.init) / self.duration
    }

    /// The first second of an epoch.
    pub fn to_epoch(&mut self, epoch: u64) {
        self.wait(self.init + (epoch - 1) * self.duration - self.block.timestamp);
    }

    pub fn next_epoch(&mut self) {
        self.to_epoch(self.epoch() + 1);
    }

    pub fn wait(&mut self, seconds: u64) {
        self.block.timestamp += seconds;
        self.block.number += 1;
        self.block.previous_hash = deal_types::keccak256(&self.block.number.to_be_bytes());
    }

    /// Sends a transaction to both; the answer if it was not refused.
    pub fn send<C: Call>(
        &mut self,
        from: Address,
        to: Address,
        call: &C,
        value: u128,
    ) -> Option<C::Output> {
        let answer = self.send_raw(C::NAME, from, to, call.encode(), U256::from(value));
        C::decode_output(&answer?).ok()
    }

    fn send_raw(
        &mut self,
        name: &str,
        from: Address,
        to: Address,
        input: Vec<u8>,
        value: U256,
    ) -> Option<Vec<u8>> {
        self.block.number += 1;
        let outcome = self
            .evm
            .transact(&self.block, from, Some(to), input.clone(), value);
        let receipt = self.simulate(from, Target::Call { to, input }, value);
        self.compare(name, &outcome, &receipt);
        outcome.output.ok()
    }

    fn compare(&mut self, name: &str, outcome: &Outcome, receipt: &Receipt) {
        self.transactions += 1;
        let place = format!(
            "transaction {} in epoch {}, {name}",
            self.transactions,
            self.epoch()
        );
        let mut differ = |what: String| self.differences.push(format!("{place}: {what}"));
        match (&outcome.output, &receipt.outcome) {
            (Ok(_), Ok(_)) => {}
            (Err(data), Err(error)) if same_refusal(data, error) => {}
            (real, simulated) => {
                let real = real.as_ref().map(|_| "done").map_err(|data| refusal(data));
                let simulated = simulated.as_ref().map(|_| "done");
                return differ(format!("{real:?}\n    simulated: {simulated:?}"));
            }
        }
        if outcome.created != receipt.created {
            differ(format!(
                "{:?}\n    simulated: {:?}",
                outcome.created, receipt.created
            ));
        }
        let simulated: Vec<_> = receipt
            .logs
            .iter()
            .map(|log| (log.address, log.encode()))
            .collect();
        if simulated != outcome.logs {
            let at = simulated
                .iter()
                .zip(&outcome.logs)
                .take_while(|(a, b)| a == b)
                .count();
            differ(format!(
                "event {at} is {}\n    simulated: {}\n    all: {}\n    simulated: {}",
                describe(outcome.logs.get(at)),
                describe(simulated.get(at)),
                names(&outcome.logs),
                names(&simulated),
            ));
        }
    }

    /// Asks both.
    pub fn ask<C: Call>(&mut self, to: Address, call: &C)
    where
        C::Output: std::fmt::Debug,
    {
        let real = self.evm.call(&self.block, account(9), to, call.encode());
        let simulated = self.sim.call(self.block, account(9), to, &call.encode());
        let same = match (&real, &simulated) {
            (Ok(real), Ok(simulated)) => real == simulated,
            (Err(data), Err(error)) => same_refusal(data, error),
            _ => false,
        };
        if !same {
            let real = real
                .map(|bytes| C::decode_output(&bytes))
                .map_err(|data| refusal(&data));
            let simulated = simulated.map(|bytes| C::decode_output(&bytes));
            self.differences.push(format!(
                "after transaction {} in epoch {}, {}: {real:?}\n    simulated: {simulated:?}",
                self.transactions,
                self.epoch(),
                C::NAME,
            ));
        }
    }

    /// Compares everything that can be read.
    pub fn ask_all(&mut self) {
        let (market, epoch) = (self.market, self.epoch());
        self.ask(market, &GetGlobalNonce {});
        self.ask(market, &ActiveUnitCount {});
        self.ask(market, &GetRewardBalance {});
        self.ask(market, &GetRewardPool { epoch: uint(epoch) });
        for commitment_id in self.commitments.clone() {
            self.ask(market, &GetCommitment { commitment_id });
            self.ask(market, &TotalRewards { commitment_id });
            self.ask(market, &UnlockedRewards { commitment_id });
            self.ask(market, &WithdrawnRewards { commitment_id });
            self.ask(market, &GetProofCounts { commitment_id });
        }
        for peer_id in self.peers.clone() {
            self.ask(market, &GetComputeUnits { peer_id });
        }
        for deal in self.deals.clone() {
            self.ask(deal, &GetDealStatus {});
            self.ask(deal, &GetFreeBalance {});
            self.ask(deal, &GetMaxPaidEpoch {});
            self.ask(deal, &GetAppCid {});
            self.ask(deal, &GetWorkers {});
            for worker in 1..4 {
                self.ask(
                    deal,
                    &GetRewardAmount {
                        onchain_id: Bytes32::from_uint(uint(worker)),
                    },
                );
            }
            self.ask(self.token, &token::BalanceOf { account: deal });
        }
        for number in 0..=ACCOUNTS {
            self.ask(
                self.token,
                &token::BalanceOf {
                    account: account(number),
                },
            );
            let (real, simulated) = (
                self.evm.balance(account(number)),
                self.sim.balance(account(number)),
            );
            if real != simulated {
                self.differences.push(format!(
                    "after transaction {}, account {number} has {real} wei\n    simulated: {simulated}",
                    self.transactions
                ));
            }
        }
    }
}

/// The same error, or no word from both.
fn same_refusal(data: &[u8], error: &Refusal) -> bool {
    match error {
        Refusal::Revert(revert) => Revert::decode(data).as_ref() == Ok(revert),
        Refusal::Silent => data.is_empty(),
        _ => false,
    }
}

fn describe(log: Option<&(Address, LogData)>) -> String {
    let Some((address, log)) = log else {
        return "missing".to_owned();
    };
    match MarketEvent::decode(&log.topics, &log.data) {
        Ok(event) => format!("{address}: {event:?}"),
        Err(error) => error.to_string(),
    }
}

fn names(logs: &[(Address, LogData)]) -> String {
    let name = |(_, log): &(Address, LogData)| match MarketEvent::decode(&log.topics, &log.data) {
        Ok(event) => event
            .signature()
            .split('(')
            .next()
            .unwrap_or_default()
            .to_owned(),
        Err(error) => error.to_string(),
    };
    logs.iter().map(name).collect::<Vec<_>>().join(", ")
}
