//! The recorded transactions as steps of the market's simulation.

use deal_types::{
    Address, U256,
    contract::{DiamondCut, Event as _, FacetCut, LogData},
    sim::{Block, Contract, Genesis, MarketSim, Params, Target, Transaction, Verifier},
};

use super::{
    Report,
    chain::{Recording, Transaction as Recorded, unhex},
    expect,
};

/// What the recording creates, in its order.
const CREATED: &[Kind] = &[
    Kind::Library, // the facet that cuts
    Kind::Deal,
    Kind::Library, // the verifier
    Kind::Library, // a token that nobody pays with
    Kind::Token,
    Kind::Library,
    Kind::Library,
    Kind::Library,
    Kind::Library,
    Kind::Library,
    Kind::Library,
    Kind::Library,
    Kind::Library,
    Kind::Market,
];

#[derive(Clone, Copy)]
enum Kind {
    Library,
    Deal,
    Token,
    Market,
}

/// Executes all transactions, each with the events, the status and the address of its record.
pub(super) fn replay(recording: &Recording, report: &mut Report) -> Result<(), String> {
    let mut chain = Replay::new(recording)?;
    let mut kinds = CREATED.iter();
    for recorded in &recording.transactions {
        let outcome = chain.step(recording, recorded, &mut kinds);
        let place = format!("chain-g2-logs.json: block {} as a step", recorded.block);
        report.record(place, outcome);
    }
    report.record("chain-g2-logs.json: native tokens", chain.check_money());
    Ok(())
}

struct Replay {
    sim: MarketSim,
    previous_hash: deal_types::Bytes32,
    created: Vec<Address>,
    minted: U256,
}

impl Replay {
    /// The senders have what they send, and no more.
    fn new(recording: &Recording) -> Result<Self, String> {
        let mut sim = MarketSim::new();
        for recorded in &recording.transactions {
            sim.fund(address(&recorded.from)?, amount(&recorded.value)?);
        }
        Ok(Self {
            minted: sim.total_balance(),
            sim,
            previous_hash: recording.genesis_hash,
            created: Vec::new(),
        })
    }

    fn step<'a>(
        &mut self,
        recording: &Recording,
        recorded: &Recorded,
        kinds: &mut impl Iterator<Item = &'a Kind>,
    ) -> Result<(), String> {
        let block = Block {
            number: recorded.block,
            timestamp: recorded.timestamp,
            previous_hash: self.previous_hash,
        };
        self.previous_hash = recorded.block_hash;
        let target = match (&recorded.to, &recorded.input) {
            (Some(to), Some(input)) => Target::Call {
                to: address(to)?,
                input: unhex(input)?,
            },
            _ => Target::Create(match kinds.next().ok_or("one contract more than known")? {
                Kind::Library => Contract::Library,
                Kind::Deal => Contract::DealImplementation,
                Kind::Token => Contract::WrappedToken,
                Kind::Market => Contract::Market(Box::new(self.genesis(recording, recorded)?)),
            }),
        };
        let receipt = self.sim.transact(
            block,
            &Transaction {
                from: address(&recorded.from)?,
                target,
                value: amount(&recorded.value)?,
            },
        );
        let status = if receipt.outcome.is_ok() {
            "0x1"
        } else {
            "0x0"
        };
        if status != recorded.status {
            return Err(format!(
                "{:?} where status {}",
                receipt.outcome, recorded.status
            ));
        }
        let created = recorded.creates.as_deref().map(address).transpose()?;
        expect("created", receipt.created, created)?;
        self.created.extend(created);
        let names: Vec<String> = receipt
            .logs
            .iter()
            .map(|log| log.event.signature())
            .collect();
        expect("number of logs", names.len(), recorded.logs.len())
            .map_err(|e| format!("{e}: {names:?}"))?;
        for (log, expected) in receipt.logs.iter().zip(&recorded.logs) {
            expect("address", log.address, address(&expected.address)?)?;
            let expected = LogData {
                topics: expected.topics.clone(),
                data: unhex(&expected.data)?,
            };
            expect("event", log.encode(), expected)?;
        }
        Ok(())
    }

    /// The constants, and what the constructor told of the contracts behind the market.
    fn genesis(&self, recording: &Recording, recorded: &Recorded) -> Result<Genesis, String> {
        let params = &recording.params;
        let [cut_facet, deal_implementation, ..] = *self.created.as_slice() else {
            return Err("the market comes before its parts".into());
        };
        Ok(Genesis {
            params: Params {
                epoch_duration: params.epoch_duration,
                difficulty: params.difficulty,
                min_proofs_per_epoch: params.min_proofs_per_epoch,
                max_proofs_per_epoch: params.max_proofs_per_epoch,
                max_failed_ratio: params.max_failed_ratio,
                vesting_period_duration: params.vesting.0,
                vesting_period_count: params.vesting.1,
                slashing_rate: U256::from(params.slashing_rate),
                flt_price: U256::from(params.flt_price),
                usd_collateral_per_unit: U256::from(params.usd_collateral_per_unit),
                min_duration: params.min_duration,
                min_deal_deposited_epochs: params.min_deal_deposited_epochs,
                min_deal_rematching_epochs: params.min_deal_rematching_epochs,
                init_reward_pool: params
                    .init_reward_pool
                    .parse()
                    .map_err(|_| "initRewardPool")?,
                ..Params::default()
            },
            deal_implementation,
            oracle: address(&recorded.from)?,
            // The recorded market has the function of its core facet, which answers zero.
            owner_view: Address::ZERO,
            verifier: Verifier::constant(params.difficulty),
            cut_facet,
            facets: facets(recorded)?,
        })
    }

    fn check_money(&self) -> Result<(), String> {
        expect("sum of balances", self.sim.total_balance(), self.minted)
    }
}

/// The last cut in the constructor's log.
fn facets(recorded: &Recorded) -> Result<Vec<FacetCut>, String> {
    let cut =
        |log: &super::chain::Log| DiamondCut::decode(&log.topics, &unhex(&log.data).ok()?).ok();
    let cut = recorded.logs.iter().rev().find_map(cut);
    Ok(cut.ok_or("no functions in the market's log")?.diamond_cut)
}

fn address(text: &str) -> Result<Address, String> {
    text.parse()
        .map_err(|error: deal_types::ParseError| error.to_string())
}

fn amount(text: &str) -> Result<U256, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    U256::from_str_radix(digits, 16).map_err(|error| error.to_string())
}
