//! Where the audit log is.

use std::path::PathBuf;

use crate::{
    cli::{Exit, Failure, Global, access},
    kms::{audit, keystore::Location},
};

/// Where the audit log is. Flattened into every command that reads or writes it.
#[derive(Debug, Clone, clap::Args)]
pub struct LogArgs {
    /// Directory of the audit log [default: the keystore file's name with .audit for .db]
    #[arg(long = "audit", value_name = "DIR", env = "KMSFS_AUDIT", hide_env_values = true)]
    directory: Option<PathBuf>,
}

impl LogArgs {
    /// The directory, whether or not it exists.
    ///
    /// # Errors
    /// Nothing says where the keystore is, or it is on a server.
    pub fn directory(&self, global: &Global) -> Result<PathBuf, Failure> {
        if let Some(directory) = &self.directory {
            return Ok(directory.clone());
        }
        match access::location(global)? {
            Location::File(path) => Ok(path.with_extension("audit")),
            Location::Postgres(_) => Err(Failure::new(
                Exit::Usage,
                "with a keystore on a server the audit log has no place of its own",
            )
            .hint("Name its directory on this machine with --audit or KMSFS_AUDIT.")),
        }
    }
}

impl From<audit::Error> for Failure {
    fn from(err: audit::Error) -> Failure {
        let (exit, hint) = match err {
            audit::Error::Busy(_) => {
                (Exit::Busy, Some("Give each service a directory of its own with --audit."))
            }
            audit::Error::Foreign(_) => (
                Exit::BadKeystore,
                Some("Check --keystore and --audit: the log was made with another keystore."),
            ),
            audit::Error::Missing(_) => {
                (Exit::Refused, Some("`kmsfs kms serve` makes one; name another place with --audit."))
            }
            audit::Error::Io { .. } | audit::Error::Thread(_) => (Exit::Failure, None),
        };
        let failure = Failure::new(exit, &err);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
