//! What the journal says of one file: changes that the file itself does not hold yet. No I/O.
//!
//! An [`Overlay`] is built the same way while the volume is mounted and at replay: record after record. A
//! checkpoint *freezes* it ([`Layers::freeze`]), applies it to the lower file and then drops it, while new
//! changes collect in a fresh one on top. As long as a layer says anything of a block, the journal holds a
//! record of it that a replay would apply; so new contents of that block must go through the journal too.

use super::block::TagEntry;
use super::geometry::{BLOCK, blocks_in};
use super::journal::Segment;
use super::lower::Timespec;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Where the current contents of a block lie in the journal.
#[derive(Debug, Clone)]
pub struct Journaled {
    /// The segment, kept alive while somebody may read it.
    pub segment: Arc<Segment>,
    /// Offset of the ciphertext in the segment.
    pub at: u64,
    /// What authenticates it.
    pub entry: TagEntry,
    /// Its length.
    pub len: u32,
    /// The lower file holds it as well already; the record only guards against a killed daemon.
    pub in_place: bool,
}

/// Where the current contents of a block are.
#[derive(Debug, Clone)]
pub enum Source {
    /// In the lower file, if it is there at all.
    InPlace,
    /// Nowhere: zeros.
    Hole,
    /// In the journal.
    Journal(Journaled),
}

/// Changes of one file between two checkpoints.
#[derive(Debug, Default)]
pub struct Overlay {
    /// New contents by block.
    pub blocks: BTreeMap<u64, Journaled>,
    /// Blocks of the lower file that are dead since a cut: all from this one on.
    pub cut: Option<u64>,
    /// Runs of blocks of the lower file that became holes; disjoint, sorted.
    pub holes: Vec<Range<u64>>,
    /// With a cut: the plaintext length, exactly. Without: the length the records ask for at least.
    pub len: u64,
    /// The modification time the records ask for.
    pub mtime: Option<Timespec>,
}

impl Overlay {
    /// Does it say nothing?
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.cut.is_none() && self.holes.is_empty() && self.len == 0
    }

    /// New contents of `block`, plaintext length `journaled.len`.
    pub fn put(&mut self, block: u64, journaled: Journaled) {
        self.len = self.len.max(block * BLOCK + u64::from(journaled.len));
        self.blocks.insert(block, journaled);
    }

    /// The file is cut to `len`; a new short last block follows by [`Overlay::put`].
    pub fn cut_to(&mut self, len: u64) {
        let first_dead = blocks_in(len);
        self.blocks.split_off(&first_dead);
        self.holes.retain_mut(|h| {
            h.end = h.end.min(first_dead);
            h.start < h.end
        });
        self.cut = Some(self.cut.map_or(first_dead, |c| c.min(first_dead)));
        self.len = len;
    }

    /// `blocks` become a hole.
    pub fn punch(&mut self, blocks: Range<u64>) {
        let behind = self.blocks.split_off(&blocks.start);
        self.blocks.extend(behind.into_iter().filter(|(b, _)| *b >= blocks.end));
        let mut merged = blocks;
        self.holes.retain(|h| {
            let apart = h.end < merged.start || merged.end < h.start;
            if !apart {
                merged = merged.start.min(h.start)..merged.end.max(h.end);
            }
            apart
        });
        let at = self.holes.partition_point(|h| h.start < merged.start);
        self.holes.insert(at, merged);
    }

    /// The file is at least `len` long.
    pub fn grow_to(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    fn duplicate(&self) -> Overlay {
        Overlay {
            blocks: self.blocks.clone(),
            cut: self.cut,
            holes: self.holes.clone(),
            len: self.len,
            mtime: self.mtime,
        }
    }

    /// What this layer says of `block`; `None` if nothing.
    fn source(&self, block: u64) -> Option<Source> {
        if let Some(journaled) = self.blocks.get(&block) {
            return Some(Source::Journal(journaled.clone()));
        }
        let dead = self.cut.is_some_and(|c| block >= c) || self.in_hole(block);
        dead.then_some(Source::Hole)
    }

    /// Enters what `newer` says on top.
    fn stack(&mut self, newer: Overlay) {
        if newer.cut.is_some() {
            // The cut came with a length that later records raised; only what is below the cut stays.
            self.cut_to(newer.cut.unwrap_or(0) * BLOCK);
            self.len = 0;
        }
        for hole in newer.holes {
            self.punch(hole);
        }
        self.blocks.extend(newer.blocks);
        self.len = self.len.max(newer.len);
        self.mtime = newer.mtime.or(self.mtime);
    }

    fn in_hole(&self, block: u64) -> bool {
        let after = self.holes.partition_point(|h| h.start <= block);
        after > 0 && block < self.holes[after - 1].end
    }
}

