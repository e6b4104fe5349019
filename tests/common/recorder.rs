//! A lower filesystem that remembers what was done to it, so that any crash can be played afterwards.
//!
//! [`Recorder`] passes every call on and logs those that change something, in terms of *nodes*: numbers that
//! stand for inodes and mean the same in a replay. Modes, owners, times and attributes are not logged, only that an
//! inode was touched. It can have files look *aged*, as a crash may have left them.

use crate::changes::{Made, Node, Op, Role};
use kmsfs::volume::lower::{Fd, Lower, LowerEntry, SetTime, Stat, StatFs, SystemLower, Timespec, open_root};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Writes are logged in pieces of at most one page, unless they are longer than this many.
const PAGES: usize = 24;
pub const PAGE: u64 = 4096;

#[derive(Debug, Default)]
struct Log {
    ops: Vec<Op>,
    nodes: HashMap<(u64, u64), Node>,
    roles: Vec<Role>,
}

impl Log {
    fn node(&self, stat: &Stat) -> Node {
        self.nodes[&(stat.dev, stat.ino)]
    }

    fn add(&mut self, stat: &Stat, name: &OsStr) -> Node {
        self.roles.push(Role::of(name, stat.is_dir()));
        self.nodes.insert((stat.dev, stat.ino), self.roles.len() - 1);
        self.roles.len() - 1
    }
}

/// What a directory held when the recording began: path and, for a file, content.
pub type Base = Vec<(PathBuf, Option<Vec<u8>>)>;

/// The lower filesystem, recorded.
pub struct Recorder {
    lower: SystemLower,
    base: Base,
    log: Mutex<Log>,
    stopped: AtomicBool,
    aged: Mutex<HashSet<(u64, u64)>>,
    syncs_fail: AtomicBool,
}

impl Recorder {
    /// Records from now on what happens below `dir`, whose present content counts as durable.
    pub fn new(dir: &Path) -> Recorder {
        let mut base = Vec::new();
        collect(dir, Path::new(""), &mut base);
        let mut log = Log::default();
        let root = open_root(dir).unwrap();
        log.add(&SystemLower.fstat(&root).unwrap(), OsStr::new(""));
        for (path, _) in &base {
            let parent = open_root(&dir.join(path.parent().unwrap())).unwrap();
            let name = path.file_name().unwrap();
            log.add(&SystemLower.stat(&parent, name).unwrap(), name);
        }
        Recorder {
            lower: SystemLower,
            base,
            log: Mutex::new(log),
            stopped: AtomicBool::new(false),
            aged: Mutex::default(),
            syncs_fail: AtomicBool::new(false),
        }
    }

    /// Records nothing, and has the inodes `aged` look as if nobody had changed them for years, until somebody does.
    pub fn aging(aged: HashSet<(u64, u64)>) -> Recorder {
        Recorder {
            lower: SystemLower,
            base: Vec::new(),
            log: Mutex::default(),
            stopped: AtomicBool::new(true),
            aged: Mutex::new(aged),
            syncs_fail: AtomicBool::new(false),
        }
    }

    /// From now on, has every sync of a file fail, or no more.
    #[allow(dead_code, reason = "few tests need it")]
    pub fn fail_syncs(&self, fail: bool) {
        self.syncs_fail.store(fail, Ordering::Release);
    }

    fn as_it_looks(&self, stat: Stat) -> Stat {
        match self.aged.lock().contains(&(stat.dev, stat.ino)) {
            true => Stat { ctime: Timespec { sec: 0, nsec: 0 }, ..stat },
            false => stat,
        }
    }

