//! Secrets agreed on with others.

use super::errors::*;
use crate::api::model::shapes::*;
use crate::api::model::{Operation, optional, required};

pub(in crate::api) static DERIVE_SHARED_SECRET: Operation = Operation {
    name: "DeriveSharedSecret",
    input: &[
        required("KeyId", &KEY_ID),
        required("KeyAgreementAlgorithm", &KEY_AGREEMENT_ALGORITHM_SPEC),
        required("PublicKey", &PUBLIC_KEY),
        optional("GrantTokens", &GRANT_TOKEN_LIST),
        optional("DryRun", &BOOLEAN),
        optional("Recipient", &RECIPIENT_INFO),
    ],
    output: &[
        optional("KeyId", &KEY_ID),
        optional("SharedSecret", &PLAINTEXT),
        optional("CiphertextForRecipient", &CIPHERTEXT),
        optional("KeyAgreementAlgorithm", &KEY_AGREEMENT_ALGORITHM_SPEC),
        optional("KeyOrigin", &ORIGIN),
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

pub(in crate::api) static ENCAPSULATE: Operation = Operation {
    name: "Encapsulate",
    input: &[
        required("KeyId", &KEY_ID),
        required("EncapsulationAlgorithm", &ENCAPSULATION_ALGORITHM_SPEC),
        optional("GrantTokens", &GRANT_TOKEN_LIST),
        optional("DryRun", &BOOLEAN),
    ],
    output: &[
        optional("KeyId", &KEY_ID),
        optional("SharedSecret", &PLAINTEXT),
        optional("SharedSecretCiphertextBlob", &CIPHERTEXT),
        optional("EncapsulationAlgorithm", &ENCAPSULATION_ALGORITHM_SPEC),
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

pub(in crate::api) static DECAPSULATE: Operation = Operation {
    name: "Decapsulate",
    input: &[
        required("KeyId", &KEY_ID),
        required("SharedSecretCiphertextBlob", &CIPHERTEXT),
        required("EncapsulationAlgorithm", &ENCAPSULATION_ALGORITHM_SPEC),
        optional("GrantTokens", &GRANT_TOKEN_LIST),
        optional("DryRun", &BOOLEAN),
    ],
    output: &[
        optional("KeyId", &KEY_ID),
        optional("SharedSecret", &PLAINTEXT),
        optional("EncapsulationAlgorithm", &ENCAPSULATION_ALGORITHM_SPEC),
    ],
    errors: &[
        DEPENDENCY_TIMEOUT,
        DISABLED,
        DRY_RUN_OPERATION,
        INVALID_CIPHERTEXT,
        INVALID_GRANT_TOKEN,
        INVALID_KEY_USAGE,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        KEY_UNAVAILABLE,
        NOT_FOUND,
    ],
};
