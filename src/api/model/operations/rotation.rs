//! Rotation.

use super::errors::*;
use crate::api::model::shapes::*;
use crate::api::model::{Operation, optional, required};

pub(in crate::api) static ENABLE_KEY_ROTATION: Operation = Operation {
    name: "EnableKeyRotation",
    input: &[required("KeyId", &KEY_ID), optional("RotationPeriodInDays", &ROTATION_PERIOD_IN_DAYS)],
    output: &[],
    errors: &[
        DEPENDENCY_TIMEOUT,
        DISABLED,
        INVALID_ARN,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        NOT_FOUND,
        UNSUPPORTED_OPERATION,
    ],
};

pub(in crate::api) static DISABLE_KEY_ROTATION: Operation = Operation {
    name: "DisableKeyRotation",
    input: &[required("KeyId", &KEY_ID)],
    output: &[],
    errors: &[
        DEPENDENCY_TIMEOUT,
        DISABLED,
        INVALID_ARN,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        NOT_FOUND,
        UNSUPPORTED_OPERATION,
    ],
};

pub(in crate::api) static GET_KEY_ROTATION_STATUS: Operation = Operation {
    name: "GetKeyRotationStatus",
    input: &[required("KeyId", &KEY_ID)],
    output: &[
        optional("KeyRotationEnabled", &BOOLEAN),
        optional("KeyId", &KEY_ID),
        optional("RotationPeriodInDays", &ROTATION_PERIOD_IN_DAYS),
        optional("NextRotationDate", &DATE),
        optional("OnDemandRotationStartDate", &DATE),
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

pub(in crate::api) static ROTATE_KEY_ON_DEMAND: Operation = Operation {
    name: "RotateKeyOnDemand",
    input: &[required("KeyId", &KEY_ID)],
    output: &[optional("KeyId", &KEY_ID)],
    errors: &[
        CONFLICT,
        DEPENDENCY_TIMEOUT,
        DISABLED,
        INVALID_ARN,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        LIMIT_EXCEEDED,
        NOT_FOUND,
        UNSUPPORTED_OPERATION,
    ],
};

pub(in crate::api) static LIST_KEY_ROTATIONS: Operation = Operation {
    name: "ListKeyRotations",
    input: &[
        required("KeyId", &KEY_ID),
        optional("IncludeKeyMaterial", &INCLUDE_KEY_MATERIAL),
        optional("Limit", &LIMIT),
        optional("Marker", &MARKER),
    ],
    output: &[
        optional("Rotations", &ROTATIONS_LIST),
        optional("NextMarker", &MARKER),
        optional("Truncated", &BOOLEAN),
    ],
    errors: &[INVALID_ARN, INVALID_MARKER, KMS_INTERNAL, KMS_INVALID_STATE, NOT_FOUND, UNSUPPORTED_OPERATION],
};
