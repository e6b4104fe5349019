//! Why a data key could not be had.

use std::fmt;

/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The key exists and is disabled, pending deletion or otherwise not usable now.
    Disabled,
    /// The key or its material is gone.
    NotFound,
    /// The caller may not use the key.
    Denied,
    /// The key cannot serve a volume: asymmetric, wrong usage.
    Unsuitable,
    /// The KMS does not answer, answers with an internal error, or is sealed.
    Unavailable,
    /// The wrapped key was altered, or belongs to another file or volume.
    Invalid,
}

/// An error from a key provider or the data-key cache. Cheap to clone: every waiter of one call gets it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// An error of `kind`; `message` names the key, what happened and what to do.
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Error {
        Error { kind, message: message.to_string() }
    }

    /// What went wrong, as far as a caller can act on it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}
