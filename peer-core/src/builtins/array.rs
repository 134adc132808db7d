//! `array`: lists as sets, and slices.

use std::collections::HashSet;

use serde_json::value::RawValue;

use super::{Answer, Failure, check_arity, compact, elements, op, value};
use crate::host::{Arguments, FunctionOutcome};

pub(super) fn call(function: &str, arguments: &[Box<RawValue>]) -> Answer {
    match function {
        "sum" => {
            let numbers: Vec<i64> = one(arguments)?;
            let sum = numbers
                .iter()
                .try_fold(0_i64, |sum, &number| sum.checked_add(number))
                .ok_or("i64 add overflow")?;
            value(&sum)
        }
        "dedup" => value(&unique(one(arguments)?)),
        "intersect" => {
            let (x, y) = two(arguments)?;
            let y: HashSet<&String> = y.iter().collect();
            value(&x.iter().filter(|text| y.contains(text)).collect::<Vec<_>>())
        }
        "diff" => {
            let (x, y) = two(arguments)?;
            value(&difference(&x, &y).collect::<Vec<_>>())
        }
        "sdiff" => {
            let (x, y) = two(arguments)?;
            let both = difference(&x, &y).chain(difference(&y, &x));
            value(&both.collect::<Vec<_>>())
        }
        "slice" => slice(arguments),
        "length" => op::array_length(arguments),
        _ => Ok(FunctionOutcome::NotDefined),
    }
}

fn one<T: serde::de::DeserializeOwned>(arguments: &[Box<RawValue>]) -> Result<T, Failure> {
    let mut arguments = Arguments::new(arguments);
    check_arity(&arguments, 1)?;
    Ok(arguments.next("x")?)
}

/// Two sets, each in the order of first occurrence: the published peer leaves the order open.
fn two(arguments: &[Box<RawValue>]) -> Result<(Vec<String>, Vec<String>), Failure> {
    let mut arguments = Arguments::new(arguments);
    check_arity(&arguments, 2)?;
    Ok((unique(arguments.next("x")?), unique(arguments.next("y")?)))
}

fn unique(texts: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    texts
        .into_iter()
        .filter(|text| seen.insert(text.clone()))
        .collect()
}

/// What is in `left` and not in `right`.
fn difference<'a>(left: &'a [String], right: &[String]) -> impl Iterator<Item = &'a String> {
    let right: HashSet<String> = right.iter().cloned().collect();
    left.iter().filter(move |text| !right.contains(*text))
}

fn slice(arguments: &[Box<RawValue>]) -> Answer {
    let [array, start, end] = arguments else {
        return Err("invalid number of parameters. need array, start index and end index".into());
    };
    let elements = elements(array)
        .ok_or_else(|| format!("first argument must be an array, was {}", compact(array)))?;
    if elements.is_empty() {
        return value::<[i64]>(&[]);
    }
    let index = |raw: &RawValue, name: &str| -> Result<u64, Failure> {
        serde_json::from_str(raw.get()).map_err(|_| {
            let given = compact(raw);
            format!("{name} index) must be an unsigned integer, was {given}").into()
        })
    };
    let start = index(start, "second argument (start")?;
    let end = index(end, "third argument (end")?;
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let part = range.and_then(|(start, end)| elements.get(start..end));
    match part {
        Some(part) => value(part),
        None => Err(format!(
            "slice indexes out of bounds. start index: {start}, end index: {end}, array length: {}",
            elements.len()
        )
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::check;

    #[test]
    fn table() {
        check(&[
            ("array.sum", json!([[]]), Ok(json!(0))),
            ("array.sum", json!([[1, -2, 4]]), Ok(json!(3))),
            ("array.sum", json!([[i64::MAX, 1]]), Err("i64 add overflow")),
            ("array.sum", json!([]), Err("expected 1 arguments, got 0")),
            (
                "array.sum",
                json!([["a"]]),
                Err("Error: Error deserializing field 'x': expected Vec<i64>, got [\"a\"]\n…"),
            ),
            (
                "array.dedup",
                json!([["b", "a", "b"]]),
                Ok(json!(["b", "a"])),
            ),
            (
                "array.intersect",
                json!([["b", "a", "b"], ["c", "b"]]),
                Ok(json!(["b"])),
            ),
            (
                "array.diff",
                json!([["b", "a", "c"], ["a"]]),
                Ok(json!(["b", "c"])),
            ),
            (
                "array.sdiff",
                json!([["b", "a"], ["c", "a"]]),
                Ok(json!(["b", "c"])),
            ),
            (
                "array.sdiff",
                json!([["b"]]),
                Err("expected 2 arguments, got 1"),
            ),
            ("array.length", json!([[1, 2, 3]]), Ok(json!(3))),
            (
                "array.length",
                json!([]),
                Err("op array_length accepts exactly 1 argument: 0 found"),
            ),
            (
                "array.length",
                json!([1]),
                Err("op array_length's argument must be an array"),
            ),
        ]);
    }

    #[test]
    fn slices() {
        check(&[
            (
                "array.slice",
                json!([[1, [2], 3, 4], 1, 3]),
                Ok(json!([[2], 3])),
            ),
            ("array.slice", json!([[1, 2], 0, 2]), Ok(json!([1, 2]))),
            ("array.slice", json!([[1, 2], 2, 2]), Ok(json!([]))),
            ("array.slice", json!([[], 7, "x"]), Ok(json!([]))),
            (
                "array.slice",
                json!([[1], 0]),
                Err("invalid number of parameters. need array, start index and end index"),
            ),
            (
                "array.slice",
                json!([{"a": 1}, 0, 1]),
                Err("first argument must be an array, was {\"a\":1}"),
            ),
            (
                "array.slice",
                json!([[1], "0", 1]),
                Err("second argument (start index) must be an unsigned integer, was \"0\""),
            ),
            (
                "array.slice",
                json!([[1], 0, -1]),
                Err("third argument (end index) must be an unsigned integer, was -1"),
            ),
            (
                "array.slice",
                json!([[1, 2, 3], 2, 8]),
                Err("slice indexes out of bounds. start index: 2, end index: 8, array length: 3"),
            ),
            (
                "array.slice",
                json!([[1, 2, 3], 2, 1]),
                Err("slice indexes out of bounds. start index: 2, end index: 1, array length: 3"),
            ),
        ]);
    }
}
