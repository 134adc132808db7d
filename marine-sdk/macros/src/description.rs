//! The description of an annotated item: one JSON value in a custom section of the module, from which a build tool
//! makes the interface.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use crate::types::{Kind, MarineType, Passing, bare_name};

const SECTION_PREFIX: &str = "__m_generated_section__";

/// A function's name, arguments and result.
pub(crate) struct Signature<'a> {
    pub(crate) name: String,
    pub(crate) arguments: Vec<(String, &'a MarineType)>,
    pub(crate) output: Option<&'a MarineType>,
}

/// The description of an exported function.
pub(crate) fn function(signature: &Signature<'_>) -> String {
    let signature = signature_json(signature);
    format!(r#"{{"ast_type":"Function","signature":{signature}}}"#)
}

/// The description of a record.
pub(crate) fn record(name: &str, fields: &[(String, MarineType)]) -> String {
    let fields = join(fields, |(name, ty)| {
        format!(r#"{{"name":{},"ty":{}}}"#, string(name), ty_json(ty))
    });
    let name = string(name);
    format!(r#"{{"ast_type":"Record","name":{name},"fields":{{"Named":[{fields}]}}}}"#)
}

/// The description of the functions taken from another module, each with its link name if that is not its own.
pub(crate) fn extern_block(namespace: &str, imports: &[(Option<String>, Signature<'_>)]) -> String {
    let imports = join(imports, |(link_name, signature)| {
        let link_name = match link_name {
            Some(name) => string(name),
            None => "null".to_owned(),
        };
        let signature = signature_json(signature);
        format!(r#"{{"link_name":{link_name},"signature":{signature}}}"#)
    });
    let namespace = string(namespace);
    format!(r#"{{"ast_type":"ExternMod","namespace":{namespace},"imports":[{imports}]}}"#)
}

/// The static that carries a description into the module.
pub(crate) fn section(item: &str, description: &str) -> TokenStream {
    let name = format!("{SECTION_PREFIX}{}", item.replace('.', "_"));
    let bytes = Literal::byte_string(description.as_bytes());
    let length = Literal::usize_unsuffixed(description.len());
    quote! {
        ::marine_sdk::in_module! {
            #[allow(unsafe_code, reason = "placing data in a named section counts as unsafe")]
            const _: () = {
                #[used]
                #[unsafe(link_section = #name)]
                static DESCRIPTION: [u8; #length] = *#bytes;
            };
        }
    }
}

fn signature_json(signature: &Signature<'_>) -> String {
    let name = string(&signature.name);
    let arguments = join(&signature.arguments, |(name, ty)| {
        format!(r#"{{"name":{},"ty":{}}}"#, string(name), ty_json(ty))
    });
    let output = signature.output.map(ty_json).unwrap_or_default();
    format!(r#"{{"name":{name},"arguments":[{arguments}],"output_types":[{output}]}}"#)
}

fn ty_json(ty: &MarineType) -> String {
    let passing = match ty.passing {
        Passing::Value => "ByValue",
        Passing::Reference => "ByRef",
        Passing::MutableReference => "ByMutRef",
    };
    kind_json(&ty.kind, passing)
}

fn kind_json(kind: &Kind, passing: &str) -> String {
    match kind {
        Kind::Scalar("bool") => format!(r#"{{"Boolean":"{passing}"}}"#),
        Kind::Scalar(name) => format!(r#"{{"{}":"{passing}"}}"#, name.to_uppercase()),
        Kind::Str => format!(r#"{{"Utf8Str":"{passing}"}}"#),
        Kind::String => format!(r#"{{"Utf8String":"{passing}"}}"#),
        Kind::Vector(element) => {
            let element = kind_json(element, "ByValue");
            format!(r#"{{"Vector":[{element},"{passing}"]}}"#)
        }
        Kind::Record(name) => {
            let name = string(&bare_name(name));
            format!(r#"{{"Record":[{name},"{passing}"]}}"#)
        }
    }
}

fn join<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<_>>().join(",")
}

fn string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                json.push('\\');
                json.push(c);
            }
            c if c < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::types::Position;

    fn ty(text: &str, position: Position) -> MarineType {
        MarineType::parse(&syn::parse_str(text).unwrap(), position).unwrap()
    }

    #[test]
    fn a_function_shows_how_each_argument_is_passed() {
        let arguments = [
            ("a", "&str"),
            ("b", "Vec<Vec<u8>>"),
            ("c", "&mut Point"),
            ("d", "bool"),
        ]
        .map(|(name, text)| (name.to_owned(), ty(text, Position::Argument)));
        let output = ty("f64", Position::Result);
        let signature = Signature {
            name: "f".to_owned(),
            arguments: arguments.iter().map(|(n, t)| (n.clone(), t)).collect(),
            output: Some(&output),
        };
        assert_eq!(
            function(&signature),
            concat!(
                r#"{"ast_type":"Function","signature":{"name":"f","arguments":["#,
                r#"{"name":"a","ty":{"Utf8Str":"ByRef"}},"#,
                r#"{"name":"b","ty":{"Vector":[{"Vector":[{"U8":"ByValue"},"ByValue"]},"ByValue"]}},"#,
                r#"{"name":"c","ty":{"Record":["Point","ByMutRef"]}},"#,
                r#"{"name":"d","ty":{"Boolean":"ByValue"}}],"#,
                r#""output_types":[{"F64":"ByValue"}]}}"#,
            ),
        );
    }

    #[test]
    fn a_record_shows_its_fields_by_value() {
        let fields = [("r#type", "String"), ("next", "Vec<other::Node>")].map(|(name, text)| {
            let name = syn::parse_str(name).unwrap();
            (bare_name(&name), ty(text, Position::Field))
        });
        assert_eq!(
            record("Node", &fields),
            concat!(
                r#"{"ast_type":"Record","name":"Node","fields":{"Named":["#,
                r#"{"name":"type","ty":{"Utf8String":"ByValue"}},"#,
                r#"{"name":"next","ty":{"Vector":[{"Record":["Node","ByValue"]},"ByValue"]}}]}}"#,
            ),
        );
    }

    #[test]
    fn an_import_shows_the_name_it_links_to() {
        let signature = |name: &str| Signature {
            name: name.to_owned(),
            arguments: Vec::new(),
            output: None,
        };
        let imports = [
            (None, signature("near")),
            (Some("far \"away\"".to_owned()), signature("here")),
        ];
        assert_eq!(
            extern_block("other", &imports),
            concat!(
                r#"{"ast_type":"ExternMod","namespace":"other","imports":["#,
                r#"{"link_name":null,"signature":{"name":"near","arguments":[],"output_types":[]}},"#,
                r#"{"link_name":"far \"away\"","signature":{"name":"here","arguments":[],"output_types":[]}}]}"#,
            ),
        );
    }

    #[test]
    fn characters_of_control_are_escaped() {
        assert_eq!(string("a\n\u{1}"), r#""a\u000a\u0001""#);
    }
}
