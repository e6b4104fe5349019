//! Writing: seal every block under a new nonce, then put each where its way leads (see the table in [`super`]).

use super::super::block::TagEntry;
use super::super::geometry::{
    BLOCK, BLOCK_LEN, ENTRY_LEN, FIRST_GROUP, MAX_LEN, block_len, blocks_in, data_offset, entry_in_page,
    lower_len, runs,
};
use super::super::journal::{Kind, RECORD_HEADER, Record};
use super::super::lower::Timespec;
use super::super::overlay::Journaled;
use super::super::{Error, Result};
use super::place::Place;
use super::{File, SEALS_PER_KEY, SEALS_RESERVED};
use crate::crypto::random;
use crate::keys::FileKey;
use std::cell::RefCell;
use std::ops::Range;
use std::time::{Duration, Instant};

/// How long a short last block counts as just being written: well below the time after which the lower kernel
/// writes it out by itself (30 s).
const TAIL_IS_YOUNG: Duration = Duration::from_secs(3);
/// Blocks of one record at most.
const RECORD_BLOCKS: u64 = 256;

/// Which way a block goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// In place: nothing was there.
    Fresh,
    /// Record, then in place.
    Guarded,
    /// Record; in place at the checkpoint.
    Journal,
}

/// What a write does to the modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamp {
    /// It is now.
    Now,
    /// It stays: the content is the same. Only through the journal, since the lower file's own moves in place.
    Keep,
}

/// Blocks sealed and ready to go, ciphertexts back to back.
struct Sealed<'a> {
    first: u64,
    entries: &'a [TagEntry],
    /// Free bytes, then the ciphertexts: whoever puts something in front needs no copy.
    buf: &'a mut [u8],
    /// Where in `buf` the ciphertexts begin.
    data_at: usize,
}

impl Sealed<'_> {
    fn data(&self, blocks: &Range<u64>) -> &[u8] {
        let from = self.data_at + (blocks.start - self.first) as usize * BLOCK_LEN;
        let upto = self.data_at + (blocks.end - self.first) as usize * BLOCK_LEN;
        &self.buf[from..upto.min(self.buf.len())]
    }

    fn entries(&self, blocks: &Range<u64>) -> &[TagEntry] {
        &self.entries[(blocks.start - self.first) as usize..(blocks.end - self.first) as usize]
    }
}

