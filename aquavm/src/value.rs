//! Values and where they came from.
//!
//! Everything is `Copy` and borrows the input buffers, the script, or the arena of the run.

use std::{borrow::Cow, cell::Cell, num::NonZero};

use hashbrown::{HashMap, hash_map::Entry};
use particle::{
    Tetraplet,
    data::{Content as _, Provenance},
    value::normalize,
};

use crate::{
    arena::Arena,
    error::{Fatal, UncatchableError},
    json,
};

/// A JSON value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Json<'x> {
    /// Canonical text.
    Text(&'x str),
    /// A value whose canonical text is made when somebody asks for it.
    Late(&'x Late<'x>),
}

/// See [`Json::Late`].
#[derive(Debug)]
pub(crate) struct Late<'x>(Cell<Source<'x>>);

/// What is known of a text.
#[derive(Clone, Copy, Debug)]
enum Source<'x> {
    /// A text of a store, canonical or not, and its CID.
    Store { text: &'x str, cid: &'x str },
    /// A text of a store that is canonical, and its CID.
    Canonical { text: &'x str, cid: &'x str },
    /// A pair of a map: canonical texts.
    Pair { key: &'x str, value: &'x str },
    /// The canonical text of a pair, how long its key is, and its CID, where that is known.
    Joined {
        text: &'x str,
        key: u32,
        cid: Option<&'x str>,
    },
    /// The canonical text.
    Text(&'x str),
}

/// A pair is written as these, with its key and its value between them.
const PAIR: [&str; 3] = ["{\"key\":", ",\"value\":", "}"];

/// A tetraplet and, once somebody asked for it, its CID.
#[derive(Debug)]
pub(crate) struct Origin<'x> {
    pub(crate) tetraplet: Tetraplet<'x>,
    cid: Cell<Option<&'x str>>,
    /// The array with this tetraplet that was iterated over last: folds within folds come back.
    elements: Cell<Option<&'x Elements<'x>>>,
}

/// The elements of an array.
#[derive(Debug)]
pub(crate) struct Elements<'x> {
    array: &'x str,
    pub(crate) texts: &'x [&'x str],
    /// Tetraplets of those elements that were asked for; empty as long as none was.
    origins: Cell<&'x [Cell<Option<&'x Origin<'x>>>]>,
}

/// A value with what is known about it: what a scalar or an element of a stream holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aggregate<'x> {
    pub(crate) value: Json<'x>,
    /// Of the value, or of the array that it is an element of.
    origin: &'x Origin<'x>,
    /// One more than its index in that array: few tetraplets of elements are ever looked at.
    item: Option<NonZero<u32>>,
    pub(crate) provenance: Provenance<'x>,
    /// Position of the state that produced it.
    pub(crate) position: u32,
}

/// What a canon stream holds.
#[derive(Debug)]
pub(crate) struct Canon<'x> {
    pub(crate) elements: &'x [Aggregate<'x>],
    /// Tetraplet of the canon result: the peer and nothing else.
    pub(crate) origin: &'x Origin<'x>,
    pub(crate) cid: &'x str,
    text: Cell<Option<&'x str>>,
}

/// What a canon map holds.
#[derive(Debug)]
pub(crate) struct CanonMap<'x> {
    /// The pairs.
    pub(crate) canon: &'x Canon<'x>,
    /// In the order of first appearance.
    keys: Vec<MapKey<'x>>,
    /// Indexes of pairs, those of one key together.
    pairs: Vec<u32>,
    index: HashMap<&'x str, u32>,
    text: Cell<Option<&'x str>>,
}

#[derive(Clone, Copy, Debug)]
struct MapKey<'x> {
    /// JSON text.
    text: &'x str,
    /// Its place among `pairs`.
    start: u32,
    end: u32,
}

impl<'x> Json<'x> {
    pub(crate) fn stored(arena: &'x Arena, cid: &'x str, text: &'x str) -> Self {
        Self::late(arena, Source::Store { text, cid })
    }

