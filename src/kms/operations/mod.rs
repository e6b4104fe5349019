//! AWS KMS's operations, a file per subject.
//!
//! Every method takes the caller first and the key as its user named it. Operations that use or describe a
//! key take a key id, key ARN, alias name or alias ARN; operations that change one take a key id or key ARN.
//! Who may do what, and in which key state, is in `state`.

mod aliases;
mod cryptographic;
mod lifecycle;
mod rotation;
mod tags;

pub use cryptographic::{DataKey, Encrypted, Plaintext, ReEncrypt, ReEncrypted};
pub use lifecycle::CreateKey;

use super::Kms;
use super::arn::KeyRef;
use super::error::{Error, Result};
use super::key::KeyRecord;
use super::state::{Caller, Operation, check};
use super::table::Draft;
use std::fmt::Display;
use std::ops::RangeInclusive;

impl Kms {
    /// Changes the record of the key that `key` names, if the caller and the key's state allow `operation`.
    fn change_key<T>(
        &self,
        caller: &Caller,
        operation: Operation,
        key: &str,
        edit: impl FnOnce(&mut Draft<'_>, KeyRecord) -> Result<T>,
    ) -> Result<T> {
        let id = KeyRef::parse_id(key)?;
        self.core.change(|draft| {
            let record = draft.table.find_id(id)?.record.clone();
            check(caller, operation, &record)?;
            edit(draft, record)
        })
    }

    /// Reads something about the key that `key` names by id or ARN.
    fn view_key<T>(
        &self,
        caller: &Caller,
        operation: Operation,
        key: &str,
        view: impl FnOnce(&KeyRecord) -> T,
    ) -> Result<T> {
        let id = KeyRef::parse_id(key)?;
        let table = self.core.table()?;
        let record = &table.find_id(id)?.record;
        check(caller, operation, record)?;
        Ok(view(record))
    }
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
