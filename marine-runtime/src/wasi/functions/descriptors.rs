//! Functions on descriptors.

use std::{
    fs::{FileTimes, Metadata},
    io::{self, SeekFrom},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{Done, MAX_PARTS, int, long, nanoseconds, put};
use crate::{
    limits::MAX_IO_CHUNK,
    wasi::{
        Call, Descriptor, Failure, STDERR, STDIN, STDOUT,
        abi::{
            ACCESS_GIVEN, ACCESS_NOW, CHANGE_GIVEN, CHANGE_NOW, CHARACTER_DEVICE, DIRECTORY, Errno,
            FLAG_APPEND, FLAGS_SYNC, REGULAR_FILE, RIGHT_READ, RIGHT_WRITE, SYMBOLIC_LINK,
            UNKNOWN_KIND,
        },
        files::{Entry, EntryKind},
    },
};

pub(super) fn fd_close(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let mut state = call.wasi.state();
    match state.open.get(&int(raw, 0)) {
        // Mapped directories stay: nothing could open them again.
        Some(Descriptor::Mapped(..)) => Err(Errno::NOTSUP.into()),
        Some(_) => {
            state.open.remove(&int(raw, 0));
            call.wasi.quota.close();
            Ok(())
        }
        None if int(raw, 0) <= STDERR => Ok(()),
        None => Err(Errno::BADF.into()),
    }
}

pub(super) fn fd_sync(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let mut state = call.wasi.state();
    match state.open.get_mut(&int(raw, 0)) {
        Some(Descriptor::File(open)) => Ok(open.sync()?),
        Some(Descriptor::Mapped(folder, _) | Descriptor::Folder(folder, _)) => Ok(folder.sync()?),
        None if int(raw, 0) <= STDERR => Ok(()),
        None => Err(Errno::BADF.into()),
    }
}

pub(super) fn fd_fdstat_get(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let state = call.wasi.state();
    let (kind, flags, rights) = match state.open.get(&int(raw, 0)) {
        Some(Descriptor::File(open)) => {
            let rights = [(open.read, RIGHT_READ), (open.write, RIGHT_WRITE)];
            let denied = rights
                .iter()
                .filter(|(may, _)| !may)
                .map(|(_, right)| right)
                .sum::<u64>();
            (
                REGULAR_FILE,
                if open.appends() { FLAG_APPEND } else { 0 },
                !denied,
            )
        }
        Some(_) => (DIRECTORY, 0, u64::MAX),
        None => match int(raw, 0) {
            STDIN => (CHARACTER_DEVICE, 0, RIGHT_READ),
            STDOUT | STDERR => (CHARACTER_DEVICE, FLAG_APPEND, RIGHT_WRITE),
            _ => return Err(Errno::BADF.into()),
        },
    };
    drop(state);
    let mut stat = [0; 24];
    put(&mut stat, 0, &[kind]);
    put(&mut stat, 2, &(flags as u16).to_le_bytes());
    // Rights that do not exist are not announced.
    let all = (1 << 29) - 1;
    put(&mut stat, 8, &(rights & all).to_le_bytes());
    put(&mut stat, 16, &(rights & all).to_le_bytes());
    call.write(int(raw, 1), &stat)
}

pub(super) fn fd_filestat_get(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let state = call.wasi.state();
    let metadata = match state.open.get(&int(raw, 0)) {
        Some(Descriptor::File(open)) => open.metadata()?,
        Some(Descriptor::Mapped(folder, _) | Descriptor::Folder(folder, _)) => {
            folder.own_metadata()?
        }
        None if int(raw, 0) <= STDERR => {
            drop(state);
            let mut stat = [0; 64];
            put(&mut stat, 16, &[CHARACTER_DEVICE]);
            return call.write(int(raw, 1), &stat);
        }
        None => return Err(Errno::BADF.into()),
    };
    drop(state);
    call.write(int(raw, 1), &file_stat(&metadata))
}

pub(super) fn file_stat(metadata: &Metadata) -> [u8; 64] {
    let mut stat = [0; 64];
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        put(&mut stat, 0, &metadata.dev().to_le_bytes());
        put(&mut stat, 8, &metadata.ino().to_le_bytes());
        put(&mut stat, 24, &metadata.nlink().to_le_bytes());
    }
    let kind = metadata.file_type();
    let kind = if kind.is_dir() {
        DIRECTORY
    } else if kind.is_file() {
        REGULAR_FILE
    } else if kind.is_symlink() {
        SYMBOLIC_LINK
    } else {
        0
    };
    put(&mut stat, 16, &[kind]);
    put(&mut stat, 32, &metadata.len().to_le_bytes());
    let time = |time: io::Result<SystemTime>| {
        let since = time
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        nanoseconds(since.unwrap_or_default()).to_le_bytes()
    };
    put(&mut stat, 40, &time(metadata.accessed()));
    put(&mut stat, 48, &time(metadata.modified()));
    put(&mut stat, 56, &time(metadata.modified()));
    stat
}

