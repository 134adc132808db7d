//! Checking the stores: every content hashes to its key, every reference leads somewhere.

use super::{CallState, State, Store};
use super::{CanonElement, CanonResult, CidInfo, Data, Generations, Provenance, ServiceResult};
use crate::{
    Tetraplet,
    cid::{self, CidError, CidText},
    value,
};

/// Checks beyond those that all peers make.
///
/// Off by default: where they refuse data that other peers accept, peers no longer agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Values that a service result or a canon element refers to must be JSON.
    pub referenced_values_are_json: bool,
    /// Generations must be less than the number of states, as in all honest data.
    pub generations_are_dense: bool,
}

/// Which store an entry is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Values.
    Value,
    /// Tetraplets.
    Tetraplet,
    /// Canon elements.
    CanonElement,
    /// Canon results.
    CanonResult,
    /// Service results.
    ServiceResult,
}

/// What is wrong with the stores.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A content that does not hash to its key.
    #[error("Value mismatch in the \"{store}\" store for CID \"{cid}\"")]
    Mismatch {
        /// The store.
        store: StoreKind,
        /// The key.
        cid: String,
    },
    /// A key that is no CID of an accepted kind.
    #[error("{source}")]
    Cid {
        /// The store.
        store: StoreKind,
        /// What is wrong.
        source: CidError,
    },
    /// A reference to an entry that is not there.
    #[error("Reference CID \"{cid}\" from type \"{from}\" to \"{to}\" was not found")]
    Missing {
        /// The key.
        cid: String,
        /// Store of the entry that refers to it.
        from: StoreKind,
        /// Store that should have it.
        to: StoreKind,
    },
    /// A value that is no JSON text (only with
    /// [`VerifyOptions::referenced_values_are_json`]).
    #[error("value of CID \"{cid}\" is not JSON: {reason}")]
    NotJson {
        /// The key.
        cid: String,
        /// What is wrong.
        reason: String,
    },
    /// A generation that honest data cannot have (only with
    /// [`VerifyOptions::generations_are_dense`]).
    #[error("state {position} has generation {generation}, expected less than {states}")]
    Generation {
        /// Position in the trace.
        position: usize,
        /// The generation.
        generation: u32,
        /// Number of states.
        states: usize,
    },
}

impl std::fmt::Display for StoreKind {
    /// The name of the stored type in the messages of all interpreters.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Value => "air_interpreter_data::raw_value::RawValue",
            Self::Tetraplet => "marine_call_parameters::SecurityTetraplet",
            Self::CanonElement => "air_interpreter_data::executed_state::CanonCidAggregate",
            Self::CanonResult => "air_interpreter_data::executed_state::CanonResultCidAggregate",
            Self::ServiceResult => {
                "air_interpreter_data::executed_state::ServiceResultCidAggregate"
            }
        })
    }
}

impl Data<'_> {
    /// Checks all stores: contents against keys, then references.
    ///
    /// # Errors
    /// The first fault, in the order of the protocol description.
    pub fn verify_stores(&self, options: VerifyOptions) -> Result<(), StoreError> {
        self.cid_info.verify()?;
        if options.referenced_values_are_json {
            self.cid_info.verify_values()?;
        }
        if options.generations_are_dense {
            self.verify_generations()?;
        }
        Ok(())
    }

    fn verify_generations(&self) -> Result<(), StoreError> {
        let states = self.trace.len();
        for (position, state) in self.trace.iter().enumerate() {
            let generations = match state {
                State::Ap(generations) => Generations::as_slice(generations),
                State::Call(CallState::Stream { generation, .. }) => {
                    std::slice::from_ref(generation)
                }
                _ => continue,
            };
            for &generation in generations {
                if generation as usize >= states {
                    return Err(StoreError::Generation {
                        position,
                        generation,
                        states,
                    });
                }
            }
        }
        Ok(())
    }
}

