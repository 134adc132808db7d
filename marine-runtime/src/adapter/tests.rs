//! Plans and the interpreter do the same: the same calls in the same order, the same bytes in
//! memory, the same values.

use proptest::prelude::*;

use super::*;
use crate::limits::MAX_VALUE_SIZE;
use crate::{
    backend::{BackendError, CompiledModule, CoreType, HostFunction, InstanceId},
    itypes::{IType, RecordType, memory, templates},
    module::{
        Adapter, Argument, Export, Implementation, Import, Instruction, Integer, InterfaceSection,
        Type,
    },
};

/// Functions of a module: six for the service, and the one of the test.
const FUNCTIONS: u32 = 7;
/// The last of them.
const OWN: u32 = 6;
/// Types of the service functions.
const SERVICE_TYPES: u32 = 6;
/// First address that an allocator gives.
const HEAP: u32 = 64;

/// A module as it is at run time.
#[derive(Clone, Debug, Default, PartialEq)]
struct Guest {
    memory: Vec<u8>,
    pointer: u64,
    size: u64,
}

/// A store of modules that do nothing but keep their books, and that remember each call.
#[derive(Clone, Debug, Default, PartialEq)]
struct Books {
    guests: Vec<Guest>,
    /// What the own function of each module returns: first slot of an argument, and whether the
    /// argument is passed by address.
    returned: Vec<Option<(usize, bool)>>,
    calls: Vec<(u32, Vec<u64>)>,
}

impl Store for Books {
    fn instantiate(
        &mut self,
        _: &dyn CompiledModule,
        _: &[HostFunction],
    ) -> Result<InstanceId, BackendError> {
        unreachable!("nothing is compiled here")
    }

    fn function(
        &mut self,
        _: InstanceId,
        _: &str,
    ) -> Result<Option<(FunctionId, CoreSignature)>, BackendError> {
        unreachable!("nothing is compiled here")
    }

    fn memory_of(&mut self, _: InstanceId) -> Option<MemoryId> {
        unreachable!("nothing is compiled here")
    }

    fn memory(&mut self, memory: MemoryId) -> &mut [u8] {
        &mut self.guests[memory.0 as usize].memory
    }

    fn call(&mut self, function: FunctionId, values: &mut [u64]) -> Result<(), Trap> {
        self.calls.push((function.0, values.to_vec()));
        let module = (function.0 / FUNCTIONS) as usize;
        let returned = self.returned[module];
        let guest = &mut self.guests[module];
        match function.0 % FUNCTIONS {
            0 => {
                let start = guest.memory.len().max(HEAP as usize);
                let size = values[0] as usize;
                if size > 0 {
                    guest.memory.resize(start + size, 0xEE);
                }
                values[0] = if size > 0 { start as u64 } else { 0 };
            }
            1 => {}
            2 => values[0] = guest.size,
            3 => values[0] = guest.pointer,
            4 => guest.size = values[0],
            5 => guest.pointer = values[0],
            _ => match returned {
                Some((slot, true)) => {
                    guest.pointer = values[slot];
                    guest.size = values.get(slot + 1).copied().unwrap_or_default();
                }
                Some((slot, false)) => values[0] = values[slot],
                None => {}
            },
        }
        Ok(())
    }
}

/// A type in which records are named by any number.
#[derive(Clone, Debug)]
enum Sketch {
    Scalar(usize),
    Text,
    Bytes,
    Array(Box<Sketch>),
    Record(u32),
}

fn sketches() -> impl Strategy<Value = Sketch> {
    let leaf = prop_oneof![
        3 => (0..SCALARS.len()).prop_map(Sketch::Scalar),
        2 => Just(Sketch::Text),
        1 => Just(Sketch::Bytes),
        2 => any::<u32>().prop_map(Sketch::Record),
    ];
    leaf.prop_recursive(3, 4, 1, |inner| {
        inner.prop_map(|inner| Sketch::Array(Box::new(inner)))
    })
}

const SCALARS: [IType; 11] = [
    IType::Boolean,
    IType::S8,
    IType::S16,
    IType::S32,
    IType::S64,
    IType::U8,
    IType::U16,
    IType::U32,
    IType::U64,
    IType::F32,
    IType::F64,
];