/// Advice on how a file will be read.
pub(super) fn fd_advise(call: &mut Call<'_>, raw: &[u64]) -> Done {
    if int(raw, 3) > 5 {
        return Err(Errno::INVAL.into());
    }
    call.wasi.state().file(int(raw, 0))?;
    Ok(())
}

pub(super) fn fd_fdstat_set_flags(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let flags = int(raw, 1);
    if flags & FLAGS_SYNC != 0 {
        return Err(Errno::NOTSUP.into());
    }
    let mut state = call.wasi.state();
    Ok(state
        .file(int(raw, 0))?
        .set_append(flags & FLAG_APPEND != 0)?)
}

/// Takes rights away; more than a descriptor has cannot be given.
pub(super) fn fd_fdstat_set_rights(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let rights = long(raw, 1);
    let mut state = call.wasi.state();
    let open = state.file(int(raw, 0))?;
    let (read, write) = (rights & RIGHT_READ != 0, rights & RIGHT_WRITE != 0);
    if (read && !open.read) || (write && !open.write) {
        return Err(Errno::NOTCAPABLE.into());
    }
    (open.read, open.write) = (read, write);
    Ok(())
}

pub(super) fn fd_filestat_set_size(call: &mut Call<'_>, raw: &[u64]) -> Done {
    Ok(call.wasi.state().file(int(raw, 0))?.set_len(long(raw, 1))?)
}

pub(super) fn fd_filestat_set_times(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let times = times(long(raw, 1), long(raw, 2), int(raw, 3))?;
    let state = call.wasi.state();
    match state.open.get(&int(raw, 0)) {
        Some(Descriptor::File(open)) => Ok(open.set_times(times.of_file())?),
        Some(Descriptor::Mapped(folder, _) | Descriptor::Folder(folder, _)) => {
            Ok(folder.set_times(times.access, times.change)?)
        }
        None => Err(Errno::BADF.into()),
    }
}

/// Times of access and of change to set; `None` leaves one as it is.
pub(super) struct Times {
    pub(super) access: Option<SystemTime>,
    pub(super) change: Option<SystemTime>,
}

impl Times {
    pub(super) fn of_file(&self) -> FileTimes {
        let mut times = FileTimes::new();
        if let Some(access) = self.access {
            times = times.set_accessed(access);
        }
        if let Some(change) = self.change {
            times = times.set_modified(change);
        }
        times
    }
}

/// The times that a module wants to set, in nanoseconds since 1970.
pub(super) fn times(access: u64, change: u64, flags: u32) -> Result<Times, Failure> {
    let time = |nanoseconds: u64, given: u32, now: u32| match flags & (given | now) {
        0 => Ok(None),
        flag if flag == given => Ok(UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))),
        flag if flag == now => Ok(Some(SystemTime::now())),
        _ => Err(Errno::INVAL),
    };
    Ok(Times {
        access: time(access, ACCESS_GIVEN, ACCESS_NOW)?,
        change: time(change, CHANGE_GIVEN, CHANGE_NOW)?,
    })
}

pub(super) fn fd_prestat_get(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let length = match call.wasi.state().open.get(&int(raw, 0)) {
        Some(Descriptor::Mapped(_, mapped)) => {
            u32::try_from(mapped.name.len()).map_err(|_| Errno::NAMETOOLONG)?
        }
        _ => return Err(Errno::BADF.into()),
    };
    call.write(
        int(raw, 1),
        &u64::from(length).rotate_left(32).to_le_bytes(),
    )
}

