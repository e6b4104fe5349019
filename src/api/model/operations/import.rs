//! Imported key material.

use super::errors::*;
use crate::api::model::shapes::*;
use crate::api::model::{Operation, optional, required};

pub(in crate::api) static GET_PARAMETERS_FOR_IMPORT: Operation = Operation {
    name: "GetParametersForImport",
    input: &[
        required("KeyId", &KEY_ID),
        required("WrappingAlgorithm", &ALGORITHM_SPEC),
        required("WrappingKeySpec", &WRAPPING_KEY_SPEC),
    ],
    output: &[
        optional("KeyId", &KEY_ID),
        optional("ImportToken", &CIPHERTEXT),
        optional("PublicKey", &PLAINTEXT),
        optional("ParametersValidTo", &DATE),
    ],
    errors: &[
        DEPENDENCY_TIMEOUT,
        INVALID_ARN,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        NOT_FOUND,
        UNSUPPORTED_OPERATION,
    ],
};

pub(in crate::api) static IMPORT_KEY_MATERIAL: Operation = Operation {
    name: "ImportKeyMaterial",
    input: &[
        required("KeyId", &KEY_ID),
        required("ImportToken", &CIPHERTEXT),
        required("EncryptedKeyMaterial", &CIPHERTEXT),
        optional("ValidTo", &DATE),
        optional("ExpirationModel", &EXPIRATION_MODEL),
        optional("ImportType", &IMPORT_TYPE),
        optional("KeyMaterialDescription", &KEY_MATERIAL_DESCRIPTION),
        optional("KeyMaterialId", &BACKING_KEY_ID),
    ],
    output: &[optional("KeyId", &KEY_ID), optional("KeyMaterialId", &BACKING_KEY_ID)],
    errors: &[
        DEPENDENCY_TIMEOUT,
        EXPIRED_IMPORT_TOKEN,
        INCORRECT_KEY_MATERIAL,
        INVALID_ARN,
        INVALID_CIPHERTEXT,
        INVALID_IMPORT_TOKEN,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        NOT_FOUND,
        UNSUPPORTED_OPERATION,
    ],
};

pub(in crate::api) static DELETE_IMPORTED_KEY_MATERIAL: Operation = Operation {
    name: "DeleteImportedKeyMaterial",
    input: &[required("KeyId", &KEY_ID), optional("KeyMaterialId", &BACKING_KEY_ID)],
    output: &[optional("KeyId", &KEY_ID), optional("KeyMaterialId", &BACKING_KEY_ID_RESPONSE)],
    errors: &[
        DEPENDENCY_TIMEOUT,
        INVALID_ARN,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        NOT_FOUND,
        UNSUPPORTED_OPERATION,
    ],
};
