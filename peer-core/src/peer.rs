//! A peer on tokio: the particle engine, its function host and the network joined.
