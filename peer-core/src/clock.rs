//! Time as the functions of a host see it: of the system, or of the simulator.

use std::time::Duration;

use async_trait::async_trait;

/// Where time comes from. Engines are handed the time instead.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;

    /// Returns after `duration`.
    async fn sleep(&self, duration: Duration);
}

/// The clock of the operating system; sleeps on tokio's timers.
#[cfg(feature = "network")]
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[cfg(feature = "network")]
#[async_trait]
impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A clock before 1970 counts as the epoch.
        since_epoch.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
