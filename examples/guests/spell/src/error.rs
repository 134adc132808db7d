//! Why a function did not do what it was asked for; callers know some of the texts.

use std::{fmt, io};

use crate::{
    role::Role,
    state::{MAX_TEXT, MAX_VALUES},
    store::MAX_SCRIPT,
};

#[derive(Debug)]
pub enum SpellError {
    /// Somebody but the creator sets the script.
    ScriptForbidden,
    /// Somebody but the creator sets the trigger.
    TriggerForbidden,
    /// There is no trigger yet.
    NoTrigger,
    /// A key that the caller may not write.
    KeyForbidden { key: String, role: Role },
    /// A function for the spell's own particles.
    OnlySpell { function: &'static str },
    /// First data that are no JSON object.
    NoObject { reason: String },
    /// A script that cannot be read or written.
    Script(io::Error),
    /// The same, where its content identifier was asked for.
    ScriptCid(io::Error),
    /// A journal that cannot be read or written.
    Journal(io::Error),
    /// A journal that is not as it was written.
    Corrupt { at: u64, what: &'static str },
    /// A value that no record holds.
    TooLarge,
    /// No data at all.
    NoStore,
    /// A key without a character.
    EmptyKey,
    /// No room for a value.
    Full,
    /// A message that is too long.
    LongMessage,
    /// A script that is too long.
    LongScript,
}

impl fmt::Display for SpellError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ScriptForbidden => f.write_str("Only owner of the service can set the script"),
            Self::TriggerForbidden => f.write_str("SetTriggerConfigForbidden"),
            Self::NoTrigger => {
                f.write_str("Trigger Config is not set. Use set_trigger_config to set it.")
            }
            Self::KeyForbidden { key, role } => {
                write!(f, "writing to the `{key}` is forbidden for ")?;
                match role {
                    Role::Host | Role::Worker => {
                        write!(f, "the callers with the role {role:?}")
                    }
                    Role::Spell | Role::Outsider => f.write_str("any outside caller"),
                }
            }
            Self::OnlySpell { function } => write!(
                f,
                "{function} can be called only by the associated spell script"
            ),
            Self::NoObject { reason } => {
                write!(f, "passed string must represent a JSON object: {reason}")
            }
            // As callers know it: the system's text and nothing else.
            Self::Script(error) => error.fmt(f),
            Self::ScriptCid(error) => write!(f, "error loading script: {error}"),
            Self::Journal(error) => write!(f, "the data of the spell: {error}"),
            Self::Corrupt { at, what } => {
                write!(f, "the data of the spell are corrupt at byte {at}: {what}")
            }
            Self::TooLarge => f.write_str("the value is too large for a spell"),
            Self::NoStore => f.write_str("the data of the spell are not open"),
            Self::EmptyKey => f.write_str("a key has one character or more"),
            Self::Full => write!(f, "a spell keeps no more than {MAX_VALUES} bytes of values"),
            Self::LongMessage => write!(f, "a message has no more than {MAX_TEXT} bytes"),
            Self::LongScript => write!(f, "a script has no more than {MAX_SCRIPT} bytes"),
        }
    }
}

impl std::error::Error for SpellError {}
