//! `op` and `debug`: arrays, encodings, hashes.

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::{
    Answer, Compat, DecodeError, Failure, compact, elements, from_base58, to_base58, value,
    wrap_multihash,
};
use crate::host::{Arguments, FunctionOutcome};

pub(super) fn call(function: &str, arguments: &[Box<RawValue>], compat: Compat) -> Answer {
    let mut reader = Arguments::new(arguments);
    match function {
        "noop" => Ok(FunctionOutcome::Empty),
        "array" => value(arguments),
        "array_length" => array_length(arguments),
        "concat" => {
            let mut all = Vec::new();
            for (index, argument) in arguments.iter().enumerate() {
                all.extend(elements(argument).ok_or_else(|| {
                    format!("all arguments of 'concat' must be arrays: argument #{index} is not")
                })?);
            }
            value(&all)
        }
        "identity" => match arguments {
            [] => Ok(FunctionOutcome::Empty),
            [argument] => Ok(FunctionOutcome::Ok(argument.clone())),
            _ => Err(format!(
                "identity accepts up to 1 arguments, received {} arguments",
                arguments.len()
            )
            .into()),
        },
        "concat_strings" => {
            let mut all = String::new();
            for (index, argument) in arguments.iter().enumerate() {
                let text: String = serde_json::from_str(argument.get()).map_err(|_| {
                    format!(
                        "all arguments of 'concat_strings' must be strings: argument #{index} is not"
                    )
                })?;
                all.push_str(&text);
            }
            value(&all)
        }
        "string_to_b58" => {
            let text: String = reader.next("string")?;
            value(&to_base58(text.as_bytes())?)
        }
        "string_from_b58" => {
            let text: String = reader.next("b58_string")?;
            let text = String::from_utf8(from_base58(&text)?)
                .map_err(|error| Failure::typed(&DecodeError::Utf8(error)))?;
            value(&text)
        }
        "bytes_to_b58" => {
            let bytes: Vec<u8> = reader.next("bytes")?;
            value(&to_base58(&bytes)?)
        }
        "bytes_from_b58" => {
            let text: String = reader.next("b58_string")?;
            value(&from_base58(&text)?)
        }
        "sha256_string" => sha256_string(reader, compat),
        _ => Ok(FunctionOutcome::NotDefined),
    }
}

pub(super) fn debug(function: &str, arguments: &[Box<RawValue>]) -> Answer {
    if function != "stringify" {
        return Ok(FunctionOutcome::NotDefined);
    }
    match arguments {
        // The quotes belong to the text.
        [] => value("\"<empty argument list>\""),
        [argument] => value(&compact(argument)),
        _ => {
            let texts: Vec<String> = arguments.iter().map(|argument| compact(argument)).collect();
            value(&format!("[{}]", texts.join(",")))
        }
    }
}

pub(super) fn array_length(arguments: &[Box<RawValue>]) -> Answer {
    let [argument] = arguments else {
        return Err(format!(
            "op array_length accepts exactly 1 argument: {} found",
            arguments.len()
        )
        .into());
    };
    let elements = elements(argument).ok_or("op array_length's argument must be an array")?;
    value(&elements.len())
}

