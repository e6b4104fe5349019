//! Wrapping a file's data key anew: for another zone, another CMK, or newer key material. The content stays as it is.
//!
//! The file is announced; the new wrap goes into the older of the header's slots and becomes durable; then it goes into
//! the other, so that in the end neither has the old one. A crash in between leaves a header whose newer slot decides,
//! and the next rewrap does both. Between the steps the disk is waited for: by [`File::rewrap`] for one file, by whoever
//! takes the steps of many files together for all of them at once.

use super::super::Result;
use super::File;
use super::place::Place;
use crate::keys::{Envelope, FileKey, ZoneId};
use std::sync::Arc;

/// What a rewrap changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrapped {
    /// The data key, as the header had it.
    pub before: Envelope,
    /// As it has it now.
    pub after: Envelope,
}

/// A file's data key, wrapped anew; no slot has it yet.
#[derive(Debug)]
pub struct Wrapped {
    key: Arc<FileKey>,
    envelope: Envelope,
}

impl Wrapped {
    /// The zone it is wrapped for.
    pub fn zone(&self) -> &ZoneId {
        &self.envelope.zone
    }
}

/// A rewrap whose first slot is written.
#[derive(Debug)]
#[must_use = "the header has the old wrap beside the new one"]
pub struct BegunRewrap {
    key: Arc<FileKey>,
    done: Rewrapped,
}

impl File {
    /// Wraps the data key as that of a new file in `zone` would be. Durable on return, where files survive power cuts. The
    /// modification time stays.
    ///
    /// # Errors
    /// Key errors, and nothing has changed then; those of the lower filesystem, after which either wrap may be in force.
    pub fn rewrap(&self, zone: &ZoneId) -> Result<Rewrapped> {
        let _place = self.in_place()?;
        let begun = loop {
            if let Some(begun) = self.begin_rewrap(self.wrap(zone)?)? {
                break begun;
            }
        };
        if self.store.power {
            self.store.lower.fdatasync(&self.fd)?;
        }
        self.end_rewrap(begun)
    }

    /// Has the KMS wrap the data key as that of a new file in `zone` would be.
    ///
    /// # Errors
    /// Key errors.
    pub fn wrap(&self, zone: &ZoneId) -> Result<Wrapped> {
        let key = self.data_key()?;
        let envelope = self.store.keyring.rewrap(&self.file_id, &key, zone)?;
        Ok(Wrapped { key, envelope })
    }

