//! One file against a plain byte vector: random operations, checkpoints, remounts, killed daemons.

use super::super::testing::{Scratch, Session, content};
use super::super::{Error, geometry};
use super::{File, KeyState};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[derive(Debug, Clone)]
enum Op {
    Write(u64, usize, u8),
    SetLen(u64),
    Punch(u64, u64),
    Zero(u64, u64, bool),
    Sync,
    Checkpoint,
    Reopen,
    Remount,
    Kill,
    Suspend(bool),
    Seek(u64),
}

/// Positions cluster around block and group boundaries.
fn position() -> impl Strategy<Value = u64> {
    let edge =
        prop_oneof![Just(0u64), Just(4096), Just(8192), Just(95 * 4096), Just(96 * 4096), Just(97 * 4096)];
    prop_oneof![3 => (edge, 0u64..5000).prop_map(|(e, d)| (e + d).saturating_sub(2500)), 1 => 0u64..420_000]
}

fn op() -> impl Strategy<Value = Op> {
    let size = prop_oneof![4 => 1usize..9000, 1 => 1usize..60_000];
    prop_oneof![
        8 => (position(), size, any::<u8>()).prop_map(|(at, n, b)| Op::Write(at, n, b)),
        3 => position().prop_map(Op::SetLen),
        2 => position().prop_map(|p| Op::SetLen(p / 4096 * 4096)),
        2 => (position(), 0u64..30_000).prop_map(|(at, n)| Op::Punch(at, n)),
        1 => (position(), 0u64..30_000, any::<bool>()).prop_map(|(at, n, k)| Op::Zero(at, n, k)),
        2 => Just(Op::Sync),
        2 => Just(Op::Checkpoint),
        2 => Just(Op::Reopen),
        1 => Just(Op::Remount),
        1 => Just(Op::Kill),
        2 => any::<bool>().prop_map(Op::Suspend),
        1 => position().prop_map(Op::Seek),
    ]
}

fn zero(model: &mut [u8], at: u64, end: u64) {
    let end = (end as usize).min(model.len());
    if (at as usize) < end {
        model[at as usize..end].fill(0);
    }
}

struct Run {
    scratch: Scratch,
    session: Option<Session>,
    file: Option<Arc<File>>,
    model: Vec<u8>,
}

impl Run {
    fn new(power: bool) -> Run {
        let scratch = Scratch::new(power);
        let session = scratch.open();
        let file = session.create("f");
        Run { scratch, session: Some(session), file: Some(file), model: Vec::new() }
    }

    fn file(&self) -> &File {
        self.file.as_ref().expect("open")
    }

