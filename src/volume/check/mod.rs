//! Verifies everything in a volume without mounting it: every directory record, name, link target, attribute,
//! header and block.
//!
//! Reads through the same code as the mount, so what passes here reads there, and changes nothing. One thread
//! walks the tree, several read files. Damage never ends a check: it is noted, with the plaintext path as far
//! as that can be known, and the walk goes on beside it. A key that cannot be had does end it, since then
//! nothing would be verified.

mod attributes;
mod content;
mod foreign;
mod tree;

pub use foreign::Foreign;

use super::keys::VolumeKeys;
use super::lower::{Fd, Lower};
use super::store::FileStore;
use super::{Error, Result, Volume};
use crate::keys::{ErrorKind, ZoneId};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

/// Files that may wait for a reader. Each holds its directory open.
const QUEUE: usize = 64;

/// What a check works on: an opened volume that nobody else uses.
pub struct Target<'a> {
    /// The lower filesystem's calls.
    pub lower: &'a dyn Lower,
    /// The lower directory.
    pub root: &'a Fd,
    /// What opens names, records, link targets and attributes.
    pub keys: &'a VolumeKeys,
    /// What opens files.
    pub store: &'a FileStore,
}

impl<'a> Target<'a> {
    /// All of `volume`.
    pub fn of(volume: &'a Volume) -> Target<'a> {
        Target { lower: &*volume.lower, root: &volume.root, keys: &volume.keys, store: &volume.store }
    }
}

/// Is told how a check goes on, from several threads.
pub trait Observer: Sync {
    /// So many more plaintext bytes were verified.
    fn verified(&self, bytes: u64);
    /// Something is wrong.
    fn found(&self, problem: &Problem);
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The record of a directory, or the directory itself.
    Directory,
    /// The name of an entry of kmsfs's: damaged, or given by somebody else.
    Name,
    /// The content of a file.
    File,
    /// The target of a symbolic link.
    Symlink,
    /// An extended attribute.
    Attribute,
    /// The lower filesystem did not let it be read.
    Unreadable,
    /// A zone's key may not be used now: nothing is known of the content.
    Locked,
}

impl Kind {
    /// A stable word for scripts.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Directory => "directory",
            Kind::Name => "name",
            Kind::File => "file",
            Kind::Symlink => "symlink",
            Kind::Attribute => "attribute",
            Kind::Unreadable => "unreadable",
            Kind::Locked => "locked",
        }
    }
}

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it is about.
    pub kind: Kind,
    /// Its plaintext path below the volume's root; `None` where a name on the way does not decrypt.
    pub path: Option<PathBuf>,
    /// Its path below the lower directory.
    pub lower: PathBuf,
    /// What does not hold.
    pub what: String,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// Directories, the root included.
    pub directories: u64,
    /// Regular files; one with several names counts once.
    pub files: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// FIFOs, sockets and device nodes.
    pub others: u64,
    /// Plaintext bytes that were verified, holes included.
    pub bytes: u64,
    /// What an interrupted operation left; it is hidden, and no damage.
    pub leftovers: u64,
    /// What is not kmsfs's and no damage, in the order of lower paths.
    pub foreign: Vec<Foreign>,
    /// Files with one name that are under the key of another zone than their directory's, by their paths below the lower
    /// directory. No damage: a move of files into a zone that was not finished leaves them.
    pub strays: Vec<PathBuf>,
    /// What is wrong, in the order of lower paths.
    pub problems: Vec<Problem>,
}

/// How much there is to verify, by the lower sizes alone.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Regular files, by their names.
    pub files: u64,
    /// Their plaintext bytes.
    pub bytes: u64,
}

/// Looks at names and sizes in the lower directory `root` alone; needs no key. What cannot be read counts as
/// nothing: finding errors is the check's own task.
pub fn measure(lower: &dyn Lower, root: &Fd) -> Extent {
    let mut extent = Extent::default();
    tree::measure(lower, root, 0, &mut extent);
    extent
}

/// Verifies everything, with `readers` threads for the contents of files.
///
/// # Errors
/// A KMS that does not answer. Everything else is in the report.
pub fn run(target: &Target<'_>, readers: usize, observer: &dyn Observer) -> Result<Report> {
    let check = Check {
        target,
        observer,
        problems: Mutex::default(),
        strays: Mutex::default(),
        several_names: Mutex::default(),
        bytes: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        fatal: Mutex::default(),
    };
    let mut report = Report::default();
    let (sender, receiver) = mpsc::sync_channel::<content::Item>(QUEUE);
    let receiver = Mutex::new(receiver);
    std::thread::scope(|scope| {
        for _ in 0..readers.max(1) {
            scope.spawn(|| check.read_files(&receiver));
        }
        tree::walk(&check, sender, &mut report);
    });
    if let Some(fatal) = check.fatal.into_inner() {
        return Err(fatal);
    }
    report.bytes = check.bytes.into_inner();
    report.problems = check.problems.into_inner();
    report.problems.sort_by(|a, b| a.lower.cmp(&b.lower));
    report.strays = check.strays.into_inner();
    report.strays.sort();
    report.foreign.sort_by(|a, b| a.lower.cmp(&b.lower));
    Ok(report)
}

/// A check under way.
struct Check<'a> {
    target: &'a Target<'a>,
    observer: &'a dyn Observer,
    problems: Mutex<Vec<Problem>>,
    strays: Mutex<Vec<PathBuf>>,
    /// Files with several names that were seen, by device and inode.
    several_names: Mutex<HashSet<(u64, u64)>>,
    bytes: AtomicU64,
    stop: AtomicBool,
    fatal: Mutex<Option<Error>>,
}

impl Check<'_> {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Does the config have `zone`?
    fn knows(&self, zone: &ZoneId) -> bool {
        self.target.store.keyring().zone(zone).is_ok()
    }

    fn verified(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.observer.verified(bytes);
    }

    fn problem(&self, kind: Kind, place: &tree::Place, what: String) {
        let problem = Problem { kind, path: place.plain.clone(), lower: place.lower.clone(), what };
        self.observer.found(&problem);
        self.problems.lock().push(problem);
    }

    /// Notes an error about `place`: as damage of `kind`, as unreadable, as locked, or as the end of the check. A KMS that
    /// says no to one key may say yes to the next; one that does not answer would be waited for again and again.
    fn note(&self, kind: Kind, place: &tree::Place, error: Error) {
        match error {
            Error::Corrupt { why, .. } => self.problem(kind, place, why),
            Error::Os(err) => self.problem(Kind::Unreadable, place, err.to_string()),
            Error::Key(err) if err.kind() == ErrorKind::Invalid => self.problem(kind, place, err.to_string()),
            Error::Key(err) if err.kind() != ErrorKind::Unavailable => {
                self.problem(Kind::Locked, place, err.to_string());
            }
            fatal @ (Error::Key(_) | Error::InUse { .. } | Error::Volume(_)) => {
                self.stop.store(true, Ordering::Relaxed);
                self.fatal.lock().get_or_insert(fatal);
            }
        }
    }
}
