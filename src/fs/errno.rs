//! What the filesystem answers when it cannot do as asked, and the one table from causes to errno.

use crate::{keys, volume};
use std::io;

/// The result of a filesystem operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself is refused, as a local filesystem would; the errno says why.
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Refused(i32),
    /// The volume below failed: a lower system call, corrupt bytes, a data key that cannot be had.
    #[error(transparent)]
    Volume(#[from] volume::Error),
}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Error {
        Error::Volume(volume::Error::Os(e))
    }
}

impl From<keys::Error> for Error {
    fn from(e: keys::Error) -> Error {
        Error::Volume(volume::Error::Key(e))
    }
}

impl Error {
    /// The errno an application sees. The only place where causes become errnos.
    pub fn errno(&self) -> i32 {
        match self {
            Error::Refused(code) => *code,
            Error::Volume(volume::Error::Os(e)) => e.raw_os_error().unwrap_or(libc::EIO),
            // Bytes that are not ours are never answered with data, and never told apart.
            Error::Volume(volume::Error::Corrupt { .. }) => libc::EIO,
            Error::Volume(volume::Error::Key(e)) => match e.kind() {
                // A wrapped key that was altered is damage, not a missing right.
                keys::ErrorKind::Invalid => libc::EIO,
                // Disabled, denied, away: the file is whole, the key is not to be had now.
                keys::ErrorKind::Disabled
                | keys::ErrorKind::NotFound
                | keys::ErrorKind::Denied
                | keys::ErrorKind::Secret
                | keys::ErrorKind::Shredded
                | keys::ErrorKind::Unsuitable
                | keys::ErrorKind::Unavailable => libc::ENOKEY,
            },
            Error::Volume(volume::Error::Volume(_) | volume::Error::InUse { .. }) => libc::EIO,
        }
    }

    /// Does the operator need to hear of it? True for damage and for keys that cannot be had, false for
    /// the everyday refusals that only concern the caller.
    pub fn is_notable(&self) -> bool {
        match self {
            Error::Refused(_) | Error::Volume(volume::Error::Os(_)) => false,
            Error::Volume(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_eio_and_missing_keys_are_enokey() {
        let key = |kind| Error::from(keys::Error::new(kind, "key"));
        assert_eq!(key(keys::ErrorKind::Invalid).errno(), libc::EIO);
        for kind in [
            keys::ErrorKind::Disabled,
            keys::ErrorKind::NotFound,
            keys::ErrorKind::Denied,
            keys::ErrorKind::Secret,
            keys::ErrorKind::Shredded,
            keys::ErrorKind::Unsuitable,
            keys::ErrorKind::Unavailable,
        ] {
            assert_eq!(key(kind).errno(), libc::ENOKEY);
        }
        assert_eq!(Error::from(volume::Error::corrupt("f", "cut")).errno(), libc::EIO);
        assert_eq!(Error::from(io::Error::from_raw_os_error(libc::ENOSPC)).errno(), libc::ENOSPC);
        assert_eq!(Error::Refused(libc::EEXIST).errno(), libc::EEXIST);
    }

    #[test]
    fn only_damage_and_keys_are_notable() {
        assert!(Error::from(volume::Error::corrupt("f", "cut")).is_notable());
        assert!(!Error::Refused(libc::ENOENT).is_notable());
        assert!(!Error::from(io::Error::from_raw_os_error(libc::ENOENT)).is_notable());
    }
}
