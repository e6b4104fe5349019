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
//!
//! A file that moves into another zone is wrapped for it before it moves, durably: a crash in between leaves it in the
//! old place under the new key, where it opens all the same. A directory that moves between zones would take all that
//! is below along; that is refused with `EXDEV`, as Linux does between projects with quotas, and `mv` then copies.
//! An empty one may move, and one at which a zone begins, which goes on beginning there.

use super::Filesystem;
use super::dirfd::Dir;
use super::errno::{Error, Result};
use super::handle::OpenFile;
use super::inode::{Inode, Link, lock_names};
use super::naming::temporary_name;
use super::types::Ino;
use crate::keys::{NO_ZONE, ZoneId};
use crate::volume::dirrec::Record;
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

/// What a rename needs besides its two ends, made before those are locked.
#[derive(Default)]
struct Prepared {
    /// Directories that must be empty. Locked with the ends, so that their entries do not change from when they are
    /// found empty.
    dirs: Vec<Arc<Inode>>,
    /// Files that move between zones, open.
    files: Vec<OpenFile>,
}

impl Prepared {
    fn covers(&self, dirs: &[Arc<Inode>], files: &[Arc<Inode>]) -> bool {
        let has_dir = |dir| self.dirs.iter().any(|locked| Arc::ptr_eq(locked, dir));
        dirs.iter().all(has_dir) && files.iter().all(|file| self.file(file).is_some())
    }

    fn file(&self, inode: &Arc<Inode>) -> Option<&OpenFile> {
        self.files.iter().find(|open| Arc::ptr_eq(&open.inode, inode))
    }

    /// Wraps the key of `moved` for the zone of `to`, if that is in another than `from` and `moved` a file.
    fn move_to_zone(&self, from: &End, moved: &Arc<Inode>, to: &End) -> Result<()> {
        match (self.file(moved), crossed(from, to)) {
            (Some(open), Some(zone)) => open.enter_zone(&zone).map(drop),
            _ => Ok(()),
        }
    }

