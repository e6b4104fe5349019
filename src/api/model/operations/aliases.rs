//! Aliases.

use super::errors::*;
use crate::api::model::shapes::*;
use crate::api::model::{Operation, optional, required};

pub(in crate::api) static CREATE_ALIAS: Operation = Operation {
    name: "CreateAlias",
    input: &[required("AliasName", &ALIAS_NAME), required("TargetKeyId", &KEY_ID)],
    output: &[],
    errors: &[
        ALREADY_EXISTS,
        DEPENDENCY_TIMEOUT,
        INVALID_ALIAS_NAME,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        LIMIT_EXCEEDED,
        NOT_FOUND,
    ],
};

pub(in crate::api) static UPDATE_ALIAS: Operation = Operation {
    name: "UpdateAlias",
    input: &[required("AliasName", &ALIAS_NAME), required("TargetKeyId", &KEY_ID)],
    output: &[],
    errors: &[DEPENDENCY_TIMEOUT, KMS_INTERNAL, KMS_INVALID_STATE, LIMIT_EXCEEDED, NOT_FOUND],
};

pub(in crate::api) static DELETE_ALIAS: Operation = Operation {
    name: "DeleteAlias",
    input: &[required("AliasName", &ALIAS_NAME)],
    output: &[],
    errors: &[DEPENDENCY_TIMEOUT, KMS_INTERNAL, KMS_INVALID_STATE, NOT_FOUND],
};

pub(in crate::api) static LIST_ALIASES: Operation = Operation {
    name: "ListAliases",
    input: &[optional("KeyId", &KEY_ID), optional("Limit", &LIMIT), optional("Marker", &MARKER)],
    output: &[
        optional("Aliases", &ALIAS_LIST),
        optional("NextMarker", &MARKER),
        optional("Truncated", &BOOLEAN),
    ],
    errors: &[DEPENDENCY_TIMEOUT, INVALID_ARN, INVALID_MARKER, KMS_INTERNAL, NOT_FOUND],
};
