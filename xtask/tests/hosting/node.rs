//! A node of a chain in memory, over HTTP: with moods, as nodes have them.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use deal_types::{
    Address, Bytes32, PeerKey, U256,
    chain::{
        Chain as _, ChainError, Head, MemoryChain, Order, PeerMarket, SignedTransaction, Wallet,
        rpc::{RpcChain, RpcConfig},
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

const CHAIN_ID: u64 = 31_337;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Requests are read and never answered.
    Stall,
    /// What deals answer is cut off.
    Garbage,
    /// The newest block is of a far future and follows none that there is.
    OtherBlock,
}

/// A chain, and what a node in front of it does.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub(crate) chain: MemoryChain,
    state: Arc<Mutex<State>>,
    requests: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    fault: Option<Fault>,
    sent: Vec<Sent>,
}

struct Sent {
    hash: Bytes32,
    from: Address,
    /// Its hash on the chain in memory, which has its own.
    inner: Bytes32,
}

/// The process of a node; ends when it is dropped.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    server: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(crate) fn wallet() -> Wallet {
    Wallet::from_bytes(&[0x46; 32]).unwrap()
}

impl Ledger {
    pub(crate) fn new(chain: MemoryChain) -> Self {
        Self {
            chain,
            state: Arc::default(),
            requests: Arc::default(),
        }
    }

    pub(crate) fn set(&self, fault: impl Into<Option<Fault>>) {
        self.state.lock().unwrap().fault = fault.into();
    }

    /// Requests that were read so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Transactions that were sent, all of them once.
    pub(crate) fn sent(&self) -> usize {
        self.state.lock().unwrap().sent.len()
    }

    pub(crate) async fn listen(&self, address: SocketAddr) -> Node {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let ledger = self.clone();
        let server = tokio::spawn(async move {
            // Connections end with the task that serves them.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, ledger.clone()));
            }
        });
        Node { address, server }
    }

    /// The answer, or `None` where the node says nothing.
    async fn reply(&self, body: &[u8]) -> Option<String> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let request: Value = serde_json::from_slice(body).unwrap();
        let fault = self.state.lock().unwrap().fault;
        if fault == Some(Fault::Stall) {
            return None;
        }
        let method = request["method"].as_str().unwrap();
        let mut answer = match self.answer(method, &request["params"], fault).await {
            Ok(result) => json!({ "result": result }),
            Err(error) => json!({ "error": error }),
        };
        answer["jsonrpc"] = json!("2.0");
        answer["id"] = request["id"].clone();
        Some(answer.to_string())
    }

    async fn answer(
        &self,
        method: &str,
        params: &Value,
        fault: Option<Fault>,
    ) -> Result<Value, Value> {
        let nobody = self.chain.connect(Address::ZERO);
        Ok(match method {
            "eth_chainId" => json!(format!("{CHAIN_ID:#x}")),
            "eth_getBlockByNumber" => {
                let head = match params[0].as_str().unwrap() {
                    "latest" => Some(nobody.head().await.unwrap()),
                    number => nobody.block(number_of(number)).await.unwrap(),
                };
                head.map_or(Value::Null, |head| describe(head, fault))
            }
            "eth_call" | "eth_estimateGas" => {
                let address =
                    |name: &str| params[0][name].as_str().map(|text| text.parse().unwrap());
                let from = self.chain.connect(address("from").unwrap_or(Address::ZERO));
                let input = bytes_of(params[0]["data"].as_str().unwrap());
                let to = address("to").unwrap();
                let garbled = fault == Some(Fault::Garbage) && to != self.chain.market();
                let output = from.call(to, input).await;
                match (method, output) {
                    ("eth_call", Ok(_)) if garbled => json!("0x0123"),
                    ("eth_call", Ok(output)) => json!(format!("0x{}", hex(&output))),
                    (_, Ok(_)) => json!("0x5208"),
                    (_, Err(ChainError::Revert(revert))) => {
                        let data = format!("0x{}", hex(&revert.encode()));
                        return Err(json!({ "code": 3, "message": "reverted", "data": data }));
                    }
                    (_, Err(error)) => {
                        return Err(json!({ "code": -32000, "message": error.to_string() }));
                    }
                }
            }
            "eth_maxPriorityFeePerGas" => json!("0x2"),
            "eth_getBalance" => json!(format!("0x{}", "f".repeat(20))),
            "eth_getTransactionCount" => {
                let from: Address = params[0].as_str().unwrap().parse().unwrap();
                let count = self.transactions(from, params[1] == "pending").await;
                json!(format!("{count:#x}"))
            }
            "eth_sendRawTransaction" => {
                let raw = bytes_of(params[0].as_str().unwrap());
                self.send(&SignedTransaction::decode(&raw).unwrap()).await?
            }
            "eth_getTransactionReceipt" => {
                let hash: Bytes32 = params[0].as_str().unwrap().parse().unwrap();
                self.receipt(hash).await
            }
            other => {
                return Err(json!({ "code": -32601, "message": format!("{other} is unknown") }));
            }
        })
    }

    fn inner(&self, hash: Bytes32) -> Option<Bytes32> {
        let state = self.state.lock().unwrap();
        let mut sent = state.sent.iter();
        sent.find(|sent| sent.hash == hash).map(|sent| sent.inner)
    }

    async fn transactions(&self, from: Address, pending: bool) -> usize {
        let sent: Vec<Bytes32> = {
            let state = self.state.lock().unwrap();
            let own = state.sent.iter().filter(|sent| sent.from == from);
            own.map(|sent| sent.inner).collect()
        };
        let connection = self.chain.connect(from);
        let mut count = 0;
        for hash in sent {
            let mined = connection.receipt(hash).await.unwrap().is_some();
            count += usize::from(mined || pending);
        }
        count
    }

    async fn send(&self, transaction: &SignedTransaction) -> Result<Value, Value> {
        let hash = transaction.hash();
        if self.inner(hash).is_some() {
            return Err(json!({ "code": -32000, "message": "already known" }));
        }
        let (from, body) = (transaction.sender(), transaction.body());
        let order = Order {
            key: hash,
            to: body.to.unwrap(),
            input: body.input.clone(),
            value: body.value,
        };
        let inner = self.chain.connect(from).submit(&order).await.unwrap();
        let sent = Sent { hash, from, inner };
        self.state.lock().unwrap().sent.push(sent);
        Ok(json!(hash.to_string()))
    }

    async fn receipt(&self, hash: Bytes32) -> Value {
        let Some(inner) = self.inner(hash) else {
            return Value::Null;
        };
        let connection = self.chain.connect(Address::ZERO);
        let Some(mined) = connection.receipt(inner).await.unwrap() else {
            return Value::Null;
        };
        json!({
            "transactionHash": hash.to_string(),
            "blockNumber": format!("{:#x}", mined.block),
            "blockHash": mined.block_hash.to_string(),
            "status": if mined.succeeded { "0x1" } else { "0x0" },
            "logs": [],
        })
    }
}

