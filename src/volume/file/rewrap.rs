//! Wrapping a file's data key anew: for another zone, another CMK, or newer key material. The content stays as it is.
//!
//! The new wrap goes into the older of the header's slots and is made durable; then into the other, so that in the end
//! neither has the old one. A crash in between leaves a header whose newer slot decides, and the next rewrap does both.

use super::super::Result;
use super::super::lower::SetTime;
use super::File;
use super::place::Place;
use crate::keys::{Envelope, FileKey, ZoneId};

/// What a rewrap changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrapped {
    /// The data key, as the header had it.
    pub before: Envelope,
    /// As it has it now.
    pub after: Envelope,
}

impl File {
    /// Wraps the data key as that of a new file in `zone` would be. Durable on return, where files survive power cuts. The
    /// modification time stays.
    ///
    /// # Errors
    /// Key errors, and nothing has changed then; those of the lower filesystem, after which either wrap may be in force.
    pub fn rewrap(&self, zone: &ZoneId) -> Result<Rewrapped> {
        loop {
            let key = self.data_key()?;
            let after = self.store.keyring.rewrap(&self.file_id, &key, zone)?;
            let place = self.in_place()?;
            // Nobody lets go of the key meanwhile, which would leave a sector for later with the old wrap.
            let _guard = self.ranges.whole();
            // Else it was taken away, or replaced, while the KMS was asked.
            if self.holds(&key) {
                return self.replace_envelope(place, &key, after);
            }
        }
    }

    /// The caller holds the whole file.
    fn replace_envelope(&self, place: Place<'_>, key: &FileKey, after: Envelope) -> Result<Rewrapped> {
        let lower = &self.store.lower;
        let mtime = lower.fstat(&self.fd)?.mtime;
        let before = {
            let mut inner = self.inner.lock();
            let before = std::mem::replace(&mut inner.slot.envelope, after.clone());
            if let Err(e) = self.write_slot(place, &mut inner, key) {
                inner.slot.envelope = before;
                return Err(e);
            }
            // Should the second slot fail below, the next seal writes it.
            inner.slot_dirty = true;
            before
        };
        if self.store.power {
            lower.fdatasync(&self.fd)?;
        }
        self.write_slot(place, &mut self.inner.lock(), key)?;
        lower.utimens(&self.fd, SetTime::Omit, SetTime::At(mtime))?;
        self.touched();
        Ok(Rewrapped { before, after })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::super::header;
    use super::super::super::lower::Timespec;
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
