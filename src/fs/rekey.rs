//! Rekeying: new data keys for all files below some paths, while they are in use.
//!
//! Many files share a checkpoint, which costs syncs: a round begins and re-encrypts as many as make it worth while, brings
//! the journal into place, and ends them all.

use super::Filesystem;
use super::errno::{Error, Result};
use super::handle::OpenFile;
use super::walk::Found;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::thread;

/// Files of one round at most; each is open.
const ROUND_FILES: usize = 256;
/// Plaintext bytes of one round, unless a file is larger.
const ROUND_BYTES: u64 = 128 << 20;
/// More threads than this only wait for the disk.
const THREADS_MAX: usize = 4;

/// Is told how a rekeying goes on, from several threads.
pub trait RekeyObserver: Sync {
    /// There is so much to do.
    fn measured(&self, files: u64, bytes: u64);
    /// So many more bytes are under a new key. Returns whether to go on.
    fn sealed(&self, bytes: u64) -> bool;
    /// A file has a new key, and nothing under its old one.
    fn rekeyed(&self, path: &Path);
    /// A file was not rekeyed. What was done of it stays done.
    fn skipped(&self, path: &Path, why: &Error);
    /// Whether to go on with more files.
    fn goes_on(&self) -> bool;
}

impl Filesystem {
    /// Gives every regular file below `paths`, which are relative to the root, a new data key, and re-encrypts what it
    /// holds. Whatever stops it, a file reads as before; called again, it finishes what was begun and does the rest
    /// anew.
    ///
    /// # Errors
    /// A path that is not there; those of the lower filesystem. What is about one file is told to `observer`.
    pub fn rekey(&self, paths: &[PathBuf], observer: &dyn RekeyObserver) -> Result<()> {
        let (mut files, mut bytes) = (0, 0);
        self.walk(paths, &mut |found| {
            files += 1;
            bytes += found.size;
            Ok(())
        })?;
        observer.measured(files, bytes);
        let (mut round, mut size) = (Vec::new(), 0);
        self.walk(paths, &mut |found| {
            size += found.size;
            round.push(found);
            if round.len() == ROUND_FILES || size >= ROUND_BYTES {
                size = 0;
                self.rekey_round(std::mem::take(&mut round), observer)?;
            }
            Ok(())
        })?;
        self.rekey_round(round, observer)
    }

    fn rekey_round(&self, round: Vec<Found>, observer: &dyn RekeyObserver) -> Result<()> {
        let begun = in_parallel(round, |found| {
            if !observer.goes_on() {
                return None;
            }
            let begin = || -> Result<OpenFile> {
                let open = self.open_file(&found.inode)?;
                open.file().rekey(&self.keys, &mut |bytes| observer.sealed(bytes))?;
                Ok(open)
            };
            match begin() {
                Ok(open) => Some((found.path, open)),
                // It was removed since it was found.
                Err(e) if matches!(e.errno(), libc::ENOENT | libc::ESTALE) => None,
                Err(e) => {
                    observer.skipped(&found.path, &e);
                    None
                }
            }
        });
        if begun.is_empty() {
            return Ok(());
        }
        self.store.checkpoint()?;
        in_parallel(begun, |(path, open)| {
            match open.file().end_rekey() {
                Ok(()) => observer.rekeyed(&path),
                Err(e) => observer.skipped(&path, &e.into()),
            }
            None::<()>
        });
        Ok(())
    }
}

/// What `act` makes of the items, in no order.
fn in_parallel<T: Send, U: Send>(items: Vec<T>, act: impl Fn(T) -> Option<U> + Sync) -> Vec<U> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX).min(items.len());
    let (items, made) = (Mutex::new(items.into_iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let item = items.lock().next();
                    let Some(item) = item else { return };
                    let outcome = act(item);
                    made.lock().extend(outcome);
                }
            });
        }
    });
    made.into_inner()
}
