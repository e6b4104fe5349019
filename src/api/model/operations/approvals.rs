//! Operations that custodians approve: this service's own, under the target prefix `Kmsfs`.

use super::errors::*;
use crate::api::model::{ANY, Member, Operation, Shape, blob, list, required, text};
use crate::kms::{APPROVERS_MAX, HSM_ADD_CUSTODIAN, HSM_REMOVE_CUSTODIAN, HSM_SET_POLICY};

static HSM_ID: Shape = text(36, 36);
static NAME: Shape = text(1, 64);
static PUBLIC_KEY: Shape = blob(32, 32);
static COUNT: Shape = Shape::Integer { min: 0, max: APPROVERS_MAX as i64 };
static GUARDED: Shape =
    Shape::Enum(&["delete-key", "import-key", "key-policy", "shred", "refresh", "custodians", "policy"]);
static CUSTODIAN: Shape = Shape::Structure(&[
    required("Name", &NAME),
    required("PublicKey", &PUBLIC_KEY),
    required("AddedDate", &Shape::Timestamp),
]);
static CUSTODIANS: Shape = list(&CUSTODIAN, 0, APPROVERS_MAX);
static REQUIREMENT: Shape =
    Shape::Structure(&[required("Operation", &GUARDED), required("Approvals", &COUNT)]);
static REQUIREMENTS: Shape = list(&REQUIREMENT, 0, 16);
static REQUEST: Shape = blob(1, 128 << 10);
static APPROVAL: Shape = blob(1, 4096);
static APPROVALS: Shape = list(&APPROVAL, 0, APPROVERS_MAX);
static ANSWER: Shape = text(2, ANY);

const REQUIREMENTS_MEMBER: Member = required("Requirements", &REQUIREMENTS);

pub(in crate::api) static DESCRIBE_APPROVALS: Operation = Operation {
    name: "HsmDescribeApprovals",
    input: &[],
    output: &[required("HsmId", &HSM_ID), required("Custodians", &CUSTODIANS), REQUIREMENTS_MEMBER],
    errors: &[KMS_INTERNAL, KEY_UNAVAILABLE],
};

pub(in crate::api) static ADD_CUSTODIAN: Operation = Operation {
    name: HSM_ADD_CUSTODIAN,
    input: &[required("Name", &NAME), required("PublicKey", &PUBLIC_KEY)],
    output: &[],
    errors: &[ALREADY_EXISTS, CONFLICT, KMS_INTERNAL, KEY_UNAVAILABLE, LIMIT_EXCEEDED],
};

pub(in crate::api) static REMOVE_CUSTODIAN: Operation = Operation {
    name: HSM_REMOVE_CUSTODIAN,
    input: &[required("Name", &NAME)],
    output: &[],
    errors: &[CONFLICT, KMS_INTERNAL, KEY_UNAVAILABLE, NOT_FOUND],
};

pub(in crate::api) static SET_POLICY: Operation = Operation {
    name: HSM_SET_POLICY,
    input: &[REQUIREMENTS_MEMBER],
    output: &[],
    errors: &[CONFLICT, KMS_INTERNAL, KEY_UNAVAILABLE],
};

/// Besides those here it may fail with the errors of the operation that it runs.
pub(in crate::api) static RUN: Operation = Operation {
    name: "HsmRun",
    input: &[required("Request", &REQUEST), required("Approvals", &APPROVALS)],
    output: &[required("Answer", &ANSWER)],
    errors: &[
        ALREADY_EXISTS,
        CONFLICT,
        DEPENDENCY_TIMEOUT,
        EXPIRED_IMPORT_TOKEN,
        INCORRECT_KEY_MATERIAL,
        INVALID_ARN,
        INVALID_CIPHERTEXT,
        INVALID_IMPORT_TOKEN,
        KMS_INTERNAL,
        KMS_INVALID_STATE,
        KEY_UNAVAILABLE,
        LIMIT_EXCEEDED,
        MALFORMED_POLICY_DOCUMENT,
        NOT_FOUND,
        "ApprovalMalformedException",
        "ApprovalForeignException",
        "ApprovalUnknownCustodianException",
        "ApprovalRequestAlteredException",
        "ApprovalExpiredException",
        "ApprovalTooLongException",
        "ApprovalReplayException",
        "ApprovalOtherOperationException",
        "ApprovalOtherRequestException",
        "ApprovalForgedException",
        "ApprovalSelfException",
        "ApprovalDuplicateException",
        "ApprovalNotEnoughException",
    ],
};
