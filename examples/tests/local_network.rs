//! The main job of `local-network` over real sockets.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use examples::local::{LocalNetwork, random_key, sampler};
use examples::path::StepKind;
use examples::survey::{Question, SERVICE};
use peer_core::client::Client;
use peer_core::host::NativeFunctions;
use tokio::sync::Notify;

async fn client(network: &LocalNetwork) -> Client {
    Client::builder(random_key().unwrap(), network.relay().unwrap())
        .observer(network.recorder())
        .connect()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_peers_answer() {
    let network = LocalNetwork::start(5, |_, builder| builder.service(sampler()))
        .await
        .unwrap();
    let client = client(&network).await;
    let names = network.names().with(client.peer_id(), "client");
    let asked = Question::default().ask(&network, &client).await.unwrap();
    let report = asked.report(&network, &names).await.unwrap();

    assert!(report.missing.is_empty(), "{:?}", report.missing);
    let (headings, rows) = report.rows(&names).unwrap();
    assert_eq!((headings.len(), rows.len()), (5, 5));
    let peers: BTreeSet<&String> = rows.iter().map(|row| &row[0]).collect();
    assert_eq!(peers.len(), 5);
    let sum: u64 = rows.iter().map(|row| row[2].parse::<u64>().unwrap()).sum();
    assert_eq!(report.total(), Some(sum));
    assert!(sum > 0);

    // The client and every peer executed the script, and verified all signatures.
    assert_eq!(report.path.peers().len(), 6);
    assert!(report.path.is_verified());
    let measured = report.path.steps().iter().filter(|step| {
        matches!(&step.kind, StepKind::Called { function, ok: true, .. } if function == "sampler.measure")
    });
    assert_eq!(measured.count(), 5);
    client.stop().await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_dies_in_the_middle_is_reported_and_the_others_go_on() {
    const VICTIM: usize = 3;
    let reached = Arc::new(Notify::new());
    let network = LocalNetwork::start(5, |index, builder| {
        if index != VICTIM {
            return builder.service(sampler());
        }
        // This one takes the question, says so, and never answers.
        let reached = reached.clone();
        let functions = NativeFunctions::new().with_async(SERVICE, "measure", move |_| {
            reached.notify_one();
            pending()
        });
        builder.functions(Arc::new(functions))
    })
    .await
    .unwrap();
    let client = client(&network).await;
    let names = network.names();
    let question = Question {
        patience: Duration::from_secs(3),
        ..Question::default()
    };
    let asked = question.ask(&network, &client).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), reached.notified())
        .await
        .unwrap();
    network.peers()[VICTIM].stop().await;

    let report = asked.report(&network, &names).await.unwrap();
    let (_, rows) = report.rows(&names).unwrap();
    let answered: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(answered, ["peer 1", "peer 2", "peer 3", "peer 5"]);
    assert_eq!(report.missing.len(), 1);
    assert_eq!(report.missing[0].peer, network.peers()[VICTIM].peer_id());
    assert!(
        report.missing[0].reason.contains("no answer within 3.0 s"),
        "{:?}",
        report.missing
    );
    client.stop().await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_gone_before_is_reported_with_the_reason() {
    let network = LocalNetwork::start(3, |_, builder| builder.service(sampler()))
        .await
        .unwrap();
    let client = client(&network).await;
    let names = network.names();
    let gone = &network.peers()[2];
    gone.stop().await;
    let question = Question {
        patience: Duration::from_secs(8),
        ..Question::default()
    };
    let asked = question.ask(&network, &client).await.unwrap();
    let report = asked.report(&network, &names).await.unwrap();
    assert_eq!(report.missing.len(), 1);
    assert_eq!(report.missing[0].peer, gone.peer_id());
    let reason = &report.missing[0].reason;
    assert!(reason.contains(&gone.peer_id().to_string()), "{reason}");
    assert_eq!(report.rows(&names).unwrap().1.len(), 2);
    client.stop().await;
    network.stop().await;
}
