//! Changing a file's shape: length, holes, allocation; and asking where its holes are.

use super::super::block::TagEntry;
use super::super::geometry::{
    BLOCK, BLOCK_LEN, ENTRY_LEN, MAX_LEN, block_len, blocks_in, data_offset, group_blocks, group_of,
    lower_len, plain_len_floor, tag_page_offset,
};
use super::super::journal::{Kind, RECORD_HEADER, Record};
use super::super::lower::Timespec;
use super::super::overlay::{Journaled, Source};
use super::super::ranges::RangeGuard;
use super::super::{Error, Result, apply};
use super::File;
use crate::keys::FileKey;
use std::sync::Arc;

impl File {
    /// Sets the plaintext length; what is added is a hole.
    ///
    /// # Errors
    /// `EFBIG` beyond the longest file; key errors; those of the lower filesystem.
    pub fn set_len(&self, len: u64) -> Result<()> {
        if len > MAX_LEN {
            return Err(Error::errno(libc::EFBIG));
        }
        self.store.throttle()?;
        let (key, _guard) = self.whole_with_key()?;
        let old = self.len();
        match len.cmp(&old) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => self.grow(&key, old, len),
            std::cmp::Ordering::Less => self.shrink(&key, old, len),
        }
    }

    /// Locks the whole file, with its key.
    fn whole_with_key(&self) -> Result<(Arc<FileKey>, RangeGuard<'_>)> {
        loop {
            let key = self.data_key()?;
            let guard = self.ranges.whole();
            if self.holds(&key) {
                return Ok((key, guard));
            }
        }
    }

    /// A write that failed half way may have left tags behind the end, at `len`; a hole must not find them.
    pub(super) fn forget_behind(&self, len: u64) -> Result<()> {
        apply::forget_behind(self.in_place()?.tag_file(), &self.store.tags, len, blocks_in(len)).map(drop)
    }

    /// Grows by a hole. The caller holds the whole file.
    fn grow(&self, key: &FileKey, old: u64, len: u64) -> Result<()> {
        let padded = old.next_multiple_of(BLOCK).min(len);
        if padded > old {
            self.write_blocks(key, old, &vec![0; (padded - old) as usize])?;
        }
        if padded == len {
            return Ok(());
        }
        self.forget_behind(padded)?;
        self.allow_holes(key)?;
        if self.inner.lock().layers.has_cut() {
            let record = Record { len_after: len, ..self.blank(Kind::Length) };
            let _epoch = self.record(&record, &mut [0; RECORD_HEADER], |inner, _| {
                inner.layers.active.grow_to(len);
                inner.len = len;
                inner.mtime = Some(record.mtime);
                inner.changed = Some(record.mtime);
                inner.layers.active.mtime = Some(record.mtime);
            })?;
            return Ok(());
        }
        let place = self.in_place()?;
        let mut inner = self.inner.lock();
        place.truncate(lower_len(len))?;
        self.store.tags.invalidate_from(self.serial, blocks_in(inner.place_len));
        inner.grown_in_place(blocks_in(old), len);
        inner.len = len;
        self.changed_in_place(&mut inner);
        Ok(())
    }

    /// Cuts. The caller holds the whole file.
    fn shrink(&self, key: &FileKey, old: u64, len: u64) -> Result<()> {
        let first_dead = blocks_in(len);
        let direct = {
            let inner = self.inner.lock();
            // A cut into what an fsync covered must not reach the disk before the header admits it.
            len.is_multiple_of(BLOCK)
                && len >= inner.durable_len
                && !inner.layers.has_cut()
                && !inner.layers.covers(first_dead..u64::MAX)
        };
        if direct {
            return self.shrink_in_place(key, len);
        }
        let tail_len = (len % BLOCK) as usize;
        let mut buf = vec![0; RECORD_HEADER];
        let mut tail = None;
        if tail_len > 0 {
            let mut plain = [0; BLOCK_LEN];
            self.read_blocks(key, first_dead - 1..first_dead, old, &mut plain)?;
            buf.resize(RECORD_HEADER + ENTRY_LEN + tail_len, 0);
            let (head, sealed) = buf.split_at_mut(RECORD_HEADER + ENTRY_LEN);
            let entry = self.seal_one(key, first_dead - 1, &plain[..tail_len], sealed)?;
            head[RECORD_HEADER..].copy_from_slice(&entry.encode());
            tail = Some(entry);
        }
        let record = Record {
            len_after: len,
            first: if tail.is_some() { first_dead - 1 } else { first_dead },
            count: u64::from(tail.is_some()),
            last_len: tail_len as u32,
            ..self.blank(Kind::Cut)
        };
        let _epoch = self.record(&record, &mut buf, |inner, appended| {
            inner.layers.active.cut_to(len);
            if let Some(entry) = tail {
                let journaled = Journaled {
                    segment: Arc::clone(&appended.segment),
                    at: appended.payload_at + ENTRY_LEN as u64,
                    entry,
                    len: tail_len as u32,
                    in_place: false,
                };
                inner.layers.active.put(record.first, journaled);
            }
            inner.len = len;
            inner.mtime = Some(record.mtime);
            inner.changed = Some(record.mtime);
            inner.layers.active.mtime = Some(record.mtime);
            inner.volatile_from = inner.volatile_from.min(first_dead * BLOCK);
        })?;
        Ok(())
    }

    /// Cuts to whole blocks of which the journal says nothing: the header first, so that a file that is longer
    /// than its header says was cut, not grown.
    fn shrink_in_place(&self, key: &FileKey, len: u64) -> Result<()> {
        let place = self.in_place()?;
        let mut inner = self.inner.lock();
        let before = inner.place_len;
        inner.cut_in_place(len);
        inner.place_len = len;
        inner.len = len;
        self.write_slot(place, &mut inner, key)?;
        apply::cut_in_place(place.tag_file(), &self.store.tags, before, len)?;
        inner.volatile_from = inner.volatile_from.min(len);
        self.changed_in_place(&mut inner);
        Ok(())
    }

    /// Makes `len` bytes from `at` on read as zeros and gives whole blocks of them back; the length stays.
    ///
    /// # Errors
    /// Key errors; those of the lower filesystem.
    pub fn punch(&self, at: u64, len: u64) -> Result<()> {
        self.store.throttle()?;
        let (key, _guard) = self.whole_with_key()?;
        let file_len = self.len();
        let end = at.saturating_add(len).min(file_len);
        if at >= end {
            return Ok(());
        }
        let first = blocks_in(at);
        // A short last block counts as whole where the hole reaches its end.
        let last = if end == file_len { blocks_in(end) } else { end / BLOCK };
        if first >= last {
            return self.write_blocks(&key, at, &vec![0; (end - at) as usize]);
        }
        if at < first * BLOCK {
            self.write_blocks(&key, at, &vec![0; (first * BLOCK - at) as usize])?;
        }
        if last * BLOCK < end {
            self.write_blocks(&key, last * BLOCK, &vec![0; (end - last * BLOCK) as usize])?;
        }
        self.allow_holes(&key)?;
        let record = Record { first, count: last - first, ..self.blank(Kind::Hole) };
        let _epoch = self.record(&record, &mut [0; RECORD_HEADER], |inner, _| {
            inner.layers.active.punch(first..last);
            inner.mtime = Some(record.mtime);
            inner.changed = Some(record.mtime);
            inner.layers.active.mtime = Some(record.mtime);
        })?;
        Ok(())
    }

    /// Makes a range read as zeros, growing the file to its end unless `keep_size`.
    ///
    /// # Errors
    /// As [`File::punch`] and [`File::set_len`].
    pub fn zero_range(&self, at: u64, len: u64, keep_size: bool) -> Result<()> {
        let end = at.checked_add(len).filter(|e| *e <= MAX_LEN).ok_or_else(|| Error::errno(libc::EFBIG))?;
        self.punch(at, len)?;
        if !keep_size && end > self.len() { self.set_len(end) } else { Ok(()) }
    }

    /// Reserves space on the lower filesystem, growing the file to the range's end unless `keep_size`.
    ///
    /// # Errors
    /// As [`File::set_len`]; `ENOSPC`, `EOPNOTSUPP` from the lower filesystem.
    pub fn allocate(&self, at: u64, len: u64, keep_size: bool) -> Result<()> {
        let end = at.checked_add(len).filter(|e| *e <= MAX_LEN).ok_or_else(|| Error::errno(libc::EFBIG))?;
        let (first, last) = (at / BLOCK, blocks_in(end));
        let from = data_offset(first);
        let upto = data_offset(last.max(first + 1) - 1) + BLOCK;
        self.data_key()?;
        // Room alone is no change that recovery would have to make good: size, header, tags and data stay.
        self.store.lower.fallocate(&self.fd, libc::FALLOC_FL_KEEP_SIZE, from, upto - from)?;
        self.touched();
        if !keep_size && end > self.len() { self.set_len(end) } else { Ok(()) }
    }

    /// The next data (`SEEK_DATA`) or hole (`SEEK_HOLE`) from `at` on.
    ///
    /// # Errors
    /// `ENXIO` at or behind the end, or where no data follows; those of the lower filesystem.
    pub fn seek(&self, at: u64, whence: i32) -> Result<u64> {
        let want_hole = match whence {
            libc::SEEK_HOLE => true,
            libc::SEEK_DATA => false,
            _ => return Err(Error::errno(libc::EINVAL)),
        };
        let _guard = self.ranges.shared(0..u64::MAX);
        let len = self.len();
        if at >= len {
            return Err(Error::errno(libc::ENXIO));
        }
        let mut block = at / BLOCK;
        while block < blocks_in(len) {
            let upto = group_blocks(group_of(block)).end.min(blocks_in(len));
            if let Some(next) = self.skip_hole(block, want_hole)? {
                block = next;
                continue;
            }
            if let Some(found) = self.seek_in_group(block, upto, want_hole)? {
                return Ok(at.max(found * BLOCK));
            }
            block = upto;
        }
        if want_hole { Ok(len) } else { Err(Error::errno(libc::ENXIO)) }
    }

    fn seek_in_group(&self, first: u64, upto: u64, want_hole: bool) -> Result<Option<u64>> {
        let mut entries = Vec::new();
        if self.tags_may_exist(first)? {
            self.store.tags.load(self.tag_file(), first..upto, &mut entries)?;
        } else {
            entries.resize((upto - first) as usize, TagEntry::HOLE);
        }
        let inner = self.inner.lock();
        Ok((first..upto).zip(entries).find_map(|(block, entry)| {
            let hole = match inner.layers.source(block) {
                Source::InPlace => entry.is_hole(),
                Source::Hole => true,
                Source::Journal(_) => false,
            };
            (hole == want_hole).then_some(block)
        }))
    }

    /// The first block of the next group that can hold data, where the group of `block` and what the journal
    /// says cannot: a file of holes may be 2^50 blocks long.
    fn skip_hole(&self, block: u64, want_hole: bool) -> Result<Option<u64>> {
        if want_hole || !self.inner.lock().layers.is_empty() {
            return Ok(None);
        }
        let page = tag_page_offset(group_of(block));
        let Some(data) = self.tag_file().next_data(page)? else { return Ok(Some(u64::MAX)) };
        let next = group_blocks(group_of(plain_len_floor(data) / BLOCK)).start;
        Ok((next > block).then_some(next))
    }

    /// Does the lower file hold anything in the tag page of `block`? Spares reading the holes of huge files.
    fn tags_may_exist(&self, block: u64) -> Result<bool> {
        let page = tag_page_offset(group_of(block));
        Ok(self.tag_file().next_data(page)?.is_some_and(|data| data < page + BLOCK))
    }

    /// From now on a zero tag entry is a hole. In the header before the first hole is made.
    pub(super) fn allow_holes(&self, key: &FileKey) -> Result<()> {
        if self.inner.lock().slot.sparse {
            return Ok(());
        }
        let place = self.in_place()?;
        let mut inner = self.inner.lock();
        inner.slot.sparse = true;
        if let Err(e) = self.write_slot(place, &mut inner, key) {
            inner.slot.sparse = false;
            return Err(e);
        }
        drop(inner);
        self.touched();
        Ok(())
    }

    fn seal_one(&self, key: &FileKey, block: u64, plain: &[u8], out: &mut [u8]) -> Result<TagEntry> {
        debug_assert_eq!(plain.len(), block_len(0, plain.len() as u64));
        let generation = self.reserve_seals(key, 1)?;
        let mut nonce = [0; 12];
        crate::crypto::random::fill(&mut nonce);
        Ok(self.cipher_for(key).seal(generation, nonce, block, plain, out))
    }

    fn blank(&self, kind: Kind) -> Record {
        let mtime = Timespec::now();
        Record { kind, file: self.file_id, len_after: 0, first: 0, count: 0, last_len: 0, mtime }
    }

    /// The lower file's own modification time moved on.
    fn changed_in_place(&self, inner: &mut super::Inner) {
        if inner.mtime.is_some() {
            inner.mtime = Some(Timespec::now());
        }
        self.touched();
    }
}
