//! Scalars, canon streams and canon maps: one stack of cells for every name.
//!
//! Every iteration of a fold has a scope of its own, and only the top cell of a name is looked at:
//! a value of an iteration that is under way hides the global one from the iterations inside of it
//! ("Scope tables" of the protocol description).

use crate::script::Slot;

/// What a lookup finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found<V> {
    Value(V),
    /// Cleared by `new` and not set since.
    Unset,
    /// Nothing that is visible here.
    Nothing,
}

/// A second assignment at global depth.
#[derive(Debug)]
pub(crate) struct Shadowing;

/// A scope that ended at another depth than it began.
#[derive(Debug)]
pub(crate) struct Corrupted {
    pub(crate) depth: u32,
}

#[derive(Debug)]
struct Cell<V> {
    depth: u32,
    /// Place of the cell below it, as in [`Scopes::tops`]; in a free cell, of the next free one.
    below: u32,
    value: Option<V>,
}

#[derive(Debug)]
pub(crate) struct Scopes<V> {
    depth: u32,
    /// By depth: whether values of that depth are visible.
    allowed: Vec<bool>,
    /// By name: one more than the place of its top cell, 0 for none. Scripts have many names of
    /// which a run sets few.
    tops: Vec<u32>,
    cells: Vec<Cell<V>>,
    /// The first free cell, as in `tops`.
    free: u32,
    /// By depth above 0: names that got a cell there, to be cleaned up with it.
    set_at: Vec<Vec<Slot>>,
}

impl<V> Scopes<V> {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            depth: 0,
            allowed: vec![true],
            tops: vec![0; slots],
            cells: Vec::new(),
            free: 0,
            set_at: Vec::new(),
        }
    }

    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> Found<&V> {
        match self.top(slot) {
            Some(top) if self.is_allowed(top.depth) => match &top.value {
                Some(value) => Found::Value(value),
                None => Found::Unset,
            },
            _ => Found::Nothing,
        }
    }

    /// Whether [`Scopes::set`] would succeed.
    #[inline]
    pub(crate) fn may_set(&self, slot: Slot) -> bool {
        self.depth > 0 || self.top(slot).is_none_or(|top| top.value.is_none())
    }

    #[inline]
    fn top(&self, slot: Slot) -> Option<&Cell<V>> {
        let place = self.tops.get(slot as usize)?.checked_sub(1)?;
        self.cells.get(place as usize)
    }

    #[inline]
    fn top_mut(&mut self, slot: Slot) -> Option<&mut Cell<V>> {
        let place = self.tops.get(slot as usize)?.checked_sub(1)?;
        self.cells.get_mut(place as usize)
    }

    #[inline]
    fn push(&mut self, slot: Slot, value: Option<V>) {
        let Some(top) = self.tops.get_mut(slot as usize) else {
            return;
        };
        let cell = Cell {
            depth: self.depth,
            below: *top,
            value,
        };
        let free = (self.free as usize).checked_sub(1);
        match free.and_then(|place| self.cells.get_mut(place)) {
            Some(place) => {
                *top = std::mem::replace(&mut self.free, place.below);
                *place = cell;
            }
            None => {
                self.cells.push(cell);
                *top = self.cells.len() as u32;
            }
        }
    }

    /// Removes the top cell; the depth that it had.
    #[inline]
    fn pop(&mut self, slot: Slot) -> Option<u32> {
        let top = self.tops.get_mut(slot as usize)?;
        let cell = self.cells.get_mut(top.checked_sub(1)? as usize)?;
        cell.value = None;
        self.free = std::mem::replace(top, std::mem::replace(&mut cell.below, self.free));
        Some(cell.depth)
    }

    #[inline]
    pub(crate) fn set(&mut self, slot: Slot, value: V) -> Result<(), Shadowing> {
        if !self.may_set(slot) {
            return Err(Shadowing);
        }
        let depth = self.depth;
        match self.top_mut(slot) {
            Some(top) if top.depth == depth => top.value = Some(value),
            _ => {
                self.push(slot, Some(value));
                if let Some(index) = (depth as usize).checked_sub(1) {
                    if self.set_at.len() <= index {
                        self.set_at.resize_with(index + 1, Vec::new);
                    }
                    if let Some(names) = self.set_at.get_mut(index) {
                        names.push(slot);
                    }
                }
            }
        }
        Ok(())
    }

    pub(crate) fn fold_enter(&mut self) {
        self.depth += 1;
        self.allow(self.depth, true);
    }

    pub(crate) fn next_before(&mut self) {
        self.allow(self.depth, false);
        self.depth += 1;
        self.allow(self.depth, true);
    }

    pub(crate) fn next_after(&mut self) {
        self.allow(self.depth, false);
        self.depth = self.depth.saturating_sub(1);
        self.allow(self.depth, true);
        self.cleanup();
    }

    pub(crate) fn fold_leave(&mut self) {
        self.allow(self.depth, false);
        self.depth = self.depth.saturating_sub(1);
        self.cleanup();
    }

    pub(crate) fn new_start(&mut self, slot: Slot) {
        self.push(slot, None);
    }

    pub(crate) fn new_end(&mut self, slot: Slot) -> Result<(), Corrupted> {
        let depth = self.depth;
        if self.pop(slot) == Some(depth) {
            Ok(())
        } else {
            Err(Corrupted { depth })
        }
    }

    /// Drops the cells of the scope that just ended.
    fn cleanup(&mut self) {
        let depth = self.depth;
        while let Some(names) = self.set_at.get_mut(depth as usize)
            && let Some(slot) = names.pop()
        {
            if self.top(slot).is_some_and(|top| top.depth > depth) {
                self.pop(slot);
            }
        }
    }

    #[inline]
    fn allow(&mut self, depth: u32, allowed: bool) {
        let depth = depth as usize;
        if self.allowed.len() <= depth {
            self.allowed.resize(depth + 1, false);
        }
        if let Some(place) = self.allowed.get_mut(depth) {
            *place = allowed;
        }
    }

    #[inline]
    fn is_allowed(&self, depth: u32) -> bool {
        self.allowed.get(depth as usize).copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globals_are_set_once() {
        let mut scopes = Scopes::new(1);
        assert_eq!(scopes.get(0), Found::<&u8>::Nothing);
        scopes.set(0, 1).unwrap();
        assert!(scopes.set(0, 2).is_err());
        assert_eq!(scopes.get(0), Found::Value(&1));
    }

    #[test]
    fn a_local_hides_the_global_from_inner_iterations() {
        let mut scopes = Scopes::new(1);
        scopes.set(0, 0).unwrap();
        scopes.fold_enter();
        assert_eq!(scopes.get(0), Found::Value(&0));
        scopes.set(0, 9).unwrap();
        scopes.set(0, 8).unwrap();
        scopes.next_before();
        assert_eq!(scopes.get(0), Found::Nothing);
        scopes.set(0, 7).unwrap();
        scopes.next_after();
        assert_eq!(scopes.get(0), Found::Value(&8));
        scopes.fold_leave();
        assert_eq!(scopes.get(0), Found::Value(&0));
    }

    #[test]
    fn new_clears_and_brings_back() {
        let mut scopes = Scopes::new(1);
        scopes.set(0, 1).unwrap();
        scopes.new_start(0);
        assert_eq!(scopes.get(0), Found::Unset);
        scopes.set(0, 2).unwrap();
        assert_eq!(scopes.get(0), Found::Value(&2));
        scopes.new_end(0).unwrap();
        assert_eq!(scopes.get(0), Found::Value(&1));
        assert!(scopes.new_end(0).is_ok());
        assert!(scopes.new_end(0).is_err());
    }
}
