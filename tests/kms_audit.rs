//! The audit log under load: killed processes, full disks.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use kmsfs::{
    crypto::Key,
    kms::audit::{
        self, AuditLog, CallRecord, ChainKey, Durability, Event, Expectations, Options, Source, Unrecorded,
        Walk,
    },
};
use time::OffsetDateTime;
use uuid::Uuid;

/// Says to the child where its log is, and how calls wait.
const PLACE: &str = "KMSFS_TEST_AUDIT_PLACE";
const MODE: &str = "KMSFS_TEST_AUDIT_MODE";

fn key() -> ChainKey {
    ChainKey::new(Key::from_bytes(&mut [7; 32]))
}

fn record(number: u128) -> CallRecord {
    let source = Source::Address("192.0.2.7".parse().unwrap());
    let mut record = CallRecord::new(OffsetDateTime::now_utc(), Uuid::from_u128(number), source, "Decrypt");
    record.principal = Some("arn:aws:iam::000000000000:user/alice".to_owned());
    record.key = Some("arn:aws:kms:local:000000000000:key/3c24c1b0-9f6c-4a55-9c5e-2f5d7d2b4b6a".to_owned());
    record
}

fn open(directory: &Path, durability: Durability) -> AuditLog {
    // Small segments, so that processes die between them too.
    let options = Options { durability, segment_bytes: 1 << 20, ..Options::default() };
    AuditLog::open(directory, key(), options).unwrap()
}

fn events(directory: &Path) -> Vec<Event> {
    let mut walk = Walk::new(directory).unwrap();
    let mut events = Vec::new();
    while let Some(place) = walk.advance().unwrap() {
        events.extend(place.event());
    }
    events
}

/// Ids of the calls in a log in which nothing is wrong.
fn calls(directory: &Path) -> HashSet<u128> {
    let report = audit::verify(directory, &key(), &Expectations::default()).unwrap();
    assert_eq!(report.broken, None);
    let id = |event| match event {
        Event::Call(record) => Some(record.request_id.as_u128()),
        _ => None,
    };
    let calls: HashSet<_> = events(directory).into_iter().filter_map(id).collect();
    assert_eq!(calls.len() as u64, report.calls, "no call is there twice");
    calls
}

/// What is killed: four threads that make calls for ever and say which were recorded.
#[test]
#[ignore = "runs as the child of the tests that kill it"]
fn a_service_under_load() {
    let place = PathBuf::from(std::env::var_os(PLACE).unwrap());
    let durable = std::env::var(MODE).unwrap() == "durable";
    let log = open(&place, if durable { Durability::Durable } else { Durability::Buffered });
    let process = u128::from(std::process::id());
    thread::scope(|scope| {
        for thread in 0..4u128 {
            let log = &log;
            scope.spawn(move || {
                for number in 0.. {
                    let id = process << 80 | thread << 64 | number;
                    log.append(record(id)).wait().unwrap();
                    // Whole lines, so that those of the threads do not mix.
                    std::io::stdout().lock().write_all(format!("recorded {id}\n").as_bytes()).unwrap();
                    if !durable {
                        thread::sleep(Duration::from_micros(500));
                    }
                }
            });
        }
    });
}

/// Lets a process make calls for a while and kills it. Which calls it said were recorded, and how long before its end
/// it said so.
fn killed(directory: &Path, mode: &str, after: Duration) -> Vec<(u128, Duration)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "a_service_under_load", "--nocapture"])
        .env(PLACE, directory)
        .env(MODE, mode)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let reader = thread::spawn(move || {
        let said = output.lines().map_while(Result::ok).filter_map(|line| {
            let id = line.strip_prefix("recorded ")?.parse::<u128>().ok()?;
            Some((id, Instant::now()))
        });
        said.collect::<Vec<_>>()
    });
    thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    let end = Instant::now();
    let said = reader.join().unwrap();
    said.into_iter().map(|(id, at)| (id, end.saturating_duration_since(at))).collect()
}

