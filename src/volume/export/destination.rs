//! Where an export goes: a directory of its own, written through open directories only.
//!
//! While it is being filled, the directory `.kmsfs-export.<hex>.unfinished` in it holds the file that is being written,
//! and says to whoever finds it after a crash that not everything is there. It goes when everything is durable.

use super::super::lower::{Fd, Lower, SetTime, SystemLower, open_root};
use super::super::names::LOST_FOUND;
use super::super::xattrs::is_acl;
use super::{Metadata, UnsetCounts};
use crate::crypto::random;
use crate::volume::tree;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const MARK: &str = ".kmsfs-export.";
const MARK_END: &str = ".unfinished";

/// Until it is complete, an export is its owner's alone.
const PRIVATE_DIRECTORY: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;
const PERMISSIONS: u32 = 0o7777;
const SET_IDS: u32 = libc::S_ISUID | libc::S_ISGID;

/// A directory that is being filled.
#[derive(Debug)]
pub struct Destination {
    calls: SystemLower,
    root: Fd,
    mark: OsString,
    /// The directory that `mark` names.
    staging: Fd,
    staged: AtomicU64,
}

/// What an attempt to prepare a destination found.
pub enum Prepared {
    /// It can be filled.
    Ready(Destination),
    /// Something is there already.
    Occupied {
        /// An export that did not come to its end.
        unfinished: bool,
    },
}

/// Would nothing else be written either?
pub(super) fn is_final(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    matches!(
        errno,
        Some(
            libc::ENOSPC
                | libc::EDQUOT
                | libc::EROFS
                | libc::EIO
                | libc::ESTALE
                | libc::EMFILE
                | libc::ENFILE
        )
    )
}

impl Destination {
    /// Makes `path`, or takes it if it is empty.
    ///
    /// # Errors
    /// It is no directory, or cannot be made or written.
    pub fn prepare(path: &Path) -> io::Result<Prepared> {
        let calls = SystemLower;
        match std::fs::DirBuilder::new().create(path) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(err),
            _ => {}
        }
        let root = open_root(path)?;
        let names = calls.read_dir(&root)?.into_iter().map(|entry| entry.name);
        let there: Vec<_> = names.filter(|name| name != "." && name != ".." && name != LOST_FOUND).collect();
        if !there.is_empty() {
            let unfinished = there.iter().any(|name| {
                name.as_bytes().starts_with(MARK.as_bytes()) && name.as_bytes().ends_with(MARK_END.as_bytes())
            });
            return Ok(Prepared::Occupied { unfinished });
        }
        calls.chmod(&root, PRIVATE_DIRECTORY)?;
        let id = u64::from_le_bytes(random::array());
        let mark = OsString::from(format!("{MARK}{id:016x}{MARK_END}"));
        let staging = make_directory(&calls, &root, &mark)?;
        calls.fsync(&root)?;
        Ok(Prepared::Ready(Destination { calls, root, mark, staging, staged: AtomicU64::new(0) }))
    }

    /// The directory itself.
    pub(super) fn root(&self) -> io::Result<Fd> {
        self.calls.open(&self.root, OsStr::new("."), libc::O_PATH | libc::O_DIRECTORY, 0)
    }

    /// The directory `path` below it.
    pub(super) fn open(&self, path: &Path) -> io::Result<Fd> {
        tree::open_dir(&self.calls, &self.root, path)
    }

    /// Makes a directory; its metadata come later.
    pub(super) fn make_directory(&self, dir: &Fd, name: &OsStr) -> io::Result<Fd> {
        make_directory(&self.calls, dir, name)
    }

    /// Makes an empty file under a temporary name.
    pub(super) fn stage(&self) -> io::Result<Staged<'_>> {
        let name = OsString::from(self.staged.fetch_add(1, Ordering::Relaxed).to_string());
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        let fd = self.calls.open(&self.staging, &name, flags, PRIVATE_FILE)?;
        Ok(Staged { destination: self, fd, name, placed: false })
    }

    /// Makes a symbolic link.
    pub(super) fn make_symlink(&self, dir: &Fd, name: &OsStr, target: &OsStr) -> io::Result<()> {
        self.calls.symlink(target, dir, name)
    }

    /// Makes a FIFO, socket or device node.
    pub(super) fn make_special(&self, dir: &Fd, name: &OsStr, kind: u32, device: u64) -> io::Result<()> {
        self.calls.mknod(dir, name, kind | PRIVATE_FILE, device)
    }

    /// Gives what is `first` a further name.
    pub(super) fn link(&self, first: &Path, dir: &Path, name: &OsStr) -> io::Result<()> {
        let missing = || io::Error::from_raw_os_error(libc::ENOENT);
        let first_dir = self.open(first.parent().unwrap_or(Path::new("")))?;
        let first_name = first.file_name().ok_or_else(missing)?;
        self.calls.link(&first_dir, first_name, &self.open(dir)?, name)
    }

    /// Gives `name` in `dir` its owner, attributes, mode and times, and counts what it cannot be given. In this order:
    /// a change of owner takes set-id bits away, an ACL goes with the mode, and every change but that of times is one.
    ///
    /// # Errors
    /// Those after which nothing else could be written either.
    pub(super) fn settle(
        &self,
        dir: &Fd,
        name: &OsStr,
        metadata: &Metadata,
        unset: &UnsetCounts,
    ) -> io::Result<()> {
        let (calls, wanted) = (&self.calls, &metadata.stat);
        let found = calls.stat(dir, name)?;
        let mut owned = true;
        if (found.uid, found.gid) != (wanted.uid, wanted.gid) {
            let own = calls.chown_at(dir, name, Some(wanted.uid), Some(wanted.gid));
            owned = count(own, &unset.owners)?;
            if !owned {
                // Of groups that the user is in, one may still be given; it was counted already.
                let _ = calls.chown_at(dir, name, None, Some(wanted.gid));
            }
        }
        for (attribute, value) in &metadata.attributes {
            let counter = if is_acl(attribute) { &unset.acls } else { &unset.attributes };
            count(calls.set_xattr(dir, name, attribute, value, 0), counter)?;
        }
        if !wanted.is_symlink() {
            // With another owner they would lend somebody else's rights.
            let mode = if owned { wanted.mode } else { wanted.mode & !SET_IDS };
            count(calls.chmod_at(dir, name, mode & PERMISSIONS), &unset.modes)?;
        }
        let times = (SetTime::At(wanted.atime), SetTime::At(wanted.mtime));
        count(calls.utimens_at(dir, name, times.0, times.1), &unset.times)?;
        Ok(())
    }

    /// Makes everything durable and takes the mark away; then `metadata` become the directory's own.
    ///
    /// # Errors
    /// Those of the filesystem; the mark stays then, unless all is there.
    pub(super) fn finish(&self, metadata: Option<&Metadata>, unset: &UnsetCounts) -> io::Result<()> {
        self.calls.sync_all(&self.root)?;
        self.calls.rmdir(&self.root, &self.mark)?;
        if let Some(metadata) = metadata {
            self.settle(&self.root, OsStr::new("."), metadata, unset)?;
        }
        self.calls.fsync(&self.root)
    }
}

