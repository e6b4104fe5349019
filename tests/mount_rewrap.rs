//! Bringing files under other keys while they are in use: nothing but the wrap changes, what is interrupted is finished by
//! asking again, and the old key is told to be free only when it is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use common::{
    tools::{bytes, ok, progress, snapshot},
    volume::Volume,
};
use serde_json::{Value, json};

/// What a mount needs to notice a change of a key, as the threat model promises.
const NOTICED: Duration = Duration::from_secs(1);

const FILES: [&str; 4] = ["f", "a/f", "a/b/f", "zone/f"];

fn content(file: &str) -> Vec<u8> {
    bytes(file.len() as u64, 200_000)
}

/// A mounted volume under `alias/old`, with `alias/new` and `alias/third` beside it, some files, and a directory that may
/// become a zone.
fn volume() -> Volume {
    let mut volume = Volume::bare();
    volume.keystore_create();
    for alias in ["alias/old", "alias/new", "alias/third"] {
        ok(volume.kmsfs("key").args(["create", "--alias", alias]));
    }
    volume.init(&["--key", "alias/old"]);
    volume.mount();
    for dir in ["a", "a/b", "zone"] {
        fs::create_dir(volume.path(dir)).unwrap();
    }
    for file in FILES {
        fs::write(volume.path(file), content(file)).unwrap();
    }
    volume
}

fn arn(volume: &Volume, alias: &str) -> Value {
    let text = ok(volume.kmsfs("key").args(["describe", "--json", alias]));
    serde_json::from_str::<Value>(&text).unwrap()["KeyMetadata"]["Arn"].clone()
}

fn info(volume: &Volume, file: &str) -> Value {
    serde_json::from_str(&ok(volume.kmsfs("info").arg("--json").arg(volume.path(file)))).unwrap()
}

fn rewrap(volume: &Volume, args: &[&str]) -> Output {
    volume.kmsfs("rewrap").arg("--json").args(args).output().unwrap()
}

