//! Wrapping the keys of many files anew, while they are in use: the walk that finds them, the threads that do it.
//!
//! A file takes three steps with a wait for the disk after each: it is announced, one slot of its header gets the new
//! wrap, then the other (see [`crate::volume::file`]). A thread takes the steps of many files together. While some are
//! at their third step others are at their second and more at their first, so that one wait serves all three.
//!
//! What a file is to be wrapped for is asked twice: when it is found, and again under the name lock of its directory just
//! before its header changes. In between it may have moved to another zone, which then has wrapped it.

use super::Filesystem;
use super::dirfd::{Dir, Place};
use super::errno::{Error, Result};
use super::handle::OpenFile;
use super::inode::Inode;
use super::naming::{EntryKind, entry_kind};
use crate::keys::{Envelope, ErrorKind, NO_ZONE, ZoneId};
use crate::volume::file::BegunRewrap;
use crate::volume::geometry::HEADER_LEN;
use crate::volume::lower::{LowerEntry, Stat, descriptors};
use crate::volume::{self, header};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

/// Files that could not be wrapped are named up to here, and counted from there on.
const NAMED: usize = 100;
/// Files that go from the walk to the workers at once.
const CHUNK: usize = 256;
/// Files of a thread that take a step together, where descriptors allow it.
const BATCH: usize = 2048;
/// How often an observer is told.
const EVERY: Duration = Duration::from_millis(100);

/// Files whose keys were wrapped anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Files that the present pass, or the last, came upon.
    pub found: u64,
    /// Files whose keys were wrapped anew; of a trial, would be.
    pub moved: u64,
    /// Files and directories with which the last pass failed.
    pub failed: u64,
    /// The first of them.
    pub failures: Vec<NotMoved>,
}

/// A file, or a directory with all in it, whose key could not be wrapped anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotMoved {
    /// Where it lies below the directory.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// How far a pass is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Files that there are; `None` while they are being counted.
    pub total: Option<u64>,
    /// Files that the pass came upon.
    pub found: u64,
    /// Files whose keys were wrapped anew, in this pass and those before.
    pub moved: u64,
}

/// Is told how far it is, every now and then; returns whether to go on.
pub type Observer<'a> = dyn FnMut(Progress) -> bool + 'a;

/// A regular file that a walk has found, by the type in its directory's listing.
pub(super) struct Found {
    pub(super) dir: Dir,
    pub(super) entry: LowerEntry,
    /// The path of its directory.
    pub(super) path: Arc<PathBuf>,
}

/// What a walk over directories saw.
#[derive(Default)]
pub(super) struct Walked {
    /// Directories that could not be read.
    pub(super) unread: Vec<(PathBuf, Error)>,
    /// The zones that begin at the others.
    pub(super) begun: Vec<(PathBuf, ZoneId)>,
}

/// Calls its argument for every file there is, until that returns false.
pub(super) type Walk<'a> = dyn Fn(&mut dyn FnMut(Found) -> bool) -> Result<Walked> + Sync + 'a;

/// The zone that a file in a directory, whose header has its key so, is to be wrapped for; `None` if it may stay as it is.
pub(super) type Wanted<'a> = dyn Fn(&Dir, &Envelope) -> Result<Option<ZoneId>> + Sync + 'a;

/// How a pass is to go.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Manner {
    /// Only count.
    pub(super) trial: bool,
    /// Files a second.
    pub(super) rate: Option<NonZeroU32>,
}

impl Filesystem {
    /// Goes over the files of `walk` once, and wraps the keys of those that are to be; adds to what `before` counted of
    /// earlier passes.
    ///
    /// # Errors
    /// `EINTR` if `observer` ends it; a KMS that is out of reach; those of the lower filesystem that concern all files.
    pub(super) fn rewrap_pass(
        &self,
        walk: &Walk<'_>,
        wanted: &Wanted<'_>,
        manner: Manner,
        before: u64,
        observer: &mut Observer<'_>,
    ) -> Result<Moved> {
        let pass = Pass {
            fs: self,
            wanted,
            manner,
            total: AtomicU64::new(0),
            counted: AtomicBool::new(false),
            found: AtomicU64::new(0),
            moved: AtomicU64::new(before),
            failed: AtomicU64::new(0),
            failures: Mutex::default(),
            several_names: Mutex::default(),
            stop: AtomicBool::new(false),
            fatal: Mutex::default(),
            next: Mutex::new(Instant::now()),
        };
        pass.run(walk, observer);
        match pass.fatal.into_inner() {
            Some(fatal) => Err(fatal),
            None => Ok(Moved {
                found: pass.found.into_inner(),
                moved: pass.moved.into_inner(),
                failed: pass.failed.into_inner(),
                failures: pass.failures.into_inner(),
            }),
        }
    }

