//! The directory of a log: numbered segment files and the head record.
//!
//! `audit-000001.jsonl`, `audit-000002.jsonl`, … hold the lines, `audit.head` says how far they are known to be
//! durable. Only the segment of the highest number is ever written, and only at its end.

use super::error::{Error, Result};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Longest line that is read, in bytes. The longest that is written has two encryption contexts of 8 KiB in which
/// every byte is escaped.
pub(super) const LINE_MAX: u64 = 256 << 10;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Directory(PathBuf);

impl Directory {
    /// The directory at `path`, as it is.
    pub(super) fn at(path: &Path) -> Directory {
        Directory(path.to_owned())
    }

    /// Makes the directory if it is not there.
    pub(super) fn create(path: &Path) -> Result<Directory> {
        let made = DirBuilder::new().recursive(true).mode(0o750).create(path);
        made.map_err(Error::io("make the directory", path))?;
        Ok(Directory::at(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The head record's file.
    pub(super) fn head(&self) -> PathBuf {
        self.0.join("audit.head")
    }

    /// The file of a segment.
    pub(super) fn segment(&self, number: u64) -> PathBuf {
        self.0.join(format!("audit-{number:06}.jsonl"))
    }

    /// The numbers of all segments, lowest first.
    pub(super) fn segments(&self) -> Result<Vec<u64>> {
        let failed = Error::io("list", &self.0);
        let read = || -> std::io::Result<Vec<u64>> {
            let mut numbers = Vec::new();
            for entry in fs::read_dir(&self.0)? {
                numbers.extend(entry?.file_name().to_str().and_then(number));
            }
            numbers.sort_unstable();
            Ok(numbers)
        };
        read().map_err(failed)
    }

    /// Makes a segment of the first free number from `number` on, and makes its name durable.
    pub(super) fn create_segment(&self, mut number: u64) -> std::io::Result<(u64, File)> {
        loop {
            let path = self.segment(number);
            let file = match OpenOptions::new().append(true).create_new(true).mode(0o640).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    number += 1; // not ours, and verification will say so
                    continue;
                }
                Err(error) => return Err(error),
            };
            return match self.sync() {
                Ok(()) => Ok((number, file)),
                Err(error) => {
                    // Without a durable name it is no segment: the next attempt makes it anew.
                    let _ = fs::remove_file(path);
                    Err(error)
                }
            };
        }
    }

    /// Opens a segment to append to it.
    pub(super) fn append(&self, number: u64) -> Result<File> {
        let path = self.segment(number);
        OpenOptions::new().append(true).open(&path).map_err(Error::io("open", &path))
    }

    /// Reads a segment from `offset` on.
    pub(super) fn read(&self, number: u64, offset: u64) -> Result<Lines> {
        let path = self.segment(number);
        let mut file = File::open(&path).map_err(Error::io("open", &path))?;
        file.seek(SeekFrom::Start(offset)).map_err(Error::io("read", &path))?;
        Ok(Lines { path, reader: BufReader::with_capacity(128 << 10, file), offset, line: Vec::new() })
    }

    /// Makes the names in it durable.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

/// The number of the segment that a file name stands for.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?;
    let plain = digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// The lines of a segment, one after the other.
pub(super) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    offset: u64,
    line: Vec<u8>,
}

impl Lines {
    /// Reads the next line. Says where it begins and whether it has a line break; `None` at the end of the segment.
    pub(super) fn advance(&mut self) -> Result<Option<(u64, bool)>> {
        self.line.clear();
        let offset = self.offset;
        let read = (&mut self.reader).take(LINE_MAX).read_until(b'\n', &mut self.line);
        let read = read.map_err(Error::io("read", &self.path))?;
        self.offset += read as u64;
        let whole = self.line.pop_if(|byte| *byte == b'\n').is_some();
        Ok((read > 0).then_some((offset, whole)))
    }

    /// The bytes of the line that was read last, without the line break; of what is too long to be a line, the beginning.
    pub(super) fn line(&self) -> &[u8] {
        &self.line
    }

    /// Where the next line begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}