pub(super) fn fd_prestat_dir_name(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let name = match call.wasi.state().open.get(&int(raw, 0)) {
        Some(Descriptor::Mapped(_, mapped)) => mapped.name.clone(),
        _ => return Err(Errno::BADF.into()),
    };
    if name.len() > int(raw, 2) as usize {
        return Err(Errno::NAMETOOLONG.into());
    }
    call.write(int(raw, 1), name.as_bytes())
}

/// The parts of a read or write.
fn parts(call: &mut Call<'_>, (pointer, count): (u32, u32)) -> Result<Vec<(u32, u32)>, Failure> {
    if count > MAX_PARTS {
        return Err(Errno::INVAL.into());
    }
    let mut parts = Vec::new();
    for index in 0..count {
        let cell = pointer.checked_add(index * 8).ok_or(Errno::FAULT)?;
        let start = call.read_u32(cell)?;
        let length = call.read_u32(cell.checked_add(4).ok_or(Errno::FAULT)?)?;
        parts.push((start, length));
    }
    Ok(parts)
}

pub(super) fn fd_read(call: &mut Call<'_>, raw: &[u64]) -> Done {
    read(call, &Transfer::new(raw, None))
}

pub(super) fn fd_pread(call: &mut Call<'_>, raw: &[u64]) -> Done {
    read(call, &Transfer::new(raw, Some(long(raw, 3))))
}

pub(super) fn fd_write(call: &mut Call<'_>, raw: &[u64]) -> Done {
    write(call, &Transfer::new(raw, None))
}

pub(super) fn fd_pwrite(call: &mut Call<'_>, raw: &[u64]) -> Done {
    write(call, &Transfer::new(raw, Some(long(raw, 3))))
}

/// The arguments of a read or write.
struct Transfer {
    descriptor: u32,
    /// Where the list of parts is, and how many there are.
    parts: (u32, u32),
    /// In the file; without it the descriptor's own, which moves on.
    offset: Option<u64>,
    /// Where the number of bytes goes.
    result: u32,
}

impl Transfer {
    /// The functions with an offset have it before the last argument.
    fn new(raw: &[u64], offset: Option<u64>) -> Self {
        Self {
            descriptor: int(raw, 0),
            parts: (int(raw, 1), int(raw, 2)),
            offset,
            result: int(raw, if offset.is_some() { 4 } else { 3 }),
        }
    }
}

fn read(call: &mut Call<'_>, transfer: &Transfer) -> Done {
    let parts = parts(call, transfer.parts)?;
    let mut offset = transfer.offset;
    let mut total = 0;
    // Nothing comes from the standard input.
    if transfer.descriptor != STDIN {
        let wasi = call.wasi;
        let mut state = wasi.state();
        let open = state.file(transfer.descriptor)?;
        if !open.read {
            return Err(Errno::BADF.into());
        }
        for (pointer, length) in parts {
            let length = length.min((MAX_IO_CHUNK - total) as u32);
            let place = call.slice(pointer, length)?;
            let read = match &mut offset {
                None => open.read(place)?,
                Some(offset) => {
                    let read = open.read_at(place, *offset)?;
                    *offset = offset.checked_add(read as u64).ok_or(Errno::OVERFLOW)?;
                    read
                }
            };
            total += read;
            if read < length as usize || total >= MAX_IO_CHUNK {
                break;
            }
        }
    }
    call.write(transfer.result, &(total as u32).to_le_bytes())
}

fn write(call: &mut Call<'_>, transfer: &Transfer) -> Done {
    let parts = parts(call, transfer.parts)?;
    let (descriptor, mut offset) = (transfer.descriptor, transfer.offset);
    let wasi = call.wasi;
    let mut state = wasi.state();
    let mut total = 0;
    for (pointer, length) in parts {
        let length = length.min((MAX_IO_CHUNK - total) as u32);
        let bytes = call.slice(pointer, length)?;
        let written = match &mut offset {
            None if matches!(descriptor, STDOUT | STDERR) => {
                state
                    .print(wasi, descriptor, bytes)
                    .map_err(Failure::Trap)?;
                bytes.len()
            }
            None => state.file(descriptor)?.write(bytes)?,
            Some(offset) => {
                let written = state.file(descriptor)?.write_at(bytes, *offset)?;
                *offset = offset.checked_add(written as u64).ok_or(Errno::OVERFLOW)?;
                written
            }
        };
        total += written;
        if written < length as usize || total >= MAX_IO_CHUNK {
            break;
        }
    }
    drop(state);
    call.write(transfer.result, &(total as u32).to_le_bytes())
}

