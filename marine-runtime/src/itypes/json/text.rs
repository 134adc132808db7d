//! Between JSON text and interface values without a tree in between.

use super::{ResultError, bytes, incompatible, quote, signature};
use crate::{
    itypes::{
        IType, IValue, RecordType, Records,
        memory::{Make, MemoryError},
    },
    module::Argument,
};

/// Deepest nesting that this reader takes on; deeper documents are left to the other one.
const MAX_DEPTH: usize = 100;

/// Reads `[argument, …]`. `None` leaves the document to the reader that explains.
pub(super) fn arguments(
    text: &str,
    arguments: &[Argument],
    records: &impl Records,
) -> Option<Vec<IValue>> {
    let mut reader = Reader {
        text,
        rest: text.as_bytes(),
    };
    reader.space();
    let values = match reader.peek()? {
        b'[' => reader.positional(arguments, records, 0)?,
        _ => return None,
    };
    reader.space();
    reader.rest.is_empty().then_some(values)
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    fn space(&mut self) {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.space();
        (self.peek()? == byte).then(|| self.skip(1))
    }

    fn position(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    fn positional(
        &mut self,
        arguments: &[Argument],
        records: &impl Records,
        depth: usize,
    ) -> Option<Vec<IValue>> {
        self.expect(b'[')?;
        let mut values = Vec::with_capacity(arguments.len());
        for (index, argument) in arguments.iter().enumerate() {
            if index > 0 {
                self.expect(b',')?;
            }
            values.push(self.value(&argument.ty, records, depth + 1)?);
        }
        self.expect(b']')?;
        Some(values)
    }

    fn named(
        &mut self,
        fields: &[Argument],
        records: &impl Records,
        depth: usize,
    ) -> Option<Vec<IValue>> {
        self.expect(b'{')?;
        let mut values: Vec<Option<IValue>> = Vec::new();
        values.resize_with(fields.len(), || None);
        for count in 0..fields.len() {
            if count > 0 {
                self.expect(b',')?;
            }
            self.space();
            let name = self.plain_string()?;
            // Mostly fields come in order.
            let index = match fields.get(count) {
                Some(field) if field.name == name => count,
                _ => fields.iter().position(|field| field.name == name)?,
            };
            self.expect(b':')?;
            let value = self.value(&fields.get(index)?.ty, records, depth + 1)?;
            // A name that comes twice is for the other reader.
            if values.get_mut(index)?.replace(value).is_some() {
                return None;
            }
        }
        self.expect(b'}')?;
        values.into_iter().collect()
    }

    fn value(&mut self, ty: &IType, records: &impl Records, depth: usize) -> Option<IValue> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.space();
        Some(match ty {
            IType::Boolean => IValue::Boolean(self.boolean()?),
            IType::S8 => IValue::S8(self.signed()?.try_into().ok()?),
            IType::S16 => IValue::S16(self.signed()?.try_into().ok()?),
            IType::S32 => IValue::S32(self.signed()?.try_into().ok()?),
            IType::S64 => IValue::S64(self.signed()?),
            IType::I32 => IValue::I32(self.signed()?.try_into().ok()?),
            IType::I64 => IValue::I64(self.signed()?),
            IType::U8 => IValue::U8(self.unsigned()?.try_into().ok()?),
            IType::U16 => IValue::U16(self.unsigned()?.try_into().ok()?),
            IType::U32 => IValue::U32(self.unsigned()?.try_into().ok()?),
            IType::U64 => IValue::U64(self.unsigned()?),
            IType::F32 => IValue::F32(self.float()? as f32),
            IType::F64 => IValue::F64(self.float()?),
            IType::String => IValue::String(self.string()?),
            IType::ByteArray => IValue::ByteArray(self.bytes()?),
            IType::Array(element) => {
                self.expect(b'[')?;
                let mut values = Vec::new();
                self.space();
                if self.peek()? == b']' {
                    self.skip(1);
                    return Some(IValue::Array(values));
                }
                loop {
                    values.push(self.value(element, records, depth + 1)?);
                    self.space();
                    match self.peek()? {
                        b',' => self.skip(1),
                        b']' => break self.skip(1),
                        _ => return None,
                    }
                }
                IValue::Array(values)
            }
            IType::Record(id) => {
                let record = records.record(*id)?;
                IValue::Record(match self.peek()? {
                    b'{' => self.named(&record.fields, records, depth)?,
                    b'[' => self.positional(&record.fields, records, depth)?,
                    _ => return None,
                })
            }
        })
    }

    fn boolean(&mut self) -> Option<bool> {
        if self.rest.starts_with(b"true") {
            self.skip(4);
            Some(true)
        } else if self.rest.starts_with(b"false") {
            self.skip(5);
            Some(false)
        } else {
            None
        }
    }

    /// Digits without sign, fraction or exponent.
    fn unsigned(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        let mut digits = 0;
        for byte in self.rest {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value.checked_mul(10)?.checked_add(digit.into())?;
            digits += 1;
        }
        let leading_zero = digits > 1 && self.peek() == Some(b'0');
        if digits == 0 || leading_zero {
            return None;
        }
        self.skip(digits);
        match self.peek() {
            Some(b'.' | b'e' | b'E') => None,
            _ => Some(value),
        }
    }

    fn signed(&mut self) -> Option<i64> {
        if self.peek()? != b'-' {
            return self.unsigned()?.try_into().ok();
        }
        self.skip(1);
        match self.unsigned()? {
            // Minus zero is a float.
            0 => None,
            magnitude => 0_i64.checked_sub_unsigned(magnitude),
        }
    }

    fn float(&mut self) -> Option<f64> {
        let start = self.position();
        let length = self
            .rest
            .iter()
            .take_while(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
            .count();
        self.skip(length);
        serde_json::from_str(self.text.get(start..self.position())?).ok()
    }

    /// The length of the string that starts here, quotes left out, and whether it has escapes.
    fn string_extent(&self) -> Option<(usize, bool)> {
        let body = self.rest.strip_prefix(b"\"")?;
        let mut escaped = false;
        let mut index = 0;
        loop {
            index += plain_length(body.get(index..)?);
            match body.get(index)? {
                b'"' => return Some((index, escaped)),
                b'\\' => {
                    escaped = true;
                    index += 2;
                }
                _ => return None,
            }
        }
    }

    fn plain_string(&mut self) -> Option<&'a str> {
        let (length, escaped) = self.string_extent()?;
        if escaped {
            return None;
        }
        let start = self.position() + 1;
        self.skip(length + 2);
        self.text.get(start..start + length)
    }

    fn string(&mut self) -> Option<String> {
        let (length, escaped) = self.string_extent()?;
        let start = self.position();
        self.skip(length + 2);
        if escaped {
            serde_json::from_str(self.text.get(start..start + length + 2)?).ok()
        } else {
            self.text
                .get(start + 1..start + 1 + length)
                .map(str::to_owned)
        }
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        self.expect(b'[')?;
        self.space();
        let mut bytes = Vec::new();
        if self.peek()? == b']' {
            self.skip(1);
            return Some(bytes);
        }
        // Most bytes have two or three digits.
        bytes.reserve(self.rest.len() / 3);
        let mut compact = true;
        loop {
            if compact {
                let used = bytes::read(self.rest, &mut bytes);
                compact = used > 0;
                self.skip(used);
            }
            self.space();
            bytes.push(self.unsigned()?.try_into().ok()?);
            self.space();
            match self.peek()? {
                b',' => self.skip(1),
                b']' => {
                    self.skip(1);
                    return Some(bytes);
                }
                _ => return None,
            }
        }
    }
}

