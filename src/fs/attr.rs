//! Attributes: what `stat` says, and `setattr`.
//!
//! Ownership, modes and times are the lower file's own. Only the size is another: plaintext bytes, computed
//! from the lower size, or asked of the open file, which may be ahead of the lower one.

use super::Filesystem;
use super::dirfd::Place;
use super::errno::{Error, Result};
use super::inode::Inode;
use super::types::{Attr, Caller, Handle, Ino, ROOT, SetAttr, SetTime, StatFs, Timespec};
use crate::volume::keys::VolumeKeys;
use crate::volume::lower::Stat;
use crate::volume::store::FileStore;
use std::sync::Arc;

impl Filesystem {
    /// Attributes; through the handle where one is given, for a file that has no name left.
    pub fn getattr(&self, ino: Ino, handle: Option<Handle>) -> Result<Attr> {
        let inode = self.inode(ino)?;
        // Held over the stat: a file closed and sealed between stat and size would leave an outdated size.
        let live = self.live(&inode);
        if let Some(file) = &live {
            file.settle()?;
        }
        if let Some(open) = handle.and_then(|h| self.handles.file(h).ok()) {
            let st = self.lower.fstat(open.fd())?;
            return Ok(self.attr(&inode, &st));
        }
        let st = self.stat(&inode)?;
        Ok(self.attr(&inode, &st))
    }

    /// Changes attributes; returns the new ones.
    ///
    /// A request that changes nothing is what `chown(-1, -1)` comes down to: it clears suid and sgid.
    ///
    /// # Errors
    /// The lower filesystem's for ownership, modes and times; `EISDIR` or `EINVAL` for a size of what has none.
    pub fn setattr(&self, _caller: &Caller, ino: Ino, handle: Option<Handle>, set: &SetAttr) -> Result<Attr> {
        let inode = self.inode(ino)?;
        if let Some(size) = set.size {
            self.truncate(&inode, handle, size, set)?;
        }
        if let Some(file) = self.live(&inode) {
            file.settle()?;
        }
        // Before the mode: the lower kernel clears suid and sgid of a file that changes hands.
        if set.uid.is_some() || set.gid.is_some() || changes_nothing(set) {
            self.reach(&inode, |at| self.lower.chown_at(&at.dir, &at.name, set.uid, set.gid))?;
        }
        if let Some(mode) = set.mode {
            self.chmod(&inode, mode & 0o7777)?;
        }
        if set.atime != SetTime::Omit || set.mtime != SetTime::Omit {
            self.set_times(&inode, set.atime, set.mtime)?;
        }
        self.touched(&inode);
        self.getattr(ino, handle)
    }

    /// Figures of the lower filesystem, with names of up to 255 bytes.
    pub fn statfs(&self) -> Result<StatFs> {
        let figures = self.lower.statfs(&self.root_fd)?;
        Ok(StatFs { namelen: super::naming::NAME_MAX as u32, ..figures })
    }

    /// Attributes in plaintext terms.
    pub(super) fn attr(&self, inode: &Inode, st: &Stat) -> Attr {
        inode.saw_mode(st.mode);
        let (mut size, mut mtime, mut ctime) = (st.size, st.mtime, st.ctime);
        match st.kind() {
            libc::S_IFREG => match self.store.live(inode.key.pair()) {
                Some(file) => {
                    size = file.len();
                    mtime = file.mtime().unwrap_or(mtime);
                    ctime = file.changed().map_or(ctime, |changed| ctime.max(changed));
                }
                None => size = FileStore::plain_size(st.size),
            },
            libc::S_IFLNK => size = VolumeKeys::target_len(st.size),
            _ => {}
        }
        // The journal's directory lies in the root and is not seen there.
        let nlink = if inode.ino == ROOT { st.nlink.saturating_sub(1) } else { st.nlink };
        Attr {
            ino: inode.ino,
            size,
            blocks: st.blocks,
            atime: st.atime,
            mtime,
            ctime,
            mode: st.mode,
            nlink: u32::try_from(nlink).unwrap_or(u32::MAX),
            uid: st.uid,
            gid: st.gid,
            rdev: st.rdev,
        }
    }

