//! One run, from bytes to bytes.

use std::{
    borrow::{Borrow, Cow},
    collections::BTreeMap,
    sync::Arc,
};

use particle::{
    KeyPair, Signer as _,
    data::{
        CidInfo, DATA_VERSION, Data, Envelope, EnvelopeError, INVALID_LENGTH, INVALID_PREFIX,
        MergedSignatures, SECP256K1_REFUSED, SignedCids, StoreError, UNSIGNED, VerifyOptions,
        Versions, check_signatures, sign_cids, stored_public_key,
    },
};

use crate::{
    arena::Arena,
    error::{FarewellError, PreparationError, UncatchableError},
    outcome::{CallRequest, CallResults, LimitFlags, Outcome},
    parameters::{Key, RunParameters},
    requests::{RequestBytes, RequestSink},
    results::Answers,
    script::{Program, Script},
    vm::{self, Abort, Inputs},
};

/// Executes a script over the previous data of this peer and the data that arrived, either of which
/// may be empty.
///
/// Nothing that the arguments contain can make this panic. The same arguments give the same
/// outcome, byte for byte.
#[must_use]
pub fn step(
    script: &Script,
    previous: &[u8],
    current: &[u8],
    parameters: &RunParameters,
    results: &CallResults,
) -> Outcome {
    let run = Run {
        previous,
        current,
        parameters,
        script_size: script.text().len(),
    };
    run.execute(
        BTreeMap::<u32, CallRequest>::new(),
        |requests| requests,
        BTreeMap::new(),
        || Ok(script.program()),
        || Ok(results.into()),
    )
}

/// The interpreter interface of the protocol description: script text and encoded call results in,
/// encoded call requests out. The codes of preparation errors have the order of that interface.
#[must_use]
pub fn invoke(
    script: &str,
    previous: &[u8],
    current: &[u8],
    parameters: &RunParameters,
    call_results: &[u8],
) -> Outcome<Vec<u8>> {
    let parse = || {
        Program::parse(script, parameters.limits.depth).map_err(|errors| PreparationError::Script {
            diagnostic: errors.to_string(),
        })
    };
    invoke_with(
        script.len(),
        parse,
        previous,
        current,
        parameters,
        call_results,
    )
}

/// [`invoke`] with a script that was parsed before.
#[must_use]
pub fn invoke_script(
    script: &Script,
    previous: &[u8],
    current: &[u8],
    parameters: &RunParameters,
    call_results: &[u8],
) -> Outcome<Vec<u8>> {
    let parse = || Ok(script.program());
    let size = script.text().len();
    invoke_with(size, parse, previous, current, parameters, call_results)
}

fn invoke_with<'s, P: Borrow<Program<'s>>>(
    script_size: usize,
    parse: impl FnOnce() -> Result<P, PreparationError>,
    previous: &[u8],
    current: &[u8],
    parameters: &RunParameters,
    call_results: &[u8],
) -> Outcome<Vec<u8>> {
    let run = Run {
        previous,
        current,
        parameters,
        script_size,
    };
    run.execute(
        RequestBytes::default(),
        RequestBytes::into_bytes,
        Vec::new(),
        parse,
        || Answers::decode(call_results).map_err(|reason| PreparationError::CallResults { reason }),
    )
}

pub(crate) struct Run<'r> {
    pub(crate) previous: &'r [u8],
    pub(crate) current: &'r [u8],
    pub(crate) parameters: &'r RunParameters,
    pub(crate) script_size: usize,
}

/// How a run that executed its script ended.
struct Ended {
    ret_code: i64,
    error_message: String,
    data: Vec<u8>,
    next_peers: Vec<String>,
}

/// Why a run has no new data.
enum Failure {
    /// The previous data stay.
    Kept(i64, String),
    /// Not even they can be given back.
    Lost(i64, String),
}

impl From<PreparationError> for Failure {
    fn from(error: PreparationError) -> Self {
        Self::Kept(error.code(), error.to_string())
    }
}

impl From<UncatchableError> for Failure {
    fn from(error: UncatchableError) -> Self {
        Self::Kept(error.code(), error.to_string())
    }
}

impl From<FarewellError> for Failure {
    fn from(error: FarewellError) -> Self {
        Self::Lost(error.code(), error.to_string())
    }
}