/// How many bytes stand before the first that ends a string or needs an escape in it.
fn plain_length(bytes: &[u8]) -> usize {
    let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let mut length = 0;
    // Many at a time, without a way out between them: that is what vector instructions are for.
    for size in [32, 8] {
        let rest = bytes.get(length..).unwrap_or_default();
        let chunks = rest.chunks_exact(size).take_while(|chunk| {
            let found = chunk.iter().fold(false, |any, byte| any | special(*byte));
            !found
        });
        length += size * chunks.count();
    }
    let rest = bytes.get(length..).unwrap_or_default().iter();
    length + rest.take_while(|byte| !special(**byte)).count()
}

/// Appends `value` as JSON, fields of records in order of declaration.
pub(super) fn write(
    output: &mut String,
    value: &IValue,
    ty: &IType,
    records: &impl Records,
) -> Result<(), ResultError> {
    match (value, ty) {
        (IValue::Boolean(_), IType::Boolean)
        | (IValue::S8(_), IType::S8)
        | (IValue::S16(_), IType::S16)
        | (IValue::S32(_), IType::S32)
        | (IValue::S64(_), IType::S64)
        | (IValue::I32(_), IType::I32)
        | (IValue::I64(_), IType::I64)
        | (IValue::U8(_), IType::U8)
        | (IValue::U16(_), IType::U16)
        | (IValue::U32(_), IType::U32)
        | (IValue::U64(_), IType::U64)
        | (IValue::F32(_), IType::F32)
        | (IValue::F64(_), IType::F64) => scalar(output, value),
        (IValue::String(value), IType::String) => string(output, value),
        (IValue::ByteArray(value), IType::ByteArray) => bytes::write(output, value),
        (IValue::ByteArray(value), IType::Array(element)) if **element == IType::U8 => {
            bytes::write(output, value);
        }
        (IValue::Array(values), IType::ByteArray) => {
            array(output, values, &IType::U8, records)?;
        }
        (IValue::Array(values), IType::Array(element)) => {
            array(output, values, element, records)?;
        }
        (IValue::Record(values), IType::Record(id)) => {
            let record = records
                .record(*id)
                .ok_or(ResultError::UnknownRecord { id: *id })?;
            if record.fields.len() != values.len() {
                return Err(ResultError::Record {
                    value: quote(values),
                    fields: signature(&record.fields),
                });
            }
            let mut separator = '{';
            for (field, value) in record.fields.iter().zip(values) {
                output.push(separator);
                separator = ',';
                string(output, &field.name);
                output.push(':');
                write(output, value, &field.ty, records)?;
            }
            output.push('}');
        }
        _ => return Err(incompatible(value, ty)),
    }
    Ok(())
}

