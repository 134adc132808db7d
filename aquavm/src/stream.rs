//! Streams and stream maps.

use particle::merge::{Merge, MergeError, Source};

use crate::{
    script::{Program, Slot, StreamRef},
    value::Aggregate,
};

/// A stream got too many values.
#[derive(Debug)]
pub(crate) struct TooLarge;

/// The values of a stream: those of the previous data, of the current data, and of this run, each
/// in generations.
#[derive(Debug, Default)]
pub(crate) struct Stream<'x> {
    previous: Generations<'x>,
    current: Generations<'x>,
    new: Vec<Vec<Aggregate<'x>>>,
    size: usize,
}

/// Generations by number. Empty ones take no room but count.
#[derive(Debug, Default)]
struct Generations<'x> {
    filled: Vec<(u32, Vec<Aggregate<'x>>)>,
}

/// How many generations a fold has seen.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    previous: usize,
    current: usize,
    new: usize,
}

impl<'x> Stream<'x> {
    /// Adds a value: one that was found, with its generation and whose it is, or a fresh one. With
    /// it there may be at most `limit` values.
    #[inline]
    pub(crate) fn add(
        &mut self,
        value: Aggregate<'x>,
        found: Option<(u32, Source)>,
        limit: usize,
    ) -> Result<(), TooLarge> {
        match found {
            Some((generation, Source::Previous)) => self.previous.add(generation, value),
            Some((generation, Source::Current)) => self.current.add(generation, value),
            None => match self.new.last_mut() {
                Some(generation) => generation.push(value),
                None => self.new.push(vec![value]),
            },
        }
        self.size += 1;
        if self.size > limit {
            return Err(TooLarge);
        }
        Ok(())
    }

    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        self.size
    }

    /// All values in the order of the stream.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Aggregate<'x>> {
        self.previous
            .iter()
            .chain(self.current.iter())
            .chain(self.new.iter())
            .flatten()
    }

    /// The generations that a fold starts with.
    pub(crate) fn fold_start(&mut self) -> (Vec<Vec<Aggregate<'x>>>, Cursor) {
        let slices = self.slices(&Cursor::default());
        let cursor = self.cursor();
        if !slices.is_empty() {
            self.new.push(Vec::new());
        }
        (slices, cursor)
    }

    /// The generations that appeared while the fold visited the last ones.
    pub(crate) fn after_round(&mut self, cursor: &mut Cursor) -> Vec<Vec<Aggregate<'x>>> {
        let slices = self.slices(cursor);
        self.new.pop_if(|generation| generation.is_empty());
        *cursor = self.cursor();
        self.new.push(Vec::new());
        slices
    }

    /// Numbers the generations: the previous ones from 0, then the current, then the new ones.
    pub(crate) fn compactify(self, merge: &mut Merge<'_, '_>) -> Result<(), Box<MergeError>> {
        let generations = self
            .previous
            .iter()
            .chain(self.current.iter())
            .chain(self.new.iter())
            .filter(|generation| !generation.is_empty());
        for (number, generation) in (0_u32..).zip(generations) {
            for value in generation {
                merge.set_generation(value.position, number)?;
            }
        }
        Ok(())
    }

    fn cursor(&self) -> Cursor {
        Cursor {
            previous: self.previous.count(),
            current: self.current.count(),
            new: self.new.len(),
        }
    }

    /// The cursor counts empty generations, what it skips are not empty ones: so it is defined.
    fn slices(&self, cursor: &Cursor) -> Vec<Vec<Aggregate<'x>>> {
        let new = self.new.iter().filter(|generation| !generation.is_empty());
        self.previous
            .iter()
            .skip(cursor.previous)
            .chain(self.current.iter().skip(cursor.current))
            .chain(new.skip(cursor.new))
            .cloned()
            .collect()
    }
}

impl<'x> Generations<'x> {
    #[inline]
    fn add(&mut self, generation: u32, value: Aggregate<'x>) {
        match self
            .filled
            .binary_search_by_key(&generation, |(number, _)| *number)
        {
            Ok(place) => {
                if let Some((_, values)) = self.filled.get_mut(place) {
                    values.push(value);
                }
            }
            Err(place) => self.filled.insert(place, (generation, vec![value])),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Vec<Aggregate<'x>>> {
        self.filled.iter().map(|(_, values)| values)
    }

    /// Number of generations, empty ones included.
    fn count(&self) -> usize {
        self.filled
            .last()
            .map_or(0, |(number, _)| *number as usize + 1)
    }
}

/// All streams of a run, by name: those of the open scopes, innermost last.
#[derive(Debug)]
pub(crate) struct Streams<'x> {
    /// As far as names of streams were met.
    by_name: Vec<Vec<Entry<'x>>>,
    /// By scope other than the global one: one more than the index of its latest entry among those
    /// of its name; 0 for none.
    latest: Vec<u32>,
}

#[derive(Debug)]
struct Entry<'x> {
    scope: u32,
    /// What `latest` said before this entry.
    before: u32,
    stream: Stream<'x>,
}

impl<'x> Streams<'x> {
    pub(crate) fn new(program: &Program<'_>) -> Self {
        Self {
            by_name: Vec::new(),
            latest: vec![0; program.scopes()],
        }
    }

