//! `loader.json`: small modules and how loading them ends.

use marine_runtime::{ModuleConfig, ModuleInfo, Service, ServiceConfig};
use serde::Deserialize;

use super::{Report, engines, expect, from_hex};

#[derive(Deserialize)]
pub(super) struct Document {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    case: String,
    wasm_hex: String,
    error: Option<String>,
}

pub(super) fn replay(document: &Document, report: &mut Report) -> Result<(), String> {
    let engines = engines()?;
    for case in &document.cases {
        let outcome = from_hex(&case.wasm_hex).and_then(|wasm| {
            let decoded = ModuleInfo::decode("a", &wasm).err();
            let decoded = decoded.map(|error| format!("engine error: {error}"));
            expect("decoded", decoded, case.error.clone())?;
            for engine in &engines {
                let module = ModuleConfig::from_bytes("a", wasm.clone());
                let loaded = Service::new(ServiceConfig::new(vec![module]), engine).err();
                let loaded = loaded.map(|error| error.to_string());
                expect(engine.backend().name(), loaded, case.error.clone())?;
            }
            Ok(())
        });
        report.record(format!("loader.json: {}", case.case), outcome);
    }
    Ok(())
}
