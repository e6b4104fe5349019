//! Making things durable: the header's slot, fsync, checkpoints; and letting go of the data key.

use super::super::Result;
use super::super::apply;
use super::super::geometry::{BLOCK, HEADER_LEN, blocks_in};
use super::super::header::{Header, SECTOR, Slot};
use super::super::journal::{Appended, Kind, RECORD_HEADER, Record};
use super::super::lower::SetTime;
use super::super::overlay::Overlay;
use super::place::Place;
use super::{File, Inner, KeyState, SectorForLater};
use crate::keys::FileKey;
use parking_lot::RwLockReadGuard;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a checkpoint leaves the disk to others at most, after each piece.
const LONGEST_BREATH: Duration = Duration::from_millis(200);

impl File {
    /// Makes the content durable, and everything the file stands on; without `data_only` its attributes too.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub fn sync(&self, data_only: bool) -> Result<()> {
        self.store.pending.flush()?;
        let lsn = {
            let mut inner = self.inner.lock();
            // From here on nothing below is rewritten in place before its record is durable.
            inner.volatile_from = inner.volatile_from.max(blocks_in(inner.len) * BLOCK);
            inner.last_lsn
        };
        // First, since the header may tell a length only once the blocks below it can be read again.
        self.store.journal.commit(lsn)?;
        self.inner.lock().committed(lsn);
        self.sync_lower(data_only)?;
        Ok(())
    }

    fn sync_lower(&self, data_only: bool) -> Result<()> {
        let _syncing = self.syncing.lock();
        if !self.lower_dirty.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let (place_len, cuts) = {
            let inner = self.inner.lock();
            (inner.place_len, inner.cuts)
        };
        let lower = &self.store.lower;
        let sync = || if data_only { lower.fdatasync(&self.fd) } else { lower.fsync(&self.fd) };
        if let Err(e) = self.seal().and_then(|()| Ok(sync()?)) {
            self.touched();
            return Err(e);
        }
        let mut inner = self.inner.lock();
        if inner.cuts == cuts {
            inner.durable_len = inner.durable_len.max(place_len);
        }
        Ok(())
    }

    /// A handle was closed. The last one seals the length into the header.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub fn close_handle(&self) -> Result<()> {
        if self.handles.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        self.seal()
    }

    /// Has the header tell what the file is now, so that closing it later changes no time that `stat` has shown.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub fn settle(&self) -> Result<()> {
        self.seal()
    }

    /// Writes the slot if the header does not tell the lower file's length and flags. The modification time
    /// stays: sealing is no change of content. Without the data key nothing has changed since it went; see
    /// [`File::let_go_of_key`]. Without an announcement nothing has changed in place, and the header is right.
    pub(in super::super) fn seal(&self) -> Result<()> {
        self.in_place_if_announced().map_or(Ok(()), |place| self.seal_in(place))
    }

    fn seal_in(&self, place: Place<'_>) -> Result<()> {
        let mut inner = self.inner.lock();
        // Looked at under the lock: the slot and the key that it is under change together.
        let key = match &*self.data_key.lock() {
            KeyState::Held(key) | KeyState::Leaving(key) => Arc::clone(key),
            KeyState::Gone(_) => return Ok(()),
        };
        let told =
            inner.slot.sealed_len == inner.sealable_len() && inner.slot.durable_len == inner.durable_len;
        if told && !inner.slot_dirty {
            return Ok(());
        }
        self.write_slot_keeping_mtime(place, &mut inner, &key)
    }

    pub(super) fn encode_slot(&self, slot: &Slot, key: &FileKey) -> ([u8; SECTOR], u64) {
        Header { file_id: self.file_id, cipher: self.cipher, slot: slot.clone() }.encode(key)
    }

    /// As [`File::write_slot`], which is no change of content.
    pub(super) fn write_slot_keeping_mtime(
        &self,
        place: Place<'_>,
        inner: &mut Inner,
        key: &FileKey,
    ) -> Result<()> {
        let mtime = self.store.lower.fstat(&self.fd)?.mtime;
        self.write_slot(place, inner, key)?;
        Ok(self.store.lower.utimens(&self.fd, SetTime::Omit, SetTime::At(mtime))?)
    }

    /// Writes the next slot, telling the lower file's length.
    pub(super) fn write_slot(&self, place: Place<'_>, inner: &mut Inner, key: &FileKey) -> Result<()> {
        let generation = inner.slot.generation + 1;
        let (sealed_len, durable_len) = (inner.sealable_len(), inner.durable_len);
        let slot = Slot { generation, sealed_len, durable_len, ..inner.slot.clone() };
        let (sector, at) = self.encode_slot(&slot, key);
        // A slot that could not be written is tried again in the same sector: the other is all there is meanwhile.
        place.write(&sector, at)?;
        inner.slot = slot;
        inner.slot_dirty = false;
        inner.pristine = false;
        Ok(())
    }

    /// Writes the header of a file that was just created: no ctime of it is older than the session.
    pub(in super::super) fn write_header(&self, key: &FileKey) -> Result<()> {
        self.announced();
        let place = self.in_place()?;
        let inner = self.inner.lock();
        let mut bytes = [0u8; HEADER_LEN as usize];
        let (sector, at) = self.encode_slot(&inner.slot, key);
        bytes[at as usize..at as usize + SECTOR].copy_from_slice(&sector);
        place.write(&bytes, 0)
    }

    /// Appends a record and enters it into the overlay, as one step towards checkpoints; none begins before the
    /// returned guard is dropped.
    pub(super) fn record(
        &self,
        record: &Record,
        buf: &mut [u8],
        enter: impl FnOnce(&mut Inner, &Appended),
    ) -> Result<RwLockReadGuard<'_, u64>> {
        // Asked for outside the locks: it looks into the namespace.
        let path = self.hint.lower_path();
        let epoch = self.store.epoch.read();
        let mut inner = self.inner.lock();
        if inner.path_epoch != *epoch {
            let path = path.as_ref().map_or(&b""[..], |p| p.as_os_str().as_bytes());
            let mut buf = vec![0; RECORD_HEADER];
            buf.extend_from_slice(path);
            let named = Record { kind: Kind::Path, first: 0, count: 0, last_len: 0, len_after: 0, ..*record };
            self.store.journal.append(&named, &mut buf)?;
            inner.path_epoch = *epoch;
        }
        let appended = self.store.journal.append(record, buf)?;
        let first = inner.layers.active.is_empty();
        enter(&mut inner, &appended);
        inner.last_lsn = appended.lsn;
        inner.pristine = false;
        drop(inner);
        if first {
            self.store.mark_dirty(self.key);
        }
        Ok(epoch)
    }

    /// The file was renamed: the journal learns its new path with the next record.
    pub fn renamed(&self) {
        self.inner.lock().path_epoch = 0;
        self.touched();
    }

    /// Hands the collected changes to a checkpoint. The caller holds the epoch exclusively.
    pub(in super::super) fn freeze(&self) -> Arc<Overlay> {
        self.inner.lock().layers.freeze()
    }

    /// Applies the frozen changes, which are durable in the journal, to the lower file.
    pub(in super::super) fn checkpoint(&self, frozen: &Overlay) -> Result<()> {
        let place = self.in_place_again();
        let place_len = self.inner.lock().place_len;
        let changes_shape = frozen.cut.is_some() || !frozen.holes.is_empty();
        if changes_shape && self.store.power {
            // The flag that allows holes must be durable before a hole is.
            self.store.lower.fdatasync(&self.fd)?;
        }
        let breathe = &mut || self.breathe();
        let applied = apply::apply(place.tag_file(), &self.store.tags, frozen, place_len, breathe)?;
        let mtime = {
            let mut inner = self.inner.lock();
            // Whoever appended in the meantime has moved the length on already; a cut forbids that.
            inner.place_len = if frozen.cut.is_some() { applied } else { inner.place_len.max(applied) };
            inner.brought_in_place(frozen);
            inner.mtime
        };
        if frozen.blocks.values().all(|j| j.in_place) && !changes_shape {
            return Ok(());
        }
        self.seal_after_checkpoint(place)?;
        if let Some(mtime) = mtime {
            self.store.lower.utimens(&self.fd, SetTime::Omit, SetTime::At(mtime))?;
        }
        if self.store.power { self.sync_checkpoint() } else { Ok(()) }
    }

    /// In the background there is time: what was written so far goes to the disk now, and then others have it
    /// for as long, so that a checkpoint never queues so much that somebody's fsync waits behind all of it.
    fn breathe(&self) -> Result<()> {
        if self.store.power && !self.store.in_a_hurry() {
            let began = Instant::now();
            self.store.lower.fdatasync(&self.fd)?;
            std::thread::sleep(began.elapsed().min(LONGEST_BREATH));
        }
        Ok(())
    }

    fn seal_after_checkpoint(&self, place: Place<'_>) -> Result<()> {
        let mut inner = self.inner.lock();
        let later = match &mut *self.data_key.lock() {
            KeyState::Gone(later) => later.take_if(|later| later.sealed_len == inner.place_len),
            KeyState::Held(_) | KeyState::Leaving(_) => None,
        };
        if let Some(later) = later {
            place.write(&later.bytes, later.at)?;
            inner.slot.generation += 1;
            inner.slot.sealed_len = inner.place_len;
            return Ok(());
        }
        drop(inner);
        self.seal_in(place)
    }

    /// The checkpoint's changes are durable in place and dead in the journal.
    pub(in super::super) fn thaw(&self) {
        let mut inner = self.inner.lock();
        inner.layers.frozen = None;
        if inner.layers.is_empty() {
            inner.mtime = None;
            inner.changed = None;
        }
    }

    /// The checkpoint failed: the frozen changes are still to be applied, below what has come since.
    pub(in super::super) fn refreeze(&self) {
        let mut inner = self.inner.lock();
        inner.layers.unfreeze();
        // The next record of the file goes to an epoch whose segments may outlive this one's.
        inner.path_epoch = 0;
    }

    /// Takes the data key away from everything that has not begun: from now on the KMS is asked. Waits for nothing.
    pub(in super::super) fn take_key_away(&self) {
        let mut state = self.data_key.lock();
        if let KeyState::Held(key) = &*state {
            *state = KeyState::Leaving(Arc::clone(key));
        }
    }

    /// Lets go of a key that was taken away, once nothing that began with it is under way: what needs it to be
    /// told later is sealed now. Returns whether there is nothing left to let go of.
    ///
    /// # Errors
    /// Those of the lower filesystem; the key is let go of all the same.
    pub(in super::super) fn let_go_of_key(&self) -> Result<bool> {
        let leaving = |state: &KeyState| match state {
            KeyState::Leaving(key) => Some(Arc::clone(key)),
            KeyState::Held(_) | KeyState::Gone(_) => None,
        };
        let Some(_guard) = self.ranges.try_whole() else {
            return Ok(leaving(&self.data_key.lock()).is_none());
        };
        let Some(key) = leaving(&self.data_key.lock()) else { return Ok(true) };
        let sealed = self.seal();
        let inner = self.inner.lock();
        let later = (!inner.layers.is_empty()).then(|| {
            let generation = inner.slot.generation + 1;
            let durable_len = inner.durable_len.min(inner.len);
            let slot = Slot { generation, sealed_len: inner.len, durable_len, ..inner.slot.clone() };
            let (sector, at) = self.encode_slot(&slot, &key);
            SectorForLater { bytes: Box::new(sector), at, sealed_len: slot.sealed_len }
        });
        let mut state = self.data_key.lock();
        // Else it was given back meanwhile, and may be in use again.
        if leaving(&state).is_some() {
            *state = KeyState::Gone(later);
        }
        sealed.map(|()| true)
    }
}
