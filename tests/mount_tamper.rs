//! Somebody changes the lower directory while the volume is not mounted: every read afterwards returns what kmsfs
//! wrote or fails with EIO, the log names the file, `kmsfs check` finds the damage, and nothing panics.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use common::{
    tools::{bytes, errno, ok},
    volume::{Volume, find},
};
use rustix::io::Errno;

const BLOCK: usize = 4096;
const HEADER: u64 = 1024;
const ENTRY: u64 = 32;
/// Long enough to reach into the second group of blocks, and to end inside a block.
const LEN: usize = 150 * BLOCK + 1234;

/// Exit code of `kmsfs check` where it finds damage.
const DAMAGED: i32 = 14;
/// Exit code where the volume's own records were altered.
const BAD_VOLUME: i32 = 8;
/// Exit code where the keystore was.
const BAD_KEYSTORE: i32 = 6;

/// Where tag entry and data of a block lie: page 0 holds 96 entries, its 96 pages follow, then groups of 128.
fn place(block: u64) -> (u64, u64) {
    let page = BLOCK as u64;
    if block < 96 {
        return (HEADER + block * ENTRY, (1 + block) * page);
    }
    let (group, within) = ((block - 96) / 128, (block - 96) % 128);
    let tags = (97 + group * 129) * page;
    (tags + within * ENTRY, tags + (1 + within) * page)
}

/// A volume with two files, `a` and `b`, unmounted and ready to be attacked.
struct Scene {
    volume: Volume,
    a: PathBuf,
    b: PathBuf,
}

impl Scene {
    fn new() -> Scene {
        let mut volume = Volume::mounted();
        fs::write(volume.path("a"), bytes(1, LEN)).unwrap();
        fs::write(volume.path("b"), bytes(2, LEN)).unwrap();
        let (a, b) = (volume.lower_of("a"), volume.lower_of("b"));
        volume.unmount();
        volume.assert_clean();
        Scene { volume, a, b }
    }

    /// Asserts that `check` complains, mounts, and asserts that `name` reads as written or not at all, not at
    /// all in each of `blocks`, and that the log names the lower file.
    fn assert_refused(&mut self, name: &str, blocks: &[u64]) {
        assert_eq!(self.volume.check().status.code(), Some(DAMAGED), "kmsfs check");
        self.volume.mount();
        let refused = read_honestly(&self.volume.path(name), &bytes(if name == "a" { 1 } else { 2 }, LEN));
        for block in blocks {
            assert!(refused.contains(block), "block {block} was read; refused were {refused:?}");
        }
        assert!(!refused.is_empty(), "the attack went unnoticed");
        let lower = if name == "a" { &self.a } else { &self.b };
        let lower = lower.file_name().unwrap().to_str().unwrap();
        assert!(self.volume.log().contains(lower), "the log does not name {lower}:\n{}", self.volume.log());
    }

    fn assert_intact(&mut self, name: &str) {
        let refused = read_honestly(&self.volume.path(name), &bytes(if name == "a" { 1 } else { 2 }, LEN));
        assert!(refused.is_empty(), "{name}: {refused:?}");
    }
}

/// Reads block by block, asserts that no wrong byte appears, and returns the blocks that fail with EIO.
fn read_honestly(path: &Path, expected: &[u8]) -> Vec<u64> {
    let blocks = (0..expected.len().div_ceil(BLOCK) as u64).collect::<Vec<_>>();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(err) => {
            assert_eq!(err.raw_os_error(), Some(Errno::IO.raw_os_error()), "open of {}", path.display());
            return blocks;
        }
    };
    let refused = |block: &u64| {
        let at = *block as usize * BLOCK;
        let right = &expected[at..expected.len().min(at + BLOCK)];
        let mut found = vec![0; right.len()];
        match file.read_exact_at(&mut found, at as u64) {
            Ok(()) => {
                assert!(found == right, "wrong bytes in block {block}");
                false
            }
            Err(err) => {
                assert_eq!(err.raw_os_error(), Some(Errno::IO.raw_os_error()), "read of block {block}");
                true
            }
        }
    };
    blocks.into_iter().filter(refused).collect()
}

