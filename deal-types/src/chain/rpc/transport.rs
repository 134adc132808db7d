//! Requests over HTTP and WebSocket.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex as StdMutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::io::{BufReader, BufWriter};
use http_body_util::Full;
use hyper::{Request, body::Bytes};
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use crate::{
    chain::ChainError,
    http::{Endpoint, HttpClient},
};

type Waiting = Arc<StdMutex<BTreeMap<u64, oneshot::Sender<Value>>>>;

struct WebSocket {
    outgoing: mpsc::Sender<String>,
    waiting: Waiting,
}

/// A connection that is made again when it breaks.
pub(super) struct Transport {
    endpoint: Endpoint,
    timeout: Duration,
    max_answer: usize,
    next_id: AtomicU64,
    http: HttpClient,
    websocket: Mutex<Option<WebSocket>>,
    /// Counts blocks that the node told of.
    notices: watch::Sender<u64>,
}

/// Requests that wait to be written.
const QUEUE: usize = 64;
/// How long a connection may take to close.
const CLOSING: Duration = Duration::from_secs(5);

impl Transport {
    pub(super) fn new(endpoint: Endpoint, timeout: Duration, max_answer: usize) -> Self {
        Self {
            http: HttpClient::new(endpoint.clone(), max_answer),
            endpoint,
            timeout,
            max_answer,
            next_id: AtomicU64::new(1),
            websocket: Mutex::new(None),
            notices: watch::Sender::new(0),
        }
    }

    /// Returns when the node tells of a block; over HTTP it never does.
    pub(super) async fn notified(&self) {
        let mut notices = self.notices.subscribe();
        // The sender is ours.
        let _ = notices.changed().await;
    }

    /// The whole answer to a request. A broken connection is made again by the next one.
    pub(super) async fn request(
        &self,
        method: &'static str,
        params: &Value,
    ) -> Result<Value, ChainError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let body = body.to_string();
        let exchange = async {
            if self.endpoint.is_websocket() {
                self.over_websocket(id, body).await
            } else {
                self.over_http(body).await
            }
        };
        let outcome = match timeout(self.timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("{method} was not answered in {:?}", self.timeout)),
        };
        let unreachable = |reason| ChainError::Unreachable {
            endpoint: self.endpoint.to_string(),
            reason,
        };
        let answer = match outcome {
            Ok(answer) => answer,
            Err(reason) => {
                self.http.reset().await;
                *self.websocket.lock().await = None;
                return Err(unreachable(reason));
            }
        };
        if answer.get("id") != Some(&json!(id)) {
            return Err(super::convert::wrong(
                method,
                "the answer to another request",
            ));
        }
        Ok(answer)
    }

    async fn over_http(&self, body: String) -> Result<Value, String> {
        let request = Request::post(self.endpoint.path())
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| e.to_string())?;
        let (status, body) = self.http.send(request).await?;
        if !status.is_success() {
            return Err(format!("HTTP status {status}"));
        }
        serde_json::from_slice(&body).map_err(|e| e.to_string())
    }

    async fn over_websocket(&self, id: u64, body: String) -> Result<Value, String> {
        let (answer, place) = oneshot::channel();
        let outgoing = {
            let mut kept = self.websocket.lock().await;
            let usable = kept.take().filter(|open| !open.outgoing.is_closed());
            let open = match usable {
                Some(open) => open,
                None => self.open_websocket().await?,
            };
            let WebSocket { outgoing, waiting } = kept.insert(open);
            waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(id, answer);
            outgoing.clone()
        };
        outgoing.send(body).await.map_err(|_| "connection closed")?;
        // The reader drops what waits when the connection ends.
        place.await.map_err(|_| "connection closed".to_owned())
    }

    async fn open_websocket(&self) -> Result<WebSocket, String> {
        use soketto::handshake::{Client, ServerResponse};
        let stream = self.endpoint.connect().await?;
        let stream = BufReader::new(BufWriter::new(stream.compat()));
        let host = self.endpoint.to_string();
        let mut client = Client::new(stream, &host, self.endpoint.path());
        match client.handshake().await.map_err(|e| e.to_string())? {
            ServerResponse::Accepted { .. } => {}
            other => return Err(format!("the handshake was answered with {other:?}")),
        }
        let mut builder = client.into_builder();
        builder.set_max_message_size(self.max_answer);
        let (mut sender, mut receiver) = builder.finish();
        let (outgoing, mut queue) = mpsc::channel::<String>(QUEUE);
        let waiting = Waiting::default();
        // Each end of the connection ends with the other: a node that says nothing closes nothing.
        let (ended, mut end) = watch::channel(());
        let (written, mut writing) = watch::channel(());
        tokio::spawn(async move {
            let _written = written;
            loop {
                let text = tokio::select! {
                    text = queue.recv() => text,
                    _ = end.changed() => None,
                };
                let Some(text) = text else { break };
                if sender.send_text(text).await.is_err() || sender.flush().await.is_err() {
                    break;
                }
            }
            // The node may be gone already, or take no more.
            let _ = timeout(CLOSING, sender.close()).await;
        });
        let (answers, notices) = (waiting.clone(), self.notices.clone());
        tokio::spawn(async move {
            let mut message = Vec::new();
            loop {
                let received = tokio::select! {
                    received = receiver.receive_data(&mut message) => received.is_ok(),
                    _ = writing.changed() => false,
                };
                if !received {
                    break;
                }
                let parsed: Result<Value, _> = serde_json::from_slice(&message);
                message.clear();
                let Ok(answer) = parsed else { break };
                let id = answer.get("id").and_then(Value::as_u64);
                let place = id.and_then(|id| {
                    answers
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&id)
                });
                match place {
                    // One who does not wait any more does not need it.
                    Some(place) => drop(place.send(answer)),
                    None if answer.get("method").is_some() => {
                        notices.send_modify(|count| *count += 1)
                    }
                    None => {}
                }
            }
            answers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
            drop(ended);
        });
        // Blocks are told from now on; a node that cannot is asked from time to time.
        let subscribe =
            json!({ "jsonrpc": "2.0", "id": 0, "method": "eth_subscribe", "params": ["newHeads"] });
        outgoing
            .send(subscribe.to_string())
            .await
            .map_err(|_| "connection closed")?;
        Ok(WebSocket { outgoing, waiting })
    }
}
