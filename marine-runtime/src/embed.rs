//! From the descriptions that the SDK leaves in a module to its interface section: the last step of
//! building a module.
//!
//! `#[marine]` puts one JSON value for each annotated item into a custom section of its own
//! (“SDK AST sections” in the protocol description). [`embed`] collects them, lays out the types,
//! imports, adapters and exports the way published build tools do, and adds the section
//! `interface-types`; nothing else in the file changes.
//!
//! ```no_run
//! let wasm = std::fs::read("target/wasm32-wasip1/release/greeting.wasm")?;
//! std::fs::write("greeting.wasm", marine_runtime::embed::embed("greeting", &wasm)?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adapters;
mod description;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use semver::Version;
use wasmparser::{Parser, Payload};

use crate::{
    itypes::{IType, RecordType},
    limits::MAX_ARRAY_DEPTH,
    module::{
        Adapter, Argument, EncodeError, Export, Function, INTERFACE_SECTION, Implementation,
        Import, InterfaceSection, InvalidSection, ModuleError, Outline, Type, with_custom_section,
    },
};

use description::{Fields, Item, Passed, Signature};

/// The version of the interface format that [`embed`] writes.
pub const INTERFACE_VERSION: Version = Version::new(0, 27, 0);

/// Prefixes of the names of sections with descriptions: today's, and that of the first SDKs.
pub const DESCRIPTION_PREFIXES: [&str; 2] =
    ["__m_generated_section__", "__fce_generated_section__"];

/// Functions that every module exports for the host, at fixed positions.
const SERVICE_FUNCTIONS: [(&str, Option<&str>, bool); 6] = [
    ("allocate", Some("size"), true),
    ("release_objects", None, false),
    ("get_result_size", None, true),
    ("get_result_ptr", None, true),
    ("set_result_size", Some("result_size"), false),
    ("set_result_ptr", Some("result_ptr"), false),
];

/// A module from which no interface can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// Not a module, or not one of the SDK.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// Nothing in the module carries `#[marine]`.
    #[error(
        "module {module:?} has no descriptions of functions: `#[marine]` of the SDK leaves them when it is built for wasm32"
    )]
    NoDescriptions {
        /// The module.
        module: String,
    },
    /// A section with something else than descriptions.
    #[error("section {section:?} does not hold descriptions: {source}")]
    Malformed {
        /// The section.
        section: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A record without fields.
    #[error("record {record:?} has no named fields")]
    NoFields {
        /// The record.
        record: String,
    },
    /// Two records of one name.
    #[error("there are two different records with the name {record:?}")]
    RecordTwice {
        /// The record.
        record: String,
    },
    /// A name that no record has.
    #[error("{user} uses {record:?}, which is not a record: does its struct carry `#[marine]`?")]
    UnknownRecord {
        /// The record.
        record: String,
        /// What uses it.
        user: String,
    },
    /// Vectors in vectors, too deep.
    #[error("{user} has a type with more than {limit} vectors in each other")]
    TooDeep {
        /// What has it.
        user: String,
        /// The limit.
        limit: usize,
    },
    /// A described function that the module does not export.
    #[error("function {function:?} is described, but the module does not export it")]
    NotExported {
        /// The function.
        function: String,
    },
    /// Names or lists that are too long for the format.
    #[error("the interface cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
    /// A table that would not load, such as one with a record that contains itself.
    #[error("the interface would not load: {0}")]
    Invalid(#[from] InvalidSection),
}

/// The module with its interface section, which replaces one that is there.
///
/// # Errors
/// A module that was not built with the SDK, and descriptions that make no interface.
pub fn embed(module: &str, wasm: &[u8]) -> Result<Vec<u8>, EmbedError> {
    let outline = Outline::read(module, wasm)?;
    outline.sdk_version()?;
    let items = items(module, wasm)?;
    let section = generate(&items)?;
    let exported: BTreeSet<&str> = outline.exports().iter().copied().collect();
    for export in &section.exports {
        if !exported.contains(export.name.as_str()) {
            return Err(EmbedError::NotExported {
                function: export.name.clone(),
            });
        }
    }
    Ok(with_custom_section(
        INTERFACE_SECTION,
        wasm,
        &section.encode()?,
    )?)
}

/// The interface that the descriptions in a module stand for.
///
/// # Errors
/// As for [`embed`].
pub fn interface_of(module: &str, wasm: &[u8]) -> Result<InterfaceSection, EmbedError> {
    generate(&items(module, wasm)?)
}

/// All descriptions in a module, in the order of the file.
fn items(module: &str, wasm: &[u8]) -> Result<Vec<Item>, EmbedError> {
    let mut items = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(|error| ModuleError::NotWasm {
            module: module.to_owned(),
            reason: error.to_string(),
        })?;
        let Payload::CustomSection(section) = payload else {
            continue;
        };
        let name = section.name();
        if !DESCRIPTION_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
        {
            continue;
        }
        // A linker joins sections of one name: there may be several values.
        for item in serde_json::Deserializer::from_slice(section.data()).into_iter() {
            items.push(item.map_err(|source| EmbedError::Malformed {
                section: name.to_owned(),
                source,
            })?);
        }
    }
    if items.is_empty() {
        return Err(EmbedError::NoDescriptions {
            module: module.to_owned(),
        });
    }
    Ok(items)
}