    /// Does `act`, which changes the inode, and logs what `tell` makes of it.
    fn on_inode(
        &self,
        fd: &Fd,
        act: impl FnOnce() -> io::Result<()>,
        tell: impl FnOnce(Node) -> Op,
    ) -> io::Result<()> {
        let stat = self.lower.fstat(fd)?;
        self.aged.lock().remove(&(stat.dev, stat.ino));
        self.change(act, |log, ()| {
            // What has no name yet that was seen is nobody's concern.
            if let Some(node) = log.nodes.get(&(stat.dev, stat.ino)).copied() {
                log.ops.push(tell(node));
            }
            Ok(())
        })
    }

    fn touch(&self, fd: &Fd, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.on_inode(fd, act, |node| Op::Touch { node })
    }

    /// How many changes and syncs there were so far.
    pub fn len(&self) -> usize {
        self.log.lock().ops.len()
    }

    /// Ends the recording; what happens later is nobody's business.
    pub fn stop(&self) -> Recording {
        self.stopped.store(true, Ordering::Release);
        let log = std::mem::take(&mut *self.log.lock());
        Recording { base: self.base.clone(), ops: log.ops, roles: log.roles }
    }

    /// Does `act` and logs what `tell` makes of it, with nothing in between.
    fn change<T>(
        &self,
        act: impl FnOnce() -> io::Result<T>,
        tell: impl FnOnce(&mut Log, &T) -> io::Result<()>,
    ) -> io::Result<T> {
        let mut log = self.log.lock();
        let done = act()?;
        if !self.stopped.load(Ordering::Acquire) {
            tell(&mut log, &done)?;
        }
        Ok(done)
    }

    fn make(
        &self,
        dir: &Fd,
        name: &OsStr,
        what: Made,
        act: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        self.change(act, |log, ()| self.tell_make(log, dir, name, what))
    }

    fn tell_make(&self, log: &mut Log, dir: &Fd, name: &OsStr, what: Made) -> io::Result<()> {
        let dir_node = log.node(&self.lower.fstat(dir)?);
        let node = log.add(&self.lower.stat(dir, name)?, name);
        log.ops.push(Op::Make { dir: dir_node, name: name.to_owned(), node, what });
        Ok(())
    }

    fn sync(&self, fd: &Fd, data_only: bool) -> io::Result<()> {
        if self.syncs_fail.load(Ordering::Acquire) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        // The disk below is not at stake: what is durable is worked out from the log.
        self.change(
            || Ok(()),
            |log, ()| {
                let node = log.node(&self.lower.fstat(fd)?);
                log.ops.push(Op::Sync { node, data_only });
                Ok(())
            },
        )
    }
}

/// The tree below `dir`, parents first.
fn collect(dir: &Path, below: &Path, out: &mut Base) {
    let mut entries: Vec<_> = std::fs::read_dir(dir.join(below)).unwrap().map(|e| e.unwrap()).collect();
    entries.sort_by_key(|e| e.file_name());
    for entry in entries {
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            out.push((path.clone(), None));
            collect(dir, &path, out);
        } else {
            out.push((path.clone(), Some(std::fs::read(dir.join(&path)).unwrap())));
        }
    }
}

impl Lower for Recorder {
    fn open(&self, dir: &Fd, name: &OsStr, flags: i32, mode: u32) -> io::Result<Fd> {
        if flags & libc::O_CREAT == 0 {
            assert_eq!(flags & libc::O_TRUNC, 0, "a recording does not know how to cut on opening");
            return self.lower.open(dir, name, flags, mode);
        }
        let mut log = self.log.lock();
        let existed = self.lower.stat(dir, name).ok();
        let fd = self.lower.open(dir, name, flags, mode)?;
        match existed {
            _ if self.stopped.load(Ordering::Acquire) => {}
            None => self.tell_make(&mut log, dir, name, Made::File)?,
            Some(stat) if flags & libc::O_TRUNC != 0 => {
                let node = log.node(&stat);
                log.ops.push(Op::Truncate { node, size: 0 });
            }
            Some(_) => {}
        }
        Ok(fd)
    }

    fn mkdir(&self, dir: &Fd, name: &OsStr, mode: u32) -> io::Result<()> {
        self.make(dir, name, Made::Directory, || self.lower.mkdir(dir, name, mode))
    }

