//! A chain inside the process, on the market's simulation.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Chain, ChainError, ChainLog, Head, LogFilter, MAX_LOGS, MinedTransaction, Order};
use crate::{
    Address, Bytes32,
    contract::Revert,
    keccak256_of,
    sim::{Block, Genesis, MarketSim, Refusal, Target, Transaction},
};

/// Blocks that can be taken back.
const KEPT_STATES: usize = 128;
/// Transactions that wait for the next block, of all accounts.
const MAX_PENDING: usize = 10_000;

struct Mined {
    head: Head,
    transactions: Vec<MinedTransaction>,
}

struct State {
    sim: MarketSim,
    blocks: Vec<Mined>,
    /// The market before each of the last blocks, the newest last.
    before: VecDeque<MarketSim>,
    pending: Vec<(Bytes32, Transaction)>,
    /// What was submitted under each key of an account.
    submitted: BTreeMap<(Address, Bytes32), Bytes32>,
    /// Distinguishes blocks of the same number and time.
    branch: u64,
}

/// A chain whose blocks are made by [`MemoryChain::mine`]. Clones are the same chain.
#[derive(Clone)]
pub struct MemoryChain {
    state: Arc<Mutex<State>>,
    /// Blocks that were ever made.
    made: Arc<watch::Sender<u64>>,
    market: Address,
}

impl MemoryChain {
    /// A chain whose first block, at `timestamp`, makes the market of `owner`.
    ///
    /// # Errors
    /// Epochs without length.
    pub fn new(owner: Address, timestamp: u64, genesis: Genesis) -> Result<Self, Refusal> {
        let head = Head {
            number: 1,
            hash: block_hash(1, timestamp, Bytes32::ZERO, 0),
            parent: Bytes32::ZERO,
            timestamp,
        };
        let block = Block {
            number: 1,
            timestamp,
            previous_hash: Bytes32::ZERO,
        };
        let (sim, market) = MarketSim::with_market(owner, block, genesis)?;
        Ok(Self {
            state: Arc::new(Mutex::new(State {
                sim,
                blocks: vec![Mined {
                    head,
                    transactions: Vec::new(),
                }],
                before: VecDeque::new(),
                pending: Vec::new(),
                submitted: BTreeMap::new(),
                branch: 0,
            })),
            made: Arc::new(watch::Sender::new(1)),
            market,
        })
    }

    /// The market.
    #[must_use]
    pub fn market(&self) -> Address {
        self.market
    }

    /// A connection of an account.
    #[must_use]
    pub fn connect(&self, account: Address) -> MemoryConnection {
        MemoryConnection {
            chain: self.clone(),
            account,
            seen: Arc::default(),
        }
    }

    /// Changes the market outside any transaction: new accounts, new tokens.
    pub fn with_sim<T>(&self, change: impl FnOnce(&mut MarketSim) -> T) -> T {
        change(&mut self.lock().sim)
    }

    /// Makes a block, so many seconds after the last, of all transactions that wait.
    pub fn mine(&self, seconds: u64) -> Head {
        let mut state = self.lock();
        let parent = state.head();
        let timestamp = parent.timestamp.saturating_add(seconds);
        let number = parent.number.saturating_add(1);
        let head = Head {
            number,
            hash: block_hash(number, timestamp, parent.hash, state.branch),
            parent: parent.hash,
            timestamp,
        };
        let block = Block {
            number,
            timestamp,
            previous_hash: parent.hash,
        };
        let before = state.sim.clone();
        state.before.push_back(before);
        if state.before.len() > KEPT_STATES {
            state.before.pop_front();
        }
        let (mut transactions, mut index) = (Vec::new(), 0);
        for (hash, transaction) in std::mem::take(&mut state.pending) {
            let receipt = state.sim.transact(block, &transaction);
            let mut logs = Vec::new();
            for log in receipt.logs {
                logs.push(ChainLog {
                    address: log.address,
                    log: log.encode(),
                    block: number,
                    block_hash: head.hash,
                    transaction: hash,
                    index,
                });
                index += 1;
            }
            transactions.push(MinedTransaction {
                hash,
                block: number,
                block_hash: head.hash,
                succeeded: receipt.outcome.is_ok(),
                logs,
            });
        }
        state.blocks.push(Mined { head, transactions });
        drop(state);
        self.made.send_modify(|made| *made += 1);
        head
    }