    fn reopen(&mut self, between: impl FnOnce(&Scratch, Session) -> Session) {
        let file = self.file.take().expect("open");
        file.close_handle().expect("closes");
        drop(file);
        let session = between(&self.scratch, self.session.take().expect("mounted"));
        self.file = Some(session.open("f").expect("opens again"));
        self.session = Some(session);
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Write(at, n, byte) => {
                let data: Vec<u8> = (0..n).map(|i| byte.wrapping_add((i / 7) as u8)).collect();
                self.file().write(at, &data).expect("writes");
                let end = at as usize + n;
                if self.model.len() < end {
                    self.model.resize(end, 0);
                }
                self.model[at as usize..end].copy_from_slice(&data);
            }
            Op::SetLen(len) => {
                self.file().set_len(len).expect("sets the length");
                self.model.resize(len as usize, 0);
            }
            Op::Punch(at, n) => {
                self.file().punch(at, n).expect("punches");
                zero(&mut self.model, at, at + n);
            }
            Op::Zero(at, n, keep) => {
                self.file().zero_range(at, n, keep).expect("zeroes");
                if !keep && self.model.len() < (at + n) as usize {
                    self.model.resize((at + n) as usize, 0);
                }
                zero(&mut self.model, at, at + n);
            }
            Op::Sync => self.file().sync(true).expect("syncs"),
            Op::Checkpoint => {
                self.session.as_ref().expect("mounted").store.checkpoint().expect("checkpoints")
            }
            Op::Suspend(let_go) => {
                self.session.as_ref().expect("mounted").store.suspend_keys();
                if let_go {
                    assert!(self.file().let_go_of_key().expect("lets go"));
                }
            }
            Op::Reopen => self.reopen(|_, session| session),
            Op::Remount => self.reopen(|scratch, session| {
                session.close();
                let session = scratch.open();
                assert!(session.recovered.is_none(), "a clean unmount leaves nothing to recover");
                session
            }),
            Op::Kill => {
                // Nothing is closed: the daemon is gone, the lower kernel keeps what it was given.
                let (file, session) = (self.file.take(), self.session.take());
                std::mem::forget((file, session));
                let session = self.scratch.open();
                assert_eq!(session.recovered.map(|r| (r.damaged, r.skipped)), Some((0, 0)));
                self.file = Some(session.open("f").expect("opens after the kill"));
                self.session = Some(session);
            }
            Op::Seek(at) => self.seek(at),
        }
        assert_eq!(self.file().len(), self.model.len() as u64, "length after {op:?}");
    }

    fn seek(&self, at: u64) {
        let hole = self.file().seek(at, libc::SEEK_HOLE);
        let data = self.file().seek(at, libc::SEEK_DATA);
        if at >= self.model.len() as u64 {
            assert!(hole.is_err() && data.is_err());
            return;
        }
        let hole = hole.expect("there is a hole at the end");
        assert!(hole >= at && hole <= self.model.len() as u64);
        let upto = data.map_or(self.model.len() as u64, |d| d);
        let skipped = &self.model[at as usize..upto as usize];
        assert!(skipped.iter().all(|b| *b == 0), "SEEK_DATA skipped data");
    }

    fn check(&self) {
        let got = content(self.file()).expect("reads");
        let first = got.iter().zip(&self.model).position(|(a, b)| a != b);
        assert_eq!(first, None, "first difference");
        assert_eq!(got.len(), self.model.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_file_is_what_was_written(power in any::<bool>(), ops in prop::collection::vec(op(), 1..40)) {
        let mut run = Run::new(power);
        for op in &ops {
            run.apply(op);
            run.check();
        }
        run.apply(&Op::Remount);
        run.check();
    }
}

#[test]
fn sizes_around_every_boundary() {
    let scratch = Scratch::new(true);
    let sizes = [0u64, 1, 4095, 4096, 4097, 393_215, 393_216, 393_217, 1 << 20];
    let session = scratch.open();
    for size in sizes {
        let file = session.create(&size.to_string());
        file.write(0, &vec![size as u8; size as usize]).expect("writes");
        file.close_handle().expect("closes");
    }
    session.close();
    let session = scratch.open();
    for size in sizes {
        let lower = std::fs::metadata(scratch.dir.join(size.to_string())).expect("exists").len();
        assert_eq!(lower, geometry::lower_len(size), "lower size of {size}");
        let file = session.open(&size.to_string()).expect("opens");
        assert_eq!(content(&file).expect("reads"), vec![size as u8; size as usize]);
    }
}

#[test]
fn five_gib_of_hole_cost_nothing() {
    let scratch = Scratch::new(true);
    let session = scratch.open();
    let file = session.create("f");
    file.set_len(5 << 30).expect("grows");
    file.write((5 << 30) - 3, b"end").expect("writes");
    let mut out = Vec::new();
    file.read((5 << 30) - 10, 100, &mut out).expect("reads");
    assert_eq!(out, b"\0\0\0\0\0\0\0end");
    assert_eq!(file.seek(0, libc::SEEK_DATA).expect("data"), (5 << 30) - 4096);
    file.close_handle().expect("closes");
    let lower = session.lower.fstat(file.fd()).expect("stat");
    assert!(lower.blocks * 512 < 1 << 20, "{} blocks in use", lower.blocks);
}

#[test]
fn without_the_key_nothing_opens_and_nothing_is_lost() {
    let scratch = Scratch::new(true);
    let session = scratch.open();
    let file = session.create("f");
    file.write(0, &[1; 10_000]).expect("writes");
    file.sync(true).expect("syncs");
    file.write(100, &[2; 6000]).expect("overwrites");
    file.write(10_000, &[3; 100]).expect("appends");
    scratch.switch.off.store(true, Ordering::SeqCst);
    session.keyring.flush();
    session.store.suspend_keys();
    assert!(file.let_go_of_key().expect("lets go"));
    let refused = |r: Result<(), Error>| matches!(r, Err(Error::Key(_)));
    assert!(refused(file.read(0, 10, &mut Vec::new())));
    assert!(refused(file.write(0, b"x")));
    assert!(refused(session.open("f").map(drop)));
    file.close_handle().expect("closes");
    drop(file);
    session.close();
    scratch.switch.off.store(false, Ordering::SeqCst);
    let session = scratch.open();
    let mut want = vec![1; 10_000];
    want[100..6100].fill(2);
    want.extend([3; 100]);
    assert_eq!(content(&session.open("f").expect("opens")).expect("reads"), want);
}

#[test]
fn a_file_that_hangs_keeps_no_key_alive() {
    let scratch = Scratch::new(true);
    let session = scratch.open();
    let files = ["read", "sealed", "idle"].map(|name| session.create(name));
    for file in &files {
        file.write(0, &[1; 10_000]).expect("writes");
    }
    let [read, sealed, idle] = &files;
    // What a request holds while the lower filesystem does not answer.
    let hanging_read = read.ranges.shared(0..1);
    let hanging_seal = sealed.inner.lock();
    scratch.switch.off.store(true, Ordering::SeqCst);
    session.keyring.flush();
    let (sender, done) = std::sync::mpsc::channel();
    let store = session.store.clone();
    std::thread::spawn(move || {
        store.suspend_keys();
        sender.send(())
    });
    done.recv_timeout(Duration::from_secs(60)).expect("nobody is waited for");
    for file in [read, idle] {
        assert!(matches!(file.read(0, 10, &mut Vec::new()), Err(Error::Key(_))));
    }
    assert!(files.iter().all(|file| !matches!(*file.data_key.lock(), KeyState::Held(_))));
    assert!(idle.let_go_of_key().expect("lets go") && !read.let_go_of_key().expect("stays"));
    drop((hanging_read, hanging_seal));
    for file in [read, sealed] {
        assert!(file.let_go_of_key().expect("lets go"));
        assert!(matches!(*file.data_key.lock(), KeyState::Gone(_)));
    }
    scratch.switch.off.store(false, Ordering::SeqCst);
    for file in &files {
        assert_eq!(content(file).expect("reads again"), [1; 10_000]);
    }
}

#[test]
fn a_read_that_took_until_its_key_was_gone_asks_again() {
    let scratch = Scratch::new(true);
    let session = scratch.open();
    let file = session.create("f");
    file.write(0, &[1; 10_000]).expect("writes");
    let hanging = file.inner.lock();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| file.read(0, 10, &mut Vec::new()));
        // The range is what a read takes once it has its key.
        while file.ranges.try_whole().is_some() {
            std::thread::yield_now();
        }
        scratch.switch.off.store(true, Ordering::SeqCst);
        session.keyring.flush();
        session.store.suspend_keys();
        drop(hanging);
        assert!(matches!(reader.join().expect("no panic"), Err(Error::Key(_))));
    });
}

