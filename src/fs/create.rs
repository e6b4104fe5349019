//! New entries: files, special files, links, directories.
//!
//! Each is made by one lower call under its final name, as the caller, so that it exists whole or not at all;
//! a directory, which needs its record inside, is made under a hidden name and renamed into place:
//!
//! 1. `mkdir kmsfs.tmp.<random>` in the parent, so that its default ACL and set-group-id bit are inherited
//! 2. the record is written in it and set on its way to the disk
//! 3. `rename` to the final name
//!
//! A crash before 3 leaves a hidden directory that is swept away with its parent; after 3 the directory has its
//! record, and the next fsync of anything makes the record durable first.

use super::Filesystem;
use super::dirfd::{Dir, Place};
use super::errno::{Error, Result};
use super::handle::OpenFile;
use super::inode::{DirId, Inode, Link, LowerKey, lock_names};
use super::naming::temporary_name;
use super::types::{Attr, Caller, Handle, Ino};
use crate::keys::NO_ZONE;
use crate::volume::dirrec::{RECORD, Record};
use crate::volume::lower::{Fd, Stat};
use crate::volume::names::LowerName;
use crate::volume::store::Prepared;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

impl Filesystem {
    /// Makes (or, without `O_EXCL`, finds) a regular file and opens it. **+1**
    ///
    /// # Errors
    /// `EEXIST` with `O_EXCL`; the errors of [`Filesystem::open`] without; `ENOKEY` where the KMS gives no key.
    pub fn create(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
    ) -> Result<(Attr, Handle)> {
        match self.make_file(caller, parent, name, mode, umask) {
            Ok((attr, open)) => Ok((attr, self.handles.add_file(open))),
            Err(e) if e.errno() == libc::EEXIST && flags & libc::O_EXCL == 0 => {
                let ino = self.lookup(parent, name)?.ino;
                let found = self.open(ino).and_then(|handle| {
                    // The kernel takes the file for a new one and does not cut it itself.
                    if flags & libc::O_TRUNC != 0 {
                        self.handles.file(handle)?.file().set_len(0)?;
                    }
                    Ok((self.getattr(ino, Some(handle))?, handle))
                });
                found.inspect_err(|_| self.forget(ino, 1))
            }
            Err(e) => Err(e),
        }
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
        match mode & libc::S_IFMT {
            0 | libc::S_IFREG => Ok(self.make_file(caller, parent, name, mode & 0o7777, umask)?.0),
            libc::S_IFIFO | libc::S_IFSOCK | libc::S_IFCHR | libc::S_IFBLK => {
                self.make(parent, name, |dir, lower| {
                    self.daemon
                        .create_as(caller, mode, umask, |mode| self.lower.mknod(dir, lower, mode, rdev))
                })
            }
            _ => Err(Error::Refused(libc::EINVAL)),
        }
    }

    /// Makes a symbolic link. **+1**
    ///
    /// # Errors
    /// `ENAMETOOLONG` where the sealed target is longer than the lower filesystem takes.
    pub fn symlink(&self, caller: &Caller, parent: Ino, name: &OsStr, target: &OsStr) -> Result<Attr> {
        if target.is_empty() {
            return Err(Error::Refused(libc::ENOENT));
        }
        if target.as_bytes().len() >= libc::PATH_MAX as usize {
            return Err(Error::Refused(libc::ENAMETOOLONG));
        }
        let sealed = self.keys.seal_target(target);
        self.make(parent, name, |dir, lower| {
            self.daemon.create_as(caller, 0o777, 0, |_| self.lower.symlink(&sealed, dir, lower))
        })
    }

