//! Between plaintext names and lower entries: reserved names, long names and their sidecars, foreign entries.
//!
//! A long name's sidecar (`kmsfs.long.<hash>.name`) is written before the entry it names and removed after it,
//! so no crash leaves an entry that cannot be listed. A sidecar without its entry is harmless: its content is
//! a function of its name, and it is hidden.

use super::dirfd::Dir;
use super::errno::{Error, Result};
use super::{Filesystem, Ino};
use crate::volume::dirrec::RECORD;
use crate::volume::lower::{Fd, LowerEntry, open_own};
use crate::volume::names::LowerName;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Longest plaintext name, in bytes.
pub(super) const NAME_MAX: usize = 255;

const RESERVED: &[u8] = b"kmsfs.";
const LONG: &[u8] = b"kmsfs.long.";
const SIDECAR: &[u8] = b".name";
const TEMPORARY: &str = "kmsfs.tmp.";

/// What an entry of a lower directory is to the filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    /// Belongs to a plaintext name.
    Named,
    /// `.` or `..`.
    Dot,
    /// Kept by kmsfs beside the entries: record, sidecar, config, journal, what a crash left behind.
    Own,
}

/// Tells what a lower entry is by its name alone.
pub(super) fn entry_kind(name: &OsStr) -> EntryKind {
    let name = name.as_bytes();
    if name == b"." || name == b".." {
        EntryKind::Dot
    } else if !name.starts_with(RESERVED) || (name.starts_with(LONG) && !name.ends_with(SIDECAR)) {
        EntryKind::Named
    } else {
        EntryKind::Own
    }
}

/// Could kmsfs have made this name? Says no to `lost+found` and what desktops leave behind.
pub(super) fn looks_encrypted(name: &OsStr) -> bool {
    /// Characters of an encrypted name of one byte.
    const SHORTEST: usize = 23;
    let name = name.as_bytes();
    let base64url = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    name.starts_with(LONG) || (name.len() >= SHORTEST && name.iter().all(base64url))
}

/// A name for something that is not finished, or no longer wanted: hidden, and never the same twice.
pub(super) fn temporary_name() -> OsString {
    let mut random = [0u8; 12];
    crate::crypto::random::fill(&mut random);
    let mut name = String::from(TEMPORARY);
    for byte in random {
        name.push_str(&format!("{byte:02x}"));
    }
    name.into()
}

impl Filesystem {
    /// The lower name of `name` in `dir`.
    pub(super) fn lower_name(&self, dir: &Dir, name: &OsStr) -> Result<LowerName> {
        let bytes = name.as_bytes();
        if bytes.len() > NAME_MAX {
            return Err(Error::Refused(libc::ENAMETOOLONG));
        }
        if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.iter().any(|b| matches!(b, 0 | b'/'))
        {
            return Err(Error::Refused(libc::EINVAL));
        }
        Ok(self.keys.encrypt_name(&dir.id, name))
    }

    /// Was `entry` named under the id of `dir`?
    pub(super) fn is_named_in(&self, dir: &Dir, entry: &LowerEntry) -> bool {
        self.decrypt(dir, entry).is_ok()
    }

    /// The plaintext name of a lower entry; `None`, logged once, for what kmsfs did not name.
    pub(super) fn plain_name(&self, dir: &Dir, entry: &LowerEntry) -> Option<OsString> {
        match self.decrypt(dir, entry) {
            Ok(name) => Some(name),
            Err(e) => {
                self.report_foreign(dir.inode.ino, &entry.name, &e);
                None
            }
        }
    }

    fn decrypt(&self, dir: &Dir, entry: &LowerEntry) -> Result<OsString> {
        if entry.name.as_bytes().starts_with(LONG) {
            let long = self.read_sidecar(&dir.fd, &entry.name)?;
            return Ok(self.keys.decrypt_long_name(&dir.id, &entry.name, &long)?);
        }
        Ok(self.keys.decrypt_name(&dir.id, entry.name.as_bytes())?)
    }

    /// Makes the sidecar that a long name needs; nothing for any other name.
    ///
    /// An existing one is written over with the same bytes, which also repairs one that a crash cut short.
    pub(super) fn add_sidecar(&self, dir: &Dir, name: &LowerName) -> Result<()> {
        let Some(sidecar) = &name.sidecar else { return Ok(()) };
        // Non-blocking: a FIFO in its place must not hang the mount.
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_NONBLOCK;
        let fd = self.lower.open(&dir.fd, &sidecar.name, flags, 0o644)?;
        self.lower.pwrite(&fd, &sidecar.content, 0)?;
        Ok(self.store.pending().add(fd)?)
    }

