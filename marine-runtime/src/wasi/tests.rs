//! The functions as a module sees them, without a module.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::*;
use crate::{limits::DISK_ENTRY, service::config::ServiceLimits};

const CREATE: u64 = 1;
const DIRECTORY: u64 = 2;
const TRUNCATE: u64 = 8;
const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 6;
/// Descriptor of the first mapped directory.
const ROOT: u64 = 3;

/// Where the harness keeps things in the memory of its module.
const RESULT: u64 = 8;
const VECTOR: u64 = 16;
const FROM: u64 = 1_000;
const TO: u64 = 10_000;
const BUFFER: u64 = 100_000;

struct Guest {
    wasi: Wasi,
    memory: Vec<u8>,
}

impl Guest {
    fn new(folder: &Path, limits: &ServiceLimits) -> Self {
        let mut config = ModuleConfig::from_bytes("test", Vec::new());
        config
            .mapped_dirs
            .insert("/data".to_owned(), folder.to_owned());
        let quota = Quota::new(limits, config.mapped_dirs.values()).unwrap();
        let control = Arc::new(Control::new(u64::MAX));
        Self {
            wasi: Wasi::new(&config, control, Arc::new(quota)).unwrap(),
            memory: vec![0; 1 << 20],
        }
    }

    fn call(&mut self, name: &str, raw: &[u64]) -> u64 {
        let (_, parameters, body) = functions::ALL.iter().find(|(n, ..)| *n == name).unwrap();
        assert_eq!(parameters.len(), raw.len(), "{name}");
        let mut call = Call {
            wasi: &self.wasi,
            memory: &mut self.memory,
        };
        match body.unwrap()(&mut call, raw) {
            Ok(()) => 0,
            Err(Failure::Errno(errno)) => errno.code(),
            Err(Failure::Trap(trap)) => panic!("{name}: {trap}"),
        }
    }

    fn put(&mut self, place: u64, bytes: &[u8]) -> u64 {
        self.memory[place as usize..][..bytes.len()].copy_from_slice(bytes);
        bytes.len() as u64
    }

    fn result(&self) -> u32 {
        u32::from_le_bytes(self.memory[RESULT as usize..][..4].try_into().unwrap())
    }

    fn open(&mut self, path: &str, flags: u64, rights: u64) -> Result<u64, u64> {
        let length = self.put(FROM, path.as_bytes());
        match self.call(
            "path_open",
            &[ROOT, 1, FROM, length, flags, rights, 0, 0, RESULT],
        ) {
            0 => Ok(self.result().into()),
            errno => Err(errno),
        }
    }

    fn write(&mut self, descriptor: u64, bytes: &[u8]) -> Result<usize, u64> {
        self.vector(bytes.len());
        self.put(BUFFER, bytes);
        match self.call("fd_write", &[descriptor, VECTOR, 1, RESULT]) {
            0 => Ok(self.result() as usize),
            errno => Err(errno),
        }
    }

    fn vector(&mut self, length: usize) {
        self.put(VECTOR, &(BUFFER as u32).to_le_bytes());
        self.put(VECTOR + 4, &(length as u32).to_le_bytes());
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[BUFFER as usize..][..self.result() as usize]
    }

    fn path(&mut self, function: &str, path: &str) -> u64 {
        let length = self.put(FROM, path.as_bytes());
        self.call(function, &[ROOT, FROM, length])
    }

    fn rename(&mut self, from: &str, to: &str) -> u64 {
        let from = self.put(FROM, from.as_bytes());
        let to = self.put(TO, to.as_bytes());
        self.call("path_rename", &[ROOT, FROM, from, ROOT, TO, to])
    }

    fn link(&mut self, from: &str, to: &str) -> u64 {
        let from = self.put(FROM, from.as_bytes());
        let to = self.put(TO, to.as_bytes());
        self.call("path_link", &[ROOT, 0, FROM, from, ROOT, TO, to])
    }

    fn close(&mut self, descriptor: u64) {
        assert_eq!(self.call("fd_close", &[descriptor]), 0);
    }

