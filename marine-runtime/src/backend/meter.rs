//! Makes a module ask its host now and then whether it may go on.
//!
//! For engines without an interrupt of their own the module is rewritten before it is compiled. It
//! gets one more import (`check`), one more global (how much may be done before `check` is asked
//! again) and one more function (`spend`). Function entries and memory operations spend directly;
//! a loop counts in a local and spends only now and then, so that a tight loop pays for an
//! addition and a comparison of registers. A unit is about sixteen instructions.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, EntityType, Function, FunctionSection, GlobalSection,
    GlobalType, ImportSection, Instruction as I, Module, SectionId, TypeSection, ValType,
    reencode::{self, Reencode, utils},
};
use wasmparser::{FunctionBody, Operator, Parser, Payload, TypeRef};

/// Namespace of the import that is added.
pub(super) const CHECK_NAMESPACE: &str = "aquamarine:meter";
/// Name of the import that is added.
pub(super) const CHECK_NAME: &str = "check";

/// Units between two questions.
const QUANTUM: i64 = 1 << 16;
/// Units that a loop counts for itself.
const LOOP_UNITS: i32 = 64;
/// Instructions that make a unit.
const UNIT: usize = 16;
/// What a call weighs, in instructions: small functions do not count themselves.
const CALL_WEIGHT: usize = 64;
/// Largest function without loops and calls that does not count itself.
const SMALL: usize = 64;
/// Bytes of a memory operation that weigh a unit, as a shift.
const BULK_SHIFT: i32 = 10;

/// The module with its checks.
///
/// # Errors
/// What cannot be parsed.
pub(super) fn rewrite(wasm: &[u8]) -> Result<Vec<u8>, String> {
    let mut meter = Meter::survey(wasm).map_err(|error| error.to_string())?;
    let mut module = Module::new();
    meter
        .parse_core_module(&mut module, Parser::new(0), wasm)
        .map_err(|error| error.to_string())?;
    Ok(module.finish())
}

#[derive(Default)]
struct Meter {
    types: u32,
    imported_functions: u32,
    functions: u32,
    globals: u32,
    /// Number of parameters of each type.
    parameters: Vec<u32>,
    /// Type of each defined function.
    function_types: Vec<u32>,
    next_body: usize,
    done: Vec<SectionId>,
}

/// What weighs how much in one function.
#[derive(Default)]
struct Weights {
    total: usize,
    /// Of each loop in order of appearance.
    loops: Vec<usize>,
    calls: bool,
}

