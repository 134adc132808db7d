//! Loads a distributive from blocks that come from anywhere.

use std::collections::{BTreeMap, BTreeSet};

use super::{Blocks, DefinitionError, WorkerDefinition};
use crate::{
    Cid, Codec,
    unixfs::{Node, NodeError},
};

/// What a distributive may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the definition.
    pub definition: u64,
    /// Services, and spells.
    pub services: usize,
    /// Modules of a service.
    pub modules: usize,
    /// Bytes of a module.
    pub module: u64,
    /// Bytes of a script, a trigger or arguments.
    pub text: u64,
    /// Levels of a file above its leaves.
    pub depth: usize,
    /// Blocks of a file, however often it repeats one.
    pub blocks: u64,
    /// Bytes of a block.
    pub block: usize,
    /// Bytes of all files.
    pub total: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            definition: 1 << 20,
            services: 256,
            modules: 64,
            module: 64 << 20,
            text: 1 << 20,
            depth: 4,
            blocks: 1 << 16,
            block: 2 << 20,
            total: 1 << 30,
        }
    }
}

/// Why a distributive was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A block that is not what its identifier names.
    #[error("block of {length} bytes is not the content of {cid}")]
    WrongHash {
        /// The identifier.
        cid: Cid,
        /// Length of the block.
        length: usize,
    },
    /// A block that nobody asked for.
    #[error("block {cid} was not asked for")]
    NotWanted {
        /// The identifier.
        cid: Cid,
    },
    /// A block that the source does not have.
    #[error("block {cid} is missing")]
    Missing {
        /// The identifier.
        cid: Cid,
    },
    /// A file of blocks of another kind than raw and file nodes.
    #[error("block {cid} has codec {codec:#x}, which files do not have")]
    Codec {
        /// The identifier.
        cid: Cid,
        /// Its codec.
        codec: u64,
    },
    /// A block that is not a node of a file.
    #[error("block {cid}: {source}")]
    Node {
        /// The identifier.
        cid: Cid,
        /// What is wrong.
        source: NodeError,
    },
    /// A node that says another size than its children have.
    #[error("file node says that {cid} has {stated} bytes, it has {actual}")]
    Size {
        /// The child.
        cid: Cid,
        /// The size in the node.
        stated: u64,
        /// The size of the content.
        actual: u64,
    },
    /// More of something than a limit allows.
    #[error("{what} of {cid}: {actual} where at most {limit} are allowed")]
    Limit {
        /// Of what.
        what: &'static str,
        /// The file or block.
        cid: Cid,
        /// How much there is (at least).
        actual: u64,
        /// The limit.
        limit: u64,
    },
    /// A definition that is none.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
}

/// A definition with the content of every file that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distributive {
    /// The identifier of the definition.
    pub cid: Cid,
    /// The definition.
    pub definition: WorkerDefinition,
    /// The files.
    pub files: BTreeMap<Cid, Vec<u8>>,
}

impl Distributive {
    /// Loads everything from `source`.
    ///
    /// # Errors
    /// A missing or wrong block, a malformed file, a limit that is exceeded.
    pub fn load(
        cid: Cid,
        limits: Limits,
        mut source: impl FnMut(Cid) -> Option<Vec<u8>>,
    ) -> Result<Self, LoadError> {
        let mut loader = Loader::new(cid, limits);
        loop {
            let Some(wanted) = loader.wanted().next() else {
                return loader.finish();
            };
            let block = source(wanted).ok_or(LoadError::Missing { cid: wanted })?;
            loader.provide(wanted, block)?;
        }
    }
}

/// Asks for blocks until a distributive is complete; where they come from is up to the caller.
#[derive(Clone, Debug)]
pub struct Loader {
    pieces: Pieces,
    definition: Option<WorkerDefinition>,
}

impl Loader {
    /// Begins with the definition.
    #[must_use]
    pub fn new(root: Cid, limits: Limits) -> Self {
        Self {
            pieces: Pieces::new(root, limits),
            definition: None,
        }
    }

