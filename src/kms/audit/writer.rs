//! The thread that writes the log.
//!
//! It takes what is queued, makes lines of it, writes them with one call, and syncs: at once where callers wait for
//! durability (one sync for all of them), else within [`SYNC_EVERY`]. The head record follows each sync.
//!
//! While the storage refuses, lines stay in memory, calls queue up, and every second it is tried again.

use super::chain::{ChainKey, Link};
use super::directory::Directory;
use super::error::{Error, Result};
use super::event::Event;
use super::head::{Head, HeadFile};
use super::queue::{Lost, Queue, Queued};
use super::recovery::{self, End};
use super::{Options, Shared};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::sync::oneshot;
use uuid::Uuid;

/// How long a line may be written and not yet durable while nobody waits for it.
const SYNC_EVERY: Duration = Duration::from_millis(500);
/// How often the head record is made durable. Until then a power cut takes the evidence of a truncation along,
/// but no line.
const HEAD_SYNC_EVERY: Duration = Duration::from_secs(1);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Lines are written in pieces of about this many bytes.
const PIECE: usize = 256 << 10;

pub(super) struct Writer {
    directory: Directory,
    key: ChainKey,
    options: Options,
    shared: Arc<Shared>,
    log: Uuid,
    head: HeadFile,
    /// Since when the head record is not durable.
    head_unsynced: Option<Instant>,
    file: File,
    segment: u64,
    /// When the segment was begun.
    begun: OffsetDateTime,
    /// Where the next line goes.
    offset: u64,
    /// The end of the chain, lines in `buffer` included.
    link: Link,
    /// Lines that are not in the file yet.
    buffer: Vec<u8>,
    /// The memory of the records they were made of.
    held: usize,
    /// Number of the last line that is durable.
    durable: u64,
    /// Since when the file has lines that are not.
    unsynced: Option<Instant>,
    /// Why the file can no longer be relied on, and the log must go on in another.
    doubt: Option<Event>,
    waiters: Vec<oneshot::Sender<bool>>,
}

impl Writer {
    /// Opens the log, makes it if there is none, and writes how it was found.
    pub(super) fn open(
        directory: Directory,
        key: ChainKey,
        options: Options,
        shared: Arc<Shared>,
    ) -> Result<Writer> {
        let (head, record) = HeadFile::open(&directory, &key)?;
        let now = options.clock.now();
        let End { log, link, at, next, notes } = recovery::recover(&directory, &key, record.as_ref(), now)?;
        let failed = Error::io("write the audit log", directory.path());
        let (segment, file, offset, begun) = match at {
            Some((segment, offset)) => {
                let begun = recovery::begun(&directory, segment)?.unwrap_or(now);
                (segment, directory.append(segment)?, offset, begun)
            }
            None => {
                let made = directory.create_segment(next);
                let (segment, file) = made.map_err(Error::io("make a segment in", directory.path()))?;
                (segment, file, 0, now)
            }
        };
        let mut writer = Writer {
            directory,
            key,
            options,
            shared,
            log,
            head,
            head_unsynced: None,
            file,
            segment,
            begun,
            offset,
            link,
            buffer: Vec::new(),
            held: 0,
            durable: link.sequence,
            unsynced: None,
            doubt: None,
            waiters: Vec::new(),
        };
        if at.is_none() {
            writer.put_first_line();
        }
        for note in &notes {
            writer.put(note);
        }
        writer.put(&Event::Started { time: now, version: env!("CARGO_PKG_VERSION").into() });
        writer.commit().and_then(|()| writer.head.sync()).map_err(failed)?;
        Ok(writer)
    }

