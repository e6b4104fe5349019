//! Shred secrets: operations of this service's own, under the target prefix `Kmsfs`.
//!
//! Secrets travel as one string of bytes, 32 for each, and so do their ids, 16 for each.

use super::errors::*;
use crate::api::model::shapes::*;
use crate::api::model::{Operation, Shape, blob, optional, required, secret};
use crate::kms::SECRETS_MAX;

static NUMBER_OF_SECRETS: Shape = Shape::Integer { min: 1, max: SECRETS_MAX as i64 };
static NUMBER_DESTROYED: Shape = Shape::Integer { min: 0, max: SECRETS_MAX as i64 };
static SECRET_ID: Shape = blob(16, 16);
static SECRET_IDS: Shape = blob(16, 16 * SECRETS_MAX);
static SECRET: Shape = secret(32, 32);
static SECRETS: Shape = secret(32, 32 * SECRETS_MAX);

pub(in crate::api) static BIND_SECRETS: Operation = Operation {
    name: "BindSecrets",
    input: &[
        required("SecretIds", &SECRET_IDS),
        required("KeyId", &KEY_ID),
        optional("EncryptionContext", &ENCRYPTION_CONTEXT),
    ],
    output: &[],
    errors: &[
        DISABLED,
        INVALID_CIPHERTEXT,
        INVALID_KEY_USAGE,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        KEY_UNAVAILABLE,
        NOT_FOUND,
    ],
};

pub(in crate::api) static CREATE_SECRETS: Operation = Operation {
    name: "CreateSecrets",
    input: &[
        required("KeyId", &KEY_ID),
        required("NumberOfSecrets", &NUMBER_OF_SECRETS),
        optional("EncryptionContext", &ENCRYPTION_CONTEXT),
    ],
    output: &[required("SecretIds", &SECRET_IDS), required("Secrets", &SECRETS)],
    errors: &[DISABLED, INVALID_KEY_USAGE, KMS_INTERNAL, KMS_INVALID_STATE, KEY_UNAVAILABLE, NOT_FOUND],
};

pub(in crate::api) static DESTROY_SECRETS: Operation = Operation {
    name: "DestroySecrets",
    input: &[required("SecretIds", &SECRET_IDS)],
    output: &[required("NumberDestroyed", &NUMBER_DESTROYED)],
    errors: &[KMS_INTERNAL, KEY_UNAVAILABLE, NOT_FOUND],
};

pub(in crate::api) static GET_SECRET: Operation = Operation {
    name: "GetSecret",
    input: &[required("SecretId", &SECRET_ID), optional("EncryptionContext", &ENCRYPTION_CONTEXT)],
    output: &[required("Secret", &SECRET)],
    errors: &[DISABLED, INVALID_CIPHERTEXT, KMS_INTERNAL, KMS_INVALID_STATE, KEY_UNAVAILABLE, NOT_FOUND],
};
