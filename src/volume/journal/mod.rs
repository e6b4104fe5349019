//! The redo journal: sequential segments of authenticated records in `kmsfs.journal/`.
//!
//! A record counts once it is *committed*: one `fdatasync` of the segments written since the last commit,
//! however many files wait for it (group commit). Segments are *retired* by a checkpoint, after everything in
//! them lies in place durably: first the state file moves on, durably, then the segment files are reused or
//! deleted. So a segment that a crash brings back is known to be dead. Reused segments are overwritten rather
//! than grown, so that a commit flushes data only and no metadata of the lower filesystem.

pub mod record;
mod scan;
mod segment;
mod state;

pub use record::{Kind, MAX_PAYLOAD, RECORD_HEADER, Record, entries};
pub use scan::Replayed;
pub use segment::Segment;
pub use state::{STATE_FILE, State};

use super::lower::{Fd, Lower};
use super::{Error, Result};
use crate::crypto::secret::Key;
use parking_lot::{Condvar, Mutex};
use scan::scan;
use segment::{SEGMENT_SIZE, segment_name, segment_seq};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Name of the journal's directory in the lower root.
pub const JOURNAL_DIR: &str = "kmsfs.journal";
/// A commit that finds the segment's file ending here extends it by this much, so that the next commits flush
/// data only: growing the file each time would cost the lower filesystem a metadata commit on top.
const EXTEND_BY: usize = 256 << 10;
/// Retired segments kept for reuse.
const POOL: usize = 4;

/// Where an appended record went.
#[derive(Debug)]
pub struct Appended {
    /// Its number; [`Journal::commit`] takes it.
    pub lsn: u64,
    /// Its segment.
    pub segment: Arc<Segment>,
    /// Offset of its payload there.
    pub payload_at: u64,
}

#[derive(Debug)]
struct Appender {
    /// All live segments, oldest first; the last takes records.
    live: Vec<Arc<Segment>>,
    /// The last of `live` is closed: the next record begins a new one.
    closed: bool,
    /// Where in it the next record goes.
    offset: u64,
    /// Where its file ends.
    file_end: u64,
    /// Written since the last commit.
    unsynced: Vec<Arc<Segment>>,
    /// Retired segment files, by number, ready for reuse.
    pool: Vec<Segment>,
    next_lsn: u64,
    next_seq: u64,
    state: State,
}

#[derive(Debug, Default)]
struct Commits {
    durable: u64,
    syncing: bool,
    failed: Option<i32>,
}

/// The journal of a mounted volume.
pub struct Journal {
    lower: Arc<dyn Lower>,
    dir: Fd,
    state_fd: Fd,
    key: Key,
    /// Must commits reach the disk? Not in `process` durability.
    power: bool,
    appender: Mutex<Appender>,
    commits: Mutex<Commits>,
    committed: Condvar,
    last_lsn: AtomicU64,
    pending_bytes: AtomicU64,
}

/// What opening a journal found.
pub struct Opened {
    /// The journal, ready for records once the found ones are applied.
    pub journal: Journal,
    /// The state before this session.
    pub previous: State,
    /// Records to be applied, in order.
    pub records: Vec<Replayed>,
}

impl Journal {
    /// Makes the journal of a new volume.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub fn create(lower: &dyn Lower, root: &Fd, key: &Key) -> Result<()> {
        lower.mkdir(root, JOURNAL_DIR.as_ref(), 0o700)?;
        let dir = lower.open(root, JOURNAL_DIR.as_ref(), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        let fd = lower.open(&dir, STATE_FILE.as_ref(), flags, 0o600)?;
        let mut page = vec![0u8; 4096];
        page[..128].copy_from_slice(&State::NEW.encode(key));
        page[512..640].copy_from_slice(&State::NEW.encode(key));
        lower.pwrite(&fd, &page, 0)?;
        lower.fsync(&fd)?;
        Ok(lower.fsync(&dir)?)
    }

