//! The client of a node against one that stalls, lies, goes backwards and disappears.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

#[path = "rpc/node.rs"]
mod node;

use deal_types::{
    Bytes32, U256,
    chain::{
        Chain, ChainError, ChainEvent, ChainExt, FollowError, Follower, FollowerConfig, LogFilter,
        Order, SignedTransaction, TransactionState, rpc::RpcChain,
    },
    contract::Revert,
};
use node::{CHAIN_ID, CONTRACT, Fault, Node};
use serde_json::json;

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
async fn a_node_of_another_chain_is_not_believed() {
    let node = Node::start(false).await;
    let (chain, mut follower) = (node.chain("http"), follower());
    let wrong = ChainError::ChainId {
        actual: 1,
        expected: CHAIN_ID,
    };
    node.set(|state| state.chain_id = 1);
    let error = follower.step(&chain).await.unwrap_err();
    assert_eq!(error, FollowError::Chain(wrong.clone()));
    assert_eq!(error.to_string(), "chain id is 1 where 31337 was expected");
    assert_eq!(chain.call(CONTRACT, vec![]).await, Err(wrong.clone()));
    node.set(|state| state.chain_id = CHAIN_ID);
    assert_eq!(blocks(&follower.step(&chain).await.unwrap()), [1, 2, 3]);
    // It goes away, and another node comes in its place.
    let (state, address) = node.stop().await;
    follower.step(&chain).await.unwrap_err();
    state.lock().unwrap().chain_id = 1;
    let _node = Node::listen(state, address, false).await;
    assert_eq!(follower.step(&chain).await, Err(FollowError::Chain(wrong)));
}

#[tokio::test]
async fn a_transaction_that_runs_out_of_gas_has_failed() {
    let node = Node::start(false).await;
    let chain = node.chain("http");
    let hash = chain.submit(&order(1)).await.unwrap();
    assert_eq!(
        chain.transaction_state(hash).await,
        Ok(TransactionState::Pending)
    );
    node.set(|state| {
        state.mined.push(hash);
        state.fails = true;
    });
    assert_eq!(
        chain.transaction_state(hash).await,
        Ok(TransactionState::Failed { block: 1 })
    );
    // It is not made a second time on its own.
    assert_eq!(chain.submit(&order(1)).await, Ok(hash));
    node.set(|state| assert_eq!(state.sent.len(), 1));
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
