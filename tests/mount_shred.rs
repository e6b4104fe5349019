//! Rekeying and shredding files of a mounted volume, by the commands that people use.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use common::{
    tools::{bytes, errno, ok},
    volume::{Volume, wait_until},
};
use rustix::io::Errno;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Runs `kmsfs COMMAND ARGS --json`; the result, and whether it succeeded.
fn run(volume: &Volume, command: &str, args: &[&Path]) -> (Value, bool) {
    let output = volume.kmsfs(command).arg("--json").args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (json(if text.is_empty() { "null" } else { &text }), output.status.success())
}

/// The 1024 bytes of a lower file's header.
fn header(volume: &Volume, name: &str) -> Vec<u8> {
    let mut header = fs::read(volume.lower_of(name)).unwrap();
    header.truncate(1024);
    header
}

fn set_xattr(path: &Path, value: &[u8]) {
    rustix::fs::setxattr(path, "user.note", value, rustix::fs::XattrFlags::empty()).unwrap();
}

fn xattr(path: &Path) -> Vec<u8> {
    let mut value = vec![0; 100];
    let len = rustix::fs::getxattr(path, "user.note", &mut value[..]).unwrap();
    value.truncate(len);
    value
}

#[test]
fn a_mounted_volume_is_rekeyed_while_it_is_written_and_nobody_sees_a_difference() {
    let mut volume = Volume::mounted();
    fs::create_dir(volume.path("dir")).unwrap();
    let names: Vec<String> = (0..20).map(|i| format!("dir/file {i}")).collect();
    for (seed, name) in (0..).zip(&names) {
        fs::write(volume.path(name), bytes(seed, 10_000 * seed as usize)).unwrap();
        set_xattr(&volume.path(name), name.as_bytes());
    }
    fs::hard_link(volume.path("dir/file 3"), volume.path("dir/other name")).unwrap();
    volume.remount();
    let before: Vec<_> = names.iter().map(|name| fs::metadata(volume.path(name)).unwrap()).collect();
    let headers: Vec<_> = names.iter().map(|name| header(&volume, name)).collect();

    let busy = volume.path("dir/busy");
    fs::write(&busy, bytes(99, 3_000_000)).unwrap();
    let file = File::options().read(true).write(true).open(&busy).unwrap();
    let done = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut expected = bytes(99, 3_000_000);
            let mut turn = 0;
            while !done.load(Ordering::Acquire) {
                let at = turn * 77_777 % 2_990_000;
                file.write_all_at(&[turn as u8; 5000], at as u64).unwrap();
                expected[at..at + 5000].fill(turn as u8);
                turn += 1;
            }
            expected
        });
        for _ in 0..3 {
            let (counts, succeeded) = run(&volume, "rekey", &[&volume.path("dir")]);
            assert!(succeeded, "{counts}");
            assert_eq!((counts["files"].as_u64(), counts["skipped"].as_u64()), (Some(21), Some(0)));
        }
        done.store(true, Ordering::Release);
        writer.join().unwrap()
    });
    assert!(fs::read(&busy).unwrap() == written);
    drop(file);
    for _ in 0..2 {
        for (seed, name) in (0..).zip(&names) {
            let path = volume.path(name);
            assert!(fs::read(&path).unwrap() == bytes(seed, 10_000 * seed as usize), "{name}");
            assert_eq!(xattr(&path), name.as_bytes());
            let (now, then) = (fs::metadata(&path).unwrap(), &before[seed as usize]);
            assert_eq!(
                (now.ino(), now.mtime(), now.mtime_nsec()),
                (then.ino(), then.mtime(), then.mtime_nsec())
            );
            assert_ne!(header(&volume, name), headers[seed as usize]);
        }
        volume.remount();
    }
    volume.unmount();
    volume.assert_clean();
    let (counts, succeeded) = run(&volume, "rekey", &[&volume.lower()]);
    assert!(succeeded && counts["files"] == 21, "of a volume that is not mounted: {counts}");
    volume.assert_clean();
    volume.mount();
    assert!(fs::read(&busy).unwrap() == written);
}

