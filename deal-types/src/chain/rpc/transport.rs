//! Requests over HTTP and WebSocket.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    sync::{
        Arc, Mutex as StdMutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::io::{BufReader, BufWriter};
use futures_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{Mutex, mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::compat::{FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};

use crate::chain::ChainError;

/// A text that names no node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not http(s):// or ws(s):// with a host, an optional port and a path")]
pub struct EndpointError {
    /// The text, cut after 80 characters.
    pub text: String,
}

/// Where a node listens. Its text shows the host only: paths often hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    tls: bool,
    websocket: bool,
    host: String,
    port: u16,
    path: String,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let error = || EndpointError {
            text: crate::primitives::shorten(text),
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(error)?;
        let (tls, websocket) = match scheme {
            "http" => (false, false),
            "https" => (true, false),
            "ws" => (false, true),
            "wss" => (true, true),
            _ => return Err(error()),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at_checked(at).ok_or_else(error)?,
            None => (rest, "/"),
        };
        // The last colon, unless it stands inside the brackets of an address.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| error())?,
            None if tls => 443,
            None => 80,
        };
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b"@/?#\\".contains(&byte);
        if host.is_empty()
            || !host.bytes().all(allowed)
            || !path.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(error());
        }
        Ok(Self {
            tls,
            websocket,
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Endpoint {
    async fn connect(&self) -> Result<Box<dyn Stream>, String> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.port))
            .await
            .map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        if !self.tls {
            return Ok(Box::new(stream));
        }
        let roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        let provider = Arc::new(futures_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector
            .connect(name, stream.compat())
            .await
            .map_err(|e| e.to_string())?;
        Ok(Box::new(stream.compat()))
    }
}

type Waiting = Arc<StdMutex<BTreeMap<u64, oneshot::Sender<Value>>>>;

enum Connection {
    Http(http1::SendRequest<Full<Bytes>>),
    WebSocket {
        outgoing: mpsc::Sender<String>,
        waiting: Waiting,
    },
}

/// A connection that is made again when it breaks.
pub(super) struct Transport {
    endpoint: Endpoint,
    timeout: Duration,
    max_answer: usize,
    next_id: AtomicU64,
    connection: Mutex<Option<Connection>>,
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
            endpoint,
            timeout,
            max_answer,
            next_id: AtomicU64::new(1),
            connection: Mutex::new(None),
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
            if self.endpoint.websocket {
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
                *self.connection.lock().await = None;
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
        let mut kept = self.connection.lock().await;
        let usable = matches!(&*kept, Some(Connection::Http(sender)) if !sender.is_closed());
        if !usable {
            let stream = self.endpoint.connect().await?;
            let (sender, driver) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|e| e.to_string())?;
            tokio::spawn(async move {
                // How the connection ends shows in the requests on it.
                let _ = driver.await;
            });
            *kept = Some(Connection::Http(sender));
        }
        let Some(Connection::Http(sender)) = &mut *kept else {
            return Err("no connection".into());
        };
        let request = Request::post(&self.endpoint.path)
            .header("host", self.endpoint.to_string())
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| e.to_string())?;
        sender.ready().await.map_err(|e| e.to_string())?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|e| e.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), self.max_answer);
        let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
        if !status.is_success() {
            return Err(format!("HTTP status {status}"));
        }
        serde_json::from_slice(&body).map_err(|e| e.to_string())
    }

    async fn over_websocket(&self, id: u64, body: String) -> Result<Value, String> {
        let (answer, place) = oneshot::channel();
        let outgoing = {
            let mut kept = self.connection.lock().await;
            let usable = matches!(&*kept, Some(Connection::WebSocket { outgoing, .. }) if !outgoing.is_closed());
            if !usable {
                *kept = Some(self.open_websocket().await?);
            }
            let Some(Connection::WebSocket { outgoing, waiting }) = &*kept else {
                return Err("no connection".into());
            };
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

    async fn open_websocket(&self) -> Result<Connection, String> {
        use soketto::handshake::{Client, ServerResponse};
        let stream = self.endpoint.connect().await?;
        let stream = BufReader::new(BufWriter::new(stream.compat()));
        let host = self.endpoint.to_string();
        let mut client = Client::new(stream, &host, &self.endpoint.path);
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
        Ok(Connection::WebSocket { outgoing, waiting })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_hide_their_paths() {
        let endpoint: Endpoint = "https://node.example/v3/secret".parse().unwrap();
        assert_eq!(endpoint.to_string(), "node.example:443");
        assert!(!format!("{endpoint:?}").contains("secret"));
        let endpoint: Endpoint = "ws://[::1]:8546".parse().unwrap();
        assert_eq!(
            (
                endpoint.host.as_str(),
                endpoint.port,
                endpoint.path.as_str()
            ),
            ("[::1]", 8546, "/")
        );
        for bad in [
            "",
            "node",
            "ftp://node",
            "http://",
            "http://user@node",
            "http://node:x",
            "http://no de",
            "http://node/a\r\nb",
        ] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }
}
