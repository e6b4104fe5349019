//! Attributes on a real mount: times, owners, modes and what changes them, extended attributes, ACLs, statfs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File, FileTimes},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink},
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use common::{
    tools::{bytes, need_root, ok, sh},
    volume::Volume,
};
use rustix::{
    fs::{AtFlags, CWD, StatxFlags, XattrFlags},
    io::Errno,
};

fn set(path: &Path, name: &str, value: &[u8]) -> Result<(), Errno> {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
}

fn get(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 64 << 10];
    let len = rustix::fs::lgetxattr(path, name, &mut value[..])?;
    value.truncate(len);
    Ok(value)
}

#[test]
fn times_keep_their_nanoseconds() {
    let mut volume = Volume::mounted();
    let path = volume.path("file");
    fs::write(&path, b"content").unwrap();
    let accessed = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    let modified = SystemTime::UNIX_EPOCH + Duration::new(2_000_000_000, 987_654_321);
    let times = FileTimes::new().set_accessed(accessed).set_modified(modified);
    File::open(&path).unwrap().set_times(times).unwrap();
    for _ in 0..2 {
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((meta.accessed().unwrap(), meta.modified().unwrap()), (accessed, modified));
        volume.remount();
    }
    let only_modified = FileTimes::new().set_modified(accessed);
    File::options().write(true).open(&path).unwrap().set_times(only_modified).unwrap();
    let meta = fs::metadata(&path).unwrap();
    assert_eq!(meta.modified().unwrap(), accessed);
}

#[test]
fn writing_and_truncating_move_the_modification_time_and_reading_does_not() {
    let volume = Volume::mounted();
    let path = volume.path("file");
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let age = || {
        let file = File::options().write(true).create(true).truncate(false).open(&path).unwrap();
        file.set_times(FileTimes::new().set_modified(old)).unwrap();
    };
    let modified = || fs::metadata(&path).unwrap().modified().unwrap();
    age();
    fs::read(&path).unwrap();
    assert_eq!(modified(), old);
    fs::write(&path, bytes(1, 5000)).unwrap();
    assert!(modified() > old, "after a write");
    age();
    File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
    assert!(modified() > old, "after a truncation");
}

#[test]
fn the_modification_time_of_an_overwrite_is_the_same_after_a_remount() {
    let mut volume = Volume::mounted();
    let path = volume.path("file");
    fs::write(&path, bytes(1, 100_000)).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"overwritten", 4096).unwrap();
    drop(file);
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    volume.remount();
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
}

#[test]
fn modes_and_owners_pass_through() {
    need_root();
    let mut volume = Volume::mounted_for_all();
    let (file, dir, link) = (volume.path("file"), volume.path("dir"), volume.path("link"));
    fs::write(&file, b"").unwrap();
    fs::create_dir(&dir).unwrap();
    symlink("file", &link).unwrap();
    chown(&file, Some(1), Some(2)).unwrap();
    chown(&dir, Some(3), Some(4)).unwrap();
    lchown(&link, Some(5), Some(6)).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o4711)).unwrap();
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o1777)).unwrap();
    for _ in 0..2 {
        let owner = |path: &Path| {
            let meta = fs::symlink_metadata(path).unwrap();
            (meta.uid(), meta.gid(), meta.mode() & 0o7777)
        };
        assert_eq!(owner(&file), (1, 2, 0o4711));
        assert_eq!(owner(&dir), (3, 4, 0o1777));
        assert_eq!(owner(&link), (5, 6, 0o777));
        volume.remount();
    }
}

#[test]
fn another_users_write_and_every_chown_clear_set_user_id() {
    need_root();
    let volume = Volume::mounted_for_all();
    let file = volume.path("program");
    let mode = || fs::metadata(&file).unwrap().mode() & 0o7777;
    fs::write(&file, b"#!/bin/sh\n").unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o6777)).unwrap();
    sh(&volume.mnt(), "setpriv --reuid=1 --regid=1 --clear-groups bash -c 'echo more >>program'", &[]);
    assert_eq!(mode(), 0o777, "after a write by another user");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o6777)).unwrap();
    sh(&volume.mnt(), "setpriv --reuid=1 --regid=1 --clear-groups bash -c ': >program'", &[]);
    assert_eq!(mode(), 0o777, "after a truncation by another user");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o6777)).unwrap();
    chown(&file, Some(1), Some(1)).unwrap();
    assert_eq!(mode(), 0o777, "after a change of owner");
}

