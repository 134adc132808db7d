//! The network's puzzle through the C++ library of RandomX.

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use ccp_randomx::{
    Cache, Dataset, RandomXFlags, RandomXVM,
    cache::{CACHE_LEN, CacheHandle},
    dataset::{DATASET_ITEM_SIZE, DatasetHandle},
};

use crate::{
    Footprint, LocalNonce, Preparation, Prepared, Progress, Puzzle, PuzzleError, PuzzleKey,
    ResultHash, Solver, puzzle::Whole,
};

/// Bytes of a solver's scratchpad, and about those of its code.
const SCRATCHPAD: u64 = (2 << 20) + (1 << 18);
/// Items of the dataset.
const ITEMS: u64 = (4_294_967_296 + 33_554_368) / DATASET_ITEM_SIZE;

/// Which instructions fill a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Argon2 {
    /// Those that every processor has.
    Default,
    /// SSSE3.
    Ssse3,
    /// AVX2.
    Avx2,
}

/// How the library works; what is not set is as it recommends for this processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NativeOptions {
    /// Without the dataset: 256 MiB instead of 4 GiB, and a twentieth of the speed.
    pub light: bool,
    /// Huge pages; unset: where the system has them.
    pub large_pages: Option<bool>,
    /// AES instructions.
    pub hard_aes: Option<bool>,
    /// Compiled programs instead of interpreted ones.
    pub jit: Option<bool>,
    /// No memory that can be written and executed at the same time; slower.
    pub secure: bool,
    /// Which instructions fill a cache.
    pub argon2: Option<Argon2>,
}

/// RandomX with the parameters of the network, at the speed of the C++ library.
///
/// A solver changes how its thread rounds floating-point numbers.
#[derive(Clone, Copy, Debug)]
pub struct NativePuzzle {
    options: NativeOptions,
    flags: RandomXFlags,
}

impl NativePuzzle {
    /// The puzzle, with options.
    #[must_use]
    pub fn new(options: NativeOptions) -> Self {
        let mut flags = RandomXFlags::recommended();
        if let Some(wanted) = options.hard_aes {
            flags.set(RandomXFlags::HARD_AES, wanted);
        }
        if let Some(wanted) = options.jit {
            flags.set(RandomXFlags::FLAG_JIT, wanted);
        }
        flags.set(RandomXFlags::FLAG_SECURE, options.secure);
        flags.set(RandomXFlags::FULL_MEM, !options.light);
        if let Some(argon2) = options.argon2 {
            flags.remove(RandomXFlags::FLAG_ARGON2);
            match argon2 {
                Argon2::Default => {}
                Argon2::Ssse3 => flags.insert(RandomXFlags::FLAG_ARGON2_SSSE3),
                Argon2::Avx2 => flags.insert(RandomXFlags::FLAG_ARGON2_AVX2),
            }
        }
        Self { options, flags }
    }

    /// Tries with huge pages where they are wanted, or not refused.
    fn paged<T>(
        &self,
        make: impl Fn(RandomXFlags) -> Result<T, ccp_randomx::RandomXError>,
    ) -> Result<T, ccp_randomx::RandomXError> {
        paged(self.options.large_pages, self.flags, make)
    }

    fn cache(&self, key: &[u8]) -> Result<Cache, PuzzleError> {
        let light = self.flags - RandomXFlags::FULL_MEM;
        paged(self.options.large_pages, light, |flags| {
            Cache::new(key, flags)
        })
        .map_err(|_| PuzzleError::OutOfMemory { needed: CACHE_LEN })
    }

    /// The hash of any input with any key, in light mode.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn hash(&self, key: &[u8], input: &[u8]) -> Result<ResultHash, PuzzleError> {
        let light = Self::new(NativeOptions {
            light: true,
            ..self.options
        });
        let cache = light.cache(key)?;
        let machine = light.paged(|flags| RandomXVM::light(cache.handle(), flags));
        let machine = machine.map_err(|_| PuzzleError::OutOfMemory { needed: SCRATCHPAD })?;
        bytes(&machine.hash(input))
    }
}

impl Default for NativePuzzle {
    fn default() -> Self {
        Self::new(NativeOptions::default())
    }
}

fn paged<T>(
    wanted: Option<bool>,
    flags: RandomXFlags,
    make: impl Fn(RandomXFlags) -> Result<T, ccp_randomx::RandomXError>,
) -> Result<T, ccp_randomx::RandomXError> {
    match wanted {
        Some(true) => make(flags | RandomXFlags::LARGE_PAGES),
        Some(false) => make(flags),
        None => make(flags | RandomXFlags::LARGE_PAGES).or_else(|_| make(flags)),
    }
}

