//! The decoded interface section, and what must hold of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use semver::Version;

use crate::{
    itypes::{IType, RecordType},
    limits::{MAX_ARRAY_DEPTH, MAX_TYPE_DEPTH},
};

/// The decoded interface section (“`interface-types` payload” in the protocol description).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceSection {
    /// Version of the format.
    pub version: Version,
    /// All types; other tables refer to them by position.
    pub types: Vec<Type>,
    /// Imports, linkable ones and declarations.
    pub imports: Vec<Import>,
    /// Programs that convert between interface values and core values.
    pub adapters: Vec<Adapter>,
    /// Core exports by name.
    pub exports: Vec<Export>,
    /// Which adapter stands for which core function.
    pub implementations: Vec<Implementation>,
}

/// An entry of the type table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// A function.
    Function(Arc<Function>),
    /// A record.
    Record(Arc<RecordType>),
}

/// The type of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its arguments.
    pub arguments: Vec<Argument>,
    /// Its outputs: none or one in practice.
    pub outputs: Vec<IType>,
}

/// A named argument of a function or field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: IType,
}

/// An import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Namespace: the name of another module.
    pub namespace: String,
    /// Name of the function there.
    pub name: String,
    /// Position of its type.
    pub type_index: u32,
}

/// An adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// Position of its type.
    pub type_index: u32,
    /// Its program.
    pub instructions: Vec<Instruction>,
}

/// An export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// Position of its type.
    pub type_index: u32,
}

/// “Functions of type `core` are implemented by the adapter of type `adapter`.”
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Implementation {
    /// Position of the core type.
    pub core: u32,
    /// Position of the adapter's type.
    pub adapter: u32,
}

/// An integer type of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Integer {
    S8,
    S16,
    S32,
    S64,
    U8,
    U16,
    U32,
    U64,
}

/// An integer type of core Wasm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Core {
    I32,
    I64,
}

/// An instruction of an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// Pushes an argument.
    ArgumentGet(u32),
    /// Calls a core export, or a function of another module.
    CallCore(u32),
    /// Turns a core integer into an integer of the interface.
    FromCore {
        /// What it becomes.
        to: Integer,
        /// What it is.
        from: Core,
    },
    /// Turns an integer of the interface into a core integer.
    ToCore {
        /// What it becomes.
        to: Core,
        /// What it is.
        from: Integer,
    },
    /// Pointer and length to a string.
    StringLift,
    /// Pointer and string to pointer and length.
    StringLower,
    /// Bytes of a string.
    StringSize,
    /// Doubles the top.
    Dup,
    /// Swaps the two topmost values.
    Swap2,
    /// Pointer and count to an array.
    ArrayLift(IType),
    /// An array to pointer and count.
    ArrayLower(IType),
    /// Pointer to a record.
    RecordLift(u32),
    /// A record to a pointer.
    RecordLower(u32),
    /// Not zero is true.
    BoolFromI32,
    /// False is 0, true is 1.
    I32FromBool,
    /// Pushes a constant.
    PushI32(i32),
    /// Pushes a constant.
    PushI64(i64),
    /// Pointer and length to bytes.
    ByteArrayLift,
    /// Pointer and bytes to pointer and length.
    ByteArrayLower,
    /// Number of bytes.
    ByteArraySize,
}

impl fmt::Display for Integer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::S8 => "s8",
            Self::S16 => "s16",
            Self::S32 => "s32",
            Self::S64 => "s64",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
        })
    }
}

impl fmt::Display for Core {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
        })
    }
}

impl fmt::Display for Instruction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArgumentGet(index) => write!(formatter, "arg.get {index}"),
            Self::CallCore(index) => write!(formatter, "call-core {index}"),
            Self::FromCore { to, from } => write!(formatter, "{to}.from_{from}"),
            Self::ToCore { to, from } => write!(formatter, "{to}.from_{from}"),
            Self::StringLift => formatter.write_str("string.lift_memory"),
            Self::StringLower => formatter.write_str("string.lower_memory"),
            Self::StringSize => formatter.write_str("string.size"),
            Self::Dup => formatter.write_str("dup"),
            Self::Swap2 => formatter.write_str("swap2"),
            Self::ArrayLift(ty) => write!(formatter, "array.lift_memory {ty}"),
            Self::ArrayLower(ty) => write!(formatter, "array.lower_memory {ty}"),
            Self::RecordLift(id) => write!(formatter, "record.lift_memory {id}"),
            Self::RecordLower(id) => write!(formatter, "record.lower_memory {id}"),
            Self::BoolFromI32 => formatter.write_str("bool.from_i32"),
            Self::I32FromBool => formatter.write_str("i32.from_bool"),
            Self::PushI32(value) => write!(formatter, "i32.push {value}"),
            Self::PushI64(value) => write!(formatter, "i64.push {value}"),
            Self::ByteArrayLift => formatter.write_str("byte_array.lift_memory"),
            Self::ByteArrayLower => formatter.write_str("byte_array.lower_memory"),
            Self::ByteArraySize => formatter.write_str("byte_array.size"),
        }
    }
}

