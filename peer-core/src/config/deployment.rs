//! What others may deploy on a peer.

use std::{collections::BTreeMap, path::PathBuf};

settings! {
    /// A module that may run programs of the host, table `[effectors.LABEL]`.
    pub entry EffectorConfig {
        /// Content identifier of the module.
        pub wasm_cid: String,
        /// The programs: name by which the module imports one, its path.
        pub allowed_binaries: BTreeMap<String, PathBuf>,
    }
}

/// The published module that runs `curl`.
const CURL: &str = "bafkreids22lgia5bqs63uigw4mqwhsoxvtnkpfqxqy5uwyyerrldsr32ce";

/// What is allowed without a table `[effectors]`: the published module for `curl`.
pub(super) fn default_effectors() -> BTreeMap<String, EffectorConfig> {
    let curl = EffectorConfig {
        wasm_cid: CURL.to_owned(),
        allowed_binaries: [("curl".to_owned(), PathBuf::from("/usr/bin/curl"))].into(),
    };
    [("curl".to_owned(), curl)].into()
}
