//! The words the filesystem speaks: attributes, callers, requests. No FUSE type, no policy.

pub use crate::volume::lower::{SetTime, StatFs, Timespec};
use std::ffi::OsString;

/// Inode number as applications see it, and node id towards the kernel. The root is [`ROOT`].
pub type Ino = u64;

/// A file or directory handle, unique while open.
pub type Handle = u64;

/// The inode number of the mount's root.
pub const ROOT: Ino = 1;

/// Attributes of one inode, in plaintext terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// Stable inode number.
    pub ino: Ino,
    /// Plaintext bytes.
    pub size: u64,
    /// 512-byte units in use on the lower filesystem.
    pub blocks: u64,
    /// Last access.
    pub atime: Timespec,
    /// Last change of content.
    pub mtime: Timespec,
    /// Last change of the inode.
    pub ctime: Timespec,
    /// Type (`S_IFMT`) and permission bits.
    pub mode: u32,
    /// Hard links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u64,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// User of the calling process.
    pub uid: u32,
    /// Group of the calling process.
    pub gid: u32,
    /// Process id, for logs only.
    pub pid: u32,
}

/// What `setattr` is to change; `None` or [`SetTime::Omit`] leaves a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits (without the type).
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Plaintext size.
    pub size: Option<u64>,
    /// Access time.
    pub atime: SetTime,
    /// Modification time.
    pub mtime: SetTime,
    /// Clear set-user-id and set-group-id as a write or a chown by an ordinary user does.
    pub kill_suidgid: bool,
}

/// One entry of `readdir`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Inode number.
    pub ino: Ino,
    /// `DT_*`.
    pub kind: u8,
    /// Plaintext name.
    pub name: OsString,
    /// Where the listing goes on after this entry; stable while entries come and go.
    pub next: u64,
    /// Attributes, where the listing asked for them; such an entry counts as one lookup.
    pub attr: Option<Attr>,
}

/// The kernel's caches for this mount, as far as the filesystem may empty them.
pub trait KernelCache: Send + Sync {
    /// Drops the cached pages and attributes of `ino`, soon; waits for nothing.
    fn invalidate_inode(&self, ino: Ino);
    /// Drops the cached attributes of `ino`, before it returns. May be called while a request is served.
    fn forget_attributes(&self, ino: Ino);
}
