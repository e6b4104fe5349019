//! What stands around every request: the gate that closes before the last checkpoint, the catch for panics,
//! the log with a bound on its length, and the figures `kmsfs status` shows.

use crate::{fs, volume};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Lets requests in until it is closed.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: AtomicBool,
    inside: RwLock<()>,
}

impl Gate {
    fn enter(&self) -> Option<RwLockReadGuard<'_, ()>> {
        let inside = self.inside.read();
        (!self.closed.load(Ordering::Acquire)).then_some(inside)
    }

    /// Lets nobody in any more and waits until everybody has left; says whether they did in time.
    pub(crate) fn close(&self, patience: Duration) -> bool {
        self.closed.store(true, Ordering::Release);
        self.inside.try_write_for(patience).is_some()
    }
}

/// Counts and remembers for `kmsfs status`.
#[derive(Debug, Default)]
pub struct Activity {
    open_files: AtomicI64,
    last_key_error: Mutex<Option<(SystemTime, String)>>,
}

impl Activity {
    /// File handles open now.
    pub fn open_files(&self) -> u64 {
        self.open_files.load(Ordering::Relaxed).max(0).unsigned_abs()
    }

    /// When a data key last could not be had, and why.
    pub fn last_key_error(&self) -> Option<(SystemTime, String)> {
        self.last_key_error.lock().clone()
    }

    pub(crate) fn opened(&self) {
        self.open_files.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn released(&self) {
        self.open_files.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs the filesystem's part of a request.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    pub(crate) gate: Gate,
    pub(crate) activity: Arc<Activity>,
    complaints: Complaints,
}

impl Guard {
    /// The result of `work`, or the errno to answer with. Damage, I/O errors and keys that cannot be had are
    /// logged with their cause; so is a panic, which is answered by `EIO` and harms no other request.
    pub(crate) fn run<T>(
        &self,
        operation: &str,
        ino: fs::Ino,
        work: impl FnOnce() -> fs::Result<T>,
    ) -> Result<T, i32> {
        let Some(_inside) = self.gate.enter() else { return Err(libc::ENOTCONN) };
        // The filesystem keeps its own locks free of poisoning (parking_lot) and its state valid between steps.
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                self.note(operation, ino, &error);
                Err(error.errno())
            }
            Err(_) => {
                // The panic hook has logged what and where.
                log::error!(
                    "{operation} of inode {ino} answered with EIO: a fault in kmsfs, please report it"
                );
                Err(libc::EIO)
            }
        }
    }

    fn note(&self, operation: &str, ino: fs::Ino, error: &fs::Error) {
        if let fs::Error::Volume(volume::Error::Key(error)) = error {
            *self.activity.last_key_error.lock() = Some((SystemTime::now(), error.to_string()));
        }
        if error.is_notable() || error.errno() == libc::EIO {
            self.complaints.log(format_args!("{operation} of inode {ino}: {error}"));
        } else {
            log::debug!("{operation} of inode {ino}: {error}");
        }
    }
}

/// A log that a reader of a damaged file, or of a tree whose key is disabled, cannot flood.
#[derive(Debug, Default)]
struct Complaints {
    window: Mutex<Option<Window>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    logged: u32,
    dropped: u64,
}

const WINDOW: Duration = Duration::from_secs(10);
const PER_WINDOW: u32 = 20;

impl Complaints {
    fn log(&self, line: std::fmt::Arguments<'_>) {
        let (admitted, dropped_before) = self.admit(Instant::now());
        if dropped_before > 0 {
            log::warn!("{dropped_before} more errors like the ones above were not logged");
        }
        if admitted {
            log::error!("{line}");
        }
    }

    /// Whether one more line may go out, and how many did not in the window that has just ended.
    fn admit(&self, now: Instant) -> (bool, u64) {
        let mut window = self.window.lock();
        let mut dropped_before = 0;
        let current = match window.as_mut() {
            Some(w) if now.duration_since(w.began) < WINDOW => w,
            old => {
                dropped_before = old.map_or(0, |w| w.dropped);
                window.insert(Window { began: now, logged: 0, dropped: 0 })
            }
        };
        if current.logged < PER_WINDOW {
            current.logged += 1;
            (true, dropped_before)
        } else {
            current.dropped += 1;
            (false, dropped_before)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_turns_requests_away() {
        let guard = Guard::default();
        assert_eq!(guard.run("read", 7, || Ok(5)), Ok(5));
        assert!(guard.gate.close(Duration::from_secs(1)));
        assert_eq!(guard.run("read", 7, || Ok(5)), Err(libc::ENOTCONN));
    }

    #[test]
    fn closing_waits_for_who_is_inside() {
        let guard = Guard::default();
        let left = guard.run("read", 7, || Ok(guard.gate.close(Duration::from_millis(10))));
        assert_eq!(left, Ok(false));
    }

    #[test]
    fn a_panic_is_an_io_error() {
        let guard = Guard::default();
        assert_eq!(guard.run::<()>("read", 7, || panic!("on purpose")), Err(libc::EIO));
        assert_eq!(guard.run("read", 7, || Ok(1)), Ok(1));
    }

    #[test]
    fn missing_keys_are_remembered() {
        let guard = Guard::default();
        let disabled = crate::keys::Error::new(crate::keys::ErrorKind::Disabled, "key k is disabled");
        assert_eq!(guard.run::<()>("open", 7, || Err(disabled.into())), Err(libc::ENOKEY));
        assert_eq!(guard.activity.last_key_error().map(|(_, e)| e), Some("key k is disabled".into()));
    }

    #[test]
    fn a_flood_is_cut_and_counted() {
        let complaints = Complaints::default();
        let start = Instant::now();
        let admitted = (0..100).filter(|_| complaints.admit(start).0).count();
        assert_eq!(admitted, PER_WINDOW as usize);
        assert_eq!(complaints.admit(start + WINDOW), (true, 80));
    }
}
