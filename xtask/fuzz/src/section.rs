//! The sections that make a Wasm file a Marine module.

use marine_runtime::{
    AdapterSurvey, Interface, Manifest, ModuleInfo,
    embed::{DESCRIPTION_PREFIXES, embed, interface_of},
    module::{
        INTERFACE_SECTION, InterfaceSection, Outline, SDK_VERSION_SECTION, with_custom_section,
    },
};

use super::{bounded, described};

/// Bytes that reading may take for each byte: an argument of three bytes is two dozen and a name of
/// its own, in vectors that have just grown.
const FACTOR: usize = 100;

/// Checks bytes as one of four things: the first byte says which.
pub fn section(input: &[u8]) {
    let Some((kind, payload)) = input.split_first() else {
        return;
    };
    match kind % 4 {
        0 => interface(payload),
        1 => module(payload),
        2 => manifest(payload),
        _ => descriptions(payload),
    }
}

fn interface(payload: &[u8]) {
    let decoded = bounded("an interface", payload.len(), FACTOR, || {
        InterfaceSection::decode(payload)
    });
    let section = match decoded {
        Ok(section) => section,
        Err(error) => {
            described(&error);
            return;
        }
    };
    match section.encode() {
        Ok(written) => {
            assert!(written.len() <= payload.len(), "grew");
            let again = InterfaceSection::decode(&written).expect("a section of our own");
            assert_eq!(again, section);
            assert_eq!(again.encode().as_ref(), Ok(&written));
        }
        // Lists that others read in another way.
        Err(error) => {
            described(&error);
        }
    }
    let text = section.to_text();
    match InterfaceSection::from_text(&text) {
        Ok(again) => assert_eq!(again.to_text(), text),
        Err(error) => {
            described(&error);
        }
    }
    match section.validate() {
        Ok(()) => {
            let interface = Interface::of(&section);
            assert!(serde_json::to_string(&interface).is_ok(), "no JSON view");
        }
        Err(error) => {
            described(&error);
        }
    }
}

fn module(wasm: &[u8]) {
    let read = bounded("a module", wasm.len(), FACTOR, || {
        let info = ModuleInfo::decode("m", wasm);
        let survey = AdapterSurvey::of("m", wasm);
        (info, survey)
    });
    let (info, survey) = read;
    if let Err(error) = &survey {
        described(error);
    }
    match info {
        Ok(info) => interface(&info.interface.encode().unwrap_or_default()),
        Err(error) => {
            described(&error);
            assert!(survey.is_err(), "what does not decode has no adapters");
        }
    }
    let outline = match Outline::read("m", wasm) {
        Ok(outline) => outline,
        Err(error) => {
            described(&error);
            return;
        }
    };
    let imports = outline.imports().iter();
    let known = imports.filter(|import| outline.import_signature(import).is_some());
    assert!(known.count() <= wasm.len(), "more imports than bytes");
    let exports = outline.exports().iter();
    let known = exports.filter(|name| outline.export_signature(name).is_some());
    assert!(known.count() <= wasm.len(), "more exports than bytes");
    if let Err(error) = outline.manifest() {
        described(&error);
    }
    let changed = with_custom_section(INTERFACE_SECTION, wasm, b"new").expect("a module");
    let outline = Outline::read("m", &changed).expect("the same with another section");
    assert_eq!(outline.interface_section().ok(), Some(&b"new"[..]));
}

fn manifest(payload: &[u8]) {
    match bounded("a manifest", payload.len(), FACTOR, || {
        Manifest::decode(payload)
    }) {
        Ok(manifest) => assert_eq!(manifest.encode(), payload),
        Err(error) => {
            described(&error);
        }
    }
}

/// What the SDK leaves in a module becomes an interface that makes sense.
fn descriptions(payload: &[u8]) {
    let [prefix, _] = DESCRIPTION_PREFIXES;
    let wasm = with_custom_section(prefix, b"\0asm\x01\0\0\0", payload).expect("a module");
    let wasm = with_custom_section(SDK_VERSION_SECTION, &wasm, b"0.14.0").expect("a module");
    let embedded = bounded("descriptions", payload.len(), FACTOR, || embed("m", &wasm));
    match embedded {
        Ok(embedded) => {
            let info = ModuleInfo::decode("m", &embedded).expect("a module of our own");
            assert_eq!(interface_of("m", &wasm).ok(), Some(info.interface));
        }
        Err(error) => {
            described(&error);
        }
    }
}