impl Run<'_> {
    /// Runs; `sink` takes the requests, `finish` gives them their form, `nothing` is that form
    /// after an error that loses everything.
    fn execute<'c, 's, S: RequestSink + Default, R, P: Borrow<Program<'s>>>(
        &self,
        mut sink: S,
        finish: impl FnOnce(S) -> R,
        nothing: R,
        script: impl FnOnce() -> Result<P, PreparationError>,
        results: impl FnOnce() -> Result<Answers<'c>, PreparationError>,
    ) -> Outcome<R> {
        let mut flags = LimitFlags::default();
        let ended = self.phases(&mut sink, &mut flags, script, results);
        match ended {
            Ok(ended) => Outcome {
                ret_code: ended.ret_code,
                error_message: ended.error_message,
                data: ended.data,
                next_peers: ended.next_peers,
                call_requests: finish(sink),
                flags,
            },
            Err(Failure::Kept(ret_code, error_message)) => Outcome {
                ret_code,
                error_message,
                data: self.previous.to_vec(),
                next_peers: Vec::new(),
                call_requests: finish(S::default()),
                flags,
            },
            Err(Failure::Lost(ret_code, error_message)) => Outcome {
                ret_code,
                error_message,
                data: Vec::new(),
                next_peers: Vec::new(),
                call_requests: nothing,
                flags,
            },
        }
    }

    /// The phases in the order of the protocol description: the first that fails decides the code.
    fn phases<'c, 's, P: Borrow<Program<'s>>>(
        &self,
        sink: &mut dyn RequestSink,
        flags: &mut LimitFlags,
        script: impl FnOnce() -> Result<P, PreparationError>,
        results: impl FnOnce() -> Result<Answers<'c>, PreparationError>,
    ) -> Result<Ended, Failure> {
        let parameters = self.parameters;
        self.check_sizes(flags)?;

        let previous_envelope = self.envelope(self.previous)?;
        let current_envelope = self.envelope(self.current)?;
        self.check_version(&current_envelope)?;
        let previous = self.data(&previous_envelope)?;
        let current = self.data(&current_envelope)?;

        let own_key = match &parameters.key {
            Key::Pair(pair) => Some(pair.as_ref()),
            Key::Raw { .. } => None,
        };
        let MergedSignatures {
            mut signatures,
            signed,
            own,
        } = if parameters.check_signatures {
            current
                .verify_stores(VerifyOptions::default())
                .map_err(stores_error)?;
            check_signatures(&previous, &current, &parameters.particle_id, own_key).map_err(
                |error| PreparationError::Signatures {
                    reason: error.to_string(),
                },
            )?
        } else {
            MergedSignatures::default()
        };
        let policy = parameters.policy;
        let signed =
            (policy.refuse_unreached_states && parameters.check_signatures).then_some(signed);

        let script = script()?;
        let results = results()?;
        let limit = parameters.limits.call_result;
        if results.longest() as u64 > limit {
            flags.call_result = true;
            if parameters.limits.hard {
                return Err(PreparationError::CallResultSize { limit }.into());
            }
        }
        let key = key_pair(&parameters.key)?;

        let arena = Arena::with_limit(parameters.limits.memory);
        let Data {
            trace: previous_trace,
            last_call_request_id,
            cid_info: mut stores,
            ..
        } = previous;
        let Data {
            trace: current_trace,
            cid_info: newer,
            ..
        } = current;
        merge_stores(&mut stores, newer);
        let finished = vm::execute(Inputs {
            program: script.borrow(),
            arena: &arena,
            parameters,
            previous: &previous_trace,
            current: &current_trace,
            stores,
            last_call_id: last_call_request_id,
            results: &results,
            requests: sink,
            watch: None,
        });
        // The new trace refers to their texts only, and writing it needs memory.
        drop((previous_trace, current_trace));
        let mut finished = match finished {
            Ok(finished) => finished,
            Err(Abort::Uncatchable(error)) => return Err(error.into()),
            Err(Abort::Compactification(error)) => {
                return Err(Failure::Lost(error.code(), error.to_string()));
            }
        };

        let (ret_code, error_message) = match &finished.error {
            Some(error) => (error.code(), error.to_string()),
            None if results.unused().next().is_none() => (0, String::new()),
            None => {
                let error = FarewellError::UnprocessedCallResult {
                    results: dump_results(results.unused()),
                };
                (error.code(), error.to_string())
            }
        };
        let stored_key =
            stored_public_key(key.public_key()).ok_or_else(|| FarewellError::Signing {
                reason: "the key of this peer is not an Ed25519 key".to_owned(),
            })?;
        let stays = finished.next_peers.is_empty() && finished.last_call_id != last_call_request_id;
        let signature = if policy.defer_signature && stays {
            UNSIGNED
        } else {
            particle::cid::sort(&mut finished.own_cids);
            match own {
                Some(own) if own.cids == finished.own_cids => own.signature,
                _ => sign_cids(&key, &mut finished.own_cids, &parameters.particle_id),
            }
        };
        signatures.insert(&stored_key, &signature);
        let mut data = Data {
            trace: finished.trace,
            last_call_request_id: finished.last_call_id,
            cid_info: finished.stores,
            signatures,
        };
        if let Some(signed) = signed {
            refuse_unreached(&data, &signed, &parameters.current_peer_id)?;
        }
        if policy.drop_unreferenced {
            data.drop_unreferenced();
        }
        let versions = Versions::of_interpreter(parameters.compat.interpreter_version());
        let data = data
            .encode(&versions)
            .map_err(|error| FarewellError::Signing {
                reason: error.to_string(),
            })?;
        Ok(Ended {
            ret_code,
            error_message,
            data,
            next_peers: finished.next_peers.into_iter().map(str::to_owned).collect(),
        })
    }

    fn check_sizes(&self, flags: &mut LimitFlags) -> Result<(), PreparationError> {
        let limits = self.parameters.limits;
        let (script, data) = (self.script_size as u64, self.current.len() as u64);
        flags.script = script > limits.script;
        flags.particle = data > limits.particle;
        if limits.hard && (flags.script || flags.particle) {
            // The interface reports no flags in this case.
            let too_large = std::mem::take(flags);
            return Err(if too_large.script {
                PreparationError::ScriptSize {
                    size: script,
                    limit: limits.script,
                }
            } else {
                PreparationError::DataSize {
                    size: data,
                    limit: limits.particle,
                }
            });
        }
        Ok(())
    }

    pub(crate) fn check_version(&self, envelope: &Envelope<'_>) -> Result<(), PreparationError> {
        envelope
            .check_version()
            .map_err(|error| PreparationError::UnsupportedVersion {
                supplied: error.actual.to_string(),
                required: error.required.to_string(),
            })
    }

    pub(crate) fn envelope<'b>(&self, bytes: &'b [u8]) -> Result<Envelope<'b>, PreparationError> {
        Envelope::decode(bytes).map_err(|error| {
            let version = self.version();
            let data_version = DATA_VERSION.to_string();
            // The form in which all interpreters name a fault of the envelope.
            let syntax = |reason: &str| format!("Envelope(Syntax({reason:?}))");
            match error {
                EnvelopeError::NoArchive { versions, reason } => {
                    PreparationError::EnvelopeWithVersions {
                        reason: syntax(&reason),
                        version,
                        data_version,
                        supplied_version: versions.interpreter.to_string(),
                        supplied_data_version: versions.data.to_string(),
                    }
                }
                EnvelopeError::Unreadable { reason, .. } => PreparationError::Envelope {
                    reason: syntax(&reason),
                    version,
                    data_version,
                },
                error => PreparationError::Envelope {
                    reason: error.to_string(),
                    version,
                    data_version,
                },
            }
        })
    }

    pub(crate) fn data<'b>(
        &self,
        envelope: &'b Envelope<'_>,
    ) -> Result<Data<'b>, PreparationError> {
        envelope.data().map_err(|error| PreparationError::Archive {
            reason: error.to_string(),
            version: self.version(),
            data_version: DATA_VERSION.to_string(),
        })
    }

    fn version(&self) -> String {
        self.parameters.compat.interpreter_version().to_string()
    }
}

