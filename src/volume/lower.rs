//! The lower filesystem: every system call kmsfs makes on the lower directory goes through [`Lower`].
//!
//! One narrow interface, so that tests can record every call, fail any of them, or cut the power between
//! two of them. [`SystemLower`] is the real thing: thin, safe wrappers over `libc`, retrying `EINTR`, adding
//! no policy. Names are single path components, relative to an open directory; nothing here follows a
//! symbolic link in the last component. As with `AT_EMPTY_PATH`, an empty name stands for the handle itself,
//! of whatever type: so is a file reached that has no name left.

#![expect(unsafe_code, reason = "system call wrappers: each block passes only valid pointers and lengths")]

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
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

/// Opens the lower root directory itself, the one place where a path is used.
///
/// # Errors
/// The errno of `open`; `ENOTDIR` where `path` is no directory.
pub fn open_root(path: &Path) -> io::Result<Fd> {
    let name = cstring(path.as_os_str())?;
    // SAFETY: `name` is a valid NUL-terminated string for the length of the call.
    let fd = unsafe { libc::open(name.as_ptr(), libc::O_DIRECTORY | libc::O_RDONLY | libc::O_CLOEXEC) };
    owned(fd)
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

fn cstring(name: &OsStr) -> io::Result<CString> {
    CString::new(name.as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn owned(fd: RawFd) -> io::Result<Fd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just returned by the kernel and nobody else owns it.
    Ok(Fd::new(unsafe { OwnedFd::from_raw_fd(fd) }))
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn timespec(t: SetTime) -> libc::timespec {
    match t {
        SetTime::Omit => libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT },
        SetTime::Now => libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_NOW },
        SetTime::At(t) => libc::timespec { tv_sec: t.sec, tv_nsec: i64::from(t.nsec) },
    }
}

fn from_libc(st: &libc::stat) -> Stat {
    let time = |sec, nsec: i64| Timespec { sec, nsec: nsec as u32 };
    Stat {
        dev: st.st_dev,
        ino: st.st_ino,
        mode: st.st_mode,
        nlink: st.st_nlink,
        uid: st.st_uid,
        gid: st.st_gid,
        rdev: st.st_rdev,
        size: st.st_size as u64,
        blocks: st.st_blocks as u64,
        atime: time(st.st_atime, st.st_atime_nsec),
        mtime: time(st.st_mtime, st.st_mtime_nsec),
        ctime: time(st.st_ctime, st.st_ctime_nsec),
    }
}

/// `/proc/self/fd/N[/name]`: reaches a handle, or an entry below it, by path-only calls.
fn proc_path(fd: &Fd, name: &OsStr) -> io::Result<CString> {
    let mut path = format!("/proc/self/fd/{}", fd.raw()).into_bytes();
    if !name.is_empty() {
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
    }
    cstring(OsStr::from_bytes(&path))
}

const NO_ID: u32 = u32::MAX;

/// The real lower filesystem.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemLower;

impl SystemLower {
    fn stat_with(fd: RawFd, name: &OsStr, flags: i32) -> io::Result<Stat> {
        let name = cstring(name)?;
        let mut st = std::mem::MaybeUninit::<libc::stat>::uninit();
        // SAFETY: `st` is writable for a whole `stat`, `name` is NUL-terminated.
        check(unsafe { libc::fstatat(fd, name.as_ptr(), st.as_mut_ptr(), flags) })?;
        // SAFETY: the kernel filled it, since the call succeeded.
        Ok(from_libc(unsafe { st.assume_init_ref() }))
    }

    fn reopen(fd: &Fd, flags: i32) -> io::Result<Fd> {
        let path = proc_path(fd, OsStr::new(""))?;
        // SAFETY: `path` is NUL-terminated.
        owned(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) })
    }
}

impl Lower for SystemLower {
    fn open(&self, dir: &Fd, name: &OsStr, flags: i32, mode: u32) -> io::Result<Fd> {
        if name.is_empty() {
            return Self::reopen(dir, flags);
        }
        let name = cstring(name)?;
        let flags = flags | libc::O_CLOEXEC | libc::O_NOFOLLOW;
        // SAFETY: `name` is NUL-terminated.
        retry(|| owned(unsafe { libc::openat(dir.raw(), name.as_ptr(), flags, mode) }))
    }

    fn stat(&self, dir: &Fd, name: &OsStr) -> io::Result<Stat> {
        Self::stat_with(dir.raw(), name, libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH)
    }

    fn fstat(&self, fd: &Fd) -> io::Result<Stat> {
        Self::stat_with(fd.raw(), OsStr::new(""), libc::AT_EMPTY_PATH)
    }

