//! CreateKey, DescribeKey, ListKeys, EnableKey, DisableKey, UpdateKeyDescription, ScheduleKeyDeletion,
//! CancelKeyDeletion, GetKeyLastUsage, and the filesystem's own keys.

use super::policies::set_policy;
use super::tags::check_tags;
use super::{check, check_length, check_range};
use crate::crypto::asymmetric::PrivateKey;
use crate::crypto::{KEY_LEN, SecretBytes, random};
use crate::kms::Kms;
use crate::kms::arn::{DEFAULT_ALIAS, KeyId, OWNED_ALIAS};
use crate::kms::authorize::{Facts, NewKey, authorize};
use crate::kms::call::Call;
use crate::kms::clock::Timestamp;
use crate::kms::error::{Error, Result};
use crate::kms::key::{
    AliasDates, DELETION_DAYS, KeyManager, KeyMetadata, KeyRecord, KeyState, ROTATION_DAYS_DEFAULT,
    RotationSchedule, Tag,
};
use crate::kms::last_use::{self, KeyUsageHistory};
use crate::kms::material::RotationType;
use crate::kms::page::{self, Listed, Page};
use crate::kms::spec::{KeySpec, KeyUsage, Origin};
use crate::kms::state::Operation;

/// Longest description, in bytes.
const DESCRIPTION_MAX: usize = 8192;

/// The arguments of CreateKey. The default is a symmetric encryption key.
#[derive(Debug, Clone)]
pub struct CreateKey {
    /// The operator's words about the key.
    pub description: String,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// What kind of key it is.
    pub spec: KeySpec,
    /// What it is for; only symmetric encryption keys need not say.
    pub usage: Option<KeyUsage>,
    /// Where its material comes from.
    pub origin: Origin,
    /// Its key policy; without one, that of the account holds.
    pub policy: Option<String>,
    /// Whether to take a policy under which the caller could not change it.
    pub bypass_policy_lockout_safety_check: bool,
}

impl Default for CreateKey {
    fn default() -> CreateKey {
        CreateKey {
            description: String::new(),
            tags: Vec::new(),
            spec: KeySpec::SymmetricDefault,
            usage: None,
            origin: Origin::AwsKms,
            policy: None,
            bypass_policy_lockout_safety_check: false,
        }
    }
}

/// What ScheduleKeyDeletion returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduledDeletion {
    /// The key.
    pub key: KeyId,
    /// When its material will be destroyed.
    pub date: Timestamp,
}

impl Kms {
    /// CreateKey: a new customer managed key, enabled, or waiting for its material if that is to be imported. An RSA
    /// key takes up to some seconds.
    ///
    /// # Errors
    /// `AccessDeniedException`, `ValidationException`, `TagException`, `LimitExceededException`,
    /// `MalformedPolicyDocumentException`.
    pub fn create_key(&self, call: &Call<'_>, request: CreateKey) -> Result<KeyMetadata> {
        let bypass = request.bypass_policy_lockout_safety_check;
        let CreateKey { description, tags, spec, origin, policy, .. } = request;
        check_length(description.len(), "description", 0..=DESCRIPTION_MAX)?;
        check_tags(&tags)?;
        let usage = usage(spec, request.usage)?;
        let new = NewKey { spec, usage, origin };
        let facts =
            Facts { new_key: Some(new), tags: &tags, bypass_lockout_check: bypass, ..Facts::default() };
        authorize(&*self.core.table()?, call, Operation::CreateKey, None, &facts)?;
        let secret = match origin {
            Origin::AwsKms => Some(make_material(spec)?),
            Origin::External => None,
        };
        let id = self.core.change(|draft| {
            let mut record = KeyRecord::new(KeyManager::Customer, draft.now);
            let id = record.id;
            record.description = description;
            record.tags = tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
            (record.spec, record.usage, record.origin) = (spec, usage, origin);
            if let Some(policy) = &policy {
                set_policy(draft.table, call, &mut record, policy, bypass)?;
            }
            match secret {
                Some(secret) => draft.put_material(record, RotationType::Initial, secret),
                None => {
                    record.state = KeyState::PendingImport;
                    draft.put(record);
                }
            }
            Ok(id)
        })?;
        let table = self.core.table()?;
        let metadata = table.find_id(call, id)?.record.metadata(table.naming(call));
        if let Some(trace) = call.trace {
            trace.key(Operation::CreateKey, metadata.arn.clone(), spec, None);
        }
        Ok(metadata)
    }

    /// The service-managed key `alias/kmsfs/default`, made if it does not exist. It is for the filesystem;
    /// an operator sees it and cannot use or change it. It rotates yearly.
    ///
    /// # Errors
    /// If the keystore cannot be written.
    pub fn service_key(&self) -> Result<KeyId> {
        self.own_key(KeyManager::Service)
    }

    /// The owned key `alias/kmsfs/owned`, made if it does not exist: as [`Kms::service_key`], for volumes that are to
    /// share a key which no list shows.
    ///
    /// # Errors
    /// If the keystore cannot be written.
    pub fn owned_key(&self) -> Result<KeyId> {
        self.own_key(KeyManager::Owned)
    }

