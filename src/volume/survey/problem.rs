//! What is wrong with an entry, and who is told.

use super::Place;
use crate::keys::ErrorKind;
use crate::volume::{Error, Result};
use std::path::PathBuf;

/// Is told how the reading goes on, from several threads.
pub trait Observer: Sync {
    /// So many more plaintext bytes are done.
    fn advanced(&self, bytes: u64);
    /// Something is wrong.
    fn found(&self, problem: &Problem);
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The record of a directory, or the directory itself.
    Directory,
    /// The name of an entry of kmsfs's: damaged, or given by somebody else.
    Name,
    /// The content of a file.
    File,
    /// The target of a symbolic link.
    Symlink,
    /// An extended attribute.
    Attribute,
    /// The lower filesystem did not let it be read.
    Unreadable,
    /// A zone's key may not be used now: nothing is known of the content.
    Locked,
    /// Nothing is wrong in the volume, but where it was to be restored it could not be written.
    NotWritten,
}

impl Kind {
    /// A stable word for scripts.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Directory => "directory",
            Kind::Name => "name",
            Kind::File => "file",
            Kind::Symlink => "symlink",
            Kind::Attribute => "attribute",
            Kind::Unreadable => "unreadable",
            Kind::Locked => "locked",
            Kind::NotWritten => "not-written",
        }
    }
}

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it is about.
    pub kind: Kind,
    /// Its plaintext path below the volume's root; `None` where a name on the way does not decrypt.
    pub path: Option<PathBuf>,
    /// Its path below the lower directory.
    pub lower: PathBuf,
    /// What does not hold.
    pub what: String,
}

impl Problem {
    /// `what` is wrong with what is at `place`.
    pub(in crate::volume) fn new(kind: Kind, place: &Place, what: String) -> Problem {
        Problem { kind, path: place.plain.clone(), lower: place.lower.clone(), what }
    }

    /// What an error about `place` says: damage of `kind`, or that it is unreadable or locked. A KMS that says no to one
    /// key may say yes to the next; one that does not answer would be waited for again and again.
    ///
    /// # Errors
    /// `error` itself if it is about the whole volume, so that nothing more can be read.
    pub(in crate::volume) fn of(kind: Kind, place: &Place, error: Error) -> Result<Problem> {
        let (kind, what) = match error {
            Error::Corrupt { why, .. } => (kind, why),
            Error::Os(err) => (Kind::Unreadable, err.to_string()),
            Error::Key(err) if err.kind() == ErrorKind::Invalid => (kind, err.to_string()),
            Error::Key(err) if err.kind() != ErrorKind::Unavailable => (Kind::Locked, err.to_string()),
            fatal @ (Error::Key(_) | Error::InUse { .. } | Error::Volume(_)) => return Err(fatal),
        };
        Ok(Problem::new(kind, place, what))
    }
}
