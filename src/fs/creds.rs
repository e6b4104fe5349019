//! Making files as somebody else: file-system ids and umask of the serving thread.
//!
//! The lower kernel, not this code, applies umask, default ACLs, set-group-id directories and ownership, so
//! the outcome is what the lower filesystem would have given the caller itself. All of this is per thread;
//! nothing here touches the process.

#![expect(unsafe_code, reason = "per-thread credentials have no safe interface; no pointers outlive a call")]

use super::types::Caller;
use std::cell::Cell;
use std::io;

/// Umask of a serving thread between creations, for the volume's own files.
const OWN_UMASK: u32 = 0o022;

/// Who the daemon itself is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Daemon {
    uid: u32,
    gid: u32,
}

impl Daemon {
    /// The identity of this process.
    pub(super) fn current() -> Daemon {
        // SAFETY: no arguments, never fails.
        unsafe { Daemon { uid: libc::geteuid(), gid: libc::getegid() } }
    }

    /// May the daemon open whatever it owns or not, whatever the mode says?
    pub(super) fn is_root(self) -> bool {
        self.uid == 0
    }

    /// Runs `make` so that what it creates belongs to `caller` and obeys `umask`. `make` gets the mode to pass on.
    ///
    /// A daemon that is not root creates as itself: then the caller is its own user, or root by `allow_root`.
    pub(super) fn create_as<T>(
        self,
        caller: &Caller,
        mode: u32,
        umask: u32,
        make: impl FnOnce(u32) -> io::Result<T>,
    ) -> io::Result<T> {
        let masked = ThreadUmask::set(umask & 0o777);
        let mode = if masked.is_some() { mode } else { mode & !umask };
        let other = self.is_root() && (caller.uid, caller.gid) != (self.uid, self.gid);
        let _ids = if other { Some(ThreadIds::take(self, caller)?) } else { None };
        make(mode)
    }
}

/// This thread's umask, put back to [`OWN_UMASK`] on drop.
struct ThreadUmask;

thread_local! {
    /// Does this thread have a umask of its own? `None` until tried.
    static OWN_FS: Cell<Option<bool>> = const { Cell::new(None) };
}

impl ThreadUmask {
    /// `None` where the thread shares its umask with others (a sandbox that forbids `unshare`): the caller masks
    /// the mode itself then, and default ACLs lose their precedence over the umask.
    fn set(umask: u32) -> Option<ThreadUmask> {
        let own = OWN_FS.get().unwrap_or_else(|| {
            // SAFETY: no pointers; gives this thread its own umask and working directory.
            let own = unsafe { libc::unshare(libc::CLONE_FS) } == 0;
            if !own {
                log::warn!(
                    "cannot unshare thread attributes: umask is applied without regard to default ACLs"
                );
            }
            OWN_FS.set(Some(own));
            own
        });
        own.then(|| {
            // SAFETY: no pointers, never fails.
            unsafe { libc::umask(umask) };
            ThreadUmask
        })
    }
}

impl Drop for ThreadUmask {
    fn drop(&mut self) {
        // SAFETY: no pointers, never fails.
        unsafe { libc::umask(OWN_UMASK) };
    }
}

/// This thread acts as another user on the lower filesystem until dropped.
struct ThreadIds {
    daemon: Daemon,
}

impl ThreadIds {
    fn take(daemon: Daemon, caller: &Caller) -> io::Result<ThreadIds> {
        let capabilities = Capabilities::of_thread()?;
        set_fs_ids(caller.uid, caller.gid);
        let ids = ThreadIds { daemon };
        if current_fs_ids() != (caller.uid, caller.gid) {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        if caller.uid != 0 {
            // Becoming an ordinary user dropped the override of permission checks. The kernel checked them
            // already (`default_permissions`), with supplementary groups that this thread does not have.
            capabilities.raise()?;
        }
        Ok(ids)
    }
}

impl Drop for ThreadIds {
    fn drop(&mut self) {
        set_fs_ids(self.daemon.uid, self.daemon.gid);
    }
}

/// Group first: as an ordinary user the thread may not choose its group any more.
fn set_fs_ids(uid: u32, gid: u32) {
    // Raw system calls, because libc's wrappers of other id calls change every thread.
    // SAFETY: no pointers; both only affect the calling thread and report no error.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, gid);
        libc::syscall(libc::SYS_setfsuid, uid);
    }
}

/// The kernel answers the current id to a change it refuses.
fn current_fs_ids() -> (u32, u32) {
    // SAFETY: no pointers; -1 is never a valid id, so nothing changes.
    unsafe { (libc::syscall(libc::SYS_setfsuid, -1) as u32, libc::syscall(libc::SYS_setfsgid, -1) as u32) }
}

/// `struct __user_cap_header_struct` of capget(2).
#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct[2]` of capget(2): a thread's capability sets.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Capabilities([CapData; 2]);

#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

thread_local! {
    static CAPABILITIES: Cell<Option<Capabilities>> = const { Cell::new(None) };
}

impl Capabilities {
    const VERSION_3: u32 = 0x2008_0522;

    /// The sets this thread had when it first asked; they only change by [`ThreadIds`].
    fn of_thread() -> io::Result<Capabilities> {
        if let Some(known) = CAPABILITIES.get() {
            return Ok(known);
        }
        let mut header = CapHeader { version: Self::VERSION_3, pid: 0 };
        let mut sets = Capabilities::default();
        // SAFETY: version 3 fills exactly two data structs, which `sets` has room for.
        if unsafe { libc::syscall(libc::SYS_capget, &mut header, &mut sets) } != 0 {
            return Err(io::Error::last_os_error());
        }
        CAPABILITIES.set(Some(sets));
        Ok(sets)
    }

    /// Makes these the calling thread's sets.
    fn raise(&self) -> io::Result<()> {
        let mut header = CapHeader { version: Self::VERSION_3, pid: 0 };
        // SAFETY: version 3 reads exactly two data structs, which `self` holds.
        match unsafe { libc::syscall(libc::SYS_capset, &mut header, self) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_created_file_obeys_the_callers_umask_and_ids() {
        let dir = tempfile::tempdir().unwrap();
        let daemon = Daemon::current();
        let caller = match daemon.is_root() {
            true => Caller { uid: 12345, gid: 54321, pid: 1 },
            false => Caller { uid: daemon.uid, gid: daemon.gid, pid: 1 },
        };
        let path = dir.path().join("f");
        let make = |mode| {
            std::os::unix::fs::OpenOptionsExt::mode(
                std::fs::OpenOptions::new().write(true).create_new(true),
                mode,
            )
            .open(&path)
        };
        daemon.create_as(&caller, 0o666, 0o027, make).unwrap();
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (caller.uid, caller.gid, 0o640));
        assert_eq!(current_fs_ids(), (daemon.uid, daemon.gid));
        // Root again, with all its rights: a directory nobody else may enter is no obstacle.
        std::fs::write(dir.path().join("g"), b"").unwrap();
        assert_eq!(std::fs::metadata(dir.path().join("g")).unwrap().uid(), daemon.uid);
    }
}