    /// The stream of that name in the innermost scope around the place.
    #[inline]
    pub(crate) fn get(&self, program: &Program<'_>, stream: StreamRef) -> Option<&Stream<'x>> {
        let index = self.find(program, stream)?;
        let entries = self.by_name.get(stream.slot as usize)?;
        entries.get(index).map(|entry| &entry.stream)
    }

    #[inline]
    pub(crate) fn get_mut(
        &mut self,
        program: &Program<'_>,
        stream: StreamRef,
    ) -> Option<&mut Stream<'x>> {
        let index = self.find(program, stream)?;
        let entries = self.by_name.get_mut(stream.slot as usize)?;
        entries.get_mut(index).map(|entry| &mut entry.stream)
    }

    /// Like [`Streams::get_mut`], but makes the global stream where there is none.
    #[inline]
    pub(crate) fn get_or_create(
        &mut self,
        program: &Program<'_>,
        stream: StreamRef,
    ) -> Option<&mut Stream<'x>> {
        let index = self.find(program, stream).unwrap_or_else(|| {
            // A scope of the same name that an outer iteration of a fold has open is lost by this:
            // peers agree on what follows from it.
            let entries = self.by_name.get_mut(stream.slot as usize);
            for entry in entries.into_iter().flat_map(|entries| entries.drain(..)) {
                if let Some(latest) = self.latest.get_mut(entry.scope as usize) {
                    *latest = 0;
                }
            }
            self.open(stream.slot, 0);
            0
        });
        let entries = self.by_name.get_mut(stream.slot as usize)?;
        entries.get_mut(index).map(|entry| &mut entry.stream)
    }

    /// Opens the scope of a `new`.
    pub(crate) fn open(&mut self, slot: Slot, scope: u32) {
        let slot = slot as usize;
        if self.by_name.len() <= slot {
            self.by_name.resize_with(slot + 1, Vec::new);
        }
        let Some(entries) = self.by_name.get_mut(slot) else {
            return;
        };
        let mut before = 0;
        if let Some(latest) = self.latest.get_mut(scope as usize)
            && scope != 0
        {
            before = *latest;
            *latest = entries.len() as u32 + 1;
        }
        entries.push(Entry {
            scope,
            before,
            stream: Stream::default(),
        });
    }

    /// Closes the scope of a `new`.
    pub(crate) fn close(&mut self, slot: Slot) -> Option<Stream<'x>> {
        let entry = self.by_name.get_mut(slot as usize)?.pop()?;
        if let Some(latest) = self.latest.get_mut(entry.scope as usize) {
            *latest = entry.before;
        }
        Some(entry.stream)
    }

    /// The stream of that name in the innermost scope that is open.
    pub(crate) fn innermost(&self, slot: Slot) -> Option<&Stream<'x>> {
        let entry = self.by_name.get(slot as usize)?.last()?;
        Some(&entry.stream)
    }

    /// All streams that are left.
    pub(crate) fn into_all(self) -> impl Iterator<Item = Stream<'x>> {
        self.by_name.into_iter().flatten().map(|entry| entry.stream)
    }

    #[inline]
    fn find(&self, program: &Program<'_>, stream: StreamRef) -> Option<usize> {
        let entries = self.by_name.get(stream.slot as usize)?;
        let mut scope = stream.scope;
        while scope != 0 {
            if let Some(index) = self.latest.get(scope as usize)?.checked_sub(1) {
                return Some(index as usize);
            }
            scope = program.scope_parent(scope);
        }
        // The global stream is the oldest.
        (entries.first()?.scope == 0).then_some(0)
    }
}

#[cfg(test)]
mod tests {
    use particle::{Tetraplet, data::Provenance};

    use super::*;
    use crate::{
        arena::Arena,
        value::{Json, Origin},
    };

    fn value<'x>(arena: &'x Arena, text: &'x str) -> Aggregate<'x> {
        let origin = Origin::new(arena, Tetraplet::of_peer("A"));
        Aggregate::new(Json::Text(text), origin, Provenance::Literal)
    }

    fn texts(stream: &Stream<'_>) -> Vec<String> {
        stream
            .values()
            .map(|value| match value.value {
                Json::Text(text) => text.to_owned(),
                Json::Late(_) => String::new(),
            })
            .collect()
    }

    #[test]
    fn values_are_ordered_by_origin_and_generation() {
        let arena = Arena::new();
        let mut stream = Stream::default();
        for (text, found) in [
            ("new", None),
            ("current", Some((0, Source::Current))),
            ("previous 5", Some((5, Source::Previous))),
            ("previous 1", Some((1, Source::Previous))),
            ("previous 1b", Some((1, Source::Previous))),
        ] {
            stream.add(value(&arena, text), found, 9).unwrap();
        }
        assert_eq!(
            texts(&stream),
            ["previous 1", "previous 1b", "previous 5", "current", "new"]
        );
        let (slices, _) = stream.fold_start();
        assert_eq!(slices.len(), 4);
    }

    #[test]
    fn values_of_a_round_come_in_the_next_one() {
        let arena = Arena::new();
        let mut stream = Stream::default();
        stream.add(value(&arena, "1"), None, 9).unwrap();
        let (slices, mut cursor) = stream.fold_start();
        assert_eq!(slices.len(), 1);
        stream.add(value(&arena, "2"), None, 9).unwrap();
        stream.add(value(&arena, "3"), None, 9).unwrap();
        let slices = stream.after_round(&mut cursor);
        assert_eq!(slices.iter().map(Vec::len).collect::<Vec<_>>(), [2]);
        assert!(stream.after_round(&mut cursor).is_empty());
    }

    #[test]
    fn a_stream_holds_no_more_than_its_limit() {
        let arena = Arena::new();
        let mut stream = Stream::default();
        for _ in 0..3 {
            stream.add(value(&arena, "1"), None, 3).unwrap();
        }
        assert!(stream.add(value(&arena, "1"), None, 3).is_err());
    }
}
