//! A workload on a recorded volume, and what must be found at each of its moments.

use crate::memory::open_volume;
use crate::recorder::{Recorder, Recording};
use kmsfs::fs::{
    Attr, Backing, Caller, Error, Filesystem, Handle, NewCmk, NewZone, ROOT, RekeyObserver, Rewrapping,
    SetAttr, SetTime,
};
use kmsfs::volume::store::FileStore;
use kmsfs::volume::{Durability, Volume};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Paths below the root; a directory has no content.
pub type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// A call had returned, and this is what it left.
pub struct Moment {
    /// Calls on the lower filesystem so far.
    pub at: usize,
    pub tree: Tree,
    /// All of it was durable.
    pub durable: bool,
}

/// A recorded workload.
pub struct Story {
    pub name: &'static str,
    pub recording: Recording,
    pub moments: Vec<Moment>,
}

/// For a rekeying that must leave nothing out.
struct Unobserved;

impl RekeyObserver for Unobserved {
    fn measured(&self, _: u64, _: u64) {}
    fn sealed(&self, _: u64) -> bool {
        true
    }
    fn rekeyed(&self, _: &Path) {}
    fn skipped(&self, path: &Path, why: &Error) {
        panic!("{}: {why}", path.display());
    }
    fn goes_on(&self) -> bool {
        true
    }
}

/// A workload being recorded.
pub struct Teller {
    fs: Filesystem,
    store: FileStore,
    recorder: Arc<Recorder>,
    open: BTreeMap<PathBuf, Handle>,
    tree: Tree,
    moments: Vec<Moment>,
}

fn caller() -> Caller {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    Caller { uid, gid, pid: 0 }
}

/// The inode at `path`.
pub fn find(fs: &Filesystem, path: &Path) -> Result<Attr, Error> {
    path.iter().try_fold(fs.getattr(ROOT, None)?, |at, name| fs.lookup(at.ino, name))
}

/// Opens the volume in `dir` without recording.
pub fn open_filesystem(volume: Volume) -> Result<Filesystem, Error> {
    let Volume { lower, root, config, keys, store, .. } = volume;
    Filesystem::new(Backing { lower, root, config, keys, store })
}

impl Teller {
    /// Begins on the volume in `dir`, which holds `tree`, durably.
    pub fn begin(dir: &Path, tree: Tree) -> Teller {
        let recorder = Arc::new(Recorder::new(dir));
        let volume = open_volume(dir, Arc::clone(&recorder) as _, Durability::Power).unwrap();
        let store = volume.store.clone();
        let fs = open_filesystem(volume).unwrap();
        let moments = vec![Moment { at: 0, tree: tree.clone(), durable: true }];
        Teller { fs, store, recorder, open: BTreeMap::new(), tree, moments }
    }

    /// Ends with an unmount, which is part of the story.
    pub fn end(self, name: &'static str) -> Story {
        self.fs.shutdown().unwrap();
        Story { name, recording: self.recorder.stop(), moments: self.moments }
    }

