//! The AquaVM state machine: executes AIR over mergeable, signed particle data.
