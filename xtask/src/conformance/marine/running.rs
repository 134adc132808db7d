//! `published-runs.json`: what services of published modules answer, call after call.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use marine_runtime::{CallParameters, Engine, SecurityTetraplet};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Report, engines, interpreter,
    published::FileNote,
    service::{Bytes, Loaded, Stage, call},
};
use crate::conformance::run::same;

/// Stands in arguments and results for the folder of the service.
const FOLDER: &str = "{folder}";

#[derive(Deserialize)]
pub(super) struct Document {
    /// Files by the name that services use for them.
    files: BTreeMap<String, FileNote>,
    services: Vec<ServiceNote>,
    interpreter: InterpreterNote,
}

/// Recorded runs of the published interpreter.
#[derive(Deserialize)]
struct InterpreterNote {
    /// Their folder, beside that of the document.
    records: PathBuf,
    /// Every how manieth is run again.
    every: usize,
}

#[derive(Deserialize)]
struct ServiceNote {
    name: String,
    /// Its modules, the facade last.
    modules: Vec<ModuleNote>,
    #[serde(default)]
    parameters: CallParameters,
    /// Contents of files that are there before it starts, by their place in the folder.
    #[serde(default)]
    contents: BTreeMap<String, String>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct ModuleNote {
    name: String,
    file: String,
    /// Scripts that stand for the programs that it may call.
    #[serde(default)]
    programs: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Step {
    /// A call: function, arguments, result.
    Call(String, Value, Value),
    /// A call that is not like the others: function, arguments, result, what differs.
    CallWith(String, Value, Value, Change),
    /// The service is closed and started again with the same folder.
    Restart(Restart),
}

/// What differs from the service's other calls.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    init_peer_id: Option<String>,
    tetraplets: Option<Vec<Vec<SecurityTetraplet>>>,
    /// Names for parts of the result, such as handles and times, each with its JSON pointer. They
    /// stand in braces in this result and in what follows.
    #[serde(default)]
    keep: BTreeMap<String, String>,
}

#[derive(Deserialize)]
enum Restart {
    #[serde(rename = "restart")]
    Restart,
}

/// Replays every service on every engine, then the interpreter; `file` is where `document` stands.
pub(super) fn replay(document: &Document, file: &Path, report: &mut Report) -> Result<(), String> {
    for engine in engines()? {
        for service in &document.services {
            let name = format!("running {} on {}", service.name, engine.backend().name());
            let mut files = Vec::with_capacity(service.modules.len());
            let mut missing = None;
            for module in &service.modules {
                let file = document.files.get(&module.file);
                let file = file.ok_or_else(|| format!("there is no file {:?}", module.file))?;
                match file.fetch() {
                    Ok(bytes) => files.push(bytes),
                    Err(error) => missing = Some(error),
                }
            }
            match missing {
                None => report.record(name, run(service, &files, &engine)),
                Some(error) if error.is_unreachable() => report.skip(name, error.to_string()),
                Some(error) => report.record(name, Err(error.to_string())),
            }
        }
    }
    let beside = file.parent().unwrap_or(Path::new("."));
    let note = &document.interpreter;
    interpreter::replay(&beside.join(&note.records), note.every.max(1), report)
}

fn run(note: &ServiceNote, files: &[Bytes], engine: &Engine) -> Result<(), String> {
    let stage = Stage::new()?;
    for (place, content) in &note.contents {
        write(&stage.folder().join(place), content)?;
    }
    let mut modules = Vec::with_capacity(files.len());
    for (module, bytes) in note.modules.iter().zip(files) {
        let mut loaded = Loaded::new(&module.name, bytes)?;
        loaded.programs.extend(module.programs.clone());
        modules.push(loaded);
    }
    let mut service = stage.start(engine, &modules)?;
    let mut kept = BTreeMap::new();
    let folder = stage.folder().display().to_string();
    let unchanged = Change::default();
    for (index, step) in note.steps.iter().enumerate() {
        let (function, arguments, expected, change) = match step {
            Step::Call(function, arguments, expected) => {
                (function, arguments, expected, &unchanged)
            }
            Step::CallWith(function, arguments, expected, change) => {
                (function, arguments, expected, change)
            }
            Step::Restart(Restart::Restart) => {
                drop(service);
                service = stage.start(engine, &modules)?;
                continue;
            }
        };
        let mut parameters = note.parameters.clone();
        if let Some(changed) = &change.init_peer_id {
            parameters.particle.init_peer_id.clone_from(changed);
        }
        if let Some(changed) = &change.tetraplets {
            parameters.tetraplets.clone_from(changed);
        }
        let arguments = filled(arguments, &kept, &folder);
        let result = call(&mut service, function, &arguments, &parameters)
            .map_err(|error| format!("step {index}: {error}"))?;
        for (name, pointer) in &change.keep {
            let part = result
                .pointer(pointer)
                .ok_or_else(|| format!("step {index}: {result} has no {pointer}"))?;
            kept.insert(name.clone(), part.clone());
        }
        let expected = filled(expected, &kept, &folder);
        same(&format!("step {index}: {function}"), &result, &expected)?;
    }
    Ok(())
}

/// `value` with what stands in braces in it.
fn filled(value: &Value, kept: &BTreeMap<String, Value>, folder: &str) -> Value {
    match value {
        Value::String(text) => {
            let name = text
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'));
            match name.and_then(|name| kept.get(name)) {
                Some(kept) => kept.clone(),
                None => json!(text.replace(FOLDER, folder)),
            }
        }
        Value::Array(values) => {
            let values = values.iter();
            values.map(|value| filled(value, kept, folder)).collect()
        }
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, value)| (name.clone(), filled(value, kept, folder)));
            Value::Object(fields.collect())
        }
        other => other.clone(),
    }
}

fn write(path: &Path, content: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, content).map_err(failed)
}
