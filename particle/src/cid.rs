//! Content identifiers: CIDv1, codec json, blake3 by default, base32.

use std::{
    cmp::Ordering,
    fmt,
    hash::{BuildHasher, Hasher as _},
    ops::Deref,
};

use cid::Cid;

/// Length of the text of a CID that this library makes.
pub const CID_LEN: usize = 61;

/// The text of `CIDv1 | json (0x0200) | blake3-256 | 32 bytes`, before those bytes.
const HEAD: &[u8; 9] = b"bagaaihra";

const JSON: u64 = 0x0200;
const BLAKE3_256: u64 = 0x1e;
const SHA2_256: u64 = 0x12;
const MAX_CID_LEN: usize = 1024;

/// The text of a CID that this library made, on the stack. What is behind it, and where it begins,
/// make it whole words, which are read much faster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(align(8))]
pub struct CidText([u8; WORDS_LEN]);

/// Length of the words of a [`CidText`].
const WORDS_LEN: usize = 64;

/// The CID of a JSON text: `b` and the base32 of version, codec, hash function and blake3 digest.
///
/// ```
/// let cid = particle::cid::value_cid("1");
/// assert_eq!(&*cid, "bagaaihra2y55tkbgv6i4d7vdoglfuzhbd3ra6e7ennpvfrmzaejwmbntusdq");
/// ```
#[must_use]
pub fn value_cid(text: &str) -> CidText {
    content_cid(text.as_bytes())
}

/// The CID that [`value_cid`] would give for a text of these bytes.
#[must_use]
pub fn content_cid(content: &[u8]) -> CidText {
    CidText::of_digest(blake3::hash(content).as_bytes())
}

/// Why a CID does not belong to a content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CidError {
    /// The text is no CID. The message is that of all interpreters, which does not name it.
    #[error("{reason}")]
    Unparsable {
        /// The text, shortened.
        cid: String,
        /// What is wrong.
        reason: String,
    },
    /// Not the codec of JSON.
    #[error("unsupported CID codec: {codec}")]
    Codec {
        /// The codec, expected 0x0200.
        codec: u64,
    },
    /// Neither blake3-256 nor sha2-256.
    #[error("unsupported multihash code: {code}")]
    HashFunction {
        /// The code, expected 0x1e or 0x12.
        code: u64,
    },
    /// The content has another digest.
    #[error("value mismatch for CID \"{cid}\"")]
    Mismatch {
        /// The text.
        cid: String,
    },
}

/// Checks that `cid` is a CID of `content`, in any accepted spelling.
///
/// # Errors
/// See [`CidError`].
pub fn verify(cid: &str, content: &[u8]) -> Result<(), CidError> {
    let digest = blake3::hash(content);
    if CidText::of_digest(digest.as_bytes()).is(cid) {
        return Ok(());
    }
    verify_foreign(cid, content, digest.as_bytes())
}

/// The slow path: sha2-256, other bases, or no CID at all.
fn verify_foreign(cid: &str, content: &[u8], blake3: &[u8; 32]) -> Result<(), CidError> {
    let unparsable = |reason: String| CidError::Unparsable {
        cid: shorten(cid),
        reason,
    };
    // Some bases decode in quadratic time, and no accepted CID is nearly as long.
    if cid.len() > MAX_CID_LEN {
        return Err(unparsable(format!(
            "{} bytes, expected at most {MAX_CID_LEN}",
            cid.len()
        )));
    }
    let parsed = Cid::try_from(cid).map_err(|error| unparsable(error.to_string()))?;
    if parsed.codec() != JSON {
        return Err(CidError::Codec {
            codec: parsed.codec(),
        });
    }
    let digest = parsed.hash().digest();
    let same = match parsed.hash().code() {
        BLAKE3_256 => digest == blake3,
        SHA2_256 => {
            use sha2::Digest as _;
            digest == sha2::Sha256::digest(content).as_slice()
        }
        code => return Err(CidError::HashFunction { code }),
    };
    if same {
        Ok(())
    } else {
        Err(CidError::Mismatch {
            cid: cid.to_owned(),
        })
    }
}

/// Sorts CIDs by their bytes.
pub fn sort(cids: &mut [&str]) {
    if cids.is_sorted() {
        return;
    }
    let mut keyed: Vec<_> = cids.iter().map(|cid| (order_prefix(cid), *cid)).collect();
    sort_prefixed(&mut keyed, |cid| cid);
    for (to, (_, from)) in cids.iter_mut().zip(keyed) {
        *to = from;
    }
}

/// Sorts by CIDs what is behind their prefixes, which alone mostly decide.
pub(crate) fn sort_prefixed<'a, T>(items: &mut [(u64, T)], cid: impl Fn(&T) -> &'a str) {
    items.sort_unstable_by_key(|(prefix, _)| *prefix);
    for same in items.chunk_by_mut(|(left, _), (right, _)| left == right) {
        if same.len() > 1 {
            same.sort_unstable_by(|(_, left), (_, right)| order(cid(left), cid(right)));
        }
    }
}

fn order(left: &str, right: &str) -> Ordering {
    // Equal ones are mostly one text, which several states of a trace refer to.
    match std::ptr::eq(left, right) {
        true => Ordering::Equal,
        false => left.cmp(right),
    }
}

