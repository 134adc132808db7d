//! Where calls run that block.

/// Runs jobs on threads that may block. Jobs end by themselves in bounded time.
pub trait Blocking: Send + Sync {
    /// Starts a job, now or when a thread is free.
    fn spawn(&self, job: Box<dyn FnOnce() + Send>);
}

/// Runs jobs at once, on the thread that asks: for the simulator and for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Blocking for Inline {
    fn spawn(&self, job: Box<dyn FnOnce() + Send>) {
        job();
    }
}

/// Runs jobs on the blocking threads of a tokio runtime, whose number is bounded.
#[cfg(feature = "network")]
#[derive(Clone, Debug)]
pub struct TokioBlocking {
    runtime: tokio::runtime::Handle,
}

#[cfg(feature = "network")]
impl TokioBlocking {
    /// Runs jobs in this runtime.
    #[must_use]
    pub fn new(runtime: tokio::runtime::Handle) -> Self {
        Self { runtime }
    }
}

#[cfg(feature = "network")]
impl Blocking for TokioBlocking {
    fn spawn(&self, job: Box<dyn FnOnce() + Send>) {
        self.runtime.spawn_blocking(job);
    }
}
