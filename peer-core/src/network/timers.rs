//! The timers of libp2p yield to its work.
//!
//! libp2p makes a timer for every substream. They live on a thread of the crate `futures-timer`, which
//! wakes up whenever one is made or dropped: four times for a particle, and each time some task has
//! to wait for it. What they time are seconds, so that thread can wait for a gap instead.

/// Added to the niceness of the thread: low, but it still has its turn on a machine that is busy.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Starts the thread with a low priority, unless it runs already. Others keep theirs.
#[cfg(target_os = "linux")]
pub(super) fn start() {
    use std::{
        sync::Once,
        thread::{Builder, JoinHandle},
        time::Duration,
    };

    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // A thread has the priority of the one that starts it, and the first timer starts this one.
        let starter = Builder::new().spawn(|| {
            let own = rustix::process::getpriority_process(None)?;
            rustix::process::setpriority_process(None, own.saturating_add(NICENESS))?;
            drop(futures_timer::Delay::new(Duration::ZERO));
            Ok::<_, rustix::io::Errno>(())
        });
        match starter.map(JoinHandle::join) {
            Ok(Ok(Ok(()))) => {}
            other => tracing::debug!("timers keep their priority: {other:?}"),
        }
    });
}

/// Elsewhere a thread cannot have a priority of its own.
#[cfg(not(target_os = "linux"))]
pub(super) fn start() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_the_timers_yield() {
        start();
        start();
        let niceness = |folder: &std::path::Path| -> i32 {
            let stat = fs::read_to_string(folder.join("stat")).unwrap();
            // After the name, which is in parentheses: the state is the third field.
            let (_, fields) = stat.rsplit_once(") ").unwrap();
            fields.split(' ').nth(16).unwrap().parse().unwrap()
        };
        let own = rustix::process::getpriority_process(None).unwrap();
        let mut timers = 0;
        for thread in fs::read_dir("/proc/self/task").unwrap() {
            let folder = thread.unwrap().path();
            // Threads of other tests come and go.
            let Ok(name) = fs::read_to_string(folder.join("comm")) else {
                continue;
            };
            if name.trim() == "futures-timer" {
                timers += 1;
                assert_eq!(niceness(&folder), (own + NICENESS).min(19));
            }
        }
        assert_eq!(timers, 1);
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), own);
    }
}
