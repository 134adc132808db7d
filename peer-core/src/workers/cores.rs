//! Which cores of the machine work for which compute unit (§7.1 of the peer description).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Topology;

/// A compute unit of the marketplace.
pub type UnitId = [u8; 32];

/// Most cores that a range may name: more than any machine has.
const MAX_CORES: u32 = 1 << 16;

/// Numbers of cores, such as `0-3,5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreRange(BTreeSet<u32>);

/// A text that is no range of cores.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not a range of cores, expected numbers below 65536 such as `0-3,5`")]
pub struct CoreRangeError {
    /// The text.
    pub text: String,
}

impl FromStr for CoreRange {
    type Err = CoreRangeError;

    fn from_str(text: &str) -> Result<Self, CoreRangeError> {
        let error = || CoreRangeError {
            text: text.to_owned(),
        };
        let number = |part: &str| match part.trim().parse::<u32>() {
            Ok(number) if number < MAX_CORES => Ok(number),
            _ => Err(error()),
        };
        let mut cores = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(error());
            }
            cores.extend(first..=last);
        }
        Ok(Self(cores))
    }
}

impl fmt::Display for CoreRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for &core in &self.0 {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == core => *last = core,
                _ => runs.push((core, core)),
            }
        }
        for (index, (first, last)) in runs.iter().enumerate() {
            if index > 0 {
                formatter.write_str(",")?;
            }
            match first == last {
                true => write!(formatter, "{first}")?,
                false => write!(formatter, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// How cores are assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoresConfig {
    /// The cores of the peer; all but the first one when absent.
    pub range: Option<CoreRange>,
    /// How many of them, from the first on, are kept for the peer itself.
    pub system_cores: usize,
    /// Whether a core may work for several units.
    pub shared: bool,
    /// The machine.
    pub topology: Topology,
}

impl Default for CoresConfig {
    fn default() -> Self {
        Self {
            range: None,
            system_cores: 1,
            shared: false,
            topology: Topology::of_machine(),
        }
    }
}

/// What a unit works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkType {
    /// A commitment of capacity.
    CapacityCommitment,
    /// A deal.
    Deal,
}

/// Why units got no cores.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CoreError {
    /// No core for the system.
    #[error("System core count should be > 0")]
    NoSystemCores,
    /// More cores for the system than there are.
    #[error("Too much system cores needed. Required: {required}, available: {available}")]
    TooManySystemCores {
        /// How many are needed.
        required: usize,
        /// How many the range has.
        available: usize,
    },
    /// A range that the machine does not have.
    #[error("The specified Core range {range} exceeds the available CPU count")]
    Range {
        /// The range.
        range: CoreRange,
    },
    /// All cores work for others.
    #[error(
        "Couldn't assign core: no free cores left. Required: {required}, available: {available}, \
         acquire_request: {request}, current assignment: {assignment}"
    )]
    NoFreeCores {
        /// How many are needed.
        required: usize,
        /// How many are free.
        available: usize,
        /// The units and what for.
        request: String,
        /// Units and their cores.
        assignment: String,
    },
}

/// The cores of a peer and who works where.
#[derive(Clone, Debug)]
pub struct Cores {
    range: CoreRange,
    system: Vec<u32>,
    shared: bool,
    topology: Topology,
    state: State,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    /// Taken from the back.
    free: Vec<u32>,
    units: BTreeMap<UnitId, (u32, WorkType)>,
    /// The core that a unit had last.
    last: BTreeMap<UnitId, u32>,
}

/// What is kept about cores over a restart.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    range: Vec<u32>,
    system: usize,
    shared: bool,
    state: State,
}

impl Cores {
    /// The cores of these settings, with the assignment of an earlier run unless the settings have
    /// changed.
    pub(super) fn new(config: &CoresConfig, saved: Option<Saved>) -> Result<Self, CoreError> {
        let count = u32::try_from(config.topology.cores()).unwrap_or(MAX_CORES);
        let range = config.range.clone().unwrap_or_else(|| {
            // A machine with one core has to share it.
            CoreRange((u32::from(count > 1)..count).collect())
        });
        if config.system_cores == 0 {
            return Err(CoreError::NoSystemCores);
        }
        if range.0.last().is_some_and(|&last| last >= count) {
            return Err(CoreError::Range { range });
        }
        if range.0.len() < config.system_cores {
            return Err(CoreError::TooManySystemCores {
                required: config.system_cores,
                available: range.0.len(),
            });
        }
        let cores: Vec<u32> = range.0.iter().copied().collect();
        let (system, rest) = cores.split_at(config.system_cores);
        let same = |saved: &Saved| {
            saved.range == cores
                && saved.system == config.system_cores
                && saved.shared == config.shared
        };
        let state = match saved.filter(same) {
            Some(saved) => saved.state,
            // Where cores are shared, even those of the system are better than none.
            None if config.shared && rest.is_empty() => State {
                free: system.to_vec(),
                ..State::default()
            },
            None => State {
                free: rest.to_vec(),
                ..State::default()
            },
        };
        Ok(Self {
            system: system.to_vec(),
            shared: config.shared,
            topology: config.topology.clone(),
            range,
            state,
        })
    }

