//! What a service learns about the call it serves.

use serde::{Deserialize, Serialize};

use crate::itypes::{
    IType,
    memory::{GuestMemory, MemoryError, lower_bytes},
};

/// What a service learns about the call it serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallParameters {
    /// The particle that the call comes from.
    pub particle: ParticleParameters,
    /// Id of the service.
    pub service_id: String,
    /// Peer id of who created the service.
    pub service_creator_peer_id: String,
    /// Peer id of the host.
    pub host_id: String,
    /// Peer id of the worker that runs the service.
    pub worker_id: String,
    /// For each argument, where its parts come from.
    pub tetraplets: Vec<Vec<SecurityTetraplet>>,
}

/// The particle behind a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ParticleParameters {
    /// Its id.
    pub id: String,
    /// Peer id of its initiator.
    pub init_peer_id: String,
    /// When it was created, in milliseconds since 1970.
    pub timestamp: u64,
    /// How long it lives, in milliseconds.
    pub ttl: u32,
    /// Its script.
    pub script: String,
    /// The initiator's signature.
    pub signature: Vec<u8>,
    /// A token of the host for the particle.
    pub token: String,
}

/// Where a value comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecurityTetraplet {
    /// Peer that produced it.
    pub peer_pk: String,
    /// Service that produced it.
    pub service_id: String,
    /// Function that produced it.
    pub function_name: String,
    /// Path into the result.
    #[serde(alias = "lambda", alias = "json_path")]
    pub lens: String,
}

/// The versions of the host interface, which differ in the layout of [`CallParameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostApi {
    /// Namespace `host`.
    V0,
    /// Namespace `__marine_host_api_v1`.
    V1,
    /// Namespace `__marine_host_api_v2`.
    V2,
    /// Namespace `__marine_host_api_v3`.
    V3,
}

impl HostApi {
    /// All versions.
    pub const ALL: [Self; 4] = [Self::V0, Self::V1, Self::V2, Self::V3];

    /// The import namespace of the version.
    #[must_use]
    pub fn namespace(self) -> &'static str {
        match self {
            Self::V0 => "host",
            Self::V1 => "__marine_host_api_v1",
            Self::V2 => "__marine_host_api_v2",
            Self::V3 => "__marine_host_api_v3",
        }
    }

    /// The version whose namespace this is.
    #[must_use]
    pub fn from_namespace(namespace: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|api| api.namespace() == namespace)
    }
}

impl CallParameters {
    /// Writes the record in the layout of `api` into the memory of a module; the result is its
    /// address.
    ///
    /// # Errors
    /// A module without the memory for it.
    pub fn lower(
        &self,
        api: HostApi,
        guest: &mut (impl GuestMemory + ?Sized),
    ) -> Result<u32, MemoryError> {
        let mut body = Vec::with_capacity(56);
        if api >= HostApi::V2 {
            let particle = self.particle.lower(guest)?;
            body.extend_from_slice(&particle.to_le_bytes());
        } else {
            text(guest, &mut body, &self.particle.init_peer_id)?;
        }
        text(guest, &mut body, &self.service_id)?;
        text(guest, &mut body, &self.service_creator_peer_id)?;
        text(guest, &mut body, &self.host_id)?;
        if api >= HostApi::V1 {
            text(guest, &mut body, &self.worker_id)?;
        }
        if api < HostApi::V2 {
            text(guest, &mut body, &self.particle.id)?;
        }
        let tetraplets = array(guest, &self.tetraplets, 8, |guest, inner, cells| {
            let inner = array(guest, inner, 4, |guest, tetraplet, cells| {
                cells.extend_from_slice(&tetraplet.lower(guest)?.to_le_bytes());
                Ok(())
            })?;
            cells.extend_from_slice(&inner);
            Ok(())
        })?;
        body.extend_from_slice(&tetraplets);
        record(guest, &body)
    }
}

impl ParticleParameters {
    fn lower(&self, guest: &mut (impl GuestMemory + ?Sized)) -> Result<u32, MemoryError> {
        let mut body = Vec::with_capacity(52);
        text(guest, &mut body, &self.id)?;
        text(guest, &mut body, &self.init_peer_id)?;
        body.extend_from_slice(&self.timestamp.to_le_bytes());
        body.extend_from_slice(&self.ttl.to_le_bytes());
        text(guest, &mut body, &self.script)?;
        bytes(guest, &mut body, &self.signature)?;
        text(guest, &mut body, &self.token)?;
        record(guest, &body)
    }
}

impl SecurityTetraplet {
    fn lower(&self, guest: &mut (impl GuestMemory + ?Sized)) -> Result<u32, MemoryError> {
        let mut body = Vec::with_capacity(32);
        for field in [
            &self.peer_pk,
            &self.service_id,
            &self.function_name,
            &self.lens,
        ] {
            text(guest, &mut body, field)?;
        }
        record(guest, &body)
    }
}

fn text(
    guest: &mut (impl GuestMemory + ?Sized),
    body: &mut Vec<u8>,
    text: &str,
) -> Result<(), MemoryError> {
    bytes(guest, body, text.as_bytes())
}

fn bytes(
    guest: &mut (impl GuestMemory + ?Sized),
    body: &mut Vec<u8>,
    bytes: &[u8],
) -> Result<(), MemoryError> {
    let (pointer, length) = lower_bytes(guest, bytes)?;
    body.extend_from_slice(&pointer.to_le_bytes());
    body.extend_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Writes an array of cells of `cell_size` bytes: the cell that refers to it.
fn array<G: GuestMemory + ?Sized, T>(
    guest: &mut G,
    items: &[T],
    cell_size: usize,
    mut lower: impl FnMut(&mut G, &T, &mut Vec<u8>) -> Result<(), MemoryError>,
) -> Result<[u8; 8], MemoryError> {
    if items.is_empty() {
        return Ok([0; 8]);
    }
    let too_long = |_| MemoryError::TooLong {
        size: items.len().saturating_mul(cell_size),
    };
    let size = u32::try_from(items.len().saturating_mul(cell_size)).map_err(too_long)?;
    let count = u32::try_from(items.len()).map_err(too_long)?;
    let pointer = guest.allocate(size, IType::String.allocation_tag())?;
    let mut cells = Vec::with_capacity(items.len() * cell_size);
    for item in items {
        lower(guest, item, &mut cells)?;
    }
    crate::itypes::memory::write(guest, pointer, &cells)?;
    let mut cell = [0; 8];
    let (low, high) = cell.split_at_mut(4);
    low.copy_from_slice(&pointer.to_le_bytes());
    high.copy_from_slice(&count.to_le_bytes());
    Ok(cell)
}

fn record(guest: &mut (impl GuestMemory + ?Sized), body: &[u8]) -> Result<u32, MemoryError> {
    lower_bytes(guest, body).map(|(pointer, _)| pointer)
}
