//! What a daemon is at: for people, for machines, for Prometheus.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    EpochParameters,
    prover::{Phase, Windows, WorkerId, WorkerStatus},
};

/// The times that rates look back.
const LOOK_BACK: [Duration; 3] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(900),
];

/// What a daemon is at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    /// The epoch; nothing before the first commitment.
    pub epoch: Option<EpochParameters>,
    /// Seconds since it began here.
    pub epoch_age: f64,
    /// Every thread.
    pub workers: Vec<WorkerView>,
    /// Proofs of the epoch that can be asked for.
    pub proofs: u64,
    /// Proofs that could not be written yet.
    pub unsaved_proofs: u64,
    /// Proofs since the daemon began that nobody needs.
    pub dropped_proofs: u64,
}

/// What a thread is at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerView {
    /// The thread, and its unit. Counts are those of the epoch.
    #[serde(flatten)]
    pub status: WorkerStatus,
    /// Hashes a second over 10 s, 60 s and 15 min.
    pub rates: [Option<f64>; 3],
}

/// Turns counters into rates.
#[derive(Debug)]
pub(super) struct Meter {
    epoch: Option<EpochParameters>,
    zero: Instant,
    epoch_began: Instant,
    workers: BTreeMap<WorkerId, Reading>,
}

#[derive(Debug, Default)]
struct Reading {
    windows: Windows,
    /// Counts of the last reading.
    hashes: u64,
    proofs: u64,
    /// Counts when the epoch began.
    hashes_before: u64,
    proofs_before: u64,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            epoch: None,
            zero: now,
            epoch_began: now,
            workers: BTreeMap::new(),
        }
    }

    /// Begins an epoch; false when it goes on, with whatever threshold.
    pub(super) fn begin(&mut self, epoch: Option<EpochParameters>, now: Instant) -> bool {
        let nonce = |epoch: Option<EpochParameters>| epoch.map(|epoch| epoch.global_nonce);
        let new = nonce(self.epoch) != nonce(epoch);
        self.epoch = epoch;
        if new {
            self.epoch_began = now;
            for reading in self.workers.values_mut() {
                reading.hashes_before = reading.hashes;
                reading.proofs_before = reading.proofs;
            }
        }
        new
    }

    /// Reads the counters.
    pub(super) fn read(&mut self, workers: &[WorkerStatus], now: Instant) {
        for worker in workers {
            let reading = self.workers.entry(worker.worker).or_default();
            (reading.hashes, reading.proofs) = (worker.hashes, worker.proofs);
            let time = now.saturating_duration_since(self.zero);
            reading.windows.push(time, worker.hashes);
        }
    }

    pub(super) fn view(&self, workers: Vec<WorkerStatus>, now: Instant) -> View {
        let none = Reading::default();
        let worker = |mut status: WorkerStatus| {
            let reading = self.workers.get(&status.worker).unwrap_or(&none);
            status.hashes = status.hashes.saturating_sub(reading.hashes_before);
            status.proofs = status.proofs.saturating_sub(reading.proofs_before);
            WorkerView {
                rates: LOOK_BACK.map(|time| reading.windows.rate(time)),
                status,
            }
        };
        View {
            epoch: self.epoch,
            epoch_age: now
                .saturating_duration_since(self.epoch_began)
                .as_secs_f64(),
            workers: workers.into_iter().map(worker).collect(),
            proofs: 0,
            unsaved_proofs: 0,
            dropped_proofs: 0,
        }
    }
}

