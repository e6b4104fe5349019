//! The filesystem, without one FUSE type.

mod errno;
pub mod types;

pub use errno::{Error, Result};
pub use types::*;

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

/// A mounted volume. Every method takes `&self` and may be called from any number of threads at once.
///
/// Methods that return an [`Attr`] and are marked **+1** count one lookup of that inode; the kernel gives
/// them back by [`Filesystem::forget`].
pub struct Filesystem {}

macro_rules! soon {
    ($($x:expr),*) => {{ $(let _ = $x;)* Err(Error::Refused(libc::ENOSYS)) }};
}

impl Filesystem {
    /// Finds `name` in the directory `parent`. **+1**
    pub fn lookup(&self, parent: Ino, name: &OsStr) -> Result<Attr> {
        soon!(parent, name)
    }
    /// Gives back `n` lookups of `ino`. Never fails.
    pub fn forget(&self, ino: Ino, n: u64) {
        let _ = (ino, n);
    }
    /// Attributes; through the handle where one is given.
    pub fn getattr(&self, ino: Ino, handle: Option<Handle>) -> Result<Attr> {
        soon!(ino, handle)
    }
    /// Changes attributes; returns the new ones. An empty request is `chown(-1, -1)`: it clears suid and sgid.
    pub fn setattr(&self, caller: &Caller, ino: Ino, handle: Option<Handle>, set: &SetAttr) -> Result<Attr> {
        soon!(caller, ino, handle, set)
    }
    /// Target of a symbolic link.
    pub fn readlink(&self, ino: Ino) -> Result<OsString> {
        soon!(ino)
    }
    /// Makes a regular file, FIFO, socket or device node; `mode` has the type bits, `umask` is not yet applied. **+1**
    pub fn mknod(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u64,
    ) -> Result<Attr> {
        soon!(caller, parent, name, mode, umask, rdev)
    }
    /// Makes a directory. **+1**
    pub fn mkdir(&self, caller: &Caller, parent: Ino, name: &OsStr, mode: u32, umask: u32) -> Result<Attr> {
        soon!(caller, parent, name, mode, umask)
    }
    /// Removes a name that is not a directory's.
    pub fn unlink(&self, parent: Ino, name: &OsStr) -> Result<()> {
        soon!(parent, name)
    }
    /// Removes an empty directory.
    pub fn rmdir(&self, parent: Ino, name: &OsStr) -> Result<()> {
        soon!(parent, name)
    }
    /// Makes a symbolic link. **+1**
    pub fn symlink(&self, caller: &Caller, parent: Ino, name: &OsStr, target: &OsStr) -> Result<Attr> {
        soon!(caller, parent, name, target)
    }
    /// Makes a hard link. **+1**
    pub fn link(&self, ino: Ino, new_parent: Ino, new_name: &OsStr) -> Result<Attr> {
        soon!(ino, new_parent, new_name)
    }
    /// Renames; `flags` may be `RENAME_NOREPLACE` or `RENAME_EXCHANGE`, anything else is `EINVAL`.
    pub fn rename(
        &self,
        parent: Ino,
        name: &OsStr,
        new_parent: Ino,
        new_name: &OsStr,
        flags: u32,
    ) -> Result<()> {
        soon!(parent, name, new_parent, new_name, flags)
    }
    /// Opens a regular file; of `flags` only `O_TRUNC` and the access mode matter.
    /// `kill_suidgid`: with `O_TRUNC`, clear suid and sgid (`FUSE_OPEN_KILL_SUIDGID`).
    pub fn open(&self, caller: &Caller, ino: Ino, flags: i32, kill_suidgid: bool) -> Result<Handle> {
        soon!(caller, ino, flags, kill_suidgid)
    }
    /// Makes (or, without `O_EXCL`, finds) a regular file and opens it. **+1**
    pub fn create(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
    ) -> Result<(Attr, Handle)> {
        soon!(caller, parent, name, mode, umask, flags)
    }
    /// Appends up to `len` bytes from plaintext offset `at` to `out`; fewer only at the end of the file.
    pub fn read(&self, handle: Handle, at: u64, len: usize, out: &mut Vec<u8>) -> Result<()> {
        soon!(handle, at, len, out)
    }
    /// Writes all of `data` at plaintext offset `at`.
    pub fn write(
        &self,
        caller: &Caller,
        handle: Handle,
        at: u64,
        data: &[u8],
        kill_suidgid: bool,
    ) -> Result<()> {
        soon!(caller, handle, at, data, kill_suidgid)
    }
    /// One descriptor of the handle was closed. Nothing is buffered above the volume, so nothing can fail late.
    pub fn flush(&self, handle: Handle) -> Result<()> {
        soon!(handle)
    }
    /// Ends a file handle. Never fails.
    pub fn release(&self, handle: Handle) {
        let _ = handle;
    }
    /// Makes the file durable, and all it stands on.
    pub fn fsync(&self, handle: Handle, data_only: bool) -> Result<()> {
        soon!(handle, data_only)
    }
    /// Opens a directory for listing.
    pub fn opendir(&self, ino: Ino) -> Result<Handle> {
        soon!(ino)
    }
    /// Lists from offset `from` (0: from the start, anew), `.` and `..` included, until the end or until `sink`
    /// answers `false`: that entry did not fit, is not counted, and will come again. With `plus`, entries other
    /// than `.` and `..` carry attributes and count **+1** each.
    pub fn readdir(
        &self,
        handle: Handle,
        from: u64,
        plus: bool,
        sink: &mut dyn FnMut(DirEntry) -> bool,
    ) -> Result<()> {
        soon!(handle, from, plus, sink)
    }
    /// Ends a directory handle. Never fails.
    pub fn releasedir(&self, handle: Handle) {
        let _ = handle;
    }
    /// Makes a directory's entries durable, and all they stand on.
    pub fn fsyncdir(&self, handle: Handle, data_only: bool) -> Result<()> {
        soon!(handle, data_only)
    }
    /// Figures of the lower filesystem, with names of up to 255 bytes.
    pub fn statfs(&self) -> Result<StatFs> {
        soon!()
    }
    /// Sets an extended attribute; `flags` are `XATTR_CREATE` or `XATTR_REPLACE`.
    pub fn setxattr(&self, ino: Ino, name: &OsStr, value: &[u8], flags: i32) -> Result<()> {
        soon!(ino, name, value, flags)
    }
    /// Value of an extended attribute; `ENODATA` where there is none.
    pub fn getxattr(&self, ino: Ino, name: &OsStr) -> Result<Vec<u8>> {
        soon!(ino, name)
    }
    /// Names of all extended attributes.
    pub fn listxattr(&self, ino: Ino) -> Result<Vec<OsString>> {
        soon!(ino)
    }
    /// Removes an extended attribute.
    pub fn removexattr(&self, ino: Ino, name: &OsStr) -> Result<()> {
        soon!(ino, name)
    }
    /// Allocates, punches or zeroes; other modes are `EOPNOTSUPP`.
    pub fn fallocate(&self, handle: Handle, mode: i32, at: u64, len: u64) -> Result<()> {
        soon!(handle, mode, at, len)
    }
    /// `SEEK_DATA` and `SEEK_HOLE`.
    pub fn lseek(&self, handle: Handle, at: u64, whence: i32) -> Result<u64> {
        soon!(handle, at, whence)
    }
    /// Copies between two handles; returns the bytes copied, fewer only at the end of the source.
    pub fn copy_file_range(
        &self,
        from: Handle,
        from_at: u64,
        to: Handle,
        to_at: u64,
        len: u64,
    ) -> Result<u64> {
        soon!(from, from_at, to, to_at, len)
    }
    /// Names the kernel caches that [`Filesystem::keys_changed`] is to empty.
    pub fn attach_kernel(&self, kernel: Arc<dyn KernelCache>) {
        let _ = kernel;
    }
    /// The KMS changed its mind about some key: cached pages of every known file are dropped, so that the next
    /// read asks again. Not to be called from a thread that serves a request.
    pub fn keys_changed(&self) {}
    /// Writes back everything; the journal is empty afterwards. Call once, after the last request.
    pub fn shutdown(&self) -> Result<()> {
        soon!()
    }
}
