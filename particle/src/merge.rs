//! Merging two traces while a script is executed.
//!
//! A script is executed once over the trace that a peer stored (*previous*) and the trace that
//! arrived (*current*). Every instruction that leaves a state takes the next state of either trace,
//! merges the two and appends one state to the result ("Merge of prev and current data" in the
//! protocol description). [`Merge`] keeps a slider over each trace, the
//! positions at which values were found, and the bookkeeping of the `par` and `fold` instructions
//! that are being executed. The executor tells it when an instruction starts and ends.
//!
//! All positions are checked: a trace that claims impossible sizes gives an error, never a panic.

mod error;
mod fold;
mod slider;

pub use error::{MergeError, Side, dump_value};

use crate::data::{CallState, FoldLore, Generations, State, StateKind};
use error::DumpState;
use fold::Fold;
use slider::{Slider, Window};

/// Generation of a value that was made in this run, until its stream is numbered.
pub const UNNUMBERED: u32 = 0xCAFE_BABE;

/// Where a state was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the previous data, or in both.
    Previous,
    /// In the current data only.
    Current,
}

/// A state that was found, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met<T> {
    /// The merged state.
    pub state: T,
    /// Whose it is.
    pub source: Source,
}

/// State of a canon instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanonState<'a> {
    /// This peer forwarded the particle to the peer that is to canonicalise.
    SentBy(&'a str),
    /// The canon result with this CID was made.
    Executed(&'a str),
}

/// Two traces, what was read of them, and the trace that grows from them. It refers to their texts
/// (`'a`) only, so it may outlive them (`'t`).
#[derive(Debug)]
pub struct Merge<'t, 'a> {
    previous: Input<'t, 'a>,
    current: Input<'t, 'a>,
    result: Vec<State<'a>>,
    pars: Vec<Par>,
    folds: Vec<Fold>,
}

/// One of the two traces.
#[derive(Debug)]
struct Input<'t, 'a> {
    trace: &'t [State<'a>],
    slider: Slider,
    /// Only folds of the trace ask for positions, so without any there are none.
    positions: Option<Positions>,
}

/// A `par` that is being executed.
#[derive(Debug)]
struct Par {
    position: u32,
    left: u32,
    previous: ParWindows,
    current: ParWindows,
}

#[derive(Clone, Copy, Debug)]
struct ParWindows {
    right_len: u32,
    after_left: Window,
    after_right: Window,
}

