//! Threads for requests that wait for a KMS.
//!
//! The threads that take requests from the kernel are few, and a KMS that hangs would soon have all of them, with files
//! whose keys are at hand waiting behind. So what may ask a KMS is done by threads of its own, as many as are needed.

use std::io;
use tokio::runtime::{Builder, Runtime};

/// Requests that wait at the same time; more of them queue, and keep nobody else waiting either.
const THREADS_MAX: usize = 512;

/// See the module. Dropped, it waits for nobody: requests under way are the guard's to wait for.
pub(super) struct Waiting(Option<Runtime>);

impl Waiting {
    /// Starts no thread yet.
    pub(super) fn new() -> io::Result<Waiting> {
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(THREADS_MAX)
            .thread_name("fuse-waiting")
            .build()?;
        Ok(Waiting(Some(runtime)))
    }

    /// Does `request` on another thread.
    pub(super) fn spawn(&self, request: impl FnOnce() + Send + 'static) {
        if let Some(runtime) = &self.0 {
            runtime.spawn_blocking(request);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
