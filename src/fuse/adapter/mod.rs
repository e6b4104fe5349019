//! Between fuser and [`fs::Filesystem`]: every request goes through the guard to one method, and its outcome into one
//! reply. Nothing is decided here but what the kernel may cache.
//!
//! The requests themselves are in `requests`. Those that may have to wait for a KMS do so in `waiting`.

mod requests;
mod waiting;

use super::convert;
use super::guard::Guard;
use super::kernel;
use crate::fs::{self, Filesystem};
use fuser::{
    AccessFlags, Errno, FileHandle, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyCreate, ReplyData,
    ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use waiting::Waiting;

/// How long the kernel may answer from its caches. This mount alone changes the lower directory, and every
/// change passes through the kernel, which then knows; so nothing but memory pressure need end an entry.
const CACHED: Duration = Duration::from_secs(24 * 3600);

/// Inode numbers are the lower filesystem's, which may use one again; the kernel has forgotten it by then.
const GENERATION: Generation = Generation(0);

/// A reply that can also be an error.
trait Refuse {
    fn refuse(self, errno: i32);
}

macro_rules! refuse {
    ($($reply:ty),*) => {$(
        impl Refuse for $reply {
            fn refuse(self, errno: i32) {
                self.error(Errno::from_i32(errno));
            }
        }
    )*};
}

refuse!(ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty, ReplyEntry);
refuse!(ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr);

/// A mounted filesystem as fuser wants it.
pub(crate) struct Adapter {
    fs: Arc<Filesystem>,
    guard: Arc<Guard>,
    terms: kernel::Terms,
    /// Threads for requests that may wait for a KMS; none where all keys are in this process.
    waiting: Option<Waiting>,
}

impl Adapter {
    /// `threads` take requests from the kernel. `kernel_checks`: see [`super::mount::Mounted::kernel_checks`].
    ///
    /// # Errors
    /// What is needed for threads cannot be had.
    pub(crate) fn new(
        fs: Arc<Filesystem>,
        guard: Arc<Guard>,
        threads: usize,
        kernel_checks: bool,
    ) -> io::Result<Adapter> {
        let waiting = fs.may_wait_for_keys().then(|| Waiting::new(threads)).transpose()?;
        Ok(Adapter { fs, guard, terms: kernel::Terms { kernel_checks, direct_io: false }, waiting })
    }

    /// Does `work`, then replies: `answer` with its value, an error otherwise. The filesystem holds no lock
    /// by then, so the kernel's next request may arrive before this one has returned.
    fn serve<R: Refuse, T>(
        &self,
        operation: &str,
        ino: INodeNo,
        reply: R,
        work: impl FnOnce(&Filesystem) -> fs::Result<T>,
        answer: impl FnOnce(R, T),
    ) {
        serve(&self.fs, &self.guard, (operation, ino), reply, work, answer);
    }

    /// As [`Adapter::serve`], for a request that may have to wait for a KMS, unless it goes `at_once`: it does so where it
    /// keeps no other request waiting.
    fn serve_waiting<R: Refuse + Send + 'static, T>(
        &self,
        at_once: impl FnOnce(&Filesystem) -> bool,
        (operation, ino): (&'static str, INodeNo),
        reply: R,
        work: impl FnOnce(&Filesystem) -> fs::Result<T> + Send + 'static,
        answer: impl FnOnce(R, T) + Send + 'static,
    ) {
        let Some(waiting) = self.waiting.as_ref().filter(|_| !at_once(&self.fs)) else {
            return self.serve(operation, ino, reply, work, answer);
        };
        let stays = if self.fs.is_waiting_for_keys() { None } else { waiting.leave_to_stay() };
        match stays {
            Some(_stays) => self.serve(operation, ino, reply, work, answer),
            None => {
                let (fs, guard) = (Arc::clone(&self.fs), Arc::clone(&self.guard));
                waiting.spawn(move || serve(&fs, &guard, (operation, ino), reply, work, answer));
            }
        }
    }

    /// Whether the use of an open file may have to wait for a KMS.
    fn may_wait(&self, handle: FileHandle) -> bool {
        self.waiting.is_some() && !self.fs.has_key(handle.0)
    }

    /// [`Adapter::serve`] for what is answered by a name's attributes.
    fn serve_entry(
        &self,
        operation: &str,
        parent: INodeNo,
        reply: ReplyEntry,
        work: impl FnOnce(&Filesystem) -> fs::Result<fs::Attr>,
    ) {
        self.serve(operation, parent, reply, work, entry);
    }

    /// [`Adapter::serve`] for what is answered by success alone.
    fn serve_empty(
        &self,
        operation: &str,
        ino: INodeNo,
        reply: ReplyEmpty,
        work: impl FnOnce(&Filesystem) -> fs::Result<()>,
    ) {
        self.serve(operation, ino, reply, work, |reply, ()| reply.ok());
    }

    /// How the kernel is to treat a file opened with `flags`.
    fn open_flags(&self, flags: i32) -> FopenFlags {
        // Nothing is left to do at close, which would also force out pages of shared mappings.
        let always = FopenFlags::FOPEN_NOFLUSH | FopenFlags::FOPEN_KEEP_CACHE;
        let write_only = flags & libc::O_ACCMODE == libc::O_WRONLY;
        if self.terms.direct_io && (write_only || flags & libc::O_DIRECT != 0) {
            // Past the page cache. For O_DIRECT, only so do writes to one file run side by side. What a
            // write-only handle writes is not read through it; left out of the cache it needs no copy and no
            // question for security.capability, a request of its own for every new file.
            always | FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES
        } else {
            always
        }
    }
}

fn serve<R: Refuse, T>(
    fs: &Filesystem,
    guard: &Guard,
    (operation, ino): (&str, INodeNo),
    reply: R,
    work: impl FnOnce(&Filesystem) -> fs::Result<T>,
    answer: impl FnOnce(R, T),
) {
    match guard.run(operation, ino.0, || work(fs)) {
        Ok(value) => answer(reply, value),
        Err(errno) => reply.refuse(errno),
    }
}

/// Answers by a name's attributes.
fn entry(reply: ReplyEntry, attr: fs::Attr) {
    reply.entry(&CACHED, &convert::attr(&attr), GENERATION);
}

/// Root may do anything, except run what nobody may.
fn root_may(mode: u32, mask: AccessFlags) -> fs::Result<()> {
    let runnable = mode & libc::S_IFMT == libc::S_IFDIR || mode & 0o111 != 0;
    if runnable || !mask.contains(AccessFlags::X_OK) { Ok(()) } else { Err(fs::Error::Refused(libc::EACCES)) }
}

/// Room 0 asks how much there is; too little room is an error.
fn answer_xattr(reply: ReplyXattr, value: &[u8], room: u32) {
    match (room, u32::try_from(value.len())) {
        (0, Ok(len)) => reply.size(len),
        (room, Ok(len)) if len <= room => reply.data(value),
        _ => reply.refuse(libc::ERANGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_runs_only_what_someone_may_run() {
        let all = AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK;
        assert!(root_may(libc::S_IFREG, AccessFlags::R_OK | AccessFlags::W_OK).is_ok());
        assert!(root_may(libc::S_IFREG | 0o666, all).is_err());
        assert!(root_may(libc::S_IFREG | 0o001, all).is_ok());
        assert!(root_may(libc::S_IFDIR, all).is_ok());
    }
}