fn bytes(hash: &ccp_randomx::ResultHash) -> Result<ResultHash, PuzzleError> {
    let hash: &[u8] = hash.as_ref();
    let bytes = hash.try_into().map_err(|_| PuzzleError::Failed {
        reason: format!("a hash of {} bytes", hash.len()),
    })?;
    Ok(ResultHash(bytes))
}

impl Puzzle for NativePuzzle {
    fn prepare(&self, key: &PuzzleKey) -> Result<Arc<dyn Prepared>, PuzzleError> {
        let preparation = self.begin(key)?;
        while preparation.advance(u64::MAX)? {}
        preparation.finish()?.ok_or_else(|| PuzzleError::Failed {
            reason: "the dataset is not complete".to_owned(),
        })
    }

    fn begin(&self, key: &PuzzleKey) -> Result<Arc<dyn Preparation>, PuzzleError> {
        let cache = self.cache(&key.0)?;
        if self.options.light {
            return Ok(Arc::new(Whole(Arc::new(Light {
                cache: cache.handle(),
                puzzle: *self,
            }))));
        }
        let dataset = self
            .paged(|flags| Dataset::allocate(flags.contains(RandomXFlags::LARGE_PAGES)))
            .map_err(|_| PuzzleError::OutOfMemory {
                needed: ITEMS * DATASET_ITEM_SIZE,
            })?;
        Ok(Arc::new(Filling {
            puzzle: *self,
            cache: Mutex::new(Some(cache.handle())),
            total: dataset.items_count(),
            dataset: dataset.handle(),
            taken: AtomicU64::new(0),
            done: AtomicU64::new(0),
        }))
    }

    fn checker(&self) -> Option<Arc<dyn Puzzle>> {
        let light = NativeOptions {
            light: true,
            ..self.options
        };
        (!self.options.light).then(|| Arc::new(Self::new(light)) as Arc<dyn Puzzle>)
    }

    fn footprint(&self) -> Footprint {
        let dataset = match self.options.light {
            true => 0,
            false => ITEMS * DATASET_ITEM_SIZE,
        };
        Footprint {
            preparing: dataset + CACHE_LEN,
            prepared: if dataset == 0 { CACHE_LEN } else { dataset },
            solver: SCRATCHPAD,
        }
    }
}

/// A cache, which needs no more preparation.
#[derive(Debug)]
struct Light {
    puzzle: NativePuzzle,
    cache: CacheHandle,
}

impl Prepared for Light {
    fn solver<'a>(&'a self) -> Result<Box<dyn Solver + 'a>, PuzzleError> {
        let machine = self
            .puzzle
            .paged(|flags| RandomXVM::light(self.cache.clone(), flags));
        match machine {
            Ok(machine) => Ok(Box::new(Machine(machine))),
            Err(_) => Err(PuzzleError::OutOfMemory { needed: SCRATCHPAD }),
        }
    }
}

/// A dataset in the making.
#[derive(Debug)]
struct Filling {
    puzzle: NativePuzzle,
    /// Dropped once the dataset is complete.
    cache: Mutex<Option<CacheHandle>>,
    dataset: DatasetHandle,
    total: u64,
    taken: AtomicU64,
    done: AtomicU64,
}

impl Preparation for Filling {
    fn advance(&self, items: u64) -> Result<bool, PuzzleError> {
        let take =
            |taken: u64| (taken < self.total).then(|| taken.saturating_add(items).min(self.total));
        // Each item goes to one thread only: two must not write the same memory.
        let Ok(start) = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        else {
            return Ok(false);
        };
        let cache = self
            .cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(cache) = cache else {
            return Ok(false);
        };
        let count = items.min(self.total - start);
        self.dataset.clone().initialize(&cache, start, count);
        self.done.fetch_add(count, Ordering::Release);
        Ok(count > 0)
    }

    fn progress(&self) -> Progress {
        Progress {
            done: self.done.load(Ordering::Acquire),
            total: self.total,
        }
    }

    fn finish(&self) -> Result<Option<Arc<dyn Prepared>>, PuzzleError> {
        let Progress { done, total } = self.progress();
        if done < total {
            return Ok(None);
        }
        self.cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Ok(Some(Arc::new(Full {
            puzzle: self.puzzle,
            dataset: self.dataset.clone(),
        })))
    }
}

/// A complete dataset.
#[derive(Debug)]
struct Full {
    puzzle: NativePuzzle,
    dataset: DatasetHandle,
}

