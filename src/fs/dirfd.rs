//! Reaching lower files without walking paths: open directories, their ids, and where an inode is now.
//!
//! A bounded number of directories is kept open (`O_PATH`), the least recently used closed first; one that was
//! closed is opened again relative to its parent. So an operation on a file is one lower call relative to its
//! directory, however deep it lies, and a tree of any size needs few descriptors.

use super::Filesystem;
use super::errno::{Error, Result};
use super::inode::{DirId, Inode, Link, LowerKey};
use super::naming::{EntryKind, entry_kind, looks_encrypted};
use super::types::{Ino, ROOT};
use crate::volume::dirrec::{RECORD, Record};
use crate::volume::lower::{self, Fd, LowerEntry, Stat, open_own};
use crate::volume::{self, PathHint};
use lru::LruCache;
use parking_lot::Mutex;
use std::ffi::OsStr;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// An open directory whose record was read: all that names in it depend on.
#[derive(Clone)]
pub(super) struct Dir {
    pub(super) inode: Arc<Inode>,
    pub(super) fd: Arc<Fd>,
    pub(super) id: DirId,
}

/// Where an inode can be reached now: `name` in `dir`, or, if `name` is empty, `dir` itself.
pub(super) struct Place {
    pub(super) dir: Arc<Fd>,
    pub(super) name: Box<OsStr>,
}

/// The open directories.
pub(super) struct DirFds {
    open: Mutex<LruCache<Ino, Arc<Fd>>>,
}

impl DirFds {
    pub(super) fn new(capacity: NonZeroUsize) -> DirFds {
        DirFds { open: Mutex::new(LruCache::new(capacity)) }
    }

    fn get(&self, ino: Ino) -> Option<Arc<Fd>> {
        self.open.lock().get(&ino).cloned()
    }

    pub(super) fn put(&self, ino: Ino, fd: &Arc<Fd>) {
        // What had to go is closed after the lock is released.
        let evicted = self.open.lock().push(ino, Arc::clone(fd));
        drop(evicted);
    }

    /// Lets go of a directory that was removed: an open descriptor would keep its lower inode allocated.
    pub(super) fn remove(&self, ino: Ino) -> Option<Arc<Fd>> {
        self.open.lock().pop(&ino)
    }
}

impl Filesystem {
    /// The inode the kernel means by `ino`.
    pub(super) fn inode(&self, ino: Ino) -> Result<Arc<Inode>> {
        self.table.find(ino).ok_or(Error::Refused(libc::ESTALE))
    }

    /// The directory the kernel means by `ino`, open, its id known.
    pub(super) fn dir(&self, ino: Ino) -> Result<Dir> {
        self.dir_of(&self.inode(ino)?)
    }

    /// As [`Filesystem::dir`]. Takes name locks of directories above, so the caller must hold none.
    pub(super) fn dir_of(&self, inode: &Arc<Inode>) -> Result<Dir> {
        if !inode.is_dir() {
            return Err(Error::Refused(libc::ENOTDIR));
        }
        let fd = self.dir_fd(inode)?;
        let id = match inode.dir_id.get() {
            Some(id) => *id,
            None => {
                let record = self.load_checked(inode, &fd)?;
                *inode.dir_id.get_or_init(|| {
                    // Once only: it may have changed since the record was read, and been noted.
                    inode.set_own_zone(record.zone);
                    record.id
                })
            }
        };
        Ok(Dir { inode: Arc::clone(inode), fd, id })
    }

    /// An open descriptor of a directory.
    pub(super) fn dir_fd(&self, inode: &Arc<Inode>) -> Result<Arc<Fd>> {
        // A rename above may get in the way between two steps; it must not win for ever.
        const ATTEMPTS: usize = 64;
        for _ in 0..ATTEMPTS {
            let mut below: Vec<(Arc<Inode>, Link)> = Vec::new();
            let mut at = Arc::clone(inode);
            let mut fd = loop {
                if let Some(fd) = self.known_dir_fd(&at) {
                    break fd;
                }
                let link = at.first_link().ok_or(Error::Refused(libc::ESTALE))?;
                let parent = Arc::clone(&link.parent);
                below.push((at, link));
                at = parent;
            };
            loop {
                let Some((child, link)) = below.pop() else { return Ok(fd) };
                match self.open_child(&fd, &child, &link)? {
                    Some(opened) => fd = opened,
                    None => break,
                }
            }
        }
        Err(Error::Refused(libc::ESTALE))
    }

    fn known_dir_fd(&self, inode: &Inode) -> Option<Arc<Fd>> {
        if inode.ino == ROOT {
            return Some(Arc::clone(&self.root_fd));
        }
        self.dirs.get(inode.ino).or_else(|| inode.pin())
    }

    /// Opens a directory by its entry; `None` if it is not there any more because it was renamed meanwhile.
    fn open_child(&self, parent: &Fd, child: &Arc<Inode>, link: &Link) -> Result<Option<Arc<Fd>>> {
        let names = link.parent.names.read();
        if !child.has_link(link) {
            return Ok(None);
        }
        let fd = self.lower.open(parent, &link.name, libc::O_PATH | libc::O_DIRECTORY, 0)?;
        drop(names);
        if LowerKey::of(&self.lower.fstat(&fd)?) != child.key {
            // Somebody moved things about in the lower directory.
            return Err(Error::Refused(libc::ESTALE));
        }
        let fd = Arc::new(fd);
        self.dirs.put(child.ino, &fd);
        Ok(Some(fd))
    }

