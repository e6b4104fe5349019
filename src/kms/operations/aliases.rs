//! CreateAlias, UpdateAlias, DeleteAlias, ListAliases.

use super::check;
use crate::kms::Kms;
use crate::kms::arn::{KeyRef, alias_arn, check_alias_name};
use crate::kms::authorize::{Facts, authorize};
use crate::kms::call::Call;
use crate::kms::error::{Error, Result};
use crate::kms::key::{AliasDates, AliasEntry, KeyRecord};
use crate::kms::keystore::Entry;
use crate::kms::state::{Operation, check_exists};
use crate::kms::table::{Draft, Table};

/// Most aliases of one key.
const ALIASES_MAX: usize = 50;

impl Kms {
    /// CreateAlias: `name`, which begins with `alias/`, points to `target`, a key id or key ARN.
    ///
    /// # Errors
    /// `AlreadyExistsException`, `InvalidAliasNameException`, `NotFoundException`,
    /// `KMSInvalidStateException`, `LimitExceededException`, `AccessDeniedException`.
    pub fn create_alias(&self, call: &Call<'_>, name: &str, target: &str) -> Result<()> {
        check_alias_name(name)?;
        self.change_key(call, Operation::CreateAlias, target, &Facts::default(), |draft, record| {
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
    pub fn update_alias(&self, call: &Call<'_>, name: &str, target: &str) -> Result<()> {
        check_alias_name(name)?;
        self.change_key(call, Operation::UpdateAlias, target, &Facts::default(), |draft, record| {
            let source = owner(draft.table, name)?;
            // The key that loses its alias may be in any state.
            check_exists(&source.record)?;
            authorize(draft.table, call, Operation::UpdateAlias, Some(source), &Facts::default())?;
            if source.record.id == record.id {
                return Ok(());
            }
            let mut source = source.record.clone();
            let created = source.aliases.remove(name).map_or(draft.now, |dates| dates.created);
            draft.put(source);
            attach(draft, record, name, AliasDates { created, updated: draft.now })
        })
    }

    /// DeleteAlias. The key stays.
    ///
    /// # Errors
    /// `NotFoundException`, `AccessDeniedException`.
    pub fn delete_alias(&self, call: &Call<'_>, name: &str) -> Result<()> {
        self.core.change(|draft| {
            let entry = owner(draft.table, name)?;
            check(draft.table, call, Operation::DeleteAlias, entry, &Facts::default())?;
            let mut record = entry.record.clone();
            record.aliases.remove(name);
            draft.put(record);
            Ok(())
        })
    }

    /// ListAliases, by name: of all keys, or of the one that `key`, a key id or key ARN, names.
    ///
    /// # Errors
    /// `NotFoundException`.
    pub fn list_aliases(&self, call: &Call<'_>, key: Option<&str>) -> Result<Vec<AliasEntry>> {
        let mut aliases = match key {
            Some(key) => {
                self.view_key(call, Operation::ListAliases, key, |record| entries(record).collect())?
            }
            None => {
                let table = self.core.table()?;
                authorize(&table, call, Operation::ListAliases, None, &Facts::default())?;
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
fn owner<'a>(table: &'a Table, name: &str) -> Result<&'a Entry> {
    match KeyRef::parse(name) {
        Ok(KeyRef::Alias(alias)) if alias == name => Ok(table.find(name)?),
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