impl<'t, 'a> Merge<'t, 'a> {
    /// Starts at the beginning of both traces.
    #[must_use]
    pub fn new(previous: &'t [State<'a>], current: &'t [State<'a>]) -> Self {
        Self {
            previous: Input::new(previous),
            current: Input::new(current),
            result: Vec::new(),
            pars: Vec::new(),
            folds: Vec::new(),
        }
    }

    /// Number of states of the result so far: the position of the next one.
    #[must_use]
    #[inline]
    pub fn position(&self) -> u32 {
        self.result.len() as u32
    }

    /// The result so far.
    #[must_use]
    pub fn trace(&self) -> &[State<'a>] {
        &self.result
    }

    /// The result.
    #[must_use]
    pub fn into_trace(self) -> Vec<State<'a>> {
        self.result
    }

    /// The trace of the current data.
    #[must_use]
    pub fn current_trace(&self) -> &'t [State<'a>] {
        self.current.trace
    }

    /// Position of the state of the current trace that the next instruction takes.
    #[must_use]
    #[inline]
    pub fn next_in_current(&self) -> Option<u32> {
        self.current.slider.peek()
    }

    /// Appends a state.
    #[inline]
    pub fn push(&mut self, state: State<'a>) {
        if self.result.is_empty() {
            // The result is seldom shorter, but a script may do nothing.
            let states = self.previous.trace.len().max(self.current.trace.len());
            self.result.reserve_exact(states);
        }
        self.result.push(state);
    }

    /// Numbers the value that was made or found at `position` of the result.
    ///
    /// # Errors
    /// There is no state at that position, or none with a generation.
    #[inline]
    pub fn set_generation(&mut self, position: u32, number: u32) -> Result<(), Box<MergeError>> {
        match self.result.get_mut(position as usize) {
            Some(State::Ap(generations @ Generations::One(_))) => {
                *generations = Generations::One(number);
                Ok(())
            }
            Some(State::Call(CallState::Stream { generation, .. })) => {
                *generation = number;
                Ok(())
            }
            Some(state) => Err(MergeError::NoGeneration {
                state: DumpState(state).to_string(),
                position,
            }
            .into()),
            None => Err(MergeError::InvalidPosition { position }.into()),
        }
    }

    /// A call takes its states.
    ///
    /// # Errors
    /// The states are no states of calls, or contradict each other.
    #[inline]
    pub fn call_start(&mut self) -> Result<Option<Met<CallState<'a>>>, Box<MergeError>> {
        let (previous, current) = self.take();
        let met = match (previous, current) {
            (None, None) => return Ok(None),
            (Some(At(State::Call(state), at)), None) => {
                self.previous.found(self.result.len(), at);
                met(*state, Source::Previous)
            }
            (None, Some(At(State::Call(state), at))) => {
                self.current.found(self.result.len(), at);
                met(*state, Source::Current)
            }
            (
                Some(At(State::Call(previous), previous_at)),
                Some(At(State::Call(current), current_at)),
            ) => {
                let scheme = merge_calls(previous, current)?;
                let state = match scheme {
                    Scheme::Current => *current,
                    Scheme::Previous | Scheme::Both => *previous,
                };
                let new = self.result.len();
                if scheme != Scheme::Current {
                    self.previous.found(new, previous_at);
                }
                if scheme != Scheme::Previous {
                    self.current.found(new, current_at);
                }
                let source = match scheme {
                    Scheme::Current => Source::Current,
                    Scheme::Previous | Scheme::Both => Source::Previous,
                };
                met(state, source)
            }
            (previous, current) => return Err(unexpected(previous, current, StateKind::Call)),
        };
        if let CallState::Stream { generation, .. } = met.state {
            self.check_generation(generation, met.source)?;
        }
        Ok(Some(met))
    }

    /// An `ap` into a stream or a map takes its states; the value is the generation.
    ///
    /// # Errors
    /// The states are no states of `ap`, or have no usable generation.
    #[inline]
    pub fn ap_start(&mut self) -> Result<Option<Met<u32>>, Box<MergeError>> {
        let (previous, current) = self.take();
        let (generations, source) = match (&previous, &current) {
            (None, None) => return Ok(None),
            (Some(At(State::Ap(generations), _)), None | Some(At(State::Ap(_), _))) => {
                (generations, Source::Previous)
            }
            (None, Some(At(State::Ap(generations), _))) => (generations, Source::Current),
            _ => return Err(unexpected(previous, current, StateKind::Ap)),
        };
        let Generations::One(generation) = *generations else {
            return Err(MergeError::GenerationCount {
                generations: generations.as_slice().to_vec(),
            }
            .into());
        };
        let new = self.result.len();
        let (previous, current) = (previous.map(|found| found.1), current.map(|found| found.1));
        if let Some(at) = previous {
            self.previous.found(new, at);
        }
        if let Some(at) = current {
            self.current.found(new, at);
        }
        self.check_generation(generation, source)?;
        Ok(Some(met(generation, source)))
    }

    /// A canon takes its states.
    ///
    /// # Errors
    /// The states are no states of canon, or name two results.
    #[inline]
    pub fn canon_start(&mut self) -> Result<Option<CanonState<'a>>, Box<MergeError>> {
        let (previous, current) = self.take();
        let canon = |found: &At<'t, 'a>| match found.0 {
            State::CanonSentBy(peer) => Some(CanonState::SentBy(peer)),
            State::Canon(cid) => Some(CanonState::Executed(cid)),
            _ => None,
        };
        match (&previous, &current) {
            (None, None) => return Ok(None),
            (Some(found), None) | (None, Some(found)) => {
                if let Some(state) = canon(found) {
                    return Ok(Some(state));
                }
            }
            (Some(left), Some(right)) => {
                if let (Some(left), Some(right)) = (canon(left), canon(right)) {
                    return match (left, right) {
                        (CanonState::SentBy(_), CanonState::Executed(_)) => Ok(Some(right)),
                        (CanonState::Executed(one), CanonState::Executed(other))
                            if one != other =>
                        {
                            Err(MergeError::CanonsDiffer {
                                previous: one.to_owned(),
                                current: other.to_owned(),
                            }
                            .into())
                        }
                        _ => Ok(Some(left)),
                    };
                }
            }
        }
        Err(unexpected(previous, current, StateKind::Canon))
    }

    /// A `par` takes its states and reserves its own; its left branch follows.
    ///
    /// # Errors
    /// The states are no states of `par`, or their sizes exceed what is left.
    #[inline]
    pub fn par_start(&mut self) -> Result<(), Box<MergeError>> {
        let (previous, current) = self.take();
        let sizes = |found: &Option<At<'t, 'a>>| match found {
            None => Some((0, 0)),
            Some(At(State::Par { left, right }, _)) => Some((*left, *right)),
            Some(_) => None,
        };
        let (Some(previous), Some(current)) = (sizes(&previous), sizes(&current)) else {
            return Err(unexpected(previous, current, StateKind::Par));
        };
        let par = Par {
            position: self.position(),
            left: 0,
            previous: ParWindows::new(previous, &self.previous.slider, Side::Previous)?,
            current: ParWindows::new(current, &self.current.slider, Side::Current)?,
        };
        self.push(State::Par { left: 0, right: 0 });
        self.previous.slider.set_len(previous.0)?;
        self.current.slider.set_len(current.0)?;
        self.pars.push(par);
        Ok(())
    }

    /// The left branch of the innermost `par` ended; the right one follows.
    ///
    /// # Errors
    /// A position lies outside of its trace.
    #[inline]
    pub fn par_left_end(&mut self) -> Result<(), Box<MergeError>> {
        let position = self.position();
        let par = self.pars.last_mut().ok_or_else(no_par)?;
        par.left = position.saturating_sub(par.position).saturating_sub(1);
        for (slider, windows) in [
            (&mut self.previous.slider, par.previous),
            (&mut self.current.slider, par.current),
        ] {
            slider.try_set(windows.after_left);
            slider.try_set_len(windows.right_len)?;
        }
        Ok(())
    }

    /// The right branch of the innermost `par` ended.
    ///
    /// # Errors
    /// No `par` is being executed.
    #[inline]
    pub fn par_end(&mut self) -> Result<(), Box<MergeError>> {
        let position = self.position();
        let par = self.pars.pop().ok_or_else(no_par)?;
        let right = position
            .saturating_sub(par.position)
            .saturating_sub(1)
            .saturating_sub(par.left);
        if let Some(state) = self.result.get_mut(par.position as usize) {
            *state = State::Par {
                left: par.left,
                right,
            };
        }
        self.previous.slider.try_set(par.previous.after_right);
        self.current.slider.try_set(par.current.after_right);
        Ok(())
    }

    /// A fold over a stream takes its states and reserves its own.
    ///
    /// # Errors
    /// The states are no states of `fold`, or what they describe does not fit their traces.
    pub fn fold_start(&mut self) -> Result<(), Box<MergeError>> {
        let (previous, current) = self.take();
        let lore = |found: &Option<At<'t, 'a>>| match found {
            None => Some(None),
            Some(At(State::Fold(_), at)) => Some(Some(*at)),
            Some(_) => None,
        };
        let (Some(previous), Some(current)) = (lore(&previous), lore(&current)) else {
            return Err(unexpected(previous, current, StateKind::Fold));
        };
        let fold = Fold::new(
            self.position(),
            self.previous.resolve(previous, Side::Previous)?,
            self.current.resolve(current, Side::Current)?,
        );
        self.push(State::Fold(Box::new([])));
        self.folds.push(fold);
        Ok(())
    }

    /// An iteration of the fold with this number starts on the value at `value_pos` of the result.
    ///
    /// Folds that are being executed are numbered from 0, outermost first.
    ///
    /// # Errors
    /// The data describe states outside of their trace.
    pub fn iteration_start(&mut self, fold: usize, value_pos: u32) -> Result<(), Box<MergeError>> {
        let position = self.position();
        let fold = self.folds.get_mut(fold).ok_or_else(no_fold)?;
        let previous = self.previous.position_of(value_pos);
        let current = self.current.position_of(value_pos);
        let windows = fold.iteration_start(position, value_pos, previous, current);
        self.apply(windows)
    }

    /// `next` was reached in the current iteration of the fold.
    ///
    /// # Errors
    /// There is no such fold.
    pub fn iteration_end(&mut self, fold: usize) -> Result<(), Box<MergeError>> {
        let position = self.position();
        let fold = self.folds.get_mut(fold).ok_or_else(no_fold)?;
        fold.iteration_end(position);
        Ok(())
    }

    /// The fold goes back: from the last value to its last instruction, later to the part after
    /// `next` of an enclosing iteration.
    ///
    /// # Errors
    /// The data describe states outside of their trace.
    pub fn back(&mut self, fold: usize) -> Result<(), Box<MergeError>> {
        let position = self.position();
        let fold = self.folds.get_mut(fold).ok_or_else(no_fold)?;
        let windows = fold.back(position);
        self.apply(windows)
    }

    /// All iterations over one generation ended, or one of them failed.
    ///
    /// # Errors
    /// There is no such fold.
    pub fn generation_end(&mut self, fold: usize) -> Result<(), Box<MergeError>> {
        let position = self.position();
        let fold = self.folds.get_mut(fold).ok_or_else(no_fold)?;
        fold.generation_end(position);
        Ok(())
    }

    /// The innermost fold ended.
    ///
    /// # Errors
    /// No fold is being executed.
    pub fn fold_end(&mut self) -> Result<(), Box<MergeError>> {
        let fold = self.folds.pop().ok_or_else(no_fold)?;
        self.previous.slider.try_set(fold.previous.end);
        self.current.slider.try_set(fold.current.end);
        let position = fold.position as usize;
        let lore: Box<[FoldLore]> = fold.into_lore();
        if let Some(state) = self.result.get_mut(position) {
            *state = State::Fold(lore);
        }
        Ok(())
    }

    /// Number of folds that are being executed: the number that the next one gets.
    #[must_use]
    pub fn fold_depth(&self) -> usize {
        self.folds.len()
    }

    fn apply(&mut self, [previous, current]: [Option<Window>; 2]) -> Result<(), Box<MergeError>> {
        self.previous.slider.enter(previous)?;
        self.current.slider.enter(current)
    }

    /// The next state of either trace.
    #[inline]
    fn take(&mut self) -> (Option<At<'t, 'a>>, Option<At<'t, 'a>>) {
        (self.previous.next(), self.current.next())
    }

    /// Generations of honest data are below the number of states; refusing others bounds memory.
    #[inline]
    fn check_generation(&self, generation: u32, source: Source) -> Result<(), Box<MergeError>> {
        let states = match source {
            Source::Previous => self.previous.trace.len(),
            Source::Current => self.current.trace.len(),
        };
        if generation as usize >= states.max(GENERATION_GRACE) {
            return Err(MergeError::GenerationTooLarge { generation, states }.into());
        }
        Ok(())
    }
}