fn generate(items: &[Item]) -> Result<InterfaceSection, EmbedError> {
    let mut generator = Generator::new(items)?;
    generator.service_functions();
    generator.records(items)?;
    for item in items {
        if let Item::Function { signature } = item {
            generator.exported(signature)?;
        }
    }
    let exports = generator.section.exports.len();
    let mut linkable = 0;
    for item in items {
        let Item::ExternMod { namespace, imports } = item else {
            continue;
        };
        if namespace == "host" || namespace.starts_with("__marine_host_api_v") {
            continue;
        }
        for import in imports {
            let name = import.link_name.as_ref().unwrap_or(&import.signature.name);
            generator.imported(namespace, name, &import.signature, exports + linkable)?;
            linkable += 1;
        }
    }
    let section = generator.finish()?;
    section.validate()?;
    Ok(section)
}

struct Generator<'a> {
    section: InterfaceSection,
    /// Fields of the described records.
    described: BTreeMap<&'a str, &'a [description::Field]>,
    /// Positions of the records that were met.
    ids: BTreeMap<&'a str, u32>,
    /// Types by position; a record that is only referred to so far is not there.
    types: Vec<Option<Type>>,
}

impl<'a> Generator<'a> {
    fn new(items: &'a [Item]) -> Result<Self, EmbedError> {
        let mut described = BTreeMap::new();
        for item in items {
            let Item::Record { name, fields } = item else {
                continue;
            };
            let fields = match fields {
                Fields::Named(fields) if !fields.is_empty() => fields.as_slice(),
                _ => {
                    return Err(EmbedError::NoFields {
                        record: name.clone(),
                    });
                }
            };
            if described
                .insert(name.as_str(), fields)
                .is_some_and(|other| other != fields)
            {
                return Err(EmbedError::RecordTwice {
                    record: name.clone(),
                });
            }
        }
        Ok(Self {
            section: InterfaceSection {
                version: INTERFACE_VERSION,
                types: Vec::new(),
                imports: Vec::new(),
                adapters: Vec::new(),
                exports: Vec::new(),
                implementations: Vec::new(),
            },
            described,
            ids: BTreeMap::new(),
            types: Vec::new(),
        })
    }

    fn service_functions(&mut self) {
        for (name, argument, has_result) in SERVICE_FUNCTIONS {
            let argument = argument.map(|name| Argument {
                name: name.to_owned(),
                ty: IType::I32,
            });
            let type_index = self.push_function(Function {
                arguments: argument.into_iter().collect(),
                outputs: if has_result {
                    vec![IType::I32]
                } else {
                    Vec::new()
                },
            });
            self.section.exports.push(Export {
                name: name.to_owned(),
                type_index,
            });
        }
    }

    /// Lays out all records. One that is referred to before its turn takes the next position.
    fn records(&mut self, items: &'a [Item]) -> Result<(), EmbedError> {
        for item in items {
            let Item::Record { name, .. } = item else {
                continue;
            };
            let Some((&name, &fields)) = self.described.get_key_value(name.as_str()) else {
                continue;
            };
            let id = self.reserve(name);
            let mut arguments = Vec::with_capacity(fields.len());
            for field in fields {
                let Some(field_name) = &field.name else {
                    return Err(EmbedError::NoFields {
                        record: name.to_owned(),
                    });
                };
                arguments.push(Argument {
                    name: field_name.clone(),
                    ty: self.ty(&field.ty, &|| format!("record {name:?}"))?,
                });
            }
            if let Some(slot) = self.types.get_mut(id as usize) {
                *slot = Some(Type::Record(Arc::new(RecordType {
                    name: name.to_owned(),
                    fields: arguments,
                })));
            }
        }
        Ok(())
    }

