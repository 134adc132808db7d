//! Writing the archive: deterministic, every distinct CID and peer id once.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{
    CallState, CanonElement, CanonResult, Data, FoldLore, Provenance, ServiceResult, State,
    Subtraces, store::Store,
};
use crate::{Tetraplet, cid};

const STATE: usize = 24;
/// Pointers are signed 32-bit offsets.
const MAX_ARCHIVE: usize = i32::MAX as usize;

/// Data that does not fit the archive format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Offsets would overflow.
    #[error("archive would have {length} bytes, expected at most 2147483647")]
    TooLarge {
        /// Length that was reached.
        length: usize,
    },
}

/// Appends the archive of `data` to `out`, whose present length counts as offset 0.
pub(super) fn encode(data: &Data<'_>, out: Vec<u8>) -> Result<Vec<u8>, EncodeError> {
    let info = &data.cid_info;
    // Every key is written, and for a service result the hash of its arguments.
    let texts = info.values.len()
        + info.tetraplets.len()
        + info.canon_elements.len()
        + info.canon_results.len()
        + 2 * info.service_results.len();
    let mut writer = Writer {
        base: out.len(),
        out,
        hasher: DefaultHashBuilder::default(),
        texts: HashTable::with_capacity(texts),
        long_values: HashTable::new(),
        peers: HashTable::new(),
    };
    writer.data(data);
    let length = writer.position();
    if length > MAX_ARCHIVE {
        return Err(EncodeError::TooLarge { length });
    }
    Ok(writer.out)
}

/// An empty buffer with room for the archive of `data` and for `header` bytes before it.
pub(super) fn buffer(data: &Data<'_>, header: usize) -> Vec<u8> {
    let mut out = Vec::new();
    // Where the memory is not there now, growing decides.
    let _ = out.try_reserve_exact(estimate(data).min(MAX_ARCHIVE) + header);
    out
}

/// About how many bytes the archive of `data` takes, rather too many than too few.
pub(super) fn estimate(data: &Data<'_>) -> usize {
    // A text, what aligns whatever follows it, and the structured parts.
    let aligned = |texts: usize| texts.next_multiple_of(4);
    let states: usize = data
        .trace
        .iter()
        .map(|state| match state {
            State::Call(CallState::Unused(cid)) => STATE + aligned(cid.len()),
            State::Fold(lore) => STATE + 28 * lore.len(),
            State::Ap(_) => STATE + 4,
            _ => STATE,
        })
        .sum();
    let info = &data.cid_info;
    let values: usize = info
        .values
        .iter()
        .map(|(key, value)| aligned(key.len() + value.len()) + 20)
        .sum();
    let tetraplets: usize = info
        .tetraplets
        .iter()
        .map(|(key, value)| {
            let parts = [
                value.peer_pk,
                value.service_id,
                value.function_name,
                value.lens,
            ];
            let lengths = parts.iter().map(|part| part.len());
            let outside = lengths.filter(|length| *length > INLINE);
            aligned(key.len() + outside.sum::<usize>()) + 44
        })
        .sum();
    let elements: usize = info
        .canon_elements
        .iter()
        .map(|(key, _)| aligned(key.len()) + 40)
        .sum();
    let results: usize = info
        .canon_results
        .iter()
        .map(|(key, value)| aligned(key.len()) + 28 + 8 * value.values.len())
        .sum();
    let services: usize = info
        .service_results
        .iter()
        .map(|(key, value)| {
            // A service that gives its arguments back has one hash for both.
            let hash = match value.argument_hash == value.value_cid {
                true => 0,
                false => value.argument_hash.len(),
            };
            aligned(key.len()) + aligned(hash) + 36
        })
        .sum();
    let signatures: usize = data
        .signatures
        .iter()
        .map(|(key, signature)| key.len() + signature.len() + 16)
        .sum();
    states + values + tetraplets + elements + results + services + signatures + 512
}

struct Writer {
    out: Vec<u8>,
    base: usize,
    hasher: DefaultHashBuilder,
    /// Offset and length of every shared text.
    texts: HashTable<(u32, u32)>,
    /// Offset and length of every long value text, and offset of the value that points to it.
    long_values: HashTable<(u32, u32, u32)>,
    /// Offset of every peer id's text, its length, and offset of the field that points to it.
    peers: HashTable<(u32, u32, u32)>,
}