    /// The cores that are kept for the peer itself.
    #[must_use]
    pub fn system(&self) -> &[u32] {
        &self.system
    }

    /// Gives each unit a core; those that have one keep it. The result is how many logical
    /// processors the units have together.
    ///
    /// # Errors
    /// Fewer free cores than units without one; then nothing has changed.
    pub fn acquire(&mut self, units: &[UnitId], work: WorkType) -> Result<usize, CoreError> {
        let state = &mut self.state;
        let new: BTreeSet<&UnitId> = units
            .iter()
            .filter(|unit| !state.units.contains_key(*unit))
            .collect();
        let lacking = match self.shared {
            true => !new.is_empty() && state.free.is_empty(),
            false => new.len() > state.free.len(),
        };
        if lacking {
            let names =
                |(unit, (core, _)): (&UnitId, &(u32, WorkType))| format!("{} on {core}", hex(unit));
            let assigned: Vec<String> = state.units.iter().map(names).collect();
            let asked: Vec<String> = units.iter().map(hex).collect();
            return Err(CoreError::NoFreeCores {
                required: new.len(),
                available: state.free.len(),
                request: format!("{{ {} for {work:?} }}", asked.join(", ")),
                assignment: format!("[{}]", assigned.join(", ")),
            });
        }
        // Those that had a core choose first.
        let (known, fresh): (Vec<&UnitId>, Vec<&UnitId>) = new.into_iter().partition(|unit| {
            state
                .last
                .get(*unit)
                .is_some_and(|core| state.free.contains(core))
        });
        for unit in known.into_iter().chain(fresh) {
            let last = state.last.get(unit);
            let place = last.and_then(|last| state.free.iter().position(|core| core == last));
            let core = match place {
                Some(place) => Some(state.free.remove(place)),
                None => state.free.pop(),
            };
            let Some(core) = core else { continue };
            if self.shared {
                state.free.insert(0, core);
            }
            state.last.insert(*unit, core);
            state.units.insert(*unit, (core, work));
        }
        let mut cores = BTreeSet::new();
        for unit in units {
            if let Some((core, of)) = state.units.get_mut(unit) {
                *of = work;
                cores.insert(*core);
            }
        }
        let topology = &self.topology;
        Ok(cores
            .into_iter()
            .map(|core| topology.processors(core))
            .sum())
    }

    /// Takes the cores of units back.
    pub fn release(&mut self, units: &[UnitId]) {
        for unit in units {
            if let Some((core, _)) = self.state.units.remove(unit)
                && !self.shared
            {
                self.state.free.push(core);
            }
        }
        // Units that are gone for good must not be remembered for ever.
        while self.state.last.len() > MAX_REMEMBERED
            && let Some(unit) = self
                .state
                .last
                .keys()
                .find(|unit| !self.state.units.contains_key(*unit))
                .copied()
        {
            self.state.last.remove(&unit);
        }
    }

    /// Units that work for this, with their cores.
    #[must_use]
    pub fn of(&self, work: WorkType) -> BTreeMap<UnitId, u32> {
        let units = self.state.units.iter();
        units
            .filter(|(_, (_, of))| *of == work)
            .map(|(unit, (core, _))| (*unit, *core))
            .collect()
    }

    /// The core of a unit.
    #[must_use]
    pub fn core(&self, unit: &UnitId) -> Option<(u32, WorkType)> {
        self.state.units.get(unit).copied()
    }

    pub(super) fn save(&self) -> Saved {
        Saved {
            range: self.range.0.iter().copied().collect(),
            system: self.system.len(),
            shared: self.shared,
            state: self.state.clone(),
        }
    }
}

/// Units whose last cores are remembered.
const MAX_REMEMBERED: usize = 1_024;

