//! The inode table: which lower files the kernel knows, by which numbers, under which names.
//!
//! An [`Inode`] holds no descriptor. It knows the directory entries through which it was reached, so that any
//! operation finds it again with one call relative to an open parent directory. Only an inode that lost its
//! last known name while somebody still refers to it is *pinned* by an `O_PATH` descriptor: that keeps its
//! lower number from being given to another file, and keeps `fstat` working.
//!
//! Numbers are the lower inode numbers, so they are stable over remounts; the root is always [`ROOT`], and
//! files of another lower device (a mount inside the lower directory) get hashed numbers with the top bit.
//!
//! Life time: the kernel's lookups hold an inode, so do open handles, live files and, through their links,
//! its children. When the last of them lets go, the inode leaves the table by itself.
//!
//! Lock order, all of the filesystem: `Filesystem::topology`, then directory name locks in ascending inode
//! number, then one inode's state, then one shard of the table. None is held while a caller's closure or a
//! reply runs, except a directory's name lock across the lower call it makes atomic.

use super::types::{Ino, ROOT};
use crate::keys::{NO_ZONE, ZoneId};
use crate::volume::PathHint;
use crate::volume::lower::{Fd, Stat};
use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// The random name of a directory; never changes, so renaming a directory leaves its children's names alone.
pub(super) type DirId = [u8; 16];

/// What identifies a lower file: device and inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LowerKey {
    pub(super) dev: u64,
    pub(super) ino: u64,
}

impl LowerKey {
    pub(super) fn of(st: &Stat) -> LowerKey {
        LowerKey { dev: st.dev, ino: st.ino }
    }

    /// As the volume layer writes it.
    pub(super) fn pair(self) -> (u64, u64) {
        (self.dev, self.ino)
    }
}

/// One known directory entry of an inode.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) parent: Arc<Inode>,
    /// Lower name within the parent. The plaintext name is not kept: it is a function of this one.
    pub(super) name: Box<OsStr>,
}

impl Link {
    pub(super) fn new(parent: &Arc<Inode>, name: &OsStr) -> Link {
        Link { parent: Arc::clone(parent), name: name.into() }
    }

    fn is(&self, parent: &Arc<Inode>, name: &OsStr) -> bool {
        Arc::ptr_eq(&self.parent, parent) && *self.name == *name
    }
}

/// A file with more names than this is not remembered under all of them; adding a link stays cheap.
const MAX_KNOWN_LINKS: usize = 64;

/// One lower file or directory that somebody refers to.
pub(super) struct Inode {
    pub(super) ino: Ino,
    pub(super) key: LowerKey,
    /// `S_IFMT` bits.
    pub(super) kind: u32,
    /// Mode as last seen, so that a write need not ask for suid bits that are not there.
    mode: AtomicU32,
    /// A directory's entries: held shared while one is used by name, exclusively while they come, go or move.
    pub(super) names: RwLock<()>,
    /// A directory's id, read from its record when first needed.
    pub(super) dir_id: OnceLock<DirId>,
    state: Mutex<State>,
    table: Weak<InodeTable>,
}

#[derive(Default)]
struct State {
    links: Vec<Link>,
    pin: Option<Arc<Fd>>,
    /// The zone that begins at this directory. Known once its id is.
    zone: ZoneId,
}

impl Inode {
    fn new(ino: Ino, st: &Stat, table: Weak<InodeTable>) -> Inode {
        Inode {
            ino,
            key: LowerKey::of(st),
            kind: st.kind(),
            mode: AtomicU32::new(st.mode),
            names: RwLock::default(),
            dir_id: OnceLock::new(),
            state: Mutex::default(),
            table,
        }
    }

    pub(super) fn is_dir(&self) -> bool {
        self.kind == libc::S_IFDIR
    }

    pub(super) fn is_file(&self) -> bool {
        self.kind == libc::S_IFREG
    }

    /// Mode as last seen.
    pub(super) fn mode(&self) -> u32 {
        self.mode.load(Ordering::Relaxed)
    }

    /// Notes the mode that a lower call just reported.
    pub(super) fn saw_mode(&self, mode: u32) {
        self.mode.store(mode, Ordering::Relaxed);
    }

    /// One way to reach the inode by name; `None` for the root and for inodes without a known name.
    pub(super) fn first_link(&self) -> Option<Link> {
        self.state.lock().links.first().cloned()
    }

    /// Is `name` in `parent` known to be this inode?
    pub(super) fn has_link(&self, link: &Link) -> bool {
        self.state.lock().links.iter().any(|l| l.is(&link.parent, &link.name))
    }