    fn read_dir(&self, dir: &Fd) -> io::Result<Vec<LowerEntry>> {
        let fd = self.open(dir, OsStr::new("."), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        let mut entries = Vec::new();
        let mut buf = vec![0u8; 64 * 1024];
        loop {
            // SAFETY: the kernel writes at most `buf.len()` bytes into `buf`.
            let n = unsafe { libc::syscall(libc::SYS_getdents64, fd.raw(), buf.as_mut_ptr(), buf.len()) };
            if n < 0 {
                return Err(io::Error::last_os_error());
            }
            if n == 0 {
                return Ok(entries);
            }
            parse_dirents(&buf[..n as usize], &mut entries);
        }
    }

    fn mkdir(&self, dir: &Fd, name: &OsStr, mode: u32) -> io::Result<()> {
        let name = cstring(name)?;
        // SAFETY: `name` is NUL-terminated.
        check(unsafe { libc::mkdirat(dir.raw(), name.as_ptr(), mode) })
    }

    fn mknod(&self, dir: &Fd, name: &OsStr, mode: u32, rdev: u64) -> io::Result<()> {
        let name = cstring(name)?;
        // SAFETY: `name` is NUL-terminated.
        check(unsafe { libc::mknodat(dir.raw(), name.as_ptr(), mode, rdev) })
    }

    fn symlink(&self, target: &OsStr, dir: &Fd, name: &OsStr) -> io::Result<()> {
        let (target, name) = (cstring(target)?, cstring(name)?);
        // SAFETY: both strings are NUL-terminated.
        check(unsafe { libc::symlinkat(target.as_ptr(), dir.raw(), name.as_ptr()) })
    }

    fn readlink(&self, dir: &Fd, name: &OsStr) -> io::Result<OsString> {
        let name = cstring(name)?;
        let mut buf = vec![0u8; libc::PATH_MAX as usize + 1];
        // SAFETY: the kernel writes at most `buf.len()` bytes.
        let n = unsafe { libc::readlinkat(dir.raw(), name.as_ptr(), buf.as_mut_ptr().cast(), buf.len()) };
        if n < 0 {
            return Err(io::Error::last_os_error());
        }
        buf.truncate(n as usize);
        Ok(OsString::from_vec(buf))
    }

    fn link(&self, dir: &Fd, name: &OsStr, new_dir: &Fd, new_name: &OsStr) -> io::Result<()> {
        let (from, path, flags) = match name.is_empty() {
            true => (libc::AT_FDCWD, proc_path(dir, name)?, libc::AT_SYMLINK_FOLLOW),
            false => (dir.raw(), cstring(name)?, 0),
        };
        let new_name = cstring(new_name)?;
        // SAFETY: both strings are NUL-terminated.
        check(unsafe { libc::linkat(from, path.as_ptr(), new_dir.raw(), new_name.as_ptr(), flags) })
    }

    fn unlink(&self, dir: &Fd, name: &OsStr) -> io::Result<()> {
        let name = cstring(name)?;
        // SAFETY: `name` is NUL-terminated.
        check(unsafe { libc::unlinkat(dir.raw(), name.as_ptr(), 0) })
    }

    fn rmdir(&self, dir: &Fd, name: &OsStr) -> io::Result<()> {
        let name = cstring(name)?;
        // SAFETY: `name` is NUL-terminated.
        check(unsafe { libc::unlinkat(dir.raw(), name.as_ptr(), libc::AT_REMOVEDIR) })
    }

    fn rename(&self, dir: &Fd, name: &OsStr, new_dir: &Fd, new_name: &OsStr, flags: u32) -> io::Result<()> {
        let (name, new_name) = (cstring(name)?, cstring(new_name)?);
        // SAFETY: both strings are NUL-terminated.
        check(unsafe { libc::renameat2(dir.raw(), name.as_ptr(), new_dir.raw(), new_name.as_ptr(), flags) })
    }

    fn pread(&self, fd: &Fd, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let rest = &mut buf[done..];
            // SAFETY: the kernel writes at most `rest.len()` bytes into `rest`.
            let n = unsafe {
                libc::pread(fd.raw(), rest.as_mut_ptr().cast(), rest.len(), (at + done as u64) as libc::off_t)
            };
            match n {
                0 => break,
                n if n > 0 => done += n as usize,
                _ => match io::Error::last_os_error() {
                    e if e.kind() == io::ErrorKind::Interrupted => {}
                    e => return Err(e),
                },
            }
        }
        Ok(done)
    }

