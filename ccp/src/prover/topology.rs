//! Which cores there are.

use std::{collections::BTreeMap, fs, io, path::Path};

use crate::{LogicalCore, PhysicalCore};

/// Physical cores, each with its logical ones.
///
/// Physical cores are counted in the order of their first logical core within their package, packages
/// in the order of their numbers: as tools that list cores do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    cores: Vec<Vec<LogicalCore>>,
}

/// Why the cores are not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// A file of the system cannot be read.
    #[error("cores are not known: {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the system has no core that can be used.
    #[error("cores are not known: {path} has {content:?}, expected numbers of cores")]
    Unexpected {
        /// The file.
        path: String,
        /// What it has.
        content: String,
    },
}

impl Topology {
    /// The cores of this machine. Where the system does not describe them each logical core counts as
    /// a physical one.
    ///
    /// # Errors
    /// A description that cannot be understood.
    pub fn of_this_machine() -> Result<Self, TopologyError> {
        let root = Path::new("/sys/devices/system/cpu");
        if cfg!(target_os = "linux") && root.join("online").is_file() {
            return Self::read(root);
        }
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self::new(
            (0..count as u32).map(|core| vec![LogicalCore(core)]),
        ))
    }

    /// Physical cores by their logical ones.
    pub fn new(cores: impl IntoIterator<Item = Vec<LogicalCore>>) -> Self {
        Self {
            cores: cores.into_iter().collect(),
        }
    }

    /// The number of physical cores.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.cores.len() as u32
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cores.is_empty()
    }

    /// The logical cores of a physical one.
    #[must_use]
    pub fn logical(&self, core: PhysicalCore) -> Option<&[LogicalCore]> {
        self.cores.get(core.0 as usize).map(Vec::as_slice)
    }

    /// Whether any physical core has it.
    #[must_use]
    pub fn has(&self, core: LogicalCore) -> bool {
        self.cores.iter().any(|logical| logical.contains(&core))
    }

    /// Reads the description below a folder.
    fn read(root: &Path) -> Result<Self, TopologyError> {
        let online = text(&root.join("online"))?;
        let mut cores = BTreeMap::<(u32, u32), Vec<LogicalCore>>::new();
        for core in list(&online).ok_or_else(|| unexpected(&root.join("online"), &online))? {
            let folder = root.join(format!("cpu{core}/topology"));
            let path = folder.join("thread_siblings_list");
            // A core without a description is one of its own.
            let (package, first) = match (text(&folder.join("physical_package_id")), text(&path)) {
                (Ok(package), Ok(siblings)) => {
                    let first = list(&siblings).and_then(|siblings| siblings.into_iter().min());
                    let first = first.ok_or_else(|| unexpected(&path, &siblings))?;
                    (package.parse().unwrap_or_default(), first)
                }
                _ => (0, core),
            };
            cores
                .entry((package, first))
                .or_default()
                .push(LogicalCore(core));
        }
        Ok(Self::new(cores.into_values()))
    }
}

fn text(path: &Path) -> Result<String, TopologyError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(source) => Err(TopologyError::Unreadable {
            path: path.display().to_string(),
            source,
        }),
    }
}

fn unexpected(path: &Path, content: &str) -> TopologyError {
    TopologyError::Unexpected {
        path: path.display().to_string(),
        content: content.chars().take(80).collect(),
    }
}

/// Numbers in the form `0-3,8`; at most 65,536 of them.
fn list(text: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last < first || last - first > 65_535 || numbers.len() > 65_535 {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// Binds this thread to a logical core; false when the system does not.
#[must_use]
pub fn pin(core: LogicalCore) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId {
        id: core.0 as usize,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores() {
        assert_eq!(list("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(list("7"), Some(vec![7]));
        for bad in ["", "a", "3-1", "0-4000000000", "1,,2"] {
            assert_eq!(list(bad), None, "{bad}");
        }
    }

    #[test]
    fn siblings_share_a_core() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("online"), "0-3\n").unwrap();
        for (core, package, siblings) in
            [(0, 0, "0,2"), (1, 1, "1,3"), (2, 0, "0,2"), (3, 1, "1,3")]
        {
            let folder = root.path().join(format!("cpu{core}/topology"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("physical_package_id"), format!("{package}\n")).unwrap();
            fs::write(folder.join("thread_siblings_list"), format!("{siblings}\n")).unwrap();
        }
        let topology = Topology::read(root.path()).unwrap();
        let expected = [[0, 2], [1, 3]].map(|core| core.map(LogicalCore).to_vec());
        assert_eq!(topology, Topology::new(expected));
        assert_eq!(topology.logical(PhysicalCore(2)), None);
    }

    #[test]
    fn this_machine_has_cores() {
        let topology = Topology::of_this_machine().unwrap();
        assert!(!topology.is_empty());
        assert!(
            topology
                .logical(PhysicalCore(0))
                .is_some_and(|core| !core.is_empty())
        );
    }
}
