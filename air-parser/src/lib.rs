//! Parser, validator and formatter of the AIR language.
