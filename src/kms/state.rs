//! Which operation a key's state and kind allow: AWS KMS's key-state table.
//!
//! Source: AWS KMS Developer Guide, *Key states of AWS KMS keys*. Where the table leaves a choice between
//! `DisabledException` and `KMSInvalidStateException` for a key that is pending deletion, it is the latter, as AWS
//! answers in practice.

use super::arn::Naming;
use super::error::{Error, Result};
use super::key::{KeyRecord, KeyState};
use super::spec::Origin;
use std::fmt;

/// Declares [`Operation`], whose variants are actions of policies.
macro_rules! operations {
    ($($operation:ident,)+; $($own:ident,)+) => {
        /// An operation, as policies name it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "AWS KMS's own names")]
        pub enum Operation {
            $($operation,)+
            $($own,)+
        }

        impl Operation {
            /// Every one there is.
            #[cfg(test)]
            pub const ALL: &[Operation] = &[$(Operation::$operation,)+ $(Operation::$own),+];

            /// The action of policies: `kms:` and the operation's name; `kmsfs:` for one that AWS KMS does not have.
            pub const fn action(self) -> &'static str {
                match self {
                    $(Operation::$operation => concat!("kms:", stringify!($operation)),)+
                    $(Operation::$own => concat!("kmsfs:", stringify!($own)),)+
                }
            }
        }
    };
}

operations! {
    CancelKeyDeletion,
    CreateAlias,
    CreateGrant,
    CreateKey,
    Decapsulate,
    Decrypt,
    DeleteAlias,
    DeleteImportedKeyMaterial,
    DeriveSharedSecret,
    DescribeKey,
    DisableKey,
    DisableKeyRotation,
    EnableKey,
    EnableKeyRotation,
    Encapsulate,
    Encrypt,
    GenerateDataKey,
    GenerateDataKeyPair,
    GenerateDataKeyPairWithoutPlaintext,
    GenerateDataKeyWithoutPlaintext,
    GenerateMac,
    GenerateRandom,
    GetKeyLastUsage,
    GetKeyPolicy,
    GetKeyRotationStatus,
    GetParametersForImport,
    GetPublicKey,
    ImportKeyMaterial,
    ListAliases,
    ListGrants,
    ListKeyPolicies,
    ListKeyRotations,
    ListKeys,
    ListResourceTags,
    ListRetirableGrants,
    PutKeyPolicy,
    ReEncryptFrom,
    ReEncryptTo,
    RetireGrant,
    RevokeGrant,
    RotateKeyOnDemand,
    ScheduleKeyDeletion,
    Sign,
    TagResource,
    UntagResource,
    UpdateAlias,
    UpdateKeyDescription,
    Verify,
    VerifyMac,
    ;
    DestroySecret,
}

/// What an operation does to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Uses its material, or what was made for its users.
    Use,
    /// Reads what is recorded about it.
    View,
    /// Changes what is recorded about it.
    Manage,
}

impl Operation {
    pub(super) fn class(self) -> Class {
        use Operation::*;
        match self {
            Decapsulate
            | Decrypt
            | DeriveSharedSecret
            | DestroySecret
            | Encapsulate
            | Encrypt
            | GenerateDataKey
            | GenerateDataKeyPair
            | GenerateDataKeyPairWithoutPlaintext
            | GenerateDataKeyWithoutPlaintext
            | GenerateMac
            | GenerateRandom
            | ReEncryptFrom
            | ReEncryptTo
            | Sign
            | Verify
            | VerifyMac => Class::Use,
            DescribeKey | GetKeyLastUsage | GetKeyPolicy | GetKeyRotationStatus | GetPublicKey
            | ListAliases | ListGrants | ListKeyPolicies | ListKeyRotations | ListKeys | ListResourceTags
            | ListRetirableGrants => Class::View,
            CancelKeyDeletion
            | CreateAlias
            | CreateGrant
            | CreateKey
            | DeleteAlias
            | DeleteImportedKeyMaterial
            | DisableKey
            | DisableKeyRotation
            | EnableKey
            | EnableKeyRotation
            | GetParametersForImport
            | ImportKeyMaterial
            | PutKeyPolicy
            | RetireGrant
            | RevokeGrant
            | RotateKeyOnDemand
            | ScheduleKeyDeletion
            | TagResource
            | UntagResource
            | UpdateAlias
            | UpdateKeyDescription => Class::Manage,
        }
    }

