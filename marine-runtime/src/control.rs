//! What is shared between a running service and those who may stop it: deadline, cancellation,
//! memory budget.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::backend::Trap;

/// No deadline.
const NEVER: u64 = u64::MAX;

/// Deadline, cancellation and memory budget of one service.
#[derive(Debug)]
pub struct Control {
    /// In nanoseconds since the process began to count.
    deadline: AtomicU64,
    cancelled: AtomicBool,
    /// Bytes that the modules may still take.
    memory: AtomicU64,
    limit: u64,
    rejected: AtomicU32,
}

/// Stops a call from another thread.
#[derive(Clone, Debug)]
pub struct CancelHandle(Arc<Control>);

impl CancelHandle {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Self(control)
    }

    /// Stops the call that runs now, or the next one if none does.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Release);
    }
}

impl Control {
    /// A budget of `memory_limit` bytes, no deadline.
    #[must_use]
    pub fn new(memory_limit: u64) -> Self {
        Self {
            deadline: AtomicU64::new(NEVER),
            cancelled: AtomicBool::new(false),
            memory: AtomicU64::new(memory_limit),
            limit: memory_limit,
            rejected: AtomicU32::new(0),
        }
    }

    /// Sets when the call that begins must be over.
    pub fn begin(&self, deadline: Option<Instant>) {
        let deadline = deadline.map_or(NEVER, |deadline| {
            let nanos = deadline.saturating_duration_since(epoch()).as_nanos();
            u64::try_from(nanos).unwrap_or(NEVER)
        });
        self.deadline.store(deadline, Ordering::Release);
    }

    /// Forgets the deadline, and a cancellation that came.
    pub fn end(&self) {
        self.deadline.store(NEVER, Ordering::Release);
        self.cancelled.store(false, Ordering::Release);
    }

    /// Whether the call may go on.
    ///
    /// # Errors
    /// The trap that must end it.
    pub fn check(&self) -> Result<(), Trap> {
        if self.cancelled.load(Ordering::Acquire) {
            return Err(Trap::Cancelled);
        }
        let deadline = self.deadline.load(Ordering::Acquire);
        if deadline == NEVER || since_epoch() < u128::from(deadline) {
            Ok(())
        } else {
            Err(Trap::Deadline)
        }
    }

    /// How long the call may still take, at most `longest`: for host functions that wait.
    #[must_use]
    pub fn remaining(&self, longest: Duration) -> Duration {
        let deadline = self.deadline.load(Ordering::Acquire);
        if deadline == NEVER {
            return longest;
        }
        let left = u128::from(deadline).saturating_sub(since_epoch());
        longest.min(Duration::from_nanos(
            u64::try_from(left).unwrap_or(u64::MAX),
        ))
    }

    /// Takes `bytes` of the memory budget; `false` if it does not have them.
    pub fn take_memory(&self, bytes: u64) -> bool {
        let taken = self
            .memory
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
                left.checked_sub(bytes)
            });
        if taken.is_err() {
            self.rejected.fetch_add(1, Ordering::AcqRel);
        }
        taken.is_ok()
    }

    /// Gives the whole memory budget back: for modules that are created anew.
    pub(crate) fn reset_memory(&self) {
        self.memory.store(self.limit, Ordering::Release);
        self.forget_rejected();
    }

    /// The whole memory budget in bytes.
    #[must_use]
    pub fn memory_limit(&self) -> u64 {
        self.limit
    }

    /// How many requests for memory were refused since the last successful call.
    #[must_use]
    pub fn rejected(&self) -> u32 {
        self.rejected.load(Ordering::Acquire)
    }

    /// Forgets refused requests.
    pub fn forget_rejected(&self) {
        self.rejected.store(0, Ordering::Release);
    }
}

fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

fn since_epoch() -> u128 {
    epoch().elapsed().as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_pass_and_are_forgotten() {
        let control = Control::new(100);
        assert!(control.check().is_ok());
        control.begin(Some(Instant::now()));
        std::thread::sleep(Duration::from_millis(1));
        assert!(matches!(control.check(), Err(Trap::Deadline)));
        assert_eq!(control.remaining(Duration::from_secs(9)), Duration::ZERO);
        control.end();
        assert!(control.check().is_ok());
    }

    #[test]
    fn memory_is_counted() {
        let control = Control::new(100);
        assert!(control.take_memory(60));
        assert!(!control.take_memory(60));
        assert!(control.take_memory(40));
        assert_eq!(control.rejected(), 1);
    }
}
