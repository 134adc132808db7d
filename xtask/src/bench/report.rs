//! BENCHMARKS.md: what was measured last, when, and on what.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

/// The file.
const REPORT: &str = "BENCHMARKS.md";

/// A section of the file, replaced as a whole.
#[derive(Clone, Copy)]
pub(super) enum Section {
    /// The recorded inputs.
    Inputs,
    /// Growth of time.
    Growth,
    /// The inputs of about 100 MiB.
    Large,
    /// Proofs of capacity.
    Capacity,
    /// The state machine as a Wasm module.
    #[cfg(feature = "marine")]
    Embedded,
    /// Services.
    #[cfg(feature = "marine")]
    Marine,
    /// A peer under load.
    #[cfg(feature = "peer")]
    Peer,
    /// A peer with idle clients.
    #[cfg(feature = "peer")]
    Idle,
}

impl Section {
    fn title(self) -> &'static str {
        match self {
            Self::Inputs => "The interpreter",
            Self::Growth => "Growth of time",
            Self::Large => "Inputs of about 100 MiB",
            Self::Capacity => "Proofs of capacity",
            #[cfg(feature = "marine")]
            Self::Embedded => "As a Wasm module",
            #[cfg(feature = "marine")]
            Self::Marine => "Services",
            #[cfg(feature = "peer")]
            Self::Peer => "The peer under load",
            #[cfg(feature = "peer")]
            Self::Idle => "The peer with idle clients",
        }
    }

    fn command(self) -> &'static str {
        match self {
            Self::Inputs => "cargo xtask bench aquavm --write",
            Self::Growth => "cargo xtask bench aquavm --linear --write",
            Self::Large => "cargo xtask bench aquavm --large --write",
            Self::Capacity => "cargo xtask bench ccp --write",
            #[cfg(feature = "marine")]
            Self::Embedded => "cargo xtask bench embedded --write",
            #[cfg(feature = "marine")]
            Self::Marine => "cargo xtask bench marine --write",
            #[cfg(feature = "peer")]
            Self::Peer => "cargo xtask bench peer --write",
            #[cfg(feature = "peer")]
            Self::Idle => "cargo xtask bench peer --idle 1000,3000 --write",
        }
    }

    fn notes(self) -> &'static str {
        match self {
            Self::Inputs => {
                "Each input of `vectors/aquavm-bench` through ours, the published native crate \
                 (`aquavm-air` 0.64.1) and the published interpreter as peers run it \
                 (`air-interpreter-wasm` 0.64.1 in `avm-server` 0.38.1, whose call also encodes the \
                 results and decodes the requests), alternating in one process, after their \
                 outcomes were compared. Times are thread CPU time from the wire bytes of script, \
                 data and results to the wire bytes of data and requests, medians of 31 runs, each \
                 after one that does not count; only the expanded key is kept between two runs. All are built with overflow checks and \
                 without link-time optimisation. The floor is the cryptography that the protocol \
                 demands, measured in the same run: one signing, one verification of each distinct \
                 foreign signature in current data, one hash of each distinct CID entry of current \
                 data and of each new one. “At most” is 1.5 floors, 10 µs, 0.5 ns a byte of data and \
                 results, 1.5 ns a byte of requests and 5 ns a byte of a script not seen before. \
                 Peak is the most heap that lived at the same time beyond the caller's buffers, at \
                 most 1.1 bytes for each of new data and requests and 0.3 for each of the input. \
                 Other programs ran on the machine: ratios say more than times."
            }
            Self::Growth => {
                "Steps of one particle of generated scripts: requests go out, results come in, \
                 another peer checks everything, what it did is merged. The size is the number of \
                 states of the trace, or of values in the stream."
            }
            Self::Large => {
                "Inputs made as the README of the recorded ones describes; one run each. The same \
                 columns as above."
            }
            Self::Capacity => {
                "The prover through its trait, and a bare loop over the C interface of `ccp-randomx` 0.17 \
                 with the same flags; beside them the stock libraries, `randomx-rs` 1.6.0 and Debian's \
                 `librandomx` 1.1.10, for information: they read the cache half as often, and their \
                 dataset is half as large. All take turns, each library in a process of its own: hashes, \
                 or items, for each second of CPU of the threads that compute them, medians of 9 runs of 2 \
                 CPU-seconds a thread or more. With transparent huge pages, as `ccp` asks for them. In full mode ours and `randomx-rs` have \
                 true datasets, the others noise, on whose contents speed does not depend. Other programs \
                 ran on the machine: ratios say more than rates."
            }
            #[cfg(feature = "marine")]
            Self::Embedded => {
                "`aquavm/wasm` in our engines, dev profile, medians of 31. From cache: the compiled \
                 module is read from disk, started, and gives the result of its first call, which \
                 asks for one call and signs (to reach: 5 ms). Started: the same with the module in \
                 memory already. Running: the same call once more."
            }
            #[cfg(feature = "marine")]
            Self::Marine => {
                "The same modules in our runtime, on both engines, and in the published one \
                 (`marine-runtime` 0.37.0, stacks and epochs as its peer sets them), each in a \
                 process of its own, asked in turn, after their results were compared. Ours have \
                 their limits on and a deadline for each call, take the text of the arguments and \
                 give that of the result; the published one takes and gives parsed JSON, as its \
                 peer uses it. Times of calls are thread CPU time, medians of 31 samples of a \
                 millisecond or more; loads are CPU time of all threads, medians of 5, in new \
                 processes; memory is what each further service adds to the resident memory. All \
                 are built with overflow checks and without link-time optimisation. The modules \
                 are `echo`, `relay` and `parrot` of this repository, and those of \
                 `fluence-spell-distro` 0.7.6."
            }
            #[cfg(feature = "peer")]
            Self::Peer => {
                "The release build of `peer`, feature `jemalloc`, in a process of its own, on loopback over TCP; the \
                 clients beside it on the same cores send particles with empty data that were signed \
                 before, and count the answers. First as many as the peer answers with so many in \
                 flight, then half of that at even intervals, with latencies from the moment when a \
                 particle was to be sent. Lost is what was not answered within 5 s. Processor time is \
                 that of the whole process of the relay, and of the clients, in the first phase."
            }
            #[cfg(feature = "peer")]
            Self::Idle => {
                "Resident memory of a new peer before, with, and after clients that connect and do \
                 nothing."
            }
        }
    }
}

