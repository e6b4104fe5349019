//! Which operation a key's state and management type allow: AWS KMS's key-state table.

use super::error::{Error, Result};
use super::key::{KeyManager, KeyRecord, KeyState};
use std::fmt;

/// On whose behalf an operation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A person or program that manages and uses keys.
    Operator,
    /// A mounted volume: it uses keys and manages none.
    Filesystem,
}

/// An operation on an existing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "AWS KMS's own names")]
pub enum Operation {
    CancelKeyDeletion,
    CreateAlias,
    Decrypt,
    DeleteAlias,
    DescribeKey,
    DisableKey,
    DisableKeyRotation,
    EnableKey,
    EnableKeyRotation,
    Encrypt,
    GenerateDataKey,
    GenerateDataKeyWithoutPlaintext,
    GetKeyRotationStatus,
    ListAliases,
    ListKeyRotations,
    ListResourceTags,
    ReEncryptFrom,
    ReEncryptTo,
    RotateKeyOnDemand,
    ScheduleKeyDeletion,
    TagResource,
    UntagResource,
    UpdateAlias,
    UpdateKeyDescription,
}

/// What an operation does to a key, which decides who may call it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Encrypts or decrypts with it.
    Use,
    /// Reads what is recorded about it.
    View,
    /// Changes what is recorded about it.
    Manage,
}

impl Operation {
    fn class(self) -> Class {
        use Operation::*;
        match self {
            Decrypt
            | Encrypt
            | GenerateDataKey
            | GenerateDataKeyWithoutPlaintext
            | ReEncryptFrom
            | ReEncryptTo => Class::Use,
            DescribeKey | GetKeyRotationStatus | ListAliases | ListKeyRotations | ListResourceTags => {
                Class::View
            }
            CancelKeyDeletion | CreateAlias | DeleteAlias | DisableKey | DisableKeyRotation | EnableKey
            | EnableKeyRotation | RotateKeyOnDemand | ScheduleKeyDeletion | TagResource | UntagResource
            | UpdateAlias | UpdateKeyDescription => Class::Manage,
        }
    }

