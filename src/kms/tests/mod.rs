//! Tests of the KMS as a whole: operations on a real keystore. All of them run on files, and with
//! `KMSFS_TEST_POSTGRES` set on a PostgreSQL server ([`scratch`]).
#![allow(clippy::unwrap_used, reason = "tests")]

mod agreement;
mod aliases;
mod authorization;
mod copies;
mod custodians;
mod damage;
mod files;
mod golden;
mod grants;
mod identifiers;
mod import;
mod key_policies;
mod last_use;
mod lifecycle;
mod pages;
mod postgres;
mod principals;
mod processes;
mod records;
mod rekey;
mod rsa_encryption;
mod scale;
pub(super) mod scratch;
mod secrets;
mod settings;
mod signing;
mod slots;
mod states;
mod time;
mod trace;
mod use_of_keys;
mod zeroize;

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

pub(super) fn cheap() -> Argon2Params {
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

/// Waits until `done`, for at most the second that is promised, in turns of five milliseconds: a machine that is too busy
/// to give this thread its turn gives the others theirs no sooner.
pub(super) fn within_a_second(what: &str, done: impl Fn() -> bool) {
    for _ in 0..200 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{what}: not within a second");
}

/// A new user or role.
pub(super) fn principal(kms: &Kms, text: &str) -> PrincipalName {
    let name: PrincipalName = text.parse().unwrap();
    kms.create_principal(OPERATOR, &name).unwrap();
    name
}

/// A call of a user, or of a session of a role.
pub(super) fn call_of(kms: &Kms, name: &PrincipalName) -> Call<'static> {
    let issued = kms.issue_session(OPERATOR, name, "session", 900).unwrap();
    let found = kms.lookup_access_key(&issued.access_key, Some(&issued.token)).unwrap();
    Call::of(&found.principal)
}

/// A call of the account's root.
fn call_of_root(kms: &Kms) -> Call<'static> {
    Call::of(&kms.principal_for_uid(0, 0).unwrap().unwrap())
}

/// A policy of these statements.
fn policy(statements: &[&str]) -> String {
    format!(r#"{{"Version": "2012-10-17", "Statement": [{}]}}"#, statements.join(","))
}