/// Replaces `section` by what was measured now.
pub(super) fn write(root: &Path, section: Section, table: &str) -> Result<(), String> {
    let path = root.join(REPORT);
    let before = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            "# Benchmarks\n\nWritten by `cargo xtask bench`; every figure stands beside one of the \
             published programs or of the protocol's floor, measured in the same run.\n"
                .to_owned()
        }
        Err(error) => return Err(format!("{REPORT}: {error}")),
    };
    let text = format!(
        "## {}\n\n`{}`, {}, commit {}, {}.\n\n{}\n\n{}",
        section.title(),
        section.command(),
        date(),
        commit(root),
        machine(),
        section.notes(),
        table.trim_end()
    );
    let after = replaced(&before, section.title(), &text);
    fs::write(&path, after).map_err(|error| format!("{REPORT}: {error}"))
}

/// `report` with the section of that title replaced, or appended.
fn replaced(report: &str, title: &str, section: &str) -> String {
    let heading = format!("## {title}\n");
    let (before, after) = match report.find(&heading) {
        Some(start) => {
            let (before, rest) = report.split_at(start);
            let after = rest
                .get(heading.len()..)
                .and_then(|rest| Some(rest.split_at(rest.find("\n## ")? + 1).1));
            (before, after.unwrap_or_default())
        }
        None => (report, ""),
    };
    let mut text = format!("{}\n\n{section}\n", before.trim_end());
    if !after.is_empty() {
        text.push('\n');
        text.push_str(after);
    }
    text
}

/// Today, as year-month-day of UTC.
fn date() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let days = now.map_or(0, |time| time.as_secs() / 86_400);
    let (year, month, day) = civil(days);
    format!("{year}-{month:02}-{day:02}")
}

/// The date that many days after 1970-01-01.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| {
        u64::from(year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + leap(year) {
        days -= 365 + leap(year);
        year += 1;
    }
    let lengths = [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

fn commit(root: &Path) -> String {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty", "--exclude=*"])
        .current_dir(root)
        .output();
    match output {
        Ok(output) if output.status.success() => {
            format!("`{}`", String::from_utf8_lossy(&output.stdout).trim())
        }
        _ => "unknown".to_owned(),
    }
}

/// Processor and cores.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let model = model.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    format!("{cores} cores of {model}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(59), (1970, 3, 1));
        assert_eq!(civil(789), (1972, 2, 29));
        assert_eq!(civil(20_000), (2024, 10, 4));
    }

    #[test]
    fn sections_are_replaced() {
        let one = replaced("# Title\n", "One", "## One\n\n1");
        let two = replaced(&one, "Two", "## Two\n\n2");
        assert_eq!(two, "# Title\n\n## One\n\n1\n\n## Two\n\n2\n");
        let again = replaced(&two, "One", "## One\n\n3");
        assert_eq!(again, "# Title\n\n## One\n\n3\n\n## Two\n\n2\n");
    }
}
