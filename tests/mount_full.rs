//! A lower directory that runs full: the writer gets ENOSPC, nothing already written is lost, deletes make room, and
//! the volume mounts while it is full.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
};

use common::{
    tools::{bytes, need_root, ok, progress},
    volume::Volume,
};
use rustix::io::Errno;

const MIB: usize = 1 << 20;

/// A mounted volume whose lower directory is a filesystem of `mib` MiB.
fn small_volume(mib: usize) -> Volume {
    need_root();
    let mut volume = Volume::bare();
    let size = format!("size={mib}m,mode=755");
    ok(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(volume.lower()));
    volume.keystore_create();
    volume.init(&[]);
    volume.mount();
    volume
}

fn assert_full<T>(result: &io::Result<T>) {
    let error = result.as_ref().err().expect("the filesystem is full, and nobody said so");
    assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()), "{error}");
}

/// Appends 64 KiB at a time until there is no room; returns how much was acknowledged.
fn fill(path: &Path, seed: u64) -> usize {
    let mut file = File::options().append(true).create(true).open(path).unwrap();
    let start = file.metadata().unwrap().len() as usize;
    let content = bytes(seed, 256 * MIB);
    let mut done = start;
    loop {
        let written = file.write(&content[done..done + 65_536]);
        match written {
            Ok(len) => done += len,
            Err(_) => {
                assert_full(&written);
                return done;
            }
        }
    }
}

#[test]
fn the_writer_gets_enospc_and_everything_acknowledged_stays() {
    let mut volume = small_volume(64);
    fs::write(volume.path("before"), bytes(1, 5 * MIB)).unwrap();
    let filled = fill(&volume.path("filling"), 2);
    progress(format_args!("full after {} MiB", filled / MIB));
    assert!(filled > 30 * MIB, "{filled} bytes");
    for _ in 0..2 {
        assert!(fs::read(volume.path("before")).unwrap() == bytes(1, 5 * MIB));
        let found = fs::read(volume.path("filling")).unwrap();
        assert!(found.len() >= filled, "{} of {filled} acknowledged bytes", found.len());
        assert!(found[..filled] == bytes(2, filled)[..], "acknowledged bytes changed");
        volume.remount();
    }
    fs::remove_file(volume.path("filling")).unwrap();
    fs::write(volume.path("after"), bytes(3, 10 * MIB)).unwrap();
    assert!(fs::read(volume.path("after")).unwrap() == bytes(3, 10 * MIB));
    volume.unmount();
    volume.assert_clean();
}

#[test]
fn overwrites_on_a_full_volume_succeed_or_leave_the_old_bytes() {
    let mut volume = small_volume(64);
    let blocks = 500;
    let path = volume.path("overwritten");
    fs::write(&path, bytes(1, blocks * 4096)).unwrap();
    fill(&volume.path("filling"), 2);
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let mut expected = bytes(1, blocks * 4096);
    let mut refused = 0;
    for round in 0..20 {
        for block in (0..blocks).step_by(3) {
            let new = bytes(100 + round * 1000 + block as u64, 4096);
            let written = file.write_all_at(&new, block as u64 * 4096);
            if written.is_ok() {
                expected[block * 4096..][..4096].copy_from_slice(&new);
            } else {
                assert_full(&written);
                refused += 1;
            }
        }
        if let Err(err) = file.sync_all() {
            assert_eq!(err.raw_os_error(), Some(Errno::NOSPC.raw_os_error()), "{err}");
        }
    }
    progress(format_args!("{refused} of {} overwrites were refused", 20 * blocks.div_ceil(3)));
    assert!(fs::read(&path).unwrap() == expected, "before a remount");
    drop(file);
    volume.remount();
    assert!(fs::read(&path).unwrap() == expected, "after a remount");
    volume.kill();
    volume.mount();
    assert!(fs::read(&path).unwrap() == expected, "after a kill");
    fs::remove_file(volume.path("filling")).unwrap();
    fs::write(&path, b"room again").unwrap();
    volume.unmount();
    volume.assert_clean();
}

#[test]
fn small_files_fill_the_volume_and_deleting_them_makes_room() {
    let mut volume = small_volume(24);
    let mut made = 0_u64;
    let name = |volume: &Volume, index: u64| volume.path(format!("file-{index}"));
    loop {
        let written = fs::write(name(&volume, made), bytes(made, 3000));
        if written.is_err() {
            assert_full(&written);
            break;
        }
        made += 1;
    }
    progress(format_args!("full after {made} files"));
    assert!(made > 1000);
    let dir = fs::create_dir(volume.path("directory"));
    if dir.is_err() {
        assert_full(&dir);
    }
    volume.remount();
    for index in 0..made {
        assert!(fs::read(name(&volume, index)).unwrap() == bytes(index, 3000), "file {index}");
        fs::remove_file(name(&volume, index)).unwrap();
    }
    let _ = fs::remove_file(name(&volume, made));
    fs::write(volume.path("after"), bytes(1, 10 * MIB)).unwrap();
    volume.unmount();
    volume.assert_clean();
}

#[test]
fn a_file_that_could_not_be_written_can_be_cut_and_written_again() {
    let volume = small_volume(32);
    let path = volume.path("log");
    fill(&path, 1);
    File::options().write(true).open(&path).unwrap().set_len(4096).unwrap();
    assert!(fs::read(&path).unwrap() == bytes(1, 4096));
    let filled = fill(&path, 1);
    assert!(filled > 10 * MIB, "the space of a cut file did not come back: {filled} bytes");
}

/// Lower directories that run full at each step of making a volume, then with room.
#[test]
fn an_init_that_found_no_room_leaves_nothing_behind_and_can_be_repeated() {
    need_root();
    let volume = Volume::bare();
    volume.keystore_create();
    let lower = volume.lower();
    let mount = |options: &str| {
        ok(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&lower));
    };
    // The journal's directory and state, the root's record, the config: an inode each, beside the root's own.
    let limits = ["nr_inodes=1", "nr_inodes=2", "nr_inodes=3", "nr_inodes=4", "size=4k", "size=8k"];
    for limit in limits {
        mount(limit);
        let output = volume.kmsfs("init").arg(&lower).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{limit}: {said}");
        assert!(said.contains("No space left on device"), "{limit}: {said}");
        assert_eq!(fs::read_dir(&lower).unwrap().count(), 0, "{limit}");
        ok(Command::new("mount").args(["-o", "remount,size=64k,nr_inodes=10"]).arg(&lower));
        volume.init(&[]);
        volume.assert_clean();
        ok(Command::new("umount").arg(&lower));
    }
}