    fn exported(&mut self, signature: &Signature) -> Result<(), EmbedError> {
        let function = self.function(signature)?;
        let instructions = adapters::exported(&function, self.section.exports.len() as u32);
        let adapter = self.push_function(function.clone());
        let core = self.push_function(function);
        self.section.exports.push(Export {
            name: signature.name.clone(),
            type_index: core,
        });
        self.section.adapters.push(Adapter {
            type_index: adapter,
            instructions,
        });
        self.section
            .implementations
            .push(Implementation { core, adapter });
        Ok(())
    }

    fn imported(
        &mut self,
        namespace: &str,
        name: &str,
        signature: &Signature,
        function_index: usize,
    ) -> Result<(), EmbedError> {
        let function = self.function(signature)?;
        let instructions = adapters::imported(&function, function_index as u32);
        let raw = adapters::raw(&function);
        let declared = self.push_function(function);
        let adapter = self.push_function(raw.clone());
        let core = self.push_function(raw);
        for type_index in [declared, core] {
            self.section.imports.push(Import {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                type_index,
            });
        }
        self.section.adapters.push(Adapter {
            type_index: adapter,
            instructions,
        });
        self.section
            .implementations
            .push(Implementation { core, adapter });
        Ok(())
    }

    fn finish(mut self) -> Result<InterfaceSection, EmbedError> {
        // Every record that was referred to is described: `ty` checks it. So no slot is empty.
        self.section.types = self.types.into_iter().flatten().collect();
        Ok(self.section)
    }

    fn function(&mut self, signature: &Signature) -> Result<Function, EmbedError> {
        let user = || format!("function {:?}", signature.name);
        let mut arguments = Vec::with_capacity(signature.arguments.len());
        for argument in &signature.arguments {
            arguments.push(Argument {
                name: argument.name.clone(),
                ty: self.ty(&argument.ty, &user)?,
            });
        }
        let mut outputs = Vec::with_capacity(signature.output_types.len());
        for output in &signature.output_types {
            outputs.push(self.ty(output, &user)?);
        }
        Ok(Function { arguments, outputs })
    }

    fn ty(&mut self, ty: &description::Ty, user: &dyn Fn() -> String) -> Result<IType, EmbedError> {
        use description::Ty;
        let mut vectors = 0;
        let mut item = ty;
        while let Ty::Vector(inner, Passed) = item {
            vectors += 1;
            if vectors > MAX_ARRAY_DEPTH {
                return Err(EmbedError::TooDeep {
                    user: user(),
                    limit: MAX_ARRAY_DEPTH,
                });
            }
            item = inner;
        }
        let mut result = match item {
            Ty::Boolean(_) => IType::Boolean,
            Ty::I8(_) => IType::S8,
            Ty::I16(_) => IType::S16,
            Ty::I32(_) => IType::S32,
            Ty::I64(_) => IType::S64,
            Ty::U8(_) if vectors > 0 => {
                vectors -= 1;
                IType::ByteArray
            }
            Ty::U8(_) => IType::U8,
            Ty::U16(_) => IType::U16,
            Ty::U32(_) => IType::U32,
            Ty::U64(_) => IType::U64,
            Ty::F32(_) => IType::F32,
            Ty::F64(_) => IType::F64,
            Ty::Utf8Str(_) | Ty::Utf8String(_) | Ty::Vector(..) => IType::String,
            Ty::Record(name, Passed) => match self.described.get_key_value(name.as_str()) {
                Some((&name, _)) => IType::Record(self.reserve(name)),
                None => {
                    return Err(EmbedError::UnknownRecord {
                        record: name.clone(),
                        user: user(),
                    });
                }
            },
        };
        for _ in 0..vectors {
            result = IType::Array(Arc::new(result));
        }
        Ok(result)
    }

    /// The position of a record, which it gets when it is met first.
    fn reserve(&mut self, name: &'a str) -> u32 {
        *self.ids.entry(name).or_insert_with(|| {
            self.types.push(None);
            self.types.len() as u32 - 1
        })
    }

    fn push_function(&mut self, function: Function) -> u32 {
        self.types.push(Some(Type::Function(Arc::new(function))));
        self.types.len() as u32 - 1
    }
}
