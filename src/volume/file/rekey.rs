//! Giving a file another data key, and re-encrypting all that is under the old one. `docs/format.md`, "Crash order", has
//! the order and why.
//!
//! The file stays in use meanwhile. From the first step on it has two data keys, and what anybody writes is under the new
//! one; so the walk over its blocks, each locked for the moment that it takes, meets every old block once. What is left
//! undone when the mount ends is found in the header, and done by the next call.

use super::super::Error;
use super::super::Result;
use super::super::geometry::{BLOCK, BLOCK_LEN, blocks_in, runs};
use super::super::keys::VolumeKeys;
use super::super::overlay::Source;
use super::super::xattrs::{open_value_of, seal_value};
use super::write::Stamp;
use super::{File, KeyState};
use crate::keys::FileKey;
use std::ffi::OsStr;
use std::ops::Range;
use std::sync::Arc;

/// Blocks that are re-encrypted under one lock.
const STRIDE: u64 = 128;

/// Is told of bytes that were re-encrypted, holes aside. Returns whether to go on.
pub type Progress<'a> = dyn FnMut(u64) -> bool + 'a;

impl File {
    /// The first half: a new data key in the header, and every block and attribute under it, durably so far as the
    /// journal goes. Continues what an earlier call began. Then comes a checkpoint, and then [`File::end_rekey`].
    ///
    /// # Errors
    /// Key errors; those of the lower filesystem; corruption of a block, which stays as it is; `EINTR` if it is not to go
    /// on. What was done stays done.
    pub fn rekey(&self, keys: &VolumeKeys, progress: &mut Progress<'_>) -> Result<()> {
        let first = self.begin_rekey()?;
        let mut at = 0;
        while let Some(data) = self.next_data(at)? {
            let block = data / BLOCK;
            self.store.throttle()?;
            self.reseal_blocks(block..block.saturating_add(STRIDE), first, progress)?;
            at = (block + STRIDE).saturating_mul(BLOCK);
        }
        self.reseal_attributes(keys)
    }

    /// Whether the file has a previous data key.
    pub fn is_being_rekeyed(&self) -> bool {
        self.inner.lock().slot.envelope.previous.is_some()
    }

    /// Makes a new data key the file's, durably, unless that was done. Gives the new key's first block-key generation.
    fn begin_rekey(&self) -> Result<u32> {
        loop {
            let old = self.data_key()?;
            let slot = self.slot();
            if let Some(previous) = &slot.envelope.previous {
                return Ok(previous.first);
            }
            let first = slot.key_generation.checked_add(1).ok_or_else(|| Error::errno(libc::EFBIG))?;
            let (new, envelope) =
                self.store.keyring.rekey(&self.file_id, &old, &slot.envelope.zone, first)?;
            let place = self.in_place()?;
            let _guard = self.ranges.whole();
            let mut inner = self.inner.lock();
            // The key may have gone, or the header changed, while the KMS was asked.
            if !self.holds(&old) || inner.slot.key_generation >= first || inner.slot.envelope != slot.envelope
            {
                continue;
            }
            let before = (inner.slot.clone(), inner.seals_used, inner.pristine);
            inner.slot.envelope = envelope;
            inner.slot.key_generation = first;
            inner.slot.seals = 0;
            inner.seals_used = 0;
            // Durable before anything is sealed under it: no block may outlive the only wrap of its key. Until then the
            // other slot is in force, and its place stays what it is.
            let written = self.write_slot_keeping_mtime(place, &mut inner, &new);
            let written = written.and_then(|()| Ok(self.store.lower.fsync(&self.fd)?));
            if let Err(e) = written {
                (inner.slot, inner.seals_used, inner.pristine) = before;
                // Over the same sector, as if nothing had been.
                inner.slot_dirty = true;
                return Err(e);
            }
            inner.key_print = new.print();
            *self.data_key.lock() = KeyState::Held(new);
            return Ok(first);
        }
    }