/// The overlay in the making and the one being checkpointed.
#[derive(Debug, Default)]
pub struct Layers {
    /// Takes new records.
    pub active: Overlay,
    /// Being applied to the lower file.
    pub frozen: Option<Arc<Overlay>>,
}

impl Layers {
    /// Does no layer say anything?
    pub fn is_empty(&self) -> bool {
        self.active.is_empty() && self.frozen.is_none()
    }

    /// Where the current contents of `block` are.
    pub fn source(&self, block: u64) -> Source {
        let frozen = || self.frozen.as_ref().and_then(|f| f.source(block));
        self.active.source(block).or_else(frozen).unwrap_or(Source::InPlace)
    }

    /// Does a layer say anything of a block in `blocks`?
    pub fn covers(&self, blocks: Range<u64>) -> bool {
        let by = |o: &Overlay| {
            o.cut.is_some_and(|c| c < blocks.end)
                || o.holes.iter().any(|h| h.start < blocks.end && blocks.start < h.end)
                || o.blocks.range(blocks.clone()).next().is_some()
        };
        by(&self.active) || self.frozen.as_deref().is_some_and(by)
    }

    /// May `block` be rewritten in the lower file at once, its record being a guard only? Not while an older
    /// record of it still waits to be applied: applying that would undo the newer contents.
    pub fn may_write_in_place(&self, block: u64) -> bool {
        let by = |o: &Overlay| match o.source(block) {
            None => true,
            Some(Source::Journal(j)) => j.in_place,
            Some(_) => false,
        };
        by(&self.active) && self.frozen.as_deref().is_none_or(by)
    }

    /// Is a cut waiting to be applied?
    pub fn has_cut(&self) -> bool {
        self.active.cut.is_some() || self.frozen.as_ref().is_some_and(|f| f.cut.is_some())
    }

    /// Takes the frozen layer back under the active one: its checkpoint failed.
    pub fn unfreeze(&mut self) {
        if let Some(frozen) = self.frozen.take() {
            let newer = std::mem::take(&mut self.active);
            // A reader may still hold the frozen layer for a moment; its contents are shared, not moved.
            self.active = Arc::try_unwrap(frozen).unwrap_or_else(|shared| shared.duplicate());
            self.active.stack(newer);
        }
    }

    /// Hands the active layer over to a checkpoint; there must be no frozen one.
    pub fn freeze(&mut self) -> Arc<Overlay> {
        debug_assert!(self.frozen.is_none(), "one checkpoint at a time");
        let frozen = Arc::new(std::mem::take(&mut self.active));
        self.frozen = Some(Arc::clone(&frozen));
        frozen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journaled(tag: u8, len: u32) -> Journaled {
        let entry = TagEntry { generation: 1, nonce: [tag; 12], tag: [tag; 16] };
        Journaled { segment: Segment::detached(), at: 0, entry, len, in_place: false }
    }

    fn describe(layers: &Layers, block: u64) -> String {
        match layers.source(block) {
            Source::InPlace => "place".into(),
            Source::Hole => "hole".into(),
            Source::Journal(j) => j.entry.tag[0].to_string(),
        }
    }

    #[test]
    fn the_newest_record_of_a_block_counts() {
        let mut layers = Layers::default();
        layers.active.put(1, journaled(1, 4096));
        layers.active.put(2, journaled(2, 4096));
        layers.freeze();
        layers.active.punch(2..5);
        layers.active.put(4, journaled(4, 4096));
        let seen: Vec<_> = (0..6).map(|b| describe(&layers, b)).collect();
        assert_eq!(seen, ["place", "1", "hole", "hole", "4", "place"]);
        layers.active.cut_to(BLOCK + 1);
        let seen: Vec<_> = (0..6).map(|b| describe(&layers, b)).collect();
        assert_eq!(seen, ["place", "1", "hole", "hole", "hole", "hole"]);
        assert!(layers.has_cut() && layers.covers(9..10) && !layers.covers(0..1));
        assert!(!layers.may_write_in_place(9) && layers.may_write_in_place(0));
    }

    #[test]
    fn holes_merge_and_are_cut() {
        let mut o = Overlay::default();
        for hole in [10..20, 30..40, 15..30, 50..60] {
            o.punch(hole);
        }
        assert_eq!(o.holes, [10..40, 50..60]);
        o.cut_to(15 * BLOCK);
        assert_eq!(o.holes.as_slice(), std::slice::from_ref(&(10..15)));
        assert_eq!((o.cut, o.len), (Some(15), 15 * BLOCK));
        o.grow_to(16 * BLOCK);
        assert_eq!(o.len, 16 * BLOCK);
    }

    #[test]
    fn growth_is_remembered() {
        let mut o = Overlay::default();
        o.put(3, journaled(1, 100));
        assert_eq!(o.len, 3 * BLOCK + 100);
        o.punch(3..4);
        assert_eq!(o.len, 3 * BLOCK + 100, "punching leaves the length");
    }
}
