//! The client of a node against one that stalls, lies, goes backwards and disappears.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use deal_types::{
    Address, Bytes32, U256,
    chain::{
        Chain, ChainError, ChainEvent, FollowError, Follower, FollowerConfig, Head, LogFilter,
        Order, SignedTransaction, Wallet,
        rpc::{RpcChain, RpcConfig},
    },
    contract::Revert,
    keccak256,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::compat::TokioAsyncReadCompatExt;

const CHAIN_ID: u64 = 31_337;
const CONTRACT: Address = Address([0x44; 20]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Requests are read and never answered.
    Stall,
    /// Log entries are those of another block.
    OtherLogs,
    /// The block is another than the one that was asked for.
    OtherBlock,
    /// A number over 256 bits.
    Overflow,
    /// Not JSON.
    Garbage,
    /// Log entries of a contract that was not asked for.
    Uninvited,
}

#[derive(Default)]
struct State {
    blocks: Vec<Head>,
    fault: Option<Fault>,
    /// What is read and acted on, but not answered.
    lose: Option<&'static str>,
    sent: Vec<SignedTransaction>,
    mined: Vec<Bytes32>,
    used_nonces: u64,
    refuse: Option<Value>,
    chain_id: u64,
    gas: u64,
    base_fee: u64,
    poor: bool,
    requests: usize,
}

impl State {
    /// A block with one log entry.
    fn mine(&mut self, branch: u8) {
        let parent = self.blocks.last().copied().unwrap_or_default();
        let number = parent.number + 1;
        self.blocks.push(Head {
            number,
            hash: keccak256(&[&parent.hash.0[..], &[branch]].concat()),
            parent: parent.hash,
            timestamp: 1_000 + 5 * number,
        });
    }

    fn block(&self, head: &Head) -> Value {
        json!({
            "number": format!("{:#x}", head.number),
            "hash": head.hash.to_string(),
            "parentHash": head.parent.to_string(),
            "timestamp": format!("{:#x}", head.timestamp),
            "baseFeePerGas": format!("{:#x}", self.base_fee),
        })
    }

    fn find(&self, tag: &Value) -> Option<&Head> {
        match tag.as_str()? {
            "latest" => self.blocks.last(),
            text => {
                let number = u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()?;
                self.blocks.iter().find(|head| head.number == number)
            }
        }
    }

    fn answer(&mut self, method: &str, params: &Value) -> Result<Value, Value> {
        self.requests += 1;
        if self.fault == Some(Fault::Overflow) && method != "eth_getLogs" {
            return Ok(json!(format!("0x1{}", "0".repeat(64))));
        }
        Ok(match method {
            "eth_chainId" => json!(format!("{:#x}", self.chain_id)),
            "eth_getBlockByNumber" => {
                let other = self.fault == Some(Fault::OtherBlock) && params[0] != "latest";
                let tag = if other {
                    json!("0x1")
                } else {
                    params[0].clone()
                };
                self.find(&tag).map_or(Value::Null, |head| self.block(head))
            }
            "eth_getLogs" => {
                let filter = &params[0];
                let number = |name: &str| {
                    u64::from_str_radix(&filter[name].as_str().unwrap()[2..], 16).unwrap()
                };
                let range = number("fromBlock")..=number("toBlock");
                let logs = self
                    .blocks
                    .iter()
                    .filter(|head| range.contains(&head.number))
                    .map(|head| {
                        let hash = match self.fault {
                            Some(Fault::OtherLogs) => Bytes32([9; 32]),
                            _ => head.hash,
                        };
                        let address = match self.fault {
                            Some(Fault::Uninvited) => Address([1; 20]),
                            _ => CONTRACT,
                        };
                        json!({
                            "address": address.to_deal_id(),
                            "topics": [Bytes32([7; 32]).to_string()],
                            "data": "0x",
                            "blockNumber": format!("{:#x}", head.number),
                            "blockHash": hash.to_string(),
                            "transactionHash": Bytes32([3; 32]).to_string(),
                            "logIndex": "0x0",
                        })
                    });
                logs.collect()
            }
            "eth_estimateGas" => json!(format!("{:#x}", self.gas)),
            "eth_maxPriorityFeePerGas" => json!("0x2"),
            "eth_getBalance" => json!(if self.poor {
                "0x5"
            } else {
                "0xffffffffffffffffffff"
            }),
            "eth_getTransactionCount" => json!(format!("{:#x}", self.used_nonces)),
            "eth_sendRawTransaction" => {
                let raw = hex::decode(&params[0].as_str().unwrap()[2..]).unwrap();
                let transaction = SignedTransaction::decode(&raw).unwrap();
                let hash = transaction.hash();
                if let Some(error) = self.refuse.take() {
                    return Err(error);
                }
                if self.sent.iter().any(|known| known.hash() == hash) {
                    return Err(json!({ "code": -32000, "message": "already known" }));
                }
                self.sent.push(transaction);
                json!(hash.to_string())
            }
            "eth_getTransactionReceipt" => {
                let hash: Bytes32 = params[0].as_str().unwrap().parse().unwrap();
                match self.mined.contains(&hash) {
                    true => json!({
                        "transactionHash": hash.to_string(),
                        "blockNumber": "0x1",
                        "blockHash": Bytes32([1; 32]).to_string(),
                        "status": "0x1",
                        "logs": [],
                    }),
                    false => Value::Null,
                }
            }
            "eth_call" => match self.refuse.take() {
                Some(error) => return Err(error),
                None => json!("0x01"),
            },
            "eth_subscribe" => json!("0x1"),
            other => {
                return Err(json!({ "code": -32601, "message": format!("{other} is unknown") }));
            }
        })
    }
}

