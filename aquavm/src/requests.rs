//! Call requests: as values for Rust hosts, or as the bytes of the interpreter interface.

use std::collections::BTreeMap;

use particle::msgpack::{push_text, push_unsigned};
use serde::Deserialize;

use crate::{
    json::messagepack::{write_array_header, write_map_header},
    json::{self, MessagePack},
    outcome::{ArgumentTetraplet, CallRequest, CallResult, CallResults},
    value::Origin,
};

/// Multicodec prefix of MessagePack: the varint of 0x0201.
const PREFIX: [u8; 2] = [0x81, 0x04];

/// A request as the machine issues it; ids ascend.
pub(crate) struct Request<'r, 'x> {
    pub(crate) id: u32,
    pub(crate) service_id: &'r str,
    pub(crate) function_name: &'r str,
    /// JSON texts of all arguments.
    pub(crate) arguments: &'r [&'x str],
    /// Tetraplets of all arguments, one after the other.
    pub(crate) origins: &'r [&'x Origin<'x>],
    /// By argument: where its tetraplets end.
    pub(crate) ends: &'r [usize],
}

/// Takes the requests of a run.
pub(crate) trait RequestSink {
    fn push(&mut self, request: Request<'_, '_>);
}

impl<'r, 'x> Request<'r, 'x> {
    /// At most how many bytes an encoded request takes besides arguments and tetraplets.
    fn fixed_size(&self) -> usize {
        self.service_id.len() + self.function_name.len() + 80
    }

    /// The tetraplets of each argument.
    fn tetraplets(&self) -> impl ExactSizeIterator<Item = &'r [&'x Origin<'x>]> {
        let mut start = 0;
        let origins = self.origins;
        self.ends.iter().map(move |&end| {
            let group = origins.get(start..end).unwrap_or_default();
            start = end;
            group
        })
    }
}

impl RequestSink for BTreeMap<u32, CallRequest> {
    fn push(&mut self, request: Request<'_, '_>) {
        let mut arguments = String::new();
        json::write_array(&mut arguments, request.arguments);
        let tetraplets = request
            .tetraplets()
            .map(|group| group.iter().map(|origin| origin.tetraplet.into()).collect())
            .collect();
        self.insert(
            request.id,
            CallRequest {
                service_id: request.service_id.to_owned(),
                function_name: request.function_name.to_owned(),
                arguments,
                tetraplets,
            },
        );
    }
}

impl From<particle::Tetraplet<'_>> for ArgumentTetraplet {
    fn from(tetraplet: particle::Tetraplet<'_>) -> Self {
        Self {
            peer_pk: tetraplet.peer_pk.to_owned(),
            service_id: tetraplet.service_id.to_owned(),
            function_name: tetraplet.function_name.to_owned(),
            lens: tetraplet.lens.to_owned(),
        }
    }
}

/// Requests as bytes.
#[derive(Default)]
pub(crate) struct RequestBytes {
    count: u32,
    /// Prefix, map header and entries.
    bytes: Vec<u8>,
    /// Length of prefix and map header.
    header: usize,
    scratch: Vec<u8>,
    messagepack: MessagePack,
}

impl RequestBytes {
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.write_header();
        self.bytes
    }

    /// Counts one more. The header of the map becomes longer with the count twice at most, early
    /// for what lies behind it.
    fn count(&mut self) {
        self.count += 1;
        if matches!(self.count, 1 | 0x10 | 0x1_0000) {
            self.write_header();
        }
    }

    fn write_header(&mut self) {
        let mut header = PREFIX.to_vec();
        write_map_header(&mut header, self.count);
        let present = std::mem::replace(&mut self.header, header.len());
        self.bytes.splice(..present, header);
    }
}