/// Counts a refusal, and says whether there was none.
fn count(done: io::Result<()>, refusals: &AtomicU64) -> io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if is_final(&error) => Err(error),
        Err(_) => {
            refusals.fetch_add(1, Ordering::Relaxed);
            Ok(false)
        }
    }
}

fn make_directory(calls: &SystemLower, dir: &Fd, name: &OsStr) -> io::Result<Fd> {
    calls.mkdir(dir, name, PRIVATE_DIRECTORY)?;
    calls.open(dir, name, libc::O_PATH | libc::O_DIRECTORY, 0)
}

/// A file under its temporary name. Dropped before it is placed, it is gone.
pub(super) struct Staged<'a> {
    destination: &'a Destination,
    fd: Fd,
    name: OsString,
    placed: bool,
}

impl Staged<'_> {
    /// Writes `bytes` at `at`.
    pub(super) fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.destination.calls.pwrite(&self.fd, bytes, at)
    }

    /// Gives the file its length and `metadata`, and puts it at `name` in `dir`.
    ///
    /// # Errors
    /// `EEXIST` if something is there already; those of the filesystem.
    pub(super) fn place(
        mut self,
        len: u64,
        metadata: &Metadata,
        (dir, name): (&Fd, &OsStr),
        unset: &UnsetCounts,
    ) -> io::Result<()> {
        let Destination { calls, staging, .. } = self.destination;
        if calls.fstat(&self.fd)?.size != len {
            calls.truncate(&self.fd, len)?;
        }
        self.destination.settle(staging, &self.name, metadata, unset)?;
        match calls.rename(staging, &self.name, dir, name, libc::RENAME_NOREPLACE) {
            // Not every filesystem can refuse to replace. Nobody else makes anything here.
            Err(err) if err.raw_os_error() == Some(libc::EINVAL) => {
                if calls.stat(dir, name).is_ok() {
                    return Err(io::Error::from_raw_os_error(libc::EEXIST));
                }
                calls.rename(staging, &self.name, dir, name, 0)?;
            }
            done => done?,
        }
        self.placed = true;
        Ok(())
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if self.placed {
            return;
        }
        if let Err(err) = self.destination.calls.unlink(&self.destination.staging, &self.name) {
            log::warn!("a file that was not completed stays in {}: {err}", self.destination.mark.display());
        }
    }
}
