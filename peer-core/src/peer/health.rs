//! Whether a peer is well.

use super::Peer;

/// One thing that is well or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Its name, as the published peer has it.
    pub name: &'static str,
    /// Whether it is well.
    pub passed: bool,
}

impl Peer {
    /// What is checked: `bootstrap_nodes` (all are connected) and `kademlia_bootstrap` (the last
    /// one began), where there are bootstrap nodes; `vm_pool` (no run of the state machine hangs);
    /// `persisted_services` (all came back at start).
    pub fn health(&self) -> Vec<HealthCheck> {
        let network = self.network();
        let check = |name, passed| HealthCheck { name, passed };
        let mut checks = Vec::new();
        let nodes = network.bootstrap_nodes();
        if nodes > 0 {
            let connected = network.connected_bootstraps().len();
            checks.push(check("bootstrap_nodes", connected == nodes));
            checks.push(check("kademlia_bootstrap", network.joined_kademlia()));
        }
        checks.push(check("vm_pool", self.load().stuck == 0));
        let lost = self.about.lost_services;
        checks.push(check("persisted_services", lost == 0));
        checks
    }
}