struct Node {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Node {
    async fn start(websocket: bool) -> Self {
        let mut state = State {
            chain_id: CHAIN_ID,
            gas: 21_000,
            base_fee: 7,
            ..State::default()
        };
        for _ in 0..3 {
            state.mine(0);
        }
        Self::listen(
            Arc::new(Mutex::new(state)),
            "127.0.0.1:0".parse().unwrap(),
            websocket,
        )
        .await
    }

    async fn listen(state: Arc<Mutex<State>>, address: SocketAddr, websocket: bool) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = state.clone();
        let server = tokio::spawn(async move {
            // Connections end with the task that serves them.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let state = shared.clone();
                if websocket {
                    connections.spawn(serve_websocket(stream, state));
                } else {
                    connections.spawn(serve_http(stream, state));
                }
            }
        });
        Self {
            state,
            address,
            server,
        }
    }

    /// The node disappears; its state stays.
    async fn stop(self) -> (Arc<Mutex<State>>, SocketAddr) {
        self.server.abort();
        let _ = self.server.await;
        (self.state, self.address)
    }

    fn chain(&self, scheme: &str) -> RpcChain {
        let endpoint = format!("{scheme}://{}/path", self.address).parse().unwrap();
        let config = RpcConfig {
            timeout: Duration::from_millis(300),
            poll: Duration::from_secs(60),
            max_gas: 100_000,
            ..RpcConfig::new(CHAIN_ID)
        };
        RpcChain::new(
            endpoint,
            config,
            Some(Wallet::from_bytes(&[0x46; 32]).unwrap()),
        )
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }
}

/// The answer, or `None` where the node says nothing.
fn reply(state: &Mutex<State>, body: &[u8]) -> Option<String> {
    let request: Value = serde_json::from_slice(body).unwrap();
    let method = request["method"].as_str().unwrap();
    let mut state = state.lock().unwrap();
    if state.fault == Some(Fault::Stall) {
        return None;
    }
    let answer = state.answer(method, &request["params"]);
    if state.lose == Some(method) {
        state.lose = None;
        return None;
    }
    if state.fault == Some(Fault::Garbage) {
        return Some("{".into());
    }
    let id = &request["id"];
    Some(match answer {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string(),
        Err(error) => json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string(),
    })
}

