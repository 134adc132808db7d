//! Bookkeeping of a fold over a stream.

use crate::data::{CallState, FoldLore, Generations, State, Subtrace, Subtraces};

use super::{
    error::{DumpFold, DumpSubtrace, MergeError, Side},
    slider::{Slider, Window},
};

/// What the fold state of one trace says.
#[derive(Debug)]
pub(super) struct Lore {
    /// Windows of the values, in order of `value_pos`.
    values: Vec<ValueLore>,
    /// Where to go on after the fold.
    pub(super) end: Window,
}

#[derive(Clone, Copy, Debug)]
struct ValueLore {
    value_pos: u32,
    before: Window,
    after: Window,
}

impl Lore {
    /// Checks a fold state against its trace and widens the windows so that they include those of
    /// the iterations nested in them.
    pub(super) fn resolve(
        lore: &[FoldLore],
        trace: &[State<'_>],
        slider: &Slider,
        side: Side,
    ) -> Result<Self, Box<MergeError>> {
        let mut count = 0_u32;
        let mut values = Vec::with_capacity(lore.len());
        for (index, element) in lore.iter().enumerate() {
            let Subtraces::Pair(before, after) = &element.subtraces else {
                let Subtraces::Other(others) = &element.subtraces else {
                    continue;
                };
                return Err(MergeError::SubtraceCount {
                    count: others.len(),
                }
                .into());
            };
            count = count
                .checked_add(before.len)
                .and_then(|count| count.checked_add(after.len))
                .ok_or_else(|| MergeError::SubtraceLenOverflow {
                    count: index,
                    fold: DumpFold(lore).to_string(),
                })?;
            values.push(ValueLore {
                value_pos: element.value_pos,
                before: window(*before),
                after: window(*after),
            });
        }
        widen(&mut values, trace, slider.trace_len())?;
        values.sort_by_key(|value| value.value_pos);
        for pair in values.windows(2) {
            if let [left, right] = pair
                && left.value_pos == right.value_pos
            {
                return Err(MergeError::SamePosition {
                    fold: DumpFold(lore).to_string(),
                    position: left.value_pos,
                }
                .into());
            }
        }
        let (position, remaining) = (slider.position(), slider.remaining());
        let begin = position
            .checked_add(count)
            .ok_or_else(|| MergeError::FoldPosOverflow {
                side,
                fold: dump(&values, count),
                position,
            })?;
        let len = remaining
            .checked_sub(count)
            .ok_or_else(|| MergeError::FoldLenUnderflow {
                side,
                fold: dump(&values, count),
                position,
            })?;
        Ok(Self {
            values,
            end: Window { begin, len },
        })
    }

    fn find(&self, value_pos: Option<u32>) -> Option<ValueLore> {
        let value_pos = value_pos?;
        let index = self
            .values
            .binary_search_by_key(&value_pos, |value| value.value_pos)
            .ok()?;
        self.values.get(index).copied()
    }
}

/// Readable form of a fold that was resolved, in the order of its values.
fn dump(values: &[ValueLore], count: u32) -> String {
    let subtrace = |window: Window| {
        DumpSubtrace(Subtrace {
            begin_pos: window.begin,
            len: window.len,
        })
    };
    let mut text = "ResolvedFold { lore: {".to_owned();
    for (index, value) in values.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        text.push_str(&format!(
            "{comma}{}: ResolvedSubTraceDescs {{ before_subtrace: {}, after_subtrace: {} }}",
            value.value_pos,
            subtrace(value.before),
            subtrace(value.after)
        ));
    }
    text.push_str(&format!("}}, fold_states_count: {count} }}"));
    text
}

fn window(subtrace: Subtrace) -> Window {
    Window {
        begin: subtrace.begin_pos,
        len: subtrace.len,
    }
}

