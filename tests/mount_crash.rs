//! A daemon killed in the middle of its work, many times: the volume mounts again, everything in it authenticates,
//! and every write that was acknowledged is there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use common::{
    tools::{bytes, progress},
    volume::Volume,
};

const KILLS: u64 = 50;
const BLOCKS: u64 = 200;
const FILES: u64 = 3;

/// Overwritten files: for each file and block, the rounds acknowledged last and tried last.
type Rounds = Mutex<BTreeMap<(u64, u64), (u64, u64)>>;

fn content(file: u64, block: u64, round: u64) -> Vec<u8> {
    bytes(file * 1_000_000_007 + block * 1_000_003 + round, 4096)
}

fn name(file: u64) -> String {
    format!("overwritten-{file}")
}

/// Overwrites random blocks until the mount dies, with an fsync now and then.
fn overwrite(path: &Path, file: u64, start: u64, rounds: &Rounds) {
    let Ok(open) = File::options().write(true).open(path) else { return };
    for round in start.. {
        let block = (round * 7919 + round / BLOCKS) % BLOCKS;
        rounds.lock().unwrap().get_mut(&(file, block)).unwrap().1 = round;
        if open.write_all_at(&content(file, block, round), block * 4096).is_err() {
            return;
        }
        rounds.lock().unwrap().get_mut(&(file, block)).unwrap().0 = round;
        if round.is_multiple_of(50) && open.sync_data().is_err() {
            return;
        }
    }
}

/// Creates files under a temporary name, syncs them and renames them into place until the mount dies.
fn replace(dir: &Path, start: u64, replaced: &Mutex<BTreeMap<PathBuf, (u64, u64)>>) {
    for round in start.. {
        let target = dir.join(format!("replaced-{}", round % 10));
        let temporary = dir.join(format!("temporary-{}", round % 10));
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&temporary)?;
            file.write_all(&bytes(round, 5000))?;
            file.sync_all()?;
            replaced.lock().unwrap().entry(target.clone()).or_insert((0, 0)).1 = round;
            fs::rename(&temporary, &target)?;
            File::open(dir)?.sync_all()
        };
        if write().is_err() {
            return;
        }
        replaced.lock().unwrap().get_mut(&target).unwrap().0 = round;
    }
}

fn assert_overwritten(volume: &Volume, rounds: &Rounds) {
    for file in 0..FILES {
        let found = fs::read(volume.path(name(file))).unwrap();
        assert_eq!(found.len() as u64, BLOCKS * 4096);
        for block in 0..BLOCKS {
            let entry = rounds.lock().unwrap()[&(file, block)];
            let have = &found[block as usize * 4096..][..4096];
            let held = [entry.0, entry.1].into_iter().find(|round| have == content(file, block, *round));
            let Some(held) = held else {
                panic!("file {file}, block {block}: neither round {} nor {}", entry.0, entry.1);
            };
            // What was found is what counts from now on.
            rounds.lock().unwrap().insert((file, block), (held, held));
        }
    }
}

fn assert_replaced(replaced: &Mutex<BTreeMap<PathBuf, (u64, u64)>>) {
    for (path, (acknowledged, tried)) in replaced.lock().unwrap().iter_mut() {
        if *acknowledged == 0 && !path.exists() {
            continue;
        }
        let found = fs::read(path).unwrap();
        let held = [*acknowledged, *tried].into_iter().find(|round| found == bytes(*round, 5000));
        assert!(held.is_some(), "{}: neither round {acknowledged} nor {tried}", path.display());
        (*acknowledged, *tried) = (held.unwrap(), held.unwrap());
    }
}

