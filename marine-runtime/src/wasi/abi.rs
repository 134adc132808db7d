//! Numbers and layouts of WASI preview 1.

use std::io;

use super::{Call, Failure};
use crate::limits::MAX_PATH;

/// An error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Errno(u16);

impl Errno {
    pub(super) const ACCES: Self = Self(2);
    pub(super) const BADF: Self = Self(8);
    pub(super) const EXIST: Self = Self(20);
    pub(super) const FAULT: Self = Self(21);
    pub(super) const FBIG: Self = Self(22);
    pub(super) const INVAL: Self = Self(28);
    pub(super) const IO: Self = Self(29);
    pub(super) const ISDIR: Self = Self(31);
    pub(super) const LOOP: Self = Self(32);
    pub(super) const MFILE: Self = Self(33);
    pub(super) const NAMETOOLONG: Self = Self(37);
    pub(super) const NOENT: Self = Self(44);
    pub(super) const NOSPC: Self = Self(51);
    pub(super) const NOSYS: Self = Self(52);
    pub(super) const NOTDIR: Self = Self(54);
    pub(super) const NOTEMPTY: Self = Self(55);
    pub(super) const NOTSUP: Self = Self(58);
    pub(super) const OVERFLOW: Self = Self(61);
    pub(super) const PERM: Self = Self(63);
    pub(super) const ROFS: Self = Self(69);
    pub(super) const SPIPE: Self = Self(70);
    pub(super) const NOTCAPABLE: Self = Self(76);

    pub(super) fn code(self) -> u64 {
        self.0.into()
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind;
        match error.kind() {
            ErrorKind::NotFound => Self::NOENT,
            ErrorKind::PermissionDenied => Self::ACCES,
            ErrorKind::AlreadyExists => Self::EXIST,
            ErrorKind::InvalidInput => Self::INVAL,
            ErrorKind::NotADirectory => Self::NOTDIR,
            ErrorKind::IsADirectory => Self::ISDIR,
            ErrorKind::DirectoryNotEmpty => Self::NOTEMPTY,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::NOSPC,
            ErrorKind::FileTooLarge => Self::FBIG,
            ErrorKind::ReadOnlyFilesystem => Self::ROFS,
            ErrorKind::NotSeekable => Self::SPIPE,
            ErrorKind::InvalidFilename => Self::NAMETOOLONG,
            // What the system says of a path that leaves its directory.
            ErrorKind::CrossesDevices => Self::NOTCAPABLE,
            ErrorKind::Unsupported => Self::NOTSUP,
            _ => match error.raw_os_error() {
                Some(1) => Self::PERM,
                Some(24) => Self::MFILE,
                Some(36) => Self::NAMETOOLONG,
                Some(40) => Self::LOOP,
                _ => Self::IO,
            },
        }
    }
}

/// Rights to read and write a descriptor.
pub(super) const RIGHT_READ: u64 = 1 << 1;
pub(super) const RIGHT_WRITE: u64 = 1 << 6;
/// Flags of `path_open`.
pub(super) const OPEN_CREATE: u32 = 1;
pub(super) const OPEN_DIRECTORY: u32 = 2;
pub(super) const OPEN_EXCLUSIVE: u32 = 4;
pub(super) const OPEN_TRUNCATE: u32 = 8;
pub(super) const FLAG_APPEND: u32 = 1;

/// Kinds of files.
pub(super) const CHARACTER_DEVICE: u8 = 2;
pub(super) const DIRECTORY: u8 = 3;
pub(super) const REGULAR_FILE: u8 = 4;
pub(super) const SYMBOLIC_LINK: u8 = 7;
pub(super) const UNKNOWN_KIND: u8 = 0;

/// Flags that say which times are set, and to what.
pub(super) const ACCESS_GIVEN: u32 = 1;
pub(super) const ACCESS_NOW: u32 = 2;
pub(super) const CHANGE_GIVEN: u32 = 4;
pub(super) const CHANGE_NOW: u32 = 8;

/// Flags of a descriptor that say how far a write has gone when it returns.
pub(super) const FLAGS_SYNC: u32 = 2 | 8 | 16;

impl Call<'_> {
    /// A range of the module's memory.
    pub(super) fn slice(&mut self, pointer: u32, length: u32) -> Result<&mut [u8], Failure> {
        let start = pointer as usize;
        start
            .checked_add(length as usize)
            .and_then(|end| self.memory.get_mut(start..end))
            .ok_or(Failure::Errno(Errno::FAULT))
    }

    pub(super) fn write(&mut self, pointer: u32, bytes: &[u8]) -> Result<(), Failure> {
        let length = u32::try_from(bytes.len()).map_err(|_| Errno::OVERFLOW)?;
        self.slice(pointer, length)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn read_u32(&mut self, pointer: u32) -> Result<u32, Failure> {
        match self.slice(pointer, 4)?.first_chunk() {
            Some(bytes) => Ok(u32::from_le_bytes(*bytes)),
            None => Err(Errno::FAULT.into()),
        }
    }

    pub(super) fn read_u64(&mut self, pointer: u32) -> Result<u64, Failure> {
        match self.slice(pointer, 8)?.first_chunk() {
            Some(bytes) => Ok(u64::from_le_bytes(*bytes)),
            None => Err(Errno::FAULT.into()),
        }
    }

    /// A path.
    pub(super) fn path(&mut self, pointer: u32, length: u32) -> Result<String, Failure> {
        if length > MAX_PATH {
            return Err(Errno::NAMETOOLONG.into());
        }
        let bytes = self.slice(pointer, length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
            _ => Err(Errno::INVAL.into()),
        }
    }
}
