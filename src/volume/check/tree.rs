//! Walks the lower tree: directory records, names, link targets, attributes; hands regular files on.

use super::attributes::Holder;
use super::content::Item;
use super::{Check, Extent, Foreign, Kind, Report};
use crate::keys::{NO_ZONE, ZoneId};
use crate::volume::config::CONFIG;
use crate::volume::dirrec::{DirId, RECORD, RECORD_LEN, Record};
use crate::volume::geometry::plain_len_floor;
use crate::volume::journal::JOURNAL_DIR;
use crate::volume::lower::{Fd, Lower, LowerEntry, Stat, open_own};
use crate::volume::names::{LONG, LOST_FOUND, RESERVED, SIDECAR, SIDECAR_MAX};
use crate::volume::{Error, Result};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

/// Directories below each other that a check follows. Each is held open; a path of 4096 bytes has no more.
const DEEPEST: usize = 2048;

/// Where something is, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) plain: Option<PathBuf>,
    pub(super) lower: PathBuf,
}

impl Place {
    fn root() -> Place {
        Place { plain: Some(PathBuf::from("/")), lower: PathBuf::new() }
    }

    fn below(&self, plain: Option<&OsStr>, lower: &OsStr) -> Place {
        let plain = self.plain.as_ref().zip(plain).map(|(dir, name)| dir.join(name));
        Place { plain, lower: self.lower.join(lower) }
    }
}

/// A directory whose record holds.
struct Dir {
    fd: Arc<Fd>,
    id: DirId,
    place: Place,
    depth: usize,
    /// The zone of what is in it.
    zone: ZoneId,
}

/// Walks everything below the root. Dropping `files` at the end tells the readers that nothing else comes.
pub(super) fn walk(check: &Check<'_>, files: SyncSender<Item>, report: &mut Report) {
    let root = match check.target.lower.open(
        check.target.root,
        OsStr::new("."),
        libc::O_RDONLY | libc::O_DIRECTORY,
        0,
    ) {
        Ok(fd) => Arc::new(fd),
        Err(err) => return check.note(Kind::Directory, &Place::root(), err.into()),
    };
    let mut walk = Walk { check, files, report };
    walk.directory(root, None, Place::root(), 0);
}

struct Walk<'a, 'c> {
    check: &'a Check<'c>,
    files: SyncSender<Item>,
    report: &'a mut Report,
}

impl Walk<'_, '_> {
    fn directory(&mut self, fd: Arc<Fd>, parent: Option<&Dir>, place: Place, depth: usize) {
        if self.check.stopped() {
            return;
        }
        self.report.directories += 1;
        if depth > DEEPEST {
            let what = format!("more than {DEEPEST} directories below each other; this one was not read");
            return self.check.problem(Kind::Unreadable, &place, what);
        }
        let record = match self.record(&fd, parent.map(|parent| &parent.id)) {
            Ok(record) => record,
            Err(error) => return self.check.note(Kind::Directory, &place, error),
        };
        if !self.check.knows(&record.zone) {
            let what = "a zone begins here that the config does not have";
            self.check.problem(Kind::Directory, &place, what.to_owned());
        }
        let inherited = parent.map_or(NO_ZONE, |parent| parent.zone);
        let (id, zone) = (record.id, if record.zone == NO_ZONE { inherited } else { record.zone });
        self.check.attributes(&fd, OsStr::new("."), Holder::Directory(&id), &place);
        let entries = match self.check.target.lower.read_dir(&fd) {
            Ok(entries) => entries,
            Err(err) => return self.check.note(Kind::Directory, &place, err.into()),
        };
        let dir = Dir { fd, id, place, depth, zone };
        let long = entries
            .iter()
            .map(|entry| entry.name.as_bytes())
            .filter(|name| name.starts_with(LONG.as_bytes()));
        let long: HashSet<&[u8]> = long.collect();
        for entry in &entries {
            match own(&entry.name, depth, &long) {
                Own::No => self.entry(&dir, entry),
                Own::Kept => {}
                Own::Leftover => self.report.leftovers += 1,
                Own::Foreign => self.foreign(&dir, entry),
            }
        }
    }

