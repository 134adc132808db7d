//! Files of the network by their content identifiers, without a daemon beside the peer.
//!
//! A peer keeps blocks in a folder, gives them to whoever asks ([`crate::network::Network::block`]),
//! and fetches what it does not have: from peers, or from a node of IPFS over HTTP. Every block is
//! compared with its identifier, so nobody who gives one has to be trusted.
//!
//! Through [`Deployment::serve_content`](crate::deployment::Deployment::serve_content) scripts reach
//! it as the service `aqua-ipfs`, with the functions of the published one (§9.2 of the peer
//! description).

use std::{
    fs, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use deal_types::{
    Cid,
    distributive::{BlockStore, Blocks, FetchError, Folder, Limits, StoreError, fetch_file},
    unixfs,
};
use futures::{StreamExt as _, stream};
use particle::PeerId;
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::{
    connectivity::Connectivity as _,
    deployment::ContentStore,
    network::{BlockProvider, MAX_BLOCK, Network, peer_of_address},
};

/// Peers that are asked for a block because their ids are close to its identifier.
const NEIGHBORS: usize = 20;
/// Peers that are asked at a time.
const ASKED_AT_ONCE: usize = 4;
/// Files that are fetched at a time; each is in memory until it is written.
const MAX_FETCHES: usize = 4;
/// Time for connecting to a peer that somebody names.
const CONNECTING: Duration = Duration::from_secs(5);

/// Why a file is not stored.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PutError {
    /// There is no room.
    #[error(
        "the content store is full: {held} bytes of {limit}, and the file has {new} bytes in new blocks"
    )]
    Full {
        /// Bytes that are there.
        held: u64,
        /// Bytes that are allowed.
        limit: u64,
        /// Bytes that would be added.
        new: u64,
    },
    /// The file is too large.
    #[error("the file has {length} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Its size.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// The folder cannot be written.
    #[error("the content store {path:?} cannot be written: {source}")]
    Write {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The blocks that this peer holds: files in a folder, up to so many bytes.
#[derive(Debug)]
pub struct Shelf {
    folder: Folder,
    held: AtomicU64,
    limit: u64,
    writing: std::sync::Mutex<()>,
}

impl Shelf {
    /// Opens a folder, which is made, for at most `limit` bytes of blocks.
    ///
    /// # Errors
    /// A folder that cannot be made or read.
    pub fn open(path: impl Into<PathBuf>, limit: u64) -> io::Result<Self> {
        let folder = Folder::new(path, MAX_BLOCK as u64);
        fs::create_dir_all(folder.path())?;
        let mut held = 0_u64;
        for file in fs::read_dir(folder.path())? {
            held = held.saturating_add(file?.metadata()?.len());
        }
        Ok(Self {
            folder,
            held: AtomicU64::new(held),
            limit,
            writing: std::sync::Mutex::new(()),
        })
    }

    /// Bytes of all blocks.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Keeps blocks; they are on disk when this returns. Blocks of the file that are there already
    /// take no further room.
    ///
    /// # Errors
    /// No room, or what the system says; then none, or some, of the blocks are there.
    pub fn put(&self, blocks: &Blocks) -> Result<(), PutError> {
        // Who finds room has to be who takes it.
        let _writing = self.writing.lock();
        let is_new = |cid: &&Cid| !self.folder.path().join(cid.to_string()).exists();
        let new = blocks.iter().filter(|(cid, _)| is_new(cid));
        let new: u64 = new.map(|(_, block)| block.len() as u64).sum();
        let (held, limit) = (self.held(), self.limit);
        if held.saturating_add(new) > limit {
            return Err(PutError::Full { held, limit, new });
        }
        // Counted even where the disk fails on the way: too much is safer than too little.
        self.held.fetch_add(new, Ordering::Relaxed);
        self.folder.put(blocks).map_err(|source| PutError::Write {
            path: self.folder.path().to_owned(),
            source,
        })
    }
}

#[async_trait]
impl BlockStore for Shelf {
    async fn block(&self, cid: Cid) -> Result<Option<Vec<u8>>, StoreError> {
        let folder = self.folder.clone();
        let read = tokio::task::spawn_blocking(move || folder.get(cid));
        let store = || self.folder.path().display().to_string();
        let failed = |reason: String| StoreError {
            cid,
            store: store(),
            reason,
        };
        let block = match read.await {
            Ok(Ok(block)) => block,
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(error) => return Err(failed(error.to_string())),
        };
        // What a disk has made of it is not the block any more.
        Ok(block.filter(|block| cid.names(block)))
    }
}

#[async_trait]
impl BlockProvider for Shelf {
    async fn block(&self, cid: &[u8]) -> Option<Vec<u8>> {
        let cid = Cid::from_bytes(cid).ok()?;
        match BlockStore::block(self, cid).await {
            Ok(block) => block,
            Err(error) => {
                tracing::warn!("{error}");
                None
            }
        }
    }
}

/// Blocks that other peers hold.
#[derive(Clone, Debug)]
pub struct PeerBlocks {
    network: Network,
    first: Vec<PeerId>,
}

impl PeerBlocks {
    /// Asks these peers first, then those whose ids are closest to the identifier of the block.
    #[must_use]
    pub fn new(network: Network, first: Vec<PeerId>) -> Self {
        Self { network, first }
    }

    async fn candidates(&self, cid: Cid) -> Vec<PeerId> {
        let neighbors = self.network.neighborhood(&cid.to_bytes(), NEIGHBORS).await;
        let mut candidates = self.first.clone();
        for neighbor in neighbors.iter().filter_map(|peer| peer.parse().ok()) {
            if !candidates.contains(&neighbor) {
                candidates.push(neighbor);
            }
        }
        candidates.retain(|peer| *peer != self.network.peer_id());
        candidates
    }
}

#[async_trait]
impl BlockStore for PeerBlocks {
    /// Nothing where all peers say that they do not have it, or nobody can be asked.
    async fn block(&self, cid: Cid) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes = cid.to_bytes();
        let candidates = self.candidates(cid).await;
        let mut failure = None;
        let asked = stream::iter(candidates).map(|peer| {
            let (network, bytes) = (self.network.clone(), bytes.clone());
            async move { (peer, network.block(&peer, bytes).await) }
        });
        let mut answers = asked.buffered(ASKED_AT_ONCE);
        while let Some((peer, answer)) = answers.next().await {
            match answer {
                Ok(Some(block)) if cid.names(&block) => return Ok(Some(block)),
                Ok(Some(_)) => failure = Some(format!("peer {peer} gave another block")),
                Ok(None) => {}
                Err(error) => failure = Some(error.to_string()),
            }
        }
        match failure {
            None => Ok(None),
            Some(reason) => Err(StoreError {
                cid,
                store: "peers".to_owned(),
                reason,
            }),
        }
    }
}

