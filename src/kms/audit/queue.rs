//! The queue between those who make calls and the thread that writes them down.
//!
//! Handing over a record costs a short lock and a move. The queue is bounded in bytes: above the bound, callers wait
//! for the writer; only while nothing can be written are records dropped, and counted.

use super::event::CallRecord;
use parking_lot::{Condvar, Mutex};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::sync::oneshot;

/// Above this, callers wait for the writer.
const BOUND: usize = 16 << 20;
/// How long records gather while nobody waits for them: what a process that is killed may take with it.
const PAUSE: Duration = Duration::from_millis(20);

/// A record on its way, and who waits for it.
pub(super) struct Queued {
    pub(super) record: CallRecord,
    pub(super) size: usize,
    pub(super) waiter: Option<oneshot::Sender<bool>>,
}

/// Records that were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) calls: u64,
    pub(super) since: OffsetDateTime,
}

/// What becomes of a record.
pub(super) enum Pushed {
    /// It will be written.
    Queued,
    /// It will be written; its caller must wait, and is told whether it is durable.
    Wait(oneshot::Receiver<bool>),
    /// Nothing can be written just now. It waits for better times; if there was no room, it was dropped and counted.
    Unwritten,
}

/// See the module.
pub(super) struct Queue {
    /// Whether every caller waits, and hence the writer must not.
    durable: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    records: Vec<Queued>,
    /// Of all records that are not written yet, also those that the writer has taken.
    bytes: usize,
    lost: Option<Lost>,
    /// How many were dropped since the log was opened.
    dropped: u64,
    /// Nothing can be written just now.
    failing: bool,
    /// The writer waits for a first record.
    idle: bool,
    closing: bool,
}

impl State {
    fn urgent(&self, durable: bool) -> bool {
        self.closing || !self.failing && !self.records.is_empty() && (durable || self.bytes > BOUND / 2)
    }
}

impl Queue {
    pub(super) fn new(durable: bool) -> Queue {
        Queue { durable, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Hands over a record.
    pub(super) fn push(&self, record: CallRecord) -> Pushed {
        let size = record.size();
        let mut state = self.state.lock();
        let full = state.bytes + size > BOUND;
        if state.closing || full && state.failing {
            state.lost.get_or_insert(Lost { calls: 0, since: record.time }).calls += 1;
            state.dropped += 1;
            return Pushed::Unwritten;
        }
        let waits = (self.durable || full) && !state.failing;
        let (waiter, receiver) = if waits { Some(oneshot::channel()) } else { None }.unzip();
        state.bytes += size;
        state.records.push(Queued { record, size, waiter });
        // A wake-up costs more than all the rest: only a writer that sleeps for long needs one.
        if state.idle || state.urgent(self.durable) {
            state.idle = false;
            self.changed.notify_one();
        }
        match receiver {
            Some(receiver) => Pushed::Wait(receiver),
            None if state.failing => Pushed::Unwritten,
            None => Pushed::Queued,
        }
    }

    /// Waits for records, at most until `deadline` (if nothing can be written just now, exactly until then), and
    /// moves them to the end of `out`. Says whether the log is being closed; what was queued before is then in `out`.
    pub(super) fn take(&self, deadline: Option<Instant>, out: &mut Vec<Queued>) -> bool {
        let mut state = self.state.lock();
        while !state.closing && (state.records.is_empty() || state.failing) {
            state.idle = !state.failing;
            match deadline {
                Some(deadline) if self.changed.wait_until(&mut state, deadline).timed_out() => break,
                Some(_) => {}
                None => self.changed.wait(&mut state),
            }
        }
        state.idle = false;
        if !state.records.is_empty() && !state.failing && !state.urgent(self.durable) {
            self.changed.wait_for(&mut state, PAUSE);
        }
        out.append(&mut state.records);
        state.closing
    }

    /// Notes that records of `bytes` were written.
    pub(super) fn written(&self, bytes: usize) {
        self.state.lock().bytes -= bytes;
    }

    /// Notes that everything could be written. Says whether that is new.
    pub(super) fn recover(&self) -> bool {
        std::mem::replace(&mut self.state.lock().failing, false)
    }

    /// Notes that nothing can be written just now. Says whether that is new.
    pub(super) fn fail(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().failing, true)
    }

    /// What was dropped since this was last asked.
    pub(super) fn take_lost(&self) -> Option<Lost> {
        self.state.lock().lost.take()
    }

    /// Takes no more records.
    pub(super) fn close(&self) {
        self.state.lock().closing = true;
        self.changed.notify_one();
    }

    /// How many records were dropped since the log was opened.
    pub(super) fn dropped(&self) -> u64 {
        self.state.lock().dropped
    }

    /// Whether nothing can be written just now, and the bytes that wait.
    pub(super) fn condition(&self) -> (bool, usize) {
        let state = self.state.lock();
        (state.failing, state.bytes)
    }
}
