//! What lies in a lower directory and is not kmsfs's: put there by a person, a desktop or a sync program.
//!
//! A name that does not decrypt is not enough to tell: a file of ours that somebody renamed or copied has one too,
//! and that is damage. So the content decides.

use super::Survey;
use crate::volume::dirrec::RECORD;
use crate::volume::geometry::HEADER_LEN;
use crate::volume::header::claimed_file_id;
use crate::volume::lower::{Fd, LowerEntry, Stat, open_own};
use crate::volume::names::LONG;
use crate::volume::{Error, Result};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// An entry that is not kmsfs's. The mount hides it; its directory cannot be removed while it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// Plaintext path of the directory it lies in, as far as that is known.
    pub directory: Option<PathBuf>,
    /// Its path below the lower directory.
    pub lower: PathBuf,
}

impl Survey<'_> {
    /// Whether an entry of `dir` whose name does not decrypt shows nothing of kmsfs in its content either.
    ///
    /// # Errors
    /// Those of the lower filesystem; then it cannot be told.
    pub(in crate::volume) fn is_foreign(&self, dir: &Fd, entry: &LowerEntry, stat: &Stat) -> Result<bool> {
        let lower = self.lower;
        if entry.name.as_bytes().starts_with(LONG.as_bytes()) {
            return Ok(false);
        }
        if stat.is_file() {
            let fd = open_own(lower, dir, &entry.name)?;
            let mut header = [0; HEADER_LEN as usize];
            let len = lower.pread(&fd, &mut header, 0)?;
            return Ok(claimed_file_id(&header[..len]).is_none());
        }
        if stat.is_dir() {
            let fd = lower.open(dir, &entry.name, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
            return match lower.stat(&fd, OsStr::new(RECORD)) {
                Ok(_) => Ok(false),
                Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(true),
                Err(err) => Err(err.into()),
            };
        }
        if stat.is_symlink() {
            let target = self.keys.open_target(&lower.readlink(dir, &entry.name)?);
            return Ok(matches!(target, Err(Error::Corrupt { .. })));
        }
        // A FIFO, socket or device has no content to tell by.
        Ok(false)
    }
}
