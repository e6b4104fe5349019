//! Restores a volume, or a part of it, into an ordinary directory, without mounting it.
//!
//! The way back when nothing else is left but the lower directory and its key: no FUSE, no root. One thread walks the
//! tree and makes directories, links and special files; several restore the contents of files. Damage ends nothing: it
//! is noted, and the walk goes on beside it. What the restored entries are called, and where, comes from authentic
//! names alone, each a single component, below directories that this process made and holds open: nothing is written
//! outside the destination.
//!
//! A file is written under a temporary name and renamed into place when it is complete. Owners, modes and times of
//! directories come last, the deepest first, so that nobody else reaches into what is still being written.

mod content;
mod destination;
mod walk;

pub use destination::{Destination, Prepared};

use super::dirrec::DirId;
use super::lower::{Fd, Stat};
use super::survey::{Attribute, Extent, Foreign, Kind, Observer, Place, Problem, Survey, measure};
use super::{Error, Result};
use destination::is_final;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

/// Files that may wait for a worker. Each holds two directories open.
const QUEUE: usize = 64;

/// What could not be given to what was restored, by number.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Unset {
    /// Owner or group; set-user-id and set-group-id were left off with it.
    pub owners: u64,
    /// Permission bits.
    pub modes: u64,
    /// Extended attributes.
    pub attributes: u64,
    /// POSIX ACLs.
    pub acls: u64,
    /// Times.
    pub times: u64,
    /// FIFOs, sockets and device nodes that could not be made.
    pub others: u64,
}

impl Unset {
    /// Was everything set?
    pub fn is_empty(&self) -> bool {
        *self == Unset::default()
    }
}

/// What an export did.
#[derive(Debug, Default)]
pub struct Report {
    /// Directories, the destination included.
    pub directories: u64,
    /// Regular files; one with several names counts once.
    pub files: u64,
    /// Of those, files with damaged blocks, which are zeros now.
    pub damaged_files: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// FIFOs, sockets and device nodes.
    pub others: u64,
    /// Further names of what has several.
    pub links: u64,
    /// Plaintext bytes of the files, holes included.
    pub bytes: u64,
    /// What an interrupted operation left; it is hidden, and not restored.
    pub leftovers: u64,
    /// What is not kmsfs's, in the order of lower paths; it is not restored.
    pub foreign: Vec<Foreign>,
    /// What could not be set.
    pub unset: Unset,
    /// What is damaged, locked or could not be written, in the order of lower paths.
    pub problems: Vec<Problem>,
}

/// What to restore: a directory with all below it, or one entry.
pub struct Source {
    /// The directory, or the one that the entry is in.
    dir: Arc<Fd>,
    /// The directory's parent; `None` for the root.
    parent: Option<DirId>,
    place: Place,
    /// Directories between it and the root.
    depth: usize,
    /// The entry: lower name, plaintext name.
    only: Option<(OsString, OsString)>,
}

impl Source {
    /// Finds what is at the plaintext path `path` below the volume's root.
    ///
    /// # Errors
    /// `ENOENT` if there is no such entry; [`Error::Corrupt`] if a directory on the way is damaged; those of the lower
    /// filesystem.
    pub fn find(survey: &Survey<'_>, path: &Path) -> Result<Source> {
        let mut names = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => names.push(name),
                Component::RootDir | Component::CurDir => {}
                _ => return Err(Error::errno(libc::ENOENT)),
            }
        }
        let mut source =
            Source { dir: survey.open_root()?, parent: None, place: Place::root(), depth: 0, only: None };
        for name in names {
            if source.only.is_some() {
                return Err(Error::errno(libc::ENOTDIR));
            }
            let id = survey.record(&source.dir, source.parent.as_ref())?.id;
            let lower = survey.keys.encrypt_name(&id, name).name;
            if survey.lower.stat(&source.dir, &lower)?.is_dir() {
                source.dir = survey.open_directory(&source.dir, &lower)?;
                source.parent = Some(id);
                source.place = source.place.below(Some(name), &lower);
                source.depth += 1;
            } else {
                source.only = Some((lower, name.to_owned()));
            }
        }
        Ok(source)
    }

    /// How much there is to restore, by the lower sizes alone.
    pub fn measure(&self, survey: &Survey<'_>) -> Extent {
        match &self.only {
            Some((lower, _)) => survey.lower.stat(&self.dir, lower).map_or(Extent::default(), |stat| {
                Extent { files: 1, bytes: super::geometry::plain_len_floor(stat.size) }
            }),
            None => measure(survey.lower, &self.dir, self.depth),
        }
    }
}

