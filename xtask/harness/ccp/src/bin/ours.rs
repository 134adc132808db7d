//! Our prover and portable verifier, and bare loops over the C interface below the prover.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use ccp::{
    Difficulty, EpochParameters, GlobalNonce, LocalNonce, NativeOptions, NativePuzzle, PhysicalCore,
    PortablePuzzle, Prepared, Preparation, Puzzle, PuzzleKey, RawProof, UnitId,
    prover::{Commitment, ProofSink, Prover, ProverOptions, WorkerId},
};
use ccp_bench_harness::{next, nonce, process_seconds, rate, serve, thread_seconds};
use ccp_randomx::{Cache, Dataset, RandomXFlags, RandomXVM, dataset::DatasetHandle};

const KEY: [u8; 32] = [1; 32];

fn main() {
    let (mut full, mut bare_full, mut portable, mut proving) = (None, None, None, None);
    serve(move |words| match words {
        // Where the system happens to put a cache matters more than what is measured: new ones each time.
        ["ours", "light", threads, seconds] => ours(&native(true), threads, seconds),
        ["ours", "full", threads, seconds] => {
            ours(full.get_or_insert_with(|| native(false)), threads, seconds)
        }
        ["portable", threads, seconds] => ours(
            portable.get_or_insert_with(|| PortablePuzzle::new().prepare(&PuzzleKey(KEY)).unwrap()),
            threads,
            seconds,
        ),
        ["bare", "light", threads, seconds] => {
            let cache = Cache::new(&KEY, RandomXFlags::recommended()).unwrap().handle();
            let machine = || RandomXVM::light(cache.clone(), RandomXFlags::recommended()).unwrap();
            bare(machine, threads, seconds)
        }
        ["bare", "full", threads, seconds] => {
            let dataset: &DatasetHandle = bare_full.get_or_insert_with(dataset);
            let flags = RandomXFlags::recommended_full_mem();
            bare(|| RandomXVM::fast(dataset.clone(), flags).unwrap(), threads, seconds)
        }
        ["dataset"] => {
            let before = process_seconds();
            full.get_or_insert_with(|| native(false));
            process_seconds() - before
        }
        ["init", threads, seconds] => init(threads, seconds),
        ["cache"] => {
            let before = thread_seconds();
            drop(Cache::new(&[before as u8; 32], RandomXFlags::recommended()).unwrap());
            thread_seconds() - before
        }
        ["first"] => first_hash(),
        // Two in a row are measured on the same prover, with the same cache.
        ["changes", per_second, seconds] => {
            let last = proving.take();
            let prover = proving.insert(last.unwrap_or_else(Proving::start));
            let rate = prover.changes(number(per_second), seconds);
            if prover.measured == 2 {
                proving = None;
            }
            rate
        }
        _ => panic!("unknown task {words:?}"),
    });
}

fn number(word: &str) -> u64 {
    word.parse().unwrap()
}

fn time(word: &str) -> Duration {
    Duration::from_secs(number(word))
}

fn puzzle(light: bool) -> NativePuzzle {
    NativePuzzle::new(NativeOptions {
        light,
        large_pages: Some(false),
        ..NativeOptions::default()
    })
}

fn native(light: bool) -> Arc<dyn Prepared> {
    let preparation = puzzle(light).begin(&PuzzleKey(KEY)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| while preparation.advance(65_536).unwrap() {});
        }
    });
    preparation.finish().unwrap().unwrap()
}

/// Hashes a CPU-second, as the prover computes them.
fn ours(prepared: &Arc<dyn Prepared>, threads: &str, seconds: &str) -> f64 {
    let round = 16;
    rate(
        threads.parse().unwrap(),
        time(seconds),
        |index| (prepared.solver().unwrap(), LocalNonce(nonce(index))),
        |(solver, nonce)| {
            *nonce = solver.scan(*nonce, round, &mut |_, _| ControlFlow::Continue(())).unwrap();
            round
        },
    )
}

/// Hashes a CPU-second without anything of ours.
fn bare<T>(machine: impl Fn() -> RandomXVM<T> + Sync, threads: &str, seconds: &str) -> f64 {
    rate(
        threads.parse().unwrap(),
        time(seconds),
        |index| (machine(), nonce(index)),
        |(machine, nonce)| {
            machine.hash_first(nonce);
            for _ in 1..16 {
                next(nonce);
                std::hint::black_box(machine.hash_next(nonce));
            }
            std::hint::black_box(machine.hash_last());
            next(nonce);
            16
        },
    )
}

