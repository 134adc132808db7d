//! Which logical processors belong to one core of the machine.

use std::collections::BTreeSet;

/// The physical cores of a machine, by number; each has at least one logical processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    processors: Vec<usize>,
}

impl Topology {
    /// A machine whose cores have so many logical processors each.
    #[must_use]
    pub fn new(processors: Vec<usize>) -> Self {
        Self { processors }
    }

    /// This machine; where the system does not tell, every logical processor is a core.
    #[must_use]
    pub fn of_machine() -> Self {
        let logical = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut cores = BTreeSet::new();
        for processor in 0.. {
            let path =
                format!("/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list");
            match std::fs::read_to_string(path) {
                // Siblings have the same list.
                Ok(siblings) => cores.insert(siblings.trim().to_owned()),
                Err(_) => break,
            };
        }
        let known: Vec<usize> = cores.iter().filter_map(|list| count(list)).collect();
        match known.iter().sum::<usize>() == logical {
            true => Self::new(known),
            false => Self::new(vec![1; logical]),
        }
    }

    /// How many cores there are.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.processors.len()
    }

    /// How many logical processors a core has; an unknown core has one.
    #[must_use]
    pub fn processors(&self, core: u32) -> usize {
        let core = usize::try_from(core).ok();
        let processors = core.and_then(|core| self.processors.get(core));
        processors.copied().unwrap_or(1)
    }
}

/// How many processors a list such as `0-1,4` names.
fn count(list: &str) -> Option<usize> {
    list.split(',')
        .map(|part| match part.split_once('-') {
            None => part.parse::<usize>().ok().map(|_| 1),
            Some((first, last)) => {
                let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
                last.checked_sub(first)?.checked_add(1)
            }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert_eq!(count("0"), Some(1));
        assert_eq!(count("0-1"), Some(2));
        assert_eq!(count("0,4-6"), Some(4));
        assert_eq!(count("4-1"), None);
        assert_eq!(count("x"), None);
        assert!(Topology::of_machine().cores() > 0);
    }
}
