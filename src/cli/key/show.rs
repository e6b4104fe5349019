//! How keys look: on a terminal, and in the JSON of the AWS CLI.

use serde_json::{Value, json};

use super::stdio::base64;

use crate::{
    cli::{
        Failure, output,
        show::{date, timestamp},
    },
    kms::{
        AliasEntry, KeyManager, KeyMetadata, KeyState, KeyUsageHistory, PublicKeyOf, RotationEntry,
        RotationSchedule, RotationType, Tag,
    },
};

/// A key's state as AWS KMS writes it.
pub fn state_name(state: KeyState) -> &'static str {
    match state {
        KeyState::Enabled => "Enabled",
        KeyState::Disabled => "Disabled",
        KeyState::PendingDeletion => "PendingDeletion",
        KeyState::PendingImport => "PendingImport",
    }
}

/// A key's state for a table: with the date its deletion is due.
pub fn state(key: &KeyMetadata) -> String {
    match key.deletion_date {
        Some(due) => format!("{} ({})", state_name(key.state), due.date()),
        None => state_name(key.state).to_owned(),
    }
}

/// The document `KeyMetadata` of AWS KMS.
pub fn metadata_json(key: &KeyMetadata) -> Value {
    let mut value = json!({
        "KeyId": key.id.to_string(),
        "Arn": key.arn,
        "CreationDate": timestamp(key.created),
        "Enabled": key.state == KeyState::Enabled,
        "Description": key.description,
        "KeyUsage": key.usage,
        "KeyState": state_name(key.state),
        "Origin": key.origin,
        "AWSAccountId": key.account,
        "CustomerMasterKeySpec": key.spec,
        "KeyManager": match key.manager { KeyManager::Customer => "CUSTOMER", KeyManager::Service | KeyManager::Owned => "AWS" },
        "KeySpec": key.spec,
        "MultiRegion": false,
    });
    let mut add = |name: &str, field: Value| {
        let is_empty = field.is_null() || field.as_array().is_some_and(Vec::is_empty);
        if let (false, Some(fields)) = (is_empty, value.as_object_mut()) {
            fields.insert(name.to_owned(), field);
        }
    };
    add("DeletionDate", json!(key.deletion_date.map(timestamp)));
    add("ExpirationModel", json!(key.expiration));
    add("ValidTo", json!(key.valid_to.map(timestamp)));
    add("CurrentKeyMaterialId", json!(key.current_material_id));
    add("EncryptionAlgorithms", json!(key.encryption_algorithms()));
    add("SigningAlgorithms", json!(key.signing_algorithms()));
    add("MacAlgorithms", json!(key.mac_algorithm().as_slice()));
    add("KeyAgreementAlgorithms", json!(key.key_agreement_algorithms()));
    add("EncapsulationAlgorithms", json!(key.encapsulation_algorithms()));
    value
}

/// `GetPublicKey`.
pub fn public_key_json(public: &PublicKeyOf) -> Value {
    let key = &public.metadata;
    json!({
        "KeyId": key.arn, "PublicKey": base64(&public.spki), "KeySpec": key.spec, "KeyUsage": key.usage,
        "CustomerMasterKeySpec": key.spec, "EncryptionAlgorithms": key.encryption_algorithms(),
        "SigningAlgorithms": key.signing_algorithms(), "KeyAgreementAlgorithms": key.key_agreement_algorithms(),
    })
}

/// `GetKeyLastUsage`.
pub fn last_usage_json(arn: &str, history: &KeyUsageHistory) -> Value {
    let last = history.last_use.map_or_else(
        || json!({}),
        |last| json!({ "Operation": last.operation.name(), "Timestamp": timestamp(last.at) }),
    );
    let created = timestamp(history.created);
    json!({ "KeyId": arn, "KeyLastUsage": last, "TrackingStartDate": created, "KeyCreationDate": created })
}

/// An entry of `ListAliases`.
pub fn alias_json(alias: &AliasEntry) -> Value {
    json!({
        "AliasName": alias.name, "AliasArn": alias.arn, "TargetKeyId": alias.target.to_string(),
        "CreationDate": timestamp(alias.created), "LastUpdatedDate": timestamp(alias.updated),
    })
}

/// `GetKeyRotationStatus`, with the entries of `ListKeyRotations`.
pub fn rotation_json(
    key: &KeyMetadata,
    schedule: Option<&RotationSchedule>,
    versions: &[RotationEntry],
) -> Value {
    let rotations: Vec<_> = versions
        .iter()
        .map(|version| {
            let material = &version.material;
            let why = match material.rotation {
                RotationType::Initial => "INITIAL",
                RotationType::Automatic => "AUTOMATIC",
                RotationType::OnDemand => "ON_DEMAND",
                RotationType::Pending => "PENDING",
            };
            json!({
                "KeyId": key.arn, "Version": material.version, "KeyMaterialId": material.id,
                "RotationDate": timestamp(material.created), "RotationType": why,
                "ImportState": if material.is_present() { "IMPORTED" } else { "PENDING_IMPORT" },
            })
        })
        .collect();
    let mut value = json!({
        "KeyId": key.arn, "KeyRotationEnabled": schedule.is_some(), "Rotations": rotations,
    });
    if let (Some(schedule), Some(fields)) = (schedule, value.as_object_mut()) {
        fields.insert("RotationPeriodInDays".to_owned(), schedule.period_days.into());
        fields.insert("NextRotationDate".to_owned(), timestamp(schedule.next).into());
    }
    value
}

/// Everything about a key, a line each.
pub fn describe(key: &KeyMetadata, tags: &[Tag], aliases: &[AliasEntry]) -> Result<(), Failure> {
    let names: Vec<_> = aliases.iter().map(|alias| alias.name.as_str()).collect();
    let mut rows = vec![
        ("Key", key.id.to_string()),
        ("ARN", key.arn.clone()),
        ("Spec", key.spec.to_string()),
        ("Usage", key.usage.to_string()),
        ("State", state_name(key.state).to_owned()),
        ("Aliases", names.join(" ")),
        ("Description", key.description.clone()),
        (
            "Managed by",
            match key.manager {
                KeyManager::Customer => "you".to_owned(),
                KeyManager::Service | KeyManager::Owned => "the filesystem, for itself alone".to_owned(),
            },
        ),
        ("Created", date(key.created)),
        (
            "Key material",
            match (key.current_material, key.valid_to) {
                (0, _) => "none: import it".to_owned(),
                (version, None) => format!("version {version}"),
                (version, Some(date)) => format!("version {version}, until {}", self::date(date)),
            },
        ),
    ];
    if let Some(due) = key.deletion_date {
        rows.push(("Destroyed on", date(due)));
    }
    for tag in tags {
        rows.push(("Tag", format!("{}={}", tag.key, tag.value)));
    }
    output::fields(&rows)
}
