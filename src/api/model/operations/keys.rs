//! CMKs: creating, describing, switching, deleting.

use super::errors::*;
use crate::api::model::shapes::*;
use crate::api::model::{Operation, optional, required};

pub(in crate::api) static CREATE_KEY: Operation = Operation {
    name: "CreateKey",
    input: &[
        optional("Policy", &POLICY),
        optional("Description", &DESCRIPTION),
        optional("KeyUsage", &KEY_USAGE),
        optional("CustomerMasterKeySpec", &CUSTOMER_MASTER_KEY_SPEC),
        optional("KeySpec", &KEY_SPEC),
        optional("Origin", &ORIGIN),
        optional("CustomKeyStoreId", &CUSTOM_KEY_STORE_ID),
        optional("BypassPolicyLockoutSafetyCheck", &BOOLEAN),
        optional("Tags", &TAG_LIST),
        optional("MultiRegion", &BOOLEAN),
        optional("XksKeyId", &XKS_KEY_ID),
    ],
    output: &[optional("KeyMetadata", &KEY_METADATA)],
    errors: &[
        DEPENDENCY_TIMEOUT,
        INVALID_ARN,
        KMS_INTERNAL,
        LIMIT_EXCEEDED,
        MALFORMED_POLICY_DOCUMENT,
        TAG_EXCEPTION,
        UNSUPPORTED_OPERATION,
    ],
};

pub(in crate::api) static DESCRIBE_KEY: Operation = Operation {
    name: "DescribeKey",
    input: &[required("KeyId", &KEY_ID), optional("GrantTokens", &GRANT_TOKEN_LIST)],
    output: &[optional("KeyMetadata", &KEY_METADATA)],
    errors: &[DEPENDENCY_TIMEOUT, INVALID_ARN, KMS_INTERNAL, NOT_FOUND],
};

pub(in crate::api) static LIST_KEYS: Operation = Operation {
    name: "ListKeys",
    input: &[
        optional("Limit", &LIMIT),
        optional("Marker", &MARKER),
        optional("ResourceOwners", &RESOURCE_OWNERS_LIST),
    ],
    output: &[optional("Keys", &KEY_LIST), optional("NextMarker", &MARKER), optional("Truncated", &BOOLEAN)],
    errors: &[DEPENDENCY_TIMEOUT, INVALID_MARKER, KMS_INTERNAL],
};

pub(in crate::api) static ENABLE_KEY: Operation = Operation {
    name: "EnableKey",
    input: &[required("KeyId", &KEY_ID)],
    output: &[],
    errors: &[DEPENDENCY_TIMEOUT, INVALID_ARN, KMS_INTERNAL, KMS_INVALID_STATE, LIMIT_EXCEEDED, NOT_FOUND],
};

pub(in crate::api) static DISABLE_KEY: Operation = Operation {
    name: "DisableKey",
    input: &[required("KeyId", &KEY_ID)],
    output: &[],
    errors: &[DEPENDENCY_TIMEOUT, INVALID_ARN, KMS_INTERNAL, KMS_INVALID_STATE, NOT_FOUND],
};

pub(in crate::api) static UPDATE_KEY_DESCRIPTION: Operation = Operation {
    name: "UpdateKeyDescription",
    input: &[required("KeyId", &KEY_ID), required("Description", &DESCRIPTION)],
    output: &[],
    errors: &[DEPENDENCY_TIMEOUT, INVALID_ARN, KMS_INTERNAL, KMS_INVALID_STATE, NOT_FOUND],
};

pub(in crate::api) static SCHEDULE_KEY_DELETION: Operation = Operation {
    name: "ScheduleKeyDeletion",
    input: &[required("KeyId", &KEY_ID), optional("PendingWindowInDays", &PENDING_WINDOW_IN_DAYS)],
    output: &[
        optional("KeyId", &KEY_ID),
        optional("DeletionDate", &DATE),
        optional("KeyState", &KEY_STATE),
        optional("PendingWindowInDays", &PENDING_WINDOW_IN_DAYS),
    ],
    errors: &[DEPENDENCY_TIMEOUT, INVALID_ARN, KMS_INTERNAL, KMS_INVALID_STATE, NOT_FOUND],
};

pub(in crate::api) static CANCEL_KEY_DELETION: Operation = Operation {
    name: "CancelKeyDeletion",
    input: &[required("KeyId", &KEY_ID)],
    output: &[optional("KeyId", &KEY_ID)],
    errors: &[DEPENDENCY_TIMEOUT, INVALID_ARN, KMS_INTERNAL, KMS_INVALID_STATE, NOT_FOUND],
};

pub(in crate::api) static GET_KEY_LAST_USAGE: Operation = Operation {
    name: "GetKeyLastUsage",
    input: &[required("KeyId", &KEY_ID)],
    output: &[
        optional("KeyId", &KEY_ID),
        optional("KeyLastUsage", &KEY_LAST_USAGE_DATA),
        optional("TrackingStartDate", &DATE),
        optional("KeyCreationDate", &DATE),
    ],
    errors: &[DEPENDENCY_TIMEOUT, INVALID_ARN, KMS_INTERNAL, NOT_FOUND],
};
