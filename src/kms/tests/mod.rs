//! Tests of the KMS as a whole: operations on a real keystore file.
#![allow(clippy::unwrap_used, reason = "tests")]

mod aliases;
mod damage;
mod files;
mod lifecycle;
mod principals;
mod processes;
mod records;
mod slots;
mod time;
mod use_of_keys;

use super::keystore::{self, Unlock};
use super::*;
use crate::crypto::SecretBytes;
use ::time::OffsetDateTime;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tempfile::TempDir;

const OPERATOR: &Call<'static> = &Call::operator();
const FILESYSTEM: &Call<'static> = &Call::filesystem();

/// A clock that stands still until told otherwise.
struct ManualClock(Mutex<OffsetDateTime>);

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock()
    }
}

/// A directory with a keystore, and the clock its KMSs go by.
struct Scratch {
    directory: TempDir,
    clock: Arc<ManualClock>,
}

impl Scratch {
    fn new() -> Scratch {
        let clock = Arc::new(ManualClock(Mutex::new(start())));
        Scratch { directory: tempfile::tempdir().unwrap(), clock }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("keystore.db")
    }

    /// A new keystore that [`passphrase`] opens, opened.
    fn create(&self) -> Kms {
        Kms::create(&self.path(), &passphrase("right"), "first", self.options()).unwrap()
    }

    fn open(&self) -> Kms {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> keystore::Result<Kms> {
        Kms::open(&self.path(), &passphrase("right"), self.options())
    }

    fn options(&self) -> Options {
        Options { clock: self.clock.clone(), passphrase_cost: Some(cheap()), poll: Duration::from_millis(20) }
    }

    fn pass(&self, days: i64) {
        *self.clock.0.lock() += ::time::Duration::days(days);
    }

    /// Every file beside the keystore, itself included, with its content.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect()
    }

    /// Runs SQL behind the KMS's back.
    fn sql(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.path()).unwrap();
        connection.execute_batch(sql).unwrap();
    }
}

/// When a scratch keystore's clock starts: noon on New Year's Day 2026.
fn start() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_767_268_800).unwrap()
}

fn cheap() -> Argon2Params {
    Argon2Params { m_kib: 8, t: 1, p: 1 }
}

fn passphrase(text: &str) -> Unlock {
    Unlock::Passphrase(SecretBytes::from(text.to_owned()))
}

fn key(kms: &Kms) -> String {
    kms.create_key(OPERATOR, CreateKey::default()).unwrap().id.to_string()
}

fn context() -> EncryptionContext {
    EncryptionContext::new().with("volume", "v").with("file", "f")
}

/// The AWS name of an outcome.
fn name<T>(result: Result<T>) -> &'static str {
    result.map_or_else(|error| error.name(), |_| "ok")
}

/// Waits until `done`, for at most the second that is promised.
fn within_a_second(what: &str, done: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(1), "{what}: not within a second");
        std::thread::sleep(Duration::from_millis(5));
    }
}
