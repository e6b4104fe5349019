//! Where everything lies in a lower file: pure arithmetic, no I/O.
//!
//! A lower file is a row of 4096-byte pages. Page 0 holds the header and the tag entries of the first 96
//! blocks; 96 data pages follow; after them come groups of one tag page (128 entries) and 128 data pages. The
//! last data page is cut to the plaintext's length, so that plaintext size and lower size determine each other
//! and nobody has to open a file to know how long it is. An empty file is its header alone.
//!
//! ```text
//! page   0          1..=96       97        98..=225        226       ...
//!        header     blocks       tags of   blocks          tags of
//!        + tags     0..96        96..224   96..224         224..352
//! ```

use std::ops::Range;

/// Plaintext bytes of a block, and lower bytes of a page.
pub const BLOCK: u64 = 4096;
/// [`BLOCK`] as a length in memory.
pub const BLOCK_LEN: usize = BLOCK as usize;
/// Lower bytes of the header: two sectors of 512.
pub const HEADER_LEN: u64 = 1024;
/// Lower bytes of one tag entry.
pub const ENTRY: u64 = 32;
/// [`ENTRY`] as a length in memory.
pub const ENTRY_LEN: usize = ENTRY as usize;
/// Blocks whose tags share page 0 with the header.
pub const FIRST_GROUP: u64 = (BLOCK - HEADER_LEN) / ENTRY;
/// Blocks of every later group.
pub const GROUP: u64 = BLOCK / ENTRY;
/// The longest plaintext: what still has a lower size below 2^63.
pub const MAX_LEN: u64 = (1 << 62) - 1;

const _: () = assert!(FIRST_GROUP == 96 && GROUP == 128);

/// The group whose tag page holds the entry of `block`.
pub const fn group_of(block: u64) -> u64 {
    if block < FIRST_GROUP { 0 } else { 1 + (block - FIRST_GROUP) / GROUP }
}

/// The blocks of `group`.
pub const fn group_blocks(group: u64) -> Range<u64> {
    match group {
        0 => 0..FIRST_GROUP,
        g => {
            let first = FIRST_GROUP + (g - 1) * GROUP;
            first..first + GROUP
        }
    }
}

/// Lower offset of the tag page of `group`.
pub const fn tag_page_offset(group: u64) -> u64 {
    match group {
        0 => 0,
        g => (1 + FIRST_GROUP + (g - 1) * (1 + GROUP)) * BLOCK,
    }
}

/// Offset of the entry of `block` inside its group's tag page.
pub const fn entry_in_page(block: u64) -> usize {
    let group = group_of(block);
    let first = group_blocks(group).start;
    let head = if group == 0 { HEADER_LEN } else { 0 };
    (head + (block - first) * ENTRY) as usize
}

/// Lower offset of the tag entry of `block`.
pub const fn tag_offset(block: u64) -> u64 {
    tag_page_offset(group_of(block)) + entry_in_page(block) as u64
}

/// Lower offset of the data page of `block`.
pub const fn data_offset(block: u64) -> u64 {
    let group = group_of(block);
    tag_page_offset(group) + (1 + block - group_blocks(group).start) * BLOCK
}

/// Blocks that a plaintext of `len` bytes has.
pub const fn blocks_in(len: u64) -> u64 {
    len.div_ceil(BLOCK)
}

/// Plaintext bytes in `block` of a file of `len` bytes: 4096, less in the last block, 0 behind the end.
pub const fn block_len(block: u64, len: u64) -> usize {
    let start = block * BLOCK;
    if start >= len {
        0
    } else if len - start < BLOCK {
        (len - start) as usize
    } else {
        BLOCK_LEN
    }
}

/// Lower size of a file whose plaintext has `len` bytes.
pub const fn lower_len(len: u64) -> u64 {
    match blocks_in(len) {
        0 => HEADER_LEN,
        n => data_offset(n - 1) + block_len(n - 1, len) as u64,
    }
}

