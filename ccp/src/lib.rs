//! Proof of capacity: puzzle, prover, verifier.
