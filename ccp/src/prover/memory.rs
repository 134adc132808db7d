//! Memory is asked for before it is taken: what is allocated is not yet used, and a system that has
//! promised too much kills somebody later.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::PuzzleError;

/// Bytes that are left to everybody else.
const SPARE: u64 = 128 << 20;

/// What says how many bytes are available; nothing when nobody knows.
type Available = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// The memory that a prover may take.
#[derive(Clone)]
pub struct MemoryBudget {
    available: Available,
    /// Bytes that are promised and not yet used.
    reserved: Arc<AtomicU64>,
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget")
            .field("available", &(self.available)())
            .field("reserved", &self.reserved)
            .finish()
    }
}

impl MemoryBudget {
    /// What is available according to a function, less 128 MiB for everybody else. A function that
    /// knows nothing allows everything.
    pub fn new(available: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Self {
        Self {
            available: Arc::new(available),
            reserved: Arc::default(),
        }
    }

    /// What this machine can give without swapping, and the control groups of this process allow.
    ///
    /// Known on Linux only.
    #[must_use]
    pub fn of_this_machine() -> Self {
        Self::new(|| {
            let machine = fs::read_to_string("/proc/meminfo")
                .ok()
                .and_then(|text| available_in(&text));
            [machine, available_in_group()].into_iter().flatten().min()
        })
    }

    /// Promises memory until the reservation is dropped.
    pub(super) fn reserve(&self, bytes: u64) -> Result<Reservation, PuzzleError> {
        // Reserve first: of two that ask at the same time only one may get the last bytes.
        let before = self.reserved.fetch_add(bytes, Ordering::Relaxed);
        let reservation = Reservation {
            bytes,
            reserved: Arc::clone(&self.reserved),
        };
        let Some(available) = (self.available)() else {
            return Ok(reservation);
        };
        let available = available.saturating_sub(before).saturating_sub(SPARE);
        match bytes <= available {
            true => Ok(reservation),
            false => Err(PuzzleError::Refused {
                needed: bytes,
                available,
            }),
        }
    }
}

/// Memory that was promised.
#[derive(Debug)]
pub(super) struct Reservation {
    bytes: u64,
    reserved: Arc<AtomicU64>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The line `MemAvailable` of `/proc/meminfo`, in bytes.
fn available_in(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The least that a control group above this process leaves.
fn available_in_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let mut folder = root.join(own);
    let mut least = None;
    while folder.starts_with(root) {
        least = [least, left_in(&folder)].into_iter().flatten().min();
        if !folder.pop() {
            break;
        }
    }
    least
}

/// What one group leaves: its limit less what it uses, where files in memory can go.
fn left_in(folder: &Path) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        let path: PathBuf = folder.join(name);
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    let (limit, used) = (number("memory.max")?, number("memory.current")?);
    let files = fs::read_to_string(folder.join("memory.stat")).ok();
    let files = files.and_then(|text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("inactive_file "))?;
        line.trim().parse::<u64>().ok()
    });
    Some(limit.saturating_sub(used.saturating_sub(files.unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_is_not_promised_twice() {
        let budget = MemoryBudget::new(|| Some(SPARE + 100));
        let first = budget.reserve(60).unwrap();
        let refused = PuzzleError::Refused {
            needed: 60,
            available: 40,
        };
        assert_eq!(budget.reserve(60).unwrap_err(), refused);
        drop(first);
        assert!(budget.reserve(60).is_ok());
    }

    #[test]
    fn a_machine_that_says_nothing_is_not_limited() {
        assert!(MemoryBudget::new(|| None).reserve(u64::MAX / 2).is_ok());
    }

    #[test]
    fn the_available_memory_of_a_machine() {
        let text = "MemTotal:       24684000 kB\nMemAvailable:   23442000 kB\n";
        assert_eq!(available_in(text), Some(23_442_000 * 1024));
        assert_eq!(available_in("MemAvailable: many kB"), None);
        assert_eq!(available_in(""), None);
    }
}
