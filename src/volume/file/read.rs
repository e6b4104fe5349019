//! Reading: every byte comes out of a block that authenticated, or out of a hole the header allows.

use super::super::Result;
use super::super::block::TagEntry;
use super::super::geometry::{BLOCK, BLOCK_LEN, block_len, blocks_in, data_offset, runs};
use super::super::overlay::Source;
use super::File;
use crate::keys::FileKey;
use std::ops::Range;

impl File {
    /// Appends up to `len` bytes from `at` on to `out`; fewer only at the end of the file.
    ///
    /// # Errors
    /// [`super::Error::Corrupt`] where a block does not authenticate; key errors; those of the lower
    /// filesystem. `out` then holds no more than before.
    pub fn read(&self, at: u64, len: usize, out: &mut Vec<u8>) -> Result<()> {
        let end = at.saturating_add(len as u64);
        let keep = out.len();
        loop {
            let key = self.data_key()?;
            let guard = self.ranges.shared(at / BLOCK..blocks_in(end));
            if !self.holds(&key) {
                continue;
            }
            self.read_with(&key, at, end, out)?;
            drop(guard);
            // The lower filesystem may have taken its time, and the key may have been taken away meanwhile.
            if self.holds(&key) {
                return Ok(());
            }
            out.truncate(keep);
        }
    }

    /// Appends what lies between `at` and `end` to `out`. The caller holds the range.
    fn read_with(&self, key: &FileKey, at: u64, end: u64, out: &mut Vec<u8>) -> Result<()> {
        let file_len = self.len();
        let end = end.min(file_len);
        if at >= end {
            return Ok(());
        }
        let keep = out.len();
        let blocks = at / BLOCK..blocks_in(end);
        out.resize(keep + (blocks.end - blocks.start) as usize * BLOCK_LEN, 0);
        if let Err(e) = self.read_blocks(key, blocks.clone(), file_len, &mut out[keep..]) {
            out.truncate(keep);
            return Err(e);
        }
        let skip = (at - blocks.start * BLOCK) as usize;
        out.truncate(keep + (end - blocks.start * BLOCK) as usize);
        if skip > 0 {
            out.drain(keep..keep + skip);
        }
        Ok(())
    }

    /// Reads whole blocks into `out`, 4096 bytes each; what lies behind the end of the file is left alone.
    /// The caller holds the blocks' range.
    pub(super) fn read_blocks(
        &self,
        key: &FileKey,
        blocks: Range<u64>,
        file_len: u64,
        out: &mut [u8],
    ) -> Result<()> {
        if !self.inner.lock().layers.covers(blocks.clone()) {
            return self.read_in_place(key, blocks.clone(), blocks.start, file_len, out);
        }
        let mut at = blocks.start;
        while at < blocks.end {
            let (run, source) = self.next_run(at, blocks.end);
            let from = ((at - blocks.start) as usize) * BLOCK_LEN;
            let piece = &mut out[from..from + (run.end - run.start) as usize * BLOCK_LEN];
            match source {
                Source::InPlace => self.read_in_place(key, run.clone(), run.start, file_len, piece)?,
                Source::Hole => piece.fill(0),
                Source::Journal(j) if j.in_place => {
                    self.read_in_place(key, run.clone(), run.start, file_len, piece)?;
                }
                Source::Journal(j) => {
                    let len = block_len(at, file_len);
                    let stored = j.len as usize;
                    j.segment.read(&*self.store.lower, &mut piece[..stored], j.at)?;
                    if stored > len || self.cipher_for(key).open(&j.entry, at, &mut piece[..stored]).is_err()
                    {
                        return Err(
                            self.corrupt(format_args!("block {at} in the journal does not authenticate"))
                        );
                    }
                    piece[stored..].fill(0);
                }
            }
            at = run.end;
        }
        Ok(())
    }

    /// The blocks from `at` on whose contents are in one place; journaled ones come singly.
    fn next_run(&self, at: u64, end: u64) -> (Range<u64>, Source) {
        let inner = self.inner.lock();
        let source = inner.layers.source(at);
        let same = |b: u64| {
            matches!(
                (&source, inner.layers.source(b)),
                (Source::InPlace, Source::InPlace) | (Source::Hole, Source::Hole)
            )
        };
        let mut upto = at + 1;
        while upto < end && same(upto) {
            upto += 1;
        }
        (at..upto, source)
    }

    /// Reads blocks from the lower file. `out` begins at block `base`.
    fn read_in_place(
        &self,
        key: &FileKey,
        blocks: Range<u64>,
        base: u64,
        file_len: u64,
        out: &mut [u8],
    ) -> Result<()> {
        let (place_len, sparse) = {
            let inner = self.inner.lock();
            (inner.place_len, inner.slot.sparse)
        };
        let mut entries = Vec::with_capacity((blocks.end - blocks.start).min(128) as usize);
        for run in runs(blocks) {
            entries.clear();
            self.store.tags.load(self.tag_file(), run.clone(), &mut entries)?;
            let from = (run.start - base) as usize * BLOCK_LEN;
            let piece = &mut out[from..from + (run.end - run.start) as usize * BLOCK_LEN];
            if entries.iter().any(|e| !e.is_hole()) {
                let lower_bytes = (run.end * BLOCK)
                    .min(place_len)
                    .saturating_sub(run.start * BLOCK)
                    .min(piece.len() as u64);
                let wanted = &mut piece[..lower_bytes as usize];
                let n = self.store.lower.pread(&self.fd, wanted, data_offset(run.start))?;
                wanted[n..].fill(0);
            }
            for ((block, entry), piece) in run.clone().zip(&entries).zip(piece.chunks_exact_mut(BLOCK_LEN)) {
                let len = block_len(block, file_len);
                self.open_in_place(key, block, entry, sparse, place_len, &mut piece[..len])?;
            }
        }
        Ok(())
    }

    fn open_in_place(
        &self,
        key: &FileKey,
        block: u64,
        entry: &TagEntry,
        sparse: bool,
        place_len: u64,
        piece: &mut [u8],
    ) -> Result<()> {
        if entry.is_hole() {
            piece.fill(0);
            return if sparse {
                Ok(())
            } else {
                Err(self.corrupt(format_args!("block {block} has no tag, and the file has no holes")))
            };
        }
        if block_len(block, place_len) != piece.len()
            || self.cipher_for(key).open(entry, block, piece).is_err()
        {
            return Err(self.corrupt(format_args!("block {block} does not authenticate")));
        }
        Ok(())
    }
}
