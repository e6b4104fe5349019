//! The lower filesystem: every system call kmsfs makes on the lower directory goes through [`Lower`].
//!
//! One narrow interface, so that tests can record every call, fail any of them, or cut the power between
//! two of them. [`SystemLower`] is the real thing. Names are single path components, relative to an open directory;
//! nothing here follows a symbolic link in the last component. As with `AT_EMPTY_PATH`, an empty name stands for
//! the handle itself, of whatever type: so is a file reached that has no name left.

pub mod descriptors;
mod shadow;
mod system;

pub use shadow::ShadowLower;
pub use system::{SystemLower, open_root};

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// An open lower file or directory. `id` is unique in this process and names the handle in a recording.
#[derive(Debug)]
pub struct Fd {
    fd: OwnedFd,
    id: u64,
}

impl Fd {
    /// Takes ownership of `fd` and gives it a fresh id.
    pub fn new(fd: OwnedFd) -> Fd {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Fd { fd, id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// The handle's id, unique in this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.raw()
    }
}

/// Seconds and nanoseconds since the epoch; seconds may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timespec {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub sec: i64,
    /// Nanoseconds, 0..1_000_000_000.
    pub nsec: u32,
}

impl Timespec {
    /// The current time of the system's real-time clock.
    pub fn now() -> Timespec {
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(d) => Timespec { sec: d.as_secs() as i64, nsec: d.subsec_nanos() },
            Err(before) => Timespec { sec: -(before.duration().as_secs() as i64), nsec: 0 },
        }
    }
}

/// What to do with a timestamp in [`Lower::utimens`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    /// Leave it (`UTIME_OMIT`).
    Omit,
    /// The lower filesystem's current time (`UTIME_NOW`).
    Now,
    /// This very time.
    At(Timespec),
}

/// What `stat` says of a lower file. Sizes are lower bytes, not plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Device of the lower file.
    pub dev: u64,
    /// Inode number on that device.
    pub ino: u64,
    /// `st_mode`: type and permission bits.
    pub mode: u32,
    /// Hard links.
    pub nlink: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u64,
    /// Lower size in bytes.
    pub size: u64,
    /// 512-byte units in use.
    pub blocks: u64,
    /// Last access.
    pub atime: Timespec,
    /// Last change of content.
    pub mtime: Timespec,
    /// Last change of the inode.
    pub ctime: Timespec,
}

impl Stat {
    /// The file type bits (`S_IFMT`).
    pub fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }
    /// Is it a directory?
    pub fn is_dir(&self) -> bool {
        self.kind() == libc::S_IFDIR
    }
    /// Is it a regular file?
    pub fn is_file(&self) -> bool {
        self.kind() == libc::S_IFREG
    }
    /// Is it a symbolic link?
    pub fn is_symlink(&self) -> bool {
        self.kind() == libc::S_IFLNK
    }
}

/// One entry of a lower directory, `.` and `..` included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LowerEntry {
    /// Raw name.
    pub name: OsString,
    /// Inode number.
    pub ino: u64,
    /// `DT_*`; `DT_UNKNOWN` where the lower filesystem does not say.
    pub kind: u8,
}

/// Figures of the lower filesystem, as `statvfs` gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatFs {
    /// Unit of the block counts.
    pub frsize: u64,
    /// Preferred I/O size.
    pub bsize: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub bfree: u64,
    /// Free blocks for an ordinary user.
    pub bavail: u64,
    /// Inodes in all.
    pub files: u64,
    /// Free inodes.
    pub ffree: u64,
    /// Longest name.
    pub namelen: u32,
}