/// A section that decodes but makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidSection {
    /// An index that points at nothing.
    #[error("Loaded module doesn't contain type with idx = {index} (needed by {by})")]
    NoType {
        /// The index.
        index: u32,
        /// What refers to it.
        by: String,
    },
    /// A record stands where a function is needed.
    #[error("type with idx = {index} isn't a function type (needed by {by})")]
    NotAFunction {
        /// The index.
        index: u32,
        /// What refers to it.
        by: String,
    },
    /// A record id that points at nothing, or at a function.
    #[error("record type with type id {id} not found (needed by {by})")]
    NoRecord {
        /// The id.
        id: u32,
        /// What refers to it.
        by: String,
    },
    /// A record that contains itself, or types nested too deep.
    #[error(
        "mailformed module: a record contains more recursion level then allowed (type {index}, at most {limit} levels)"
    )]
    TooDeep {
        /// Position of the type.
        index: u32,
        /// The limit.
        limit: usize,
    },
    /// Two things where there must be one.
    #[error("{what} is defined twice")]
    Duplicate {
        /// What.
        what: String,
    },
    /// An adapter calls a function that does not exist.
    #[error(
        "adapter of type {adapter} calls function {index}, but there are {exports} exports and {imports} linkable imports"
    )]
    NoFunction {
        /// Type index of the adapter.
        adapter: u32,
        /// The function's index.
        index: u32,
        /// How many exports there are.
        exports: usize,
        /// How many linkable imports there are.
        imports: usize,
    },
    /// An implementation without its adapter.
    #[error("Loaded module doesn't contain adapter with type idx = {index}")]
    NoAdapter {
        /// Type index of the adapter.
        index: u32,
    },
    /// A function that exists only as an import of a namespace the host keeps for itself.
    #[error("a raw function has an argument or output of type {ty} (type {index})")]
    NotRaw {
        /// Position of the type.
        index: u32,
        /// The interface type that cannot be a core value.
        ty: String,
    },
}

impl InterfaceSection {
    /// The function type at `index`.
    #[must_use]
    pub fn function(&self, index: u32) -> Option<&Arc<Function>> {
        match self.types.get(index as usize)? {
            Type::Function(function) => Some(function),
            Type::Record(_) => None,
        }
    }

    /// The record with `id`, which is its position among the types.
    #[must_use]
    pub fn record(&self, id: u32) -> Option<&Arc<RecordType>> {
        match self.types.get(id as usize)? {
            Type::Record(record) => Some(record),
            Type::Function(_) => None,
        }
    }

    /// The adapter of a type.
    #[must_use]
    pub fn adapter(&self, type_index: u32) -> Option<&Adapter> {
        self.adapters
            .iter()
            .find(|adapter| adapter.type_index == type_index)
    }

    /// All adapters by the index of their type: for more than a few of them.
    #[must_use]
    pub fn adapters_by_type(&self) -> BTreeMap<u32, &Adapter> {
        let adapters = self.adapters.iter();
        adapters
            .map(|adapter| (adapter.type_index, adapter))
            .collect()
    }

    /// All imports by the index of their type.
    #[must_use]
    pub fn imports_by_type(&self) -> BTreeMap<u32, Vec<&Import>> {
        let mut imports: BTreeMap<u32, Vec<&Import>> = BTreeMap::new();
        for import in &self.imports {
            imports.entry(import.type_index).or_default().push(import);
        }
        imports
    }

    /// Imports that other modules supply, in the order that `call-core` counts them.
    pub fn linkable_imports(&self) -> impl Iterator<Item = &Import> {
        let implemented: BTreeSet<u32> = self
            .implementations
            .iter()
            .map(|implementation| implementation.core)
            .collect();
        self.imports
            .iter()
            .filter(move |import| implemented.contains(&import.type_index))
    }

    /// Checks all references and sizes, so that nothing later can meet a missing one.
    ///
    /// # Errors
    /// The first thing found that does not hold.
    pub fn validate(&self) -> Result<(), InvalidSection> {
        self.check_types()?;
        self.check_depth()?;
        let mut names = BTreeSet::new();
        for export in &self.exports {
            self.need_function(export.type_index, || format!("export {:?}", export.name))?;
            if !names.insert(export.name.as_str()) {
                return duplicate(format!("export {:?}", export.name));
            }
        }
        for import in &self.imports {
            self.need_function(import.type_index, || {
                format!("import {:?} of {:?}", import.name, import.namespace)
            })?;
        }
        let mut cores = BTreeSet::new();
        for implementation in &self.implementations {
            let by = || format!("implementation of type {}", implementation.core);
            self.need_function(implementation.core, by)?;
            self.need_function(implementation.adapter, by)?;
            if !cores.insert(implementation.core) {
                return duplicate(by());
            }
        }
        self.check_adapters()?;
        let adapters = self.adapters_by_type();
        for implementation in &self.implementations {
            if !adapters.contains_key(&implementation.adapter) {
                return Err(InvalidSection::NoAdapter {
                    index: implementation.adapter,
                });
            }
        }
        for import in self.linkable_imports() {
            // The declaration of a linkable import stands two places before it.
            let by = || format!("import {:?} of {:?}", import.name, import.namespace);
            match import.type_index.checked_sub(2) {
                Some(index) => self.need_function(index, by)?,
                None => {
                    return Err(InvalidSection::NoType {
                        index: import.type_index,
                        by: by(),
                    });
                }
            }
        }
        Ok(())
    }

