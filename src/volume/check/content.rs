//! Verifies the contents of one regular file.

use super::attributes::Holder;
use super::tree::Place;
use super::{Check, Kind};
use crate::keys::ZoneId;
use crate::volume::file::File;
use crate::volume::geometry::{BLOCK, BLOCK_LEN, HEADER_LEN};
use crate::volume::header;
use crate::volume::lower::{Fd, Stat};
use crate::volume::{Error, PathHint, Result};
use parking_lot::Mutex;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// Plaintext read at a time.
const PIECE: usize = 1 << 20;
/// Runs of damaged blocks that are told one by one.
const RUNS_TOLD: usize = 8;

/// A regular file to be read.
pub(super) struct Item {
    /// Its directory.
    pub(super) dir: Arc<Fd>,
    /// Its lower name there.
    pub(super) name: OsString,
    /// Where that is.
    pub(super) place: Place,
    /// What the walk saw of it.
    pub(super) stat: Stat,
    /// The zone that its directory is in.
    pub(super) zone: ZoneId,
}

struct Hint(PathBuf);

impl PathHint for Hint {
    fn lower_path(&self) -> Option<PathBuf> {
        Some(self.0.clone())
    }
}

impl Check<'_> {
    /// Reads what comes until nothing comes any more.
    pub(super) fn read_files(&self, items: &Mutex<Receiver<Item>>) {
        loop {
            let item = items.lock().recv();
            let Ok(item) = item else { return };
            // After a fatal error the queue is only emptied, so that the walk never waits for a reader.
            if self.stopped() {
                continue;
            }
            if let Err(error) = self.file(&item) {
                self.note(Kind::File, &item.place, error);
            }
        }
    }

    fn file(&self, item: &Item) -> Result<()> {
        let lower = self.target.lower;
        let open = || lower.open(&item.dir, &item.name, libc::O_RDONLY, 0);
        let mut header = [0; HEADER_LEN as usize];
        let len = lower.pread(&open()?, &mut header, 0)?;
        let claimed = header::claimed(&header[..len]).map(|header| header.slot.envelope.zone);
        if !claimed.is_none_or(|zone| self.knows(&zone)) {
            return Err(Error::corrupt("", "its header names a zone that the config does not have"));
        }
        let hint = Arc::new(Hint(item.place.lower.clone()));
        let file = self.target.store.open((item.stat.dev, item.stat.ino), hint, &open)?;
        if file.slot().envelope.zone != item.zone && item.stat.nlink == 1 {
            self.strays.lock().push(item.place.lower.clone());
        }
        let read = self.content(&file, item);
        let closed = file.close_handle();
        read.and(closed)
    }

    fn content(&self, file: &File, item: &Item) -> Result<()> {
        let key = file.data_key()?;
        self.attributes(&item.dir, &item.name, Holder::File(&key), &item.place);
        let len = file.len();
        let mut damaged = Damaged::default();
        let mut buf = Vec::with_capacity(PIECE);
        let mut at = 0;
        while at < len && !self.stopped() {
            let data = next_data(file, at, len)?;
            self.verified(data - at);
            at = data;
            let piece = PIECE.min((len - at) as usize);
            buf.clear();
            match file.read(at, piece, &mut buf) {
                Ok(()) => self.verified(piece as u64),
                Err(Error::Corrupt { .. }) => self.single_blocks(file, at, piece, &mut damaged)?,
                Err(error) => return Err(error),
            }
            at += piece as u64;
        }
        if damaged.blocks > 0 {
            self.problem(Kind::File, &item.place, damaged.describe());
        }
        Ok(())
    }

    /// Finds the damaged blocks of a piece.
    fn single_blocks(&self, file: &File, from: u64, len: usize, damaged: &mut Damaged) -> Result<()> {
        let mut buf = Vec::with_capacity(BLOCK_LEN);
        for at in (from..from + len as u64).step_by(BLOCK_LEN) {
            let wanted = BLOCK_LEN.min((from + len as u64 - at) as usize);
            buf.clear();
            match file.read(at, wanted, &mut buf) {
                Ok(()) => self.verified(wanted as u64),
                Err(Error::Corrupt { .. }) => damaged.add(at / BLOCK),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Where data goes on from `at`, which lies on a piece's edge: holes of a sparse file need no reading.
fn next_data(file: &File, at: u64, len: u64) -> Result<u64> {
    if !file.slot().sparse {
        return Ok(at);
    }
    match file.seek(at, libc::SEEK_DATA) {
        Ok(data) => Ok(data / BLOCK * BLOCK),
        Err(Error::Os(err)) if err.raw_os_error() == Some(libc::ENXIO) => Ok(len),
        Err(error) => Err(error),
    }
}

/// Damaged blocks, as runs.
#[derive(Default)]
struct Damaged {
    blocks: u64,
    /// First and last block of each run.
    runs: Vec<(u64, u64)>,
}

impl Damaged {
    /// Adds a block behind all that were added.
    fn add(&mut self, block: u64) {
        self.blocks += 1;
        match self.runs.last_mut() {
            Some((_, last)) if *last + 1 == block => *last = block,
            _ => self.runs.push((block, block)),
        }
    }

    fn describe(&self) -> String {
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
        damaged.add(3);
        assert_eq!(damaged.describe(), "1 block does not authenticate: 3");
        for block in [4, 5, 9] {
            damaged.add(block);
        }
        assert_eq!(damaged.describe(), "4 blocks do not authenticate: 3-5, 9");
        (10..100).filter(|block| block % 2 == 1).for_each(|block| damaged.add(block));
        assert!(damaged.describe().ends_with("13, 15, 17, 19, 21, …"), "{}", damaged.describe());
    }
}
