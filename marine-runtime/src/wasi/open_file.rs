//! A file that a module has open; what it grows by is charged to the quota.

use std::{
    fs::{File, FileTimes, Metadata},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    sync::Arc,
};

use super::{abi::Errno, files::OpenOptions, quota::Quota};

pub(super) struct OpenFile {
    file: File,
    pub(super) read: bool,
    pub(super) write: bool,
    append: bool,
    quota: Arc<Quota>,
}

impl OpenFile {
    pub(super) fn new(file: File, options: OpenOptions, quota: &Arc<Quota>) -> io::Result<Self> {
        if quota.counts_disk() {
            quota.opened(&file.metadata()?);
        }
        Ok(Self {
            file,
            read: options.read,
            write: options.write,
            append: options.append,
            quota: Arc::clone(quota),
        })
    }

    pub(super) fn read(&mut self, place: &mut [u8]) -> Result<usize, Errno> {
        self.may(self.read)?;
        Ok(self.file.read(place)?)
    }

    pub(super) fn read_at(&mut self, place: &mut [u8], offset: u64) -> Result<usize, Errno> {
        self.may(self.read)?;
        self.aside(offset, |file| file.read(place))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        self.may(self.write)?;
        if !self.quota.counts_disk() {
            return Ok(self.file.write(bytes)?);
        }
        let length = self.file.metadata()?.len();
        let start = if self.append {
            length
        } else {
            self.file.stream_position()?
        };
        self.charged(start, length, bytes, |file| file.write(bytes))
    }

    pub(super) fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        self.may(self.write)?;
        let length = self.file.metadata()?.len();
        let start = if self.append { length } else { offset };
        let position = self.file.stream_position()?;
        self.file.seek(SeekFrom::Start(start))?;
        let written = self.charged(start, length, bytes, |file| file.write(bytes));
        self.file.seek(SeekFrom::Start(position))?;
        written
    }

    pub(super) fn set_len(&mut self, size: u64) -> Result<(), Errno> {
        self.may(self.write)?;
        if !self.quota.counts_disk() {
            return Ok(self.file.set_len(size)?);
        }
        let length = self.file.metadata()?.len();
        let growth = size.saturating_sub(length);
        self.quota.grow(growth)?;
        match self.file.set_len(size) {
            Ok(()) => self.quota.shrink(length.saturating_sub(size)),
            Err(error) => {
                self.quota.shrink(growth);
                return Err(error.into());
            }
        }
        Ok(())
    }

    pub(super) fn seek(&mut self, to: SeekFrom) -> Result<u64, Errno> {
        Ok(self.file.seek(to)?)
    }

    pub(super) fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(self.file.metadata()?)
    }

    pub(super) fn sync(&self) -> Result<(), Errno> {
        Ok(self.file.sync_all()?)
    }

    pub(super) fn set_times(&self, times: FileTimes) -> Result<(), Errno> {
        Ok(self.file.set_times(times)?)
    }

    pub(super) fn appends(&self) -> bool {
        self.append
    }

    #[cfg(target_os = "linux")]
    pub(super) fn set_append(&mut self, append: bool) -> Result<(), Errno> {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

        let mut flags = fcntl_getfl(&self.file).map_err(io::Error::from)?;
        flags.set(OFlags::APPEND, append);
        fcntl_setfl(&self.file, flags).map_err(io::Error::from)?;
        self.append = append;
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn set_append(&mut self, append: bool) -> Result<(), Errno> {
        if append == self.append {
            Ok(())
        } else {
            Err(Errno::NOTSUP)
        }
    }

    fn may(&self, right: bool) -> Result<(), Errno> {
        if right { Ok(()) } else { Err(Errno::BADF) }
    }

    /// Works at another place of the file.
    fn aside<T>(
        &mut self,
        offset: u64,
        work: impl FnOnce(&mut File) -> io::Result<T>,
    ) -> Result<T, Errno> {
        let position = self.file.stream_position()?;
        self.file.seek(SeekFrom::Start(offset))?;
        let outcome = work(&mut self.file);
        self.file.seek(SeekFrom::Start(position))?;
        Ok(outcome?)
    }

    /// Writes what the quota has room for.
    fn charged(
        &mut self,
        start: u64,
        length: u64,
        bytes: &[u8],
        work: impl FnOnce(&mut File) -> io::Result<usize>,
    ) -> Result<usize, Errno> {
        let beyond = |count: usize| start.saturating_add(count as u64).saturating_sub(length);
        let growth = beyond(bytes.len());
        self.quota.grow(growth)?;
        let written = work(&mut self.file);
        let grown = match &written {
            Ok(0) | Err(_) => 0,
            Ok(written) => beyond(*written),
        };
        self.quota.shrink(growth - grown.min(growth));
        Ok(written?)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if self.quota.counts_disk()
            && let Ok(metadata) = self.file.metadata()
        {
            self.quota.closed(&metadata);
        }
    }
}
