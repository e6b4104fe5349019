//! Finding entries, and giving lookups back.

use super::Filesystem;
use super::dirfd::Dir;
use super::errno::{Error, Result};
use super::inode::{Inode, Link};
use super::types::{Attr, Ino};
use crate::volume::lower::Stat;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

impl Filesystem {
    /// Finds `name` in the directory `parent`. **+1**
    ///
    /// # Errors
    /// `ENOENT` where there is no such entry, `ENAMETOOLONG` for names over 255 bytes.
    pub fn lookup(&self, parent: Ino, name: &OsStr) -> Result<Attr> {
        let dir = self.dir(parent)?;
        let lower = self.lower_name(&dir, name)?;
        self.enter_existing(&dir, &lower.name)
    }

    /// Gives back `n` lookups of `ino`.
    pub fn forget(&self, ino: Ino, n: u64) {
        self.table.forget(ino, n);
    }

    /// Target of a symbolic link.
    ///
    /// # Errors
    /// `EINVAL` for anything else, `EIO` where the lower link's target was not made by kmsfs.
    pub fn readlink(&self, ino: Ino) -> Result<OsString> {
        let inode = self.inode(ino)?;
        if inode.kind != libc::S_IFLNK {
            return Err(Error::Refused(libc::EINVAL));
        }
        let sealed = self.reach(&inode, |place| self.lower.readlink(&place.dir, &place.name))?;
        Ok(self.keys.open_target(&sealed)?)
    }

    /// Counts one lookup of the entry `lower` of `dir`.
    pub(super) fn enter_existing(&self, dir: &Dir, lower: &OsStr) -> Result<Attr> {
        let _names = dir.inode.names.read();
        let st = self.lower.stat(&dir.fd, lower)?;
        let inode = self.table.remember(&st);
        inode.add_link(Link::new(&dir.inode, lower));
        Ok(self.attr(&inode, &st))
    }

    /// Counts one lookup of an entry that was made this moment, under the directory's name lock.
    pub(super) fn enter_new(&self, dir: &Dir, lower: &OsStr, st: &Stat) -> Arc<Inode> {
        let inode = self.table.remember_new(st);
        inode.add_link(Link::new(&dir.inode, lower));
        inode
    }

    /// The inode and attributes of the entry `lower` of `dir`, without counting a lookup; under its name lock.
    pub(super) fn peek(&self, dir: &Dir, lower: &OsStr) -> Result<(Arc<Inode>, Stat)> {
        let st = self.lower.stat(&dir.fd, lower)?;
        let inode = self.table.intern(&st);
        inode.add_link(Link::new(&dir.inode, lower));
        Ok((inode, st))
    }
}