    /// The blocks that are missing as far as is known; none when all is there.
    pub fn wanted(&self) -> impl Iterator<Item = Cid> + '_ {
        self.pieces.wanted.iter().copied()
    }

    /// Takes a block.
    ///
    /// # Errors
    /// A block that is not wanted or wrong, a file that turns out to be malformed or too large.
    /// The loader is unchanged after a block that is wrong or not wanted.
    pub fn provide(&mut self, cid: Cid, block: Vec<u8>) -> Result<(), LoadError> {
        self.pieces.provide(cid, block)?;
        if self.pieces.wanted.is_empty() {
            self.advance()?;
        }
        Ok(())
    }

    /// The distributive, when nothing is wanted any more.
    ///
    /// # Errors
    /// A block that is still missing, a file that is malformed or too large.
    pub fn finish(self) -> Result<Distributive, LoadError> {
        let missing = self
            .pieces
            .wanted
            .first()
            .copied()
            .unwrap_or(self.pieces.root);
        let definition = match &self.definition {
            Some(definition) if self.pieces.wanted.is_empty() => definition.clone(),
            _ => return Err(LoadError::Missing { cid: missing }),
        };
        let (mut files, mut total) = (BTreeMap::new(), 0_u64);
        for (cid, max) in parts(&definition, &self.pieces.limits) {
            if files.contains_key(&cid) {
                continue;
            }
            let content = self.pieces.read(cid, max)?;
            total = total.saturating_add(content.len() as u64);
            limit(
                "total size",
                self.pieces.root,
                total,
                self.pieces.limits.total,
            )?;
            files.insert(cid, content);
        }
        Ok(Distributive {
            cid: self.pieces.root,
            definition,
            files,
        })
    }

    /// Looks for what is missing, now that all that was asked for is there.
    fn advance(&mut self) -> Result<(), LoadError> {
        if self.definition.is_none() {
            self.pieces
                .walk(self.pieces.root, self.pieces.limits.definition)?;
            if !self.pieces.wanted.is_empty() {
                return Ok(());
            }
            let text = self
                .pieces
                .read(self.pieces.root, self.pieces.limits.definition)?;
            let definition = WorkerDefinition::parse(&text)?;
            self.check(&definition)?;
            self.definition = Some(definition);
        }
        let files = self
            .definition
            .as_ref()
            .map(|definition| parts(definition, &self.pieces.limits));
        for (cid, max) in files.unwrap_or_default() {
            self.pieces.walk(cid, max)?;
        }
        Ok(())
    }

    fn check(&self, definition: &WorkerDefinition) -> Result<(), LoadError> {
        let count = |what, actual: usize, max: usize| {
            limit(what, self.pieces.root, actual as u64, max as u64)
        };
        count(
            "services",
            definition.services.len(),
            self.pieces.limits.services,
        )?;
        count(
            "spells",
            definition.spells.len(),
            self.pieces.limits.services,
        )?;
        for service in &definition.services {
            count(
                "modules of a service",
                service.modules.len(),
                self.pieces.limits.modules,
            )?;
        }
        Ok(())
    }
}

/// Blocks of files, each compared with its identifier.
#[derive(Clone, Debug)]
pub(super) struct Pieces {
    /// What limits on everything are about.
    root: Cid,
    limits: Limits,
    blocks: Blocks,
    wanted: BTreeSet<Cid>,
    held: u64,
}

impl Pieces {
    pub(super) fn new(root: Cid, limits: Limits) -> Self {
        Self {
            root,
            limits,
            blocks: Blocks::new(),
            wanted: BTreeSet::from([root]),
            held: 0,
        }
    }

    /// A block that is missing as far as is known.
    pub(super) fn first_wanted(&self) -> Option<Cid> {
        self.wanted.first().copied()
    }

    /// Takes a block; nothing has changed after one that is wrong or not wanted.
    pub(super) fn provide(&mut self, cid: Cid, block: Vec<u8>) -> Result<(), LoadError> {
        if !self.wanted.contains(&cid) {
            return Err(LoadError::NotWanted { cid });
        }
        limit(
            "block size",
            cid,
            block.len() as u64,
            self.limits.block as u64,
        )?;
        if !cid.names(&block) {
            return Err(LoadError::WrongHash {
                cid,
                length: block.len(),
            });
        }
        self.wanted.remove(&cid);
        self.held = self.held.saturating_add(block.len() as u64);
        limit("total size", self.root, self.held, self.limits.total)?;
        self.blocks.insert(cid, block);
        Ok(())
    }

    /// Marks the missing blocks of a file as wanted, and checks its shape.
    pub(super) fn walk(&mut self, file: Cid, max: u64) -> Result<(), LoadError> {
        let (mut pending, mut seen) = (vec![(file, 0)], BTreeSet::new());
        while let Some((cid, depth)) = pending.pop() {
            let Some(block) = self.blocks.get(&cid) else {
                self.wanted.insert(cid);
                continue;
            };
            if let Some(node) = inner(cid, block)? {
                limit("levels", file, depth as u64 + 1, self.limits.depth as u64)?;
                limit("file size", file, node.content_size(), max)?;
                // Equal blocks look the same wherever they stand; the depth counts the first time.
                pending.extend(
                    node.links
                        .iter()
                        .filter(|link| seen.insert((link.cid, depth)))
                        .map(|link| (link.cid, depth + 1)),
                );
            }
        }
        Ok(())
    }

