//! EnableKeyRotation, DisableKeyRotation, GetKeyRotationStatus, RotateKeyOnDemand, ListKeyRotations.
//!
//! A rotation adds a version of key material: it encrypts from then on, and older versions go on decrypting what
//! they encrypted. Nothing is re-encrypted, and the key's id, ARN and aliases stay. Only symmetric keys rotate: by the
//! calendar those whose material the KMS makes, on demand also those whose next material was imported.

use super::check_range;
use crate::kms::Kms;
use crate::kms::arn::KeyId;
use crate::kms::authorize::Facts;
use crate::kms::call::Call;
use crate::kms::error::{Error, Result};
use crate::kms::key::{KeyState, ROTATION_DAYS, RotationSchedule, RotationStatus};
use crate::kms::material::{MaterialInfo, RotationType};
use crate::kms::page::{self, Listed, Page};
use crate::kms::spec::Origin;
use crate::kms::state::Operation;

/// Most on-demand rotations of one key.
const ON_DEMAND_MAX: usize = 25;

/// What RotateKeyOnDemand returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotated {
    /// The key.
    pub key: KeyId,
    /// The version that encrypts now.
    pub version: u32,
}

/// What a version of key material is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaterialState {
    /// It encrypts and decrypts.
    Current,
    /// It decrypts.
    NonCurrent,
    /// It waits for RotateKeyOnDemand.
    PendingRotation,
}

/// An entry of ListKeyRotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationEntry {
    /// The key.
    pub key: KeyId,
    /// The version of its material.
    pub material: MaterialInfo,
    /// What the version is good for.
    pub state: MaterialState,
}

impl Kms {
    /// EnableKeyRotation: the key rotates every `period_days` days, counted from now. If it is on already, the new
    /// period counts from now too.
    ///
    /// # Errors
    /// `ValidationException` unless `period_days` is 90 to 2560, `UnsupportedOperationException`, `NotFoundException`,
    /// `DisabledException`, `KMSInvalidStateException`, `AccessDeniedException`.
    pub fn enable_key_rotation(&self, call: &Call<'_>, key: &str, period_days: u32) -> Result<()> {
        check_range(period_days, "rotationPeriodInDays", ROTATION_DAYS)?;
        let facts = Facts { rotation_period_in_days: Some(period_days), ..Facts::default() };
        self.change_key(call, Operation::EnableKeyRotation, key, &facts, |draft, _, mut record| {
            let next = draft.now + time::Duration::days(period_days.into());
            record.rotation = Some(RotationSchedule { period_days, next });
            draft.put(record);
            Ok(())
        })
    }

    /// DisableKeyRotation: the key rotates no more by itself.
    ///
    /// # Errors
    /// As [`Kms::enable_key_rotation`].
    pub fn disable_key_rotation(&self, call: &Call<'_>, key: &str) -> Result<()> {
        let operation = Operation::DisableKeyRotation;
        self.change_key(call, operation, key, &Facts::default(), |draft, _, mut record| {
            record.rotation = None;
            draft.put(record);
            Ok(())
        })
    }

    /// GetKeyRotationStatus.
    ///
    /// # Errors
    /// `NotFoundException`, `UnsupportedOperationException`, `AccessDeniedException`.
    pub fn key_rotation_status(&self, call: &Call<'_>, key: &str) -> Result<RotationStatus> {
        let operation = Operation::GetKeyRotationStatus;
        self.view_key(call, operation, key, &Facts::default(), |record| RotationStatus {
            key: record.id,
            schedule: record.rotation.clone().filter(|_| record.state != KeyState::PendingDeletion),
            on_demand: record.rotations(RotationType::OnDemand) as u32,
        })
    }

    /// RotateKeyOnDemand: rotates the key now; its schedule stays as it is. A key whose material is imported rotates to
    /// the material that was imported for that.
    ///
    /// # Errors
    /// `LimitExceededException` after 25 times, `NotFoundException`, `UnsupportedOperationException`,
    /// `DisabledException`, `KMSInvalidStateException`, `AccessDeniedException`.
    pub fn rotate_key_on_demand(&self, call: &Call<'_>, key: &str) -> Result<Rotated> {
        let operation = Operation::RotateKeyOnDemand;
        self.change_key(call, operation, key, &Facts::default(), |draft, naming, mut record| {
            if record.rotations(RotationType::OnDemand) >= ON_DEMAND_MAX {
                return Err(Error::LimitExceeded(format!(
                    "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be \
                     performed for this key: {}",
                    naming.key(record.id)
                )));
            }
            let key = record.id;
            if record.origin == Origin::AwsKms {
                let version = record.current_material() + 1;
                draft.put_rotated(record, RotationType::OnDemand);
                return Ok(Rotated { key, version });
            }
            let pending =
                record.materials.iter_mut().find(|material| material.rotation == RotationType::Pending);
            let pending = pending.ok_or_else(|| {
                Error::InvalidState(format!(
                    "{} has no key material that is pending rotation.",
                    naming.key(key)
                ))
            })?;
            pending.rotation = RotationType::OnDemand;
            pending.created = draft.now;
            let version = pending.version;
            draft.put(record);
            Ok(Rotated { key, version })
        })
    }

    /// ListKeyRotations, oldest first: the versions of the key's material that a rotation brought, or all of them.
    ///
    /// # Errors
    /// `NotFoundException`, `UnsupportedOperationException`, `InvalidMarkerException`, `AccessDeniedException`.
    pub fn list_key_rotations(
        &self,
        call: &Call<'_>,
        key: &str,
        all_material: bool,
        page: Page<'_>,
    ) -> Result<Listed<RotationEntry>> {
        self.view_key(call, Operation::ListKeyRotations, key, &Facts::default(), |record| {
            let current = record.current_material();
            let is_rotation = |material: &MaterialInfo| {
                matches!(material.rotation, RotationType::Automatic | RotationType::OnDemand)
            };
            page::paginate(page::ROTATIONS, page, |after| {
                let listed = record.materials.iter().filter(move |material| {
                    after.is_none_or(|after| material.version > after)
                        && (all_material || is_rotation(material))
                });
                Ok(listed.map(move |material| {
                    let state = match material.rotation {
                        RotationType::Pending => MaterialState::PendingRotation,
                        _ if material.version == current => MaterialState::Current,
                        _ => MaterialState::NonCurrent,
                    };
                    let material = material.clone();
                    (material.version, RotationEntry { key: record.id, material, state })
                }))
            })
        })?
    }
}
