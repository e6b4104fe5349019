//! The thread that follows the keystore.

use super::core::Core;
use super::last_use::RECORDED_EVERY;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often deletion and rotation dates are looked at.
const DUE_INTERVAL: Duration = Duration::from_secs(1);

/// Looks for changes by other processes, deletes and rotates keys whose date has come, records when keys were used.
/// Stops when dropped.
pub(super) struct Watcher {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(super) fn spawn(core: Arc<Core>, poll: Duration) -> Watcher {
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            let mut due_at = Instant::now();
            let mut record_at = Instant::now() + RECORDED_EVERY;
            let mut complaint = String::new();
            loop {
                let mut outcome = core.look().map_err(super::Error::from);
                if outcome.is_ok() && Instant::now() >= due_at {
                    outcome = core.run_due();
                    core.key_pairs.sweep();
                    due_at = Instant::now() + DUE_INTERVAL;
                }
                if outcome.is_ok() && Instant::now() >= record_at {
                    outcome = core.record_uses(time::Duration::ZERO);
                    record_at = Instant::now() + RECORDED_EVERY;
                }
                complain_once(&mut complaint, outcome);
                if stopped.recv_timeout(poll) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("kms-watcher".into()).spawn(run);
        if let Err(error) = &thread {
            // Keys stay safe without it: whoever uses one looks for changes first.
            log::warn!("keys will be neither rotated nor deleted by this process: {error}");
        }
        Watcher { stop: Some(stop), thread: thread.ok() }
    }
}

/// Logs an error when it first occurs, not ten times a second.
fn complain_once(last: &mut String, outcome: super::Result<()>) {
    let message = outcome.err().map(|e| e.to_string()).unwrap_or_default();
    if message != *last && !message.is_empty() {
        log::error!("{message}");
    }
    *last = message;
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported when it happened.
            let _ = thread.join();
        }
    }
}
