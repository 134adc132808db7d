//! The routes of a gateway.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use futures::stream::{self, BoxStream, StreamExt as _};
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::functions::{self, CallFailure, Caller, Event, Function, ListenerConfig, Started};
use crate::limits::{Keys, Refusal};
use crate::openapi;

/// Longest body of a request, in bytes.
const MAX_BODY: usize = 1 << 20;
/// Longest time in which a body arrives.
const MAX_READ: Duration = Duration::from_secs(10);
/// Events that wait for a reader; the script waits when there are more.
const MAX_EVENTS: usize = 64;

/// What a gateway is made of.
pub(crate) struct Parts {
    pub(crate) functions: Vec<Function>,
    pub(crate) listeners: Vec<ListenerConfig>,
    pub(crate) keys: Keys,
    pub(crate) max_calls: usize,
}

/// What a gateway offers: parts that fit together.
pub(crate) struct Offer {
    functions: BTreeMap<String, Function>,
    /// Functions by their routes.
    listeners: BTreeMap<String, String>,
    keys: Keys,
    calls: Arc<Semaphore>,
    document: Value,
}

/// What the routes share.
struct Gateway {
    offer: Offer,
    caller: Arc<dyn Caller>,
}

impl Offer {
    /// The error says what does not fit together.
    pub(crate) fn new(parts: Parts) -> Result<Self, String> {
        let mut functions = BTreeMap::new();
        for function in parts.functions {
            if let Some(other) = functions.insert(function.name.clone(), function) {
                return Err(format!("there are two functions `{}`", other.name));
            }
        }
        let mut listeners = BTreeMap::new();
        for ListenerConfig { route, function } in parts.listeners {
            check_listener(&route, &function, &functions)
                .map_err(|error| format!("route `{route}`: {error}"))?;
            if listeners.insert(route.clone(), function).is_some() {
                return Err(format!("there are two listeners at `{route}`"));
            }
        }
        let max = Semaphore::MAX_PERMITS;
        if parts.max_calls == 0 || parts.max_calls > max {
            let given = parts.max_calls;
            return Err(format!("max_calls is {given}, expected 1 to {max}"));
        }
        Ok(Self {
            document: openapi::document(&functions, &listeners, !parts.keys.is_empty()),
            functions,
            listeners,
            keys: parts.keys,
            calls: Arc::new(Semaphore::new(parts.max_calls)),
        })
    }

    /// Whether everybody may call.
    pub(crate) fn is_open(&self) -> bool {
        self.keys.is_empty()
    }
}

fn check_listener(
    route: &str,
    function: &str,
    functions: &BTreeMap<String, Function>,
) -> Result<(), String> {
    let is_plain = route.starts_with('/') && !route.contains(['{', '}', '*']);
    let is_own = ["/health", "/openapi.json"].contains(&route) || route.starts_with("/call/");
    if !is_plain || is_own {
        return Err("expected a path like /hooks/push".to_owned());
    }
    let known = functions.get(function);
    let known = known.ok_or_else(|| format!("there is no function `{function}`"))?;
    known
        .read_request(functions::request("POST", route, "", ""))
        .map(drop)
}

/// The routes.
pub(crate) fn router(offer: Offer, caller: Arc<dyn Caller>) -> Router {
    let routes = Router::new()
        .route("/health", get(|| async { "ok\n" }))
        .route("/openapi.json", get(describe))
        .route("/call/{function}", post(call));
    let listeners = offer.listeners.keys();
    let routes = listeners.fold(routes, |routes, route| routes.route(route, any(listen)));
    routes
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(Gateway { offer, caller }))
}

async fn describe(State(gateway): State<Arc<Gateway>>) -> Json<Value> {
    Json(gateway.offer.document.clone())
}

async fn call(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let answer = gateway.call(&name, request).await;
    answer.unwrap_or_else(Failure::response)
}

async fn listen(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let answer = gateway.listen(request).await;
    answer.unwrap_or_else(Failure::response)
}

/// The body, if it arrives.
async fn read(request: Request) -> Result<Bytes, Failure> {
    match tokio::time::timeout(MAX_READ, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) => Err(Failure::Body(rejection.status(), rejection.body_text())),
        Err(_) => {
            let text = format!("the body did not arrive in {} s", MAX_READ.as_secs());
            Err(Failure::Body(StatusCode::REQUEST_TIMEOUT, text))
        }
    }
}

/// Why a request has no answer.
enum Failure {
    Refused(Refusal),
    NoFunction(String),
    Body(StatusCode, String),
    Input(String),
    Busy,
    Call(CallFailure),
}

impl From<CallFailure> for Failure {
    fn from(failure: CallFailure) -> Self {
        Self::Call(failure)
    }
}

