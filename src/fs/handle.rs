//! Open handles: what a number the kernel holds stands for.

use super::errno::{Error, Result};
use super::inode::Inode;
use super::readdir::Listing;
use super::types::Handle;
use crate::keys::ZoneId;
use crate::volume::file::File;
use crate::volume::lower::Fd;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An open regular file. Keeps its inode in the table, and tells the volume when the handle is closed.
pub(super) struct OpenFile {
    pub(super) inode: Arc<Inode>,
    file: Arc<File>,
}

impl OpenFile {
    /// A handle that the volume layer has counted already.
    pub(super) fn new(inode: Arc<Inode>, file: Arc<File>) -> OpenFile {
        OpenFile { inode, file }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn fd(&self) -> &Fd {
        self.file.fd()
    }

    /// Sees to it that the file's key is wrapped for `zone`, durably; returns whether it was not.
    pub(super) fn enter_zone(&self, zone: &ZoneId) -> Result<bool> {
        let elsewhere = self.file.slot().envelope.zone != *zone;
        if elsewhere {
            self.file.rewrap(zone)?;
        }
        Ok(elsewhere)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // Nobody is left to be told; the file stays live, and its length is sealed at the next checkpoint.
        if let Err(e) = self.file.close_handle() {
            log::error!("closing inode {}: {e}", self.inode.ino);
        }
    }
}

/// An open directory. What it lists is read once per pass, so that offsets hold while entries come and go.
pub(super) struct OpenDir {
    pub(super) inode: Arc<Inode>,
    pub(super) listing: Mutex<Option<Arc<Listing>>>,
}

#[derive(Clone)]
enum Open {
    File(Arc<OpenFile>),
    Dir(Arc<OpenDir>),
}

/// All open handles. Numbers are not used twice.
pub(super) struct Handles {
    next: AtomicU64,
    open: RwLock<HashMap<Handle, Open>>,
}

impl Handles {
    pub(super) fn new() -> Handles {
        Handles { next: AtomicU64::new(1), open: RwLock::default() }
    }

    pub(super) fn add_file(&self, open: OpenFile) -> Handle {
        self.add(Open::File(Arc::new(open)))
    }

    pub(super) fn add_dir(&self, inode: Arc<Inode>) -> Handle {
        self.add(Open::Dir(Arc::new(OpenDir { inode, listing: Mutex::default() })))
    }

    fn add(&self, open: Open) -> Handle {
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.write().insert(handle, open);
        handle
    }

    pub(super) fn file(&self, handle: Handle) -> Result<Arc<OpenFile>> {
        match self.open.read().get(&handle) {
            Some(Open::File(file)) => Ok(Arc::clone(file)),
            _ => Err(Error::Refused(libc::EBADF)),
        }
    }

    pub(super) fn dir(&self, handle: Handle) -> Result<Arc<OpenDir>> {
        match self.open.read().get(&handle) {
            Some(Open::Dir(dir)) => Ok(Arc::clone(dir)),
            _ => Err(Error::Refused(libc::EBADF)),
        }
    }

    /// Closes a handle, outside the lock: closing the last one of a file may write its header.
    pub(super) fn remove(&self, handle: Handle) {
        let open = self.open.write().remove(&handle);
        drop(open);
    }

    /// Closes all.
    pub(super) fn clear(&self) {
        let open = std::mem::take(&mut *self.open.write());
        drop(open);
    }
}