    /// Notes an entry. A directory has just one: where it was seen last.
    pub(super) fn add_link(&self, link: Link) {
        let mut state = self.state.lock();
        if state.links.iter().any(|l| l.is(&link.parent, &link.name)) {
            return;
        }
        let old = if self.is_dir() { std::mem::take(&mut state.links) } else { Vec::new() };
        if state.links.len() < MAX_KNOWN_LINKS {
            state.links.push(link);
        }
        let pin = state.pin.take();
        drop(state);
        // Dropping a parent may take it out of the table: not under the state lock.
        drop((old, pin));
    }

    /// Forgets an entry that is gone. `pin` keeps the inode reachable if this was its last known name.
    pub(super) fn remove_link(&self, parent: &Arc<Inode>, name: &OsStr, pin: Option<Arc<Fd>>) {
        let mut state = self.state.lock();
        let at = state.links.iter().position(|l| l.is(parent, name));
        let gone = at.map(|at| state.links.swap_remove(at));
        if state.links.is_empty() && state.pin.is_none() {
            state.pin = pin;
        }
        drop(state);
        drop(gone);
    }

    /// Would the inode have no known name left without `name` in `parent`?
    pub(super) fn is_last_link(&self, parent: &Arc<Inode>, name: &OsStr) -> bool {
        !self.state.lock().links.iter().any(|l| !l.is(parent, name))
    }

    /// The descriptor that keeps a nameless inode reachable.
    pub(super) fn pin(&self) -> Option<Arc<Fd>> {
        self.state.lock().pin.clone()
    }

    /// The zone that begins at this directory, whose id is known; [`NO_ZONE`] if none does.
    pub(super) fn own_zone(&self) -> ZoneId {
        self.state.lock().zone
    }

    /// Notes what the directory's record says.
    pub(super) fn set_own_zone(&self, zone: ZoneId) {
        self.state.lock().zone = zone;
    }

    /// The zone that files in this directory, whose id is known, belong to. Looked up by the way to the root, all of
    /// which is known then, so that nothing has to be told when a zone begins or ends somewhere above.
    pub(super) fn zone(self: &Arc<Self>) -> ZoneId {
        let mut at = Arc::clone(self);
        loop {
            let (zone, above) = {
                let state = at.state.lock();
                (state.zone, state.links.first().map(|link| Arc::clone(&link.parent)))
            };
            match above {
                Some(above) if zone == NO_ZONE => at = above,
                _ => return zone,
            }
        }
    }

    /// Is `ancestor` this inode or one of the directories above it?
    pub(super) fn is_within(self: &Arc<Self>, ancestor: &Arc<Inode>) -> bool {
        let mut at = Arc::clone(self);
        loop {
            if Arc::ptr_eq(&at, ancestor) {
                return true;
            }
            match at.first_link() {
                Some(link) => at = link.parent,
                None => return false,
            }
        }
    }
}

impl PathHint for Inode {
    fn lower_path(&self) -> Option<PathBuf> {
        let mut names = Vec::new();
        let mut link = self.first_link()?;
        loop {
            names.push(link.name);
            if link.parent.ino == ROOT {
                return Some(names.iter().rev().map(|name| Path::new(&**name)).collect());
            }
            link = link.parent.first_link()?;
        }
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        if let Some(table) = self.table.upgrade() {
            table.leave(self.ino);
        }
        // A long chain of directories that only their children kept alive goes one by one here: nested drops
        // would use stack in proportion to the depth of the tree.
        let mut parents: Vec<Link> = std::mem::take(&mut self.state.get_mut().links);
        while let Some(link) = parents.pop() {
            if let Some(mut parent) = Arc::into_inner(link.parent) {
                parents.append(&mut parent.state.get_mut().links);
            }
        }
    }
}

/// Locks the entries of directories exclusively, each once, in the order that every thread keeps.
pub(super) fn lock_names<'a>(dirs: &[&'a Arc<Inode>]) -> Vec<RwLockWriteGuard<'a, ()>> {
    let mut dirs = dirs.to_vec();
    // By address among equals: a number behind our back reused may belong to two of them.
    dirs.sort_by_key(|dir| (dir.ino, Arc::as_ptr(dir)));
    dirs.dedup_by(|a, b| Arc::ptr_eq(a, b));
    dirs.into_iter().map(|dir| dir.names.write()).collect()
}

const SHARDS: usize = 16;