    /// Makes a hard link. **+1** A file linked into another zone is then of that zone, under all its names.
    ///
    /// # Errors
    /// `EPERM` for a directory, `EEXIST`, `EMLINK` where the lower filesystem has no room for another.
    pub fn link(&self, ino: Ino, new_parent: Ino, new_name: &OsStr) -> Result<Attr> {
        let inode = self.inode(ino)?;
        if inode.is_dir() {
            return Err(Error::Refused(libc::EPERM));
        }
        let dir = self.dir(new_parent)?;
        let lower = self.lower_name(&dir, new_name)?;
        let mut open = None;
        loop {
            let source = inode.first_link();
            let from = match &source {
                Some(link) => self.dir_fd(&link.parent)?,
                None => inode.pin().ok_or(Error::Refused(libc::ESTALE))?,
            };
            let parent = source.as_ref().map_or(&dir.inode, |link| &link.parent);
            let names = lock_names(&[parent, &dir.inode]);
            // Else the source was renamed, or lost its last name, while nothing was locked.
            if source.as_ref().map_or_else(|| inode.first_link().is_none(), |link| inode.has_link(link)) {
                let name = source.as_ref().map_or(OsStr::new(""), |link| &link.name);
                let zone = dir.inode.zone();
                // Under which key it is now is not told by the name it was found by: it may have others.
                let there = Place { dir: Arc::clone(&from), name: name.into() };
                if inode.is_file() && self.has_zones() && self.zone_of_file(&inode, &there)? != Some(zone) {
                    let Some(open) = &open else {
                        // Not while names are locked.
                        drop(names);
                        open = Some(self.open_file(&inode)?);
                        continue;
                    };
                    OpenFile::enter_zone(open, &zone)?;
                }
                return self.link_from(&inode, &from, name, &dir, &lower);
            }
        }
    }

    fn link_from(
        &self,
        inode: &Inode,
        from: &Fd,
        name: &OsStr,
        dir: &Dir,
        lower: &LowerName,
    ) -> Result<Attr> {
        self.with_sidecar(dir, lower, || self.lower.link(from, name, &dir.fd, &lower.name))?;
        let st = self.lower.stat(&dir.fd, &lower.name)?;
        if LowerKey::of(&st) != inode.key {
            return Err(Error::Refused(libc::ESTALE));
        }
        let linked = self.table.remember(&st);
        linked.add_link(Link::new(&dir.inode, &lower.name));
        self.touched(&linked);
        self.note_move();
        Ok(self.attr(&linked, &st))
    }

    /// Makes a directory. **+1**
    pub fn mkdir(&self, caller: &Caller, parent: Ino, name: &OsStr, mode: u32, umask: u32) -> Result<Attr> {
        let dir = self.dir(parent)?;
        let lower = self.lower_name(&dir, name)?;
        let _names = dir.inode.names.write();
        if exists(self.lower.stat(&dir.fd, &lower.name))? {
            return Err(Error::Refused(libc::EEXIST));
        }
        let hidden = temporary_name();
        self.daemon
            .create_as(caller, mode & 0o7777, umask, |mode| self.lower.mkdir(&dir.fd, &hidden, mode))?;
        let made = self.fill_directory(&dir, &hidden).and_then(|(fd, id)| {
            self.with_sidecar(&dir, &lower, || self.lower.rename(&dir.fd, &hidden, &dir.fd, &lower.name, 0))?;
            Ok((self.lower.fstat(&fd)?, fd, id))
        });
        let (st, fd, id) = made.inspect_err(|_| self.sweep(&dir.fd, &hidden))?;
        let inode = self.enter_new(&dir, &lower.name, &st);
        inode.dir_id.get_or_init(|| id);
        self.dirs.put(inode.ino, &Arc::new(fd));
        Ok(self.attr(&inode, &st))
    }

    /// Gives the new directory `hidden` its record.
    fn fill_directory(&self, parent: &Dir, hidden: &OsStr) -> Result<(Fd, DirId)> {
        let fd = self.lower.open(&parent.fd, hidden, libc::O_PATH | libc::O_DIRECTORY, 0)?;
        let id = crate::crypto::random::array();
        let record = Record { id, parent: parent.id, previous: [0; 16], zone: NO_ZONE };
        let record = self.keys.seal_record(&record);
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        let file = self.with_owner_access(&fd, || self.lower.open(&fd, OsStr::new(RECORD), flags, 0o644))?;
        self.lower.pwrite(&file, &record, 0)?;
        self.store.pending().add(file)?;
        Ok((fd, id))
    }