    /// What the volume holds now.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    fn happened(&mut self, durable: bool) {
        let moment = Moment { at: self.recorder.len(), tree: self.tree.clone(), durable };
        self.moments.push(moment);
    }

    fn content(&mut self, path: &str) -> &mut Vec<u8> {
        self.tree.get_mut(Path::new(path)).unwrap().as_mut().unwrap()
    }

    fn parent(&self, path: &str) -> (u64, std::ffi::OsString) {
        let path = Path::new(path);
        (find(&self.fs, path.parent().unwrap()).unwrap().ino, path.file_name().unwrap().to_owned())
    }

    fn handle(&mut self, path: &str) -> Handle {
        let ino = find(&self.fs, Path::new(path)).unwrap().ino;
        let fs = &self.fs;
        let open = self.open.entry(path.into());
        *open.or_insert_with(|| fs.open(ino).unwrap())
    }

    pub fn create(&mut self, path: &str) {
        let (parent, name) = self.parent(path);
        let (_, handle) = self.fs.create(&caller(), parent, &name, 0o644, 0, libc::O_RDWR).unwrap();
        self.open.insert(path.into(), handle);
        self.tree.insert(path.into(), Some(Vec::new()));
        self.happened(false);
    }

    pub fn write(&mut self, path: &str, at: usize, data: &[u8]) {
        let handle = self.handle(path);
        self.fs.write(&caller(), handle, at as u64, data, false).unwrap();
        let content = self.content(path);
        content.resize(content.len().max(at + data.len()), 0);
        content[at..at + data.len()].copy_from_slice(data);
        self.happened(false);
    }

    pub fn append(&mut self, path: &str, data: &[u8]) {
        let at = self.content(path).len();
        self.write(path, at, data);
    }

    pub fn truncate(&mut self, path: &str, len: usize) {
        let handle = self.handle(path);
        let ino = find(&self.fs, Path::new(path)).unwrap().ino;
        let set = SetAttr {
            mode: None,
            uid: None,
            gid: None,
            size: Some(len as u64),
            atime: SetTime::Omit,
            mtime: SetTime::Omit,
            kill_suidgid: false,
        };
        self.fs.setattr(&caller(), ino, Some(handle), &set).unwrap();
        self.content(path).resize(len, 0);
        self.happened(false);
    }

    pub fn punch(&mut self, path: &str, at: usize, len: usize) {
        let handle = self.handle(path);
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        self.fs.fallocate(handle, mode, at as u64, len as u64, false).unwrap();
        self.content(path)[at..at + len].fill(0);
        self.happened(false);
    }

    pub fn close(&mut self, path: &str) {
        self.fs.release(self.open.remove(Path::new(path)).unwrap());
        self.happened(false);
    }

    pub fn mkdir(&mut self, path: &str) {
        let (parent, name) = self.parent(path);
        self.fs.mkdir(&caller(), parent, &name, 0o755, 0).unwrap();
        self.tree.insert(path.into(), None);
        self.happened(false);
    }

    pub fn rename(&mut self, from: &str, to: &str) {
        let ((parent, name), (new_parent, new_name)) = (self.parent(from), self.parent(to));
        self.fs.rename(parent, &name, new_parent, &new_name, 0).unwrap();
        if self.tree.get(Path::new(to)).is_some_and(Option::is_none) {
            // An empty directory is moved out of the way first, and a crash may come in between.
            self.tree.remove(Path::new(to));
            self.happened(false);
        }
        let moved: Vec<_> = self.tree.keys().filter(|p| p.starts_with(from)).cloned().collect();
        for path in moved {
            let below = path.strip_prefix(from).unwrap();
            let new = if below == Path::new("") { to.into() } else { Path::new(to).join(below) };
            let content = self.tree.remove(&path).unwrap();
            self.tree.insert(new.clone(), content);
            if let Some(handle) = self.open.remove(&path) {
                self.open.insert(new, handle);
            }
        }
        self.happened(false);
    }

    /// A zone begins at a directory, and what is below moves to it. No content or name changes.
    pub fn begin_zone(&mut self, path: &str) {
        let zone = NewZone { key: "another key".into(), ..NewZone::default() };
        let (_, moved) = self.fs.begin_zone(Path::new(path), &zone, &mut |_| true).unwrap();
        assert_eq!(moved.failures, []);
        self.happened(false);
    }

    /// The zone that begins at a directory ends.
    pub fn end_zone(&mut self, path: &str) {
        let ended = self.fs.end_zone(Path::new(path), &mut |_| true).unwrap();
        assert_eq!((ended.moved.failures, ended.removed.len()), (Vec::new(), 1));
        self.happened(false);
    }

    /// The files in no zone, and the volume key, go under another CMK. No content or name changes.
    pub fn rewrap(&mut self, key: &str) {
        let to = Some(NewCmk { key: key.into(), ..NewCmk::default() });
        let done = self.fs.rewrap(&Rewrapping { to, ..Rewrapping::default() }, &mut |_| true).unwrap();
        assert_eq!((done.files.failures, done.released.len()), (Vec::new(), 1));
        self.happened(false);
    }

    pub fn unlink(&mut self, path: &str) {
        let (parent, name) = self.parent(path);
        self.fs.unlink(parent, &name).unwrap();
        self.tree.remove(Path::new(path));
        self.happened(false);
    }

    pub fn rmdir(&mut self, path: &str) {
        let (parent, name) = self.parent(path);
        self.fs.rmdir(parent, &name).unwrap();
        self.tree.remove(Path::new(path));
        self.happened(false);
    }

    /// Syncs a file, or the directory that `path` is if it is none. All that was done before must be durable
    /// now: a story syncs so that it is.
    pub fn sync(&mut self, path: &str) {
        if path.is_empty() || self.tree[Path::new(path)].is_none() {
            let handle = self.fs.opendir(find(&self.fs, Path::new(path)).unwrap().ino).unwrap();
            self.fs.fsyncdir(handle, false).unwrap();
            self.fs.releasedir(handle);
        } else {
            let handle = self.handle(path);
            self.fs.fsync(handle, false).unwrap();
        }
        self.happened(true);
    }

    /// Gives a file a new data key. Nobody sees a difference.
    pub fn rekey(&mut self, path: &str) {
        self.fs.rekey(&[path.into()], &Unobserved).unwrap();
        self.happened(false);
    }

    /// Brings the journal into place.
    pub fn checkpoint(&mut self) {
        self.store.checkpoint().unwrap();
    }
}