/// A dataset of noise: how fast hashes are does not depend on what is in it.
fn dataset() -> DatasetHandle {
    let dataset = Dataset::allocate(false).unwrap().handle();
    let words = (dataset.items_count() * 8) as usize;
    let memory = dataset.memory().cast::<u64>();
    let mut state = 1_u64;
    for index in 0..words {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // SAFETY: the dataset has that many words, and nobody else uses it yet.
        unsafe { memory.add(index).write(state) };
    }
    dataset
}

/// Items of a dataset a CPU-second.
fn init(threads: &str, seconds: &str) -> f64 {
    static PREPARATION: OnceLock<Arc<dyn Preparation>> = OnceLock::new();
    let preparation =
        PREPARATION.get_or_init(|| puzzle(false).begin(&PuzzleKey([9; 32])).unwrap());
    let chunk = 4096;
    rate(
        threads.parse().unwrap(),
        time(seconds),
        |_| (),
        |()| {
            assert!(preparation.advance(chunk).unwrap(), "the dataset is complete");
            chunk
        },
    )
}

/// Remembers the epoch of the last proof.
#[derive(Default)]
struct Last(Mutex<Option<GlobalNonce>>);

impl ProofSink for Last {
    fn found(&self, _: WorkerId, proof: RawProof) {
        *self.0.lock().unwrap() = Some(proof.epoch.global_nonce);
    }
}

fn commitment(nonce: u8, difficulty: u8) -> Commitment {
    let mut threshold = [0; 32];
    threshold[1] = difficulty;
    Commitment {
        epoch: EpochParameters {
            global_nonce: GlobalNonce([nonce; 32]),
            difficulty: Difficulty(threshold),
        },
        allocation: [(PhysicalCore(0), UnitId([2; 32]))].into(),
    }
}

fn prover(sink: Arc<Last>) -> Prover {
    let options = ProverOptions {
        threads_per_core: Some(1),
        pin: false,
        ..ProverOptions::for_this_machine().unwrap()
    };
    Prover::new(Arc::new(puzzle(true)), sink, options)
}

fn hashes(prover: &Prover) -> u64 {
    prover.workers().iter().map(|worker| worker.hashes).sum()
}

fn wait_for_hash(prover: &Prover, count: u64) {
    while hashes(prover) < count {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// CPU-seconds from a new global nonce to the first hash, in light mode, of a prover that proves.
fn first_hash() -> f64 {
    let last = Arc::new(Last::default());
    let prover = prover(Arc::clone(&last));
    prover.commit(commitment(1, 1)).unwrap();
    wait_for_hash(&prover, 3);
    let before = process_seconds();
    // Every hash is a proof.
    let mut next = commitment(2, 1);
    next.epoch.difficulty = Difficulty([0xff; 32]);
    prover.commit(next).unwrap();
    while *last.0.lock().unwrap() != Some(GlobalNonce([2; 32])) {
        std::thread::sleep(Duration::from_millis(1));
    }
    process_seconds() - before
}

/// A prover at work.
struct Proving {
    prover: Prover,
    measured: u32,
}

impl Proving {
    fn start() -> Self {
        let prover = prover(Arc::default());
        prover.commit(commitment(1, 1)).unwrap();
        wait_for_hash(&prover, 3);
        Self { prover, measured: 0 }
    }

    /// Hashes a CPU-second while the difficulty changes so many times a second.
    fn changes(&mut self, per_second: u64, seconds: &str) -> f64 {
        let prover = &self.prover;
        let (start, before, known) = (Instant::now(), process_seconds(), hashes(prover));
        let mut change = 0;
        let least = time(seconds).as_secs_f64();
        while process_seconds() - before < least || start.elapsed() < time(seconds) {
            std::thread::sleep(Duration::from_millis(1000 / per_second.max(1)));
            if per_second > 0 {
                change += 1;
                prover.commit(commitment(1, 1 + (change % 200) as u8)).unwrap();
            }
        }
        self.measured += 1;
        (hashes(prover) - known) as f64 / (process_seconds() - before)
    }
}