/// Iterations of one generation form a nest, so the window of an iteration has to hold the states
/// of those inside as well: a `par` there counts them.
fn widen(
    values: &mut [ValueLore],
    trace: &[State<'_>],
    trace_len: u32,
) -> Result<(), Box<MergeError>> {
    let mut rest = values;
    while let Some(first) = rest.first() {
        let generation = generation_at(trace, first.value_pos, trace_len)?;
        let mut size = 1;
        for value in rest.get(1..).unwrap_or_default() {
            if generation_at(trace, value.value_pos, trace_len)? != generation {
                break;
            }
            size += 1;
        }
        let (nest, others) = rest.split_at_mut_checked(size).unwrap_or_default();
        // All sums are parts of a sum that was checked.
        let mut sum = 0_u32;
        for value in nest.iter_mut() {
            sum = sum.saturating_add(value.after.len);
            value.after.len = sum;
        }
        for value in nest.iter_mut().rev() {
            sum = sum.saturating_add(value.before.len);
            value.before.len = sum;
        }
        rest = others;
    }
    Ok(())
}

fn generation_at(
    trace: &[State<'_>],
    position: u32,
    trace_len: u32,
) -> Result<u32, Box<MergeError>> {
    match trace.get(position as usize) {
        Some(State::Ap(Generations::One(generation))) => Ok(*generation),
        Some(State::Call(CallState::Stream { generation, .. })) => Ok(*generation),
        // Only whoever merges the state itself refuses several of them.
        Some(State::Ap(generations)) => match generations.as_slice() {
            [first, ..] => Ok(*first),
            [] => Err(MergeError::GenerationCount {
                generations: Vec::new(),
            }
            .into()),
        },
        Some(state) => Err(MergeError::NoStreamState {
            state: super::error::DumpState(state).short(),
        }
        .into()),
        None => Err(MergeError::NoElement {
            position,
            trace_len,
        }
        .into()),
    }
}

/// A fold that is being executed.
#[derive(Debug)]
pub(super) struct Fold {
    /// Position of its state in the result.
    pub(super) position: u32,
    pub(super) previous: Lore,
    pub(super) current: Lore,
    /// Iterations of the present nest, in the order of their starts.
    nest: Vec<Iteration>,
    /// Which of them is being executed.
    active: usize,
    /// Whether the nest is on its way back.
    returning: bool,
    /// Lore of the nests that ended.
    lore: Vec<FoldLore>,
}

#[derive(Debug)]
struct Iteration {
    value_pos: u32,
    before_start: u32,
    before_end: Option<u32>,
    after_start: Option<u32>,
    after_end: Option<u32>,
    after: [Option<Window>; 2],
}

impl Fold {
    pub(super) fn new(position: u32, previous: Lore, current: Lore) -> Self {
        Self {
            position,
            previous,
            current,
            nest: Vec::new(),
            active: 0,
            returning: false,
            lore: Vec::new(),
        }
    }

    pub(super) fn iteration_start(
        &mut self,
        position: u32,
        value_pos: u32,
        previous_pos: Option<u32>,
        current_pos: Option<u32>,
    ) -> [Option<Window>; 2] {
        let previous = self.previous.find(previous_pos);
        let current = self.current.find(current_pos);
        self.active = self.nest.len();
        self.nest.push(Iteration {
            value_pos,
            before_start: position,
            before_end: None,
            after_start: None,
            after_end: None,
            after: [
                previous.map(|lore| lore.after),
                current.map(|lore| lore.after),
            ],
        });
        [
            previous.map(|lore| lore.before),
            current.map(|lore| lore.before),
        ]
    }

    pub(super) fn iteration_end(&mut self, position: u32) {
        if let Some(iteration) = self.nest.get_mut(self.active) {
            iteration.before_end = Some(position);
        }
    }

    pub(super) fn back(&mut self, position: u32) -> [Option<Window>; 2] {
        if self.returning {
            if let Some(iteration) = self.nest.get_mut(self.active) {
                iteration.after_end = Some(position);
            }
            self.active = self.active.saturating_sub(1);
        }
        self.returning = true;
        match self.nest.get_mut(self.active) {
            Some(iteration) => {
                iteration.before_end.get_or_insert(position);
                iteration.after_start = Some(position);
                iteration.after
            }
            None => [None, None],
        }
    }

    pub(super) fn generation_end(&mut self, position: u32) {
        self.lore.extend(self.nest.drain(..).map(|iteration| {
            let before_end = iteration.before_end.unwrap_or(position);
            let after_start = iteration.after_start.unwrap_or(position);
            let after_end = iteration.after_end.unwrap_or(position);
            FoldLore {
                value_pos: iteration.value_pos,
                subtraces: Subtraces::Pair(
                    subtrace(iteration.before_start, before_end),
                    subtrace(after_start, after_end),
                ),
            }
        }));
        self.active = 0;
        self.returning = false;
    }

    pub(super) fn into_lore(self) -> Box<[FoldLore]> {
        self.lore.into_boxed_slice()
    }
}

fn subtrace(start: u32, end: u32) -> Subtrace {
    Subtrace {
        begin_pos: start,
        len: end.saturating_sub(start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(value_pos: u32, before: u32, after: u32) -> FoldLore {
        FoldLore {
            value_pos,
            subtraces: Subtraces::Pair(
                Subtrace {
                    begin_pos: 10,
                    len: before,
                },
                Subtrace {
                    begin_pos: 20,
                    len: after,
                },
            ),
        }
    }

    #[test]
    fn windows_include_nested_iterations() {
        let trace = vec![State::Ap(Generations::One(0)); 100];
        let lore = [element(0, 1, 1), element(1, 2, 2), element(2, 3, 3)];
        let resolved = Lore::resolve(&lore, &trace, &Slider::new(100), Side::Previous).unwrap();
        let lens: Vec<_> = resolved
            .values
            .iter()
            .map(|value| (value.before.len, value.after.len))
            .collect();
        assert_eq!(lens, [(12, 1), (11, 3), (9, 6)]);
        assert_eq!((resolved.end.begin, resolved.end.len), (12, 88));
    }

    #[test]
    fn bad_lore_is_refused() {
        let trace = vec![State::Ap(Generations::One(0)); 10];
        let refused = |lore: &[FoldLore]| {
            Lore::resolve(lore, &trace, &Slider::new(10), Side::Current).is_err()
        };
        assert!(refused(&[element(0, 1, 0), element(0, 1, 0)]));
        assert!(refused(&[element(500, 0, 0)]));
        assert!(refused(&[element(0, u32::MAX, 1)]));
        assert!(refused(&[element(0, 11, 0)]));
        let single = Subtraces::Other(Box::new([Subtrace::default()]));
        assert!(refused(&[FoldLore {
            value_pos: 0,
            subtraces: single
        }]));
    }

    #[test]
    fn the_last_instruction_belongs_to_the_innermost_iteration() {
        let empty = || Lore {
            values: Vec::new(),
            end: Window { begin: 0, len: 0 },
        };
        // Two values; each body writes one state before `next`, the last instruction writes one.
        let mut fold = Fold::new(2, empty(), empty());
        fold.iteration_start(3, 0, None, None);
        fold.iteration_end(4);
        fold.iteration_start(4, 1, None, None);
        fold.iteration_end(5);
        fold.back(5);
        fold.back(6);
        fold.generation_end(6);
        let pair = |begin, len, after_begin, after_len| {
            Subtraces::Pair(
                Subtrace {
                    begin_pos: begin,
                    len,
                },
                Subtrace {
                    begin_pos: after_begin,
                    len: after_len,
                },
            )
        };
        let lore = fold.into_lore();
        assert_eq!(lore[0].subtraces, pair(3, 1, 6, 0));
        assert_eq!(lore[1].subtraces, pair(4, 1, 5, 1));
    }
}
