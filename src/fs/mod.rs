//! The filesystem, without one FUSE type.
//!
//! [`Filesystem`] turns requests of the kernel into calls on the lower filesystem and on the volume layer. It
//! owns the inode table, the open directories and the handles; it knows nothing of FUSE, and nothing of blocks,
//! ciphers or the journal. Permissions are checked by the kernel above (`default_permissions`), before a request
//! gets here.
//!
//! | module | what it is for |
//! |---|---|
//! | `inode` | the inode table: numbers, known names, lookup counts, and the order of all locks |
//! | `dirfd` | open directories, directory ids, where an inode is now |
//! | `naming` | plaintext names and lower entries |
//! | `lookup`, `readdir` | finding and listing entries |
//! | `zones` | zones: subtrees with a CMK of their own, how they begin and end |
//! | `cmks` | bringing keys under the newest material of their CMK, or under another CMK |
//! | `rewrap` | wrapping the keys of many files anew, while they are in use |
//! | `create`, `remove`, `rename` | entries that come, go and move, with the order a crash may cut |
//! | `attr`, `xattr` | attributes |
//! | `handle`, `io` | open files and their content |
//! | `creds` | making files as somebody else |
//! | `walk`, `rekey`, `shred` | what commands do to all files below some paths |
//! | `errno` | from causes to errno |

mod attr;
mod cmks;
mod create;
mod creds;
mod dirfd;
mod errno;
mod handle;
mod inode;
mod io;
mod lookup;
mod naming;
mod readdir;
mod rekey;
mod remove;
mod rename;
mod rewrap;
mod shred;
pub mod types;
mod walk;
mod xattr;
mod zones;

pub use cmks::{NewCmk, Rewrapped, Rewrapping};
pub use errno::{Error, Result};
pub use rekey::RekeyObserver;
pub use rewrap::{Moved, NotMoved, Observer, Progress};
pub use shred::{NotShredded, ShredObserver};
pub use types::*;
pub use zones::{Ended, NewZone};

use crate::volume::config::Config;
use crate::volume::keys::VolumeKeys;
use crate::volume::lower::{Fd, Lower, descriptors};
use crate::volume::store::FileStore;
use creds::Daemon;
use dirfd::DirFds;
use handle::Handles;
use inode::{Inode, InodeTable};
use parking_lot::{Mutex, RwLock};
use std::collections::HashSet;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// An opened volume, as a [`Filesystem`] needs it.
pub struct Backing {
    /// The lower filesystem's calls.
    pub lower: Arc<dyn Lower>,
    /// The lower directory.
    pub root: Fd,
    /// What the volume is.
    pub config: Config,
    /// What seals names, records, link targets and attributes.
    pub keys: VolumeKeys,
    /// The content of regular files.
    pub store: FileStore,
}

/// Directories kept open at most.
const OPEN_DIRECTORIES: usize = 1024;

/// A mounted volume. Every method takes `&self` and may be called from any number of threads at once.
///
/// Methods that return an [`Attr`] and are marked **+1** count one lookup of that inode; the kernel gives
/// them back by [`Filesystem::forget`].
pub struct Filesystem {
    lower: Arc<dyn Lower>,
    keys: VolumeKeys,
    store: FileStore,
    root_fd: Arc<Fd>,
    /// Keeps the root in the table whatever the kernel forgets.
    _root: Arc<Inode>,
    table: Arc<InodeTable>,
    dirs: DirFds,
    handles: Handles,
    daemon: Daemon,
    kernel: RwLock<Option<Arc<dyn KernelCache>>>,
    /// Held while an entry moves from one directory to another, and while a zone begins or ends, so that nobody's
    /// ancestors, nor their zones, change meanwhile.
    topology: Mutex<()>,
    /// What the volume is. Held by who changes its zones, one at a time.
    config: Mutex<Config>,
    /// Counts the names that files got in other places.
    moves: AtomicU64,
    /// Held while a file's owner bits are lent (see `with_owner_access`), and while modes are set.
    modes: Mutex<()>,
    /// Foreign entries that were reported.
    foreign: Mutex<HashSet<(Ino, OsString)>>,
}

impl Filesystem {
    /// The filesystem on an opened volume. Reads the root directory's record.
    ///
    /// # Errors
    /// Those of the lower filesystem; a root record that is missing or not authentic.
    pub fn new(backing: Backing) -> Result<Filesystem> {
        let Backing { lower, root, config, keys, store } = backing;
        let (table, root_inode) = InodeTable::new(&lower.fstat(&root)?);
        let directories = NonZeroUsize::new(descriptors::share(4, OPEN_DIRECTORIES));
        let fs = Filesystem {
            lower,
            keys,
            store,
            root_fd: Arc::new(root),
            _root: Arc::clone(&root_inode),
            table,
            dirs: DirFds::new(directories.expect("a share is never nothing")),
            handles: Handles::new(),
            daemon: Daemon::current(),
            kernel: RwLock::default(),
            topology: Mutex::default(),
            config: Mutex::new(config),
            moves: AtomicU64::new(0),
            modes: Mutex::default(),
            foreign: Mutex::default(),
        };
        fs.dir_of(&root_inode)?;
        Ok(fs)
    }

    /// Names the kernel caches that [`Filesystem::keys_changed`] is to empty.
    pub fn attach_kernel(&self, kernel: Arc<dyn KernelCache>) {
        *self.kernel.write() = Some(kernel);
    }

    /// Inodes that the kernel, or something open, refers to; 1 (the root) when all was given back.
    pub fn known_inodes(&self) -> usize {
        self.table.len()
    }

    /// The KMS changed its mind about some key: data keys in use are taken away and the kernel's pages of every
    /// known file dropped with them, so that the next read asks again. Waits for no file: one whose lower file
    /// hangs must not keep the others readable.
    pub fn keys_changed(&self) {
        self.store.suspend_keys();
        let kernel = self.kernel.read().clone();
        if let Some(kernel) = kernel {
            for inode in self.table.all(Inode::is_file) {
                kernel.invalidate_inode(inode.ino);
            }
        }
    }

    /// Closes every handle and brings everything into place; the journal is empty afterwards. To be called once,
    /// after the last request.
    ///
    /// # Errors
    /// Those of the lower filesystem; the journal then keeps what could not be brought into place.
    pub fn shutdown(&self) -> Result<()> {
        self.handles.clear();
        Ok(self.store.close()?)
    }
}
