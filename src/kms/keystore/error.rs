//! What can go wrong with a keystore, each case told apart.

use crate::crypto::passphrase::PassphraseError;
use std::io;
use std::path::{Path, PathBuf};

/// The result of a keystore operation.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the keystore. Until the keystore is known to be ours, whole and unlocked, nothing is
/// written to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file.
    #[error("there is no keystore at {}", .0.display())]
    Missing(PathBuf),
    /// A keystore to be created is there already.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// The file is something else.
    #[error("{} is not a kmsfs keystore", .0.display())]
    Foreign(PathBuf),
    /// The file is shorter than it says it is.
    #[error("the keystore {} is truncated: restore it from a backup", .0.display())]
    Truncated(PathBuf),
    /// A later release wrote it.
    #[error("the keystore {} has format {found}; this release knows formats up to {known}", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// Something other than kmsfs changed it, or the medium damaged it.
    #[error("the keystore {} was tampered with or is damaged: {what}", .path.display())]
    Tampered {
        /// The file.
        path: PathBuf,
        /// Where it shows.
        what: String,
    },
    /// No passphrase slot opens.
    #[error("wrong passphrase for the keystore {}", .0.display())]
    WrongPassphrase(PathBuf),
    /// No key file slot opens.
    #[error("wrong key file for the keystore {}", .0.display())]
    WrongKeyFile(PathBuf),
    /// The keystore was opened, and another file is at its path now.
    #[error("the keystore {} was replaced or removed while in use", .0.display())]
    Replaced(PathBuf),
    /// The passphrase or key file would protect nothing.
    #[error("{0}")]
    WeakSecret(String),
    /// The passphrase of a slot cannot be checked: the slot asks for an impossible amount of work, or there is
    /// not enough memory.
    #[error("slot {slot}: {source}")]
    Stretch {
        /// The slot.
        slot: u32,
        /// Why.
        source: PassphraseError,
    },
    /// There is no slot of this number.
    #[error("the keystore has no slot {0}")]
    NoSuchSlot(u32),
    /// Without a slot, nobody could open the keystore again.
    #[error("slot {0} is the only one: add another before you remove it")]
    LastSlot(u32),
    /// The operating system refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite failed: disk full, locked for too long, I/O error.
    #[error("keystore database: {0}")]
    Database(rusqlite::Error),
}

impl Error {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Error::Missing(path),
            io::ErrorKind::AlreadyExists => Error::Exists(path),
            _ => Error::Io { path, source },
        }
    }
}
