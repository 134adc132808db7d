//! Guest side of Marine: write compute functions in Rust.
