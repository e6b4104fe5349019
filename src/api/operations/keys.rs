//! CreateKey, DescribeKey, ListKeys, EnableKey, DisableKey, UpdateKeyDescription, ScheduleKeyDeletion,
//! CancelKeyDeletion, GetKeyLastUsage.

use super::tags::tags;
use super::{Place, Request, choice, next, page, refuse, small};
use crate::api::error::{Error, Result};
use crate::api::wire::{Input, Object};
use crate::kms::{
    CreateKey, DEFAULT_ALIAS, DELETION_DAYS_DEFAULT, FILESYSTEM_SERVICE, KeyManager, KeyMetadata, KeySpec,
    KeyState, Origin,
};

/// Volumes ask for the filesystem's default key before they use it, and have it made by that.
pub(super) fn describe_key(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let key = input.required_text("KeyId");
    if key == DEFAULT_ALIAS && request.call.via_service == Some(FILESYSTEM_SERVICE) {
        request.kms.service_key()?;
    }
    let key = request.kms.describe_key(request.call, key)?;
    output.structure("KeyMetadata", |output| metadata(&key, output));
    Ok(())
}

pub(super) fn place_of_describe_key(input: &Input<'_>) -> Place {
    if input.required_text("KeyId") == DEFAULT_ALIAS { Place::Store } else { Place::Here }
}

pub(super) fn list_keys(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let keys = request.kms.list_keys(request.call, page(input))?;
    output.structures("Keys", &keys.items, |output, key| {
        output.text("KeyId", &key.id.to_string());
        output.text("KeyArn", &key.arn);
    });
    next(&keys, output);
    Ok(())
}

pub(super) fn enable_key(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    Ok(request.kms.enable_key(request.call, input.required_text("KeyId"))?)
}

pub(super) fn disable_key(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    Ok(request.kms.disable_key(request.call, input.required_text("KeyId"))?)
}

pub(super) fn update_key_description(
    request: &Request<'_>,
    input: &Input<'_>,
    _: &mut Object<'_>,
) -> Result<()> {
    let (key, description) = (input.required_text("KeyId"), input.required_text("Description"));
    Ok(request.kms.update_key_description(request.call, key, description)?)
}

pub(super) fn schedule_key_deletion(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let days = input.integer("PendingWindowInDays").map_or(DELETION_DAYS_DEFAULT, small);
    let scheduled = request.kms.schedule_key_deletion(request.call, input.required_text("KeyId"), days)?;
    output.text("KeyId", &request.arn(scheduled.key));
    output.timestamp("DeletionDate", scheduled.date);
    output.text("KeyState", state(KeyState::PendingDeletion));
    output.integer("PendingWindowInDays", days);
    Ok(())
}

pub(super) fn cancel_key_deletion(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let key = request.kms.cancel_key_deletion(request.call, input.required_text("KeyId"))?;
    output.text("KeyId", &request.arn(key));
    Ok(())
}

pub(super) fn get_key_last_usage(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let history = request.kms.key_last_usage(request.call, input.required_text("KeyId"))?;
    output.text("KeyId", &request.arn(history.key));
    if let Some(last) = history.last_use {
        output.structure("KeyLastUsage", |output| {
            output.text("Operation", last.operation.name());
            output.timestamp("Timestamp", last.at);
            if let Some(id) = last.request_id {
                output.text("KmsRequestId", &id.to_string());
            }
        });
    }
    output.timestamp("TrackingStartDate", history.created);
    output.timestamp("KeyCreationDate", history.created);
    Ok(())
}

pub(super) fn create_key(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    refuse(input, &["CustomKeyStoreId", "XksKeyId"])?;
    if input.flag("MultiRegion") {
        return Err(Error::unsupported("Multi-Region keys are not supported by this service."));
    }
    let create = CreateKey {
        description: input.text("Description").unwrap_or_default().to_owned(),
        tags: tags(input),
        spec: spec(input)?,
        usage: choice(input, "KeyUsage")?,
        origin: choice(input, "Origin")?.unwrap_or(Origin::AwsKms),
        policy: input.text("Policy").map(str::to_owned),
        bypass_policy_lockout_safety_check: input.flag("BypassPolicyLockoutSafetyCheck"),
    };
    let created = request.kms.create_key(request.call, create)?;
    output.structure("KeyMetadata", |output| metadata(&created, output));
    Ok(())
}