    /// The pair `{"key": …, "value": …}` of two canonical texts.
    pub(crate) fn pair(arena: &'x Arena, key: &'x str, value: &'x str) -> Self {
        Self::late(arena, Source::Pair { key, value })
    }

    #[inline]
    fn late(arena: &'x Arena, source: Source<'x>) -> Self {
        Self::Late(arena.alloc(Late(Cell::new(source))))
    }

    /// The canonical text.
    #[inline]
    pub(crate) fn text(self, arena: &'x Arena) -> Result<&'x str, Fatal> {
        let late = match self {
            Self::Text(text) => return Ok(text),
            Self::Late(late) => late,
        };
        let (text, known) = match late.0.get() {
            Source::Canonical { text, .. } | Source::Joined { text, .. } | Source::Text(text) => {
                return Ok(text);
            }
            Source::Store { text, cid } => {
                let canonical = canonical_text(arena, text).map_err(|error| {
                    UncatchableError::ValueIsNotJson {
                        cid: cid.to_owned(),
                        reason: error.to_string(),
                    }
                })?;
                let known = match std::ptr::eq(canonical, text) {
                    true => Source::Canonical { text, cid },
                    false => Source::Text(canonical),
                };
                (canonical, known)
            }
            Source::Pair { key, value } => {
                let [before, between, after] = PAIR;
                arena.room_for(key.len().saturating_add(value.len()))?;
                let text = arena.concat(&[before, key, between, value, after]);
                let (key, cid) = (key.len() as u32, None);
                (text, Source::Joined { text, key, cid })
            }
        };
        late.0.set(known);
        Ok(text)
    }

    /// Key and value of a pair, both as JSON texts.
    #[inline]
    fn key_and_value(self, arena: &'x Arena) -> Result<(&'x str, &'x str), Fatal> {
        let Self::Late(late) = self else {
            return split_pair(self.text(arena)?);
        };
        match late.0.get() {
            Source::Pair { key, value } => return Ok((key, value)),
            Source::Joined { text, key, .. } => {
                if let Some(pair) = parts_of_pair(text, key as usize) {
                    return Ok(pair);
                }
            }
            _ => {}
        }
        let text = self.text(arena)?;
        let pair = split_pair(text)?;
        let (key, cid) = (pair.0.len() as u32, self.known_cid());
        if parts_of_pair(text, key as usize) == Some(pair) {
            late.0.set(Source::Joined { text, key, cid });
        }
        Ok(pair)
    }

    /// The CID of the canonical text, where it is known.
    pub(crate) fn known_cid(self) -> Option<&'x str> {
        match self {
            Self::Late(late) => match late.0.get() {
                Source::Canonical { cid, .. } => Some(cid),
                Source::Joined { cid, .. } => cid,
                _ => None,
            },
            Self::Text(_) => None,
        }
    }
}