impl Meter {
    fn survey(wasm: &[u8]) -> Result<Self, wasmparser::BinaryReaderError> {
        let mut meter = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(section) => {
                    for group in section {
                        for ty in group?.into_types() {
                            let parameters = match &ty.composite_type.inner {
                                wasmparser::CompositeInnerType::Func(ty) => ty.params().len(),
                                _ => 0,
                            };
                            meter
                                .parameters
                                .push(u32::try_from(parameters).unwrap_or(u32::MAX));
                            meter.types += 1;
                        }
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        match import?.ty {
                            TypeRef::Func(_) => meter.imported_functions += 1,
                            TypeRef::Global(_) => meter.globals += 1,
                            _ => {}
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        meter.function_types.push(ty?);
                        meter.functions += 1;
                    }
                }
                Payload::GlobalSection(section) => meter.globals += section.count(),
                _ => {}
            }
        }
        Ok(meter)
    }

    fn check(&self) -> u32 {
        self.imported_functions
    }

    fn spend(&self) -> u32 {
        self.imported_functions + 1 + self.functions
    }

    fn add_types(&mut self, types: &mut TypeSection) {
        types.ty().function([], []);
        types.ty().function([ValType::I32], []);
        self.done.push(SectionId::Type);
    }

    fn add_import(&mut self, imports: &mut ImportSection) {
        imports.import(
            CHECK_NAMESPACE,
            CHECK_NAME,
            EntityType::Function(self.types),
        );
        self.done.push(SectionId::Import);
    }

    fn add_function(&mut self, functions: &mut FunctionSection) {
        functions.function(self.types + 1);
        self.done.push(SectionId::Function);
    }

    fn add_global(&mut self, globals: &mut GlobalSection) {
        let ty = GlobalType {
            val_type: ValType::I64,
            mutable: true,
            shared: false,
        };
        globals.global(ty, &ConstExpr::i64_const(QUANTUM));
        self.done.push(SectionId::Global);
    }

    /// `spend(units)`: asks when nothing is left.
    fn add_body(&mut self, code: &mut CodeSection) {
        let mut body = Function::new([]);
        for instruction in [
            I::GlobalGet(self.globals),
            I::LocalGet(0),
            I::I64ExtendI32U,
            I::I64Sub,
            I::GlobalSet(self.globals),
            I::GlobalGet(self.globals),
            I::I64Const(0),
            I::I64LtS,
            I::If(BlockType::Empty),
            I::Call(self.check()),
            I::I64Const(QUANTUM),
            I::GlobalSet(self.globals),
            I::End,
            I::End,
        ] {
            body.instruction(&instruction);
        }
        code.function(&body);
        self.done.push(SectionId::Code);
    }

    fn weigh(body: &FunctionBody<'_>) -> Result<Weights, wasmparser::BinaryReaderError> {
        let mut weights = Weights::default();
        // Open blocks: which loop each is, and the weight when it began.
        let mut open: Vec<Option<(usize, usize)>> = Vec::new();
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            weights.total += 1;
            match reader.read()? {
                Operator::Loop { .. } => {
                    open.push(Some((weights.loops.len(), weights.total)));
                    weights.loops.push(0);
                }
                Operator::Block { .. } | Operator::If { .. } => open.push(None),
                Operator::End => {
                    if let Some(Some((index, start))) = open.pop()
                        && let Some(weight) = weights.loops.get_mut(index)
                    {
                        *weight = weights.total - start;
                    }
                }
                Operator::Call { .. } | Operator::CallIndirect { .. } => {
                    weights.calls = true;
                    weights.total += CALL_WEIGHT;
                }
                Operator::MemoryGrow { .. } | Operator::TableGrow { .. } => {
                    weights.calls = true;
                    weights.total += 16 * UNIT;
                }
                _ => {}
            }
        }
        Ok(weights)
    }
}

fn units(weight: usize) -> i32 {
    i32::try_from(1 + weight / UNIT).unwrap_or(i32::MAX)
}

