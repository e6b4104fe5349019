//! `rename` in all its variants.
//!
//! Names are bound to the directory's id and not to its place, so moving a directory touches nothing below it.
//! What knows of its place is its record, which names its parent. It is made to name both, the new parent and
//! the one before, and is durable, before the lower rename: whichever of the two a crash leaves, the record is
//! valid there. If the rename then fails, that record stays as it is.
//!
//! A directory that is to be replaced holds at least its record, so the lower rename cannot replace it. The
//! order is: check that it is empty, rename it to a hidden name, rename the other into place, remove the hidden
//! one. A crash before the last step leaves a hidden directory that is swept away with its parent.

use super::Filesystem;
use super::dirfd::Dir;
use super::errno::{Error, Result};
use super::inode::{Inode, Link, lock_names};
use super::naming::temporary_name;
use super::types::Ino;
use crate::volume::dirrec::{RECORD, Record};
use crate::volume::lower::{Fd, LowerEntry};
use crate::volume::names::LowerName;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

/// One end of a rename.
struct End {
    dir: Dir,
    lower: LowerName,
}

impl End {
    fn link(&self) -> Link {
        Link::new(&self.dir.inode, &self.lower.name)
    }
}

/// A directory that is about to be replaced, out of sight.
struct Replaced {
    hidden: OsString,
    fd: Arc<Fd>,
    own: Vec<LowerEntry>,
}

impl Filesystem {
    /// Renames; `flags` may be `RENAME_NOREPLACE` or `RENAME_EXCHANGE`.
    ///
    /// # Errors
    /// `EINVAL` for any other flag and for a directory into its own subtree; `EEXIST`, `ENOTEMPTY`, `ENOTDIR`,
    /// `EISDIR` as `rename(2)` has them.
    pub fn rename(
        &self,
        parent: Ino,
        name: &OsStr,
        new_parent: Ino,
        new_name: &OsStr,
        flags: u32,
    ) -> Result<()> {
        if !matches!(flags, 0 | libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE) {
            return Err(Error::Refused(libc::EINVAL));
        }
        let from = self.end(parent, name)?;
        let to = self.end(new_parent, new_name)?;
        // Who is above whom must not change between the check and the rename.
        let _topology = (parent != new_parent).then(|| self.topology.lock());
        let mut replaced_dir = None;
        loop {
            let mut lock = vec![&from.dir.inode, &to.dir.inode];
            lock.extend(replaced_dir.as_ref());
            let names = lock_names(&lock);
            let moved = self.peek(&from.dir, &from.lower.name)?.0;
            let target = self.target(&to, flags)?;
            if let Some(target) = &target {
                if Arc::ptr_eq(target, &moved) {
                    // Two names of one file: rename(2) says to do nothing.
                    return Ok(());
                }
                let replaces = flags == 0 && target.is_dir();
                if replaces && !replaced_dir.as_ref().is_some_and(|dir| Arc::ptr_eq(dir, target)) {
                    // Its entries must not change while it is found empty and removed.
                    drop(names);
                    replaced_dir = Some(Arc::clone(target));
                    continue;
                }
            }
            refuse_loops(&from, &to, &moved, target.as_ref(), flags)?;
            return match target {
                Some(target) if flags == libc::RENAME_EXCHANGE => self.exchange(&from, &to, &moved, &target),
                target => self.move_over(&from, &to, &moved, target, flags),
            };
        }
    }

    fn end(&self, parent: Ino, name: &OsStr) -> Result<End> {
        let dir = self.dir(parent)?;
        let lower = self.lower_name(&dir, name)?;
        Ok(End { dir, lower })
    }