impl CidInfo<'_> {
    fn verify(&self) -> Result<(), StoreError> {
        use StoreKind as Kind;
        for (cid, text) in self.values.iter() {
            check(Kind::Value, cid, text.as_bytes())?;
        }
        let mut json = Vec::with_capacity(512);
        verify_contents(&self.tetraplets, Kind::Tetraplet, &mut json)?;
        verify_contents(&self.canon_elements, Kind::CanonElement, &mut json)?;
        verify_contents(&self.canon_results, Kind::CanonResult, &mut json)?;
        for (_, result) in self.canon_results.iter() {
            for value in result.values.iter() {
                refers(
                    Kind::CanonResult,
                    Kind::CanonElement,
                    value,
                    &self.canon_elements,
                )?;
            }
            refers(
                Kind::CanonResult,
                Kind::Tetraplet,
                result.tetraplet,
                &self.tetraplets,
            )?;
        }
        for (_, element) in self.canon_elements.iter() {
            let from = Kind::CanonElement;
            refers(from, Kind::Tetraplet, element.tetraplet, &self.tetraplets)?;
            refers(from, Kind::Value, element.value, &self.values)?;
            match element.provenance {
                Provenance::Literal => {}
                Provenance::ServiceResult(cid) => {
                    refers(from, Kind::ServiceResult, cid, &self.service_results)?;
                }
                Provenance::Canon(cid) => {
                    refers(from, Kind::CanonResult, cid, &self.canon_results)?;
                }
            }
        }
        verify_contents(&self.service_results, Kind::ServiceResult, &mut json)?;
        for (_, result) in self.service_results.iter() {
            let from = Kind::ServiceResult;
            refers(
                from,
                Kind::Tetraplet,
                result.tetraplet_cid,
                &self.tetraplets,
            )?;
            refers(from, Kind::Value, result.value_cid, &self.values)?;
        }
        Ok(())
    }

    fn verify_values(&self) -> Result<(), StoreError> {
        let results = self
            .service_results
            .iter()
            .map(|(_, result)| result.value_cid);
        let elements = self.canon_elements.iter().map(|(_, element)| element.value);
        for cid in results.chain(elements) {
            let Some(text) = self.values.get(cid) else {
                continue;
            };
            value::check(text).map_err(|error| StoreError::NotJson {
                cid: cid.to_owned(),
                reason: error.to_string(),
            })?;
        }
        Ok(())
    }
}

/// A content whose CID is that of its JSON text.
pub trait Content {
    /// Appends the text that is hashed.
    fn write_json(&self, out: &mut Vec<u8>);

    /// The CID of the content; `scratch` is overwritten and may be used again.
    fn cid(&self, scratch: &mut Vec<u8>) -> CidText {
        scratch.clear();
        self.write_json(scratch);
        CidText::of_digest(blake3::hash(scratch).as_bytes())
    }
}

impl Content for Tetraplet<'_> {
    fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"peer_pk":"#);
        value::push_string(out, self.peer_pk);
        out.extend_from_slice(br#","service_id":"#);
        value::push_string(out, self.service_id);
        out.extend_from_slice(br#","function_name":"#);
        value::push_string(out, self.function_name);
        out.extend_from_slice(br#","lens":"#);
        value::push_string(out, self.lens);
        out.push(b'}');
    }
}

impl Content for CanonElement<'_> {
    fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"value":"#);
        value::push_cid(out, self.value);
        out.extend_from_slice(br#","tetraplet":"#);
        value::push_cid(out, self.tetraplet);
        out.extend_from_slice(br#","provenance":"#);
        let (kind, cid): (&[u8], _) = match self.provenance {
            Provenance::Literal => (br#"{"type":"literal""#, None),
            Provenance::ServiceResult(cid) => (br#"{"type":"service_result","cid":"#, Some(cid)),
            Provenance::Canon(cid) => (br#"{"type":"canon","cid":"#, Some(cid)),
        };
        out.extend_from_slice(kind);
        if let Some(cid) = cid {
            value::push_cid(out, cid);
        }
        out.extend_from_slice(b"}}");
    }
}

impl Content for CanonResult<'_> {
    fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"tetraplet":"#);
        value::push_cid(out, self.tetraplet);
        out.extend_from_slice(br#","values":["#);
        for (index, value) in self.values.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            value::push_cid(out, value);
        }
        out.extend_from_slice(b"]}");
    }
}

impl Content for ServiceResult<'_> {
    fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"value_cid":"#);
        value::push_cid(out, self.value_cid);
        out.extend_from_slice(br#","argument_hash":"#);
        value::push_cid(out, self.argument_hash);
        out.extend_from_slice(br#","tetraplet_cid":"#);
        value::push_cid(out, self.tetraplet_cid);
        out.push(b'}');
    }
}

fn verify_contents<V: Content>(
    store: &Store<'_, V>,
    kind: StoreKind,
    json: &mut Vec<u8>,
) -> Result<(), StoreError> {
    for (cid, content) in store.iter() {
        json.clear();
        content.write_json(json);
        check(kind, cid, json)?;
    }
    Ok(())
}

fn check(store: StoreKind, cid: &str, content: &[u8]) -> Result<(), StoreError> {
    cid::verify(cid, content).map_err(|error| match error {
        CidError::Mismatch { cid } => StoreError::Mismatch { store, cid },
        source => StoreError::Cid { store, source },
    })
}

fn refers<V>(
    from: StoreKind,
    to: StoreKind,
    cid: &str,
    store: &Store<'_, V>,
) -> Result<(), StoreError> {
    if store.contains(cid) {
        return Ok(());
    }
    Err(StoreError::Missing {
        cid: cid.to_owned(),
        from,
        to,
    })
}