impl Reencode for Meter {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, reencode::Error> {
        Ok(if function < self.imported_functions {
            function
        } else {
            function + 1
        })
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        utils::parse_type_section(self, types, section)?;
        self.add_types(types);
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        utils::parse_import_section(self, imports, section)?;
        self.add_import(imports);
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        utils::parse_function_section(self, functions, section)?;
        self.add_function(functions);
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: wasmparser::GlobalSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        utils::parse_global_section(self, globals, section)?;
        self.add_global(globals);
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        utils::parse_code_section(self, code, section)?;
        self.add_body(code);
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), reencode::Error> {
        let weights = Self::weigh(&body)?;
        let ty = self
            .function_types
            .get(self.next_body)
            .copied()
            .unwrap_or(u32::MAX);
        self.next_body += 1;
        let mut locals = Vec::new();
        let mut count = self.parameters.get(ty as usize).copied().unwrap_or(0);
        for pair in body.get_locals_reader()? {
            let (number, ty) = pair?;
            count = count.saturating_add(number);
            locals.push((number, self.val_type(ty)?));
        }
        // One to count loops, one to look at the size of memory operations.
        let (loop_units, size) = (count, count.saturating_add(1));
        locals.push((2, ValType::I32));
        let mut function = Function::new(locals);
        if weights.calls || !weights.loops.is_empty() || weights.total > SMALL {
            for instruction in [
                I::GlobalGet(self.globals),
                I::I64Const(units(weights.total).into()),
                I::I64Sub,
                I::GlobalSet(self.globals),
                I::GlobalGet(self.globals),
                I::I64Const(0),
                I::I64LtS,
                I::If(BlockType::Empty),
                I::I32Const(0),
                I::Call(self.spend()),
                I::End,
            ] {
                function.instruction(&instruction);
            }
        }
        let mut loops = weights.loops.iter();
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            let operator = reader.read()?;
            let is_loop = matches!(operator, Operator::Loop { .. });
            let is_bulk = matches!(
                operator,
                Operator::MemoryFill { .. }
                    | Operator::MemoryCopy { .. }
                    | Operator::MemoryInit { .. }
                    | Operator::TableFill { .. }
                    | Operator::TableCopy { .. }
                    | Operator::TableInit { .. }
            );
            if is_bulk {
                for instruction in [
                    I::LocalTee(size),
                    I::LocalGet(size),
                    I::I32Const(BULK_SHIFT),
                    I::I32ShrU,
                    I::Call(self.spend()),
                ] {
                    function.instruction(&instruction);
                }
            }
            function.instruction(&self.instruction(operator)?);
            if is_loop {
                let weight = loops.next().copied().unwrap_or(0);
                for instruction in [
                    I::LocalGet(loop_units),
                    I::I32Const(units(weight)),
                    I::I32Add,
                    I::LocalTee(loop_units),
                    I::I32Const(LOOP_UNITS),
                    I::I32GtU,
                    I::If(BlockType::Empty),
                    I::LocalGet(loop_units),
                    I::Call(self.spend()),
                    I::I32Const(0),
                    I::LocalSet(loop_units),
                    I::End,
                ] {
                    function.instruction(&instruction);
                }
            }
        }
        code.function(&function);
        Ok(())
    }

    fn parse_custom_section(
        &mut self,
        _: &mut Module,
        _: wasmparser::CustomSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        // Names and the like would be wrong, and nobody reads them.
        Ok(())
    }

    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        _after: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<(), reencode::Error> {
        let due = |section: SectionId| before.is_none_or(|before| order(before) > order(section));
        let missing = |meter: &Self, section| due(section) && !meter.done.contains(&section);
        if missing(self, SectionId::Type) {
            let mut types = TypeSection::new();
            self.add_types(&mut types);
            module.section(&types);
        }
        if missing(self, SectionId::Import) {
            let mut imports = ImportSection::new();
            self.add_import(&mut imports);
            module.section(&imports);
        }
        if missing(self, SectionId::Function) {
            let mut functions = FunctionSection::new();
            self.add_function(&mut functions);
            module.section(&functions);
        }
        if missing(self, SectionId::Global) {
            let mut globals = GlobalSection::new();
            self.add_global(&mut globals);
            module.section(&globals);
        }
        if missing(self, SectionId::Code) {
            let mut code = CodeSection::new();
            self.add_body(&mut code);
            module.section(&code);
        }
        Ok(())
    }
}

/// The place of a section in a module.
fn order(section: SectionId) -> u8 {
    match section {
        SectionId::Custom => 0,
        SectionId::Type => 1,
        SectionId::Import => 2,
        SectionId::Function => 3,
        SectionId::Table => 4,
        SectionId::Memory => 5,
        SectionId::Tag => 6,
        SectionId::Global => 7,
        SectionId::Export => 8,
        SectionId::Start => 9,
        SectionId::Element => 10,
        SectionId::DataCount => 11,
        SectionId::Code => 12,
        SectionId::Data => 13,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) {
        let rewritten = rewrite(&wat::parse_str(text).unwrap()).unwrap();
        wasmparser::validate(&rewritten).unwrap();
    }

    #[test]
    fn modules_stay_valid() {
        check("(module)");
        check("(module (memory 1) (func (export \"f\") (loop (br 0))))");
        check(
            r#"(module
                (import "a" "b" (func $b (param i32) (result i32)))
                (import "a" "g" (global i32))
                (global $x (mut i32) (i32.const 1))
                (memory 1) (table 4 funcref) (elem (i32.const 0) func $f $b)
                (func $f (param i32) (result i32) (local f64 f64)
                    (memory.fill (i32.const 0) (i32.const 0) (local.get 0))
                    (loop $l (result i32)
                        (loop (br_if 0 (local.get 0)))
                        (br_if $l (call $b (local.get 0)))
                        (call_indirect (param i32) (result i32) (i32.const 1) (i32.const 0))))
                (func $s (drop (call $f (global.get $x))))
                (start $s) (data (i32.const 0) "x"))"#,
        );
    }
}