/// What a peer holds, and where it looks for what it does not.
pub struct Content {
    shelf: Arc<Shelf>,
    network: Network,
    peers: Vec<PeerId>,
    others: Vec<Box<dyn BlockStore>>,
    limits: Limits,
    fetches: Semaphore,
}

impl Content {
    /// Content of a peer: what is on the shelf, then what `peers` and other peers have, then
    /// `others` in order. Files of more than `max_file` bytes are neither fetched nor stored.
    ///
    /// From here on the network gives the blocks on the shelf to whoever asks.
    #[must_use]
    pub fn new(
        shelf: Arc<Shelf>,
        network: Network,
        peers: Vec<PeerId>,
        others: Vec<Box<dyn BlockStore>>,
        max_file: u64,
    ) -> Self {
        network.provide_blocks(shelf.clone());
        let mut limits = Limits::default();
        limits.module = max_file;
        // Inner nodes come on top.
        limits.total = max_file
            .saturating_add(max_file / 100)
            .saturating_add(1 << 20);
        Self {
            shelf,
            network,
            peers,
            others,
            limits,
            fetches: Semaphore::new(MAX_FETCHES),
        }
    }

    /// The blocks that the peer holds itself.
    #[must_use]
    pub fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    /// Fetches a file, every block of which is verified. A peer that `from` names is asked before
    /// others.
    ///
    /// # Errors
    /// A block that nobody has, a malformed or too large file.
    pub async fn fetch(&self, cid: Cid, from: Option<PeerId>) -> Result<Vec<u8>, FetchError> {
        // Never closed.
        let _turn = self.fetches.acquire().await;
        let source = Source {
            content: self,
            peers: PeerBlocks::new(
                self.network.clone(),
                from.into_iter().chain(self.peers.iter().copied()).collect(),
            ),
        };
        fetch_file(&source, cid, self.limits).await
    }

    /// Cuts a file into blocks as IPFS nodes do, and keeps them.
    ///
    /// # Errors
    /// A file that is too large, no room, or a disk that fails.
    pub async fn store(&self, file: Vec<u8>) -> Result<Cid, PutError> {
        let (length, limit) = (file.len() as u64, self.limits.module);
        if length > limit {
            return Err(PutError::TooLarge { length, limit });
        }
        let shelf = self.shelf.clone();
        let stored = tokio::task::spawn_blocking(move || {
            let mut blocks = Blocks::new();
            let cid = unixfs::add(&file, |cid, block| {
                blocks.insert(cid, block.to_vec());
            });
            drop(file);
            shelf.put(&blocks).map(|()| cid)
        });
        stored.await.unwrap_or_else(|error| {
            Err(PutError::Write {
                path: self.shelf.folder.path().to_owned(),
                source: io::Error::other(error),
            })
        })
    }
}

/// One fetch: own blocks, then those of peers, then other stores.
struct Source<'a> {
    content: &'a Content,
    peers: PeerBlocks,
}

#[async_trait]
impl BlockStore for Source<'_> {
    async fn block(&self, cid: Cid) -> Result<Option<Vec<u8>>, StoreError> {
        let mut failure = None;
        let others = self.content.others.iter().map(|other| other.as_ref());
        let own: [&dyn BlockStore; 2] = [self.content.shelf.as_ref(), &self.peers];
        for store in own.into_iter().chain(others) {
            match store.block(cid).await {
                Ok(Some(block)) if cid.names(&block) => return Ok(Some(block)),
                Ok(_) => {}
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(None), Err)
    }
}

#[async_trait]
impl ContentStore for Content {
    async fn get(&self, cid: &str, from: Option<&str>) -> Result<Vec<u8>, String> {
        let parsed = cid.parse();
        let cid: Cid = parsed.map_err(|error| format!("{error}"))?;
        let from = match from.and_then(|address| Some((address, peer_of_address(address)?))) {
            Some((address, peer)) => {
                // Where it cannot be reached others may help.
                if let Err(error) = self.connect(address).await {
                    tracing::debug!("{error}");
                }
                Some(peer)
            }
            None => None,
        };
        let fetched = self.fetch(cid, from).await;
        fetched.map_err(|error| error.to_string())
    }

    async fn put(&self, file: Vec<u8>) -> Result<String, String> {
        let stored = self.store(file).await.map_err(|error| error.to_string())?;
        Ok(stored.to_string())
    }

    async fn connect(&self, address: &str) -> Result<(), String> {
        let dialed = tokio::time::timeout(CONNECTING, self.network.dial(address)).await;
        match dialed {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("{address} was not reached within {CONNECTING:?}")),
        }
    }
}