    /// Whether a key in `state` may be the subject of this operation.
    fn allowed_in(self, state: KeyState) -> bool {
        use Operation::*;
        match (state, self.class()) {
            (_, Class::View) => true,
            (KeyState::Enabled, _) => self != CancelKeyDeletion,
            (_, Class::Use) => false,
            (KeyState::Disabled, Class::Manage) => !matches!(
                self,
                CancelKeyDeletion | DisableKeyRotation | EnableKeyRotation | RotateKeyOnDemand
            ),
            (KeyState::PendingDeletion, Class::Manage) => matches!(self, CancelKeyDeletion | DeleteAlias),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kms:{self:?}")
    }
}

/// Says whether `caller` may do `operation` on the key, and whether the key's state allows it.
///
/// # Errors
/// `AccessDeniedException`, `NotFoundException` for a destroyed key, `DisabledException`,
/// `KMSInvalidStateException`.
pub(super) fn check(caller: &Caller, operation: Operation, key: &KeyRecord) -> Result<()> {
    if let Some(date) = key.destroyed {
        let arn = key.id.arn();
        return Err(Error::NotFound(format!(
            "Key '{arn}' does not exist: it was deleted on {}",
            date.date()
        )));
    }
    check_caller(caller, operation, key)?;
    check_state(operation, key)
}

fn check_caller(caller: &Caller, operation: Operation, key: &KeyRecord) -> Result<()> {
    let permitted = match (caller, key.manager, operation.class()) {
        (_, _, Class::View) => true,
        (Caller::Filesystem, _, class) => class == Class::Use,
        (Caller::Operator, manager, _) => manager == KeyManager::Customer,
    };
    if permitted {
        return Ok(());
    }
    let arn = key.id.arn();
    Err(Error::AccessDenied(match caller {
        Caller::Operator => {
            format!("{operation} is not allowed on {arn}: only the filesystem uses and manages this key")
        }
        Caller::Filesystem => format!("{operation} is not allowed to the filesystem, on {arn}"),
    }))
}

fn check_state(operation: Operation, key: &KeyRecord) -> Result<()> {
    if operation.allowed_in(key.state) {
        return Ok(());
    }
    let arn = key.id.arn();
    Err(match (key.state, operation) {
        (KeyState::Enabled | KeyState::Disabled, Operation::CancelKeyDeletion) => {
            Error::InvalidState(format!("{arn} is not pending deletion."))
        }
        (KeyState::PendingDeletion, _) => Error::InvalidState(format!("{arn} is pending deletion.")),
        (KeyState::Enabled | KeyState::Disabled, _) => Error::Disabled(format!("{arn} is disabled.")),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::arn::KeyId;
    use super::*;
    use KeyState::{Disabled, Enabled, PendingDeletion};
    use Operation::*;

    fn key(state: KeyState, manager: KeyManager) -> KeyRecord {
        KeyRecord { state, ..KeyRecord::new(KeyId::random(), manager, time::OffsetDateTime::UNIX_EPOCH) }
    }

    /// Each operation with its outcome in Enabled, Disabled and PendingDeletion.
    const OK: &str = "ok";
    const DIS: &str = "DisabledException";
    const INV: &str = "KMSInvalidStateException";
    const TABLE: &[(Operation, [&str; 3])] = &[
        (CancelKeyDeletion, [INV, INV, OK]),
        (CreateAlias, [OK, OK, INV]),
        (Decrypt, [OK, DIS, INV]),
        (DeleteAlias, [OK, OK, OK]),
        (DescribeKey, [OK, OK, OK]),
        (DisableKey, [OK, OK, INV]),
        (DisableKeyRotation, [OK, DIS, INV]),
        (EnableKey, [OK, OK, INV]),
        (EnableKeyRotation, [OK, DIS, INV]),
        (Encrypt, [OK, DIS, INV]),
        (GenerateDataKey, [OK, DIS, INV]),
        (GenerateDataKeyWithoutPlaintext, [OK, DIS, INV]),
        (GetKeyRotationStatus, [OK, OK, OK]),
        (ListAliases, [OK, OK, OK]),
        (ListKeyRotations, [OK, OK, OK]),
        (ListResourceTags, [OK, OK, OK]),
        (ReEncryptFrom, [OK, DIS, INV]),
        (ReEncryptTo, [OK, DIS, INV]),
        (RotateKeyOnDemand, [OK, DIS, INV]),
        (ScheduleKeyDeletion, [OK, OK, INV]),
        (TagResource, [OK, OK, INV]),
        (UntagResource, [OK, OK, INV]),
        (UpdateAlias, [OK, OK, INV]),
        (UpdateKeyDescription, [OK, OK, INV]),
    ];

    #[test]
    fn the_key_state_table() {
        for (operation, outcomes) in TABLE {
            for (state, outcome) in [Enabled, Disabled, PendingDeletion].into_iter().zip(outcomes) {
                let result = check(&Caller::Operator, *operation, &key(state, KeyManager::Customer));
                let got = result.as_ref().map_or_else(Error::name, |()| OK);
                assert_eq!(got, *outcome, "{operation} on a key that is {state:?}");
            }
        }
    }

    #[test]
    fn the_filesystem_uses_and_the_operator_manages() {
        for (operation, _) in TABLE.iter().filter(|(operation, _)| *operation != CancelKeyDeletion) {
            let allowed = |caller, manager| check(&caller, *operation, &key(Enabled, manager)).is_ok();
            let class = operation.class();
            assert!(allowed(Caller::Operator, KeyManager::Customer));
            assert_eq!(allowed(Caller::Operator, KeyManager::Service), class == Class::View, "{operation}");
            for manager in [KeyManager::Customer, KeyManager::Service] {
                assert_eq!(allowed(Caller::Filesystem, manager), class != Class::Manage, "{operation}");
            }
        }
    }

    #[test]
    fn a_destroyed_key_does_not_exist() {
        let mut key = key(PendingDeletion, KeyManager::Customer);
        key.destroyed = Some(time::OffsetDateTime::UNIX_EPOCH);
        for (operation, _) in TABLE {
            assert_eq!(check(&Caller::Operator, *operation, &key).unwrap_err().name(), "NotFoundException");
        }
    }
}
