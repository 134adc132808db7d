//! Host functions that stand for the functions of other modules.

use std::sync::{Arc, OnceLock};

use super::{ServiceError, link::Own};
use crate::{
    adapter::{ExecutionError, ImportPlan, LinkedModule, from_raw, to_raw},
    backend::{CoreSignature, CoreType, HostFunction, Store, Trap},
    itypes::{IType, IValue},
    module::{Function, InterfaceSection},
};

/// Host functions that stand for the functions of other modules.
pub(super) fn trampolines(
    module: &str,
    section: &InterfaceSection,
    own: &Own,
) -> Result<Vec<HostFunction>, ServiceError> {
    let mut functions = Vec::new();
    let supplied = section.imports_by_type();
    for implementation in &section.implementations {
        for import in supplied.get(&implementation.core).into_iter().flatten() {
            let Some(function) = section.function(implementation.adapter) else {
                continue;
            };
            let signature = import_signature(module, &import.name, function)?;
            let own = Arc::clone(own);
            let adapter = implementation.adapter;
            let declared = import
                .type_index
                .checked_sub(2)
                .and_then(|index| section.function(index))
                .cloned();
            let plan = OnceLock::new();
            let types = signature.clone();
            let name = import.name.clone();
            let body = move |store: &mut dyn Store, raw: &[u64], results: &mut [u64]| {
                let module = own.get().ok_or_else(|| {
                    Trap::host(format!(
                        "import '{name}' was called before the module was linked"
                    ))
                })?;
                let plan = plan.get_or_init(|| {
                    let adapter = module.section.adapter(adapter)?;
                    let declared = declared.as_ref()?;
                    ImportPlan::of(declared, adapter, &module.section, &module.core)
                        .filter(|plan| plan.signature() == types)
                });
                match plan {
                    Some(plan) => plan
                        .run(module, store, raw, results)
                        .map_err(ExecutionError::into_trap),
                    None => interpret(module, store, adapter, &types, raw, results),
                }
            };
            functions.push(HostFunction {
                namespace: import.namespace.clone(),
                name: import.name.clone(),
                signature,
                body: Arc::new(body),
            });
        }
    }
    Ok(functions)
}

/// Runs the adapter of an import that is not of the SDK's form.
fn interpret(
    module: &LinkedModule,
    store: &mut dyn Store,
    adapter: u32,
    types: &CoreSignature,
    raw: &[u64],
    results: &mut [u64],
) -> Result<(), Trap> {
    let arguments: Vec<IValue> = raw
        .iter()
        .zip(&types.parameters)
        .map(|(raw, ty)| from_raw(*raw, *ty))
        .collect();
    let values = module
        .interpret(store, adapter, &arguments)
        .map_err(ExecutionError::into_trap)?;
    if values.len() != types.results.len() {
        return Err(Trap::host(format!(
            "A function returned invalid number of results: expected {}, got {}",
            types.results.len(),
            values.len()
        )));
    }
    for ((slot, value), ty) in results.iter_mut().zip(&values).zip(&types.results) {
        *slot = to_raw(value, *ty)?;
    }
    Ok(())
}

/// The core type of the function `import` of a module.
pub(super) fn import_signature(
    module: &str,
    import: &str,
    function: &Function,
) -> Result<CoreSignature, ServiceError> {
    raw_signature(function).map_err(|ty| ServiceError::Link {
        reason: format!(
            "module '{module}' imports '{import}' with the raw type {ty}, which is no core type"
        ),
    })
}

/// The core type of a function whose interface type has only what is a core value.
fn raw_signature(function: &Function) -> Result<CoreSignature, String> {
    let core = |ty: &IType| match ty {
        IType::S8 | IType::S16 | IType::S32 | IType::U8 | IType::U16 | IType::U32 | IType::I32 => {
            Ok(CoreType::I32)
        }
        IType::S64 | IType::U64 | IType::I64 => Ok(CoreType::I64),
        IType::F32 => Ok(CoreType::F32),
        IType::F64 => Ok(CoreType::F64),
        other => Err(other.to_string()),
    };
    Ok(CoreSignature {
        parameters: function
            .arguments
            .iter()
            .map(|argument| core(&argument.ty))
            .collect::<Result<_, _>>()?,
        results: function
            .outputs
            .iter()
            .map(core)
            .collect::<Result<_, _>>()?,
    })
}