impl Failure {
    fn response(self) -> Response {
        let (status, error) = match self {
            Self::Refused(Refusal::Unknown) => {
                let text = "expected a known key in the header x-api-key";
                (StatusCode::UNAUTHORIZED, json!(text))
            }
            Self::Refused(Refusal::TooMany(wait)) => {
                let seconds = wait.as_secs().saturating_add(1);
                let error = Json(json!({ "error": "too many calls with this key" }));
                let after = (header::RETRY_AFTER, HeaderValue::from(seconds));
                return (StatusCode::TOO_MANY_REQUESTS, [after], error).into_response();
            }
            Self::NoFunction(name) => {
                let text = format!("there is no function `{name}`");
                (StatusCode::NOT_FOUND, json!(text))
            }
            Self::Body(status, text) => (status, json!(text)),
            Self::Input(text) => (StatusCode::BAD_REQUEST, json!(text)),
            Self::Busy => {
                let text = "too many calls at a time";
                (StatusCode::SERVICE_UNAVAILABLE, json!(text))
            }
            Self::Call(failure) => {
                let status = match failure {
                    CallFailure::Expired => StatusCode::GATEWAY_TIMEOUT,
                    CallFailure::Script(_) | CallFailure::NotSent(_) => StatusCode::BAD_GATEWAY,
                };
                (status, failed(failure))
            }
        };
        (status, Json(json!({ "error": error }))).into_response()
    }
}

fn failed(failure: CallFailure) -> Value {
    match failure {
        CallFailure::Script(error) => error,
        CallFailure::Expired => json!("the function took longer than it may"),
        CallFailure::NotSent(reason) => json!(reason),
    }
}

impl Gateway {
    /// Counts the request; the permit is kept as long as its call runs.
    fn admit(&self, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, Failure> {
        let admitted = self.offer.keys.admit(key(headers), Instant::now());
        admitted.map_err(Failure::Refused)?;
        let permit = self.offer.calls.clone().try_acquire_owned();
        permit.map_err(|_| Failure::Busy)
    }

    async fn call(&self, name: &str, request: Request) -> Result<Response, Failure> {
        let permit = self.admit(request.headers())?;
        let function = self.offer.functions.get(name);
        let function = function.ok_or_else(|| Failure::NoFunction(name.to_owned()))?;
        let with_events = wants_events(request.headers());
        let body = read(request).await?;
        let given: Map<String, Value> = serde_json::from_slice(&body)
            .map_err(|error| Failure::Input(format!("the body is no JSON object: {error}")))?;
        let arguments = function.read(&given).map_err(Failure::Input)?;
        if !with_events {
            let started = self.caller.start(function, arguments, None).await?;
            let result = started.result().await?;
            return Ok(Json(function.result(result)).into_response());
        }
        let (sender, receiver) = mpsc::channel(MAX_EVENTS);
        let started = self.caller.start(function, arguments, Some(sender)).await?;
        let events = events(function.clone(), receiver, started, permit);
        let response = Sse::new(events).keep_alive(KeepAlive::default());
        Ok(response.into_response())
    }

    async fn listen(&self, request: Request) -> Result<Response, Failure> {
        let permit = self.admit(request.headers())?;
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let listener = self.offer.listeners.get(uri.path());
        let function = listener.and_then(|name| self.offer.functions.get(name));
        let function = function.ok_or_else(|| Failure::NoFunction(uri.path().to_owned()))?;
        let body = read(request).await?;
        let request = functions::request(
            method.as_str(),
            uri.path(),
            uri.query().unwrap_or_default(),
            &String::from_utf8_lossy(&body),
        );
        let arguments = function.read_request(request).map_err(Failure::Input)?;
        let started = self.caller.start(function, arguments, None).await?;
        let particle = started.particle().to_owned();
        let (route, id) = (uri.path().to_owned(), particle.clone());
        // Who sent the request does not wait.
        tokio::spawn(async move {
            if let Err(failure) = started.result().await {
                tracing::warn!(%route, particle = %id, ?failure, "a listener's function failed");
            }
            drop(permit);
        });
        Ok((StatusCode::ACCEPTED, Json(json!({ "particle": particle }))).into_response())
    }
}

fn key(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    text("x-api-key").or_else(|| text("authorization")?.strip_prefix("Bearer "))
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/event-stream"))
}

/// The events of a call and, last, its result or its error.
fn events(
    function: Function,
    receiver: mpsc::Receiver<Event>,
    started: Box<dyn Started>,
    permit: OwnedSemaphorePermit,
) -> BoxStream<'static, Result<sse::Event, Infallible>> {
    let end = async move {
        let end = started.result().await;
        drop(permit);
        end
    };
    let state = (receiver, Some(Box::pin(end)), None);
    let all = stream::unfold(state, |(mut receiver, mut end, mut last)| async move {
        loop {
            // Events that were made before the end are sent before it.
            if last.is_some() {
                return match receiver.try_recv() {
                    Ok(event) => Some((Item::Event(event), (receiver, end, last))),
                    Err(_) => last.take().map(|last| {
                        receiver.close();
                        (Item::End(last), (receiver, None, None))
                    }),
                };
            }
            let running = end.as_mut()?;
            tokio::select! {
                biased;
                Some(event) = receiver.recv() => {
                    return Some((Item::Event(event), (receiver, end, last)));
                }
                ended = running => {
                    end = None;
                    last = Some(ended);
                }
            }
        }
    });
    all.map(move |item| Ok(item.message(&function))).boxed()
}

enum Item {
    Event(Event),
    End(Result<Value, CallFailure>),
}

impl Item {
    fn message(self, function: &Function) -> sse::Event {
        let (name, data) = match self {
            Self::Event(Event { name, values }) => {
                let data = function.event(&name, values);
                (name, data)
            }
            Self::End(Ok(result)) => ("result".to_owned(), function.result(result)),
            Self::End(Err(failure)) => ("error".to_owned(), failed(failure)),
        };
        // JSON in one line: no text can look like the end of a message.
        sse::Event::default().event(name).data(data.to_string())
    }
}

#[cfg(test)]
mod tests;
