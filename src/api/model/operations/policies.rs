//! Key policies.

use super::errors::*;
use crate::api::model::shapes::*;
use crate::api::model::{Operation, optional, required};

pub(in crate::api) static GET_KEY_POLICY: Operation = Operation {
    name: "GetKeyPolicy",
    input: &[required("KeyId", &KEY_ID), optional("PolicyName", &POLICY_NAME)],
    output: &[optional("Policy", &POLICY), optional("PolicyName", &POLICY_NAME)],
    errors: &[DEPENDENCY_TIMEOUT, INVALID_ARN, KMS_INTERNAL, KMS_INVALID_STATE, NOT_FOUND],
};

pub(in crate::api) static PUT_KEY_POLICY: Operation = Operation {
    name: "PutKeyPolicy",
    input: &[
        required("KeyId", &KEY_ID),
        optional("PolicyName", &POLICY_NAME),
        required("Policy", &POLICY),
        optional("BypassPolicyLockoutSafetyCheck", &BOOLEAN),
    ],
    output: &[],
    errors: &[
        DEPENDENCY_TIMEOUT,
        INVALID_ARN,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        LIMIT_EXCEEDED,
        MALFORMED_POLICY_DOCUMENT,
        NOT_FOUND,
        UNSUPPORTED_OPERATION,
    ],
};

pub(in crate::api) static LIST_KEY_POLICIES: Operation = Operation {
    name: "ListKeyPolicies",
    input: &[required("KeyId", &KEY_ID), optional("Limit", &LIMIT), optional("Marker", &MARKER)],
    output: &[
        optional("PolicyNames", &POLICY_NAME_LIST),
        optional("NextMarker", &MARKER),
        optional("Truncated", &BOOLEAN),
    ],
    errors: &[DEPENDENCY_TIMEOUT, INVALID_ARN, KMS_INTERNAL, KMS_INVALID_STATE, NOT_FOUND],
};
