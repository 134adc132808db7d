//! Runs adapters: the programs that stand between interface values and core functions.
//!
//! An adapter of the form that the SDK generates becomes a plan when its module is linked; all
//! others are interpreted. Both give the same results.

mod interpreter;
mod plan;

use std::{collections::BTreeMap, sync::Arc};

pub(crate) use interpreter::from_raw;
pub(crate) use plan::{
    ExportPlan, ImportPlan, flatten, has_service_functions, lift_arguments, lower_output,
};

use crate::{
    backend::{CoreSignature, FunctionId, MemoryId, Store, Trap},
    itypes::{
        IType, IValue,
        memory::{GuestMemory, Lift, Make, MemoryError, Values},
        templates::ALLOCATE,
    },
    module::{Function, InterfaceSection},
};

/// An adapter that failed.
#[derive(Debug, thiserror::Error)]
#[error("Execution error: `{instruction}` {reason}")]
pub struct ExecutionError {
    /// The instruction that failed.
    pub instruction: String,
    /// Why.
    pub reason: String,
    /// The trap behind it, if there was one.
    pub trap: Option<Trap>,
}

impl ExecutionError {
    pub(crate) fn new(instruction: impl ToString, reason: impl Into<String>) -> Self {
        Self {
            instruction: instruction.to_string(),
            reason: reason.into(),
            trap: None,
        }
    }

    pub(crate) fn memory(instruction: impl ToString, error: MemoryError) -> Self {
        let reason = error.to_string();
        let trap = match error {
            MemoryError::Allocate { trap, .. } => trap,
            _ => None,
        };
        Self {
            instruction: instruction.to_string(),
            reason,
            trap,
        }
    }

    pub(crate) fn callee(index: usize, name: &str, trap: Trap) -> Self {
        Self {
            instruction: format!("call-core {index}"),
            reason: format!("failed while calling the local or import function `{name}`: {trap}"),
            trap: Some(trap),
        }
    }

    /// The trap that a caller of this adapter in another module gets.
    pub(crate) fn into_trap(self) -> Trap {
        match self.trap {
            Some(trap @ (Trap::Deadline | Trap::Cancelled | Trap::Exit { .. })) => trap,
            _ => Trap::host(self.to_string()),
        }
    }
}

/// A module in a store, with all that its adapters need.
#[derive(Debug)]
pub(crate) struct LinkedModule {
    pub(crate) name: String,
    pub(crate) section: Arc<InterfaceSection>,
    pub(crate) memory: Option<MemoryId>,
    /// Most bytes of host memory that one value may take.
    pub(crate) value_size: usize,
    /// Core functions in the order of the exports.
    pub(crate) core: Vec<CoreFunction>,
    /// Functions of other modules in the order of the linkable imports.
    pub(crate) links: Vec<Link>,
    /// Interface functions.
    pub(crate) functions: BTreeMap<String, ExportedFunction>,
}

/// A core export.
#[derive(Debug)]
pub(crate) struct CoreFunction {
    pub(crate) name: String,
    pub(crate) id: FunctionId,
    pub(crate) signature: CoreSignature,
}

/// A function of another module.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) name: String,
    /// Its type as the importer declares it.
    pub(crate) function: Arc<Function>,
    pub(crate) callee: Arc<LinkedModule>,
}

/// An interface function.
#[derive(Debug)]
pub(crate) struct ExportedFunction {
    pub(crate) function: Arc<Function>,
    /// Type index of its adapter.
    pub(crate) adapter: u32,
    /// What to do, if its adapter is one of the SDK's.
    pub(crate) plan: Option<ExportPlan>,
}

/// What a function returned.
pub(crate) enum Returned<'a> {
    Values(Vec<IValue>),
    Lifted(Lifted<'a>),
}

/// A value in the memory of the module that returned it.
pub(crate) struct Lifted<'a> {
    lift: Lift<'a, InterfaceSection>,
    ty: &'a IType,
    pointer: u32,
    length: u32,
}

impl Lifted<'_> {
    /// Makes something of it.
    pub(crate) fn make<M: Make>(mut self, make: &mut M) -> Result<M::Value, MemoryError> {
        self.lift.value(self.ty, self.pointer, self.length, make)
    }
}