/// Generations below this are accepted in any trace.
const GENERATION_GRACE: usize = 1 << 16;

/// A state and its position in its trace.
struct At<'t, 'a>(&'t State<'a>, u32);

impl<'t, 'a> Input<'t, 'a> {
    fn new(trace: &'t [State<'a>]) -> Self {
        Self {
            slider: Slider::new(trace.len()),
            positions: trace
                .iter()
                .any(|state| matches!(state, State::Fold(_)))
                .then(Positions::default),
            trace,
        }
    }

    /// The state at `old` is the one at `new` of the result.
    #[inline]
    fn found(&mut self, new: usize, old: u32) {
        if let Some(positions) = &mut self.positions {
            positions.insert(new, old);
        }
    }

    fn position_of(&self, new: u32) -> Option<u32> {
        self.positions.as_ref()?.get(new)
    }

    #[inline]
    fn next(&mut self) -> Option<At<'t, 'a>> {
        let at = self.slider.next()?;
        let state = self.trace.get(at as usize)?;
        Some(At(state, at))
    }

    fn resolve(&self, at: Option<u32>, side: Side) -> Result<fold::Lore, Box<MergeError>> {
        let lore = match at.and_then(|at| self.trace.get(at as usize)) {
            Some(State::Fold(lore)) => lore,
            _ => return fold::Lore::resolve(&[], self.trace, &self.slider, side),
        };
        fold::Lore::resolve(lore, self.trace, &self.slider, side)
    }
}

