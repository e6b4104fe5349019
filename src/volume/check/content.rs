//! Verifies the contents of one regular file.

use super::Check;
use crate::keys::ZoneId;
use crate::volume::file::File;
use crate::volume::geometry::HEADER_LEN;
use crate::volume::header;
use crate::volume::lower::{Fd, Stat};
use crate::volume::survey::{Holder, Kind, Place, Problem, Sink, read_all};
use crate::volume::{Error, Result};
use parking_lot::Mutex;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// A regular file to be read.
pub(super) struct Item {
    /// Its directory.
    pub(super) dir: Arc<Fd>,
    /// Its lower name there.
    pub(super) name: OsString,
    /// Where that is.
    pub(super) place: Place,
    /// What the walk saw of it.
    pub(super) stat: Stat,
    /// The zone that its directory is in.
    pub(super) zone: ZoneId,
}

impl Check<'_> {
    /// Reads what comes until nothing comes any more.
    pub(super) fn read_files(&self, items: &Mutex<Receiver<Item>>) {
        loop {
            let item = items.lock().recv();
            let Ok(item) = item else { return };
            // After a fatal error the queue is only emptied, so that the walk never waits for a reader.
            if self.stopped() {
                continue;
            }
            if let Err(error) = self.file(&item) {
                self.note(Kind::File, &item.place, error);
            }
        }
    }

    fn file(&self, item: &Item) -> Result<()> {
        let lower = self.survey.lower;
        let open = || lower.open(&item.dir, &item.name, libc::O_RDONLY, 0);
        let mut header = [0; HEADER_LEN as usize];
        let len = lower.pread(&open()?, &mut header, 0)?;
        let claimed = header::claimed(&header[..len]).map(|header| header.slot.envelope.zone);
        if !claimed.is_none_or(|zone| self.knows(&zone)) {
            return Err(Error::corrupt("", "its header names a zone that the config does not have"));
        }
        let hint = Arc::new(item.place.clone());
        let file = self.survey.store.open((item.stat.dev, item.stat.ino), hint, &open)?;
        if file.slot().envelope.zone != item.zone && item.stat.nlink == 1 {
            self.strays.lock().push(item.place.lower.clone());
        }
        let read = self.content(&file, item);
        let closed = file.close_handle();
        read.and(closed)
    }

    fn content(&self, file: &File, item: &Item) -> Result<()> {
        let key = file.data_key()?;
        self.attributes(&item.dir, &item.name, Holder::File(&key), &item.place);
        let damaged = read_all(file, file.len(), &mut &*self)?;
        if !damaged.is_empty() {
            self.problem(Problem::new(Kind::File, &item.place, damaged.describe()));
        }
        Ok(())
    }

    /// Verifies all attributes of `name` in `dir`.
    pub(super) fn attributes(&self, dir: &Fd, name: &OsStr, holder: Holder<'_>, place: &Place) {
        match self.survey.attributes(dir, name, holder) {
            Ok(attributes) => attributes
                .into_iter()
                .filter_map(Result::err)
                .for_each(|error| self.note(Kind::Attribute, place, error)),
            Err(error) => self.note(Kind::Attribute, place, error),
        }
    }
}

/// What was read is verified, and that is all.
impl Sink for &Check<'_> {
    fn hole(&mut self, bytes: u64) {
        self.verified(bytes);
    }

    fn data(&mut self, _at: u64, plain: &[u8]) -> Result<()> {
        self.verified(plain.len() as u64);
        Ok(())
    }

    fn wants_more(&self) -> bool {
        !self.stopped()
    }
}