impl<'x> Origin<'x> {
    pub(crate) fn new(arena: &'x Arena, tetraplet: Tetraplet<'x>) -> &'x Self {
        arena.alloc(Self {
            tetraplet,
            cid: Cell::new(None),
            elements: Cell::new(None),
        })
    }

    pub(crate) fn with_cid(arena: &'x Arena, tetraplet: Tetraplet<'x>, cid: &'x str) -> &'x Self {
        arena.alloc(Self {
            tetraplet,
            cid: Cell::new(Some(cid)),
            elements: Cell::new(None),
        })
    }

    /// The CID of the tetraplet; `scratch` is overwritten and may be used again.
    pub(crate) fn cid(&self, arena: &'x Arena, scratch: &mut Vec<u8>) -> &'x str {
        if let Some(cid) = self.cid.get() {
            return cid;
        }
        let cid = arena.alloc_str(&self.tetraplet.cid(scratch));
        self.cid.set(Some(cid));
        cid
    }

    /// The elements of `array`, which has this tetraplet.
    #[inline]
    pub(crate) fn elements(&self, arena: &'x Arena, array: &'x str) -> &'x Elements<'x> {
        if let Some(elements) = self.elements.get()
            && std::ptr::eq(elements.array, array)
        {
            return elements;
        }
        let texts: Vec<&str> = json::array_items(array).collect();
        let elements = arena.alloc(Elements {
            array,
            texts: arena.alloc_slice(&texts),
            origins: Cell::new(&[]),
        });
        self.elements.set(Some(elements));
        elements
    }

    /// The tetraplet of an element of an array with this one.
    pub(crate) fn element(&self, arena: &'x Arena, index: usize) -> &'x Self {
        if let Some(origin) = self.known_element(index) {
            return origin;
        }
        let tetraplet = self.tetraplet;
        let lens = arena.concat(&[tetraplet.lens, ".$.[", &index.to_string(), "]"]);
        let origin = Self::new(arena, Tetraplet { lens, ..tetraplet });
        if let Some(elements) = self.elements.get() {
            if elements.origins.get().is_empty() {
                let places = elements.texts.iter().map(|_| Cell::new(None));
                elements.origins.set(arena.alloc_iter(places));
            }
            if let Some(place) = elements.origins.get().get(index) {
                place.set(Some(origin));
            }
        }
        origin
    }

    fn known_element(&self, index: usize) -> Option<&'x Self> {
        self.elements.get()?.origins.get().get(index)?.get()
    }
}

impl<'x> Aggregate<'x> {
    pub(crate) fn new(value: Json<'x>, origin: &'x Origin<'x>, provenance: Provenance<'x>) -> Self {
        Self {
            value,
            origin,
            item: None,
            provenance,
            position: 0,
        }
    }

    /// An element of an array that a service returned.
    #[inline]
    pub(crate) fn element(
        text: &'x str,
        array: &'x Origin<'x>,
        index: usize,
        provenance: Provenance<'x>,
    ) -> Self {
        Self {
            item: NonZero::new(index as u32 + 1),
            ..Self::new(Json::Text(text), array, provenance)
        }
    }

    /// Its tetraplet.
    #[inline]
    pub(crate) fn origin(&self, arena: &'x Arena) -> &'x Origin<'x> {
        match self.item {
            None => self.origin,
            Some(item) => self.origin.element(arena, item.get() as usize - 1),
        }
    }

    /// Keeps of the tetraplet what values of this provenance keep: a literal its peer, a canon
    /// value its peer and lens.
    #[inline]
    pub(crate) fn squeezed(
        arena: &'x Arena,
        value: Json<'x>,
        origin: &'x Origin<'x>,
        provenance: Provenance<'x>,
    ) -> Self {
        let Tetraplet {
            peer_pk,
            service_id,
            function_name,
            lens,
        } = origin.tetraplet;
        let kept = match provenance {
            Provenance::ServiceResult(_) => origin,
            Provenance::Literal
                if service_id.is_empty() && function_name.is_empty() && lens.is_empty() =>
            {
                origin
            }
            Provenance::Literal => Origin::new(arena, Tetraplet::of_peer(peer_pk)),
            Provenance::Canon(_) if service_id.is_empty() && function_name.is_empty() => origin,
            Provenance::Canon(_) => Origin::new(
                arena,
                Tetraplet {
                    lens,
                    ..Tetraplet::of_peer(peer_pk)
                },
            ),
        };
        Self::new(value, kept, provenance)
    }
}

impl<'x> Canon<'x> {
    pub(crate) fn new(elements: &'x [Aggregate<'x>], origin: &'x Origin<'x>, cid: &'x str) -> Self {
        Self {
            elements,
            origin,
            cid,
            text: Cell::new(None),
        }
    }

    pub(crate) fn peer(&self) -> &'x str {
        self.origin.tetraplet.peer_pk
    }

    /// The elements as a JSON array.
    #[inline]
    pub(crate) fn text(&self, arena: &'x Arena) -> Result<&'x str, Fatal> {
        if let Some(text) = self.text.get() {
            return Ok(text);
        }
        let mut length = 2_usize;
        for element in self.elements {
            length = length.saturating_add(element.value.text(arena)?.len() + 1);
        }
        arena.room_for(length)?;
        let mut text = String::with_capacity(length);
        text.push('[');
        for (index, element) in self.elements.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(element.value.text(arena)?);
        }
        text.push(']');
        let text = arena.alloc_str(&text);
        self.text.set(Some(text));
        Ok(text)
    }
}