fn told(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn key(volume: &Volume, action: &str, alias: &str) {
    ok(volume.kmsfs("key").args([action, alias]));
}

fn assert_content(volume: &Volume) {
    for file in FILES {
        assert!(fs::read(volume.path(file)).unwrap() == content(file), "{file} has changed");
    }
}

/// What `kmsfs key usage` counts of each version of the material.
fn usage(volume: &Volume, alias: &str) -> Value {
    let lower = volume.lower();
    let text = ok(volume.kmsfs("key").args(["usage", "--json", alias]).arg(lower));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn after_a_rotation_every_key_goes_to_the_newest_material() {
    let mut volume = volume();
    let past = std::time::SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    File::options().write(true).open(volume.path("a/f")).unwrap().set_modified(past).unwrap();
    key(&volume, "rotate", "alias/old");
    std::thread::sleep(NOTICED);
    fs::write(volume.path("made-after"), b"x").unwrap();
    let before = usage(&volume, "alias/old");
    assert_eq!(before["needed"], json!(true));
    let files = |usage: &Value| -> Vec<(u64, u64)> {
        let versions = usage["versions"].as_array().unwrap();
        versions.iter().map(|v| (v["version"].as_u64().unwrap(), v["files"].as_u64().unwrap())).collect()
    };
    assert_eq!(files(&before), [(1, FILES.len() as u64), (2, 1)], "{before}");

    let mnt = volume.mnt();
    let done = told(&rewrap(&volume, &[mnt.to_str().unwrap()]));
    assert_eq!(
        (&done["rewrapped"], &done["current"], &done["failed"]),
        (&json!(4), &json!(5), &json!(0)),
        "{done}"
    );
    assert_eq!(done["volume_key"], true);
    assert_eq!(files(&usage(&volume, "alias/old")), [(2, FILES.len() as u64 + 1)]);
    assert_eq!(fs::metadata(volume.path("a/f")).unwrap().modified().unwrap(), past);
    let again = told(&rewrap(&volume, &[mnt.to_str().unwrap()]));
    assert_eq!((&again["rewrapped"], &again["volume_key"]), (&json!(0), &json!(false)));
    assert_content(&volume);
    volume.remount();
    assert_content(&volume);
    volume.unmount();
    volume.assert_clean();
}

#[test]
fn another_key_takes_over_and_the_old_one_may_go() {
    let mut volume = volume();
    let (old, new) = (arn(&volume, "alias/old"), arn(&volume, "alias/new"));
    let nameless = File::options().read(true).write(true).create_new(true).open(volume.path("gone")).unwrap();
    nameless.write_all_at(b"nameless", 0).unwrap();
    fs::remove_file(volume.path("gone")).unwrap();
    let mnt = volume.mnt();
    let done = told(&rewrap(&volume, &[mnt.to_str().unwrap(), "--to", "alias/new"]));
    assert_eq!((&done["released"], &done["former"]), (&json!([old]), &json!([])), "{done}");
    assert_eq!(usage(&volume, "alias/old")["needed"], false);
    key(&volume, "disable", "alias/old");
    std::thread::sleep(NOTICED);
    assert_content(&volume);
    fs::write(volume.path("made-after"), b"x").unwrap();
    let mut text = [0; 8];
    nameless.read_exact_at(&mut text, 0).unwrap();
    assert_eq!(&text, b"nameless");
    drop(nameless);
    for file in FILES {
        assert_eq!(info(&volume, file)["cmk"], new);
    }
    volume.remount();
    assert_content(&volume);
    volume.unmount();
    volume.assert_clean();
}

#[test]
fn a_trial_changes_nothing_and_tells_what_would_be_done() {
    let mut volume = volume();
    volume.unmount();
    let lower = volume.lower();
    let before = snapshot(&lower);
    let trial = told(&rewrap(&volume, &[lower.to_str().unwrap(), "--to", "alias/new", "--dry-run"]));
    assert_eq!((&trial["rewrapped"], &trial["volume_key"]), (&json!(4), &json!(true)), "{trial}");
    let after = snapshot(&lower);
    for (path, content) in &before {
        // The journal is opened and closed like by a mount.
        assert!(path.starts_with("kmsfs.journal") || after.get(path) == Some(content), "{}", path.display());
    }
    let done = told(&rewrap(&volume, &[lower.to_str().unwrap(), "--to", "alias/new"]));
    assert_eq!(done["rewrapped"], 4);
    key(&volume, "disable", "alias/old");
    volume.mount();
    assert_content(&volume);
}

#[test]
fn a_zone_gets_another_key_by_itself_and_a_directory_in_it_does_not() {
    let volume = volume();
    let zone = volume.path("zone");
    let zone = zone.to_str().unwrap();
    ok(volume.kmsfs("zone").args(["set", zone, "--key", "alias/new"]));
    let (new, old) = (arn(&volume, "alias/new"), arn(&volume, "alias/old"));
    let done = told(&rewrap(&volume, &[zone, "--to", "alias/third"]));
    assert_eq!((&done["rewrapped"], &done["released"]), (&json!(1), &json!([new])), "{done}");
    assert_eq!(info(&volume, "zone/f")["cmk"], arn(&volume, "alias/third"));
    assert_eq!(info(&volume, "a/f")["cmk"], old);
    for inside in ["a", "a/f"] {
        let refused = rewrap(&volume, &[volume.path(inside).to_str().unwrap(), "--to", "alias/new"]);
        assert!(!refused.status.success());
        let why =
            String::from_utf8_lossy(&refused.stdout).into_owned() + &String::from_utf8_lossy(&refused.stderr);
        assert!(why.contains("kmsfs zone set"), "{why}");
    }
    // One file alone goes to newer material of its key.
    key(&volume, "rotate", "alias/old");
    let done = told(&rewrap(&volume, &[volume.path("a/f").to_str().unwrap()]));
    assert_eq!((&done["files"], &done["rewrapped"]), (&json!(1), &json!(1)), "{done}");
    assert_content(&volume);
}

#[test]
fn what_a_key_keeps_closed_is_skipped_and_named_and_keeps_the_former_key_listed() {
    let volume = volume();
    let zone = volume.path("zone");
    ok(volume.kmsfs("zone").args(["set", zone.to_str().unwrap(), "--key", "alias/new"]));
    key(&volume, "disable", "alias/new");
    key(&volume, "rotate", "alias/old");
    let output = rewrap(&volume, &[volume.mnt().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&done["rewrapped"], &done["failed"]), (&json!(3), &json!(1)), "{done}");
    assert_eq!(done["failures"][0]["path"], "zone/f");
    assert!(done["failures"][0]["why"].as_str().unwrap().contains("disabled"), "{done}");
    key(&volume, "enable", "alias/new");
    std::thread::sleep(NOTICED);
    assert_content(&volume);
}

/// Makes `count` small files in the volume.
fn many(volume: &Volume, count: usize) {
    for n in 0..count {
        let dir = volume.path(format!("many/{}", n / 500));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("{n}")), format!("content of {n}")).unwrap();
    }
}

