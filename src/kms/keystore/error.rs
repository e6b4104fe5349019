//! What can go wrong with a keystore, each case told apart.

use super::Location;
use crate::crypto::passphrase::PassphraseError;
use std::io;
use std::path::{Path, PathBuf};

/// The result of a keystore operation.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the keystore. Until the keystore is known to be ours, whole and unlocked, nothing is
/// written to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing there.
    #[error("there is no keystore at {0}")]
    Missing(Location),
    /// A keystore to be created is there already.
    #[error("{0} exists already")]
    Exists(Location),
    /// The file is something else.
    #[error("{} is not a kmsfs keystore", .0.display())]
    Foreign(PathBuf),
    /// The file is shorter than it says it is.
    #[error("the keystore {} is truncated: restore it from a backup", .0.display())]
    Truncated(PathBuf),
    /// A later release wrote it.
    #[error("the keystore {location} has format {found}; this release knows formats up to {known}")]
    Newer {
        /// Where it is.
        location: Location,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// Something other than kmsfs changed it, or the medium damaged it.
    #[error("the keystore {location} was tampered with or is damaged: {what}")]
    Tampered {
        /// Where it is.
        location: Location,
        /// Where it shows.
        what: String,
    },
    /// No passphrase slot opens.
    #[error("wrong passphrase for the keystore {0}")]
    WrongPassphrase(Location),
    /// No key file slot opens.
    #[error("wrong key file for the keystore {0}")]
    WrongKeyFile(Location),
    /// The shares of custodians do not open it.
    #[error("these shares do not open the keystore {0}")]
    WrongShares(Location),
    /// Custodians share the root key, and there is no other way to it.
    #[error("the keystore {0} is opened by its custodians alone: it has no other slots, nor may it have any")]
    QuorumOnly(Location),
    /// The keystore was opened, and another one is at its place now.
    #[error("the keystore {0} was replaced or removed while in use")]
    Replaced(Location),
    /// The root key that the keystore was opened with is not its own any more.
    #[error("the keystore {0} has another root key since it was opened: it must be opened again")]
    Rekeyed(Location),
    /// Its root key and all that it sealed were destroyed on purpose.
    #[error("the keystore {0} was zeroized: its keys are gone for good")]
    Zeroized(Location),
    /// The server does not answer, or refuses the connection.
    #[error("cannot reach the keystore {location}: {why}")]
    Unreachable {
        /// Where it is.
        location: Location,
        /// What the operating system or the server said.
        why: String,
    },
    /// Others changed the keystore at the same time, again and again.
    #[error("others changed the keystore {0} at the same time; try again")]
    Conflict(Location),
    /// A URL that names no store, or not in a safe way. It is not repeated here: it may hold a password.
    #[error("{0}")]
    Location(String),
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
    /// The database failed: disk full, locked for too long, I/O error, no permission.
    #[error("the keystore {location}: {what}")]
    Database {
        /// Where it is.
        location: Location,
        /// What the database said.
        what: String,
    },
}

impl Error {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Error::Missing(path.into()),
            io::ErrorKind::AlreadyExists => Error::Exists(path.into()),
            _ => Error::Io { path, source },
        }
    }
}
