//! The stock library as `randomx-rs` has it. Its parameters are lighter than those of the network.

use std::time::Duration;

use ccp_bench_harness::{next, nonce, rate, serve};
use randomx_rs::{RandomXCache, RandomXFlag, RandomXVM};

fn main() {
    let flags = RandomXFlag::get_recommended_flags();
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
        _ => panic!("unknown task {words:?}"),
    });
}
