//! The JSON view of data, for people and tests.

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value, json};

use super::{CallState, CanonElement, Data, Provenance, State, Store, Subtrace, Subtraces};

impl Serialize for Data<'_> {
    /// The mapping of the protocol description, stores as objects from CID to content.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("trace", &self.trace)?;
        map.serialize_entry("lcid", &self.last_call_request_id)?;
        let info = &self.cid_info;
        let stores = json!({
            "value_store": store(&info.values, |text| json!(text)),
            "tetraplet_store": store(&info.tetraplets, |tetraplet| json!(tetraplet)),
            "canon_element_store": store(&info.canon_elements, element),
            "canon_result_store": store(&info.canon_results, |result| {
                json!({ "tetraplet": result.tetraplet, "values": &*result.values })
            }),
            "service_result_store": store(&info.service_results, |result| {
                json!({
                    "value_cid": result.value_cid,
                    "argument_hash": result.argument_hash,
                    "tetraplet_cid": result.tetraplet_cid,
                })
            }),
        });
        map.serialize_entry("cid_info", &stores)?;
        let base58 = |bytes: &[u8]| bs58::encode(bytes).into_string();
        let signatures: Map<String, Value> = self
            .signatures
            .iter()
            .map(|(key, signature)| (base58(key), Value::String(base58(signature))))
            .collect();
        map.serialize_entry("signatures", &signatures)?;
        map.end()
    }
}

impl Serialize for State<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            State::Par { left, right } => json!({ "par": [left, right] }),
            State::Call(call) => json!({ "call": call }),
            State::Fold(lore) => {
                let lore: Vec<Value> = lore
                    .iter()
                    .map(|lore| json!({ "pos": lore.value_pos, "desc": desc(&lore.subtraces) }))
                    .collect();
                json!({ "fold": { "lore": lore } })
            }
            State::Ap(generations) => json!({ "ap": { "gens": generations.as_slice() } }),
            State::CanonSentBy(peer_id) => json!({ "canon": { "sent_by": peer_id } }),
            State::Canon(cid) => json!({ "canon": { "executed": cid } }),
        }
        .serialize(serializer)
    }
}

impl Serialize for CallState<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            CallState::SentBy(peer_id) => json!({ "sent_by": { "PeerId": peer_id } }),
            CallState::SentByWithId { peer_id, call_id } => json!({
                "sent_by": { "PeerIdWithCallId": { "peer_id": peer_id, "call_id": call_id } }
            }),
            CallState::Scalar(cid) => json!({ "executed": { "scalar": cid } }),
            CallState::Stream { cid, generation } => json!({
                "executed": { "stream": { "cid": cid, "generation": generation } }
            }),
            CallState::Unused(cid) => json!({ "executed": { "unused": cid } }),
            CallState::Failed(cid) => json!({ "failed": cid }),
        }
        .serialize(serializer)
    }
}

fn desc(subtraces: &Subtraces) -> Vec<Value> {
    let subtrace = |subtrace: &Subtrace| json!({ "pos": subtrace.begin_pos, "len": subtrace.len });
    match subtraces {
        Subtraces::Pair(before, after) => vec![subtrace(before), subtrace(after)],
        Subtraces::Other(subtraces) => subtraces.iter().map(subtrace).collect(),
    }
}

fn store<V>(store: &Store<'_, V>, content: impl Fn(&V) -> Value) -> Map<String, Value> {
    store
        .iter()
        .map(|(cid, value)| (cid.to_owned(), content(value)))
        .collect()
}

fn element(element: &CanonElement<'_>) -> Value {
    let provenance = match element.provenance {
        Provenance::Literal => json!({ "type": "literal" }),
        Provenance::ServiceResult(cid) => json!({ "type": "service_result", "cid": cid }),
        Provenance::Canon(cid) => json!({ "type": "canon", "cid": cid }),
    };
    json!({
        "value": element.value,
        "tetraplet": element.tetraplet,
        "provenance": provenance,
    })
}
