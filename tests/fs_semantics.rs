//! What a plain directory cannot show by itself: ownership, inherited rights, damage below, entries that come and
//! go during a listing, removed files that are still referred to, and many threads at once.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/memory.rs"]
mod memory;

use kmsfs::fs::{Attr, Caller, Error, Filesystem, Handle, Ino, ROOT, SetAttr, SetTime, Timespec};
use memory::Scratch;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

const EXCLUSIVE: i32 = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;

fn me() -> Caller {
    let own = fs::metadata("/proc/self").unwrap();
    Caller { uid: own.uid(), gid: own.gid(), pid: 0 }
}

fn is_root() -> bool {
    me().uid == 0
}

fn n(name: &str) -> &OsStr {
    OsStr::new(name)
}

fn nothing() -> SetAttr {
    let omit = SetTime::Omit;
    SetAttr { mode: None, uid: None, gid: None, size: None, atime: omit, mtime: omit, kill_suidgid: false }
}

fn mkdir(fs: &Filesystem, parent: Ino, name: &str) -> Ino {
    fs.mkdir(&me(), parent, n(name), 0o755, 0o022).unwrap().ino
}

fn create(fs: &Filesystem, parent: Ino, name: &str) -> (Ino, Handle) {
    let (attr, handle) = fs.create(&me(), parent, n(name), 0o644, 0o022, EXCLUSIVE).unwrap();
    (attr.ino, handle)
}

fn touch(fs: &Filesystem, parent: Ino, name: &str) -> Ino {
    let (ino, handle) = create(fs, parent, name);
    fs.release(handle);
    ino
}

fn errno<T>(result: Result<T, Error>) -> i32 {
    result.err().map_or(0, |e| e.errno())
}

fn names(fs: &Filesystem, ino: Ino) -> BTreeSet<OsString> {
    let handle = fs.opendir(ino).unwrap();
    let mut names = BTreeSet::new();
    fs.readdir(handle, 0, false, &mut |entry| names.insert(entry.name)).unwrap();
    fs.releasedir(handle);
    names.into_iter().filter(|name| name != "." && name != "..").collect()
}

/// Lower directories that hold a record, but not the root.
fn lower_directories(scratch: &Scratch) -> Vec<PathBuf> {
    let entries = fs::read_dir(scratch.lower()).unwrap().map(|e| e.unwrap().path());
    entries.filter(|path| path.join("kmsfs.dir").exists()).collect()
}

#[test]
fn the_umask_applies_and_setgid_directories_hand_on_their_group() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    let dir = mkdir(&fs, ROOT, "d");
    fs.setattr(&me(), dir, None, &SetAttr { mode: Some(0o2775), ..nothing() }).unwrap();
    let sub = fs.mkdir(&me(), dir, n("sub"), 0o777, 0o027).unwrap();
    assert_eq!(sub.mode & 0o7777, 0o2750);
    let (file, _) = fs.create(&me(), dir, n("f"), 0o666, 0o077, EXCLUSIVE).unwrap();
    assert_eq!(file.mode & 0o7777, 0o600);
}

#[test]
fn what_another_user_makes_is_his_and_mode_zero_is_no_obstacle() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let fs = scratch.open();
    let dir = mkdir(&fs, ROOT, "d");
    fs.setattr(&me(), dir, None, &SetAttr { mode: Some(0o2770), gid: Some(4242), ..nothing() }).unwrap();
    // The kernel let him in by a supplementary group, which the daemon's thread does not have.
    let other = Caller { uid: 12345, gid: 54321, pid: 1 };
    let made = [
        fs.create(&other, dir, n("f"), 0, 0, EXCLUSIVE).unwrap().0,
        fs.mkdir(&other, dir, n("d"), 0, 0).unwrap(),
        fs.mknod(&other, dir, n("p"), libc::S_IFIFO | 0o600, 0, 0).unwrap(),
        fs.symlink(&other, dir, n("l"), n("target")).unwrap(),
    ];
    for Attr { uid, gid, mode, .. } in made {
        assert_eq!((uid, gid), (12345, 4242), "{mode:o}");
    }
    assert_eq!(names(&fs, dir).len(), 4);
}

