#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::call_results(input));