#[test]
fn a_rekeying_that_dies_with_its_mount_is_finished_by_the_next() {
    let mut volume = Volume::mounted();
    let content = bytes(5, 40 << 20);
    fs::write(volume.path("large"), &content).unwrap();
    for i in 0..50 {
        fs::write(volume.path(format!("small {i}")), bytes(i, 5000)).unwrap();
    }
    volume.remount();
    for pause in [20, 100, 300] {
        let mut command = volume.kmsfs("rekey").arg(volume.mnt()).spawn().unwrap();
        thread::sleep(Duration::from_millis(pause));
        volume.kill();
        command.wait().unwrap();
        volume.mount();
        assert!(fs::read(volume.path("large")).unwrap() == content, "after {pause} ms");
    }
    let (counts, succeeded) = run(&volume, "rekey", &[&volume.mnt()]);
    assert!(succeeded && counts["files"] == 51, "{counts}");
    volume.unmount();
    volume.assert_clean();
    volume.mount();
    assert!(fs::read(volume.path("large")).unwrap() == content);
    for i in 0..50 {
        assert!(fs::read(volume.path(format!("small {i}"))).unwrap() == bytes(i, 5000));
    }
}

#[test]
fn an_unmount_does_not_wait_for_all_that_is_to_be_rekeyed() {
    let mut volume = Volume::mounted();
    let content = bytes(6, 60 << 20);
    fs::write(volume.path("large"), &content).unwrap();
    let mut command = volume.kmsfs("rekey").arg(volume.mnt()).spawn().unwrap();
    thread::sleep(Duration::from_millis(50));
    volume.unmount();
    command.wait().unwrap();
    volume.assert_clean();
    volume.mount();
    assert!(fs::read(volume.path("large")).unwrap() == content);
}

/// A mounted shreddable volume under a customer managed key.
fn shreddable() -> Volume {
    let mut volume = Volume::bare();
    volume.keystore_create();
    ok(volume.kmsfs("key").args(["create", "--alias", "alias/volume"]));
    volume.init(&["--key", "alias/volume", "--shreddable"]);
    volume.mount();
    volume
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(status.success());
}

/// Asserts that whoever has a shredded file open comes to read nothing of it. The kernel drops its pages of the file soon,
/// not before the command returns.
fn assert_goes_blind(reader: &File) {
    let blind = wait_until(Duration::from_secs(60), || match reader.read_exact_at(&mut [0], 0) {
        Ok(()) => false,
        Err(e) => {
            assert_eq!(e.raw_os_error(), Some(Errno::NOKEY.raw_os_error()));
            true
        }
    });
    assert!(blind, "whoever has it open still reads it");
}

fn is_nokey(path: &Path) -> bool {
    errno(fs::read(path)) == Errno::NOKEY.raw_os_error()
}

#[test]
fn no_copy_of_a_shredded_file_opens_and_others_do() {
    let mut volume = shreddable();
    let secret = bytes(1, 50_000);
    fs::write(volume.path("secret"), &secret).unwrap();
    fs::write(volume.path("other"), b"other").unwrap();
    // One way of touching the wrap after another, all before the copies.
    ok(volume.kmsfs("rekey").arg(volume.path("secret")));
    volume.remount();
    let (lower_file, kept) = (volume.lower_of("secret"), volume.scratch("kept"));
    copy(&lower_file, &kept);
    let whole = volume.scratch("whole");
    volume.unmount();
    copy(&volume.lower(), &whole);
    volume.mount();
    assert!(fs::read(volume.path("secret")).unwrap() == secret);

    let reader = File::open(volume.path("secret")).unwrap();
    let (counts, succeeded) = run(&volume, "shred", &[Path::new("--yes"), &volume.path("secret")]);
    assert!(succeeded && counts["shredded"] == 1, "{counts}");
    assert!(!volume.path("secret").exists());
    assert_goes_blind(&reader);
    drop(reader);
    assert_eq!(fs::read(volume.path("other")).unwrap(), b"other");

    volume.unmount();
    copy(&kept, &lower_file);
    volume.mount();
    assert!(is_nokey(&volume.path("secret")), "the lower file put back");
    assert_eq!(fs::read(volume.path("other")).unwrap(), b"other");
    // Told again, it is removed.
    let (counts, succeeded) = run(&volume, "shred", &[Path::new("--yes"), &volume.path("secret")]);
    assert!(succeeded && counts["shredded"] == 1 && !volume.path("secret").exists(), "{counts}");

    volume.unmount();
    put_back(&volume, &whole);
    volume.mount();
    assert!(is_nokey(&volume.path("secret")), "a backup of the whole volume, under the keystore of now");
    assert_eq!(fs::read(volume.path("other")).unwrap(), b"other");
}

