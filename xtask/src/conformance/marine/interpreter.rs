//! The published interpreter as a module: recorded runs of it, again, in our engines.

use std::path::Path;

use marine_runtime::{CallParameters, Service};
use serde_json::{Value, json};

use super::{
    Report, engines, expect,
    service::{Loaded, Stage, call},
};
use crate::{
    conformance::{aquavm as records, files_below, read_text},
    interpreter::invoke,
    packages::{PackageFile, Registry, fetch},
};

/// The interpreter that made the records.
const MODULE: PackageFile<'_> = PackageFile {
    registry: Registry::Cargo,
    package: "air-interpreter-wasm",
    version: "0.62.0",
    path: "air_interpreter_server.wasm",
    sha256: "4a9f248d19582a4c0c638a3e4485d092dbf707dd7ad766f5320698b082010eba",
};
const NAME: &str = "air_interpreter_server";

/// Replays every `stride`th record below `folder` on every engine.
pub(super) fn replay(folder: &Path, stride: usize, report: &mut Report) -> Result<(), String> {
    let bytes = match fetch(&MODULE) {
        Ok(bytes) => bytes.into(),
        Err(error) if error.is_unreachable() => {
            report.skip("the published interpreter", error.to_string());
            return Ok(());
        }
        Err(error) => return Err(error.to_string()),
    };
    let mut lines = Vec::new();
    for file in files_below(folder)? {
        lines.extend(read_text(&file)?.lines().map(str::to_owned));
    }
    let module = Loaded::new(NAME, &bytes)?;
    for engine in engines()? {
        let stage = Stage::new()?;
        let mut service = stage.start(&engine, std::slice::from_ref(&module))?;
        let name = engine.backend().name();
        report.record(format!("ast on {name}"), ast(&mut service));
        for line in lines.iter().step_by(stride) {
            let record: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
            let of = |field: &str| record.get(field).map(Value::to_string).unwrap_or_default();
            let title = format!("invoke of {} #{} on {name}", of("test"), of("seq"));
            let outcome = records::read_call(&record).and_then(|read| {
                let outcome = invoke(&mut service, &read)?;
                records::check_outcome(&record, &read, &outcome)
            });
            report.record(title, outcome);
        }
    }
    Ok(())
}

fn ast(service: &mut Service) -> Result<(), String> {
    let tree = call(
        service,
        "ast",
        &json!(["(null)"]),
        &CallParameters::default(),
    )?;
    expect("ast", tree, json!("{\"Null\":null}"))
}
