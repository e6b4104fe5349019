//! Public keys, signatures, MACs.

use super::errors::*;
use crate::api::model::shapes::*;
use crate::api::model::{Operation, optional, required};

pub(in crate::api) static GET_PUBLIC_KEY: Operation = Operation {
    name: "GetPublicKey",
    input: &[required("KeyId", &KEY_ID), optional("GrantTokens", &GRANT_TOKEN_LIST)],
    output: &[
        optional("KeyId", &KEY_ID),
        optional("PublicKey", &PUBLIC_KEY),
        optional("CustomerMasterKeySpec", &CUSTOMER_MASTER_KEY_SPEC),
        optional("KeySpec", &KEY_SPEC),
        optional("KeyUsage", &KEY_USAGE),
        optional("EncryptionAlgorithms", &ENCRYPTION_ALGORITHM_SPEC_LIST),
        optional("SigningAlgorithms", &SIGNING_ALGORITHM_SPEC_LIST),
        optional("KeyAgreementAlgorithms", &KEY_AGREEMENT_ALGORITHM_SPEC_LIST),
        optional("EncapsulationAlgorithms", &ENCAPSULATION_ALGORITHM_SPEC_LIST),
    ],
    errors: &[
        DEPENDENCY_TIMEOUT,
        DISABLED,
        INVALID_ARN,
        INVALID_GRANT_TOKEN,
        INVALID_KEY_USAGE,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        KEY_UNAVAILABLE,
        NOT_FOUND,
        UNSUPPORTED_OPERATION,
    ],
};

pub(in crate::api) static SIGN: Operation = Operation {
    name: "Sign",
    input: &[
        required("KeyId", &KEY_ID),
        required("Message", &PLAINTEXT),
        optional("MessageType", &MESSAGE_TYPE),
        optional("GrantTokens", &GRANT_TOKEN_LIST),
        required("SigningAlgorithm", &SIGNING_ALGORITHM_SPEC),
        optional("DryRun", &BOOLEAN),
    ],
    output: &[
        optional("KeyId", &KEY_ID),
        optional("Signature", &CIPHERTEXT),
        optional("SigningAlgorithm", &SIGNING_ALGORITHM_SPEC),
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

pub(in crate::api) static VERIFY: Operation = Operation {
    name: "Verify",
    input: &[
        required("KeyId", &KEY_ID),
        required("Message", &PLAINTEXT),
        optional("MessageType", &MESSAGE_TYPE),
        required("Signature", &CIPHERTEXT),
        required("SigningAlgorithm", &SIGNING_ALGORITHM_SPEC),
        optional("GrantTokens", &GRANT_TOKEN_LIST),
        optional("DryRun", &BOOLEAN),
    ],
    output: &[
        optional("KeyId", &KEY_ID),
        optional("SignatureValid", &BOOLEAN),
        optional("SigningAlgorithm", &SIGNING_ALGORITHM_SPEC),
    ],
    errors: &[
        DEPENDENCY_TIMEOUT,
        DISABLED,
        DRY_RUN_OPERATION,
        INVALID_GRANT_TOKEN,
        INVALID_KEY_USAGE,
        KMS_INTERNAL,
        KMS_INVALID_SIGNATURE,
        KMS_INVALID_STATE,
        KEY_UNAVAILABLE,
        NOT_FOUND,
    ],
};

pub(in crate::api) static GENERATE_MAC: Operation = Operation {
    name: "GenerateMac",
    input: &[
        required("Message", &PLAINTEXT),
        required("KeyId", &KEY_ID),
        required("MacAlgorithm", &MAC_ALGORITHM_SPEC),
        optional("GrantTokens", &GRANT_TOKEN_LIST),
        optional("DryRun", &BOOLEAN),
    ],
    output: &[
        optional("Mac", &CIPHERTEXT),
        optional("MacAlgorithm", &MAC_ALGORITHM_SPEC),
        optional("KeyId", &KEY_ID),
    ],
    errors: &[
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

pub(in crate::api) static VERIFY_MAC: Operation = Operation {
    name: "VerifyMac",
    input: &[
        required("Message", &PLAINTEXT),
        required("KeyId", &KEY_ID),
        required("MacAlgorithm", &MAC_ALGORITHM_SPEC),
        required("Mac", &CIPHERTEXT),
        optional("GrantTokens", &GRANT_TOKEN_LIST),
        optional("DryRun", &BOOLEAN),
    ],
    output: &[
        optional("KeyId", &KEY_ID),
        optional("MacValid", &BOOLEAN),
        optional("MacAlgorithm", &MAC_ALGORITHM_SPEC),
    ],
    errors: &[
        DISABLED,
        DRY_RUN_OPERATION,
        INVALID_GRANT_TOKEN,
        INVALID_KEY_USAGE,
        KMS_INTERNAL,
        KMS_INVALID_MAC,
        KMS_INVALID_STATE,
        KEY_UNAVAILABLE,
        NOT_FOUND,
    ],
};
