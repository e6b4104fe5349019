//! The head record: up to which line the log is known to be durable.
//!
//! Without it, lines cut off at the end of a log would leave no trace: what remains is a shorter log. The head
//! is written after the lines it covers are durable, so the log is never behind it, unless lines were taken away.
//!
//! `audit.head` has two slots of 512 bytes, written in turn, so that a write that is cut short spoils one at
//! most. A slot is a sealed JSON document ([`sealed`]), padded with spaces and ended by a line break:
//!
//! ```text
//! {"log":"<uuid>","sequence":42,"chain":"<64 hex>","segment":1,"offset":16384,"mac":"<64 hex>"}
//! ```
//!
//! The file is also what a writer locks.

use super::chain::{ChainKey, Link};
use super::directory::Directory;
use super::error::{Error, Result};
use super::sealed;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use uuid::Uuid;

const SLOT: usize = 512;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Head {
    /// The log's id.
    pub(super) log: Uuid,
    /// The last line that is known to be durable.
    #[serde(flatten)]
    pub(super) link: Link,
    /// The segment it is in.
    pub(super) segment: u64,
    /// Where the line after it begins.
    pub(super) offset: u64,
}

impl Head {
    /// The newest head record of a log, if there is a valid one.
    pub(super) fn read(directory: &Directory, key: &ChainKey) -> Result<Option<Head>> {
        let path = directory.head();
        match File::open(&path) {
            Ok(file) => Ok(newest(&file, key).map_err(Error::io("read", &path))?.map(|(_, head)| head)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("open", &path)(error)),
        }
    }

    fn encode(&self, key: &ChainKey) -> [u8; SLOT] {
        let text = sealed::seal(key, "head", self);
        let mut slot = [b' '; SLOT];
        slot[..text.len()].copy_from_slice(&text);
        slot[SLOT - 1] = b'\n';
        slot
    }

    fn decode(slot: &[u8], key: &ChainKey) -> Option<Head> {
        sealed::open(key, "head", slot.trim_ascii_end())
    }
}

/// The slot that holds the newest valid record, and the record.
fn newest(file: &File, key: &ChainKey) -> std::io::Result<Option<(u64, Head)>> {
    let mut bytes = Vec::with_capacity(2 * SLOT);
    file.take(2 * SLOT as u64).read_to_end(&mut bytes)?;
    let heads = bytes.chunks(SLOT).zip(0..).filter_map(|(slot, at)| Some((at, Head::decode(slot, key)?)));
    Ok(heads.max_by_key(|(_, head)| head.link.sequence))
}

/// The head record's file, held by the log's one writer.
#[derive(Debug)]
pub(super) struct HeadFile {
    file: File,
    /// The slot to write next.
    next: u64,
}

impl HeadFile {
    /// Opens the file, makes it if it is not there, locks it, and reads the newest record.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process writes the log.
    pub(super) fn open(directory: &Directory, key: &ChainKey) -> Result<(HeadFile, Option<Head>)> {
        let path = directory.head();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o640);
        let file = options.open(&path).map_err(Error::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy(directory.path().to_owned())),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
        let found = newest(&file, key).map_err(Error::io("read", &path))?;
        let next = found.map_or(0, |(slot, _)| 1 - slot);
        Ok((HeadFile { file, next }, found.map(|(_, head)| head)))
    }

    /// Writes a record. It survives the end of the process at once, a power cut after [`HeadFile::sync`].
    pub(super) fn write(&mut self, head: &Head, key: &ChainKey) -> std::io::Result<()> {
        self.file.write_all_at(&head.encode(key), self.next * SLOT as u64)?;
        self.next = 1 - self.next;
        Ok(())
    }

    /// Makes the last record durable.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }
}
