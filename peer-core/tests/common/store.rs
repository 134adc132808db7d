//! Stores of peers that were stopped.

use std::{path::Path, time::Duration};

use peer_core::store::DiskStore;

/// Waits until the store of a peer that was stopped is free again: its last call may still run.
pub(crate) async fn is_free(folder: &Path) {
    let store = folder.join("store.redb");
    let mut tries = 0;
    while let Err(error) = DiskStore::open(&store) {
        tries += 1;
        assert!(tries < 600, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
