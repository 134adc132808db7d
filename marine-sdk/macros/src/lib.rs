//! Procedural macros of `aquamarine-marine-sdk`.
