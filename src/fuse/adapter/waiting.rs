//! Threads for requests that wait for a KMS.
//!
//! The threads that take requests from the kernel are few, and a KMS that hangs would soon have all of them, with files
//! whose keys are at hand waiting behind. So while anybody waits for a KMS, what may ask it too is done by threads of its
//! own, as many as are needed. While nobody does, keys are at hand more often than not, and a request stays where it is,
//! which is faster; but never in all threads at once.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::{Builder, Runtime};

/// Requests that wait at the same time; more of them queue, and keep nobody else waiting either.
const THREADS_MAX: usize = 512;

/// See the module. Dropped, it waits for nobody: requests under way are the guard's to wait for.
pub(super) struct Waiting {
    runtime: Option<Runtime>,
    /// Requests that may ask a KMS, in threads that take requests from the kernel.
    inside: AtomicUsize,
    /// As many as there may be of these.
    most: usize,
}

/// Leave to do a request in a thread that takes requests from the kernel.
pub(super) struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Waiting {
    /// For a mount with so many threads that take requests. Starts no thread yet.
    pub(super) fn new(threads: usize) -> io::Result<Waiting> {
        let builder = &mut Builder::new_current_thread();
        let runtime = builder.max_blocking_threads(THREADS_MAX).thread_name("fuse-waiting").build()?;
        Ok(Waiting { runtime: Some(runtime), inside: AtomicUsize::new(0), most: threads.saturating_sub(1) })
    }

    /// Leave to stay, unless that may have everybody wait.
    pub(super) fn leave_to_stay(&self) -> Option<Leave<'_>> {
        let more = |inside| (inside < self.most).then_some(inside + 1);
        let entered = self.inside.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        entered.ok().map(|_| Leave(&self.inside))
    }

    /// Does `request` on another thread.
    pub(super) fn spawn(&self, request: impl FnOnce() + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn_blocking(request);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