    /// Names and kinds in a directory, read in pieces of `piece` bytes.
    fn list(&mut self, descriptor: u64, piece: usize) -> Vec<(String, u8)> {
        let mut names = Vec::new();
        let mut cookie = 0_u64;
        loop {
            let raw = [descriptor, BUFFER, piece as u64, cookie, RESULT];
            assert_eq!(self.call("fd_readdir", &raw), 0);
            let bytes = self.bytes().to_vec();
            let mut rest = &bytes[..];
            while rest.len() >= 24 {
                let length = u32::from_le_bytes(rest[16..20].try_into().unwrap()) as usize;
                if rest.len() < 24 + length {
                    break;
                }
                cookie = u64::from_le_bytes(rest[..8].try_into().unwrap());
                let name = String::from_utf8(rest[24..24 + length].to_vec()).unwrap();
                names.push((name, rest[20]));
                rest = &rest[24 + length..];
            }
            if bytes.len() < piece {
                return names;
            }
        }
    }
}

fn no_limits() -> ServiceLimits {
    ServiceLimits::default()
}

#[test]
fn files_are_written_and_read_anywhere_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut guest = Guest::new(folder.path(), &no_limits());
    let file = guest.open("file", CREATE, READ | WRITE).unwrap();
    assert_eq!(guest.write(file, b"0123456789"), Ok(10));
    guest.put(BUFFER, b"ab");
    guest.vector(2);
    assert_eq!(guest.call("fd_pwrite", &[file, VECTOR, 1, 4, RESULT]), 0);
    guest.vector(6);
    assert_eq!(guest.call("fd_pread", &[file, VECTOR, 1, 2, RESULT]), 0);
    assert_eq!(guest.bytes(), b"23ab67");
    // The position stayed where it was.
    assert_eq!(guest.call("fd_tell", &[file, RESULT]), 0);
    assert_eq!(guest.result(), 10);
    assert_eq!(guest.call("fd_fdstat_set_flags", &[file, 1]), 0);
    assert_eq!(guest.call("fd_seek", &[file, 0, 0, RESULT]), 0);
    assert_eq!(guest.write(file, b"end"), Ok(3));
    assert_eq!(
        guest.call("fd_filestat_set_times", &[file, 0, 7_000_000_000, 4]),
        0
    );
    guest.close(file);
    let path = folder.path().join("file");
    assert_eq!(fs::read(&path).unwrap(), b"0123ab6789end");
    let changed = fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(
        changed,
        std::time::UNIX_EPOCH + std::time::Duration::from_secs(7)
    );
}

#[test]
fn rights_only_shrink() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "content").unwrap();
    let mut guest = Guest::new(folder.path(), &no_limits());
    // Cutting off is writing.
    assert_eq!(guest.open("file", TRUNCATE, READ), Err(76));
    let file = guest.open("file", 0, READ).unwrap();
    assert_eq!(guest.write(file, b"x"), Err(8));
    assert_eq!(guest.call("fd_filestat_set_size", &[file, 0]), 8);
    assert_eq!(
        guest.call("fd_fdstat_set_rights", &[file, READ | WRITE, 0]),
        76
    );
    assert_eq!(guest.call("fd_fdstat_set_rights", &[file, 0, 0]), 0);
    guest.vector(1);
    assert_eq!(guest.call("fd_read", &[file, VECTOR, 1, RESULT]), 8);
    assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"content");
}

#[test]
fn directories_are_listed_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let mut guest = Guest::new(folder.path(), &no_limits());
    assert_eq!(guest.path("path_create_directory", "sub/"), 0);
    for index in 0..40 {
        let file = guest
            .open(&format!("sub/file-{index:02}"), CREATE, WRITE)
            .unwrap();
        guest.close(file);
    }
    let sub = guest.open("sub", DIRECTORY, READ).unwrap();
    for piece in [40, 64, 100, 5_000] {
        let names = guest.list(sub, piece);
        assert_eq!(names.len(), 42, "{piece}");
        assert_eq!(names[0], (".".to_owned(), abi::DIRECTORY));
        assert_eq!(names[1], ("..".to_owned(), abi::DIRECTORY));
        assert_eq!(names[2], ("file-00".to_owned(), abi::REGULAR_FILE));
    }
    let file = guest.open("sub/file-00", 0, READ).unwrap();
    let raw = [file, BUFFER, 100, 0, RESULT];
    assert_eq!(guest.call("fd_readdir", &raw), Errno::NOTDIR.code());
}

