//! The programs between interface values and core functions, run by modules that misbehave.

use marine_runtime::{
    CallParameters, Engine, IType, IValue, ModuleConfig, RecordType, Service, ServiceConfig,
    ServiceError,
    backend::{CoreSignature, CoreType, Trap},
    embed::{DESCRIPTION_PREFIXES, interface_of},
    module::{
        Adapter, Argument, Core, Export, Function, Implementation, Instruction, Integer,
        InterfaceSection, Type, with_custom_section,
    },
};
use serde_json::{Value, json};

use super::{
    bounded_by,
    choices::Choices,
    described,
    puppets::{Puppets, Scene, Stage, address, trap},
    types::{self, Table},
    wasm::{self, CoreFunction},
};

/// Most bytes that a value from a module may take.
const VALUE: usize = 32 << 10;
/// What a run may take: a value is read in each of some calls inside of one another, and written.
const MEMORY: usize = 4 << 20;
/// Position of the first function behind those for the host.
const OWN: u32 = 6;

/// What a run comes to.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// The text of an error is not compared: there is more to say about a single instruction.
    values: Option<String>,
    /// Of a run without error: with one, it is not promised how far it went.
    trace: Option<(u64, Vec<Vec<u8>>)>,
}

/// A module: its core functions, its interface.
#[derive(Clone)]
struct Description {
    name: &'static str,
    section: InterfaceSection,
    imports: Vec<Function>,
    exports: Vec<Function>,
}

/// Runs adapters of the SDK's form as plans and one instruction at a time, or any adapters.
pub fn adapter(input: &[u8]) {
    let mut choices = Choices(input);
    let kind = choices.byte();
    let wild = kind & 2 != 0;
    if kind & 1 == 0 {
        usual(choices, wild);
    } else {
        unusual(choices, wild);
    }
}

fn usual(mut choices: Choices<'_>, wild: bool) {
    let table = types::table(&mut choices);
    let far = function(&mut choices, &table);
    let own = function(&mut choices, &table);
    let arguments = own.arguments.iter();
    let values: Vec<IValue> = arguments
        .map(|argument| types::value(&mut choices, &argument.ty, &table))
        .collect();
    let modules = [
        describe("far", &table, &[], &far),
        describe("near", &table, &[far], &own),
    ];
    let planned = run(&modules, &values, choices.0, wild).expect("modules that fit");
    let mut detoured = modules;
    for module in &mut detoured {
        for adapter in &mut module.section.adapters {
            adapter.instructions = detour(&adapter.instructions);
        }
    }
    let interpreted = run(&detoured, &values, choices.0, wild).expect("modules that fit");
    assert_eq!(planned, interpreted);
}

fn function(choices: &mut Choices<'_>, table: &Table) -> Function {
    let known = table.0.len();
    let count = choices.below(5);
    let arguments = (0..count).map(|_| types::ty(choices, known)).collect();
    let outputs = (!choices.byte().is_multiple_of(4)).then(|| types::ty(choices, known));
    Function {
        arguments: types::named(arguments),
        outputs: outputs.into_iter().collect(),
    }
}

/// What the SDK would say of a module that has `own`, and calls `far`.
fn describe(name: &'static str, table: &Table, far: &[Function], own: &Function) -> Description {
    let ty = |ty: &IType| description(ty);
    let arguments = |arguments: &[Argument]| {
        let arguments = arguments.iter();
        let described =
            arguments.map(|argument| json!({"name": argument.name, "ty": ty(&argument.ty)}));
        Value::Array(described.collect())
    };
    let signature = |function: &Function| {
        let outputs: Vec<Value> = function.outputs.iter().map(ty).collect();
        json!({"name": "f", "arguments": arguments(&function.arguments), "output_types": outputs})
    };
    let mut text = String::new();
    for RecordType { name, fields } in &table.0 {
        let item =
            json!({"ast_type": "Record", "name": name, "fields": {"Named": arguments(fields)}});
        text += &item.to_string();
    }
    text += &json!({"ast_type": "Function", "signature": signature(own)}).to_string();
    for function in far {
        let import = json!({"link_name": null, "signature": signature(function)});
        let item = json!({"ast_type": "ExternMod", "namespace": "far", "imports": [import]});
        text += &item.to_string();
    }
    let [prefix, _] = DESCRIPTION_PREFIXES;
    let wasm = with_custom_section(prefix, b"\0asm\x01\0\0\0", text.as_bytes());
    let wasm = wasm.expect("a module");
    Description {
        name,
        section: interface_of(name, &wasm).expect("descriptions that fit"),
        imports: far.to_vec(),
        exports: vec![own.clone()],
    }
}