impl Sketch {
    /// The type, with records among the `known` ones from `first` on.
    fn ty(&self, first: u32, known: u32) -> IType {
        match self {
            Self::Scalar(index) => SCALARS[*index].clone(),
            Self::Text => IType::String,
            Self::Bytes => IType::ByteArray,
            Self::Array(inner) => IType::Array(Arc::new(inner.ty(first, known))),
            Self::Record(_) if known == 0 => IType::U8,
            Self::Record(number) => IType::Record(first + number % known),
        }
    }
}

/// Record types and a function: what a test is about.
#[derive(Clone, Debug)]
struct Case {
    records: Vec<Vec<Sketch>>,
    arguments: Vec<Sketch>,
    /// Which argument the function returns, if it returns one.
    returned: Option<usize>,
    /// Of values, and of what is wrong with them.
    seed: u64,
    /// Whether one argument is of another type.
    wrong: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec(prop::collection::vec(sketches(), 1..5), 0..4),
        prop::collection::vec(sketches(), 0..5),
        prop::option::of(any::<prop::sample::Index>()),
        any::<u64>(),
        prop::bool::weighted(0.15),
    )
        .prop_map(|(records, arguments, returned, seed, wrong)| {
            let returned = returned.filter(|_| !arguments.is_empty());
            Case {
                returned: returned.map(|index| index.index(arguments.len())),
                records,
                arguments,
                seed,
                wrong,
            }
        })
}

impl Case {
    /// A section with the service functions, `padding` records that nobody uses, and the records.
    fn section(&self, padding: u32) -> InterfaceSection {
        let mut section = InterfaceSection {
            version: semver::Version::new(0, 27, 0),
            types: Vec::new(),
            imports: Vec::new(),
            adapters: Vec::new(),
            exports: Vec::new(),
            implementations: Vec::new(),
        };
        for type_index in 0..SERVICE_TYPES {
            let (arguments, outputs) = (Vec::new(), Vec::new());
            let function = Function { arguments, outputs };
            section.types.push(Type::Function(Arc::new(function)));
            section.exports.push(Export {
                name: format!("service {type_index}"),
                type_index,
            });
        }
        for _ in 0..padding {
            section.types.push(record(vec![IType::U8]));
        }
        let first = SERVICE_TYPES + padding;
        for (known, fields) in (0..).zip(&self.records) {
            let fields = fields.iter().map(|field| field.ty(first, known));
            section.types.push(record(fields.collect()));
        }
        section
    }

    fn function(&self, padding: u32) -> Function {
        let first = SERVICE_TYPES + padding;
        let known = u32::try_from(self.records.len()).unwrap();
        let types = self.arguments.iter().map(|sketch| sketch.ty(first, known));
        let types: Vec<IType> = types.collect();
        let outputs = self.returned.map(|index| types[index].clone());
        Function {
            arguments: named(types),
            outputs: outputs.into_iter().collect(),
        }
    }

    /// Where the returned argument is passed to the core function.
    fn returned_slot(&self, function: &Function) -> Option<(usize, bool)> {
        let index = self.returned?;
        let before = &function.arguments[..index];
        let slots: usize = before.iter().map(|argument| slots(&argument.ty)).sum();
        Some((slots, function.arguments[index].ty.is_complex()))
    }

    fn values(&self, function: &Function, section: &InterfaceSection) -> Vec<IValue> {
        let mut numbers = Numbers(self.seed);
        let mut values: Vec<IValue> = function
            .arguments
            .iter()
            .map(|argument| numbers.value(&argument.ty, section, 0))
            .collect();
        if self.wrong && !values.is_empty() {
            let place = numbers.below(values.len() as u64) as usize;
            let ty = SCALARS[numbers.below(11) as usize].clone();
            values[place] = match numbers.below(3) {
                0 => IValue::Array(vec![numbers.value(&ty, section, 0)]),
                1 => IValue::Record(vec![numbers.value(&ty, section, 0)]),
                _ => numbers.value(&ty, section, 0),
            };
        }
        values
    }
}

fn record(fields: Vec<IType>) -> Type {
    Type::Record(Arc::new(RecordType {
        name: "R".to_owned(),
        fields: named(fields),
    }))
}

fn named(types: Vec<IType>) -> Vec<Argument> {
    let name = |ty| Argument {
        name: "n".to_owned(),
        ty,
    };
    types.into_iter().map(name).collect()
}