fn sha256_string(mut arguments: Arguments<'_>, compat: Compat) -> Answer {
    let text: String = arguments.next("string")?;
    let digest_only: Option<bool> = arguments.next_opt("digest_only")?;
    let as_bytes: Option<bool> = arguments.next_opt("as_bytes")?;
    let digest = if compat.unhashed_sha256_string {
        text.into_bytes()
    } else {
        Sha256::digest(text.as_bytes()).to_vec()
    };
    let multihash = wrap_multihash(&digest)?;
    let bytes = if digest_only == Some(true) {
        digest
    } else {
        multihash
    };
    if as_bytes == Some(true) {
        value(&bytes)
    } else {
        value(&to_base58(&bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use particle::KeyPair;
    use serde_json::json;

    use super::{
        super::tests::{ask, ask_of, builtins, check},
        *,
    };

    #[test]
    fn table() {
        check(&[
            ("op.noop", json!([1, 2]), Ok(json!(""))),
            ("op.array", json!([]), Ok(json!([]))),
            ("op.array", json!([1, "a", [2]]), Ok(json!([1, "a", [2]]))),
            ("op.array_length", json!([[1, 2]]), Ok(json!(2))),
            (
                "op.array_length",
                json!([5]),
                Err("op array_length's argument must be an array"),
            ),
            (
                "op.array_length",
                json!([]),
                Err("op array_length accepts exactly 1 argument: 0 found"),
            ),
            (
                "op.array_length",
                json!([[], []]),
                Err("op array_length accepts exactly 1 argument: 2 found"),
            ),
            ("op.concat", json!([]), Ok(json!([]))),
            (
                "op.concat",
                json!([[1, [2]], [], ["a"]]),
                Ok(json!([1, [2], "a"])),
            ),
            (
                "op.concat",
                json!([[1], 2]),
                Err("all arguments of 'concat' must be arrays: argument #1 is not"),
            ),
            ("op.string_to_b58", json!(["hello"]), Ok(json!("Cn8eVZg"))),
            ("op.string_from_b58", json!(["Cn8eVZg"]), Ok(json!("hello"))),
            (
                "op.bytes_to_b58",
                json!([[104, 101, 108, 108, 111]]),
                Ok(json!("Cn8eVZg")),
            ),
            (
                "op.bytes_from_b58",
                json!(["Cn8eVZg"]),
                Ok(json!([104, 101, 108, 108, 111])),
            ),
            (
                "op.string_from_b58",
                json!(["0"]),
                Err("Error: decode base58 failed: …"),
            ),
            (
                "op.bytes_from_b58",
                json!(["l"]),
                Err("Error: decode base58 failed: …"),
            ),
            (
                "op.string_from_b58",
                json!([bs58::encode([0xff, 0xfe]).into_string()]),
                Err("Error: decode from bytes to UTF8 failed: …"),
            ),
            (
                "op.bytes_to_b58",
                json!([[256]]),
                Err("Error: Error deserializing field 'bytes': expected Vec<u8>, got [256]\n…"),
            ),
            ("op.concat_strings", json!([]), Ok(json!(""))),
            (
                "op.concat_strings",
                json!(["a", "b", "c"]),
                Ok(json!("abc")),
            ),
            (
                "op.concat_strings",
                json!([1]),
                Err("all arguments of 'concat_strings' must be strings: argument #0 is not"),
            ),
            ("op.identity", json!([]), Ok(json!(""))),
            (
                "op.identity",
                json!([{"b": 1, "a": 1.5}]),
                Ok(json!({"a": 1.5, "b": 1})),
            ),
            (
                "op.identity",
                json!([1, 2, 3]),
                Err("identity accepts up to 1 arguments, received 3 arguments"),
            ),
            (
                "debug.stringify",
                json!([]),
                Ok(json!("\"<empty argument list>\"")),
            ),
            ("debug.stringify", json!(["a"]), Ok(json!("\"a\""))),
            (
                "debug.stringify",
                json!([{"b": [1, 2], "a": null}]),
                Ok(json!(r#"{"a":null,"b":[1,2]}"#)),
            ),
            ("debug.stringify", json!([1, "a"]), Ok(json!(r#"[1,"a"]"#))),
        ]);
    }

    #[test]
    fn sha256() {
        let digest = Sha256::digest(b"hello").to_vec();
        let multihash = [&[0x12, 0x20], digest.as_slice()].concat();
        let text = |bytes: &[u8]| json!(bs58::encode(bytes).into_string());
        for (arguments, expected) in [
            (json!(["hello"]), text(&multihash)),
            (json!(["hello", false, false]), text(&multihash)),
            (json!(["hello", true]), text(&digest)),
            (json!(["hello", [], [true]]), json!(multihash)),
            (json!(["hello", true, true]), json!(digest)),
        ] {
            let answer = ask("op.sha256_string", arguments.as_array().unwrap());
            assert_eq!(answer, Ok(expected), "{arguments}");
        }
    }

    #[test]
    fn sha256_as_the_published_peer_has_it() {
        let builtins = builtins(KeyPair::from_seed(&[3; 32]).peer_id()).with_compat(Compat {
            unhashed_sha256_string: true,
            ..Compat::default()
        });
        let ask = |text: &str, digest_only: bool| {
            ask_of(
                &builtins,
                "op.sha256_string",
                &[json!(text), json!(digest_only), json!(true)],
            )
        };
        assert_eq!(ask("hi", true), Ok(json!(b"hi")));
        assert_eq!(ask("hi", false), Ok(json!([0x12, 2, b'h', b'i'])));
        let error = ask(&"x".repeat(65), false).unwrap_err();
        assert!(error.starts_with("Error: Invalid multihash"), "{error}");
    }
}