/// Lists a directory from a cookie on: the number of the entry to begin with. The listing is made
/// when the first is asked for, and stays until the next such.
pub(super) fn fd_readdir(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let (pointer, length) = (int(raw, 1), int(raw, 2));
    let cookie = usize::try_from(long(raw, 3)).map_err(|_| Errno::INVAL)?;
    let mut state = call.wasi.state();
    let (folder, listing) = match state.open.get_mut(&int(raw, 0)) {
        Some(Descriptor::Mapped(folder, mapped)) => (&*folder, &mut mapped.listing),
        Some(Descriptor::Folder(folder, listing)) => (&*folder, listing),
        Some(Descriptor::File(_)) => return Err(Errno::NOTDIR.into()),
        None => return Err(Errno::BADF.into()),
    };
    let entries = match listing {
        Some(entries) if cookie > 0 => Arc::clone(entries),
        _ => {
            // However the module got there, by `.` of the mapped directory, say.
            for unlisted in &call.wasi.unlisted {
                if unlisted.is(folder)? {
                    return Err(Errno::ACCES.into());
                }
            }
            let entries: Arc<[Entry]> = folder.entries()?.into();
            *listing = Some(Arc::clone(&entries));
            entries
        }
    };
    drop(state);
    let place = call.slice(pointer, length)?;
    let mut filled = 0;
    for (index, entry) in entries.iter().enumerate().skip(cookie) {
        let mut record = vec![0; 24];
        put(&mut record, 0, &(index as u64 + 1).to_le_bytes());
        put(&mut record, 8, &entry.number.to_le_bytes());
        put(&mut record, 16, &(entry.name.len() as u32).to_le_bytes());
        let kind = match entry.kind {
            EntryKind::Folder => DIRECTORY,
            EntryKind::File => REGULAR_FILE,
            EntryKind::Link => SYMBOLIC_LINK,
            EntryKind::Other => UNKNOWN_KIND,
        };
        put(&mut record, 20, &[kind]);
        record.extend_from_slice(&entry.name);
        let rest = place.get_mut(filled..).unwrap_or_default();
        let fits = record.len().min(rest.len());
        put(rest, 0, record.get(..fits).unwrap_or_default());
        filled += fits;
        // A full place says that there is more.
        if filled == length as usize {
            break;
        }
    }
    call.write(int(raw, 4), &(filled as u32).to_le_bytes())
}

/// Moves a descriptor to the place of another, which is closed.
pub(super) fn fd_renumber(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let (from, to) = (int(raw, 0), int(raw, 1));
    let mut state = call.wasi.state();
    for descriptor in [from, to] {
        match state.open.get(&descriptor) {
            None => return Err(Errno::BADF.into()),
            Some(Descriptor::Mapped(..)) => return Err(Errno::NOTSUP.into()),
            Some(_) => {}
        }
    }
    if from != to
        && let Some(moved) = state.open.remove(&from)
    {
        state.open.insert(to, moved);
        call.wasi.quota.close();
    }
    Ok(())
}

pub(super) fn fd_seek(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let offset = long(raw, 1).cast_signed();
    let to = match int(raw, 2) {
        0 => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::INVAL)?),
        1 => SeekFrom::Current(offset),
        2 => SeekFrom::End(offset),
        _ => return Err(Errno::INVAL.into()),
    };
    if int(raw, 0) <= STDERR {
        return Err(Errno::SPIPE.into());
    }
    let position = call.wasi.state().file(int(raw, 0))?.seek(to)?;
    call.write(int(raw, 3), &position.to_le_bytes())
}

pub(super) fn fd_tell(call: &mut Call<'_>, raw: &[u64]) -> Done {
    if int(raw, 0) <= STDERR {
        return Err(Errno::SPIPE.into());
    }
    let here = SeekFrom::Current(0);
    let position = call.wasi.state().file(int(raw, 0))?.seek(here)?;
    call.write(int(raw, 1), &position.to_le_bytes())
}