    /// Reads a directory's record and checks that it belongs where it lies, and that what lies in the directory
    /// was named under it: the record of a sibling names the right parent too.
    fn load_checked(&self, inode: &Arc<Inode>, fd: &Arc<Fd>) -> Result<Record> {
        let record = self.load_record(inode, fd)?;
        let dir = Dir { inode: Arc::clone(inode), fd: Arc::clone(fd), id: record.id };
        let entries = self.with_owner_access(fd, || self.lower.read_dir(fd))?;
        let ours = |e: &&LowerEntry| entry_kind(&e.name) == EntryKind::Named && looks_encrypted(&e.name);
        let mut named = entries.iter().filter(ours).peekable();
        if named.peek().is_some() && !named.any(|e| self.is_named_in(&dir, e)) {
            let path = inode.lower_path().unwrap_or_default().join(RECORD);
            let why = "no name beside it decrypts: the directory's record belongs to another directory";
            return Err(volume::Error::corrupt(path.join(RECORD).display(), why).into());
        }
        Ok(record)
    }

    fn load_record(&self, inode: &Arc<Inode>, fd: &Fd) -> Result<Record> {
        if inode.ino == ROOT {
            let record = self.read_record(inode, fd)?;
            if !record.is_root() {
                let why = "another directory of the volume was put in the place of its root";
                return Err(volume::Error::corrupt(RECORD, why).into());
            }
            return Ok(record);
        }
        loop {
            let Some(link) = inode.first_link() else { return self.read_record(inode, fd) };
            let parent = self.dir_of(&link.parent)?;
            let names = parent.inode.names.read();
            // A rename out of the parent changes the record, and waits for this lock.
            if !inode.has_link(&link) {
                continue;
            }
            let record = self.read_record(inode, fd)?;
            drop(names);
            if !record.belongs_in(&parent.id) {
                let path = inode.lower_path().unwrap_or_default();
                let why = "the directory's record names another parent directory";
                return Err(volume::Error::corrupt(path.join(RECORD).display(), why).into());
            }
            return Ok(record);
        }
    }

    /// Writes a directory's record anew, durably, as `change` makes it of what it is.
    ///
    /// The record lies within one sector and is written over in one write, so it is never torn. The caller sees to it
    /// that nobody else does the same with this directory.
    pub(super) fn change_record(
        &self,
        inode: &Inode,
        fd: &Fd,
        change: impl FnOnce(Record) -> Record,
    ) -> Result<()> {
        let sealed = self.keys.seal_record(&change(self.read_record(inode, fd)?));
        let name = OsStr::new(RECORD);
        let file = self.with_owner_access(fd, || self.lower.open(fd, name, libc::O_WRONLY, 0))?;
        self.lower.pwrite(&file, &sealed, 0)?;
        Ok(self.lower.fdatasync(&file)?)
    }

    /// Reads and authenticates a directory's record.
    pub(super) fn read_record(&self, inode: &Inode, fd: &Fd) -> Result<Record> {
        let corrupt = |why: &dyn std::fmt::Display| {
            let path = inode.lower_path().unwrap_or_default().join(RECORD);
            Error::from(volume::Error::corrupt(path.display(), why))
        };
        let name = OsStr::new(RECORD);
        let file = match self.with_owner_access(fd, || open_own(&*self.lower, fd, name)) {
            Ok(file) => file,
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {
                return Err(corrupt(&"the directory's record is missing"));
            }
            Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(corrupt(&e)),
            Err(e) => return Err(e.into()),
        };
        let mut sealed = [0u8; 512];
        let len = self.lower.pread(&file, &mut sealed, 0)?;
        self.keys.open_record(&sealed[..len]).map_err(|e| corrupt(&e))
    }

    /// Runs `act` with the place where `inode` is now. While it runs, the entry can neither be renamed nor
    /// removed through this filesystem, so `act` cannot hit another file that took the name.
    pub(super) fn reach<T>(
        &self,
        inode: &Arc<Inode>,
        act: impl FnOnce(&Place) -> io::Result<T>,
    ) -> Result<T> {
        loop {
            let itself = |dir| Place { dir, name: OsStr::new("").into() };
            if inode.ino == ROOT {
                return Ok(act(&itself(Arc::clone(&self.root_fd)))?);
            }
            let Some(link) = inode.first_link() else {
                let pin = inode.pin().ok_or(Error::Refused(libc::ESTALE))?;
                return Ok(act(&itself(pin))?);
            };
            let dir = self.dir_fd(&link.parent)?;
            let names = link.parent.names.read();
            if inode.has_link(&link) {
                let result = act(&Place { dir, name: link.name.clone() });
                drop(names);
                return Ok(result?);
            }
        }
    }

    /// What the lower filesystem says of `inode`.
    pub(super) fn stat(&self, inode: &Arc<Inode>) -> Result<Stat> {
        let st = self.reach(inode, |place| self.lower.stat(&place.dir, &place.name))?;
        if LowerKey::of(&st) != inode.key {
            return Err(Error::Refused(libc::ESTALE));
        }
        Ok(st)
    }

    /// [`lower::with_owner_access`]. The kernel has checked the caller's rights already, and a caller with a
    /// descriptor has them whatever the mode says now.
    pub(super) fn with_owner_access<T>(&self, fd: &Fd, act: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match act() {
            Err(e) if e.raw_os_error() == Some(libc::EACCES) && !self.daemon.is_root() => {}
            done => return done,
        }
        let _one_at_a_time = self.modes.lock();
        lower::with_owner_access(&*self.lower, fd, act)
    }
}
