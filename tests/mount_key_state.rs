//! The mount obeys the KMS: a key that is disabled stops every reader within a second, loses no acknowledged write,
//! and gives everything back once it is enabled, without a remount.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{
    tools::{bytes, ok, progress},
    volume::{Volume, wait_until},
};
use rustix::io::Errno;

/// What issue and threat model promise.
const PROMISE: Duration = Duration::from_secs(1);

/// A mounted volume under a customer managed key, which, unlike the filesystem's own, can be disabled.
fn volume_under_own_key() -> Volume {
    let mut volume = Volume::bare();
    volume.keystore_create();
    ok(volume.kmsfs("key").args(["create", "--alias", "alias/volume"]));
    volume.init(&["--key", "alias/volume"]);
    volume.mount();
    volume
}

/// Runs `kmsfs key ACTION` on the volume's key, and returns when the change was acknowledged.
fn key(volume: &Volume, action: &str) -> Instant {
    ok(volume.kmsfs("key").args([action, "alias/volume"]));
    Instant::now()
}

fn is_nokey<T>(result: &io::Result<T>) -> bool {
    result.as_ref().err().and_then(io::Error::raw_os_error) == Some(Errno::NOKEY.raw_os_error())
}

/// Asserts that `attempt` comes to fail with ENOKEY within the promised time after `since`, and only with that.
fn assert_stops<T>(since: Instant, what: &str, mut attempt: impl FnMut() -> io::Result<T>) {
    let stopped = wait_until(PROMISE, || {
        let result = attempt();
        assert!(result.is_ok() || is_nokey(&result), "{what}: {:?}", result.err());
        result.is_err()
    });
    let after = since.elapsed();
    assert!(stopped && after <= PROMISE, "{what} still works {after:?} after the key was disabled");
    progress(format_args!("{what}: ENOKEY {} ms after the change", after.as_millis()));
}

fn read_first_byte(file: &File) -> io::Result<u8> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, 0)?;
    Ok(byte[0])
}

#[test]
fn a_disabled_key_stops_opens_and_reads_of_open_files_within_a_second() {
    let volume = volume_under_own_key();
    let path = volume.path("file");
    fs::write(&path, bytes(1, 200_000)).unwrap();
    let open = File::open(&path).unwrap();
    read_first_byte(&open).unwrap();
    let since = key(&volume, "disable");
    assert_stops(since, "a cached read of an open file", || read_first_byte(&open));
    assert_stops(since, "an open", || File::open(&path));
    assert_stops(since, "a new file", || File::create_new(volume.path("new")));
    assert!(is_nokey(&fs::read(&path)));
    let direct = File::options().read(true).custom_flags(libc::O_DIRECT).open(&path);
    assert!(is_nokey(&direct));
}

#[test]
fn an_enabled_key_brings_everything_back_without_a_remount() {
    let volume = volume_under_own_key();
    let path = volume.path("file");
    let content = bytes(2, 300_000);
    fs::write(&path, &content).unwrap();
    let open = File::options().read(true).write(true).open(&path).unwrap();
    for _ in 0..3 {
        let since = key(&volume, "disable");
        assert_stops(since, "an open", || File::open(&path));
        key(&volume, "enable");
        let back = wait_until(PROMISE, || File::open(&path).is_ok() && read_first_byte(&open).is_ok());
        assert!(back, "the file does not open a second after its key was enabled");
        assert!(fs::read(&path).unwrap() == content);
        open.write_all_at(&content[..10], 0).unwrap();
    }
    fs::write(volume.path("new"), b"made after the key came back").unwrap();
    assert_eq!(fs::read(volume.path("new")).unwrap(), b"made after the key came back");
}

/// A writer that overwrites blocks in turn until told to stop, and knows which writes were acknowledged.
struct Writer<'a> {
    file: &'a File,
    /// For each block the rounds that were acknowledged last, and tried last.
    rounds: Mutex<Vec<(u64, u64)>>,
}

const BLOCKS: u64 = 64;