/// The calls on the lower filesystem. All positions and sizes are lower bytes.
///
/// Errors are plain [`io::Error`] carrying the lower filesystem's errno; who calls adds the file and the act.
pub trait Lower: Send + Sync {
    /// `openat` with `O_CLOEXEC | O_NOFOLLOW` added.
    fn open(&self, dir: &Fd, name: &OsStr, flags: i32, mode: u32) -> io::Result<Fd>;
    /// `fstatat` without following a link.
    fn stat(&self, dir: &Fd, name: &OsStr) -> io::Result<Stat>;
    /// `fstat`; works on `O_PATH` handles.
    fn fstat(&self, fd: &Fd) -> io::Result<Stat>;
    /// Every entry, in the lower filesystem's order. `dir` may be an `O_PATH` handle.
    fn read_dir(&self, dir: &Fd) -> io::Result<Vec<LowerEntry>>;
    /// `mkdirat`.
    fn mkdir(&self, dir: &Fd, name: &OsStr, mode: u32) -> io::Result<()>;
    /// `mknodat`, for FIFOs, sockets and device nodes.
    fn mknod(&self, dir: &Fd, name: &OsStr, mode: u32, rdev: u64) -> io::Result<()>;
    /// `symlinkat`.
    fn symlink(&self, target: &OsStr, dir: &Fd, name: &OsStr) -> io::Result<()>;
    /// `readlinkat`.
    fn readlink(&self, dir: &Fd, name: &OsStr) -> io::Result<OsString>;
    /// `linkat` without following a link.
    fn link(&self, dir: &Fd, name: &OsStr, new_dir: &Fd, new_name: &OsStr) -> io::Result<()>;
    /// `unlinkat`.
    fn unlink(&self, dir: &Fd, name: &OsStr) -> io::Result<()>;
    /// `unlinkat(AT_REMOVEDIR)`.
    fn rmdir(&self, dir: &Fd, name: &OsStr) -> io::Result<()>;
    /// `renameat2` with `RENAME_*` flags.
    fn rename(&self, dir: &Fd, name: &OsStr, new_dir: &Fd, new_name: &OsStr, flags: u32) -> io::Result<()>;

    /// Reads until `buf` is full or the file ends; returns the bytes read.
    fn pread(&self, fd: &Fd, buf: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes all of `buf`.
    fn pwrite(&self, fd: &Fd, buf: &[u8], at: u64) -> io::Result<()>;
    /// `ftruncate`.
    fn truncate(&self, fd: &Fd, size: u64) -> io::Result<()>;
    /// `fallocate` with `FALLOC_FL_*` mode.
    fn fallocate(&self, fd: &Fd, mode: i32, at: u64, len: u64) -> io::Result<()>;
    /// `lseek` with `SEEK_DATA` or `SEEK_HOLE`.
    fn seek(&self, fd: &Fd, at: u64, whence: i32) -> io::Result<u64>;
    /// `fsync`. On an `O_PATH` directory handle a readable one is opened for it.
    fn fsync(&self, fd: &Fd) -> io::Result<()>;
    /// `fdatasync`.
    fn fdatasync(&self, fd: &Fd) -> io::Result<()>;
    /// `syncfs`: makes the whole lower filesystem that `fd` is on durable.
    fn sync_all(&self, fd: &Fd) -> io::Result<()>;
    /// Starts write-back of the whole file without waiting (`sync_file_range`).
    fn start_writeback(&self, fd: &Fd) -> io::Result<()>;

    /// Changes the permission bits; works on `O_PATH` handles.
    fn chmod(&self, fd: &Fd, mode: u32) -> io::Result<()>;
    /// Changes the permission bits of a named entry that is not a symbolic link.
    fn chmod_at(&self, dir: &Fd, name: &OsStr, mode: u32) -> io::Result<()>;
    /// Changes owner and group (`None` leaves it); works on `O_PATH` handles.
    fn chown(&self, fd: &Fd, uid: Option<u32>, gid: Option<u32>) -> io::Result<()>;
    /// As [`Lower::chown`], by name, not following a link.
    fn chown_at(&self, dir: &Fd, name: &OsStr, uid: Option<u32>, gid: Option<u32>) -> io::Result<()>;
    /// Sets access and modification time; works on `O_PATH` handles.
    fn utimens(&self, fd: &Fd, atime: SetTime, mtime: SetTime) -> io::Result<()>;
    /// As [`Lower::utimens`], by name, not following a link.
    fn utimens_at(&self, dir: &Fd, name: &OsStr, atime: SetTime, mtime: SetTime) -> io::Result<()>;

    /// Value of an extended attribute of a named entry (the link itself where it is one).
    fn get_xattr(&self, dir: &Fd, name: &OsStr, attr: &OsStr) -> io::Result<Vec<u8>>;
    /// Sets an extended attribute; `flags` are `XATTR_CREATE` or `XATTR_REPLACE`.
    fn set_xattr(&self, dir: &Fd, name: &OsStr, attr: &OsStr, value: &[u8], flags: i32) -> io::Result<()>;
    /// Names of all extended attributes.
    fn list_xattr(&self, dir: &Fd, name: &OsStr) -> io::Result<Vec<OsString>>;
    /// Removes an extended attribute.
    fn remove_xattr(&self, dir: &Fd, name: &OsStr, attr: &OsStr) -> io::Result<()>;

    /// Locks a file for this process (`flock`) until the handle is closed; `false` if somebody else holds it.
    fn try_lock(&self, fd: &Fd) -> io::Result<bool>;

    /// `fstatvfs`.
    fn statfs(&self, fd: &Fd) -> io::Result<StatFs>;
}

/// Opens a small file of kmsfs's own for reading: a config, a record, a sidecar.
///
/// Nothing that somebody put in its place can hang the mount (a FIFO), lead elsewhere (a link) or be read for it.
///
/// # Errors
/// Those of `open`; [`io::ErrorKind::InvalidData`], without an errno, if it is not a regular file.
pub fn open_own(lower: &dyn Lower, dir: &Fd, name: &OsStr) -> io::Result<Fd> {
    let not_regular = || io::Error::new(io::ErrorKind::InvalidData, "not a regular file");
    let fd = match lower.open(dir, name, libc::O_RDONLY | libc::O_NONBLOCK, 0) {
        // A symbolic link; a socket or a device without a driver.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => return Err(not_regular()),
        opened => opened?,
    };
    if lower.fstat(&fd)?.is_file() { Ok(fd) } else { Err(not_regular()) }
}

/// Runs `act` on a file the daemon owns; if the file's mode forbids it even to its owner, once more with the owner's
/// bits lent for the moment. Only a daemon that is not root ever needs that. Two at a time must not do it with one
/// file: each would take the other's bits for the file's own.
///
/// A daemon killed in between leaves the bits behind. They give nothing but to the owner, who can set them anyway.
///
/// # Errors
/// Those of `act`; `EPERM` where the mode forbids it and the file is somebody else's.
pub fn with_owner_access<T>(lower: &dyn Lower, fd: &Fd, act: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match act() {
        Err(e) if e.raw_os_error() == Some(libc::EACCES) => {}
        done => return done,
    }
    let _loan = Loan::take(lower, fd)?;
    act()
}

/// The owner's permission bits, lent until dropped.
struct Loan<'a> {
    lower: &'a dyn Lower,
    fd: &'a Fd,
    mode: u32,
}

