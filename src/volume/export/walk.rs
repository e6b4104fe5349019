//! Walks the lower tree: makes directories, symbolic links and special files; hands regular files on.

use super::content::Item;
use super::{Export, Metadata, Report, Source, Trouble};
use crate::volume::dirrec::DirId;
use crate::volume::lower::{Fd, LowerEntry, Stat};
use crate::volume::survey::{DEEPEST, Foreign, Holder, Kind, Own, Place, Problem, long_names, own};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

/// What is left to do after the walk, and what it counted.
#[derive(Default)]
pub(super) struct Walked {
    pub(super) report: Report,
    /// The metadata of the destination itself, if a directory is restored into it.
    pub(super) root: Option<Metadata>,
    /// Directories below the destination, each before those in it.
    directories: Vec<(PathBuf, Place, Metadata)>,
    links: Vec<Link>,
}

/// A further name of what is at `first` in the destination.
struct Link {
    first: PathBuf,
    /// The name's directory in the destination.
    dir: PathBuf,
    name: OsString,
    place: Place,
}

/// A directory whose record holds, and the one that it is restored into.
struct Dir {
    fd: Arc<Fd>,
    id: DirId,
    place: Place,
    depth: usize,
    target: Arc<Fd>,
    /// Path of `target` below the destination.
    path: PathBuf,
}

/// Walks all of `source`. Dropping `files` at the end tells the workers that nothing else comes.
pub(super) fn walk(export: &Export<'_>, source: &Source, files: SyncSender<Item>, walked: &mut Walked) {
    let target = match export.destination.root() {
        Ok(fd) => Arc::new(fd),
        Err(err) => return export.end(err.into()),
    };
    let mut walk = Walk { export, files, walked };
    let (fd, place) = (Arc::clone(&source.dir), source.place.clone());
    match &source.only {
        None => {
            let root = Target { fd: target, path: PathBuf::new() };
            walk.directory(fd, source.parent.as_ref(), place, source.depth, root);
        }
        Some((lower, plain)) => {
            let id = match export.survey.record(&fd, source.parent.as_ref()) {
                Ok(record) => record.id,
                Err(error) => return export.note(Kind::Directory, &place, error),
            };
            let dir = Dir { fd, id, place, depth: source.depth, target, path: PathBuf::new() };
            let place = dir.place.below(Some(plain), lower);
            match export.survey.lower.stat(&dir.fd, lower) {
                Ok(stat) => walk.restore(&dir, lower, plain, place, stat),
                Err(err) => export.note(Kind::Unreadable, &place, err.into()),
            }
        }
    }
}

/// A directory in the destination.
struct Target {
    fd: Arc<Fd>,
    path: PathBuf,
}

struct Walk<'a, 'e> {
    export: &'a Export<'e>,
    files: SyncSender<Item>,
    walked: &'a mut Walked,
}

impl Walk<'_, '_> {
    fn directory(&mut self, fd: Arc<Fd>, parent: Option<&DirId>, place: Place, depth: usize, target: Target) {
        let export = self.export;
        if export.stopped() {
            return;
        }
        self.walked.report.directories += 1;
        if depth > DEEPEST {
            let what = format!("more than {DEEPEST} directories below each other; this one was not read");
            return export.problem(Problem::new(Kind::Unreadable, &place, what));
        }
        // Before its entries are read, which is an access.
        let stat = match export.survey.lower.fstat(&fd) {
            Ok(stat) => stat,
            Err(err) => return export.note(Kind::Directory, &place, err.into()),
        };
        let id = match export.survey.record(&fd, parent) {
            Ok(record) => record.id,
            Err(error) => return export.note(Kind::Directory, &place, error),
        };
        let attributes = export.attributes(&fd, OsStr::new("."), Holder::Directory(&id), &place);
        let metadata = Metadata { stat, attributes };
        match target.path == Path::new("") {
            true => self.walked.root = Some(metadata),
            false => self.walked.directories.push((target.path.clone(), place.clone(), metadata)),
        }
        let entries = match export.survey.lower.read_dir(&fd) {
            Ok(entries) => entries,
            Err(err) => return export.note(Kind::Directory, &place, err.into()),
        };
        let dir = Dir { fd, id, place, depth, target: target.fd, path: target.path };
        let long = long_names(&entries);
        for entry in &entries {
            match own(&entry.name, depth, &long) {
                Own::No => self.entry(&dir, entry),
                Own::Kept => {}
                Own::Leftover => self.walked.report.leftovers += 1,
                Own::Foreign => self.foreign(&dir, entry),
            }
        }
    }

    fn entry(&mut self, dir: &Dir, entry: &LowerEntry) {
        let export = self.export;
        if export.stopped() {
            return;
        }
        let plain = export.survey.plain_name(&dir.fd, &dir.id, &entry.name);
        let place = dir.place.below(plain.as_deref().ok(), &entry.name);
        let stat = match export.survey.lower.stat(&dir.fd, &entry.name) {
            Ok(stat) => stat,
            Err(err) => return export.note(Kind::Unreadable, &place, err.into()),
        };
        match plain {
            Ok(plain) => self.restore(dir, &entry.name, &plain, place, stat),
            Err(error) => match export.survey.is_foreign(&dir.fd, entry, &stat) {
                Ok(true) => self.foreign(dir, entry),
                Ok(false) => export.note(Kind::Name, &place, error),
                Err(error) => export.note(Kind::Name, &place, error),
            },
        }
    }