    /// A key of the filesystem's own, made if it does not exist.
    fn own_key(&self, manager: KeyManager) -> Result<KeyId> {
        let (alias, description) = match manager {
            KeyManager::Owned => (OWNED_ALIAS, "Shared by volumes, and shown to nobody"),
            _ => (DEFAULT_ALIAS, "Protects volumes for which no other key was chosen"),
        };
        if let Some(id) = self.core.table()?.alias(alias) {
            return Ok(id);
        }
        self.core.change(|draft| {
            if let Some(id) = draft.table.alias(alias) {
                return Ok(id); // another process was faster
            }
            let now = draft.now;
            let mut record = KeyRecord::new(manager, now);
            let id = record.id;
            record.description = description.into();
            record.aliases.insert(alias.into(), AliasDates { created: now, updated: now });
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
    /// `NotFoundException`, `InvalidArnException`, `AccessDeniedException`.
    pub fn describe_key(&self, call: &Call<'_>, key: &str) -> Result<KeyMetadata> {
        let table = self.core.table_for(call)?;
        let entry = table.find(call, key)?;
        let facts = Facts { named: Some(key), ..Facts::default() };
        check(&table, call, Operation::DescribeKey, entry, &facts)?;
        Ok(entry.record.metadata(table.naming(call)))
    }

    /// ListKeys: every key but owned ones, in the order of their ids.
    ///
    /// # Errors
    /// `KeyUnavailableException`, `InvalidMarkerException`, `AccessDeniedException`.
    pub fn list_keys(&self, call: &Call<'_>, page: Page<'_>) -> Result<Listed<KeyMetadata>> {
        let table = self.core.table()?;
        authorize(&table, call, Operation::ListKeys, None, &Facts::default())?;
        let naming = table.naming(call);
        page::paginate(page::KEYS, page, |after| {
            let listed = table.entries_after(after).filter(|entry| entry.record.is_listed());
            Ok(listed.map(|entry| (entry.record.id, entry.record.metadata(naming))))
        })
    }

    /// GetKeyLastUsage.
    ///
    /// # Errors
    /// `NotFoundException`, `InvalidArnException`, `AccessDeniedException`.
    pub fn key_last_usage(&self, call: &Call<'_>, key: &str) -> Result<KeyUsageHistory> {
        self.view_key(call, Operation::GetKeyLastUsage, key, &Facts::default(), |record| {
            let last_use = last_use::later(record.last_use, self.core.last_uses.get(record.id));
            KeyUsageHistory { key: record.id, created: record.created, last_use }
        })
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
        self.change_key(
            call,
            Operation::UpdateKeyDescription,
            key,
            &Facts::default(),
            |draft, _, mut record| {
                record.description = description.to_owned();
                draft.put(record);
                Ok(())
            },
        )
    }

    /// ScheduleKeyDeletion: the key cannot be used any more, and after `days` its material is destroyed.
    ///
    /// # Errors
    /// As [`Kms::enable_key`], and `ValidationException` unless `days` is 7 to 30.
    pub fn schedule_key_deletion(&self, call: &Call<'_>, key: &str, days: u32) -> Result<ScheduledDeletion> {
        check_range(days, "pendingWindowInDays", DELETION_DAYS)?;
        let facts = Facts { pending_window_in_days: Some(days), ..Facts::default() };
        self.change_key(call, Operation::ScheduleKeyDeletion, key, &facts, |draft, _, mut record| {
            let scheduled =
                ScheduledDeletion { key: record.id, date: draft.now + time::Duration::days(days.into()) };
            record.state = KeyState::PendingDeletion;
            record.deletion_date = Some(scheduled.date);
            draft.put(record);
            Ok(scheduled)
        })
    }

    /// CancelKeyDeletion: the key is disabled instead, or waits for its material if that is not there. Returns its id.
    ///
    /// # Errors
    /// `NotFoundException`, `KMSInvalidStateException` unless it is pending deletion, `AccessDeniedException`.
    pub fn cancel_key_deletion(&self, call: &Call<'_>, key: &str) -> Result<KeyId> {
        let operation = Operation::CancelKeyDeletion;
        self.change_key(call, operation, key, &Facts::default(), |draft, _, mut record| {
            let id = record.id;
            record.state = KeyState::Disabled;
            record.deletion_date = None;
            record.settle();
            draft.put(record);
            Ok(id)
        })
    }

    fn set_state(&self, call: &Call<'_>, operation: Operation, key: &str, state: KeyState) -> Result<()> {
        self.change_key(call, operation, key, &Facts::default(), |draft, _, mut record| {
            record.state = state;
            draft.put(record);
            Ok(())
        })
    }
}

/// What a new key is for.
fn usage(spec: KeySpec, asked: Option<KeyUsage>) -> Result<KeyUsage> {
    match asked {
        None if spec.is_symmetric() => Ok(KeyUsage::EncryptDecrypt),
        None => Err(Error::Validation(
            "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.".into(),
        )),
        Some(usage) if spec.usages().contains(&usage) => Ok(usage),
        Some(usage) => {
            Err(Error::Validation(format!("KeyUsage {usage} is not compatible with KeySpec {spec}")))
        }
    }
}

/// New material for a key.
fn make_material(spec: KeySpec) -> Result<SecretBytes> {
    if let Some(key_type) = spec.key_type() {
        return Ok(PrivateKey::generate(key_type)?);
    }
    let length = spec.mac_algorithm().map_or(KEY_LEN, |algorithm| algorithm.hash().digest_len());
    let mut secret = SecretBytes::zeroed(length);
    random::fill(secret.expose_mut());
    Ok(secret)
}
