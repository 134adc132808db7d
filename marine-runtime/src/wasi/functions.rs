//! The functions themselves: table, environment, clocks, randomness.

mod descriptors;
mod paths;

use std::{
    sync::OnceLock,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use self::{
    descriptors::{
        fd_advise, fd_close, fd_fdstat_get, fd_fdstat_set_flags, fd_fdstat_set_rights,
        fd_filestat_get, fd_filestat_set_size, fd_filestat_set_times, fd_pread,
        fd_prestat_dir_name, fd_prestat_get, fd_pwrite, fd_read, fd_readdir, fd_renumber, fd_seek,
        fd_sync, fd_tell, fd_write,
    },
    paths::{
        path_create_directory, path_filestat_get, path_filestat_set_times, path_link, path_open,
        path_readlink, path_remove_directory, path_rename, path_unlink_file,
    },
};
use super::{Body, Call, Failure, abi::Errno};
use crate::backend::Trap;

/// Most subscriptions in one poll, and most parts of one read or write.
const MAX_PARTS: u32 = 1_024;
/// Longest sleep before it is looked again whether the call may go on.
const NAP: Duration = Duration::from_millis(5);

/// Every function of preview 1: name, parameters (`i` 32 bits, `I` 64 bits), what it does. Without
/// the last it answers `ENOSYS`: there are no sockets and no signals.
pub(super) const ALL: &[(&str, &str, Option<Body>)] = &[
    ("args_get", "ii", Some(|_, _| Ok(()))),
    ("args_sizes_get", "ii", Some(args_sizes_get)),
    ("clock_res_get", "ii", Some(clock_res_get)),
    ("clock_time_get", "iIi", Some(clock_time_get)),
    ("environ_get", "ii", Some(environ_get)),
    ("environ_sizes_get", "ii", Some(environ_sizes_get)),
    ("fd_advise", "iIIi", Some(fd_advise)),
    ("fd_allocate", "iII", Some(|_, _| Err(Errno::NOTSUP.into()))),
    ("fd_close", "i", Some(fd_close)),
    ("fd_datasync", "i", Some(fd_sync)),
    ("fd_fdstat_get", "ii", Some(fd_fdstat_get)),
    ("fd_fdstat_set_flags", "ii", Some(fd_fdstat_set_flags)),
    ("fd_fdstat_set_rights", "iII", Some(fd_fdstat_set_rights)),
    ("fd_filestat_get", "ii", Some(fd_filestat_get)),
    ("fd_filestat_set_size", "iI", Some(fd_filestat_set_size)),
    ("fd_filestat_set_times", "iIIi", Some(fd_filestat_set_times)),
    ("fd_pread", "iiiIi", Some(fd_pread)),
    ("fd_prestat_dir_name", "iii", Some(fd_prestat_dir_name)),
    ("fd_prestat_get", "ii", Some(fd_prestat_get)),
    ("fd_pwrite", "iiiIi", Some(fd_pwrite)),
    ("fd_read", "iiii", Some(fd_read)),
    ("fd_readdir", "iiiIi", Some(fd_readdir)),
    ("fd_renumber", "ii", Some(fd_renumber)),
    ("fd_seek", "iIii", Some(fd_seek)),
    ("fd_sync", "i", Some(fd_sync)),
    ("fd_tell", "ii", Some(fd_tell)),
    ("fd_write", "iiii", Some(fd_write)),
    ("path_create_directory", "iii", Some(path_create_directory)),
    ("path_filestat_get", "iiiii", Some(path_filestat_get)),
    (
        "path_filestat_set_times",
        "iiiiIIi",
        Some(path_filestat_set_times),
    ),
    ("path_link", "iiiiiii", Some(path_link)),
    ("path_open", "iiiiiIIii", Some(path_open)),
    ("path_readlink", "iiiiii", Some(path_readlink)),
    ("path_remove_directory", "iii", Some(path_remove_directory)),
    ("path_rename", "iiiiii", Some(path_rename)),
    // A link could lead programs of the host out of the directory, which resolve it themselves.
    (
        "path_symlink",
        "iiiii",
        Some(|_, _| Err(Errno::NOTSUP.into())),
    ),
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

/// What a function comes to.
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

/// Random bytes that are made between two looks at the deadline.
const RANDOM_CHUNK: usize = 64 * 1024;

fn random_get(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let control = &call.wasi.control;
    let place = call.slice(int(raw, 0), int(raw, 1))?;
    for chunk in place.chunks_mut(RANDOM_CHUNK) {
        control.check().map_err(Failure::Trap)?;
        rand::Rng::fill(&mut rand::rng(), chunk);
    }
    Ok(())
}

fn sched_yield(_: &mut Call<'_>, _: &[u64]) -> Done {
    thread::yield_now();
    Ok(())
}

fn put(place: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = place.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}