impl Returned<'_> {
    pub(crate) fn into_values(self) -> Result<Vec<IValue>, MemoryError> {
        match self {
            Self::Values(values) => Ok(values),
            Self::Lifted(lifted) => Ok(vec![lifted.make(&mut Values)?]),
        }
    }
}

impl LinkedModule {
    /// Calls an interface function.
    pub(crate) fn call(
        &self,
        store: &mut dyn Store,
        function: &ExportedFunction,
        arguments: &[IValue],
    ) -> Result<Vec<IValue>, ExecutionError> {
        self.call_with(store, function, arguments, |returned| {
            returned.into_values()
        })
    }

    /// Calls an interface function and looks at what it returned before the module forgets it.
    pub(crate) fn call_with<T>(
        &self,
        store: &mut dyn Store,
        function: &ExportedFunction,
        arguments: &[IValue],
        look: impl FnOnce(Returned<'_>) -> Result<T, MemoryError>,
    ) -> Result<T, ExecutionError> {
        match &function.plan {
            Some(plan) => plan.run(self, store, arguments, look),
            None => {
                let values = self.interpret(store, function.adapter, arguments)?;
                look(Returned::Values(values))
                    .map_err(|error| ExecutionError::memory("call-adapter", error))
            }
        }
    }

    /// Calls an interface function without its plan.
    pub(crate) fn interpret(
        &self,
        store: &mut dyn Store,
        adapter: u32,
        arguments: &[IValue],
    ) -> Result<Vec<IValue>, ExecutionError> {
        match self.section.adapter(adapter) {
            Some(adapter) => interpreter::run(self, store, &adapter.instructions, arguments),
            None => Err(ExecutionError::new(
                "call-adapter",
                format!("{adapter} doesn't exist"),
            )),
        }
    }

    /// Calls a core export by its index.
    pub(crate) fn call_core(
        &self,
        store: &mut dyn Store,
        index: usize,
        values: &mut [u64],
    ) -> Result<(), ExecutionError> {
        let Some(function) = self.core.get(index) else {
            return Err(ExecutionError::new(
                format!("call-core {index}"),
                format!("the local or import function `{index}` doesn't exist"),
            ));
        };
        store
            .call(function.id, values)
            .map_err(|trap| ExecutionError::callee(index, &function.name, trap))
    }

    pub(crate) fn guest<'a>(&'a self, store: &'a mut dyn Store) -> Guest<'a> {
        Guest {
            module: self,
            store,
        }
    }
}

/// A value that an adapter left for a core function.
pub(crate) fn to_raw(value: &IValue, ty: crate::backend::CoreType) -> Result<u64, Trap> {
    interpreter::raw(&crate::module::Instruction::Dup, value, ty)
        .map_err(|error| Trap::host(error.reason))
}

/// A module's memory and allocator.
pub(crate) struct Guest<'a> {
    pub(crate) module: &'a LinkedModule,
    pub(crate) store: &'a mut dyn Store,
}

impl GuestMemory for Guest<'_> {
    fn memory(&mut self) -> &mut [u8] {
        match self.module.memory {
            Some(memory) => self.store.memory(memory),
            None => &mut [],
        }
    }

    fn allocate(&mut self, size: u32, tag: u32) -> Result<u32, MemoryError> {
        use crate::backend::CoreType::I32;
        let Some(function) = self.module.core.get(ALLOCATE as usize) else {
            return Err(MemoryError::Unusable {
                reason: "the module has no allocate function",
            });
        };
        if function.signature.parameters != [I32, I32] {
            return Err(MemoryError::Unusable {
                reason: "allocate func doesn't receive two i32 values, probably a Wasm module's \
                         built with unsupported sdk version",
            });
        }
        if function.signature.results != [I32] {
            return Err(MemoryError::Unusable {
                reason: "allocate func doesn't return a one value of I32 type, probably a Wasm \
                         module's built with unsupported sdk version",
            });
        }
        let mut values = [u64::from(size), u64::from(tag)];
        self.store
            .call(function.id, &mut values)
            .map_err(|trap| MemoryError::Allocate {
                reason: trap.to_string(),
                trap: Some(trap),
            })?;
        let [pointer, _] = values;
        match pointer as u32 {
            0 if size > 0 => Err(MemoryError::Allocate {
                reason: format!("it returned 0 for {size} bytes"),
                trap: None,
            }),
            pointer => Ok(pointer),
        }
    }
}

#[cfg(test)]
mod tests;