/// Core values of a value of the type.
fn slots(ty: &IType) -> usize {
    match ty {
        IType::String | IType::ByteArray | IType::Array(_) => 2,
        _ => 1,
    }
}

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 3
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn value(&mut self, ty: &IType, section: &InterfaceSection, depth: u32) -> IValue {
        let next = self.next();
        let length = next % if depth > 2 { 2 } else { 4 };
        match ty {
            IType::Boolean => IValue::Boolean(next.is_multiple_of(2)),
            IType::S8 => IValue::S8(next as i8),
            IType::S16 => IValue::S16(next as i16),
            IType::S32 => IValue::S32(next as i32),
            IType::S64 => IValue::S64((next << 1).cast_signed()),
            IType::U8 => IValue::U8(next as u8),
            IType::U16 => IValue::U16(next as u16),
            IType::U32 => IValue::U32(next as u32),
            IType::U64 => IValue::U64(next << 1),
            IType::F32 => IValue::F32(next as i32 as f32 / 3.0),
            IType::F64 => IValue::F64(next as f64 / 3.0),
            IType::I32 => IValue::I32(next as i32),
            IType::I64 => IValue::I64(next.cast_signed()),
            IType::String => IValue::String("aü€😀".chars().take(length as usize).collect()),
            IType::ByteArray => IValue::ByteArray(vec![next as u8; length as usize]),
            IType::Array(element) if **element == IType::U8 && next.is_multiple_of(3) => {
                IValue::ByteArray(vec![next as u8; length as usize])
            }
            IType::Array(element) => {
                let values = (0..length).map(|_| self.value(element, section, depth + 1));
                IValue::Array(values.collect())
            }
            IType::Record(id) => {
                let fields = &section.record(*id).unwrap().fields;
                let values = fields.iter();
                let values = values.map(|field| self.value(&field.ty, section, depth + 1));
                IValue::Record(values.collect())
            }
        }
    }
}

/// The core exports of module `index`.
fn core(index: u32, own: CoreSignature) -> Vec<CoreFunction> {
    let int = || vec![CoreType::I32];
    let signature = |parameters, results| CoreSignature {
        parameters,
        results,
    };
    let signatures = [
        signature(vec![CoreType::I32; 2], int()),
        signature(vec![], vec![]),
        signature(vec![], int()),
        signature(vec![], int()),
        signature(int(), vec![]),
        signature(int(), vec![]),
        own,
    ];
    (0..)
        .zip(signatures)
        .map(|(number, signature)| CoreFunction {
            name: format!("core {number}"),
            id: FunctionId(index * FUNCTIONS + number),
            signature,
        })
        .collect()
}

/// The core type of a function with the interface type `function`.
fn flat(function: &Function) -> CoreSignature {
    let core = |ty: &IType| match ty {
        IType::S64 | IType::U64 => CoreType::I64,
        IType::F32 => CoreType::F32,
        IType::F64 => CoreType::F64,
        _ => CoreType::I32,
    };
    let parameters = function.arguments.iter();
    let parameters = parameters.flat_map(|argument| vec![core(&argument.ty); slots(&argument.ty)]);
    let results = function.outputs.iter().filter(|ty| !ty.is_complex());
    CoreSignature {
        parameters: parameters.collect(),
        results: results.map(core).collect(),
    }
}

/// A module that exports `function`, with a plan or without.
fn exporter(
    index: u32,
    mut section: InterfaceSection,
    function: Function,
    planned: bool,
) -> LinkedModule {
    let core = core(index, flat(&function));
    let function = Arc::new(function);
    let adapter = u32::try_from(section.types.len()).unwrap();
    let code = Adapter {
        type_index: adapter,
        instructions: templates::export(&function, OWN),
    };
    let plan = ExportPlan::of(&function, &code, &core);
    assert!(plan.is_some(), "the adapter has no plan");
    section.types.extend([
        Type::Function(Arc::clone(&function)),
        Type::Function(Arc::clone(&function)),
    ]);
    section.exports.push(Export {
        name: "own".to_owned(),
        type_index: adapter + 1,
    });
    section.adapters.push(code);
    let exported = ExportedFunction {
        function,
        adapter,
        plan: plan.filter(|_| planned),
    };
    LinkedModule {
        name: format!("module {index}"),
        value_size: MAX_VALUE_SIZE,
        section: Arc::new(section),
        memory: Some(MemoryId(index)),
        core,
        links: Vec::new(),
        functions: BTreeMap::from([("own".to_owned(), exported)]),
    }
}

