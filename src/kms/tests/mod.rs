//! Tests of the KMS as a whole: operations on a real keystore. All of them run on files, and with
//! `KMSFS_TEST_POSTGRES` set on a PostgreSQL server ([`scratch`]).
#![allow(clippy::unwrap_used, reason = "tests")]

mod agreement;
mod aliases;
mod damage;
mod files;
mod identifiers;
mod import;
mod last_use;
mod lifecycle;
mod pages;
mod postgres;
mod principals;
mod processes;
mod records;
mod rsa_encryption;
mod scratch;
mod signing;
mod slots;
mod states;
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
const SYMMETRIC: EncryptionAlgorithm = EncryptionAlgorithm::SymmetricDefault;

fn cheap() -> Argon2Params {
    Argon2Params { m_kib: 8, t: 1, p: 1 }
}

fn passphrase(text: &str) -> Unlock {
    Unlock::Passphrase(SecretBytes::from(text.to_owned()))
}

fn key(kms: &Kms) -> String {
    kms.create_key(OPERATOR, CreateKey::default()).unwrap().id.to_string()
}

/// A new key of this spec, for its only or this use.
fn key_of(kms: &Kms, spec: KeySpec, usage: KeyUsage) -> String {
    let request = CreateKey { spec, usage: Some(usage), ..CreateKey::default() };
    kms.create_key(OPERATOR, request).unwrap().id.to_string()
}

/// A call that is to say only whether it would succeed.
fn dry() -> Call<'static> {
    Call { dry_run: true, ..Call::operator() }
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
