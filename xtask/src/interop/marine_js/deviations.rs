//! Where the published JS host and our runtime differ on purpose.
//!
//! | what | where the protocol description says so |
//! |---|---|
//! | it sorts the fields of records, we keep the order of their declaration | marine 4.6 |
//! | it refuses a direct argument or result of type `u32` from 2³¹ on and of type `u64` from 2⁶³ on | marine 2.2 |
//!
//! It has neither directories nor programs for modules, so calls that need them are not compared. JavaScript rounds
//! integers beyond 2⁵³: so the driver hands on JSON as text.

use std::collections::BTreeMap;

use marine_runtime::FunctionSignature;
use serde_json::value::RawValue;

/// The first deviation.
const ORDER: &str = "it sorts the fields of records";
/// The second.
const UNSIGNED: &str = "it refuses large direct u32 and u64";

/// A call and what both made of it: JSON or an error.
pub(super) struct Made<'a> {
    /// Of the function, if it exists.
    pub(super) signature: Option<&'a FunctionSignature>,
    pub(super) arguments: &'a str,
    /// Whether the arguments fit, so that the call must succeed here.
    pub(super) fits: bool,
    pub(super) ours: Result<&'a str, String>,
    pub(super) theirs: Result<&'a str, String>,
}

impl Made<'_> {
    /// Whether they agree: `None` where they do, a deviation where they should not, an error where they should.
    pub(super) fn verdict(&self) -> Result<Option<&'static str>, ()> {
        match (&self.ours, &self.theirs) {
            (Ok(ours), Ok(theirs)) if ours == theirs => Ok(None),
            (Err(_), Err(_)) if !self.fits => Ok(None),
            (Ok(ours), Ok(theirs)) if sorted(ours).is_ok_and(|text| text == *theirs) => {
                Ok(Some(ORDER))
            }
            (Ok(ours), Err(error)) if error.contains("failed to cast") && self.is_large(ours) => {
                Ok(Some(UNSIGNED))
            }
            _ => Err(()),
        }
    }

    /// What both say.
    pub(super) fn text(&self) -> String {
        format!("ours {:?}, theirs {:?}", self.ours, self.theirs)
    }

    /// Whether a direct argument or the result is too large for the signed type of its size.
    fn is_large(&self, result: &str) -> bool {
        let Some(signature) = self.signature else {
            return false;
        };
        let arguments: Vec<&RawValue> = serde_json::from_str(self.arguments).unwrap_or_default();
        let arguments = signature.arguments.iter().zip(&arguments);
        let mut arguments = arguments.map(|((_, ty), value)| (ty, value.get()));
        let mut results = signature.output_types.iter().map(|ty| (ty, result));
        let too_large = |(ty, value): (&String, &str)| {
            let most = match ty.as_str() {
                "u32" => i32::MAX as u64,
                "u64" => i64::MAX as u64,
                _ => return false,
            };
            value.parse::<u64>().is_ok_and(|value| value > most)
        };
        arguments.any(too_large) || results.any(too_large)
    }
}

/// JSON with sorted fields; everything else stays as it is written.
fn sorted(json: &str) -> Result<String, serde_json::Error> {
    match json.as_bytes().first() {
        Some(b'{') => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json)?;
            let fields = fields.into_iter().map(|(name, value)| {
                let name = serde_json::to_string(&name)?;
                Ok(format!("{name}:{}", sorted(value.get())?))
            });
            let fields: Vec<_> = fields.collect::<Result<_, serde_json::Error>>()?;
            Ok(format!("{{{}}}", fields.join(",")))
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(json)?;
            let items: Vec<_> = items
                .into_iter()
                .map(|item| sorted(item.get()))
                .collect::<Result<_, _>>()?;
            Ok(format!("[{}]", items.join(",")))
        }
        _ => Ok(json.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_sorted_and_nothing_else_changes() {
        let json = r#"{"b":[1.0,{"z":"\u0000","a":18446744073709551615}],"a":[]}"#;
        let expected = r#"{"a":[],"b":[1.0,{"a":18446744073709551615,"z":"\u0000"}]}"#;
        assert_eq!(sorted(json).unwrap(), expected);
    }

    #[test]
    fn only_large_direct_numbers_may_fail_there() {
        let signature = |ty: &str| FunctionSignature {
            name: "f".to_owned(),
            arguments: vec![("a".to_owned(), ty.to_owned())],
            output_types: vec![ty.to_owned()],
        };
        let verdict = |ty: &str, arguments: &str| {
            let made = Made {
                signature: Some(&signature(ty)),
                arguments,
                fits: true,
                ours: Ok("0"),
                theirs: Err("failed to cast".to_owned()),
            };
            made.verdict()
        };
        assert_eq!(verdict("u32", "[2147483648]"), Ok(Some(UNSIGNED)));
        assert_eq!(verdict("u32", "[2147483647]"), Err(()));
        assert_eq!(verdict("u64", "[2147483648]"), Err(()));
        assert_eq!(verdict("[]u32", "[[2147483648]]"), Err(()));
    }
}