    fn foreign(&mut self, dir: &Dir, entry: &LowerEntry) {
        let lower = dir.place.lower.join(&entry.name);
        self.walked.report.foreign.push(Foreign { directory: dir.place.plain.clone(), lower });
    }

    /// Restores the entry `lower` of `dir` as `plain`.
    fn restore(&mut self, dir: &Dir, lower: &OsStr, plain: &OsStr, place: Place, stat: Stat) {
        if stat.is_dir() {
            return self.subdirectory(dir, lower, plain, place);
        }
        let path = dir.path.join(plain);
        if stat.nlink > 1 && self.has_a_name(&stat, &path, dir, plain, &place) {
            return;
        }
        if stat.is_file() {
            let item = Item {
                dir: Arc::clone(&dir.fd),
                lower: lower.to_owned(),
                target: Arc::clone(&dir.target),
                plain: plain.to_owned(),
                place,
                stat,
            };
            // The workers outlive the walk.
            let _ = self.files.send(item);
            return;
        }
        let (kind, restored) = match stat.is_symlink() {
            true => (Kind::Symlink, self.symlink(dir, lower, plain, &place, stat)),
            false => (Kind::Unreadable, self.special(dir, lower, plain, &place, stat)),
        };
        if let Err(trouble) = restored {
            self.export.trouble(kind, &place, trouble);
        }
    }

    /// Whether what `stat` tells of was met under another name; then it is linked in the end.
    fn has_a_name(&mut self, stat: &Stat, path: &Path, dir: &Dir, name: &OsStr, place: &Place) -> bool {
        let mut names = self.export.several_names.lock();
        let Some(first) = names.get(&(stat.dev, stat.ino)) else {
            names.insert((stat.dev, stat.ino), path.to_owned());
            return false;
        };
        let (first, dir, name) = (first.clone(), dir.path.clone(), name.to_owned());
        self.walked.links.push(Link { first, dir, name, place: place.clone() });
        true
    }

    fn subdirectory(&mut self, dir: &Dir, lower: &OsStr, plain: &OsStr, place: Place) {
        let fd = match self.export.survey.open_directory(&dir.fd, lower) {
            Ok(fd) => fd,
            Err(err) => return self.export.note(Kind::Directory, &place, err.into()),
        };
        let target = match self.export.destination.make_directory(&dir.target, plain) {
            Ok(fd) => Target { fd: Arc::new(fd), path: dir.path.join(plain) },
            Err(err) => return self.export.not_written(&place, err),
        };
        self.directory(fd, Some(&dir.id), place, dir.depth + 1, target);
    }

    fn symlink(
        &mut self,
        dir: &Dir,
        lower: &OsStr,
        plain: &OsStr,
        place: &Place,
        stat: Stat,
    ) -> Result<(), Trouble> {
        let destination = &self.export.destination;
        let target = self.export.survey.link_target(&dir.fd, lower)?;
        destination.make_symlink(&dir.target, plain, &target).map_err(Trouble::Write)?;
        self.walked.report.symlinks += 1;
        self.settle(dir, lower, plain, place, stat).map_err(Trouble::Write)
    }

    fn special(
        &mut self,
        dir: &Dir,
        lower: &OsStr,
        plain: &OsStr,
        place: &Place,
        stat: Stat,
    ) -> Result<(), Trouble> {
        match self.export.destination.make_special(&dir.target, plain, stat.kind(), stat.rdev) {
            // Device nodes are root's to make.
            Err(err) if matches!(err.raw_os_error(), Some(libc::EPERM | libc::EOPNOTSUPP)) => {
                self.export.counts.unset.others.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            made => made.map_err(Trouble::Write)?,
        }
        self.walked.report.others += 1;
        self.settle(dir, lower, plain, place, stat).map_err(Trouble::Write)
    }

    fn settle(&self, dir: &Dir, lower: &OsStr, plain: &OsStr, place: &Place, stat: Stat) -> io::Result<()> {
        let attributes = self.export.attributes(&dir.fd, lower, Holder::Other, place);
        let metadata = Metadata { stat, attributes };
        self.export.destination.settle(&dir.target, plain, &metadata, &self.export.counts.unset)
    }
}

impl Export<'_> {
    /// Makes the further names of what has several, once all contents are there.
    pub(super) fn link(&self, walked: &mut Walked) {
        for Link { first, dir, name, place } in std::mem::take(&mut walked.links) {
            if self.stopped() {
                return;
            }
            match self.destination.link(&first, &dir, &name) {
                Ok(()) => walked.report.links += 1,
                Err(err) if err.raw_os_error() == Some(libc::ENOENT) => {
                    let what = format!("another name of /{}, which was not restored", first.display());
                    self.problem(Problem::new(Kind::NotWritten, &place, what));
                }
                Err(err) => self.not_written(&place, err),
            }
        }
    }

    /// Gives the directories what is theirs, the deepest first.
    pub(super) fn finish_directories(&self, walked: &Walked) {
        for (path, place, metadata) in walked.directories.iter().rev() {
            if self.stopped() {
                return;
            }
            let settled = self
                .destination
                .open(path)
                .and_then(|fd| self.destination.settle(&fd, OsStr::new("."), metadata, &self.counts.unset));
            if let Err(err) = settled {
                self.not_written(place, err);
            }
        }
    }
}
