//! Where a value came from.

use serde::{Deserialize, Serialize};

/// Where a value came from: peer, service, function, and the path taken into the result.
///
/// All four texts are empty where they do not apply; a literal has only a peer.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Tetraplet<'a> {
    /// Peer that produced the value, as text.
    pub peer_pk: &'a str,
    /// Service the value came from.
    pub service_id: &'a str,
    /// Function of the service.
    pub function_name: &'a str,
    /// Path into the function's result.
    pub lens: &'a str,
}

impl<'a> Tetraplet<'a> {
    /// The tetraplet of what a service returned.
    #[must_use]
    pub fn of_call(peer_pk: &'a str, service_id: &'a str, function_name: &'a str) -> Self {
        Self {
            peer_pk,
            service_id,
            function_name,
            lens: "",
        }
    }

    /// The tetraplet of a literal or of a canon result: a peer and nothing else.
    #[must_use]
    pub fn of_peer(peer_pk: &'a str) -> Self {
        Self {
            peer_pk,
            ..Self::default()
        }
    }
}
