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

/// What a path led to.
pub(super) enum Opened {
    Folder(Folder),
    File(File),
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, mkdirat, openat2, unlinkat};

    use super::{File, Folder, Metadata, OpenOptions, Opened, Path, io};

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
            let (folder, name) = self.parent(path.trim_end_matches('/'))?;
            Ok(unlinkat(&folder, name, AtFlags::REMOVEDIR)?)
        }

        pub(in crate::wasi) fn create_folder(&self, path: &str) -> io::Result<()> {
            let (folder, name) = self.parent(path.trim_end_matches('/'))?;
            Ok(mkdirat(&folder, name, Mode::from_raw_mode(0o755))?)
        }

        pub(in crate::wasi) fn rename(
            &self,
            from: &str,
            target: &Self,
            to: &str,
        ) -> io::Result<()> {
            let (from_folder, from) = self.parent(from.trim_end_matches('/'))?;
            let (to_folder, to) = target.parent(to.trim_end_matches('/'))?;
            Ok(rustix::fs::renameat(&from_folder, from, &to_folder, to)?)
        }

        pub(in crate::wasi) fn sync(&self) -> io::Result<()> {
            Ok(rustix::fs::fsync(&self.handle)?)
        }

        /// The directory of the last part of a path, and that part: a name, nothing else.
        fn parent<'a>(&self, path: &'a str) -> io::Result<(std::os::fd::OwnedFd, &'a str)> {
            let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
            if matches!(name, "" | "." | "..") {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            if path.starts_with('/') {
                return Err(io::ErrorKind::CrossesDevices.into());
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
    use std::path::{Component, PathBuf};

    use super::{File, Folder, Metadata, OpenOptions, Opened, Path, fs, io};

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
