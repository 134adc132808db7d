//! Transactions that are made at most once: nonces, fees, signatures.

use std::collections::BTreeMap;

use serde_json::json;

use super::{RpcChain, convert};
use crate::{
    Bytes32, U256,
    chain::{Chain as _, ChainError, Order, SignedTransaction, UnsignedTransaction, Wallet},
};

/// Orders that are remembered.
const MAX_ORDERS: usize = 4_096;

/// What was sent, by the key of the order.
#[derive(Default)]
pub(super) struct Submissions {
    next_nonce: Option<u64>,
    sent: BTreeMap<Bytes32, Sent>,
    /// Counts orders, to forget the oldest.
    clock: u64,
}

struct Sent {
    /// All have the same nonce, so at most one is mined; the last pays most.
    versions: Vec<SignedTransaction>,
    age: u64,
}

/// What a node says of a transaction that it does not take.
enum Refused {
    /// It has it already.
    Known,
    /// Its nonce is used.
    Nonce,
    Other(ChainError),
}

fn classify(error: ChainError) -> Refused {
    let ChainError::Node { message, .. } = &error else {
        return Refused::Other(error);
    };
    let message = message.to_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if says(&["already known", "already imported", "known transaction"]) {
        Refused::Known
    } else if says(&["nonce too low", "nonce is too low", "invalid nonce"]) {
        Refused::Nonce
    } else {
        Refused::Other(error)
    }
}