    /// Takes the last blocks back, and forgets their transactions; tells how many it were. The first
    /// block and those before the last 128 stay.
    pub fn rewind(&self, blocks: usize) -> usize {
        let mut state = self.lock();
        let mut taken = 0;
        while taken < blocks {
            let Some(before) = state.before.pop_back() else {
                break;
            };
            state.sim = before;
            let gone = state.blocks.pop();
            let gone = gone.into_iter().flat_map(|block| block.transactions);
            let gone: Vec<Bytes32> = gone.map(|transaction| transaction.hash).collect();
            state.submitted.retain(|_, hash| !gone.contains(hash));
            taken += 1;
        }
        state.branch += 1;
        taken
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state changes in steps that cannot panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn head(&self) -> Head {
        self.blocks
            .last()
            .map(|block| block.head)
            .unwrap_or_default()
    }

    fn block(&self) -> Block {
        let head = self.head();
        Block {
            number: head.number,
            timestamp: head.timestamp,
            previous_hash: head.parent,
        }
    }
}

fn block_hash(number: u64, timestamp: u64, parent: Bytes32, branch: u64) -> Bytes32 {
    keccak256_of(&[
        b"aquamarine/block",
        &number.to_be_bytes(),
        &timestamp.to_be_bytes(),
        &parent.0,
        &branch.to_be_bytes(),
    ])
}

/// An account on a [`MemoryChain`].
#[derive(Clone)]
pub struct MemoryConnection {
    chain: MemoryChain,
    account: Address,
    /// What [`MemoryChain::made`] was when the head was asked for last.
    seen: Arc<AtomicU64>,
}

#[async_trait]
impl Chain for MemoryConnection {
    fn account(&self) -> Address {
        self.account
    }

    async fn head(&self) -> Result<Head, ChainError> {
        let made = *self.chain.made.borrow();
        self.seen.store(made, Ordering::Relaxed);
        Ok(self.chain.lock().head())
    }

    async fn block(&self, number: u64) -> Result<Option<Head>, ChainError> {
        let state = self.chain.lock();
        // Blocks are numbered from 1.
        let at = number
            .checked_sub(1)
            .and_then(|at| usize::try_from(at).ok());
        Ok(at
            .and_then(|at| state.blocks.get(at))
            .map(|block| block.head))
    }

    async fn logs(
        &self,
        filter: &LogFilter,
        from: u64,
        to: u64,
    ) -> Result<Vec<ChainLog>, ChainError> {
        let state = self.chain.lock();
        let blocks = state.blocks.iter();
        let wanted = blocks.filter(|block| (from..=to).contains(&block.head.number));
        let logs = wanted
            .flat_map(|block| &block.transactions)
            .flat_map(|mined| &mined.logs);
        let wanted = logs.filter(|log| filter.matches(log.address, &log.log));
        let logs: Vec<ChainLog> = wanted.take(MAX_LOGS + 1).cloned().collect();
        if logs.len() > MAX_LOGS {
            return Err(ChainError::Answer {
                method: "logs",
                what: format!("more than {MAX_LOGS} entries for blocks {from} to {to}"),
            });
        }
        Ok(logs)
    }

    async fn call(&self, to: Address, input: Vec<u8>) -> Result<Vec<u8>, ChainError> {
        let state = self.chain.lock();
        let answer = state.sim.call(state.block(), self.account, to, &input);
        answer.map_err(refused)
    }

    async fn submit(&self, order: &Order) -> Result<Bytes32, ChainError> {
        let mut state = self.chain.lock();
        let key = (self.account, order.key);
        if let Some(hash) = state.submitted.get(&key) {
            return Ok(*hash);
        }
        if state.pending.len() >= MAX_PENDING {
            return Err(ChainError::Busy {
                count: state.pending.len(),
            });
        }
        let balance = state.sim.balance(self.account);
        if balance < order.value {
            return Err(ChainError::Funds {
                account: self.account,
                balance,
                needed: order.value,
            });
        }
        let hash = keccak256_of(&[
            b"aquamarine/transaction",
            &self.account.0,
            &order.key.0,
            &state.branch.to_be_bytes(),
        ]);
        let transaction = Transaction {
            from: self.account,
            target: Target::Call {
                to: order.to,
                input: order.input.clone(),
            },
            value: order.value,
        };
        state.pending.push((hash, transaction));
        state.submitted.insert(key, hash);
        Ok(hash)
    }

    async fn receipt(&self, transaction: Bytes32) -> Result<Option<MinedTransaction>, ChainError> {
        let state = self.chain.lock();
        let mined = state
            .blocks
            .iter()
            .rev()
            .flat_map(|block| &block.transactions);
        Ok(mined
            .into_iter()
            .find(|mined| mined.hash == transaction)
            .cloned())
    }

