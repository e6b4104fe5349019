//! Reading a volume that nobody has mounted, entry by entry: what [`super::check`] and [`super::export`] share.
//!
//! Reads through the same code as the mount, so what is read here reads there. Nothing here writes, and nothing ends
//! at the first damage: each function answers for one entry, and who walks the tree decides how to go on.

mod attributes;
mod content;
mod foreign;
mod own;
mod problem;

pub use foreign::Foreign;
pub use own::{Extent, measure};
pub use problem::{Kind, Observer, Problem};

pub(super) use attributes::{Attribute, Holder};
pub(super) use content::{Sink, read_all};
pub(super) use own::{DEEPEST, Own, long_names, own};

use super::dirrec::{DirId, RECORD, RECORD_LEN, Record};
use super::keys::VolumeKeys;
use super::lower::{Fd, Lower, open_own};
use super::names::{LONG, SIDECAR, SIDECAR_MAX};
use super::store::FileStore;
use super::{Error, PathHint, Result, Volume};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// An opened volume that nobody else uses.
pub struct Survey<'a> {
    /// The lower filesystem's calls.
    pub lower: &'a dyn Lower,
    /// The lower directory.
    pub root: &'a Fd,
    /// What opens names, records, link targets and attributes.
    pub keys: &'a VolumeKeys,
    /// What opens files.
    pub store: &'a FileStore,
}

impl<'a> Survey<'a> {
    /// All of `volume`.
    pub fn of(volume: &'a Volume) -> Survey<'a> {
        Survey { lower: &*volume.lower, root: &volume.root, keys: &volume.keys, store: &volume.store }
    }
}

impl Survey<'_> {
    /// The lower root, opened anew.
    pub(super) fn open_root(&self) -> io::Result<Arc<Fd>> {
        self.open_directory(self.root, OsStr::new("."))
    }

    /// Opens the directory `name` in `dir`.
    pub(super) fn open_directory(&self, dir: &Fd, name: &OsStr) -> io::Result<Arc<Fd>> {
        self.lower.open(dir, name, libc::O_RDONLY | libc::O_DIRECTORY, 0).map(Arc::new)
    }

    /// Reads a directory's record and checks that the directory belongs below `parent`, or is the root.
    pub(super) fn record(&self, dir: &Fd, parent: Option<&DirId>) -> Result<Record> {
        let fd = open_own(self.lower, dir, OsStr::new(RECORD)).map_err(|err| match err.kind() {
            io::ErrorKind::InvalidData => Error::corrupt(RECORD, err),
            io::ErrorKind::NotFound => Error::corrupt(RECORD, "the directory's record is missing"),
            _ => Error::Os(err),
        })?;
        let mut bytes = [0; RECORD_LEN + 1];
        let len = self.lower.pread(&fd, &mut bytes, 0)?;
        let record = self.keys.open_record(&bytes[..len])?;
        let belongs = parent.map_or(record.is_root(), |parent| record.belongs_in(parent));
        match belongs {
            true => Ok(record),
            false => Err(Error::corrupt(RECORD, "the directory belongs elsewhere in the volume")),
        }
    }

    /// What the lower name `name` in `dir`, whose id is `id`, stands for: always a single component of a path.
    pub(super) fn plain_name(&self, dir: &Fd, id: &DirId, name: &OsStr) -> Result<OsString> {
        if !name.as_bytes().starts_with(LONG.as_bytes()) {
            return self.keys.decrypt_name(id, name.as_bytes());
        }
        let mut sidecar = name.to_owned();
        sidecar.push(SIDECAR);
        let fd = open_own(self.lower, dir, &sidecar)?;
        let mut full = vec![0; SIDECAR_MAX + 1];
        let len = self.lower.pread(&fd, &mut full, 0)?;
        self.keys.decrypt_long_name(id, name, &full[..len])
    }

    /// What the symbolic link `name` in `dir` points to.
    pub(super) fn link_target(&self, dir: &Fd, name: &OsStr) -> Result<OsString> {
        self.keys.open_target(&self.lower.readlink(dir, name)?)
    }
}

/// Where something is, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Plaintext path below the volume's root; `None` where a name on the way does not decrypt.
    pub(super) plain: Option<PathBuf>,
    /// Path below the lower directory.
    pub(super) lower: PathBuf,
}

impl Place {
    /// The volume's root.
    pub(super) fn root() -> Place {
        Place { plain: Some(PathBuf::from("/")), lower: PathBuf::new() }
    }

    /// An entry of the directory that is here.
    pub(super) fn below(&self, plain: Option<&OsStr>, lower: &OsStr) -> Place {
        let plain = self.plain.as_ref().zip(plain).map(|(dir, name)| dir.join(name));
        Place { plain, lower: self.lower.join(lower) }
    }
}

impl PathHint for Place {
    fn lower_path(&self) -> Option<PathBuf> {
        Some(self.lower.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_as_far_as_its_names_decrypt() {
        let dir = Place::root().below(Some(OsStr::new("docs")), OsStr::new("Qx"));
        assert_eq!(dir.plain.as_deref(), Some("/docs".as_ref()));
        let lost = dir.below(None, OsStr::new("zz"));
        assert_eq!((lost.plain.clone(), lost.lower.clone()), (None, PathBuf::from("Qx/zz")));
        assert_eq!(lost.below(Some(OsStr::new("a")), OsStr::new("b")).plain, None);
    }
}
