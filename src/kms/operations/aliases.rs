//! CreateAlias, UpdateAlias, DeleteAlias, ListAliases.

use super::{check, no_invalid_arn};
use crate::kms::Kms;
use crate::kms::arn::{Naming, check_alias_name};
use crate::kms::authorize::{Facts, authorize};
use crate::kms::call::Call;
use crate::kms::error::{Error, Result};
use crate::kms::key::{AliasDates, AliasEntry, KeyRecord};
use crate::kms::keystore::Entry;
use crate::kms::page::{self, Listed, Page};
use crate::kms::state::{Operation, check_exists};
use crate::kms::table::{Draft, Table};
use std::sync::Arc;

/// Most aliases of one key.
const ALIASES_MAX: usize = 50;

impl Kms {
    /// CreateAlias: `name`, which begins with `alias/`, points to `target`, a key id or key ARN.
    ///
    /// # Errors
    /// `AlreadyExistsException`, `NotAuthorizedException`, `ValidationException`, `NotFoundException`,
    /// `KMSInvalidStateException`, `LimitExceededException`, `AccessDeniedException`.
    pub fn create_alias(&self, call: &Call<'_>, name: &str, target: &str) -> Result<()> {
        check_alias_name(name)?;
        check_target(target)?;
        let facts = Facts { alias: Some(name), ..Facts::default() };
        let operation = Operation::CreateAlias;
        let created = self.change_key(call, operation, target, &facts, |draft, naming, record| {
            if draft.table.alias(name).is_some() {
                return Err(Error::AlreadyExists(format!(
                    "An alias with the name {} already exists",
                    naming.alias(name)
                )));
            }
            let dates = AliasDates { created: draft.now, updated: draft.now };
            attach(draft, naming, record, name, dates)
        });
        created.map_err(no_invalid_arn)
    }

    /// UpdateAlias: `name` points to `target` from now on, a key of the same kind: who uses the alias must not meet
    /// another one.
    ///
    /// # Errors
    /// `NotFoundException` if either does not exist, otherwise as [`Kms::create_alias`].
    pub fn update_alias(&self, call: &Call<'_>, name: &str, target: &str) -> Result<()> {
        check_alias_name(name)?;
        check_target(target)?;
        let facts = Facts { alias: Some(name), ..Facts::default() };
        let operation = Operation::UpdateAlias;
        let updated = self.change_key(call, operation, target, &facts, |draft, naming, record| {
            let source = owner(draft.table, naming, name)?;
            // The key that loses its alias may be in any state.
            check_exists(&source.record, naming)?;
            authorize(draft.table, call, operation, Some(source), &facts)?;
            if source.record.id == record.id {
                return Ok(());
            }
            if kind(&source.record) != kind(&record) {
                return Err(Error::Validation(format!(
                    "Alias {} cannot move from {} to {}: they differ in type or key usage.",
                    naming.alias(name),
                    naming.key(source.record.id),
                    naming.key(record.id)
                )));
            }
            let mut source = source.record.clone();
            let created = source.aliases.remove(name).map_or(draft.now, |dates| dates.created);
            draft.put(source);
            attach(draft, naming, record, name, AliasDates { created, updated: draft.now })
        });
        updated.map_err(no_invalid_arn)
    }

    /// DeleteAlias. The key stays.
    ///
    /// # Errors
    /// `ValidationException`, `NotFoundException`, `AccessDeniedException`.
    pub fn delete_alias(&self, call: &Call<'_>, name: &str) -> Result<()> {
        if !name.starts_with("alias/") {
            return check_alias_name(name);
        }
        let facts = Facts { alias: Some(name), ..Facts::default() };
        self.core.change(|draft| {
            let entry = owner(draft.table, draft.table.naming(call), name)?;
            check(draft.table, call, Operation::DeleteAlias, entry, &facts)?;
            let mut record = entry.record.clone();
            record.aliases.remove(name);
            draft.put(record);
            Ok(())
        })
    }

    /// ListAliases, by name: of all keys but owned ones, or of the one that `key`, a key id or key ARN, names.
    ///
    /// # Errors
    /// `NotFoundException`, `InvalidArnException`, `InvalidMarkerException`, `AccessDeniedException`.
    pub fn list_aliases(
        &self,
        call: &Call<'_>,
        key: Option<&str>,
        page: Page<'_>,
    ) -> Result<Listed<AliasEntry>> {
        let table = self.core.table()?;
        let naming = table.naming(call);
        let operation = Operation::ListAliases;
        let Some(key) = key else {
            authorize(&table, call, operation, None, &Facts::default())?;
            return page::paginate(page::ALIASES, page, |after: Option<String>| {
                let listed =
                    table.aliases_after(after.as_deref()).filter(|(_, entry)| entry.record.is_listed());
                Ok(listed.map(|(name, entry)| (name.to_owned(), alias_entry(naming, name, &entry.record))))
            });
        };
        let entry = table.find_id(call, naming.parse_id(key)?)?;
        check(&table, call, operation, entry, &Facts::default())?;
        page::paginate(page::ALIASES, page, |after: Option<String>| {
            let names = entry.record.aliases.after(after.as_deref()).map(|(name, _)| name);
            Ok(names.map(|name| (name.clone(), alias_entry(naming, name, &entry.record))))
        })
    }
}

/// An alias points to a key, not to another alias.
fn check_target(target: &str) -> Result<()> {
    if target.starts_with("alias/") || target.contains(":alias/") {
        return Err(Error::Validation("Aliases must refer to keys. Not aliases".into()));
    }
    Ok(())
}

fn attach(
    draft: &mut Draft<'_>,
    naming: Naming<'_>,
    mut record: KeyRecord,
    name: &str,
    dates: AliasDates,
) -> Result<()> {
    if record.aliases.len() >= ALIASES_MAX {
        let arn = naming.key(record.id);
        return Err(Error::LimitExceeded(format!("{arn} has {ALIASES_MAX} aliases already")));
    }
    record.aliases.insert(name.to_owned(), dates);
    draft.put(record);
    Ok(())
}

/// The key that has the alias.
fn owner<'a>(table: &'a Table, naming: Naming<'_>, name: &str) -> Result<&'a Arc<Entry>> {
    let entry = table.alias(name).and_then(|id| table.get(id));
    entry.ok_or_else(|| Error::NotFound(format!("Alias {} is not found.", naming.alias(name))))
}

/// What two keys must have in common for an alias to move between them: whether they are symmetric, HMAC keys or key
/// pairs, and their usage.
fn kind(record: &KeyRecord) -> impl PartialEq + use<> {
    (record.spec.is_symmetric(), record.spec.is_asymmetric(), record.usage)
}

fn alias_entry(naming: Naming<'_>, name: &str, record: &KeyRecord) -> AliasEntry {
    let dates = record.aliases.get(name).expect("the table takes its aliases from the records");
    AliasEntry {
        name: name.to_owned(),
        arn: naming.alias(name),
        target: record.id,
        created: dates.created,
        updated: dates.updated,
    }
}
