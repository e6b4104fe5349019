//! AWS KMS's operations, a file per subject.
//!
//! Every method takes the call first and the key as its user named it. Operations that use or describe a
//! key take a key id, key ARN, alias name or alias ARN; operations that change one take a key id or key ARN.
//! Who may do what is in `authorize`, what the state and kind of a key allow in `state`.

mod aliases;
mod credentials;
mod cryptographic;
mod lifecycle;
mod principals;
mod rotation;
mod tags;

pub use credentials::{Credentials, CredentialsError, SESSION_SECONDS, TemporaryCredentials};
pub use cryptographic::{DataKey, Encrypted, Plaintext, ReEncrypt, ReEncrypted};
pub use lifecycle::CreateKey;
pub use principals::{AccessKeyInfo, NewAccessKey, PrincipalInfo};

use super::Kms;
use super::arn::KeyRef;
use super::authorize::{Facts, authorize};
use super::call::Call;
use super::error::{Error, Result};
use super::key::KeyRecord;
use super::keystore::Entry;
use super::state::{Operation, check_exists, check_state};
use super::table::{Draft, Table};
use std::fmt::Display;
use std::ops::RangeInclusive;

impl Kms {
    /// Changes the record of the key that `key` names, if the caller and the key's state allow `operation`.
    fn change_key<T>(
        &self,
        call: &Call<'_>,
        operation: Operation,
        key: &str,
        facts: &Facts<'_>,
        edit: impl FnOnce(&mut Draft<'_>, KeyRecord) -> Result<T>,
    ) -> Result<T> {
        let id = KeyRef::parse_id(key)?;
        self.core.change(|draft| {
            let entry = draft.table.find_id(id)?;
            check(draft.table, call, operation, entry, facts)?;
            edit(draft, entry.record.clone())
        })
    }

    /// Reads something about the key that `key` names by id or ARN.
    fn view_key<T>(
        &self,
        call: &Call<'_>,
        operation: Operation,
        key: &str,
        view: impl FnOnce(&KeyRecord) -> T,
    ) -> Result<T> {
        let id = KeyRef::parse_id(key)?;
        let table = self.core.table()?;
        let entry = table.find_id(id)?;
        check(&table, call, operation, entry, &Facts::default())?;
        Ok(view(&entry.record))
    }
}

/// Says whether the call may do `operation` on a key, and whether the key's kind and state allow it.
///
/// # Errors
/// `NotFoundException` for a destroyed key, `AccessDeniedException`, `UnsupportedOperationException`,
/// `DisabledException`, `KMSInvalidStateException`.
fn check(
    table: &Table,
    call: &Call<'_>,
    operation: Operation,
    entry: &Entry,
    facts: &Facts<'_>,
) -> Result<()> {
    check_exists(&entry.record)?;
    authorize(table, call, operation, Some(entry), facts)?;
    check_state(operation, &entry.record)
}

/// Refuses a number outside of `range`, in AWS's words.
fn check_range<T: PartialOrd + Display>(value: T, name: &str, range: RangeInclusive<T>) -> Result<()> {
    let bound = match () {
        () if value < *range.start() => format!("greater than or equal to {}", range.start()),
        () if value > *range.end() => format!("less than or equal to {}", range.end()),
        () => return Ok(()),
    };
    Err(Error::Validation(format!(
        "1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: \
         Member must have value {bound}"
    )))
}

/// Refuses a text or byte string whose length is outside of `range`, in AWS's words.
fn check_length(length: usize, name: &str, range: RangeInclusive<usize>) -> Result<()> {
    let bound = match () {
        () if length < *range.start() => format!("greater than or equal to {}", range.start()),
        () if length > *range.end() => format!("less than or equal to {}", range.end()),
        () => return Ok(()),
    };
    Err(Error::Validation(format!(
        "1 validation error detected: Value at '{name}' failed to satisfy constraint: \
         Member must have length {bound}"
    )))
}
