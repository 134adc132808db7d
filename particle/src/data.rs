//! The data of a particle: what happened so far, in a form that every peer can check.
//!
//! Everything here borrows: CIDs, peer ids and JSON texts are slices of the bytes that were
//! decoded, or of an arena of the caller that lives as long.

mod decode;
mod encode;
mod envelope;
mod json;
mod reachable;
mod signatures;
mod state;
mod store;
mod verify;

pub use decode::{ArchiveError, MAX_SHARED_TEXT_LEN};
pub use encode::EncodeError;
pub use envelope::{
    DATA_VERSION, Envelope, EnvelopeError, MIN_INTERPRETER_VERSION, VersionError, Versions,
};
pub use signatures::{
    DataSignatureError, INVALID_LENGTH, INVALID_PREFIX, MergedSignatures, OwnSignature,
    SECP256K1_REFUSED, SIGNATURE_LEN, STORED_KEY_LEN, SignedCids, UNSIGNED, check_signatures,
    sign_cids, signed_message, stored_public_key,
};
pub use state::{CallState, FoldLore, Generations, State, StateKind, Subtrace, Subtraces};
pub use store::{CanonElement, CanonResult, CidInfo, Provenance, ServiceResult, Signatures, Store};
pub use verify::{Content, StoreError, StoreKind, VerifyOptions};

/// The content of particle data: trace, stores and signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data<'a> {
    /// What happened, in the order of execution; `par` and `fold` describe the nesting.
    pub trace: Vec<State<'a>>,
    /// The largest call id that the holder of this data issued so far.
    pub last_call_request_id: u32,
    /// The contents behind the CIDs of the trace.
    pub cid_info: CidInfo<'a>,
    /// Signatures of the peers that took part.
    pub signatures: Signatures<'a>,
}
