//! Reading the archive: everything is checked before anything is used.
//!
//! The rules are those of the archive's own validation: targets in bounds and aligned, tags in
//! range, texts in UTF-8, and owned parts in the order in which a writer puts them, without
//! overlap, before their owner. Shared parts are checked like owned ones at the first visit;
//! later pointers may only name a part of the same type. So every byte is owned once, and what
//! is built is at most a small multiple of the archive.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{
    CallState, CanonElement, CanonResult, CidInfo, Data, FoldLore, Generations, Provenance,
    ServiceResult, Signatures, State, Store, Subtrace, Subtraces,
};
use crate::Tetraplet;

/// Size of the root, which ends the archive.
const ROOT: usize = 60;
const STATE: usize = 24;
const ALIGN: usize = 4;
/// Texts longer than this are checked once however often they are pointed to.
const LONG_TEXT: usize = 128;

/// Longest CID, argument hash or peer id of a state, in bytes. Such texts are shared, so that a
/// long one would cost its length again at every use; no real one is nearly as long.
pub const MAX_SHARED_TEXT_LEN: usize = 1024;

/// What is wrong with an archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// No room for the root.
    #[error("archive has {length} bytes, expected at least 60")]
    TooShort {
        /// Length of the archive.
        length: usize,
    },
    /// Structured data at an odd place.
    #[error("{what} at {position} is not aligned to 4 bytes")]
    Misaligned {
        /// What was read.
        what: &'static str,
        /// Offset in the archive.
        position: usize,
    },
    /// A pointer or a length that leads out of the archive.
    #[error("{what} at {position} reaches outside of the archive of {length} bytes")]
    OutOfBounds {
        /// What was read.
        what: &'static str,
        /// Offset in the archive, possibly before its start.
        position: i64,
        /// Length of the archive.
        length: usize,
    },
    /// An owned part outside of the place where its owner may have it.
    #[error("{what} at {position} of {size} bytes is not between {start} and {end}")]
    OutOfOrder {
        /// What was read.
        what: &'static str,
        /// Offset in the archive.
        position: usize,
        /// Size in bytes.
        size: usize,
        /// First byte that is still free.
        start: usize,
        /// First byte of the owner.
        end: usize,
    },
    /// A pointer back to something that is not a shared part of this type.
    #[error("{what} at {position} is not a part that was read before as such")]
    NotShared {
        /// What was expected.
        what: &'static str,
        /// Offset in the archive.
        position: usize,
    },
    /// An unknown variant.
    #[error("{what} at {position} has tag {tag}, expected less than {expected}")]
    Tag {
        /// What was read.
        what: &'static str,
        /// Offset in the archive.
        position: usize,
        /// The tag.
        tag: u8,
        /// Number of variants.
        expected: u8,
    },
    /// An inline text longer than its field.
    #[error("text at {position} has an inline length of {length}, expected at most 7")]
    InlineLength {
        /// Offset in the archive.
        position: usize,
        /// The length.
        length: u8,
    },
    /// A shared text that would be costly to use.
    #[error("{what} at {position} has {length} bytes, expected at most {MAX_SHARED_TEXT_LEN}")]
    TooLong {
        /// What was read.
        what: &'static str,
        /// Offset in the archive.
        position: usize,
        /// The length.
        length: usize,
    },
    /// A text that is not UTF-8.
    #[error("text of {length} bytes at {position} is not UTF-8")]
    NotUtf8 {
        /// Offset in the archive.
        position: usize,
        /// Length of the text.
        length: usize,
    },
}

/// What a shared pointer points to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shared {
    Peer,
    Value,
    Tetraplet,
    CanonElement,
    CanonResult,
    ServiceResult,
}

impl Shared {
    fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer id",
            Self::Value => "value",
            Self::Tetraplet => "tetraplet",
            Self::CanonElement => "canon element",
            Self::CanonResult => "canon result",
            Self::ServiceResult => "service result",
        }
    }
}

/// Shared parts that were read, found by their offsets in constant time: a search would make large
/// archives slow, because every step of it misses the caches.
struct ByOffset<T> {
    /// With ascending offsets; at one offset every part once at most.
    parts: Vec<(u32, T)>,
    /// By block of the archive: how many parts begin before it.
    blocks: Vec<u32>,
}

impl<T: Copy> ByOffset<T> {
    /// Bytes of a block, as a shift: few parts, so that they are looked at one by one.
    const BLOCK: u32 = 8;

