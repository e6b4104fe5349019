//! Encrypting and decrypting.

use super::errors::*;
use crate::api::model::shapes::*;
use crate::api::model::{Operation, optional, required};

pub(in crate::api) static ENCRYPT: Operation = Operation {
    name: "Encrypt",
    input: &[
        required("KeyId", &KEY_ID),
        required("Plaintext", &PLAINTEXT),
        optional("EncryptionContext", &ENCRYPTION_CONTEXT),
        optional("GrantTokens", &GRANT_TOKEN_LIST),
        optional("EncryptionAlgorithm", &ENCRYPTION_ALGORITHM_SPEC),
        optional("DryRun", &BOOLEAN),
    ],
    output: &[
        optional("CiphertextBlob", &CIPHERTEXT),
        optional("KeyId", &KEY_ID),
        optional("EncryptionAlgorithm", &ENCRYPTION_ALGORITHM_SPEC),
    ],
    errors: &[
        DEPENDENCY_TIMEOUT,
        DISABLED,
        DRY_RUN_OPERATION,
        INVALID_GRANT_TOKEN,
        INVALID_KEY_USAGE,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        KEY_UNAVAILABLE,
        NOT_FOUND,
    ],
};

pub(in crate::api) static DECRYPT: Operation = Operation {
    name: "Decrypt",
    input: &[
        optional("CiphertextBlob", &CIPHERTEXT),
        optional("EncryptionContext", &ENCRYPTION_CONTEXT),
        optional("GrantTokens", &GRANT_TOKEN_LIST),
        optional("KeyId", &KEY_ID),
        optional("EncryptionAlgorithm", &ENCRYPTION_ALGORITHM_SPEC),
        optional("Recipient", &RECIPIENT_INFO),
        optional("DryRun", &BOOLEAN),
        optional("DryRunModifiers", &DRY_RUN_MODIFIER_LIST),
    ],
    output: &[
        optional("KeyId", &KEY_ID),
        optional("Plaintext", &PLAINTEXT),
        optional("EncryptionAlgorithm", &ENCRYPTION_ALGORITHM_SPEC),
        optional("CiphertextForRecipient", &CIPHERTEXT),
        optional("KeyMaterialId", &BACKING_KEY_ID),
    ],
    errors: &[
        DEPENDENCY_TIMEOUT,
        DISABLED,
        DRY_RUN_OPERATION,
        INCORRECT_KEY,
        INVALID_CIPHERTEXT,
        INVALID_GRANT_TOKEN,
        INVALID_KEY_USAGE,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        KEY_UNAVAILABLE,
        NOT_FOUND,
    ],
};

pub(in crate::api) static RE_ENCRYPT: Operation = Operation {
    name: "ReEncrypt",
    input: &[
        optional("CiphertextBlob", &CIPHERTEXT),
        optional("SourceEncryptionContext", &ENCRYPTION_CONTEXT),
        optional("SourceKeyId", &KEY_ID),
        required("DestinationKeyId", &KEY_ID),
        optional("DestinationEncryptionContext", &ENCRYPTION_CONTEXT),
        optional("SourceEncryptionAlgorithm", &ENCRYPTION_ALGORITHM_SPEC),
        optional("DestinationEncryptionAlgorithm", &ENCRYPTION_ALGORITHM_SPEC),
        optional("GrantTokens", &GRANT_TOKEN_LIST),
        optional("DryRun", &BOOLEAN),
        optional("DryRunModifiers", &DRY_RUN_MODIFIER_LIST),
    ],
    output: &[
        optional("CiphertextBlob", &CIPHERTEXT),
        optional("SourceKeyId", &KEY_ID),
        optional("KeyId", &KEY_ID),
        optional("SourceEncryptionAlgorithm", &ENCRYPTION_ALGORITHM_SPEC),
        optional("DestinationEncryptionAlgorithm", &ENCRYPTION_ALGORITHM_SPEC),
        optional("SourceKeyMaterialId", &BACKING_KEY_ID),
        optional("DestinationKeyMaterialId", &BACKING_KEY_ID),
    ],
    errors: &[
        DEPENDENCY_TIMEOUT,
        DISABLED,
        DRY_RUN_OPERATION,
        INCORRECT_KEY,
        INVALID_CIPHERTEXT,
        INVALID_GRANT_TOKEN,
        INVALID_KEY_USAGE,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        KEY_UNAVAILABLE,
        NOT_FOUND,
    ],
};
