//! Where the blocks of a distributive come from.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;

use super::{Blocks, Distributive, Limits, LoadError, Loader, load::Pieces};
use crate::Cid;

/// A store of blocks that does not answer.
#[derive(Debug, thiserror::Error)]
#[error("block {cid} from {store}: {reason}")]
pub struct StoreError {
    /// The block.
    pub cid: Cid,
    /// Which store.
    pub store: String,
    /// What went wrong.
    pub reason: String,
}

/// Why a distributive was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// What came is not a distributive within the limits.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Nobody answered.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Blocks by their identifiers, wherever they are. Nobody has to believe what comes: a
/// [`Loader`] verifies each block.
#[async_trait]
pub trait BlockStore: Send + Sync {
    /// The block; nothing where the store does not have it.
    ///
    /// # Errors
    /// The store cannot tell.
    async fn block(&self, cid: Cid) -> Result<Option<Vec<u8>>, StoreError>;
}

#[async_trait]
impl BlockStore for Blocks {
    async fn block(&self, cid: Cid) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.get(&cid).cloned())
    }
}

/// Several stores, asked in order until one has the block. It is missing where all of them say so,
/// and an error where one could not tell.
#[async_trait]
impl BlockStore for Vec<Box<dyn BlockStore>> {
    async fn block(&self, cid: Cid) -> Result<Option<Vec<u8>>, StoreError> {
        let mut failure = None;
        for store in self {
            match store.block(cid).await {
                Ok(Some(block)) => return Ok(Some(block)),
                Ok(None) => {}
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(None), Err)
    }
}

impl Distributive {
    /// Loads everything from a store, and verifies it.
    ///
    /// # Errors
    /// What [`Distributive::load`] refuses, and a store that does not answer.
    pub async fn fetch(
        store: &dyn BlockStore,
        cid: Cid,
        limits: Limits,
    ) -> Result<Self, FetchError> {
        let mut loader = Loader::new(cid, limits);
        loop {
            let Some(wanted) = loader.wanted().next() else {
                return Ok(loader.finish()?);
            };
            let block = store.block(wanted).await?;
            let block = block.ok_or(LoadError::Missing { cid: wanted })?;
            loader.provide(wanted, block)?;
        }
    }
}

/// Fetches one file from a store, and verifies every block. Of the limits those on a module, on
/// levels, on blocks and on all bytes apply.
///
/// # Errors
/// A missing or wrong block, a malformed or too large file, a store that does not answer.
pub async fn fetch_file(
    store: &dyn BlockStore,
    cid: Cid,
    limits: Limits,
) -> Result<Vec<u8>, FetchError> {
    let mut pieces = Pieces::new(cid, limits);
    loop {
        while let Some(wanted) = pieces.first_wanted() {
            let block = store.block(wanted).await?;
            let block = block.ok_or(LoadError::Missing { cid: wanted })?;
            pieces.provide(wanted, block)?;
        }
        pieces.walk(cid, limits.module)?;
        if pieces.first_wanted().is_none() {
            return Ok(pieces.read(cid, limits.module)?);
        }
    }
}

/// Makes the names of files that are not whole yet differ.
static HALVES: AtomicU64 = AtomicU64::new(0);

/// A folder with a file for each block, named by its identifier.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    max_block: u64,
}

impl Folder {
    /// The folder, which need not exist before something is [put](Self::put) into it. Files of more
    /// than `max_block` bytes are not read.
    pub fn new(path: impl Into<PathBuf>, max_block: u64) -> Self {
        Self {
            path: path.into(),
            max_block,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes blocks, which are on disk when this returns; what is there already stays. Who reads
    /// meanwhile sees whole blocks only.
    ///
    /// # Errors
    /// What the system says.
    pub fn put(&self, blocks: &Blocks) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        for (cid, block) in blocks {
            let file = self.path.join(cid.to_string());
            if !file.exists() {
                let number = HALVES.fetch_add(1, Ordering::Relaxed);
                let half = format!(".{cid}.{}.{number}", std::process::id());
                let half = self.path.join(half);
                let mut written = fs::File::create(&half)?;
                written.write_all(block)?;
                written.sync_all()?;
                fs::rename(&half, &file)?;
            }
        }
        fs::File::open(&self.path)?.sync_all()
    }

    /// A block, which nobody has compared with its identifier; nothing where it is not there.
    ///
    /// # Errors
    /// What the system says, and a block that is too large.
    pub fn get(&self, cid: Cid) -> io::Result<Option<Vec<u8>>> {
        let file = match fs::File::open(self.path.join(cid.to_string())) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        if length > self.max_block {
            let max = self.max_block;
            let text = format!("the file has {length} bytes, at most {max} are read");
            return Err(io::Error::other(text));
        }
        let mut block = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, self.max_block), &mut block)?;
        Ok(Some(block))
    }
}

