//! The signals that ask a process to stop.

use std::io;

/// SIGINT and SIGTERM, held from [`StopSignals::listen`] on.
///
/// A signal that comes between that and [`StopSignals::received`] is not lost, so a process listens
/// before it says that it is ready.
pub struct StopSignals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl StopSignals {
    /// Takes the signals over from the system's default, which ends the process at once.
    ///
    /// # Errors
    /// What the system says when a handler cannot be installed.
    #[cfg(unix)]
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Nothing to do ahead on this system.
    ///
    /// # Errors
    /// None.
    #[cfg(not(unix))]
    pub fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Returns when one of them has come.
    #[cfg(unix)]
    pub async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Returns when the process is interrupted.
    #[cfg(not(unix))]
    pub async fn received(&mut self) {
        // Without a handler there is nothing to wait for but the end by force.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
