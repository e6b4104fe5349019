//! The kernel's requests, one method each, handed to [`fs::Filesystem`] and answered.
//!
//! fuser drops a flag on the way: `FATTR_KILL_SUIDGID`, by which the kernel says that the caller lacks
//! `CAP_FSETID`, so that a truncation takes set-user-id and set-group-id away. For `fallocate` and
//! `copy_file_range` the protocol has no such flag. The stand-in for all of them is "the caller is not root"; it
//! differs for a process that has that one capability or lacks it against its uid.
//! `FUSE_WRITE_KILL_SUIDGID` arrives and is obeyed.

use super::super::convert;
use super::{Adapter, CACHED, GENERATION, Refuse, answer_xattr, entry, root_may};
use crate::fs::{self, DirEntry, Filesystem, SetAttr};
use fuser::{
    AccessFlags, CopyFileRangeFlags, Errno, FileHandle, FileType, FopenFlags, INodeNo, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// The most one `copy_file_range` request copies: a request cannot be interrupted, its caller goes on with
/// the rest.
const COPY_AT_ONCE: u64 = 64 << 20;

thread_local! {
    /// Where reads of this thread decrypt to; replies go out from it without another copy.
    static READ_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The stand-in for the kill flags that fuser drops or the protocol lacks.
fn may_not_keep_suid(request: &Request) -> bool {
    request.uid() != 0
}

impl fuser::Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        self.terms.negotiate(config);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.guard.run("lookup", parent.0, || self.fs.lookup(parent.0, name)) {
            Ok(attr) => reply.entry(&CACHED, &convert::attr(&attr), GENERATION),
            // Node 0: the kernel remembers that there is no such name.
            Err(libc::ENOENT) => reply.entry(&CACHED, &convert::bare(0, FileType::RegularFile), GENERATION),
            Err(errno) => reply.refuse(errno),
        }
    }

    fn forget(&self, _request: &Request, ino: INodeNo, lookups: u64) {
        // No reply, and none to refuse.
        let _ = self.guard.run("forget", ino.0, || {
            self.fs.forget(ino.0, lookups);
            Ok(())
        });
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        let work = |fs: &Filesystem| fs.getattr(ino.0, handle.map(|h| h.0));
        self.serve("getattr", ino, reply, work, |reply, attr| reply.attr(&CACHED, &convert::attr(&attr)));
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = SetAttr {
            mode: mode.map(|m| m & 0o7777),
            uid,
            gid,
            size,
            atime: convert::set_time(atime),
            mtime: convert::set_time(mtime),
            kill_suidgid: size.is_some() && may_not_keep_suid(request),
        };
        let caller = convert::caller(request);
        let at_once = move |fs: &Filesystem| size.is_none() || fs.opens_at_once(ino.0);
        let work = move |fs: &Filesystem| fs.setattr(&caller, ino.0, handle.map(|h| h.0), &set);
        self.serve_waiting(at_once, ("setattr", ino), reply, work, |reply, attr| {
            reply.attr(&CACHED, &convert::attr(&attr));
        });
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        let work = |fs: &Filesystem| fs.readlink(ino.0);
        self.serve("readlink", ino, reply, work, |reply, target| reply.data(target.as_bytes()));
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let (caller, name) = (convert::caller(request), name.to_owned());
        let at_once = move |_: &Filesystem| !matches!(mode & libc::S_IFMT, 0 | libc::S_IFREG);
        let work = move |fs: &Filesystem| fs.mknod(&caller, parent.0, &name, mode, umask, u64::from(rdev));
        self.serve_waiting(at_once, ("mknod", parent), reply, work, entry);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let caller = convert::caller(request);
        self.serve_entry("mkdir", parent, reply, |fs| fs.mkdir(&caller, parent.0, name, mode, umask));
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.serve_empty("unlink", parent, reply, |fs| fs.unlink(parent.0, name));
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.serve_empty("rmdir", parent, reply, |fs| fs.rmdir(parent.0, name));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let caller = convert::caller(request);
        self.serve_entry("symlink", parent, reply, |fs| {
            fs.symlink(&caller, parent.0, name, target.as_os_str())
        });
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (name, new_name) = (name.to_owned(), new_name.to_owned());
        let at_once = move |fs: &Filesystem| fs.is_one_zone(parent.0, new_parent.0);
        let work = move |fs: &Filesystem| fs.rename(parent.0, &name, new_parent.0, &new_name, flags.bits());
        self.serve_waiting(at_once, ("rename", parent), reply, work, |reply, ()| reply.ok());
    }

    fn link(&self, _request: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_owned();
        let at_once = |fs: &Filesystem| !fs.has_zones();
        let work = move |fs: &Filesystem| fs.link(ino.0, parent.0, &name);
        self.serve_waiting(at_once, ("link", ino), reply, work, entry);
    }

    fn open(&self, _request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (flags, activity) = (self.open_flags(flags.0), Arc::clone(&self.guard.activity));
        let at_once = move |fs: &Filesystem| fs.opens_at_once(ino.0);
        let work = move |fs: &Filesystem| fs.open(ino.0);
        self.serve_waiting(at_once, ("open", ino), reply, work, move |reply, handle| {
            activity.opened();
            reply.opened(FileHandle(handle), flags);
        });
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (caller, name) = (convert::caller(request), name.to_owned());
        let (open_flags, activity) = (self.open_flags(flags), Arc::clone(&self.guard.activity));
        let work = move |fs: &Filesystem| fs.create(&caller, parent.0, &name, mode, umask, flags);
        self.serve_waiting(
            |_| false,
            ("create", parent),
            reply,
            work,
            move |reply, (attr, handle)| {
                activity.opened();
                reply.created(&CACHED, &convert::attr(&attr), GENERATION, FileHandle(handle), open_flags);
            },
        );
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        at: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if self.may_wait(handle) {
            let work = move |fs: &Filesystem| {
                let mut buffer = Vec::new();
                fs.read(handle.0, at, size as usize, &mut buffer).map(|()| buffer)
            };
            return self.serve_waiting(
                |_| false,
                ("read", ino),
                reply,
                work,
                |reply, read| reply.data(&read),
            );
        }
        READ_BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            match self.guard.run("read", ino.0, || self.fs.read(handle.0, at, size as usize, buffer)) {
                Ok(()) => reply.data(buffer),
                Err(errno) => reply.refuse(errno),
            }
        });
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        at: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let kill = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        let caller = convert::caller(request);
        // No request is longer than `max_write`.
        let len = data.len() as u32;
        if self.may_wait(handle) {
            let data = data.to_vec();
            let work = move |fs: &Filesystem| fs.write(&caller, handle.0, at, &data, kill);
            return self.serve_waiting(
                |_| false,
                ("write", ino),
                reply,
                work,
                move |reply, ()| {
                    reply.written(len);
                },
            );
        }
        let work = |fs: &Filesystem| fs.write(&caller, handle.0, at, data, kill);
        self.serve("write", ino, reply, work, |reply, ()| reply.written(len));
    }

    fn flush(&self, _r: &Request, _i: INodeNo, _h: FileHandle, _o: LockOwner, reply: ReplyEmpty) {
        // Nothing is buffered above the volume; the kernel then stops asking.
        reply.refuse(libc::ENOSYS);
    }

    fn release(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.guard.activity.released();
        self.serve_empty("release", ino, reply, |fs| {
            fs.release(handle.0);
            Ok(())
        });
    }

    fn fsync(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        data_only: bool,
        reply: ReplyEmpty,
    ) {
        self.serve_empty("fsync", ino, reply, |fs| fs.fsync(handle.0, data_only));
    }

    fn opendir(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // Not FOPEN_CACHE_DIR: a listing the kernel began from its cache goes on with offsets of another
        // handle's, and those count within one handle.
        self.serve(
            "opendir",
            ino,
            reply,
            |fs| fs.opendir(ino.0),
            |reply, handle| {
                reply.opened(FileHandle(handle), FopenFlags::empty());
            },
        );
    }

    fn readdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        from: u64,
        mut reply: ReplyDirectory,
    ) {
        let mut sink = |entry: DirEntry| {
            !reply.add(INodeNo(entry.ino), entry.next, convert::kind_of_dirent(entry.kind), &entry.name)
        };
        match self.guard.run("readdir", ino.0, || self.fs.readdir(handle.0, from, false, &mut sink)) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(Errno::from_i32(errno)),
        }
    }

    fn readdirplus(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        from: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let mut sink = |entry: DirEntry| {
            // `.` and `..` come without attributes; of them the kernel takes number and type only.
            let attr = match &entry.attr {
                Some(attr) => convert::attr(attr),
                None => convert::bare(entry.ino, convert::kind_of_dirent(entry.kind)),
            };
            !reply.add(INodeNo(entry.ino), entry.next, &entry.name, &CACHED, &attr, GENERATION)
        };
        match self.guard.run("readdirplus", ino.0, || self.fs.readdir(handle.0, from, true, &mut sink)) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(Errno::from_i32(errno)),
        }
    }

    fn releasedir(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.serve_empty("releasedir", ino, reply, |fs| {
            fs.releasedir(handle.0);
            Ok(())
        });
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        data_only: bool,
        reply: ReplyEmpty,
    ) {
        self.serve_empty("fsyncdir", ino, reply, |fs| fs.fsyncdir(handle.0, data_only));
    }

    fn statfs(&self, _request: &Request, ino: INodeNo, reply: ReplyStatfs) {
        self.serve(
            "statfs",
            ino,
            reply,
            |fs| fs.statfs(),
            |reply, s| {
                let short = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
                reply.statfs(
                    s.blocks,
                    s.bfree,
                    s.bavail,
                    s.files,
                    s.ffree,
                    short(s.bsize),
                    s.namelen,
                    short(s.frsize),
                );
            },
        );
    }

    fn setxattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let (name, value) = (name.to_owned(), value.to_vec());
        let at_once = move |fs: &Filesystem| fs.opens_at_once(ino.0);
        let work = move |fs: &Filesystem| fs.setxattr(ino.0, &name, &value, flags);
        self.serve_waiting(at_once, ("setxattr", ino), reply, work, |reply, ()| reply.ok());
    }

    fn getxattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, room: u32, reply: ReplyXattr) {
        let name = name.to_owned();
        let at_once = move |fs: &Filesystem| fs.opens_at_once(ino.0);
        let work = move |fs: &Filesystem| fs.getxattr(ino.0, &name);
        self.serve_waiting(at_once, ("getxattr", ino), reply, work, move |reply, value| {
            answer_xattr(reply, &value, room);
        });
    }

    fn listxattr(&self, _request: &Request, ino: INodeNo, room: u32, reply: ReplyXattr) {
        self.serve(
            "listxattr",
            ino,
            reply,
            |fs| fs.listxattr(ino.0),
            |reply, names| {
                let mut list = Vec::new();
                for name in names {
                    list.extend_from_slice(name.as_bytes());
                    list.push(0);
                }
                answer_xattr(reply, &list, room);
            },
        );
    }

    fn removexattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.serve_empty("removexattr", ino, reply, |fs| fs.removexattr(ino.0, name));
    }

    fn access(&self, _request: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        if self.terms.kernel_checks {
            // The kernel answers access(2) itself, and stops asking.
            return reply.refuse(libc::ENOSYS);
        }
        self.serve_empty("access", ino, reply, |fs| root_may(fs.getattr(ino.0, None)?.mode, mask));
    }

    fn ioctl(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _input: &[u8],
        _room: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    fn poll(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _notifier: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        // Regular files are always ready; the kernel knows and stops asking.
        reply.error(Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        at: u64,
        len: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let kill = may_not_keep_suid(request);
        let at_once = move |fs: &Filesystem| fs.has_key(handle.0);
        let work = move |fs: &Filesystem| fs.fallocate(handle.0, mode, at, len, kill);
        self.serve_waiting(at_once, ("fallocate", ino), reply, work, |reply, ()| reply.ok());
    }

    fn lseek(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        at: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let at_once = move |fs: &Filesystem| fs.has_key(handle.0);
        let work = move |fs: &Filesystem| match u64::try_from(at) {
            Ok(at) => fs.lseek(handle.0, at, whence),
            Err(_) => Err(fs::Error::Refused(libc::ENXIO)),
        };
        self.serve_waiting(at_once, ("lseek", ino), reply, work, |reply, found| match i64::try_from(found) {
            Ok(found) => reply.offset(found),
            Err(_) => reply.refuse(libc::EOVERFLOW),
        });
    }

    fn copy_file_range(
        &self,
        request: &Request,
        ino_from: INodeNo,
        from: FileHandle,
        from_at: u64,
        _ino_to: INodeNo,
        to: FileHandle,
        to_at: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let len = len.min(COPY_AT_ONCE);
        let kill = may_not_keep_suid(request);
        let at_once = move |fs: &Filesystem| fs.has_key(from.0) && fs.has_key(to.0);
        let work = move |fs: &Filesystem| fs.copy_file_range(from.0, from_at, to.0, to_at, len, kill);
        // At most COPY_AT_ONCE, so it fits.
        self.serve_waiting(at_once, ("copy_file_range", ino_from), reply, work, |reply, copied| {
            reply.written(copied as u32);
        });
    }
}
