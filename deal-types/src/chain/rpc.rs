//! A chain behind a node, over JSON-RPC.

mod convert;
mod submit;
mod transport;

pub use crate::http::{Endpoint, EndpointError};

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{
    Chain, ChainError, ChainLog, Head, LogFilter, MAX_LOGS, MinedTransaction, Order, Wallet,
};
use crate::{Address, Bytes32, U256};
use submit::Submissions;
use transport::Transport;

/// How a node is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcConfig {
    /// The chain that the node has to be on.
    pub chain_id: u64,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How often the node is asked for a new block if it does not tell by itself.
    pub poll: Duration,
    /// The longest answer, in bytes.
    pub max_answer: usize,
    /// Gas that one transaction may use.
    pub max_gas: u64,
    /// What the block's maker gets for each unit of gas if the node has no opinion, in wei.
    pub priority_fee: U256,
}

impl RpcConfig {
    /// Thirty seconds, five seconds, 16 MiB, 30 million gas, 1 gwei.
    #[must_use]
    pub fn new(chain_id: u64) -> Self {
        Self {
            chain_id,
            timeout: Duration::from_secs(30),
            poll: Duration::from_secs(5),
            max_answer: 16 << 20,
            max_gas: 30_000_000,
            priority_fee: U256::from(1_000_000_000),
        }
    }
}

/// An account's connection to a node.
pub struct RpcChain {
    transport: Arc<Transport>,
    config: RpcConfig,
    wallet: Option<Wallet>,
    submissions: Mutex<Submissions>,
    /// Whether the node said that it is on the right chain.
    is_on_chain: AtomicBool,
}

impl RpcChain {
    /// A connection that is made when it is first needed, and made again when it breaks.
    ///
    /// Without a wallet it cannot submit.
    #[must_use]
    pub fn new(endpoint: Endpoint, config: RpcConfig, wallet: Option<Wallet>) -> Self {
        let transport = Transport::new(endpoint, config.timeout, config.max_answer);
        Self {
            transport: Arc::new(transport),
            config,
            wallet,
            submissions: Mutex::default(),
            is_on_chain: AtomicBool::new(false),
        }
    }

    /// Asks a node that is on the right chain: of another one nothing is believed.
    async fn ask(&self, method: &'static str, params: Value) -> Result<Value, ChainError> {
        if !self.is_on_chain.load(Ordering::Relaxed) {
            self.check_chain().await?;
        }
        self.request(method, params).await
    }

    async fn request(&self, method: &'static str, params: Value) -> Result<Value, ChainError> {
        match self.transport.request(method, &params).await {
            Ok(answer) => convert::result(method, answer),
            Err(error) => {
                // Whoever answers next may be another node.
                self.is_on_chain.store(false, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    async fn check_chain(&self) -> Result<(), ChainError> {
        const METHOD: &str = "eth_chainId";
        let actual = convert::uint(METHOD, &self.request(METHOD, json!([])).await?)?;
        let expected = self.config.chain_id;
        if actual != U256::from(expected) {
            let actual = u64::try_from(actual).unwrap_or(u64::MAX);
            return Err(ChainError::ChainId { actual, expected });
        }
        self.is_on_chain.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn block_by(&self, tag: Value) -> Result<Option<convert::BlockAnswer>, ChainError> {
        const METHOD: &str = "eth_getBlockByNumber";
        convert::parse(METHOD, self.ask(METHOD, json!([tag, false])).await?)
    }

    async fn number(&self, method: &'static str, params: Value) -> Result<U256, ChainError> {
        convert::uint(method, &self.ask(method, params).await?)
    }
}

#[async_trait]
impl Chain for RpcChain {
    fn account(&self) -> Address {
        self.wallet
            .as_ref()
            .map(Wallet::address)
            .unwrap_or_default()
    }

    async fn head(&self) -> Result<Head, ChainError> {
        let block = self.block_by(json!("latest")).await?;
        let block =
            block.ok_or_else(|| convert::wrong("eth_getBlockByNumber", "no latest block"))?;
        block.head()
    }

    async fn block(&self, number: u64) -> Result<Option<Head>, ChainError> {
        let block = self.block_by(json!(convert::hex_number(number))).await?;
        block.map(|block| block.head()).transpose()
    }

    async fn logs(
        &self,
        filter: &LogFilter,
        from: u64,
        to: u64,
    ) -> Result<Vec<ChainLog>, ChainError> {
        const METHOD: &str = "eth_getLogs";
        let answer = self
            .ask(METHOD, json!([convert::filter(filter, from, to)]))
            .await?;
        let logs: Vec<convert::LogAnswer> = convert::parse(METHOD, answer)?;
        if logs.len() > MAX_LOGS {
            return Err(convert::wrong(
                METHOD,
                &format!("{} entries, over {MAX_LOGS}", logs.len()),
            ));
        }
        logs.into_iter().map(|log| log.read(METHOD)).collect()
    }

    async fn call(&self, to: Address, input: Vec<u8>) -> Result<Vec<u8>, ChainError> {
        const METHOD: &str = "eth_call";
        let call = convert::call(self.account(), to, &input, U256::ZERO);
        convert::bytes(METHOD, &self.ask(METHOD, json!([call, "latest"])).await?)
    }

    async fn submit(&self, order: &Order) -> Result<Bytes32, ChainError> {
        // One at a time: nonces are given in order.
        let mut submissions = self.submissions.lock().await;
        self.submit_locked(&mut submissions, order).await
    }

    async fn receipt(&self, transaction: Bytes32) -> Result<Option<MinedTransaction>, ChainError> {
        const METHOD: &str = "eth_getTransactionReceipt";
        let answer = self.ask(METHOD, json!([transaction.to_string()])).await?;
        let receipt: Option<convert::ReceiptAnswer> = convert::parse(METHOD, answer)?;
        let Some(receipt) = receipt else {
            return Ok(None);
        };
        let mined = receipt.read(METHOD)?;
        if mined.hash != transaction {
            return Err(convert::wrong(METHOD, "the receipt of another transaction"));
        }
        Ok(Some(mined))
    }

    async fn changed(&self) {
        // A broken connection shows when the node is asked next.
        let _ = tokio::time::timeout(self.config.poll, self.transport.notified()).await;
    }
}
