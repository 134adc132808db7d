//! Comparing bytes that other interpreters wrote.

use std::collections::BTreeMap;

use particle::data::{CallState, Data, Envelope, Provenance, State, Versions};
use semver::Version;

/// Compares byte for byte.
pub(super) fn same_bytes(name: &str, ours: &[u8], expected: &[u8]) -> Result<(), String> {
    if ours == expected {
        return Ok(());
    }
    let common = ours.iter().zip(expected);
    let at = common.take_while(|(ours, expected)| ours == expected);
    Err(format!(
        "{name}: {} bytes, different from the expected {} at {}",
        ours.len(),
        expected.len(),
        at.count()
    ))
}

/// Compares particle data byte for byte but for one freedom.
///
/// "Can we be byte-identical?" of the protocol description: which of the equal CIDs and peer ids
/// share one place of the archive follows from where they were in the reference's memory (a CID
/// that was computed twice is written twice), and writers may share all. We do, so data in which
/// the reference wrote a text twice is first written again with all equal texts shared.
///
/// Each of the published interpreters up to 0.63 names itself in the envelope; of their data the
/// archives are compared.
pub(super) fn same_data_bytes(ours: &[u8], expected: &[u8]) -> Result<(), String> {
    if ours == expected || expected.is_empty() {
        return same_bytes("data", ours, expected);
    }
    let Ok(envelope) = Envelope::decode(expected) else {
        return same_bytes("data", ours, expected);
    };
    let data = envelope.data().map_err(|error| error.to_string())?;
    let own = Envelope::decode(ours).map_err(|error| error.to_string())?;
    let before_0_64 = |versions: &Versions| versions.interpreter < Version::new(0, 64, 0);
    let same_line = before_0_64(&own.versions) && before_0_64(&envelope.versions);
    if !writes_a_text_twice(&data) {
        return match same_line {
            true => same_bytes("archive", &own.archive, &envelope.archive),
            false => same_bytes("data", ours, expected),
        };
    }
    let versions = match same_line {
        true => &own.versions,
        false => &envelope.versions,
    };
    let shared = data.encode(versions).map_err(|error| error.to_string())?;
    if shared.len() >= expected.len() {
        return Err("data: sharing texts did not make it shorter".to_owned());
    }
    same_bytes("data with shared texts", ours, &shared)
}

/// Whether two equal shared texts lie in different places of the archive.
fn writes_a_text_twice(data: &Data<'_>) -> bool {
    let mut places = BTreeMap::new();
    texts(data).any(|text| {
        let place = text.as_ptr();
        *places.entry(text).or_insert(place) != place
    })
}

/// All texts of an archive that its writer may share.
fn texts<'d>(data: &'d Data<'_>) -> impl Iterator<Item = &'d str> {
    let info = &data.cid_info;
    let states = data.trace.iter().filter_map(|state| match state {
        State::Call(
            CallState::SentBy(text)
            | CallState::SentByWithId { peer_id: text, .. }
            | CallState::Scalar(text)
            | CallState::Stream { cid: text, .. }
            | CallState::Unused(text)
            | CallState::Failed(text),
        )
        | State::CanonSentBy(text)
        | State::Canon(text) => Some(*text),
        State::Par { .. } | State::Fold(_) | State::Ap(_) => None,
    });
    let keys = info.values.iter().map(|(cid, _)| cid);
    let keys = keys
        .chain(info.tetraplets.iter().map(|(cid, _)| cid))
        .chain(info.canon_elements.iter().map(|(cid, _)| cid))
        .chain(info.canon_results.iter().map(|(cid, _)| cid))
        .chain(info.service_results.iter().map(|(cid, _)| cid));
    let elements = info.canon_elements.iter().flat_map(|(_, element)| {
        let provenance = match element.provenance {
            Provenance::Literal => None,
            Provenance::ServiceResult(cid) | Provenance::Canon(cid) => Some(cid),
        };
        [element.value, element.tetraplet]
            .into_iter()
            .chain(provenance)
    });
    let canons = info.canon_results.iter().flat_map(|(_, canon)| {
        [canon.tetraplet]
            .into_iter()
            .chain(canon.values.iter().copied())
    });
    let results = info
        .service_results
        .iter()
        .flat_map(|(_, result)| [result.value_cid, result.argument_hash, result.tetraplet_cid]);
    states
        .chain(keys)
        .chain(elements)
        .chain(canons)
        .chain(results)
}