    /// Removes a directory that could not be finished. What resists stays hidden.
    fn sweep(&self, parent: &Fd, hidden: &OsStr) {
        let swept = self.lower.open(parent, hidden, libc::O_PATH | libc::O_DIRECTORY, 0).map_err(Error::from);
        let swept = swept.and_then(|fd| self.destroy(parent, hidden, &fd, &self.own_entries(&fd)?));
        if let Err(e) = swept {
            log::warn!("left {} behind: {e}", hidden.display());
        }
    }

    /// Makes an entry other than a file or directory by one lower call.
    fn make(
        &self,
        parent: Ino,
        name: &OsStr,
        call: impl FnOnce(&Fd, &OsStr) -> io::Result<()>,
    ) -> Result<Attr> {
        let dir = self.dir(parent)?;
        let lower = self.lower_name(&dir, name)?;
        let _names = dir.inode.names.write();
        self.with_sidecar(&dir, &lower, || call(&dir.fd, &lower.name))?;
        let st = self.lower.stat(&dir.fd, &lower.name)?;
        let inode = self.enter_new(&dir, &lower.name, &st);
        Ok(self.attr(&inode, &st))
    }

    /// Makes an empty regular file and opens it; counts one lookup.
    fn make_file(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &OsStr,
        mode: u32,
        umask: u32,
    ) -> Result<(Attr, OpenFile)> {
        let dir = self.dir(parent)?;
        let lower = self.lower_name(&dir, name)?;
        // Made while no name is locked, since a KMS that does not answer must not keep others out of the directory.
        let (prepared, _names) = loop {
            let prepared = self.store.prepare(&dir.inode.zone())?;
            let names = dir.inode.names.write();
            if self.store.is_current(&prepared, &dir.inode.zone()) {
                break (prepared, names);
            }
        };
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        let fd = self.with_sidecar(&dir, &lower, || {
            self.daemon.create_as(caller, mode & 0o7777, umask, |mode| {
                self.lower.open(&dir.fd, &lower.name, flags, mode)
            })
        })?;
        self.begin_file(&dir, &lower.name, fd, prepared).inspect_err(|_| {
            // A file without a header is of no use to anybody.
            if let Err(e) = self.lower.unlink(&dir.fd, &lower.name) {
                log::warn!("left an empty lower file {} behind: {e}", lower.name.display());
            }
            self.drop_sidecar(&dir, &lower);
        })
    }

    fn begin_file(&self, dir: &Dir, lower: &OsStr, fd: Fd, prepared: Prepared) -> Result<(Attr, OpenFile)> {
        let st: Stat = self.lower.fstat(&fd)?;
        let inode = self.enter_new(dir, lower, &st);
        let made = self.store.create(inode.key.pair(), fd, Arc::clone(&inode) as _, prepared);
        let begun = made.and_then(|file| {
            // Only now: writing the header moved the times.
            let st = self.lower.fstat(file.fd())?;
            Ok((self.attr(&inode, &st), OpenFile::new(Arc::clone(&inode), file)))
        });
        begun.map_err(|e| {
            inode.remove_link(&dir.inode, lower, None);
            self.forget(inode.ino, 1);
            e.into()
        })
    }

    /// Makes an entry by `call`, its sidecar before it. If it was there already, so was the sidecar.
    pub(super) fn with_sidecar<T>(
        &self,
        dir: &Dir,
        lower: &LowerName,
        call: impl FnOnce() -> io::Result<T>,
    ) -> Result<T> {
        self.add_sidecar(dir, lower)?;
        call().map_err(|e| {
            if e.raw_os_error() != Some(libc::EEXIST) {
                self.drop_sidecar(dir, lower);
            }
            e.into()
        })
    }
}

/// Did `stat` find something?
fn exists(stat: io::Result<Stat>) -> io::Result<bool> {
    match stat {
        Ok(_) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(e) => Err(e),
    }
}
