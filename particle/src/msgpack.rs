//! The part of MessagePack that particles and call requests need: a reader that borrows, and writing
//! in the shortest form.

use std::borrow::Cow;

/// Bytes that are not the MessagePack that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MsgpackError {
    #[error("ends in the middle of a value")]
    Truncated,
    #[error("has the reserved marker 0xc1")]
    Reserved,
    #[error("has marker {marker:#04x}, expected {expected}")]
    Unexpected { marker: u8, expected: &'static str },
    #[error("has a text that is not UTF-8")]
    NotUtf8,
}

type Result<T> = std::result::Result<T, MsgpackError>;

/// Name of a field: serializers may also write its bytes or its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    Name(&'a [u8]),
    Index(u64),
}

#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Number of pairs of a map.
    pub(crate) fn map(&mut self) -> Result<u32> {
        match self.marker()? {
            marker @ 0x80..=0x8f => Ok(u32::from(marker & 0x0f)),
            0xde => self.u16().map(u32::from),
            0xdf => self.u32(),
            marker => Err(MsgpackError::Unexpected {
                marker,
                expected: "a map",
            }),
        }
    }

    pub(crate) fn key(&mut self) -> Result<Key<'a>> {
        let start = *self;
        match self.marker()? {
            marker @ 0xa0..=0xbf => self.take(usize::from(marker & 0x1f)).map(Key::Name),
            0xd9 | 0xc4 => self
                .u8()
                .and_then(|n| self.take(usize::from(n)))
                .map(Key::Name),
            0xda | 0xc5 => self
                .u16()
                .and_then(|n| self.take(usize::from(n)))
                .map(Key::Name),
            0xdb | 0xc6 => self
                .u32()
                .and_then(|n| self.take(n as usize))
                .map(Key::Name),
            _ => {
                *self = start;
                self.unsigned().map(Key::Index)
            }
        }
    }

    pub(crate) fn text(&mut self) -> Result<&'a str> {
        let bytes = match self.marker()? {
            marker @ 0xa0..=0xbf => self.take(usize::from(marker & 0x1f)),
            0xd9 => self.u8().and_then(|n| self.take(usize::from(n))),
            0xda => self.u16().and_then(|n| self.take(usize::from(n))),
            0xdb => self.u32().and_then(|n| self.take(n as usize)),
            marker => Err(MsgpackError::Unexpected {
                marker,
                expected: "a text",
            }),
        }?;
        std::str::from_utf8(bytes).map_err(|_| MsgpackError::NotUtf8)
    }

    /// Bytes as a binary, a text, or an array of integers 0..=255.
    pub(crate) fn bytes(&mut self) -> Result<Cow<'a, [u8]>> {
        let marker = self.marker()?;
        let count = match marker {
            0xa0..=0xbf => return self.take(usize::from(marker & 0x1f)).map(Cow::Borrowed),
            0xc4 | 0xd9 => {
                return self
                    .u8()
                    .and_then(|n| self.take(usize::from(n)))
                    .map(Cow::Borrowed);
            }
            0xc5 | 0xda => {
                return self
                    .u16()
                    .and_then(|n| self.take(usize::from(n)))
                    .map(Cow::Borrowed);
            }
            0xc6 | 0xdb => {
                return self
                    .u32()
                    .and_then(|n| self.take(n as usize))
                    .map(Cow::Borrowed);
            }
            0x90..=0x9f => u32::from(marker & 0x0f),
            0xdc => u32::from(self.u16()?),
            0xdd => self.u32()?,
            marker => {
                return Err(MsgpackError::Unexpected {
                    marker,
                    expected: "bytes or an array",
                });
            }
        };
        // Each element takes at least one byte.
        let mut bytes = Vec::with_capacity((count as usize).min(self.rest.len()));
        for _ in 0..count {
            let marker = self.rest.first().copied().unwrap_or_default();
            let byte = u8::try_from(self.unsigned()?);
            bytes.push(byte.map_err(|_| MsgpackError::Unexpected {
                marker,
                expected: "a byte",
            })?);
        }
        Ok(Cow::Owned(bytes))
    }

    /// Any form of an integer that is not negative.
    pub(crate) fn unsigned(&mut self) -> Result<u64> {
        let marker = self.marker()?;
        let signed = match marker {
            0x00..=0x7f => return Ok(u64::from(marker)),
            0xcc => return self.u8().map(u64::from),
            0xcd => return self.u16().map(u64::from),
            0xce => return self.u32().map(u64::from),
            0xcf => return self.u64(),
            0xd0 => i64::from(self.u8()?.cast_signed()),
            0xd1 => i64::from(self.u16()?.cast_signed()),
            0xd2 => i64::from(self.u32()?.cast_signed()),
            0xd3 => self.u64()?.cast_signed(),
            _ => -1,
        };
        u64::try_from(signed).map_err(|_| MsgpackError::Unexpected {
            marker,
            expected: "an unsigned integer",
        })
    }

    /// Passes one value of any kind and returns a reader of it.
    pub(crate) fn skip(&mut self) -> Result<Self> {
        let start = *self;
        // Every pending value takes at least one byte, so the loop ends with the input.
        let mut pending = 1_u64;
        while pending > 0 {
            pending -= 1;
            let marker = self.marker()?;
            let (bytes, values) = match marker {
                0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => (0, 0),
                0x80..=0x8f => (0, 2 * u64::from(marker & 0x0f)),
                0x90..=0x9f => (0, u64::from(marker & 0x0f)),
                0xa0..=0xbf => (usize::from(marker & 0x1f), 0),
                0xc1 => return Err(MsgpackError::Reserved),
                0xc4 | 0xd9 => (usize::from(self.u8()?), 0),
                0xc5 | 0xda => (usize::from(self.u16()?), 0),
                0xc6 | 0xdb => (self.u32()? as usize, 0),
                0xc7 => (usize::from(self.u8()?) + 1, 0),
                0xc8 => (usize::from(self.u16()?) + 1, 0),
                0xc9 => ((self.u32()? as usize).saturating_add(1), 0),
                0xcc | 0xd0 => (1, 0),
                0xcd | 0xd1 => (2, 0),
                0xca | 0xce | 0xd2 => (4, 0),
                0xcb | 0xcf | 0xd3 => (8, 0),
                0xd4..=0xd8 => ((1 << (marker - 0xd4)) + 1, 0),
                0xdc => (0, u64::from(self.u16()?)),
                0xdd => (0, u64::from(self.u32()?)),
                0xde => (0, 2 * u64::from(self.u16()?)),
                0xdf => (0, 2 * u64::from(self.u32()?)),
            };
            self.take(bytes)?;
            pending = pending.saturating_add(values);
        }
        Ok(start)
    }

    fn marker(&mut self) -> Result<u8> {
        self.u8()
    }

    fn u8(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(MsgpackError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(MsgpackError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// Writes the header of a text of `length` bytes, in its shortest form.
#[inline]
pub(crate) fn push_text_header(out: &mut Vec<u8>, length: usize) {
    match length {
        0..=31 => out.push(0xa0 | length as u8),
        32..=0xff => out.extend_from_slice(&[0xd9, length as u8]),
        0x100..=0xffff => {
            out.push(0xda);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdb);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

/// Writes a text.
#[inline]
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    push_text_header(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Writes the header of a binary of `length` bytes, in its shortest form.
pub(crate) fn push_binary_header(out: &mut Vec<u8>, length: usize) {
    match length {
        0..=0xff => out.extend_from_slice(&[0xc4, length as u8]),
        0x100..=0xffff => {
            out.push(0xc5);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0xc6);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

/// Writes an unsigned integer in its shortest form.
#[inline]
pub fn push_unsigned(out: &mut Vec<u8>, number: u64) {
    match number {
        0..=0x7f => out.push(number as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, number as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}