    fn check_adapters(&self) -> Result<(), InvalidSection> {
        let imports = self.linkable_imports().count();
        let functions = self.exports.len() + imports;
        let mut types = BTreeSet::new();
        for adapter in &self.adapters {
            let by = || format!("adapter of type {}", adapter.type_index);
            self.need_function(adapter.type_index, by)?;
            if !types.insert(adapter.type_index) {
                return duplicate(by());
            }
            for instruction in &adapter.instructions {
                match instruction {
                    Instruction::CallCore(index) if *index as usize >= functions => {
                        return Err(InvalidSection::NoFunction {
                            adapter: adapter.type_index,
                            index: *index,
                            exports: self.exports.len(),
                            imports,
                        });
                    }
                    Instruction::ArrayLift(ty) | Instruction::ArrayLower(ty) => {
                        self.need_records(ty, &by)?;
                    }
                    Instruction::RecordLift(id) | Instruction::RecordLower(id) => {
                        self.need_records(&IType::Record(*id), &by)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn check_types(&self) -> Result<(), InvalidSection> {
        for (index, ty) in self.types.iter().enumerate() {
            let by = || format!("type {index}");
            match ty {
                Type::Function(function) => {
                    for argument in &function.arguments {
                        self.need_records(&argument.ty, &by)?;
                    }
                    for output in &function.outputs {
                        self.need_records(output, &by)?;
                    }
                }
                Type::Record(record) => {
                    for field in &record.fields {
                        self.need_records(&field.ty, &by)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Refuses records that contain themselves or nest too deep. Works without recursion: the
    /// depth of a record is known when that of all its fields is.
    fn check_depth(&self) -> Result<(), InvalidSection> {
        let mut depths: Vec<Option<usize>> = vec![None; self.types.len()];
        for start in 0..self.types.len() {
            let mut path = vec![(start, 0_usize)];
            while let Some((index, next_field)) = path.last().copied() {
                let too_deep = InvalidSection::TooDeep {
                    index: u32::try_from(index).unwrap_or(u32::MAX),
                    limit: MAX_TYPE_DEPTH,
                };
                let Some(Type::Record(record)) = self.types.get(index) else {
                    path.pop();
                    continue;
                };
                if depths.get(index).copied().flatten().is_some() {
                    path.pop();
                    continue;
                }
                let field = record
                    .fields
                    .get(next_field)
                    .map(|field| field.ty.innermost());
                match field {
                    Some((_, IType::Record(id))) => {
                        if let Some(top) = path.last_mut() {
                            top.1 += 1;
                        }
                        let id = *id as usize;
                        if depths.get(id).copied().flatten().is_none() {
                            if path.len() >= MAX_TYPE_DEPTH
                                || path.iter().any(|(open, _)| *open == id)
                            {
                                return Err(too_deep);
                            }
                            path.push((id, 0));
                        }
                    }
                    Some(_) => {
                        if let Some(top) = path.last_mut() {
                            top.1 += 1;
                        }
                    }
                    None => {
                        let depth = record.fields.iter().map(|field| {
                            let (arrays, inner) = field.ty.innermost();
                            let inner = match inner {
                                IType::Record(id) => {
                                    depths.get(*id as usize).copied().flatten().unwrap_or(0)
                                }
                                _ => 0,
                            };
                            arrays + inner
                        });
                        let depth = 1 + depth.max().unwrap_or(0);
                        if depth > MAX_TYPE_DEPTH {
                            return Err(too_deep);
                        }
                        if let Some(known) = depths.get_mut(index) {
                            *known = Some(depth);
                        }
                        path.pop();
                    }
                }
            }
        }
        Ok(())
    }

    fn need_records(&self, ty: &IType, by: &dyn Fn() -> String) -> Result<(), InvalidSection> {
        let (arrays, inner) = ty.innermost();
        if arrays > MAX_ARRAY_DEPTH {
            return Err(InvalidSection::TooDeep {
                index: 0,
                limit: MAX_ARRAY_DEPTH,
            });
        }
        match inner {
            IType::Record(id) if self.record(*id).is_none() => {
                Err(InvalidSection::NoRecord { id: *id, by: by() })
            }
            _ => Ok(()),
        }
    }

    fn need_function(&self, index: u32, by: impl FnOnce() -> String) -> Result<(), InvalidSection> {
        match self.types.get(index as usize) {
            Some(Type::Function(_)) => Ok(()),
            Some(Type::Record(_)) => Err(InvalidSection::NotAFunction { index, by: by() }),
            None => Err(InvalidSection::NoType { index, by: by() }),
        }
    }
}

fn duplicate(what: String) -> Result<(), InvalidSection> {
    Err(InvalidSection::Duplicate { what })
}
