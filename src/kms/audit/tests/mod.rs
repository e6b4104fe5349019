//! Tests of the audit log: on real files, with logs that were damaged in every way.
#![allow(clippy::unwrap_used, reason = "tests")]

mod checkpoint;
mod crash;
mod lines;
mod tamper;
mod writing;

use super::*;
use crate::crypto::secret::Key;
use crate::kms::EncryptionContext;
use ::time::OffsetDateTime;
use std::fs;
use tempfile::TempDir;
use uuid::Uuid;

fn key() -> ChainKey {
    ChainKey::new(Key::from_bytes(&mut [7; 32]))
}

/// Noon on New Year's Day 2026.
fn noon() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_767_268_800).unwrap()
}

/// A clock that stands still until told otherwise.
struct ManualClock(Mutex<OffsetDateTime>);

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock()
    }
}

fn record(number: u128) -> CallRecord {
    let mut record = CallRecord::new(
        noon(),
        Uuid::from_u128(number),
        Source::Address("192.0.2.7".parse().unwrap()),
        "Decrypt",
    );
    record.principal = Some("arn:aws:iam::000000000000:user/alice".to_owned());
    record.user_agent = Some("Boto3/1.40".to_owned());
    record.key = Some("arn:aws:kms:local:000000000000:key/3c24…".to_owned());
    record.spec = Some("SYMMETRIC_DEFAULT".into());
    record.context = EncryptionContext::new().with("purpose", "a \"test\"\n");
    record
}

/// A directory for a log.
struct Scratch {
    directory: TempDir,
    clock: Arc<ManualClock>,
}

impl Scratch {
    fn new() -> Scratch {
        Scratch { directory: tempfile::tempdir().unwrap(), clock: Arc::new(ManualClock(Mutex::new(noon()))) }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("audit")
    }

    fn options(&self, durability: Durability) -> Options {
        Options { durability, clock: self.clock.clone(), ..Options::default() }
    }

    fn open(&self, durability: Durability) -> AuditLog {
        AuditLog::open(&self.path(), key(), self.options(durability)).unwrap()
    }

    /// Opens the log, writes `calls` calls, closes it.
    fn write(&self, calls: u128) {
        let log = self.open(Durability::Durable);
        for number in 0..calls {
            log.append(record(number)).wait().unwrap();
        }
    }

    fn verify(&self) -> Report {
        verify(&self.path(), &key(), &Expectations::default()).unwrap()
    }

    /// The report on a log in which nothing is wrong.
    fn sound(&self) -> Report {
        let report = self.verify();
        assert_eq!(report.broken, None);
        report
    }

    /// The first place that is wrong.
    fn broken(&self) -> Break {
        self.verify().broken.expect("the log was damaged")
    }

    fn segment(&self, number: u64) -> PathBuf {
        Directory::at(&self.path()).segment(number)
    }

    /// Everything that the log says, and in which segment.
    fn places(&self) -> Vec<(u64, Event)> {
        let mut walk = Walk::new(&self.path()).unwrap();
        let mut places = Vec::new();
        while let Some(place) = walk.advance().unwrap() {
            places.extend(place.event().map(|event| (place.position.segment, event)));
        }
        places
    }

    fn events(&self) -> Vec<Event> {
        self.places().into_iter().map(|(_, event)| event).collect()
    }

    /// Ids of the calls in the log.
    fn calls(&self) -> Vec<u128> {
        let id = |event| match event {
            Event::Call(record) => Some(record.request_id.as_u128()),
            _ => None,
        };
        self.events().into_iter().filter_map(id).collect()
    }
}

/// Replaces the content of a file.
fn edit(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    edit(&mut bytes);
    fs::write(path, bytes).unwrap();
}
