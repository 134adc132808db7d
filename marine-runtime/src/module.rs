//! A Marine module: a core Wasm file with a few custom sections (“Wasm binary” in the protocol
//! description).

mod codec;
mod manifest;
mod section;
mod text;

pub use codec::{DecodeError, EncodeError};
pub use manifest::{Manifest, ManifestError};
pub use section::{
    Adapter, Argument, Core, Export, Function, Implementation, Import, Instruction, Integer,
    InterfaceSection, InvalidSection, Type,
};
pub use text::TextError;

use std::{collections::HashMap, ops::Range};

use semver::Version;
use wasmparser::{CompositeInnerType, ExternalKind, FuncType, Parser, Payload, TypeRef, ValType};

use crate::{
    backend::{CoreSignature, CoreType},
    limits::{MAX_CORE_ITEMS, MAX_MODULE_SIZE},
};

/// Name of the custom section with the interface.
pub const INTERFACE_SECTION: &str = "interface-types";
/// Name of the custom section with the version of the SDK.
pub const SDK_VERSION_SECTION: &str = "__fluence_sdk_version";
/// Name of the custom section with the manifest.
pub const MANIFEST_SECTION: &str = "__fluence_wasm_module_manifest";

/// What every Wasm file begins with.
const MAGIC: [u8; 4] = *b"\0asm";

/// Lowest SDK version that can be loaded.
pub const MIN_SDK_VERSION: Version = Version::new(0, 6, 0);
/// Lowest version of the interface section that can be loaded.
pub const MIN_INTERFACE_VERSION: Version = Version::new(0, 20, 0);

/// A module that cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// The bytes are not a Wasm module.
    #[error("module with name '{module}' isn't a valid Wasm module: {reason}")]
    NotWasm {
        /// The module's name.
        module: String,
        /// What is wrong, with the offset.
        reason: String,
    },
    /// The file is larger than a module may be.
    #[error("module with name '{module}' has {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The module's name.
        module: String,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A section that must be there is not.
    #[error(
        "the module doesn't contain section with '{section}', probably it's compiled with an old sdk version"
    )]
    SectionMissing {
        /// Name of the section.
        section: &'static str,
    },
    /// A section that may be there once is there several times.
    #[error("the module contains {count} sections with name '{section}' - it's corrupted")]
    SectionRepeated {
        /// Name of the section.
        section: &'static str,
        /// How often it is there.
        count: usize,
    },
    /// The SDK version is not UTF-8.
    #[error("embedded to the Wasm file version isn't valid UTF8 string: '{source}'")]
    VersionNotUtf8 {
        /// Where the text ends to be UTF-8.
        source: std::str::Utf8Error,
    },
    /// The SDK version is not a version.
    #[error("embedded to the Wasm file version is corrupted: '{source}'")]
    VersionMalformed {
        /// What is wrong with it.
        source: semver::Error,
    },
    /// The SDK is too old.
    #[error(
        "module with name '{module}' compiled with {found} sdk version, but at least {required} required"
    )]
    SdkTooOld {
        /// The module's name.
        module: String,
        /// Its SDK version.
        found: Version,
        /// The lowest version that can be loaded.
        required: Version,
    },
    /// The interface section is too old.
    #[error(
        "module with name '{module}' compiled with {found} IT version, but at least {required} required"
    )]
    InterfaceTooOld {
        /// The module's name.
        module: String,
        /// Its interface version.
        found: Version,
        /// The lowest version that can be loaded.
        required: Version,
    },
    /// There is no interface section.
    #[error("the module doesn't contain IT section")]
    NoInterface,
    /// There is more than one interface section.
    #[error("the module contains multiple IT sections that is unsupported")]
    SeveralInterfaces,
    /// The interface section cannot be decoded.
    #[error(transparent)]
    Interface(#[from] DecodeError),
    /// The interface section refers to things that are not there.
    #[error("module with name '{module}' has a malformed interface: {source}")]
    InvalidInterface {
        /// The module's name.
        module: String,
        /// What is wrong.
        source: InvalidSection,
    },
}