    /// Reads a directory's record and checks that the directory belongs below `parent`, or is the root.
    fn record(&self, dir: &Fd, parent: Option<&DirId>) -> Result<Record> {
        let target = self.check.target;
        let fd = open_own(target.lower, dir, OsStr::new(RECORD)).map_err(|err| match err.kind() {
            std::io::ErrorKind::InvalidData => Error::corrupt(RECORD, err),
            std::io::ErrorKind::NotFound => Error::corrupt(RECORD, "the directory's record is missing"),
            _ => Error::Os(err),
        })?;
        let mut bytes = [0; RECORD_LEN + 1];
        let len = target.lower.pread(&fd, &mut bytes, 0)?;
        let record = target.keys.open_record(&bytes[..len])?;
        let belongs = parent.map_or(record.is_root(), |parent| record.belongs_in(parent));
        match belongs {
            true => Ok(record),
            false => Err(Error::corrupt(RECORD, "the directory belongs elsewhere in the volume")),
        }
    }

    fn entry(&mut self, dir: &Dir, entry: &LowerEntry) {
        if self.check.stopped() {
            return;
        }
        let plain = self.plain_name(dir, &entry.name);
        let place = dir.place.below(plain.as_deref().ok(), &entry.name);
        let stat = match self.check.target.lower.stat(&dir.fd, &entry.name) {
            Ok(stat) => stat,
            Err(err) => return self.check.note(Kind::Unreadable, &place, err.into()),
        };
        if let Err(error) = plain {
            match self.check.is_foreign(&dir.fd, entry, &stat) {
                Ok(true) => return self.foreign(dir, entry),
                Ok(false) => self.check.note(Kind::Name, &place, error),
                Err(error) => return self.check.note(Kind::Name, &place, error),
            }
            // Of what lost its name, only directories are worth a look: names below may still be found.
            if !stat.is_dir() {
                return;
            }
        }
        if stat.is_dir() {
            self.subdirectory(dir, entry, place);
        } else if stat.is_file() {
            self.file(dir, entry, place, stat);
        } else if stat.is_symlink() {
            self.report.symlinks += 1;
            self.check.attributes(&dir.fd, &entry.name, Holder::Other, &place);
            if let Err(error) = self.link_target(dir, entry) {
                self.check.note(Kind::Symlink, &place, error);
            }
        } else {
            self.report.others += 1;
            self.check.attributes(&dir.fd, &entry.name, Holder::Other, &place);
        }
    }

    fn foreign(&mut self, dir: &Dir, entry: &LowerEntry) {
        let lower = dir.place.lower.join(&entry.name);
        self.report.foreign.push(Foreign { directory: dir.place.plain.clone(), lower });
    }

    fn subdirectory(&mut self, dir: &Dir, entry: &LowerEntry, place: Place) {
        match self.check.target.lower.open(&dir.fd, &entry.name, libc::O_RDONLY | libc::O_DIRECTORY, 0) {
            Ok(fd) => self.directory(Arc::new(fd), Some(dir), place, dir.depth + 1),
            Err(err) => self.check.note(Kind::Directory, &place, err.into()),
        }
    }

    fn file(&mut self, dir: &Dir, entry: &LowerEntry, place: Place, stat: Stat) {
        if stat.nlink > 1 && !self.check.several_names.lock().insert((stat.dev, stat.ino)) {
            return;
        }
        self.report.files += 1;
        let (dir, zone) = (Arc::clone(&dir.fd), dir.zone);
        let item = Item { dir, name: entry.name.clone(), place, stat, zone };
        // The readers outlive the walk.
        let _ = self.files.send(item);
    }

    fn link_target(&self, dir: &Dir, entry: &LowerEntry) -> Result<()> {
        let target = self.check.target;
        let sealed = target.lower.readlink(&dir.fd, &entry.name)?;
        target.keys.open_target(&sealed).map(drop)
    }