impl RequestSink for RequestBytes {
    fn push(&mut self, request: Request<'_, '_>) {
        self.count();
        self.scratch.clear();
        self.messagepack
            .write_array(&mut self.scratch, request.arguments);
        let arguments = self.scratch.len();
        write_tetraplets(&mut self.scratch, request.tetraplets());
        let (arguments, tetraplets) = self.scratch.split_at(arguments);
        let out = &mut self.bytes;
        grow(out, self.scratch.len() + request.fixed_size());
        push_unsigned(out, u64::from(request.id));
        write_map_header(out, 4);
        push_text(out, "service_id");
        push_text(out, request.service_id);
        push_text(out, "function_name");
        push_text(out, request.function_name);
        push_text(out, "arguments");
        write_bin(out, arguments);
        push_text(out, "tetraplets");
        write_bin(out, tetraplets);
    }
}

/// Makes room for `size` bytes. Doubling, which the vector does by itself, would take twice the
/// memory of large requests.
fn grow(out: &mut Vec<u8>, size: usize) {
    if out.capacity() - out.len() < size {
        out.reserve_exact(size + out.len() / 24);
    }
}

/// Appends the tetraplets of each argument. Neighbours often have the same: it is copied.
fn write_tetraplets<'r, 'x: 'r>(
    out: &mut Vec<u8>,
    groups: impl ExactSizeIterator<Item = &'r [&'x Origin<'x>]>,
) {
    let mut last: Option<(&Origin<'_>, std::ops::Range<usize>)> = None;
    write_array_header(out, groups.len() as u32);
    for group in groups {
        write_array_header(out, group.len() as u32);
        for origin in group {
            match &last {
                Some((same, written)) if std::ptr::eq(*same, *origin) => {
                    out.extend_from_within(written.clone());
                }
                _ => {
                    let start = out.len();
                    write_tetraplet(out, origin.tetraplet);
                    last = Some((origin, start..out.len()));
                }
            }
        }
    }
}

fn write_tetraplet(out: &mut Vec<u8>, tetraplet: particle::Tetraplet<'_>) {
    write_map_header(out, 4);
    push_text(out, "peer_pk");
    push_text(out, tetraplet.peer_pk);
    push_text(out, "service_id");
    push_text(out, tetraplet.service_id);
    push_text(out, "function_name");
    push_text(out, tetraplet.function_name);
    push_text(out, "lens");
    push_text(out, tetraplet.lens);
}

fn write_bin(out: &mut Vec<u8>, bytes: &[u8]) {
    let size = bytes.len();
    match size {
        0..=0xff => out.extend_from_slice(&[0xc4, size as u8]),
        0x100..=0xffff => {
            out.push(0xc5);
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
        _ => {
            out.push(0xc6);
            out.extend_from_slice(&(size as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

/// Call requests in the bytes of the interpreter interface.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode_call_requests(bytes: &[u8]) -> Result<BTreeMap<u32, CallRequest>, String> {
    #[derive(Deserialize)]
    struct Encoded<'a> {
        service_id: String,
        function_name: String,
        #[serde(borrow)]
        arguments: &'a [u8],
        #[serde(borrow)]
        tetraplets: &'a [u8],
    }
    if bytes.is_empty() {
        return Ok(BTreeMap::new());
    }
    let body = strip_prefix(bytes)?;
    let describe = |error: rmp_serde::decode::Error| error.to_string();
    let encoded: BTreeMap<u32, Encoded<'_>> = rmp_serde::from_slice(body).map_err(describe)?;
    encoded
        .into_iter()
        .map(|(id, request)| {
            let arguments: Vec<serde_json::Value> =
                rmp_serde::from_slice(request.arguments).map_err(describe)?;
            let arguments =
                particle::value::print(&arguments).map_err(|error| error.to_string())?;
            let tetraplets = rmp_serde::from_slice(request.tetraplets).map_err(describe)?;
            Ok((
                id,
                CallRequest {
                    service_id: request.service_id,
                    function_name: request.function_name,
                    arguments,
                    tetraplets,
                },
            ))
        })
        .collect()
}

/// Call results in the bytes of the interpreter interface.
///
/// # Errors
/// What is wrong with the bytes; a call id that is no number, which [`invoke`](crate::invoke) takes
/// for one that nobody waits for.
pub fn decode_call_results(bytes: &[u8]) -> Result<CallResults, String> {
    let results = decode_named_results(bytes)?.into_iter();
    let numbered = results.map(|(id, result)| match call_id(&id) {
        Some(id) => Ok((id, result)),
        None => Err(format!("call id {id:?} is not a decimal number of 32 bits")),
    });
    numbered.collect()
}

/// Call results by the texts of their call ids.
pub(crate) fn decode_named_results(bytes: &[u8]) -> Result<BTreeMap<String, CallResult>, String> {
    let body = strip_prefix(bytes)?;
    rmp_serde::from_slice(body).map_err(|error| format!("Format({error:?})"))
}

/// A call id as it travels: in decimal, and in no other form of the same number.
pub(crate) fn call_id(text: &str) -> Option<u32> {
    let canonical = !text.starts_with(['+', '0']) || text == "0";
    text.parse().ok().filter(|_| canonical)
}

/// Call results as the bytes of the interpreter interface.
#[must_use]
pub fn encode_call_results(results: &CallResults) -> Vec<u8> {
    let mut out = PREFIX.to_vec();
    write_map_header(&mut out, results.len() as u32);
    for (id, result) in results {
        push_text(&mut out, &id.to_string());
        write_map_header(&mut out, 2);
        push_text(&mut out, "ret_code");
        json::messagepack::write_signed(&mut out, i64::from(result.ret_code));
        push_text(&mut out, "result");
        push_text(&mut out, &result.result);
    }
    out
}

/// What follows a multicodec prefix, which must be that of MessagePack.
fn strip_prefix(bytes: &[u8]) -> Result<&[u8], String> {
    let mut code = 0_u32;
    for (index, &byte) in bytes.iter().take(5).enumerate() {
        code |= u32::from(byte & 0x7f)
            .checked_shl(index as u32 * 7)
            .unwrap_or(0);
        if byte & 0x80 == 0 {
            if code != 0x0201 {
                return Err(format!("Codec({code})"));
            }
            return Ok(bytes.get(index + 1..).unwrap_or_default());
        }
    }
    Err(if bytes.len() < 5 {
        "VarInt(Insufficient)".to_owned()
    } else {
        "VarInt(Overflow)".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_survive_their_encoding() {
        let results: CallResults = [
            (1, CallResult::ok("[1]")),
            (
                70000,
                CallResult {
                    ret_code: -5,
                    result: "\"x\"".repeat(200),
                },
            ),
        ]
        .into();
        assert_eq!(
            decode_call_results(&encode_call_results(&results)).unwrap(),
            results
        );
        for id in ["x", "+7", "07", "4294967296", "-1", ""] {
            assert_eq!(call_id(id), None, "{id}");
        }
        assert_eq!(
            (call_id("0"), call_id("4294967295")),
            (Some(0), Some(u32::MAX))
        );
        assert_eq!(encode_call_results(&CallResults::new()), [0x81, 0x04, 0x80]);
        for bytes in [
            &[][..],
            b"\x80\x04\x80",
            b"\x81\x04\xff",
            b"\x81\x04\x81\x01\x90",
        ] {
            assert!(decode_call_results(bytes).is_err());
        }
    }

    #[test]
    fn requests_survive_their_encoding() {
        let arena = crate::arena::Arena::new();
        let origin = Origin::new(&arena, particle::Tetraplet::of_call("P", "s", "f"));
        for count in [0_u32, 1, 15, 16, 17, 65_536] {
            let mut bytes = RequestBytes::default();
            let mut values = BTreeMap::new();
            for id in 0..count {
                let sinks: [&mut dyn RequestSink; 2] = [&mut bytes, &mut values];
                for sink in sinks {
                    sink.push(Request {
                        id,
                        service_id: "service",
                        function_name: "function",
                        arguments: &["1", "[]", r#"{"a":-2.5}"#],
                        origins: &[origin, origin, origin],
                        ends: &[1, 1, 3],
                    });
                }
            }
            assert_eq!(decode_call_requests(&bytes.into_bytes()).unwrap(), values);
        }
    }
}