#[test]
fn descriptors_are_moved_but_not_mapped_ones() {
    let folder = tempfile::tempdir().unwrap();
    let mut guest = Guest::new(folder.path(), &no_limits());
    let first = guest.open("first", CREATE, READ | WRITE).unwrap();
    let second = guest.open("second", CREATE, READ | WRITE).unwrap();
    for (from, to) in [(ROOT, first), (first, ROOT)] {
        assert_eq!(guest.call("fd_renumber", &[from, to]), Errno::NOTSUP.code());
    }
    for (from, to) in [(99, first), (first, 99)] {
        assert_eq!(guest.call("fd_renumber", &[from, to]), Errno::BADF.code());
    }
    assert_eq!(guest.call("fd_renumber", &[first, second]), 0);
    assert_eq!(guest.call("fd_renumber", &[second, second]), 0);
    assert_eq!(guest.write(second, b"moved"), Ok(5));
    assert_eq!(guest.write(first, b"x"), Err(8));
    assert_eq!(fs::read(folder.path().join("first")).unwrap(), b"moved");
}

/// A mapped directory with all kinds of links in it, below a directory with a secret.
fn trap() -> (tempfile::TempDir, PathBuf) {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    let inside = outside.path().join("inside");
    fs::create_dir_all(inside.join("dir")).unwrap();
    fs::write(inside.join("own"), "o").unwrap();
    symlink("../secret", inside.join("link")).unwrap();
    symlink("../../secret", inside.join("dir/link")).unwrap();
    symlink(outside.path(), inside.join("absolute")).unwrap();
    symlink("..", inside.join("up")).unwrap();
    symlink("../new", inside.join("dangling")).unwrap();
    (outside, inside)
}

/// Paths of a [`trap`] that lead out of it.
const WAYS_OUT: &[&str] = &[
    "..",
    "../",
    "../secret",
    "/",
    "/etc/passwd",
    "./../secret",
    "dir/../../secret",
    "dir/./../../secret",
    "link",
    "link/",
    "dir/link",
    "absolute",
    "absolute/",
    "absolute/secret",
    "absolute/inside/../secret",
    "up",
    "up/",
    "up/secret",
    "up/inside/own",
    "up/up/secret",
    "dangling",
    "dangling/",
    "dir/../up/secret",
    "/proc/self/root/etc/passwd",
];

#[test]
fn no_path_leads_out() {
    let (outside, inside) = trap();
    let mut guest = Guest::new(&inside, &no_limits());
    for path in WAYS_OUT {
        for flags in [0, CREATE, CREATE | TRUNCATE, DIRECTORY, CREATE | 4] {
            for rights in [READ, WRITE, READ | WRITE] {
                assert!(
                    guest.open(path, flags, rights).is_err(),
                    "{path} {flags} {rights}"
                );
            }
        }
        let length = guest.put(FROM, path.as_bytes());
        let stat = [ROOT, 1, FROM, length, BUFFER];
        assert_ne!(guest.call("path_filestat_get", &stat), 0, "{path}");
        let times = [ROOT, 1, FROM, length, 0, 0, 1 | 4];
        assert_ne!(guest.call("path_filestat_set_times", &times), 0, "{path}");
        // What ends with a link itself, and is no way through one, may be renamed and removed.
        let through = !matches!(*path, "link" | "dir/link" | "absolute" | "up" | "dangling");
        if through {
            assert_ne!(guest.rename(path, "gone"), 0, "{path}");
            assert_ne!(guest.link(path, "gone"), 0, "{path}");
            assert_ne!(guest.path("path_unlink_file", path), 0, "{path}");
            assert_ne!(guest.rename("own", path), 0, "{path}");
            assert_ne!(guest.link("own", path), 0, "{path}");
        }
        assert_ne!(guest.path("path_remove_directory", path), 0, "{path}");
        assert_ne!(guest.path("path_create_directory", path), 0, "{path}");
    }
    let mut left: Vec<_> = fs::read_dir(outside.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["inside", "secret"]);
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"s");
    let times = fs::metadata(outside.path().join("secret")).unwrap();
    assert!(times.modified().unwrap() > std::time::UNIX_EPOCH);
}