fn open(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

fn take(file: &File, at: u64, len: usize) -> Vec<u8> {
    let mut taken = vec![0; len];
    file.read_exact_at(&mut taken, at).unwrap();
    taken
}

/// Puts a block of one lower file, tag entry and all, in the place of a block of another.
fn move_block(from: &File, block: u64, to: &File, other: u64) {
    let ((tag, data), (to_tag, to_data)) = (place(block), place(other));
    to.write_all_at(&take(from, tag, ENTRY as usize), to_tag).unwrap();
    to.write_all_at(&take(from, data, BLOCK), to_data).unwrap();
}

#[test]
fn blocks_that_trade_places_within_a_file() {
    let mut scene = Scene::new();
    let copy = scene.volume.scratch("copy");
    fs::copy(&scene.a, &copy).unwrap();
    let (file, copy) = (open(&scene.a), open(&copy));
    move_block(&copy, 3, &file, 100);
    move_block(&copy, 100, &file, 3);
    scene.assert_refused("a", &[3, 100]);
    scene.assert_intact("b");
}

#[test]
fn blocks_taken_from_another_file() {
    let mut scene = Scene::new();
    let (a, b) = (open(&scene.a), open(&scene.b));
    move_block(&b, 7, &a, 7);
    move_block(&b, 149, &a, 149);
    scene.assert_refused("a", &[7, 149]);
    scene.assert_intact("b");
}

#[test]
fn blocks_zeroed_to_look_like_holes() {
    let mut scene = Scene::new();
    let file = open(&scene.a);
    for block in [0, 95, 96, 120] {
        let (tag, data) = place(block);
        file.write_all_at(&[0; ENTRY as usize], tag).unwrap();
        file.write_all_at(&[0; BLOCK], data).unwrap();
    }
    scene.assert_refused("a", &[0, 95, 96, 120]);
}

#[test]
fn data_or_tag_alone_zeroed_or_changed_by_one_bit() {
    let mut scene = Scene::new();
    let file = open(&scene.a);
    file.write_all_at(&[0; BLOCK], place(1).1).unwrap();
    file.write_all_at(&[0; ENTRY as usize], place(2).0).unwrap();
    for at in [place(3).1 + 4095, place(4).0 + 31, place(5).0, place(6).0 + 4, place(150).1] {
        let byte = take(&file, at, 1)[0];
        file.write_all_at(&[byte ^ 1], at).unwrap();
    }
    scene.assert_refused("a", &[1, 2, 3, 4, 5, 6, 150]);
}

#[test]
fn files_cut_at_a_block_boundary_or_elsewhere_and_files_made_longer() {
    for size in
        [place(149).1, place(96).1, place(95).1, place(0).1, HEADER, HEADER - 1, 0, place(150).1 + 100]
    {
        let mut scene = Scene::new();
        open(&scene.a).set_len(size).unwrap();
        assert_eq!(scene.volume.check().status.code(), Some(DAMAGED), "cut to {size}");
        scene.volume.mount();
        // Whatever part can still be read: nobody may take the file for complete.
        assert_eq!(errno(fs::read(scene.volume.path("a"))), Errno::IO.raw_os_error(), "cut to {size}");
        scene.assert_intact("b");
    }
    let mut scene = Scene::new();
    let len = fs::metadata(&scene.a).unwrap().len();
    open(&scene.a).set_len(len + BLOCK as u64).unwrap();
    scene.volume.mount();
    assert_eq!(errno(fs::read(scene.volume.path("a"))), Errno::IO.raw_os_error(), "made longer");
}

#[test]
fn headers_of_other_files_and_headers_made_up() {
    let mut scene = Scene::new();
    let (a, b) = (open(&scene.a), open(&scene.b));
    let (of_a, of_b) = (take(&a, 0, HEADER as usize), take(&b, 0, HEADER as usize));
    a.write_all_at(&of_b, 0).unwrap();
    b.write_all_at(&of_a, 0).unwrap();
    scene.assert_refused("a", &[0, 149]);
    assert_eq!(read_honestly(&scene.volume.path("b"), &bytes(2, LEN)).len(), LEN.div_ceil(BLOCK));
    for made_up in [vec![0; HEADER as usize], bytes(9, HEADER as usize)] {
        let mut scene = Scene::new();
        open(&scene.a).write_all_at(&made_up, 0).unwrap();
        scene.assert_refused("a", &[0, 149]);
    }
}

#[test]
fn every_byte_of_a_header_counts() {
    let mut scene = Scene::new();
    let whole = take(&open(&scene.a), 0, HEADER as usize);
    for at in (0..HEADER).step_by(61) {
        let mut changed = whole.clone();
        changed[at as usize] ^= 0x40;
        open(&scene.a).write_all_at(&changed, 0).unwrap();
        scene.volume.mount();
        assert_eq!(errno(fs::read(scene.volume.path("a"))), Errno::IO.raw_os_error(), "byte {at}");
        scene.volume.unmount();
    }
}

/// A volume with directories `one` and `two`, each holding a file, and their lower paths.
fn two_directories() -> (Volume, PathBuf, PathBuf) {
    let mut volume = Volume::mounted();
    for dir in ["one", "two"] {
        fs::create_dir(volume.path(dir)).unwrap();
        fs::write(volume.path(dir).join("file"), dir).unwrap();
    }
    let lower = |dir: &str| volume.lower_of(format!("{dir}/file")).parent().unwrap().to_owned();
    let (one, two) = (lower("one"), lower("two"));
    volume.unmount();
    (volume, one, two)
}

#[test]
fn directory_records_swapped_removed_or_changed() {
    type Attack = fn(&Path, &Path);
    let attacks: [(&str, Attack); 7] = [
        ("copied from a sibling", |one, two| {
            fs::copy(two.join("kmsfs.dir"), one.join("kmsfs.dir")).unwrap();
        }),
        ("copied from the root", |one, _| {
            fs::copy(one.parent().unwrap().join("kmsfs.dir"), one.join("kmsfs.dir")).unwrap();
        }),
        ("removed", |one, _| fs::remove_file(one.join("kmsfs.dir")).unwrap()),
        ("emptied", |one, _| fs::write(one.join("kmsfs.dir"), b"").unwrap()),
        ("a link to the whole record", |one, _| {
            fs::rename(one.join("kmsfs.dir"), one.join("kmsfs.tmp.1")).unwrap();
            symlink("kmsfs.tmp.1", one.join("kmsfs.dir")).unwrap();
        }),
        // Nobody ever writes to it: opening it must not wait for them.
        ("a FIFO", |one, _| {
            fs::remove_file(one.join("kmsfs.dir")).unwrap();
            ok(Command::new("mkfifo").arg(one.join("kmsfs.dir")));
        }),
        ("one bit", |one, _| {
            let mut record = fs::read(one.join("kmsfs.dir")).unwrap();
            *record.last_mut().unwrap() ^= 1;
            fs::write(one.join("kmsfs.dir"), record).unwrap();
        }),
    ];
    for (what, attack) in attacks {
        let (mut volume, one, two) = two_directories();
        attack(&one, &two);
        assert_eq!(volume.check().status.code(), Some(DAMAGED), "{what}");
        volume.mount();
        assert_eq!(errno(fs::read(volume.path("one/file"))), Errno::IO.raw_os_error(), "{what}");
        assert_eq!(fs::read(volume.path("two/file")).unwrap(), b"two", "{what}");
        let (log, name) = (volume.log(), one.file_name().unwrap().to_str().unwrap());
        assert!(log.contains(name), "{what}: the log does not name the directory:\n{log}");
    }
}

/// All of a directory in the place of the root, record and entries: every name decrypts there.
#[test]
fn a_directory_put_in_the_place_of_the_root() {
    let (volume, one, two) = two_directories();
    let root = one.parent().unwrap();
    fs::remove_dir_all(&two).unwrap();
    for entry in fs::read_dir(&one).unwrap() {
        let entry = entry.unwrap();
        fs::rename(entry.path(), root.join(entry.file_name())).unwrap();
    }
    fs::remove_dir(&one).unwrap();
    assert_eq!(volume.check().status.code(), Some(DAMAGED));
    let refused = volume.refused_mount(&mut volume.mount_command());
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(BAD_VOLUME), "{message}");
    assert!(message.contains("kmsfs.dir"), "{message}");
}