impl View {
    /// A table for a terminal.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = match self.epoch {
            None => writeln!(text, "no commitment yet"),
            Some(epoch) => writeln!(
                text,
                "epoch {} for {:.0} s, difficulty {}",
                short(&epoch.global_nonce.to_string()),
                self.epoch_age,
                short(&epoch.difficulty.to_string())
            ),
        };
        let _ = writeln!(
            text,
            "{:>6} {:>7}  {:<13} {:<26} {:>8} {:>8} {:>8} {:>7}",
            "core", "logical", "unit", "phase", "10 s", "60 s", "15 min", "proofs"
        );
        for WorkerView { status, rates } in &self.workers {
            let place = status
                .place
                .map_or("–".to_owned(), |core| core.0.to_string());
            let (unit, phase) = match &status.unit {
                None => ("–".to_owned(), "idle".to_owned()),
                Some(unit) => (short(&unit.unit.to_string()), describe(&unit.phase)),
            };
            let [ten, minute, quarter] = rates.map(|rate| match rate {
                None => "–".to_owned(),
                Some(rate) if rate < 100.0 => format!("{rate:.2}"),
                Some(rate) => format!("{rate:.0}"),
            });
            let core = format!("{}.{}", status.worker.core.0, status.worker.thread);
            let proofs = status.proofs;
            let _ = writeln!(
                text,
                "{core:>6} {place:>7}  {unit:<13} {phase:<26} {ten:>8} {minute:>8} {quarter:>8} {proofs:>7}"
            );
        }
        let _ = write!(text, "{} proofs kept", self.proofs);
        if self.unsaved_proofs > 0 {
            let _ = write!(text, ", {} wait for the disk", self.unsaved_proofs);
        }
        if self.dropped_proofs > 0 {
            let _ = write!(text, ", {} not needed", self.dropped_proofs);
        }
        text.push('\n');
        text
    }

    /// The metrics, in the text form of OpenMetrics.
    #[must_use]
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        let busy: Vec<&WorkerView> = self
            .workers
            .iter()
            .filter(|worker| worker.status.unit.is_some())
            .collect();
        if !busy.is_empty() {
            gauge(
                &mut text,
                "ccp_epoch_age_seconds",
                "time since the epoch began here",
                self.epoch_age,
            );
        }
        let places: std::collections::BTreeSet<_> = busy
            .iter()
            .filter_map(|worker| worker.status.place)
            .collect();
        gauge(
            &mut text,
            "ccp_allocated_logical_cores",
            "logical cores that prove",
            places.len() as f64,
        );
        gauge(
            &mut text,
            "ccp_unsaved_proofs",
            "proofs that wait for the disk",
            self.unsaved_proofs as f64,
        );
        let mut sums = BTreeMap::<u32, (u64, u64)>::new();
        for WorkerView { status, .. } in &self.workers {
            // A thread without a place counts for its physical core.
            let core = status.place.map_or(status.worker.core.0, |place| place.0);
            let (hashes, proofs) = sums.entry(core).or_default();
            *hashes += status.hashes;
            *proofs += status.proofs;
        }
        for (name, help, proofs) in [
            ("ccp_checked_hashes", "hashes of the epoch", false),
            (
                "ccp_founds_proofs",
                "proofs of the epoch, by its old name",
                true,
            ),
            ("ccp_found_proofs", "proofs of the epoch", true),
        ] {
            let _ = writeln!(text, "# HELP {name} {help}.\n# TYPE {name} counter");
            for (core, counts) in &sums {
                let count = if proofs { counts.1 } else { counts.0 };
                let _ = writeln!(text, "{name}_total{{logical_core_id=\"{core}\"}} {count}");
            }
        }
        text.push_str("# EOF\n");
        text
    }
}

fn gauge(text: &mut String, name: &str, help: &str, value: f64) {
    let _ = writeln!(
        text,
        "# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}"
    );
}

/// Both ends of a long word.
fn short(word: &str) -> String {
    let (Some(start), Some(end)) = (word.get(..6), word.get(word.len().saturating_sub(6)..)) else {
        return word.to_owned();
    };
    format!("{start}…{end}")
}

