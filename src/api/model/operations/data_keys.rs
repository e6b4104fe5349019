//! Data keys and random bytes.

use super::errors::*;
use crate::api::model::shapes::*;
use crate::api::model::{Operation, optional, required};

pub(in crate::api) static GENERATE_DATA_KEY: Operation = Operation {
    name: "GenerateDataKey",
    input: &[
        required("KeyId", &KEY_ID),
        optional("EncryptionContext", &ENCRYPTION_CONTEXT),
        optional("NumberOfBytes", &NUMBER_OF_BYTES),
        optional("KeySpec", &DATA_KEY_SPEC),
        optional("GrantTokens", &GRANT_TOKEN_LIST),
        optional("Recipient", &RECIPIENT_INFO),
        optional("DryRun", &BOOLEAN),
    ],
    output: &[
        optional("CiphertextBlob", &CIPHERTEXT),
        optional("Plaintext", &PLAINTEXT),
        optional("KeyId", &KEY_ID),
        optional("CiphertextForRecipient", &CIPHERTEXT),
        optional("KeyMaterialId", &BACKING_KEY_ID),
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

pub(in crate::api) static GENERATE_DATA_KEY_WITHOUT_PLAINTEXT: Operation = Operation {
    name: "GenerateDataKeyWithoutPlaintext",
    input: &[
        required("KeyId", &KEY_ID),
        optional("EncryptionContext", &ENCRYPTION_CONTEXT),
        optional("KeySpec", &DATA_KEY_SPEC),
        optional("NumberOfBytes", &NUMBER_OF_BYTES),
        optional("GrantTokens", &GRANT_TOKEN_LIST),
        optional("DryRun", &BOOLEAN),
    ],
    output: &[
        optional("CiphertextBlob", &CIPHERTEXT),
        optional("KeyId", &KEY_ID),
        optional("KeyMaterialId", &BACKING_KEY_ID),
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

pub(in crate::api) static GENERATE_DATA_KEY_PAIR: Operation = Operation {
    name: "GenerateDataKeyPair",
    input: &[
        optional("EncryptionContext", &ENCRYPTION_CONTEXT),
        required("KeyId", &KEY_ID),
        required("KeyPairSpec", &DATA_KEY_PAIR_SPEC),
        optional("GrantTokens", &GRANT_TOKEN_LIST),
        optional("Recipient", &RECIPIENT_INFO),
        optional("DryRun", &BOOLEAN),
    ],
    output: &[
        optional("PrivateKeyCiphertextBlob", &CIPHERTEXT),
        optional("PrivateKeyPlaintext", &PLAINTEXT),
        optional("PublicKey", &PUBLIC_KEY),
        optional("KeyId", &KEY_ID),
        optional("KeyPairSpec", &DATA_KEY_PAIR_SPEC),
        optional("CiphertextForRecipient", &CIPHERTEXT),
        optional("KeyMaterialId", &BACKING_KEY_ID),
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
        UNSUPPORTED_OPERATION,
    ],
};

pub(in crate::api) static GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT: Operation = Operation {
    name: "GenerateDataKeyPairWithoutPlaintext",
    input: &[
        optional("EncryptionContext", &ENCRYPTION_CONTEXT),
        required("KeyId", &KEY_ID),
        required("KeyPairSpec", &DATA_KEY_PAIR_SPEC),
        optional("GrantTokens", &GRANT_TOKEN_LIST),
        optional("DryRun", &BOOLEAN),
    ],
    output: &[
        optional("PrivateKeyCiphertextBlob", &CIPHERTEXT),
        optional("PublicKey", &PUBLIC_KEY),
        optional("KeyId", &KEY_ID),
        optional("KeyPairSpec", &DATA_KEY_PAIR_SPEC),
        optional("KeyMaterialId", &BACKING_KEY_ID),
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
        UNSUPPORTED_OPERATION,
    ],
};

pub(in crate::api) static GENERATE_RANDOM: Operation = Operation {
    name: "GenerateRandom",
    input: &[
        optional("NumberOfBytes", &NUMBER_OF_BYTES),
        optional("CustomKeyStoreId", &CUSTOM_KEY_STORE_ID),
        optional("Recipient", &RECIPIENT_INFO),
    ],
    output: &[optional("Plaintext", &PLAINTEXT), optional("CiphertextForRecipient", &CIPHERTEXT)],
    errors: &[DEPENDENCY_TIMEOUT, KMS_INTERNAL, UNSUPPORTED_OPERATION],
};