fn description(ty: &IType) -> Value {
    let name = match ty {
        IType::Boolean => "Boolean",
        IType::S8 => "I8",
        IType::S16 => "I16",
        IType::S32 => "I32",
        IType::S64 => "I64",
        IType::U8 => "U8",
        IType::U16 => "U16",
        IType::U32 => "U32",
        IType::U64 => "U64",
        IType::F32 => "F32",
        IType::F64 => "F64",
        IType::String => "Utf8String",
        IType::ByteArray => return json!({"Vector": [{"U8": "ByValue"}, "ByValue"]}),
        IType::Array(element) => return json!({"Vector": [description(element), "ByValue"]}),
        IType::Record(id) => return json!({"Record": [format!("R{id}"), "ByValue"]}),
        IType::I32 | IType::I64 => unreachable!("not among the types"),
    };
    json!({ name: "ByValue" })
}

/// A program that does the same in another form, if there are ever two values on its stack.
fn detour(program: &[Instruction]) -> Vec<Instruction> {
    use Instruction as I;
    let mut other = Vec::new();
    for instruction in program {
        let before = matches!(
            instruction,
            I::StringLift | I::ByteArrayLift | I::ArrayLift(_) | I::StringLower | I::CallCore(0)
        );
        if before {
            other.extend([I::Swap2, I::Swap2]);
        }
        other.push(instruction.clone());
        if matches!(instruction, I::ArgumentGet(1..)) && other.len() > 1 {
            other.extend([I::Swap2, I::Swap2]);
        }
    }
    other
}

/// A section with any programs, for one function of the module and one call.
fn unusual(mut choices: Choices<'_>, wild: bool) {
    let table = types::table(&mut choices);
    let own = function(&mut choices, &table);
    let mut module = describe("near", &table, &[], &own);
    // The position of the adapter's type, and with it the rest, stays what it was.
    if let [adapter, ..] = &mut module.section.adapters[..] {
        let known = module.section.types.len();
        let count = choices.below(20);
        adapter.instructions = (0..count)
            .map(|_| instruction(&mut choices, known))
            .collect();
    }
    let types = module.section.types.len() as u32;
    if choices.byte() > 0x80 {
        // One more, of any core type, that the host knows nothing of.
        let raw = vec![IType::I32, IType::I64];
        let function = Function {
            arguments: types::named(raw),
            outputs: vec![IType::F64],
        };
        module
            .section
            .types
            .push(Type::Function(function.clone().into()));
        module.section.exports.push(Export {
            name: "more".to_owned(),
            type_index: types,
        });
        module.section.adapters.push(Adapter {
            type_index: types,
            instructions: vec![Instruction::CallCore(OWN)],
        });
        module.section.implementations.push(Implementation {
            core: types,
            adapter: types,
        });
        module.exports.push(function);
    }
    let arguments = own.arguments.iter();
    let values: Vec<IValue> = arguments
        .map(|argument| types::value(&mut choices, &argument.ty, &table))
        .collect();
    run(&[module], &values, choices.0, wild);
}

fn instruction(choices: &mut Choices<'_>, types: usize) -> Instruction {
    use Instruction as I;
    const INTEGERS: [Integer; 8] = [
        Integer::S8,
        Integer::S16,
        Integer::S32,
        Integer::S64,
        Integer::U8,
        Integer::U16,
        Integer::U32,
        Integer::U64,
    ];
    let integer = |choices: &mut Choices<'_>| INTEGERS[choices.below(INTEGERS.len())];
    let core = |choices: &mut Choices<'_>| match choices.byte() {
        0..0xc0 => Core::I32,
        _ => Core::I64,
    };
    match choices.below(20) {
        0 | 1 => I::ArgumentGet(choices.below(5) as u32),
        2 | 3 => I::CallCore(choices.below(8) as u32),
        4 => I::FromCore {
            to: integer(choices),
            from: core(choices),
        },
        5 => I::ToCore {
            to: core(choices),
            from: integer(choices),
        },
        6 => I::StringLift,
        7 => I::StringLower,
        8 => I::StringSize,
        9 => I::Dup,
        10 => I::Swap2,
        11 => I::ArrayLift(types::ty(choices, types)),
        12 => I::ArrayLower(types::ty(choices, types)),
        13 => I::RecordLift(choices.below(types) as u32),
        14 => I::RecordLower(choices.below(types) as u32),
        15 => I::BoolFromI32,
        16 => I::I32FromBool,
        17 => I::PushI32(address(choices) as i32),
        18 => I::ByteArrayLift,
        _ => match choices.byte() % 3 {
            0 => I::PushI64(address(choices) as i64),
            1 => I::ByteArrayLower,
            _ => I::ByteArraySize,
        },
    }
}