    fn pwrite(&self, fd: &Fd, buf: &[u8], at: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            let rest = &buf[done..];
            // SAFETY: the kernel reads at most `rest.len()` bytes from `rest`.
            let n = unsafe {
                libc::pwrite(fd.raw(), rest.as_ptr().cast(), rest.len(), (at + done as u64) as libc::off_t)
            };
            match n {
                n if n > 0 => done += n as usize,
                0 => return Err(io::Error::from_raw_os_error(libc::ENOSPC)),
                _ => match io::Error::last_os_error() {
                    e if e.kind() == io::ErrorKind::Interrupted => {}
                    e => return Err(e),
                },
            }
        }
        Ok(())
    }

    fn truncate(&self, fd: &Fd, size: u64) -> io::Result<()> {
        // SAFETY: no pointers.
        retry(|| check(unsafe { libc::ftruncate(fd.raw(), size as libc::off_t) }))
    }

    fn fallocate(&self, fd: &Fd, mode: i32, at: u64, len: u64) -> io::Result<()> {
        // SAFETY: no pointers.
        retry(|| check(unsafe { libc::fallocate(fd.raw(), mode, at as libc::off_t, len as libc::off_t) }))
    }

    fn seek(&self, fd: &Fd, at: u64, whence: i32) -> io::Result<u64> {
        // SAFETY: no pointers.
        let n = unsafe { libc::lseek(fd.raw(), at as libc::off_t, whence) };
        if n < 0 { Err(io::Error::last_os_error()) } else { Ok(n as u64) }
    }

    fn fsync(&self, fd: &Fd) -> io::Result<()> {
        // SAFETY: no pointers.
        match retry(|| check(unsafe { libc::fsync(fd.raw()) })) {
            Err(e) if e.raw_os_error() == Some(libc::EBADF) => {
                let readable = Self::reopen(fd, libc::O_RDONLY)?;
                // SAFETY: no pointers.
                retry(|| check(unsafe { libc::fsync(readable.raw()) }))
            }
            other => other,
        }
    }

    fn fdatasync(&self, fd: &Fd) -> io::Result<()> {
        // SAFETY: no pointers.
        retry(|| check(unsafe { libc::fdatasync(fd.raw()) }))
    }

    fn sync_all(&self, fd: &Fd) -> io::Result<()> {
        // SAFETY: no pointers.
        retry(|| check(unsafe { libc::syncfs(fd.raw()) }))
    }

    fn start_writeback(&self, fd: &Fd) -> io::Result<()> {
        // SAFETY: no pointers.
        check(unsafe { libc::sync_file_range(fd.raw(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) })
    }

    fn chmod(&self, fd: &Fd, mode: u32) -> io::Result<()> {
        let path = proc_path(fd, OsStr::new(""))?;
        // SAFETY: `path` is NUL-terminated.
        check(unsafe { libc::chmod(path.as_ptr(), mode) })
    }

    fn chmod_at(&self, dir: &Fd, name: &OsStr, mode: u32) -> io::Result<()> {
        // fchmodat(2) has no flags before Linux 6.6; an O_PATH handle makes it safe against links.
        let fd = self.open(dir, name, libc::O_PATH, 0)?;
        self.chmod(&fd, mode)
    }

    fn chown(&self, fd: &Fd, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let (uid, gid) = (uid.unwrap_or(NO_ID), gid.unwrap_or(NO_ID));
        // SAFETY: the empty path is NUL-terminated.
        check(unsafe { libc::fchownat(fd.raw(), c"".as_ptr(), uid, gid, libc::AT_EMPTY_PATH) })
    }

    fn chown_at(&self, dir: &Fd, name: &OsStr, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let name = cstring(name)?;
        let (uid, gid) = (uid.unwrap_or(NO_ID), gid.unwrap_or(NO_ID));
        let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
        // SAFETY: `name` is NUL-terminated.
        check(unsafe { libc::fchownat(dir.raw(), name.as_ptr(), uid, gid, flags) })
    }

    fn utimens(&self, fd: &Fd, atime: SetTime, mtime: SetTime) -> io::Result<()> {
        let times = [timespec(atime), timespec(mtime)];
        // SAFETY: `times` holds two entries.
        match check(unsafe { libc::futimens(fd.raw(), times.as_ptr()) }) {
            Err(e) if e.raw_os_error() == Some(libc::EBADF) => {}
            other => return other,
        }
        let path = proc_path(fd, OsStr::new(""))?;
        // SAFETY: `path` is NUL-terminated, `times` holds two entries. The /proc link is followed once.
        check(unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), times.as_ptr(), 0) })
    }

    fn utimens_at(&self, dir: &Fd, name: &OsStr, atime: SetTime, mtime: SetTime) -> io::Result<()> {
        if name.is_empty() {
            return self.utimens(dir, atime, mtime);
        }
        let name = cstring(name)?;
        let times = [timespec(atime), timespec(mtime)];
        // SAFETY: `name` is NUL-terminated, `times` holds two entries.
        check(unsafe { libc::utimensat(dir.raw(), name.as_ptr(), times.as_ptr(), libc::AT_SYMLINK_NOFOLLOW) })
    }

    fn get_xattr(&self, dir: &Fd, name: &OsStr, attr: &OsStr) -> io::Result<Vec<u8>> {
        let (path, attr) = (proc_path(dir, name)?, cstring(attr)?);
        let get = if name.is_empty() { libc::getxattr } else { libc::lgetxattr };
        grow(|buf| {
            // SAFETY: the kernel writes at most `buf.len()` bytes; both strings are NUL-terminated.
            unsafe { get(path.as_ptr(), attr.as_ptr(), buf.as_mut_ptr().cast(), buf.len()) }
        })
    }

    fn set_xattr(&self, dir: &Fd, name: &OsStr, attr: &OsStr, value: &[u8], flags: i32) -> io::Result<()> {
        let (path, attr) = (proc_path(dir, name)?, cstring(attr)?);
        let set = if name.is_empty() { libc::setxattr } else { libc::lsetxattr };
        // SAFETY: `value` is readable for its length; both strings are NUL-terminated.
        check(unsafe { set(path.as_ptr(), attr.as_ptr(), value.as_ptr().cast(), value.len(), flags) })
    }

    fn list_xattr(&self, dir: &Fd, name: &OsStr) -> io::Result<Vec<OsString>> {
        let path = proc_path(dir, name)?;
        let list = if name.is_empty() { libc::listxattr } else { libc::llistxattr };
        let names = grow(|buf| {
            // SAFETY: the kernel writes at most `buf.len()` bytes; `path` is NUL-terminated.
            unsafe { list(path.as_ptr(), buf.as_mut_ptr().cast(), buf.len()) }
        })?;
        Ok(names
            .split(|b| *b == 0)
            .filter(|n| !n.is_empty())
            .map(|n| OsStr::from_bytes(n).to_owned())
            .collect())
    }

    fn remove_xattr(&self, dir: &Fd, name: &OsStr, attr: &OsStr) -> io::Result<()> {
        let (path, attr) = (proc_path(dir, name)?, cstring(attr)?);
        // The /proc link of the handle itself must be followed, an entry that is a link must not.
        let remove = if name.is_empty() { libc::removexattr } else { libc::lremovexattr };
        // SAFETY: both strings are NUL-terminated.
        check(unsafe { remove(path.as_ptr(), attr.as_ptr()) })
    }

    fn try_lock(&self, fd: &Fd) -> io::Result<bool> {
        // SAFETY: no pointers.
        match check(unsafe { libc::flock(fd.raw(), libc::LOCK_EX | libc::LOCK_NB) }) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn statfs(&self, fd: &Fd) -> io::Result<StatFs> {
        let mut st = std::mem::MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: `st` is writable for a whole `statvfs`.
        check(unsafe { libc::fstatvfs(fd.raw(), st.as_mut_ptr()) })?;
        // SAFETY: the kernel filled it, since the call succeeded.
        let st = unsafe { st.assume_init() };
        Ok(StatFs {
            frsize: st.f_frsize,
            bsize: st.f_bsize,
            blocks: st.f_blocks,
            bfree: st.f_bfree,
            bavail: st.f_bavail,
            files: st.f_files,
            ffree: st.f_ffree,
            namelen: st.f_namemax as u32,
        })
    }
}

