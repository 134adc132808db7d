//! Virtual time, and the tasks that wait in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use async_trait::async_trait;

use crate::{clock::Clock, engine::Input};

/// The clock of a simulation. Time stands still while something can be done.
#[derive(Debug)]
pub(super) struct VirtualClock {
    state: Arc<Mutex<ClockState>>,
}

#[derive(Debug)]
struct ClockState {
    now_ms: u64,
    next_sleeper: u64,
    sleepers: BTreeMap<(u64, u64), Waker>,
}

impl VirtualClock {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(ClockState {
                now_ms,
                next_sleeper: 0,
                sleepers: BTreeMap::new(),
            })),
        }
    }

    /// When the first sleeper wakes.
    pub(super) fn next_wake(&self) -> Option<u64> {
        lock(&self.state).sleepers.keys().next().map(|(at, _)| *at)
    }

    /// Moves on, and wakes whoever slept until then.
    pub(super) fn advance(&self, now_ms: u64) {
        let mut woken = Vec::new();
        {
            let mut state = lock(&self.state);
            state.now_ms = now_ms;
            while let Some(entry) = state.sleepers.first_entry()
                && entry.key().0 <= now_ms
            {
                woken.push(entry.remove());
            }
        }
        woken.into_iter().for_each(Waker::wake);
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now_ms(&self) -> u64 {
        lock(&self.state).now_ms
    }

    async fn sleep(&self, duration: Duration) {
        let duration = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Sleep {
            until: self.now_ms().saturating_add(duration),
            sleeper: None,
            state: self.state.clone(),
        }
        .await;
    }
}

struct Sleep {
    until: u64,
    sleeper: Option<u64>,
    state: Arc<Mutex<ClockState>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shared = self.state.clone();
        let mut state = lock(&shared);
        if state.now_ms >= self.until {
            return Poll::Ready(());
        }
        let sleeper = self.sleeper.unwrap_or(state.next_sleeper);
        if self.sleeper.is_none() {
            state.next_sleeper += 1;
            self.sleeper = Some(sleeper);
        }
        state
            .sleepers
            .insert((self.until, sleeper), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(sleeper) = self.sleeper {
            lock(&self.state).sleepers.remove(&(self.until, sleeper));
        }
    }
}

/// A call that has not answered yet.
pub(super) type CallFuture = Pin<Box<dyn Future<Output = Input> + Send>>;

/// Tasks that were woken since they were last polled.
#[derive(Clone, Debug, Default)]
pub(super) struct Woken(Arc<Mutex<BTreeSet<u64>>>);

impl Woken {
    /// The waker of a task.
    pub(super) fn waker(&self, task: u64) -> Waker {
        Waker::from(Arc::new(TaskWaker {
            task,
            woken: self.clone(),
        }))
    }

    /// Takes the first task that was woken.
    pub(super) fn pop(&self) -> Option<u64> {
        lock(&self.0).pop_first()
    }
}

struct TaskWaker {
    task: u64,
    woken: Woken,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        lock(&self.woken.0).insert(self.task);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleepers_wake_in_time() {
        let clock = VirtualClock::new(100);
        let woken = Woken::default();
        let mut sleep = clock.sleep(Duration::from_millis(50));
        let waker = woken.waker(7);
        let mut context = Context::from_waker(&waker);
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        assert_eq!(clock.next_wake(), Some(150));
        clock.advance(149);
        assert_eq!(woken.pop(), None);
        clock.advance(150);
        assert_eq!(woken.pop(), Some(7));
        assert!(sleep.as_mut().poll(&mut context).is_ready());
        let mut dropped = clock.sleep(Duration::from_millis(50));
        assert!(dropped.as_mut().poll(&mut context).is_pending());
        drop(dropped);
        assert_eq!(clock.next_wake(), None);
    }
}
