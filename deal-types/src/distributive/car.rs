//! Blocks in one file: CAR, version 1 (the IPLD specification "Content Addressable aRchives").
//!
//! The file begins with the length of a header and the header, DAG-CBOR `{"roots": [CID…],
//! "version": 1}`; then for each block come the length of the rest, the identifier and the bytes.
//! Lengths are unsigned varints.

use super::{Blocks, Limits};
use crate::{
    Cid, CidError,
    cid::{put_varint, take_varint},
};

/// Why a file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CarError {
    /// The header is not that of version 1 with at most 23 roots.
    #[error("the header of {length} bytes is not that of a CAR file of version 1")]
    Header {
        /// Length of the header.
        length: u64,
    },
    /// The file ends inside of a block, or a length is not a varint.
    #[error("the file ends in the middle of the block at byte {offset}")]
    Truncated {
        /// Where the block begins.
        offset: usize,
    },
    /// An identifier of another kind.
    #[error("the block at byte {offset}: {source}")]
    Cid {
        /// Where the block begins.
        offset: usize,
        /// What is wrong.
        source: CidError,
    },
    /// A block that is not what its identifier names.
    #[error("block of {length} bytes is not the content of {cid}")]
    WrongHash {
        /// The identifier.
        cid: Cid,
        /// Length of the block.
        length: usize,
    },
    /// More of something than a limit allows.
    #[error("{what}: {actual} where at most {limit} are allowed")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How much there is.
        actual: u64,
        /// The limit.
        limit: u64,
    },
}

const ROOTS: &[u8] = b"\xa2\x65roots";
const VERSION: &[u8] = b"\x67version\x01";
/// A link: tag 42, and bytes that begin with a zero.
const LINK: &[u8] = &[0xd8, 0x2a, 0x58];
/// Lengths of an array and of bytes as CBOR has them in one byte.
const MAX_ROOTS: usize = 23;

/// The file of a distributive, or of any blocks with one root.
#[must_use]
pub fn write(root: Cid, blocks: &Blocks) -> Vec<u8> {
    let mut header = [ROOTS, &[0x81], LINK].concat();
    let link = root.to_bytes();
    // An identifier has at most 44 bytes.
    header.push(link.len() as u8 + 1);
    header.push(0);
    header.extend_from_slice(&link);
    header.extend_from_slice(VERSION);
    let mut file = Vec::new();
    put_varint(&mut file, header.len() as u64);
    file.extend_from_slice(&header);
    for (cid, block) in blocks {
        let cid = cid.to_bytes();
        put_varint(&mut file, (cid.len() + block.len()) as u64);
        file.extend_from_slice(&cid);
        file.extend_from_slice(block);
    }
    file
}

/// The roots and the blocks of a file, each of which is verified.
///
/// # Errors
/// A file that is none, a wrong block, identifiers that are not sha2-256, more than `limits` allow
/// of bytes in a block and in all.
pub fn read(file: &[u8], limits: &Limits) -> Result<(Vec<Cid>, Blocks), CarError> {
    limit("bytes", file.len() as u64, limits.total)?;
    let (length, rest) = take_varint(file).ok_or(CarError::Header { length: 0 })?;
    let header = usize::try_from(length).ok();
    let (header, mut rest) = header
        .and_then(|length| rest.split_at_checked(length))
        .ok_or(CarError::Header { length })?;
    let roots = roots(header).ok_or(CarError::Header { length })?;
    let mut blocks = Blocks::new();
    while !rest.is_empty() {
        let offset = file.len() - rest.len();
        let truncated = CarError::Truncated { offset };
        let (length, after) = take_varint(rest).ok_or(truncated.clone())?;
        let length = usize::try_from(length).map_err(|_| truncated.clone())?;
        let (section, after) = after.split_at_checked(length).ok_or(truncated)?;
        rest = after;
        let (cid, block) = Cid::split_from(section).ok_or_else(|| CarError::Cid {
            offset,
            source: CidError::of_bytes(section),
        })?;
        limit("bytes of a block", block.len() as u64, limits.block as u64)?;
        if !cid.names(block) {
            return Err(CarError::WrongHash {
                cid,
                length: block.len(),
            });
        }
        blocks.insert(cid, block.to_vec());
    }
    Ok((roots, blocks))
}

