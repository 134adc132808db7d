//! Content identifiers: CIDv1, codec json, blake3 by default, base32.

use std::{fmt, ops::Deref};

/// Length of the text of a CID that this library makes.
pub const CID_LEN: usize = 61;

/// `CIDv1 | json (0x0200) | blake3-256 | 32 bytes`.
pub(crate) const PREFIX: [u8; 5] = [0x01, 0x80, 0x04, 0x1e, 0x20];

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The text of a CID that this library made, on the stack.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CidText([u8; CID_LEN]);

/// The CID of a JSON text: `b` and the base32 of version, codec, hash function and blake3 digest.
///
/// ```
/// let cid = particle::cid::value_cid("1");
/// assert_eq!(&*cid, "bagaaihra2y55tkbgv6i4d7vdoglfuzhbd3ra6e7ennpvfrmzaejwmbntusdq");
/// ```
#[must_use]
pub fn value_cid(text: &str) -> CidText {
    CidText::of_digest(blake3::hash(text.as_bytes()).as_bytes())
}

impl CidText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The alphabet is ASCII, so this never falls back.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) fn of_digest(digest: &[u8; 32]) -> Self {
        let mut bytes = [0_u8; 40];
        let (prefix, rest) = bytes.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(&PREFIX);
        for (to, from) in rest.iter_mut().zip(digest) {
            *to = *from;
        }
        let mut text = [b'b'; CID_LEN];
        let (_, symbols) = text.split_at_mut(1);
        for (to, from) in symbols.chunks_mut(8).zip(bytes.chunks_exact(5)) {
            let group = from
                .iter()
                .fold(0_u64, |group, byte| group << 8 | u64::from(*byte));
            for (symbol, shift) in to.iter_mut().zip([35_u32, 30, 25, 20, 15, 10, 5, 0]) {
                let index = (group >> shift) as usize & 31;
                *symbol = ALPHABET.get(index).copied().unwrap_or(b'a');
            }
        }
        Self(text)
    }
}

impl Deref for CidText {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for CidText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for CidText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_cids() {
        let known = [
            (
                "\"test\"",
                "bagaaihrarcyykpv4oj7zwdbepczyfthxya4og7s2rwvrzolm5kg2eu5dz3xa",
            ),
            (
                "[1,2,3]",
                "bagaaihram6sitn77tquub77n2jzjgttrlwkverv44pv3gns6qghm6hx6d36a",
            ),
            (
                "{\"key\":42}",
                "bagaaihracpzxhsrpviexa7k6glwdhyh3a4kvy6j7qlcqokzqbs3q424cmxyq",
            ),
        ];
        for (text, cid) in known {
            assert_eq!(value_cid(text).as_str(), cid);
        }
    }
}
