//! HTTP around JSON-RPC and the metrics.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
    serve::Listener,
};
use sha3::Digest as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{rpc, websocket};
use crate::service::Service;

/// The most bytes of a request.
pub(super) const MAX_REQUEST: usize = 1 << 20;
/// The time that a request may take to arrive, or an answer to be taken.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Connections of an endpoint at a time.
const MAX_CONNECTIONS: usize = 256;
/// As Prometheus expects it.
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a request needs.
#[derive(Clone)]
pub(super) struct Shared {
    service: Arc<Service>,
    /// Requests that may wait.
    queue: Arc<Semaphore>,
    /// The hash of the token, so that comparing takes the same time for every token.
    token: Option<[u8; 32]>,
}

/// Serves JSON-RPC until `shutdown`.
pub(super) async fn serve_rpc(
    listener: TcpListener,
    service: Arc<Service>,
    queue: usize,
    token: Option<&str>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let shared = Shared {
        service,
        queue: Arc::new(Semaphore::new(queue.min(Semaphore::MAX_PERMITS))),
        token: token.map(fingerprint),
    };
    let router = Router::new()
        .route("/", get(websocket::open).post(answer))
        .with_state(shared);
    serve(listener, router, shutdown).await
}

/// Serves metrics until `shutdown`.
pub(super) async fn serve_metrics(
    listener: TcpListener,
    service: Arc<Service>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let metrics = |State(service): State<Arc<Service>>| async move {
        ([(header::CONTENT_TYPE, METRICS)], service.view().metrics())
    };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .with_state(service);
    serve(listener, router, shutdown).await
}

async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = Limited {
        listener,
        places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
    };
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown)
        .await
}

/// A listener for so many connections at a time; others wait.
struct Limited {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

/// A connection with its place.
struct Connection {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            // Nobody closes it.
            return std::future::pending().await;
        };
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let connection = Connection {
            stream,
            _place: place,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Listens, or says where it cannot.
pub(super) async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Err(refusal) = shared.allow(&parts.headers) {
        return refusal.into_response();
    }
    // Pages of browsers cannot send this to another origin unasked.
    if !is_json(&parts.headers) {
        let reason = "expected content-type application/json";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, reason).into_response();
    }
    let body = match read(body).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    match shared.answer(body).await {
        Ok(Some(text)) => json(text),
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Err(Panicked) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A request whose answer nobody knows any more.
pub(super) struct Panicked;

async fn read(body: Body) -> Result<Bytes, Response> {
    match timeout(PATIENCE, to_bytes(body, MAX_REQUEST)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => {
            let reason = format!("expected a request of at most {MAX_REQUEST} bytes");
            Err((StatusCode::PAYLOAD_TOO_LARGE, reason).into_response())
        }
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT.into_response()),
    }
}

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// The answer to who has no token.
pub(super) struct Unauthorized;

impl IntoResponse for Unauthorized {
    fn into_response(self) -> Response {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        let reason = "a bearer token is needed";
        (StatusCode::UNAUTHORIZED, challenge, reason).into_response()
    }
}

impl Shared {
    /// Refuses who does not have the token, where there is one.
    pub(super) fn allow(&self, headers: &HeaderMap) -> Result<(), Unauthorized> {
        let Some(token) = self.token else {
            return Ok(());
        };
        let given = headers.get(header::AUTHORIZATION);
        let given = given.and_then(|given| given.to_str().ok());
        let allowed = given
            .and_then(|given| given.strip_prefix("Bearer "))
            .is_some_and(|given| fingerprint(given.trim()) == token);
        match allowed {
            true => Ok(()),
            false => Err(Unauthorized),
        }
    }

    /// The answer to a request; nothing when nobody waits for one.
    pub(super) async fn answer(&self, request: Bytes) -> Result<Option<String>, Panicked> {
        let Ok(permit) = Arc::clone(&self.queue).try_acquire_owned() else {
            let reason = "too many requests wait: try again later";
            return Ok(Some(rpc::refused(reason)));
        };
        let service = Arc::clone(&self.service);
        // Saving waits for the disk.
        let answered = tokio::task::spawn_blocking(move || {
            let answer = rpc::answer(&service, &request);
            drop(permit);
            answer
        });
        answered.await.map_err(|_| Panicked)
    }
}

fn fingerprint(token: &str) -> [u8; 32] {
    sha3::Keccak256::digest(token).into()
}
