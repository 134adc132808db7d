//! The steps of a provider at a market.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{process::Command, sync::Arc, time::Duration};

use deal_types::{Address, PeerKey, U256};
use examples::{
    market::ledger::{Ledger, STAKER},
    provider::{OfferTerms, Provider},
};
use particle::KeyPair;

const ACCOUNT: Address = Address([0x21; 20]);

#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_to_a_commitment_that_is_paid() {
    let ledger = Arc::new(Ledger::new(&[ACCOUNT]).await.unwrap());
    let miner = ledger.clone();
    let mining = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            miner.mine();
        }
    });
    let id = KeyPair::from_seed(&[1; 32]).peer_id();
    let peer = PeerKey::from_peer_id_bytes(&id.to_bytes()).unwrap();
    let (own, staker) = (ledger.connect(ACCOUNT), ledger.connect(STAKER));
    let provider = Provider::new(&own, ledger.market(), peer);
    let standing = provider.standing().await.unwrap();
    assert_eq!((standing.offer, standing.commitment), (None, None));
    let early = provider.deposit().await.unwrap_err().to_string();
    assert_eq!(early, "the peer has no commitment to pay for");

    let terms = OfferTerms {
        name: "somebody".to_owned(),
        units: 3,
        price: U256::from(5_u64),
        token: ledger.token(),
        protocol: 1,
    };
    let none = OfferTerms {
        units: 0,
        ..terms.clone()
    };
    let refused = provider.offer(&none).await.unwrap_err().to_string();
    assert_eq!(refused, "0 units, expected 1 to 1024");
    let unknown = OfferTerms {
        token: ACCOUNT,
        ..terms.clone()
    };
    let refused = provider.offer(&unknown).await.unwrap_err().to_string();
    assert!(
        refused.starts_with("registerMarketOffer: the contract refused"),
        "{refused}"
    );
    let offer = provider.offer(&terms).await.unwrap();
    // The same peer cannot be offered twice.
    assert!(provider.offer(&terms).await.is_err());
    let commitment = provider.commit(100, STAKER, 3_000_000).await.unwrap();
    let standing = provider.standing().await.unwrap();
    assert_eq!(standing.offer, Some((offer, U256::from(5_u64))));
    let waiting = (commitment, "WaitDelegation".to_owned());
    assert_eq!(standing.commitment, Some(waiting));
    assert_eq!(standing.units.len(), 3);

    let before = ledger.native(STAKER);
    let paid = Provider::new(&staker, ledger.market(), peer)
        .deposit()
        .await;
    let paid = paid.unwrap();
    assert_eq!(ledger.native(STAKER), before.saturating_sub(paid));
    let standing = provider.standing().await.unwrap();
    let (_, status) = standing.commitment.clone().unwrap();
    assert_ne!(status, "WaitDelegation");
    assert_eq!(standing.unlocked, Some((U256::ZERO, U256::ZERO)));
    let shown = standing.to_string();
    assert_eq!(shown.matches(": free").count(), 3, "{shown}");
    mining.abort();
}

#[test]
fn what_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("peer.toml");
    let run = |text: &str, wallet: &[&str]| {
        std::fs::write(&config, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_provider"))
            .arg("--config")
            .arg(&config)
            .args(wallet)
            .arg("status")
            .output()
            .unwrap();
        assert!(!output.status.success());
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, said) = run("tcp_port = 7001", &[]);
    assert_eq!(code, Some(2));
    assert!(said.contains("has no table [chain_config]"), "{said}");
    let chain = |endpoint: &str, key: &str| {
        format!(
            "data_dir = {:?}\n[chain_config]\nhttp_endpoint = \"{endpoint}\"\n\
             diamond_contract_address = \"0x{}\"\nnetwork_id = 1\nwallet_key = \"{key}\"\n",
            folder.path(),
            "ab".repeat(20)
        )
    };
    let key = "11".repeat(32);
    let (_, said) = run(&chain("nowhere", &key), &[]);
    assert!(
        said.contains("chain_config.http_endpoint: \"nowhere\""),
        "{said}"
    );
    let (_, said) = run(&chain("http://127.0.0.1:1", "short"), &[]);
    assert!(said.contains("chain_config.wallet_key: "), "{said}");
    let (_, said) = run(
        &chain("http://127.0.0.1:1", &key),
        &["--wallet", "/nowhere"],
    );
    assert!(said.contains("/nowhere: "), "{said}");
    let (code, said) = run(&chain("http://127.0.0.1:1", &key), &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("is not reachable"), "{said}");
}
