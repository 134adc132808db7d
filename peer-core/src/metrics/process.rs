//! What the system says about this process; nothing where it does not say it the way Linux does.

use std::fmt;

use super::page::Page;

/// Ticks in which Linux counts processor time, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn write(page: &mut Page<'_>) -> fmt::Result {
    if let Some(bytes) = resident_bytes() {
        let help = "Memory of the process that is in use";
        page.gauge("process_resident_memory_bytes", help, bytes)?;
    }
    if let Some(seconds) = cpu_seconds() {
        let help = "Processor time of the process";
        page.seconds("process_cpu_seconds", help, seconds)?;
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        let help = "Open files and sockets of the process";
        page.gauge("process_open_fds", help, open.count() as u64)?;
    }
    Ok(())
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold anything; the state follows it as field 3.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn linux_says_it() {
        assert!(resident_bytes().unwrap() > 1 << 20);
        assert!(cpu_seconds().is_some());
    }
}