#[test]
fn shredding_in_a_zone_ends_all_copies_from_since_the_file_had_a_secret() {
    let mut volume = Volume::bare();
    volume.keystore_create();
    for alias in ["alias/volume", "alias/patients"] {
        ok(volume.kmsfs("key").args(["create", "--alias", alias]));
    }
    volume.init(&["--key", "alias/volume"]);
    volume.mount();
    fs::create_dir(volume.path("patients")).unwrap();
    fs::write(volume.path("patients/old"), b"was there before the zone").unwrap();
    let set = ["set", "--key", "alias/patients", "--shreddable"];
    ok(volume.kmsfs("zone").args(set).arg(volume.path("patients")));
    fs::write(volume.path("patients/new"), b"new").unwrap();
    fs::write(volume.path("patients/stays"), b"stays").unwrap();
    fs::write(volume.path("moved"), b"moved").unwrap();
    volume.remount();
    let (from_outside, from_inside) = (volume.scratch("outside"), volume.scratch("inside"));
    volume.unmount();
    copy(&volume.lower(), &from_outside);
    volume.mount();
    fs::rename(volume.path("moved"), volume.path("patients/moved")).unwrap();
    volume.unmount();
    copy(&volume.lower(), &from_inside);
    volume.mount();
    // The copies have the data key from before; the secret is the same.
    ok(volume.kmsfs("rekey").arg(volume.path("patients")));

    let doomed = ["old", "new", "moved"].map(|name| volume.path("patients").join(name));
    let mut args = vec![Path::new("--yes")];
    args.extend(doomed.iter().map(PathBuf::as_path));
    let (counts, succeeded) = run(&volume, "shred", &args);
    assert!(succeeded && counts["shredded"] == 3, "{counts}");

    volume.unmount();
    put_back(&volume, &from_inside);
    volume.mount();
    for path in &doomed {
        assert!(is_nokey(path), "{}", path.display());
    }
    assert_eq!(fs::read(volume.path("patients/stays")).unwrap(), b"stays");
    volume.unmount();
    put_back(&volume, &from_outside);
    volume.mount();
    assert!(is_nokey(&doomed[0]) && is_nokey(&doomed[1]));
    // What the threat model says of copies from before the file had a secret.
    assert_eq!(fs::read(volume.path("moved")).unwrap(), b"moved");
}

/// Puts a copy of the lower directory in its place.
fn put_back(volume: &Volume, copied: &Path) {
    fs::remove_dir_all(volume.lower()).unwrap();
    copy(copied, &volume.lower());
}

#[test]
fn directories_are_shredded_if_asked_and_offline_too() {
    let mut volume = shreddable();
    fs::create_dir_all(volume.path("a/b")).unwrap();
    for i in 0..300 {
        fs::write(volume.path(format!("a/b/{i}")), b"x").unwrap();
    }
    let (_, succeeded) = run(&volume, "shred", &[Path::new("--yes"), &volume.path("a")]);
    assert!(!succeeded && volume.path("a/b/7").exists(), "not without --recursive");
    volume.unmount();
    let args = ["--yes", "--lower", volume.lower().to_str().unwrap(), "a/b/7"].map(str::to_owned);
    let (counts, succeeded) = run(&volume, "shred", &args.each_ref().map(Path::new));
    assert!(succeeded && counts["shredded"] == 1, "{counts}");
    volume.mount();
    assert!(!volume.path("a/b/7").exists() && fs::read(volume.path("a/b/8")).unwrap() == b"x");
    let (counts, succeeded) =
        run(&volume, "shred", &[Path::new("-r"), Path::new("--yes"), &volume.path("a")]);
    assert!(succeeded && counts["shredded"] == 299, "{counts}");
    assert_eq!(fs::read_dir(volume.path("a/b")).unwrap().count(), 0);
    volume.unmount();
    volume.assert_clean();
}

#[test]
fn a_file_without_a_secret_is_left_as_it_is_and_the_command_says_what_helps() {
    let volume = Volume::mounted();
    fs::write(volume.path("file"), b"content").unwrap();
    let output = volume.kmsfs("shred").args(["--yes"]).arg(volume.path("file")).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("it has no shred secret") && said.contains("schedule-deletion"), "{said}");
    assert_eq!(fs::read(volume.path("file")).unwrap(), b"content");
    let output = volume.kmsfs("shred").arg(volume.path("file")).output().unwrap();
    assert!(!output.status.success(), "nobody was asked");
    assert_eq!(fs::read(volume.path("file")).unwrap(), b"content");
}