/// Plaintext size of a lower file of `lower` bytes; `None` where no plaintext has that lower size.
pub const fn plain_len(lower: u64) -> Option<u64> {
    if lower == HEADER_LEN {
        return Some(0);
    }
    if lower <= BLOCK {
        return None;
    }
    let page = (lower - 1) / BLOCK;
    let in_page = lower - page * BLOCK;
    let block = if page <= FIRST_GROUP {
        page - 1
    } else {
        let in_groups = page - FIRST_GROUP - 1;
        match in_groups % (GROUP + 1) {
            0 => return None,
            data => FIRST_GROUP + in_groups / (GROUP + 1) * GROUP + data - 1,
        }
    };
    Some(block * BLOCK + in_page)
}

/// The longest plaintext whose lower file fits in `lower` bytes: what is left of a file that was cut anywhere.
pub const fn plain_len_floor(lower: u64) -> u64 {
    match plain_len(lower) {
        Some(len) => len,
        None if lower <= BLOCK => 0,
        // It ends inside a tag page: the last whole block before that page.
        None => match plain_len((lower - 1) / BLOCK * BLOCK) {
            Some(len) => len,
            None => 0,
        },
    }
}

/// `blocks` cut at group boundaries: within each piece data pages and tag entries are contiguous.
pub fn runs(blocks: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut next = blocks.start;
    std::iter::from_fn(move || {
        (next < blocks.end).then(|| {
            let run = next..group_blocks(group_of(next)).end.min(blocks.end);
            next = run.end;
            run
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn worked_sizes() {
        for (plain, lower) in [
            (0, 1024),
            (1, 4097),
            (4095, 8191),
            (4096, 8192),
            (4097, 8193),
            (393_215, 397_311),
            (393_216, 397_312),
            (393_217, 401_409),
            (5 << 30, 5_410_656_256),
        ] {
            assert_eq!(lower_len(plain), lower, "lower size of {plain}");
            assert_eq!(plain_len(lower), Some(plain), "plain size of {lower}");
        }
    }

    #[test]
    fn sizes_no_plaintext_has() {
        for lower in [0, 1, 1023, 1025, 4095, 4096, 97 * 4096 + 1, 98 * 4096] {
            assert_eq!(plain_len(lower), None, "{lower}");
        }
        assert_eq!(plain_len_floor(98 * 4096), 96 * 4096);
        assert_eq!(plain_len_floor(4096), 0);
    }

    #[test]
    fn pages_do_not_overlap() {
        let mut pages = std::collections::BTreeSet::from([0]);
        for block in 0..1000 {
            assert!(pages.insert(data_offset(block) / BLOCK), "block {block} shares a page");
        }
        for group in 1..=group_of(999) {
            assert!(pages.insert(tag_page_offset(group) / BLOCK), "tag page {group} shares a page");
        }
        assert_eq!(pages.iter().copied().max(), Some(pages.len() as u64 - 1), "a page is left out");
    }

    proptest! {
        #[test]
        fn sizes_determine_each_other(len in 0..MAX_LEN) {
            prop_assert_eq!(plain_len(lower_len(len)), Some(len));
            prop_assert_eq!(plain_len_floor(lower_len(len)), len);
        }

        #[test]
        fn the_floor_is_monotonic(lower in 0u64..1 << 40) {
            let floor = plain_len_floor(lower);
            prop_assert!(floor == 0 || lower_len(floor) <= lower);
            prop_assert!(lower_len(floor + 1) > lower || floor < plain_len_floor(lower));
        }

        #[test]
        fn runs_cover_the_range(start in 0u64..100_000, n in 0u64..2000) {
            let mut at = start;
            for run in runs(start..start + n) {
                prop_assert_eq!(run.start, at);
                prop_assert_eq!(group_of(run.start), group_of(run.end - 1));
                prop_assert_eq!(data_offset(run.end - 1) - data_offset(run.start), (run.end - 1 - run.start) * BLOCK);
                at = run.end;
            }
            prop_assert_eq!(at, start + n);
        }

        #[test]
        fn entries_lie_in_their_tag_page(block in 0u64..1 << 40) {
            let page = tag_page_offset(group_of(block));
            prop_assert!(tag_offset(block) >= page && tag_offset(block) + ENTRY <= page + BLOCK);
        }
    }
}