fn roots(header: &[u8]) -> Option<Vec<Cid>> {
    let rest = header.strip_prefix(ROOTS)?.strip_suffix(VERSION)?;
    let (first, mut rest) = rest.split_first()?;
    let count = usize::from(first.checked_sub(0x80)?);
    if count > MAX_ROOTS {
        return None;
    }
    let mut roots = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.strip_prefix(LINK)?.split_first()?;
        let (link, after) = after.split_at_checked(usize::from(*length))?;
        roots.push(Cid::from_bytes(link.strip_prefix(&[0])?).ok()?);
        rest = after;
    }
    (roots.len() == count).then_some(roots)
}

fn limit(what: &'static str, actual: u64, limit: u64) -> Result<(), CarError> {
    if actual > limit {
        return Err(CarError::Limit {
            what,
            actual,
            limit,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Codec,
        distributive::{Distributive, DistributiveBuilder},
    };

    fn example() -> (Cid, Blocks) {
        let mut builder = DistributiveBuilder::new();
        builder.service("a", None, [("a", vec![3; 300_000].as_slice())]);
        builder.build()
    }

    #[test]
    fn the_form_is_that_of_the_specification() {
        let root = Cid::of_block(Codec::RAW, b"a");
        let file = write(root, &Blocks::from([(root, b"a".to_vec())]));
        let expected = [
            b"\x3a\xa2\x65roots\x81\xd8\x2a\x58\x25\x00".as_slice(),
            &root.to_bytes(),
            b"\x67version\x01",
            b"\x25",
            &root.to_bytes(),
            b"a",
        ];
        assert_eq!(file, expected.concat());
    }

    #[test]
    fn what_was_written_is_read() {
        let (cid, blocks) = example();
        let file = write(cid, &blocks);
        let (roots, read) = read(&file, &Limits::default()).unwrap();
        assert_eq!((roots, &read), (vec![cid], &blocks));
        let loaded = Distributive::load(cid, Limits::default(), |cid| read.get(&cid).cloned());
        assert_eq!(loaded.unwrap().files.len(), 1);
    }

    #[test]
    fn damaged_files_are_refused() {
        let (cid, blocks) = example();
        let file = write(cid, &blocks);
        let limits = Limits::default();
        // The rest of a file that ends between two blocks is a file.
        let ends: Vec<usize> = (0..file.len())
            .step_by(997)
            .filter(|&end| read(&file[..end], &limits).is_ok())
            .collect();
        assert!(ends.is_empty(), "{ends:?}");
        let mut wrong = file.clone();
        *wrong.last_mut().unwrap() ^= 1;
        assert!(matches!(
            read(&wrong, &limits),
            Err(CarError::WrongHash { .. })
        ));
        let mut other = file.clone();
        other[58] = 2;
        assert!(matches!(
            read(&other, &limits),
            Err(CarError::Header { length: 58 })
        ));
        let small = Limits {
            block: 1000,
            ..limits
        };
        assert!(matches!(
            read(&file, &small),
            Err(CarError::Limit {
                what: "bytes of a block",
                limit: 1000,
                ..
            })
        ));
        let short = Limits {
            total: 1000,
            ..limits
        };
        assert!(matches!(
            read(&file, &short),
            Err(CarError::Limit { what: "bytes", .. })
        ));
        // Another hash function.
        let mut foreign = write(cid, &Blocks::new());
        foreign.extend_from_slice(&[4, 1, 0x55, 0x13, 0x40]);
        let error = read(&foreign, &limits).unwrap_err();
        assert!(matches!(error, CarError::Cid { offset: 59, .. }), "{error}");
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..400_usize) {
            drop(read(&bytes, &Limits::default()));
            let (cid, blocks) = example();
            let mut file = write(cid, &blocks);
            file.splice(at..at, bytes);
            drop(read(&file, &Limits::default()));
        }
    }
}