    fn truncate(&self, inode: &Arc<Inode>, handle: Option<Handle>, size: u64, set: &SetAttr) -> Result<()> {
        match inode.kind {
            libc::S_IFREG => {}
            libc::S_IFDIR => return Err(Error::Refused(libc::EISDIR)),
            _ => return Err(Error::Refused(libc::EINVAL)),
        }
        let open = match handle.and_then(|h| self.handles.file(h).ok()) {
            Some(open) => open,
            None => Arc::new(self.open_file(inode)?),
        };
        open.file().set_len(size)?;
        if set.kill_suidgid {
            self.clear_suidgid(inode)?;
        }
        // The journal may change the lower file later; its times tell of the call, not of the checkpoint.
        self.set_times(inode, SetTime::Omit, SetTime::Now)
    }

    fn chmod(&self, inode: &Arc<Inode>, mode: u32) -> Result<()> {
        // Not while `with_owner_access` has bits lent: it would put the old mode back.
        let _no_loans = (!self.daemon.is_root()).then(|| self.modes.lock());
        self.reach(inode, |at| self.lower.chmod_at(&at.dir, &at.name, mode))?;
        inode.saw_mode(inode.kind | mode);
        Ok(())
    }

    pub(super) fn set_times(&self, inode: &Arc<Inode>, atime: SetTime, mtime: SetTime) -> Result<()> {
        self.reach(inode, |at| self.lower.utimens_at(&at.dir, &at.name, atime, mtime))?;
        let Some(file) = self.live(inode) else { return Ok(()) };
        match mtime {
            SetTime::Omit => {}
            SetTime::Now => file.set_mtime(Timespec::now()),
            SetTime::At(time) => file.set_mtime(time),
        }
        Ok(())
    }

    /// Clears set-user-id, and set-group-id of a program, as a change of content by an ordinary user does. What
    /// answers such a request tells the kernel no mode, so it is told to forget the one it knows: else it would
    /// run the changed program with its owner's rights for as long as it may cache attributes.
    pub(super) fn clear_suidgid(&self, inode: &Arc<Inode>) -> Result<()> {
        if without_suidgid(inode.mode()) == inode.mode() {
            return Ok(());
        }
        let mode = self.stat(inode)?.mode;
        if without_suidgid(mode) != mode {
            self.chmod(inode, without_suidgid(mode) & 0o7777)?;
            if let Some(kernel) = self.kernel.read().clone() {
                kernel.forget_attributes(inode.ino);
            }
        }
        inode.saw_mode(without_suidgid(mode));
        Ok(())
    }

    /// Puts back suid and sgid that the lower kernel took away when a daemon that is not root sealed the header:
    /// to that kernel, any write by an ordinary user is a change of content.
    pub(super) fn keep_suidgid(&self, inode: &Arc<Inode>, mode: u32) {
        if self.daemon.is_root() || mode & (libc::S_ISUID | libc::S_ISGID) == 0 {
            return;
        }
        // Nor must it undo a change of mode that came between.
        let _alone = self.modes.lock();
        if inode.mode() != mode {
            return;
        }
        let kept = self.stat(inode).and_then(|st| {
            let taken = st.mode != mode && st.mode == without_suidgid(mode);
            let give_back = |at: &Place| self.lower.chmod_at(&at.dir, &at.name, mode & 0o7777);
            if taken { self.reach(inode, give_back) } else { Ok(()) }
        });
        if let Err(e) = kept {
            log::warn!("inode {} lost its set-id bits: {e}", inode.ino);
        }
    }
}

/// Does the request name nothing to change?
fn changes_nothing(set: &SetAttr) -> bool {
    set.mode.is_none() && set.size.is_none() && set.atime == SetTime::Omit && set.mtime == SetTime::Omit
}

/// `mode` after a write by an ordinary user. Without group execution, set-group-id is no privilege and stays.
fn without_suidgid(mode: u32) -> u32 {
    let keep = if mode & libc::S_IXGRP != 0 { !(libc::S_ISUID | libc::S_ISGID) } else { !libc::S_ISUID };
    mode & keep
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sgid_without_group_execution_is_kept() {
        assert_eq!(without_suidgid(0o6755), 0o755);
        assert_eq!(without_suidgid(0o6745), 0o2745);
        assert_eq!(without_suidgid(0o644), 0o644);
    }
}
