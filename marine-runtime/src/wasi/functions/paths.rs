//! Functions on paths below a directory.

use super::{
    Done,
    descriptors::{file_stat, times},
    int, long, put,
};
use crate::{
    limits::DISK_ENTRY,
    wasi::{
        Call, Descriptor, Failure, Wasi,
        abi::{
            Errno, FLAG_APPEND, OPEN_CREATE, OPEN_DIRECTORY, OPEN_EXCLUSIVE, OPEN_TRUNCATE,
            RIGHT_READ, RIGHT_WRITE,
        },
        files::{Folder, OpenOptions, Opened},
        open_file::OpenFile,
    },
};

/// Flag of a look-up: a symbolic link at the end of the path is followed.
const FOLLOW: u32 = 1;

pub(super) fn path_open(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let path = call.path(int(raw, 2), int(raw, 3))?;
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
        follow: int(raw, 1) & FOLLOW != 0,
    };
    // Without the right to write, nothing is cut off either.
    if options.truncate && !options.write {
        return Err(Errno::NOTCAPABLE.into());
    }
    let wasi = call.wasi;
    let mut state = wasi.state();
    wasi.quota.open()?;
    let opened = open(wasi, state.folder(int(raw, 0)), &path, options);
    let descriptor = match opened {
        Ok(descriptor) => state.add(descriptor),
        Err(failure) => {
            wasi.quota.close();
            return Err(failure);
        }
    };
    drop(state);
    call.write(int(raw, 8), &descriptor.to_le_bytes())
}

fn open(
    wasi: &Wasi,
    folder: Result<&Folder, Errno>,
    path: &str,
    options: OpenOptions,
) -> Result<Descriptor, Failure> {
    let folder = folder?;
    let mut taken = 0;
    let mut cut = 0;
    if wasi.quota.counts_disk() && (options.create || options.truncate) {
        match folder.metadata(path, options.follow) {
            Ok(metadata) if options.truncate => cut = metadata.len(),
            Ok(_) => {}
            Err(_) if options.create => taken = DISK_ENTRY,
            Err(_) => {}
        }
    }
    wasi.quota.grow(taken)?;
    match folder.open_at(path, options) {
        Ok(Opened::Folder(folder)) => Ok(Descriptor::Folder(folder, None)),
        Ok(Opened::File(file)) => {
            wasi.quota.shrink(cut);
            let file = OpenFile::new(file, options, &wasi.quota)?;
            Ok(Descriptor::File(file))
        }
        Err(error) => {
            wasi.quota.shrink(taken);
            Err(error.into())
        }
    }
}

pub(super) fn path_filestat_get(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let path = call.path(int(raw, 2), int(raw, 3))?;
    let state = call.wasi.state();
    let metadata = state
        .folder(int(raw, 0))?
        .metadata(&path, int(raw, 1) & FOLLOW != 0)?;
    drop(state);
    call.write(int(raw, 4), &file_stat(&metadata))
}

pub(super) fn path_filestat_set_times(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let path = call.path(int(raw, 2), int(raw, 3))?;
    let times = times(long(raw, 4), long(raw, 5), int(raw, 6))?;
    let options = OpenOptions {
        read: true,
        follow: int(raw, 1) & FOLLOW != 0,
        ..OpenOptions::default()
    };
    let state = call.wasi.state();
    match state.folder(int(raw, 0))?.open_at(&path, options)? {
        Opened::Folder(folder) => Ok(folder.set_times(times.access, times.change)?),
        Opened::File(file) => Ok(file.set_times(times.of_file())?),
    }
}

pub(super) fn path_unlink_file(call: &mut Call<'_>, raw: &[u64]) -> Done {
    remove(call, raw, Folder::remove_file)
}

pub(super) fn path_remove_directory(call: &mut Call<'_>, raw: &[u64]) -> Done {
    remove(call, raw, Folder::remove_folder)
}

fn remove(
    call: &mut Call<'_>,
    raw: &[u64],
    remove: fn(&Folder, &str) -> std::io::Result<()>,
) -> Done {
    let path = call.path(int(raw, 1), int(raw, 2))?;
    let quota = &call.wasi.quota;
    let state = call.wasi.state();
    let folder = state.folder(int(raw, 0))?;
    let before = match quota.counts_disk() {
        true => folder.metadata(path.trim_end_matches('/'), false).ok(),
        false => None,
    };
    remove(folder, &path)?;
    if let Some(before) = before {
        quota.removed(&before);
    }
    Ok(())
}

pub(super) fn path_create_directory(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let path = call.path(int(raw, 1), int(raw, 2))?;
    let state = call.wasi.state();
    let folder = state.folder(int(raw, 0))?;
    entry(call.wasi, || folder.create_folder(&path))
}

/// Makes a new name, if the quota has room for it.
fn entry(wasi: &Wasi, make: impl FnOnce() -> std::io::Result<()>) -> Done {
    wasi.quota.grow(if wasi.quota.counts_disk() {
        DISK_ENTRY
    } else {
        0
    })?;
    make().map_err(|error| {
        wasi.quota.shrink(DISK_ENTRY);
        error.into()
    })
}

pub(super) fn path_rename(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let from = call.path(int(raw, 1), int(raw, 2))?;
    let to = call.path(int(raw, 4), int(raw, 5))?;
    let quota = &call.wasi.quota;
    let state = call.wasi.state();
    let (source, target) = (state.folder(int(raw, 0))?, state.folder(int(raw, 3))?);
    let (mut replaced, mut moved) = (None, None);
    if quota.counts_disk() {
        replaced = target.metadata(to.trim_end_matches('/'), false).ok();
        moved = source.metadata(from.trim_end_matches('/'), false).ok();
    }
    source.rename(&from, target, &to)?;
    if let (Some(replaced), Some(moved)) = (replaced, moved)
        && !quota.same(&replaced, &moved)
    {
        quota.removed(&replaced);
    }
    Ok(())
}

/// Gives a file another name. A symbolic link is linked itself, never what it leads to.
pub(super) fn path_link(call: &mut Call<'_>, raw: &[u64]) -> Done {
    if int(raw, 1) & FOLLOW != 0 {
        return Err(Errno::INVAL.into());
    }
    let from = call.path(int(raw, 2), int(raw, 3))?;
    let to = call.path(int(raw, 5), int(raw, 6))?;
    let state = call.wasi.state();
    let (source, target) = (state.folder(int(raw, 0))?, state.folder(int(raw, 4))?);
    entry(call.wasi, || source.link(&from, target, &to))
}

/// Where a link leads to, cut where the place ends.
pub(super) fn path_readlink(call: &mut Call<'_>, raw: &[u64]) -> Done {
    let path = call.path(int(raw, 1), int(raw, 2))?;
    let state = call.wasi.state();
    let target = state.folder(int(raw, 0))?.read_link(&path)?;
    drop(state);
    // What is outside of the directory is nobody's business.
    if target.starts_with(b"/") {
        return Err(Errno::NOTCAPABLE.into());
    }
    let place = call.slice(int(raw, 3), int(raw, 4))?;
    let length = target.len().min(place.len());
    put(place, 0, target.get(..length).unwrap_or_default());
    call.write(int(raw, 5), &(length as u32).to_le_bytes())
}