#[async_trait]
impl BlockStore for Folder {
    async fn block(&self, cid: Cid) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(cid).map_err(|error| StoreError {
            cid,
            store: self.path.display().to_string(),
            reason: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        distributive::{DistributiveBuilder, TriggerConfig},
        unixfs,
    };

    fn example() -> (Cid, Blocks) {
        let mut builder = DistributiveBuilder::new();
        let large = vec![7; 600_000];
        builder.service("a", None, [("a", large.as_slice())]);
        builder.spell("s", "(null)", &TriggerConfig::default(), "{}");
        builder.build()
    }

    #[tokio::test]
    async fn a_folder_keeps_blocks() {
        let (cid, blocks) = example();
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path().join("store"), 1 << 20);
        assert_eq!(folder.block(cid).await.unwrap(), None);
        folder.put(&blocks).unwrap();
        folder.put(&blocks).unwrap();
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, blocks.len());
        let fetched = Distributive::fetch(&folder, cid, Limits::default());
        let fetched = fetched.await.unwrap();
        assert_eq!(fetched.files.len(), 4);

        // Who can write to the folder cannot change what is fetched from it.
        fs::write(folder.path().join(cid.to_string()), "{}").unwrap();
        let fetched = Distributive::fetch(&folder, cid, Limits::default()).await;
        assert!(matches!(
            fetched,
            Err(FetchError::Load(LoadError::WrongHash { cid: wrong, length: 2 })) if wrong == cid
        ));
        let short = Folder::new(folder.path(), 1);
        let refused = short.block(cid).await.unwrap_err().to_string();
        assert!(refused.contains("2 bytes, at most 1"), "{refused}");
    }

    #[tokio::test]
    async fn single_files_are_verified() {
        let content: Vec<u8> = (0..700_000_u32).map(|number| number as u8).collect();
        let mut blocks = Blocks::new();
        let cid = unixfs::add(&content, |cid, block| {
            blocks.insert(cid, block.to_vec());
        });
        let fetch = |blocks: Blocks, limits| async move { fetch_file(&blocks, cid, limits).await };
        let whole = fetch(blocks.clone(), Limits::default()).await.unwrap();
        assert_eq!(whole, content);

        let small = Limits {
            module: 699_999,
            ..Limits::default()
        };
        let refused = fetch(blocks.clone(), small).await.unwrap_err().to_string();
        assert!(refused.starts_with("file size of"), "{refused}");
        for leaf in blocks.keys().filter(|leaf| **leaf != cid) {
            let mut wrong = blocks.clone();
            wrong.insert(*leaf, b"lie".to_vec());
            let refused = fetch(wrong, Limits::default()).await;
            assert!(matches!(
                refused,
                Err(FetchError::Load(LoadError::WrongHash { length: 3, .. }))
            ));
            let mut short = blocks.clone();
            short.remove(leaf);
            let refused = fetch(short, Limits::default()).await;
            assert!(matches!(
                refused,
                Err(FetchError::Load(LoadError::Missing { .. }))
            ));
        }
    }

    struct Broken;

    #[async_trait]
    impl BlockStore for Broken {
        async fn block(&self, cid: Cid) -> Result<Option<Vec<u8>>, StoreError> {
            Err(StoreError {
                cid,
                store: "broken".to_owned(),
                reason: "cut".to_owned(),
            })
        }
    }

    #[tokio::test]
    async fn stores_stand_in_for_each_other() {
        let (cid, mut blocks) = example();
        let first = blocks.pop_first().unwrap();
        let other = Blocks::from([first]);
        let both: Vec<Box<dyn BlockStore>> =
            vec![Box::new(Broken), Box::new(blocks.clone()), Box::new(other)];
        let fetched = Distributive::fetch(&both, cid, Limits::default()).await;
        assert_eq!(fetched.unwrap().cid, cid);

        // Whether the broken one has it nobody knows.
        let some: Vec<Box<dyn BlockStore>> = vec![Box::new(Broken), Box::new(blocks.clone())];
        let failed = Distributive::fetch(&some, cid, Limits::default()).await;
        assert!(matches!(failed, Err(FetchError::Store(_))), "{failed:?}");
        let missing = Distributive::fetch(&blocks, cid, Limits::default()).await;
        assert!(matches!(
            missing,
            Err(FetchError::Load(LoadError::Missing { .. }))
        ));
    }
}
