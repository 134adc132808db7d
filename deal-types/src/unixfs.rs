//! Files as content-addressed blocks, cut the way `ipfs add --cid-version=1` cuts them.
//!
//! A file of at most [`CHUNK_SIZE`] bytes is one raw block. A larger one is a balanced tree with raw
//! leaves of that size and at most [`MAX_LINKS`] links in each inner node.

mod node;

pub use node::{Node, NodeError, NodeLink};

use crate::{Cid, Codec};

/// Bytes in a leaf.
pub const CHUNK_SIZE: usize = 262_144;

/// Links in an inner node.
pub const MAX_LINKS: usize = 174;

/// How inner nodes are arranged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// A balanced tree with at most [`MAX_LINKS`] links in a node: what IPFS nodes make.
    #[default]
    Balanced,
    /// One node with as many links as it takes: what published peers hash modules with.
    ///
    /// It differs from [`Layout::Balanced`] above 174 leaves (45 613 056 bytes).
    Flat,
}

/// The identifier of a file.
///
/// ```
/// let cid = deal_types::unixfs::cid_of(&[0; 300_000]);
/// assert_eq!(cid.codec, deal_types::Codec::DAG_PB);
/// ```
#[must_use]
pub fn cid_of(content: &[u8]) -> Cid {
    add(content, |_, _| {})
}

/// Cuts a file into blocks, hands each to `sink` (children before parents), and returns the root.
pub fn add(content: &[u8], sink: impl FnMut(Cid, &[u8])) -> Cid {
    let mut adder = Adder::new(Layout::Balanced, sink);
    adder.update(content);
    adder.finish()
}

/// Cuts a file that comes in pieces; memory stays below one chunk and [`MAX_LINKS`] links a level.
#[derive(Debug)]
pub struct Adder<S> {
    sink: S,
    max_links: usize,
    chunk: Vec<u8>,
    /// Links that have no parent yet, leaves first.
    levels: Vec<Vec<NodeLink>>,
}

impl<S: FnMut(Cid, &[u8])> Adder<S> {
    /// An empty file; `sink` gets every block.
    pub fn new(layout: Layout, sink: S) -> Self {
        let max_links = match layout {
            Layout::Balanced => MAX_LINKS,
            Layout::Flat => usize::MAX,
        };
        Self {
            sink,
            max_links,
            chunk: Vec::new(),
            levels: Vec::new(),
        }
    }

    /// Appends bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // A full chunk becomes a leaf only when more follows or at the end.
            if self.chunk.len() == CHUNK_SIZE {
                self.flush_chunk();
            }
            let room = CHUNK_SIZE - self.chunk.len();
            let (head, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.chunk.extend_from_slice(head);
            bytes = rest;
        }
    }

    /// The root of the file.
    pub fn finish(mut self) -> Cid {
        self.flush_chunk();
        let mut level = 0;
        loop {
            let last = level + 1 >= self.levels.len();
            match self.levels.get_mut(level).map(std::mem::take) {
                Some(links) if last && links.len() == 1 => {
                    return links.first().map_or(EMPTY, |link| link.cid);
                }
                Some(links) => {
                    if !links.is_empty() {
                        let parent = self.make_node(links);
                        self.push(level + 1, parent);
                    }
                }
                None => return EMPTY,
            }
            level += 1;
        }
    }

    fn flush_chunk(&mut self) {
        let cid = Cid::of_block(Codec::RAW, &self.chunk);
        (self.sink)(cid, &self.chunk);
        let size = self.chunk.len() as u64;
        self.chunk.clear();
        self.push(
            0,
            NodeLink {
                cid,
                total_size: size,
                content_size: size,
            },
        );
    }

    fn push(&mut self, mut level: usize, mut link: NodeLink) {
        loop {
            let Some(links) = self.levels.get_mut(level) else {
                self.levels.push(vec![link]);
                return;
            };
            if links.len() < self.max_links {
                links.push(link);
                return;
            }
            let full = std::mem::replace(links, vec![link]);
            link = self.make_node(full);
            level += 1;
        }
    }

    fn make_node(&mut self, links: Vec<NodeLink>) -> NodeLink {
        let node = Node { links };
        let block = node.encode();
        let cid = Cid::of_block(Codec::DAG_PB, &block);
        (self.sink)(cid, &block);
        let children: u64 = node.links.iter().map(|link| link.total_size).sum();
        NodeLink {
            cid,
            total_size: children + block.len() as u64,
            content_size: node.content_size(),
        }
    }
}

/// The raw block of no bytes; unreachable as a fallback because a file has at least one leaf.
const EMPTY: Cid = Cid {
    codec: Codec::RAW,
    digest: [
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9,
        0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52,
        0xb8, 0x55,
    ],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i % 251) as u8).collect()
    }

    #[test]
    fn known_files() {
        for (len, cid) in [
            (
                0,
                "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
            ),
            (
                262_144,
                "bafkreibruh455iawsviqslif5c7uurdcfdemh22mtnytyzvnzn75kpejxy",
            ),
            (
                262_145,
                "bafybeiexg2oqkfnj56l7fcmawswqbijt5shq4b5rg6a546uwpkqqzwjioi",
            ),
            (
                600_000,
                "bafybeicp64het67shnhxiyl3sg5mylxqop6pnqsqpfecb6pmni2ghoxzom",
            ),
        ] {
            assert_eq!(cid_of(&content(len)).to_string(), cid, "{len} bytes");
        }
        assert_eq!(cid_of(b""), EMPTY);
    }

    #[test]
    fn the_link_limit_makes_a_second_level() {
        let full = MAX_LINKS * CHUNK_SIZE;
        let flat = |len: usize| {
            let mut adder = Adder::new(Layout::Flat, |_, _| {});
            adder.update(&content(len));
            adder.finish()
        };
        let at_limit = cid_of(&content(full));
        assert_eq!(
            at_limit.to_string(),
            "bafybeihpe5snhzneq7xs53nivmsopto5lrogo3wjynauqylqeym5a3irbm"
        );
        assert_eq!(at_limit, flat(full));
        let above = cid_of(&content(full + 1));
        assert_eq!(
            above.to_string(),
            "bafybeib4y7ghw2rq7bracc4xwtxrbzo7cfvagdpte2tmrkgwl6dyard3cm"
        );
        assert_ne!(above, flat(full + 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn pieces_do_not_matter(len in 0_usize..1_200_000, piece in 1_usize..700_000) {
            let content = content(len);
            let mut blocks = BTreeMap::new();
            let mut adder = Adder::new(Layout::Balanced, |cid, block: &[u8]| {
                blocks.insert(cid, block.to_vec());
            });
            for piece in content.chunks(piece) {
                adder.update(piece);
            }
            let root = adder.finish();
            prop_assert_eq!(root, cid_of(&content));
            for (cid, block) in &blocks {
                prop_assert!(cid.names(block));
            }
            if root.codec == Codec::DAG_PB {
                let node = Node::decode(&blocks[&root]).unwrap();
                prop_assert_eq!(node.content_size(), len as u64);
                prop_assert_eq!(node.encode(), blocks[&root].clone());
                let leaves: Vec<u8> =
                    node.links.iter().flat_map(|link| blocks[&link.cid].clone()).collect();
                prop_assert_eq!(leaves, content);
            }
        }
    }
}
