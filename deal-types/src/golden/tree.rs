//! Merkle trees over tickets.

use crate::{Bytes32, PeerKey, hash::keccak256_of};

/// Why there is no tree or no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The same ticket twice.
    #[error("ticket {leaf} is there twice")]
    DuplicateLeaf {
        /// The leaf.
        leaf: Bytes32,
    },
    /// The same worker twice in a particle.
    #[error("participant {worker} is there twice")]
    DuplicateParticipant {
        /// The worker.
        worker: PeerKey,
    },
    /// A position at which there is no leaf.
    #[error("no ticket has index {index}: there are {count}")]
    Index {
        /// The position.
        index: u64,
        /// How many leaves there are.
        count: u64,
    },
}

/// The root over leaves in the given order; zero when there are none.
///
/// Neighbours are joined from left to right; a last one without a partner moves up unchanged.
#[must_use]
pub fn merkle_root(mut level: Vec<Bytes32>) -> Bytes32 {
    while level.len() > 1 {
        level = parents(&level);
    }
    level.first().copied().unwrap_or(Bytes32::ZERO)
}

fn parents(level: &[Bytes32]) -> Vec<Bytes32> {
    level
        .chunks(2)
        .filter_map(|pair| match pair {
            [left, right] => Some(join(left, right)),
            [single] => Some(*single),
            _ => None,
        })
        .collect()
}

fn join(left: &Bytes32, right: &Bytes32) -> Bytes32 {
    keccak256_of(&[&[1], &left.0, &right.0])
}

/// The tickets of a worker in an epoch, sorted by their leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketTree {
    leaves: Vec<Bytes32>,
    root: Bytes32,
}

impl TicketTree {
    /// Builds the tree; the order of `leaves` does not matter.
    ///
    /// # Errors
    /// A leaf that is there twice.
    pub fn build(mut leaves: Vec<Bytes32>) -> Result<Self, TreeError> {
        leaves.sort_unstable();
        for (first, second) in leaves.iter().zip(leaves.iter().skip(1)) {
            if first == second {
                return Err(TreeError::DuplicateLeaf { leaf: *first });
            }
        }
        let root = merkle_root(leaves.clone());
        Ok(Self { leaves, root })
    }

    /// What the worker commits to.
    #[must_use]
    pub fn root(&self) -> Bytes32 {
        self.root
    }

    /// How many tickets there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// The leaves in the order of the tree.
    #[must_use]
    pub fn leaves(&self) -> &[Bytes32] {
        &self.leaves
    }

    /// Proves that the leaf at `index` is in the tree.
    ///
    /// # Errors
    /// An index at which there is no leaf.
    pub fn prove(&self, index: u64) -> Result<MembershipProof, TreeError> {
        let missing = || TreeError::Index {
            index,
            count: self.count(),
        };
        let mut position = usize::try_from(index).map_err(|_| missing())?;
        self.leaves.get(position).ok_or_else(missing)?;
        let (mut level, mut siblings) = (self.leaves.clone(), Vec::new());
        while level.len() > 1 {
            // The last of an odd number has no sibling.
            siblings.extend(level.get(position ^ 1));
            level = parents(&level);
            position /= 2;
        }
        Ok(MembershipProof { index, siblings })
    }
}

/// That a leaf stands at an index of a tree.
///
/// On which side each sibling stands follows from the index and the number of leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipProof {
    /// The position of the leaf.
    pub index: u64,
    /// The neighbours on the way up.
    pub siblings: Vec<Bytes32>,
}

impl MembershipProof {
    /// Whether `leaf` stands at the index of a tree of `count` leaves with this root.
    #[must_use]
    pub fn verify(&self, root: Bytes32, count: u64, leaf: Bytes32) -> bool {
        if self.index >= count {
            return false;
        }
        let (mut position, mut width, mut node) = (self.index, count, leaf);
        let mut siblings = self.siblings.iter();
        while width > 1 {
            let alone = position + 1 == width && width % 2 == 1;
            if !alone {
                let Some(sibling) = siblings.next() else {
                    return false;
                };
                node = if position % 2 == 0 {
                    join(&node, sibling)
                } else {
                    join(sibling, &node)
                };
            }
            position /= 2;
            width = width.div_ceil(2);
        }
        siblings.next().is_none() && node == root
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_trees() {
        let leaf = |byte| Bytes32([byte; 32]);
        let tree = TicketTree::build(vec![]).unwrap();
        assert_eq!((tree.root(), tree.count()), (Bytes32::ZERO, 0));
        assert_eq!(tree.prove(0), Err(TreeError::Index { index: 0, count: 0 }));
        let tree = TicketTree::build(vec![leaf(1)]).unwrap();
        assert_eq!(tree.root(), leaf(1));
        let tree = TicketTree::build(vec![leaf(3), leaf(1), leaf(2)]).unwrap();
        assert_eq!(tree.root(), join(&join(&leaf(1), &leaf(2)), &leaf(3)));
        let twice = TicketTree::build(vec![leaf(1), leaf(2), leaf(1)]);
        assert_eq!(twice, Err(TreeError::DuplicateLeaf { leaf: leaf(1) }));
    }

    proptest! {
        #[test]
        fn proofs_hold_for_their_leaf_only(
            leaves in prop::collection::btree_set(any::<[u8; 32]>(), 1..40),
            seed: u64,
        ) {
            let leaves: Vec<_> = leaves.into_iter().map(Bytes32).collect();
            let mut shuffled = leaves.clone();
            shuffled.rotate_left(usize::try_from(seed % leaves.len() as u64).unwrap());
            let tree = TicketTree::build(shuffled).unwrap();
            prop_assert_eq!(tree.leaves(), &leaves);
            for (index, leaf) in (0..).zip(&leaves) {
                let proof = tree.prove(index).unwrap();
                prop_assert!(proof.verify(tree.root(), tree.count(), *leaf));
                for other in leaves.iter().filter(|other| *other != leaf) {
                    prop_assert!(!proof.verify(tree.root(), tree.count(), *other));
                }
                let moved = MembershipProof { index: index + 1, ..proof.clone() };
                prop_assert!(!moved.verify(tree.root(), tree.count(), *leaf));
                let mut longer = proof;
                longer.siblings.push(*leaf);
                prop_assert!(!longer.verify(tree.root(), tree.count(), *leaf));
            }
        }
    }
}
