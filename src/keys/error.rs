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
    /// What opens the KMS, such as a token's PIN, cannot be had or was refused.
    Secret,
    /// The KMS does not answer, answers with an internal error, or is sealed.
    Unavailable,
    /// The file's shred secret was destroyed: nothing opens the file any more.
    Shredded,
    /// The wrapped key was altered, or belongs to another file or volume.
    Invalid,
}

/// An error from a key provider or the data-key cache. Cheap to clone: every waiter of one call gets it.
///
/// Shown as "{name}: {message}" where the KMS gave it a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    kind: ErrorKind,
    name: Option<String>,
    message: String,
}

impl Error {
    /// An error of `kind`; `message` names the key, what happened and what to do.
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Error {
        Error { kind, name: None, message: message.to_string() }
    }

    /// Adds the name that the KMS gives this error, as in `DisabledException`.
    pub fn named(mut self, name: impl Into<String>) -> Error {
        self.name = Some(name.into());
        self
    }

    /// What went wrong, as far as a caller can act on it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The KMS's name for this error, if it was the KMS that refused.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What happened, without the name.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}