    async fn changed(&self) {
        let seen = self.seen.load(Ordering::Relaxed);
        // The sender lives as long as this connection.
        let _ = self
            .chain
            .made
            .subscribe()
            .wait_for(|made| *made != seen)
            .await;
    }
}

fn refused(refusal: Refusal) -> ChainError {
    match refusal {
        Refusal::Revert(revert) => ChainError::Revert(revert),
        Refusal::Funds {
            account,
            balance,
            needed,
        } => ChainError::Funds {
            account,
            balance,
            needed,
        },
        other => ChainError::Revert(Revert::Message {
            message: other.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{
        ChainEvent, ChainExt, FollowError, Follower, FollowerConfig, TransactionState,
    };
    use crate::{
        PeerKey, U256,
        contract::{Call, SetProviderInfo},
    };

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(future)
    }

    fn chain() -> (MemoryChain, MemoryConnection) {
        let chain = MemoryChain::new(Address([1; 20]), 1_000, Genesis::default()).unwrap();
        let connection = chain.connect(Address([2; 20]));
        (chain, connection)
    }

    fn order(chain: &MemoryChain, name: &str) -> Order {
        let metadata = crate::OnChainCid {
            prefixes: [1, 0x55, 0x12, 0x20],
            hash: Bytes32::ZERO,
        };
        Order {
            key: crate::keccak256(name.as_bytes()),
            to: chain.market(),
            input: SetProviderInfo {
                name: name.into(),
                metadata,
            }
            .encode(),
            value: U256::ZERO,
        }
    }

    #[test]
    fn an_order_is_one_transaction() {
        block_on(async {
            let (chain, account) = chain();
            let hash = account.submit(&order(&chain, "a")).await.unwrap();
            assert_eq!(account.submit(&order(&chain, "a")).await, Ok(hash));
            assert_eq!(
                account.transaction_state(hash).await,
                Ok(TransactionState::Pending)
            );
            chain.mine(5);
            let state = TransactionState::Succeeded { block: 2 };
            assert_eq!(account.transaction_state(hash).await, Ok(state));
            assert_eq!(account.submit(&order(&chain, "a")).await, Ok(hash));
            let refused = account.submit(&order(&chain, "")).await.unwrap();
            chain.mine(5);
            let state = TransactionState::Failed { block: 3 };
            assert_eq!(account.transaction_state(refused).await, Ok(state));
            let mut rich = order(&chain, "rich");
            rich.value = U256::ONE;
            assert!(matches!(
                account.submit(&rich).await,
                Err(ChainError::Funds { .. })
            ));
        });
    }

    #[test]
    fn events_are_told_and_taken_back() {
        block_on(async {
            let (chain, account) = chain();
            let filter = LogFilter {
                addresses: vec![chain.market()],
                topics: vec![],
            };
            let mut follower = Follower::new(
                filter,
                2,
                FollowerConfig {
                    depth: 4,
                    batch: 10,
                },
            );
            assert_eq!(follower.step(&account).await, Ok(vec![]));
            account.submit(&order(&chain, "a")).await.unwrap();
            let (second, third) = (chain.mine(5), chain.mine(5));
            let events = follower.step(&account).await.unwrap();
            assert!(
                matches!(&events[..], [ChainEvent::Block(a), ChainEvent::Log(_), ChainEvent::Block(b)]
                if *a == second && *b == third)
            );
            let log = events[1].clone();
            assert_eq!(follower.step(&account).await, Ok(vec![]));
            // The node is behind: nothing happens.
            assert_eq!(chain.rewind(1), 1);
            assert_eq!(follower.step(&account).await, Ok(vec![]));
            // Another chain, without the transaction.
            chain.rewind(1);
            let other = chain.mine(7);
            let ChainEvent::Log(log) = log else { panic!() };
            let expected = vec![
                ChainEvent::BlockUndone(third),
                ChainEvent::Undone(log),
                ChainEvent::BlockUndone(second),
                ChainEvent::Block(other),
            ];
            assert_eq!(follower.step(&account).await, Ok(expected));
            // The order is gone with its block, and can be made again.
            account.submit(&order(&chain, "a")).await.unwrap();
            for _ in 0..6 {
                chain.mine(5);
            }
            follower.step(&account).await.unwrap();
            assert_eq!(follower.safe_start(), 5);
            chain.rewind(5);
            for _ in 0..6 {
                chain.mine(6);
            }
            let lost = follower.step(&account).await.unwrap_err();
            assert!(
                matches!(
                    lost,
                    FollowError::TooDeep {
                        number: 5,
                        depth: 4,
                        ..
                    }
                ),
                "{lost}"
            );
        });
    }

    #[test]
    fn old_blocks_are_read_at_once() {
        block_on(async {
            let (chain, account) = chain();
            for number in 0..40 {
                account
                    .submit(&order(&chain, &number.to_string()))
                    .await
                    .unwrap();
                chain.mine(5);
            }
            let config = FollowerConfig {
                depth: 4,
                batch: 16,
            };
            let mut follower = Follower::new(LogFilter::default(), 1, config);
            let (mut logs, mut blocks) = (0, 0);
            while !follower.is_at(&account.head().await.unwrap()) {
                for event in follower.step(&account).await.unwrap() {
                    match event {
                        ChainEvent::Block(_) => blocks += 1,
                        ChainEvent::Log(_) => logs += 1,
                        other => panic!("{other:?}"),
                    }
                }
            }
            assert_eq!(logs, 40);
            assert!(blocks < 10, "{blocks}");
        });
    }

    #[test]
    fn peers_that_are_unknown_have_no_deals() {
        block_on(async {
            let (chain, account) = chain();
            let deals = account.deals_of(chain.market(), PeerKey([7; 32])).await;
            assert_eq!(deals, Ok(vec![]));
        });
    }
}
