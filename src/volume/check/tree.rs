//! Walks the lower tree: directory records, names, link targets, attributes; hands regular files on.

use super::content::Item;
use super::{Check, Report};
use crate::keys::{NO_ZONE, ZoneId};
use crate::volume::dirrec::DirId;
use crate::volume::lower::{Fd, LowerEntry, Stat};
use crate::volume::survey::{DEEPEST, Foreign, Holder, Kind, Own, Place, Problem, long_names, own};
use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

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
    let root = match check.survey.open_root() {
        Ok(fd) => fd,
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
            return self.check.problem(Problem::new(Kind::Unreadable, &place, what));
        }
        let record = match self.check.survey.record(&fd, parent.map(|parent| &parent.id)) {
            Ok(record) => record,
            Err(error) => return self.check.note(Kind::Directory, &place, error),
        };
        if !self.check.knows(&record.zone) {
            let what = "a zone begins here that the config does not have";
            self.check.problem(Problem::new(Kind::Directory, &place, what.to_owned()));
        }
        let inherited = parent.map_or(NO_ZONE, |parent| parent.zone);
        let (id, zone) = (record.id, if record.zone == NO_ZONE { inherited } else { record.zone });
        self.check.attributes(&fd, OsStr::new("."), Holder::Directory(&id), &place);
        let entries = match self.check.survey.lower.read_dir(&fd) {
            Ok(entries) => entries,
            Err(err) => return self.check.note(Kind::Directory, &place, err.into()),
        };
        let dir = Dir { fd, id, place, depth, zone };
        let long = long_names(&entries);
        for entry in &entries {
            match own(&entry.name, depth, &long) {
                Own::No => self.entry(&dir, entry),
                Own::Kept => {}
                Own::Leftover => self.report.leftovers += 1,
                Own::Foreign => self.foreign(&dir, entry),
            }
        }
    }

    fn entry(&mut self, dir: &Dir, entry: &LowerEntry) {
        if self.check.stopped() {
            return;
        }
        let plain = self.check.survey.plain_name(&dir.fd, &dir.id, &entry.name);
        let place = dir.place.below(plain.as_deref().ok(), &entry.name);
        let stat = match self.check.survey.lower.stat(&dir.fd, &entry.name) {
            Ok(stat) => stat,
            Err(err) => return self.check.note(Kind::Unreadable, &place, err.into()),
        };
        if let Err(error) = plain {
            match self.check.survey.is_foreign(&dir.fd, entry, &stat) {
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
            if let Err(error) = self.check.survey.link_target(&dir.fd, &entry.name).map(drop) {
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
        match self.check.survey.open_directory(&dir.fd, &entry.name) {
            Ok(fd) => self.directory(fd, Some(dir), place, dir.depth + 1),
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
}
