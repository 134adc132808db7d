//! Blocks from nodes of IPFS, played by a socket.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on ends with a panic"
)]

use std::time::Duration;

use deal_types::{
    Cid,
    chain::rpc::Endpoint,
    distributive::{
        BlockStore, Blocks, Distributive, DistributiveBuilder, FetchError, Limits, LoadError,
        Remote,
    },
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

const TIMEOUT: Duration = Duration::from_millis(500);
const MAX_BLOCK: usize = 1 << 20;

fn example() -> (Cid, Blocks) {
    let mut builder = DistributiveBuilder::new();
    builder.service("a", None, [("a", vec![3; 600_000].as_slice())]);
    builder.build()
}

/// What is said to a request line: status and body; nothing where the node falls silent.
type Answer = Option<(&'static str, Vec<u8>)>;

/// A node that answers so; where it listens.
async fn node(answer: impl Fn(&str) -> Answer + Clone + Send + 'static) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that leaves is no failure of the node.
            tokio::spawn(serve(stream, answer.clone()));
        }
    });
    format!("http://{address}/base").parse().unwrap()
}

async fn serve(stream: TcpStream, answer: impl Fn(&str) -> Answer) -> Result<(), std::io::Error> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            lines.push(line);
        }
        match answer(lines[0].trim_end()) {
            None => drop(stream.read_u8().await),
            Some((status, body)) => {
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&body).await?;
            }
        }
    }
}

fn has(blocks: &Blocks, text: &str) -> Answer {
    let block = text.parse().ok().and_then(|cid: Cid| blocks.get(&cid));
    Some(match block {
        Some(block) => ("200 OK", block.clone()),
        None => ("404 Not Found", b"none".to_vec()),
    })
}

#[tokio::test]
async fn a_distributive_comes_from_a_gateway_or_a_node() {
    let (cid, blocks) = example();
    let served = blocks.clone();
    let gateway = node(move |line| {
        let name = line.strip_prefix("GET /base/ipfs/")?;
        has(&served, name.strip_suffix("?format=raw HTTP/1.1")?)
    });
    let served = blocks.clone();
    let kubo = node(move |line| {
        let name = line.strip_prefix("POST /base/api/v0/block/get?arg=")?;
        has(&served, name.strip_suffix(" HTTP/1.1")?)
    });
    let stores = [
        Remote::gateway(gateway.await, TIMEOUT, MAX_BLOCK),
        Remote::kubo(kubo.await, TIMEOUT, MAX_BLOCK),
    ];
    for store in stores {
        let fetched = Distributive::fetch(&store, cid, Limits::default()).await;
        assert_eq!(fetched.unwrap().files.len(), 1);
        let other = Cid {
            digest: [1; 32],
            ..cid
        };
        assert_eq!(store.block(other).await.unwrap(), None);
        let missing = Distributive::fetch(&store, other, Limits::default()).await;
        assert!(matches!(
            missing,
            Err(FetchError::Load(LoadError::Missing { cid })) if cid == other
        ));
    }
}

#[tokio::test]
async fn nodes_that_fail_are_named() {
    let (cid, _) = example();
    for (answer, text) in [
        (None, "no answer in 500ms"),
        (
            Some(("500 Broken", b"blockstore".to_vec())),
            "HTTP status 500 Internal Server Error: blockstore",
        ),
        (Some(("200 OK", vec![0; MAX_BLOCK + 1])), "limit"),
    ] {
        let endpoint = node(move |_| answer.clone()).await;
        let store = Remote::gateway(endpoint.clone(), TIMEOUT, MAX_BLOCK);
        let error = store.block(cid).await.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
        assert!(
            error.contains(&format!("block {cid} from {endpoint}")),
            "{error}"
        );
    }
    let nobody: Endpoint = "http://127.0.0.1:1".parse().unwrap();
    let store = Remote::kubo(nobody, TIMEOUT, MAX_BLOCK);
    assert!(store.block(cid).await.is_err());
    // What comes is not believed.
    let liar = node(|_| Some(("200 OK", b"lie".to_vec()))).await;
    let store = Remote::gateway(liar, TIMEOUT, MAX_BLOCK);
    let fetched = Distributive::fetch(&store, cid, Limits::default()).await;
    assert!(matches!(
        fetched,
        Err(FetchError::Load(LoadError::WrongHash { length: 3, .. }))
    ));
}