    /// Takes back what [`Journal::create`] has made.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub fn remove(lower: &dyn Lower, root: &Fd) -> Result<()> {
        let dir = lower.open(root, JOURNAL_DIR.as_ref(), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        match lower.unlink(&dir, STATE_FILE.as_ref()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
        Ok(lower.rmdir(root, JOURNAL_DIR.as_ref())?)
    }

    /// Opens the directory and the state file; the caller locks the latter before it goes on.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub fn open_files(lower: &dyn Lower, root: &Fd) -> Result<(Fd, Fd)> {
        let dir = lower.open(root, JOURNAL_DIR.as_ref(), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        let state = lower.open(&dir, STATE_FILE.as_ref(), libc::O_RDWR, 0)?;
        Ok((dir, state))
    }

    /// Opens the journal and reads what a session that died has left. Writes nothing.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the state is not authentic; those of the lower filesystem.
    pub fn open(lower: Arc<dyn Lower>, dir: Fd, state_fd: Fd, key: Key, power: bool) -> Result<Opened> {
        let previous = State::read(&*lower, &state_fd, &key)?;
        let scan = scan(&*lower, &dir, &key, &previous)?;
        let appender = Appender {
            live: scan.segments,
            closed: true,
            offset: 0,
            file_end: 0,
            unsynced: Vec::new(),
            pool: Vec::new(),
            next_lsn: scan.next_lsn,
            next_seq: scan.next_seq,
            state: previous,
        };
        let pending_bytes = AtomicU64::new(scan.bytes);
        let last_lsn = AtomicU64::new(scan.next_lsn - 1);
        let commits = Mutex::new(Commits { durable: scan.next_lsn - 1, ..Commits::default() });
        let (appender, committed) = (Mutex::new(appender), Condvar::new());
        let journal = Journal {
            lower,
            dir,
            state_fd,
            key,
            power,
            appender,
            commits,
            committed,
            last_lsn,
            pending_bytes,
        };
        Ok(Opened { journal, previous, records: scan.records })
    }

    /// Marks the volume as in use. Should this session die, what is older is not looked at; so nothing older may still
    /// be in memory only, left by a session that did not care for power cuts, or by who copied the volume here.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub fn begin_session(&self) -> Result<()> {
        let mut appender = self.appender.lock();
        let mut state = appender.state;
        state.mounted = true;
        state.pid = std::process::id();
        if !appender.state.mounted {
            self.sync_all()?;
            // Touching the file reads the lower filesystem's own clock, which is what its ctimes follow.
            self.write_state(&mut appender, state)?;
            state.began = self.lower.fstat(&self.state_fd)?.ctime;
        }
        self.write_state(&mut appender, state)
    }