    /// Where data goes on from `at`; `None` at the end.
    fn next_data(&self, at: u64) -> Result<Option<u64>> {
        match self.seek(at, libc::SEEK_DATA) {
            Ok(data) => Ok(Some(data)),
            Err(Error::Os(e)) if e.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Seals those of `blocks` anew that are older than generation `first`.
    fn reseal_blocks(&self, blocks: Range<u64>, first: u32, progress: &mut Progress<'_>) -> Result<()> {
        loop {
            let key = self.data_key()?;
            let _guard = self.ranges.exclusive(blocks.clone());
            if !self.holds(&key) {
                continue;
            }
            let len = self.len();
            let blocks = blocks.start..blocks.end.min(blocks_in(len));
            for run in self.older_than(first, blocks)? {
                let bytes = (run.end * BLOCK).min(len) - run.start * BLOCK;
                let mut plain = vec![0; (run.end - run.start) as usize * BLOCK_LEN];
                self.read_blocks(&key, run.clone(), len, &mut plain)?;
                plain.truncate(bytes as usize);
                self.write_blocks_as(&key, run.start * BLOCK, &plain, Stamp::Keep)?;
                if !progress(bytes) {
                    return Err(Error::errno(libc::EINTR));
                }
            }
            return Ok(());
        }
    }

    /// The runs among `blocks` that are sealed under a generation before `first`. The caller holds the blocks' range.
    fn older_than(&self, first: u32, blocks: Range<u64>) -> Result<Vec<Range<u64>>> {
        let mut entries = Vec::new();
        for run in runs(blocks.clone()) {
            self.store.tags.load(self.tag_file(), run, &mut entries)?;
        }
        let inner = self.inner.lock();
        let mut found: Vec<Range<u64>> = Vec::new();
        for (block, in_place) in blocks.zip(&entries) {
            let entry = match inner.layers.source(block) {
                Source::InPlace => *in_place,
                Source::Hole => continue,
                Source::Journal(journaled) => journaled.entry,
            };
            if entry.is_hole() || entry.generation >= first {
                continue;
            }
            match found.last_mut() {
                Some(run) if run.end == block => run.end += 1,
                _ => found.push(block..block + 1),
            }
        }
        Ok(found)
    }

    /// Seals the values of all attributes under the new key.
    fn reseal_attributes(&self, keys: &VolumeKeys) -> Result<()> {
        let lower = &self.store.lower;
        let own = OsStr::new("");
        let _alone = self.attributes.write();
        let names = match lower.list_xattr(&self.fd, own) {
            // A lower filesystem without attributes has none to seal.
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(()),
            names => names?,
        };
        let key = self.data_key()?;
        for (attribute, name) in names.iter().filter_map(|a| Some((a, keys.decrypt_xattr(a)?))) {
            let sealed = lower.get_xattr(&self.fd, own, attribute)?;
            let value = open_value_of(&key, &name, &sealed)?;
            let anew = seal_value(key.xattr_key(), &name, &value);
            lower.set_xattr(&self.fd, own, attribute, &anew, libc::XATTR_REPLACE)?;
        }
        self.touched();
        Ok(())
    }

    /// The second half, after a checkpoint: nothing of the file is under the previous key any more, and the header
    /// forgets it, in both slots.
    ///
    /// # Errors
    /// Key errors; those of the lower filesystem. The file is as after the first half then.
    pub fn end_rekey(&self) -> Result<()> {
        // Attributes are in the lower inode, which a checkpoint syncs only with content.
        self.store.lower.fsync(&self.fd)?;
        loop {
            let key = self.data_key()?;
            let place = self.in_place()?;
            let _guard = self.ranges.whole();
            let mut inner = self.inner.lock();
            if !self.holds(&key) {
                continue;
            }
            let previous = inner.slot.envelope.previous.take();
            let alone: Arc<FileKey> = Arc::new(key.without_previous());
            for _ in 0..2 {
                let written = self.write_slot_keeping_mtime(place, &mut inner, &alone);
                if let Err(e) = written.and_then(|()| Ok(self.store.lower.fdatasync(&self.fd)?)) {
                    inner.slot.envelope.previous = previous;
                    inner.slot_dirty = true;
                    return Err(e);
                }
            }
            *self.data_key.lock() = KeyState::Held(alone);
            return Ok(());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::super::testing::{Scratch, Session, content};
    use super::*;
    use crate::crypto::Key;
    use crate::volume::lower::{SetTime, Timespec};
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};

    const NAME: &str = "file";

    fn keys() -> VolumeKeys {
        VolumeKeys::new(&Key::from_bytes(&mut [8; 32]), [9; 16])
    }

    fn begin_and_walk(file: &File) -> u64 {
        let mut bytes = 0;
        let mut count = |n| {
            bytes += n;
            true
        };
        file.rekey(&keys(), &mut count).unwrap();
        bytes
    }

    fn rekey(session: &Session, file: &File) -> u64 {
        let bytes = begin_and_walk(file);
        session.store.checkpoint().unwrap();
        file.end_rekey().unwrap();
        bytes
    }

    /// A file of several groups with a hole, a short last block, and something of it in the journal; and its content.
    fn prepare(session: &Session) -> (Arc<File>, Vec<u8>) {
        let file = session.create(NAME);
        let mut expected: Vec<u8> = (0..300 * BLOCK_LEN + 100).map(|i| (i / 7) as u8).collect();
        file.write(0, &expected).unwrap();
        file.sync(false).unwrap();
        file.punch(10 * BLOCK, 5 * BLOCK).unwrap();
        expected[10 * BLOCK_LEN..15 * BLOCK_LEN].fill(0);
        file.write(5000, b"overwritten").unwrap();
        expected[5000..5011].copy_from_slice(b"overwritten");
        (file, expected)
    }

    /// The block-key generations of all blocks in place.
    fn generations(file: &File) -> Vec<u32> {
        let mut entries = Vec::new();
        for run in runs(0..blocks_in(file.len())) {
            file.store.tags.load(file.tag_file(), run, &mut entries).unwrap();
        }
        entries.iter().map(|entry| entry.generation).collect()
    }

    #[test]
    fn a_rekeyed_file_has_its_content_and_time_and_nothing_under_the_old_key() {
        for power in [true, false] {
            let scratch = Scratch::new(power);
            let session = scratch.open();
            let (file, expected) = prepare(&session);
            session.store.checkpoint().unwrap();
            let past = Timespec { sec: 1_000_000, nsec: 5 };
            session.lower.utimens(file.fd(), SetTime::Omit, SetTime::At(past)).unwrap();
            let old = file.data_key().unwrap();
            let wrapped = file.slot().envelope.wrapped;
            let bytes = rekey(&session, &file);
            assert_eq!(bytes, (295 * BLOCK_LEN + 100) as u64, "holes are not counted");
            assert_eq!(content(&file).unwrap(), expected);
            assert_eq!(file.mtime(), None);
            assert_eq!(session.lower.fstat(file.fd()).unwrap().mtime, past);
            let slot = file.slot();
            assert!(slot.envelope.previous.is_none() && slot.envelope.wrapped != wrapped);
            let generations = generations(&file);
            assert!(generations.iter().enumerate().all(|(block, generation)| match block {
                10..15 => *generation == 0,
                _ => *generation == slot.key_generation,
            }));
            assert_ne!(old.header_mac_key(), file.data_key().unwrap().header_mac_key());
            file.close_handle().unwrap();
            drop(file);
            session.close();

            // In neither slot is anything that the old data key, or its wrap, is of use for.
            let bytes = fs::read(scratch.dir.join(NAME)).unwrap();
            assert!(!bytes.windows(wrapped.blob.len()).any(|w| w == wrapped.blob));
            let session = scratch.open();
            assert_eq!(content(&session.open(NAME).unwrap()).unwrap(), expected);
        }
    }

    #[test]
    fn what_a_killed_daemon_left_undone_is_read_and_done_by_the_next() {
        for steps in 0..4 {
            let scratch = Scratch::new(true);
            let session = scratch.open();
            let (file, expected) = prepare(&session);
            let first = file.begin_rekey().unwrap();
            match steps {
                0 => {}
                1 => file.reseal_blocks(0..STRIDE, first, &mut |_| true).unwrap(),
                2 => drop(begin_and_walk(&file)),
                _ => {
                    begin_and_walk(&file);
                    session.store.checkpoint().unwrap();
                }
            }
            std::mem::forget(file);
            std::mem::forget(session);

            let session = scratch.open();
            assert_eq!(session.recovered.unwrap().damaged, 0, "step {steps}");
            let file = session.open(NAME).unwrap();
            assert_eq!(content(&file).unwrap(), expected, "step {steps}");
            assert!(file.is_being_rekeyed());
            let again = rekey(&session, &file);
            assert_eq!(again == 0, steps >= 2, "step {steps}: {again} bytes were done again");
            assert!(!file.is_being_rekeyed());
            assert_eq!(content(&file).unwrap(), expected);
            assert!(generations(&file).iter().all(|generation| [0, first].contains(generation)));
            file.close_handle().unwrap();
            drop(file);
            session.close();
            let session = scratch.open();
            assert_eq!(content(&session.open(NAME).unwrap()).unwrap(), expected, "step {steps}");
        }
    }

    #[test]
    fn attributes_are_sealed_under_the_new_key() {
        let scratch = Scratch::new(true);
        let session = scratch.open();
        let file = session.create(NAME);
        let (keys, name, own) = (keys(), OsStr::new("user.a"), OsStr::new(""));
        let lower = keys.encrypt_xattr(name);
        let old = file.data_key().unwrap();
        let sealed = seal_value(old.xattr_key(), name, b"value");
        session.lower.set_xattr(file.fd(), own, &lower, &sealed, 0).unwrap();
        file.begin_rekey().unwrap();
        assert_eq!(open_value_of(&file.data_key().unwrap(), name, &sealed).unwrap(), b"value");
        rekey(&session, &file);
        let anew = session.lower.get_xattr(file.fd(), own, &lower).unwrap();
        let key = file.data_key().unwrap();
        assert_eq!(open_value_of(&key, name, &anew).unwrap(), b"value");
        assert!(open_value_of(&key, name, &sealed).is_err() && open_value_of(&old, name, &anew).is_err());
    }

    #[test]
    fn a_file_is_written_cut_and_grown_while_it_is_rekeyed() {
        let scratch = Scratch::new(true);
        let session = scratch.open();
        let (file, mut expected) = prepare(&session);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut turn = 0usize;
                while !done.load(Ordering::Acquire) || turn < 50 {
                    let at = turn * 7919 % (299 * BLOCK_LEN);
                    let data = vec![turn as u8; 3000];
                    file.write(at as u64, &data).unwrap();
                    expected[at..at + 3000].copy_from_slice(&data);
                    if turn.is_multiple_of(10) {
                        let len = (250 * BLOCK_LEN + turn).min(expected.len());
                        file.set_len(len as u64).unwrap();
                        expected.truncate(len);
                        expected.resize(300 * BLOCK_LEN, 0);
                        file.set_len(expected.len() as u64).unwrap();
                    }
                    turn += 1;
                }
            });
            for _ in 0..3 {
                rekey(&session, &file);
            }
            done.store(true, Ordering::Release);
            writer.join().unwrap();
        });
        assert_eq!(content(&file).unwrap(), expected);
        file.close_handle().unwrap();
        drop(file);
        session.close();
        let session = scratch.open();
        assert_eq!(content(&session.open(NAME).unwrap()).unwrap(), expected);
    }

    #[test]
    fn a_key_that_is_taken_away_stops_a_rekeying_and_gives_no_wrong_byte() {
        let scratch = Scratch::new(true);
        let session = scratch.open();
        let (file, expected) = prepare(&session);
        scratch.switch.off.store(true, Ordering::SeqCst);
        assert!(matches!(file.rekey(&keys(), &mut |_| true), Err(Error::Key(_))));
        assert!(!file.is_being_rekeyed());
        scratch.switch.off.store(false, Ordering::SeqCst);
        file.begin_rekey().unwrap();
        session.keyring.flush();
        session.store.suspend_keys();
        scratch.switch.off.store(true, Ordering::SeqCst);
        assert!(matches!(file.rekey(&keys(), &mut |_| true), Err(Error::Key(_))));
        scratch.switch.off.store(false, Ordering::SeqCst);
        rekey(&session, &file);
        assert_eq!(content(&file).unwrap(), expected);
    }
}
