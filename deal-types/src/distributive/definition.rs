//! The JSON files of a distributive.

use serde::{Deserialize, Serialize};

use crate::Cid;

/// Why a file is not a worker definition or a trigger.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct DefinitionError {
    /// Which kind of file.
    what: &'static str,
    /// What is wrong.
    source: serde_json::Error,
}

/// What a worker of a deal consists of.
///
/// Members stand in alphabetical order, as the published tools write them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerDefinition {
    /// The services.
    pub services: Vec<ServiceDefinition>,
    /// The spells.
    pub spells: Vec<SpellDefinition>,
}

/// A service of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceDefinition {
    /// The modules, dependencies first, the facade last.
    pub modules: Vec<ModuleReference>,
    /// The name, which becomes its alias.
    pub name: String,
    /// Memory in bytes that its modules share; none means what the worker has left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_memory_limit: Option<u64>,
}

/// A module of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleReference {
    /// The name under which other modules import it.
    pub name: String,
    /// The Wasm file.
    pub wasm: Cid,
}

/// A spell of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpellDefinition {
    /// A [`TriggerConfig`].
    pub config: Cid,
    /// A JSON object; each member becomes an entry of the spell's store.
    pub init_args: Cid,
    /// The name, which becomes its alias.
    pub name: String,
    /// The script.
    pub script: Cid,
}

impl WorkerDefinition {
    /// The file as the published tools write it: no spaces, no line end.
    #[must_use]
    pub fn to_canonical_json(&self) -> String {
        // Strings and numbers always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a file in any order of members, with unknown members and white space.
    ///
    /// # Errors
    /// Malformed JSON, missing members, links that are no content identifiers.
    pub fn parse(json: &[u8]) -> Result<Self, DefinitionError> {
        let what = "worker definition";
        serde_json::from_slice(json).map_err(|source| DefinitionError { what, source })
    }
}

/// When a spell runs. All zero means never by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerConfig {
    /// By blocks of the chain.
    pub blockchain: BlockchainTrigger,
    /// By time.
    pub clock: ClockTrigger,
    /// By connections.
    pub connections: ConnectionTrigger,
}

/// Runs at every block of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockchainTrigger {
    /// The last block; zero for no end.
    pub end_block: u32,
    /// The first block; zero for never.
    pub start_block: u32,
}

/// Runs again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockTrigger {
    /// When it ends, in seconds since 1970; zero for no end.
    pub end_sec: u32,
    /// Seconds between two runs; zero for one run.
    pub period_sec: u32,
    /// When it begins, in seconds since 1970; zero for never.
    pub start_sec: u32,
}

/// Runs when peers come and go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionTrigger {
    /// When a peer connects.
    pub connect: bool,
    /// When a peer disconnects.
    pub disconnect: bool,
}

impl TriggerConfig {
    /// The file as the published tools write it.
    #[must_use]
    pub fn to_canonical_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Malformed JSON, missing members, numbers over 32 bits.
    pub fn parse(json: &[u8]) -> Result<Self, DefinitionError> {
        let what = "trigger configuration";
        serde_json::from_slice(json).map_err(|source| DefinitionError { what, source })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Codec, unixfs};

    #[test]
    fn a_published_definition() {
        let text = concat!(
            r#"{"services":[{"modules":[{"name":"newService1","#,
            r#""wasm":"bafkreiave5jtj5wefqvb65xsjghqql6zzxqtob3iw2pihrsnt6uat6c73i"}],"#,
            r#""name":"newService1"}],"spells":[]}"#,
        );
        let definition = WorkerDefinition::parse(text.as_bytes()).unwrap();
        assert_eq!(definition.services[0].total_memory_limit, None);
        assert_eq!(definition.to_canonical_json(), text);
        assert_eq!(
            unixfs::cid_of(format!("{text}\n").as_bytes()).to_string(),
            "bafkreieodklcdlpj5skykwctr466425y3f2jz7jukzj3dujlvk3ptwffim"
        );
        let loose = text.replace("\"spells\":[]", "\"x\": {\"y\": 1},\n \"spells\" : [ ]");
        assert_eq!(
            WorkerDefinition::parse(loose.as_bytes()).unwrap(),
            definition
        );
        for bad in [
            "",
            "{}",
            "[]",
            &text.replace("bafk", "wafk"),
            &text.replace("[]", "null"),
        ] {
            assert!(WorkerDefinition::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn triggers_have_their_published_form() {
        let text = concat!(
            r#"{"blockchain":{"end_block":0,"start_block":0},"#,
            r#""clock":{"end_sec":0,"period_sec":0,"start_sec":0},"#,
            r#""connections":{"connect":false,"disconnect":false}}"#,
        );
        assert_eq!(TriggerConfig::default().to_canonical_json(), text);
        assert_eq!(
            TriggerConfig::parse(text.as_bytes()).unwrap(),
            TriggerConfig::default()
        );
        let wide = text.replace("\"end_sec\":0", "\"end_sec\":4294967296");
        assert!(TriggerConfig::parse(wide.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn definitions_round_trip(name: String, memory: Option<u64>, digest: [u8; 32], spells in 0_usize..3) {
            let cid = Cid { codec: Codec::DAG_PB, digest };
            let module = ModuleReference { name: name.clone(), wasm: cid };
            let service = ServiceDefinition {
                modules: vec![module], name: name.clone(), total_memory_limit: memory,
            };
            let spell = SpellDefinition { config: cid, init_args: cid, name, script: cid };
            let definition = WorkerDefinition { services: vec![service], spells: vec![spell; spells] };
            let text = definition.to_canonical_json();
            prop_assert_eq!(WorkerDefinition::parse(text.as_bytes()).unwrap(), definition);
        }
    }
}