impl Writer<'_> {
    fn run(&self, seed: u64, stop: &AtomicBool) {
        for round in 1.. {
            for block in 0..BLOCKS {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                self.rounds.lock().unwrap()[block as usize].1 = round;
                let written = self.file.write_all_at(&content(seed, block, round), block * 4096);
                if written.is_ok() {
                    self.rounds.lock().unwrap()[block as usize].0 = round;
                } else {
                    assert!(is_nokey(&written), "{:?}", written.err());
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }

    /// Each block holds the write acknowledged last, or a later one that was not acknowledged.
    fn assert_nothing_lost(&self, seed: u64, path: &Path) {
        let found = fs::read(path).unwrap();
        for (block, (acknowledged, tried)) in self.rounds.lock().unwrap().iter().enumerate() {
            let block = block as u64;
            let have = &found[block as usize * 4096..][..4096];
            let any = (*acknowledged..=*tried).any(|round| have == content(seed, block, round));
            assert!(any, "block {block} holds none of the rounds {acknowledged} to {tried}");
        }
    }
}

fn content(seed: u64, block: u64, round: u64) -> Vec<u8> {
    bytes(seed * 1_000_000_007 + block * 1_000_003 + round, 4096)
}

#[test]
fn no_acknowledged_write_is_lost_while_the_key_comes_and_goes() {
    let mut volume = volume_under_own_key();
    let paths = [0, 1, 2].map(|index| volume.path(format!("file-{index}")));
    let files = paths.each_ref().map(|path| {
        let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
        file.set_len(BLOCKS * 4096).unwrap();
        file
    });
    let zeros = |file| Writer { file, rounds: Mutex::new(vec![(0, 0); BLOCKS as usize]) };
    let writers = files.each_ref().map(zeros);
    for (seed, writer) in writers.iter().enumerate() {
        for block in 0..BLOCKS {
            writer.file.write_all_at(&content(seed as u64, block, 0), block * 4096).unwrap();
        }
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for (seed, writer) in writers.iter().enumerate() {
            let stop = &stop;
            scope.spawn(move || writer.run(seed as u64, stop));
        }
        for turn in 1..=5 {
            thread::sleep(Duration::from_millis(300));
            let since = key(&volume, "disable");
            assert_stops(since, "an open among writers", || File::open(&paths[0]));
            thread::sleep(Duration::from_millis(300));
            key(&volume, "enable");
            progress(format_args!("turn {turn} of 5"));
        }
        thread::sleep(Duration::from_millis(500));
        stop.store(true, Ordering::Relaxed);
    });
    let check = |paths: &[std::path::PathBuf]| {
        for (seed, (writer, path)) in writers.iter().zip(paths).enumerate() {
            writer.assert_nothing_lost(seed as u64, path);
        }
    };
    check(&paths);
    let most = writers.iter().map(|writer| writer.rounds.lock().unwrap()[0].0).max().unwrap();
    assert!(most > 10, "the writers wrote too little to prove anything: {most} rounds");
    for file in &files {
        file.sync_all().unwrap();
    }
    let writers_done = writers.map(|writer| writer.rounds.into_inner().unwrap());
    drop(files);
    volume.remount();
    for (seed, rounds) in writers_done.into_iter().enumerate() {
        let file = File::open(&paths[seed]).unwrap();
        Writer { file: &file, rounds: Mutex::new(rounds) }.assert_nothing_lost(seed as u64, &paths[seed]);
    }
    volume.unmount();
    volume.assert_clean();
}

#[test]
fn an_unmount_while_the_key_is_disabled_loses_nothing() {
    let mut volume = volume_under_own_key();
    let path = volume.path("file");
    fs::write(&path, bytes(1, 100_000)).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&bytes(2, 50_000), 10_000).unwrap();
    let since = key(&volume, "disable");
    assert_stops(since, "an open", || File::open(&path));
    drop(file);
    volume.unmount();
    let refused = volume.refused_mount(&mut volume.mount_command());
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(message.contains("disabled"), "{message}");
    key(&volume, "enable");
    volume.mount();
    let mut found = Vec::new();
    File::open(&path).unwrap().read_to_end(&mut found).unwrap();
    let mut expected = bytes(1, 100_000);
    expected[10_000..60_000].copy_from_slice(&bytes(2, 50_000));
    assert!(found == expected);
}

#[test]
fn a_keystore_that_goes_away_stops_every_reader_and_loses_nothing() {
    let mut volume = volume_under_own_key();
    let path = volume.path("file");
    let mut content = bytes(3, 200_000);
    fs::write(&path, &content).unwrap();
    let open = File::options().read(true).write(true).open(&path).unwrap();
    let (keystore, aside) = (volume.keystore(), volume.scratch("keystore"));
    for replaced in [false, true] {
        let news = bytes(4 + u64::from(replaced), 20_000);
        open.write_all_at(&news, 5_000).unwrap();
        content[5_000..25_000].copy_from_slice(&news);
        read_first_byte(&open).unwrap();
        fs::rename(&keystore, &aside).unwrap();
        if replaced {
            fs::copy(&aside, &keystore).unwrap();
        }
        let since = Instant::now();
        assert_stops(since, "a cached read of an open file", || read_first_byte(&open));
        assert_stops(since, "an open", || File::open(&path));
        assert_stops(since, "a write", || open.write_all_at(b"x", 0));
        // What serves no longer must not come back from a cache either.
        thread::sleep(Duration::from_millis(500));
        assert!(is_nokey(&read_first_byte(&open)) && is_nokey(&File::open(&path)));
        fs::rename(&aside, &keystore).unwrap();
        let back = wait_until(PROMISE, || File::open(&path).is_ok() && read_first_byte(&open).is_ok());
        assert!(back, "the file does not open a second after the keystore was back");
        assert!(fs::read(&path).unwrap() == content);
    }
    drop(open);
    volume.remount();
    assert!(fs::read(&path).unwrap() == content);
}

#[test]
fn rotated_material_opens_old_files_and_new_ones() {
    let mut volume = volume_under_own_key();
    fs::write(volume.path("old"), b"under the first material").unwrap();
    key(&volume, "rotate");
    fs::write(volume.path("new"), b"under the second material").unwrap();
    volume.remount();
    assert_eq!(fs::read(volume.path("old")).unwrap(), b"under the first material");
    assert_eq!(fs::read(volume.path("new")).unwrap(), b"under the second material");
}
