//! Shredding: the secrets of files are destroyed, so that no copy of them opens any more.

use super::Filesystem;
use super::errno::{Error, Result};
use super::handle::OpenFile;
use crate::{keys, volume};
use std::path::{Path, PathBuf};

/// Files whose secrets are destroyed by one call of the KMS, at most; each is open.
const ROUND: usize = 256;

/// Why a file was not shredded.
#[derive(Debug, thiserror::Error)]
pub enum NotShredded {
    /// It has no secret.
    #[error("it has no shred secret: whoever may use its key can open every copy of it")]
    NoSecret,
    /// Its secret was destroyed, and still it opens.
    #[error("its secret was destroyed, and still it opens")]
    StillOpens,
    /// It cannot be opened, or its secret not be destroyed.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Is told how a shredding goes on.
pub trait ShredObserver {
    /// There are so many files.
    fn measured(&self, files: u64);
    /// No copy of the file opens any more. It has `nlink` names, of which this is one.
    fn shredded(&self, path: &Path, nlink: u32);
    /// The file is as it was.
    fn spared(&self, path: &Path, why: &NotShredded);
}

/// A file with a secret.
struct Doomed {
    path: PathBuf,
    open: OpenFile,
    nlink: u32,
}

impl Filesystem {
    /// Destroys the secrets of all regular files below `paths`, which are relative to the root, and makes sure that none of
    /// them opens. The files stay where they are.
    ///
    /// # Errors
    /// A path that is not there; `EISDIR` for a directory, unless it is to be `recursive`, and nothing is done then; the KMS
    /// does not destroy secrets, for this caller or at all. What is about one file is told to `observer`.
    pub fn shred(&self, paths: &[PathBuf], recursive: bool, observer: &dyn ShredObserver) -> Result<()> {
        if !recursive && self.is_any_directory(paths)? {
            return Err(Error::Refused(libc::EISDIR));
        }
        let mut files = 0;
        self.walk(paths, &mut |_| {
            files += 1;
            Ok(())
        })?;
        observer.measured(files);
        let mut round = Vec::new();
        self.walk(paths, &mut |found| {
            match self.open_file(&found.inode) {
                Ok(open) if open.file().slot().envelope.secret.is_some() => {
                    round.push(Doomed { path: found.path, open, nlink: found.nlink });
                }
                Ok(_) => observer.spared(&found.path, &NotShredded::NoSecret),
                // Destroyed by an earlier call, which came to no end.
                Err(Error::Volume(volume::Error::Key(e))) if e.kind() == keys::ErrorKind::Shredded => {
                    observer.shredded(&found.path, found.nlink);
                }
                Err(e) => observer.spared(&found.path, &NotShredded::Failed(e)),
            }
            match round.len() {
                ROUND => self.shred_round(std::mem::take(&mut round), observer),
                _ => Ok(()),
            }
        })?;
        self.shred_round(round, observer)
    }

    fn shred_round(&self, round: Vec<Doomed>, observer: &dyn ShredObserver) -> Result<()> {
        if round.is_empty() {
            return Ok(());
        }
        let envelopes: Vec<_> = round.iter().map(|doomed| doomed.open.file().slot().envelope).collect();
        self.store.destroy_secrets(&envelopes)?;
        self.keys_changed();
        for Doomed { path, open, nlink } in round {
            match open.file().data_key() {
                Ok(_) => observer.spared(&path, &NotShredded::StillOpens),
                Err(volume::Error::Key(e)) if e.kind() == keys::ErrorKind::Shredded => {
                    observer.shredded(&path, nlink);
                }
                Err(e) => observer.spared(&path, &NotShredded::Failed(e.into())),
            }
        }
        Ok(())
    }
}