impl RpcChain {
    pub(super) async fn submit_locked(
        &self,
        submissions: &mut Submissions,
        order: &Order,
    ) -> Result<Bytes32, ChainError> {
        let Some(wallet) = &self.wallet else {
            return Err(ChainError::NoWallet);
        };
        if let Some(hash) = self.resume(submissions, wallet, order.key).await? {
            return Ok(hash);
        }
        if submissions.sent.len() >= MAX_ORDERS {
            let oldest = submissions.sent.iter().min_by_key(|(_, sent)| sent.age);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                submissions.sent.remove(&key);
            }
        }
        // A nonce may have been used elsewhere meanwhile; then one more attempt has the right one.
        for _ in 0..2 {
            let signed = self.prepare(submissions, wallet, order).await?;
            let hash = signed.hash();
            let nonce = signed.body().nonce;
            submissions.clock += 1;
            let sent = Sent {
                versions: vec![signed.clone()],
                age: submissions.clock,
            };
            // Before it is sent: an answer that gets lost must not make a second transaction.
            submissions.sent.insert(order.key, sent);
            submissions.next_nonce = Some(nonce.saturating_add(1));
            match self.send(&signed).await {
                Ok(()) => return Ok(hash),
                Err(Refused::Known) => return Ok(hash),
                Err(Refused::Other(error)) if error.is_transient() => return Err(error),
                Err(refused) => {
                    submissions.sent.remove(&order.key);
                    submissions.next_nonce = None;
                    if let Refused::Other(error) = refused {
                        return Err(error);
                    }
                }
            }
        }
        Err(ChainError::Node {
            method: "eth_sendRawTransaction",
            code: 0,
            message: "nonce too low, twice".into(),
        })
    }

    /// Goes on with an order that was sent before; `None` if it has to be made anew.
    async fn resume(
        &self,
        submissions: &mut Submissions,
        wallet: &Wallet,
        key: Bytes32,
    ) -> Result<Option<Bytes32>, ChainError> {
        let Some(sent) = submissions.sent.get_mut(&key) else {
            return Ok(None);
        };
        for version in &sent.versions {
            if self.receipt(version.hash()).await?.is_some() {
                return Ok(Some(version.hash()));
            }
        }
        let Some(last) = sent.versions.last().cloned() else {
            return Ok(None);
        };
        let account = wallet.address().to_deal_id();
        let used = self
            .number("eth_getTransactionCount", json!([account, "latest"]))
            .await?;
        if used > U256::from(last.body().nonce) {
            // Another transaction has its nonce, so none of ours can be mined any more.
            submissions.sent.remove(&key);
            submissions.next_nonce = None;
            return Ok(None);
        }
        let (base_fee, _) = self.fees().await?;
        let version = if base_fee > last.body().max_fee_per_gas {
            // The price has risen: the same again for more, at least the eighth that nodes ask for.
            let more = |fee: U256| {
                fee.saturating_add(fee / U256::from(7))
                    .saturating_add(U256::ONE)
            };
            let mut body = last.body().clone();
            body.max_priority_fee_per_gas = more(body.max_priority_fee_per_gas);
            let doubled = base_fee.saturating_add(base_fee);
            body.max_fee_per_gas = more(body.max_fee_per_gas)
                .max(doubled.saturating_add(body.max_priority_fee_per_gas));
            let signed = body.sign(wallet);
            sent.versions.push(signed.clone());
            signed
        } else {
            last
        };
        match self.send(&version).await {
            // A nonce that is used now is ours most likely; the next call finds the receipt.
            Ok(()) | Err(Refused::Known | Refused::Nonce) => Ok(Some(version.hash())),
            Err(Refused::Other(error)) => Err(error),
        }
    }

    /// The price of gas and what is paid on top of it, in wei.
    async fn fees(&self) -> Result<(U256, U256), ChainError> {
        let block = self.block_by(json!("latest")).await?;
        let base_fee = block
            .map(|block| block.base_fee())
            .transpose()?
            .unwrap_or_default();
        let priority = match self.number("eth_maxPriorityFeePerGas", json!([])).await {
            Ok(fee) => fee,
            Err(ChainError::Node { .. }) => self.config.priority_fee,
            Err(error) => return Err(error),
        };
        Ok((base_fee, priority))
    }

    async fn prepare(
        &self,
        submissions: &Submissions,
        wallet: &Wallet,
        order: &Order,
    ) -> Result<SignedTransaction, ChainError> {
        let account = wallet.address();
        let call = convert::call(account, order.to, &order.input, order.value);
        let gas = self.number("eth_estimateGas", json!([call])).await?;
        // A quarter more: the state may change until it is mined.
        let gas = u64::try_from(gas).unwrap_or(u64::MAX);
        let needed = gas.saturating_add(gas / 4);
        if needed > self.config.max_gas {
            return Err(ChainError::Gas {
                needed,
                limit: self.config.max_gas,
            });
        }
        let (base_fee, priority) = self.fees().await?;
        let max_fee = base_fee.saturating_add(base_fee).saturating_add(priority);
        let cost = max_fee
            .saturating_mul(U256::from(needed))
            .saturating_add(order.value);
        let balance = self
            .number("eth_getBalance", json!([account.to_deal_id(), "latest"]))
            .await?;
        if balance < cost {
            return Err(ChainError::Funds {
                account,
                balance,
                needed: cost,
            });
        }
        let count = json!([account.to_deal_id(), "pending"]);
        let count = self.number("eth_getTransactionCount", count).await?;
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        Ok(UnsignedTransaction {
            chain_id: self.config.chain_id,
            nonce: submissions.next_nonce.unwrap_or_default().max(count),
            max_priority_fee_per_gas: priority,
            max_fee_per_gas: max_fee,
            gas_limit: needed,
            to: Some(order.to),
            value: order.value,
            input: order.input.clone(),
        }
        .sign(wallet))
    }

    async fn send(&self, signed: &SignedTransaction) -> Result<(), Refused> {
        const METHOD: &str = "eth_sendRawTransaction";
        let raw = convert::hex_bytes(signed.raw());
        let answer = self.ask(METHOD, json!([raw])).await.map_err(classify)?;
        match convert::word(METHOD, &answer) {
            Ok(hash) if hash == signed.hash() => Ok(()),
            Ok(hash) => Err(Refused::Other(convert::wrong(
                METHOD,
                &format!("the hash {hash} of another transaction"),
            ))),
            Err(error) => Err(Refused::Other(error)),
        }
    }
}
