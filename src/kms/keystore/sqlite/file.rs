//! The keystore as a file: what it must look like before SQLite may open it, and how a new one appears.
//!
//! SQLite writes to files that it opens: it recovers logs and checkpoints. So a file is recognised from its
//! first 100 bytes, SQLite's own header, and a foreign, truncated or newer one is left as it is.

use super::APPLICATION_ID;
use crate::crypto::random;
use crate::kms::keystore::error::{Error, Result};
use crate::kms::keystore::schema::FORMAT;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

const HEADER_LEN: usize = 100;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const PAGE_SIZE_AT: usize = 16;
const CHANGE_COUNTER_AT: usize = 24;
const PAGE_COUNT_AT: usize = 28;
const USER_VERSION_AT: usize = 60;
const APPLICATION_ID_AT: usize = 68;
/// The change counter for which the page count was written; an SQLite that does not keep the page count up
/// to date leaves this one behind.
const VALID_FOR_AT: usize = 92;

/// Which file is at a path: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl Identity {
    pub(super) fn of(path: &Path) -> Result<Identity> {
        let metadata = fs::metadata(path).map_err(Error::io(path))?;
        Ok(Identity(metadata.dev(), metadata.ino()))
    }
}

/// How often a file that looks truncated is looked at again, and after how long: a process that closes the
/// keystore just now writes its log back, the first page first.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(40);

/// Says whether the file at `path` is a keystore that this release can open, reading it only.
///
/// # Errors
/// `Missing`, `Foreign`, `Truncated`, `Newer`, `Tampered`.
pub(super) fn check(path: &Path) -> Result<()> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    for look in 1.. {
        let (head, length) = read_head(path, &mut file)?;
        check_head(path, &head)?;
        if !is_short(&head, length) || has_log(path) {
            break;
        }
        if look == LOOKS {
            return Err(Error::Truncated(path.to_owned()));
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// SQLite's header, and the length of the file.
fn read_head(path: &Path, file: &mut File) -> Result<([u8; HEADER_LEN], u64)> {
    let metadata = file.metadata().map_err(Error::io(path))?;
    if !metadata.is_file() {
        return Err(Error::Foreign(path.to_owned()));
    }
    let mut head = Vec::with_capacity(HEADER_LEN);
    file.rewind().map_err(Error::io(path))?;
    file.take(HEADER_LEN as u64).read_to_end(&mut head).map_err(Error::io(path))?;
    let common = head.len().min(MAGIC.len());
    if head[..common] != MAGIC[..common] {
        return Err(Error::Foreign(path.to_owned()));
    }
    match <[u8; HEADER_LEN]>::try_from(head) {
        Ok(head) => Ok((head, metadata.len())),
        Err(_) => Err(Error::Truncated(path.to_owned())),
    }
}

fn check_head(path: &Path, head: &[u8; HEADER_LEN]) -> Result<()> {
    if be32(head, APPLICATION_ID_AT) != APPLICATION_ID {
        return Err(Error::Foreign(path.to_owned()));
    }
    match be32(head, USER_VERSION_AT) {
        0 => Err(Error::Tampered { location: path.into(), what: "it has no format number".into() }),
        1..=FORMAT => Ok(()),
        found => Err(Error::Newer { location: path.into(), found, known: FORMAT }),
    }
}

/// Whether the file is shorter than its header says. Only meaningful while no log holds its last pages.
fn is_short(head: &[u8; HEADER_LEN], length: u64) -> bool {
    let page_size = match u64::from(head[PAGE_SIZE_AT]) << 8 | u64::from(head[PAGE_SIZE_AT + 1]) {
        1 => 65536, // does not fit the field
        size => size,
    };
    let counted = be32(head, CHANGE_COUNTER_AT) == be32(head, VALID_FOR_AT);
    let pages = if counted { u64::from(be32(head, PAGE_COUNT_AT)) } else { 1 };
    length < pages * page_size || !length.is_multiple_of(page_size)
}

/// Whether transactions wait in the write-ahead log: a process has the keystore open, or was killed.
pub(super) fn has_log(path: &Path) -> bool {
    fs::metadata(beside(path, "", "-wal")).is_ok_and(|log| log.len() > 0)
}

/// Overwrites the write-ahead log with zeros, durably. SQLite must be done with what is in it.
pub(super) fn overwrite_log(path: &Path) -> Result<()> {
    let log = beside(path, "", "-wal");
    let overwrite = || {
        let mut file = OpenOptions::new().write(true).open(&log)?;
        let length = file.metadata()?.len();
        std::io::copy(&mut std::io::repeat(0).take(length), &mut file)?;
        file.sync_all()
    };
    overwrite().map_err(Error::io(&log))
}

fn be32(head: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

/// `path` with its file name between `before` and `after`.
fn beside(path: &Path, before: &str, after: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(before);
    name.push(path.file_name().unwrap_or_default());
    name.push(after);
    path.with_file_name(name)
}

/// A keystore in the making, under a temporary name beside its own; gone if it is not published.
pub(super) struct Draft {
    temporary: PathBuf,
    path: PathBuf,
}

impl Draft {
    /// An empty file of mode 0600. Directories above it are made as needed, of mode 0700.
    pub(super) fn create(path: &Path) -> Result<Draft> {
        if super::exists(path) {
            return Err(Error::Exists(path.into()));
        }
        let directory = directory_of(path);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(Error::io(directory))?;
        let suffix = format!(".{:016x}.tmp", u64::from_ne_bytes(random::array()));
        let temporary = beside(path, ".", &suffix);
        let options = OpenOptions::new().write(true).create_new(true).mode(0o600).clone();
        options.open(&temporary).map_err(Error::io(&temporary))?;
        Ok(Draft { temporary, path: path.to_owned() })
    }

    /// Where it is for now.
    pub(super) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Gives it its name, durably, unless another file got it meanwhile.
    pub(super) fn publish(self) -> Result<()> {
        if super::exists(&self.path) {
            return Err(Error::Exists((&self.path).into()));
        }
        let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all()).map_err(Error::io(path));
        sync(&self.temporary)?;
        // What a lost keystore of this name left behind would be taken for this one's log.
        for end in ["-wal", "-shm"] {
            let left = beside(&self.path, "", end);
            match fs::remove_file(&left) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(&left)(error));
                }
                _ => {}
            }
        }
        // A link, unlike a rename, never replaces what has the name.
        fs::hard_link(&self.temporary, &self.path).map_err(Error::io(&self.path))?;
        sync(directory_of(&self.path))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Best effort: a leftover temporary file does no harm, and there is nobody to tell.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}
