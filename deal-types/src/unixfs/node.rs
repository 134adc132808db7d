//! Inner nodes of files: a protobuf of links around a protobuf of sizes.

use crate::{
    Cid,
    cid::{put_varint, take_varint},
};

/// Why a block is not an inner node of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The block is not the protobuf it should be.
    #[error("block of {length} bytes is not a file node: {reason}")]
    Malformed {
        /// Length of the block.
        length: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A link that is no content identifier.
    #[error("link of a file node: {0}")]
    Link(#[from] crate::CidError),
}

/// A child of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLink {
    /// The child.
    pub cid: Cid,
    /// Bytes of the child's blocks, all levels together.
    pub total_size: u64,
    /// Bytes of the file below the child.
    pub content_size: u64,
}

/// An inner node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The children, in the order of the file.
    pub links: Vec<NodeLink>,
}

/// Protobuf keys: field number and wire type.
const NODE_DATA: u64 = 0x0a;
const NODE_LINK: u64 = 0x12;
const LINK_HASH: u64 = 0x0a;
const LINK_NAME: u64 = 0x12;
const LINK_SIZE: u64 = 0x18;
const FILE_TYPE: u64 = 0x08;
const FILE_SIZE: u64 = 0x18;
const FILE_BLOCK_SIZE: u64 = 0x20;
/// The UnixFS type of a file.
const TYPE_FILE: u64 = 2;

impl Node {
    /// Bytes of the file below this node.
    #[must_use]
    pub fn content_size(&self) -> u64 {
        self.links
            .iter()
            .fold(0, |sum, link| sum.saturating_add(link.content_size))
    }

    /// The block: links first, then the sizes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Vec::new();
        let mut file = Vec::new();
        put_number(&mut file, FILE_TYPE, TYPE_FILE);
        put_number(&mut file, FILE_SIZE, self.content_size());
        for link in &self.links {
            let mut bytes = Vec::new();
            put_bytes(&mut bytes, LINK_HASH, &link.cid.to_bytes());
            put_bytes(&mut bytes, LINK_NAME, &[]);
            put_number(&mut bytes, LINK_SIZE, link.total_size);
            put_bytes(&mut block, NODE_LINK, &bytes);
            put_number(&mut file, FILE_BLOCK_SIZE, link.content_size);
        }
        put_bytes(&mut block, NODE_DATA, &file);
        block
    }

    /// Reads a block.
    ///
    /// # Errors
    /// Anything that is not a node of a file without data of its own.
    pub fn decode(block: &[u8]) -> Result<Self, NodeError> {
        let malformed = |reason| NodeError::Malformed {
            length: block.len(),
            reason,
        };
        let (mut links, mut file) = (Vec::new(), None);
        for field in fields(block).ok_or_else(|| malformed("broken protobuf"))? {
            match field {
                (NODE_LINK, Field::Bytes(bytes)) => {
                    links.push(decode_link(bytes).ok_or_else(|| malformed("broken link"))??);
                }
                (NODE_DATA, Field::Bytes(bytes)) if file.is_none() => file = Some(bytes),
                _ => return Err(malformed("unexpected field")),
            }
        }
        let file = file.ok_or_else(|| malformed("sizes are missing"))?;
        let (mut kind, mut size, mut sizes) = (None, None, Vec::new());
        for field in fields(file).ok_or_else(|| malformed("broken sizes"))? {
            match field {
                (FILE_TYPE, Field::Number(value)) => kind = Some(value),
                (FILE_SIZE, Field::Number(value)) => size = Some(value),
                (FILE_BLOCK_SIZE, Field::Number(value)) => sizes.push(value),
                _ => return Err(malformed("unexpected field in the sizes")),
            }
        }
        if kind != Some(TYPE_FILE) {
            return Err(malformed("not of type file"));
        }
        if sizes.len() != links.len() {
            return Err(malformed("not one size for each link"));
        }
        for (link, size) in links.iter_mut().zip(sizes) {
            link.content_size = size;
        }
        let node = Self { links };
        if size != Some(node.content_size()) {
            return Err(malformed("sizes do not add up"));
        }
        Ok(node)
    }
}

fn decode_link(bytes: &[u8]) -> Option<Result<NodeLink, NodeError>> {
    let (mut cid, mut total_size) = (None, None);
    for field in fields(bytes)? {
        match field {
            (LINK_HASH, Field::Bytes(hash)) => cid = Some(Cid::from_bytes(hash)),
            (LINK_NAME, Field::Bytes(_)) => {}
            (LINK_SIZE, Field::Number(value)) => total_size = Some(value),
            _ => return None,
        }
    }
    let (cid, total_size) = (cid?, total_size?);
    Some(
        cid.map(|cid| NodeLink {
            cid,
            total_size,
            content_size: 0,
        })
        .map_err(NodeError::Link),
    )
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message that has only varints and byte strings.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (key, rest) = take_varint(bytes)?;
        let (value, rest) = take_varint(rest)?;
        match key & 7 {
            0 => {
                fields.push((key, Field::Number(value)));
                bytes = rest;
            }
            2 => {
                let (content, rest) = rest.split_at_checked(usize::try_from(value).ok()?)?;
                fields.push((key, Field::Bytes(content)));
                bytes = rest;
            }
            _ => return None,
        }
    }
    Some(fields)
}

fn put_number(bytes: &mut Vec<u8>, key: u64, value: u64) {
    put_varint(bytes, key);
    put_varint(bytes, value);
}

fn put_bytes(bytes: &mut Vec<u8>, key: u64, content: &[u8]) {
    put_number(bytes, key, content.len() as u64);
    bytes.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Codec;

    proptest! {
        #[test]
        fn blocks_round_trip(sizes in prop::collection::vec((0..1_u64 << 50, 0..1_u64 << 50), 0..40)) {
            let links = sizes.into_iter().map(|(total_size, content_size)| NodeLink {
                cid: Cid::of_block(Codec::RAW, &total_size.to_le_bytes()),
                total_size,
                content_size,
            });
            let node = Node { links: links.collect() };
            prop_assert_eq!(Node::decode(&node.encode()), Ok(node));
        }

        #[test]
        fn damaged_blocks_do_not_panic(position: prop::sample::Index, byte: u8, bytes: Vec<u8>) {
            let link = NodeLink {
                cid: Cid::of_block(Codec::RAW, b""), total_size: 3, content_size: 5,
            };
            let mut block = Node { links: vec![link; 3] }.encode();
            let position = position.index(block.len());
            block[position] = byte;
            let _ = Node::decode(&block);
            let _ = Node::decode(&block[..position]);
            let _ = Node::decode(&bytes);
        }
    }
}