impl Prepared for Full {
    fn solver<'a>(&'a self) -> Result<Box<dyn Solver + 'a>, PuzzleError> {
        let machine = self
            .puzzle
            .paged(|flags| RandomXVM::fast(self.dataset.clone(), flags));
        match machine {
            Ok(machine) => Ok(Box::new(Machine(machine))),
            Err(_) => Err(PuzzleError::OutOfMemory { needed: SCRATCHPAD }),
        }
    }
}

struct Machine<T>(RandomXVM<T>);

impl<T> Solver for Machine<T> {
    fn hash(&mut self, nonce: &LocalNonce) -> Result<ResultHash, PuzzleError> {
        bytes(&self.0.hash(&nonce.0))
    }

    fn scan(
        &mut self,
        start: LocalNonce,
        limit: u64,
        visit: &mut dyn FnMut(LocalNonce, ResultHash) -> ControlFlow<()>,
    ) -> Result<LocalNonce, PuzzleError> {
        if limit == 0 {
            return Ok(start);
        }
        let mut nonce = start;
        self.0.hash_first(&nonce.0);
        for _ in 1..limit {
            let next = nonce.next();
            let hash = bytes(&self.0.hash_next(&next.0))?;
            // What is begun of the next hash is a hundredth of it.
            if visit(nonce, hash).is_break() {
                return Ok(next);
            }
            nonce = next;
        }
        let _ = visit(nonce, bytes(&self.0.hash_last())?);
        Ok(nonce.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GlobalNonce, UnitId};

    fn light() -> NativePuzzle {
        NativePuzzle::new(NativeOptions {
            light: true,
            ..NativeOptions::default()
        })
    }

    #[test]
    fn overlapped_hashes_are_the_same() {
        let key = PuzzleKey::new(&GlobalNonce([1; 32]), &UnitId([2; 32]));
        let prepared = light().prepare(&key).unwrap();
        let mut solver = prepared.solver().unwrap();
        let start = LocalNonce([3; 32]);
        let expected = "f01216a1065c4316804cc9d6c92d5915d833947f1a124f660436f1bed8ab7b9d";
        assert_eq!(solver.hash(&start).unwrap().to_string(), expected);
        let mut seen = Vec::new();
        let next = solver
            .scan(start, 4, &mut |nonce, hash| {
                seen.push((nonce, hash));
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(seen.len(), 4);
        assert_eq!(next, start.next().next().next().next());
        for (nonce, hash) in seen {
            assert_eq!(solver.hash(&nonce).unwrap(), hash, "{nonce}");
        }
        let next = solver
            .scan(start, 9, &mut |_, _| ControlFlow::Break(()))
            .unwrap();
        assert_eq!(next, start.next());
    }

    /// A hash reads 16,384 items: with these alone the dataset is as good as complete.
    #[cfg(feature = "portable")]
    #[test]
    fn hashes_with_the_dataset_are_the_same() {
        use std::io::Write as _;

        use crate::randomx::{self, Hasher, Parameters};

        let key = PuzzleKey::new(&GlobalNonce([1; 32]), &UnitId([2; 32]));
        let start = LocalNonce([3; 32]);
        let portable = randomx::Cache::new(&key.0, Parameters::NETWORK).unwrap();
        let expected = [start, start.next()].map(|nonce| {
            let hash = Hasher::new(&portable).hash(&nonce.0);
            (nonce, ResultHash(hash))
        });
        let mut items = randomx::READ.take();
        items.sort_unstable();
        items.dedup();
        assert!(items.len() > 32_000, "{} items", items.len());

        let puzzle = NativePuzzle::new(NativeOptions {
            large_pages: Some(false),
            ..NativeOptions::default()
        });
        let Ok(dataset) = Dataset::allocate(false) else {
            let said = writeln!(std::io::stderr(), "skipped: no room for a dataset of 4 GiB");
            return said.unwrap();
        };
        let (mut dataset, cache) = (dataset.handle(), puzzle.cache(&key.0).unwrap().handle());
        for item in items {
            dataset.initialize(&cache, item, 1);
        }
        let full = Full { puzzle, dataset };
        let mut solver = full.solver().unwrap();
        let mut seen = Vec::new();
        solver
            .scan(start, 2, &mut |nonce, hash| {
                seen.push((nonce, hash));
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(seen, expected);
    }

    #[test]
    fn memory_is_that_of_the_network() {
        let filling = NativePuzzle::default();
        assert_eq!(filling.footprint().prepared, 4_328_521_664);
        assert_eq!(light().footprint().prepared, 256 << 20);
    }
}