/// Positions of values: in the result, and where they were found. A one-to-one mapping: a new pair
/// removes the pairs that share a member with it.
#[derive(Debug, Default)]
struct Positions {
    /// By position in the result: one more than the old position, 0 for none.
    old_of: Vec<u32>,
    /// By old position: one more than the position in the result, 0 for none.
    new_of: Vec<u32>,
}

impl Positions {
    #[inline]
    fn insert(&mut self, new: usize, old: u32) {
        let old = old as usize;
        if self.old_of.len() <= new {
            self.old_of.resize(new + 1, 0);
        }
        if self.new_of.len() <= old {
            self.new_of.resize(old + 1, 0);
        }
        if let Some(slot) = self.new_of.get_mut(old) {
            if let Some(stale) = (*slot as usize)
                .checked_sub(1)
                .and_then(|stale| self.old_of.get_mut(stale))
            {
                *stale = 0;
            }
            *slot = new as u32 + 1;
        }
        if let Some(slot) = self.old_of.get_mut(new) {
            *slot = old as u32 + 1;
        }
    }

    fn get(&self, new: u32) -> Option<u32> {
        self.old_of.get(new as usize)?.checked_sub(1)
    }
}

impl ParWindows {
    fn new(
        (left, right): (u32, u32),
        slider: &Slider,
        side: Side,
    ) -> Result<Self, Box<MergeError>> {
        let (position, remaining) = (slider.position(), slider.remaining());
        let overflow = || MergeError::ParPosOverflow {
            side,
            left,
            right,
            position,
        };
        let underflow = || MergeError::ParLenUnderflow {
            side,
            left,
            right,
            remaining,
        };
        let ends = left
            .checked_add(right)
            .and_then(|length| Some((length, position.checked_add(length)?)));
        let Some((length, after_right)) = ends else {
            return Err(overflow().into());
        };
        Ok(Self {
            right_len: right,
            after_left: Window {
                begin: position.saturating_add(left),
                len: left,
            },
            after_right: Window {
                begin: after_right,
                len: remaining.checked_sub(length).ok_or_else(underflow)?,
            },
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Previous,
    Current,
    Both,
}

fn met<T>(state: T, source: Source) -> Met<T> {
    Met { state, source }
}

fn merge_calls(
    previous: &CallState<'_>,
    current: &CallState<'_>,
) -> Result<Scheme, Box<MergeError>> {
    use CallState::{Failed, Scalar, SentBy, SentByWithId, Stream, Unused};
    let incompatible = || MergeError::CallsIncompatible {
        previous: DumpState(&State::Call(*previous)).call(),
        current: DumpState(&State::Call(*current)).call(),
    };
    let differ = || MergeError::ValuesNotEqual {
        previous: DumpState(&State::Call(*previous)).value(),
        current: DumpState(&State::Call(*current)).value(),
    };
    match (previous, current) {
        (SentBy(_) | SentByWithId { .. }, SentBy(_) | SentByWithId { .. }) => Ok(Scheme::Previous),
        (SentBy(_) | SentByWithId { .. }, _) => Ok(Scheme::Current),
        (_, SentBy(_) | SentByWithId { .. }) => Ok(Scheme::Previous),
        (Failed(left), Failed(right)) => {
            if left == right {
                Ok(Scheme::Previous)
            } else {
                Err(incompatible().into())
            }
        }
        (Failed(_), _) | (_, Failed(_)) => Err(incompatible().into()),
        (Scalar(left), Scalar(right))
        | (Unused(left), Unused(right))
        | (Stream { cid: left, .. }, Stream { cid: right, .. })
            if left == right =>
        {
            Ok(Scheme::Both)
        }
        _ => Err(differ().into()),
    }
}

fn no_fold() -> Box<MergeError> {
    Box::new(MergeError::NoFold)
}

fn no_par() -> Box<MergeError> {
    Box::new(MergeError::NoPar)
}

/// The error for states of which at least one is of another kind than `expected`.
#[cold]
fn unexpected(
    previous: Option<At<'_, '_>>,
    current: Option<At<'_, '_>>,
    expected: StateKind,
) -> Box<MergeError> {
    Box::new(match (previous, current) {
        (Some(previous), Some(current)) => MergeError::IncompatibleStates {
            previous: DumpState(previous.0).to_string(),
            current: DumpState(current.0).to_string(),
        },
        (Some(state), None) => MergeError::UnexpectedState {
            side: Side::Previous,
            state: DumpState(state.0).to_string(),
            expected,
        },
        (None, Some(state)) => MergeError::UnexpectedState {
            side: Side::Current,
            state: DumpState(state.0).to_string(),
            expected,
        },
        (None, None) => MergeError::NoPar,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_merge_to_the_later_state() {
        let sent = State::Call(CallState::SentBy("A"));
        let done = State::Call(CallState::Scalar("cid"));
        for (previous, current, source) in [
            (&sent, &sent, Source::Previous),
            (&sent, &done, Source::Current),
            (&done, &sent, Source::Previous),
            (&done, &done, Source::Previous),
        ] {
            let mut merge = Merge::new(
                std::slice::from_ref(previous),
                std::slice::from_ref(current),
            );
            let met = merge.call_start().unwrap().unwrap();
            assert_eq!(met.source, source);
        }
        let other = State::Call(CallState::Scalar("other"));
        let error = |current| {
            let traces = [&done, current].map(std::slice::from_ref);
            let met = Merge::new(traces[0], traces[1]).call_start();
            *met.unwrap_err()
        };
        assert!(matches!(error(&other), MergeError::ValuesNotEqual { .. }));
        let failed = State::Call(CallState::Failed("cid"));
        assert!(matches!(
            error(&failed),
            MergeError::CallsIncompatible { .. }
        ));
    }

    #[test]
    fn a_par_skips_what_its_branches_leave_unread() {
        let sent = || State::Call(CallState::SentBy("A"));
        let trace = vec![
            State::Par { left: 2, right: 1 },
            sent(),
            sent(),
            State::Call(CallState::SentBy("right")),
            State::Call(CallState::SentBy("after")),
            sent(),
        ];
        let mut merge = Merge::new(&trace, &[]);
        fn peer<'a>(merge: &mut Merge<'_, 'a>) -> &'a str {
            match merge.call_start().unwrap().unwrap().state {
                CallState::SentBy(peer) => {
                    merge.push(State::Call(CallState::SentBy(peer)));
                    peer
                }
                _ => "",
            }
        }
        merge.par_start().unwrap();
        assert_eq!(peer(&mut merge), "A");
        merge.par_left_end().unwrap();
        assert_eq!(peer(&mut merge), "right");
        assert!(merge.call_start().unwrap().is_none());
        merge.par_end().unwrap();
        assert_eq!(peer(&mut merge), "after");
        assert_eq!(merge.trace()[0], State::Par { left: 1, right: 1 });
    }

    #[test]
    fn impossible_sizes_are_errors() {
        for (left, right) in [(u32::MAX, 1), (u32::MAX, 0), (50, 0), (0, 50)] {
            let trace = vec![State::Par { left, right }];
            assert!(Merge::new(&trace, &[]).par_start().is_err());
            assert!(Merge::new(&[], &trace).par_start().is_err());
        }
        let huge = State::Ap(Generations::One(u32::MAX));
        assert!(Merge::new(&[huge], &[]).ap_start().is_err());
    }

    #[test]
    fn positions_are_one_to_one() {
        let mut positions = Positions::default();
        positions.insert(3, 5);
        positions.insert(4, 5);
        assert_eq!(positions.get(3), None);
        assert_eq!(positions.get(4), Some(5));
        positions.insert(4, 6);
        assert_eq!(positions.get(4), Some(6));
    }
}