fn array(
    output: &mut String,
    values: &[IValue],
    element: &IType,
    records: &impl Records,
) -> Result<(), ResultError> {
    output.push('[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            output.push(',');
        }
        write(output, value, element, records)?;
    }
    output.push(']');
    Ok(())
}

/// Writes JSON text of values as they are read from a module's memory.
pub(crate) struct Text(String);

impl Default for Text {
    fn default() -> Self {
        /// Room for what most functions return.
        const ROOM: usize = 256;
        Self(String::with_capacity(ROOM))
    }
}

impl Text {
    /// The text.
    pub(crate) fn finish(self) -> String {
        self.0
    }
}

impl Make for Text {
    type Value = ();

    fn scalar(&mut self, value: IValue) {
        scalar(&mut self.0, &value);
    }

    fn text(&mut self, text: &str) {
        string(&mut self.0, text);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        bytes::write(&mut self.0, bytes);
    }

    fn array(
        &mut self,
        _: usize,
        mut next: impl FnMut(&mut Self) -> Result<Option<()>, MemoryError>,
    ) -> Result<(), MemoryError> {
        self.0.push('[');
        let first = self.0.len();
        while next(self)?.is_some() {
            self.0.push(',');
        }
        if self.0.len() > first {
            self.0.pop();
        }
        self.0.push(']');
        Ok(())
    }

