//! Random operations through `fs::Filesystem`, without a kernel, against a plain directory.
//!
//! Both must give the same answers and errnos, and hold the same tree in the end; and when everything was
//! closed and forgotten, a filesystem opened anew must hold it too.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/memory.rs"]
mod memory;
#[path = "common/operation.rs"]
mod operation;

use kmsfs::fs::{Attr, Caller, DirEntry, Error, Filesystem, Handle, Ino, ROOT, SetAttr, SetTime, Timespec};
use memory::Scratch;
use operation::{
    Answer, Directory, Operation, Outcome, Route, SLOTS, Subject, operations, own_ids, pattern, same_answers,
    same_tree,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

const UMASK: u32 = 0o022;

/// What the kernel does above a filesystem, as far as operations need it: it walks paths, counts its lookups
/// and gives every one of them back.
struct Kernel {
    fs: Filesystem,
    lookups: BTreeMap<Ino, u64>,
    held: [Option<(Ino, Handle)>; SLOTS],
}

fn caller() -> Caller {
    let (uid, gid) = own_ids();
    Caller { uid, gid, pid: 0 }
}

fn refused<T>(errno: i32) -> Result<T, Error> {
    Err(Error::Refused(errno))
}

fn kind(attr: &Attr) -> u32 {
    attr.mode & libc::S_IFMT
}

impl Kernel {
    fn new(fs: Filesystem) -> Kernel {
        Kernel { fs, lookups: BTreeMap::new(), held: [None; SLOTS] }
    }

    fn count(&mut self, attr: Attr) -> Attr {
        *self.lookups.entry(attr.ino).or_default() += 1;
        attr
    }

    /// The directory of the last component, and that component.
    fn walk<'a>(&mut self, route: &'a Route) -> Result<(Ino, &'a OsStr), Error> {
        let (last, dirs) = route.split_last().unwrap();
        let mut at = ROOT;
        for name in dirs {
            let attr = self.fs.lookup(at, name)?;
            self.count(attr);
            match kind(&attr) {
                libc::S_IFDIR => at = attr.ino,
                // The kernel follows it, to nowhere.
                libc::S_IFLNK => return refused(libc::ENOENT),
                _ => return refused(libc::ENOTDIR),
            }
        }
        Ok((at, last))
    }

    fn find(&mut self, route: &Route) -> Result<Attr, Error> {
        if route.is_empty() {
            return self.fs.getattr(ROOT, None);
        }
        let (parent, name) = self.walk(route)?;
        let attr = self.fs.lookup(parent, name)?;
        Ok(self.count(attr))
    }

    fn open(&mut self, route: &Route) -> Result<(Ino, Handle), Error> {
        let attr = self.find(route)?;
        match kind(&attr) {
            libc::S_IFREG => Ok((attr.ino, self.fs.open(attr.ino)?)),
            libc::S_IFDIR => refused(libc::EISDIR),
            libc::S_IFLNK => refused(libc::ELOOP),
            _ => refused(libc::ENXIO),
        }
    }

    fn with_file<T>(
        &mut self,
        route: &Route,
        act: impl FnOnce(&Filesystem, Ino, Handle) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (ino, handle) = self.open(route)?;
        let done = act(&self.fs, ino, handle);
        self.fs.release(handle);
        done
    }

    fn held(&self, slot: usize) -> Result<(Ino, Handle), Error> {
        self.held[slot].map_or_else(|| refused(libc::EBADF), Ok)
    }

    fn set(&mut self, route: &Route, set: SetAttr) -> Result<Attr, Error> {
        let ino = self.find(route)?.ino;
        self.fs.setattr(&caller(), ino, None, &set)
    }

    fn list(&mut self, ino: Ino) -> Result<Vec<OsString>, Error> {
        let handle = self.fs.opendir(ino)?;
        let mut names = Vec::new();
        let mut from = 0;
        // Three at a time, attributes on every other round, and one entry more than fits each time.
        loop {
            let mut got: Vec<DirEntry> = Vec::new();
            self.fs.readdir(handle, from, from % 2 == 0, &mut |entry| {
                got.push(entry);
                got.len() <= 3
            })?;
            let over = got.len() > 3;
            got.truncate(3);
            for entry in &got {
                from = entry.next;
                if let Some(attr) = entry.attr {
                    self.count(attr);
                }
                if entry.name != "." && entry.name != ".." {
                    names.push(entry.name.clone());
                }
            }
            if !over {
                break;
            }
        }
        self.fs.releasedir(handle);
        Ok(names)
    }

    fn answer(&mut self, operation: &Operation) -> Result<Answer, Error> {
        use Operation::*;
        let who = caller();
        match operation {
            Create(route, mode) => {
                let (parent, name) = self.walk(route)?;
                let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
                let (attr, handle) = self.fs.create(&who, parent, name, *mode, UMASK, flags)?;
                self.count(attr);
                self.fs.release(handle);
            }
            Fifo(route) => {
                let (parent, name) = self.walk(route)?;
                let attr = self.fs.mknod(&who, parent, name, libc::S_IFIFO | 0o644, UMASK, 0)?;
                self.count(attr);
            }
            Mkdir(route, mode) => {
                let (parent, name) = self.walk(route)?;
                let attr = self.fs.mkdir(&who, parent, name, *mode, UMASK)?;
                self.count(attr);
            }
            Symlink(route, target) => {
                let (parent, name) = self.walk(route)?;
                let attr = self.fs.symlink(&who, parent, name, target)?;
                self.count(attr);
            }
            Link(from, to) => {
                let source = self.find(from)?;
                let (parent, name) = self.walk(to)?;
                if self.fs.lookup(parent, name).map(|a| self.count(a)).is_ok() {
                    // The kernel finds it in the way before it looks at the source's type.
                    return refused(libc::EEXIST);
                }
                let attr = self.fs.link(source.ino, parent, name)?;
                self.count(attr);
            }
            Unlink(route) => {
                let (parent, name) = self.walk(route)?;
                self.fs.unlink(parent, name)?;
            }
            Rmdir(route) => {
                let (parent, name) = self.walk(route)?;
                self.fs.rmdir(parent, name)?;
            }
            Rename(from, to, flags) => {
                let (parent, name) = self.walk(from)?;
                let (new_parent, new_name) = self.walk(to)?;
                self.fs.rename(parent, name, new_parent, new_name, *flags)?;
            }
            Write { route, at, len, fill } => {
                let data = pattern(*at, *len, *fill);
                self.with_file(route, |fs, _, handle| fs.write(&who, handle, *at, &data, false))?;
            }
            Read { route, at, len } => {
                let mut out = Vec::new();
                self.with_file(route, |fs, _, handle| fs.read(handle, *at, *len, &mut out))?;
                return Ok(Answer::Bytes(out));
            }
            Truncate(route, size) => {
                let set = SetAttr { size: Some(*size), ..nothing() };
                self.with_file(route, |fs, ino, handle| fs.setattr(&who, ino, Some(handle), &set))?;
            }
            Allocate { route, mode, at, len } => {
                self.with_file(route, |fs, _, handle| fs.fallocate(handle, *mode, *at, *len, false))?;
            }
            Chmod(route, mode) => {
                if kind(&self.find(route)?) == libc::S_IFLNK {
                    return refused(libc::EOPNOTSUPP);
                }
                self.set(route, SetAttr { mode: Some(*mode), ..nothing() })?;
            }
            Times(route, sec, nsec) => {
                let time = Timespec { sec: *sec, nsec: *nsec };
                let attr = self.set(route, SetAttr { mtime: SetTime::At(time), ..nothing() })?;
                return Ok(stat(&attr, Some((attr.mtime.sec, attr.mtime.nsec))));
            }
            Stat(route) => return Ok(stat(&self.find(route)?, None)),
            Readlink(route) => {
                let ino = self.find(route)?.ino;
                return Ok(Answer::Bytes(self.fs.readlink(ino)?.into_encoded_bytes()));
            }
            List(route) => {
                let attr = self.find(route)?;
                match kind(&attr) {
                    libc::S_IFDIR => {}
                    libc::S_IFLNK => return refused(libc::ENOENT),
                    _ => return refused(libc::ENOTDIR),
                }
                let names = self.list(attr.ino)?;
                let count = names.len();
                let names: std::collections::BTreeSet<_> = names.into_iter().collect();
                assert_eq!(names.len(), count, "a name was listed twice");
                return Ok(Answer::Names(names));
            }
            SetXattr(route, name, value, flags) => {
                let ino = self.find(route)?.ino;
                self.fs.setxattr(ino, name, value, *flags)?;
            }
            GetXattr(route, name) => {
                let ino = self.find(route)?.ino;
                return Ok(Answer::Bytes(self.fs.getxattr(ino, name)?));
            }
            ListXattr(route) => {
                let ino = self.find(route)?.ino;
                return Ok(Answer::Names(self.fs.listxattr(ino)?.into_iter().collect()));
            }
            RemoveXattr(route, name) => {
                let ino = self.find(route)?.ino;
                self.fs.removexattr(ino, name)?;
            }
            Hold(slot, route) => {
                let held = self.open(route)?;
                self.release(*slot);
                self.held[*slot] = Some(held);
            }
            WriteHeld { slot, at, len, fill } => {
                let (_, handle) = self.held(*slot)?;
                self.fs.write(&who, handle, *at, &pattern(*at, *len, *fill), false)?;
            }
            ReadHeld { slot, at, len } => {
                let (_, handle) = self.held(*slot)?;
                let mut out = Vec::new();
                self.fs.read(handle, *at, *len, &mut out)?;
                return Ok(Answer::Bytes(out));
            }
            StatHeld(slot) => {
                // By inode number alone: it must be known even if it has no name left.
                let (ino, _) = self.held(*slot)?;
                let attr = self.fs.getattr(ino, None)?;
                return Ok(Answer::Held(attr.size, attr.nlink.into()));
            }
            Drop(slot) => self.release(*slot),
        }
        Ok(Answer::Done)
    }

    fn release(&mut self, slot: usize) {
        if let Some((_, handle)) = self.held[slot].take() {
            self.fs.release(handle);
        }
    }

    /// Gives back the lookups of everything that is not open, as under memory pressure.
    fn shrink(&mut self) {
        let held: Vec<Ino> = self.held.iter().flatten().map(|(ino, _)| *ino).collect();
        for (ino, n) in std::mem::take(&mut self.lookups) {
            if held.contains(&ino) {
                self.lookups.insert(ino, n);
            } else {
                self.fs.forget(ino, n);
            }
        }
    }

    fn finish(mut self) {
        (0..SLOTS).for_each(|slot| self.release(slot));
        self.shrink();
        self.fs.shutdown().unwrap();
        assert_eq!(self.fs.known_inodes(), 1, "a lookup was counted once too often");
    }
}

