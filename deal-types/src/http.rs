//! Requests over HTTP, with TLS where asked for.

use std::{fmt, str::FromStr, sync::Arc};

use futures_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Mutex,
};
use tokio_util::compat::{FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};

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

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Endpoint {
    /// What stands behind the host, at least `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it speaks WebSocket.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.websocket
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<Box<dyn Stream>, String> {
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

/// A connection that is made when it is first needed, and made again when it breaks. Requests take
/// turns.
#[derive(Debug)]
pub struct HttpClient {
    endpoint: Endpoint,
    /// The longest answer, in bytes.
    max_answer: usize,
    kept: Mutex<Option<http1::SendRequest<Full<Bytes>>>>,
}

impl HttpClient {
    /// A client of this endpoint that refuses answers of more than `max_answer` bytes.
    #[must_use]
    pub fn new(endpoint: Endpoint, max_answer: usize) -> Self {
        Self {
            endpoint,
            max_answer,
            kept: Mutex::new(None),
        }
    }

    /// Whom it asks.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Gives the connection up, on which an answer may still be under way.
    pub(crate) async fn reset(&self) {
        *self.kept.lock().await = None;
    }

    /// The status and the body of the answer to a POST. How long that takes is for the caller to
    /// bound; given up halfway, it takes the connection along.
    ///
    /// # Errors
    /// What is wrong with the connection, the request or the length of the answer.
    pub async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<(u16, Vec<u8>), String> {
        let request = Request::post(path)
            .header(CONTENT_TYPE, content_type)
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| e.to_string())?;
        let (status, body) = self.send(request).await?;
        Ok((status.as_u16(), body.to_vec()))
    }

    /// The status and the body of the answer.
    pub(crate) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), String> {
        let host = HeaderValue::try_from(self.endpoint.to_string()).map_err(|e| e.to_string())?;
        request.headers_mut().insert(HOST, host);
        let mut kept = self.kept.lock().await;
        // A request that ends halfway takes its connection along.
        let mut sender = match kept.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.open().await?,
        };
        sender.ready().await.map_err(|e| e.to_string())?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|e| e.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), self.max_answer);
        let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
        *kept = Some(sender);
        Ok((status, body))
    }

    async fn open(&self) -> Result<http1::SendRequest<Full<Bytes>>, String> {
        let stream = self.endpoint.connect().await?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| e.to_string())?;
        tokio::spawn(async move {
            // How the connection ends shows in the requests on it.
            let _ = driver.await;
        });
        Ok(sender)
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