/// A signature stands for all results of its peer: where the script did not reach some of them, it
/// stands for nothing in the new data.
fn refuse_unreached(
    data: &Data<'_>,
    signed: &SignedCids<'_>,
    current_peer: &str,
) -> Result<(), Failure> {
    let reached = SignedCids::collect(data).map_err(|error| PreparationError::Signatures {
        reason: error.to_string(),
    })?;
    let mut unreached: Vec<&str> = signed
        .iter()
        .filter(|(peer_id, cids)| *peer_id != current_peer && reached.get(peer_id) != *cids)
        .map(|(peer_id, _)| peer_id)
        .collect();
    unreached.sort_unstable();
    match unreached.first() {
        Some(peer_id) => Err(UncatchableError::UnreachedSignedStates {
            peer_id: (*peer_id).to_owned(),
        }
        .into()),
        None => Ok(()),
    }
}

pub(crate) fn stores_error(error: StoreError) -> PreparationError {
    PreparationError::Stores {
        reason: error.to_string(),
    }
}

fn key_pair(key: &Key) -> Result<Arc<KeyPair>, PreparationError> {
    let malformed = |reason: &str| PreparationError::Key {
        reason: reason.to_owned(),
    };
    match key {
        Key::Pair(pair) => Ok(Arc::clone(pair)),
        Key::Raw { format: 0, secret } => match <&[u8; 32]>::try_from(secret.as_slice()) {
            Ok(seed) => Ok(Arc::new(KeyPair::from_seed(seed))),
            Err(_) => Err(malformed(INVALID_LENGTH)),
        },
        Key::Raw { format: 2, .. } => Err(malformed(SECP256K1_REFUSED)),
        Key::Raw { .. } => Err(malformed(INVALID_PREFIX)),
    }
}

fn merge_stores<'a>(stores: &mut CidInfo<'a>, newer: CidInfo<'a>) {
    stores.values.merge(newer.values);
    stores.tetraplets.merge(newer.tetraplets);
    stores.canon_elements.merge(newer.canon_elements);
    stores.canon_results.merge(newer.canon_results);
    stores.service_results.merge(newer.service_results);
}

/// Readable form of results that no call waits for.
fn dump_results<'a>(unused: impl Iterator<Item = (Cow<'a, str>, i32, &'a str)>) -> String {
    let mut text = String::from("{");
    for (index, (id, ret_code, result)) in unused.enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(&format!(
            "{id:?}: CallServiceResult {{ ret_code: {ret_code}, result: {result:?} }}"
        ));
    }
    text.push('}');
    text
}