/// Calls with a growing buffer until the value fits.
fn grow(call: impl Fn(&mut [u8]) -> isize) -> io::Result<Vec<u8>> {
    let mut buf = vec![0u8; 1024];
    loop {
        let n = call(&mut buf);
        if n >= 0 {
            buf.truncate(n as usize);
            return Ok(buf);
        }
        let e = io::Error::last_os_error();
        if e.raw_os_error() != Some(libc::ERANGE) || buf.len() >= 1 << 20 {
            return Err(e);
        }
        buf.resize(buf.len() * 4, 0);
    }
}

/// Splits a `getdents64` buffer into entries.
///
/// Layout of one: `ino u64 | off i64 | reclen u16 | type u8 | name, NUL-terminated`, native byte order.
fn parse_dirents(mut buf: &[u8], out: &mut Vec<LowerEntry>) {
    const NAME: usize = 19;
    while buf.len() > NAME {
        let ino = u64::from_ne_bytes(buf[..8].try_into().expect("eight bytes"));
        let reclen = usize::from(u16::from_ne_bytes([buf[16], buf[17]]));
        if reclen <= NAME || reclen > buf.len() {
            return;
        }
        let name = &buf[NAME..reclen];
        let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        out.push(LowerEntry { name: OsStr::from_bytes(&name[..end]).to_owned(), ino, kind: buf[18] });
        buf = &buf[reclen..];
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
