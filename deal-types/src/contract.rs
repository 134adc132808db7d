//! Events, calls and errors of the contracts (generation G2, with the match event of G1).
//!
//! Each event, call and error is a struct; its members are named as the contracts name them.
//! [`MarketEvent`] and [`Revert`] are what a log or the answer of a failed call can be.
//! [`FUNCTIONS`] lists every function, for tools that work with signatures only.
//!
//! ```
//! use deal_types::{Bytes32, contract::{Call, GetStatus}};
//!
//! let call = GetStatus { commitment_id: Bytes32([7; 32]) };
//! let input = call.encode();
//! assert_eq!(input.len(), 36);
//! assert_eq!(GetStatus::decode(&input)?, call);
//! # Ok::<_, deal_types::contract::ContractError>(())
//! ```

mod calls;
mod errors;
mod events;
mod functions;
pub mod token;

pub use calls::*;
pub use errors::*;
pub use events::*;
pub use functions::{FUNCTIONS, Function, FunctionKind, function};

use crate::{
    Bytes32,
    abi::{self, AbiError, Fields, List, Type, Value},
};

/// Why a log, a call or an answer is none of those known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContractError {
    /// A log without topics.
    #[error("log has no topics")]
    Anonymous,
    /// A log of an event that is not listed, or with another number of topics than it has.
    #[error("no event is known for topic {topic} with {topics} topics")]
    UnknownEvent {
        /// The first topic.
        topic: Bytes32,
        /// How many topics there are.
        topics: usize,
    },
    /// Input or revert data that begins with a selector that is not listed, or has none.
    #[error("no {what} is known for selector 0x{selector}")]
    UnknownSelector {
        /// `function` or `error`.
        what: &'static str,
        /// The first four bytes (or fewer) in hex.
        selector: String,
    },
    /// Members that are not what the event, call or error has.
    #[error("{name}: {source}")]
    Abi {
        /// The event, call or error.
        name: &'static str,
        /// What is wrong.
        source: AbiError,
    },
}

/// What a contract writes to the log beside its address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogData {
    /// The event, then its indexed members.
    pub topics: Vec<Bytes32>,
    /// The other members.
    pub data: Vec<u8>,
}

/// An event of a contract.
pub trait Event: Fields {
    /// Its name.
    const NAME: &'static str;
    /// How many members, counted from the first, are topics. All of them are single words.
    const INDEXED: usize;

    /// Name and types.
    fn signature() -> String {
        abi::signature(Self::NAME, &Self::types())
    }

    /// The first topic.
    fn topic() -> Bytes32 {
        abi::topic(&Self::signature())
    }

    /// The log entry.
    fn encode(&self) -> LogData {
        let (types, values) = (Self::types(), self.to_values());
        let mut topics = vec![Self::topic()];
        for (part, value) in types.iter().zip(&values).take(Self::INDEXED) {
            // Members that are single words, encoded with their own type.
            let word = abi::encode(std::slice::from_ref(part), std::slice::from_ref(value));
            topics.push(
                word.ok()
                    .and_then(|word| word.try_into().ok())
                    .map(Bytes32)
                    .unwrap_or_default(),
            );
        }
        let types = types.get(Self::INDEXED..).unwrap_or_default();
        let values = values.get(Self::INDEXED..).unwrap_or_default();
        LogData {
            topics,
            data: abi::encode(types, values).unwrap_or_default(),
        }
    }

    /// Reads a log entry of this event.
    ///
    /// # Errors
    /// Another event, or malformed members.
    fn decode(topics: &[Bytes32], data: &[u8]) -> Result<Self, ContractError> {
        let (first, rest) = topics.split_first().ok_or(ContractError::Anonymous)?;
        if *first != Self::topic() || rest.len() != Self::INDEXED {
            return Err(ContractError::UnknownEvent {
                topic: *first,
                topics: topics.len(),
            });
        }
        let types = Self::types();
        decode_log(&types, rest, data)
            .and_then(Self::from_values)
            .map_err(|source| ContractError::Abi {
                name: Self::NAME,
                source,
            })
    }
}

fn decode_log(types: &[Type], topics: &[Bytes32], data: &[u8]) -> Result<Vec<Value>, AbiError> {
    let mut values = Vec::new();
    for (part, word) in types.iter().zip(topics) {
        values.append(&mut abi::decode(std::slice::from_ref(part), &word.0)?);
    }
    values.append(&mut abi::decode(
        types.get(topics.len()..).unwrap_or_default(),
        data,
    )?);
    Ok(values)
}

/// A function of a contract with its arguments.
pub trait Call: Fields {
    /// Its name.
    const NAME: &'static str;
    /// What it answers.
    type Output: List;

    /// Name and types.
    fn signature() -> String {
        abi::signature(Self::NAME, &Self::types())
    }

    /// The input of a transaction or `eth_call`.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = abi::selector(&Self::signature()).to_vec();
        bytes.append(&mut self.to_abi_bytes());
        bytes
    }

    /// Reads the input of a call of this function.
    ///
    /// # Errors
    /// Another function, or malformed arguments.
    fn decode(input: &[u8]) -> Result<Self, ContractError> {
        let arguments = input.strip_prefix(&abi::selector(&Self::signature()));
        let arguments = arguments.ok_or_else(|| unknown_selector("function", input))?;
        Self::from_abi_bytes(arguments).map_err(|source| ContractError::Abi {
            name: Self::NAME,
            source,
        })
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// Malformed bytes.
    fn decode_output(output: &[u8]) -> Result<Self::Output, ContractError> {
        Self::Output::from_abi_bytes(output).map_err(|source| ContractError::Abi {
            name: Self::NAME,
            source,
        })
    }
}

