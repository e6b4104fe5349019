//! Bringing the journal's changes of one file into place: at a checkpoint and at replay alike.
//!
//! Every step can be repeated: the records stay in the journal until all of it is durable. Blocks an overlay
//! speaks of are nobody else's to write in place, so this needs no block locks.

use super::Result;
use super::block::TagEntry;
use super::geometry::{
    BLOCK, BLOCK_LEN, blocks_in, data_offset, group_blocks, group_of, lower_len, runs, tag_page_offset,
};
use super::overlay::{Journaled, Overlay};
use super::tags::{TagCache, TagFile};
use std::ops::Range;

/// Blocks between two calls of the breather: 1 MiB.
const BREATH: usize = 256;

/// Applies `overlay` to the lower file, whose plaintext has `place_len` bytes; returns how many it has then.
/// Calls `breathe` now and then, so that a checkpoint in the background can leave others room.
///
/// # Errors
/// Those of the lower filesystem; corruption if the journal's own bytes cannot be read back.
pub fn apply(
    file: TagFile<'_>,
    tags: &TagCache,
    overlay: &Overlay,
    place_len: u64,
    breathe: &mut dyn FnMut() -> Result<()>,
) -> Result<u64> {
    let mut place_len = place_len;
    if let Some(cut) = overlay.cut {
        place_len = cut_in_place(file, tags, place_len, cut * BLOCK)?;
    }
    for hole in &overlay.holes {
        punch_in_place(file, tags, hole.start..hole.end.min(blocks_in(place_len)))?;
    }
    let mut waiting = overlay.blocks.iter().filter(|(_, j)| !j.in_place).map(|(b, j)| (*b, j)).peekable();
    let mut since_breath = 0;
    while let Some((first, journaled)) = waiting.next() {
        let mut run = vec![journaled];
        let group_end = group_blocks(group_of(first)).end;
        while let Some((_, next)) =
            waiting.next_if(|(b, _)| *b == first + run.len() as u64 && *b < group_end && run.len() < 64)
        {
            run.push(next);
        }
        write_run(file, tags, first, &run)?;
        since_breath += run.len();
        if since_breath >= BREATH {
            since_breath = 0;
            breathe()?;
        }
    }
    if overlay.cut.is_some() {
        place_len = overlay.len;
        file.lower.truncate(file.fd, lower_len(place_len))?;
    } else if overlay.len > place_len {
        place_len = overlay.len;
        if file.lower.fstat(file.fd)?.size < lower_len(place_len) {
            file.lower.truncate(file.fd, lower_len(place_len))?;
        }
    }
    Ok(place_len)
}

/// Cuts the lower file to the whole blocks below `len`, a multiple of the block size; entries behind it become
/// zero, so that growth later finds holes: all that the page has room for, since a crash may have kept an earlier
/// cut's length and lost its zeros. Returns the plaintext length that is left.
///
/// # Errors
/// Those of the lower filesystem.
pub fn cut_in_place(file: TagFile<'_>, tags: &TagCache, place_len: u64, len: u64) -> Result<u64> {
    let (old, new) = (blocks_in(place_len), blocks_in(len));
    forget_behind(file, tags, len.min(place_len), new)?;
    if new >= old {
        return Ok(place_len);
    }
    file.lower.truncate(file.fd, lower_len(len))?;
    tags.invalidate_from(file.serial, new);
    Ok(len)
}

/// Makes the entries from block `first` on zero, in the tag page that stays with a file of `len` bytes. Returns
/// whether one of them was not.
///
/// # Errors
/// Those of the lower filesystem.
pub fn forget_behind(file: TagFile<'_>, tags: &TagCache, len: u64, first: u64) -> Result<bool> {
    let group = group_of(first);
    if tag_page_offset(group) >= lower_len(len) {
        return Ok(false);
    }
    let mut entries = Vec::new();
    tags.load(file, first..group_blocks(group).end, &mut entries)?;
    let stale = entries.iter().any(|e| !e.is_hole());
    if stale {
        entries.fill(TagEntry::HOLE);
        tags.store(file, first, &entries)?;
    }
    Ok(stale)
}

/// Turns whole blocks into holes and gives their space back where the lower filesystem can.
fn punch_in_place(file: TagFile<'_>, tags: &TagCache, blocks: Range<u64>) -> Result<()> {
    for run in runs(blocks) {
        let count = run.end - run.start;
        if is_unallocated(file, &run)? {
            continue;
        }
        tags.store(file, run.start, &vec![TagEntry::HOLE; count as usize])?;
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        match file.lower.fallocate(file.fd, mode, data_offset(run.start), count * BLOCK) {
            Err(e) if e.raw_os_error() != Some(libc::EOPNOTSUPP) => return Err(e.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Has the lower file nothing where the entries and the data of `run` would be? Punching the holes of a huge file
/// must not write a tag page for each.
fn is_unallocated(file: TagFile<'_>, run: &Range<u64>) -> Result<bool> {
    let from = tag_page_offset(group_of(run.start));
    Ok(file.next_data(from)?.is_none_or(|data| data >= data_offset(run.end - 1) + BLOCK))
}

/// Copies a run of blocks, contiguous and of one group, from the journal into place: data first, then tags.
fn write_run(file: TagFile<'_>, tags: &TagCache, first: u64, run: &[&Journaled]) -> Result<()> {
    let mut data = vec![0; run.iter().map(|j| j.len as usize).sum()];
    let mut entries = Vec::with_capacity(run.len());
    for (piece, journaled) in data.chunks_mut(BLOCK_LEN).zip(run) {
        journaled.segment.read(file.lower, piece, journaled.at)?;
        entries.push(journaled.entry);
    }
    file.lower.pwrite(file.fd, &data, data_offset(first))?;
    tags.store(file, first, &entries)
}