    const fn new() -> Self {
        Self {
            parts: Vec::new(),
            blocks: Vec::new(),
        }
    }

    /// Adds a part that begins at or after the last one, unless it is the `same` as one there.
    fn push(&mut self, position: u32, part: T, same: impl Fn(T) -> bool) {
        let mut here = self.parts.iter().rev();
        if here
            .by_ref()
            .take_while(|(at, _)| *at == position)
            .any(|(_, other)| same(*other))
        {
            return;
        }
        let blocks = (position >> Self::BLOCK) as usize + 1;
        if self.blocks.len() < blocks {
            self.blocks.resize(blocks, self.parts.len() as u32);
        }
        self.parts.push((position, part));
    }

    fn find(&self, position: u32, wanted: impl Fn(T) -> bool) -> Option<T> {
        let block = (position >> Self::BLOCK) as usize;
        let first = self.blocks.get(block).copied()?;
        let parts = self.parts.get(first as usize..)?;
        parts
            .iter()
            .skip_while(|(at, _)| *at < position)
            .take_while(|(at, _)| *at == position)
            .map(|(_, part)| *part)
            .find(|part| wanted(*part))
    }
}

type Result<T> = std::result::Result<T, ArchiveError>;

pub(super) fn decode(archive: &[u8]) -> Result<Data<'_>> {
    let Some(root) = archive.len().checked_sub(ROOT) else {
        return Err(ArchiveError::TooShort {
            length: archive.len(),
        });
    };
    aligned("root", root)?;
    let mut reader = Reader {
        archive,
        start: 0,
        end: root,
        revisit: false,
        texts: ByOffset::new(),
        shared: ByOffset::new(),
        long_texts: HashMap::new(),
        canon_values: HashMap::new(),
    };
    reader.data(root)
}

struct Reader<'a> {
    archive: &'a [u8],
    /// Owned parts lie in `start..end`: after what was read, before their owner.
    start: usize,
    end: usize,
    /// Set while a shared part is read again, whose order is known to be right.
    revisit: bool,
    texts: ByOffset<&'a str>,
    shared: ByOffset<Shared>,
    long_texts: HashMap<(usize, usize), &'a str>,
    canon_values: HashMap<usize, Arc<[&'a str]>>,
}