fn unknown_selector(what: &'static str, bytes: &[u8]) -> ContractError {
    let selector = hex::encode(bytes.get(..4).unwrap_or(bytes));
    ContractError::UnknownSelector { what, selector }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Address, OnChainCid, U256};

    #[test]
    fn names_of_the_protocol_description() {
        for (signature, topic) in [
            (
                CommitmentActivated::signature(),
                "0b0a4688a90d1b24732d05ddf4925af69f02cd7d9a921b1cdcd4a7c2b6d57d68",
            ),
            (
                ComputeUnitsMatched::signature(),
                "6e5629a2cfaa82d1ea7ad51936794f666271fbd5068017020eaaafdbb017e615",
            ),
            (
                ComputeUnitMatched::signature(),
                "b1c5a9179c3104a43de668491f14c45778f00ec34d5deee023af204820483bdb",
            ),
            (
                DealCreated::signature(),
                "7b00e85ad1245f470d3d59f37039811adddb9148214d01b98f8004259dcd509d",
            ),
        ] {
            assert_eq!(
                abi::topic(&signature),
                topic.parse().unwrap(),
                "{signature}"
            );
        }
        for (input, selector) in [
            (
                SubmitProofs {
                    unit_ids: vec![],
                    local_unit_nonces: vec![],
                    result_hashes: vec![],
                }
                .encode(),
                "64b75e31",
            ),
            (
                MoveResourcesFromDeal {
                    unit_ids: vec![],
                    commitment_id: Bytes32::ZERO,
                }
                .encode(),
                "12a4ebb0",
            ),
            (
                RemoveWorker {
                    onchain_id: Bytes32::ZERO,
                }
                .encode(),
                "bc126f1f",
            ),
        ] {
            assert_eq!(hex::encode(&input[..4]), selector);
        }
    }

    #[test]
    fn the_two_events_named_reward_withdrawn_differ_by_their_topics() {
        let commitment = RewardWithdrawn {
            commitment_id: Bytes32([1; 32]),
            provider_reward: U256::from(2),
            deal_staker_rewards_amount: U256::from(3),
        };
        let worker = WorkerRewardWithdrawn {
            onchain_worker_id: Bytes32([1; 32]),
            provider_reward: U256::from(2),
            staker_reward: U256::from(3),
        };
        for event in [MarketEvent::from(commitment), MarketEvent::from(worker)] {
            let log = event.encode();
            assert_eq!(MarketEvent::decode(&log.topics, &log.data), Ok(event));
        }
    }

    #[test]
    fn unknown_and_malformed_logs_have_their_errors() {
        assert_eq!(MarketEvent::decode(&[], &[]), Err(ContractError::Anonymous));
        let unknown = MarketEvent::decode(&[Bytes32::ZERO], &[]);
        assert!(matches!(
            unknown,
            Err(ContractError::UnknownEvent { topics: 1, .. })
        ));
        let short = MarketEvent::decode(&[DealEnded::topic()], &[0; 31]);
        assert!(matches!(
            short,
            Err(ContractError::Abi {
                name: "DealEnded",
                ..
            })
        ));
        let wide = MarketEvent::decode(
            &[PaymentTokenAddedToWhitelist::topic(), Bytes32([0xff; 32])],
            &[],
        );
        assert!(matches!(wide, Err(ContractError::Abi { .. })));
    }

    #[test]
    fn every_typed_call_is_listed_with_its_output() {
        for (signature, output) in typed_calls() {
            let listed = FUNCTIONS
                .iter()
                .filter(|function| function.signature == signature);
            let mut listed = listed.peekable();
            assert!(listed.peek().is_some(), "{signature}");
            for function in listed {
                assert_eq!(function.outputs, output, "{signature}");
            }
        }
    }

    proptest! {
        #[test]
        fn events_round_trip(
            peer_id: [u8; 32],
            deal: [u8; 20],
            cu_ids in prop::collection::vec(any::<[u8; 32]>(), 0..5),
            prefixes: [u8; 4],
        ) {
            let event = ComputeUnitsMatched {
                peer_id: Bytes32(peer_id),
                deal: Address(deal),
                onchain_worker_id: Bytes32([1; 32]),
                cu_ids: cu_ids.into_iter().map(Bytes32).collect(),
                app_cid: OnChainCid { prefixes, hash: Bytes32(peer_id) },
            };
            let log = event.encode();
            prop_assert_eq!(ComputeUnitsMatched::decode(&log.topics, &log.data), Ok(event.clone()));
            prop_assert_eq!(MarketEvent::decode(&log.topics, &log.data), Ok(event.into()));
        }

        #[test]
        fn any_revert_data_is_taken(selector: bool, data: Vec<u8>) {
            let mut bytes = if selector { vec![0x08, 0xc3, 0x79, 0xa0] } else { vec![] };
            bytes.extend(data);
            let _ = Revert::decode(&bytes);
        }
    }
}
