//! Why a run ends early: four families, each with its range of codes.
//!
//! The texts and codes are part of the protocol: scripts see them in `:error:` and `%last_error%`,
//! from there they get into arguments and hashes.

use particle::merge::MergeError;

/// Nothing was executed: the script, the data, the results or the key cannot be used.
///
/// The outcome has the previous data, no requests and no peers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PreparationError {
    /// The script is no valid AIR.
    #[error("air can't be parsed:\n{diagnostic}")]
    Script {
        /// Source lines with carets under what is wrong.
        diagnostic: String,
    },
    /// The archive inside of the data cannot be read.
    #[error(
        "an error occurred while data deserialization: {reason}.\nAquaVM version is {version} and \
         it expects {data_version} version."
    )]
    Archive {
        /// What is wrong.
        reason: String,
        /// Version of this interpreter.
        version: String,
        /// Version of its data format.
        data_version: String,
    },
    /// The envelope of the data cannot be read.
    #[error(
        "an error occurred while envelope deserialization: {reason}.\nAquaVM version is {version} \
         and it expects {data_version} version."
    )]
    Envelope {
        /// What is wrong.
        reason: String,
        /// Version of this interpreter.
        version: String,
        /// Version of its data format.
        data_version: String,
    },
    /// Of the envelope of the data only the versions can be read.
    #[error(
        "an error occurred while data deserialization: {reason}.\nAquaVM's version is {version} \
         and it expects data of {data_version} version.\nSupplied data version is \
         {supplied_data_version}, it's produced by AquaVM of {supplied_version} version."
    )]
    EnvelopeWithVersions {
        /// What is wrong.
        reason: String,
        /// Version of this interpreter.
        version: String,
        /// Version of its data format.
        data_version: String,
        /// Version of the interpreter that wrote the data.
        supplied_version: String,
        /// Version of the format of the data.
        supplied_data_version: String,
    },
    /// The call results cannot be read.
    #[error("error occurred while deserialize call results: {reason}.")]
    CallResults {
        /// What is wrong.
        reason: String,
    },
    /// The current data was written by an interpreter that is too old.
    #[error(
        "supplied data was produced by `{supplied}` version of interpreter, but minimum \
         `{required}` version is required"
    )]
    UnsupportedVersion {
        /// Version of the interpreter that wrote the data.
        supplied: String,
        /// The oldest that is accepted.
        required: String,
    },
    /// The key of this peer cannot be used.
    #[error("malformed keypair format: {reason}")]
    Key {
        /// What is wrong.
        reason: String,
    },
    /// A content of the current data does not belong to its CID.
    #[error("{reason}")]
    Stores {
        /// What is wrong.
        reason: String,
    },
    /// Signatures do not stand for the data.
    #[error("{reason}")]
    Signatures {
        /// What is wrong.
        reason: String,
    },
    /// The script is larger than a hard limit.
    #[error("air size: {size} bytes is bigger than the limit allowed: {limit} bytes")]
    ScriptSize {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The current data is larger than a hard limit.
    #[error(
        "Current_data particle size: {size} bytes is bigger than the limit allowed: {limit} bytes"
    )]
    DataSize {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A call result is larger than a hard limit.
    #[error("Call result size is bigger than the limit allowed: {limit} bytes")]
    CallResultSize {
        /// The limit in bytes.
        limit: u64,
    },
}

/// An error that `xor` catches.
///
/// At the root it ends the run with new data; the requests and peers collected so far are valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatchableError {
    /// A service failed.
    #[error("Local service error, ret_code is {ret_code}, error message is '{message}'")]
    LocalService {
        /// What the service said.
        ret_code: i32,
        /// Its raw result.
        message: String,
    },
    /// `match` of different values.
    #[error("compared values do not match")]
    MatchValuesNotEqual,
    /// `mismatch` of equal values.
    #[error("compared values do not mismatch")]
    MismatchValuesEqual,
    /// A variable that has no value here: where that may change, the instruction waits instead.
    #[error("variable with name '{name}' wasn't defined during script execution")]
    VariableNotFound {
        /// Name with its sigils.
        name: String,
    },
    /// `fold` over something that is no array.
    #[error("expression '{expression}' returned non-array value '{value}' for fold iterable")]
    FoldOverNonArray {
        /// Variable or lambda.
        expression: String,
        /// What it gave.
        value: String,
    },
    /// `fail`.
    #[error("fail with '{object}' is used without corresponding xor")]
    User {
        /// The error object.
        object: String,
    },
    /// A lambda that does not fit its value.
    #[error(transparent)]
    Lambda(#[from] LambdaError),
    /// `fail` with something that is no error object.
    #[error("{message}")]
    InvalidErrorObject {
        /// What is wrong with it.
        message: String,
    },
    /// A variable that `new` cleared and nothing set.
    #[error("variable with name '{name}' was cleared by new and then wasn't set")]
    NotSetAfterNew {
        /// Name with its sigils.
        name: String,
    },
    /// `.length` of something that is no array.
    #[error(
        "the length functor could applied only to an array-like value, but it's applied to \
         '{value}'"
    )]
    LengthOfNonArray {
        /// The value.
        value: String,
    },
    /// A peer, service or function that is no string.
    #[error("call cannot resolve non-String triplet variable part `{name}` with value '{value}'")]
    NonStringTriplet {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
    },
    /// A map key that is neither string nor integer.
    #[error("unsupported type for {map} map's key")]
    MapKey {
        /// Name of the map with its sigil.
        map: String,
    },
}

