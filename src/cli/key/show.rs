//! How keys look: on a terminal, and in the JSON of the AWS CLI.

use serde_json::{Value, json};

use crate::{
    cli::{
        Failure, output,
        show::{date, timestamp},
    },
    kms::{AliasEntry, KeyManager, KeyMetadata, KeyState, MaterialInfo, RotationStatus, RotationType, Tag},
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
        "KeyManager": match key.manager { KeyManager::Customer => "CUSTOMER", KeyManager::Service | KeyManager::Owned => "AWS" },
        "KeySpec": key.spec,
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "MultiRegion": false,
    });
    if let (Some(due), Some(fields)) = (key.deletion_date, value.as_object_mut()) {
        fields.insert("DeletionDate".to_owned(), timestamp(due).into());
    }
    value
}

/// An entry of `ListAliases`.
pub fn alias_json(alias: &AliasEntry) -> Value {
    json!({
        "AliasName": alias.name, "AliasArn": alias.arn, "TargetKeyId": alias.target.to_string(),
        "CreationDate": timestamp(alias.created), "LastUpdatedDate": timestamp(alias.updated),
    })
}

/// `GetKeyRotationStatus`, with the entries of `ListKeyRotations`.
pub fn rotation_json(key: &KeyMetadata, status: &RotationStatus, versions: &[MaterialInfo]) -> Value {
    let rotations: Vec<_> = versions
        .iter()
        .map(|version| {
            let why = match version.rotation {
                RotationType::Initial => "INITIAL",
                RotationType::Automatic => "AUTOMATIC",
                RotationType::OnDemand => "ON_DEMAND",
            };
            json!({
                "KeyId": key.arn, "Version": version.version,
                "RotationDate": timestamp(version.created), "RotationType": why,
            })
        })
        .collect();
    let mut value = json!({
        "KeyId": key.arn, "KeyRotationEnabled": status.schedule.is_some(), "Rotations": rotations,
    });
    if let (Some(schedule), Some(fields)) = (&status.schedule, value.as_object_mut()) {
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
        ("Key material", format!("version {}", key.current_material)),
    ];
    if let Some(due) = key.deletion_date {
        rows.push(("Destroyed on", date(due)));
    }
    for tag in tags {
        rows.push(("Tag", format!("{}={}", tag.key, tag.value)));
    }
    output::fields(&rows)
}
