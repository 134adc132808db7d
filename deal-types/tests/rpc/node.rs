//! A node that does what nodes should not: it stalls, lies, forgets and disappears.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use deal_types::{
    Address, Bytes32,
    chain::{
        Head, SignedTransaction, Wallet,
        rpc::{RpcChain, RpcConfig},
    },
    keccak256,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::compat::TokioAsyncReadCompatExt;

pub(crate) const CHAIN_ID: u64 = 31_337;
pub(crate) const CONTRACT: Address = Address([0x44; 20]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
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
pub(crate) struct State {
    pub(crate) blocks: Vec<Head>,
    pub(crate) fault: Option<Fault>,
    /// What is read and acted on, but not answered.
    pub(crate) lose: Option<&'static str>,
    pub(crate) sent: Vec<SignedTransaction>,
    pub(crate) mined: Vec<Bytes32>,
    /// Whether what is mined runs out of gas.
    pub(crate) fails: bool,
    pub(crate) used_nonces: u64,
    pub(crate) refuse: Option<Value>,
    pub(crate) chain_id: u64,
    pub(crate) gas: u64,
    pub(crate) base_fee: u64,
    pub(crate) poor: bool,
    pub(crate) requests: usize,
}

impl State {
    /// A block with one log entry.
    pub(crate) fn mine(&mut self, branch: u8) {
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
                        "status": if self.fails { "0x0" } else { "0x1" },
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

pub(crate) struct Node {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Node {
    pub(crate) async fn start(websocket: bool) -> Self {
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

    pub(crate) async fn listen(
        state: Arc<Mutex<State>>,
        address: SocketAddr,
        websocket: bool,
    ) -> Self {
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
    pub(crate) async fn stop(self) -> (Arc<Mutex<State>>, SocketAddr) {
        self.server.abort();
        let _ = self.server.await;
        (self.state, self.address)
    }

    pub(crate) fn chain(&self, scheme: &str) -> RpcChain {
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

    pub(crate) fn set(&self, change: impl FnOnce(&mut State)) {
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
