//! Entries that go: `unlink` and `rmdir`.
//!
//! An inode that the kernel still refers to is pinned before its last known name goes (see `inode`).
//! A directory holds at least its record, so it cannot be removed by one lower call. The order is:
//! rename to a hidden name, remove the record, `rmdir`. A crash in between leaves a hidden directory that is
//! swept away with its parent, and never a visible one without a record.

use super::Filesystem;
use super::dirfd::Dir;
use super::errno::{Error, Result};
use super::inode::{Inode, Link, lock_names};
use super::naming::temporary_name;
use super::types::Ino;
use crate::volume::lower::{Fd, LowerEntry};
use std::ffi::OsStr;
use std::sync::Arc;

impl Filesystem {
    /// Removes a name that is not a directory's.
    ///
    /// # Errors
    /// `EISDIR` for a directory.
    pub fn unlink(&self, parent: Ino, name: &OsStr) -> Result<()> {
        let dir = self.dir(parent)?;
        let lower = self.lower_name(&dir, name)?;
        let _names = dir.inode.names.write();
        let st = self.lower.stat(&dir.fd, &lower.name)?;
        if st.is_dir() {
            return Err(Error::Refused(libc::EISDIR));
        }
        let known = self.table.find_key(super::inode::LowerKey::of(&st));
        let pin = known.as_ref().and_then(|inode| self.pin(inode, &dir, &lower.name));
        self.lower.unlink(&dir.fd, &lower.name)?;
        self.drop_sidecar(&dir, &lower);
        if let Some(inode) = known {
            self.lost_name(&inode, &dir, &lower.name, pin);
        }
        Ok(())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOTDIR`, `ENOTEMPTY`.
    pub fn rmdir(&self, parent: Ino, name: &OsStr) -> Result<()> {
        let dir = self.dir(parent)?;
        let lower = self.lower_name(&dir, name)?;
        loop {
            let victim = {
                let _names = dir.inode.names.read();
                self.peek(&dir, &lower.name)?.0
            };
            if !victim.is_dir() {
                return Err(Error::Refused(libc::ENOTDIR));
            }
            let fd = self.dir_fd(&victim)?;
            let _names = lock_names(&[&dir.inode, &victim]);
            // Else it was renamed or removed while nothing was locked.
            if victim.has_link(&Link::new(&dir.inode, &lower.name)) {
                let own = self.own_entries(&fd)?;
                let hidden = temporary_name();
                self.lower.rename(&dir.fd, &lower.name, &dir.fd, &hidden, 0)?;
                if let Err(e) = self.destroy(&dir.fd, &hidden, &fd, &own) {
                    self.lower.rename(&dir.fd, &hidden, &dir.fd, &lower.name, libc::RENAME_NOREPLACE)?;
                    return Err(e);
                }
                self.drop_sidecar(&dir, &lower);
                self.dirs.remove(victim.ino);
                victim.remove_link(&dir.inode, &lower.name, Some(fd));
                return Ok(());
            }
        }
    }

    /// A descriptor that keeps `inode` reachable once `name` in `dir` is gone; `None` if other names will do.
    pub(super) fn pin(&self, inode: &Arc<Inode>, dir: &Dir, name: &OsStr) -> Option<Arc<Fd>> {
        if !inode.is_last_link(&dir.inode, name) {
            return None;
        }
        match self.lower.open(&dir.fd, name, libc::O_PATH, 0) {
            Ok(fd) => Some(Arc::new(fd)),
            Err(e) => {
                // Removing must go on even without descriptors left; only the removed file becomes unreachable.
                log::warn!("inode {} is removed and cannot be kept reachable: {e}", inode.ino);
                None
            }
        }
    }

    /// Notes that `name` in `dir` is no longer `inode`'s.
    pub(super) fn lost_name(&self, inode: &Arc<Inode>, dir: &Dir, name: &OsStr, pin: Option<Arc<Fd>>) {
        inode.remove_link(&dir.inode, name, pin);
        self.touched(inode);
    }

    /// Removes the directory that `rename` replaced and moved to `hidden`. It is gone from sight already, so what
    /// resists is left behind hidden.
    pub(super) fn destroy_replaced(&self, dir: &Dir, hidden: &OsStr, fd: &Fd, own: &[LowerEntry]) {
        if let Err(e) = self.destroy(&dir.fd, hidden, fd, own) {
            log::warn!("left {} behind: {e}", hidden.display());
        }
    }
}