impl<'x> CanonMap<'x> {
    /// Splits the pairs.
    pub(crate) fn new(arena: &'x Arena, canon: &'x Canon<'x>) -> Result<Self, Fatal> {
        let mut keys: Vec<MapKey<'x>> = Vec::new();
        let mut index: HashMap<&'x str, u32> = HashMap::new();
        let mut key_of = Vec::with_capacity(canon.elements.len());
        for element in canon.elements {
            let (text, _) = element.value.key_and_value(arena)?;
            let entry = *index.entry(text).or_insert_with(|| {
                let (start, end) = (0, 0);
                keys.push(MapKey { text, start, end });
                keys.len() as u32 - 1
            });
            if let Some(key) = keys.get_mut(entry as usize) {
                key.end += 1;
            }
            key_of.push(entry);
        }
        // `end` has the number of pairs; it becomes the place of the next one.
        let mut start = 0;
        for key in &mut keys {
            let count = std::mem::replace(&mut key.end, start);
            key.start = start;
            start += count;
        }
        let mut pairs = vec![0; key_of.len()];
        for (position, entry) in (0_u32..).zip(key_of) {
            if let Some(key) = keys.get_mut(entry as usize)
                && let Some(place) = pairs.get_mut(key.end as usize)
            {
                *place = position;
                key.end += 1;
            }
        }
        Ok(Self {
            canon,
            keys,
            pairs,
            index,
            text: Cell::new(None),
        })
    }

    /// The pairs of a key (its JSON text), in the order of the canon.
    pub(crate) fn pairs(&self, key: &str) -> &[u32] {
        let entry = self.index.get(key).copied();
        entry
            .and_then(|entry| self.keys.get(entry as usize))
            .map_or(&[], |key| self.pairs_of(*key))
    }

    fn pairs_of(&self, key: MapKey<'x>) -> &[u32] {
        self.pairs
            .get(key.start as usize..key.end as usize)
            .unwrap_or_default()
    }