/// `KeySpec`, or `CustomerMasterKeySpec` as it used to be called.
fn spec(input: &Input<'_>) -> Result<KeySpec> {
    let (new, old) = (choice(input, "KeySpec")?, choice(input, "CustomerMasterKeySpec")?);
    match (new, old) {
        (Some(new), Some(old)) if new != old => Err(Error::new(
            "ValidationException",
            "You cannot specify KeySpec and CustomerMasterKeySpec in the same request.",
        )),
        _ => Ok(new.or(old).unwrap_or(KeySpec::SymmetricDefault)),
    }
}

/// Whether a key of this kind existed when it was called `CustomerMasterKeySpec`.
pub(super) fn has_old_name(spec: KeySpec) -> bool {
    use KeySpec::{Ed25519, MlDsa44, MlDsa65, MlDsa87, MlKem512, MlKem768, MlKem1024};
    !matches!(spec, Ed25519 | MlDsa44 | MlDsa65 | MlDsa87 | MlKem512 | MlKem768 | MlKem1024)
}

/// `KeyMetadata`, of CreateKey and DescribeKey.
fn metadata(key: &KeyMetadata, output: &mut Object<'_>) {
    output.text("AWSAccountId", &key.account);
    output.text("KeyId", &key.id.to_string());
    output.text("Arn", &key.arn);
    output.timestamp("CreationDate", key.created);
    output.flag("Enabled", key.state == KeyState::Enabled);
    output.text("Description", &key.description);
    output.text("KeyUsage", key.usage.name());
    output.text("KeyState", state(key.state));
    if let Some(date) = key.deletion_date {
        output.timestamp("DeletionDate", date);
    }
    if let Some(date) = key.valid_to {
        output.timestamp("ValidTo", date);
    }
    output.text("Origin", key.origin.name());
    if let Some(expiration) = key.expiration {
        output.text("ExpirationModel", expiration.name());
    }
    output.text("KeyManager", if key.manager == KeyManager::Customer { "CUSTOMER" } else { "AWS" });
    if has_old_name(key.spec) {
        output.text("CustomerMasterKeySpec", key.spec.name());
    }
    output.text("KeySpec", key.spec.name());
    algorithms(key, output);
    output.flag("MultiRegion", false);
    if let Some(id) = key.current_material_id {
        output.text("CurrentKeyMaterialId", &id.to_string());
    }
}

/// What the key can do; what it cannot is not mentioned.
pub(super) fn algorithms(key: &KeyMetadata, output: &mut Object<'_>) {
    let encryption = key.encryption_algorithms();
    if !encryption.is_empty() {
        output.texts("EncryptionAlgorithms", encryption.iter().map(|algorithm| algorithm.name()));
    }
    let signing = key.signing_algorithms();
    if !signing.is_empty() {
        output.texts("SigningAlgorithms", signing.iter().map(|algorithm| algorithm.name()));
    }
    let agreement = key.key_agreement_algorithms();
    if !agreement.is_empty() {
        output.texts("KeyAgreementAlgorithms", agreement.iter().map(|algorithm| algorithm.name()));
    }
    let encapsulation = key.encapsulation_algorithms();
    if !encapsulation.is_empty() {
        output.texts("EncapsulationAlgorithms", encapsulation.iter().map(|algorithm| algorithm.name()));
    }
    if let Some(mac) = key.mac_algorithm() {
        output.texts("MacAlgorithms", [mac.name()]);
    }
}

fn state(state: KeyState) -> &'static str {
    match state {
        KeyState::Enabled => "Enabled",
        KeyState::Disabled => "Disabled",
        KeyState::PendingDeletion => "PendingDeletion",
        KeyState::PendingImport => "PendingImport",
    }
}