/// All inodes that somebody refers to, by number.
pub(super) struct InodeTable {
    root: LowerKey,
    shards: [Mutex<HashMap<Ino, Slot>>; SHARDS],
}

struct Slot {
    inode: Weak<Inode>,
    /// Set while `lookups` is not zero.
    held: Option<Arc<Inode>>,
    lookups: u64,
}

impl InodeTable {
    /// A table whose root is the directory `st` describes; also returns the root's inode.
    pub(super) fn new(st: &Stat) -> (Arc<InodeTable>, Arc<Inode>) {
        let table = Arc::new(InodeTable { root: LowerKey::of(st), shards: Default::default() });
        let root = table.intern(st);
        (table, root)
    }

    /// The number of a lower file. Two files of other devices share one with a chance of 2^-63.
    pub(super) fn number(&self, key: LowerKey) -> Ino {
        const TOP: u64 = 1 << 63;
        if key == self.root {
            ROOT
        } else if key.dev == self.root.dev && key.ino & TOP == 0 && key.ino != ROOT {
            key.ino
        } else {
            mix(key.ino ^ mix(key.dev)) | TOP
        }
    }

    fn shard(&self, ino: Ino) -> &Mutex<HashMap<Ino, Slot>> {
        &self.shards[(ino % SHARDS as u64) as usize]
    }

    /// The inode numbered `ino`, if somebody refers to it.
    pub(super) fn find(&self, ino: Ino) -> Option<Arc<Inode>> {
        let shard = self.shard(ino).lock();
        let slot = shard.get(&ino)?;
        slot.held.clone().or_else(|| slot.inode.upgrade())
    }

    /// The inode of a lower file, if somebody refers to it.
    pub(super) fn find_key(&self, key: LowerKey) -> Option<Arc<Inode>> {
        self.find(self.number(key)).filter(|inode| inode.key == key)
    }

    /// The inode of the lower file `st` describes, made if need be. Counts no lookup.
    pub(super) fn intern(self: &Arc<Self>, st: &Stat) -> Arc<Inode> {
        self.enter(st, 0, false)
    }

    /// As [`InodeTable::intern`], counting one lookup.
    pub(super) fn remember(self: &Arc<Self>, st: &Stat) -> Arc<Inode> {
        self.enter(st, 1, false)
    }

    /// Counts one lookup of a file that was made this moment. Whatever the table held under its number was
    /// removed behind our back; its names and directory id must not be taken for the new file's.
    pub(super) fn remember_new(self: &Arc<Self>, st: &Stat) -> Arc<Inode> {
        self.enter(st, 1, true)
    }

    fn enter(self: &Arc<Self>, st: &Stat, lookups: u64, new: bool) -> Arc<Inode> {
        let key = LowerKey::of(st);
        let ino = self.number(key);
        let mut shard = self.shard(ino).lock();
        let slot = shard.entry(ino).or_insert_with(|| Slot { inode: Weak::new(), held: None, lookups: 0 });
        // `displaced` is dropped after the shard is unlocked: its drop locks the shard again.
        let displaced = slot.inode.upgrade();
        let inode = match &displaced {
            Some(inode) if !new && inode.kind == st.kind() && inode.key == key => Arc::clone(inode),
            _ => Arc::new(Inode::new(ino, st, Arc::downgrade(self))),
        };
        slot.inode = Arc::downgrade(&inode);
        slot.lookups += lookups;
        let before = std::mem::replace(&mut slot.held, (slot.lookups > 0).then(|| Arc::clone(&inode)));
        drop(shard);
        drop((before, displaced));
        inode.saw_mode(st.mode);
        inode
    }

    /// Gives back `n` lookups.
    pub(super) fn forget(&self, ino: Ino, n: u64) {
        let mut shard = self.shard(ino).lock();
        let Some(slot) = shard.get_mut(&ino) else { return };
        slot.lookups = slot.lookups.saturating_sub(n);
        let released = if slot.lookups == 0 { slot.held.take() } else { None };
        drop(shard);
        drop(released);
    }

    /// Called by an inode numbered `ino` that nobody refers to any more. Another may have its number by now.
    fn leave(&self, ino: Ino) {
        let mut shard = self.shard(ino).lock();
        if shard.get(&ino).is_some_and(|slot| slot.inode.strong_count() == 0) {
            shard.remove(&ino);
        }
    }

