//! The Aquamarine peer: particle engine, builtins, services, network, simulator.
