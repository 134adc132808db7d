//! Traces of particles for OpenTelemetry: a span for every run of the state machine, every call and
//! every sending, over all peers that a particle passes.
//!
//! A particle has no room for the context of a trace, so every peer makes the same one of the
//! particle's id: [`trace_id`]. Runs hang below a root that all of them agree on; calls and sendings
//! hang below the run that asked for them. Sampling by the trace id, such as
//! [`Sampler::TraceIdRatioBased`](opentelemetry_sdk::trace::Sampler::TraceIdRatioBased), chooses the
//! same particles everywhere. The program `peer` of the examples exports them by OTLP.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use particle::KeyPair;
//! # use peer_core::{otel::{Traces, opentelemetry_sdk::trace::SdkTracerProvider}, peer::Peer};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // With the exporter of one's choice.
//! let provider = SdkTracerProvider::builder().build();
//! let peer = Peer::builder(KeyPair::from_seed(&[1; 32]))
//!     .observer(Arc::new(Traces::new(&provider)))
//!     .start()
//!     .await?;
//! # Ok(())
//! # }
//! ```

pub use opentelemetry;
pub use opentelemetry_sdk;

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _,
        TraceFlags, TraceId, TraceState, Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use particle::PeerId;
use sha2::{Digest as _, Sha256};

use crate::{
    engine::{self, CallReport, Execution, Source},
    peer::{Observer, PeerEvent, PeerEventKind},
};

/// Steps to come whose runs are remembered; others hang below the root.
const MAX_STEPS: usize = 65_536;
/// Bytes of a text in a span: others choose what functions are called and what errors say.
const MAX_TEXT: usize = 1_024;

/// Writes the spans of a peer: give it to the peer as an observer, one to each peer.
pub struct Traces {
    tracer: SdkTracer,
    asked: Mutex<Asked>,
}

/// The runs that asked for steps that are still to come, by particle.
#[derive(Default)]
struct Asked {
    particles: HashMap<String, HashMap<Step, SpanContext>>,
    /// Steps of all particles.
    count: usize,
}

/// What a run asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Call { scope: PeerId, call_id: u32 },
    Send { to: PeerId },
}

/// A span that is over.
struct Done {
    name: &'static str,
    kind: SpanKind,
    end: SystemTime,
    took: Duration,
    attributes: Vec<KeyValue>,
    failure: Option<String>,
}

/// The trace of a particle with this id: the first 16 bytes of the SHA-256 of the id.
#[must_use]
pub fn trace_id(particle_id: &str) -> TraceId {
    root(particle_id).trace_id()
}

/// What all runs hang below: the trace, and the eight bytes of the hash after it.
fn root(particle_id: &str) -> SpanContext {
    let hash = Sha256::digest(particle_id.as_bytes());
    let (mut trace, mut span) = ([0; 16], [0; 8]);
    for (target, byte) in trace.iter_mut().chain(&mut span).zip(hash) {
        *target = byte;
    }
    SpanContext::new(
        TraceId::from_bytes(trace),
        SpanId::from_bytes(span),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    )
}

impl Asked {
    fn put(&mut self, particle_id: &str, steps: impl Iterator<Item = Step>, run: &SpanContext) {
        for step in steps {
            if self.count >= MAX_STEPS {
                return;
            }
            let of_particle = match self.particles.get_mut(particle_id) {
                Some(steps) => steps,
                None => self.particles.entry(particle_id.to_owned()).or_default(),
            };
            let before = of_particle.insert(step, run.clone());
            self.count += usize::from(before.is_none());
        }
    }

    fn take(&mut self, particle_id: &str, step: Step) -> Option<SpanContext> {
        let steps = self.particles.get_mut(particle_id)?;
        let run = steps.remove(&step)?;
        self.count -= 1;
        if steps.is_empty() {
            self.particles.remove(particle_id);
        }
        Some(run)
    }

    fn forget(&mut self, particle_id: &str) {
        let steps = self.particles.remove(particle_id);
        self.count -= steps.map_or(0, |steps| steps.len());
    }
}

