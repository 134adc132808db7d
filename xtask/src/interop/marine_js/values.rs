//! Random arguments of functions.

use marine_runtime::{FunctionSignature, Interface};
use serde_json::{Map, Value, json};

use crate::random::Random;

/// Texts that are easy to get wrong.
const TEXTS: &[&str] = &[
    "",
    "a",
    "two words",
    "\"quoted\\\"",
    "line\nbreak\ttab\u{0}nul\u{7f}",
    "é ∂ 😀",
    "a text that is longer than small strings are where they are kept in place",
];
/// Numbers that both hosts print with the same digits.
const RATIOS: &[f64] = &[0.0, -0.0, 1.0, -1.5, 0.1, 1e10, 123_456.75, -3e-5];

/// Arguments of a call by position, as JSON.
pub(super) fn arguments(
    random: &mut Random,
    function: &FunctionSignature,
    interface: &Interface,
) -> String {
    let arguments = function.arguments.iter();
    let values: Vec<_> = arguments
        .map(|(_, ty)| value(random, ty, interface))
        .collect();
    Value::from(values).to_string()
}

/// A value of a type that is written as interfaces write it. Records cannot contain themselves, so this ends.
fn value(random: &mut Random, ty: &str, interface: &Interface) -> Value {
    if let Some(item) = ty.strip_prefix("[]") {
        let count = random.below(5);
        return (0..count).map(|_| value(random, item, interface)).collect();
    }
    let signed = |random: &mut Random, bits: u32| {
        let [low, high] = [i64::MIN >> (64 - bits), i64::MAX >> (64 - bits)];
        let any = random.next().cast_signed() >> (64 - bits);
        json!(random.pick(&[0, 1, -1, low, high, any]))
    };
    let unsigned = |random: &mut Random, bits: u32| {
        let high = u64::MAX >> (64 - bits);
        let any = random.next() >> (64 - bits);
        // The first number that looks negative, and the first that JavaScript rounds.
        let [negative, rounded] = [high / 2 + 1, high.min((1 << 53) + 1)];
        json!(random.pick(&[0, 1, high / 2, negative, rounded, high, any]))
    };
    match ty {
        "bool" => json!(random.chance(50)),
        "i8" => signed(random, 8),
        "i16" => signed(random, 16),
        "i32" => signed(random, 32),
        "i64" => signed(random, 64),
        "u8" => unsigned(random, 8),
        "u16" => unsigned(random, 16),
        "u32" => unsigned(random, 32),
        "u64" => unsigned(random, 64),
        "f32" | "f64" => json!(random.pick(RATIOS)),
        "string" => json!(random.word(TEXTS)),
        record => {
            let records = interface.record_types.iter();
            let fields = records
                .filter(|found| found.name == record)
                .flat_map(|found| &found.fields);
            fields
                .map(|field| (field.name.clone(), value(random, &field.ty, interface)))
                .collect::<Map<_, _>>()
                .into()
        }
    }
}
