//! What linking a module finds, without an engine: for tools, and for bytes that nobody trusts.

use std::collections::HashMap;

use super::{ServiceError, trampolines::import_signature};
use crate::{
    adapter::{CoreFunction, ExportPlan, ImportPlan},
    backend::FunctionId,
    interface,
    module::{ModuleInfo, Outline},
};

/// How the adapters of a module run: as plans, or one instruction at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdapterSurvey {
    /// How many adapters are of the form that the SDK generates: they run as plans.
    pub planned: usize,
    /// Names of the functions whose adapters are interpreted.
    pub interpreted: Vec<String>,
}

impl AdapterSurvey {
    /// Decodes the module `name` and fits its adapters to its core functions.
    ///
    /// # Errors
    /// A malformed module; functions that it says it exports or imports and does not, or with
    /// another type.
    pub fn of(name: &str, wasm: &[u8]) -> Result<Self, ServiceError> {
        let section = ModuleInfo::decode(name, wasm)?.interface;
        let outline = Outline::read(name, wasm)?;
        let mut core = Vec::with_capacity(section.exports.len());
        for export in &section.exports {
            let signature =
                outline
                    .export_signature(&export.name)
                    .ok_or_else(|| ServiceError::Link {
                        reason: format!(
                            "Wasm backend error: export not found: {} (module '{name}')",
                            export.name
                        ),
                    })?;
            core.push(CoreFunction {
                name: export.name.clone(),
                // Nobody calls it.
                id: FunctionId(u32::MAX),
                signature: signature.clone(),
            });
        }
        let mut survey = Self::default();
        let adapters = section.adapters_by_type();
        for function in interface::functions(&section).values() {
            let adapter = adapters.get(&function.adapter);
            let plan = adapter.and_then(|code| ExportPlan::of(function.function, code, &core));
            survey.count(function.name, plan.is_some());
        }
        let imports = section.imports_by_type();
        let asked: HashMap<_, _> = outline
            .imports()
            .iter()
            .rev()
            .map(|import| ((import.namespace, import.name), import))
            .collect();
        for implementation in &section.implementations {
            for import in imports.get(&implementation.core).into_iter().flatten() {
                let Some(function) = section.function(implementation.adapter) else {
                    continue;
                };
                let signature = import_signature(name, &import.name, function)?;
                if let Some(asked) = asked.get(&(&*import.namespace, &*import.name))
                    && outline.import_signature(asked) != Some(&signature)
                {
                    return Err(ServiceError::Link {
                        reason: format!(
                            "module '{name}' imports '{}' of module '{}' with another core type \
                             than its interface says",
                            import.name, import.namespace
                        ),
                    });
                }
                let declared = import.type_index.checked_sub(2);
                let plan = declared
                    .and_then(|index| section.function(index))
                    .zip(adapters.get(&implementation.adapter))
                    .and_then(|(declared, code)| ImportPlan::of(declared, code, &section, &core))
                    .filter(|plan| plan.signature() == signature);
                survey.count(&import.name, plan.is_some());
            }
        }
        Ok(survey)
    }

    fn count(&mut self, name: &str, planned: bool) {
        if planned {
            self.planned += 1;
        } else {
            self.interpreted.push(name.to_owned());
        }
    }
}