impl Traces {
    /// Spans for the exporters of this provider.
    #[must_use]
    pub fn new(provider: &SdkTracerProvider) -> Self {
        Self {
            tracer: provider.tracer("aquamarine"),
            asked: Mutex::default(),
        }
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        // Nothing is half done when a thread dies with the lock.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run that asked for a step, or the root.
    fn parent(&self, particle_id: &str, step: Step) -> SpanContext {
        let run = self.asked().take(particle_id, step);
        run.unwrap_or_else(|| root(particle_id))
    }

    fn write(&self, parent: SpanContext, done: Done) -> SpanContext {
        let start = done.end.checked_sub(done.took).unwrap_or(done.end);
        let builder = SpanBuilder::from_name(done.name)
            .with_kind(done.kind)
            .with_start_time(start)
            .with_attributes(done.attributes);
        let context = Context::new().with_remote_span_context(parent);
        let mut span = self.tracer.build_with_context(builder, &context);
        if let Some(failure) = done.failure {
            span.set_status(Status::error(cut(&failure)));
        }
        let context = span.span_context().clone();
        span.end_with_timestamp(done.end);
        context
    }

    fn run(&self, event: &PeerEvent, run: &Execution) {
        let id = run.particle.id.as_str();
        let mut attributes = about(event, id);
        attributes.extend([
            KeyValue::new(
                "particle.init_peer_id",
                run.particle.init_peer_id.to_string(),
            ),
            KeyValue::new("peer.scope", run.peer_id.to_string()),
            KeyValue::new("run.ret_code", run.ret_code),
            KeyValue::new("run.data_size", size(run.data_size)),
            KeyValue::new("run.calls", size(run.calls.len())),
        ]);
        if let Some(Source::Peer(from)) = run.source {
            attributes.push(KeyValue::new("particle.from", from.to_string()));
        }
        let failed = (run.ret_code != 0).then(|| run.error_message.clone());
        let context = self.write(
            root(id),
            Done {
                name: "run",
                kind: match run.source {
                    Some(Source::Peer(_)) => SpanKind::Consumer,
                    _ => SpanKind::Internal,
                },
                end: event.at,
                took: Duration::from_millis(run.finished_ms.saturating_sub(run.started_ms)),
                attributes,
                failure: run.failure.clone().or(failed),
            },
        );
        // What comes of a particle that is not sampled is not sampled either.
        if !context.is_sampled() {
            return;
        }
        let calls = run.calls.iter().map(|(call_id, ..)| Step::Call {
            scope: run.peer_id,
            call_id: *call_id,
        });
        let sends = run.next_peers.iter().map(|to| Step::Send { to: *to });
        self.asked().put(id, calls.chain(sends), &context);
    }

    fn call(&self, event: &PeerEvent, call: &CallReport) {
        let id = call.particle.id.as_str();
        let step = Step::Call {
            scope: call.peer_id,
            call_id: call.call_id,
        };
        let mut attributes = about(event, id);
        attributes.extend([
            KeyValue::new("peer.scope", call.peer_id.to_string()),
            KeyValue::new("call.service", cut(&call.service_id)),
            KeyValue::new("call.function", cut(&call.function_name)),
            KeyValue::new("call.ret_code", i64::from(call.ret_code)),
        ]);
        let failure = match (call.timed_out, call.ret_code) {
            (true, _) => Some("given up at its deadline".to_owned()),
            (false, 0) => None,
            (false, code) => Some(format!("code {code}")),
        };
        self.write(
            self.parent(id, step),
            Done {
                name: "call",
                kind: SpanKind::Internal,
                end: event.at,
                took: Duration::from_millis(call.finished_ms.saturating_sub(call.started_ms)),
                attributes,
                failure,
            },
        );
    }

    fn send(&self, event: &PeerEvent, id: &str, to: PeerId, took: Duration, failure: Option<&str>) {
        let mut attributes = about(event, id);
        attributes.push(KeyValue::new("send.to", to.to_string()));
        self.write(
            self.parent(id, Step::Send { to }),
            Done {
                name: "send",
                kind: SpanKind::Producer,
                end: event.at,
                took,
                attributes,
                failure: failure.map(str::to_owned),
            },
        );
    }
}

fn about(event: &PeerEvent, particle_id: &str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("particle.id", cut(particle_id)),
        KeyValue::new("peer.id", event.peer.to_string()),
    ]
}

/// The beginning of a text that may be long.
fn cut(text: &str) -> String {
    match text.split_at_checked(text.floor_char_boundary(MAX_TEXT)) {
        Some((start, rest)) if !rest.is_empty() => format!("{start}…"),
        _ => text.to_owned(),
    }
}