async fn serve_http(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let mut part = [0; 4_096];
            match stream.read(&mut part).await {
                Ok(count) if count > 0 => buffer.extend(&part[..count]),
                _ => return,
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        while buffer.len() < end + length {
            let mut part = [0; 4_096];
            match stream.read(&mut part).await {
                Ok(count) if count > 0 => buffer.extend(&part[..count]),
                _ => return,
            }
        }
        let body: Vec<u8> = buffer.drain(..end + length).skip(end).collect();
        let Some(text) = reply(&state, &body) else {
            std::future::pending::<()>().await;
            return;
        };
        let response = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        if stream.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn serve_websocket(stream: TcpStream, state: Arc<Mutex<State>>) {
    use soketto::handshake::{Server, server::Response};
    let mut server = Server::new(stream.compat());
    let key = server.receive_request().await.unwrap().key();
    let accept = Response::Accept {
        key,
        protocol: None,
    };
    server.send_response(&accept).await.unwrap();
    let (mut sender, mut receiver) = server.into_builder().finish();
    let mut message = Vec::new();
    let mut known = state.lock().unwrap().blocks.len();
    loop {
        // A new block is told together with the next answer.
        if receiver.receive_data(&mut message).await.is_err() {
            return;
        }
        let Some(text) = reply(&state, &message) else {
            std::future::pending::<()>().await;
            return;
        };
        message.clear();
        let _ = sender.send_text(text).await;
        let now = state.lock().unwrap().blocks.len();
        if now != known {
            known = now;
            let notice = json!({ "jsonrpc": "2.0", "method": "eth_subscription", "params": {} });
            let _ = sender.send_text(notice.to_string()).await;
        }
        let _ = sender.flush().await;
    }
}

fn follower() -> Follower {
    let filter = LogFilter {
        addresses: vec![CONTRACT],
        topics: vec![vec![Bytes32([7; 32])]],
    };
    Follower::new(
        filter,
        1,
        FollowerConfig {
            depth: 8,
            batch: 100,
        },
    )
}

fn blocks(events: &[ChainEvent]) -> Vec<u64> {
    let number = |event: &ChainEvent| match event {
        ChainEvent::Block(head) => Some(head.number),
        _ => None,
    };
    events.iter().filter_map(number).collect()
}

/// What is said when the node has one more block and does not answer.
async fn stalled(node: &Node, chain: &RpcChain, follower: &mut Follower) -> String {
    node.set(|state| {
        state.mine(0);
        state.fault = Some(Fault::Stall);
    });
    let error = follower.step(chain).await.unwrap_err();
    assert!(
        matches!(&error, FollowError::Chain(error) if error.is_transient()),
        "{error}"
    );
    error.to_string()
}

#[tokio::test]
async fn a_node_that_stalls_and_disappears() {
    let node = Node::start(false).await;
    let (chain, mut follower) = (node.chain("http"), follower());
    assert_eq!(blocks(&follower.step(&chain).await.unwrap()), [1, 2, 3]);
    let error = stalled(&node, &chain, &mut follower).await;
    assert!(error.contains("was not answered in 300ms"), "{error}");
    node.set(|state| state.fault = None);
    assert_eq!(blocks(&follower.step(&chain).await.unwrap()), [4]);
    let (state, address) = node.stop().await;
    assert!(matches!(
        follower.step(&chain).await,
        Err(FollowError::Chain(ChainError::Unreachable { .. }))
    ));
    state.lock().unwrap().mine(0);
    let _node = Node::listen(state, address, false).await;
    assert_eq!(blocks(&follower.step(&chain).await.unwrap()), [5]);
}

#[tokio::test]
async fn a_node_that_lies() {
    let node = Node::start(false).await;
    let (chain, mut follower) = (node.chain("http"), follower());
    for (fault, expected) in [
        (Fault::OtherLogs, "log 0 of block 0x0909"),
        (Fault::Uninvited, "log 0 that was not asked for"),
    ] {
        node.set(|state| state.fault = Some(fault));
        let error = follower.step(&chain).await.unwrap_err();
        assert!(
            matches!(error, FollowError::Inconsistent { number: 1, .. }),
            "{error}"
        );
        assert!(error.to_string().contains(expected), "{error}");
    }
    node.set(|state| state.fault = Some(Fault::OtherBlock));
    let error = follower.step(&chain).await.unwrap_err();
    assert!(
        matches!(error, FollowError::Inconsistent { number: 2, .. }),
        "{error}"
    );
    for (fault, expected) in [
        (Fault::Overflow, "eth_getBlockByNumber answered"),
        (Fault::Garbage, "EOF"),
    ] {
        node.set(|state| state.fault = Some(fault));
        let error = follower.step(&chain).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    // Nothing of it was believed.
    node.set(|state| state.fault = None);
    assert_eq!(blocks(&follower.step(&chain).await.unwrap()), [1, 2, 3]);
}

#[tokio::test]
async fn a_chain_that_goes_backwards() {
    let node = Node::start(false).await;
    let (chain, mut follower) = (node.chain("http"), follower());
    follower.step(&chain).await.unwrap();
    node.set(|state| state.blocks.truncate(2));
    assert_eq!(follower.step(&chain).await.unwrap(), []);
    node.set(|state| {
        state.blocks.truncate(1);
        for _ in 0..3 {
            state.mine(1);
        }
    });
    let events = follower.step(&chain).await.unwrap();
    let undone = events
        .iter()
        .filter(|event| matches!(event, ChainEvent::Undone(_)))
        .count();
    assert_eq!((undone, blocks(&events)), (2, vec![2, 3, 4]));
    // Deeper than what is kept.
    for _ in 0..12 {
        node.set(|state| state.mine(1));
        follower.step(&chain).await.unwrap();
    }
    node.set(|state| {
        state.blocks.truncate(3);
        for _ in 0..20 {
            state.mine(2);
        }
    });
    let error = follower.step(&chain).await.unwrap_err();
    assert!(
        matches!(error, FollowError::TooDeep { depth: 8, .. }),
        "{error}"
    );
}

fn order(key: u8) -> Order {
    Order {
        key: Bytes32([key; 32]),
        to: CONTRACT,
        input: vec![1, 2, 3, 4],
        value: U256::ZERO,
    }
}

#[tokio::test]
async fn a_transaction_whose_answer_is_lost_is_made_once() {
    let node = Node::start(false).await;
    let chain = node.chain("http");
    node.set(|state| state.lose = Some("eth_sendRawTransaction"));
    let error = chain.submit(&order(1)).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let hash = chain.submit(&order(1)).await.unwrap();
    assert_eq!(chain.submit(&order(1)).await, Ok(hash));
    // The next one has the next nonce, although nothing is mined.
    let second = chain.submit(&order(2)).await.unwrap();
    node.set(|state| {
        let nonces: Vec<u64> = state.sent.iter().map(|sent| sent.body().nonce).collect();
        assert_eq!(nonces, [0, 1]);
        assert_eq!(state.sent[0].hash(), hash);
        assert_eq!(state.sent[0].body().max_fee_per_gas, U256::from(16));
        assert_eq!(state.sent[0].body().gas_limit, 26_250);
        assert_eq!(state.sent[0].sender(), chain.account());
        state.mined.push(hash);
        state.used_nonces = 1;
        // Gas becomes dearer than the second one offers: it is sent again for more.
        state.base_fee = 1_000;
    });
    assert_eq!(chain.submit(&order(1)).await, Ok(hash));
    assert_eq!(chain.receipt(second).await, Ok(None));
    let dearer = chain.submit(&order(2)).await.unwrap();
    assert_ne!(dearer, second);
    node.set(|state| {
        let last = state.sent.last().unwrap().body();
        assert_eq!((last.nonce, state.sent.len()), (1, 3));
        assert!(last.max_fee_per_gas > U256::from(2_000));
        // The old version is mined after all.
        state.mined.push(second);
        state.used_nonces = 2;
    });
    assert_eq!(chain.submit(&order(2)).await, Ok(second));
    assert!(
        chain
            .receipt(second)
            .await
            .unwrap()
            .is_some_and(|mined| mined.succeeded)
    );
}

#[tokio::test]
async fn a_nonce_that_another_program_used() {
    let node = Node::start(false).await;
    let chain = node.chain("http");
    node.set(|state| {
        state.refuse = Some(json!({ "code": -32000, "message": "nonce too low: next nonce 4" }))
    });
    chain.submit(&order(1)).await.unwrap();
    // The first was never mined, and its nonce is gone: the order is made anew.
    node.set(|state| state.used_nonces = 5);
    chain.submit(&order(1)).await.unwrap();
    node.set(|state| {
        let nonces: Vec<u64> = state.sent.iter().map(|sent| sent.body().nonce).collect();
        assert_eq!(nonces, [0, 5]);
    });
}

#[tokio::test]
async fn orders_that_cannot_be_made() {
    let node = Node::start(false).await;
    node.set(|state| state.chain_id = 1);
    let chain = node.chain("http");
    let wrong = ChainError::ChainId {
        actual: 1,
        expected: CHAIN_ID,
    };
    assert_eq!(chain.submit(&order(1)).await, Err(wrong));
    node.set(|state| {
        state.chain_id = CHAIN_ID;
        state.poor = true;
    });
    let error = chain.submit(&order(1)).await.unwrap_err();
    assert!(
        matches!(error, ChainError::Funds { balance, .. } if balance == U256::from(5)),
        "{error}"
    );
    node.set(|state| {
        state.poor = false;
        state.gas = 90_000;
    });
    let error = chain.submit(&order(1)).await.unwrap_err();
    assert_eq!(
        error,
        ChainError::Gas {
            needed: 112_500,
            limit: 100_000
        }
    );
    node.set(|state| {
        state.gas = 21_000;
        state.refuse = Some(json!({ "code": -32000, "message": "out of gas" }));
    });
    let error = chain.submit(&order(1)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "eth_sendRawTransaction was refused with code -32000: out of gas"
    );
    // None of them left a trace: the next attempt is the first.
    chain.submit(&order(1)).await.unwrap();
    node.set(|state| assert_eq!(state.sent[0].body().nonce, 0));
}

#[tokio::test]
async fn refusals_of_contracts_are_read() {
    let node = Node::start(false).await;
    let chain = node.chain("http");
    let revert = Revert::Message {
        message: "Peer doesn't exist".into(),
    };
    for data in [
        json!(format!("0x{}", hex::encode(revert.encode()))),
        json!({ "data": format!("0x{}", hex::encode(revert.encode())) }),
    ] {
        node.set(|state| {
            state.refuse = Some(json!({ "code": 3, "message": "execution reverted", "data": data }))
        });
        assert_eq!(
            chain.call(CONTRACT, vec![]).await,
            Err(ChainError::Revert(revert.clone()))
        );
    }
    node.set(|state| {
        state.refuse = Some(json!({ "code": 3, "message": "", "data": "0x01020304" }))
    });
    let error = chain.call(CONTRACT, vec![]).await.unwrap_err();
    assert_eq!(
        error,
        ChainError::UnknownRevert {
            data: "01020304".into()
        }
    );
    assert_eq!(chain.call(CONTRACT, vec![]).await, Ok(vec![1]));
}

#[tokio::test]
async fn a_transaction_that_is_mined_twice_or_never() {
    let node = Node::start(false).await;
    let chain = node.chain("http");
    let hash = chain.submit(&order(1)).await.unwrap();
    // Forgotten by the node again and again: the same transaction is sent, never a second one.
    for _ in 0..3 {
        node.set(|state| state.sent.clear());
        assert_eq!(chain.submit(&order(1)).await, Ok(hash));
        assert_eq!(chain.receipt(hash).await, Ok(None));
    }
    // Mined, taken back with its block, and mined in another one.
    for _ in 0..2 {
        node.set(|state| {
            state.mined.push(hash);
            state.used_nonces = 1;
        });
        assert_eq!(chain.submit(&order(1)).await, Ok(hash));
        assert!(chain.receipt(hash).await.unwrap().is_some());
        node.set(|state| {
            state.mined.clear();
            state.sent.clear();
            state.used_nonces = 0;
        });
        assert_eq!(chain.receipt(hash).await, Ok(None));
        assert_eq!(chain.submit(&order(1)).await, Ok(hash));
        node.set(|state| {
            let sent: Vec<_> = state.sent.iter().map(SignedTransaction::hash).collect();
            assert_eq!(sent, [hash]);
        });
    }
}

#[tokio::test]
async fn old_blocks_are_read_at_once() {
    let node = Node::start(false).await;
    let (chain, mut follower) = (node.chain("http"), follower());
    node.set(|state| {
        for _ in 0..90 {
            state.mine(0);
        }
        state.requests = 0;
    });
    let mut logs = Vec::new();
    while !follower.is_at(&chain.head().await.unwrap()) {
        for event in follower.step(&chain).await.unwrap() {
            if let ChainEvent::Log(log) = event {
                logs.push(log.block);
            }
        }
    }
    assert_eq!(logs, Vec::from_iter(1..=93));
    // Only blocks that can be taken back are asked for one by one.
    node.set(|state| assert!(state.requests < 40, "{}", state.requests));
}

#[tokio::test]
async fn a_websocket_that_says_nothing() {
    let node = Node::start(true).await;
    let (chain, mut follower) = (node.chain("ws"), follower());
    assert_eq!(blocks(&follower.step(&chain).await.unwrap()), [1, 2, 3]);
    stalled(&node, &chain, &mut follower).await;
    // The next request has a connection of its own.
    node.set(|state| state.fault = None);
    assert_eq!(blocks(&follower.step(&chain).await.unwrap()), [4]);
}

#[tokio::test]
async fn over_websocket_too() {
    let node = Node::start(true).await;
    let (chain, mut follower) = (node.chain("ws"), follower());
    assert_eq!(blocks(&follower.step(&chain).await.unwrap()), [1, 2, 3]);
    node.set(|state| state.mine(0));
    let (events, ()) = tokio::join!(follower.step(&chain), chain.changed());
    assert_eq!(blocks(&events.unwrap()), [4]);
    let (state, address) = node.stop().await;
    assert!(matches!(
        follower.step(&chain).await,
        Err(FollowError::Chain(ChainError::Unreachable { .. }))
    ));
    state.lock().unwrap().mine(0);
    let _node = Node::listen(state, address, true).await;
    assert_eq!(blocks(&follower.step(&chain).await.unwrap()), [5]);
}
