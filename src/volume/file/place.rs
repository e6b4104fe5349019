//! Leave to change the lower file in place.
//!
//! After a power cut, recovery looks at the files whose ctime lies in the dead session and at no others. A write
//! moves the ctime, but in memory: the page with the header and the tags may be on the disk before the inode with
//! ctime and size is, and a power cut in between would leave a file that disagrees with itself and that nobody
//! mends. So the first change that a session makes to an older file is *announced*: the ctime moves and becomes
//! durable before anything else does. Whoever changes a lower file in place needs a [`Place`], and has one only then.

use super::super::Result;
use super::super::lower::{Fd, SetTime};
use super::super::tags::TagFile;
use super::File;
use lru::LruCache;
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

/// Files that are remembered when they are closed: a few megabytes at most. One that was forgotten is announced anew.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// Closed files whose durable ctime lies in the session.
pub(in super::super) struct AnnouncedFiles(Mutex<LruCache<super::FileKeyId, ()>>);

impl AnnouncedFiles {
    /// None yet.
    pub(in super::super) fn new() -> AnnouncedFiles {
        AnnouncedFiles(Mutex::new(LruCache::new(REMEMBERED)))
    }

    /// Is it known that the file was created or announced in this session?
    pub(in super::super) fn contain(&self, id: super::FileKeyId) -> bool {
        self.0.lock().contains(&id)
    }

    fn remember(&self, id: super::FileKeyId) {
        self.0.lock().put(id, ());
    }
}

/// Whether an open file has been announced.
#[derive(Debug)]
pub(super) struct Announcement {
    made: AtomicBool,
    /// Held by who makes it; whoever else wants a [`Place`] waits.
    making: Mutex<()>,
}

impl Announcement {
    pub(super) fn new(made: bool) -> Announcement {
        Announcement { made: AtomicBool::new(made), making: Mutex::default() }
    }

    fn is_made(&self) -> bool {
        self.made.load(Ordering::Acquire)
    }
}

/// A lower file that may be changed in place.
#[derive(Clone, Copy)]
pub(super) struct Place<'a>(&'a File);

impl<'a> Place<'a> {
    /// Writes all of `bytes`.
    pub(super) fn write(self, bytes: &[u8], at: u64) -> Result<()> {
        Ok(self.0.store.lower.pwrite(&self.0.fd, bytes, at)?)
    }

    /// Sets the lower size.
    pub(super) fn truncate(self, size: u64) -> Result<()> {
        Ok(self.0.store.lower.truncate(&self.0.fd, size)?)
    }

    /// The file, for what stores its tags.
    pub(super) fn tag_file(self) -> TagFile<'a> {
        self.0.tag_file()
    }
}

impl File {
    /// Leave to change the lower file in place; announces that, if nobody has. To be asked for before `inner` is
    /// locked: it may wait for the disk.
    ///
    /// # Errors
    /// Those of the lower filesystem; nothing was changed then.
    pub(super) fn in_place(&self) -> Result<Place<'_>> {
        if !self.announcement.is_made() {
            self.announce()?;
        }
        Ok(Place(self))
    }

    /// As [`File::in_place`], for what would rather not be done than announced.
    pub(super) fn in_place_if_announced(&self) -> Option<Place<'_>> {
        self.announcement.is_made().then_some(Place(self))
    }

    /// For a checkpoint, which needs no announcement: while it is under way the journal holds all that it does, and
    /// a replay, doing it again, moves the ctime.
    pub(super) fn in_place_again(&self) -> Place<'_> {
        Place(self)
    }

    fn announce(&self) -> Result<()> {
        let _making = self.announcement.making.lock();
        if self.announce_ahead()? {
            self.store.lower.fsync(&self.fd)?;
            self.announced();
        }
        Ok(())
    }

    /// Moves the ctime, for whoever announces many files with one wait for the disk. Returns whether that is needed; once
    /// the ctime is durable, [`File::announced`] is to be told.
    ///
    /// # Errors
    /// Those of the lower filesystem; nothing was changed then.
    pub fn announce_ahead(&self) -> Result<bool> {
        if self.announcement.is_made() {
            return Ok(false);
        }
        let (lower, fd): (_, &Fd) = (&self.store.lower, &self.fd);
        // Set to what it is.
        let mtime = lower.fstat(fd)?.mtime;
        lower.utimens(fd, SetTime::Omit, SetTime::At(mtime))?;
        Ok(true)
    }

    /// The lower file's ctime of this session is durable.
    pub fn announced(&self) {
        self.announcement.made.store(true, Ordering::Release);
        self.store.announced.remember(self.key);
    }

    /// Makes what a checkpoint did durable: the content, and with the first one the ctime too, so that nobody has to
    /// announce anything any more.
    pub(super) fn sync_checkpoint(&self) -> Result<()> {
        if self.announcement.is_made() {
            return Ok(self.store.lower.fdatasync(&self.fd)?);
        }
        self.store.lower.fsync(&self.fd)?;
        self.announced();
        Ok(())
    }
}