fn hex(unit: &UnitId) -> String {
    unit.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(range: &str, system: usize, shared: bool) -> Result<Cores, CoreError> {
        let config = CoresConfig {
            range: Some(range.parse().unwrap()),
            system_cores: system,
            shared,
            topology: Topology::new(vec![2; 8]),
        };
        Cores::new(&config, None)
    }

    #[test]
    fn ranges() {
        for (text, shown) in [("0-3,5", "0-3,5"), ("1,2, 3", "1-3"), ("7", "7")] {
            assert_eq!(text.parse::<CoreRange>().unwrap().to_string(), shown);
        }
        for text in ["", "3-1", "a", "1-", "0-70000", "1;2"] {
            let error = text.parse::<CoreRange>().unwrap_err().to_string();
            assert!(error.contains("is not a range of cores"), "{error}");
        }
    }

    #[test]
    fn settings_that_cannot_be_met() {
        let text = |range, system| cores(range, system, false).unwrap_err().to_string();
        assert_eq!(text("0-3", 0), "System core count should be > 0");
        assert_eq!(
            text("0-3", 5),
            "Too much system cores needed. Required: 5, available: 4"
        );
        assert_eq!(
            text("0-8", 1),
            "The specified Core range 0-8 exceeds the available CPU count"
        );
        // Without a range, all but the first.
        let config = CoresConfig {
            topology: Topology::new(vec![1; 3]),
            range: None,
            system_cores: 1,
            shared: false,
        };
        let cores = Cores::new(&config, None).unwrap();
        assert_eq!(
            (cores.system(), cores.state.free.as_slice()),
            (&[1][..], &[2][..])
        );
        let one = CoresConfig {
            topology: Topology::new(vec![1]),
            ..config
        };
        assert_eq!(Cores::new(&one, None).unwrap().system(), [0]);
    }

    #[test]
    fn a_unit_keeps_its_core() {
        let mut cores = cores("0-3", 1, false).unwrap();
        let (a, b, c, d) = ([1; 32], [2; 32], [3; 32], [4; 32]);
        assert_eq!(cores.acquire(&[a, b], WorkType::Deal), Ok(4));
        assert_eq!(cores.core(&a), Some((3, WorkType::Deal)));
        assert_eq!(cores.core(&b), Some((2, WorkType::Deal)));
        // Only the kind of work changes.
        cores.acquire(&[a], WorkType::CapacityCommitment).unwrap();
        assert_eq!(cores.core(&a), Some((3, WorkType::CapacityCommitment)));
        let error = cores
            .acquire(&[c, d], WorkType::Deal)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(
                "Couldn't assign core: no free cores left. Required: 2, available: 1, \
                 acquire_request: {"
            ),
            "{error}"
        );
        assert_eq!(cores.core(&c), None);
        cores.release(&[b, a]);
        // Its last core, though another is at the back.
        cores.acquire(&[b], WorkType::Deal).unwrap();
        assert_eq!(cores.core(&b), Some((2, WorkType::Deal)));
        cores.acquire(&[c], WorkType::Deal).unwrap();
        assert_eq!(cores.core(&c), Some((3, WorkType::Deal)));
    }

    #[test]
    fn the_assignment_is_kept_with_its_settings() {
        let mut first = cores("0-3", 1, false).unwrap();
        first.acquire(&[[1; 32]], WorkType::Deal).unwrap();
        let config = |range: &str| CoresConfig {
            range: Some(range.parse().unwrap()),
            system_cores: 1,
            shared: false,
            topology: Topology::new(vec![2; 8]),
        };
        let again = Cores::new(&config("0-3"), Some(first.save())).unwrap();
        assert_eq!(again.core(&[1; 32]), Some((3, WorkType::Deal)));
        let other = Cores::new(&config("0-2"), Some(first.save())).unwrap();
        assert_eq!(other.core(&[1; 32]), None);
    }

    #[test]
    fn shared_cores_are_a_ring() {
        let mut shared = cores("0-2", 1, true).unwrap();
        let units: Vec<UnitId> = (0..5).map(|unit| [unit; 32]).collect();
        shared.acquire(&units, WorkType::Deal).unwrap();
        let cores_of: Vec<u32> = units
            .iter()
            .map(|unit| shared.core(unit).unwrap().0)
            .collect();
        assert_eq!(cores_of, [2, 1, 2, 1, 2]);
        shared.release(&units);
        assert!(units.iter().all(|unit| shared.core(unit).is_none()));
        let mut lonely = cores("0", 1, true).unwrap();
        assert!(lonely.acquire(&units, WorkType::Deal).is_ok());
        let mut strict = cores("0", 1, false).unwrap();
        assert!(strict.acquire(&units, WorkType::Deal).is_err());
    }
}
