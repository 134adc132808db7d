//! The JSON view of data, for people and tests.

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Value, json};

use super::{
    CallState, CanonElement, CanonResult, CidInfo, Data, Provenance, ServiceResult, Signatures,
    State, Store, Subtrace, Subtraces,
};

impl Serialize for Data<'_> {
    /// The mapping of the protocol description. It is written as it is read, so that texts that
    /// are shared in memory do not fill it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("trace", &self.trace)?;
        map.serialize_entry("lcid", &self.last_call_request_id)?;
        map.serialize_entry("cid_info", &self.cid_info)?;
        map.serialize_entry("signatures", &self.signatures)?;
        map.end()
    }
}

impl Serialize for CidInfo<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("value_store", &self.values)?;
        map.serialize_entry("tetraplet_store", &self.tetraplets)?;
        map.serialize_entry("canon_element_store", &self.canon_elements)?;
        map.serialize_entry("canon_result_store", &self.canon_results)?;
        map.serialize_entry("service_result_store", &self.service_results)?;
        map.end()
    }
}

impl<V: Serialize> Serialize for Store<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl Serialize for Signatures<'_> {
    /// Keys and signatures in base58.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let base58 = |bytes: &[u8]| bs58::encode(bytes).into_string();
        serializer.collect_map(self.iter().map(|(key, value)| (base58(key), base58(value))))
    }
}

impl Serialize for ServiceResult<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json!({
            "value_cid": self.value_cid,
            "argument_hash": self.argument_hash,
            "tetraplet_cid": self.tetraplet_cid,
        })
        .serialize(serializer)
    }
}

impl Serialize for CanonResult<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("tetraplet", self.tetraplet)?;
        map.serialize_entry("values", &*self.values)?;
        map.end()
    }
}

impl Serialize for CanonElement<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let provenance = match self.provenance {
            Provenance::Literal => json!({ "type": "literal" }),
            Provenance::ServiceResult(cid) => json!({ "type": "service_result", "cid": cid }),
            Provenance::Canon(cid) => json!({ "type": "canon", "cid": cid }),
        };
        json!({
            "value": self.value,
            "tetraplet": self.tetraplet,
            "provenance": provenance,
        })
        .serialize(serializer)
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