    /// Writes the first slot; the file was announced before, see [`File::announce_ahead`]. `None` if the file has not the
    /// key any more that was wrapped, or not for sure: it is to be wrapped again.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub fn begin_rewrap(&self, wrapped: Wrapped) -> Result<Option<BegunRewrap>> {
        let Wrapped { key, envelope: after } = wrapped;
        let place = self.in_place()?;
        // Nobody lets go of the key meanwhile, which would leave a sector for later with the old wrap.
        let _guard = self.ranges.whole();
        if !self.holds(&key) {
            return Ok(None);
        }
        let before = self.replace_envelope(place, &key, after.clone())?;
        Ok(Some(BegunRewrap { key, done: Rewrapped { before, after } }))
    }

    /// Writes the other slot, once the first is durable.
    ///
    /// # Errors
    /// Those of the lower filesystem; the next seal writes the slot then.
    pub fn end_rewrap(&self, begun: BegunRewrap) -> Result<Rewrapped> {
        let BegunRewrap { key, done } = begun;
        let place = self.in_place()?;
        let mut inner = self.inner.lock();
        // Else a seal was there first.
        if inner.slot_dirty && inner.slot.envelope == done.after {
            self.write_slot_keeping_mtime(place, &mut inner, &key)?;
            drop(inner);
            self.touched();
        }
        Ok(done)
    }

    /// The caller holds the whole file.
    fn replace_envelope(&self, place: Place<'_>, key: &FileKey, after: Envelope) -> Result<Envelope> {
        let mut inner = self.inner.lock();
        let before = std::mem::replace(&mut inner.slot.envelope, after);
        if let Err(e) = self.write_slot_keeping_mtime(place, &mut inner, key) {
            inner.slot.envelope = before;
            return Err(e);
        }
        // The other slot is to follow. Should that fail, the next seal writes it.
        inner.slot_dirty = true;
        drop(inner);
        self.touched();
        Ok(before)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::super::header;
    use super::super::super::lower::{SetTime, Timespec};
    use super::super::super::testing::{Scratch, Session, content};
    use super::*;
    use crate::keys::{NO_ZONE, Zone};
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    const ZONE: ZoneId = [7; 16];

    /// Gives the volume a zone besides its own.
    fn add_zone(session: &Session) {
        let own = session.keyring.zone(&NO_ZONE).unwrap();
        let zone = Zone { id: ZONE, name: Some("finance".into()), ..Zone::clone(&own) };
        session.keyring.set_zones(vec![Zone::clone(&own), zone]);
    }

    fn prepare(session: &Session) -> (Arc<File>, Vec<u8>) {
        add_zone(session);
        let file = session.create("f");
        let text = vec![5; 300_000];
        file.write(0, &text).unwrap();
        (file, text)
    }

    #[test]
    fn both_slots_have_the_new_wrap_and_neither_the_old_and_content_and_time_stay() {
        for power in [true, false] {
            let scratch = Scratch::new(power);
            let session = scratch.open();
            let (file, mut text) = prepare(&session);
            file.sync(false).unwrap();
            // In the journal when the wrap changes.
            file.write(5000, b"journaled").unwrap();
            text[5000..5009].copy_from_slice(b"journaled");
            session.store.checkpoint().unwrap();
            let past = Timespec { sec: 1_000_000, nsec: 7 };
            session.lower.utimens(file.fd(), SetTime::Omit, SetTime::At(past)).unwrap();
            let done = file.rewrap(&ZONE).unwrap();
            assert_eq!((done.before.zone, done.after.zone), (NO_ZONE, ZONE));
            assert_eq!(session.lower.fstat(file.fd()).unwrap().mtime, past);
            file.close_handle().unwrap();
            drop(file);
            let bytes = fs::read(scratch.dir.join("f")).unwrap();
            let has = |blob: &[u8]| bytes.windows(blob.len()).filter(|w| *w == blob).count();
            assert_eq!((has(&done.before.wrapped.blob), has(&done.after.wrapped.blob)), (0, 2));
            session.close();

            let session = scratch.open();
            add_zone(&session);
            let file = session.open("f").unwrap();
            assert_eq!(content(&file).unwrap(), text);
            assert_eq!(file.slot().envelope, done.after);
        }
    }

    #[test]
    fn a_kms_that_refuses_leaves_the_file_as_it_was() {
        let scratch = Scratch::new(true);
        let session = scratch.open();
        let (file, text) = prepare(&session);
        file.sync(false).unwrap();
        let before = fs::read(scratch.dir.join("f")).unwrap();
        scratch.switch.off.store(true, Ordering::SeqCst);
        assert!(file.rewrap(&ZONE).is_err());
        assert_eq!(file.slot().envelope.zone, NO_ZONE);
        assert!(fs::read(scratch.dir.join("f")).unwrap() == before);
        scratch.switch.off.store(false, Ordering::SeqCst);
        file.rewrap(&ZONE).unwrap();
        assert_eq!(content(&file).unwrap(), text);
    }

    #[test]
    fn an_open_file_that_was_just_created_and_never_written_is_rewrapped() {
        let scratch = Scratch::new(true);
        let session = scratch.open();
        add_zone(&session);
        let file = session.create("f");
        file.rewrap(&ZONE).unwrap();
        file.write(0, b"text").unwrap();
        file.close_handle().unwrap();
        drop(file);
        let bytes = fs::read(scratch.dir.join("f")).unwrap();
        assert_eq!(header::claimed(&bytes).unwrap().slot.envelope.zone, ZONE);
        let file = session.open("f").unwrap();
        assert_eq!(content(&file).unwrap(), b"text");
    }

    #[test]
    fn a_file_is_written_while_it_goes_from_zone_to_zone_and_its_key_is_taken_away() {
        let scratch = Scratch::new(true);
        let session = scratch.open();
        let (file, mut text) = prepare(&session);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for turn in 0..60usize {
                    let at = turn * 7919 % 290_000;
                    text[at..at + 3000].fill(turn as u8);
                    file.write(at as u64, &vec![turn as u8; 3000]).unwrap();
                }
            });
            for turn in 0..20 {
                file.rewrap(if turn % 2 == 0 { &ZONE } else { &NO_ZONE }).unwrap();
                session.store.suspend_keys();
                file.let_go_of_key().unwrap();
                session.store.checkpoint().unwrap();
            }
        });
        file.rewrap(&ZONE).unwrap();
        file.close_handle().unwrap();
        drop(file);
        session.close();
        let session = scratch.open();
        add_zone(&session);
        let file = session.open("f").unwrap();
        assert_eq!((content(&file).unwrap() == text, file.slot().envelope.zone), (true, ZONE));
    }
}
