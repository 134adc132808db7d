//! What all modules of a service share: how many descriptors they hold open, and how much they keep
//! on disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::abi::Errno;
use crate::{
    limits::{DISK_ENTRY, MAX_ENTRIES},
    service::config::ServiceLimits,
};

/// Counts open descriptors and, if there is a limit, bytes on disk.
#[derive(Debug)]
pub(crate) struct Quota {
    max_open: usize,
    max_disk: Option<u64>,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    open: usize,
    disk: u64,
    /// How often a file is open: its bytes are given back when nobody has it any more.
    files: BTreeMap<Inode, usize>,
}

/// Device and number of a file.
type Inode = (u64, u64);

impl Quota {
    /// The quota of a service that sees these directories; with a limit of bytes, what lies in them
    /// is counted.
    pub(crate) fn new<'a>(
        limits: &ServiceLimits,
        folders: impl Iterator<Item = &'a PathBuf>,
    ) -> Result<Self, (PathBuf, io::Error)> {
        let mut used = Used::default();
        if limits.disk.is_some() {
            let mut counted = BTreeSet::new();
            for folder in folders {
                let fail = |error| (folder.clone(), error);
                counted.insert(folder.canonicalize().map_err(fail)?);
            }
            let mut entries = 0;
            for folder in &counted {
                let mut above = folder.ancestors().skip(1);
                if !above.any(|above| counted.contains(above)) {
                    used.disk +=
                        size(folder, &mut entries).map_err(|error| (folder.clone(), error))?;
                }
            }
        }
        Ok(Self {
            max_open: limits.open_files,
            max_disk: limits.disk,
            used: Mutex::new(used),
        })
    }

    /// Takes a descriptor.
    pub(super) fn open(&self) -> Result<(), Errno> {
        let mut used = self.used();
        if used.open >= self.max_open {
            return Err(Errno::MFILE);
        }
        used.open += 1;
        Ok(())
    }

    /// Gives a descriptor back.
    pub(super) fn close(&self) {
        let mut used = self.used();
        used.open = used.open.saturating_sub(1);
    }

    /// Whether bytes on disk are counted at all.
    pub(super) fn counts_disk(&self) -> bool {
        self.max_disk.is_some()
    }

    /// Takes bytes on disk.
    pub(super) fn grow(&self, bytes: u64) -> Result<(), Errno> {
        let Some(limit) = self.max_disk else {
            return Ok(());
        };
        let mut used = self.used();
        match used.disk.checked_add(bytes) {
            Some(disk) if disk <= limit || bytes == 0 => {
                used.disk = disk;
                Ok(())
            }
            _ => Err(Errno::NOSPC),
        }
    }

    /// Gives bytes on disk back.
    pub(super) fn shrink(&self, bytes: u64) {
        let mut used = self.used();
        used.disk = used.disk.saturating_sub(bytes);
    }

    /// A file was opened.
    pub(super) fn opened(&self, file: &Metadata) {
        if self.counts_disk() {
            *self.used().files.entry(inode(file)).or_default() += 1;
        }
    }

    /// A file was closed.
    pub(super) fn closed(&self, file: &Metadata) {
        if !self.counts_disk() {
            return;
        }
        let mut used = self.used();
        let inode = inode(file);
        let left = used.files.get(&inode).map_or(0, |open| open - 1);
        if left > 0 {
            used.files.insert(inode, left);
            return;
        }
        used.files.remove(&inode);
        if links(file) == 0 {
            used.disk = used.disk.saturating_sub(file.len());
        }
    }

    /// A name of a file or directory was removed; `file` is what it was before.
    pub(super) fn removed(&self, file: &Metadata) {
        let mut used = self.used();
        let last = file.is_file() && links(file) <= 1 && !used.files.contains_key(&inode(file));
        let content = if last { file.len() } else { 0 };
        used.disk = used.disk.saturating_sub(DISK_ENTRY + content);
    }

    /// Whether two names stand for one file.
    pub(super) fn same(&self, left: &Metadata, right: &Metadata) -> bool {
        self.counts_disk() && inode(left) == inode(right)
    }

    fn used(&self) -> std::sync::MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(unix)]
fn inode(file: &Metadata) -> Inode {
    use std::os::unix::fs::MetadataExt as _;
    (file.dev(), file.ino())
}

#[cfg(unix)]
fn links(file: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(file)
}

/// Without numbers of files, one counts as gone when its name is.
#[cfg(not(unix))]
fn inode(_: &Metadata) -> Inode {
    (0, 0)
}

#[cfg(not(unix))]
fn links(_: &Metadata) -> u64 {
    1
}

/// Bytes in a directory; links are not followed.
fn size(folder: &Path, entries: &mut usize) -> io::Result<u64> {
    let mut sum = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            *entries += 1;
            if *entries > MAX_ENTRIES {
                return Err(io::Error::other(format!(
                    "more than {MAX_ENTRIES} files and directories: too many for a quota"
                )));
            }
            let metadata = entry.metadata()?;
            sum += DISK_ENTRY;
            if metadata.is_dir() {
                open.push(entry.path());
            } else if metadata.is_file() {
                sum += metadata.len();
            }
        }
    }
    Ok(sum)
}
