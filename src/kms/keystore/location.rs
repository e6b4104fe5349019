//! Where a keystore is: a file, or a database of a PostgreSQL server.

use super::error::Result;
use super::postgres::Server;
use super::sqlite;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

/// See the module. Shown, it is the path or the URL; neither holds a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of its own, for one machine.
    File(PathBuf),
    /// A database of a PostgreSQL server, for several KMS servers on the same keys.
    Postgres(Box<Server>),
}

impl Location {
    /// Reads what a person wrote: a URL that begins with `postgres://` or `postgresql://`, or the path of a file.
    ///
    /// # Errors
    /// [`super::Error::Location`] for a URL that is malformed, holds a password, or leads over a network without TLS.
    pub fn parse(text: impl AsRef<OsStr>) -> Result<Location> {
        let text = text.as_ref();
        match text.to_str() {
            Some(url) if Server::is_url(url) => Ok(Location::Postgres(Box::new(Server::parse(url)?))),
            _ => Ok(Location::File(text.into())),
        }
    }

    /// Whether there is anything at this place. That it is a keystore is seen when it is opened.
    ///
    /// # Errors
    /// [`super::Error::Unreachable`], [`super::Error::Database`] if the server does not say.
    pub fn exists(&self) -> Result<bool> {
        match self {
            Location::File(path) => Ok(sqlite::exists(path)),
            Location::Postgres(server) => server.has_keystore(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::File(path) => path.display().fmt(f),
            Location::Postgres(server) => server.fmt(f),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Location {
        Location::File(path)
    }
}

impl From<&PathBuf> for Location {
    fn from(path: &PathBuf) -> Location {
        Location::File(path.clone())
    }
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Location {
        Location::File(path.to_owned())
    }
}

impl From<&Location> for Location {
    fn from(location: &Location) -> Location {
        location.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_server_and_everything_else_a_file() {
        for url in ["postgres:///kmsfs", "postgresql://kms@localhost:5433/kmsfs"] {
            let location = Location::parse(url).unwrap();
            assert!(matches!(location, Location::Postgres(_)), "{url}");
            assert_eq!(location.to_string(), url);
        }
        for path in ["keystore.db", "/var/lib/kmsfs/postgres", "postgres:", "./postgres://x", ""] {
            assert_eq!(Location::parse(path).unwrap(), Location::File(path.into()));
        }
    }
}
