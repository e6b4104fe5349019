//! Restores regular files.

use super::destination::Staged;
use super::{Export, Metadata, Trouble};
use crate::volume::Error;
use crate::volume::file::File;
use crate::volume::geometry::plain_len_floor;
use crate::volume::lower::{Fd, Stat};
use crate::volume::survey::{Holder, Kind, Place, Problem, Sink, read_all};
use parking_lot::Mutex;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

/// A regular file to be restored.
pub(super) struct Item {
    /// Its lower directory.
    pub(super) dir: Arc<Fd>,
    /// Its name there.
    pub(super) lower: OsString,
    /// The directory it goes to.
    pub(super) target: Arc<Fd>,
    /// Its name there.
    pub(super) plain: OsString,
    /// Where it is in the volume.
    pub(super) place: Place,
    /// What the walk saw of it.
    pub(super) stat: Stat,
}

impl Export<'_> {
    /// Restores what comes until nothing comes any more.
    pub(super) fn restore_files(&self, items: &Mutex<Receiver<Item>>) {
        loop {
            let item = items.lock().recv();
            let Ok(item) = item else { return };
            // After a fatal error the queue is only emptied, so that the walk never waits for a worker.
            if self.stopped() {
                continue;
            }
            if let Err(trouble) = self.restore_file(&item) {
                self.trouble(Kind::File, &item.place, trouble);
            }
        }
    }

    fn restore_file(&self, item: &Item) -> Result<(), Trouble> {
        let open = || self.survey.lower.open(&item.dir, &item.lower, libc::O_RDONLY, 0);
        let (id, hint) = ((item.stat.dev, item.stat.ino), Arc::new(item.place.clone()));
        let file = match self.survey.store.open(id, hint.clone(), &open) {
            Err(Error::Corrupt { why, .. }) if self.keep_damaged => {
                let file = self.survey.store.salvage(id, hint, &open)?;
                self.problem(Problem::new(Kind::File, &item.place, why));
                file
            }
            opened => opened?,
        };
        let restored = self.restore_open(&file, item);
        let closed = file.close_handle();
        restored.and_then(|()| Ok(closed?))
    }

    fn restore_open(&self, file: &File, item: &Item) -> Result<(), Trouble> {
        let key = file.data_key()?;
        let attributes = self.attributes(&item.dir, &item.lower, Holder::File(&key), &item.place);
        let staged = self.destination.stage().map_err(Trouble::Write)?;
        let len = file.len();
        // More than the lower file has room for is only there to be missed.
        let upto = len.min(plain_len_floor(item.stat.size));
        let mut writer = Writer { export: self, staged: &staged, failed: None };
        let read = read_all(file, upto, &mut writer);
        if let Some(error) = writer.failed {
            return Err(Trouble::Write(error));
        }
        let mut damaged = read?;
        damaged.add_missing(upto, len);
        if !damaged.is_empty() {
            self.problem(Problem::new(Kind::File, &item.place, damaged.describe()));
            if !self.keep_damaged {
                return Ok(());
            }
            self.counts.damaged_files.fetch_add(1, Ordering::Relaxed);
        }
        if self.stopped() {
            return Ok(());
        }
        let metadata = Metadata { stat: item.stat, attributes };
        let place = (&*item.target, &*item.plain);
        staged.place(len, &metadata, place, &self.counts.unset).map_err(Trouble::Write)?;
        self.counts.files.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes.fetch_add(len, Ordering::Relaxed);
        Ok(())
    }
}

/// Writes what was read to the same place of another file; what it does not write is a hole there.
struct Writer<'a, 'e> {
    export: &'a Export<'e>,
    staged: &'a Staged<'a>,
    failed: Option<io::Error>,
}

impl Sink for Writer<'_, '_> {
    fn hole(&mut self, bytes: u64) {
        self.export.observer.advanced(bytes);
    }

    fn data(&mut self, at: u64, plain: &[u8]) -> crate::volume::Result<()> {
        match self.staged.write(plain, at) {
            Ok(()) => self.export.observer.advanced(plain.len() as u64),
            Err(error) => self.failed = Some(error),
        }
        Ok(())
    }

    fn wants_more(&self) -> bool {
        self.failed.is_none() && !self.export.stopped()
    }
}