/// A module that imports the function of `callee`, and the index of its adapter.
fn importer(case: &Case, callee: LinkedModule) -> (LinkedModule, u32) {
    let mut section = case.section(0);
    let declared = Arc::new(case.function(0));
    let flat = flat(&declared);
    let number = |ty: &CoreType| match ty {
        CoreType::I32 => IType::I32,
        CoreType::I64 => IType::I64,
        CoreType::F32 => IType::F32,
        CoreType::F64 => IType::F64,
    };
    let raw = Arc::new(Function {
        arguments: named(flat.parameters.iter().map(number).collect()),
        outputs: flat.results.iter().map(number).collect(),
    });
    let first = u32::try_from(section.types.len()).unwrap();
    let exports = u32::try_from(section.exports.len()).unwrap();
    section.types.extend([
        Type::Function(Arc::clone(&declared)),
        Type::Function(Arc::clone(&raw)),
        Type::Function(raw),
    ]);
    for type_index in [first, first + 2] {
        section.imports.push(Import {
            namespace: callee.name.clone(),
            name: "own".to_owned(),
            type_index,
        });
    }
    section.adapters.push(Adapter {
        type_index: first + 1,
        instructions: templates::import(&declared, exports),
    });
    section.implementations.push(Implementation {
        core: first + 2,
        adapter: first + 1,
    });
    let mut core = core(0, CoreSignature::default());
    core.pop();
    let module = LinkedModule {
        name: "module 0".to_owned(),
        value_size: MAX_VALUE_SIZE,
        section: Arc::new(section),
        memory: Some(MemoryId(0)),
        core,
        links: vec![Link {
            name: "own".to_owned(),
            function: declared,
            callee: Arc::new(callee),
        }],
        functions: BTreeMap::new(),
    };
    (module, first + 1)
}

fn books(guests: usize, returned: Vec<Option<(usize, bool)>>) -> Books {
    Books {
        guests: vec![Guest::default(); guests],
        returned,
        calls: Vec::new(),
    }
}

/// Puts the arguments of a call where a module has them: its raw values.
fn place(
    module: &LinkedModule,
    store: &mut Books,
    types: &[Argument],
    values: &[IValue],
) -> Vec<u64> {
    let section = Arc::clone(&module.section);
    let mut raw = Vec::new();
    for (argument, value) in types.iter().zip(values) {
        let mut guest = module.guest(store);
        match (&argument.ty, value) {
            (IType::String, IValue::String(text)) => {
                let (pointer, length) = memory::lower_bytes(&mut guest, text.as_bytes()).unwrap();
                raw.extend([u64::from(pointer), u64::from(length)]);
            }
            (IType::Record(id), IValue::Record(fields)) => {
                let pointer = memory::lower_record(&mut guest, *id, fields, &*section).unwrap();
                raw.push(pointer.into());
            }
            (ty @ (IType::ByteArray | IType::Array(_)), value) => {
                let (pointer, count) =
                    memory::lower_sequence(&mut guest, ty, value, &*section).unwrap();
                raw.extend([u64::from(pointer), u64::from(count)]);
            }
            (IType::Boolean, IValue::Boolean(value)) => raw.push(u64::from(*value)),
            (IType::F32, IValue::F32(value)) => raw.push(value.to_bits().into()),
            (IType::F64, IValue::F64(value)) => raw.push(value.to_bits()),
            (ty, value) => {
                let all = [
                    Integer::S8,
                    Integer::S16,
                    Integer::S32,
                    Integer::S64,
                    Integer::U8,
                    Integer::U16,
                    Integer::U32,
                    Integer::U64,
                ];
                let number = all
                    .iter()
                    .find_map(|integer| interpreter::integer(value, *integer))
                    .unwrap();
                raw.push(match ty {
                    IType::S64 | IType::U64 => number.cast_unsigned(),
                    _ => u64::from(number as u32),
                });
            }
        }
    }
    raw
}

