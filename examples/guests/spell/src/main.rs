//! Keeps the script, the trigger and the data of a spell: everything that a peer needs of the service
//! behind one, without a database. Functions, records and texts are those that callers of the
//! published module know.
//!
//! The service has its data in `/storage`: `script.air`, and a journal of everything else.

mod answer;
mod cid;
mod error;
mod journal;
mod records;
mod role;
mod state;
mod store;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use marine_sdk::{get_call_parameters, marine, module_manifest};
use serde_json::Value;

use crate::{
    error::SpellError,
    records::{
        AllErrorsResult, BoolValue, CIDv1Value, GetLogsResult, GetMailboxResult, LastError,
        LastErrorEntry, Log, MailboxMessage, PopMailboxResult, ScriptValue, StringListValue,
        StringValue, TriggerConfig, TriggerConfigValue, U32Value, UnitValue,
    },
    role::Role,
    state::{Change, Scalar, State, cut},
    store::Store,
};

module_manifest!();

/// The directory that hosts keep for a service.
const FOLDER: &str = "/storage";

thread_local! {
    static STORE: RefCell<Option<Store>> = const { RefCell::new(None) };
}

/// Sets the script; only who created the service may.
#[marine]
pub fn set_script(script: &str) -> UnitValue {
    let set = creator_or(SpellError::ScriptForbidden)
        .and_then(|()| Store::set_script(Path::new(FOLDER), script));
    set.into()
}

/// The script.
#[marine]
pub fn get_script() -> ScriptValue {
    let script = Store::script(Path::new(FOLDER)).map_err(SpellError::Script);
    script.into()
}

/// The content identifier of the script.
#[marine]
pub fn script_cid() -> CIDv1Value {
    let script = Store::script(Path::new(FOLDER)).map_err(SpellError::ScriptCid);
    script.map(|script| cid::of(script.as_bytes())).into()
}

/// Sets what starts the spell; only who created the service may.
#[marine]
pub fn set_trigger_config(config: TriggerConfig) -> UnitValue {
    let set = creator_or(SpellError::TriggerForbidden)
        .and_then(|()| change(vec![Change::Trigger(config)]));
    set.into()
}

/// What starts the spell.
#[marine]
pub fn get_trigger_config() -> TriggerConfigValue {
    let config = look(|state| state.trigger().cloned());
    config
        .and_then(|config| config.ok_or(SpellError::NoTrigger))
        .into()
}

/// Puts a text under a key.
#[marine]
pub fn set_string(key: String, value: String) -> UnitValue {
    write(&key.clone(), Change::SetText { key, value }).into()
}

/// The text under a key.
#[marine]
pub fn get_string(key: &str) -> StringValue {
    let text = look(|state| match state.scalar(key) {
        Some(Scalar::Text(text)) => Some(text.clone()),
        Some(Scalar::Number(_)) | None => None,
    });
    text.into()
}

/// Puts a number under a key.
#[marine]
pub fn set_u32(key: String, value: u32) -> UnitValue {
    write(&key.clone(), Change::SetNumber { key, value }).into()
}

/// The number under a key.
#[marine]
pub fn get_u32(key: &str) -> U32Value {
    let number = look(|state| match state.scalar(key) {
        Some(Scalar::Number(number)) => Some(*number),
        Some(Scalar::Text(_)) | None => None,
    });
    number.into()
}

/// Removes what is under a key, be it a text, a number, a list, or nothing.
#[marine]
pub fn remove_key(key: String) -> UnitValue {
    let removed = may_write(&key).and_then(|()| match look(|state| state.has(&key))? {
        true => change(vec![Change::Remove { key }]),
        false => Ok(()),
    });
    removed.into()
}

/// Whether there is something under a key.
#[marine]
pub fn exists(key: &str) -> BoolValue {
    look(|state| state.has(key)).into()
}

/// Puts each member of a JSON object under its name, as JSON. It ends at the first name that the
/// caller may not write.
#[marine]
pub fn set_json_fields(json: &str) -> UnitValue {
    set_fields(json).into()
}

/// Puts an element at the end of a list.
#[marine]
pub fn list_push_string(key: String, value: String) -> UnitValue {
    write(&key.clone(), Change::Push { key, value }).into()
}

/// Takes the last element of a list.
#[marine]
pub fn list_pop_string(key: String) -> StringValue {
    let popped = may_write(&key).and_then(|()| {
        let last = look(|state| state.list(&key).last().cloned())?;
        if last.is_some() {
            change(vec![Change::Pop { key }])?;
        }
        Ok(last)
    });
    popped.into()
}

/// The elements of a list in the order in which they came.
#[marine]
pub fn list_get_strings(key: &str) -> StringListValue {
    look(|state| state.list(key).to_vec()).into()
}

/// Removes every element of a list that is equal to a text.
#[marine]
pub fn list_remove_string(key: String, value: String) -> UnitValue {
    let removed =
        may_write(&key).and_then(
            |()| match look(|state| state.list(&key).contains(&value))? {
                true => change(vec![Change::RemoveEqual { key, value }]),
                false => Ok(()),
            },
        );
    removed.into()
}