    /// A pair's value.
    pub(crate) fn value(&self, arena: &'x Arena, position: u32) -> Result<Option<&'x str>, Fatal> {
        let Some(element) = self.canon.elements.get(position as usize) else {
            return Ok(None);
        };
        let (_, value) = element.value.key_and_value(arena)?;
        Ok(Some(value))
    }

    /// The values of a key as a JSON array.
    pub(crate) fn values_text(&self, arena: &'x Arena, key: &str) -> Result<&'x str, Fatal> {
        let mut text = String::new();
        self.push_values(arena, &mut text, self.pairs(key))?;
        Ok(arena.alloc_str(&text))
    }

    /// The last pair of each key, in the order of these pairs.
    pub(crate) fn last_pairs(&self) -> Vec<u32> {
        let mut last: Vec<u32> = self
            .keys
            .iter()
            .filter_map(|key| self.pairs_of(*key).last().copied())
            .collect();
        last.sort_unstable();
        last
    }

    /// The map as a JSON object: key to the array of its values.
    #[inline]
    pub(crate) fn text(&self, arena: &'x Arena) -> Result<&'x str, Fatal> {
        if let Some(text) = self.text.get() {
            return Ok(text);
        }
        let mut fields: Vec<(&'x str, &[u32])> = Vec::with_capacity(self.keys.len());
        let mut seen: HashMap<&'x str, usize> = HashMap::new();
        for key in &self.keys {
            let positions = self.pairs_of(*key);
            let name = field_name(arena, key.text);
            // `42` and `"42"` are two keys of the map but one of the object: the later key stays
            // (in the scalar form it is the first value).
            match seen.entry(name) {
                Entry::Occupied(place) => {
                    if let Some(field) = fields.get_mut(*place.get()) {
                        field.1 = positions;
                    }
                }
                Entry::Vacant(place) => {
                    place.insert(fields.len());
                    fields.push((name, positions));
                }
            }
        }
        sort_fields(&mut fields);
        let mut text = "{".to_owned();
        for (index, (name, positions)) in fields.into_iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(name);
            text.push(':');
            self.push_values(arena, &mut text, positions)?;
        }
        text.push('}');
        let text = arena.alloc_str(&text);
        self.text.set(Some(text));
        Ok(text)
    }

    fn push_values(
        &self,
        arena: &'x Arena,
        text: &mut String,
        positions: &[u32],
    ) -> Result<(), Fatal> {
        text.push('[');
        for (index, &position) in positions.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            let value = self.value(arena, position)?.unwrap_or("null");
            arena.room_for(text.len().saturating_add(value.len()))?;
            text.push_str(value);
        }
        text.push(']');
        Ok(())
    }
}

/// The scalar form of a map: key to the first of its values.
pub(crate) fn map_to_object<'x>(
    arena: &'x Arena,
    pairs: impl Iterator<Item = Aggregate<'x>>,
) -> Result<&'x str, Fatal> {
    let mut fields: Vec<(&'x str, &'x str)> = Vec::new();
    let mut seen: hashbrown::HashSet<&'x str> = hashbrown::HashSet::new();
    for pair in pairs {
        let (key, value) = pair.value.key_and_value(arena)?;
        let name = field_name(arena, key);
        if seen.insert(name) {
            fields.push((name, value));
        }
    }
    sort_fields(&mut fields);
    let length = fields
        .iter()
        .map(|(name, value)| name.len() + value.len() + 2);
    let length = length.sum::<usize>() + 2;
    arena.room_for(length)?;
    let mut text = String::with_capacity(length);
    text.push('{');
    for (index, (name, value)) in fields.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(name);
        text.push(':');
        text.push_str(value);
    }
    text.push('}');
    Ok(arena.alloc_str(&text))
}

/// Whether a JSON text can be a key of a map: a string or an integer.
pub(crate) fn is_map_key(text: &str) -> bool {
    match json::kind(text) {
        json::Kind::String => true,
        json::Kind::Number => !text.contains(['.', 'e', 'E']),
        _ => false,
    }
}

/// The canonical form of a JSON text: the text itself where it is canonical.
pub(crate) fn canonical_text<'x>(
    arena: &'x Arena,
    text: &'x str,
) -> Result<&'x str, serde_json::Error> {
    Ok(match normalize(text)? {
        Cow::Borrowed(text) => text,
        Cow::Owned(text) => arena.alloc_str(&text),
    })
}

/// A number as text.
pub(crate) fn number_text(arena: &Arena, number: usize) -> &str {
    arena.alloc_str(&number.to_string())
}

/// Key and value of a pair as [`PAIR`] has it, by the length of the key.
fn parts_of_pair(text: &str, key: usize) -> Option<(&str, &str)> {
    let [before, between, after] = PAIR.map(str::len);
    let (key, rest) = text.get(before..)?.split_at_checked(key)?;
    let value = rest.get(between..rest.len().checked_sub(after)?)?;
    Some((key, value))
}