/// A lambda that does not fit its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LambdaError {
    /// An index beyond the end.
    #[error("value '{value}' does not contain element for idx = '{index}'")]
    NoElement {
        /// The array.
        value: String,
        /// The index.
        index: u32,
    },
    /// An index into something that is no array.
    #[error("value '{value}' is not an array-type to match array accessor with idx = '{index}'")]
    NotArray {
        /// The value.
        value: String,
        /// The index.
        index: u32,
    },
    /// A field that is not there.
    #[error("value '{value}' does not contain element with field name = '{field}'")]
    NoField {
        /// The object.
        value: String,
        /// The field.
        field: String,
    },
    /// A field of something that is no object.
    #[error(
        "value '{value}' is not an map-type to match field accessor with field_name = '{field}'"
    )]
    NotObject {
        /// The value.
        value: String,
        /// The field.
        field: String,
    },
    /// A number that is no index.
    #[error("index accessor `{number} can't be converted to u32`")]
    NotIndex {
        /// The number.
        number: String,
    },
    /// A scalar accessor that is neither string nor number.
    #[error("scalar accessor `{value}` should has number or string type")]
    NotAccessor {
        /// Its value.
        value: String,
    },
    /// A scalar accessor of a canon stream that is no number.
    #[error("stream accessor `{value}` should has number (u32) type")]
    NotStreamAccessor {
        /// Its value.
        value: String,
    },
    /// A field of a canon stream.
    #[error("field accessor (with field name = '{field}') can't be applied to a stream")]
    FieldOfStream {
        /// The field.
        field: String,
    },
    /// An index beyond the end of a canon stream.
    #[error(
        "lambda is applied to a stream that have only '{size}' elements, but '{index}' requested"
    )]
    StreamTooShort {
        /// Number of elements.
        size: usize,
        /// The index.
        index: u32,
    },
    /// A key of a canon map that is neither string nor integer.
    #[error("canon stream map accessor `{value}` should be either string or number")]
    NotMapKey {
        /// The key.
        value: String,
    },
    /// A key of a canon map that an iterator holds.
    #[error("canon stream map accessor must not be iterable")]
    IterableMapKey,
}

/// How the machine passes an [`UncatchableError`] on: results that hardly ever hold one stay small.
pub(crate) type Fatal = Box<UncatchableError>;

/// An error that ends the run at once: the data contradict the script or each other, or the script
/// breaks a rule that only shows when it runs.
///
/// The outcome has the previous data, no requests and no peers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UncatchableError {
    /// The traces do not fit the script or each other.
    #[error("on instruction '{instruction}' trace handler encountered an error: {source}")]
    Trace {
        /// Text of the instruction.
        instruction: String,
        /// What is wrong.
        source: MergeError,
    },
    /// A value of a stream has no state to number.
    #[error(transparent)]
    Compactification(MergeError),
    /// More states or requests than 32 bits count.
    #[error("trying to cast integer types, there is an error {reason}")]
    IntConversion {
        /// What was counted.
        reason: String,
    },
    /// `next` without its fold.
    #[error("fold state not found for this iterable '{name}'")]
    FoldStateNotFound {
        /// The iterator.
        name: String,
    },
    /// Assignment to an iterator of an active fold.
    #[error(
        "variable with name '{name}' can't be shadowed, shadowing isn't supported for iterables"
    )]
    IterableShadowing {
        /// The iterator.
        name: String,
    },
    /// A fold inside of a fold with the same iterator.
    #[error("multiple iterable values found for iterable name '{name}'")]
    MultipleIterableValues {
        /// The iterator.
        name: String,
    },
    /// The data hold a result of another kind than the call has an output.
    #[error("call result value {value} doesn't match with corresponding instruction")]
    CallResultKind {
        /// Dump of the result.
        value: String,
    },
    /// A second assignment outside of folds.
    #[error("trying to shadow variable '{name}', but shadowing is allowed only inside fold blocks")]
    ShadowingIsNotAllowed {
        /// Name with its sigils.
        name: String,
    },
    /// A scope that ended twice.
    #[error(
        "new end block tries to pop up a variable '{name}' that wasn't defined at depth {depth}"
    )]
    ScopesCorrupted {
        /// Name with its sigils.
        name: String,
        /// Depth of folds.
        depth: u32,
    },
    /// A CID that no store holds.
    #[error("{kind} for CID {cid:?} not found")]
    ValueForCidNotFound {
        /// What was looked for.
        kind: &'static str,
        /// The CID.
        cid: String,
    },
    /// The value of a failed call that describes no failure.
    #[error("failed to deserialize to CallServiceFailed: {reason}")]
    MalformedCallServiceFailed {
        /// What is wrong.
        reason: String,
    },
    /// Too many values in a stream.
    #[error("stream size goes over the allowed limit of {limit}")]
    StreamSizeLimitExceeded {
        /// The limit.
        limit: usize,
    },
    /// More instructions than [`Limits::steps`](crate::Limits::steps).
    #[error("the script executes more than {limit} instructions")]
    TooManySteps {
        /// The limit.
        limit: u64,
    },
    /// More bytes than [`Limits::memory`](crate::Limits::memory).
    #[error("the script makes more than {limit} bytes of values and requests")]
    TooMuchMemory {
        /// The limit.
        limit: u64,
    },
    /// An element of a canon map that is no pair.
    #[error("{message}")]
    StreamMapKey {
        /// What is wrong.
        message: &'static str,
    },
    /// A canon of a map into a scalar without an element.
    #[error("can not find JValue to produce scalar from")]
    CanonStreamMap,
    /// The data hold a result of another call, or of other arguments.
    #[error("{parameter} doesn't match expected parameters: expected {expected}, got {stored} ")]
    InstructionParametersMismatch {
        /// What differs.
        parameter: &'static str,
        /// What the script says.
        expected: String,
        /// What the data say.
        stored: String,
    },
    /// A value of the data that a script looks into is no JSON.
    #[error("value for CID {cid:?} is not JSON: {reason}")]
    ValueIsNotJson {
        /// The CID.
        cid: String,
        /// What is wrong.
        reason: String,
    },
    /// Current data that pass on more than their script does would make the result unverifiable.
    #[error("peer {peer_id:?} signed states that the script does not reach")]
    UnreachedSignedStates {
        /// The peer.
        peer_id: String,
    },
}

