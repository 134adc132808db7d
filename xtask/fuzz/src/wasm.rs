//! Modules whose functions do nothing, with the sections of Marine.

use marine_runtime::{
    backend::{CoreSignature, CoreType},
    module::{INTERFACE_SECTION, InterfaceSection, SDK_VERSION_SECTION},
};
use wasm_encoder::{
    CodeSection, CustomSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    ImportSection, Instruction, MemorySection, MemoryType, Module, TypeSection, ValType,
};

/// A function of a core module: namespace for what it imports.
pub(crate) struct CoreFunction {
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) signature: CoreSignature,
}

/// A module with these functions, imports first, and a memory.
pub(crate) fn module(functions: &[CoreFunction], interface: &InterfaceSection) -> Option<Vec<u8>> {
    let interface = interface.encode().ok()?;
    let mut types = TypeSection::new();
    let mut imports = ImportSection::new();
    let mut own = FunctionSection::new();
    let mut exports = ExportSection::new();
    let mut code = CodeSection::new();
    for (index, function) in (0..).zip(functions) {
        let numbers = |types: &[CoreType]| types.iter().map(number).collect::<Vec<_>>();
        types.ty().function(
            numbers(&function.signature.parameters),
            numbers(&function.signature.results),
        );
        if let Some(namespace) = &function.namespace {
            imports.import(namespace, &function.name, EntityType::Function(index));
            continue;
        }
        own.function(index);
        exports.export(&function.name, ExportKind::Func, index);
        let mut body = Function::new([]);
        body.instruction(&Instruction::Unreachable);
        body.instruction(&Instruction::End);
        code.function(&body);
    }
    let mut memory = MemorySection::new();
    memory.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    exports.export("memory", ExportKind::Memory, 0);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&own);
    module.section(&memory).section(&exports).section(&code);
    for (name, data) in [
        (INTERFACE_SECTION, &interface[..]),
        (SDK_VERSION_SECTION, b"0.14.0"),
    ] {
        module.section(&CustomSection {
            name: name.into(),
            data: data.into(),
        });
    }
    Some(module.finish())
}

fn number(ty: &CoreType) -> ValType {
    match ty {
        CoreType::I32 => ValType::I32,
        CoreType::I64 => ValType::I64,
        CoreType::F32 => ValType::F32,
        CoreType::F64 => ValType::F64,
    }
}

/// The functions that every module has for the host.
pub(crate) fn for_host() -> Vec<CoreFunction> {
    let int = |count| vec![CoreType::I32; count];
    [
        ("allocate", 2, 1),
        ("release_objects", 0, 0),
        ("get_result_size", 0, 1),
        ("get_result_ptr", 0, 1),
        ("set_result_size", 1, 0),
        ("set_result_ptr", 1, 0),
    ]
    .into_iter()
    .map(|(name, parameters, results)| CoreFunction {
        namespace: None,
        name: name.to_owned(),
        signature: CoreSignature {
            parameters: int(parameters),
            results: int(results),
        },
    })
    .collect()
}