#[test]
fn a_directory_moved_under_another_parent() {
    let (mut volume, one, two) = two_directories();
    let moved = two.join(one.file_name().unwrap());
    fs::rename(&one, &moved).unwrap();
    assert_eq!(volume.check().status.code(), Some(DAMAGED));
    volume.mount();
    assert!(!volume.path("one").exists());
    assert_eq!(errno(fs::read(volume.path("two/one/file"))), Errno::NOENT.raw_os_error());
    assert_eq!(fs::read(volume.path("two/file")).unwrap(), b"two");
}

#[test]
fn symbolic_links_and_attributes_that_were_changed() {
    let mut volume = Volume::mounted();
    symlink("target", volume.path("link")).unwrap();
    fs::write(volume.path("file"), b"").unwrap();
    let set = |path: &Path, name: &str, value: &[u8]| {
        rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    set(&volume.path("file"), "user.comment", b"value");
    let (link, file) = (volume.lower_of("link"), volume.lower_of("file"));
    volume.unmount();
    let mut target = fs::read_link(&link).unwrap().to_str().unwrap().to_owned();
    let first = if target.starts_with('A') { "B" } else { "A" };
    target.replace_range(..1, first);
    fs::remove_file(&link).unwrap();
    symlink(&target, &link).unwrap();
    let (name, mut value) = common::tools::xattrs(&file).into_iter().next().unwrap();
    value[0] ^= 1;
    set(&file, name.to_str().unwrap(), &value);
    assert_eq!(volume.check().status.code(), Some(DAMAGED));
    volume.mount();
    assert_eq!(errno(fs::read_link(volume.path("link"))), Errno::IO.raw_os_error());
    let read = rustix::fs::getxattr(volume.path("file"), "user.comment", &mut [0_u8; 100][..]);
    assert_eq!(read, Err(Errno::IO));
}

#[test]
fn names_that_were_made_up_do_not_appear_and_check_tells() {
    let mut volume = Volume::mounted();
    fs::write(volume.path("kept"), b"kept").unwrap();
    fs::write(volume.path("l".repeat(255)), b"long").unwrap();
    let long = volume.lower_of("l".repeat(255));
    volume.unmount();
    fs::write(volume.lower().join("bm90LWEtcmVhbC1uYW1lLWF0LWFsbC4uLi4uLi4"), b"").unwrap();
    fs::write(volume.lower().join("stranger.txt"), b"").unwrap();
    let sidecar = PathBuf::from(format!("{}.name", long.display()));
    let mut text = fs::read(&sidecar).unwrap();
    text[10] = if text[10] == b'A' { b'B' } else { b'A' };
    fs::write(&sidecar, text).unwrap();
    assert_eq!(volume.check().status.code(), Some(DAMAGED));
    volume.mount();
    let names = fs::read_dir(volume.mnt()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["kept"]);
    assert_eq!(fs::read(volume.path("kept")).unwrap(), b"kept");
}

#[test]
fn an_edited_configuration_is_refused_with_its_cause() {
    let volume = Volume::unmounted();
    let config = volume.lower().join("kmsfs.json");
    let original = fs::read_to_string(&config).unwrap();
    let edits = [
        original.replace("aes-256-gcm-siv", "aes-256-gcm"),
        original.replace("\"direct\"", "\"zone-key\""),
        original.replace("arn:aws:kms:local", "arn:aws:kms:other"),
        original.replacen("\"format\": 1", "\"format\": 999", 1),
        original[..original.len() / 2].to_owned(),
        String::new(),
        "{}".to_owned(),
        "not json at all".to_owned(),
    ];
    for edit in edits {
        assert_ne!(edit, original, "the edit changed nothing");
        fs::write(&config, &edit).unwrap();
        let refused = volume.refused_mount(&mut volume.mount_command());
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(BAD_VOLUME), "{edit}\n{message}");
        assert!(message.contains("kmsfs.json") && !message.contains("panicked"), "{message}");
        assert_eq!(fs::read_to_string(&config).unwrap(), edit, "a refused file was changed");
    }
    fs::write(&config, original).unwrap();
    volume.assert_clean();
}