/// The run was complete, but something is left over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FarewellError {
    /// Call results that no call waits for; the new data are valid.
    #[error(
        "after finishing execution of supplied AIR, there are some unprocessed call results: \
         `{results}`, probably a wrong call_id used"
    )]
    UnprocessedCallResult {
        /// Dump of the results.
        results: String,
    },
    /// The new data cannot be signed or written.
    #[error("{reason}")]
    Signing {
        /// What is wrong.
        reason: String,
    },
}

impl PreparationError {
    /// The code of the outcome.
    #[must_use]
    pub fn code(&self) -> i64 {
        match self {
            Self::Script { .. } => 1,
            Self::Archive { .. } => 2,
            Self::Envelope { .. } => 3,
            Self::EnvelopeWithVersions { .. } => 4,
            Self::CallResults { .. } => 5,
            Self::UnsupportedVersion { .. } => 6,
            Self::Key { .. } => 7,
            Self::Stores { .. } => 8,
            Self::Signatures { .. } => 9,
            Self::ScriptSize { .. } | Self::DataSize { .. } | Self::CallResultSize { .. } => 10,
        }
    }
}

impl CatchableError {
    /// The code of the outcome and of the error object.
    #[must_use]
    pub fn code(&self) -> i64 {
        match self {
            Self::LocalService { .. } => 10000,
            Self::MatchValuesNotEqual => 10001,
            Self::MismatchValuesEqual => 10002,
            Self::VariableNotFound { .. } => 10003,
            Self::FoldOverNonArray { .. } => 10005,
            Self::User { .. } => 10006,
            Self::Lambda(_) => 10007,
            Self::InvalidErrorObject { .. } => 10008,
            Self::NotSetAfterNew { .. } => 10009,
            Self::LengthOfNonArray { .. } => 10010,
            Self::NonStringTriplet { .. } => 10011,
            Self::MapKey { .. } => 10012,
        }
    }
}

impl UncatchableError {
    /// The code of the outcome.
    #[must_use]
    pub fn code(&self) -> i64 {
        match self {
            Self::Trace { .. } | Self::TooManySteps { .. } | Self::TooMuchMemory { .. } => 20000,
            Self::Compactification(_) => 20001,
            Self::IntConversion { .. } => 20002,
            Self::FoldStateNotFound { .. } => 20003,
            Self::IterableShadowing { .. } => 20004,
            Self::MultipleIterableValues { .. } => 20005,
            Self::CallResultKind { .. } => 20006,
            Self::ShadowingIsNotAllowed { .. } => 20007,
            Self::ScopesCorrupted { .. } => 20008,
            Self::ValueForCidNotFound { .. } => 20010,
            Self::MalformedCallServiceFailed { .. } => 20012,
            Self::StreamSizeLimitExceeded { .. } => 20013,
            Self::StreamMapKey { .. } => 20014,
            Self::CanonStreamMap => 20016,
            Self::InstructionParametersMismatch { .. } => 20017,
            // Found late, but what it means is that the received data must not be used.
            Self::ValueIsNotJson { .. } => 8,
            Self::UnreachedSignedStates { .. } => 9,
        }
    }
}

impl FarewellError {
    /// The code of the outcome.
    #[must_use]
    pub fn code(&self) -> i64 {
        match self {
            Self::UnprocessedCallResult { .. } => 30000,
            Self::Signing { .. } => 30001,
        }
    }
}
