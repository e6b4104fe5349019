//! Content: open, read, write, and what else happens through a file handle.
//!
//! Nothing is buffered here; what a call acknowledged, the volume layer holds.

use super::Filesystem;
use super::dirfd::Place;
use super::errno::{Error, Result};
use super::handle::OpenFile;
use super::inode::Inode;
use super::types::{Caller, Handle, Ino};
use crate::volume::file::File;
use crate::volume::lower::Fd;
use std::ffi::OsStr;
use std::io;
use std::sync::Arc;

/// Unit of copying between two files.
const COPY_STEP: usize = 1 << 20;

impl Filesystem {
    /// Opens a regular file; access was checked by the kernel, which also cuts a file opened with `O_TRUNC`.
    ///
    /// # Errors
    /// `ENOKEY` where the KMS gives no key, `EIO` where the lower file is not what kmsfs wrote.
    pub fn open(&self, ino: Ino) -> Result<Handle> {
        let inode = self.inode(ino)?;
        match inode.kind {
            libc::S_IFREG => {}
            libc::S_IFDIR => return Err(Error::Refused(libc::EISDIR)),
            libc::S_IFLNK => return Err(Error::Refused(libc::ELOOP)),
            _ => return Err(Error::Refused(libc::ENXIO)),
        }
        let open = self.open_file(&inode)?;
        Ok(self.handles.add_file(open))
    }

    /// Whether opening a file waits for no KMS.
    pub fn opens_at_once(&self, ino: Ino) -> bool {
        self.inode(ino).ok().and_then(|inode| self.live(&inode)).is_some_and(|file| file.has_key())
    }

    /// Whether the use of an open file waits for no KMS.
    pub fn has_key(&self, handle: Handle) -> bool {
        self.handles.file(handle).is_ok_and(|open| open.file().has_key())
    }

    /// Whether somebody waits for a KMS just now.
    pub fn is_waiting_for_keys(&self) -> bool {
        self.store.keyring().is_waited_for()
    }

    /// Whether keys are at a KMS that may keep whoever asks waiting.
    pub fn may_wait_for_keys(&self) -> bool {
        self.store.keyring().sources().may_wait()
    }

    /// Appends up to `len` bytes from plaintext offset `at` to `out`; fewer only at the end of the file.
    pub fn read(&self, handle: Handle, at: u64, len: usize, out: &mut Vec<u8>) -> Result<()> {
        Ok(self.handles.file(handle)?.file().read(at, len, out)?)
    }

    /// Writes all of `data` at plaintext offset `at`. `kill_suidgid`: clear suid and sgid (`FUSE_WRITE_KILL_SUIDGID`).
    pub fn write(
        &self,
        _caller: &Caller,
        handle: Handle,
        at: u64,
        data: &[u8],
        kill_suidgid: bool,
    ) -> Result<()> {
        let open = self.handles.file(handle)?;
        if kill_suidgid {
            self.clear_suidgid(&open.inode)?;
        }
        Ok(open.file().write(at, data)?)
    }

    /// One descriptor of the handle was closed. Nothing is buffered above the volume, so nothing can fail late.
    pub fn flush(&self, handle: Handle) -> Result<()> {
        self.handles.file(handle).map(drop)
    }

    /// Ends a file handle.
    pub fn release(&self, handle: Handle) {
        let inode = self.handles.file(handle).ok().map(|open| Arc::clone(&open.inode));
        let mode = inode.as_ref().map_or(0, |inode| inode.mode());
        self.handles.remove(handle);
        if let Some(inode) = inode {
            self.keep_suidgid(&inode, mode);
        }
    }

    /// Makes the file durable, and all it stands on.
    pub fn fsync(&self, handle: Handle, data_only: bool) -> Result<()> {
        Ok(self.handles.file(handle)?.file().sync(data_only)?)
    }

    /// Allocates (with or without `KEEP_SIZE`), punches holes or zeroes. `kill_suidgid`: clear suid and sgid, since
    /// the caller lacks `CAP_FSETID`.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for any other mode.
    pub fn fallocate(&self, handle: Handle, mode: i32, at: u64, len: u64, kill_suidgid: bool) -> Result<()> {
        const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;
        const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | KEEP;
        const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE;
        const ZERO_KEEP: i32 = ZERO | KEEP;
        let open = self.handles.file(handle)?;
        if len == 0 {
            return Err(Error::Refused(libc::EINVAL));
        }
        if at.checked_add(len).is_none_or(|end| end > i64::MAX as u64) {
            return Err(Error::Refused(libc::EFBIG));
        }
        if !matches!(mode, 0 | KEEP | PUNCH | ZERO | ZERO_KEEP) {
            return Err(Error::Refused(libc::EOPNOTSUPP));
        }
        if kill_suidgid {
            self.clear_suidgid(&open.inode)?;
        }
        let file = open.file();
        match mode {
            0 | KEEP => file.allocate(at, len, mode == KEEP)?,
            PUNCH => file.punch(at, len)?,
            _ => file.zero_range(at, len, mode == ZERO_KEEP)?,
        }
        Ok(())
    }

