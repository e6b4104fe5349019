//! Tests of the KMS as a whole: operations on a real keystore. All of them run on files, and with
//! `KMSFS_TEST_POSTGRES` set on a PostgreSQL server ([`scratch`]).
#![allow(clippy::unwrap_used, reason = "tests")]

mod aliases;
mod damage;
mod files;
mod lifecycle;
mod postgres;
mod principals;
mod processes;
mod records;
mod scratch;
mod slots;
mod time;
mod use_of_keys;

use super::keystore::{self, Unlock};
use super::*;
use crate::crypto::SecretBytes;
use ::time::OffsetDateTime;
use parking_lot::Mutex;
use scratch::{Scratch, start};
use std::collections::BTreeMap;

const OPERATOR: &Call<'static> = &Call::operator();
const FILESYSTEM: &Call<'static> = &Call::filesystem();

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
