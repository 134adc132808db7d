//! Directories that nothing gets out of.

#[cfg(any(test, not(target_os = "linux")))]
use std::fs;
use std::{
    fs::{File, Metadata},
    io,
    path::Path,
};

/// A directory; paths are resolved below it and never outside.
pub(super) struct Folder {
    #[cfg(target_os = "linux")]
    handle: std::os::fd::OwnedFd,
    #[cfg(not(target_os = "linux"))]
    path: std::path::PathBuf,
}

/// How a file is opened.
#[derive(Clone, Copy, Default)]
pub(super) struct OpenOptions {
    pub(super) read: bool,
    pub(super) write: bool,
    pub(super) append: bool,
    pub(super) create: bool,
    pub(super) exclusive: bool,
    pub(super) truncate: bool,
    pub(super) directory: bool,
    pub(super) follow: bool,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) number: u64,
    pub(super) kind: EntryKind,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    Folder,
    File,
    Link,
    Other,
}

/// What a path led to.
pub(super) enum Opened {
    Folder(Folder),
    File(File),
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::fs::{
        AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, fstat, futimens,
        linkat, mkdirat, openat2, readlinkat, renameat, unlinkat,
    };

    use super::{Entry, EntryKind, File, Folder, Metadata, OpenOptions, Opened, Path, io};
    use crate::limits::MAX_ENTRIES;

    /// The kernel resolves below the directory, or not at all.
    const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

    impl Folder {
        pub(in crate::wasi) fn open(path: &Path) -> io::Result<Self> {
            let folder = File::open(path)?;
            if !folder.metadata()?.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            Ok(Self {
                handle: folder.into(),
            })
        }

