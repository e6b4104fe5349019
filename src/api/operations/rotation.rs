//! EnableKeyRotation, DisableKeyRotation, GetKeyRotationStatus, RotateKeyOnDemand, ListKeyRotations.

use super::{Request, next, page, small};
use crate::api::error::Result;
use crate::api::wire::{Input, Object};
use crate::kms::{MaterialState, ROTATION_DAYS_DEFAULT, RotationType};

pub(super) fn enable_key_rotation(
    request: &Request<'_>,
    input: &Input<'_>,
    _: &mut Object<'_>,
) -> Result<()> {
    let days = input.integer("RotationPeriodInDays").map_or(ROTATION_DAYS_DEFAULT, small);
    Ok(request.kms.enable_key_rotation(request.call, input.required_text("KeyId"), days)?)
}

pub(super) fn disable_key_rotation(
    request: &Request<'_>,
    input: &Input<'_>,
    _: &mut Object<'_>,
) -> Result<()> {
    Ok(request.kms.disable_key_rotation(request.call, input.required_text("KeyId"))?)
}

pub(super) fn get_key_rotation_status(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let status = request.kms.key_rotation_status(request.call, input.required_text("KeyId"))?;
    output.flag("KeyRotationEnabled", status.schedule.is_some());
    output.text("KeyId", &status.key.to_string());
    if let Some(schedule) = status.schedule {
        output.integer("RotationPeriodInDays", schedule.period_days);
        output.timestamp("NextRotationDate", schedule.next);
    }
    Ok(())
}

pub(super) fn rotate_key_on_demand(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let rotated = request.kms.rotate_key_on_demand(request.call, input.required_text("KeyId"))?;
    output.text("KeyId", &rotated.key.to_string());
    Ok(())
}

pub(super) fn list_key_rotations(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let all = input.text("IncludeKeyMaterial") == Some("ALL_KEY_MATERIAL");
    let key = input.required_text("KeyId");
    let rotations = request.kms.list_key_rotations(request.call, key, all, page(input))?;
    output.structures("Rotations", &rotations.items, |output, rotation| {
        let material = &rotation.material;
        output.text("KeyId", &rotation.key.to_string());
        output.text("KeyMaterialId", &material.id.to_string());
        if let Some(imported) = &material.imported {
            if !imported.description.is_empty() {
                output.text("KeyMaterialDescription", &imported.description);
            }
            output.text("ImportState", if imported.present { "IMPORTED" } else { "PENDING_IMPORT" });
            if imported.present {
                output.text("ExpirationModel", imported.expiration().name());
            }
            if let Some(date) = imported.valid_to {
                output.timestamp("ValidTo", date);
            }
        }
        output.text(
            "KeyMaterialState",
            match rotation.state {
                MaterialState::Current => "CURRENT",
                MaterialState::NonCurrent => "NON_CURRENT",
                MaterialState::PendingRotation => "PENDING_ROTATION",
            },
        );
        let how = match material.rotation {
            RotationType::Automatic => "AUTOMATIC",
            RotationType::OnDemand => "ON_DEMAND",
            RotationType::Initial | RotationType::Pending => return,
        };
        output.timestamp("RotationDate", material.created);
        output.text("RotationType", how);
    });
    next(&rotations, output);
    Ok(())
}
