//! EnableKeyRotation, DisableKeyRotation, GetKeyRotationStatus, RotateKeyOnDemand, ListKeyRotations.
//!
//! A rotation adds a version of key material: it encrypts from then on, and older versions go on decrypting what
//! they encrypted. Nothing is re-encrypted, and the key's id, ARN and aliases stay.

use super::check_range;
use crate::kms::Kms;
use crate::kms::authorize::Facts;
use crate::kms::call::Call;
use crate::kms::error::{Error, Result};
use crate::kms::key::{
    KeyState, MaterialInfo, ROTATION_DAYS, RotationSchedule, RotationStatus, RotationType,
};
use crate::kms::state::Operation;

/// Most on-demand rotations of one key.
const ON_DEMAND_MAX: usize = 25;

impl Kms {
    /// EnableKeyRotation: the key rotates every `period_days` days, counted from now. If it is on already, the new
    /// period counts from now too.
    ///
    /// # Errors
    /// `ValidationException` unless `period_days` is 90 to 2560, `NotFoundException`, `DisabledException`,
    /// `KMSInvalidStateException`, `AccessDeniedException`.
    pub fn enable_key_rotation(&self, call: &Call<'_>, key: &str, period_days: u32) -> Result<()> {
        check_range(period_days, "rotationPeriodInDays", ROTATION_DAYS)?;
        self.change_key(call, Operation::EnableKeyRotation, key, &Facts::default(), |draft, mut record| {
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
        self.change_key(call, Operation::DisableKeyRotation, key, &Facts::default(), |draft, mut record| {
            record.rotation = None;
            draft.put(record);
            Ok(())
        })
    }

    /// GetKeyRotationStatus.
    ///
    /// # Errors
    /// `NotFoundException`.
    pub fn key_rotation_status(&self, call: &Call<'_>, key: &str) -> Result<RotationStatus> {
        self.view_key(call, Operation::GetKeyRotationStatus, key, |record| RotationStatus {
            schedule: record.rotation.clone().filter(|_| record.state != KeyState::PendingDeletion),
            on_demand: record.rotations(RotationType::OnDemand) as u32,
        })
    }

    /// RotateKeyOnDemand: rotates the key now; its schedule stays as it is. Returns the new version.
    ///
    /// # Errors
    /// `LimitExceededException` after 25 times, `NotFoundException`, `DisabledException`,
    /// `KMSInvalidStateException`, `AccessDeniedException`.
    pub fn rotate_key_on_demand(&self, call: &Call<'_>, key: &str) -> Result<u32> {
        self.change_key(call, Operation::RotateKeyOnDemand, key, &Facts::default(), |draft, record| {
            if record.rotations(RotationType::OnDemand) >= ON_DEMAND_MAX {
                return Err(Error::LimitExceeded(format!(
                    "{} was rotated on demand {ON_DEMAND_MAX} times already",
                    record.id.arn()
                )));
            }
            let version = record.current_material() + 1;
            draft.put_rotated(record, RotationType::OnDemand);
            Ok(version)
        })
    }

    /// ListKeyRotations: the versions of the key's material, the first one included, oldest first.
    ///
    /// # Errors
    /// `NotFoundException`.
    pub fn list_key_rotations(&self, call: &Call<'_>, key: &str) -> Result<Vec<MaterialInfo>> {
        self.view_key(call, Operation::ListKeyRotations, key, |record| record.materials.clone())
    }
}