    /// Removes the sidecar of a long name whose entry is gone. What cannot be removed does no harm.
    pub(super) fn drop_sidecar(&self, dir: &Dir, name: &LowerName) {
        if let Some(sidecar) = &name.sidecar
            && let Err(e) = self.lower.unlink(&dir.fd, &sidecar.name)
        {
            log::debug!("left {} behind: {e}", sidecar.name.display());
        }
    }

    fn read_sidecar(&self, dir: &Fd, entry: &OsStr) -> Result<Vec<u8>> {
        let mut name = entry.to_owned();
        name.push(OsStr::from_bytes(SIDECAR));
        let fd = open_own(&*self.lower, dir, &name)?;
        let mut content = vec![0u8; 4096];
        let len = self.lower.pread(&fd, &mut content, 0)?;
        content.truncate(len);
        Ok(content)
    }

    /// One line per foreign entry, however often its directory is listed.
    fn report_foreign(&self, dir: Ino, name: &OsStr, why: &Error) {
        const REMEMBERED: usize = 4096;
        let mut seen = self.foreign.lock();
        if seen.len() < REMEMBERED && seen.insert((dir, name.to_owned())) {
            drop(seen);
            log::warn!("hiding {} in directory inode {dir}: {why}", name.display());
        }
    }

    /// What kmsfs keeps in a directory that is otherwise empty.
    ///
    /// # Errors
    /// `ENOTEMPTY` where there is anything else, foreign files included.
    pub(super) fn own_entries(&self, dir: &Fd) -> Result<Vec<LowerEntry>> {
        let mut entries = self.with_owner_access(dir, || self.lower.read_dir(dir))?;
        if entries.iter().any(|e| entry_kind(&e.name) == EntryKind::Named) {
            return Err(Error::Refused(libc::ENOTEMPTY));
        }
        entries.retain(|e| entry_kind(&e.name) == EntryKind::Own);
        Ok(entries)
    }

    /// Removes the directory `name` below `parent`, whose only entries are `own`.
    ///
    /// The record goes last, so that a crash leaves either nothing or a whole directory under a hidden name.
    pub(super) fn destroy(&self, parent: &Fd, name: &OsStr, dir: &Fd, own: &[LowerEntry]) -> Result<()> {
        let (records, left_behind): (Vec<_>, Vec<_>) = own.iter().partition(|e| e.name == RECORD);
        for entry in left_behind {
            self.destroy_left_behind(dir, entry)?;
        }
        for record in records {
            self.with_owner_access(dir, || self.lower.unlink(dir, &record.name))?;
        }
        Ok(self.lower.rmdir(parent, name)?)
    }

    /// Removes what an interrupted operation left in a directory: a sidecar, or a directory half made or removed.
    fn destroy_left_behind(&self, dir: &Fd, entry: &LowerEntry) -> Result<()> {
        match self.with_owner_access(dir, || self.lower.unlink(dir, &entry.name)) {
            Err(e) if e.raw_os_error() == Some(libc::EISDIR) => {
                let fd = self.lower.open(dir, &entry.name, libc::O_PATH | libc::O_DIRECTORY, 0)?;
                let own = self.own_entries(&fd)?;
                self.destroy(dir, &entry.name, &fd, &own)
            }
            done => Ok(done?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_entries_are_told_from_named_ones() {
        let kind = |s: &str| entry_kind(OsStr::new(s));
        assert_eq!(kind("."), EntryKind::Dot);
        assert_eq!(kind(".."), EntryKind::Dot);
        assert_eq!(kind("kmsfs.dir"), EntryKind::Own);
        assert_eq!(kind("kmsfs.json"), EntryKind::Own);
        assert_eq!(kind("kmsfs.tmp.00ff"), EntryKind::Own);
        assert_eq!(kind("kmsfs.long.abc.name"), EntryKind::Own);
        assert_eq!(kind("kmsfs.long.abc"), EntryKind::Named);
        assert_eq!(kind("aGVsbG8"), EntryKind::Named);
    }

    #[test]
    fn temporary_names_differ_and_are_hidden() {
        let name = temporary_name();
        assert_ne!(name, temporary_name());
        assert_eq!(entry_kind(&name), EntryKind::Own);
    }
}