#[test]
fn a_keystore_that_was_cut_or_changed_is_refused_and_left_alone() {
    let volume = Volume::unmounted();
    let keystore = volume.keystore();
    let original = fs::read(&keystore).unwrap();
    let mut overwritten = original.clone();
    overwritten[..16].copy_from_slice(b"something else..");
    let half = original[..original.len() / 2].to_vec();
    let attacks = [half, original[..100].to_vec(), b"not a keystore".to_vec(), overwritten];
    for attack in attacks {
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{suffix}", keystore.display()));
        }
        fs::write(&keystore, &attack).unwrap();
        let refused = volume.refused_mount(&mut volume.mount_command());
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(BAD_KEYSTORE), "{} bytes: {message}", attack.len());
        assert!(message.contains("keystore.db") && !message.contains("panicked"), "{message}");
        assert!(fs::read(&keystore).unwrap() == attack, "a refused keystore was changed");
    }
}

#[test]
fn a_changed_journal_never_yields_wrong_bytes() {
    for seed in 0..5 {
        let mut scene = Scene::new();
        scene.volume.mount();
        let file = open(&scene.volume.path("a"));
        for block in 0..100 {
            file.write_all_at(&bytes(1000 + block, BLOCK), block * BLOCK as u64).unwrap();
        }
        scene.volume.kill();
        drop(file);
        let mut changed = 0;
        find(&scene.volume.lower().join("kmsfs.journal"), &mut |path, meta| {
            let spots = (0..8).map(|spot| meta.len() * (spot * 2 + 1) / 16 + seed * 97);
            if meta.is_file() && meta.len() > 0 {
                let segment = open(path);
                for at in spots.filter(|at| *at < meta.len()) {
                    segment.write_all_at(&[take(&segment, at, 1)[0] ^ 4], at).unwrap();
                    changed += 1;
                }
            }
            false
        });
        assert!(changed > 0, "the journal was empty: nothing to attack");
        let mut child = scene.volume.mount_command();
        // A mount that refuses such a journal is an honest answer too.
        let Ok(()) = scene.volume.try_mount(&mut child) else { continue };
        let Ok(file) = File::open(scene.volume.path("a")) else { continue };
        let old = bytes(1, LEN);
        for block in 0..100_u64 {
            let mut found = vec![0; BLOCK];
            if file.read_exact_at(&mut found, block * BLOCK as u64).is_ok() {
                let known =
                    found == bytes(1000 + block, BLOCK) || found == old[block as usize * BLOCK..][..BLOCK];
                assert!(known, "block {block} holds what nobody wrote");
            }
        }
    }
}
