//! The stock library as Debian has it (`librandomx-dev`).

use std::{ffi::c_void, time::Duration};

use ccp_bench_harness::{next, nonce, rate, serve};

#[link(name = "randomx")]
unsafe extern "C" {
    fn randomx_get_flags() -> u32;
    fn randomx_alloc_cache(flags: u32) -> *mut c_void;
    fn randomx_init_cache(cache: *mut c_void, key: *const u8, size: usize);
    fn randomx_alloc_dataset(flags: u32) -> *mut c_void;
    fn randomx_dataset_item_count() -> std::ffi::c_ulong;
    fn randomx_get_dataset_memory(dataset: *mut c_void) -> *mut u64;
    fn randomx_create_vm(flags: u32, cache: *mut c_void, dataset: *mut c_void) -> *mut c_void;
    fn randomx_calculate_hash(vm: *mut c_void, input: *const u8, size: usize, output: *mut u8);
    fn randomx_destroy_vm(vm: *mut c_void);
}

struct Machine(*mut c_void);

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: it was created and is used here only.
        unsafe { randomx_destroy_vm(self.0) };
    }
}

fn main() {
    let key = [1; 32];
    // SAFETY: as the library describes it; the cache lives as long as the program, and only reads
    // of it happen on several threads.
    let (flags, cache) = unsafe {
        let flags = randomx_get_flags();
        let cache = randomx_alloc_cache(flags);
        assert!(!cache.is_null());
        randomx_init_cache(cache, key.as_ptr(), key.len());
        (flags, cache as usize)
    };
    let mut dataset = None;
    serve(move |words| match words {
        ["light", threads, seconds] => hashes(flags, cache, 0, threads, seconds),
        ["full", threads, seconds] => {
            let dataset = *dataset.get_or_insert_with(|| noise(flags));
            hashes(flags | FULL_MEM, 0, dataset, threads, seconds)
        }
        _ => panic!("unknown task {words:?}"),
    });
}

/// With a dataset in memory.
const FULL_MEM: u32 = 4;

/// A dataset of noise: how fast hashes are does not depend on what is in it.
fn noise(flags: u32) -> usize {
    // SAFETY: as the library describes it; an item has 64 bytes.
    unsafe {
        let dataset = randomx_alloc_dataset(flags);
        assert!(!dataset.is_null());
        let words = randomx_dataset_item_count() as usize * 8;
        let memory = randomx_get_dataset_memory(dataset);
        let mut state = 1_u64;
        for index in 0..words {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            memory.add(index).write(state);
        }
        dataset as usize
    }
}

/// Hashes a CPU-second.
fn hashes(flags: u32, cache: usize, dataset: usize, threads: &str, seconds: &str) -> f64 {
    rate(
        threads.parse().unwrap(),
        Duration::from_secs(seconds.parse().unwrap()),
        |index| {
            // SAFETY: the cache or the dataset is complete.
            let vm = unsafe { randomx_create_vm(flags, cache as *mut c_void, dataset as *mut c_void) };
            assert!(!vm.is_null());
            (Machine(vm), nonce(index))
        },
        |(machine, nonce)| {
            let mut hash = [0; 32];
            // SAFETY: the machine belongs to this thread; the hash has 32 bytes.
            unsafe {
                randomx_calculate_hash(machine.0, nonce.as_ptr(), nonce.len(), hash.as_mut_ptr());
            }
            std::hint::black_box(hash);
            next(nonce);
            1
        },
    )
}