fn size(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Observer for Traces {
    fn observe(&self, event: &PeerEvent) {
        match &event.kind {
            PeerEventKind::Engine(engine::Event::Executed(run)) => self.run(event, run),
            PeerEventKind::Engine(engine::Event::Called(call)) => self.call(event, call),
            PeerEventKind::Engine(engine::Event::Expired { particle, .. }) => {
                self.asked().forget(&particle.id);
            }
            PeerEventKind::Engine(_) => {}
            PeerEventKind::Sent {
                particle_id,
                to,
                took,
            } => self.send(event, particle_id, *to, *took, None),
            PeerEventKind::NotSent {
                particle_id,
                to,
                reason,
            } => self.send(event, particle_id, *to, Duration::ZERO, Some(reason)),
        }
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Traces({} steps to come)", self.asked().count)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Arc};

    use opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{SpanData, SpanExporter},
    };
    use particle::KeyPair;

    use super::*;
    use crate::{
        client::{Client, Request},
        config::PeerConfig,
        peer::Peer,
    };

    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    impl Kept {
        fn spans(&self) -> Vec<SpanData> {
            self.0.lock().unwrap().clone()
        }
    }

    fn attribute(span: &SpanData, name: &str) -> String {
        let mut attributes = span.attributes.iter();
        let found = attributes.find(|attribute| attribute.key.as_str() == name);
        found.map_or_else(String::new, |attribute| attribute.value.to_string())
    }

    async fn peer(seed: u8, kept: &Kept) -> (Peer, SdkTracerProvider) {
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(kept.clone())
            .build();
        let config = PeerConfig {
            listen_ip: Ipv4Addr::LOCALHOST.into(),
            tcp_port: 0,
            websocket_port: 0,
            allow_local_addresses: true,
            ..PeerConfig::default()
        };
        let peer = Peer::builder(KeyPair::from_seed(&[seed; 32]))
            .config(config)
            .observer(Arc::new(Traces::new(&provider)))
            .start()
            .await
            .unwrap();
        (peer, provider)
    }

    /// A particle over two peers is one trace, in which every step hangs below the run that asked
    /// for it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_trace_spans_peers() {
        let kept = Kept::default();
        let (first, provider) = peer(1, &kept).await;
        let (second, other_provider) = peer(2, &kept).await;
        let address = &second.network().listen_addresses()[0];
        first.network().dial(address).await.unwrap();
        let relay = &first.network().listen_addresses()[0];
        let client = Client::connect(KeyPair::from_seed(&[3; 32]), relay)
            .await
            .unwrap();
        let (one, two) = (first.peer_id(), second.peer_id());
        let script = format!(
            r#"(seq
                (seq
                    (call "{one}" ("op" "identity") ["there"] there)
                    (seq
                        (call "{two}" ("op" "identity") [there] back)
                        (call "{one}" ("op" "noop") [])))
                (call %init_peer_id% ("callbackSrv" "response") [back]))"#
        );
        assert_eq!(client.call(Request::new(script)).await.unwrap(), "there");
        client.stop().await;

        let particle = {
            let spans = kept.spans();
            attribute(&spans[0], "particle.id")
        };
        let mine = |peer: PeerId, name: &str| {
            let peer = peer.to_string();
            let spans = kept.spans().into_iter();
            let spans = spans.filter(|span| {
                span.name == name
                    && attribute(span, "peer.id") == peer
                    && attribute(span, "particle.id") == particle
            });
            spans.collect::<Vec<_>>()
        };
        // The last sending may be noted after the client has its answer.
        let waiting = async {
            while mine(one, "send").len() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting)
            .await
            .unwrap();

        let trace = trace_id(&particle);
        for peer in [one, two] {
            let runs = mine(peer, "run");
            let steps = [mine(peer, "call"), mine(peer, "send")].concat();
            assert!(!runs.is_empty() && steps.len() >= 2, "{runs:?} {steps:?}");
            for run in &runs {
                assert_eq!(run.span_context.trace_id(), trace);
                assert_eq!(run.parent_span_id, root(&particle).span_id());
            }
            for step in &steps {
                assert_eq!(step.span_context.trace_id(), trace);
                let by = |run: &SpanData| run.span_context.span_id() == step.parent_span_id;
                assert!(runs.iter().any(by), "{step:?}");
                assert!(step.start_time <= step.end_time);
            }
        }
        let call = &mine(two, "call")[0];
        assert_eq!(attribute(call, "call.service"), "op");
        assert_eq!(attribute(call, "call.function"), "identity");
        let from_first = mine(two, "run");
        let came = |run: &SpanData| attribute(run, "particle.from") == one.to_string();
        assert!(from_first.iter().any(came));
        let to_second = mine(one, "send");
        let went = |send: &SpanData| attribute(send, "send.to") == two.to_string();
        assert!(to_second.iter().any(went));
        first.stop().await;
        second.stop().await;
        drop((provider, other_provider));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let run = root("run");
        let to = KeyPair::from_seed(&[1; 32]).peer_id();
        let call = |call_id| Step::Call { scope: to, call_id };
        let mut asked = Asked::default();
        for particle in 0..1_100 {
            asked.put(&particle.to_string(), (0..100).map(call), &run);
        }
        assert_eq!(asked.count, MAX_STEPS);
        for call_id in 0..100 {
            assert_eq!(asked.take("0", call(call_id)), Some(run.clone()));
        }
        assert_eq!(asked.take("0", call(0)), None);
        for particle in 1..1_100 {
            asked.forget(&particle.to_string());
        }
        assert!(asked.count == 0 && asked.particles.is_empty());
        // Asked for twice, it is one step.
        asked.put("0", [call(0), call(0)].into_iter(), &run);
        assert_eq!(asked.count, 1);

        assert_eq!(cut("short"), "short");
        let long = cut(&"é".repeat(MAX_TEXT));
        assert!(long.len() < MAX_TEXT + 4 && long.ends_with("é…"), "{long}");
    }

    #[test]
    fn steps_that_nobody_asked_for_hang_below_the_root() {
        let traces = Traces::new(&SdkTracerProvider::builder().build());
        let to = KeyPair::from_seed(&[1; 32]).peer_id();
        let parent = traces.parent("unknown", Step::Send { to });
        assert_eq!(parent.span_id(), root("unknown").span_id());
        assert_eq!(parent.trace_id(), trace_id("unknown"));
        assert_ne!(trace_id("a"), trace_id("b"));
    }
}
