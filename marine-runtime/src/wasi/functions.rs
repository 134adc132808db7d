//! The functions themselves.

use std::{
    fs::Metadata,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    sync::OnceLock,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    Body, Call, Descriptor, Failure, OpenFile, STDERR, STDIN, STDOUT,
    abi::{
        CHARACTER_DEVICE, DIRECTORY, Errno, FLAG_APPEND, OPEN_CREATE, OPEN_DIRECTORY,
        OPEN_EXCLUSIVE, OPEN_TRUNCATE, REGULAR_FILE, RIGHT_READ, RIGHT_WRITE, SYMBOLIC_LINK,
    },
    files::{OpenOptions, Opened},
};
use crate::{backend::Trap, limits::MAX_IO_CHUNK};

/// Most subscriptions in one poll, and most parts of one read or write.
const MAX_PARTS: u32 = 1_024;
/// Longest sleep before it is looked again whether the call may go on.
const NAP: Duration = Duration::from_millis(5);

/// Every function of preview 1: name, parameters (`i` 32 bits, `I` 64 bits), what it does. Without
/// the last it answers `ENOSYS`.
pub(super) const ALL: &[(&str, &str, Option<Body>)] = &[
    ("args_get", "ii", Some(|_, _| Ok(()))),
    ("args_sizes_get", "ii", Some(args_sizes_get)),
    ("clock_res_get", "ii", Some(clock_res_get)),
    ("clock_time_get", "iIi", Some(clock_time_get)),
    ("environ_get", "ii", Some(environ_get)),
    ("environ_sizes_get", "ii", Some(environ_sizes_get)),
    ("fd_advise", "iIIi", None),
    ("fd_allocate", "iII", None),
    ("fd_close", "i", Some(fd_close)),
    ("fd_datasync", "i", Some(fd_sync)),
    ("fd_fdstat_get", "ii", Some(fd_fdstat_get)),
    ("fd_fdstat_set_flags", "ii", None),
    ("fd_fdstat_set_rights", "iII", None),
    ("fd_filestat_get", "ii", Some(fd_filestat_get)),
    ("fd_filestat_set_size", "iI", Some(fd_filestat_set_size)),
    ("fd_filestat_set_times", "iIIi", None),
    ("fd_pread", "iiiIi", None),
    ("fd_prestat_dir_name", "iii", Some(fd_prestat_dir_name)),
    ("fd_prestat_get", "ii", Some(fd_prestat_get)),
    ("fd_pwrite", "iiiIi", None),
    ("fd_read", "iiii", Some(fd_read)),
    ("fd_readdir", "iiiIi", None),
    ("fd_renumber", "ii", None),
    ("fd_seek", "iIii", Some(fd_seek)),
    ("fd_sync", "i", Some(fd_sync)),
    ("fd_tell", "ii", Some(fd_tell)),
    ("fd_write", "iiii", Some(fd_write)),
    ("path_create_directory", "iii", Some(path_create_directory)),
    ("path_filestat_get", "iiiii", Some(path_filestat_get)),
    ("path_filestat_set_times", "iiiiIIi", None),
    ("path_link", "iiiiiii", None),
    ("path_open", "iiiiiIIii", Some(path_open)),
    ("path_readlink", "iiiiii", None),
    ("path_remove_directory", "iii", Some(path_remove_directory)),
    ("path_rename", "iiiiii", Some(path_rename)),
    ("path_symlink", "iiiii", None),
    ("path_unlink_file", "iii", Some(path_unlink_file)),
    ("poll_oneoff", "iiii", Some(poll_oneoff)),
    ("proc_exit", "i", Some(proc_exit)),
    ("proc_raise", "i", None),
    ("random_get", "ii", Some(random_get)),
    ("sched_yield", "", Some(sched_yield)),
    ("sock_accept", "iii", None),
    ("sock_recv", "iiiiii", None),
    ("sock_send", "iiiii", None),
    ("sock_shutdown", "ii", None),
];

type Done = Result<(), Failure>;

/// The 32-bit parameter at `index`; the engine has checked that it is there.
fn int(raw: &[u64], index: usize) -> u32 {
    raw.get(index).copied().unwrap_or(0) as u32
}

