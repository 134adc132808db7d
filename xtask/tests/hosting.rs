//! What a peer hosts, over its whole life: workers, spells with our own module and the published ones, system
//! services, the deployment of deals, a chain that fails meanwhile.
//!
//! Published modules are fetched by name. Where that is impossible one line says so, unless the
//! environment asks for them: `AQUAMARINE_REQUIRE=published`.

#![cfg(feature = "peer")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests stand outside of test functions"
)]

#[path = "hosting/deals.rs"]
mod deals;
#[path = "hosting/modules.rs"]
mod modules;
#[path = "hosting/node.rs"]
mod node;
#[path = "hosting/outage.rs"]
mod outage;
#[path = "hosting/rig.rs"]
mod rig;
#[path = "hosting/scheduler.rs"]
mod scheduler;
#[path = "hosting/simulated.rs"]
mod simulated;
#[path = "hosting/spells.rs"]
mod spells;
#[path = "hosting/system.rs"]
mod system;
#[path = "hosting/workers.rs"]
mod workers;
