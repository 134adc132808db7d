//! Draft.
pub mod backend;
mod call_parameters;
mod control;
pub mod interface;
pub mod itypes;
pub mod limits;
pub mod module;

pub use call_parameters::{CallParameters, HostApi, ParticleParameters, SecurityTetraplet};
pub use control::{CancelHandle, Control};
pub use interface::Interface;
pub use itypes::{IType, IValue, memory::{GuestMemory, MemoryError}};
pub use module::{Manifest, ModuleError, ModuleInfo};
