//! The audit log: every call of the KMS, in a file that shows when it was altered.
//!
//! A log is a directory of segment files with one JSON object a line ([`Event`]). A chain of MACs runs through all
//! lines (`chain`), under a key that only an unlocked keystore yields: who can write the files can destroy the log,
//! and cannot change it unnoticed. A head record tells how far it went (`head`). [`verify()`] finds the first place
//! that is wrong.
//!
//! Callers hand a [`CallRecord`] to [`AuditLog::append`], which costs them about a microsecond; a thread makes lines
//! of them and writes them (`writer`). Whether a caller then waits until the line is durable is [`Durability`]'s choice.
//!
//! What a log cannot show by itself: that the whole directory, head record included, was put back to an older copy, and
//! what was done by one who has the key. Against that, something must be kept elsewhere: [`Figures::sequence`] in a
//! monitoring system, a [`Link`] noted by hand, or a signed [`Checkpoint`], which takes no secret to be checked.

mod chain;
mod checkpoint;
mod directory;
mod error;
mod event;
mod head;
mod queue;
mod recovery;
pub(super) mod sealed;
#[cfg(test)]
mod tests;
mod verify;
mod walk;
mod writer;

pub use chain::{ChainKey, Fault, Hash, Link};
pub use checkpoint::{Checkpoint, CheckpointError, CheckpointKey, Comparison, SegmentDigest};
pub use error::{Error, Result, Unrecorded};
pub use event::{CallRecord, Event, Source, key_id};
pub use verify::{Break, Expectations, Report, verify};
pub use walk::{Place, Position, Walk, goes_on};

use super::clock::{Clock, SystemClock};
use directory::Directory;
use parking_lot::Mutex;
use queue::{Pushed, Queue};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use tokio::sync::oneshot;
use writer::Writer;

/// Whether calls wait for their line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Calls go on at once; a line is written within 50 milliseconds and durable within a second. A killed process
    /// takes at most the lines of the first span along, a power cut those of the second. While nothing can be
    /// written, calls go on, and those that do not fit into memory are counted and the number written down later.
    #[default]
    Buffered,
    /// No call is answered before its line is durable, and none while nothing can be written.
    Durable,
}

/// How a log is written.
#[derive(Clone)]
pub struct Options {
    /// Whether calls wait for their line.
    pub durability: Durability,
    /// A segment that has this many bytes is followed by another.
    pub segment_bytes: u64,
    /// A segment that was begun this long ago is followed by another as soon as there is something to write.
    pub segment_age: time::Duration,
    /// Where it reads the time of what it notes itself.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            durability: Durability::default(),
            segment_bytes: 64 << 20,
            segment_age: time::Duration::days(1),
            clock: Arc::new(SystemClock),
        }
    }
}

/// What the log, its thread and those who look at it share.
struct Shared {
    queue: Queue,
    sequence: AtomicU64,
    syncs: AtomicU64,
}

/// A log that is being written. Shared by all threads. Dropping it writes and syncs what is queued.
pub struct AuditLog {
    path: PathBuf,
    durability: Durability,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How a log is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Number of the last line that was written.
    pub sequence: u64,
    /// Syncs of the log since it was opened.
    pub syncs: u64,
    /// Memory of records that are not written yet, in bytes.
    pub queued_bytes: usize,
    /// Records dropped since the log was opened.
    pub lost: u64,
    /// Whether nothing can be written just now.
    pub failing: bool,
}