thread_local! {
    /// Ciphertext under construction; grows to the largest write and stays.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl File {
    /// Writes all of `data` at `at`. When it returns, a killed daemon loses nothing of it.
    ///
    /// # Errors
    /// `EFBIG` beyond the longest file; key errors; those of the lower filesystem, `ENOSPC` above all.
    pub fn write(&self, at: u64, data: &[u8]) -> Result<()> {
        let end = at.checked_add(data.len() as u64).filter(|e| *e <= MAX_LEN);
        let end = end.ok_or_else(|| Error::errno(libc::EFBIG))?;
        if data.is_empty() {
            return Ok(());
        }
        self.store.throttle()?;
        loop {
            let key = self.data_key()?;
            let len = self.len();
            // Growing touches the last block and everything behind it.
            let blocks =
                if end > len { (at / BLOCK).min(len / BLOCK)..u64::MAX } else { at / BLOCK..blocks_in(end) };
            let _guard = self.ranges.exclusive(blocks);
            if !self.holds(&key) || (self.len() != len && (end > len || end > self.len())) {
                continue;
            }
            if at > len {
                self.fill_gap(&key, len, at)?;
            }
            return self.write_blocks(&key, at, data);
        }
    }

    /// Makes what lies between the end of the file and `at` a hole. The caller holds everything from the last
    /// block on.
    fn fill_gap(&self, key: &FileKey, len: u64, at: u64) -> Result<()> {
        let tail_end = len.next_multiple_of(BLOCK);
        if tail_end > len && at >= tail_end {
            self.write_blocks(key, len, &vec![0; (tail_end - len) as usize])?;
        }
        if at / BLOCK > blocks_in(len) {
            self.forget_behind(len)?;
            self.allow_holes(key)?;
        }
        Ok(())
    }

    /// Writes whole or partial blocks. The caller holds the range of all of them, and everything behind the end
    /// if the file grows; a gap in front of `at` is filled.
    pub(super) fn write_blocks(&self, key: &FileKey, at: u64, data: &[u8]) -> Result<()> {
        self.write_blocks_as(key, at, data, Stamp::Now)
    }

    /// As [`File::write_blocks`], but for the modification time.
    pub(super) fn write_blocks_as(&self, key: &FileKey, at: u64, data: &[u8], stamp: Stamp) -> Result<()> {
        let old_len = self.len();
        let new_len = old_len.max(at + data.len() as u64);
        let blocks = at / BLOCK..blocks_in(at + data.len() as u64);
        let count = (blocks.end - blocks.start) as usize;
        SCRATCH.with_borrow_mut(|scratch| {
            // Room for a record's header and entries, or for page 0 of a new file.
            let data_at = (RECORD_HEADER + count * ENTRY_LEN).max(BLOCK_LEN);
            let ciphertext = (count - 1) * BLOCK_LEN + block_len(blocks.end - 1, new_len);
            if scratch.len() < data_at + ciphertext {
                scratch.resize(data_at + ciphertext, 0);
            }
            let buf = &mut scratch[..data_at + ciphertext];
            let entries = self.seal_blocks(key, at, data, old_len, new_len, &mut buf[data_at..])?;
            let mut sealed = Sealed { first: blocks.start, entries: &entries, buf, data_at };
            self.place(key, &mut sealed, blocks, (old_len, new_len), stamp)
        })
    }

    /// Seals the blocks that `data` touches into `out`; partial ones are completed from what they hold.
    fn seal_blocks(
        &self,
        key: &FileKey,
        at: u64,
        data: &[u8],
        old_len: u64,
        new_len: u64,
        out: &mut [u8],
    ) -> Result<Vec<TagEntry>> {
        let end = at + data.len() as u64;
        let blocks = at / BLOCK..blocks_in(end);
        let count = blocks.end - blocks.start;
        let generation = self.reserve_seals(key, count)?;
        let mut nonces = vec![[0u8; 12]; count as usize];
        random::fill(nonces.as_flattened_mut());
        let cipher = self.cipher_for(key);
        let mut entries = Vec::with_capacity(count as usize);
        for ((block, nonce), out) in blocks.zip(nonces).zip(out.chunks_mut(BLOCK_LEN)) {
            let start = block * BLOCK;
            let len = block_len(block, new_len);
            let from = at.max(start);
            let upto = end.min(start + len as u64);
            let piece = &data[(from - at) as usize..(upto - at) as usize];
            if piece.len() == len {
                entries.push(cipher.seal(generation, nonce, block, piece, out));
                continue;
            }
            let mut whole = [0u8; BLOCK_LEN];
            if start < old_len {
                self.read_blocks(key, block..block + 1, old_len, &mut whole)?;
                whole[block_len(block, old_len)..].fill(0);
            }
            whole[(from - start) as usize..(upto - start) as usize].copy_from_slice(piece);
            entries.push(cipher.seal(generation, nonce, block, &whole[..len], out));
        }
        Ok(entries)
    }

    /// Counts `count` seals against the block key's budget; returns the generation to seal under.
    pub(super) fn reserve_seals(&self, key: &FileKey, count: u64) -> Result<u32> {
        let mut inner = self.inner.lock();
        inner.seals_used += count;
        if inner.seals_used > inner.slot.seals {
            if inner.seals_used > SEALS_PER_KEY {
                let next = inner.slot.key_generation.checked_add(1);
                inner.slot.key_generation = next.ok_or_else(|| Error::errno(libc::EFBIG))?;
                inner.seals_used = count;
            }
            inner.slot.seals = inner.seals_used + SEALS_RESERVED;
            inner.slot_dirty = true;
            // The first write of a new file brings the slot along, and the first checkpoint that of an older one.
            if !inner.pristine
                && let Some(place) = self.in_place_if_announced()
            {
                self.write_slot_keeping_mtime(place, &mut inner, key)?;
            }
        }
        Ok(inner.slot.key_generation)
    }

    fn place(
        &self,
        key: &FileKey,
        sealed: &mut Sealed<'_>,
        blocks: Range<u64>,
        (old_len, new_len): (u64, u64),
        stamp: Stamp,
    ) -> Result<()> {
        if self.place_first(key, sealed, &blocks, new_len)? {
            return Ok(());
        }
        let ways = self.ways(&blocks, old_len)?;
        let mut start = blocks.start;
        for chunk in ways.chunk_by(|a, b| a == b) {
            let run = start..start + chunk.len() as u64;
            start = run.end;
            // Whatever is to keep its time is there already.
            let way = if stamp == Stamp::Keep { Way::Journal } else { chunk[0] };
            match way {
                Way::Fresh => self.place_fresh(sealed, run, old_len, new_len)?,
                way => {
                    let mut from = run.start;
                    while from < run.end {
                        let piece = from..run.end.min(from + RECORD_BLOCKS);
                        self.place_by_journal(sealed, piece.clone(), way, new_len, stamp)?;
                        from = piece.end;
                    }
                }
            }
        }
        Ok(())
    }

    /// The first write of a new file: header, tags and blocks in one go, if it is so simple.
    fn place_first(
        &self,
        key: &FileKey,
        sealed: &mut Sealed<'_>,
        blocks: &Range<u64>,
        new_len: u64,
    ) -> Result<bool> {
        let Some(place) = self.in_place_if_announced() else { return Ok(false) };
        let mut inner = self.inner.lock();
        let simple = blocks.start == 0 && blocks.end <= FIRST_GROUP && !inner.slot.sparse;
        if !std::mem::take(&mut inner.pristine) || !simple {
            return Ok(false);
        }
        inner.slot.sealed_len = new_len;
        let page0_at = sealed.data_at - BLOCK_LEN;
        let page0 = &mut sealed.buf[page0_at..sealed.data_at];
        page0.fill(0);
        let (sector, at) = self.encode_slot(&inner.slot, key);
        page0[at as usize..at as usize + sector.len()].copy_from_slice(&sector);
        for (block, entry) in sealed.entries.iter().enumerate() {
            let at = entry_in_page(block as u64);
            page0[at..at + ENTRY_LEN].copy_from_slice(&entry.encode());
        }
        if let Err(e) = place.write(&sealed.buf[page0_at..], 0) {
            inner.slot.sealed_len = 0;
            drop(inner);
            place.truncate(lower_len(0))?;
            self.write_header(key)?;
            return Err(e);
        }
        self.store.tags.seed(self.serial, &sealed.buf[page0_at..sealed.data_at]);
        inner.slot_dirty = false;
        inner.len = new_len;
        inner.place_len = new_len;
        inner.tail_born = Some(Instant::now());
        drop(inner);
        self.touched();
        Ok(true)
    }

    /// Which way each block goes.
    fn ways(&self, blocks: &Range<u64>, old_len: u64) -> Result<Vec<Way>> {
        let existing = blocks_in(old_len);
        let count = (blocks.end - blocks.start) as usize;
        let mut ways = vec![Way::Fresh; count];
        let covered = self.inner.lock().layers.covers(blocks.clone());
        if blocks.start >= existing && !covered {
            return Ok(ways);
        }
        let mut entries = Vec::with_capacity(count);
        for run in runs(blocks.start..blocks.end.min(existing).max(blocks.start)) {
            self.store.tags.load(self.tag_file(), run, &mut entries)?;
        }
        let inner = self.inner.lock();
        let young = inner.tail_born.is_some_and(|t| t.elapsed() < TAIL_IS_YOUNG);
        for (i, way) in ways.iter_mut().enumerate() {
            let block = blocks.start + i as u64;
            let covered = covered && inner.layers.covers(block..block + 1);
            if !covered && entries.get(i).is_none_or(TagEntry::is_hole) {
                continue;
            }
            let volatile = young && block + 1 == existing && block * BLOCK >= inner.volatile_from;
            let at_once = (volatile || !self.store.power) && inner.layers.may_write_in_place(block);
            *way = if at_once { Way::Guarded } else { Way::Journal };
        }
        Ok(ways)
    }

    fn place_fresh(&self, sealed: &Sealed<'_>, run: Range<u64>, old_len: u64, new_len: u64) -> Result<()> {
        let place = self.in_place()?;
        if let Err(e) = self.write_in_place(place, sealed, run.clone()) {
            // What stuck out behind the end goes again, so that the lower size still tells the length.
            let inner = self.inner.lock();
            if run.end * BLOCK > inner.place_len {
                place.truncate(lower_len(inner.place_len))?;
                self.store.tags.invalidate_from(self.serial, blocks_in(inner.place_len));
            }
            return Err(e);
        }
        let mut inner = self.inner.lock();
        let end = (run.end * BLOCK).min(new_len);
        inner.grown_in_place(run.start, end);
        inner.len = inner.len.max(end);
        if end > old_len {
            inner.tail_born = Some(Instant::now());
        }
        if inner.mtime.is_some() {
            inner.mtime = Some(Timespec::now());
        }
        drop(inner);
        self.touched();
        Ok(())
    }

    /// Data first, then tags: a daemon killed in between leaves a hole, not a block that fails.
    fn write_in_place(&self, place: Place<'_>, sealed: &Sealed<'_>, run: Range<u64>) -> Result<()> {
        for piece in runs(run) {
            place.write(sealed.data(&piece), data_offset(piece.start))?;
            self.store.tags.store(place.tag_file(), piece.start, sealed.entries(&piece))?;
        }
        Ok(())
    }

    fn place_by_journal(
        &self,
        sealed: &mut Sealed<'_>,
        run: Range<u64>,
        way: Way,
        new_len: u64,
        stamp: Stamp,
    ) -> Result<()> {
        let count = run.end - run.start;
        let mtime = match stamp {
            Stamp::Now => Timespec::now(),
            Stamp::Keep => self.store.lower.fstat(&self.fd)?.mtime,
        };
        let record = Record {
            kind: Kind::Blocks,
            file: self.file_id,
            len_after: 0,
            first: run.start,
            count,
            last_len: block_len(run.end - 1, new_len) as u32,
            mtime,
        };
        let place = if way == Way::Guarded { Some(self.in_place()?) } else { None };
        let mut in_place = place.is_some();
        let entries = sealed.entries(&run).to_vec();
        let whole = run.start == sealed.first && run.end - run.start == sealed.entries.len() as u64;
        let mut copied;
        let buf = if whole {
            let at = sealed.data_at - RECORD_HEADER - count as usize * ENTRY_LEN;
            &mut sealed.buf[at..]
        } else {
            copied = vec![0; RECORD_HEADER + count as usize * ENTRY_LEN];
            copied.extend_from_slice(sealed.data(&run));
            &mut copied[..]
        };
        for (entry, raw) in entries.iter().zip(buf[RECORD_HEADER..].chunks_exact_mut(ENTRY_LEN)) {
            raw.copy_from_slice(&entry.encode());
        }
        // Held until the blocks are in place: a checkpoint must not retire the record before.
        let _epoch = self.record(&record, buf, |inner, appended| {
            // An fsync or a checkpoint may have come since the way was chosen.
            let volatile = |b: u64| !self.store.power || b * BLOCK >= inner.volatile_from;
            in_place &= run.clone().all(|b| volatile(b) && inner.layers.may_write_in_place(b));
            for (i, entry) in entries.iter().enumerate() {
                let journaled = Journaled {
                    segment: std::sync::Arc::clone(&appended.segment),
                    at: appended.payload_at + record.ciphertext_at(i as u64) as u64,
                    entry: *entry,
                    len: record.block_len(i as u64) as u32,
                    in_place,
                };
                inner.layers.active.put(run.start + i as u64, journaled);
            }
            if stamp == Stamp::Keep {
                // Read again under the lock: somebody may have written in place meanwhile.
                let now = || self.store.lower.fstat(&self.fd).map_or(mtime, |stat| stat.mtime);
                let kept = inner.mtime.unwrap_or_else(now);
                inner.mtime = Some(kept);
                inner.layers.active.mtime = Some(kept);
            } else if !in_place {
                inner.mtime = Some(mtime);
                inner.changed = Some(mtime);
                inner.layers.active.mtime = Some(mtime);
                inner.len = inner.len.max((run.end * BLOCK).min(new_len));
            }
        })?;
        if let Some(place) = place.filter(|_| in_place) {
            let end = (run.end * BLOCK).min(new_len);
            let placed = self.write_in_place(place, sealed, run.clone());
            let mut inner = self.inner.lock();
            inner.len = inner.len.max(end);
            match placed {
                Ok(()) => inner.place_len = inner.place_len.max(end),
                // The record holds the contents; a later checkpoint will find a way.
                Err(e) => {
                    log::warn!("inode {}: kept in the journal for now: {e}", self.key.1);
                    for block in run {
                        if let Some(journaled) = inner.layers.active.blocks.get_mut(&block) {
                            journaled.in_place = false;
                        }
                    }
                }
            }
            drop(inner);
            self.touched();
        }
        Ok(())
    }
}
