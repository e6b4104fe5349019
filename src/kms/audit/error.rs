//! What can go wrong with an audit log.

use std::io;
use std::path::{Path, PathBuf};

/// The result of an operation on an audit log.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the audit log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// Another process writes this log; a log has one writer.
    #[error("the audit log {} is being written by another process", .0.display())]
    Busy(PathBuf),
    /// There are segments, and none of them verifies.
    #[error("the audit log {} belongs to another keystore, or was destroyed", .0.display())]
    Foreign(PathBuf),
    /// There is no log.
    #[error("there is no audit log in {}", .0.display())]
    Missing(PathBuf),
    /// A thread could not be started.
    #[error("cannot start the audit log's thread: {0}")]
    Thread(io::Error),
}

impl Error {
    /// Turns a refusal of the operating system into an error that names file and action.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    }
}

/// The call was not recorded, so it must not be answered: the log cannot be written, and it is one that calls
/// wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct Unrecorded;