/// Leaves a message; anybody may.
#[marine]
pub fn push_mailbox(message: String) -> UnitValue {
    let message = MailboxMessage {
        init_peer_id: get_call_parameters().particle.init_peer_id,
        timestamp: now_sec(),
        message,
    };
    change(vec![Change::PutMessage(message)]).into()
}

/// The messages, the newest first.
#[marine]
pub fn get_mailbox() -> GetMailboxResult {
    look(|state| state.mailbox().iter().rev().cloned().collect::<Vec<_>>()).into()
}

/// Takes the newest message; only the spell itself may.
#[marine]
pub fn pop_mailbox() -> PopMailboxResult {
    let popped = spell_only("pop_mailbox").and_then(|()| {
        let newest = look(|state| state.mailbox().back().cloned())?;
        if newest.is_some() {
            change(vec![Change::TakeMessage])?;
        }
        Ok(newest)
    });
    popped.into()
}

/// Adds a line to the log; only the spell itself may.
#[marine]
pub fn store_log(log: String) -> UnitValue {
    let stored = spell_only("store_log").and_then(|()| {
        let log = Log {
            timestamp: now_sec(),
            message: cut(log),
        };
        change(vec![Change::PutLog(log)])
    });
    stored.into()
}

/// The log, the oldest line first.
#[marine]
pub fn get_logs() -> GetLogsResult {
    look(|state| state.logs().iter().cloned().collect::<Vec<_>>()).into()
}

/// Keeps an error of this particle; only the spell itself may.
#[marine]
pub fn store_error(error: LastError, error_idx: u32, particle_timestamp: u64) -> UnitValue {
    let stored = spell_only("store_error").and_then(|()| {
        let last_error = LastError {
            error_code: error.error_code,
            instruction: cut(error.instruction),
            message: cut(error.message),
            peer_id: cut(error.peer_id),
        };
        change(vec![Change::PutError {
            particle_id: get_call_parameters().particle.id,
            timestamp: particle_timestamp,
            entry: LastErrorEntry {
                last_error,
                error_idx,
            },
        }])
    });
    stored.into()
}

/// The errors of a particle.
#[marine]
pub fn get_errors(particle_id: &str) -> Vec<LastErrorEntry> {
    // There is no place for an error of ours.
    look(|state| state.errors_of(particle_id)).unwrap_or_default()
}

/// The errors of all particles.
#[marine]
pub fn get_all_errors() -> AllErrorsResult {
    look(State::errors).into()
}

fn main() {}

/// Works with the store, which is opened for the first who needs it.
fn with_store<T>(work: impl FnOnce(&mut Store) -> Result<T, SpellError>) -> Result<T, SpellError> {
    STORE.with_borrow_mut(|store| {
        if store.as_ref().is_none_or(Store::is_stale) {
            // The old one closes its file first.
            *store = None;
            *store = Some(Store::open(Path::new(FOLDER))?);
        }
        match store {
            Some(store) => work(store),
            None => Err(SpellError::NoStore),
        }
    })
}

fn look<T>(look: impl FnOnce(&State) -> T) -> Result<T, SpellError> {
    with_store(|store| Ok(look(store.state())))
}

fn change(changes: Vec<Change>) -> Result<(), SpellError> {
    with_store(|store| store.make(changes))
}

/// Makes a change of a key, if the caller may.
fn write(key: &str, change_of_key: Change) -> Result<(), SpellError> {
    may_write(key)?;
    change(vec![change_of_key])
}

fn set_fields(json: &str) -> Result<(), SpellError> {
    let fields: BTreeMap<String, Value> =
        serde_json::from_str(json).map_err(|error| SpellError::NoObject {
            reason: error.to_string(),
        })?;
    let role = Role::of(&get_call_parameters());
    let mut changes = Vec::with_capacity(fields.len());
    let mut refusal = None;
    for (key, value) in fields {
        if let Err(error) = role.check_write(&key) {
            refusal = Some(error);
            break;
        }
        let value = value.to_string();
        changes.push(Change::SetText { key, value });
    }
    change(changes)?;
    refusal.map_or(Ok(()), Err)
}

fn may_write(key: &str) -> Result<(), SpellError> {
    Role::of(&get_call_parameters()).check_write(key)
}

fn creator_or(error: SpellError) -> Result<(), SpellError> {
    let call = get_call_parameters();
    match call.particle.init_peer_id == call.service_creator_peer_id {
        true => Ok(()),
        false => Err(error),
    }
}

fn spell_only(function: &'static str) -> Result<(), SpellError> {
    match Role::of(&get_call_parameters()) {
        Role::Spell => Ok(()),
        _ => Err(SpellError::OnlySpell { function }),
    }
}

/// Seconds since 1970 by the host's clock.
fn now_sec() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