#[test]
fn chown_of_nothing_and_writes_by_others_take_suid_away() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    let (ino, handle) = create(&fs, ROOT, "f");
    let suid = SetAttr { mode: Some(0o6755), ..nothing() };
    let mode = |fs: &Filesystem| fs.getattr(ino, None).unwrap().mode & 0o7777;
    fs.setattr(&me(), ino, None, &suid).unwrap();
    assert_eq!(mode(&fs), 0o6755);
    fs.setattr(&me(), ino, None, &nothing()).unwrap();
    assert_eq!(mode(&fs), 0o755);
    fs.setattr(&me(), ino, None, &suid).unwrap();
    fs.write(&me(), handle, 0, b"x", false).unwrap();
    fs.write(&me(), handle, 0, b"x", true).unwrap();
    assert_eq!(mode(&fs), 0o755);
    fs.setattr(&me(), ino, None, &suid).unwrap();
    fs.setattr(&me(), ino, None, &SetAttr { size: Some(0), kill_suidgid: true, ..nothing() }).unwrap();
    assert_eq!(mode(&fs), 0o755);
}

#[test]
fn whatever_changes_content_takes_suid_away_where_the_caller_may_not_keep_it() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    let (source, from) = create(&fs, ROOT, "source");
    let (ino, handle) = create(&fs, ROOT, "f");
    for each in [from, handle] {
        fs.write(&me(), each, 0, &[1; 10_000], false).unwrap();
    }
    let keep = libc::FALLOC_FL_KEEP_SIZE;
    let modes = [0, keep, libc::FALLOC_FL_PUNCH_HOLE | keep, libc::FALLOC_FL_ZERO_RANGE];
    let allocate = |mode, kill| fs.fallocate(handle, mode, 0, 4096, kill).unwrap();
    let copy = |kill| assert_eq!(fs.copy_file_range(from, 0, handle, 0, 100, kill).unwrap(), 100);
    let mode_after = |change: &dyn Fn()| {
        for ino in [source, ino] {
            fs.setattr(&me(), ino, None, &SetAttr { mode: Some(0o6755), ..nothing() }).unwrap();
        }
        change();
        fs.getattr(ino, None).unwrap().mode & 0o7777
    };
    for mode in modes {
        assert_eq!(mode_after(&|| allocate(mode, true)), 0o755, "fallocate {mode:#x}");
    }
    assert_eq!(mode_after(&|| copy(true)), 0o755, "copy_file_range");
    assert_eq!(fs.getattr(source, None).unwrap().mode & 0o7777, 0o6755, "the source is not changed");
    if is_root() {
        // Of anybody else's daemon, the lower kernel takes them away itself.
        assert_eq!(mode_after(&|| allocate(0, false)), 0o6755);
        assert_eq!(mode_after(&|| copy(false)), 0o6755);
    }
}

/// A daemon that is not root seals the header when the file is closed, and the lower kernel took the bits for it.
#[test]
fn suid_set_while_a_file_is_open_survives_its_close() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    let (ino, handle) = create(&fs, ROOT, "f");
    fs.write(&me(), handle, 0, b"program", false).unwrap();
    fs.setattr(&me(), ino, None, &SetAttr { mode: Some(0o6755), ..nothing() }).unwrap();
    fs.release(handle);
    assert_eq!(fs.getattr(ino, None).unwrap().mode & 0o7777, 0o6755);
}

#[test]
fn times_before_1970_and_times_left_alone() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    let ino = touch(&fs, ROOT, "f");
    let old = Timespec { sec: -123_456_789, nsec: 999_999_999 };
    let set = SetAttr { mtime: SetTime::At(old), ..nothing() };
    let attr = fs.setattr(&me(), ino, None, &set).unwrap();
    assert_eq!(attr.mtime, old);
    assert!(attr.atime.sec > 0);
    let attr = fs.setattr(&me(), ino, None, &SetAttr { atime: SetTime::At(old), ..nothing() }).unwrap();
    assert_eq!((attr.atime, attr.mtime), (old, old));
    let attr = fs.setattr(&me(), ino, None, &SetAttr { mtime: SetTime::Now, ..nothing() }).unwrap();
    assert!(attr.mtime.sec > 0 && attr.atime == old);
}