#[test]
fn a_killed_process_loses_no_call_that_waited() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("audit");
    let mut recorded = HashSet::new();
    for round in 0..6 {
        let said = killed(&directory, "durable", Duration::from_millis(400 + 70 * round));
        recorded.extend(said.into_iter().map(|(id, _)| id));
        let found = calls(&directory);
        let lost: Vec<_> = recorded.difference(&found).collect();
        assert!(lost.is_empty(), "{} of {} recorded calls are missing", lost.len(), recorded.len());
    }
    assert!(recorded.len() > 100, "{} calls", recorded.len());
}

#[test]
fn a_killed_process_loses_only_its_last_calls_where_none_waits() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("audit");
    for round in 0..3 {
        let said = killed(&directory, "buffered", Duration::from_millis(1800 + 70 * round));
        let found = calls(&directory);
        let old: Vec<_> = said.iter().filter(|(_, age)| *age > Duration::from_secs(1)).collect();
        assert!(old.len() > 100, "{} calls", old.len());
        let lost = old.iter().filter(|(id, _)| !found.contains(id)).count();
        assert_eq!(lost, 0, "of {} calls that were recorded a second before the end", old.len());
    }
    let started = events(&directory).iter().filter(|event| matches!(event, Event::Started { .. })).count();
    assert_eq!(started, 3);
}

/// A filesystem of 24 MiB with room for one MiB, until its ballast is thrown away.
struct SmallDisk {
    place: tempfile::TempDir,
}

impl SmallDisk {
    fn new() -> SmallDisk {
        let disk = SmallDisk { place: tempfile::tempdir().unwrap() };
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m,mode=755", "tmpfs"])
            .arg(disk.place.path())
            .status();
        assert!(mounted.unwrap().success(), "this test needs to be root");
        fs::write(disk.ballast(), vec![0; 23 << 20]).unwrap();
        disk
    }

    fn ballast(&self) -> PathBuf {
        self.place.path().join("ballast")
    }

    fn audit(&self) -> PathBuf {
        self.place.path().join("audit")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.place.path()).status();
    }
}

/// Waits until `done`; generous, since it says nothing about speed.
fn eventually(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_full_disk_stops_calls_that_wait_until_there_is_room() {
    let disk = SmallDisk::new();
    let log = open(&disk.audit(), Durability::Durable);
    let mut recorded = HashSet::new();
    for number in 0.. {
        match log.append(record(number)).wait() {
            Ok(()) => recorded.insert(number),
            Err(Unrecorded) => break,
        };
    }
    assert!(recorded.len() > 1000, "{} calls", recorded.len());
    assert_eq!(log.check(), Err(Unrecorded), "no call begins");
    assert!(log.figures().failing);
    assert_eq!(calls(&disk.audit()), recorded, "what was refused is not there, and nothing is torn");
    assert_eq!(log.append(record(1 << 100)).wait(), Err(Unrecorded));

    fs::remove_file(disk.ballast()).unwrap();
    eventually("there is room", || log.check().is_ok());
    log.append(record(1 << 101)).wait().unwrap();
    drop(log);
    let found = calls(&disk.audit());
    assert!(found.is_superset(&recorded) && found.contains(&(1 << 101)));
    assert!(found.contains(&(1 << 100)), "a call that was refused meanwhile is recorded afterwards");
}

#[test]
fn on_a_full_disk_calls_that_do_not_wait_go_on_and_the_lost_are_counted() {
    let disk = SmallDisk::new();
    let log = open(&disk.audit(), Durability::Buffered);
    let mut number = 0;
    while log.figures().lost < 1000 {
        log.append(record(number)).wait().unwrap();
        number += 1;
    }
    let figures = log.figures();
    assert!(figures.failing && figures.queued_bytes <= 17 << 20, "{figures:?}");
    assert_eq!(log.check(), Ok(()), "calls go on");

    fs::remove_file(disk.ballast()).unwrap();
    eventually("there is room", || !log.figures().failing);
    log.append(record(number)).wait().unwrap();
    drop(log);
    let told = events(&disk.audit()).into_iter().filter_map(|event| match event {
        Event::Lost { calls, .. } => Some(u128::from(calls)),
        _ => None,
    });
    let told: u128 = told.sum();
    assert!(told >= 1000);
    assert_eq!(calls(&disk.audit()).len() as u128 + told, number + 1, "every call is there or counted");
}