#[test]
fn the_kernel_does_not_go_on_with_a_set_user_id_that_was_cleared() {
    need_root();
    let volume = Volume::mounted_for_all();
    let file = volume.path("program");
    fs::write(&file, b"#!/bin/sh\n").unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o6777)).unwrap();
    sh(&volume.mnt(), "setpriv --reuid=1 --regid=1 --clear-groups bash -c ': >program'", &[]);
    // Asked for the mode alone, the kernel answers from its cache if that still holds: so it does for an exec.
    let seen = rustix::fs::statx(CWD, &file, AtFlags::empty(), StatxFlags::MODE).unwrap();
    assert_eq!(seen.stx_mode & 0o7777, 0o777);
}

/// Changes the program `argv[1]` of `argv[3]` bytes in the way `argv[2]`, without asking for its attributes, and runs it.
const CHANGE_AND_RUN: &str = r#"
import os, sys
path, how, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
file = os.open(path, os.O_RDWR)
if how == "write": os.pwrite(file, os.pread(file, 1, 0), 0)
if how == "truncate": os.ftruncate(file, size)
if how == "fallocate": os.posix_fallocate(file, 0, 10)
if how == "copy_file_range": os.copy_file_range(file, file, 1, 0, size)
os.close(file)
os.execv(path, [path, "-u"])
"#;

#[test]
fn a_program_that_another_user_changed_in_any_way_runs_without_its_owners_rights() {
    need_root();
    let volume = Volume::mounted_for_all();
    let program = volume.path("program");
    let mode = || fs::metadata(&program).unwrap().mode() & 0o7777;
    for how in ["nothing", "write", "truncate", "fallocate", "copy_file_range"] {
        fs::copy("/usr/bin/id", &program).unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o6777)).unwrap();
        let size = fs::metadata(&program).unwrap().len().to_string();
        let mut changer = Command::new("setpriv");
        changer.args(["--reuid=1", "--regid=1", "--clear-groups", "/usr/bin/python3", "-c", CHANGE_AND_RUN]);
        let user = ok(changer.arg(&program).args([how, &size]));
        let (expected, mode_expected) = if how == "nothing" { ("0", 0o6777) } else { ("1", 0o777) };
        assert_eq!((user.trim(), mode()), (expected, mode_expected), "after {how}");
        fs::remove_file(&program).unwrap();
    }
}

#[test]
fn files_belong_to_the_user_who_makes_them_and_permissions_are_enforced() {
    need_root();
    let volume = Volume::mounted_for_all();
    fs::set_permissions(volume.mnt(), PermissionsExt::from_mode(0o1777)).unwrap();
    let as_user = |script: &str| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=1", "--regid=2", "--clear-groups", "bash", "-c", script])
            .current_dir(volume.mnt());
        command.output().unwrap()
    };
    let made = as_user("umask 027; echo mine >file; mkdir dir; ln -s file link; mkfifo fifo");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let owner = |name: &str| {
        let meta = fs::symlink_metadata(volume.path(name)).unwrap();
        (meta.uid(), meta.gid(), meta.mode() & 0o7777)
    };
    assert_eq!(owner("file"), (1, 2, 0o640));
    assert_eq!(owner("dir"), (1, 2, 0o750));
    assert_eq!(owner("link"), (1, 2, 0o777));
    assert_eq!(owner("fifo"), (1, 2, 0o640));
    fs::write(volume.path("private"), b"root's").unwrap();
    fs::set_permissions(volume.path("private"), PermissionsExt::from_mode(0o600)).unwrap();
    assert!(!as_user("cat private").status.success(), "another user's private file was read");
    assert!(!as_user("rm -f private").status.success(), "the sticky bit does not protect");
}

#[test]
fn special_files_are_made_and_kept() {
    need_root();
    let mut volume = Volume::mounted_for_all();
    sh(&volume.mnt(), "mkfifo fifo; mknod null c 1 3; mknod disk b 7 0", &[]);
    ok(Command::new("python3")
        .args(["-c", "import socket; socket.socket(socket.AF_UNIX).bind('socket')"])
        .current_dir(volume.mnt()));
    volume.remount();
    let meta = |name: &str| fs::symlink_metadata(volume.path(name)).unwrap();
    assert!(meta("fifo").file_type().is_fifo());
    assert!(meta("socket").file_type().is_socket());
    assert!(meta("null").file_type().is_char_device() && meta("null").rdev() == (1 << 8) + 3);
    assert!(meta("disk").file_type().is_block_device() && meta("disk").rdev() == 7 << 8);
}

