//! Memories and tables that count against the budget of their service.

use std::{fmt, ptr::NonNull, sync::Arc};

use wasmer::{
    MemoryError, MemoryType, Pages, TableType,
    sys::{
        BaseTunables, Tunables,
        vm::{
            LinearMemory, MemoryStyle, TableStyle, VMConfig, VMMemory, VMMemoryDefinition, VMTable,
            VMTableDefinition,
        },
    },
};

use crate::control::Control;

/// Bytes of a page.
const PAGE: u64 = 65_536;
/// Bytes that an element of a table is counted with.
const TABLE_ELEMENT: u64 = 8;
/// How far a table may grow beyond what it began with, in elements.
const TABLE_GROWTH: u32 = 65_536;

/// Creates memories and tables within a budget.
pub(super) struct Limits {
    base: BaseTunables,
    control: Arc<Control>,
    vm: VMConfig,
}

impl Limits {
    pub(super) fn new(base: BaseTunables, control: Arc<Control>, stack_size: usize) -> Self {
        Self {
            base,
            control,
            vm: VMConfig {
                wasm_stack_size: Some(stack_size),
            },
        }
    }

    fn take_memory(&self, ty: &MemoryType) -> Result<(), MemoryError> {
        if self.control.take_memory(u64::from(ty.minimum.0) * PAGE) {
            Ok(())
        } else {
            Err(MemoryError::Generic(format!(
                "{} pages are more than the service may still take of its {} bytes",
                ty.minimum.0,
                self.control.memory_limit()
            )))
        }
    }

    fn limit_table(&self, ty: &TableType) -> Result<TableType, String> {
        let most = ty.minimum.saturating_add(TABLE_GROWTH);
        let maximum = ty.maximum.map_or(most, |maximum| maximum.min(most));
        // The whole growth is counted at once: a table has no way to ask later.
        let growth = u64::from(maximum - ty.minimum.min(maximum)).min(u64::from(TABLE_GROWTH));
        let bytes = u64::from(ty.minimum) * TABLE_ELEMENT;
        if !self.control.take_memory(bytes) {
            return Err(format!("a table of {} elements is too large", ty.minimum));
        }
        let maximum = if self.control.memory_limit() < growth * TABLE_ELEMENT {
            ty.minimum
        } else {
            maximum
        };
        Ok(TableType {
            maximum: Some(maximum),
            ..*ty
        })
    }
}

impl Tunables for Limits {
    fn memory_style(&self, memory: &MemoryType) -> MemoryStyle {
        self.base.memory_style(memory)
    }

    fn table_style(&self, table: &TableType) -> TableStyle {
        self.base.table_style(table)
    }

    fn create_host_memory(
        &self,
        ty: &MemoryType,
        style: &MemoryStyle,
    ) -> Result<VMMemory, MemoryError> {
        self.take_memory(ty)?;
        let inner = self.base.create_host_memory(ty, style)?;
        Ok(VMMemory(Box::new(Counted {
            inner,
            control: Arc::clone(&self.control),
        })))
    }

    #[expect(unsafe_code, reason = "the engine's interface")]
    unsafe fn create_vm_memory(
        &self,
        ty: &MemoryType,
        style: &MemoryStyle,
        place: NonNull<VMMemoryDefinition>,
    ) -> Result<VMMemory, MemoryError> {
        self.take_memory(ty)?;
        // SAFETY: the place is the caller's, passed on as it came.
        let inner = unsafe { self.base.create_vm_memory(ty, style, place)? };
        Ok(VMMemory(Box::new(Counted {
            inner,
            control: Arc::clone(&self.control),
        })))
    }

    fn create_host_table(&self, ty: &TableType, style: &TableStyle) -> Result<VMTable, String> {
        self.base.create_host_table(&self.limit_table(ty)?, style)
    }

    #[expect(unsafe_code, reason = "the engine's interface")]
    unsafe fn create_vm_table(
        &self,
        ty: &TableType,
        style: &TableStyle,
        place: NonNull<VMTableDefinition>,
    ) -> Result<VMTable, String> {
        let ty = self.limit_table(ty)?;
        // SAFETY: the place is the caller's, passed on as it came.
        unsafe { self.base.create_vm_table(&ty, style, place) }
    }

    fn vmconfig(&self) -> &VMConfig {
        &self.vm
    }
}

/// A memory that asks the budget before it grows.
struct Counted {
    inner: VMMemory,
    control: Arc<Control>,
}

impl fmt::Debug for Counted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(formatter)
    }
}

impl LinearMemory for Counted {
    fn ty(&self) -> MemoryType {
        self.inner.ty()
    }

    fn size(&self) -> Pages {
        self.inner.size()
    }

    fn style(&self) -> MemoryStyle {
        self.inner.style()
    }

    fn grow(&mut self, delta: Pages) -> Result<Pages, MemoryError> {
        let current = self.inner.size();
        let maximum = self.inner.ty().maximum.unwrap_or_else(Pages::max_value);
        let fits = current
            .checked_add(delta)
            .is_some_and(|pages| pages <= maximum);
        if fits && !self.control.take_memory(u64::from(delta.0) * PAGE) {
            return Err(MemoryError::CouldNotGrow {
                current,
                attempted_delta: delta,
            });
        }
        self.inner.grow(delta)
    }

    fn vmmemory(&self) -> NonNull<VMMemoryDefinition> {
        self.inner.vmmemory()
    }

    fn try_clone(&self) -> Result<Box<dyn LinearMemory + 'static>, MemoryError> {
        Err(MemoryError::MemoryNotShared)
    }

    fn copy(&mut self) -> Result<Box<dyn LinearMemory + 'static>, MemoryError> {
        Err(MemoryError::MemoryNotShared)
    }
}