    fn record(
        &mut self,
        record: &RecordType,
        mut next: impl FnMut(&mut Self, &IType) -> Result<(), MemoryError>,
    ) -> Result<(), MemoryError> {
        let mut separator = '{';
        for field in &record.fields {
            self.0.push(separator);
            separator = ',';
            string(&mut self.0, &field.name);
            self.0.push(':');
            next(self, &field.ty)?;
        }
        self.0.push('}');
        Ok(())
    }
}

/// Numbers and truth values.
fn scalar(output: &mut String, value: &IValue) {
    match value {
        IValue::Boolean(value) => output.push_str(if *value { "true" } else { "false" }),
        IValue::S8(value) => number(output, value),
        IValue::S16(value) => number(output, value),
        IValue::S32(value) | IValue::I32(value) => number(output, value),
        IValue::S64(value) | IValue::I64(value) => number(output, value),
        IValue::U8(value) => number(output, value),
        IValue::U16(value) => number(output, value),
        IValue::U32(value) => number(output, value),
        IValue::U64(value) => number(output, value),
        IValue::F32(value) => number(output, &f64::from(*value)),
        IValue::F64(value) => number(output, value),
        IValue::String(_) | IValue::ByteArray(_) | IValue::Array(_) | IValue::Record(_) => {}
    }
}

/// As `serde_json` writes it: what is no number becomes `null`.
fn number(output: &mut String, value: &impl serde::Serialize) {
    /// Longer than any number.
    const ROOM: usize = 32;
    let mut text = [0; ROOM];
    let mut rest = text.as_mut_slice();
    let written = serde_json::to_writer(&mut rest, value).map(|()| ROOM - rest.len());
    let written = written.ok().and_then(|length| text.get(..length));
    let written = written.and_then(|digits| std::str::from_utf8(digits).ok());
    output.push_str(written.unwrap_or("null"));
}

