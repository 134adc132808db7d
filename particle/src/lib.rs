//! Particles: header, signatures, data, content identifiers, merge.
