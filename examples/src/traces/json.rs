//! The form of spans in OTLP: the JSON of its protobuf messages, ids in hexadecimal digits and 64-bit
//! numbers as texts. Events and links, of which a peer's spans have none, are left out.

use std::time::{SystemTime, UNIX_EPOCH};

use peer_core::otel::opentelemetry::trace::{SpanId, SpanKind, Status};
use peer_core::otel::opentelemetry::{Key, Value as Attribute};
use peer_core::otel::opentelemetry_sdk::Resource;
use peer_core::otel::opentelemetry_sdk::trace::SpanData;
use serde_json::{Value, json};

/// A batch of spans, all of one instrument, as collectors take it.
pub(super) fn request(resource: &Value, batch: &[SpanData]) -> Value {
    let scope = batch.first().map(|span| span.instrumentation_scope.name());
    json!({
        "resourceSpans": [{
            "resource": resource,
            "scopeSpans": [{
                "scope": { "name": scope.unwrap_or_default() },
                "spans": batch.iter().map(span).collect::<Vec<_>>(),
            }],
        }],
    })
}

/// Whose spans they are.
pub(super) fn resource(resource: &Resource) -> Value {
    json!({ "attributes": attributes(resource.iter()) })
}

/// What a collector says of spans that it did not take out of a batch that it took.
pub(super) fn rejected(answer: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let partial = answer.get("partialSuccess")?;
    let count = match partial.get("rejectedSpans")? {
        Value::String(text) => text.parse().ok()?,
        number => number.as_u64()?,
    };
    let reason = partial.get("errorMessage").and_then(Value::as_str);
    // It is for a line of the log.
    let reason: String = reason.unwrap_or_default().chars().take(200).collect();
    (count > 0).then(|| format!("{count} spans were rejected: {reason:?}"))
}

fn span(span: &SpanData) -> Value {
    let context = &span.span_context;
    let pairs = span.attributes.iter().map(|pair| (&pair.key, &pair.value));
    let mut value = json!({
        "traceId": context.trace_id().to_string(),
        "spanId": context.span_id().to_string(),
        "name": span.name,
        "kind": kind(&span.span_kind),
        "startTimeUnixNano": nanoseconds(span.start_time),
        "endTimeUnixNano": nanoseconds(span.end_time),
        "attributes": attributes(pairs),
        "status": status(&span.status),
    });
    if span.parent_span_id != SpanId::INVALID
        && let Some(fields) = value.as_object_mut()
    {
        let parent = span.parent_span_id.to_string();
        fields.insert("parentSpanId".to_owned(), parent.into());
    }
    value
}

fn kind(kind: &SpanKind) -> u8 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

fn status(status: &Status) -> Value {
    match status {
        Status::Unset => json!({}),
        Status::Ok => json!({ "code": 1 }),
        Status::Error { description } => json!({ "code": 2, "message": description }),
    }
}

fn nanoseconds(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().to_string()
}

fn attributes<'a>(pairs: impl Iterator<Item = (&'a Key, &'a Attribute)>) -> Vec<Value> {
    let pair = |(key, value): (&Key, &Attribute)| {
        let value = match value {
            Attribute::Bool(value) => json!({ "boolValue": value }),
            Attribute::I64(value) => json!({ "intValue": value.to_string() }),
            Attribute::F64(value) if value.is_finite() => json!({ "doubleValue": value }),
            other => json!({ "stringValue": other.as_str() }),
        };
        json!({ "key": key.as_str(), "value": value })
    };
    pairs.map(pair).collect()
}