fn assert_many(volume: &Volume, count: usize) {
    for n in 0..count {
        let path = volume.path(format!("many/{}/{n}", n / 500));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("content of {n}"));
    }
}

#[test]
fn killed_at_ten_moments_every_file_opens_and_the_rest_is_done_by_asking_again() {
    const COUNT: usize = 4000;
    let mut volume = volume();
    many(&volume, COUNT);
    volume.unmount();
    let lower = volume.lower();
    let random = bytes(u64::from(std::process::id()), 10);
    let mut partly = 0;
    for (turn, at) in random.into_iter().enumerate() {
        let to = ["alias/new", "alias/third"][turn % 2];
        let mut command = volume.kmsfs("rewrap");
        command.arg(&lower).args(["--to", to, "--rate", "20000"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        // Unlocking the keystore takes half a second; the work some tenths.
        std::thread::sleep(Duration::from_millis(350 + 3 * u64::from(at)));
        process.kill().unwrap();
        let finished = process.wait().unwrap().success();
        let left = usage(&volume, to)["files"].as_u64().unwrap() as usize;
        progress(format_args!("turn {turn}: {left} files under {to}, finished: {finished}"));
        partly += usize::from(left > 0 && left < COUNT);
        volume.mount();
        assert_content(&volume);
        assert_many(&volume, COUNT);
        volume.unmount();
    }
    assert!(partly > 0, "no kill met a rewrap under way");
    let done = told(&rewrap(&volume, &[lower.to_str().unwrap(), "--to", "alias/old"]));
    assert_eq!((&done["failed"], &done["former"]), (&json!(0), &json!([])), "{done}");
    for alias in ["alias/new", "alias/third"] {
        assert_eq!(usage(&volume, alias)["needed"], false);
        key(&volume, "disable", alias);
    }
    volume.assert_clean();
    volume.mount();
    assert_many(&volume, COUNT);
}

#[test]
fn a_mount_that_dies_in_a_rewrap_loses_nothing_and_goes_on() {
    let mut volume = volume();
    many(&volume, 1000);
    let mut command = volume.kmsfs("rewrap");
    command.arg(volume.mnt()).args(["--to", "alias/new", "--rate", "500"]).stdout(Stdio::null());
    let mut process = command.stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    volume.kill();
    assert!(!process.wait().unwrap().success(), "the command tells that it was not finished");
    volume.mount();
    assert_content(&volume);
    assert_many(&volume, 1000);
    let files = usage(&volume, "alias/new")["files"].as_u64().unwrap();
    assert!(files > 0 && files < 1000, "{files}");
    let done = told(&rewrap(&volume, &[volume.mnt().to_str().unwrap()]));
    assert_eq!((&done["failed"], &done["former"]), (&json!(0), &json!([])), "{done}");
    assert_eq!(usage(&volume, "alias/old")["needed"], false);
}

#[test]
fn files_are_written_made_and_renamed_while_their_keys_change() {
    let volume = volume();
    many(&volume, 300);
    let ended = AtomicBool::new(false);
    let mnt = volume.mnt();
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (ended, mnt) = (&ended, mnt.clone());
            scope.spawn(move || {
                let path = |n: u64| mnt.join(format!("busy-{thread}-{n}"));
                let mut turn = 0;
                while !ended.load(Ordering::Relaxed) {
                    let text = bytes(turn, 30_000 + turn as usize % 5000);
                    fs::write(path(turn), &text).unwrap();
                    let moved = mnt.join(format!("a/moved-{thread}"));
                    fs::rename(path(turn), &moved).unwrap();
                    assert!(fs::read(&moved).unwrap() == text, "turn {turn}");
                    turn += 1;
                }
                progress(format_args!("thread {thread}: {turn} turns"));
            });
        }
        let began = Instant::now();
        let mut rewraps = 0;
        while began.elapsed() < Duration::from_secs(6) {
            for to in ["alias/new", "alias/old"] {
                let output = rewrap(&volume, &[mnt.to_str().unwrap(), "--to", to]);
                let done = told(&output);
                assert_eq!(done["failed"], 0, "{done}");
                rewraps += 1;
            }
        }
        ended.store(true, Ordering::Relaxed);
        progress(format_args!("{rewraps} rewraps"));
    });
    let done = told(&rewrap(&volume, &[mnt.to_str().unwrap()]));
    assert_eq!(done["former"], json!([]));
    key(&volume, "disable", "alias/new");
    std::thread::sleep(NOTICED);
    assert_content(&volume);
    assert_many(&volume, 300);
}

