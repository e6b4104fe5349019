//! `kmsfs kms serve --user`: from root to a user that has nothing but the keystore.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, lchown},
    path::Path,
};

use crate::{
    cli::{Exit, Failure},
    crypto,
    fuse::sys::{self, Account},
};

/// The user that a service is to run as.
#[derive(Debug)]
pub(super) struct User {
    name: String,
    account: Account,
}

impl User {
    /// Finds the user called `name`.
    ///
    /// # Errors
    /// There is none, or this process is not root's.
    pub(super) fn named(name: &str) -> Result<User, Failure> {
        let found = sys::account(name).map_err(|err| failed(name, &err))?;
        let account =
            found.ok_or_else(|| Failure::new(Exit::Usage, format_args!("there is no user {name:?} here")))?;
        match sys::euid() {
            0 => Ok(User { name: name.to_owned(), account }),
            _ => Err(Failure::new(Exit::Usage, "only root can have a service run as another user")),
        }
    }

    /// Gives the user what root made.
    ///
    /// # Errors
    /// The filesystem refuses.
    pub(super) fn give(&self, path: &Path) -> Result<(), Failure> {
        let given = lchown(path, Some(self.account.uid), Some(self.account.gid));
        given.map_err(|err| Failure::io(&format!("give {} the file", self.name), path, &err))
    }

    /// Refuses what is somebody else's.
    ///
    /// # Errors
    /// It is, or cannot be looked at.
    pub(super) fn expect_owned(&self, path: &Path) -> Result<(), Failure> {
        let owner = fs::metadata(path).map_err(|err| Failure::io("look at", path, &err))?.uid();
        if owner == self.account.uid {
            return Ok(());
        }
        let (name, path) = (&self.name, path.display());
        let message = format!("{path} belongs to user {owner}, and the service is to run as {name}");
        Err(Failure::new(Exit::Failure, message).hint(format_args!("Give it away: chown -R {name}: {path}")))
    }

    /// Becomes the user, for good. Memory that is locked stays so.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn become_it(&self) -> Result<(), Failure> {
        let become_it = || {
            sys::become_account(&self.account)?;
            // The kernel lets a process be looked at again when its user changes.
            crypto::harden_process()
        };
        become_it().map_err(|err| failed(&self.name, &err))
    }
}

fn failed(name: &str, err: &io::Error) -> Failure {
    Failure::new(Exit::Failure, format_args!("cannot become the user {name:?}: {err}"))
}