impl<'a> Reader<'a> {
    fn data(&mut self, root: usize) -> Result<Data<'a>> {
        let trace = self.list("trace", root, STATE, Self::state)?;
        let last_call_request_id = self.u32(root + 8)?;
        let cid_info = CidInfo {
            values: self.store(root + 12, Shared::Value, 8, Self::value)?,
            tetraplets: self.store(root + 20, Shared::Tetraplet, 32, Self::tetraplet)?,
            canon_elements: self.store(root + 28, Shared::CanonElement, 28, Self::element)?,
            canon_results: self.store(root + 36, Shared::CanonResult, 16, Self::canon_result)?,
            service_results: self.store(
                root + 44,
                Shared::ServiceResult,
                24,
                Self::service_result,
            )?,
        };
        let signatures = self.list("signatures", root + 52, 16, |reader, position| {
            Ok((
                reader.bytes("public key", position)?,
                reader.bytes("signature", position + 8)?,
            ))
        })?;
        let signatures: Signatures<'a> = signatures.into_iter().collect();
        Ok(Data {
            trace,
            last_call_request_id,
            cid_info,
            signatures,
        })
    }

    fn state(&mut self, position: usize) -> Result<State<'a>> {
        Ok(match self.tag("state", position, 5)? {
            0 => State::Par {
                left: self.u32(position + 4)?,
                right: self.u32(position + 8)?,
            },
            1 => State::Call(self.call(position + 4)?),
            2 => State::Fold(self.list("fold lore", position + 4, 12, Self::lore)?.into()),
            3 => State::Ap(self.generations(position + 4)?),
            _ => match self.tag("canon state", position + 4, 2)? {
                0 => State::CanonSentBy(self.peer(position + 8)?),
                _ => State::Canon(self.text(position + 8)?),
            },
        })
    }

    fn call(&mut self, position: usize) -> Result<CallState<'a>> {
        Ok(match self.tag("call state", position, 3)? {
            0 => match self.tag("sender", position + 4, 2)? {
                0 => CallState::SentBy(self.peer(position + 8)?),
                _ => CallState::SentByWithId {
                    peer_id: self.peer(position + 8)?,
                    call_id: self.u32(position + 12)?,
                },
            },
            1 => match self.tag("call value", position + 4, 3)? {
                0 => CallState::Scalar(self.text(position + 8)?),
                1 => CallState::Stream {
                    cid: self.text(position + 8)?,
                    generation: self.u32(position + 16)?,
                },
                _ => CallState::Unused(self.text(position + 8)?),
            },
            _ => CallState::Failed(self.text(position + 4)?),
        })
    }

    fn lore(&mut self, position: usize) -> Result<FoldLore> {
        let value_pos = self.u32(position)?;
        let (target, count) = self.enter_list("subtraces", position + 4, 8)?;
        let subtraces = if count == 2 {
            Subtraces::Pair(
                self.subtrace(target.position)?,
                self.subtrace(target.position + 8)?,
            )
        } else {
            let mut subtraces = Vec::with_capacity(count);
            for index in 0..count {
                subtraces.push(self.subtrace(target.position + 8 * index)?);
            }
            Subtraces::Other(subtraces.into())
        };
        self.leave(target);
        Ok(FoldLore {
            value_pos,
            subtraces,
        })
    }

    fn subtrace(&self, position: usize) -> Result<Subtrace> {
        Ok(Subtrace {
            begin_pos: self.u32(position)?,
            len: self.u32(position + 4)?,
        })
    }

    fn generations(&mut self, position: usize) -> Result<Generations> {
        let (target, count) = self.enter_list("generations", position, 4)?;
        let generations = if count == 1 {
            Generations::One(self.u32(target.position)?)
        } else {
            let mut generations = Vec::with_capacity(count);
            for index in 0..count {
                generations.push(self.u32(target.position + 4 * index)?);
            }
            Generations::Other(generations.into())
        };
        self.leave(target);
        Ok(generations)
    }

    fn value(&mut self, position: usize) -> Result<&'a str> {
        let target = self.target("value text", position)?;
        let length = self.u32(position + 4)? as usize;
        self.owned("value text", target, length)?;
        self.utf8(target, length)
    }

    fn tetraplet(&mut self, position: usize) -> Result<Tetraplet<'a>> {
        Ok(Tetraplet {
            peer_pk: self.string(position)?,
            service_id: self.string(position + 8)?,
            function_name: self.string(position + 16)?,
            lens: self.string(position + 24)?,
        })
    }

    fn element(&mut self, position: usize) -> Result<CanonElement<'a>> {
        let value = self.text(position)?;
        let tetraplet = self.text(position + 8)?;
        let provenance = match self.tag("provenance", position + 16, 3)? {
            0 => Provenance::Literal,
            1 => Provenance::ServiceResult(self.text(position + 20)?),
            _ => Provenance::Canon(self.text(position + 20)?),
        };
        Ok(CanonElement {
            value,
            tetraplet,
            provenance,
        })
    }

    fn canon_result(&mut self, position: usize) -> Result<CanonResult<'a>> {
        let tetraplet = self.text(position)?;
        // A list that many entries share is built once.
        if let Some(values) = self
            .revisit
            .then(|| self.canon_values.get(&position))
            .flatten()
        {
            return Ok(CanonResult {
                tetraplet,
                values: Arc::clone(values),
            });
        }
        let values: Arc<[&'a str]> = self
            .list("canon values", position + 8, 8, Self::text)?
            .into();
        self.canon_values.insert(position, Arc::clone(&values));
        Ok(CanonResult { tetraplet, values })
    }

    fn service_result(&mut self, position: usize) -> Result<ServiceResult<'a>> {
        Ok(ServiceResult {
            value_cid: self.text(position)?,
            argument_hash: self.text(position + 8)?,
            tetraplet_cid: self.text(position + 16)?,
        })
    }

    fn store<V>(
        &mut self,
        position: usize,
        shared: Shared,
        size: usize,
        read: fn(&mut Self, usize) -> Result<V>,
    ) -> Result<Store<'a, V>> {
        let (target, count) = self.enter_list("store", position, 12)?;
        let mut store = Store::with_capacity(count);
        for index in 0..count {
            let entry = target.position + 12 * index;
            let key = self.text(entry)?;
            let value = self.shared(entry + 8, shared, size, read)?;
            store.insert(key, value);
        }
        self.leave(target);
        Ok(store)
    }

    /// Reads what a shared pointer points to.
    fn shared<V>(
        &mut self,
        position: usize,
        shared: Shared,
        size: usize,
        read: fn(&mut Self, usize) -> Result<V>,
    ) -> Result<V> {
        let target = self.target(shared.name(), position)?;
        aligned(shared.name(), target)?;
        if self.revisit || target < self.start {
            self.check_shared(target, shared)?;
            let outer = std::mem::replace(&mut self.revisit, true);
            let value = read(self, target);
            self.revisit = outer;
            return value;
        }
        let entered = self.enter(shared.name(), target, size)?;
        let value = read(self, target)?;
        self.leave(entered);
        self.shared
            .push(target as u32, shared, |other| other == shared);
        Ok(value)
    }

    /// Reads a shared text: a CID or an argument hash.
    fn text(&mut self, position: usize) -> Result<&'a str> {
        let target = self.target("shared text", position)?;
        let length = self.u32(position + 4)? as usize;
        within_limit("shared text", target, length)?;
        if self.revisit || target < self.start {
            return match self.texts.find(target as u32, |_| true) {
                Some(known) if known.len() == length => Ok(known),
                Some(_) => self.utf8(target, length),
                None => Err(ArchiveError::NotShared {
                    what: "shared text",
                    position: target,
                }),
            };
        }
        self.owned("shared text", target, length)?;
        let text = self.utf8(target, length)?;
        self.texts.push(target as u32, text, |_| true);
        Ok(text)
    }

    fn peer(&mut self, position: usize) -> Result<&'a str> {
        let peer_id = self.shared(position, Shared::Peer, 8, Self::string)?;
        within_limit("peer id", position, peer_id.len())?;
        Ok(peer_id)
    }

    fn check_shared(&self, target: usize, shared: Shared) -> Result<()> {
        match self.shared.find(target as u32, |other| other == shared) {
            Some(_) => Ok(()),
            None => Err(ArchiveError::NotShared {
                what: shared.name(),
                position: target,
            }),
        }
    }

    /// Reads a string field: up to 7 bytes are in the field itself.
    fn string(&mut self, position: usize) -> Result<&'a str> {
        let [b0, b1, b2, b3, b4, b5, b6, flag] = self.array::<8>("text", position)?;
        if flag & 0x80 == 0 {
            if flag > 7 {
                return Err(ArchiveError::InlineLength {
                    position,
                    length: flag,
                });
            }
            return self.utf8(position, usize::from(flag));
        }
        let length = u32::from_be_bytes([b0, b1, b2, b3]) as usize;
        // The one little-endian number of the format.
        let offset = i32::from_le_bytes([b4, b5, b6, flag]);
        let target = self.resolve("text", position, offset)?;
        self.owned("text", target, length)?;
        self.utf8(target, length)
    }

    fn bytes(&mut self, what: &'static str, position: usize) -> Result<&'a [u8]> {
        let target = self.target(what, position)?;
        let length = self.u32(position + 4)? as usize;
        self.owned(what, target, length)?;
        self.slice(what, target, length)
    }

    fn utf8(&mut self, position: usize, length: usize) -> Result<&'a str> {
        if length > LONG_TEXT
            && let Some(text) = self.long_texts.get(&(position, length))
        {
            return Ok(text);
        }
        let bytes = self.slice("text", position, length)?;
        let text =
            std::str::from_utf8(bytes).map_err(|_| ArchiveError::NotUtf8 { position, length })?;
        if length > LONG_TEXT {
            self.long_texts.insert((position, length), text);
        }
        Ok(text)
    }

    fn list<T>(
        &mut self,
        what: &'static str,
        position: usize,
        size: usize,
        mut read: impl FnMut(&mut Self, usize) -> Result<T>,
    ) -> Result<Vec<T>> {
        let (target, count) = self.enter_list(what, position, size)?;
        let mut list = Vec::with_capacity(count);
        for index in 0..count {
            list.push(read(self, target.position + size * index)?);
        }
        self.leave(target);
        Ok(list)
    }

    /// Enters the elements of a list; afterwards `count * size` bytes are known to be there.
    fn enter_list(
        &mut self,
        what: &'static str,
        position: usize,
        size: usize,
    ) -> Result<(Entered, usize)> {
        let target = self.target(what, position)?;
        let count = self.u32(position + 4)? as usize;
        let bytes = count
            .checked_mul(size)
            .ok_or_else(|| self.outside(what, target as i64))?;
        aligned(what, target)?;
        self.slice(what, target, bytes)?;
        Ok((self.enter(what, target, bytes)?, count))
    }

    /// Starts to read the parts of an owned object.
    fn enter(&mut self, what: &'static str, position: usize, size: usize) -> Result<Entered> {
        if self.revisit {
            return Ok(Entered {
                position,
                start: self.start,
                end: self.end,
            });
        }
        self.check_order(what, position, size)?;
        let entered = Entered {
            position,
            start: position + size,
            end: self.end,
        };
        self.end = position;
        Ok(entered)
    }

    fn leave(&mut self, entered: Entered) {
        if !self.revisit {
            self.start = entered.start;
            self.end = entered.end;
        }
    }

    /// Passes an owned object without parts.
    fn owned(&mut self, what: &'static str, position: usize, size: usize) -> Result<()> {
        if self.revisit {
            return Ok(());
        }
        self.check_order(what, position, size)?;
        self.start = position + size;
        Ok(())
    }

    fn check_order(&self, what: &'static str, position: usize, size: usize) -> Result<()> {
        let (start, end) = (self.start, self.end);
        match position.checked_add(size) {
            Some(last) if start <= position && last <= end => Ok(()),
            _ => Err(ArchiveError::OutOfOrder {
                what,
                position,
                size,
                start,
                end,
            }),
        }
    }

    fn target(&self, what: &'static str, position: usize) -> Result<usize> {
        let offset = i32::from_be_bytes(self.array(what, position)?);
        self.resolve(what, position, offset)
    }

    fn resolve(&self, what: &'static str, position: usize, offset: i32) -> Result<usize> {
        let target = position as i64 + i64::from(offset);
        match usize::try_from(target) {
            Ok(target) if target <= self.archive.len() => Ok(target),
            _ => Err(self.outside(what, target)),
        }
    }

    fn tag(&self, what: &'static str, position: usize, expected: u8) -> Result<u8> {
        let [tag] = self.array(what, position)?;
        if tag < expected {
            Ok(tag)
        } else {
            Err(ArchiveError::Tag {
                what,
                position,
                tag,
                expected,
            })
        }
    }

    fn u32(&self, position: usize) -> Result<u32> {
        self.array("number", position).map(u32::from_be_bytes)
    }

    fn array<const N: usize>(&self, what: &'static str, position: usize) -> Result<[u8; N]> {
        self.archive
            .get(position..)
            .and_then(|rest| rest.first_chunk::<N>())
            .copied()
            .ok_or_else(|| self.outside(what, position as i64))
    }

    fn slice(&self, what: &'static str, position: usize, length: usize) -> Result<&'a [u8]> {
        position
            .checked_add(length)
            .and_then(|end| self.archive.get(position..end))
            .ok_or_else(|| self.outside(what, position as i64))
    }

    fn outside(&self, what: &'static str, position: i64) -> ArchiveError {
        ArchiveError::OutOfBounds {
            what,
            position,
            length: self.archive.len(),
        }
    }
}