impl Subject for Kernel {
    fn apply(&mut self, operation: &Operation) -> Outcome {
        self.answer(operation).map_err(|e| e.errno())
    }
}

fn nothing() -> SetAttr {
    let omit = SetTime::Omit;
    SetAttr { mode: None, uid: None, gid: None, size: None, atime: omit, mtime: omit, kill_suidgid: false }
}

fn stat(attr: &Attr, mtime: Option<(i64, u32)>) -> Answer {
    let size = if kind(attr) == libc::S_IFDIR { 0 } else { attr.size };
    Answer::Stat { kind: kind(attr), mode: attr.mode & 0o7777, size, links: attr.nlink.into(), mtime }
}

fn agree(operations: &[Operation], shrink_every: usize) -> TestCaseResult {
    let volume = Scratch::new();
    let plain = tempfile::tempdir().unwrap();
    let mut reference = Directory::new(plain.path());
    let mut kernel = Kernel::new(volume.open());
    for some in operations.chunks(shrink_every) {
        same_answers(&mut kernel, &mut reference, some)?;
        kernel.shrink();
    }
    same_tree(&mut kernel, &mut reference, "after the last operation")?;
    kernel.finish();
    let mut again = Kernel::new(volume.open());
    same_tree(&mut again, &mut reference, "after opening the volume anew")?;
    again.finish();
    Ok(())
}

/// `PROPTEST_CASES` asks for more, or fewer.
fn config() -> ProptestConfig {
    let cases =
        if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 200 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_filesystem_answers_as_a_plain_directory_does(operations in operations(120), shrink_every in 1usize..30) {
        agree(&operations, shrink_every)?;
    }
}
