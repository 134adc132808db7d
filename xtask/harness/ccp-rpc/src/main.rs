//! The published clients of provers, talking to the prover at an address: `ccp-rpc-harness URL`.
//!
//! Each goes through an epoch, and prints a line for what it saw. The first that is not as expected
//! ends the program with an error.

use std::{
    collections::HashMap,
    error::Error,
    time::{Duration, Instant},
};

/// Time for a proof.
const PATIENCE: Duration = Duration::from_secs(300);

/// The same with both versions, whose types have the same names.
macro_rules! client {
    ($name:ident, $client:ident, $shared:ident, $nonce:literal) => {
        mod $name {
            use super::*;
            use $client::CCPRpcHttpClient;
            use $shared::{
                meet_difficulty::MeetDifficulty,
                proof::{BatchRequest, ProofIdx},
                types::{CUID, Difficulty, GlobalNonce},
            };

            pub(super) async fn run(url: &str) -> Result<(), Box<dyn Error>> {
                let client = CCPRpcHttpClient::new(url.to_owned()).await?;
                let nonce = GlobalNonce::new([$nonce; 32]);
                let mut threshold = [0xff; 32];
                threshold[0] = 0x7f;
                let difficulty = Difficulty::new(threshold);
                let unit = CUID::new([2; 32]);
                let allocation = HashMap::from([(0.into(), unit)]);
                client.on_active_commitment(nonce, difficulty, allocation.clone()).await?;
                say("on_active_commitment");

                let end = Instant::now() + PATIENCE;
                let none = HashMap::from([(unit, ProofIdx::zero())]);
                let found = loop {
                    let found = client.get_proofs_after(none.clone(), 10).await?;
                    if found.first().is_some_and(|unit| unit.proof_batches.len() >= 2) {
                        break found;
                    }
                    if Instant::now() > end {
                        return Err("no proofs".into());
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                };
                let proofs = &found[0].proof_batches;
                let right = found.len() == 1
                    && found[0].cu_id == unit
                    && proofs.iter().all(|proof| {
                        proof.id.global_nonce == nonce
                            && proof.id.difficulty == difficulty
                            && proof.cu_id == unit
                            && proof.result_hash.meet_difficulty(&difficulty)
                    })
                    && proofs.windows(2).all(|pair| pair[1].id.after(&pair[0].id));
                if !right {
                    return Err(format!("unexpected proofs: {found:?}").into());
                }
                say("get_proofs_after");

                let rest = client
                    .get_proofs_after(HashMap::from([(unit, proofs[0].id.idx)]), 1)
                    .await?;
                if rest.len() != 1 || rest[0].proof_batches != proofs[1..2] {
                    return Err(format!("unexpected proofs after the first: {rest:?}").into());
                }
                say("get_proofs_after a known one");

                let request = |size| {
                    HashMap::from([(
                        unit,
                        BatchRequest {
                            last_seen_proof_idx: ProofIdx::zero(),
                            proof_batch_size: size,
                        },
                    )])
                };
                let batch = client.get_batch_proofs_after(request(2), 1, 1).await?;
                if batch.len() != 1 || batch[0].proof_batches != proofs[..2] {
                    return Err(format!("unexpected batch: {batch:?}").into());
                }
                let none = client.get_batch_proofs_after(request(100_000), 1, 4).await?;
                if !none.is_empty() {
                    return Err(format!("unexpected batch: {none:?}").into());
                }
                say("get_batch_proofs_after");

                client.realloc_utility_cores(vec![0.into()]).await?;
                say("realloc_utility_cores");

                // Errors arrive as such.
                let unknown = HashMap::from([(1_000_000.into(), unit)]);
                match client.on_active_commitment(nonce, difficulty, unknown).await {
                    Err($client::ClientError::Call(error)) if error.code() == 1 => {}
                    other => return Err(format!("a core that does not exist: {other:?}").into()),
                }
                say("an error");

                client.on_no_active_commitment().await?;
                say("on_no_active_commitment");
                Ok(())
            }

            fn say(what: &str) {
                println!("{}: {what}", stringify!($client));
            }
        }
    };
}

client!(older, ccp_rpc_client_13, ccp_shared_13, 1);
client!(newer, ccp_rpc_client_17, ccp_shared_17, 2);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("expected the address of a prover")?;
    older::run(&url).await?;
    newer::run(&url).await
}
