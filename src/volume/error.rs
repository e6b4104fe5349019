//! What can go wrong with a volume.

use std::io;

/// The result of a volume operation.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the volume layer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lower filesystem refused a call; its errno is passed on.
    #[error("{0}")]
    Os(#[from] io::Error),
    /// Bytes on the lower filesystem are not what kmsfs wrote there.
    #[error("{file}: {why}")]
    Corrupt {
        /// The lower path or name, as far as it is known.
        file: String,
        /// What does not hold.
        why: String,
    },
    /// The data key could not be had.
    #[error(transparent)]
    Key(#[from] crate::keys::Error),
    /// Another process has the volume open.
    #[error("the volume is in use by process {pid}; unmount it there first (kmsfs umount MOUNTPOINT)")]
    InUse {
        /// The process that holds it; 0 if it cannot be told.
        pid: u32,
    },
    /// The volume as a whole cannot be made or opened: none there, newer format, directory not empty.
    #[error("{0}")]
    Volume(String),
}

impl Error {
    /// `file` is not what kmsfs wrote: `why`.
    pub fn corrupt(file: impl std::fmt::Display, why: impl std::fmt::Display) -> Error {
        Error::Corrupt { file: file.to_string(), why: why.to_string() }
    }

    /// A plain errno.
    pub fn errno(code: i32) -> Error {
        Error::Os(io::Error::from_raw_os_error(code))
    }
}