#[test]
fn a_removed_file_keeps_its_number_attributes_and_xattrs_until_forgotten() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    let ino = touch(&fs, ROOT, "f");
    fs.setxattr(ino, n("user.a"), b"1", 0).unwrap();
    fs.unlink(ROOT, n("f")).unwrap();
    assert_eq!(fs.getattr(ino, None).unwrap().nlink, 0);
    assert_eq!(fs.getxattr(ino, n("user.a")).unwrap(), b"1");
    fs.setattr(&me(), ino, None, &SetAttr { mode: Some(0o600), ..nothing() }).unwrap();
    let handle = fs.open(ino).unwrap();
    fs.write(&me(), handle, 0, b"still here", false).unwrap();
    for i in 0..100 {
        assert_ne!(touch(&fs, ROOT, &format!("other {i}")), ino);
    }
    let mut out = Vec::new();
    fs.read(handle, 0, 100, &mut out).unwrap();
    assert_eq!(out, b"still here");
    fs.release(handle);
    fs.forget(ino, 1);
    assert_eq!(errno(fs.getattr(ino, None)), libc::ESTALE);
}

#[test]
fn a_removed_directory_answers_but_takes_nothing_in() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    let dir = mkdir(&fs, ROOT, "d");
    fs.rmdir(ROOT, n("d")).unwrap();
    assert_eq!(fs.getattr(dir, None).unwrap().nlink, 0);
    assert_eq!(errno(fs.create(&me(), dir, n("f"), 0o600, 0, EXCLUSIVE)), libc::ENOENT);
    assert_eq!(errno(fs.mkdir(&me(), dir, n("e"), 0o700, 0)), libc::ENOENT);
    assert_eq!(errno(fs.lookup(dir, n("f"))), libc::ENOENT);
}

#[test]
fn a_hard_link_outlives_the_name_it_was_found_by() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    let ino = touch(&fs, ROOT, "a");
    assert_eq!(fs.link(ino, ROOT, n("b")).unwrap().ino, ino);
    fs.unlink(ROOT, n("a")).unwrap();
    assert_eq!(fs.getattr(ino, None).unwrap().nlink, 1);
    let handle = fs.open(ino).unwrap();
    fs.write(&me(), handle, 0, b"x", false).unwrap();
    fs.release(handle);
    // The name the kernel never looked up.
    fs.forget(ino, 2);
    assert_eq!(fs.lookup(ROOT, n("b")).unwrap().size, 1);
}

#[test]
fn offsets_hold_while_entries_come_and_go() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    let all: Vec<String> = (0..200).map(|i| format!("f{i}")).collect();
    for name in &all {
        touch(&fs, ROOT, name);
    }
    let handle = fs.opendir(ROOT).unwrap();
    let (mut seen, mut from) = (Vec::new(), 0);
    loop {
        let before = from;
        fs.readdir(handle, from, true, &mut |entry| {
            if from - before == 7 {
                return false;
            }
            from = entry.next;
            if let Some(attr) = entry.attr {
                fs.forget(attr.ino, 1);
                seen.push(entry.name);
            }
            true
        })
        .unwrap();
        if from == before {
            break;
        }
        // Removes what was seen, as `rm -r` does, and adds something new.
        for name in seen.iter().rev().take(3) {
            let _ = fs.unlink(ROOT, name);
        }
        touch(&fs, ROOT, &format!("new{from}"));
    }
    let unique: BTreeSet<_> = seen.iter().filter_map(|name| name.to_str()).collect();
    assert!(all.iter().all(|name| unique.contains(name.as_str())));
    assert_eq!(seen.len(), all.len());
}

#[test]
fn the_root_counts_the_directories_that_are_seen() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    assert_eq!(fs.getattr(ROOT, None).unwrap().nlink, 2);
    mkdir(&fs, ROOT, "d");
    assert_eq!(fs.getattr(ROOT, None).unwrap().nlink, 3);
}