impl<'a> Loan<'a> {
    fn take(lower: &'a dyn Lower, fd: &'a Fd) -> io::Result<Loan<'a>> {
        let stat = lower.fstat(fd)?;
        let lent = if stat.is_dir() { 0o700 } else { 0o600 };
        lower.chmod(fd, (stat.mode | lent) & 0o7777)?;
        Ok(Loan { lower, fd, mode: stat.mode & 0o7777 })
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Err(e) = self.lower.chmod(self.fd, self.mode) {
            log::error!("a lower file keeps permissions of its owner that it was lent ({:?}): {e}", self.fd);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_put_in_the_place_of_an_own_file_neither_hangs_nor_leads_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let root = open_root(dir.path()).unwrap();
        std::fs::write(dir.path().join("file"), b"content").unwrap();
        std::fs::create_dir(dir.path().join("directory")).unwrap();
        SystemLower.symlink(OsStr::new("file"), &root, OsStr::new("link")).unwrap();
        for (name, kind) in [("fifo", libc::S_IFIFO), ("socket", libc::S_IFSOCK)] {
            SystemLower.mknod(&root, OsStr::new(name), kind | 0o600, 0).unwrap();
        }
        let open = |name: &str| open_own(&SystemLower, &root, OsStr::new(name));

        let mut content = [0; 16];
        let len = SystemLower.pread(&open("file").unwrap(), &mut content, 0).unwrap();
        assert_eq!(&content[..len], b"content");
        assert_eq!(open("missing").unwrap_err().raw_os_error(), Some(libc::ENOENT));
        for name in ["directory", "link", "fifo", "socket"] {
            assert_eq!(open(name).unwrap_err().kind(), io::ErrorKind::InvalidData, "{name}");
        }
    }
}
