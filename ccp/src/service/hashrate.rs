//! Rates of an epoch, in files.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

use super::{
    files::{self, StateError, io_error},
    view::View,
};

/// The most bytes of a file of rates; after that it begins again.
const MAX_BYTES: u64 = 8 << 20;

/// The folder `hashrate`.
#[derive(Debug)]
pub(super) struct Hashrates {
    folder: PathBuf,
}

/// What was measured, if it was.
#[derive(Serialize)]
enum Measured<T> {
    Measured(T),
    NotMeasured,
}

impl<T> From<Option<T>> for Measured<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::NotMeasured, Self::Measured)
    }
}

/// A logical core in an epoch.
#[derive(Serialize)]
struct Core {
    effective_hashrate: Measured<f64>,
    hashrate: Measured<f64>,
    proofs_found: u64,
    cache_creation: Measured<Duration>,
    dataset_initialization: Measured<Duration>,
}

impl Hashrates {
    pub(super) fn new(state: &Path) -> Self {
        Self {
            folder: state.join("hashrate"),
        }
    }

    fn current(&self) -> PathBuf {
        self.folder.join("current_epoch_hashrate.json")
    }

    /// The current epoch becomes the last one.
    pub(super) fn next_epoch(&mut self) -> Result<(), StateError> {
        let current = self.current();
        if current.is_file() {
            let previous = self.folder.join("prev_epoch_hashrate.json");
            fs::rename(&current, &previous).map_err(io_error(&current, "rename"))?;
        }
        let sliding = self.folder.join("sliding_hashrate");
        if sliding.is_dir() {
            fs::remove_dir_all(&sliding).map_err(io_error(&sliding, "remove"))?;
        }
        Ok(())
    }

    /// Writes the current epoch.
    pub(super) fn write(&mut self, view: &View) -> Result<(), StateError> {
        if view.epoch.is_none() {
            return Ok(());
        }
        let mut cores = BTreeMap::new();
        for worker in &view.workers {
            let status = &worker.status;
            let rate = |time: f64| (time > 0.0).then(|| status.hashes as f64 / time);
            let spent = status.spent;
            let some = |time: Duration| (!time.is_zero()).then_some(time);
            let core = Core {
                effective_hashrate: rate(view.epoch_age).into(),
                hashrate: rate(spent.hashing.as_secs_f64()).into(),
                proofs_found: status.proofs,
                cache_creation: some(spent.caching).into(),
                dataset_initialization: some(spent.filling).into(),
            };
            cores.insert(
                status.place.map_or(status.worker.core.0, |place| place.0),
                core,
            );
        }
        fs::create_dir_all(&self.folder).map_err(io_error(&self.folder, "make this folder"))?;
        let text = serde_json::to_vec(&cores)
            .map_err(|error| io_error(&self.folder, "describe in JSON")(error.into()))?;
        files::replace(&self.current(), &text)
    }

    /// Appends a line for each core.
    pub(super) fn append(&mut self, view: &View) -> Result<(), StateError> {
        let folder = self.folder.join("sliding_hashrate");
        fs::create_dir_all(&folder).map_err(io_error(&folder, "make this folder"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = now.map_or(0, |time| time.as_secs() % 86_400);
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        for worker in &view.workers {
            let [_, Some(rate), _] = worker.rates else {
                continue;
            };
            let place = worker
                .status
                .place
                .map_or(worker.status.worker.core.0, |place| place.0);
            let path = folder.join(place.to_string());
            let small = fs::metadata(&path).is_ok_and(|file| file.len() < MAX_BYTES);
            let mut options = OpenOptions::new();
            options
                .create(true)
                .append(small)
                .write(true)
                .truncate(!small);
            let line = format!(
                "{hours:02}:{minutes:02}:{:02},hashrate,{rate:.3}\n",
                seconds % 60
            );
            options
                .open(&path)
                .and_then(|mut file| file.write_all(line.as_bytes()))
                .map_err(io_error(&path, "append to"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        EpochParameters, LogicalCore, PhysicalCore,
        prover::{Spent, WorkerId, WorkerStatus},
        service::WorkerView,
    };

    #[test]
    fn rates_are_kept_for_two_epochs() {
        let folder = tempfile::tempdir().unwrap();
        let status = WorkerStatus {
            worker: WorkerId {
                core: PhysicalCore(0),
                thread: 0,
            },
            place: Some(LogicalCore(4)),
            unit: None,
            hashes: 100,
            proofs: 2,
            spent: Spent {
                hashing: Duration::from_secs(10),
                caching: Duration::from_millis(1500),
                filling: Duration::ZERO,
            },
        };
        let rates = [None, Some(2.5), None];
        let view = View {
            epoch: Some(EpochParameters {
                global_nonce: Default::default(),
                difficulty: Default::default(),
            }),
            epoch_age: 50.0,
            workers: vec![WorkerView { status, rates }],
            proofs: 2,
            unsaved_proofs: 0,
            dropped_proofs: 0,
        };
        let mut hashrates = Hashrates::new(folder.path());
        hashrates.write(&view).unwrap();
        hashrates.append(&view).unwrap();
        hashrates.append(&view).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join("hashrate").join(name));
        let current: Value =
            serde_json::from_str(&read("current_epoch_hashrate.json").unwrap()).unwrap();
        assert_eq!(current["4"]["hashrate"]["Measured"], 10.0);
        assert_eq!(current["4"]["effective_hashrate"]["Measured"], 2.0);
        assert_eq!(
            current["4"]["cache_creation"]["Measured"]["nanos"],
            500_000_000
        );
        assert_eq!(current["4"]["dataset_initialization"], "NotMeasured");
        let lines = read("sliding_hashrate/4").unwrap();
        assert_eq!(lines.lines().count(), 2);
        assert!(lines.ends_with(",hashrate,2.500\n"), "{lines}");
        hashrates.next_epoch().unwrap();
        assert!(read("current_epoch_hashrate.json").is_err());
        assert!(read("prev_epoch_hashrate.json").is_ok() && read("sliding_hashrate/4").is_err());
    }
}
