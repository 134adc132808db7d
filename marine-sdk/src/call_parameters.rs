//! Who calls, and where the arguments come from.

use std::fmt;

use crate::marine;

/// Where one value of an argument comes from: which function of which service on which peer returned it.
#[marine]
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SecurityTetraplet {
    /// The peer that ran the function.
    pub peer_pk: String,
    /// The service; empty for a value that the script's initiator gave.
    pub service_id: String,
    /// The function; empty for a value that the script's initiator gave.
    pub function_name: String,
    /// Which part of the result it is.
    pub lens: String,
}

impl SecurityTetraplet {
    /// All four parts.
    pub fn new(
        peer_pk: impl Into<String>,
        service_id: impl Into<String>,
        function_name: impl Into<String>,
        lens: impl Into<String>,
    ) -> Self {
        Self {
            peer_pk: peer_pk.into(),
            service_id: service_id.into(),
            function_name: function_name.into(),
            lens: lens.into(),
        }
    }

    /// The origin of a literal in the script: its initiator.
    pub fn literal_tetraplet(init_peer_id: impl Into<String>) -> Self {
        Self {
            peer_pk: init_peer_id.into(),
            ..Self::default()
        }
    }

    /// Narrows the origin to a part of the value.
    pub fn add_lens(&mut self, lens: &str) {
        self.lens.push_str(lens);
    }
}

impl fmt::Display for SecurityTetraplet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "peer_pk: {}, service_id: {}, function_name: {}, lens: {}",
            self.peer_pk, self.service_id, self.function_name, self.lens
        )
    }
}

/// The particle that carried the call.
#[marine]
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ParticleParameters {
    /// Its identifier.
    pub id: String,
    /// The peer that started the script.
    pub init_peer_id: String,
    /// When the script was started, in milliseconds since 1970.
    pub timestamp: u64,
    /// How long it may run, in milliseconds.
    pub ttl: u32,
    /// The script.
    pub script: String,
    /// The initiator's signature.
    pub signature: Vec<u8>,
    /// A secret of this peer for this particle: whoever presents it may act in the particle's name here.
    pub token: String,
}

/// Everything a function can know about its call.
#[marine]
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CallParameters {
    /// The particle that carried the call.
    pub particle: ParticleParameters,
    /// This service.
    pub service_id: String,
    /// The peer that created this service.
    pub service_creator_peer_id: String,
    /// The peer that this service runs on.
    pub host_id: String,
    /// The worker that this service belongs to.
    pub worker_id: String,
    /// For each argument, the origins of its values.
    pub tetraplets: Vec<Vec<SecurityTetraplet>>,
}

/// The parameters of the call that runs now. While `main` runs they are empty.
///
/// ```
/// use marine_sdk::{get_call_parameters, marine};
///
/// #[marine]
/// pub fn forget_everything() -> bool {
///     let call = get_call_parameters();
///     call.particle.init_peer_id == call.service_creator_peer_id
/// }
/// # fn main() {
/// #   assert!(forget_everything());
/// # }
/// ```
#[cfg(all(feature = "marine-abi", target_arch = "wasm32"))]
#[allow(unsafe_code, reason = "the host lowers the parameters into memory")]
pub fn get_call_parameters() -> CallParameters {
    // By hand: `#[marine]` would describe this import in every module, and no build tool reads that.
    #[link(wasm_import_module = "__marine_host_api_v3")]
    unsafe extern "C" {
        #[link_name = "get_call_parameters"]
        fn import();
    }
    // SAFETY: the host lowers a record of this type and sets the register to its address.
    unsafe {
        import();
        crate::abi::take_record()
    }
}

/// The parameters of the call that runs now: outside of modules, what [`set_call_parameters`] was given.
///
/// ```
/// use marine_sdk::{get_call_parameters, marine};
///
/// #[marine]
/// pub fn forget_everything() -> bool {
///     let call = get_call_parameters();
///     call.particle.init_peer_id == call.service_creator_peer_id
/// }
/// # fn main() {
/// #   assert!(forget_everything());
/// # }
/// ```
#[cfg(not(all(feature = "marine-abi", target_arch = "wasm32")))]
pub fn get_call_parameters() -> CallParameters {
    native::PARAMETERS.with_borrow(Clone::clone)
}

/// Sets what [`get_call_parameters`] returns in this thread, for tests on the development machine.
#[cfg(not(all(feature = "marine-abi", target_arch = "wasm32")))]
pub fn set_call_parameters(parameters: CallParameters) {
    native::PARAMETERS.set(parameters);
}

#[cfg(not(all(feature = "marine-abi", target_arch = "wasm32")))]
mod native {
    use std::cell::RefCell;

    thread_local! {
        pub(super) static PARAMETERS: RefCell<super::CallParameters> = RefCell::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tetraplet_reads_well() {
        let mut tetraplet = SecurityTetraplet::literal_tetraplet("peer");
        tetraplet.add_lens(".$.name");
        assert_eq!(tetraplet, SecurityTetraplet::new("peer", "", "", ".$.name"));
        assert_eq!(
            tetraplet.to_string(),
            "peer_pk: peer, service_id: , function_name: , lens: .$.name"
        );
    }

    #[test]
    fn tests_choose_the_caller() {
        assert_eq!(get_call_parameters(), CallParameters::default());
        let parameters = CallParameters {
            host_id: "host".to_owned(),
            ..CallParameters::default()
        };
        set_call_parameters(parameters.clone());
        assert_eq!(get_call_parameters(), parameters);
    }
}
