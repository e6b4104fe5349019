//! The first change in place that a session makes to an older file: its ctime is made durable before, once, and by
//! nobody who need not.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "the recorder can do more")]

#[path = "common/changes.rs"]
mod changes;
#[path = "common/memory.rs"]
mod memory;
#[path = "common/recorder.rs"]
mod recorder;

use changes::{Op, Role};
use kmsfs::fs::{Backing, Caller, Filesystem, Handle, ROOT};
use kmsfs::volume::store::FileStore;
use kmsfs::volume::{Durability, Volume};
use memory::{Scratch, open_volume};
use recorder::Recorder;
use std::ffi::OsStr;
use std::sync::Arc;

const BLOCK: usize = 4096;
const CALLER: Caller = Caller { uid: 0, gid: 0, pid: 0 };

/// A mount of a volume with the file `old` of an earlier session, two blocks long.
struct Session {
    fs: Filesystem,
    store: FileStore,
    recorder: Arc<Recorder>,
    _scratch: Scratch,
}

impl Session {
    fn second(durability: Durability) -> Session {
        let scratch = Scratch::new();
        let before = scratch.open();
        let (_, file) = before.create(&CALLER, ROOT, OsStr::new("old"), 0o644, 0, libc::O_RDWR).unwrap();
        before.write(&CALLER, file, 0, &[1; 2 * BLOCK], false).unwrap();
        before.release(file);
        before.shutdown().unwrap();
        drop(before);
        let recorder = Arc::new(Recorder::new(scratch.path()));
        let opened = open_volume(scratch.path(), Arc::clone(&recorder) as _, durability).unwrap();
        let Volume { lower, root, config, keys, store, .. } = opened;
        let fs = Filesystem::new(Backing { lower, root, config, keys, store: store.clone() }).unwrap();
        Session { fs, store, recorder, _scratch: scratch }
    }

    fn open(&self, name: &str) -> Handle {
        let ino = self.fs.lookup(ROOT, OsStr::new(name)).unwrap().ino;
        self.fs.open(ino).unwrap()
    }

    fn write(&self, file: Handle, at: usize, len: usize) -> Result<(), kmsfs::fs::Error> {
        self.fs.write(&CALLER, file, at as u64, &vec![2; len], false)
    }

    /// What happened to the contents of files since the mount: `t`ouched, `s`ynced with the inode, `d`ata synced,
    /// `w`ritten.
    fn told(&self) -> String {
        let log = self.recorder.stop();
        let content = |node: &usize| log.roles[*node] == Role::Content;
        let each = log.ops.iter().filter_map(|op| match op {
            Op::Touch { node } if content(node) => Some('t'),
            Op::Sync { node, data_only } if content(node) => Some(if *data_only { 'd' } else { 's' }),
            Op::Write { node, .. } if content(node) => Some('w'),
            _ => None,
        });
        let mut told: Vec<char> = each.collect();
        told.dedup();
        told.into_iter().collect()
    }
}

#[test]
fn an_older_file_is_announced_before_it_changes_and_once_for_all_its_writers() {
    let session = Session::second(Durability::Power);
    let files = [session.open("old"), session.open("old")];
    std::thread::scope(|scope| {
        for (i, file) in files.iter().enumerate() {
            let session = &session;
            scope.spawn(move || {
                for turn in 0..8 {
                    session.write(*file, (4 + 2 * turn + i) * BLOCK, BLOCK).unwrap();
                }
            });
        }
    });
    for file in files {
        session.fs.release(file);
    }
    let again = session.open("old");
    session.write(again, 40 * BLOCK, BLOCK).unwrap();
    let told = session.told();
    assert!(told.starts_with("tsw"), "{told}");
    assert_eq!(told.matches('s').count(), 1, "{told}");
}

#[test]
fn an_overwrite_is_announced_by_nobody_and_its_checkpoint_serves_for_what_follows() {
    let session = Session::second(Durability::Power);
    let file = session.open("old");
    session.write(file, 0, BLOCK).unwrap();
    session.write(file, BLOCK + 10, 50).unwrap();
    session.fs.fsync(file, true).unwrap();
    session.fs.release(file);
    session.store.checkpoint().unwrap();
    let file = session.open("old");
    session.write(file, 2 * BLOCK, BLOCK).unwrap();
    // The fsync's, with nothing written yet; the checkpoint's blocks and header, its time, its sync; the header for more
    // seals, whose time is put back; the new block.
    assert_eq!(session.told(), "dwtswtw");
}

#[test]
fn a_failed_announcement_fails_the_write_and_the_next_one_tries_again() {
    let session = Session::second(Durability::Power);
    let file = session.open("old");
    session.recorder.fail_syncs(true);
    assert_eq!(session.write(file, 2 * BLOCK, BLOCK).unwrap_err().errno(), libc::EIO);
    let mut content = Vec::new();
    session.fs.read(file, 0, 3 * BLOCK, &mut content).unwrap();
    assert!(content == [1; 2 * BLOCK]);
    session.recorder.fail_syncs(false);
    session.write(file, 2 * BLOCK, BLOCK).unwrap();
    assert_eq!(session.told(), "tsw");
}

#[test]
fn files_of_the_session_and_sessions_that_survive_no_power_cut_announce_nothing() {
    let session = Session::second(Durability::Power);
    let (_, file) = session.fs.create(&CALLER, ROOT, OsStr::new("new"), 0o644, 0, libc::O_RDWR).unwrap();
    session.write(file, 0, BLOCK).unwrap();
    session.fs.release(file);
    let file = session.open("new");
    session.write(file, BLOCK, BLOCK).unwrap();
    assert!(!session.told().contains(['s', 'd']));

    let session = Session::second(Durability::Process);
    let file = session.open("old");
    session.write(file, 2 * BLOCK, BLOCK).unwrap();
    // The header, for seals; its time, put back; the block.
    assert_eq!(session.told(), "wtw");
}
