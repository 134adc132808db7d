//! Distributives: a worker definition and everything that it names, as content-addressed blocks.
//!
//! The definition is a JSON file; its links are texts inside it. [`DistributiveBuilder`] makes
//! the blocks, [`Loader`] reads them back from anywhere, verifying every hash and keeping limits.
//! [`Distributive::fetch`] does so from a [`BlockStore`], as [`fetch_file`] does for one file: a map, a [`Folder`], several stores, and with
//! the feature `rpc` a gateway or node of IPFS; [`car`] carries all blocks in one file.
//!
//! ```
//! use deal_types::distributive::{Distributive, DistributiveBuilder, Limits, TriggerConfig};
//!
//! let mut builder = DistributiveBuilder::new();
//! builder.service("greeting", None, [("greeting", b"\0asm".as_slice())]);
//! builder.spell("hello", "(null)", &TriggerConfig::default(), "{}");
//! let (app_cid, blocks) = builder.build();
//!
//! let loaded = Distributive::load(app_cid, Limits::default(), |cid| blocks.get(&cid).cloned())?;
//! assert_eq!(loaded.definition.services[0].modules[0].name, "greeting");
//! # Ok::<_, deal_types::distributive::LoadError>(())
//! ```

pub mod car;
mod definition;
mod load;
#[cfg(feature = "rpc")]
mod remote;
mod store;

use std::collections::BTreeMap;

pub use definition::{
    BlockchainTrigger, ClockTrigger, ConnectionTrigger, DefinitionError, ModuleReference,
    ServiceDefinition, SpellDefinition, TriggerConfig, WorkerDefinition,
};
pub use load::{Distributive, Limits, LoadError, Loader};
#[cfg(feature = "rpc")]
pub use remote::Remote;
pub use store::{BlockStore, FetchError, Folder, StoreError, fetch_file};

use crate::{Cid, unixfs};

/// Blocks by their identifiers.
pub type Blocks = BTreeMap<Cid, Vec<u8>>;

/// Collects the parts of a distributive.
#[derive(Clone, Debug, Default)]
pub struct DistributiveBuilder {
    definition: WorkerDefinition,
    blocks: Blocks,
}

impl DistributiveBuilder {
    /// Neither services nor spells.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service of modules (name and Wasm), dependencies first, the facade last.
    pub fn service<'a>(
        &mut self,
        name: impl Into<String>,
        total_memory_limit: Option<u64>,
        modules: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> &mut Self {
        let modules = modules
            .into_iter()
            .map(|(name, wasm)| ModuleReference {
                name: name.into(),
                wasm: self.add(wasm),
            })
            .collect();
        let service = ServiceDefinition {
            modules,
            name: name.into(),
            total_memory_limit,
        };
        self.definition.services.push(service);
        self
    }

    /// Adds a spell; `init_args` is a JSON object.
    pub fn spell(
        &mut self,
        name: impl Into<String>,
        script: &str,
        trigger: &TriggerConfig,
        init_args: &str,
    ) -> &mut Self {
        let spell = SpellDefinition {
            config: self.add(trigger.to_canonical_json().as_bytes()),
            init_args: self.add(init_args.as_bytes()),
            name: name.into(),
            script: self.add(script.as_bytes()),
        };
        self.definition.spells.push(spell);
        self
    }

    /// The identifier that a deal names, and all blocks.
    #[must_use]
    pub fn build(mut self) -> (Cid, Blocks) {
        let text = self.definition.to_canonical_json();
        let app_cid = self.add(text.as_bytes());
        (app_cid, self.blocks)
    }

    fn add(&mut self, content: &[u8]) -> Cid {
        unixfs::add(content, |cid, block| {
            self.blocks.insert(cid, block.to_vec());
        })
    }
}