        pub(in crate::wasi) fn open_at(
            &self,
            path: &str,
            options: OpenOptions,
        ) -> io::Result<Opened> {
            let wants_folder = options.directory || path.ends_with('/');
            let access = match (options.read, options.write) {
                (_, false) => OFlags::RDONLY,
                (false, true) => OFlags::WRONLY,
                (true, true) => OFlags::RDWR,
            };
            // Nothing that could block is ever waited for.
            let mut flags = access | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
            flags.set(OFlags::APPEND, options.append);
            flags.set(OFlags::CREATE, options.create);
            flags.set(OFlags::EXCL, options.exclusive);
            flags.set(OFlags::TRUNC, options.truncate);
            flags.set(OFlags::DIRECTORY, wants_folder);
            flags.set(OFlags::NOFOLLOW, !options.follow);
            let mode = if options.create {
                Mode::from_raw_mode(0o644)
            } else {
                Mode::empty()
            };
            let handle = openat2(&self.handle, path, flags, mode, BENEATH)?;
            let file = File::from(handle);
            let kind = file.metadata()?.file_type();
            if kind.is_dir() {
                Ok(Opened::Folder(Self {
                    handle: file.into(),
                }))
            } else if kind.is_file() {
                Ok(Opened::File(file))
            } else {
                // Devices, sockets and pipes that somebody put there.
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }

        pub(in crate::wasi) fn metadata(&self, path: &str, follow: bool) -> io::Result<Metadata> {
            let mut flags = OFlags::PATH | OFlags::CLOEXEC;
            flags.set(OFlags::NOFOLLOW, !follow);
            File::from(openat2(&self.handle, path, flags, Mode::empty(), BENEATH)?).metadata()
        }

        pub(in crate::wasi) fn own_metadata(&self) -> io::Result<Metadata> {
            File::from(self.handle.try_clone()?).metadata()
        }

        pub(in crate::wasi) fn remove_file(&self, path: &str) -> io::Result<()> {
            let (folder, name) = self.parent(path)?;
            Ok(unlinkat(&folder, name, AtFlags::empty())?)
        }

        pub(in crate::wasi) fn remove_folder(&self, path: &str) -> io::Result<()> {
            let (folder, name) = self.parent(path)?;
            Ok(unlinkat(&folder, name, AtFlags::REMOVEDIR)?)
        }

        pub(in crate::wasi) fn create_folder(&self, path: &str) -> io::Result<()> {
            let (folder, name) = self.parent(path)?;
            Ok(mkdirat(&folder, name, Mode::from_raw_mode(0o755))?)
        }

        pub(in crate::wasi) fn rename(
            &self,
            from: &str,
            target: &Self,
            to: &str,
        ) -> io::Result<()> {
            let (from_folder, from) = self.parent(from)?;
            let (to_folder, to) = target.parent(to)?;
            Ok(renameat(&from_folder, from, &to_folder, to)?)
        }

        /// Gives a file one more name.
        pub(in crate::wasi) fn link(&self, from: &str, target: &Self, to: &str) -> io::Result<()> {
            // With a slash behind it the kernel would follow a symbolic link, to wherever.
            if from.ends_with('/') {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            let (from_folder, from) = self.parent(from)?;
            let (to_folder, to) = target.parent(to)?;
            Ok(linkat(
                &from_folder,
                from,
                &to_folder,
                to,
                AtFlags::empty(),
            )?)
        }

        /// Where a symbolic link leads to.
        pub(in crate::wasi) fn read_link(&self, path: &str) -> io::Result<Vec<u8>> {
            if path.ends_with('/') {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let (folder, name) = self.parent(path)?;
            Ok(readlinkat(&folder, name, Vec::new())?.into_bytes())
        }

        /// What is in the directory, itself and the one above it first.
        /// Whether both are the same directory.
        pub(in crate::wasi) fn is(&self, other: &Self) -> io::Result<bool> {
            let [one, other] = [fstat(&self.handle)?, fstat(&other.handle)?];
            Ok(one.st_dev == other.st_dev && one.st_ino == other.st_ino)
        }

        pub(in crate::wasi) fn entries(&self) -> io::Result<Vec<Entry>> {
            let mut entries = Vec::new();
            for entry in Dir::read_from(&self.handle)? {
                let entry = entry?;
                let kind = match entry.file_type() {
                    FileType::Directory => EntryKind::Folder,
                    FileType::RegularFile => EntryKind::File,
                    FileType::Symlink => EntryKind::Link,
                    _ => EntryKind::Other,
                };
                // Nobody is to know what is above a mapped directory.
                let number = match entry.file_name().to_bytes() {
                    b".." => 0,
                    _ => entry.ino(),
                };
                entries.push(Entry {
                    name: entry.file_name().to_bytes().to_vec(),
                    number,
                    kind,
                });
                if entries.len() > MAX_ENTRIES {
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
            }
            entries.sort_unstable_by(|left, right| left.name.cmp(&right.name));
            Ok(entries)
        }

        /// Sets the times of the directory: of access and of change, `None` leaves one as it is.
        pub(in crate::wasi) fn set_times(
            &self,
            access: Option<std::time::SystemTime>,
            change: Option<std::time::SystemTime>,
        ) -> io::Result<()> {
            let time = |time: Option<std::time::SystemTime>| match time {
                None => Timespec {
                    tv_sec: 0,
                    tv_nsec: rustix::fs::UTIME_OMIT,
                },
                Some(time) => {
                    let since = time
                        .duration_since(std::time::UNIX_EPOCH)
                        .unwrap_or_default();
                    Timespec {
                        tv_sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                        tv_nsec: since.subsec_nanos().into(),
                    }
                }
            };
            let times = Timestamps {
                last_access: time(access),
                last_modification: time(change),
            };
            Ok(futimens(&self.handle, &times)?)
        }

        pub(in crate::wasi) fn sync(&self) -> io::Result<()> {
            Ok(rustix::fs::fsync(&self.handle)?)
        }

        /// The directory of the last part of a path, and that part: a name, nothing else.
        fn parent<'a>(&self, path: &'a str) -> io::Result<(std::os::fd::OwnedFd, &'a str)> {
            if path.starts_with('/') {
                return Err(io::ErrorKind::CrossesDevices.into());
            }
            // A slash behind the name stays: it says that a directory is meant.
            let trimmed = path.trim_end_matches('/');
            let start = trimmed.rfind('/').map_or(0, |slash| slash + 1);
            let (folder, name) = path.split_at(start);
            let folder = if folder.is_empty() { "." } else { folder };
            if matches!(name.trim_end_matches('/'), "" | "." | "..") {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Ok((
                openat2(&self.handle, folder, flags, Mode::empty(), BENEATH)?,
                name,
            ))
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use std::{
        path::{Component, PathBuf},
        time::SystemTime,
    };

    use super::{Entry, EntryKind, File, Folder, Metadata, OpenOptions, Opened, Path, fs, io};
    use crate::limits::MAX_ENTRIES;

    impl Folder {
        pub(in crate::wasi) fn open(path: &Path) -> io::Result<Self> {
            let path = path.canonicalize()?;
            if !path.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            Ok(Self { path })
        }

        pub(in crate::wasi) fn open_at(
            &self,
            path: &str,
            options: OpenOptions,
        ) -> io::Result<Opened> {
            let target = self.resolve(path)?;
            if target.is_dir() {
                return Ok(Opened::Folder(Self { path: target }));
            }
            if options.directory || path.ends_with('/') {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            let file = fs::OpenOptions::new()
                .read(options.read || !options.write)
                .write(options.write && !options.append)
                .append(options.append)
                .create(options.create && !options.exclusive)
                .create_new(options.create && options.exclusive)
                .truncate(options.truncate)
                .open(&target)?;
            if file.metadata()?.is_file() {
                Ok(Opened::File(file))
            } else {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }

        pub(in crate::wasi) fn metadata(&self, path: &str, _: bool) -> io::Result<Metadata> {
            fs::metadata(self.resolve(path)?)
        }

        pub(in crate::wasi) fn own_metadata(&self) -> io::Result<Metadata> {
            fs::metadata(&self.path)
        }

        pub(in crate::wasi) fn remove_file(&self, path: &str) -> io::Result<()> {
            fs::remove_file(self.resolve(path)?)
        }

        pub(in crate::wasi) fn remove_folder(&self, path: &str) -> io::Result<()> {
            fs::remove_dir(self.resolve(path)?)
        }

        pub(in crate::wasi) fn create_folder(&self, path: &str) -> io::Result<()> {
            fs::create_dir(self.resolve(path)?)
        }

        pub(in crate::wasi) fn rename(
            &self,
            from: &str,
            target: &Self,
            to: &str,
        ) -> io::Result<()> {
            fs::rename(self.resolve(from)?, target.resolve(to)?)
        }

        pub(in crate::wasi) fn link(&self, from: &str, target: &Self, to: &str) -> io::Result<()> {
            fs::hard_link(self.resolve(from)?, target.resolve(to)?)
        }

        /// No path that is resolved here has a symbolic link in it.
        pub(in crate::wasi) fn read_link(&self, _: &str) -> io::Result<Vec<u8>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        /// Whether both are the same directory.
        pub(in crate::wasi) fn is(&self, other: &Self) -> io::Result<bool> {
            Ok(self.path == other.path)
        }

        pub(in crate::wasi) fn entries(&self) -> io::Result<Vec<Entry>> {
            let own = |name: &str| Entry {
                name: name.as_bytes().to_vec(),
                number: 0,
                kind: EntryKind::Folder,
            };
            let mut entries = vec![own("."), own("..")];
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                entries.push(Entry {
                    name: entry.file_name().as_encoded_bytes().to_vec(),
                    number: 0,
                    kind: if kind.is_dir() {
                        EntryKind::Folder
                    } else if kind.is_file() {
                        EntryKind::File
                    } else if kind.is_symlink() {
                        EntryKind::Link
                    } else {
                        EntryKind::Other
                    },
                });
                if entries.len() > MAX_ENTRIES {
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
            }
            entries.sort_unstable_by(|left, right| left.name.cmp(&right.name));
            Ok(entries)
        }

        pub(in crate::wasi) fn set_times(
            &self,
            _: Option<SystemTime>,
            _: Option<SystemTime>,
        ) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(in crate::wasi) fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        /// Resolves a path part by part; every symbolic link is refused.
        fn resolve(&self, path: &str) -> io::Result<PathBuf> {
            let mut resolved = self.path.clone();
            let mut depth = 0_usize;
            for component in Path::new(path).components() {
                match component {
                    Component::CurDir => {}
                    Component::Normal(name) => {
                        resolved.push(name);
                        depth += 1;
                        let link = fs::symlink_metadata(&resolved);
                        if link.is_ok_and(|metadata| metadata.file_type().is_symlink()) {
                            return Err(io::ErrorKind::CrossesDevices.into());
                        }
                    }
                    Component::ParentDir if depth > 0 => {
                        resolved.pop();
                        depth -= 1;
                    }
                    _ => return Err(io::ErrorKind::CrossesDevices.into()),
                }
            }
            Ok(resolved)
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn read(folder: &Folder, path: &str) -> io::Result<Opened> {
        folder.open_at(
            path,
            OpenOptions {
                read: true,
                follow: true,
                ..OpenOptions::default()
            },
        )
    }

    #[test]
    fn nothing_gets_out() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        let inside = outside.path().join("inside");
        fs::create_dir_all(inside.join("sub")).unwrap();
        fs::write(inside.join("own"), "o").unwrap();
        symlink("../secret", inside.join("link")).unwrap();
        symlink(outside.path(), inside.join("absolute")).unwrap();
        symlink("../..", inside.join("sub/up")).unwrap();
        symlink("../own", inside.join("sub/good")).unwrap();
        symlink("own", inside.join("near")).unwrap();
        let folder = Folder::open(&inside).unwrap();
        assert!(read(&folder, "own").is_ok());
        assert!(read(&folder, "sub/../own").is_ok());
        assert!(read(&folder, "sub/good").is_ok());
        assert!(read(&folder, "near").is_ok());
        for path in [
            "../secret",
            "link",
            "absolute/secret",
            "sub/up/secret",
            "/etc/passwd",
            "sub/../../secret",
            "..",
            "absolute",
            "/",
            "sub/up",
        ] {
            assert!(read(&folder, path).is_err(), "{path}");
            // A link itself may be removed, what it leads to not.
            let is_link = matches!(path, "link" | "absolute" | "sub/up");
            assert!(is_link || folder.remove_file(path).is_err(), "{path}");
        }
        for path in [
            "../new",
            "sub/up/new",
            "absolute/new",
            "/tmp/new-folder-of-a-test",
            "..",
        ] {
            assert!(folder.create_folder(path).is_err(), "{path}");
            assert!(folder.rename("own", &folder, path).is_err(), "{path}");
            let create = OpenOptions {
                write: true,
                create: true,
                follow: true,
                ..OpenOptions::default()
            };
            assert!(folder.open_at(path, create).is_err(), "{path}");
        }
        assert!(outside.path().join("secret").exists());
    }

    #[test]
    fn a_trailing_slash_wants_a_directory() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let folder = Folder::open(root.path()).unwrap();
        assert!(read(&folder, "file/").is_err());
        assert!(matches!(read(&folder, "./"), Ok(Opened::Folder(_))));
    }
}
