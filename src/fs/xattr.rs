//! Extended attributes.
//!
//! | name | what happens |
//! |---|---|
//! | `system.posix_acl_*` | passed through: the lower kernel and the kernel above both act on them |
//! | `user.*` | name encrypted, value sealed, kept as `user.kmsfs.*`; files and directories only, as on Linux |
//! | `trusted.*`, `security.*` | the same, kept as `trusted.kmsfs.*` and `security.kmsfs.*`, so the lower kernel says who may |
//! | `security.capability` | never there: a write would have to look for it, to take the capability away |
//! | other `system.*` | not supported |
//!
//! Values of a regular file are sealed with its data key, so they obey the KMS like its content; all others
//! with a key of the volume.

use super::Filesystem;
use super::errno::{Error, Result};
use super::inode::Inode;
use super::types::Ino;
use crate::volume::dirrec::DirId;
use crate::volume::lower::Stat;
use crate::volume::xattrs;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

const CAPABILITY: &str = "security.capability";

/// How an attribute is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    PassedThrough,
    Sealed,
}

impl Filesystem {
    /// Sets an extended attribute; `flags` are `XATTR_CREATE` or `XATTR_REPLACE`.
    ///
    /// # Errors
    /// `EPERM` for `user.*` on anything but files and directories; `EOPNOTSUPP` for names that are not kept.
    pub fn setxattr(&self, ino: Ino, name: &OsStr, value: &[u8], flags: i32) -> Result<()> {
        let inode = self.inode(ino)?;
        let kept = kept(&inode, name, libc::EPERM)?;
        if name == CAPABILITY {
            return Err(Error::Refused(libc::EOPNOTSUPP));
        }
        match kept {
            Kept::PassedThrough => self.set(&inode, name, value, flags)?,
            Kept::Sealed => {
                let lower = self.keys.encrypt_xattr(name);
                if inode.is_file() {
                    let open = self.open_file(&inode)?;
                    open.file().with_attributes(|key| {
                        self.set(&inode, &lower, &xattrs::seal_value(key.xattr_key(), name, value), flags)
                    })??;
                } else {
                    let sealed = self.keys.seal_xattr(self.holder(&inode)?.as_ref(), name, value);
                    self.set(&inode, &lower, &sealed, flags)?;
                }
            }
        }
        // An access ACL changes the mode with it.
        self.note_mode(&inode);
        Ok(())
    }

    /// Value of an extended attribute.
    ///
    /// # Errors
    /// `ENODATA` where there is none.
    pub fn getxattr(&self, ino: Ino, name: &OsStr) -> Result<Vec<u8>> {
        // Asked for at every exec, and before every write by some kernels: answered without a lower call.
        if name == CAPABILITY {
            return Err(Error::Refused(libc::ENODATA));
        }
        let inode = self.inode(ino)?;
        let get = |name: &OsStr| self.reach(&inode, |at| self.lower.get_xattr(&at.dir, &at.name, name));
        match kept(&inode, name, libc::ENODATA)? {
            Kept::PassedThrough => get(name),
            Kept::Sealed if inode.is_file() => {
                let lower = self.keys.encrypt_xattr(name);
                let sealed = get(&lower)?;
                let open = self.open_file(&inode)?;
                open.file().with_attributes(|key| match xattrs::open_value_of(key, name, &sealed) {
                    Ok(value) => Ok(value),
                    // It may have been sealed under another key since.
                    Err(_) => Ok(xattrs::open_value_of(key, name, &get(&lower)?)?),
                })?
            }
            Kept::Sealed => {
                let sealed = get(&self.keys.encrypt_xattr(name))?;
                Ok(self.keys.open_xattr(self.holder(&inode)?.as_ref(), name, &sealed)?)
            }
        }
    }

    /// Names of all extended attributes; foreign ones of the lower file are left out.
    pub fn listxattr(&self, ino: Ino) -> Result<Vec<OsString>> {
        let inode = self.inode(ino)?;
        let lower = self.reach(&inode, |at| self.lower.list_xattr(&at.dir, &at.name))?;
        let plain =
            |name: OsString| if xattrs::is_acl(&name) { Some(name) } else { self.keys.decrypt_xattr(&name) };
        Ok(lower.into_iter().filter_map(plain).collect())
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// `ENODATA` where there is none.
    pub fn removexattr(&self, ino: Ino, name: &OsStr) -> Result<()> {
        if name == CAPABILITY {
            return Err(Error::Refused(libc::ENODATA));
        }
        let inode = self.inode(ino)?;
        let lower = match kept(&inode, name, libc::EPERM)? {
            Kept::PassedThrough => name.to_owned(),
            Kept::Sealed => self.keys.encrypt_xattr(name),
        };
        self.reach(&inode, |at| self.lower.remove_xattr(&at.dir, &at.name, &lower))?;
        self.touched(&inode);
        Ok(())
    }

    fn set(&self, inode: &Arc<Inode>, lower: &OsStr, value: &[u8], flags: i32) -> Result<()> {
        self.reach(inode, |at| self.lower.set_xattr(&at.dir, &at.name, lower, value, flags))?;
        self.touched(inode);
        Ok(())
    }

    fn note_mode(&self, inode: &Arc<Inode>) {
        if let Ok(Stat { mode, .. }) = self.stat(inode) {
            inode.saw_mode(mode);
        }
    }

    /// The directory a value belongs to; `None` where the inode is none.
    fn holder(&self, inode: &Arc<Inode>) -> Result<Option<DirId>> {
        if inode.is_dir() { Ok(Some(self.dir_of(inode)?.id)) } else { Ok(None) }
    }
}

/// How `name` is kept on `inode`; `elsewhere` is the answer for `user.*` where Linux has none.
fn kept(inode: &Inode, name: &OsStr, elsewhere: i32) -> Result<Kept> {
    let has = |prefix: &[u8]| name.as_bytes().len() > prefix.len() && name.as_bytes().starts_with(prefix);
    if xattrs::is_acl(name) {
        Ok(Kept::PassedThrough)
    } else if has(b"user.") {
        let allowed = inode.is_file() || inode.is_dir();
        if allowed { Ok(Kept::Sealed) } else { Err(Error::Refused(elsewhere)) }
    } else if has(b"trusted.") || has(b"security.") {
        Ok(Kept::Sealed)
    } else {
        Err(Error::Refused(libc::EOPNOTSUPP))
    }
}