    /// Whether a key in `state` may be the subject of this operation.
    fn allowed_in(self, state: KeyState) -> bool {
        use KeyState::*;
        use Operation::*;
        match self {
            CancelKeyDeletion => state == PendingDeletion,
            // A grant is for use, and so is a public key.
            CreateGrant | GetPublicKey => state == Enabled,
            // It needs no material, and a key that is out of use must not keep a secret alive.
            DestroySecret => true,
            _ if self.class() == Class::Use => state == Enabled,
            DisableKeyRotation | EnableKeyRotation | RotateKeyOnDemand => state == Enabled,
            DisableKey | EnableKey => matches!(state, Enabled | Disabled),
            CreateAlias
            | GetParametersForImport
            | ImportKeyMaterial
            | ScheduleKeyDeletion
            | TagResource
            | UntagResource
            | UpdateAlias
            | UpdateKeyDescription => state != PendingDeletion,
            _ => true,
        }
    }
}

impl Operation {
    /// AWS KMS's name of the operation in its API, where ReEncrypt is one.
    pub fn name(self) -> String {
        match self {
            Operation::ReEncryptFrom | Operation::ReEncryptTo => "ReEncrypt".to_owned(),
            other => format!("{other:?}"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.action())
    }
}

/// Refuses every operation on a key whose material was destroyed: for its callers it does not exist any more.
///
/// # Errors
/// `NotFoundException`.
pub(super) fn check_exists(key: &KeyRecord, naming: Naming<'_>) -> Result<()> {
    match key.destroyed {
        None => Ok(()),
        Some(date) => Err(Error::NotFound(format!(
            "Key '{}' does not exist: it was deleted on {}",
            naming.key(key.id),
            date.date()
        ))),
    }
}

/// Says whether the key's kind and state allow `operation`.
///
/// # Errors
/// `UnsupportedOperationException`, `DisabledException`, `KMSInvalidStateException`.
pub(super) fn check_state(operation: Operation, key: &KeyRecord, naming: Naming<'_>) -> Result<()> {
    if let Some(reason) = forbidden_by_kind(operation, key) {
        let arn = naming.key(key.id);
        return Err(Error::Unsupported(format!("{arn} {reason} which is not valid for this operation.")));
    }
    if operation.allowed_in(key.state) {
        return Ok(());
    }
    let arn = naming.key(key.id);
    Err(match (operation, key.state) {
        (Operation::CancelKeyDeletion, _) => Error::InvalidState(format!("{arn} is not pending deletion.")),
        (_, KeyState::PendingDeletion) => Error::InvalidState(format!("{arn} is pending deletion.")),
        (_, KeyState::PendingImport) => Error::InvalidState(format!("{arn} is pending import.")),
        (_, KeyState::Enabled | KeyState::Disabled) => Error::Disabled(format!("{arn} is disabled.")),
    })
}

/// What about the key makes `operation` impossible for ever, whatever its state.
fn forbidden_by_kind(operation: Operation, key: &KeyRecord) -> Option<String> {
    use Operation::*;
    let (origin, spec) = (key.origin, key.spec);
    let (origin_fits, spec_fits) = match operation {
        DisableKeyRotation | EnableKeyRotation | GetKeyRotationStatus => {
            (origin == Origin::AwsKms, spec.is_symmetric())
        }
        ListKeyRotations | RotateKeyOnDemand => (true, spec.is_symmetric()),
        DeleteImportedKeyMaterial | GetParametersForImport | ImportKeyMaterial => {
            (origin == Origin::External, true)
        }
        GetPublicKey => (true, spec.is_asymmetric()),
        _ => (true, true),
    };
    match (origin_fits, spec_fits) {
        (false, _) => Some(format!("origin is {origin}")),
        (true, false) => Some(format!("key spec is {spec}")),
        (true, true) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::key::KeyManager;
    use super::super::spec::KeySpec;
    use super::*;
    use KeyState::{Disabled, Enabled, PendingDeletion, PendingImport};
    use Operation::*;

    fn key(state: KeyState, origin: Origin, spec: KeySpec) -> KeyRecord {
        let new = KeyRecord::new(KeyManager::Customer, time::OffsetDateTime::UNIX_EPOCH);
        KeyRecord { state, origin, spec, ..new }
    }

    fn outcome(operation: Operation, key: &KeyRecord) -> &'static str {
        check_state(operation, key, HERE).as_ref().map_or_else(Error::name, |()| OK)
    }

    const HERE: Naming<'static> =
        Naming { region: "eu-west-1", account: "111122223333", own_region: "local", anywhere: false };
    const OK: &str = "ok";
    const DIS: &str = "DisabledException";
    const INV: &str = "KMSInvalidStateException";
    const UNS: &str = "UnsupportedOperationException";

    /// Each operation on an existing key with its outcome in Enabled, Disabled and PendingDeletion for material that
    /// the KMS made, then in these and PendingImport for imported material.
    #[rustfmt::skip]
    const TABLE: &[(Operation, [&str; 3], [&str; 4])] = &[
        (CancelKeyDeletion,                   [INV, INV, OK],  [INV, INV, OK,  INV]),
        (CreateAlias,                         [OK,  OK,  INV], [OK,  OK,  INV, OK]),
        (CreateGrant,                         [OK,  DIS, INV], [OK,  DIS, INV, INV]),
        (Decapsulate,                         [OK,  DIS, INV], [OK,  DIS, INV, INV]),
        (Decrypt,                             [OK,  DIS, INV], [OK,  DIS, INV, INV]),
        (DeleteAlias,                         [OK,  OK,  OK],  [OK,  OK,  OK,  OK]),
        (DeleteImportedKeyMaterial,           [UNS, UNS, UNS], [OK,  OK,  OK,  OK]),
        (DeriveSharedSecret,                  [OK,  DIS, INV], [OK,  DIS, INV, INV]),
        (DestroySecret,                       [OK,  OK,  OK],  [OK,  OK,  OK,  OK]),
        (DescribeKey,                         [OK,  OK,  OK],  [OK,  OK,  OK,  OK]),
        (DisableKey,                          [OK,  OK,  INV], [OK,  OK,  INV, INV]),
        (DisableKeyRotation,                  [OK,  DIS, INV], [UNS, UNS, UNS, UNS]),
        (EnableKey,                           [OK,  OK,  INV], [OK,  OK,  INV, INV]),
        (EnableKeyRotation,                   [OK,  DIS, INV], [UNS, UNS, UNS, UNS]),
        (Encapsulate,                         [OK,  DIS, INV], [OK,  DIS, INV, INV]),
        (Encrypt,                             [OK,  DIS, INV], [OK,  DIS, INV, INV]),
        (GenerateDataKey,                     [OK,  DIS, INV], [OK,  DIS, INV, INV]),
        (GenerateDataKeyPair,                 [OK,  DIS, INV], [OK,  DIS, INV, INV]),
        (GenerateDataKeyPairWithoutPlaintext, [OK,  DIS, INV], [OK,  DIS, INV, INV]),
        (GenerateDataKeyWithoutPlaintext,     [OK,  DIS, INV], [OK,  DIS, INV, INV]),
        (GenerateMac,                         [OK,  DIS, INV], [OK,  DIS, INV, INV]),
        (GetKeyLastUsage,                     [OK,  OK,  OK],  [OK,  OK,  OK,  OK]),
        (GetKeyPolicy,                        [OK,  OK,  OK],  [OK,  OK,  OK,  OK]),
        (GetKeyRotationStatus,                [OK,  OK,  OK],  [UNS, UNS, UNS, UNS]),
        (GetParametersForImport,              [UNS, UNS, UNS], [OK,  OK,  INV, OK]),
        (GetPublicKey,                        [UNS, UNS, UNS], [UNS, UNS, UNS, UNS]),
        (ImportKeyMaterial,                   [UNS, UNS, UNS], [OK,  OK,  INV, OK]),
        (ListAliases,                         [OK,  OK,  OK],  [OK,  OK,  OK,  OK]),
        (ListGrants,                          [OK,  OK,  OK],  [OK,  OK,  OK,  OK]),
        (ListKeyPolicies,                     [OK,  OK,  OK],  [OK,  OK,  OK,  OK]),
        (ListKeyRotations,                    [OK,  OK,  OK],  [OK,  OK,  OK,  OK]),
        (ListResourceTags,                    [OK,  OK,  OK],  [OK,  OK,  OK,  OK]),
        (PutKeyPolicy,                        [OK,  OK,  OK],  [OK,  OK,  OK,  OK]),
        (ReEncryptFrom,                       [OK,  DIS, INV], [OK,  DIS, INV, INV]),
        (ReEncryptTo,                         [OK,  DIS, INV], [OK,  DIS, INV, INV]),
        (RetireGrant,                         [OK,  OK,  OK],  [OK,  OK,  OK,  OK]),
        (RevokeGrant,                         [OK,  OK,  OK],  [OK,  OK,  OK,  OK]),
        (RotateKeyOnDemand,                   [OK,  DIS, INV], [OK,  DIS, INV, INV]),
        (ScheduleKeyDeletion,                 [OK,  OK,  INV], [OK,  OK,  INV, OK]),
        (Sign,                                [OK,  DIS, INV], [OK,  DIS, INV, INV]),
        (TagResource,                         [OK,  OK,  INV], [OK,  OK,  INV, OK]),
        (UntagResource,                       [OK,  OK,  INV], [OK,  OK,  INV, OK]),
        (UpdateAlias,                         [OK,  OK,  INV], [OK,  OK,  INV, OK]),
        (UpdateKeyDescription,                [OK,  OK,  INV], [OK,  OK,  INV, OK]),
        (Verify,                              [OK,  DIS, INV], [OK,  DIS, INV, INV]),
        (VerifyMac,                           [OK,  DIS, INV], [OK,  DIS, INV, INV]),
    ];

    #[test]
    fn the_key_state_table() {
        let states = [Enabled, Disabled, PendingDeletion, PendingImport];
        for (operation, own, imported) in TABLE {
            let got = |origin, state| outcome(*operation, &key(state, origin, KeySpec::SymmetricDefault));
            for (state, expected) in states.into_iter().zip(own) {
                assert_eq!(got(Origin::AwsKms, state), *expected, "{operation} on a key that is {state:?}");
            }
            for (state, expected) in states.into_iter().zip(imported) {
                assert_eq!(got(Origin::External, state), *expected, "{operation}, imported, {state:?}");
            }
        }
    }

    #[test]
    fn only_symmetric_keys_rotate() {
        for spec in KeySpec::ALL.iter().filter(|spec| !spec.is_symmetric()) {
            for operation in [
                EnableKeyRotation,
                DisableKeyRotation,
                GetKeyRotationStatus,
                ListKeyRotations,
                RotateKeyOnDemand,
            ] {
                for state in [Enabled, Disabled, PendingDeletion] {
                    assert_eq!(
                        outcome(operation, &key(state, Origin::AwsKms, *spec)),
                        UNS,
                        "{operation}, {spec}"
                    );
                }
            }
        }
    }

    #[test]
    fn only_key_pairs_have_a_public_key() {
        for spec in KeySpec::ALL {
            let row = [Enabled, Disabled, PendingDeletion, PendingImport]
                .map(|state| outcome(GetPublicKey, &key(state, Origin::External, *spec)));
            let expected = if spec.is_asymmetric() { [OK, DIS, INV, INV] } else { [UNS; 4] };
            assert_eq!(row, expected, "{spec}");
        }
    }

    #[test]
    fn a_destroyed_key_does_not_exist() {
        let mut key = key(PendingDeletion, Origin::AwsKms, KeySpec::SymmetricDefault);
        assert!(check_exists(&key, HERE).is_ok());
        key.destroyed = Some(time::OffsetDateTime::UNIX_EPOCH);
        assert_eq!(check_exists(&key, HERE).unwrap_err().name(), "NotFoundException");
    }
}