#[test]
fn names_of_255_bytes_work_and_longer_ones_are_refused() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    let long = "x".repeat(255);
    touch(&fs, ROOT, &long);
    assert_eq!(names(&fs, ROOT), BTreeSet::from([OsString::from(&long)]));
    assert_eq!(errno(fs.lookup(ROOT, n(&"x".repeat(256)))), libc::ENAMETOOLONG);
    assert_eq!(fs.statfs().unwrap().namelen, 255);
    fs.unlink(ROOT, n(&long)).unwrap();
    let own = fs::read_dir(scratch.lower()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    assert_eq!(own.filter(|name| name.starts_with("kmsfs.long.")).count(), 0);
}

#[test]
fn foreign_and_half_made_lower_entries_are_hidden() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    let dir = mkdir(&fs, ROOT, "d");
    let lower = lower_directories(&scratch).remove(0);
    fs::write(lower.join("not ours"), b"").unwrap();
    fs::create_dir(lower.join("kmsfs.tmp.0badcafe")).unwrap();
    fs::write(lower.join("kmsfs.tmp.0badcafe/kmsfs.dir"), b"").unwrap();
    fs::write(lower.join("kmsfs.long.abc.name"), b"").unwrap();
    assert!(names(&fs, dir).is_empty());
    // What is not ours is not ours to delete.
    assert_eq!(errno(fs.rmdir(ROOT, n("d"))), libc::ENOTEMPTY);
    fs::remove_file(lower.join("not ours")).unwrap();
    fs.rmdir(ROOT, n("d")).unwrap();
    assert!(!lower.exists());
    assert!(lower_directories(&scratch).is_empty());
}

#[test]
fn a_directory_without_its_own_record_gives_eio_and_can_be_removed() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    mkdir(&fs, ROOT, "a");
    let a = lower_directories(&scratch).remove(0);
    let inner = fs.lookup(ROOT, n("a")).unwrap().ino;
    mkdir(&fs, inner, "deep");
    let deep = fs::read_dir(&a).unwrap().map(|e| e.unwrap().path()).find(|p| p.is_dir()).unwrap();
    fs.shutdown().unwrap();
    drop(fs);
    // A directory's record in a place where it was never made for.
    fs::rename(&deep, scratch.lower().join("elsewhere")).unwrap();
    fs::copy(scratch.lower().join("elsewhere/kmsfs.dir"), a.join("kmsfs.dir")).unwrap();
    let fs = scratch.open();
    let a = fs.lookup(ROOT, n("a")).unwrap().ino;
    assert_eq!(errno(fs.lookup(a, n("deep"))), libc::EIO);
    assert_eq!(errno(fs.mkdir(&me(), a, n("x"), 0o700, 0)), libc::EIO);
    fs.rmdir(ROOT, n("a")).unwrap();
}

#[test]
fn a_moved_directory_is_valid_where_it_came_from_and_where_it_went() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    let (from, to) = (mkdir(&fs, ROOT, "from"), mkdir(&fs, ROOT, "to"));
    let moved = mkdir(&fs, from, "m");
    touch(&fs, moved, "f");
    fs.rename(from, n("m"), to, n("m"), 0).unwrap();
    assert_eq!(fs.getattr(moved, None).unwrap().ino, moved);
    fs.shutdown().unwrap();
    drop(fs);
    let fs = scratch.open();
    let to = fs.lookup(ROOT, n("to")).unwrap().ino;
    let moved = fs.lookup(to, n("m")).unwrap().ino;
    assert!(names(&fs, moved).contains(n("f")));
}