impl Writer {
    fn data(&mut self, data: &Data<'_>) {
        let trace = self.trace(&data.trace);
        let info = &data.cid_info;
        let stores = [
            self.store(&info.values, Self::value),
            self.store(&info.tetraplets, Self::tetraplet),
            self.store(&info.canon_elements, Self::element),
            self.store(&info.canon_results, Self::canon_result),
            self.store(&info.service_results, Self::service_result),
        ];
        let mut parts = Vec::with_capacity(data.signatures.len());
        for (key, signature) in data.signatures.iter() {
            let key_at = self.raw(key);
            parts.push((key_at, key.len(), self.raw(signature), signature.len()));
        }
        self.pad();
        let signatures = self.position();
        for (key, key_len, signature, signature_len) in parts {
            self.fat(key, key_len);
            self.fat(signature, signature_len);
        }
        self.fat(trace, data.trace.len());
        self.u32(data.last_call_request_id);
        for (store, count) in stores {
            self.fat(store, count);
        }
        self.fat(signatures, data.signatures.len());
    }

    fn trace(&mut self, trace: &[State<'_>]) -> usize {
        // One offset a state: everything else is read from the state again.
        let mut parts = Vec::with_capacity(trace.len());
        for state in trace {
            parts.push(self.state_part(state) as u32);
        }
        self.pad();
        let at = self.position();
        for (state, part) in trace.iter().zip(parts) {
            self.state(state, part as usize);
        }
        at
    }

    fn state_part(&mut self, state: &State<'_>) -> usize {
        match state {
            State::Par { .. } => 0,
            State::Call(call) => match call {
                CallState::SentBy(peer_id) | CallState::SentByWithId { peer_id, .. } => {
                    self.peer(peer_id)
                }
                CallState::Scalar(cid)
                | CallState::Stream { cid, .. }
                | CallState::Unused(cid)
                | CallState::Failed(cid) => self.text(cid),
            },
            State::Fold(lore) => self.fold(lore),
            State::Ap(generations) => {
                self.pad();
                let at = self.position();
                for generation in generations.as_slice() {
                    self.u32(*generation);
                }
                at
            }
            State::CanonSentBy(peer_id) => self.peer(peer_id),
            State::Canon(cid) => self.text(cid),
        }
    }

    fn fold(&mut self, lore: &[FoldLore]) -> usize {
        let mut parts = Vec::with_capacity(lore.len());
        for element in lore {
            self.pad();
            let at = self.position();
            let mut count = 0;
            let pair;
            let subtraces = match &element.subtraces {
                Subtraces::Pair(before, after) => {
                    pair = [*before, *after];
                    &pair[..]
                }
                Subtraces::Other(subtraces) => subtraces,
            };
            for subtrace in subtraces {
                self.u32(subtrace.begin_pos);
                self.u32(subtrace.len);
                count += 1;
            }
            parts.push((at, count));
        }
        self.pad();
        let at = self.position();
        for (element, (part, count)) in lore.iter().zip(parts) {
            self.u32(element.value_pos);
            self.fat(part, count);
        }
        at
    }

    fn state(&mut self, state: &State<'_>, part: usize) {
        let at = |field| self.offset_from(field, part);
        let words: [u32; STATE / 4] = match state {
            State::Par { left, right } => [tag(0), *left, *right, 0, 0, 0],
            State::Call(call) => match call {
                CallState::SentBy(_) => [tag(1), tag(0), tag(0), at(12), 0, 0],
                CallState::SentByWithId { call_id, .. } => {
                    [tag(1), tag(0), tag(1), at(12), *call_id, 0]
                }
                CallState::Scalar(cid) => [tag(1), tag(1), tag(0), at(12), length(cid), 0],
                CallState::Stream { cid, generation } => {
                    [tag(1), tag(1), tag(1), at(12), length(cid), *generation]
                }
                CallState::Unused(cid) => [tag(1), tag(1), tag(2), at(12), length(cid), 0],
                CallState::Failed(cid) => [tag(1), tag(2), at(8), length(cid), 0, 0],
            },
            State::Fold(lore) => [tag(2), at(4), lore.len() as u32, 0, 0, 0],
            State::Ap(generations) => {
                let count = generations.as_slice().len() as u32;
                [tag(3), at(4), count, 0, 0, 0]
            }
            State::CanonSentBy(_) => [tag(4), tag(0), at(8), 0, 0, 0],
            State::Canon(cid) => [tag(4), tag(1), at(8), length(cid), 0, 0],
        };
        self.words(words);
    }

    fn store<V>(
        &mut self,
        store: &Store<'_, V>,
        write: fn(&mut Self, &V) -> usize,
    ) -> (usize, usize) {
        let sorted = store.sorted();
        let mut parts = Vec::with_capacity(store.len());
        for (key, value) in sorted.iter() {
            if self.position() > MAX_ARCHIVE {
                // To be refused at the end; what is shared in memory must not fill it here.
                break;
            }
            let key_at = self.text(key);
            parts.push((key_at as u32, write(self, value) as u32));
        }
        self.pad();
        let at = self.position();
        for ((key, _), (key_at, value_at)) in sorted.iter().zip(parts) {
            self.words([
                self.offset_from(0, key_at as usize),
                key.len() as u32,
                self.offset_from(8, value_at as usize),
            ]);
        }
        (at, store.len())
    }

    /// Long texts are written once even where several spellings of a CID lead to them, so that
    /// nobody can make the archive grow by sending it.
    fn value(&mut self, text: &&str) -> usize {
        if text.len() < LONG_VALUE {
            return self.value_of(self.position(), text);
        }
        let hash = self.hasher.hash_one(text.as_bytes());
        let Self {
            out,
            base,
            long_values,
            ..
        } = self;
        let same =
            |&(at, length, _): &(u32, u32, u32)| part(out, *base, at, length) == text.as_bytes();
        if let Some((_, _, value)) = long_values.find(hash, same) {
            return *value as usize;
        }
        let text_at = self.position();
        let value = self.value_of(text_at, text);
        let entry = (text_at as u32, text.len() as u32, value as u32);
        let Self {
            out,
            base,
            long_values,
            hasher,
            ..
        } = self;
        long_values.insert_unique(hash, entry, |&(at, length, _)| {
            hasher.hash_one(part(out, *base, at, length))
        });
        value
    }

    fn value_of(&mut self, text_at: usize, text: &str) -> usize {
        self.out.extend_from_slice(text.as_bytes());
        self.pad();
        let at = self.position();
        self.fat(text_at, text.len());
        at
    }

    fn tetraplet(&mut self, tetraplet: &Tetraplet<'_>) -> usize {
        let Tetraplet {
            peer_pk,
            service_id,
            function_name,
            lens,
        } = *tetraplet;
        let parts = [peer_pk, service_id, function_name, lens].map(|part| {
            let at = self.string_part(part);
            (part, at)
        });
        self.pad();
        let at = self.position();
        for (part, part_at) in parts {
            self.string(part, part_at);
        }
        at
    }

    fn element(&mut self, element: &CanonElement<'_>) -> usize {
        let value = self.text(element.value);
        let tetraplet = self.text(element.tetraplet);
        let (number, provenance) = match element.provenance {
            Provenance::Literal => (0, None),
            Provenance::ServiceResult(cid) => (1, Some((self.text(cid), length(cid)))),
            Provenance::Canon(cid) => (2, Some((self.text(cid), length(cid)))),
        };
        self.pad();
        let at = self.position();
        let [cid, cid_length] =
            provenance.map_or([0; 2], |(cid, length)| [self.offset_from(20, cid), length]);
        self.words([
            self.offset_from(0, value),
            length(element.value),
            self.offset_from(8, tetraplet),
            length(element.tetraplet),
            tag(number),
            cid,
            cid_length,
        ]);
        at
    }

    fn canon_result(&mut self, result: &CanonResult<'_>) -> usize {
        let tetraplet = self.text(result.tetraplet);
        let mut parts = Vec::with_capacity(result.values.len());
        for value in result.values.iter() {
            parts.push(self.text(value) as u32);
        }
        self.pad();
        let values = self.position();
        for (value, part) in result.values.iter().zip(parts) {
            self.fat(part as usize, value.len());
        }
        let at = self.position();
        self.fat(tetraplet, result.tetraplet.len());
        self.fat(values, result.values.len());
        at
    }

    fn service_result(&mut self, result: &ServiceResult<'_>) -> usize {
        let ServiceResult {
            value_cid,
            argument_hash,
            tetraplet_cid,
        } = *result;
        let parts =
            [value_cid, argument_hash, tetraplet_cid].map(|cid| (self.text(cid), cid.len()));
        self.pad();
        let at = self.position();
        for (cid, length) in parts {
            self.fat(cid, length);
        }
        at
    }

    /// Offset of a shared text, written unless an equal one was.
    fn text(&mut self, text: &str) -> usize {
        let hash = cid::hash(&self.hasher, text.as_bytes());
        let Self {
            out, base, texts, ..
        } = self;
        let same = |&(at, length): &(u32, u32)| part(out, *base, at, length) == text.as_bytes();
        if let Some((at, _)) = texts.find(hash, same) {
            return *at as usize;
        }
        let at = self.position();
        self.out.extend_from_slice(text.as_bytes());
        if text.is_empty() {
            // No two shared parts may have the same offset.
            self.out.push(0);
        }
        let Self {
            out,
            base,
            texts,
            hasher,
            ..
        } = self;
        texts.insert_unique(hash, (at as u32, text.len() as u32), |&(at, length)| {
            cid::hash(hasher, part(out, *base, at, length))
        });
        at
    }

    /// Offset of the field of a peer id, written unless an equal one was.
    fn peer(&mut self, peer_id: &str) -> usize {
        let hash = self.hasher.hash_one(peer_id.as_bytes());
        let Self {
            out, base, peers, ..
        } = self;
        let same =
            |&(at, length, _): &(u32, u32, u32)| part(out, *base, at, length) == peer_id.as_bytes();
        if let Some((_, _, field)) = peers.find(hash, same) {
            return *field as usize;
        }
        let text_at = self.string_part(peer_id);
        self.pad();
        let field = self.position();
        self.string(peer_id, text_at);
        // A short text is in the field itself.
        let text_at = if peer_id.len() > INLINE {
            text_at
        } else {
            field
        };
        let entry = (text_at as u32, peer_id.len() as u32, field as u32);
        let Self {
            out,
            base,
            peers,
            hasher,
            ..
        } = self;
        peers.insert_unique(hash, entry, |&(at, length, _)| {
            hasher.hash_one(part(out, *base, at, length))
        });
        field
    }

    fn string_part(&mut self, text: &str) -> usize {
        if text.len() > INLINE {
            self.raw(text.as_bytes())
        } else {
            0
        }
    }

    fn string(&mut self, text: &str, part: usize) {
        if text.len() > INLINE {
            let offset = self.offset(part);
            self.u32(text.len() as u32);
            self.out.extend_from_slice(&offset.to_le_bytes());
        } else {
            let end = self.out.len() + INLINE;
            self.out.extend_from_slice(text.as_bytes());
            self.out.resize(end, 0);
            self.out.push(text.len() as u8);
        }
    }

    fn raw(&mut self, bytes: &[u8]) -> usize {
        let at = self.position();
        self.out.extend_from_slice(bytes);
        at
    }

    /// Appends numbers at once.
    fn words<const N: usize>(&mut self, words: [u32; N]) {
        let mut bytes = [[0; 4]; N];
        for (to, word) in bytes.iter_mut().zip(words) {
            *to = word.to_be_bytes();
        }
        self.out.extend_from_slice(bytes.as_flattened());
    }

    fn fat(&mut self, target: usize, count: usize) {
        self.words([self.offset_from(0, target), count as u32]);
    }

    /// The offset in a field that comes `field` bytes from here.
    fn offset_from(&self, field: usize, target: usize) -> u32 {
        target.wrapping_sub(self.position() + field) as u32
    }

    /// What leads from here to `target`; wraps only where the archive is refused at the end.
    fn offset(&self, target: usize) -> i32 {
        target.wrapping_sub(self.position()) as i32
    }

    fn u32(&mut self, number: u32) {
        self.out.extend_from_slice(&number.to_be_bytes());
    }

    fn pad(&mut self) {
        let missing = self.position().wrapping_neg() % 4;
        let padding: &[u8] = &[0; 4];
        self.out
            .extend_from_slice(padding.get(..missing).unwrap_or_default());
    }

    fn position(&self) -> usize {
        self.out.len() - self.base
    }
}

/// Longest string that is written into its field.
const INLINE: usize = 7;
/// Shortest value text that is looked for among those already written.
const LONG_VALUE: usize = 1024;

/// A tag and the padding behind it.
const fn tag(tag: u8) -> u32 {
    (tag as u32) << 24
}

fn length(text: &str) -> u32 {
    text.len() as u32
}

fn part(out: &[u8], base: usize, at: u32, length: u32) -> &[u8] {
    let start = base + at as usize;
    out.get(start..start + length as usize).unwrap_or_default()
}
