//! Types and rules of the compute marketplace.