    fn mknod(&self, _: &Fd, _: &OsStr, _: u32, _: u64) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::EPERM))
    }

    fn symlink(&self, target: &OsStr, dir: &Fd, name: &OsStr) -> io::Result<()> {
        self.make(dir, name, Made::Symlink(target.to_owned()), || self.lower.symlink(target, dir, name))
    }

    fn link(&self, dir: &Fd, name: &OsStr, new_dir: &Fd, new_name: &OsStr) -> io::Result<()> {
        self.change(
            || self.lower.link(dir, name, new_dir, new_name),
            |log, ()| {
                let node = log.node(&self.lower.stat(new_dir, new_name)?);
                let dir = log.node(&self.lower.fstat(new_dir)?);
                log.ops.push(Op::Link { node, dir, name: new_name.to_owned() });
                Ok(())
            },
        )
    }

    fn unlink(&self, dir: &Fd, name: &OsStr) -> io::Result<()> {
        let stat = self.lower.stat(dir, name);
        self.change(
            || self.lower.unlink(dir, name),
            |log, ()| {
                let (node, dir) = (log.node(&stat?), log.node(&self.lower.fstat(dir)?));
                log.ops.push(Op::Unlink { node, dir, name: name.to_owned() });
                Ok(())
            },
        )
    }

    fn rmdir(&self, dir: &Fd, name: &OsStr) -> io::Result<()> {
        self.change(
            || self.lower.rmdir(dir, name),
            |log, ()| {
                let dir = log.node(&self.lower.fstat(dir)?);
                log.ops.push(Op::Rmdir { dir, name: name.to_owned() });
                Ok(())
            },
        )
    }

    fn rename(&self, dir: &Fd, name: &OsStr, new_dir: &Fd, new_name: &OsStr, flags: u32) -> io::Result<()> {
        self.change(
            || self.lower.rename(dir, name, new_dir, new_name, flags),
            |log, ()| {
                let node = log.node(&self.lower.stat(new_dir, new_name)?);
                let (dir, to) = (log.node(&self.lower.fstat(dir)?), log.node(&self.lower.fstat(new_dir)?));
                let (name, new_name) = (name.to_owned(), new_name.to_owned());
                log.ops.push(Op::Rename { node, dir, name, to, new_name, flags });
                Ok(())
            },
        )
    }

    fn pwrite(&self, fd: &Fd, buf: &[u8], at: u64) -> io::Result<()> {
        let mut log = self.log.lock();
        let step = if buf.len() as u64 > PAGES as u64 * PAGE { buf.len() as u64 / 4 } else { PAGE };
        let end = at + buf.len() as u64;
        let mut from = at;
        while from < end {
            let upto = ((from / PAGE * PAGE) + step.next_multiple_of(PAGE)).min(end);
            let bytes = &buf[(from - at) as usize..(upto - at) as usize];
            let before = self.lower.fstat(fd)?;
            self.aged.lock().remove(&(before.dev, before.ino));
            self.lower.pwrite(fd, bytes, from)?;
            if !self.stopped.load(Ordering::Acquire) {
                let after = self.lower.fstat(fd)?;
                let grows = after.size > before.size || after.blocks > before.blocks;
                let node = log.node(&after);
                log.ops.push(Op::Write { node, at: from, bytes: bytes.to_vec(), grows });
            }
            from = upto;
        }
        Ok(())
    }

    fn truncate(&self, fd: &Fd, size: u64) -> io::Result<()> {
        self.on_inode(fd, || self.lower.truncate(fd, size), |node| Op::Truncate { node, size })
    }

    fn fallocate(&self, fd: &Fd, mode: i32, at: u64, len: u64) -> io::Result<()> {
        let allocate = || self.lower.fallocate(fd, mode, at, len);
        self.on_inode(fd, allocate, |node| Op::Allocate { node, mode, at, len })
    }

    fn fsync(&self, fd: &Fd) -> io::Result<()> {
        self.sync(fd, false)
    }

    fn fdatasync(&self, fd: &Fd) -> io::Result<()> {
        self.sync(fd, true)
    }

    fn sync_all(&self, _: &Fd) -> io::Result<()> {
        self.change(
            || Ok(()),
            |log, ()| {
                log.ops.push(Op::SyncAll);
                Ok(())
            },
        )
    }

    fn start_writeback(&self, fd: &Fd) -> io::Result<()> {
        self.change(
            || self.lower.start_writeback(fd),
            |log, ()| {
                let node = log.node(&self.lower.fstat(fd)?);
                log.ops.push(Op::StartWriteback { node });
                Ok(())
            },
        )
    }

    fn stat(&self, dir: &Fd, name: &OsStr) -> io::Result<Stat> {
        self.lower.stat(dir, name).map(|stat| self.as_it_looks(stat))
    }
    fn fstat(&self, fd: &Fd) -> io::Result<Stat> {
        self.lower.fstat(fd).map(|stat| self.as_it_looks(stat))
    }
    fn read_dir(&self, dir: &Fd) -> io::Result<Vec<LowerEntry>> {
        self.lower.read_dir(dir)
    }
    fn readlink(&self, dir: &Fd, name: &OsStr) -> io::Result<OsString> {
        self.lower.readlink(dir, name)
    }
    fn pread(&self, fd: &Fd, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.lower.pread(fd, buf, at)
    }
    fn seek(&self, fd: &Fd, at: u64, whence: i32) -> io::Result<u64> {
        self.lower.seek(fd, at, whence)
    }
    fn chmod(&self, fd: &Fd, mode: u32) -> io::Result<()> {
        self.touch(fd, || self.lower.chmod(fd, mode))
    }
    fn chmod_at(&self, dir: &Fd, name: &OsStr, mode: u32) -> io::Result<()> {
        self.lower.chmod_at(dir, name, mode)
    }
    fn chown(&self, fd: &Fd, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        self.touch(fd, || self.lower.chown(fd, uid, gid))
    }
    fn chown_at(&self, dir: &Fd, name: &OsStr, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        self.lower.chown_at(dir, name, uid, gid)
    }
    fn utimens(&self, fd: &Fd, atime: SetTime, mtime: SetTime) -> io::Result<()> {
        self.touch(fd, || self.lower.utimens(fd, atime, mtime))
    }
    fn utimens_at(&self, dir: &Fd, name: &OsStr, atime: SetTime, mtime: SetTime) -> io::Result<()> {
        self.lower.utimens_at(dir, name, atime, mtime)
    }
    fn get_xattr(&self, dir: &Fd, name: &OsStr, attr: &OsStr) -> io::Result<Vec<u8>> {
        self.lower.get_xattr(dir, name, attr)
    }
    fn set_xattr(&self, dir: &Fd, name: &OsStr, attr: &OsStr, value: &[u8], flags: i32) -> io::Result<()> {
        self.lower.set_xattr(dir, name, attr, value, flags)
    }
    fn list_xattr(&self, dir: &Fd, name: &OsStr) -> io::Result<Vec<OsString>> {
        self.lower.list_xattr(dir, name)
    }
    fn remove_xattr(&self, dir: &Fd, name: &OsStr, attr: &OsStr) -> io::Result<()> {
        self.lower.remove_xattr(dir, name, attr)
    }
    fn try_lock(&self, fd: &Fd) -> io::Result<bool> {
        self.lower.try_lock(fd)
    }
    fn statfs(&self, fd: &Fd) -> io::Result<StatFs> {
        self.lower.statfs(fd)
    }
}

/// What was recorded.
pub struct Recording {
    pub base: Base,
    pub ops: Vec<Op>,
    pub roles: Vec<Role>,
}
