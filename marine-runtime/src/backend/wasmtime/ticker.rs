//! The thread that advances the epoch of an engine while something runs in it.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use wasmtime::EngineWeak;

/// How often running guests are asked to look at their deadline.
const TICK: Duration = Duration::from_millis(5);

/// Counts what runs; ticks while that is something, sleeps otherwise.
pub(super) struct Ticker {
    running: AtomicUsize,
    started: AtomicU64,
    asleep: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

/// Something that runs, until it is dropped.
pub(super) struct Running<'a>(&'a Ticker);

impl Ticker {
    pub(super) fn start(engine: EngineWeak) -> Arc<Self> {
        let ticker = Arc::new(Self {
            running: AtomicUsize::new(0),
            started: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        });
        let weak = Arc::downgrade(&ticker);
        // A machine that cannot start a thread cannot stop guests; nothing else fails.
        let spawned = thread::Builder::new()
            .name("marine-epoch".to_owned())
            .spawn(move || {
                let mut seen = 0;
                while let (Some(ticker), Some(engine)) = (weak.upgrade(), engine.upgrade()) {
                    engine.increment_epoch();
                    drop(engine);
                    let started = ticker.started.load(Ordering::Acquire);
                    if ticker.running.load(Ordering::SeqCst) == 0 && started == seen {
                        ticker.sleep();
                    }
                    seen = started;
                    drop(ticker);
                    thread::sleep(TICK);
                }
            });
        if let Err(error) = spawned {
            tracing::error!(%error, "guests cannot be stopped: no thread for their deadlines");
        }
        ticker
    }

    pub(super) fn running(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::SeqCst);
        self.started.fetch_add(1, Ordering::Release);
        if self.asleep.load(Ordering::SeqCst) {
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.wake.notify_all();
        }
        Running(self)
    }

    fn sleep(&self) {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.store(true, Ordering::SeqCst);
        while self.running.load(Ordering::SeqCst) == 0 {
            // Now and then it looks whether its engine still exists.
            let waited = self.wake.wait_timeout(guard, Duration::from_secs(1));
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            guard = again;
            if timeout.timed_out() {
                break;
            }
        }
        self.asleep.store(false, Ordering::SeqCst);
        drop(guard);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}