#[test]
fn a_slot_that_could_not_be_written_leaves_the_other_one_alone() {
    let scratch = Scratch::new(true);
    let session = scratch.open();
    let file = session.create("f");
    file.write(0, &[1; 10_000]).expect("writes");
    file.sync(true).expect("syncs");
    drop(file);
    session.store.checkpoint().expect("a checkpoint");
    let file = session.open_with("f", libc::O_RDONLY).expect("opens");
    let before = file.slot();
    for _ in 0..2 {
        assert!(file.punch(0, 4096).is_err(), "the descriptor takes no writes");
        assert_eq!(file.slot(), before);
    }
}

#[test]
fn recovery_writes_a_torn_slot_anew() {
    let scratch = Scratch::new(true);
    let session = scratch.open();
    let file = session.create("f");
    file.write(0, &[1; 10_000]).expect("writes");
    file.sync(true).expect("syncs");
    let generation = file.slot().generation;
    std::mem::forget((file, session));
    let path = scratch.dir.join("f");
    let mut lower = std::fs::read(&path).expect("reads");
    let older = (generation as usize + 1) % 2 * 512;
    lower[older + 490] ^= 1;
    std::fs::write(&path, &lower).expect("writes");
    let session = scratch.open();
    assert_eq!(session.recovered.map(|r| (r.mended, r.damaged)), Some((1, 0)));
    let file = session.open("f").expect("opens by the strict rule");
    assert_eq!(content(&file).expect("reads"), [1; 10_000]);
}
