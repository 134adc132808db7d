use super::*;
use crate::{Interface, module::SDK_VERSION_SECTION};

fn items(texts: &[&str]) -> Vec<Item> {
    texts
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect()
}

const GREETING: &str = r#"{"ast_type":"Function","signature":{"name":"greeting","arguments":[{"name":"name","ty":{"Utf8String":"ByValue"}}],"output_types":[{"Utf8String":"ByValue"}]}}"#;

#[test]
fn a_function_of_texts_gives_the_published_bytes() {
    // The protocol description, "Annotated example", without the records of the SDK.
    let section = generate(&items(&[GREETING])).unwrap();
    let bytes = section.encode().unwrap();
    let adapter = "0201060b00002440010100000023010601030102220101";
    assert!(hex(&bytes).contains(adapter), "{}", hex(&bytes));
    assert!(hex(&bytes).starts_with("0506302e32372e300008000104"));
    assert!(hex(&bytes).ends_with("04010706"));
    assert_eq!(InterfaceSection::decode(&bytes).unwrap(), section);
}

#[test]
fn records_get_positions_when_they_are_met() {
    let section = generate(&items(&[
        r#"{"ast_type":"Function","signature":{"name":"f","arguments":[{"name":"outer","ty":{"Vector":[{"Record":["Outer","ByValue"]},"ByRef"]}}],"output_types":[]}}"#,
        r#"{"ast_type":"Record","name":"Outer","fields":{"Named":[{"name":"inner","ty":{"Record":["Inner","ByValue"]}},{"name":"blobs","ty":{"Vector":[{"Vector":[{"U8":"ByValue"},"ByValue"]},"ByValue"]}}]}}"#,
        r#"{"ast_type":"Record","name":"Inner","fields":{"Named":[{"name":"ok","ty":{"Boolean":"ByValue"}}]}}"#,
    ]))
    .unwrap();
    let interface = serde_json::to_value(Interface::of(&section)).unwrap();
    assert_eq!(
        interface,
        serde_json::json!({
            "function_signatures": [
                { "name": "f", "arguments": [["outer", "[]Outer"]], "output_types": [] }
            ],
            "record_types": [
                { "name": "Inner", "id": 7, "fields": [{ "name": "ok", "ty": "bool" }] },
                { "name": "Outer", "id": 6, "fields": [
                    { "name": "inner", "ty": "Inner" }, { "name": "blobs", "ty": "[][]u8" }
                ] },
            ]
        })
    );
}

#[test]
fn an_import_has_three_types_and_two_entries() {
    let section = generate(&items(&[
        GREETING,
        r#"{"ast_type":"ExternMod","namespace":"__marine_host_api_v3","imports":[{"link_name":null,"signature":{"name":"curl","arguments":[],"output_types":[]}}]}"#,
        r#"{"ast_type":"ExternMod","namespace":"store","imports":[{"link_name":"put","signature":{"name":"store_put","arguments":[{"name":"key","ty":{"Utf8Str":"ByRef"}},{"name":"n","ty":{"U64":"ByValue"}}],"output_types":[{"Utf8String":"ByValue"}]}}]}"#,
    ]))
    .unwrap();
    let imports: Vec<_> = section
        .imports
        .iter()
        .map(|import| {
            (
                import.namespace.as_str(),
                import.name.as_str(),
                import.type_index,
            )
        })
        .collect();
    assert_eq!(imports, [("store", "put", 8), ("store", "put", 10)]);
    let raw = section.function(10).unwrap();
    let names: Vec<_> = raw
        .arguments
        .iter()
        .map(|argument| argument.name.as_str())
        .collect();
    assert_eq!(names, ["key_ptr", "key_ptr", "n"]);
    assert!(raw.outputs.is_empty());
    let adapter = section.adapter(9).unwrap();
    let program: Vec<_> = adapter
        .instructions
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        program,
        [
            "arg.get 0",
            "arg.get 1",
            "string.lift_memory",
            "arg.get 2",
            "u64.from_i64",
            "call-core 1",
            "call-core 7",
            "dup",
            "string.size",
            "i32.push 1",
            "call-core 0",
            "swap2",
            "string.lower_memory",
            "call-core 4",
            "call-core 5",
        ]
    );
}

#[test]
fn descriptions_that_make_no_interface() {
    let error = |texts: &[&str]| generate(&items(texts)).unwrap_err().to_string();
    let user = r#"{"ast_type":"Function","signature":{"name":"f","arguments":[],"output_types":[{"Record":["Lost","ByValue"]}]}}"#;
    assert_eq!(
        error(&[user]),
        r#"function "f" uses "Lost", which is not a record: does its struct carry `#[marine]`?"#
    );
    let empty = r#"{"ast_type":"Record","name":"R","fields":{"Named":[]}}"#;
    assert_eq!(error(&[empty]), r#"record "R" has no named fields"#);
    let itself = r#"{"ast_type":"Record","name":"R","fields":{"Named":[{"name":"r","ty":{"Record":["R","ByValue"]}}]}}"#;
    assert!(error(&[itself]).starts_with("the interface would not load: "));
}

#[test]
fn joined_sections_are_read_one_by_one() {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    let joined = format!("{GREETING}{}", GREETING.replace("greeting", "other"));
    wasm = with_custom_section("__m_generated_section__x", &wasm, joined.as_bytes()).unwrap();
    assert_eq!(super::items("m", &wasm).unwrap().len(), 2);
    wasm = with_custom_section(SDK_VERSION_SECTION, &wasm, b"0.14.0").unwrap();
    assert!(matches!(
        embed("m", &wasm),
        Err(EmbedError::NotExported { function }) if function == "allocate"
    ));
    wasm = with_custom_section("__m_generated_section__x", &wasm, b"{").unwrap();
    assert!(matches!(
        embed("m", &wasm),
        Err(EmbedError::Malformed { .. })
    ));
    assert!(matches!(
        embed("m", b"\0asm\x01\0\0\0"),
        Err(EmbedError::Module(ModuleError::SectionMissing { .. }))
    ));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