    /// What the new name stands for before the rename.
    fn target(&self, to: &End, flags: u32) -> Result<Option<Arc<Inode>>> {
        match self.peek(&to.dir, &to.lower.name) {
            Ok(_) if flags == libc::RENAME_NOREPLACE => Err(Error::Refused(libc::EEXIST)),
            Ok((target, _)) => Ok(Some(target)),
            Err(e) if e.errno() == libc::ENOENT && flags != libc::RENAME_EXCHANGE => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn exchange(&self, from: &End, to: &End, moved: &Arc<Inode>, target: &Arc<Inode>) -> Result<()> {
        self.announce_move(from, to, moved)?;
        self.announce_move(to, from, target)?;
        let (a, b) = (&from.lower.name, &to.lower.name);
        self.lower.rename(&from.dir.fd, a, &to.dir.fd, b, libc::RENAME_EXCHANGE)?;
        self.moved(moved, from, to);
        self.moved(target, to, from);
        Ok(())
    }

    fn move_over(
        &self,
        from: &End,
        to: &End,
        moved: &Arc<Inode>,
        target: Option<Arc<Inode>>,
        flags: u32,
    ) -> Result<()> {
        let pin = match &target {
            Some(target) if target.is_dir() && !moved.is_dir() => return Err(Error::Refused(libc::EISDIR)),
            Some(target) if !target.is_dir() && moved.is_dir() => return Err(Error::Refused(libc::ENOTDIR)),
            Some(target) if !target.is_dir() => self.pin(target, &to.dir, &to.lower.name),
            _ => None,
        };
        let target_dir = target.as_ref().filter(|target| target.is_dir());
        let own = target_dir.map(|_| self.replaceable(to)).transpose()?;
        self.announce_move(from, to, moved)?;
        let replaced = own.map(|(fd, own)| self.hide(to, fd, own)).transpose()?;
        let renamed = self.with_sidecar(&to.dir, &to.lower, || {
            self.lower.rename(&from.dir.fd, &from.lower.name, &to.dir.fd, &to.lower.name, flags)
        });
        if let Err(e) = renamed {
            self.unhide(to, target.is_some(), replaced)?;
            return Err(e);
        }
        self.drop_sidecar(&from.dir, &from.lower);
        self.moved(moved, from, to);
        match (target, replaced) {
            (Some(target), Some(replaced)) => {
                self.destroy_replaced(&to.dir, &replaced.hidden, &replaced.fd, &replaced.own);
                self.dirs.remove(target.ino);
                target.remove_link(&to.dir.inode, &to.lower.name, Some(replaced.fd));
            }
            (Some(target), None) => self.lost_name(&target, &to.dir, &to.lower.name, pin),
            (None, _) => {}
        }
        Ok(())
    }

    /// The directory at `to`, if it is empty.
    fn replaceable(&self, to: &End) -> Result<(Arc<Fd>, Vec<LowerEntry>)> {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let fd = self.lower.open(&to.dir.fd, &to.lower.name, flags, 0)?;
        let own = self.own_entries(&fd)?;
        Ok((Arc::new(fd), own))
    }

    fn hide(&self, to: &End, fd: Arc<Fd>, own: Vec<LowerEntry>) -> Result<Replaced> {
        let hidden = temporary_name();
        self.lower.rename(&to.dir.fd, &to.lower.name, &to.dir.fd, &hidden, 0)?;
        Ok(Replaced { hidden, fd, own })
    }

    /// Undoes what a failed rename prepared.
    fn unhide(&self, to: &End, target_existed: bool, replaced: Option<Replaced>) -> Result<()> {
        if let Some(replaced) = replaced {
            let (dir, back) = (&to.dir.fd, libc::RENAME_NOREPLACE);
            self.lower.rename(dir, &replaced.hidden, dir, &to.lower.name, back)?;
        }
        if target_existed {
            // The failed attempt took the sidecar along, and the entry it names stays.
            self.add_sidecar(&to.dir, &to.lower)?;
        }
        Ok(())
    }

    /// Makes a directory's record valid in its new parent as well, durably.
    ///
    /// The record lies within one sector and is written over in one write, so it is never torn.
    fn announce_move(&self, from: &End, to: &End, moved: &Arc<Inode>) -> Result<()> {
        if !moved.is_dir() || Arc::ptr_eq(&from.dir.inode, &to.dir.inode) {
            return Ok(());
        }
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let fd = self.lower.open(&from.dir.fd, &from.lower.name, flags, 0)?;
        let record = self.read_record(moved, &fd)?;
        let record = Record { id: record.id, parent: to.dir.id, previous: from.dir.id };
        let sealed = self.keys.seal_record(&record);
        let name = OsStr::new(RECORD);
        let file = self.with_owner_access(&fd, || self.lower.open(&fd, name, libc::O_WRONLY, 0))?;
        self.lower.pwrite(&file, &sealed, 0)?;
        Ok(self.lower.fdatasync(&file)?)
    }

    /// Notes that `inode` now has the name `to` instead of `from`.
    fn moved(&self, inode: &Arc<Inode>, from: &End, to: &End) {
        // The new name first: without any the inode would be unreachable for a moment.
        inode.add_link(to.link());
        inode.remove_link(&from.dir.inode, &from.lower.name, None);
        self.touched(inode);
    }
}

/// Refuses to move a directory below itself, and to replace a directory by something below it.
fn refuse_loops(
    from: &End,
    to: &End,
    moved: &Arc<Inode>,
    target: Option<&Arc<Inode>>,
    flags: u32,
) -> Result<()> {
    if Arc::ptr_eq(&from.dir.inode, &to.dir.inode) {
        return Ok(());
    }
    if moved.is_dir() && to.dir.inode.is_within(moved) {
        return Err(Error::Refused(libc::EINVAL));
    }
    if target.is_some_and(|target| target.is_dir() && from.dir.inode.is_within(target)) {
        let exchange = flags == libc::RENAME_EXCHANGE;
        return Err(Error::Refused(if exchange { libc::EINVAL } else { libc::ENOTEMPTY }));
    }
    Ok(())
}