/// What a module says about itself.
#[derive(Clone, Debug)]
pub struct ModuleInfo {
    /// Version of the SDK it was built with: a gate for compatibility, nothing more.
    pub sdk_version: Version,
    /// Its interface.
    pub interface: InterfaceSection,
}

impl ModuleInfo {
    /// Decodes and checks the sections of the module `name`.
    ///
    /// # Errors
    /// Bytes that are no Wasm, missing, repeated or malformed sections, versions that are too old,
    /// an interface that refers to what is not there.
    pub fn decode(name: &str, wasm: &[u8]) -> Result<Self, ModuleError> {
        let outline = Outline::read(name, wasm)?;
        let sdk_version = outline.sdk_version()?;
        if sdk_version < MIN_SDK_VERSION {
            return Err(ModuleError::SdkTooOld {
                module: name.to_owned(),
                found: sdk_version,
                required: MIN_SDK_VERSION,
            });
        }
        let interface = InterfaceSection::decode(outline.interface_section()?)?;
        if interface.version < MIN_INTERFACE_VERSION {
            return Err(ModuleError::InterfaceTooOld {
                module: name.to_owned(),
                found: interface.version,
                required: MIN_INTERFACE_VERSION,
            });
        }
        interface
            .validate()
            .map_err(|source| ModuleError::InvalidInterface {
                module: name.to_owned(),
                source,
            })?;
        Ok(Self {
            sdk_version,
            interface,
        })
    }
}

/// The places of a module's parts that matter here, borrowed from its bytes.
#[derive(Debug)]
pub struct Outline<'a> {
    sdk_versions: Vec<&'a [u8]>,
    interfaces: Vec<&'a [u8]>,
    manifests: Vec<&'a [u8]>,
    custom: Vec<(&'a str, Range<usize>)>,
    imports: Vec<CoreImport<'a>>,
    /// Types of imported functions.
    imported_functions: Vec<u32>,
    exports: Vec<&'a str>,
    /// Types of functions; `None` where a value is no number.
    types: Vec<Option<CoreSignature>>,
    /// Types of the module's own functions.
    functions: Vec<u32>,
    exported_functions: HashMap<&'a str, u32>,
    memory: Option<CoreMemory>,
}

/// Limits of a memory, in pages of 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreMemory {
    /// How much it has at first.
    pub minimum: u64,
    /// How much it may have at most, if the module says so.
    pub maximum: Option<u64>,
}

/// One import of the core module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreImport<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Whether it is a function: nothing else can be supplied.
    pub is_function: bool,
    type_index: Option<u32>,
}

impl<'a> Outline<'a> {
    /// Finds the parts of the module `name`.
    ///
    /// # Errors
    /// Bytes that are not a Wasm module.
    pub fn read(name: &str, wasm: &'a [u8]) -> Result<Self, ModuleError> {
        if wasm.len() > MAX_MODULE_SIZE {
            return Err(ModuleError::TooLarge {
                module: name.to_owned(),
                size: wasm.len(),
                limit: MAX_MODULE_SIZE,
            });
        }
        let not_wasm = |reason| ModuleError::NotWasm {
            module: name.to_owned(),
            reason,
        };
        // The parser would print both on several lines.
        if let Some(start) = wasm.get(..MAGIC.len())
            && start != MAGIC
        {
            return Err(not_wasm(format!(
                "it begins with the bytes {}, not with {}",
                hex(start),
                hex(&MAGIC)
            )));
        }
        Self::scan(wasm).map_err(|error| not_wasm(error.to_string()))
    }

    /// The SDK version.
    ///
    /// # Errors
    /// A section that is missing, repeated, or holds no version.
    pub fn sdk_version(&self) -> Result<Version, ModuleError> {
        let text = only(SDK_VERSION_SECTION, &self.sdk_versions)?;
        let text =
            std::str::from_utf8(text).map_err(|source| ModuleError::VersionNotUtf8 { source })?;
        Version::parse(text).map_err(|source| ModuleError::VersionMalformed { source })
    }