    /// Undoes that for a file that stays after all.
    fn move_back(&self, from: &End, stays: &Arc<Inode>) {
        let back = self.file(stays).map(|open| open.enter_zone(&from.dir.inode.zone()));
        if let Some(Err(e)) = back {
            log::warn!("inode {} stays where it is, under the key of another zone: {e}", stays.ino);
        }
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
    /// `EISDIR` as `rename(2)` has them; `EXDEV` for a directory that would take files into another zone; `ENOKEY` for
    /// a file that moves between zones, where one of the two KMSs gives no key.
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
        let mut prepared = Prepared::default();
        loop {
            let mut lock = vec![&from.dir.inode, &to.dir.inode];
            lock.extend(&prepared.dirs);
            let names = lock_names(&lock);
            let moved = self.peek(&from.dir, &from.lower.name)?.0;
            let target = self.target(&to, flags)?;
            if target.as_ref().is_some_and(|target| Arc::ptr_eq(target, &moved)) {
                // Two names of one file: rename(2) says to do nothing.
                return Ok(());
            }
            refuse_loops(&from, &to, &moved, target.as_ref(), flags)?;
            let dirs = to_be_empty(&from, &to, &moved, target.as_ref(), flags);
            let files = to_be_wrapped(&from, &to, &moved, target.as_ref(), flags);
            if !prepared.covers(&dirs, &files) {
                // Nothing of the kind may be done while names are locked.
                drop(names);
                for dir in dirs.iter().filter(|dir| flags != 0 || Arc::ptr_eq(dir, &moved)) {
                    self.dir_of(dir)?;
                }
                let files = files.iter().map(|file| self.open_file(file)).collect::<Result<_>>()?;
                prepared = Prepared { dirs, files };
                continue;
            }
            return match target {
                Some(target) if flags == libc::RENAME_EXCHANGE => {
                    self.exchange(&from, &to, &moved, &target, &prepared)
                }
                target => self.move_over(&from, &to, &moved, target, flags, &prepared),
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

    fn exchange(
        &self,
        from: &End,
        to: &End,
        moved: &Arc<Inode>,
        target: &Arc<Inode>,
        prepared: &Prepared,
    ) -> Result<()> {
        self.may_enter_zone(from, moved, to)?;
        self.may_enter_zone(to, target, from)?;
        prepared.move_to_zone(from, moved, to)?;
        if let Err(e) = prepared.move_to_zone(to, target, from) {
            prepared.move_back(from, moved);
            return Err(e);
        }
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
        prepared: &Prepared,
    ) -> Result<()> {
        let pin = match &target {
            Some(target) if target.is_dir() && !moved.is_dir() => return Err(Error::Refused(libc::EISDIR)),
            Some(target) if !target.is_dir() && moved.is_dir() => return Err(Error::Refused(libc::ENOTDIR)),
            Some(target) if !target.is_dir() => self.pin(target, &to.dir, &to.lower.name),
            _ => None,
        };
        let target_dir = target.as_ref().filter(|target| target.is_dir());
        let own = target_dir.map(|_| self.replaceable(to)).transpose()?;
        self.may_enter_zone(from, moved, to)?;
        prepared.move_to_zone(from, moved, to)?;
        self.announce_move(from, to, moved)?;
        let replaced = own.map(|(fd, own)| self.hide(to, fd, own)).transpose()?;
        let renamed = self.with_sidecar(&to.dir, &to.lower, || {
            self.lower.rename(&from.dir.fd, &from.lower.name, &to.dir.fd, &to.lower.name, flags)
        });
        if let Err(e) = renamed {
            prepared.move_back(from, moved);
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

    /// Refuses to move a directory, and all that is below with it, into another zone.
    fn may_enter_zone(&self, from: &End, moved: &Arc<Inode>, to: &End) -> Result<()> {
        if !takes_along(from, moved, to) {
            return Ok(());
        }
        let fd = self.lower.open(&from.dir.fd, &from.lower.name, libc::O_PATH | libc::O_DIRECTORY, 0)?;
        match self.own_entries(&fd) {
            Err(Error::Refused(libc::ENOTEMPTY)) => Err(Error::Refused(libc::EXDEV)),
            other => other.map(drop),
        }
    }

    /// Makes a directory's record valid in its new parent as well, durably.
    fn announce_move(&self, from: &End, to: &End, moved: &Arc<Inode>) -> Result<()> {
        if !moved.is_dir() || Arc::ptr_eq(&from.dir.inode, &to.dir.inode) {
            return Ok(());
        }
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let fd = self.lower.open(&from.dir.fd, &from.lower.name, flags, 0)?;
        let (parent, previous) = (to.dir.id, from.dir.id);
        self.change_record(moved, &fd, |record| Record { parent, previous, ..record })
    }

    /// Notes that `inode` now has the name `to` instead of `from`.
    fn moved(&self, inode: &Arc<Inode>, from: &End, to: &End) {
        // The new name first: without any the inode would be unreachable for a moment.
        inode.add_link(to.link());
        inode.remove_link(&from.dir.inode, &from.lower.name, None);
        self.touched(inode);
        self.note_move();
    }
}

/// The zone of `to`, if `from` is in another.
fn crossed(from: &End, to: &End) -> Option<ZoneId> {
    let zone = to.dir.inode.zone();
    (from.dir.inode.zone() != zone).then_some(zone)
}

/// Is `moved` a directory that would take what is below it into another zone?
fn takes_along(from: &End, moved: &Arc<Inode>, to: &End) -> bool {
    moved.is_dir() && crossed(from, to).is_some() && moved.own_zone() == NO_ZONE
}

/// The directories that must be empty for the rename, as far as that is known before their records are read.
fn to_be_empty(
    from: &End,
    to: &End,
    moved: &Arc<Inode>,
    target: Option<&Arc<Inode>>,
    flags: u32,
) -> Vec<Arc<Inode>> {
    let mut dirs = Vec::new();
    if takes_along(from, moved, to) {
        dirs.push(Arc::clone(moved));
    }
    match target {
        Some(target) if target.is_dir() && flags == 0 => dirs.push(Arc::clone(target)),
        Some(target) if flags == libc::RENAME_EXCHANGE && takes_along(to, target, from) => {
            dirs.push(Arc::clone(target));
        }
        _ => {}
    }
    dirs
}

/// The files that the rename brings into another zone.
fn to_be_wrapped(
    from: &End,
    to: &End,
    moved: &Arc<Inode>,
    target: Option<&Arc<Inode>>,
    flags: u32,
) -> Vec<Arc<Inode>> {
    if crossed(from, to).is_none() {
        return Vec::new();
    }
    let exchanged = target.filter(|_| flags == libc::RENAME_EXCHANGE);
    [Some(moved), exchanged].into_iter().flatten().filter(|inode| inode.is_file()).cloned().collect()
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