pub(super) fn string(output: &mut String, text: &str) {
    if plain_length(text.as_bytes()) < text.len() {
        // Strings cannot fail.
        output.push_str(&serde_json::to_string(text).unwrap_or_default());
    } else {
        output.reserve(text.len() + 2);
        output.push('"');
        output.push_str(text);
        output.push('"');
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        itypes::{
            RecordType,
            json::{arguments_from_value, from_value, result_to_text, result_to_value},
        },
        module::Function,
    };

    struct Table(Vec<RecordType>);

    impl Records for Table {
        fn record(&self, id: u32) -> Option<&RecordType> {
            self.0.get(id as usize)
        }
    }

    fn field(name: &str, ty: IType) -> Argument {
        Argument {
            name: name.to_owned(),
            ty,
        }
    }

    fn table() -> Table {
        Table(vec![
            RecordType {
                name: "Inner".to_owned(),
                fields: vec![field("n", IType::U8), field("s", IType::String)],
            },
            RecordType {
                name: "Outer".to_owned(),
                fields: vec![
                    field("inner", IType::Record(0)),
                    field("all", IType::Array(Arc::new(IType::Record(0)))),
                    field("raw", IType::ByteArray),
                    field("f", IType::F32),
                    field("i", IType::S64),
                    field("b", IType::Boolean),
                ],
            },
        ])
    }

    fn one(ty: IType) -> Function {
        Function {
            arguments: vec![field("a", ty.clone())],
            outputs: vec![ty],
        }
    }

    /// JSON that often fits the types of the table, and often just not.
    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (0..300_u64).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..7).prop_map(Value::from),
                proptest::collection::btree_map("n|s|inner|all|raw|f|i|b", inner, 0..7)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn types() -> impl Strategy<Value = IType> {
        let leaf = proptest::sample::select(vec![
            IType::Boolean,
            IType::S8,
            IType::U16,
            IType::S64,
            IType::U64,
            IType::F32,
            IType::F64,
            IType::String,
            IType::ByteArray,
            IType::Record(0),
            IType::Record(1),
            IType::Record(9),
        ]);
        leaf.prop_recursive(2, 3, 1, |inner| {
            inner.prop_map(|ty| IType::Array(Arc::new(ty)))
        })
    }

    fn check(ty: &IType, document: &Value) {
        let table = table();
        let text = json!([document]).to_string();
        let slow = from_value(document, ty, &table);
        let fast = arguments(&text, &one(ty.clone()).arguments, &table);
        if let Some(fast) = fast {
            assert_eq!(
                format!("{fast:?}"),
                format!("{:?}", [slow.unwrap()]),
                "{text}"
            );
        } else if let Ok(value) = slow {
            let compact = result_to_text(std::slice::from_ref(&value), &one(ty.clone()), &table);
            let text = format!("[{}]", compact.unwrap());
            // Infinite floats are written as null and do not come back.
            if !text.contains("null") {
                let again = arguments(&text, &one(ty.clone()).arguments, &table);
                assert_eq!(again, Some(vec![value]), "{text}");
            }
        }
    }

    proptest! {
        #[test]
        fn both_readers_agree(ty in types(), document in documents()) {
            check(&ty, &document);
        }

        #[test]
        fn both_readers_agree_on_records(
            n in 0..300_u32, s in ".{0,8}", f in any::<f64>(), i in any::<i64>(),
            raw in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let inner = json!({"n": n, "s": s});
            let outer = json!({
                "inner": inner, "all": [inner, [n, s]], "raw": raw, "f": f, "i": i, "b": true,
            });
            check(&IType::Record(1), &outer);
        }

        #[test]
        fn both_writers_agree(value in any::<i64>(), f in any::<f32>(), text in ".*") {
            for (value, ty) in [
                (IValue::S64(value), IType::S64),
                (IValue::U64(value.cast_unsigned()), IType::U64),
                (IValue::U8(value as u8), IType::U8),
                (IValue::F32(f), IType::F32),
                (IValue::String(text), IType::String),
                (IValue::ByteArray(value.to_le_bytes().to_vec()), IType::ByteArray),
            ] {
                let function = one(ty);
                let text = result_to_text(std::slice::from_ref(&value), &function, &()).unwrap();
                let tree = result_to_value(&[value], &function, &()).unwrap();
                prop_assert_eq!(text, tree.to_string());
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,64}", ty in types()) {
            let _ = arguments(&text, &one(ty).arguments, &table());
        }
    }

    #[test]
    fn what_is_not_well_formed_is_left_to_the_other_reader() {
        for text in [
            "[1,]",
            "[01]",
            "[1.0]",
            "[-0]",
            "[256]",
            "[1",
            "[1]x",
            "[\"1\"]",
            "[[1]]",
            "{\"a\":1}",
            "1",
            "",
            "[1e1]",
            "[+1]",
        ] {
            assert_eq!(
                arguments(text, &one(IType::U8).arguments, &()),
                None,
                "{text}"
            );
        }
        for text in ["[\"\\ud800\"]", "[\"\u{1}\"]", "[\"a]", "[\"\\\"]"] {
            assert_eq!(
                arguments(text, &one(IType::String).arguments, &()),
                None,
                "{text}"
            );
        }
        assert_eq!(
            arguments(
                " [ [ 1 , 20,255 ] ] ",
                &one(IType::ByteArray).arguments,
                &()
            ),
            Some(vec![IValue::ByteArray(vec![1, 20, 255])])
        );
        assert_eq!(
            arguments("[[256]]", &one(IType::ByteArray).arguments, &()),
            None
        );
        assert_eq!(
            arguments("[[256,1]]", &one(IType::ByteArray).arguments, &()),
            None
        );
    }

    #[test]
    fn long_values_are_cut_in_messages() {
        let long = Value::from("x".repeat(1 << 20));
        let error = arguments_from_value(&json!([long]), &one(IType::ByteArray), &()).unwrap_err();
        assert!(error.to_string().len() < 5000);
    }
}
