//! The real lower filesystem: thin, safe wrappers over `libc`, retrying `EINTR`, adding no policy.

#![expect(unsafe_code, reason = "system call wrappers: each block passes only valid pointers and lengths")]

use super::{Fd, Lower, LowerEntry, SetTime, Stat, StatFs, Timespec};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

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
