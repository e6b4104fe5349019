//! Reads the content of one regular file, past damage.

use crate::volume::file::File;
use crate::volume::geometry::{BLOCK, BLOCK_LEN, blocks_in};
use crate::volume::{Error, Result};

/// Plaintext read at a time.
const PIECE: usize = 1 << 20;
/// Runs of damaged blocks that are told one by one.
const RUNS_TOLD: usize = 8;

/// Takes the content of a file, from its beginning to its end; of damaged blocks it hears nothing.
pub(in crate::volume) trait Sink {
    /// So many bytes are a hole.
    fn hole(&mut self, bytes: u64);
    /// What lies at `at`, a multiple of the block size.
    ///
    /// # Errors
    /// The sink's own: the reading ends.
    fn data(&mut self, at: u64, plain: &[u8]) -> Result<()>;
    /// Whether to go on.
    fn wants_more(&self) -> bool;
}

/// Reads the first `upto` bytes of `file` and returns which blocks are damaged.
///
/// # Errors
/// Key errors; those of the lower filesystem and of `sink`.
pub(in crate::volume) fn read_all(file: &File, upto: u64, sink: &mut dyn Sink) -> Result<Damaged> {
    let sparse = file.slot().sparse;
    let mut damaged = Damaged::default();
    let mut buf = Vec::with_capacity(PIECE);
    let mut at = 0;
    while at < upto && sink.wants_more() {
        let (data, end) = if sparse { next_data(file, at, upto)? } else { (at, upto) };
        sink.hole(data - at);
        at = data;
        while at < end && sink.wants_more() {
            let piece = PIECE.min((end - at) as usize);
            buf.clear();
            match file.read(at, piece, &mut buf) {
                Ok(()) => sink.data(at, &buf)?,
                Err(Error::Corrupt { .. }) => single_blocks(file, at, piece, sink, &mut damaged)?,
                Err(error) => return Err(error),
            }
            at += piece as u64;
        }
    }
    Ok(damaged)
}

/// Finds the damaged blocks of a piece.
fn single_blocks(
    file: &File,
    from: u64,
    len: usize,
    sink: &mut dyn Sink,
    damaged: &mut Damaged,
) -> Result<()> {
    let mut buf = Vec::with_capacity(BLOCK_LEN);
    for at in (from..from + len as u64).step_by(BLOCK_LEN) {
        let wanted = BLOCK_LEN.min((from + len as u64 - at) as usize);
        buf.clear();
        match file.read(at, wanted, &mut buf) {
            Ok(()) => sink.data(at, &buf)?,
            Err(Error::Corrupt { .. }) => damaged.add(at / BLOCK, at / BLOCK),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The next run of data from `at` on, a multiple of the block size: holes of a sparse file need no reading.
fn next_data(file: &File, at: u64, upto: u64) -> Result<(u64, u64)> {
    match file.seek(at, libc::SEEK_DATA) {
        Ok(data) if data < upto => Ok((data, file.seek(data, libc::SEEK_HOLE)?.min(upto))),
        Ok(_) => Ok((upto, upto)),
        Err(Error::Os(err)) if err.raw_os_error() == Some(libc::ENXIO) => Ok((upto, upto)),
        Err(error) => Err(error),
    }
}

/// Damaged blocks, as runs.
#[derive(Debug, Default)]
pub(in crate::volume) struct Damaged {
    blocks: u64,
    /// First and last block of each run.
    runs: Vec<(u64, u64)>,
}

impl Damaged {
    /// Are there none?
    pub(in crate::volume) fn is_empty(&self) -> bool {
        self.blocks == 0
    }

    /// Adds the blocks from `first` to `last`, behind all that were added.
    pub(in crate::volume) fn add(&mut self, first: u64, last: u64) {
        self.blocks += last - first + 1;
        match self.runs.last_mut() {
            Some((_, end)) if *end + 1 == first => *end = last,
            _ => self.runs.push((first, last)),
        }
    }

    /// Adds what a file of `len` bytes lacks behind the first `upto`.
    pub(in crate::volume) fn add_missing(&mut self, upto: u64, len: u64) {
        if blocks_in(upto) < blocks_in(len) {
            self.add(blocks_in(upto), blocks_in(len) - 1);
        }
    }

    /// For people: how many, and which.
    pub(in crate::volume) fn describe(&self) -> String {
        let run = |&(first, last): &(u64, u64)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        let told: Vec<String> = self.runs.iter().take(RUNS_TOLD).map(run).collect();
        let more = if self.runs.len() > RUNS_TOLD { ", …" } else { "" };
        let blocks = if self.blocks == 1 { "block does" } else { "blocks do" };
        format!("{} {blocks} not authenticate: {}{more}", self.blocks, told.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_blocks_are_told_as_runs() {
        let mut damaged = Damaged::default();
        damaged.add(3, 3);
        assert_eq!(damaged.describe(), "1 block does not authenticate: 3");
        for block in [4, 5, 9] {
            damaged.add(block, block);
        }
        assert_eq!(damaged.describe(), "4 blocks do not authenticate: 3-5, 9");
        (10..100).filter(|block| block % 2 == 1).for_each(|block| damaged.add(block, block));
        assert!(damaged.describe().ends_with("13, 15, 17, 19, 21, …"), "{}", damaged.describe());
    }
}