/// Key and value of a pair, both as JSON texts.
fn split_pair(text: &str) -> Result<(&str, &str), Fatal> {
    if let Some(pair) = json::written_pair(text).filter(|(key, _)| is_map_key(key)) {
        return Ok(pair);
    }
    let message = |message| UncatchableError::StreamMapKey { message };
    let (mut key, mut value) = (None, None);
    if json::kind(text) == json::Kind::Object {
        for (name, field) in json::object_entries(text) {
            match name {
                "\"key\"" => key = Some(field),
                "\"value\"" => value = Some(field),
                _ => {}
            }
        }
    }
    let key = key
        .filter(|key| is_map_key(key))
        .ok_or_else(|| message("unsupported kvpair object or map key type"))?;
    let value = value.ok_or_else(|| message("there must be a \"value\" field in kvpair object"))?;
    Ok((key, value))
}

/// The name of the field that a key becomes, as a JSON string.
fn field_name<'x>(arena: &'x Arena, key: &'x str) -> &'x str {
    if key.starts_with('"') {
        return key;
    }
    arena.concat(&["\"", key, "\""])
}

/// Sorts by the bytes of the names that the JSON strings denote.
fn sort_fields<T>(fields: &mut [(&str, T)]) {
    if fields.iter().any(|(name, _)| name.contains('\\')) {
        fields.sort_by_cached_key(|(name, _)| json::unescape(name).into_owned());
    } else {
        // The closing quote would sort a prefix behind its extensions.
        fields
            .sort_by(|(left, _), (right, _)| left.strip_suffix('"').cmp(&right.strip_suffix('"')));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair<'x>(arena: &'x Arena, text: &'x str) -> Aggregate<'x> {
        let origin = Origin::new(arena, Tetraplet::of_peer("A"));
        Aggregate::new(Json::Text(text), origin, Provenance::Literal)
    }

    #[test]
    fn maps_become_objects() {
        let arena = Arena::new();
        let pairs: Vec<_> = [
            r#"{"key":"a","value":1}"#,
            r#"{"key":42,"value":"x"}"#,
            r#"{"key":"a","value":2}"#,
            r#"{"key":"42","value":"y"}"#,
            r#"{"key":"a!","value":3}"#,
        ]
        .into_iter()
        .map(|text| pair(&arena, text))
        .collect();
        assert_eq!(
            map_to_object(&arena, pairs.iter().copied()).unwrap(),
            r#"{"42":"x","a":1,"a!":3}"#
        );
        let origin = Origin::new(&arena, Tetraplet::of_peer("A"));
        let canon = arena.alloc(Canon::new(arena.alloc_slice(&pairs), origin, ""));
        let map = CanonMap::new(&arena, canon).unwrap();
        assert_eq!(
            map.text(&arena).unwrap(),
            r#"{"42":["y"],"a":[1,2],"a!":[3]}"#
        );
        assert_eq!(map.values_text(&arena, "\"a\"").unwrap(), "[1,2]");
        assert_eq!(map.values_text(&arena, "42").unwrap(), r#"["x"]"#);
        assert_eq!(map.values_text(&arena, "\"no\"").unwrap(), "[]");
        assert_eq!(map.last_pairs(), [1, 2, 3, 4]);
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        let arena = Arena::new();
        for text in [
            "1",
            r#"{"value":1}"#,
            r#"{"key":1.5,"value":1}"#,
            r#"{"key":"k"}"#,
        ] {
            assert!(map_to_object(&arena, [pair(&arena, text)].into_iter()).is_err());
        }
    }

    #[test]
    fn literals_lose_their_lens() {
        let arena = Arena::new();
        let tetraplet = Tetraplet {
            peer_pk: "A",
            service_id: "s",
            function_name: "f",
            lens: ".$.x",
        };
        let origin = Origin::new(&arena, tetraplet);
        let kept = |provenance| {
            Aggregate::squeezed(&arena, Json::Text("1"), origin, provenance)
                .origin
                .tetraplet
        };
        assert_eq!(kept(Provenance::Literal), Tetraplet::of_peer("A"));
        assert_eq!(kept(Provenance::ServiceResult("cid")), tetraplet);
        let canon = kept(Provenance::Canon("cid"));
        assert_eq!((canon.service_id, canon.lens), ("", ".$.x"));
    }
}
