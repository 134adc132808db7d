//! The results of calls as a run takes them: borrowed, each once.

use std::{borrow::Cow, cell::Cell};

use crate::{
    outcome::{CallResult, CallResults},
    requests::{call_id, decode_named_results},
};

/// Results by call id.
#[derive(Debug, Default)]
pub(crate) struct Answers<'r> {
    /// Ascending ids.
    answers: Vec<Answer<'r>>,
    /// Results under names that are no ids: nobody can wait for them.
    strangers: Vec<(String, CallResult)>,
}

/// What a service answered.
#[derive(Debug)]
pub(crate) struct Answer<'r> {
    pub(crate) id: u32,
    pub(crate) ret_code: i32,
    pub(crate) result: Cow<'r, str>,
    taken: Cell<bool>,
}

impl<'r> Answers<'r> {
    /// Reads the bytes of the interpreter interface.
    pub(crate) fn decode(bytes: &'r [u8]) -> Result<Self, String> {
        let mut results = Self::default();
        if let Some(answers) = Reader(bytes).answers() {
            results.answers = answers;
            return Ok(results);
        }
        // Another encoding of the same, or an error that is to be named.
        for (name, result) in decode_named_results(bytes)? {
            match call_id(&name) {
                Some(id) => {
                    let answer = Answer::new(id, result.ret_code, result.result.into());
                    results.answers.push(answer);
                }
                None => results.strangers.push((name, result)),
            }
        }
        // Names were in the order of texts.
        results.answers.sort_unstable_by_key(|answer| answer.id);
        Ok(results)
    }

    /// The result of a call, where it is there and was not taken before.
    pub(crate) fn take(&self, id: u32) -> Option<&Answer<'r>> {
        let at = self.answers.binary_search_by_key(&id, |answer| answer.id);
        let answer = self.answers.get(at.ok()?)?;
        (!answer.taken.replace(true)).then_some(answer)
    }

    /// Length of the longest result in bytes.
    pub(crate) fn longest(&self) -> usize {
        let answers = self.answers.iter().map(|answer| answer.result.len());
        let strangers = self.strangers.iter().map(|(_, result)| result.result.len());
        answers.chain(strangers).max().unwrap_or_default()
    }

    /// The results that nobody took: id, code, result.
    pub(crate) fn unused(&self) -> impl Iterator<Item = (Cow<'_, str>, i32, &str)> {
        let waiting = self.answers.iter().filter(|answer| !answer.taken.get());
        let waiting = waiting.map(|answer| {
            let id = Cow::Owned(answer.id.to_string());
            (id, answer.ret_code, &*answer.result)
        });
        let strangers = self.strangers.iter();
        waiting.chain(strangers.map(|(name, result)| {
            let result_text = result.result.as_str();
            (Cow::Borrowed(name.as_str()), result.ret_code, result_text)
        }))
    }
}

impl<'r> From<&'r CallResults> for Answers<'r> {
    fn from(results: &'r CallResults) -> Self {
        let answers = results
            .iter()
            .map(|(id, result)| Answer::new(*id, result.ret_code, result.result.as_str().into()))
            .collect();
        Self {
            answers,
            strangers: Vec::new(),
        }
    }
}

impl<'r> Answer<'r> {
    fn new(id: u32, ret_code: i32, result: Cow<'r, str>) -> Self {
        Self {
            id,
            ret_code,
            result,
            taken: Cell::new(false),
        }
    }
}

/// Reads the encoding that writers use; `None` for any other.
struct Reader<'r>(&'r [u8]);

/// An entry: a map header, the texts of an id and of two names, a code and a result.
const MIN_ENTRY: usize = 2 + 1 + 9 + 7 + 2;