    /// The bytes of the one interface section.
    ///
    /// # Errors
    /// No section, or several.
    pub fn interface_section(&self) -> Result<&'a [u8], ModuleError> {
        match self.interfaces.as_slice() {
            [section] => Ok(section),
            [] => Err(ModuleError::NoInterface),
            _ => Err(ModuleError::SeveralInterfaces),
        }
    }

    /// The manifest, if the module has one.
    ///
    /// # Errors
    /// A repeated or malformed section.
    pub fn manifest(&self) -> Result<Option<Manifest>, ManifestError> {
        match self.manifests.as_slice() {
            [] => Ok(None),
            [section] => Manifest::decode(section).map(Some),
            several => Err(ManifestError::Repeated {
                count: several.len(),
            }),
        }
    }

    /// What the core module imports, in order.
    #[must_use]
    pub fn imports(&self) -> &[CoreImport<'a>] {
        &self.imports
    }

    /// Names of what the core module exports, in order.
    #[must_use]
    pub fn exports(&self) -> &[&'a str] {
        &self.exports
    }

    /// The type of an imported function; `None` where it is no function of numbers.
    #[must_use]
    pub fn import_signature(&self, import: &CoreImport<'_>) -> Option<&CoreSignature> {
        self.types.get(import.type_index? as usize)?.as_ref()
    }

    /// The type of an exported function; `None` where there is no function of numbers.
    #[must_use]
    pub fn export_signature(&self, name: &str) -> Option<&CoreSignature> {
        let index = *self.exported_functions.get(name)? as usize;
        let ty = match index.checked_sub(self.imported_functions.len()) {
            Some(own) => self.functions.get(own),
            None => self.imported_functions.get(index),
        };
        self.types.get(*ty? as usize)?.as_ref()
    }

    /// The module's own first memory.
    #[must_use]
    pub fn memory(&self) -> Option<CoreMemory> {
        self.memory
    }

    /// Names and places of all custom sections, headers included.
    #[must_use]
    pub fn custom_sections(&self) -> &[(&'a str, Range<usize>)] {
        &self.custom
    }

    fn scan(wasm: &'a [u8]) -> Result<Self, wasmparser::BinaryReaderError> {
        let mut outline = Self {
            sdk_versions: Vec::new(),
            interfaces: Vec::new(),
            manifests: Vec::new(),
            custom: Vec::new(),
            imports: Vec::new(),
            imported_functions: Vec::new(),
            exports: Vec::new(),
            types: Vec::new(),
            functions: Vec::new(),
            exported_functions: HashMap::new(),
            memory: None,
        };
        let mut end_of_previous = 0;
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            match &payload {
                Payload::CustomSection(section) => {
                    let data = section.data();
                    match section.name() {
                        SDK_VERSION_SECTION => outline.sdk_versions.push(data),
                        INTERFACE_SECTION => outline.interfaces.push(data),
                        MANIFEST_SECTION => outline.manifests.push(data),
                        _ => {}
                    }
                    outline
                        .custom
                        .push((section.name(), end_of_previous..section.range().end));
                }
                Payload::TypeSection(reader) => {
                    for group in reader.clone().into_iter().take(MAX_CORE_ITEMS) {
                        for ty in group?.types() {
                            outline.types.push(match &ty.composite_type.inner {
                                CompositeInnerType::Func(ty) => signature(ty),
                                _ => None,
                            });
                        }
                    }
                }
                Payload::FunctionSection(reader) => {
                    for ty in reader.clone().into_iter().take(MAX_CORE_ITEMS) {
                        outline.functions.push(ty?);
                    }
                }
                Payload::MemorySection(reader) => {
                    for memory in reader.clone().into_iter().take(1) {
                        let memory = memory?;
                        outline.memory = Some(CoreMemory {
                            minimum: memory.initial,
                            maximum: memory.maximum,
                        });
                    }
                }
                Payload::ImportSection(reader) => {
                    for import in reader.clone().into_imports() {
                        let import = import?;
                        let type_index = match import.ty {
                            TypeRef::Func(index) => Some(index),
                            _ => None,
                        };
                        outline.imported_functions.extend(type_index);
                        outline.imports.push(CoreImport {
                            namespace: import.module,
                            name: import.name,
                            is_function: type_index.is_some(),
                            type_index,
                        });
                    }
                }
                Payload::ExportSection(reader) => {
                    for export in reader.clone() {
                        let export = export?;
                        outline.exports.push(export.name);
                        if export.kind == ExternalKind::Func {
                            let functions = &mut outline.exported_functions;
                            functions.entry(export.name).or_insert(export.index);
                        }
                    }
                }
                _ => {}
            }
            match &payload {
                Payload::Version { range, .. } => end_of_previous = range.end,
                other => {
                    if let Some((_, range)) = other.as_section() {
                        end_of_previous = range.end;
                    }
                }
            }
        }
        Ok(outline)
    }
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