#[test]
fn refused_renames_change_nothing() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    let (a, b) = (mkdir(&fs, ROOT, "a"), mkdir(&fs, ROOT, "b"));
    let inner = mkdir(&fs, a, "inner");
    let file = touch(&fs, b, "f");
    assert_eq!(errno(fs.rename(ROOT, n("a"), inner, n("x"), 0)), libc::EINVAL);
    assert_eq!(errno(fs.rename(ROOT, n("a"), a, n("x"), 0)), libc::EINVAL);
    assert_eq!(errno(fs.rename(a, n("inner"), ROOT, n("a"), 0)), libc::ENOTEMPTY);
    assert_eq!(errno(fs.rename(a, n("inner"), ROOT, n("a"), libc::RENAME_EXCHANGE)), libc::EINVAL);
    assert_eq!(errno(fs.rename(ROOT, n("a"), ROOT, n("b"), 0)), libc::ENOTEMPTY);
    assert_eq!(errno(fs.rename(ROOT, n("a"), b, n("f"), 0)), libc::ENOTDIR);
    assert_eq!(errno(fs.rename(b, n("f"), ROOT, n("a"), 0)), libc::EISDIR);
    assert_eq!(errno(fs.rename(b, n("f"), ROOT, n("g"), libc::RENAME_WHITEOUT)), libc::EINVAL);
    assert_eq!(errno(fs.rename(b, n("f"), ROOT, n("a"), libc::RENAME_NOREPLACE)), libc::EEXIST);
    assert_eq!(errno(fs.rename(b, n("f"), ROOT, n("g"), libc::RENAME_EXCHANGE)), libc::ENOENT);
    fs.link(file, ROOT, n("g")).unwrap();
    fs.rename(b, n("f"), ROOT, n("g"), 0).unwrap();
    assert_eq!(fs.getattr(file, None).unwrap().nlink, 2, "two names of one file stay two names");
    let root: BTreeSet<OsString> = ["a", "b", "g"].map(OsString::from).into();
    assert_eq!(names(&fs, ROOT), root);
}

#[test]
fn attributes_have_the_answers_linux_has() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    let file = touch(&fs, ROOT, "f");
    let link = fs.symlink(&me(), ROOT, n("l"), n("target")).unwrap();
    assert_eq!(link.size, 6);
    assert_eq!(errno(fs.setxattr(link.ino, n("user.a"), b"", 0)), libc::EPERM);
    assert_eq!(errno(fs.getxattr(link.ino, n("user.a"))), libc::ENODATA);
    assert_eq!(errno(fs.getxattr(file, n("security.capability"))), libc::ENODATA);
    assert_eq!(errno(fs.setxattr(file, n("system.other"), b"", 0)), libc::EOPNOTSUPP);
    assert_eq!(errno(fs.setxattr(file, n("user."), b"", 0)), libc::EOPNOTSUPP);
    fs.setxattr(ROOT, n("user.on the root"), b"value", libc::XATTR_CREATE).unwrap();
    assert_eq!(errno(fs.setxattr(ROOT, n("user.on the root"), b"", libc::XATTR_CREATE)), libc::EEXIST);
    assert_eq!(fs.listxattr(ROOT).unwrap(), ["user.on the root"]);
    assert_eq!(fs.getxattr(ROOT, n("user.on the root")).unwrap(), b"value");
    if is_root() {
        fs.setxattr(link.ino, n("trusted.a"), b"t", 0).unwrap();
        assert_eq!(fs.getxattr(link.ino, n("trusted.a")).unwrap(), b"t");
    }
}

#[test]
fn a_directorys_default_acl_overrides_the_umask() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    let dir = mkdir(&fs, ROOT, "d");
    // Version 2, then tag, permissions and id of: owner rwx, group rwx, mask rwx, others none.
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, perm) in [(0x01u16, 7u16), (0x04, 7), (0x10, 7), (0x20, 0)] {
        acl.extend(tag.to_le_bytes());
        acl.extend(perm.to_le_bytes());
        acl.extend(u32::MAX.to_le_bytes());
    }
    fs.setxattr(dir, n("system.posix_acl_default"), &acl, 0).unwrap();
    let (file, _) = fs.create(&me(), dir, n("f"), 0o666, 0o077, EXCLUSIVE).unwrap();
    assert_eq!(file.mode & 0o777, 0o660);
    let sub = fs.mkdir(&me(), dir, n("sub"), 0o777, 0o077).unwrap();
    assert_eq!(sub.mode & 0o777, 0o770);
    assert_eq!(fs.getxattr(sub.ino, n("system.posix_acl_default")).unwrap(), acl);
}