    /// Writes until the log is closed.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _ended = Ended(&shared.queue);
        let mut taken = Vec::new();
        loop {
            let closing = shared.queue.take(self.deadline(), &mut taken);
            let outcome = self.work(&mut taken, closing);
            if let Err(error) = &outcome {
                self.fail(error, &mut taken);
            }
            if closing {
                let unwritten = taken.len() as u64 + shared.queue.take_lost().map_or(0, |lost| lost.calls);
                if outcome.is_err() || unwritten > 0 {
                    log::error!("the audit log was closed without its last {unwritten} calls or more");
                }
                return;
            }
        }
    }

    /// When there is something to do though nothing is queued.
    fn deadline(&self) -> Option<Instant> {
        if self.shared.queue.condition().0 {
            return Some(Instant::now() + RETRY);
        }
        let sync = self.unsynced.map(|since| since + SYNC_EVERY);
        sync.or_else(|| Some(self.head_unsynced? + HEAD_SYNC_EVERY))
    }

    /// Writes what was `taken`, and what an earlier failure left.
    fn work(&mut self, taken: &mut Vec<Queued>, closing: bool) -> io::Result<()> {
        self.write()?;
        self.look_at_file()?;
        if let Some(Lost { calls, since }) = self.shared.queue.take_lost() {
            self.put(&Event::Lost { time: self.options.clock.now(), since, calls });
        }
        let mut records = std::mem::take(taken).into_iter();
        let outcome = self.write_records(&mut records);
        taken.extend(records); // what was not reached
        outcome?;
        if closing {
            self.put(&Event::Stopped { time: self.options.clock.now() });
        }
        let due = self.unsynced.is_some_and(|since| since.elapsed() >= SYNC_EVERY);
        if closing || due || !self.waiters.is_empty() {
            self.commit()?;
        }
        if closing || self.head_unsynced.is_some_and(|since| since.elapsed() >= HEAD_SYNC_EVERY) {
            self.head.sync()?;
            self.head_unsynced = None;
        }
        if self.shared.queue.recover() {
            log::warn!("the audit log {} is written again", self.directory.path().display());
        }
        Ok(())
    }

    fn write_records(&mut self, records: &mut impl Iterator<Item = Queued>) -> io::Result<()> {
        for Queued { record, size, waiter } in records {
            if self.buffer.is_empty() && self.is_segment_over() {
                self.commit()?;
                self.begin_segment()?;
            }
            self.put(&Event::Call(record));
            self.held += size;
            self.waiters.extend(waiter);
            let segment = self.offset + self.buffer.len() as u64;
            if self.buffer.len() >= PIECE || segment >= self.options.segment_bytes {
                self.write()?;
            }
        }
        self.write()
    }

    fn is_segment_over(&self) -> bool {
        self.offset >= self.options.segment_bytes
            || self.options.clock.now() - self.begun >= self.options.segment_age
    }

    /// Appends an event to the lines to be written.
    fn put(&mut self, event: &Event) {
        self.link = self.link.write(&self.key, event, &mut self.buffer);
    }

    /// Writes the lines in the buffer, whole or not at all.
    fn write(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all(&self.buffer) {
            // What was written of them would be taken for a torn line.
            if self.file.metadata()?.len() > self.offset {
                self.file.set_len(self.offset)?;
            }
            return Err(error);
        }
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        self.unsynced.get_or_insert_with(Instant::now);
        self.shared.sequence.store(self.link.sequence, Ordering::Relaxed);
        self.shared.queue.written(std::mem::take(&mut self.held));
        Ok(())
    }

    /// Makes every line durable, then lets the head record say so, and tells who waits.
    fn commit(&mut self) -> io::Result<()> {
        self.write()?;
        if self.unsynced.is_some() {
            if let Err(error) = self.file.sync_data() {
                // The kernel reports this once and then forgets the lines: another sync would prove nothing.
                self.doubt = Some(Event::Unsure {
                    time: self.options.clock.now(),
                    from: self.durable + 1,
                    to: self.link.sequence,
                    reason: error.to_string(),
                });
                return Err(error);
            }
            self.durable = self.link.sequence;
            self.shared.syncs.fetch_add(1, Ordering::Relaxed);
            let head = Head { log: self.log, link: self.link, segment: self.segment, offset: self.offset };
            self.head.write(&head, &self.key)?;
            self.unsynced = None;
            self.head_unsynced.get_or_insert_with(Instant::now);
        }
        for waiter in self.waiters.drain(..) {
            let _ = waiter.send(true); // its caller may have gone
        }
        Ok(())
    }

    /// Goes on in another file if this one cannot be relied on: a sync failed, or somebody cut or removed it.
    fn look_at_file(&mut self) -> io::Result<()> {
        let found = self.file.metadata()?;
        if self.doubt.is_none() && (found.len() != self.offset || found.nlink() == 0) {
            let (segment, length, expected) = (self.segment, found.len(), self.offset);
            let reason = match found.nlink() {
                0 => format!("segment {segment} was removed while it was written"),
                _ => {
                    format!("segment {segment} had {length} bytes instead of {expected} while it was written")
                }
            };
            log::error!("the audit log {} was tampered with: {reason}", self.directory.path().display());
            self.doubt = Some(Event::Gap { time: self.options.clock.now(), reason });
        }
        if let Some(doubt) = self.doubt.clone() {
            self.begin_segment()?;
            self.put(&doubt);
            self.doubt = None;
        }
        Ok(())
    }

    /// Goes on in a new segment. All lines must have been written.
    fn begin_segment(&mut self) -> io::Result<()> {
        let (segment, file) = self.directory.create_segment(self.segment + 1)?;
        (self.segment, self.file, self.offset) = (segment, file, 0);
        self.begun = self.options.clock.now();
        self.put_first_line();
        Ok(())
    }

    fn put_first_line(&mut self) {
        let (time, segment, log, previous) = (self.begun, self.segment, self.log, self.link.chain);
        self.put(&Event::Segment { time, segment, log, previous });
    }

    /// Tells all who wait that their calls are not recorded.
    fn fail(&mut self, error: &io::Error, taken: &mut [Queued]) {
        if self.shared.queue.fail() {
            log::error!("the audit log {} cannot be written: {error}", self.directory.path().display());
        }
        let waiting = taken.iter_mut().filter_map(|queued| queued.waiter.take());
        for waiter in self.waiters.drain(..).chain(waiting) {
            let _ = waiter.send(false); // its caller may have gone
        }
    }
}

/// Refuses calls once the writer has gone, in whatever way.
struct Ended<'a>(&'a Queue);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fail();
        self.0.close();
    }
}
