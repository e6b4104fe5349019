//! The thread that notices that keys have changed.

use super::Keyring;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often the provider's generation is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// A thread that empties a keyring's cache when keys change. It stops when this is dropped; a call of
/// `on_change` in progress ends first.
#[derive(Debug)]
pub struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// # Panics
    /// If no thread can be started: without it a revoked key would go on serving.
    pub(super) fn spawn(keyring: Arc<Keyring>, on_change: Box<dyn Fn() + Send + Sync>) -> Watch {
        let (stop, stopped) = mpsc::channel();
        let mut seen = keyring.sources().generation();
        // What was cached before the first look may be older than it.
        keyring.flush();
        let run = move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let now = keyring.sources().generation();
                if now != seen {
                    seen = now;
                    keyring.flush();
                    on_change();
                }
            }
        };
        let thread = thread::Builder::new().name("key-watch".into()).spawn(run);
        let thread = thread.expect("a thread to watch keys can be started");
        Watch { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported when it happened.
            let _ = thread.join();
        }
    }
}