impl Node {
    /// The node is away when this returns.
    pub(crate) async fn stop(mut self) {
        self.server.abort();
        drop((&mut self.server).await);
    }
}

/// The market as a peer sees it through a node.
pub(crate) fn market_at(node: SocketAddr, market: Address, peer: PeerKey) -> PeerMarket {
    let endpoint = format!("http://{node}").parse().unwrap();
    let config = RpcConfig {
        timeout: Duration::from_secs(2),
        ..RpcConfig::new(CHAIN_ID)
    };
    let chain = RpcChain::new(endpoint, config, Some(wallet()));
    PeerMarket::new(Arc::new(chain), market, peer)
}

fn describe(head: Head, fault: Option<Fault>) -> Value {
    let lies = fault == Some(Fault::OtherBlock);
    let far = if lies { 1 << 40 } else { 0 };
    let parent = if lies { Bytes32([9; 32]) } else { head.parent };
    json!({
        "number": format!("{:#x}", head.number + far),
        "hash": head.hash.to_string(),
        "parentHash": parent.to_string(),
        "timestamp": format!("{:#x}", head.timestamp + far),
        "baseFeePerGas": format!("{:#x}", U256::from(7)),
    })
}

fn number_of(text: &str) -> u64 {
    u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn bytes_of(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("0x").unwrap();
    data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap()
}

async fn serve(mut stream: TcpStream, ledger: Ledger) {
    let mut buffer = Vec::new();
    while let Some(body) = read_request(&mut stream, &mut buffer).await {
        let Some(text) = ledger.reply(&body).await else {
            std::future::pending::<()>().await;
            return;
        };
        let length = text.len();
        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}");
        if stream.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The body of the next request.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = loop {
        let mut windows = buffer.windows(4);
        if let Some(at) = windows.position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        read_more(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap();
    let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
    while buffer.len() < end + length {
        read_more(stream, buffer).await?;
    }
    Some(buffer.drain(..end + length).skip(end).collect())
}

async fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut part = [0; 4_096];
    let count = stream
        .read(&mut part)
        .await
        .ok()
        .filter(|count| *count > 0)?;
    buffer.extend(&part[..count]);
    Some(())
}
