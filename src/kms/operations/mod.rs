//! AWS KMS's operations, a file per subject.
//!
//! Every method takes the call first and the key as its user named it. Operations that use or describe a
//! key take a key id, key ARN, alias name or alias ARN; operations that change one take a key id or key ARN.
//! Who may do what is in `authorize`, what the state and kind of a key allow in `state`.

mod agreement;
mod aliases;
mod approvals;
mod credentials;
mod data_keys;
mod encapsulation;
mod encryption;
mod grants;
mod import;
mod lifecycle;
mod mac;
mod policies;
mod principals;
mod rotation;
mod secrets;
mod settings;
mod signing;
mod tags;

pub use agreement::SharedSecret;
pub use credentials::{Credentials, CredentialsError, SESSION_SECONDS, TemporaryCredentials};
pub use data_keys::{DataKey, DataKeyPair, data_key_length};
pub use encapsulation::{Decapsulated, Encapsulated};
pub use encryption::{Encrypted, Plaintext, ReEncrypt, ReEncrypted};
pub use grants::{CreateGrant, CreatedGrant, GrantEntry};
pub use import::{ImportKeyMaterial, ImportParameters, ImportType, ImportedKeyMaterial};
pub use lifecycle::{CreateKey, ScheduledDeletion};
pub use mac::Mac;
pub use policies::POLICY_NAME;
pub use principals::{AccessKeyInfo, NewAccessKey, PrincipalInfo};
pub use rotation::{MaterialState, Rotated, RotationEntry};
pub use settings::Settings;
pub use signing::{PublicKeyOf, Signature, ToSign};

use super::Kms;
use super::arn::{DEFAULT_ALIAS, Naming, OWNED_ALIAS};
use super::authorize::{Facts, authorize};
use super::call::Call;
use super::error::{Error, Result};
use super::key::KeyRecord;
use super::keystore::Entry;
use super::spec::KeyUsage;
use super::state::{Operation, check_exists, check_state};
use super::table::{Draft, Table};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::Arc;

impl Kms {
    /// Changes the record of the key that `key` names by id or ARN, if the call and the key's kind and state allow
    /// `operation`.
    fn change_key<T>(
        &self,
        call: &Call<'_>,
        operation: Operation,
        key: &str,
        facts: &Facts<'_>,
        edit: impl FnOnce(&mut Draft<'_>, Naming<'_>, KeyRecord) -> Result<T>,
    ) -> Result<T> {
        self.core.change(|draft| {
            let table = draft.table;
            let naming = table.naming(call);
            let entry = table.find_id(call, naming.parse_id(key)?)?;
            check(table, call, operation, entry, facts)?;
            draft.approve(call, &operation.name())?;
            edit(draft, naming, entry.record.clone())
        })
    }

    /// Reads something about the key that `key` names by id or ARN.
    fn view_key<T>(
        &self,
        call: &Call<'_>,
        operation: Operation,
        key: &str,
        facts: &Facts<'_>,
        view: impl FnOnce(&KeyRecord) -> T,
    ) -> Result<T> {
        let table = self.core.table_for(call)?;
        let entry = table.find_id(call, table.naming(call).parse_id(key)?)?;
        check(&table, call, operation, entry, facts)?;
        Ok(view(&entry.record))
    }

    /// The key that `key` names in any way, if the call may use it now, and it is for that use. The filesystem's own
    /// keys are made on their first use.
    fn usable<'a>(
        &self,
        call: &Call<'_>,
        operation: Operation,
        key: &'a str,
        usage: KeyUsage,
        facts: &Facts<'a>,
    ) -> Result<Arc<Entry>> {
        if call.is_for_volume() {
            match key {
                DEFAULT_ALIAS => {
                    self.service_key()?;
                }
                OWNED_ALIAS => {
                    self.owned_key()?;
                }
                _ => {}
            }
        }
        let table = self.core.table_for(call)?;
        let entry = find(&table, call, key)?;
        check(&table, call, operation, entry, &Facts { named: Some(key), ..facts.clone() })?;
        check_usage(&table, call, operation, entry, usage)?;
        Ok(Arc::clone(entry))
    }
}

/// The key that `key` names in any way. Operations that use a key or give it an alias have no
/// `InvalidArnException` in AWS KMS: what is no ARN names no key.
fn find<'a>(table: &'a Table, call: &Call<'_>, key: &str) -> Result<&'a Arc<Entry>> {
    table.find(call, key).map_err(no_invalid_arn)
}

fn no_invalid_arn(error: Error) -> Error {
    match error {
        Error::InvalidArn(message) => Error::NotFound(message),
        other => other,
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
    let naming = table.naming(call);
    check_exists(&entry.record, naming)?;
    authorize(table, call, operation, Some(entry), facts)?;
    check_state(operation, &entry.record, naming)
}

/// Refuses a key that is for another use.
fn check_usage(
    table: &Table,
    call: &Call<'_>,
    operation: Operation,
    entry: &Entry,
    usage: KeyUsage,
) -> Result<()> {
    let record = &entry.record;
    if record.usage == usage {
        return Ok(());
    }
    let arn = table.naming(call).key(record.id);
    let operation = operation.name();
    Err(Error::InvalidKeyUsage(format!(
        "{arn} key usage is {} which is not valid for {operation}.",
        record.usage
    )))
}

/// Refuses an algorithm that is not of the key's spec.
fn check_algorithm<A: PartialEq + Display>(record: &KeyRecord, algorithm: A, known: &[A]) -> Result<()> {
    match known.contains(&algorithm) {
        true => Ok(()),
        false => Err(Error::InvalidKeyUsage(format!(
            "Algorithm {algorithm} is incompatible with key spec {}.",
            record.spec
        ))),
    }
}

/// Refuses a number outside of `range`, in AWS's words.
pub(super) fn check_range<T: PartialOrd + Display>(
    value: T,
    name: &str,
    range: RangeInclusive<T>,
) -> Result<()> {
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
