//! Verifies everything in a volume without mounting it: every directory record, name, link target, attribute,
//! header and block.
//!
//! Reads through the same code as the mount, so what passes here reads there, and changes nothing. One thread
//! walks the tree, several read files. Damage never ends a check: it is noted, with the plaintext path as far
//! as that can be known, and the walk goes on beside it. A KMS that does not answer does end it, since then
//! nothing would be verified.

mod content;
mod tree;

use super::survey::{Foreign, Kind, Observer, Place, Problem, Survey};
use super::{Error, Result};
use crate::keys::ZoneId;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

/// Files that may wait for a reader. Each holds its directory open.
const QUEUE: usize = 64;

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

/// Verifies everything, with `readers` threads for the contents of files.
///
/// # Errors
/// A KMS that does not answer. Everything else is in the report.
pub fn run(survey: &Survey<'_>, readers: usize, observer: &dyn Observer) -> Result<Report> {
    let check = Check {
        survey,
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
    survey: &'a Survey<'a>,
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
        self.survey.store.keyring().zone(zone).is_ok()
    }

    fn verified(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.observer.advanced(bytes);
    }

    fn problem(&self, problem: Problem) {
        self.observer.found(&problem);
        self.problems.lock().push(problem);
    }

    /// Notes an error about `place`, or ends the check.
    fn note(&self, kind: Kind, place: &Place, error: Error) {
        match Problem::of(kind, place, error) {
            Ok(problem) => self.problem(problem),
            Err(fatal) => {
                self.stop.store(true, Ordering::Relaxed);
                self.fatal.lock().get_or_insert(fatal);
            }
        }
    }
}