/// Calls the function of the last module. `None`: the modules make no sense.
fn run(modules: &[Description], values: &[IValue], input: &[u8], wild: bool) -> Option<Outcome> {
    let puppets = Puppets::new(input, wild, act);
    let engine = Engine::new(std::sync::Arc::new(puppets.clone()));
    let mut configs = Vec::new();
    for module in modules {
        configs.push(ModuleConfig::from_bytes(module.name, module.wasm()?));
    }
    let mut config = ServiceConfig::new(configs);
    config.limits.value_size = VALUE;
    let result = bounded_by("a call", MEMORY, || {
        let mut service = Service::new(config, &engine)?;
        Ok(service.call_values("f", values, &CallParameters::default(), None))
    });
    let result = result
        .inspect_err(|error: &ServiceError| drop(described(error)))
        .ok()?;
    let values = match result {
        Ok(values) => Some(format!("{values:?}")),
        Err(error) => {
            described(&error);
            None
        }
    };
    let trace = values.is_some().then(|| puppets.end());
    Some(Outcome { values, trace })
}

impl Description {
    fn wasm(&self) -> Option<Vec<u8>> {
        let mut functions: Vec<CoreFunction> = Vec::new();
        functions.extend(self.imports.iter().map(|import| CoreFunction {
            namespace: Some("far".to_owned()),
            name: "f".to_owned(),
            signature: flat(import),
        }));
        functions.extend(wasm::for_host());
        let names = ["f", "more"];
        functions.extend(
            self.exports
                .iter()
                .zip(names)
                .map(|(export, name)| CoreFunction {
                    namespace: None,
                    name: name.to_owned(),
                    signature: flat(export),
                }),
        );
        wasm::module(&functions, &self.section)
    }
}

/// The core type of a function.
fn flat(function: &Function) -> CoreSignature {
    let core = |ty: &IType| match ty {
        IType::S64 | IType::U64 | IType::I64 => CoreType::I64,
        IType::F32 => CoreType::F32,
        IType::F64 => CoreType::F64,
        _ => CoreType::I32,
    };
    let mut signature = CoreSignature::default();
    for argument in &function.arguments {
        signature.parameters.push(core(&argument.ty));
        if matches!(
            argument.ty,
            IType::String | IType::ByteArray | IType::Array(_)
        ) {
            signature.parameters.push(CoreType::I32);
        }
    }
    let by_register = |ty: &&IType| {
        matches!(
            ty,
            IType::String | IType::ByteArray | IType::Array(_) | IType::Record(_)
        )
    };
    let results = function.outputs.iter().filter(|ty| !by_register(ty));
    signature.results = results.map(core).collect();
    signature
}

/// What a module's own function does: some of everything.
fn act(stage: &mut Stage, scene: &mut Scene<'_>) -> Result<(), Trap> {
    let instance = scene.instance;
    for _ in 0..stage.choose(|choices| choices.below(6)) {
        match stage.choose(|choices| choices.below(8)) {
            0 => {
                let place = stage.choose(address) as usize;
                let bytes = stage.choose(|choices| [choices.byte(), choices.byte()]);
                let count = stage.choose(|choices| choices.below(9));
                for (cell, byte) in stage
                    .memory_of(instance)
                    .iter_mut()
                    .skip(place)
                    .zip(bytes.iter().cycle().take(count))
                {
                    *cell = *byte;
                }
            }
            1 => {
                let pages = stage.choose(|choices| choices.below(4));
                stage.grow(instance, pages);
            }
            // What it was given is what it returns, or a part of it.
            2 | 3 => {
                let slot = stage.choose(|choices| choices.below(scene.values.len()));
                let pointer = scene.values.get(slot).copied().unwrap_or_default();
                let size = scene.values.get(slot + 1).copied().unwrap_or_default();
                stage.set_result(instance, pointer, size);
            }
            4 => {
                let (pointer, size) = stage.choose(|choices| (address(choices), address(choices)));
                stage.set_result(instance, pointer, size);
            }
            5 | 6 => {
                let parameters = match stage.imports(instance).first() {
                    Some(function) => function.signature.parameters.len(),
                    None => 0,
                };
                let kept = scene.values.to_vec();
                let raw: Vec<u64> = (0..parameters)
                    .map(|slot| match kept.get(slot) {
                        Some(value) if stage.choose(|choices| choices.byte()) < 0x80 => *value,
                        _ => stage.choose(address),
                    })
                    .collect();
                stage.call_import(instance, 0, &raw)?;
            }
            _ if stage.choose(|choices| choices.byte()) > 0xe0 => return Err(trap("a trap")),
            _ => {}
        }
    }
    for slot in 0..scene.results {
        scene.values[slot] = stage.choose(address);
    }
    Ok(())
}