fn describe(phase: &Phase) -> String {
    match phase {
        Phase::Waiting => "waits for memory".to_owned(),
        Phase::Caching => "makes its cache".to_owned(),
        Phase::Filling(progress) => {
            let percent = (progress.done * 100)
                .checked_div(progress.total)
                .unwrap_or(100);
            let full = (percent / 10) as usize;
            let bar: String = (0..10)
                .map(|cell| if cell < full { '#' } else { '.' })
                .collect();
            format!("dataset [{bar}] {percent} %")
        }
        Phase::Proving => "proves".to_owned(),
        Phase::Paused => "paused".to_owned(),
        Phase::Failed(reason) => format!("failed: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Difficulty, GlobalNonce, LogicalCore, PhysicalCore, Progress, UnitId, prover::UnitStatus,
    };

    fn status(core: u32, phase: Option<Phase>, hashes: u64) -> WorkerStatus {
        WorkerStatus {
            worker: WorkerId {
                core: PhysicalCore(core),
                thread: 0,
            },
            place: Some(LogicalCore(core * 2)),
            unit: phase.map(|phase| UnitStatus {
                unit: UnitId([0xab; 32]),
                phase,
            }),
            hashes,
            proofs: hashes / 100,
            spent: Default::default(),
        }
    }

    /// Two epochs of 100 s; one hash a second in the first, ten in the second.
    fn view() -> View {
        let zero = Instant::now();
        let mut meter = Meter::new(zero);
        let epoch = |nonce| EpochParameters {
            global_nonce: GlobalNonce([nonce; 32]),
            difficulty: Difficulty([0x0f; 32]),
        };
        assert!(meter.begin(Some(epoch(1)), zero));
        let mut hashes = 0;
        for second in 0..=200 {
            let now = zero + Duration::from_secs(second);
            meter.read(&[status(0, Some(Phase::Proving), hashes)], now);
            if second == 100 {
                assert!(meter.begin(Some(epoch(2)), now));
                assert!(!meter.begin(Some(epoch(2)), now));
            }
            hashes += if second < 100 { 1 } else { 10 };
        }
        let filling = Phase::Filling(Progress {
            done: 41,
            total: 100,
        });
        let workers = vec![
            status(0, Some(Phase::Proving), 1100),
            status(1, Some(filling), 0),
            status(2, None, 0),
        ];
        let mut view = meter.view(workers, zero + Duration::from_secs(200));
        (view.proofs, view.unsaved_proofs) = (10, 1);
        view
    }

    #[test]
    fn tables_say_what_every_core_does() {
        let table = view().table();
        let expected = "\
epoch 020202…020202 for 100 s, difficulty 0f0f0f…0f0f0f
  core logical  unit          phase                          10 s     60 s   15 min  proofs
   0.0       0  ababab…ababab proves                        10.00    10.00     5.50      10
   1.0       2  ababab…ababab dataset [####......] 41 %         –        –        –       0
   2.0       4  –             idle                              –        –        –       0
10 proofs kept, 1 wait for the disk
";
        assert_eq!(table, expected);
    }

    #[test]
    fn metrics_count_the_epoch() {
        let metrics = view().metrics();
        for line in [
            "ccp_epoch_age_seconds 100",
            "ccp_allocated_logical_cores 2",
            "ccp_checked_hashes_total{logical_core_id=\"0\"} 1000",
            "ccp_founds_proofs_total{logical_core_id=\"0\"} 10",
            "ccp_found_proofs_total{logical_core_id=\"4\"} 0",
        ] {
            assert!(
                metrics.contains(&format!("\n{line}\n")),
                "{line}: {metrics}"
            );
        }
        assert!(metrics.ends_with("# EOF\n"));
    }

    #[test]
    fn machines_read_json() {
        let json = serde_json::to_value(view()).unwrap();
        assert_eq!(json["workers"][0]["unit"]["phase"], "proving");
        assert_eq!(json["workers"][1]["unit"]["phase"]["filling"]["done"], 41);
        assert_eq!(json["workers"][0]["rates"][1], 10.0);
        assert_eq!(json["workers"][2]["unit"], serde_json::Value::Null);
    }
}
