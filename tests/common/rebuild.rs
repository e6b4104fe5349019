//! What a crash left of a recording, made real: a fresh directory that holds what a chosen part of the log would
//! have left on the disk.

use crate::changes::{Made, Node, Op};
use crate::recorder::{Base, PAGE, Recording};
use kmsfs::volume::lower::{Fd, Lower, SystemLower, open_root};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Which part of a log reached the disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Survivors {
    /// All changes of metadata before this one, and none after it.
    pub metadata: usize,
    /// The writes, by their place in the log.
    pub writes: Vec<usize>,
    /// The nodes whose inode on the disk tells a ctime of the recording; all others kept an older one.
    pub dated: BTreeSet<Node>,
}

impl Recording {
    /// Makes in the empty directory `dir` what the disk holds if only `survivors` reached it. Returns the inodes,
    /// by device and number, whose ctime is older than the recording.
    pub fn rebuild(&self, dir: &Path, survivors: &Survivors) -> HashSet<(u64, u64)> {
        let mut rebuild = Rebuild::on_base(dir, &self.base);
        let mut writes = survivors.writes.iter().copied().peekable();
        let last = survivors.writes.last().map_or(0, |w| w + 1);
        let lost = (survivors.metadata..self.ops.len()).find(|i| self.ops[*i].is_metadata());
        for (i, op) in self.ops.iter().enumerate().take(survivors.metadata.max(last)) {
            let in_order = lost.is_none_or(|first| i < first);
            match op {
                Op::Write { node, at, bytes, .. } if writes.next_if_eq(&i).is_some() => {
                    rebuild.write(*node, *at, bytes, in_order);
                }
                op if op.is_metadata() && in_order => rebuild.apply(op),
                Op::Truncate { node, .. } | Op::Allocate { node, .. } => {
                    rebuild.outdated.insert(*node, true);
                }
                _ => {}
            }
        }
        let old = rebuild.fds.iter().filter(|(node, _)| !survivors.dated.contains(node));
        let inode = |fd: &Fd| rebuild.lower.fstat(fd).map(|stat| (stat.dev, stat.ino)).unwrap();
        old.map(|(_, fd)| inode(fd)).collect()
    }
}

/// A directory in the making.
struct Rebuild {
    lower: SystemLower,
    fds: HashMap<Node, Fd>,
    /// Files of which a change of length or extents was lost: later writes have nowhere to go.
    outdated: HashMap<Node, bool>,
}

impl Rebuild {
    fn on_base(dir: &Path, base: &Base) -> Rebuild {
        let lower = SystemLower;
        let mut fds = HashMap::from([(0, open_root(dir).unwrap())]);
        let mut by_path = HashMap::from([(Path::new(""), 0)]);
        for (i, (path, content)) in base.iter().enumerate() {
            let parent = &fds[&by_path[path.parent().unwrap()]];
            let what = if content.is_some() { Made::File } else { Made::Directory };
            let fd = make(parent, path.file_name().unwrap(), &what).unwrap();
            let bytes = content.as_deref().unwrap_or_default();
            if !bytes.is_empty() {
                lower.truncate(&fd, bytes.len() as u64).unwrap();
            }
            // Pages of zeros may have been holes; as holes they read the same.
            for (page, bytes) in (0..).zip(bytes.chunks(PAGE as usize)) {
                if bytes.iter().any(|b| *b != 0) {
                    lower.pwrite(&fd, bytes, page * PAGE).unwrap();
                }
            }
            fds.insert(i + 1, fd);
            by_path.insert(path, i + 1);
        }
        Rebuild { lower, fds, outdated: HashMap::new() }
    }

    fn write(&self, node: Node, at: u64, bytes: &[u8], in_order: bool) {
        // A write that survives without the metadata before it is one into room the file had already.
        let Some(fd) = self.fds.get(&node) else { return };
        let homeless = || {
            let size = self.lower.fstat(fd).unwrap().size;
            self.outdated.contains_key(&node) || at + bytes.len() as u64 > size
        };
        if in_order || !homeless() {
            self.lower.pwrite(fd, bytes, at).unwrap();
        }
    }

    fn apply(&mut self, op: &Op) {
        let fds = &self.fds;
        let done = match op {
            Op::Make { dir, name, node, what } => make(&fds[dir], name, what).map(|fd| {
                self.fds.insert(*node, fd);
            }),
            Op::Link { node, dir, name } => self.lower.link(&fds[node], OsStr::new(""), &fds[dir], name),
            Op::Unlink { dir, name, .. } => self.lower.unlink(&fds[dir], name),
            Op::Rmdir { dir, name, .. } => self.lower.rmdir(&fds[dir], name),
            Op::Rename { dir, name, to, new_name, flags, .. } => {
                self.lower.rename(&fds[dir], name, &fds[to], new_name, *flags)
            }
            Op::Truncate { node, size } => self.lower.truncate(&fds[node], *size),
            Op::Allocate { node, mode, at, len } => self.lower.fallocate(&fds[node], *mode, *at, *len),
            Op::Touch { .. }
            | Op::Write { .. }
            | Op::StartWriteback { .. }
            | Op::Sync { .. }
            | Op::SyncAll => Ok(()),
        };
        done.unwrap_or_else(|e| panic!("{op:?} cannot be repeated: {e}"));
    }
}

fn make(dir: &Fd, name: &OsStr, what: &Made) -> io::Result<Fd> {
    let lower = SystemLower;
    match what {
        Made::File => lower.open(dir, name, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, 0o600),
        Made::Directory => {
            lower.mkdir(dir, name, 0o700)?;
            lower.open(dir, name, libc::O_RDONLY | libc::O_DIRECTORY, 0)
        }
        Made::Symlink(target) => {
            lower.symlink(OsStr::from_bytes(target.as_bytes()), dir, name)?;
            lower.open(dir, name, libc::O_PATH, 0)
        }
    }
}