#[test]
fn no_error_is_seen_by_fio_while_all_is_rewrapped() {
    let volume = volume();
    many(&volume, 2000);
    let mut fio = Command::new("fio");
    fio.args(["--name=verify", "--rw=randwrite", "--bs=4k", "--size=24m", "--numjobs=2", "--verify=crc32c"]);
    fio.args([
        "--verify_fatal=1",
        "--do_verify=1",
        "--loops=3",
        "--fsync=64",
        "--verify_state_save=0",
        "--output=/dev/null",
    ]);
    fio.arg(format!("--directory={}", volume.mnt().display()));
    let mut fio = fio.spawn().unwrap();
    let mut rewraps = 0;
    let status = loop {
        for to in ["alias/new", "alias/old"] {
            told(&rewrap(&volume, &[volume.mnt().to_str().unwrap(), "--to", to]));
            rewraps += 1;
        }
        if let Some(status) = fio.try_wait().unwrap() {
            break status;
        }
    };
    progress(format_args!("{rewraps} rewraps"));
    assert!(status.success() && rewraps >= 2, "{status}");
    assert_many(&volume, 2000);
}

#[test]
fn links_holes_and_empty_files_keep_what_they_are() {
    let mut volume = volume();
    fs::hard_link(volume.path("f"), volume.path("a/link")).unwrap();
    fs::write(volume.path("empty"), b"").unwrap();
    let sparse = File::create(volume.path("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    sparse.write_all_at(b"end", (1 << 30) - 3).unwrap();
    drop(sparse);
    let long: PathBuf = volume.path("n".repeat(255));
    fs::write(&long, b"long").unwrap();
    let blocks = fs::metadata(volume.path("sparse")).unwrap().blocks();
    let done = told(&rewrap(&volume, &[volume.mnt().to_str().unwrap(), "--to", "alias/new"]));
    assert_eq!((&done["rewrapped"], &done["failed"]), (&json!(7), &json!(0)), "{done}");
    key(&volume, "disable", "alias/old");
    volume.remount();
    assert_content(&volume);
    assert_eq!(fs::read(&long).unwrap(), b"long");
    assert_eq!(fs::metadata(volume.path("empty")).unwrap().len(), 0);
    let sparse = fs::metadata(volume.path("sparse")).unwrap();
    assert_eq!((sparse.len(), sparse.blocks()), (1 << 30, blocks));
    assert_eq!(fs::metadata(volume.path("f")).unwrap().nlink(), 2);
    volume.unmount();
    volume.assert_clean();
}
