//! The stock library as `randomx-rs` has it. Its parameters are lighter than those of the network.

use std::time::Duration;

use ccp_bench_harness::{next, nonce, rate, serve};
use randomx_rs::{RandomXCache, RandomXDataset, RandomXFlag, RandomXVM};

fn main() {
    let flags = RandomXFlag::get_recommended_flags();
    let mut dataset = None;
    serve(move |words| match words {
        ["light", threads, seconds] => rate(
            threads.parse().unwrap(),
            Duration::from_secs(seconds.parse().unwrap()),
            |index| {
                // Each thread has a cache of its own: the wrapper does not share one.
                let cache = RandomXCache::new(flags, &[1; 32]).unwrap();
                (RandomXVM::new(flags, Some(cache), None).unwrap(), nonce(index))
            },
            |(machine, nonce)| {
                std::hint::black_box(machine.calculate_hash(nonce).unwrap());
                next(nonce);
                1
            },
        ),
        ["full", threads, seconds] => {
            let flags = flags | RandomXFlag::FLAG_FULL_MEM;
            // The wrapper fills it on one thread.
            let dataset = dataset.get_or_insert_with(|| {
                let cache = RandomXCache::new(flags, &[1; 32]).unwrap();
                RandomXDataset::new(flags, cache, 0).unwrap()
            });
            // It does not say so, but threads only read it.
            let machines: Vec<_> = (0..threads.parse::<usize>().unwrap())
                .map(|_| RandomXVM::new(flags, None, Some(dataset.clone())).unwrap())
                .map(|machine| std::sync::Mutex::new(Some(Owned(machine))))
                .collect();
            rate(
                machines.len(),
                Duration::from_secs(seconds.parse().unwrap()),
                |index| (machines[index].lock().unwrap().take().unwrap(), nonce(index)),
                |(machine, nonce)| {
                    std::hint::black_box(machine.hash(nonce));
                    next(nonce);
                    1
                },
            )
        }
        _ => panic!("unknown task {words:?}"),
    });
}

/// A machine that goes to a thread of its own.
struct Owned(RandomXVM);

// SAFETY: a machine is used by one thread at a time, and the dataset that it shares is complete.
unsafe impl Send for Owned {}

impl Owned {
    fn hash(&self, nonce: &[u8]) -> Vec<u8> {
        self.0.calculate_hash(nonce).unwrap()
    }
}
