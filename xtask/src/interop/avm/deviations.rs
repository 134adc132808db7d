//! Where we differ from the published interpreter on purpose.

use std::collections::BTreeSet;

use aquavm::Outcome;
use particle::data::Envelope;
use serde_json::Value;

use super::reference::Ended;
use crate::conformance::run::{Call, decoded};

/// A difference that is meant.
pub(super) struct Deviation {
    /// Where the protocol description says so.
    pub(super) source: &'static str,
    /// What differs.
    pub(super) what: &'static str,
    /// Whether a difference is this one.
    applies: fn(&Call, &Outcome<Vec<u8>>, &Ended) -> bool,
}

/// All of them.
pub(super) const DEVIATIONS: &[Deviation] = &[
    Deviation {
        source: "particle-data 12",
        what: "it traps, we return an error",
        applies: |_, ours, theirs| matches!(theirs, Ended::Trapped(_)) && ours.ret_code != 0,
    },
    Deviation {
        source: "air 17, Q10",
        what: "it traps at a field name that ends in a letter beyond ASCII, we take the name",
        applies: |call, _, theirs| {
            let mut words = call
                .script
                .split(|c: char| c.is_whitespace() || "()".contains(c));
            matches!(theirs, Ended::Trapped(_))
                && words.any(|word| word.contains(".$.") && !word.is_ascii())
        },
    },
    Deviation {
        source: "air 17, Q11",
        what: "it shows at random one of the keys 42 and \"42\" of a map, we the later",
        applies: |_, ours, _| has_equal_keys(&ours.data).unwrap_or_default(),
    },
    Deviation {
        source: "air 17, Q17",
        what: "it does not sign a result that is no JSON, we do",
        applies: |call, ours, theirs| {
            let broken = aquavm::decode_call_results(&call.results).is_ok_and(|results| {
                results.values().any(|result| {
                    let json = serde_json::from_str::<Value>(&result.result);
                    result.ret_code == 0 && json.is_err()
                })
            });
            broken && same_but_signatures(ours, theirs).unwrap_or_default()
        },
    },
];

/// Whether a canon map has a key twice, once as a number and once as a text.
fn has_equal_keys(data: &[u8]) -> Option<bool> {
    let envelope = Envelope::decode(data).ok()?;
    let data = envelope.data().ok()?;
    let (mut numbers, mut texts) = (BTreeSet::new(), BTreeSet::new());
    for (_, element) in data.cid_info.canon_elements.iter() {
        let text = data.cid_info.values.get(element.value).copied()?;
        match serde_json::from_str::<Value>(text).ok()?.get("key") {
            Some(Value::Number(number)) => numbers.insert(number.to_string()),
            Some(Value::String(text)) => texts.insert(text.clone()),
            _ => false,
        };
    }
    Some(!numbers.is_disjoint(&texts))
}

/// Whether nothing but signatures differs.
fn same_but_signatures(ours: &Outcome<Vec<u8>>, theirs: &Ended) -> Option<bool> {
    let Ended::Outcome(theirs) = theirs else {
        return None;
    };
    let without = |outcome: &Outcome<Vec<u8>>| {
        let mut data = decoded(&outcome.data).ok()?;
        let fields = data.as_object_mut()?;
        fields.remove("signatures");
        fields.remove("interpreter_version");
        let requests = outcome.call_requests.clone();
        Some((data, outcome.ret_code, requests, outcome.next_peers.clone()))
    };
    Some(without(ours)? == without(theirs)?)
}

/// The deviation that explains a difference.
pub(super) fn find(
    call: &Call,
    ours: &Outcome<Vec<u8>>,
    theirs: &Ended,
) -> Option<&'static Deviation> {
    DEVIATIONS
        .iter()
        .find(|deviation| (deviation.applies)(call, ours, theirs))
}
