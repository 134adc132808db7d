//! What functions take and return, in the order of fields that callers of the published module know.

use marine_sdk::marine;

/// What came of a change.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitValue {
    pub success: bool,
    pub error: String,
}

/// A text under a key.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StringValue {
    pub value: String,
    pub success: bool,
    pub error: String,
    /// There is none.
    pub absent: bool,
}

/// A number under a key.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct U32Value {
    pub value: u32,
    pub success: bool,
    pub error: String,
    /// There is none.
    pub absent: bool,
}

/// The elements of a list.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StringListValue {
    pub value: Vec<String>,
    pub success: bool,
    pub error: String,
}

/// Yes or no.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BoolValue {
    pub value: bool,
    pub success: bool,
    pub error: String,
}

/// A script.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScriptValue {
    pub value: String,
    pub success: bool,
    pub error: String,
}

/// A content identifier.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CIDv1Value {
    pub value: String,
    pub success: bool,
    pub error: String,
}

/// What starts the spell.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TriggerConfig {
    pub clock: ClockConfig,
    pub connections: ConnectionPoolConfig,
    pub blockchain: BlockChainConfig,
}

/// Times in seconds since 1970.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClockConfig {
    pub start_sec: u32,
    pub end_sec: u32,
    pub period_sec: u32,
}

/// Peers that come and go.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectionPoolConfig {
    pub connect: bool,
    pub disconnect: bool,
}

/// Blocks of the chain.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlockChainConfig {
    pub start_block: u32,
    pub end_block: u32,
}

/// What starts the spell, if that was set.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TriggerConfigValue {
    pub config: TriggerConfig,
    pub success: bool,
    pub error: String,
}

/// A message of somebody; the time in seconds since 1970.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MailboxMessage {
    pub init_peer_id: String,
    pub timestamp: u64,
    pub message: String,
}

/// Messages, the newest first.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetMailboxResult {
    pub messages: Vec<MailboxMessage>,
    pub success: bool,
    pub error: String,
}

/// The newest message: none or one.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PopMailboxResult {
    pub message: Vec<MailboxMessage>,
    pub success: bool,
    pub absent: bool,
    pub error: String,
}

/// A line of the log; the time in seconds since 1970.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    pub timestamp: u64,
    pub message: String,
}

/// Lines of the log, the oldest first.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetLogsResult {
    pub logs: Vec<Log>,
    pub success: bool,
    pub error: String,
}

/// An error of a script.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LastError {
    pub error_code: u32,
    pub instruction: String,
    pub message: String,
    pub peer_id: String,
}

/// An error and its place in the script.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LastErrorEntry {
    pub last_error: LastError,
    pub error_idx: u32,
}

/// Errors of one particle.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParticleErrors {
    pub particle_id: String,
    pub errors: Vec<LastErrorEntry>,
}

/// Errors of all particles.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AllErrorsResult {
    pub particle_errors: Vec<ParticleErrors>,
    pub success: bool,
    pub error: String,
}
