//! A prover behind JSON-RPC (§3).

use std::{
    collections::BTreeMap,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use ccp::{BatchRequest, BatchResponse, LogicalCore, ProofIndex, UnitId, prover::Commitment};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};

use super::{CapacityError, CapacityProver};

/// Characters of a foreign text that are shown.
const SHOWN: usize = 300;

/// How a prover is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteProverConfig {
    /// `http://`, a host, and a port unless it is 80.
    pub address: String,
    /// What it wants to see of those who ask.
    pub bearer_token: Option<String>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// The longest answer, in bytes.
    pub max_answer: usize,
}

impl RemoteProverConfig {
    /// No token, ten seconds, 16 MiB.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            bearer_token: None,
            timeout: Duration::from_secs(10),
            max_answer: 16 << 20,
        }
    }
}

impl fmt::Debug for RemoteProverConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteProverConfig")
            .field("address", &self.address)
            .field("bearer_token", &self.bearer_token.as_ref().map(|_| "…"))
            .field("timeout", &self.timeout)
            .field("max_answer", &self.max_answer)
            .finish()
    }
}

/// A prover in another process: ours, or a published one of version 0.13 or later. Each request has
/// a connection of its own.
#[derive(Debug)]
pub struct RemoteProver {
    config: RemoteProverConfig,
    /// Host and port.
    authority: String,
    next_id: AtomicU64,
}

#[derive(Deserialize)]
struct Answer {
    id: Value,
    #[serde(default)]
    result: Value,
    error: Option<ErrorObject>,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: i64,
    #[serde(default)]
    message: String,
}

impl RemoteProver {
    /// A prover that is connected to when it is asked something.
    ///
    /// # Errors
    /// A text that is no address.
    pub fn new(config: RemoteProverConfig) -> Result<Self, CapacityError> {
        let wrong = || CapacityError::Address {
            text: config.address.chars().take(80).collect(),
        };
        let authority = config.address.strip_prefix("http://").ok_or_else(wrong)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b"@/?#\\".contains(&byte);
        if authority.is_empty() || !authority.bytes().all(allowed) {
            return Err(wrong());
        }
        // The last colon, unless it stands inside the brackets of an address.
        let port = authority
            .rsplit_once(':')
            .filter(|(_, port)| !port.contains(']'));
        let authority = match port {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                authority.to_owned()
            }
            Some(_) => return Err(wrong()),
            None => format!("{authority}:80"),
        };
        Ok(Self {
            authority,
            config,
            next_id: AtomicU64::new(1),
        })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, CapacityError> {
        let unreachable = |reason: String| CapacityError::Unreachable {
            prover: self.authority.clone(),
            method,
            reason,
        };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let answer = match timeout(self.config.timeout, self.exchange(request.to_string())).await {
            Ok(answer) => answer.map_err(unreachable)?,
            Err(_) => {
                let reason = format!("no answer in {:?}", self.config.timeout);
                return Err(unreachable(reason));
            }
        };
        if let Some(error) = answer.error {
            return Err(CapacityError::Refused {
                prover: self.authority.clone(),
                method,
                code: error.code,
                message: error.message.chars().take(SHOWN).collect(),
            });
        }
        if answer.id != id {
            return Err(unreachable("the answer to another request".to_owned()));
        }
        serde_json::from_value(answer.result).map_err(|error| unreachable(error.to_string()))
    }

    async fn exchange(&self, body: String) -> Result<Answer, String> {
        let text = |error: &dyn fmt::Display| error.to_string();
        let stream = TcpStream::connect(&self.authority)
            .await
            .map_err(|e| text(&e))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| text(&e))?;
        let mut request = Request::post("/")
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.config.bearer_token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| text(&e))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|e| text(&e))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), self.config.max_answer);
            let body = body.collect().await.map_err(|e| text(&e))?.to_bytes();
            match status.is_success() {
                true => serde_json::from_slice(&body).map_err(|e| text(&e)),
                false => Err(format!("HTTP status {status}")),
            }
        };
        // The connection lives as long as this exchange, also where nobody waits for it any more.
        tokio::pin!(exchange, connection);
        tokio::select! {
            answer = &mut exchange => answer,
            // It can end just before its answer is read.
            ended = &mut connection => match exchange.await {
                Err(reason) => Err(ended.map_or_else(|e| text(&e), |()| reason)),
                answer => answer,
            },
        }
    }
}

#[async_trait]
impl CapacityProver for RemoteProver {
    async fn commit(&self, commitment: &Commitment) -> Result<(), CapacityError> {
        let params = json!({
            "global_nonce": commitment.epoch.global_nonce,
            "difficulty": commitment.epoch.difficulty,
            "cu_allocation": commitment.allocation,
        });
        self.ask("ccp_on_active_commitment", params).await
    }

    async fn withdraw(&self) -> Result<(), CapacityError> {
        self.ask("ccp_on_no_active_commitment", json!([])).await
    }

    async fn proofs_after(
        &self,
        known: &BTreeMap<UnitId, ProofIndex>,
        limit: usize,
    ) -> Result<Vec<BatchResponse>, CapacityError> {
        let known = by_text(known);
        self.ask("ccp_get_proofs_after", json!([known, limit]))
            .await
    }

    async fn batches(
        &self,
        requests: &BTreeMap<UnitId, BatchRequest>,
        min: usize,
        max: usize,
    ) -> Result<Vec<BatchResponse>, CapacityError> {
        let requests = by_text(requests);
        self.ask("ccp_get_batch_proofs_after", json!([requests, min, max]))
            .await
    }

    async fn set_utility_cores(&self, cores: &[LogicalCore]) -> Result<(), CapacityError> {
        let params = json!({ "utility_core_ids": cores });
        self.ask("ccp_realloc_utility_cores", params).await
    }
}

/// The same with keys of JSON.
fn by_text<V>(map: &BTreeMap<UnitId, V>) -> BTreeMap<String, &V> {
    map.iter()
        .map(|(unit, value)| (unit.to_string(), value))
        .collect()
}