impl<'r> Reader<'r> {
    fn answers(mut self) -> Option<Vec<Answer<'r>>> {
        let [0x81, 0x04] = self.take()? else {
            return None;
        };
        let count = self.map()?;
        let mut answers = Vec::with_capacity((count as usize).min(self.0.len() / MIN_ENTRY));
        for _ in 0..count {
            let id = call_id(self.text()?)?;
            let (2, "ret_code") = (self.map()?, self.text()?) else {
                return None;
            };
            let ret_code = self.integer()?;
            let "result" = self.text()? else {
                return None;
            };
            answers.push(Answer::new(id, ret_code, self.text()?.into()));
        }
        answers.sort_unstable_by_key(|answer| answer.id);
        let distinct = answers.is_sorted_by(|left, right| left.id < right.id);
        (distinct && self.0.is_empty()).then_some(answers)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn map(&mut self) -> Option<u32> {
        match self.byte()? {
            byte @ 0x80..=0x8f => Some(u32::from(byte & 0x0f)),
            0xde => self.take().map(u16::from_be_bytes).map(u32::from),
            0xdf => self.take().map(u32::from_be_bytes),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&'r str> {
        let length = match self.byte()? {
            byte @ 0xa0..=0xbf => u32::from(byte & 0x1f),
            0xd9 => u32::from(self.byte()?),
            0xda => self.take().map(u16::from_be_bytes)?.into(),
            0xdb => self.take().map(u32::from_be_bytes)?,
            _ => return None,
        };
        let (text, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn integer(&mut self) -> Option<i32> {
        match self.byte()? {
            byte @ (0x00..=0x7f | 0xe0..=0xff) => Some(i32::from(byte as i8)),
            0xcc => self.byte().map(i32::from),
            0xcd => self.take().map(u16::from_be_bytes).map(i32::from),
            0xce => i32::try_from(self.take().map(u32::from_be_bytes)?).ok(),
            0xd0 => self.byte().map(|byte| i32::from(byte as i8)),
            0xd1 => self.take().map(i16::from_be_bytes).map(i32::from),
            0xd2 => self.take().map(i32::from_be_bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CallResult, encode_call_results};

    fn read(answers: &Answers<'_>) -> CallResults {
        let results = answers.answers.iter().map(|answer| {
            let result = CallResult {
                ret_code: answer.ret_code,
                result: answer.result.clone().into_owned(),
            };
            (answer.id, result)
        });
        results.collect()
    }

    #[test]
    fn both_readers_agree() {
        let codes = [
            0,
            1,
            -1,
            127,
            128,
            255,
            256,
            65_535,
            65_536,
            i32::MAX,
            -32,
            -33,
            -128,
            -129,
            -32_768,
            -32_769,
            i32::MIN,
        ];
        let results: CallResults = (0..)
            .zip(codes)
            .map(|(index, ret_code)| {
                let result = "é".repeat(1 << index);
                (index * 7, CallResult { ret_code, result })
            })
            .collect();
        let bytes = encode_call_results(&results);
        assert!(Reader(&bytes).answers().is_some());
        assert_eq!(read(&Answers::decode(&bytes).unwrap()), results);
        assert_eq!(read(&Answers::from(&results)), results);
        for length in 0..bytes.len().min(200) {
            assert!(Answers::decode(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn other_encodings_are_read_too() {
        // Names in another order; of two equal ids the last one counts.
        let entry = |result: u8| {
            let mut entry = b"\xa17\x82\xa6result\xa1_\xa8ret_code\x05".to_vec();
            entry[11] = result;
            entry
        };
        let bytes = [&b"\x81\x04\x82"[..], &entry(b'x'), &entry(b'y')].concat();
        let expected = CallResult {
            ret_code: 5,
            result: "y".to_owned(),
        };
        assert_eq!(
            read(&Answers::decode(&bytes).unwrap()),
            [(7, expected)].into()
        );
        let error = Answers::decode(b"\x81\x04\x90").unwrap_err();
        assert!(error.starts_with("Format("), "{error}");
    }

    #[test]
    fn a_result_is_taken_once() {
        let results = [(3, CallResult::ok("1")), (9, CallResult::ok("2"))].into();
        let answers = Answers::from(&results);
        assert!(answers.take(4).is_none());
        assert_eq!(answers.take(9).unwrap().result, "2");
        assert!(answers.take(9).is_none());
        let unused: Vec<_> = answers.unused().collect();
        assert_eq!(unused, [("3".into(), 0, "1")]);
    }

    #[test]
    fn names_that_are_no_ids_are_left_over() {
        let entry = |name: &str| {
            let name = [&[0xa0 | name.len() as u8], name.as_bytes()].concat();
            [&name, &b"\x82\xa8ret_code\x05\xa6result\xa1_"[..]].concat()
        };
        let bytes = [&b"\x81\x04\x83"[..], &entry("10"), &entry("x"), &entry("9")].concat();
        let answers = Answers::decode(&bytes).unwrap();
        assert!(answers.take(9).is_some() && answers.take(10).is_some());
        let unused: Vec<_> = answers.unused().collect();
        assert_eq!(unused, [("x".into(), 5, "_")]);
    }
}
