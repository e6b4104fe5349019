//! CreateKey, DescribeKey, ListKeys, EnableKey, DisableKey, UpdateKeyDescription, ScheduleKeyDeletion,
//! CancelKeyDeletion, and the service-managed key.

use super::tags::check_tags;
use super::{check, check_length, check_range};
use crate::kms::Kms;
use crate::kms::arn::{DEFAULT_ALIAS, KeyId};
use crate::kms::authorize::{Facts, authorize};
use crate::kms::call::Call;
use crate::kms::clock::Timestamp;
use crate::kms::error::Result;
use crate::kms::key::{
    AliasDates, DELETION_DAYS, KeyManager, KeyMetadata, KeyRecord, KeyState, ROTATION_DAYS_DEFAULT,
    RotationSchedule, RotationType, Tag,
};
use crate::kms::state::Operation;

/// Longest description, in bytes.
const DESCRIPTION_MAX: usize = 8192;

/// The arguments of CreateKey.
#[derive(Debug, Clone, Default)]
pub struct CreateKey {
    /// The operator's words about the key.
    pub description: String,
    /// Its tags.
    pub tags: Vec<Tag>,
}

impl Kms {
    /// CreateKey: a new symmetric customer managed key, enabled.
    ///
    /// # Errors
    /// `AccessDeniedException` to the filesystem, `ValidationException`, `TagException`.
    pub fn create_key(&self, call: &Call<'_>, request: CreateKey) -> Result<KeyMetadata> {
        authorize(&*self.core.table()?, call, Operation::CreateKey, None, &Facts::default())?;
        check_length(request.description.len(), "description", 0..=DESCRIPTION_MAX)?;
        check_tags(&request.tags)?;
        let id = self.core.change(|draft| {
            let mut record = KeyRecord::new(KeyId::random(), KeyManager::Customer, draft.now);
            let id = record.id;
            record.description = request.description;
            record.tags = request.tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
            draft.put_rotated(record, RotationType::Initial);
            Ok(id)
        })?;
        Ok(self.core.table()?.find_id(id)?.record.metadata())
    }

    /// The service-managed key `alias/kmsfs/default`, made if it does not exist. It is for the filesystem;
    /// an operator sees it and cannot use or change it. It rotates yearly.
    ///
    /// # Errors
    /// If the keystore cannot be written.
    pub fn service_key(&self) -> Result<KeyId> {
        if let Some(id) = self.core.table()?.alias(DEFAULT_ALIAS) {
            return Ok(id);
        }
        self.core.change(|draft| {
            if let Some(id) = draft.table.alias(DEFAULT_ALIAS) {
                return Ok(id); // another process was faster
            }
            let now = draft.now;
            let mut record = KeyRecord::new(KeyId::random(), KeyManager::Service, now);
            let id = record.id;
            record.description = "Protects volumes for which no other key was chosen".into();
            record.aliases.insert(DEFAULT_ALIAS.into(), AliasDates { created: now, updated: now });
            record.rotation = Some(RotationSchedule {
                period_days: ROTATION_DAYS_DEFAULT,
                next: now + time::Duration::days(ROTATION_DAYS_DEFAULT.into()),
            });
            draft.put_rotated(record, RotationType::Initial);
            Ok(id)
        })
    }

    /// DescribeKey.
    ///
    /// # Errors
    /// `NotFoundException`.
    pub fn describe_key(&self, call: &Call<'_>, key: &str) -> Result<KeyMetadata> {
        let table = self.core.table()?;
        let entry = table.find(key)?;
        let facts = Facts { named: Some(key), ..Facts::default() };
        check(&table, call, Operation::DescribeKey, entry, &facts)?;
        Ok(entry.record.metadata())
    }

    /// ListKeys: every key, service-managed ones included, in the order of their ids.
    ///
    /// # Errors
    /// `KeyUnavailableException`.
    pub fn list_keys(&self, call: &Call<'_>) -> Result<Vec<KeyMetadata>> {
        let table = self.core.table()?;
        authorize(&table, call, Operation::ListKeys, None, &Facts::default())?;
        Ok(table.entries().map(|entry| entry.record.metadata()).collect())
    }

    /// EnableKey: a disabled key can be used again.
    ///
    /// # Errors
    /// `NotFoundException`, `KMSInvalidStateException` if it is pending deletion, `AccessDeniedException`.
    pub fn enable_key(&self, call: &Call<'_>, key: &str) -> Result<()> {
        self.set_state(call, Operation::EnableKey, key, KeyState::Enabled)
    }

    /// DisableKey: the key cannot be used until it is enabled.
    ///
    /// # Errors
    /// As [`Kms::enable_key`].
    pub fn disable_key(&self, call: &Call<'_>, key: &str) -> Result<()> {
        self.set_state(call, Operation::DisableKey, key, KeyState::Disabled)
    }

    /// UpdateKeyDescription.
    ///
    /// # Errors
    /// As [`Kms::enable_key`], and `ValidationException`.
    pub fn update_key_description(&self, call: &Call<'_>, key: &str, description: &str) -> Result<()> {
        check_length(description.len(), "description", 0..=DESCRIPTION_MAX)?;
        self.change_key(call, Operation::UpdateKeyDescription, key, &Facts::default(), |draft, mut record| {
            record.description = description.to_owned();
            draft.put(record);
            Ok(())
        })
    }

    /// ScheduleKeyDeletion: the key cannot be used any more, and after `days` its material is destroyed. Returns
    /// when.
    ///
    /// # Errors
    /// As [`Kms::enable_key`], and `ValidationException` unless `days` is 7 to 30.
    pub fn schedule_key_deletion(&self, call: &Call<'_>, key: &str, days: u32) -> Result<Timestamp> {
        check_range(days, "pendingWindowInDays", DELETION_DAYS)?;
        self.change_key(call, Operation::ScheduleKeyDeletion, key, &Facts::default(), |draft, mut record| {
            let date = draft.now + time::Duration::days(days.into());
            record.state = KeyState::PendingDeletion;
            record.deletion_date = Some(date);
            draft.put(record);
            Ok(date)
        })
    }

    /// CancelKeyDeletion: the key is disabled instead.
    ///
    /// # Errors
    /// `NotFoundException`, `KMSInvalidStateException` unless it is pending deletion, `AccessDeniedException`.
    pub fn cancel_key_deletion(&self, call: &Call<'_>, key: &str) -> Result<()> {
        self.change_key(call, Operation::CancelKeyDeletion, key, &Facts::default(), |draft, mut record| {
            record.state = KeyState::Disabled;
            record.deletion_date = None;
            draft.put(record);
            Ok(())
        })
    }

    fn set_state(&self, call: &Call<'_>, operation: Operation, key: &str, state: KeyState) -> Result<()> {
        self.change_key(call, operation, key, &Facts::default(), |draft, mut record| {
            record.state = state;
            draft.put(record);
            Ok(())
        })
    }
}
