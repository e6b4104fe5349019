//! A mount being served, from the agreement with the kernel to the last request.
//!
//! ```text
//! start ── threads serve ──┬─ unmounted by anyone ───────────────┐
//!                          └─ stop(): unmount ─ busy? detach,    ├─▶ ended: no request is under way or will
//!                             wait a while, then close the gate ─┘         be let in; the volume can be closed
//! ```

use super::adapter::Adapter;
use super::cache::Cache;
pub use super::guard::Activity;
use super::guard::Guard;
use super::kernel;
use super::mount::{self, Mounted};
use crate::fs::Filesystem;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How long a busy mount may keep its files open once it is to stop.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long requests under way may take when the gate closes.
const DRAIN: Duration = Duration::from_secs(5);

/// How long a fresh mount may take to answer.
const FIRST_ANSWER: Duration = Duration::from_secs(30);

#[derive(Debug)]
enum Event {
    /// The kernel has no more requests: unmounted, or the connection was aborted.
    Ended(io::Result<()>),
    /// Someone wants the mount to stop.
    Stop,
}

/// Asks a session to stop; may be called from anywhere, any number of times.
#[derive(Debug, Clone)]
pub struct Stopper(Sender<Event>);

impl Stopper {
    /// Asks once more. A second call ends the patience with open files.
    pub fn stop(&self) {
        // A session that has ended needs no stopping.
        let _ = self.0.send(Event::Stop);
    }
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Unmounted.
    Unmounted,
    /// Detached while files were open; whoever has them gets errors from now on.
    Abandoned,
}

/// A mount being served.
#[derive(Debug)]
pub struct Session {
    mounted: Arc<Mounted>,
    guard: Arc<Guard>,
    events: Receiver<Event>,
    stopper: Stopper,
}

/// Threads that serve requests unless told otherwise: they wait for the lower filesystem as often as for a
/// processor.
pub fn default_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores * 2).max(4)
}

impl Session {
    /// Begins to serve `filesystem` to the kernel at the other end of `device`.
    ///
    /// # Errors
    /// The kernel does not agree, or a thread cannot be started; the mount is taken away again.
    pub fn start(
        filesystem: Arc<Filesystem>,
        mounted: Mounted,
        device: OwnedFd,
        threads: usize,
    ) -> io::Result<Session> {
        match Session::serve(filesystem, device, threads, mounted.kernel_checks()) {
            Ok((guard, events, stopper)) => {
                kernel::raise_read_ahead(&mounted);
                Ok(Session { mounted: Arc::new(mounted), guard, events, stopper })
            }
            Err(e) => {
                if let Err(left) = mounted.unmount(true) {
                    log::error!("{left}");
                }
                Err(e)
            }
        }
    }

    fn serve(
        filesystem: Arc<Filesystem>,
        device: OwnedFd,
        threads: usize,
        kernel_checks: bool,
    ) -> io::Result<(Arc<Guard>, Receiver<Event>, Stopper)> {
        let mut config = fuser::Config::default();
        config.n_threads = Some(threads.max(1));
        // A device of its own for each thread; fuser opens it again for that, which fusermount3's user may
        // not be allowed to.
        config.clone_fd = mount::can_open_device();
        let guard = Arc::new(Guard::default());
        let adapter = Adapter::new(filesystem.clone(), guard.clone(), threads.max(1), kernel_checks)?;
        // The kernel has checked who may use the mount; fuser's own check would refuse its internal requests.
        let session = fuser::Session::from_fd(adapter, device, fuser::SessionACL::All, config)?;
        filesystem.attach_kernel(Arc::new(Cache::new(session.notifier())?));
        let (sender, events) = channel();
        let ended = sender.clone();
        std::thread::Builder::new().name("fuse-session".into()).spawn(move || {
            let _ = ended.send(Event::Ended(session.run()));
        })?;
        Ok((guard, events, Stopper(sender)))
    }

    /// Waits until the mount answers a `stat` of its root.
    ///
    /// # Errors
    /// It answers with an error, not at all, or something else is seen at the mount point.
    pub fn wait_until_it_answers(&self) -> io::Result<()> {
        let (sender, answer) = channel();
        let point = self.mounted.point().to_owned();
        // On a thread of its own: a mount that hangs would take this one along.
        std::thread::spawn(move || sender.send(std::fs::metadata(point).map(|_| ())));
        match answer.recv_timeout(FIRST_ANSWER) {
            Ok(result) => result?,
            Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the mount does not answer")),
        }
        if self.mounted.is_there() {
            Ok(())
        } else {
            Err(io::Error::other("something else was mounted there in the meantime"))
        }
    }

    /// The mount.
    pub fn mounted(&self) -> &Arc<Mounted> {
        &self.mounted
    }

    /// What it is doing, for `kmsfs status`.
    pub fn activity(&self) -> Arc<Activity> {
        self.guard.activity.clone()
    }

    /// A handle to stop it with.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves until the mount is gone. Afterwards no request is under way.
    pub fn run(self) -> End {
        let mut deadline: Option<Instant> = None;
        loop {
            let event = match deadline {
                None => self.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => {
                    self.events.recv_timeout(deadline.saturating_duration_since(Instant::now()))
                }
            };
            match event {
                Ok(Event::Ended(result)) => return self.ended(result),
                Ok(Event::Stop) if deadline.is_none() => {
                    deadline = Some(Instant::now() + self.begin_to_stop())
                }
                Ok(Event::Stop) => return self.abandon(),
                Err(RecvTimeoutError::Timeout) => return self.abandon(),
                // Cannot be: `self.stopper` holds a sender.
                Err(RecvTimeoutError::Disconnected) => return self.abandon(),
            }
        }
    }

    /// Unmounts, or detaches a mount in use; returns how long to wait for its end.
    fn begin_to_stop(&self) -> Duration {
        match self.mounted.unmount(false) {
            Ok(()) => DRAIN,
            Err(mount::Error::Busy { .. }) => {
                let open = self.guard.activity.open_files();
                log::warn!(
                    "{} is in use ({open} open files): detached now, ends with the last of them or in {} s",
                    self.mounted.point().display(),
                    GRACE.as_secs(),
                );
                self.detach();
                GRACE
            }
            Err(e) => {
                log::error!("cannot unmount: {e}");
                self.detach();
                DRAIN
            }
        }
    }

    fn detach(&self) {
        // What was written through shared mappings exists in the kernel only.
        if let Err(e) = self.mounted.write_back() {
            log::error!("{}: not everything could be written back: {e}", self.mounted.point().display());
        }
        if let Err(e) = self.mounted.unmount(true) {
            log::error!("cannot detach: {e}");
        }
    }

    fn ended(&self, result: io::Result<()>) -> End {
        if let Err(e) = result {
            log::error!("{}: the kernel's requests ended: {e}", self.mounted.point().display());
            // Whatever ended them, an unserved mount must not stay.
            if let Err(e) = self.mounted.unmount(true) {
                log::error!("{e}");
            }
        }
        End::Unmounted
    }

    fn abandon(&self) -> End {
        if !self.guard.gate.close(DRAIN) {
            log::error!("requests are still under way; stopping all the same");
        }
        if self.guard.activity.open_files() == 0 { End::Unmounted } else { End::Abandoned }
    }
}
