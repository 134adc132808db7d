//! A web page that shows a network at work: peers and their connections, particles on their way,
//! and what happened to each of them when.
//!
//! The peers run in this process, on loopback, and clients keep them busy. All that the page knows
//! comes from the peers' own events: an observer of any peer can feed such a page.
//!
//! stdout has `http ADDRESS`, then `ready`. SIGINT and SIGTERM stop the network.

mod board;
mod server;
mod work;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use examples::failure::{Failure, Result, exit};
use examples::local::{self, LocalNetwork};
use examples::{log, signals::StopSignals};
use peer_core::client::Client;

use self::board::Board;

/// How often the page learns what is new.
const TICK: Duration = Duration::from_millis(100);
/// How often connections are looked at, in ticks.
const LOOK_AT_LINKS: u32 = 10;

/// Starts a network that works, and a web page that shows it.
#[derive(Parser)]
#[command(name = "network-explorer", version)]
struct Options {
    /// How many peers to start.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
    peers: u16,
    /// How many clients give them work.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=20))]
    clients: u16,
    /// Milliseconds from one particle of a client to its next one.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(10..))]
    pause: u64,
    /// Address and port of the page; port 0 is any.
    #[arg(long, default_value = "127.0.0.1:8090")]
    http: SocketAddr,
    /// What to log to stderr.
    #[arg(long, default_value = "error")]
    log: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    log::to_stderr(&options.log);
    exit(run(&options).await)
}

async fn run(options: &Options) -> Result<()> {
    let mut signals = StopSignals::listen().map_err(Failure::new)?;
    let named = |error: std::io::Error| Failure::new(format_args!("{}: {error}", options.http));
    let listener = tokio::net::TcpListener::bind(options.http).await;
    let listener = listener.map_err(named)?;
    let address = listener.local_addr().map_err(named)?;

    let board = Arc::new(Board::default());
    let network = LocalNetwork::start_unrecorded(options.peers.into(), |_, builder| {
        builder.service(local::sampler()).observer(board.clone())
    });
    let network = network.await?;
    for (index, id) in network.ids().into_iter().enumerate() {
        board.add_peer(id, &format!("peer {}", index + 1));
    }
    let clients = clients(options.clients.into(), &network, &board).await?;

    let mut stdout = std::io::stdout();
    // Whoever started the program may not be interested.
    let _ = writeln!(stdout, "http {address}\nready").and_then(|()| stdout.flush());
    let work = clients.iter().enumerate().map(|(index, client)| {
        let pause = Duration::from_millis(options.pause);
        work::keep_busy(client, network.ids(), index, pause)
    });
    let served = axum::serve(listener, server::router(board.clone())).into_future();
    tokio::select! {
        served = served => served.map_err(Failure::new)?,
        () = signals.received() => {}
        () = keep_current(&board, &network) => {}
        _ = futures::future::join_all(work), if !clients.is_empty() => {}
    }
    futures::future::join_all(clients.iter().map(|client| client.stop())).await;
    network.stop().await;
    Ok(())
}

/// Clients of different peers.
async fn clients(
    count: usize,
    network: &LocalNetwork,
    board: &Arc<Board>,
) -> Result<Vec<Arc<Client>>> {
    let mut clients = Vec::new();
    for index in 0..count {
        let peers = network.peers();
        let relay = peers.get(index * peers.len() / count);
        let addresses = relay.map(|relay| relay.network().listen_addresses());
        let address = addresses.and_then(|addresses| addresses.first());
        let address = address.ok_or_else(|| Failure::new("a peer does not listen"))?;
        let client = Client::builder(local::random_key()?, address).observer(board.clone());
        let client = client.connect().await.map_err(Failure::new)?;
        board.add_client(client.peer_id(), &format!("client {}", index + 1));
        clients.push(Arc::new(client));
    }
    Ok(clients)
}

/// Tells the page what is new.
async fn keep_current(board: &Board, network: &LocalNetwork) {
    let mut ticks = tokio::time::interval(TICK);
    for tick in 0_u32.. {
        ticks.tick().await;
        if tick.is_multiple_of(LOOK_AT_LINKS) {
            board.connected(network.peers().iter().flat_map(|peer| {
                let (peer, others) = (peer.peer_id(), peer.network().connected_peers());
                others.into_iter().map(move |other| (peer, other))
            }));
        }
        board.publish();
    }
}