    /// The session's recovery is complete: from now on it counts as begun now. What recovery found whole, after a
    /// killed daemon, may be in memory only and will not be looked at again, so it is made durable first.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub fn recovered(&self) -> Result<()> {
        self.sync_all()?;
        let mut appender = self.appender.lock();
        let state = appender.state;
        self.write_state(&mut appender, state)?;
        let state = State { began: self.lower.fstat(&self.state_fd)?.ctime, ..appender.state };
        self.write_state(&mut appender, state)
    }

    /// Marks the volume as no longer in use and deletes every segment. All must be applied before. After it no
    /// mount looks for what a power cut may have left half done, so whatever no fsync covered is made durable too.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub fn end_session(&self) -> Result<()> {
        self.sync_all()?;
        let mut appender = self.appender.lock();
        let (first_live, first_lsn) = (appender.next_seq, appender.next_lsn);
        let state = State { mounted: false, first_live, first_lsn, pid: 0, ..appender.state };
        self.write_state(&mut appender, state)?;
        appender.live.clear();
        appender.unsynced.clear();
        appender.pool.clear();
        for entry in self.lower.read_dir(&self.dir)? {
            if segment_seq(&entry.name).is_some() {
                self.lower.unlink(&self.dir, &entry.name)?;
            }
        }
        Ok(())
    }

    fn sync_all(&self) -> Result<()> {
        if self.power { Ok(self.lower.sync_all(&self.dir)?) } else { Ok(()) }
    }

    fn write_state(&self, appender: &mut Appender, mut state: State) -> Result<()> {
        state.counter = appender.state.counter + 1;
        state.write(&*self.lower, &self.state_fd, &self.key)?;
        self.lower.fdatasync(&self.state_fd)?;
        appender.state = state;
        Ok(())
    }

    /// Appends a record. `buf` begins with [`RECORD_HEADER`] free bytes; the payload follows them.
    ///
    /// # Errors
    /// Those of the lower filesystem; the journal is then as if nothing had been appended.
    pub fn append(&self, record: &Record, buf: &mut [u8]) -> Result<Appended> {
        let digest = record::digest(&buf[RECORD_HEADER..], &self.key);
        let mut appender = self.appender.lock();
        let full = appender.offset > 0 && appender.offset + buf.len() as u64 > SEGMENT_SIZE;
        if appender.closed || full {
            self.begin_segment(&mut appender)?;
        }
        let segment = Arc::clone(appender.live.last().expect("a segment was just made sure of"));
        let at = record::Position { lsn: appender.next_lsn, segment: segment.seq };
        let header = record.encode(at, buf.len() - RECORD_HEADER, &digest, &self.key);
        buf[..RECORD_HEADER].copy_from_slice(&header);
        let fd = segment.fd.as_ref().expect("live segments have files");
        self.lower.pwrite(fd, buf, appender.offset)?;
        if appender.unsynced.last().is_none_or(|s| s.seq != segment.seq) {
            appender.unsynced.push(Arc::clone(&segment));
        }
        let payload_at = appender.offset + RECORD_HEADER as u64;
        appender.offset += buf.len() as u64;
        appender.file_end = appender.file_end.max(appender.offset);
        appender.next_lsn += 1;
        segment.len.store(appender.offset, Ordering::Relaxed);
        self.pending_bytes.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.last_lsn.store(at.lsn, Ordering::Release);
        Ok(Appended { lsn: at.lsn, segment, payload_at })
    }

    fn begin_segment(&self, appender: &mut Appender) -> Result<()> {
        let seq = appender.next_seq;
        let name = segment_name(seq);
        let fd = match appender.pool.pop() {
            Some(old) => {
                self.lower.rename(&self.dir, &segment_name(old.seq), &self.dir, &name, 0)?;
                old.fd.expect("pooled segments have files")
            }
            None => {
                let flags = libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
                self.lower.open(&self.dir, &name, flags, 0o600)?
            }
        };
        // A segment that the directory does not name after a power cut holds nothing for a replay.
        if self.power {
            self.lower.fsync(&self.dir)?;
        }
        appender.file_end = self.lower.fstat(&fd)?.size;
        let (first_lsn, len) = (appender.next_lsn, AtomicU64::new(0));
        appender.live.push(Arc::new(Segment { fd: Some(fd), seq, first_lsn, len }));
        appender.next_seq += 1;
        appender.offset = 0;
        appender.closed = false;
        Ok(())
    }

    /// Number of the last record.
    pub fn last_lsn(&self) -> u64 {
        self.last_lsn.load(Ordering::Acquire)
    }

    /// Bytes and segments waiting for a checkpoint.
    pub fn pending(&self) -> (u64, usize) {
        (self.pending_bytes(), self.appender.lock().live.len())
    }

    /// Bytes waiting for a checkpoint, without asking anybody.
    pub fn pending_bytes(&self) -> u64 {
        self.pending_bytes.load(Ordering::Relaxed)
    }

    /// The last record known to be durable; without power durability, the last one.
    pub fn durable_lsn(&self) -> u64 {
        if self.power { self.commits.lock().durable } else { self.last_lsn() }
    }

    /// Returns once all records up to `lsn` are durable. One caller syncs for all who wait.
    ///
    /// # Errors
    /// Those of the lower filesystem. After a failed sync every later commit fails as well: nobody knows what
    /// the disk holds, and only a new mount finds out.
    pub fn commit(&self, lsn: u64) -> Result<()> {
        if !self.power {
            return Ok(());
        }
        let mut commits = self.commits.lock();
        loop {
            if let Some(errno) = commits.failed {
                return Err(Error::errno(errno));
            }
            if commits.durable >= lsn {
                return Ok(());
            }
            if !commits.syncing {
                break;
            }
            self.committed.wait(&mut commits);
        }
        commits.syncing = true;
        drop(commits);
        let synced = self.sync_segments();
        let mut commits = self.commits.lock();
        commits.syncing = false;
        match &synced {
            Ok(upto) => commits.durable = commits.durable.max(*upto),
            Err(e) => commits.failed = Some(e.raw_os_error().unwrap_or(libc::EIO)),
        }
        drop(commits);
        self.committed.notify_all();
        synced.map(drop).map_err(Error::from)
    }

    fn sync_segments(&self) -> std::io::Result<u64> {
        let (segments, upto) = {
            let mut appender = self.appender.lock();
            self.extend_segment(&mut appender);
            (std::mem::take(&mut appender.unsynced), appender.next_lsn - 1)
        };
        for segment in &segments {
            self.lower.fdatasync(segment.fd.as_ref().expect("live segments have files"))?;
        }
        Ok(upto)
    }

    /// Makes room behind the last record. Best effort: without it commits are slower, not wrong.
    fn extend_segment(&self, appender: &mut Appender) {
        let end = appender.file_end;
        if appender.closed || appender.offset < end || end + EXTEND_BY as u64 > SEGMENT_SIZE {
            return;
        }
        let segment = appender.live.last().expect("a segment that is not closed is live");
        let fd = segment.fd.as_ref().expect("live segments have files");
        match self.lower.pwrite(fd, &[0; EXTEND_BY], end) {
            Ok(()) => appender.file_end += EXTEND_BY as u64,
            Err(e) => log::debug!("the journal could not be extended ahead: {e}"),
        }
    }

    /// Closes the segment in use and returns all that are live now, for a checkpoint to [`Journal::retire`].
    pub fn rotate(&self) -> Vec<Arc<Segment>> {
        let mut appender = self.appender.lock();
        appender.closed = true;
        appender.live.clone()
    }

    /// Declares `segments`, the oldest live ones, dead. All that they tell must lie in place, durably.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub fn retire(&self, segments: &[Arc<Segment>]) -> Result<()> {
        let Some(last) = segments.last().map(|s| s.seq) else { return Ok(()) };
        let mut appender = self.appender.lock();
        let next = appender.live.iter().find(|s| s.seq > last);
        let first_lsn = next.map_or(appender.next_lsn, |s| s.first_lsn);
        let state = State { first_live: last + 1, first_lsn, ..appender.state };
        // Durable before anything here forgets the segments: after an error they are still to be retired.
        self.write_state(&mut appender, state)?;
        appender.live.retain(|s| s.seq > last);
        appender.unsynced.retain(|s| s.seq > last);
        let bytes = appender.live.iter().map(|s| s.len.load(Ordering::Relaxed)).sum();
        self.pending_bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Keeps the files of dead segments for reuse, or deletes them. Whoever still reads one keeps it from being
    /// overwritten, not from being deleted.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub fn recycle(&self, segments: Vec<Arc<Segment>>) -> Result<()> {
        for segment in segments {
            let seq = segment.seq;
            let reused = Arc::try_unwrap(segment).is_ok_and(|free| self.pool(free));
            if !reused {
                self.lower.unlink(&self.dir, &segment_name(seq))?;
            }
        }
        Ok(())
    }

    /// Takes a segment file for reuse; says whether there was room for it.
    fn pool(&self, segment: Segment) -> bool {
        let mut appender = self.appender.lock();
        let room = appender.pool.len() < POOL;
        if room {
            appender.pool.push(segment);
        }
        room
    }
}
