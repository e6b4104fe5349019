//! Grants.

use super::errors::*;
use crate::api::model::shapes::*;
use crate::api::model::{Operation, optional, required};

pub(in crate::api) static CREATE_GRANT: Operation = Operation {
    name: "CreateGrant",
    input: &[
        required("KeyId", &KEY_ID),
        optional("GranteePrincipal", &PRINCIPAL_ID),
        optional("RetiringPrincipal", &PRINCIPAL_ID),
        required("Operations", &GRANT_OPERATION_LIST),
        optional("Constraints", &GRANT_CONSTRAINTS),
        optional("GrantTokens", &GRANT_TOKEN_LIST),
        optional("Name", &GRANT_NAME),
        optional("DryRun", &BOOLEAN),
        optional("GranteeServicePrincipal", &SERVICE_PRINCIPAL),
        optional("RetiringServicePrincipal", &SERVICE_PRINCIPAL),
    ],
    output: &[optional("GrantToken", &GRANT_TOKEN), optional("GrantId", &GRANT_ID)],
    errors: &[
        DEPENDENCY_TIMEOUT,
        DISABLED,
        DRY_RUN_OPERATION,
        INVALID_ARN,
        INVALID_GRANT_TOKEN,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        LIMIT_EXCEEDED,
        NOT_FOUND,
    ],
};

pub(in crate::api) static LIST_GRANTS: Operation = Operation {
    name: "ListGrants",
    input: &[
        optional("Limit", &LIMIT),
        optional("Marker", &MARKER),
        required("KeyId", &KEY_ID),
        optional("GrantId", &GRANT_ID),
        optional("GranteePrincipal", &PRINCIPAL_ID),
        optional("GranteeServicePrincipal", &SERVICE_PRINCIPAL),
    ],
    output: &[
        optional("Grants", &GRANT_LIST),
        optional("NextMarker", &MARKER),
        optional("Truncated", &BOOLEAN),
    ],
    errors: &[
        DEPENDENCY_TIMEOUT,
        INVALID_ARN,
        INVALID_GRANT_ID,
        INVALID_MARKER,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        NOT_FOUND,
    ],
};

pub(in crate::api) static LIST_RETIRABLE_GRANTS: Operation = Operation {
    name: "ListRetirableGrants",
    input: &[
        optional("Limit", &LIMIT),
        optional("Marker", &MARKER),
        optional("RetiringPrincipal", &PRINCIPAL_ID),
        optional("RetiringServicePrincipal", &SERVICE_PRINCIPAL),
    ],
    output: &[
        optional("Grants", &GRANT_LIST),
        optional("NextMarker", &MARKER),
        optional("Truncated", &BOOLEAN),
    ],
    errors: &[DEPENDENCY_TIMEOUT, INVALID_ARN, INVALID_MARKER, KMS_INTERNAL, NOT_FOUND],
};

pub(in crate::api) static RETIRE_GRANT: Operation = Operation {
    name: "RetireGrant",
    input: &[
        optional("GrantToken", &GRANT_TOKEN),
        optional("KeyId", &KEY_ID),
        optional("GrantId", &GRANT_ID),
        optional("DryRun", &BOOLEAN),
    ],
    output: &[],
    errors: &[
        DEPENDENCY_TIMEOUT,
        DRY_RUN_OPERATION,
        INVALID_ARN,
        INVALID_GRANT_ID,
        INVALID_GRANT_TOKEN,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        NOT_FOUND,
    ],
};

pub(in crate::api) static REVOKE_GRANT: Operation = Operation {
    name: "RevokeGrant",
    input: &[required("KeyId", &KEY_ID), required("GrantId", &GRANT_ID), optional("DryRun", &BOOLEAN)],
    output: &[],
    errors: &[
        DEPENDENCY_TIMEOUT,
        DRY_RUN_OPERATION,
        INVALID_ARN,
        INVALID_GRANT_ID,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        NOT_FOUND,
    ],
};
