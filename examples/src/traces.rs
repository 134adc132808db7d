//! Traces of a peer on their way to a collector of OpenTelemetry, or to stdout.
//!
//! The peer puts its spans into a queue and goes on. A thread of their own takes them out in batches;
//! what does not fit into the queue is dropped, so a collector that is slow or away costs nothing but
//! its spans. Batches are OTLP in JSON: the body of a POST, or a line of stdout.

mod json;

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deal_types::http::{Endpoint, HttpClient};
use particle::PeerId;
use peer_core::config::{TracingConfig, TracingType};
use peer_core::otel::Traces;
use peer_core::otel::opentelemetry::KeyValue;
use peer_core::otel::opentelemetry_sdk::Resource;
use peer_core::otel::opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use peer_core::otel::opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use tokio::runtime::Handle;

use crate::failure::{Failure, Result};

/// Spans that wait to be sent, of a few KiB each at most.
const QUEUE: usize = 4_096;
/// Spans that are sent at a time.
const BATCH: usize = 512;
/// The longest time that a span waits for others.
const DELAY: Duration = Duration::from_secs(2);
/// How long a collector may take for a batch.
const PATIENCE: Duration = Duration::from_secs(3);
/// Before a batch is sent again that the collector did not answer, or not yet.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];
/// How long the end of a peer may be held up by the last spans.
const LAST: Duration = Duration::from_secs(2);
/// The longest answer of a collector, in bytes.
const MAX_ANSWER: usize = 64 << 10;
/// Where collectors take spans.
const PATH: &str = "/v1/traces";
/// What it is called in the configuration.
const KEY: &str = "tracing.endpoint";

/// The way out of the spans of one peer.
pub struct TraceExport {
    provider: SdkTracerProvider,
}

/// Says whether the collector's address can be used.
///
/// # Errors
/// It is not a URL of HTTP.
pub fn check(config: &TracingConfig) -> Result<()> {
    endpoint(config).map(drop)
}

impl TraceExport {
    /// Opens the way that the configuration wants, if it wants one, on the current runtime of tokio,
    /// which has to have threads.
    ///
    /// # Errors
    /// As [`check`].
    pub fn start(config: &TracingConfig, peer: PeerId) -> Result<Option<Self>> {
        let target = match config.r#type {
            TracingType::Disabled => return Ok(None),
            TracingType::Otlp => Target::Collector(Collector::new(endpoint(config)?)),
            TracingType::Stdout => Target::Stdout,
            other => return Err(Failure::input(format_args!("no traces of type {other:?}"))),
        };
        tracing::info!("traces go to {target}");
        let exporter = Exporter {
            resource: serde_json::Value::Null,
            well: AtomicBool::new(true),
            target,
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(batches)
            .build();
        let about = [
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", peer.to_string()),
        ];
        let resource = Resource::builder_empty()
            .with_service_name("aquamarine-peer")
            .with_attributes(about)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::TraceIdRatioBased(config.sample_ratio.get()))
            .with_resource(resource)
            .with_span_processor(processor)
            .build();
        Ok(Some(Self { provider }))
    }

    /// What writes the spans of the peer.
    pub fn observer(&self) -> Arc<Traces> {
        Arc::new(Traces::new(&self.provider))
    }

    /// Sends what is left, for a second or two at most.
    pub async fn stop(self) {
        // The thread is waited for, by one that has nothing else to do.
        let stopping = move || self.provider.shutdown_with_timeout(LAST);
        match tokio::task::spawn_blocking(stopping).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the last spans were not sent: {error}"),
            Err(error) => tracing::warn!("the last spans were not sent: {error}"),
        }
    }
}

fn endpoint(config: &TracingConfig) -> Result<Endpoint> {
    let refused = |reason: String| {
        Failure::input(format_args!(
            "the configuration key `{KEY}`: {reason}; expected http(s)://HOST:PORT"
        ))
    };
    let parsed = config.endpoint.parse();
    let endpoint: Endpoint =
        parsed.map_err(|error: deal_types::http::EndpointError| refused(error.to_string()))?;
    match endpoint.is_websocket() {
        true => Err(refused("a WebSocket takes no traces".to_owned())),
        false => Ok(endpoint),
    }
}

/// Writes batches of spans, in the thread of the queue.
#[derive(Debug)]
struct Exporter {
    /// Whose spans they are.
    resource: serde_json::Value,
    /// Whether the last batch was taken: what is logged is that this changes.
    well: AtomicBool,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Stdout,
    Collector(Collector),
}

/// A collector behind HTTP.
#[derive(Debug)]
struct Collector {
    client: Arc<HttpClient>,
    runtime: Handle,
}

/// What became of a batch.
enum Outcome {
    Taken,
    Refused(String),
    /// It may be taken another time.
    NotNow(String),
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let text = json::request(&self.resource, &batch).to_string();
        let outcome = match &self.target {
            Target::Stdout => write_line(&text).map_err(|error| error.to_string()),
            Target::Collector(collector) => collector.send(text.into_bytes()).await,
        };
        let was_well = self.well.swap(outcome.is_ok(), Ordering::Relaxed);
        match &outcome {
            Ok(()) if !was_well => tracing::info!("{} takes spans again", self.target),
            Err(reason) if was_well => {
                tracing::warn!(
                    "{} takes no spans, which are dropped until it does: {reason}",
                    self.target
                );
            }
            _ => {}
        }
        outcome.map_err(OTelSdkError::InternalFailure)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = json::resource(resource);
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => formatter.write_str("stdout"),
            Self::Collector(to) => write!(formatter, "the collector at {}", to.client.endpoint()),
        }
    }
}

fn write_line(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

impl Collector {
    fn new(endpoint: Endpoint) -> Self {
        Self {
            client: Arc::new(HttpClient::new(endpoint, MAX_ANSWER)),
            runtime: Handle::current(),
        }
    }

    async fn send(&self, body: Vec<u8>) -> std::result::Result<(), String> {
        // The thread that waits here is none of tokio's.
        let sending = self.runtime.spawn(deliver(self.client.clone(), body));
        sending.await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// Sends a batch until it is taken, a few times.
async fn deliver(client: Arc<HttpClient>, body: Vec<u8>) -> std::result::Result<(), String> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let reason = match post(&client, body.clone()).await {
            Outcome::Taken => return Ok(()),
            Outcome::Refused(reason) => return Err(reason),
            Outcome::NotNow(reason) => reason,
        };
        match pauses.next() {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(reason),
        }
    }
}

async fn post(client: &HttpClient, body: Vec<u8>) -> Outcome {
    let path = match client.endpoint().path() {
        "/" => PATH,
        path => path,
    };
    let answer = client.post(path, "application/json", body);
    match tokio::time::timeout(PATIENCE, answer).await {
        Err(_) => Outcome::NotNow(format!("no answer in {PATIENCE:?}")),
        Ok(Err(reason)) => Outcome::NotNow(reason),
        Ok(Ok((200..=299, answer))) => match json::rejected(&answer) {
            None => Outcome::Taken,
            Some(reason) => Outcome::Refused(reason),
        },
        Ok(Ok((status @ (429 | 502 | 503 | 504), _))) => Outcome::NotNow(http_status(status)),
        Ok(Ok((status, _))) => Outcome::Refused(http_status(status)),
    }
}

fn http_status(status: u16) -> String {
    format!("HTTP status {status}")
}

#[cfg(test)]
mod tests;
