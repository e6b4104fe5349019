//! CreateAlias, UpdateAlias, DeleteAlias, ListAliases.

use crate::kms::Kms;
use crate::kms::arn::{KeyRef, alias_arn, check_alias_name};
use crate::kms::error::{Error, Result};
use crate::kms::key::{AliasDates, AliasEntry, KeyRecord};
use crate::kms::state::{Caller, Operation, check};
use crate::kms::table::{Draft, Table};

/// Most aliases of one key.
const ALIASES_MAX: usize = 50;

impl Kms {
    /// CreateAlias: `name`, which begins with `alias/`, points to `target`, a key id or key ARN.
    ///
    /// # Errors
    /// `AlreadyExistsException`, `InvalidAliasNameException`, `NotFoundException`,
    /// `KMSInvalidStateException`, `LimitExceededException`, `AccessDeniedException`.
    pub fn create_alias(&self, caller: &Caller, name: &str, target: &str) -> Result<()> {
        check_alias_name(name)?;
        self.change_key(caller, Operation::CreateAlias, target, |draft, record| {
            if draft.table.alias(name).is_some() {
                return Err(Error::AlreadyExists(format!(
                    "An alias with the name {} already exists",
                    alias_arn(name)
                )));
            }
            let dates = AliasDates { created: draft.now, updated: draft.now };
            attach(draft, record, name, dates)
        })
    }

    /// UpdateAlias: `name` points to `target` from now on.
    ///
    /// # Errors
    /// `NotFoundException` if either does not exist, otherwise as [`Kms::create_alias`].
    pub fn update_alias(&self, caller: &Caller, name: &str, target: &str) -> Result<()> {
        check_alias_name(name)?;
        self.change_key(caller, Operation::UpdateAlias, target, |draft, record| {
            let mut source = owner(draft.table, name)?.clone();
            if source.id == record.id {
                return Ok(());
            }
            // The key that loses its alias may be in any state, hence the rule of DeleteAlias.
            check(caller, Operation::DeleteAlias, &source)?;
            let created = source.aliases.remove(name).map_or(draft.now, |dates| dates.created);
            draft.put(source);
            attach(draft, record, name, AliasDates { created, updated: draft.now })
        })
    }

    /// DeleteAlias. The key stays.
    ///
    /// # Errors
    /// `NotFoundException`, `AccessDeniedException`.
    pub fn delete_alias(&self, caller: &Caller, name: &str) -> Result<()> {
        self.core.change(|draft| {
            let mut record = owner(draft.table, name)?.clone();
            check(caller, Operation::DeleteAlias, &record)?;
            record.aliases.remove(name);
            draft.put(record);
            Ok(())
        })
    }

    /// ListAliases, by name: of all keys, or of the one that `key`, a key id or key ARN, names.
    ///
    /// # Errors
    /// `NotFoundException`.
    pub fn list_aliases(&self, caller: &Caller, key: Option<&str>) -> Result<Vec<AliasEntry>> {
        let mut aliases = match key {
            Some(key) => {
                self.view_key(caller, Operation::ListAliases, key, |record| entries(record).collect())?
            }
            None => {
                let table = self.core.table()?;
                table.entries().flat_map(|entry| entries(&entry.record)).collect::<Vec<_>>()
            }
        };
        aliases.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(aliases)
    }
}

fn attach(draft: &mut Draft<'_>, mut record: KeyRecord, name: &str, dates: AliasDates) -> Result<()> {
    if record.aliases.len() >= ALIASES_MAX {
        return Err(Error::LimitExceeded(format!("{} has {ALIASES_MAX} aliases already", record.id.arn())));
    }
    record.aliases.insert(name.to_owned(), dates);
    draft.put(record);
    Ok(())
}

/// The key that has the alias.
fn owner<'a>(table: &'a Table, name: &str) -> Result<&'a KeyRecord> {
    match KeyRef::parse(name) {
        Ok(KeyRef::Alias(alias)) if alias == name => Ok(&table.find(name)?.record),
        _ => Err(Error::Validation(format!("'{name}' is not an alias name"))),
    }
}

fn entries(record: &KeyRecord) -> impl Iterator<Item = AliasEntry> {
    record.aliases.iter().map(|(name, dates)| AliasEntry {
        name: name.clone(),
        arn: alias_arn(name),
        target: record.id,
        created: dates.created,
        updated: dates.updated,
    })
}