/// Restores `source` into `destination`, with `workers` threads for the contents of files. Files with damaged blocks
/// are left out unless `keep_damaged`: then those blocks are zeros.
///
/// # Errors
/// A KMS that does not answer; a destination that is full or fails. What was restored until then stays, beside the
/// mark that it is not all.
pub fn run(
    survey: &Survey<'_>,
    source: &Source,
    destination: Destination,
    keep_damaged: bool,
    workers: usize,
    observer: &dyn Observer,
) -> Result<Report> {
    let export = Export {
        survey,
        destination,
        keep_damaged,
        observer,
        counts: Counts::default(),
        problems: Mutex::default(),
        several_names: Mutex::default(),
        stop: AtomicBool::new(false),
        fatal: Mutex::default(),
    };
    let mut walked = walk::Walked::default();
    let (sender, receiver) = mpsc::sync_channel::<content::Item>(QUEUE);
    let receiver = Mutex::new(receiver);
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| export.restore_files(&receiver));
        }
        walk::walk(&export, source, sender, &mut walked);
    });
    export.link(&mut walked);
    export.finish_directories(&walked);
    if let Some(fatal) = export.fatal.into_inner() {
        return Err(fatal);
    }
    export.destination.finish(walked.root.as_ref(), &export.counts.unset)?;
    let mut report = walked.report;
    export.counts.tell(&mut report);
    report.problems = export.problems.into_inner();
    report.problems.sort_by(|a, b| a.lower.cmp(&b.lower));
    report.foreign.sort_by(|a, b| a.lower.cmp(&b.lower));
    Ok(report)
}

/// What several threads count.
#[derive(Default)]
struct Counts {
    files: AtomicU64,
    damaged_files: AtomicU64,
    bytes: AtomicU64,
    unset: UnsetCounts,
}

impl Counts {
    fn tell(&self, report: &mut Report) {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        report.files = get(&self.files);
        report.damaged_files = get(&self.damaged_files);
        report.bytes = get(&self.bytes);
        report.unset = Unset {
            owners: get(&self.unset.owners),
            modes: get(&self.unset.modes),
            attributes: get(&self.unset.attributes),
            acls: get(&self.unset.acls),
            times: get(&self.unset.times),
            others: get(&self.unset.others),
        };
    }
}

/// [`Unset`], in the making.
#[derive(Default)]
struct UnsetCounts {
    owners: AtomicU64,
    modes: AtomicU64,
    attributes: AtomicU64,
    acls: AtomicU64,
    times: AtomicU64,
    others: AtomicU64,
}

/// Owner, mode, times and attributes of one entry.
struct Metadata {
    stat: Stat,
    attributes: Vec<Attribute>,
}

/// Why something was not restored.
enum Trouble {
    /// It could not be read.
    Read(Error),
    /// It could not be written.
    Write(io::Error),
}

impl<E: Into<Error>> From<E> for Trouble {
    fn from(error: E) -> Trouble {
        Trouble::Read(error.into())
    }
}

/// An export under way.
struct Export<'a> {
    survey: &'a Survey<'a>,
    destination: Destination,
    keep_damaged: bool,
    observer: &'a dyn Observer,
    counts: Counts,
    problems: Mutex<Vec<Problem>>,
    /// The first names, in the destination, of what has several, by lower device and inode.
    several_names: Mutex<HashMap<(u64, u64), PathBuf>>,
    stop: AtomicBool,
    fatal: Mutex<Option<Error>>,
}

impl Export<'_> {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn end(&self, fatal: Error) {
        self.stop.store(true, Ordering::Relaxed);
        self.fatal.lock().get_or_insert(fatal);
    }

    fn problem(&self, problem: Problem) {
        self.observer.found(&problem);
        self.problems.lock().push(problem);
    }

    /// Notes an error about `place`, or ends the export.
    fn note(&self, kind: Kind, place: &Place, error: Error) {
        match Problem::of(kind, place, error) {
            Ok(problem) => self.problem(problem),
            Err(fatal) => self.end(fatal),
        }
    }

    /// Notes that `place` could not be written, or ends the export where nothing else could be either.
    fn not_written(&self, place: &Place, error: io::Error) {
        match is_final(&error) {
            true => self.end(error.into()),
            false => self.problem(Problem::new(Kind::NotWritten, place, error.to_string())),
        }
    }

    fn trouble(&self, kind: Kind, place: &Place, trouble: Trouble) {
        match trouble {
            Trouble::Read(error) => self.note(kind, place, error),
            Trouble::Write(error) => self.not_written(place, error),
        }
    }

    /// The attributes of `name` in `dir` that can be read; the others are noted.
    fn attributes(
        &self,
        dir: &Fd,
        name: &OsStr,
        holder: super::survey::Holder<'_>,
        place: &Place,
    ) -> Vec<Attribute> {
        let mut whole = Vec::new();
        match self.survey.attributes(dir, name, holder) {
            Ok(attributes) => {
                for attribute in attributes {
                    match attribute {
                        Ok(attribute) => whole.push(attribute),
                        Err(error) => self.note(Kind::Attribute, place, error),
                    }
                }
            }
            Err(error) => self.note(Kind::Attribute, place, error),
        }
        whole
    }
}