    fn plain_name(&self, dir: &Dir, name: &OsStr) -> Result<OsString> {
        let target = self.check.target;
        if !name.as_bytes().starts_with(LONG.as_bytes()) {
            return target.keys.decrypt_name(&dir.id, name.as_bytes());
        }
        let mut sidecar = name.to_owned();
        sidecar.push(SIDECAR);
        let fd = open_own(target.lower, &dir.fd, &sidecar)?;
        let mut full = vec![0; SIDECAR_MAX + 1];
        let len = target.lower.pread(&fd, &mut full, 0)?;
        target.keys.decrypt_long_name(&dir.id, name, &full[..len])
    }
}

const TEMPORARY: &[u8] = b"kmsfs.tmp.";

/// What an entry is to kmsfs itself.
#[derive(Debug, PartialEq, Eq)]
enum Own {
    /// It belongs to a plaintext name.
    No,
    /// Kept beside the entries, by kmsfs or by the lower filesystem itself.
    Kept,
    /// Left by an interrupted operation.
    Leftover,
    /// Looks like ours and is not.
    Foreign,
}

fn own(name: &OsStr, depth: usize, long_names: &HashSet<&[u8]>) -> Own {
    let bytes = name.as_bytes();
    if bytes == b"." || bytes == b".." || name == RECORD {
        return Own::Kept;
    }
    if depth == 0 && name == LOST_FOUND {
        return Own::Kept;
    }
    if !bytes.starts_with(RESERVED.as_bytes()) {
        return Own::No;
    }
    if bytes.starts_with(TEMPORARY) {
        return Own::Leftover;
    }
    if bytes.starts_with(LONG.as_bytes()) {
        let Some(entry) = bytes.strip_suffix(SIDECAR.as_bytes()) else { return Own::No };
        // A sidecar is written before the entry it names and removed after it.
        return if long_names.contains(entry) { Own::Kept } else { Own::Leftover };
    }
    if depth == 0 && (name == CONFIG || name == JOURNAL_DIR) { Own::Kept } else { Own::Foreign }
}

/// Adds up names and sizes below `dir`.
pub(super) fn measure(lower: &dyn Lower, dir: &Fd, depth: usize, extent: &mut Extent) {
    let Ok(entries) = lower.read_dir(dir) else { return };
    for entry in entries.iter().filter(|entry| own(&entry.name, depth, &HashSet::new()) == Own::No) {
        let Ok(stat) = lower.stat(dir, &entry.name) else { continue };
        if stat.is_file() {
            extent.files += 1;
            extent.bytes += plain_len_floor(stat.size);
        } else if stat.is_dir()
            && depth < DEEPEST
            && let Ok(fd) = lower.open(dir, &entry.name, libc::O_RDONLY | libc::O_DIRECTORY, 0)
        {
            measure(lower, &fd, depth + 1, extent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_our_own_are_told_apart() {
        let name = OsStr::new;
        let siblings = HashSet::from([&b"kmsfs.long.x"[..]]);
        let cases = [
            ("..", 3, Own::Kept),
            ("kmsfs.dir", 3, Own::Kept),
            ("kmsfs.json", 0, Own::Kept),
            ("kmsfs.json", 1, Own::Foreign),
            ("lost+found", 0, Own::Kept),
            ("lost+found", 1, Own::No),
            ("kmsfs.else", 0, Own::Foreign),
            ("kmsfs.tmp.0011", 2, Own::Leftover),
            ("kmsfs.long.x", 2, Own::No),
            ("kmsfs.long.x.name", 2, Own::Kept),
            ("kmsfs.long.y.name", 2, Own::Leftover),
            ("aGVsbG8", 2, Own::No),
        ];
        for (entry, depth, expected) in cases {
            assert_eq!(own(name(entry), depth, &siblings), expected, "{entry} at depth {depth}");
        }
    }

    #[test]
    fn a_path_is_known_as_far_as_its_names_decrypt() {
        let dir = Place::root().below(Some(OsStr::new("docs")), OsStr::new("Qx"));
        assert_eq!(dir.plain.as_deref(), Some("/docs".as_ref()));
        let lost = dir.below(None, OsStr::new("zz"));
        assert_eq!((lost.plain.clone(), lost.lower.clone()), (None, PathBuf::from("Qx/zz")));
        assert_eq!(lost.below(Some(OsStr::new("a")), OsStr::new("b")).plain, None);
    }
}