    /// Every inode that somebody refers to and `wanted` accepts.
    pub(super) fn all(&self, wanted: impl Fn(&Inode) -> bool) -> Vec<Arc<Inode>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            // Upgrading an inode whose drop waits for this lock yields nothing, so no drop can happen here
            // that locks the shard again: what is upgraded is kept until after the unlock.
            let shard = shard.lock();
            all.extend(shard.values().filter_map(|slot| slot.inode.upgrade()));
        }
        all.retain(|inode| wanted(inode));
        all
    }

    /// Lookups counted for `ino`; for tests of exactness.
    #[cfg(test)]
    pub(super) fn lookups(&self, ino: Ino) -> u64 {
        self.shard(ino).lock().get(&ino).map_or(0, |slot| slot.lookups)
    }

    /// Inodes in the table.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|s| s.lock().len()).sum()
    }
}

/// SplitMix64's finalizer: every input bit reaches every output bit.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::volume::lower::Timespec;

    fn stat(dev: u64, ino: u64, kind: u32) -> Stat {
        let t = Timespec::default();
        Stat {
            dev,
            ino,
            mode: kind | 0o755,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 0,
            blocks: 0,
            atime: t,
            mtime: t,
            ctime: t,
        }
    }

    fn table() -> (Arc<InodeTable>, Arc<Inode>) {
        InodeTable::new(&stat(7, 1000, libc::S_IFDIR))
    }

    #[test]
    fn numbers_are_lower_numbers_except_where_they_cannot_be() {
        let (table, root) = table();
        assert_eq!(root.ino, ROOT);
        assert_eq!(table.remember(&stat(7, 5, libc::S_IFREG)).ino, 5);
        let one = table.remember(&stat(7, 1, libc::S_IFREG)).ino;
        let other = table.remember(&stat(8, 5, libc::S_IFREG)).ino;
        assert!(one >> 63 == 1 && other >> 63 == 1 && one != other);
    }

    #[test]
    fn lookups_are_counted_exactly_and_the_last_forget_empties_the_table() {
        let (table, root) = table();
        let st = stat(7, 5, libc::S_IFREG);
        let first = table.remember(&st);
        first.add_link(Link::new(&root, OsStr::new("a")));
        assert!(Arc::ptr_eq(&first, &table.remember(&st)));
        assert_eq!(table.lookups(5), 2);
        drop(first);
        table.forget(5, 1);
        assert!(table.find(5).is_some());
        table.forget(5, 1);
        assert!(table.find(5).is_none());
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_forgotten_directory_stays_while_a_child_needs_its_name() {
        let (table, root) = table();
        let dir = table.remember(&stat(7, 5, libc::S_IFDIR));
        dir.add_link(Link::new(&root, OsStr::new("d")));
        let child = table.remember(&stat(7, 6, libc::S_IFREG));
        child.add_link(Link::new(&dir, OsStr::new("f")));
        drop(dir);
        table.forget(5, 1);
        assert_eq!(child.lower_path(), Some(PathBuf::from("d/f")));
        // Looked up again, it is the same inode: a later rename is seen by the child.
        let again = table.remember(&stat(7, 5, libc::S_IFDIR));
        again.add_link(Link::new(&root, OsStr::new("e")));
        assert_eq!(child.lower_path(), Some(PathBuf::from("e/f")));
        drop((child, again));
        table.forget(6, 1);
        table.forget(5, 1);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn dropping_a_deep_chain_does_not_overflow_the_stack() {
        let (table, root) = table();
        let mut at = Arc::clone(&root);
        for ino in 2000..202_000 {
            let dir = table.intern(&stat(7, ino, libc::S_IFDIR));
            dir.add_link(Link::new(&at, OsStr::new("d")));
            at = dir;
        }
        assert!(at.is_within(&root));
        drop(at);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_reused_number_does_not_inherit_names() {
        let (table, root) = table();
        let st = stat(7, 5, libc::S_IFREG);
        let old = table.remember(&st);
        old.add_link(Link::new(&root, OsStr::new("a")));
        let new = table.remember_new(&st);
        assert!(new.first_link().is_none());
        assert_eq!(table.lookups(5), 2);
        drop(old);
        assert!(Arc::ptr_eq(&new, &table.find(5).unwrap()));
    }

    #[test]
    fn concurrent_lookups_and_forgets_leave_nothing_behind() {
        let (table, root) = table();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for i in 0..20_000u64 {
                        let st = stat(7, 5 + i % 3, libc::S_IFREG);
                        let inode = table.remember(&st);
                        inode.add_link(Link::new(&root, OsStr::new("x")));
                        table.forget(inode.ino, 1);
                    }
                });
            }
        });
        assert_eq!(table.len(), 1);
    }
}