/// The type of a function of numbers.
fn signature(ty: &FuncType) -> Option<CoreSignature> {
    let core = |ty: &ValType| match ty {
        ValType::I32 => Some(CoreType::I32),
        ValType::I64 => Some(CoreType::I64),
        ValType::F32 => Some(CoreType::F32),
        ValType::F64 => Some(CoreType::F64),
        _ => None,
    };
    Some(CoreSignature {
        parameters: ty.params().iter().map(core).collect::<Option<_>>()?,
        results: ty.results().iter().map(core).collect::<Option<_>>()?,
    })
}

/// `wasm` with its custom sections `name` replaced by one with `payload`, at the end; all other
/// bytes stay as they are.
///
/// # Errors
/// Bytes that are not a Wasm module.
pub fn with_custom_section(
    name: &str,
    wasm: &[u8],
    payload: &[u8],
) -> Result<Vec<u8>, ModuleError> {
    let outline = Outline::read(name, wasm)?;
    let mut output = Vec::with_capacity(wasm.len() + payload.len() + name.len() + 16);
    let mut kept_from = 0;
    for (section, range) in outline.custom_sections() {
        if *section == name {
            output.extend_from_slice(wasm.get(kept_from..range.start).unwrap_or_default());
            kept_from = range.end;
        }
    }
    output.extend_from_slice(wasm.get(kept_from..).unwrap_or_default());
    let mut body = Vec::with_capacity(payload.len() + name.len() + 5);
    codec::write_uleb(&mut body, name.len() as u64);
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(payload);
    output.push(0);
    codec::write_uleb(&mut output, body.len() as u64);
    output.extend_from_slice(&body);
    Ok(output)
}

fn only<'a>(section: &'static str, found: &[&'a [u8]]) -> Result<&'a [u8], ModuleError> {
    match found {
        [payload] => Ok(payload),
        [] => Err(ModuleError::SectionMissing { section }),
        several => Err(ModuleError::SectionRepeated {
            section,
            count: several.len(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

    #[test]
    fn sections_are_appended_and_replaced_in_place() {
        let once = with_custom_section(SDK_VERSION_SECTION, EMPTY, b"0.14.0").unwrap();
        let twice = with_custom_section("other", &once, b"kept").unwrap();
        let replaced = with_custom_section(SDK_VERSION_SECTION, &twice, b"0.15.0").unwrap();
        let outline = Outline::read("m", &replaced).unwrap();
        assert_eq!(outline.sdk_version().unwrap(), Version::new(0, 15, 0));
        let names: Vec<_> = outline
            .custom_sections()
            .iter()
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(names, ["other", SDK_VERSION_SECTION]);
    }

    #[test]
    fn bytes_that_are_no_module_name_the_module() {
        let error = ModuleInfo::decode("facade", b"#!/bin/sh").unwrap_err();
        assert_eq!(
            error.to_string(),
            "module with name 'facade' isn't a valid Wasm module: it begins with the bytes 23 21 2f 62, \
             not with 00 61 73 6d"
        );
    }
}