    /// Calls `each` for every regular file below `top`, with no name locked; what it returns tells whether to go on.
    /// With `one_zone`, not for files in zones that begin below `top`.
    pub(super) fn each_file(
        &self,
        top: &Arc<Inode>,
        one_zone: bool,
        each: &mut dyn FnMut(Found) -> bool,
    ) -> Result<Walked> {
        let mut walked = Walked::default();
        let mut ahead = vec![(Arc::clone(top), PathBuf::new())];
        while let Some((inode, path)) = ahead.pop() {
            let listed = self.dir_of(&inode).and_then(|dir| {
                let _names = inode.names.read();
                let entries = self.with_owner_access(&dir.fd, || self.lower.read_dir(&dir.fd))?;
                Ok((dir, entries))
            });
            let (dir, entries) = match listed {
                Ok(listed) => listed,
                Err(e) => {
                    walked.unread.push((path, e));
                    continue;
                }
            };
            if inode.own_zone() != NO_ZONE {
                walked.begun.push((path.clone(), inode.own_zone()));
            }
            if one_zone && !Arc::ptr_eq(&inode, top) && inode.own_zone() != NO_ZONE {
                continue;
            }
            let path = Arc::new(path);
            for entry in entries.into_iter().filter(|entry| entry_kind(&entry.name) == EntryKind::Named) {
                match self.kind_of(&dir, &entry) {
                    Ok(libc::DT_DIR) => {
                        let Some(name) = self.plain_name(&dir, &entry) else { continue };
                        match self.peek_locked(&dir, &entry.name) {
                            Ok((found, _)) => ahead.push((found, path.join(name))),
                            Err(e) if e.errno() == libc::ENOENT => {}
                            Err(e) => return Err(e),
                        }
                    }
                    Ok(libc::DT_REG) => {
                        let found = Found { dir: dir.clone(), entry, path: Arc::clone(&path) };
                        if !each(found) {
                            return Err(Error::Refused(libc::EINTR));
                        }
                    }
                    Ok(_) => {}
                    Err(e) if e.errno() == libc::ENOENT => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(walked)
    }

    /// The `DT_*` of an entry, also where the lower filesystem's listing does not tell.
    fn kind_of(&self, dir: &Dir, entry: &LowerEntry) -> Result<u8> {
        if entry.kind != libc::DT_UNKNOWN {
            return Ok(entry.kind);
        }
        let stat = self.lower.stat(&dir.fd, &entry.name)?;
        Ok(match (stat.is_dir(), stat.is_file()) {
            (true, _) => libc::DT_DIR,
            (_, true) => libc::DT_REG,
            _ => libc::DT_UNKNOWN,
        })
    }

    fn peek_locked(&self, dir: &Dir, name: &OsStr) -> Result<(Arc<Inode>, Stat)> {
        let _names = dir.inode.names.read();
        self.peek(dir, name)
    }

    /// How the header of a lower file claims that the file's key is wrapped; `None` if it is no header. Where that is
    /// forged, the file does not open.
    pub(super) fn claimed_envelope(&self, place: &Place) -> Result<Option<Envelope>> {
        let fd = self.open_place(place, libc::O_RDONLY)?;
        let mut bytes = [0; HEADER_LEN as usize];
        let len = self.lower.pread(&fd, &mut bytes, 0)?;
        Ok(header::claimed(&bytes[..len]).map(|header| header.slot.envelope))
    }
}

/// A file on its way.
struct Job {
    dir: Dir,
    name: OsString,
    path: Arc<PathBuf>,
    open: OpenFile,
    /// It was announced ahead, and is to be told when that is durable.
    announced: bool,
}

/// Files of one thread, by the last step that they took.
#[derive(Default)]
struct Pipeline {
    announced: Vec<Job>,
    begun: Vec<(Job, BegunRewrap)>,
}

struct Pass<'a> {
    fs: &'a Filesystem,
    wanted: &'a Wanted<'a>,
    manner: Manner,
    total: AtomicU64,
    counted: AtomicBool,
    found: AtomicU64,
    moved: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<NotMoved>>,
    /// Files that have several, of which one was met.
    several_names: Mutex<HashSet<(u64, u64)>>,
    stop: AtomicBool,
    fatal: Mutex<Option<Error>>,
    /// When the next file may be wrapped, where a rate is set.
    next: Mutex<Instant>,
}

impl Pass<'_> {
    fn run(&self, walk: &Walk<'_>, observer: &mut Observer<'_>) {
        // More than processors: some wait for the disk.
        let workers = std::thread::available_parallelism().map_or(4, |n| 2 * n.get()).clamp(4, 32);
        let (chunks, work) = sync_channel::<Vec<Found>>(2 * workers);
        let work = Mutex::new(work);
        let (steps, told) = channel::<()>();
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let (steps, work) = (steps.clone(), &work);
                scope.spawn(move || self.work(work, &steps));
            }
            let walking = steps.clone();
            scope.spawn(move || {
                let _walking = walking;
                self.walk(walk, &chunks);
            });
            scope.spawn(move || {
                let _counting = steps;
                self.count(walk);
            });
            loop {
                if !observer(self.progress()) {
                    self.end(Error::Refused(libc::EINTR));
                }
                match told.recv_timeout(EVERY) {
                    Err(RecvTimeoutError::Disconnected) => return,
                    Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                }
            }
        });
    }

    fn progress(&self) -> Progress {
        Progress {
            total: self.counted.load(Ordering::Acquire).then(|| self.total.load(Ordering::Relaxed)),
            found: self.found.load(Ordering::Relaxed),
            moved: self.moved.load(Ordering::Relaxed),
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn end(&self, why: Error) {
        self.stop.store(true, Ordering::Relaxed);
        self.fatal.lock().get_or_insert(why);
    }

    /// For the progress only: what cannot be counted is reported by who walks.
    fn count(&self, walk: &Walk<'_>) {
        let counted = walk(&mut |_| {
            self.total.fetch_add(1, Ordering::Relaxed);
            !self.stopped()
        });
        self.counted.store(counted.is_ok(), Ordering::Release);
    }

    fn walk(&self, walk: &Walk<'_>, chunks: &SyncSender<Vec<Found>>) {
        let mut chunk = Vec::with_capacity(CHUNK);
        let walked = walk(&mut |found| {
            chunk.push(found);
            if chunk.len() == CHUNK {
                // The workers outlive the walk.
                let _ = chunks.send(std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK)));
            }
            !self.stopped()
        });
        let _ = chunks.send(chunk);
        match walked {
            Ok(walked) => walked.unread.iter().for_each(|(path, why)| self.fail(path.clone(), why)),
            Err(e) => self.end(e),
        }
    }

    fn fail(&self, path: PathBuf, why: &Error) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = self.failures.lock();
        if failures.len() < NAMED {
            failures.push(NotMoved { path, why: why.to_string() });
        }
    }

    /// Notes what went wrong with a file, or ends the pass where it would go wrong with all of them.
    fn trouble(&self, dir: &Dir, name: &OsStr, path: &Path, why: Error) {
        match &why {
            // Deleted, or renamed, which makes for another pass.
            e if e.errno() == libc::ENOENT => {}
            Error::Volume(volume::Error::Key(e)) if e.kind() == ErrorKind::Unavailable => self.end(why),
            e if matches!(e.errno(), libc::ENOSPC | libc::EDQUOT | libc::EROFS | libc::EMFILE) => {
                self.end(why)
            }
            _ => {
                let entry = LowerEntry { name: name.to_owned(), ino: 0, kind: libc::DT_REG };
                let plain = self.fs.plain_name(dir, &entry).unwrap_or(entry.name);
                self.fail(path.join(plain), &why);
            }
        }
    }

    /// Takes files until no more come.
    fn work(&self, chunks: &Mutex<Receiver<Vec<Found>>>, steps: &Sender<()>) {
        let size = match self.manner.rate {
            // Several steps a second, else nothing would be seen of it for long.
            Some(rate) => (rate.get() as usize / 8).clamp(1, BATCH),
            None => descriptors::share(64, BATCH),
        };
        let mut pipeline = Pipeline::default();
        let mut arriving = Vec::new();
        loop {
            let chunk = chunks.lock().recv();
            let Ok(chunk) = chunk else { break };
            for found in chunk {
                // After the end the queue is only emptied, so that the walk never waits for a worker.
                if self.stopped() {
                    break;
                }
                self.found.fetch_add(1, Ordering::Relaxed);
                match self.open(&found) {
                    Ok(job) => arriving.extend(job),
                    Err(e) => self.trouble(&found.dir, &found.entry.name, &found.path, e),
                }
                if arriving.len() >= size {
                    self.step(&mut pipeline, std::mem::take(&mut arriving));
                }
            }
            // The observer may have gone, which is no reason to stop.
            let _ = steps.send(());
        }
        while !(arriving.is_empty() && pipeline.announced.is_empty() && pipeline.begun.is_empty()) {
            self.step(&mut pipeline, std::mem::take(&mut arriving));
            let _ = steps.send(());
        }
    }

    /// Opens a file that is to be wrapped anew, and announces it.
    fn open(&self, found: &Found) -> Result<Option<Job>> {
        let Found { dir, entry, path } = found;
        let fs = self.fs;
        let place = Place { dir: Arc::clone(&dir.fd), name: entry.name.as_os_str().into() };
        let Some(envelope) = fs.claimed_envelope(&place)? else { return Ok(None) };
        if (self.wanted)(dir, &envelope)?.is_none() || fs.plain_name(dir, entry).is_none() {
            return Ok(None);
        }
        let (inode, stat) = fs.peek_locked(dir, &entry.name)?;
        if stat.nlink > 1 && !self.several_names.lock().insert((stat.dev, stat.ino)) {
            return Ok(None);
        }
        if self.manner.trial {
            self.moved.fetch_add(1, Ordering::Relaxed);
            return Ok(None);
        }
        // Opened while no name is locked: a KMS may be asked.
        let open = fs.open_file(&inode)?;
        let announced = open.file().announce_ahead()?;
        Ok(Some(Job { dir: dir.clone(), name: entry.name.clone(), path: Arc::clone(path), open, announced }))
    }

    /// Has every file of the pipeline take its next step.
    fn step(&self, pipeline: &mut Pipeline, arriving: Vec<Job>) {
        if self.fs.store.is_durable()
            && let Err(e) = self.fs.lower.sync_all(&self.fs.root_fd)
        {
            self.end(e.into());
        }
        let begun = std::mem::take(&mut pipeline.begun);
        if self.stopped() {
            // Closing them writes the second slots, where the first ones may be believed.
            pipeline.announced.clear();
            return;
        }
        for (job, begun) in begun {
            match job.open.file().end_rewrap(begun) {
                Ok(_) => _ = self.moved.fetch_add(1, Ordering::Relaxed),
                Err(e) => self.trouble(&job.dir, &job.name, &job.path, e.into()),
            }
        }
        for job in std::mem::replace(&mut pipeline.announced, arriving) {
            if job.announced {
                job.open.file().announced();
            }
            self.wait_for_turn();
            match self.begin(&job) {
                Ok(Some(begun)) => pipeline.begun.push((job, begun)),
                Ok(None) => {}
                Err(e) => self.trouble(&job.dir, &job.name, &job.path, e),
            }
        }
    }

    /// Wraps the key of a file and writes the first slot, unless the file need not be wrapped any more.
    fn begin(&self, job: &Job) -> Result<Option<BegunRewrap>> {
        let file = job.open.file();
        while let Some(zone) = (self.wanted)(&job.dir, &file.slot().envelope)? {
            let wrapped = file.wrap(&zone)?;
            let _names = job.dir.inode.names.read();
            if !Arc::ptr_eq(&self.fs.peek(&job.dir, &job.name)?.0, &job.open.inode) {
                break;
            }
            if (self.wanted)(&job.dir, &file.slot().envelope)? != Some(zone) {
                continue;
            }
            if let Some(begun) = file.begin_rewrap(wrapped)? {
                return Ok(Some(begun));
            }
        }
        Ok(None)
    }

    fn wait_for_turn(&self) {
        let Some(rate) = self.manner.rate else { return };
        let turn = {
            let mut next = self.next.lock();
            let turn = (*next).max(Instant::now());
            *next = turn + Duration::from_secs(1) / rate.get();
            turn
        };
        while !self.stopped() && Instant::now() < turn {
            std::thread::sleep(turn.saturating_duration_since(Instant::now()).min(EVERY));
        }
    }
}
