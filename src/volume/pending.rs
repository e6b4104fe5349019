//! Small lower files that must be durable before any fsync returns: directory records, long names.
//!
//! Syncing each at once would cost a disk flush per mkdir. Instead their write-back is started when they are
//! made, and the first fsync of anything waits for all of them; a background pass does so within seconds where
//! nobody asks.

use super::Result;
use super::lower::{Fd, Lower, descriptors};
use parking_lot::Mutex;
use std::sync::Arc;

/// More than this many, or than there are descriptors for, are synced by whoever adds the next one.
const MANY: usize = 256;

/// The files waiting to become durable.
pub struct PendingSync {
    lower: Arc<dyn Lower>,
    most: usize,
    files: Mutex<Vec<Fd>>,
    /// Held while syncing, so that a caller who finds the list empty waits for who emptied it.
    syncing: Mutex<()>,
}

impl PendingSync {
    /// An empty list.
    pub fn new(lower: Arc<dyn Lower>) -> PendingSync {
        let most = descriptors::share(8, MANY);
        PendingSync { lower, most, files: Mutex::new(Vec::new()), syncing: Mutex::new(()) }
    }

    /// Adds a file that was just written; starts its write-back.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub fn add(&self, fd: Fd) -> Result<()> {
        // Not every lower filesystem has it; the sync itself comes later in any case.
        if let Err(e) = self.lower.start_writeback(&fd) {
            log::debug!("write-back could not be started early: {e}");
        }
        let many = {
            let mut files = self.files.lock();
            files.push(fd);
            files.len() >= self.most
        };
        if many { self.flush() } else { Ok(()) }
    }

    /// Returns once everything added before is durable.
    ///
    /// # Errors
    /// Those of the lower filesystem; the files that could not be synced stay on the list.
    pub fn flush(&self) -> Result<()> {
        let _syncing = self.syncing.lock();
        let mut files = std::mem::take(&mut *self.files.lock());
        while let Some(fd) = files.pop() {
            if let Err(e) = self.lower.fsync(&fd) {
                files.push(fd);
                self.files.lock().append(&mut files);
                return Err(e.into());
            }
        }
        Ok(())
    }
}