/// An owned object whose parts are being read, and where to go on afterwards.
struct Entered {
    position: usize,
    start: usize,
    end: usize,
}

fn aligned(what: &'static str, position: usize) -> Result<()> {
    if position.is_multiple_of(ALIGN) {
        Ok(())
    } else {
        Err(ArchiveError::Misaligned { what, position })
    }
}

fn within_limit(what: &'static str, position: usize, length: usize) -> Result<()> {
    if length <= MAX_SHARED_TEXT_LEN {
        Ok(())
    } else {
        Err(ArchiveError::TooLong {
            what,
            position,
            length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_parts_are_found() {
        let mut parts = ByOffset::new();
        let find = |parts: &ByOffset<u8>, position, part| {
            parts.find(position, |other| other == part).is_some()
        };
        assert!(!find(&parts, 0, 1));
        let offsets = [0, 3, 255, 256, 5000, 5001, 100_000];
        for position in offsets {
            parts.push(position, 1, |other| other == 1);
            parts.push(position, 1, |other| other == 1);
        }
        parts.push(100_000, 2, |other| other == 2);
        assert_eq!(parts.parts.len(), offsets.len() + 1);
        for position in 0..100_300 {
            assert_eq!(find(&parts, position, 1), offsets.contains(&position));
        }
        assert!(find(&parts, 100_000, 2));
        assert!(!find(&parts, 5000, 2));
    }
}