/// The same for the interpreter.
fn interpret(
    module: &LinkedModule,
    store: &mut dyn Store,
    adapter: u32,
    raw: &[u64],
    results: &mut [u64],
) -> Result<(), Trap> {
    let types = &module.section.function(adapter).unwrap();
    let core = |ty: &IType| match ty {
        IType::I64 => CoreType::I64,
        IType::F32 => CoreType::F32,
        IType::F64 => CoreType::F64,
        _ => CoreType::I32,
    };
    let arguments: Vec<IValue> = raw
        .iter()
        .zip(&types.arguments)
        .map(|(raw, argument)| from_raw(*raw, core(&argument.ty)))
        .collect();
    let values = module
        .interpret(store, adapter, &arguments)
        .map_err(ExecutionError::into_trap)?;
    assert_eq!(values.len(), results.len());
    for ((slot, value), ty) in results.iter_mut().zip(&values).zip(&types.outputs) {
        *slot = to_raw(value, core(ty))?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn exports(case in cases()) {
        let section = case.section(0);
        let function = case.function(0);
        let values = case.values(&function, &section);
        let mut by_plan = books(1, vec![case.returned_slot(&function)]);
        let mut by_instructions = by_plan.clone();
        let expected = case.returned.map(|index| values[index].clone());
        let module = exporter(0, section, function, true);
        let exported = &module.functions["own"];
        let planned = module.call(&mut by_plan, exported, &values);
        let interpreted = module.interpret(&mut by_instructions, exported.adapter, &values);
        match (planned, interpreted) {
            (Ok(planned), Ok(interpreted)) => {
                prop_assert_eq!(&planned, &interpreted);
                prop_assert_eq!(by_plan, by_instructions);
                if !case.wrong {
                    let values = planned.first().map(normal);
                    prop_assert_eq!(values, expected.as_ref().map(normal));
                }
            }
            (Err(_), Err(_)) => prop_assert!(case.wrong),
            (planned, interpreted) => {
                prop_assert!(false, "{:?} is not {:?}", planned, interpreted);
            }
        }
    }

    #[test]
    fn imports(mut case in cases()) {
        case.wrong = false;
        // The callee has other numbers for the same records.
        let (inner, outer) = (case.function(1), case.function(0));
        let returned = vec![None, case.returned_slot(&inner)];
        let values = case.values(&outer, &case.section(0));
        let callee = |planned| exporter(1, case.section(1), inner.clone(), planned);
        let (module, adapter) = importer(&case, callee(true));
        let mut by_plan = books(2, returned);
        let raw = place(&module, &mut by_plan, &outer.arguments, &values);
        let mut by_instructions = by_plan.clone();

        let code = module.section.adapter(adapter).unwrap();
        let plan = ImportPlan::of(&outer, code, &module.section, &module.core).unwrap();
        let mut results = vec![0; plan.signature().results.len()];
        plan.run(&module, &mut by_plan, &raw, &mut results).unwrap();

        let (module, adapter) = importer(&case, callee(false));
        let mut interpreted = vec![0; results.len()];
        interpret(&module, &mut by_instructions, adapter, &raw, &mut interpreted).unwrap();
        prop_assert_eq!(results, interpreted);
        prop_assert_eq!(by_plan, by_instructions);
    }
}

/// Bytes and arrays of `u8` are the same.
fn normal(value: &IValue) -> IValue {
    match value {
        IValue::Array(values) if values.iter().all(|value| matches!(value, IValue::U8(_))) => {
            IValue::ByteArray(
                values
                    .iter()
                    .map(|value| match value {
                        IValue::U8(byte) => *byte,
                        _ => 0,
                    })
                    .collect(),
            )
        }
        IValue::Array(values) => IValue::Array(values.iter().map(normal).collect()),
        IValue::Record(values) => IValue::Record(values.iter().map(normal).collect()),
        other => other.clone(),
    }
}

#[test]
fn no_other_adapter_has_a_plan() {
    let case = Case {
        records: Vec::new(),
        arguments: vec![Sketch::Text],
        returned: Some(0),
        seed: 0,
        wrong: false,
    };
    let function = case.function(0);
    let core = core(0, flat(&function));
    let usual = templates::export(&function, OWN);
    let plan = |instructions: Vec<Instruction>, core: &[CoreFunction]| {
        let code = Adapter {
            type_index: 6,
            instructions,
        };
        ExportPlan::of(&function, &code, core).is_some()
    };
    assert!(plan(usual.clone(), &core));
    for place in 0..usual.len() {
        let mut changed = usual.clone();
        changed[place] = Instruction::Dup;
        assert!(!plan(changed, &core), "{place}");
        let mut shorter = usual.clone();
        shorter.remove(place);
        assert!(!plan(shorter, &core), "{place}");
    }
    for number in 0..core.len() {
        let mut others = self::core(0, flat(&function));
        others[number].signature.results.push(CoreType::F64);
        assert!(!plan(usual.clone(), &others), "{number}");
    }
}
