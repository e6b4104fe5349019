//! Listing directories.
//!
//! A listing is read whole when a pass over the directory begins, and offsets count its entries. So an offset
//! means the same while entries come and go; what was removed since is skipped where attributes are asked for.

use super::Filesystem;
use super::dirfd::Dir;
use super::errno::{Error, Result};
use super::handle::OpenDir;
use super::inode::LowerKey;
use super::naming::{EntryKind, entry_kind};
use super::types::{DirEntry, Handle, Ino, ROOT};
use crate::volume::lower::LowerEntry;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// The entries of one pass, kept small: a directory may hold a million.
pub(super) type Listing = Vec<LowerEntry>;

impl Filesystem {
    /// Opens a directory for listing.
    pub fn opendir(&self, ino: Ino) -> Result<Handle> {
        let inode = self.inode(ino)?;
        if !inode.is_dir() {
            return Err(Error::Refused(libc::ENOTDIR));
        }
        Ok(self.handles.add_dir(inode))
    }

    /// Lists from offset `from` (0: from the start, anew), `.` and `..` included, until the end or until `sink`
    /// answers `false`: that entry did not fit, is not counted, and will come again. With `plus`, entries other
    /// than `.` and `..` carry attributes and count **+1** each.
    ///
    /// No lock is held while `sink` runs.
    pub fn readdir(
        &self,
        handle: Handle,
        from: u64,
        plus: bool,
        sink: &mut dyn FnMut(DirEntry) -> bool,
    ) -> Result<()> {
        let open = self.handles.dir(handle)?;
        let dir = self.dir_of(&open.inode)?;
        let listing = self.listing(&open, &dir, from == 0)?;
        let rest = usize::try_from(from).unwrap_or(usize::MAX);
        for (index, entry) in listing.iter().enumerate().skip(rest) {
            let Some(entry) = self.entry(&dir, entry, index as u64 + 1, plus)? else { continue };
            let counted = entry.attr.map(|attr| attr.ino);
            if !sink(entry) {
                if let Some(ino) = counted {
                    self.forget(ino, 1);
                }
                break;
            }
        }
        Ok(())
    }

    /// Ends a directory handle.
    pub fn releasedir(&self, handle: Handle) {
        self.handles.remove(handle);
    }

    /// Makes a directory's entries durable, and all they stand on.
    pub fn fsyncdir(&self, handle: Handle, _data_only: bool) -> Result<()> {
        let open = self.handles.dir(handle)?;
        let fd = self.dir_fd(&open.inode)?;
        // Before the entries: what they stand on must not be missing under a name that is durable.
        self.store.pending().flush()?;
        Ok(self.lower.fsync(&fd)?)
    }

    fn listing(&self, open: &OpenDir, dir: &Dir, anew: bool) -> Result<Arc<Listing>> {
        let mut kept = open.listing.lock();
        match &*kept {
            Some(listing) if !anew => Ok(Arc::clone(listing)),
            _ => {
                let mut entries = self.with_owner_access(&dir.fd, || self.lower.read_dir(&dir.fd))?;
                entries.retain(|e| entry_kind(&e.name) != EntryKind::Own);
                entries.shrink_to_fit();
                let listing = Arc::new(entries);
                *kept = Some(Arc::clone(&listing));
                Ok(listing)
            }
        }
    }

    /// What a lower entry is to a reader; `None` if it is foreign, or gone.
    fn entry(&self, dir: &Dir, lower: &LowerEntry, next: u64, plus: bool) -> Result<Option<DirEntry>> {
        if entry_kind(&lower.name) == EntryKind::Dot {
            let ino = if lower.name.as_bytes() == b"." { dir.inode.ino } else { parent_of(dir) };
            let name = lower.name.clone();
            return Ok(Some(DirEntry { ino, kind: libc::DT_DIR, name, next, attr: None }));
        }
        let Some(name) = self.plain_name(dir, lower) else { return Ok(None) };
        let attr = match plus.then(|| self.enter_existing(dir, &lower.name)).transpose() {
            Ok(attr) => attr,
            Err(e) if e.errno() == libc::ENOENT => return Ok(None),
            Err(e) => return Err(e),
        };
        // An entry's number is that of its own device, but for a mount point in the lower directory.
        let key = LowerKey { dev: dir.inode.key.dev, ino: lower.ino };
        let ino = attr.map_or_else(|| self.table.number(key), |attr| attr.ino);
        Ok(Some(DirEntry { ino, kind: lower.kind, name, next, attr }))
    }
}

fn parent_of(dir: &Dir) -> Ino {
    dir.inode.first_link().map_or(ROOT, |link| link.parent.ino)
}