fn long(raw: &[u64], index: usize) -> u64 {
    raw.get(index).copied().unwrap_or(0)
}

fn args_sizes_get(call: &mut Call<'_>, raw: &[u64]) -> Done {
    call.write(int(raw, 0), &[0; 4])?;
    call.write(int(raw, 1), &[0; 4])
}

fn environ_sizes_get(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let environment = &call.wasi.environment;
    let count = u32::try_from(environment.len()).map_err(|_| Errno::OVERFLOW)?;
    let size: usize = environment.iter().map(Vec::len).sum();
    let size = u32::try_from(size).map_err(|_| Errno::OVERFLOW)?;
    call.write(int(raw, 0), &count.to_le_bytes())?;
    call.write(int(raw, 1), &size.to_le_bytes())
}

fn environ_get(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let (mut pointers, mut text) = (int(raw, 0), int(raw, 1));
    let wasi = call.wasi;
    for variable in &wasi.environment {
        call.write(pointers, &text.to_le_bytes())?;
        call.write(text, variable)?;
        pointers = pointers.checked_add(4).ok_or(Errno::FAULT)?;
        let length = u32::try_from(variable.len()).map_err(|_| Errno::OVERFLOW)?;
        text = text.checked_add(length).ok_or(Errno::FAULT)?;
    }
    Ok(())
}

fn clock_res_get(call: &mut Call<'_>, raw: &[u64]) -> Done {
    match int(raw, 0) {
        0..=3 => call.write(int(raw, 1), &1_u64.to_le_bytes()),
        _ => Err(Errno::INVAL.into()),
    }
}

