//! System calls of mounting and of the daemon's life that `std` does not offer. Thin and safe; no policy.

#![expect(unsafe_code, reason = "system call wrappers: each block passes only valid pointers and lengths")]

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;

fn cstring(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `mount(2)`. `source` is only a label in the table of mounts; `data` is the filesystem's option string.
pub(crate) fn mount(
    source: &OsStr,
    target: &OsStr,
    kind: &CStr,
    flags: libc::c_ulong,
    data: &str,
) -> io::Result<()> {
    let (source, target, data) = (cstring(source)?, cstring(target)?, cstring(OsStr::new(data))?);
    // SAFETY: all four strings are NUL-terminated and live until the call returns.
    check(unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast())
    })?;
    Ok(())
}

/// `umount2(2)`, never following a symbolic link in the last component.
pub(crate) fn umount(target: &OsStr, flags: libc::c_int) -> io::Result<()> {
    let target = cstring(target)?;
    // SAFETY: `target` is NUL-terminated.
    check(unsafe { libc::umount2(target.as_ptr(), flags | libc::UMOUNT_NOFOLLOW) })?;
    Ok(())
}

/// Lets `fd` survive `exec`, for the one child that is to inherit it.
pub(crate) fn keep_on_exec(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: no pointers; `fd` is open.
    check(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETFD, 0) })?;
    Ok(())
}

/// Receives one descriptor over `socket`. `None` at the end of the stream.
pub(crate) fn receive_fd(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    const FD_LEN: libc::c_uint = size_of::<RawFd>() as libc::c_uint;
    let mut byte = [0u8; 1];
    let mut iov = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: byte.len() };
    // u64 elements give the alignment `cmsghdr` needs; 64 bytes hold one header and a few descriptors.
    let mut control = [0u64; 8];
    // SAFETY: an all-zero `msghdr` is valid: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    let received = loop {
        // SAFETY: `message` points to live buffers of the lengths it states.
        match unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) } {
            n if n >= 0 => break n,
            _ => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => {}
                e => return Err(e),
            },
        }
    };
    if received == 0 {
        return Ok(None);
    }
    // SAFETY: the kernel filled `message`; CMSG_FIRSTHDR checks the length before it returns a header.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: a non-null header lies in `control`, which is aligned for it; the two type fields say what
    // follows, the length that a whole descriptor does.
    let fd = unsafe {
        match header.as_ref() {
            Some(h)
                if h.cmsg_level == libc::SOL_SOCKET
                    && h.cmsg_type == libc::SCM_RIGHTS
                    && h.cmsg_len >= libc::CMSG_LEN(FD_LEN) as usize =>
            {
                libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned()
            }
            _ => return Err(io::Error::other("a message without a descriptor")),
        }
    };
    // SAFETY: the kernel just installed `fd` for this process; nobody else owns it.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// User of the process at the other end of a unix socket.
pub(crate) fn peer_uid(socket: &UnixStream) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `peer` is writable for `len` bytes.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut len,
        )
    })?;
    Ok(peer.uid)
}

/// Effective user of this process.
pub fn euid() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() }
}

/// Effective group of this process.
pub fn egid() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::getegid() }
}

/// Writes back what the kernel caches for the filesystem `file` lies on.
pub(crate) fn syncfs(file: impl AsFd) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::syncfs(file.as_fd().as_raw_fd()) })?;
    Ok(())
}

/// Which side of a [`fork`] this is.
pub enum Side {
    /// The process that called; the child has this id.
    Parent(libc::pid_t),
    /// The new process.
    Child,
}

/// `fork(2)`, only from a process with a single thread: the child has just the calling thread, and any lock
/// another one held would stay locked for good.
///
/// # Errors
/// The errno of `fork`; `EBUSY` where the process already has several threads.
pub fn fork() -> io::Result<Side> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    // SAFETY: there is one thread, so the child's copy of every lock and of the heap is consistent.
    match check(unsafe { libc::fork() })? {
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(pid)),
    }
}