#[test]
fn fifty_kills_under_an_overwrite_load_lose_nothing_that_was_acknowledged() {
    let mut volume = Volume::mounted();
    let rounds = Rounds::default();
    for file in 0..FILES {
        let mut all = Vec::new();
        for block in 0..BLOCKS {
            all.extend(content(file, block, 0));
            rounds.lock().unwrap().insert((file, block), (0, 0));
        }
        fs::write(volume.path(name(file)), all).unwrap();
    }
    let replaced = Mutex::new(BTreeMap::new());
    let mut writes = 0;
    for kill in 1..=KILLS {
        let start = kill * 1_000_000;
        thread::scope(|scope| {
            for file in 0..FILES {
                let (path, rounds) = (volume.path(name(file)), &rounds);
                scope.spawn(move || overwrite(&path, file, start, rounds));
            }
            let (dir, replaced) = (volume.mnt(), &replaced);
            scope.spawn(move || replace(&dir, start, replaced));
            thread::sleep(Duration::from_millis(100 + kill * 37 % 400));
            volume.kill();
        });
        writes += rounds.lock().unwrap().values().filter(|(last, _)| *last >= start).count();
        if kill.is_multiple_of(10) {
            volume.assert_clean();
        }
        volume.mount();
        assert_overwritten(&volume, &rounds);
        assert_replaced(&replaced);
        if kill.is_multiple_of(10) {
            progress(format_args!("{kill} of {KILLS} kills, {writes} blocks overwritten between them"));
        }
    }
    assert!(writes > 1000, "too little was written between the kills to prove anything: {writes}");
    volume.unmount();
    volume.assert_clean();
}

#[test]
fn a_kill_while_files_are_made_and_removed_leaves_a_clean_volume() {
    let mut volume = Volume::mounted();
    for round in 0..10 {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for worker in 0..3 {
                let (mnt, stop) = (volume.mnt(), &stop);
                scope.spawn(move || churn(&mnt, round, worker, stop));
            }
            thread::sleep(Duration::from_millis(150 + round * 50));
            stop.store(true, Ordering::Relaxed);
            volume.kill();
        });
        volume.assert_clean();
        volume.mount();
        for dir in fs::read_dir(volume.mnt()).unwrap() {
            fs::remove_dir_all(dir.unwrap().path()).unwrap();
        }
    }
    volume.unmount();
    volume.assert_clean();
}

/// Makes directories and files with short and long names, moves and removes them.
fn churn(mnt: &Path, round: u64, worker: u64, stop: &AtomicBool) {
    let work = |turn: u64| -> std::io::Result<()> {
        let dir = mnt.join(format!("dir-{round}-{worker}-{turn}"));
        fs::create_dir(&dir)?;
        fs::write(dir.join("l".repeat(250)), bytes(turn, 10_000))?;
        fs::rename(dir.join("l".repeat(250)), dir.join("m".repeat(240)))?;
        let moved = mnt.join(format!("moved-{worker}"));
        fs::create_dir_all(&moved)?;
        fs::rename(&dir, moved.join(format!("{round}-{turn}")))?;
        if turn.is_multiple_of(2) {
            fs::remove_dir_all(moved.join(format!("{round}-{turn}")))?;
        }
        Ok(())
    };
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) || work(turn).is_err() {
            return;
        }
    }
}

/// `command`, run with the limit of open descriptors that Linux has unless told otherwise, and no way to raise it.
fn limited(command: &Command) -> Command {
    let mut limited = Command::new("prlimit");
    limited.arg("--nofile=1024:1024").arg(command.get_program()).args(command.get_args());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited
}

#[test]
fn the_usual_limit_of_descriptors_is_enough_for_more_directories_and_files_than_that() {
    const DIRECTORIES: u64 = 1500;
    let mut volume = Volume::unmounted();
    let mut mount = limited(&volume.mount_command());
    volume.mount_with(&mut mount);
    let paths: Vec<_> = (0..DIRECTORIES).map(|n| volume.path(format!("{n}"))).collect();
    for (seed, dir) in paths.iter().enumerate() {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("file"), bytes(seed as u64, 5000)).unwrap();
    }
    // Changes that wait in the journal keep their files open.
    for (seed, dir) in paths.iter().enumerate() {
        let file = File::options().write(true).open(dir.join("file")).unwrap();
        file.write_all_at(&bytes(seed as u64 + DIRECTORIES, 3000), 0).unwrap();
    }
    volume.kill();
    let mut mount = limited(&volume.mount_command());
    volume.mount_with(&mut mount);
    for (seed, dir) in paths.iter().enumerate() {
        let mut expected = bytes(seed as u64, 5000);
        expected[..3000].copy_from_slice(&bytes(seed as u64 + DIRECTORIES, 3000));
        assert!(fs::read(dir.join("file")).unwrap() == expected, "{}", dir.display());
    }
    volume.unmount();
    volume.assert_clean();
}
