//! One file of the journal: what it is called, and reading ciphertext out of it.

use super::super::lower::{Fd, Lower};
use super::super::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::sync::atomic::AtomicU64;

/// A segment is closed before it grows beyond this, unless a single record needs more.
pub(super) const SEGMENT_SIZE: u64 = 32 << 20;

/// One segment file.
#[derive(Debug)]
pub struct Segment {
    pub(super) fd: Option<Fd>,
    pub(super) seq: u64,
    pub(super) first_lsn: u64,
    /// Bytes of records.
    pub(super) len: AtomicU64,
}

impl Segment {
    /// A segment without a file, for the tests of what only passes segments on.
    #[cfg(test)]
    pub fn detached() -> std::sync::Arc<Segment> {
        std::sync::Arc::new(Segment { fd: None, seq: 0, first_lsn: 0, len: AtomicU64::new(0) })
    }

    /// Reads ciphertext out of the segment.
    ///
    /// # Errors
    /// Those of the lower filesystem; a short read is corruption.
    pub fn read(&self, lower: &dyn Lower, buf: &mut [u8], at: u64) -> Result<()> {
        let fd = self.fd.as_ref().expect("only tests make segments without a file");
        if lower.pread(fd, buf, at)? != buf.len() {
            return Err(Error::corrupt(segment_name(self.seq).display(), "ends inside a record"));
        }
        Ok(())
    }
}

pub(super) fn segment_name(seq: u64) -> OsString {
    format!("{seq:016x}.seg").into()
}

pub(super) fn segment_seq(name: &OsStr) -> Option<u64> {
    let hex = name.to_str()?.strip_suffix(".seg")?;
    (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok()).flatten()
}
