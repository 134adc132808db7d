//! Runs Marine WebAssembly modules: interface types, linking, limits, WASI.
