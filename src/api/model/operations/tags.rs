//! Tags.

use super::errors::*;
use crate::api::model::shapes::*;
use crate::api::model::{Operation, optional, required};

pub(in crate::api) static TAG_RESOURCE: Operation = Operation {
    name: "TagResource",
    input: &[required("KeyId", &KEY_ID), required("Tags", &TAG_LIST)],
    output: &[],
    errors: &[INVALID_ARN, KMS_INTERNAL, KMS_INVALID_STATE, LIMIT_EXCEEDED, NOT_FOUND, TAG_EXCEPTION],
};

pub(in crate::api) static UNTAG_RESOURCE: Operation = Operation {
    name: "UntagResource",
    input: &[required("KeyId", &KEY_ID), required("TagKeys", &TAG_KEY_LIST)],
    output: &[],
    errors: &[INVALID_ARN, KMS_INTERNAL, KMS_INVALID_STATE, NOT_FOUND, TAG_EXCEPTION],
};

pub(in crate::api) static LIST_RESOURCE_TAGS: Operation = Operation {
    name: "ListResourceTags",
    input: &[required("KeyId", &KEY_ID), optional("Limit", &LIMIT), optional("Marker", &MARKER)],
    output: &[optional("Tags", &TAG_LIST), optional("NextMarker", &MARKER), optional("Truncated", &BOOLEAN)],
    errors: &[INVALID_ARN, INVALID_MARKER, KMS_INTERNAL, NOT_FOUND],
};