#[test]
fn extended_attributes_keep_names_and_values() {
    let mut volume = Volume::mounted();
    let (file, dir) = (volume.path("file"), volume.path("dir"));
    fs::write(&file, b"").unwrap();
    fs::create_dir(&dir).unwrap();
    for path in [&file, &dir] {
        for (name, len) in [("user.empty", 0), ("user.short", 1), ("user.long", 1500), ("user.ünïcödé", 40)]
        {
            set(path, name, &bytes(len as u64, len)).unwrap();
        }
    }
    volume.remount();
    for path in [&file, &dir] {
        assert_eq!(get(path, "user.empty").unwrap(), b"");
        assert_eq!(get(path, "user.long").unwrap(), bytes(1500, 1500));
        assert_eq!(get(path, "user.none"), Err(Errno::NODATA));
        let create = rustix::fs::lsetxattr(path, "user.short", b"again", XattrFlags::CREATE);
        assert_eq!(create, Err(Errno::EXIST));
        let replace = rustix::fs::lsetxattr(path, "user.none", b"first", XattrFlags::REPLACE);
        assert_eq!(replace, Err(Errno::NODATA));
        rustix::fs::removexattr(path, "user.short").unwrap();
        assert_eq!(rustix::fs::removexattr(path, "user.short"), Err(Errno::NODATA));
        let names = common::tools::xattrs(path).into_keys().collect::<Vec<_>>();
        assert_eq!(names, ["user.empty", "user.long", "user.ünïcödé"]);
        let small = rustix::fs::lgetxattr(path, "user.long", &mut [0_u8; 10][..]);
        assert_eq!(small, Err(Errno::RANGE));
    }
}

#[test]
fn access_control_lists_are_kept_inherited_and_enforced() {
    need_root();
    let mut volume = Volume::mounted_for_all();
    let script = "
        echo content >file; chmod 600 file; setfacl -m u:1:r file
        mkdir dir; chmod 700 dir; setfacl -m u:1:rwx,d:u:1:rw,d:g::-,d:o::- dir
        echo inherited >dir/child; mkdir dir/sub";
    sh(&volume.mnt(), script, &[]);
    volume.remount();
    let acl = |name: &str| sh(&volume.mnt(), &format!("getfacl -cEn {name}"), &[]);
    assert!(acl("file").contains("user:1:r--"), "{}", acl("file"));
    assert!(acl("dir/child").contains("user:1:rw-"), "{}", acl("dir/child"));
    assert!(acl("dir/sub").contains("default:user:1:rw-"), "{}", acl("dir/sub"));
    let as_user = |uid: u32, script: &str| {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={uid}")).args(["--regid=60000", "--clear-groups", "bash", "-c", script]);
        command.current_dir(volume.mnt()).output().unwrap().status.success()
    };
    assert!(as_user(1, "cat file dir/child"), "a user whom the ACL names is kept out");
    assert!(!as_user(1, "echo x >>file"), "a read entry lets its user write");
    assert!(!as_user(2, "cat file"), "a user whom the ACL does not name gets in");
}

#[test]
fn statfs_reports_the_lower_filesystem() {
    let volume = Volume::mounted();
    let ours = rustix::fs::statvfs(volume.mnt()).unwrap();
    let lower = rustix::fs::statvfs(volume.lower()).unwrap();
    assert_eq!(ours.f_namemax, 255);
    assert!(ours.f_blocks > 0 && ours.f_bavail > 0 && ours.f_files >= ours.f_ffree);
    assert_eq!(ours.f_blocks * ours.f_frsize, lower.f_blocks * lower.f_frsize);
}

#[test]
fn inode_numbers_survive_a_remount() {
    let mut volume = Volume::mounted();
    fs::create_dir_all(volume.path("a/b")).unwrap();
    fs::write(volume.path("a/b/file"), b"").unwrap();
    let inodes = |volume: &Volume| {
        ["", "a", "a/b", "a/b/file"].map(|name| fs::metadata(volume.path(name)).unwrap().ino())
    };
    let before = inodes(&volume);
    volume.remount();
    assert_eq!(inodes(&volume), before);
    for entry in fs::read_dir(volume.path("a/b")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(std::os::unix::fs::DirEntryExt::ino(&entry), before[3], "d_ino and st_ino differ");
    }
}