fn clock_time_get(call: &mut Call<'_>, raw: &[u64]) -> Done {
    static START: OnceLock<Instant> = OnceLock::new();
    let time = match int(raw, 0) {
        0 => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
        1..=3 => START.get_or_init(Instant::now).elapsed(),
        _ => return Err(Errno::INVAL.into()),
    };
    call.write(int(raw, 2), &nanoseconds(time).to_le_bytes())
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn fd_close(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let mut state = call.wasi.state();
    match state.open.get(&int(raw, 0)) {
        // Mapped directories stay: nothing could open them again.
        Some(Descriptor::Mapped(..)) => Err(Errno::NOTSUP.into()),
        Some(_) => {
            state.open.remove(&int(raw, 0));
            Ok(())
        }
        None if int(raw, 0) <= STDERR => Ok(()),
        None => Err(Errno::BADF.into()),
    }
}

fn fd_sync(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let mut state = call.wasi.state();
    match state.open.get_mut(&int(raw, 0)) {
        Some(Descriptor::File(open)) => Ok(open.file.sync_all()?),
        Some(Descriptor::Mapped(folder, _) | Descriptor::Folder(folder)) => Ok(folder.sync()?),
        None if int(raw, 0) <= STDERR => Ok(()),
        None => Err(Errno::BADF.into()),
    }
}

fn fd_fdstat_get(call: &mut Call<'_>, raw: &[u64]) -> Done {
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
                if open.append { FLAG_APPEND } else { 0 },
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

fn fd_filestat_get(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let state = call.wasi.state();
    let metadata = match state.open.get(&int(raw, 0)) {
        Some(Descriptor::File(open)) => open.file.metadata()?,
        Some(Descriptor::Mapped(folder, _) | Descriptor::Folder(folder)) => {
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

fn path_filestat_get(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let path = call.text(int(raw, 2), int(raw, 3))?;
    let state = call.wasi.state();
    let metadata = state
        .folder(int(raw, 0))?
        .metadata(&path, int(raw, 1) & 1 == 1)?;
    drop(state);
    call.write(int(raw, 4), &file_stat(&metadata))
}

fn file_stat(metadata: &Metadata) -> [u8; 64] {
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

fn put(place: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = place.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn fd_filestat_set_size(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let mut state = call.wasi.state();
    let open = state.file(int(raw, 0))?;
    if !open.write {
        return Err(Errno::BADF.into());
    }
    Ok(open.file.set_len(long(raw, 1))?)
}

fn fd_prestat_get(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let length = match call.wasi.state().open.get(&int(raw, 0)) {
        Some(Descriptor::Mapped(_, name)) => {
            u32::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?
        }
        _ => return Err(Errno::BADF.into()),
    };
    call.write(
        int(raw, 1),
        &u64::from(length).rotate_left(32).to_le_bytes(),
    )
}

fn fd_prestat_dir_name(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let name = match call.wasi.state().open.get(&int(raw, 0)) {
        Some(Descriptor::Mapped(_, name)) => name.clone(),
        _ => return Err(Errno::BADF.into()),
    };
    if name.len() > int(raw, 2) as usize {
        return Err(Errno::NAMETOOLONG.into());
    }
    call.write(int(raw, 1), name.as_bytes())
}

/// The parts of a read or write.
fn parts(call: &mut Call<'_>, pointer: u32, count: u32) -> Result<Vec<(u32, u32)>, Failure> {
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

fn fd_read(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let parts = parts(call, int(raw, 1), int(raw, 2))?;
    let mut total = 0;
    if int(raw, 0) != STDIN {
        let wasi = call.wasi;
        let mut state = wasi.state();
        let open = state.file(int(raw, 0))?;
        if !open.read {
            return Err(Errno::BADF.into());
        }
        for (pointer, length) in parts {
            let length = length.min((MAX_IO_CHUNK - total) as u32);
            let place = call.slice(pointer, length)?;
            let read = open.file.read(place)?;
            total += read;
            if read < length as usize || total >= MAX_IO_CHUNK {
                break;
            }
        }
    }
    call.write(int(raw, 3), &(total as u32).to_le_bytes())
}

fn fd_write(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let parts = parts(call, int(raw, 1), int(raw, 2))?;
    let descriptor = int(raw, 0);
    let wasi = call.wasi;
    let mut state = wasi.state();
    let mut total = 0;
    for (pointer, length) in parts {
        let length = length.min((MAX_IO_CHUNK - total) as u32);
        let bytes = call.slice(pointer, length)?;
        let written = if matches!(descriptor, STDOUT | STDERR) {
            state.print(&wasi.name, descriptor, bytes);
            bytes.len()
        } else {
            let open = state.file(descriptor)?;
            if !open.write {
                return Err(Errno::BADF.into());
            }
            open.file.write(bytes)?
        };
        total += written;
        if written < length as usize || total >= MAX_IO_CHUNK {
            break;
        }
    }
    drop(state);
    call.write(int(raw, 3), &(total as u32).to_le_bytes())
}

fn fd_seek(call: &mut Call<'_>, raw: &[u64]) -> Done {
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
    let position = call.wasi.state().file(int(raw, 0))?.file.seek(to)?;
    call.write(int(raw, 3), &position.to_le_bytes())
}

fn fd_tell(call: &mut Call<'_>, raw: &[u64]) -> Done {
    if int(raw, 0) <= STDERR {
        return Err(Errno::SPIPE.into());
    }
    let position = call
        .wasi
        .state()
        .file(int(raw, 0))?
        .file
        .stream_position()?;
    call.write(int(raw, 1), &position.to_le_bytes())
}

fn path_open(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let path = call.text(int(raw, 2), int(raw, 3))?;
    let (flags, rights, mode) = (int(raw, 4), long(raw, 5), int(raw, 7));
    let directory = flags & OPEN_DIRECTORY != 0;
    let options = OpenOptions {
        read: rights & RIGHT_READ != 0,
        write: rights & RIGHT_WRITE != 0 && !directory,
        append: mode & FLAG_APPEND != 0,
        create: flags & OPEN_CREATE != 0,
        exclusive: flags & OPEN_EXCLUSIVE != 0,
        truncate: flags & OPEN_TRUNCATE != 0,
        directory,
        follow: int(raw, 1) & 1 == 1,
    };
    let mut state = call.wasi.state();
    let descriptor = match state.folder(int(raw, 0))?.open_at(&path, options)? {
        Opened::Folder(folder) => Descriptor::Folder(folder),
        Opened::File(file) => Descriptor::File(OpenFile {
            file,
            read: options.read,
            write: options.write,
            append: options.append,
        }),
    };
    let descriptor = state.add(descriptor)?;
    drop(state);
    call.write(int(raw, 8), &descriptor.to_le_bytes())
}

fn path_unlink_file(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let path = call.text(int(raw, 1), int(raw, 2))?;
    Ok(call.wasi.state().folder(int(raw, 0))?.remove_file(&path)?)
}

fn path_create_directory(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let path = call.text(int(raw, 1), int(raw, 2))?;
    Ok(call
        .wasi
        .state()
        .folder(int(raw, 0))?
        .create_folder(&path)?)
}

fn path_remove_directory(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let path = call.text(int(raw, 1), int(raw, 2))?;
    Ok(call
        .wasi
        .state()
        .folder(int(raw, 0))?
        .remove_folder(&path)?)
}

fn path_rename(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let from = call.text(int(raw, 1), int(raw, 2))?;
    let to = call.text(int(raw, 4), int(raw, 5))?;
    let state = call.wasi.state();
    let target = state.folder(int(raw, 3))?;
    Ok(state.folder(int(raw, 0))?.rename(&from, target, &to)?)
}

/// Waits for the earliest clock; files are always ready.
fn poll_oneoff(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let (input, output, count) = (int(raw, 0), int(raw, 1), int(raw, 2));
    if count == 0 || count > MAX_PARTS {
        return Err(Errno::INVAL.into());
    }
    let mut clocks = Vec::new();
    let mut ready = Vec::new();
    for index in 0..count {
        let cell = input.checked_add(index * 48).ok_or(Errno::FAULT)?;
        call.slice(cell, 48)?;
        let user = call.read_u64(cell)?;
        let kind = call.slice(cell + 8, 1)?.first().copied().unwrap_or(0);
        if kind != 0 {
            ready.push((user, kind));
            continue;
        }
        let timeout = Duration::from_nanos(call.read_u64(cell + 24)?);
        let absolute = call.read_u32(cell + 40)? & 1 == 1;
        let wait = match (absolute, call.read_u32(cell + 16)?) {
            (false, _) => timeout,
            (true, 0) => {
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                timeout.saturating_sub(now)
            }
            (true, _) => return Err(Errno::NOTSUP.into()),
        };
        clocks.push((user, wait));
    }
    if ready.is_empty() {
        let wait = clocks
            .iter()
            .map(|(_, wait)| *wait)
            .min()
            .unwrap_or_default();
        let start = Instant::now();
        loop {
            call.wasi.control.check().map_err(Failure::Trap)?;
            let left = wait.saturating_sub(start.elapsed());
            if left.is_zero() {
                break;
            }
            thread::sleep(call.wasi.control.remaining(left.min(NAP)));
        }
        let elapsed = clocks.iter().filter(|(_, other)| *other <= wait);
        ready.extend(elapsed.map(|(user, _)| (*user, 0)));
    }
    for (index, (user, kind)) in (0_u32..).zip(&ready) {
        let mut event = [0; 32];
        put(&mut event, 0, &user.to_le_bytes());
        put(&mut event, 10, &[*kind]);
        let cell = output.checked_add(index * 32).ok_or(Errno::FAULT)?;
        call.write(cell, &event)?;
    }
    let count = u32::try_from(ready.len()).map_err(|_| Errno::OVERFLOW)?;
    call.write(int(raw, 3), &count.to_le_bytes())
}

fn proc_exit(_: &mut Call<'_>, raw: &[u64]) -> Done {
    Err(Failure::Trap(Trap::Exit {
        code: int(raw, 0).cast_signed(),
    }))
}

fn random_get(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let place = call.slice(int(raw, 0), int(raw, 1))?;
    for chunk in place.chunks_mut(MAX_IO_CHUNK) {
        rand::Rng::fill(&mut rand::rng(), chunk);
    }
    Ok(())
}

fn sched_yield(_: &mut Call<'_>, _: &[u64]) -> Done {
    thread::yield_now();
    Ok(())
}