/// Orders CIDs almost always: the bytes after the prefix that nearly all of them share, which alone
/// are compared without looking at the texts. Texts without that prefix come before or after all
/// others.
pub(crate) fn order_prefix(cid: &str) -> u64 {
    match cid.as_bytes().split_first_chunk() {
        Some((head, rest)) if head == HEAD => {
            let mut bytes = [0; 8];
            match rest.first_chunk() {
                Some(first) => bytes = *first,
                None => bytes
                    .iter_mut()
                    .zip(rest)
                    .for_each(|(to, from)| *to = *from),
            }
            u64::from_be_bytes(bytes)
        }
        _ if cid.as_bytes() < HEAD.as_slice() => 0,
        _ => u64::MAX,
    }
}

/// Hashes a CID for a table. Almost all have one length, for which there is a shorter way.
#[inline]
pub(crate) fn hash(builder: &impl BuildHasher, cid: &[u8]) -> u64 {
    let mut hasher = builder.build_hasher();
    match (cid.as_chunks::<16>(), cid.last_chunk::<16>()) {
        (([a, b, c], _), Some(last)) => {
            for chunk in [a, b, c, last] {
                hasher.write_u128(u128::from_ne_bytes(*chunk));
            }
        }
        _ => hasher.write(cid),
    }
    hasher.finish()
}

/// Eight symbols of lower-case base32, all at once: every CID that is checked or made passes here.
fn base32(bytes: [u8; 5]) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let [b0, b1, b2, b3, b4] = bytes;
    let group = u64::from_be_bytes([0, 0, 0, b0, b1, b2, b3, b4]);
    // 40 bits become two times 20, four times 10, eight times 5, the first in the lowest byte.
    let halves = group >> 20 | (group & 0xf_ffff) << 32;
    let quarters = halves >> 10 & 0x0000_03ff_0000_03ff | (halves & 0x0000_03ff_0000_03ff) << 16;
    let digits = quarters >> 5 & 0x001f_001f_001f_001f | (quarters & 0x001f_001f_001f_001f) << 8;
    // A digit over 25 sets the highest bit of its byte in this sum; no byte overflows.
    let over = (digits + ONES * (0x80 - 26)) >> 7 & ONES;
    (digits + ONES * u64::from(b'a') - over * u64::from(b'a' + 26 - b'2')).to_le_bytes()
}

fn shorten(cid: &str) -> String {
    cid.chars().take(80).collect()
}

impl CidText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The alphabet is ASCII, so this never falls back.
        let words = std::str::from_utf8(&self.0).unwrap_or_default();
        words.get(..CID_LEN).unwrap_or_default()
    }

    /// Whether `cid` is this text.
    #[must_use]
    pub fn is(&self, cid: &str) -> bool {
        self.0
            .first_chunk::<CID_LEN>()
            .map(<[u8; CID_LEN]>::as_slice)
            == Some(cid.as_bytes())
    }

    pub(crate) fn of_digest(digest: &[u8; 32]) -> Self {
        let mut text = [b'='; WORDS_LEN];
        let (head, symbols) = text.split_at_mut(HEAD.len());
        head.copy_from_slice(HEAD);
        let (groups, last) = symbols.as_chunks_mut::<8>();
        let (bytes, rest) = digest.as_chunks::<5>();
        for (to, from) in groups.iter_mut().zip(bytes) {
            *to = base32(*from);
        }
        if let ([first, second], Some(last)) = (rest, last.first_chunk_mut()) {
            let [a, b, c, d, ..] = base32([*first, *second, 0, 0, 0]);
            *last = [a, b, c, d];
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

    #[test]
    fn symbols_of_base32() {
        let alphabet = b"abcdefghijklmnopqrstuvwxyz234567";
        for first in 0..32_u8 {
            let digits: [u8; 8] = std::array::from_fn(|index| (first + 5 * index as u8) % 32);
            let group = digits
                .iter()
                .fold(0_u64, |group, digit| group << 5 | u64::from(*digit));
            let [_, _, _, bytes @ ..] = group.to_be_bytes();
            assert_eq!(base32(bytes), digits.map(|digit| alphabet[digit as usize]));
        }
    }

    #[test]
    fn spellings_and_faults() {
        let cid = value_cid("1");
        assert_eq!(verify(&cid, b"1"), Ok(()));
        assert!(matches!(verify(&cid, b"2"), Err(CidError::Mismatch { .. })));
        let parsed = Cid::try_from(&*cid).unwrap();
        let base58 = format!("z{}", bs58::encode(parsed.to_bytes()).into_string());
        assert_eq!(verify(&base58, b"1"), Ok(()));
        let raw = Cid::new_v1(0x55, *parsed.hash()).to_string();
        assert_eq!(verify(&raw, b"1"), Err(CidError::Codec { codec: 0x55 }));
        assert!(matches!(
            verify("garbage", b"1"),
            Err(CidError::Unparsable { .. })
        ));
        assert!(matches!(
            verify(&"z".repeat(9999), b"1"),
            Err(CidError::Unparsable { .. })
        ));
    }
}