/// Symbolic links are the guest's neither to make nor to read where they lead outside by a full path.
#[test]
fn links_tell_nothing_about_the_host() {
    let (_outside, inside) = trap();
    let mut guest = Guest::new(&inside, &no_limits());
    let from = guest.put(FROM, b"/etc/passwd");
    let to = guest.put(TO, b"mine");
    let raw = [FROM, from, ROOT, TO, to];
    assert_eq!(guest.call("path_symlink", &raw), Errno::NOTSUP.code());
    for (path, expected) in [("absolute", 76), ("link", 0), ("own", 28), ("link/", 28)] {
        let length = guest.put(FROM, path.as_bytes());
        let raw = [ROOT, FROM, length, BUFFER, 100, RESULT];
        assert_eq!(guest.call("path_readlink", &raw), expected, "{path}");
    }
    // Following a link when linking is refused; the link itself may have two names.
    let from = guest.put(FROM, b"link");
    let raw = [ROOT, 1, FROM, from, ROOT, TO, to];
    assert_eq!(guest.call("path_link", &raw), Errno::INVAL.code());
    assert_eq!(guest.link("link", "mine"), 0);
    assert!(guest.open("mine", 0, READ).is_err());
    let root = guest.list(ROOT, 1000);
    assert!(
        root.contains(&("link".to_owned(), abi::SYMBOLIC_LINK)),
        "{root:?}"
    );
}

/// A directory that is moved while it is open stays a directory below the mapped one.
#[test]
fn renames_lead_nowhere_else() {
    let (outside, inside) = trap();
    fs::create_dir_all(inside.join("a/b/c")).unwrap();
    let mut guest = Guest::new(&inside, &no_limits());
    let deep = guest.open("a/b/c", DIRECTORY, READ).unwrap();
    assert_eq!(guest.rename("a/b/c", "c"), 0);
    for path in ["..", "../own", "../../secret", "../../../secret"] {
        let length = guest.put(FROM, path.as_bytes());
        let raw = [deep, 1, FROM, length, 0, READ, 0, 0, RESULT];
        assert_ne!(guest.call("path_open", &raw), 0, "{path}");
    }
    // A slash behind the name of a file says that it is a directory, which it is not.
    for (from, to) in [
        ("own/", "renamed"),
        ("own", "renamed/"),
        ("own/", "renamed/"),
    ] {
        assert_ne!(guest.rename(from, to), 0, "{from} {to}");
    }
    assert_ne!(guest.path("path_unlink_file", "own/"), 0);
    assert_ne!(guest.path("path_remove_directory", "own/"), 0);
    assert_eq!(guest.rename("a/b/", "b2/"), 0);
    assert_eq!(guest.path("path_remove_directory", "b2/"), 0);
    assert!(inside.join("own").exists() && outside.path().join("secret").exists());
}

#[test]
fn devices_and_pipes_are_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let status = std::process::Command::new("mkfifo")
        .arg(folder.path().join("pipe"))
        .status()
        .unwrap();
    assert!(status.success());
    let socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    let mut guest = Guest::new(folder.path(), &no_limits());
    for path in ["pipe", "socket"] {
        for rights in [READ, WRITE, READ | WRITE] {
            assert!(guest.open(path, 0, rights).is_err(), "{path}");
        }
    }
    drop(socket);
}