impl AuditLog {
    /// Makes the directory of a log if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make_directory(directory: &Path) -> Result<()> {
        Directory::create(directory).map(drop)
    }

    /// Opens the log in `directory` to append to it, and makes it if there is none. Runs a thread, so it must be
    /// opened after a daemon's last fork.
    ///
    /// A damaged log is opened all the same, goes on in a new segment, and says so in a line of its own.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process writes it, [`Error::Foreign`] if no part of it verifies under `key`, or
    /// it cannot be read or written.
    pub fn open(directory: &Path, key: ChainKey, options: Options) -> Result<AuditLog> {
        let durability = options.durability;
        let queue = Queue::new(durability == Durability::Durable);
        let shared = Arc::new(Shared { queue, sequence: AtomicU64::new(0), syncs: AtomicU64::new(0) });
        let writer = Writer::open(Directory::create(directory)?, key, options, Arc::clone(&shared))?;
        let thread = thread::Builder::new().name("kms-audit".into()).spawn(move || writer.run());
        let thread = Mutex::new(Some(thread.map_err(Error::Thread)?));
        Ok(AuditLog { path: directory.to_owned(), durability, shared, thread })
    }

    /// The log's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether calls wait for their line.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Whether calls may be served: asked before a call has effects.
    ///
    /// # Errors
    /// [`Unrecorded`] if calls wait for the log and it cannot be written just now.
    pub fn check(&self) -> std::result::Result<(), Unrecorded> {
        match self.durability == Durability::Durable && self.shared.queue.condition().0 {
            true => Err(Unrecorded),
            false => Ok(()),
        }
    }

    /// Hands over the record of a call. Never blocks; the receipt says whether to wait.
    pub fn append(&self, mut record: CallRecord) -> Receipt {
        record.clip();
        let state = match (self.shared.queue.push(record), self.durability) {
            (Pushed::Wait(receiver), Durability::Durable) => State::Durable(receiver),
            (Pushed::Wait(receiver), Durability::Buffered) => State::Room(receiver),
            (Pushed::Unwritten, Durability::Durable) => State::Done(Err(Unrecorded)),
            (Pushed::Unwritten, Durability::Buffered) | (Pushed::Queued, _) => State::Done(Ok(())),
        };
        Receipt(state)
    }

    /// Writes and syncs what is queued, and takes no more.
    pub fn close(&self) {
        self.shared.queue.close();
        if let Some(thread) = self.thread.lock().take() {
            // A panic in it was reported when it happened.
            let _ = thread.join();
        }
    }

    /// How the log is doing.
    pub fn figures(&self) -> Figures {
        let (failing, queued_bytes) = self.shared.queue.condition();
        Figures {
            sequence: self.shared.sequence.load(Ordering::Relaxed),
            syncs: self.shared.syncs.load(Ordering::Relaxed),
            queued_bytes,
            lost: self.shared.queue.dropped(),
            failing,
        }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What became of a record. A call must not be answered before its receipt was waited for.
#[must_use = "a call must not be answered before its record is safe"]
pub struct Receipt(State);

enum State {
    Done(std::result::Result<(), Unrecorded>),
    /// Until the line is durable.
    Durable(oneshot::Receiver<bool>),
    /// Until the writer has caught up.
    Room(oneshot::Receiver<bool>),
}

impl Receipt {
    /// Waits as long as the log's [`Durability`] demands. Mostly returns at once.
    ///
    /// # Errors
    /// [`Unrecorded`]: the call must be answered with an error.
    pub async fn ready(self) -> std::result::Result<(), Unrecorded> {
        match self.0 {
            State::Done(outcome) => outcome,
            State::Durable(receiver) => durable(receiver.await),
            State::Room(receiver) => {
                let _ = receiver.await; // whatever came of it: callers do not depend on it
                Ok(())
            }
        }
    }

    /// As [`Receipt::ready`], for threads that may block.
    ///
    /// # Errors
    /// As [`Receipt::ready`].
    pub fn wait(self) -> std::result::Result<(), Unrecorded> {
        match self.0 {
            State::Done(outcome) => outcome,
            State::Durable(receiver) => durable(receiver.blocking_recv()),
            State::Room(receiver) => {
                let _ = receiver.blocking_recv(); // as above
                Ok(())
            }
        }
    }
}

fn durable(
    told: std::result::Result<bool, oneshot::error::RecvError>,
) -> std::result::Result<(), Unrecorded> {
    match told {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(Unrecorded),
    }
}
