//! Reaching every file of a volume after a crash, before anything is served.
//!
//! The tree is as users left it: directories as many and as deep as they like, and modes that keep out even the
//! owner, who a daemon that is not root is. So a walk holds no more than a few descriptors, and where a mode is in
//! the way the owner's bits are lent for the moment.

use super::Result;
use super::journal::JOURNAL_DIR;
use super::lower::{Fd, Lower, Stat, with_owner_access};
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

/// One entry that a walk came upon.
pub(super) struct Found<'a> {
    /// The directory it is in.
    pub(super) dir: &'a Fd,
    /// Its lower name.
    pub(super) name: &'a OsStr,
    /// Its lower path, from the root of the volume.
    pub(super) path: &'a Path,
    /// What it was when it was found.
    pub(super) stat: Stat,
}

impl Found<'_> {
    /// Does it hold the content of a file?
    pub(super) fn is_content(&self) -> bool {
        self.stat.is_file() && !is_own_file(self.name)
    }
}

/// Is `name` one that the volume keeps for itself, rather than a file's content?
pub(super) fn is_own_file(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let long_content = name.starts_with(b"kmsfs.long.") && !name.ends_with(b".name");
    name.starts_with(b"kmsfs.") && !long_content
}

/// Calls `each` for everything below `root` but the journal; what it returns tells whether to go into a directory.
/// A directory that the daemon may not read is passed to `closed` with the reason.
///
/// # Errors
/// Those of the lower filesystem, of `each` and of `closed`.
pub(super) fn walk(
    lower: &dyn Lower,
    root: &Fd,
    each: &mut dyn FnMut(&Found<'_>) -> Result<bool>,
    closed: &mut dyn FnMut(&Path, io::Error) -> Result<()>,
) -> Result<()> {
    // Paths, not descriptors: a directory may have a million others in it.
    let mut ahead = vec![PathBuf::new()];
    while let Some(path) = ahead.pop() {
        let listed = open_dir(lower, root, &path)
            .and_then(|dir| with_owner_access(lower, &dir, || lower.read_dir(&dir)).map(|e| (dir, e)));
        let (dir, entries) = match listed {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EACCES | libc::EPERM)) => {
                closed(&path, e)?;
                continue;
            }
            other => other?,
        };
        for entry in &entries {
            if entry.name == "." || entry.name == ".." || entry.name == JOURNAL_DIR {
                continue;
            }
            let stat = match with_owner_access(lower, &dir, || lower.stat(&dir, &entry.name)) {
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => continue,
                other => other?,
            };
            let below = path.join(&entry.name);
            let enter = each(&Found { dir: &dir, name: &entry.name, path: &below, stat })?;
            if enter && stat.is_dir() {
                ahead.push(below);
            }
        }
    }
    Ok(())
}

/// Opens the directory `path`, relative to `root`, component by component.
///
/// # Errors
/// Those of the lower filesystem; `ENOENT` for a path that leads elsewhere.
pub(super) fn open_dir(lower: &dyn Lower, root: &Fd, path: &Path) -> io::Result<Fd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let mut dir = lower.open(root, OsStr::new("."), flags, 0)?;
    for component in path.components() {
        match component {
            Component::Normal(name) => dir = open(lower, &dir, name, flags)?,
            Component::CurDir => {}
            _ => return Err(io::Error::from_raw_os_error(libc::ENOENT)),
        }
    }
    Ok(dir)
}

/// Opens `name` in `dir`.
///
/// # Errors
/// Those of the lower filesystem; `EPERM` where a mode keeps the daemon out and the file is not its own.
pub(super) fn open(lower: &dyn Lower, dir: &Fd, name: &OsStr, flags: i32) -> io::Result<Fd> {
    match lower.open(dir, name, flags, 0) {
        Err(e) if e.raw_os_error() == Some(libc::EACCES) => {}
        done => return done,
    }
    let itself = with_owner_access(lower, dir, || lower.open(dir, name, libc::O_PATH, 0))?;
    with_owner_access(lower, &itself, || lower.open(&itself, OsStr::new(""), flags, 0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::lower::{SystemLower, open_root};
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;

    #[test]
    fn a_walk_of_any_tree_needs_few_descriptors() {
        let temp = tempfile::tempdir().unwrap();
        let mut deep = temp.path().to_owned();
        for n in 0..100 {
            deep.push("d");
            fs::create_dir_all(deep.join(format!("{n}"))).unwrap();
            fs::create_dir_all(temp.path().join(format!("wide/{n}"))).unwrap();
        }
        fs::write(deep.join("file"), b"").unwrap();
        let root = open_root(temp.path()).unwrap();
        let open_here = || {
            let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
            links.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(temp.path()))).count()
        };
        let (mut seen, mut most) = (BTreeSet::new(), 0);
        let each = &mut |found: &Found<'_>| {
            most = most.max(open_here());
            assert!(seen.insert(found.path.to_owned()), "{} twice", found.path.display());
            Ok(true)
        };
        walk(&SystemLower, &root, each, &mut |_, e| Err(e.into())).unwrap();
        assert_eq!(seen.len(), 302);
        assert!(seen.iter().any(|path| path.ends_with("d/d/file")));
        assert!(most <= 3, "{most} descriptors");
    }

    #[test]
    fn a_path_leads_nowhere_but_down() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("a")).unwrap();
        std::os::unix::fs::symlink("a", temp.path().join("link")).unwrap();
        let root = open_root(temp.path()).unwrap();
        for path in ["", "a", "./a"] {
            assert!(open_dir(&SystemLower, &root, Path::new(path)).is_ok(), "{path}");
        }
        for path in ["..", "a/..", "/", "/a", "link", "b"] {
            assert!(open_dir(&SystemLower, &root, Path::new(path)).is_err(), "{path}");
        }
    }
}