#[test]
fn open_files_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let limits = ServiceLimits {
        open_files: 3,
        ..no_limits()
    };
    let mut guest = Guest::new(folder.path(), &limits);
    let open: Vec<_> = (0..3)
        .map(|index| guest.open(&format!("{index}"), CREATE, WRITE).unwrap())
        .collect();
    assert_eq!(guest.open("4", CREATE, WRITE), Err(Errno::MFILE.code()));
    assert!(!folder.path().join("4").exists());
    // What fails takes nothing.
    guest.close(open[0]);
    assert!(guest.open("missing", 0, READ).is_err());
    guest.open("4", CREATE, WRITE).unwrap();
    assert_eq!(guest.open("5", CREATE, WRITE), Err(Errno::MFILE.code()));
}

/// What the files below a directory take, as the quota counts it.
fn taken(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            DISK_ENTRY
                + if metadata.is_dir() {
                    taken(&entry.path())
                } else {
                    metadata.len()
                }
        })
        .sum()
}

#[test]
fn space_on_disk_is_bounded_and_given_back() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("before"), vec![0; 10_000]).unwrap();
    let limit = 60_000;
    let limits = ServiceLimits {
        disk: Some(limit),
        ..no_limits()
    };
    let mut guest = Guest::new(folder.path(), &limits);
    let full = Err(Errno::NOSPC.code());
    let file = guest.open("file", CREATE, READ | WRITE).unwrap();
    let chunk = vec![7; 10_000];
    let mut written = 0;
    while let Ok(count) = guest.write(file, &chunk) {
        written += count;
    }
    assert_eq!(written, 40_000);
    assert!(taken(folder.path()) <= limit);
    // Over what is there already it can write; a hole counts as what it will hold.
    assert_eq!(guest.call("fd_seek", &[file, 0, 0, RESULT]), 0);
    assert_eq!(guest.write(file, &chunk), Ok(10_000));
    assert_eq!(guest.call("fd_filestat_set_size", &[file, 1 << 30]), 51);
    guest.vector(1);
    assert_eq!(
        guest.call("fd_pwrite", &[file, VECTOR, 1, 1 << 30, RESULT]),
        51
    );
    // Names take space too.
    let mut names = 0;
    while guest.path("path_create_directory", &format!("d{names}")) == 0 {
        names += 1;
    }
    assert!(names <= 2);
    assert_eq!(guest.open("more", CREATE, WRITE), Err(51));
    assert_eq!(guest.link("file", "more"), 51);
    assert!(!folder.path().join("more").exists());
    // A file without a name is on disk while it is open.
    assert_eq!(guest.path("path_unlink_file", "file"), 0);
    let other = guest.open("other", CREATE, WRITE).unwrap();
    assert_eq!(guest.write(other, &chunk), full);
    guest.close(file);
    assert_eq!(guest.write(other, &chunk), Ok(10_000));
    // Cutting and replacing give back.
    assert_eq!(guest.call("fd_filestat_set_size", &[other, 0]), 0);
    for _ in 0..4 {
        assert_eq!(guest.call("fd_seek", &[other, 0, 0, RESULT]), 0);
        assert_eq!(guest.write(other, &chunk), Ok(10_000));
        let cut = guest.open("other", TRUNCATE, WRITE).unwrap();
        guest.close(cut);
    }
    assert_eq!(guest.rename("other", "before"), 0);
    assert!(taken(folder.path()) <= limit);
    // A new start counts what is there.
    let used = taken(folder.path());
    let limits = ServiceLimits {
        disk: Some(used + DISK_ENTRY + 5),
        ..no_limits()
    };
    let mut guest = Guest::new(folder.path(), &limits);
    let last = guest.open("last", CREATE, WRITE).unwrap();
    assert_eq!(guest.write(last, b"123456"), full);
    assert_eq!(guest.write(last, b"12345"), Ok(5));
}

#[test]
fn paths_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut guest = Guest::new(folder.path(), &no_limits());
    let raw = [ROOT, 1, 0, 5_000, 0, READ, 0, 0, RESULT];
    assert_eq!(guest.call("path_open", &raw), Errno::NAMETOOLONG.code());
    let raw = [ROOT, 1, u64::from(u32::MAX), 4, 0, READ, 0, 0, RESULT];
    assert_eq!(guest.call("path_open", &raw), Errno::FAULT.code());
    assert_eq!(guest.open("a\0b", CREATE, WRITE), Err(Errno::INVAL.code()));
}
