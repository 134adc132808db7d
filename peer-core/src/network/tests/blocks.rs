//! Blocks that peers give each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::super::{BlockError, BlockProvider, MAX_BLOCK};
use super::*;

/// Gives as many bytes as the identifier says, once it may.
struct Sized {
    asked: AtomicUsize,
    open: Semaphore,
}

impl Sized {
    fn new(open: usize) -> Arc<Self> {
        Arc::new(Self {
            asked: AtomicUsize::new(0),
            open: Semaphore::new(open),
        })
    }
}

#[async_trait]
impl BlockProvider for Sized {
    async fn block(&self, cid: &[u8]) -> Option<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let _open = self.open.acquire().await.unwrap();
        let length = std::str::from_utf8(cid).ok()?.parse().ok()?;
        Some(vec![7; length])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_of_a_connection_give_blocks() {
    let host = node(1).await;
    let client = client(2).await;
    within(client.network.dial(host.websocket())).await.unwrap();
    let ask = |from: &Node, to: &Node, cid: &str| {
        let (network, peer, cid) = (from.network.clone(), to.id(), cid.as_bytes().to_vec());
        async move { within(network.block(&peer, cid)).await }
    };
    // Who provides nothing has nothing.
    assert_eq!(ask(&client, &host, "3").await, Ok(None));
    assert!(host.network.provide_blocks(Sized::new(64)));
    assert!(!host.network.provide_blocks(Sized::new(64)));
    assert!(client.network.provide_blocks(Sized::new(64)));
    for (from, to) in [(&client, &host), (&host, &client)] {
        assert_eq!(ask(from, to, "3").await, Ok(Some(vec![7; 3])));
        assert_eq!(ask(from, to, "0").await, Ok(Some(Vec::new())));
        assert_eq!(ask(from, to, "no number").await, Ok(None));
        let largest = ask(from, to, &MAX_BLOCK.to_string()).await.unwrap();
        assert_eq!(largest.map(|block| block.len()), Some(MAX_BLOCK));
        assert_eq!(ask(from, to, &(MAX_BLOCK + 1).to_string()).await, Ok(None));
        // An identifier is not that long.
        let refused = ask(from, to, &"1".repeat(129)).await;
        assert!(
            matches!(refused, Err(BlockError::NoAnswer { .. })),
            "{refused:?}"
        );
        assert_eq!(ask(from, to, "4").await, Ok(Some(vec![7; 4])));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_answers_only_so_many_at_a_time() {
    let host = node(1).await;
    let provider = Sized::new(0);
    host.network.provide_blocks(provider.clone());
    let mut clients = Vec::new();
    for seed in 0..5 {
        let client = client(10 + seed).await;
        within(client.network.dial(host.tcp())).await.unwrap();
        clients.push(client);
    }
    let asked: Vec<_> = clients
        .iter()
        .flat_map(|client| std::iter::repeat_n(client, 16))
        .map(|client| {
            let (network, peer) = (client.network.clone(), host.id());
            tokio::spawn(async move { network.block(&peer, b"1".to_vec()).await })
        })
        .collect();
    eventually(|| {
        let refused = asked.iter().filter(|task| task.is_finished()).count();
        refused == 16 && provider.asked.load(Ordering::Relaxed) == 64
    })
    .await;
    provider.open.add_permits(64);
    let mut counts = [0, 0];
    for task in asked {
        match within(task).await.unwrap() {
            Ok(Some(block)) => {
                assert_eq!(block, [7]);
                counts[0] += 1;
            }
            Err(BlockError::Busy { .. }) => counts[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(counts, [64, 16]);
    // There is room again.
    let again = within(clients[0].network.block(&host.id(), b"2".to_vec())).await;
    assert_eq!(again, Ok(Some(vec![7; 2])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_peer_is_named() {
    let mut config = config();
    config.kademlia.query_timeout = HumanDuration::from_millis(200);
    let host = start(1, config, Role::Host).await.unwrap();
    let nobody = KeyPair::from_seed(&[77; 32]).peer_id();
    let failed = within(host.network.block(&nobody, b"1".to_vec())).await;
    match failed {
        Err(BlockError::Unreachable { peer, .. }) => assert_eq!(peer, nobody.to_string()),
        other => panic!("{other:?}"),
    }
}