    /// Puts a file together whose shape [`Pieces::walk`] has checked.
    pub(super) fn read(&self, file: Cid, max: u64) -> Result<Vec<u8>, LoadError> {
        let (mut content, mut count) = (Vec::new(), 0);
        let mut pending = vec![(file, None)];
        while let Some((cid, stated)) = pending.pop() {
            count += 1;
            // A few blocks can name each other so often that sizes alone do not end this.
            limit(
                "blocks",
                file,
                count + pending.len() as u64,
                self.limits.blocks,
            )?;
            let block = self.blocks.get(&cid).ok_or(LoadError::Missing { cid })?;
            let actual = match inner(cid, block)? {
                Some(node) => {
                    let children = node.links.iter().rev();
                    pending.extend(children.map(|link| (link.cid, Some(link.content_size))));
                    node.content_size()
                }
                None => {
                    content.extend_from_slice(block);
                    limit("file size", file, content.len() as u64, max)?;
                    block.len() as u64
                }
            };
            if let Some(stated) = stated.filter(|stated| *stated != actual) {
                return Err(LoadError::Size {
                    cid,
                    stated,
                    actual,
                });
            }
        }
        Ok(content)
    }
}

/// Every file that a definition names, with its size limit.
fn parts(definition: &WorkerDefinition, limits: &Limits) -> Vec<(Cid, u64)> {
    let modules = definition
        .services
        .iter()
        .flat_map(|service| &service.modules);
    let texts = definition
        .spells
        .iter()
        .flat_map(|spell| [spell.config, spell.init_args, spell.script]);
    modules
        .map(|module| (module.wasm, limits.module))
        .chain(texts.map(|cid| (cid, limits.text)))
        .collect()
}

/// The inner node that a block is, or nothing for a leaf.
fn inner(cid: Cid, block: &[u8]) -> Result<Option<Node>, LoadError> {
    match cid.codec {
        Codec::RAW => Ok(None),
        Codec::DAG_PB => Node::decode(block)
            .map(Some)
            .map_err(|source| LoadError::Node { cid, source }),
        Codec(codec) => Err(LoadError::Codec { cid, codec }),
    }
}