/// Files without any permission, and directories too, must serve a caller that the kernel let in. Only a daemon
/// that is not root has to lend itself the bits; as root the test shows that nothing is in the way either.
#[test]
fn permission_bits_of_lower_files_never_stop_the_daemon() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    let (attr, handle) = fs.create(&me(), ROOT, n("f"), 0, 0, EXCLUSIVE).unwrap();
    fs.write(&me(), handle, 0, b"secret", false).unwrap();
    fs.release(handle);
    let dir = fs.mkdir(&me(), ROOT, n("d"), 0, 0).unwrap();
    assert_eq!((attr.mode & 0o777, dir.mode & 0o777), (0, 0));
    fs.shutdown().unwrap();
    drop(fs);
    let fs = scratch.open();
    let ino = fs.lookup(ROOT, n("f")).unwrap().ino;
    let handle = fs.open(ino).unwrap();
    let mut out = Vec::new();
    fs.read(handle, 0, 100, &mut out).unwrap();
    assert_eq!(out, b"secret");
    assert_eq!(fs.getattr(ino, None).unwrap().mode & 0o777, 0);
    let dir = fs.lookup(ROOT, n("d")).unwrap().ino;
    assert!(names(&fs, dir).is_empty());
    assert_eq!(fs.getattr(dir, None).unwrap().mode & 0o777, 0);
    fs.rmdir(ROOT, n("d")).unwrap();
}

/// Threads that get in each other's way everywhere; nothing hangs, nothing is lost, every lookup is counted.
#[test]
fn many_threads_move_and_remove_the_same_entries() {
    let scratch = Scratch::new();
    let fs = scratch.open();
    let dirs = [ROOT, mkdir(&fs, ROOT, "d"), mkdir(&fs, ROOT, "e")];
    std::thread::scope(|scope| {
        for seed in 0..4u64 {
            let (fs, dirs) = (&fs, &dirs);
            scope.spawn(move || (0..1500).fold(seed + 1, |state, _| step(fs, dirs, state)));
        }
    });
    // Nothing invalid was left, and nothing half done.
    for dir in dirs {
        for name in names(&fs, dir) {
            let attr = fs.lookup(dir, &name).unwrap();
            assert_eq!(fs.getattr(attr.ino, None).unwrap().ino, attr.ino);
            fs.forget(attr.ino, 1);
        }
    }
    fs.forget(dirs[1], 1);
    fs.forget(dirs[2], 1);
    fs.shutdown().unwrap();
    assert_eq!(fs.known_inodes(), 1);
}

/// One random request in one of `dirs`; returns the next random state.
fn step(fs: &Filesystem, dirs: &[Ino], state: u64) -> u64 {
    let next = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let pick = |shift: u32, n: u64| (next >> shift) % n;
    let dir = |shift| dirs[pick(shift, 3) as usize];
    let name = |shift| {
        OsString::from(["a", "b", "c", "x"][pick(shift, 4) as usize].repeat(1 + pick(60, 2) as usize * 180))
    };
    let (parent, other, a, b) = (dir(20), dir(24), name(28), name(32));
    match pick(36, 8) {
        0 => drop(fs.create(&me(), parent, &a, 0o644, 0, EXCLUSIVE).map(|(attr, handle)| {
            fs.write(&me(), handle, 0, b"content", false).unwrap();
            fs.release(handle);
            fs.forget(attr.ino, 1);
        })),
        1 => drop(fs.mkdir(&me(), parent, &a, 0o755, 0).map(|attr| fs.forget(attr.ino, 1))),
        2 => drop(fs.unlink(parent, &a)),
        3 => drop(fs.rmdir(parent, &a)),
        4 => drop(fs.rename(parent, &a, other, &b, 0)),
        5 => drop(fs.rename(parent, &a, other, &b, libc::RENAME_EXCHANGE)),
        6 => drop(fs.lookup(parent, &a).map(|attr| {
            let linked = fs.link(attr.ino, other, &b);
            drop(linked.map(|attr| fs.forget(attr.ino, 1)));
            let attr_again = fs.getattr(attr.ino, None).unwrap();
            assert_eq!(attr_again.ino, attr.ino);
            fs.forget(attr.ino, 1);
        })),
        _ => drop(names(fs, parent)),
    }
    next
}
