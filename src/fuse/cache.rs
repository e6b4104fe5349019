//! The kernel's caches of a mount, and how they are emptied.
//!
//! Dropping pages waits for requests that read these very pages, so it happens on threads of its own: one that
//! serves requests, or holds a lock they need, would wait for itself. And it waits for as long as the lower
//! filesystem hangs, so more threads come where those that are there do not get on: a file that hangs must not
//! keep the pages of all others, which may be in the cache for a key that was taken away.

use crate::fs::{Ino, KernelCache};
use fuser::{INodeNo, Notifier};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long no file's turn comes before help does. Doubled each time, as many threads as there are hanging files
/// are there well within the second after which a key that was disabled shows nothing any more.
const STUCK: Duration = Duration::from_millis(50);

/// Threads at most. Pages are locked by requests under way, of which the kernel has about as many.
const HELPERS: usize = 2 * super::kernel::MAX_BACKGROUND as usize;

/// The kernel's caches for one mount. Its threads end with it, once they have nothing left to do.
pub(crate) struct Cache {
    notifier: Notifier,
    sweep: Arc<Sweep>,
}

impl Cache {
    pub(crate) fn new(notifier: Notifier) -> io::Result<Cache> {
        let pages = notifier.clone();
        // Offset 0, length 0: every page, and the attributes.
        let sweep = Sweep::start(Box::new(move |ino| notify(&pages, ino, 0)))?;
        Ok(Cache { notifier, sweep })
    }
}

impl KernelCache for Cache {
    fn invalidate_inode(&self, ino: Ino) {
        self.sweep.add(ino);
    }

    fn forget_attributes(&self, ino: Ino) {
        // A negative offset: no pages, for which the kernel would wait.
        notify(&self.notifier, ino, -1);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.sweep.end();
    }
}

fn notify(notifier: &Notifier, ino: Ino, offset: i64) {
    match notifier.inval_inode(INodeNo(ino), offset, 0) {
        Ok(()) => {}
        // The kernel knows no such inode, or the mount is gone.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {}
        Err(e) => log::warn!("the kernel did not drop what it caches of inode {ino}: {e}"),
    }
}

/// Inodes whose pages are to go, and the threads that see to it.
struct Sweep {
    drop_pages: Box<dyn Fn(Ino) + Send + Sync>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Whose turn has not come.
    waiting: BTreeSet<Ino>,
    /// Counts the turns.
    turns: u64,
    helpers: usize,
    ended: bool,
}

impl Sweep {
    /// `drop_pages` may block; it is called from several threads.
    fn start(drop_pages: Box<dyn Fn(Ino) + Send + Sync>) -> io::Result<Arc<Sweep>> {
        let sweep = Arc::new(Sweep { drop_pages, state: Mutex::default(), changed: Condvar::new() });
        let oversee = Arc::clone(&sweep);
        std::thread::Builder::new().name("kernel-cache".into()).spawn(move || oversee.oversee())?;
        Ok(sweep)
    }

    fn add(&self, ino: Ino) {
        self.state.lock().waiting.insert(ino);
        self.changed.notify_all();
    }

    fn end(&self) {
        self.state.lock().ended = true;
        self.changed.notify_all();
    }

    /// Sees to it that turns come as long as somebody waits for one.
    fn oversee(self: Arc<Sweep>) {
        let mut state = self.state.lock();
        while !state.ended {
            if state.waiting.is_empty() {
                self.changed.wait(&mut state);
                continue;
            }
            let (turns, until) = (state.turns, Instant::now() + STUCK);
            let timed_out = |state: &mut _| self.changed.wait_until(state, until).timed_out();
            while state.helpers > 0 && !state.ended && !timed_out(&mut state) {}
            if state.turns == turns && !state.waiting.is_empty() {
                self.help(&mut state);
            }
        }
    }

    /// Doubles the helpers.
    fn help(self: &Arc<Sweep>, state: &mut State) {
        for _ in 0..state.helpers.max(1).min(HELPERS - state.helpers) {
            let sweep = Arc::clone(self);
            let helper = std::thread::Builder::new().name("kernel-cache".into());
            match helper.spawn(move || sweep.sweep()) {
                Ok(_) => state.helpers += 1,
                Err(e) => {
                    log::error!("no thread to drop cached pages with: {e}");
                    return;
                }
            }
        }
    }

    fn sweep(&self) {
        let mut state = self.state.lock();
        while let Some(ino) = state.waiting.pop_first() {
            state.turns += 1;
            drop(state);
            (self.drop_pages)(ino);
            state = self.state.lock();
        }
        state.helpers -= 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn files_that_hang_keep_no_others_pages() {
        const HANGING: Ino = 20;
        const ALL: Ino = 500;
        let hang = Arc::new(Mutex::new(()));
        let hanging = hang.lock();
        let (sender, dropped) = channel();
        let sweep = Sweep::start(Box::new({
            let hang = Arc::clone(&hang);
            move |ino| {
                if ino < HANGING {
                    drop(hang.lock());
                }
                sender.send(ino).unwrap();
            }
        }))
        .unwrap();
        (0..ALL).for_each(|ino| sweep.add(ino));
        let next = || dropped.recv_timeout(Duration::from_secs(60)).unwrap();
        let first: BTreeSet<_> = (HANGING..ALL).map(|_| next()).collect();
        assert_eq!(first, (HANGING..ALL).collect());
        drop(hanging);
        let rest: BTreeSet<_> = (0..HANGING).map(|_| next()).collect();
        assert_eq!(rest, (0..HANGING).collect());
        // Whoever is added now is served again, though all helpers have gone or are about to.
        sweep.add(ALL);
        assert_eq!(next(), ALL);
        sweep.end();
    }
}