    /// `SEEK_DATA` and `SEEK_HOLE`, in plaintext offsets.
    ///
    /// # Errors
    /// `ENXIO` behind the end of the file, `EINVAL` for any other `whence`.
    pub fn lseek(&self, handle: Handle, at: u64, whence: i32) -> Result<u64> {
        if !matches!(whence, libc::SEEK_DATA | libc::SEEK_HOLE) {
            return Err(Error::Refused(libc::EINVAL));
        }
        Ok(self.handles.file(handle)?.file().seek(at, whence)?)
    }

    /// Copies between two handles; returns the bytes copied, fewer only at the end of the source or where the
    /// destination fills up. `kill_suidgid`: clear suid and sgid of the destination, since the caller lacks
    /// `CAP_FSETID`.
    pub fn copy_file_range(
        &self,
        from: Handle,
        from_at: u64,
        to: Handle,
        to_at: u64,
        len: u64,
        kill_suidgid: bool,
    ) -> Result<u64> {
        let (source, target) = (self.handles.file(from)?, self.handles.file(to)?);
        if kill_suidgid && len > 0 {
            self.clear_suidgid(&target.inode)?;
        }
        let mut buf = Vec::new();
        let mut done = 0;
        while done < len {
            let step = usize::try_from(len - done).unwrap_or(COPY_STEP).min(COPY_STEP);
            buf.clear();
            let copied =
                copy_step(source.file(), from_at + done, target.file(), to_at + done, step, &mut buf);
            match copied {
                Ok(()) => done += buf.len() as u64,
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            }
            if buf.len() < step {
                break;
            }
        }
        Ok(done)
    }

    /// Opens `inode` for as long as the result lives.
    pub(super) fn open_file(&self, inode: &Arc<Inode>) -> Result<OpenFile> {
        let file = self.store.open(inode.key.pair(), Arc::clone(inode) as _, &|| self.open_lower(inode))?;
        Ok(OpenFile::new(Arc::clone(inode), file))
    }

    /// The file behind `inode` if it is in use: its length and times are ahead of the lower file's.
    pub(super) fn live(&self, inode: &Inode) -> Option<Arc<File>> {
        if inode.is_file() { self.store.live(inode.key.pair()) } else { None }
    }

    /// The lower inode was changed: the next fsync of the file covers it.
    pub(super) fn touched(&self, inode: &Inode) {
        if let Some(file) = self.live(inode) {
            file.touched();
        }
    }

    /// Opens the lower file for reading and writing, whatever the handle is for: one descriptor serves them all.
    /// Where that cannot be (read-only or immutable lower file, a program being run), for reading.
    fn open_lower(&self, inode: &Arc<Inode>) -> io::Result<Fd> {
        let opened = self.reach(inode, |place| match self.open_place(place, libc::O_RDWR) {
            Err(e) if is_read_only(&e) => self.open_place(place, libc::O_RDONLY),
            done => done,
        });
        opened.map_err(|e| io::Error::from_raw_os_error(e.errno()))
    }

    /// Opens the lower file at `place`, also where its mode keeps out the daemon that owns it.
    pub(super) fn open_place(&self, place: &Place, flags: i32) -> io::Result<Fd> {
        match self.lower.open(&place.dir, &place.name, flags, 0) {
            Err(e) if e.raw_os_error() == Some(libc::EACCES) && !self.daemon.is_root() => {
                let path = self.lower.open(&place.dir, &place.name, libc::O_PATH, 0)?;
                self.with_owner_access(&path, || self.lower.open(&path, OsStr::new(""), flags, 0))
            }
            done => done,
        }
    }
}

fn is_read_only(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EROFS | libc::EPERM | libc::ETXTBSY))
}

fn copy_step(from: &File, from_at: u64, to: &File, to_at: u64, step: usize, buf: &mut Vec<u8>) -> Result<()> {
    from.read(from_at, step, buf)?;
    if !buf.is_empty() {
        to.write(to_at, buf)?;
    }
    Ok(())
}