/// Waits for the child `pid`; says how it ended.
///
/// # Errors
/// The errno of `waitpid`.
pub fn wait_for(pid: libc::pid_t) -> io::Result<std::process::ExitStatus> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is writable.
        match check(unsafe { libc::waitpid(pid, &raw mut status, 0) }) {
            Ok(_) => return Ok(std::os::unix::process::ExitStatusExt::from_raw(status)),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Closes every descriptor above the standard ones but those of `keep`: what a shell, a lock or a test left open would
/// otherwise stay open for as long as the daemon lives. To be called before anything is opened.
///
/// # Errors
/// The errno of `close_range`.
pub fn close_inherited(keep: &[Option<RawFd>]) -> io::Result<()> {
    let close = |first: libc::c_uint, last: libc::c_uint| {
        if first > last {
            return Ok(0);
        }
        // SAFETY: no pointers. Called first thing, so no Rust object owns any of these descriptors.
        check(unsafe { libc::close_range(first, last, 0) })
    };
    let mut kept: Vec<_> = keep.iter().flatten().filter_map(|fd| libc::c_uint::try_from(*fd).ok()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept.into_iter().filter(|fd| *fd > 2) {
        close(first, fd - 1)?;
        first = fd + 1;
    }
    close(first, libc::c_uint::MAX)?;
    Ok(())
}

/// Leaves the terminal's session.
///
/// # Errors
/// The errno of `setsid`.
pub fn new_session() -> io::Result<()> {
    // SAFETY: no arguments.
    check(unsafe { libc::setsid() })?;
    Ok(())
}

/// Makes standard descriptor `number` (0, 1 or 2) another name of `fd`.
///
/// # Errors
/// The errno of `dup2`.
pub fn redirect(fd: impl AsFd, number: RawFd) -> io::Result<()> {
    assert!((0..=2).contains(&number), "only standard descriptors are replaced");
    // SAFETY: no pointers; descriptors 0 to 2 are owned by no Rust object.
    check(unsafe { libc::dup2(fd.as_fd().as_raw_fd(), number) })?;
    Ok(())
}

/// Sends one line to the system log.
pub fn syslog(priority: libc::c_int, line: &str) {
    // A NUL would cut the line short: what comes before it is still worth logging.
    let text = line.split('\0').next().unwrap_or_default();
    if let Ok(text) = CString::new(text) {
        // SAFETY: the format takes one string, and `text` is NUL-terminated.
        unsafe { libc::syslog(libc::LOG_DAEMON | priority, c"%s".as_ptr(), text.as_ptr()) };
    }
}

/// Names this program in the system log.
pub fn open_syslog() {
    // SAFETY: the name is a static NUL-terminated string, which syslog keeps a pointer to.
    unsafe { libc::openlog(c"kmsfs".as_ptr(), libc::LOG_PID | libc::LOG_NDELAY, libc::LOG_DAEMON) };
}

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    name: CString,
    /// Its number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
}

/// Finds the user called `name`.
///
/// # Errors
/// The errno of `getpwnam_r`.
pub fn account(name: &str) -> io::Result<Option<Account>> {
    /// Room for an entry's texts: far more than any has.
    const TEXTS: usize = 64 << 10;
    let name = cstring(OsStr::new(name))?;
    let mut texts = vec![0; TEXTS];
    // SAFETY: an all-zero `passwd` is valid: null pointers and numbers.
    let mut entry: libc::passwd = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut found = std::ptr::null_mut();
    // SAFETY: `name` is NUL-terminated; `entry`, `texts` (of the length stated) and `found` are writable.
    let failed = unsafe {
        libc::getpwnam_r(name.as_ptr(), &raw mut entry, texts.as_mut_ptr(), texts.len(), &raw mut found)
    };
    match failed {
        0 if found.is_null() => Ok(None),
        0 => Ok(Some(Account { name, uid: entry.pw_uid, gid: entry.pw_gid })),
        // POSIX leaves open how a missing entry is told.
        libc::ENOENT | libc::ESRCH => Ok(None),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Makes all of this process the user's, with the user's groups and no others, for good.
///
/// # Errors
/// The errno of the call that was refused: the process is to end then, since it may be neither user.
pub fn become_account(account: &Account) -> io::Result<()> {
    let Account { name, uid, gid } = account;
    // SAFETY: `name` is NUL-terminated.
    check(unsafe { libc::initgroups(name.as_ptr(), *gid) })?;
    // SAFETY: integer arguments only.
    check(unsafe { libc::setresgid(*gid, *gid, *gid) })?;
    // SAFETY: integer arguments only.
    check(unsafe { libc::setresuid(*uid, *uid, *uid) })?;
    Ok(())
}