fn limit(what: &'static str, cid: Cid, actual: u64, limit: u64) -> Result<(), LoadError> {
    if actual > limit {
        Err(LoadError::Limit {
            what,
            cid,
            actual,
            limit,
        })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{DistributiveBuilder, ModuleReference, ServiceDefinition},
        *,
    };
    use crate::{distributive::TriggerConfig, unixfs};

    fn example() -> (Cid, Blocks) {
        let mut builder = DistributiveBuilder::new();
        let large: Vec<u8> = (0..700_000_u32).map(|i| (i % 251) as u8).collect();
        builder.service(
            "a",
            Some(1 << 24),
            [("dependency", large.as_slice()), ("a", b"facade")],
        );
        builder.service("b", None, [("a", b"facade".as_slice())]);
        builder.spell("s", "(null)", &TriggerConfig::default(), "{\"x\":1}");
        builder.build()
    }

    #[test]
    fn what_was_built_is_loaded() {
        let (cid, blocks) = example();
        let loaded =
            Distributive::load(cid, Limits::default(), |c| blocks.get(&c).cloned()).unwrap();
        assert_eq!(loaded.definition.services.len(), 2);
        assert_eq!(loaded.files.len(), 5);
        for (cid, content) in &loaded.files {
            assert_eq!(*cid, unixfs::cid_of(content));
        }
    }

    #[test]
    fn missing_and_wrong_blocks_are_named() {
        let (cid, blocks) = example();
        for missing in blocks.keys() {
            let result = Distributive::load(cid, Limits::default(), |c| {
                (c != *missing).then(|| blocks.get(&c).cloned()).flatten()
            });
            assert!(matches!(result, Err(LoadError::Missing { cid }) if cid == *missing));
            let result = Distributive::load(cid, Limits::default(), |c| {
                blocks.get(&c).map(|block| {
                    if c == *missing {
                        vec![1]
                    } else {
                        block.clone()
                    }
                })
            });
            assert!(matches!(result, Err(LoadError::WrongHash { cid, .. }) if cid == *missing));
        }
        let mut loader = Loader::new(cid, Limits::default());
        let other = *blocks.keys().find(|other| **other != cid).unwrap();
        assert!(matches!(
            loader.provide(other, vec![]),
            Err(LoadError::NotWanted { .. })
        ));
        assert!(matches!(loader.finish(), Err(LoadError::Missing { .. })));
    }

    #[test]
    fn limits_are_kept() {
        let (cid, blocks) = example();
        let mut exceeded = Vec::new();
        for limits in [
            Limits {
                definition: 10,
                ..Limits::default()
            },
            Limits {
                services: 1,
                ..Limits::default()
            },
            Limits {
                modules: 1,
                ..Limits::default()
            },
            Limits {
                module: 600_000,
                ..Limits::default()
            },
            Limits {
                text: 8,
                ..Limits::default()
            },
            Limits {
                depth: 0,
                ..Limits::default()
            },
            Limits {
                block: 1000,
                ..Limits::default()
            },
            Limits {
                total: 5000,
                ..Limits::default()
            },
        ] {
            match Distributive::load(cid, limits, |c| blocks.get(&c).cloned()) {
                Err(LoadError::Limit { what, .. }) => exceeded.push(what),
                other => panic!("{limits:?}: {other:?}"),
            }
        }
        assert_eq!(exceeded.len(), 8);
    }

    /// Loads a definition of one service whose module is `wasm`.
    fn load_module(wasm: Cid, blocks: &Blocks) -> Result<Distributive, LoadError> {
        let module = ModuleReference {
            name: "m".into(),
            wasm,
        };
        let service = ServiceDefinition {
            modules: vec![module],
            name: "s".into(),
            total_memory_limit: None,
        };
        load_services(vec![service], blocks)
    }

    fn load_services(
        services: Vec<ServiceDefinition>,
        blocks: &Blocks,
    ) -> Result<Distributive, LoadError> {
        let definition = WorkerDefinition {
            services,
            spells: vec![],
        };
        let text = definition.to_canonical_json();
        let cid = unixfs::cid_of(text.as_bytes());
        let source = |wanted: Cid| match wanted == cid {
            true => Some(text.clone().into_bytes()),
            false => blocks.get(&wanted).cloned(),
        };
        Distributive::load(cid, Limits::default(), source)
    }

    #[test]
    fn a_thousand_services_are_refused() {
        let service = |number: usize| ServiceDefinition {
            modules: vec![],
            name: format!("s{number}"),
            total_memory_limit: None,
        };
        let services = (0..1_000).map(service).collect();
        let error = load_services(services, &Blocks::new()).unwrap_err();
        assert!(
            error.to_string().contains("1000 where at most 256"),
            "{error}"
        );
        assert!(matches!(
            error,
            LoadError::Limit {
                what: "services",
                actual: 1_000,
                limit: 256,
                ..
            }
        ));
    }

    #[test]
    fn modules_of_other_codecs_are_named() {
        for codec in [Codec::DAG_CBOR, Codec::DAG_JSON, Codec(0x0a)] {
            let cid = Cid::of_block(codec, b"x");
            let blocks = Blocks::from([(cid, b"x".to_vec())]);
            assert!(matches!(
                load_module(cid, &blocks),
                Err(LoadError::Codec { cid: named, codec: number }) if named == cid && number == codec.0
            ));
        }
    }

    /// A cycle would need a block that names its own hash; a source can only pretend that there is one.
    #[test]
    fn a_source_that_pretends_a_cycle_is_found_out() {
        let leaf = Cid::of_block(Codec::RAW, b"x");
        let node_of = |child: Cid| {
            let link = unixfs::NodeLink {
                cid: child,
                total_size: 1,
                content_size: 1,
            };
            Node { links: vec![link] }.encode()
        };
        let parent = Cid::of_block(Codec::DAG_PB, &node_of(leaf));
        let blocks = Blocks::from([(parent, node_of(parent))]);
        assert!(matches!(
            load_module(parent, &blocks),
            Err(LoadError::WrongHash { cid, .. }) if cid == parent
        ));
    }

    #[test]
    fn small_nodes_cannot_stand_for_endless_files() {
        assert!(matches!(
            load_repeated(b"x"),
            Err(LoadError::Limit {
                what: "file size",
                ..
            })
        ));
        assert!(matches!(
            load_repeated(b""),
            Err(LoadError::Limit { what: "blocks", .. })
        ));
    }

    /// Loads four levels of nodes, each with a thousand links to the same child.
    fn load_repeated(leaf: &[u8]) -> Result<Distributive, LoadError> {
        let mut blocks = Blocks::new();
        let mut child = Cid::of_block(Codec::RAW, leaf);
        blocks.insert(child, leaf.to_vec());
        let mut size = leaf.len() as u64;
        for _ in 0..4 {
            let link = unixfs::NodeLink {
                cid: child,
                total_size: 1,
                content_size: size,
            };
            let node = Node {
                links: vec![link; 1000],
            }
            .encode();
            size *= 1000;
            child = Cid::of_block(Codec::DAG_PB, &node);
            blocks.insert(child, node);
        }
        Distributive::load(child, Limits::default(), |c| blocks.get(&c).cloned())
    }
}
