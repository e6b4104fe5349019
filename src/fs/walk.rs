//! Going over the files below some paths, beside the kernel's own requests.

use super::Filesystem;
use super::errno::{Error, Result};
use super::inode::Inode;
use super::types::{Attr, Ino, ROOT};
use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A regular file that was found.
pub(super) struct Found {
    /// Below the root.
    pub(super) path: PathBuf,
    pub(super) inode: Arc<Inode>,
    /// Plaintext bytes.
    pub(super) size: u64,
    /// Hard links.
    pub(super) nlink: u32,
}

impl Filesystem {
    /// Calls `each` with the regular files below `paths`, which are relative to the root, each file once under whichever
    /// name comes first. Directories that go away meanwhile are no error.
    pub(super) fn walk(&self, paths: &[PathBuf], each: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
        let mut several_names = HashSet::new();
        for path in paths {
            let attr = self.find(path)?;
            let visited = self.walk_from(path, &attr, &mut several_names, each);
            self.forget(attr.ino, u64::from(attr.ino != ROOT));
            visited?;
        }
        Ok(())
    }

    fn walk_from(
        &self,
        path: &Path,
        attr: &Attr,
        several_names: &mut HashSet<Ino>,
        each: &mut dyn FnMut(Found) -> Result<()>,
    ) -> Result<()> {
        let mut directories = Vec::new();
        self.visit(path.to_owned(), attr, several_names, &mut directories, each)?;
        while let Some((path, inode)) = directories.pop() {
            for (name, attr) in self.entries_of(&inode)? {
                let visited = self.visit(path.join(name), &attr, several_names, &mut directories, each);
                self.forget(attr.ino, 1);
                visited?;
            }
        }
        Ok(())
    }

    fn visit(
        &self,
        path: PathBuf,
        attr: &Attr,
        several_names: &mut HashSet<Ino>,
        directories: &mut Vec<(PathBuf, Arc<Inode>)>,
        each: &mut dyn FnMut(Found) -> Result<()>,
    ) -> Result<()> {
        let inode = self.inode(attr.ino)?;
        if inode.is_dir() {
            directories.push((path, inode));
        } else if inode.is_file() && (attr.nlink < 2 || several_names.insert(attr.ino)) {
            each(Found { path, inode, size: attr.size, nlink: attr.nlink })?;
        }
        Ok(())
    }

    /// The entries of a directory, each counted **+1**; none if it is gone.
    fn entries_of(&self, dir: &Arc<Inode>) -> Result<Vec<(OsString, Attr)>> {
        let handle = self.handles.add_dir(Arc::clone(dir));
        let mut entries = Vec::new();
        let listed = self.readdir(handle, 0, true, &mut |entry| {
            entries.extend(entry.attr.map(|attr| (entry.name, attr)));
            true
        });
        self.releasedir(handle);
        match listed {
            Err(e) if e.errno() == libc::ENOENT => Ok(Vec::new()),
            Err(e) => {
                entries.iter().for_each(|(_, attr)| self.forget(attr.ino, 1));
                Err(e)
            }
            Ok(()) => Ok(entries),
        }
    }

    /// The entry at `path` below the root. **+1** unless it is the root.
    fn find(&self, path: &Path) -> Result<Attr> {
        let mut at = self.getattr(ROOT, None)?;
        for name in path {
            let next = self.lookup(at.ino, name);
            self.forget(at.ino, u64::from(at.ino != ROOT));
            at = next?;
        }
        Ok(at)
    }

    /// Whether one of the paths is that of a directory.
    pub(super) fn is_any_directory(&self, paths: &[PathBuf]) -> Result<bool> {
        for path in paths {
            let attr = self.find(path)?;
            self.forget(attr.ino, u64::from(attr.ino != ROOT));
            if attr.mode & libc::S_IFMT == libc::S_IFDIR {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes the name at `path` below the root, of what is no directory.
    ///
    /// # Errors
    /// As [`Filesystem::unlink`].
    pub fn remove(&self, path: &Path) -> Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::Refused(libc::EISDIR));
        };
        let parent = self.find(parent)?;
        let removed = self.unlink(parent.ino, name);
        self.forget(parent.ino, u64::from(parent.ino != ROOT));
        removed
    }
}
