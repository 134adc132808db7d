//! A window over one trace.

use super::error::MergeError;

/// A run of states: where to go on reading, and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) begin: u32,
    pub(super) len: u32,
}

/// Reads a trace in windows that the instructions open and close.
#[derive(Debug)]
pub(super) struct Slider {
    trace_len: u32,
    position: u32,
    len: u32,
    seen: u32,
}

impl Slider {
    pub(super) fn new(trace_len: usize) -> Self {
        let trace_len = u32::try_from(trace_len).unwrap_or(u32::MAX);
        Self {
            trace_len,
            position: 0,
            len: trace_len,
            seen: 0,
        }
    }

    pub(super) fn trace_len(&self) -> u32 {
        self.trace_len
    }

    #[inline]
    pub(super) fn position(&self) -> u32 {
        self.position
    }

    #[inline]
    pub(super) fn remaining(&self) -> u32 {
        self.len.saturating_sub(self.seen)
    }

    /// Position of the next state of the window, which stays the next one.
    #[inline]
    pub(super) fn peek(&self) -> Option<u32> {
        (self.seen < self.len && self.position < self.trace_len).then_some(self.position)
    }

    /// Position of the next state of the window.
    #[inline]
    pub(super) fn next(&mut self) -> Option<u32> {
        let position = self.peek()?;
        self.position += 1;
        self.seen += 1;
        Some(position)
    }

    /// Opens a window elsewhere; an empty one may lie anywhere.
    #[inline]
    pub(super) fn set(&mut self, window: Window) -> Result<(), Box<MergeError>> {
        let fits = window
            .begin
            .checked_add(window.len)
            .is_some_and(|end| end <= self.trace_len);
        if window.len != 0 && !fits {
            return Err(MergeError::WindowOutside {
                trace_len: self.trace_len,
                len: window.len,
                position: window.begin,
            }
            .into());
        }
        self.position = window.begin;
        self.len = window.len;
        self.seen = 0;
        Ok(())
    }

    /// [`Slider::set`] that leaves the slider in place where it does not fit.
    pub(super) fn try_set(&mut self, window: Window) {
        // The protocol ignores this error.
        let _ = self.set(window);
    }

    /// Opens a window at the present position.
    pub(super) fn set_len(&mut self, len: u32) -> Result<(), Box<MergeError>> {
        let left = self.states_left()?;
        if left < len {
            return Err(MergeError::LenOutside {
                trace_len: self.trace_len,
                len,
                position: self.position,
            }
            .into());
        }
        self.len = len;
        self.seen = 0;
        Ok(())
    }

    /// [`Slider::set_len`] that leaves the slider as it is where the length does not fit; only a
    /// slider outside of its trace is an error.
    pub(super) fn try_set_len(&mut self, len: u32) -> Result<(), Box<MergeError>> {
        self.states_left()?;
        let _ = self.set_len(len);
        Ok(())
    }

    /// Opens a window of an iteration; without one there is nothing to read.
    pub(super) fn enter(&mut self, window: Option<Window>) -> Result<(), Box<MergeError>> {
        match window {
            Some(window) => self.set(window),
            None => self.set_len(0),
        }
    }

    fn states_left(&self) -> Result<u32, Box<MergeError>> {
        self.trace_len.checked_sub(self.position).ok_or_else(|| {
            Box::new(MergeError::LenOutside {
                trace_len: self.trace_len,
                len: 0,
                position: self.position,
            })
        })
    }
}
