//! The PKCS#11 token: operations that AWS KMS does not have.
//!
//! Templates and the parameters of mechanisms are in the encoding of [`crate::kms::token::Template`], numbers are those of
//! the standard, and errors have its names.

use super::super::{Member, Operation, Shape, blob, optional, required, secret, text};
use crate::kms::token::{Code, Function, MESSAGE_MAX, PIN_LENGTHS, TEMPLATE_MAX};

/// Most objects that a search tells.
const FOUND_MAX: usize = 128 << 10;

static TICKET: Shape = blob(16, 16);
static OBJECT: Shape = blob(16, 16);
static OBJECTS: Shape = blob(0, 16 * FOUND_MAX);
static SERIAL: Shape = text(16, 16);
static PIN: Shape = secret(0, *PIN_LENGTHS.end());
static NUMBER: Shape = Shape::Integer { min: 0, max: i64::MAX };
static TEMPLATE: Shape = secret(0, TEMPLATE_MAX);
static KINDS: Shape = blob(0, 8 * 1024);
static CODES: Shape = Shape::List { of: &CODE, min: 0, max: 1024 };
static CODE: Shape = text(0, 64);
static FUNCTION: Shape = Shape::Enum(Function::NAMES);
static MESSAGE: Shape = secret(0, MESSAGE_MAX);
static RESULT: Shape = secret(0, MESSAGE_MAX + 4096);

const fn operation(name: &'static str, input: &'static [Member], output: &'static [Member]) -> Operation {
    Operation { name, input, output, errors: Code::NAMES }
}

const TICKET_ALONE: &[Member] = &[required("Ticket", &TICKET)];
const LOGIN: &[Member] =
    &[required("Ticket", &TICKET), required("Pin", &PIN), optional("Confirms", &Shape::Boolean)];
const OBJECT_ALONE: &[Member] = &[required("Object", &OBJECT)];

pub(in crate::api) static DESCRIBE_TOKEN: Operation = operation(
    "DescribeToken",
    &[],
    &[
        required("Serial", &SERIAL),
        required("HasPin", &Shape::Boolean),
        required("WrongPins", &Shape::Boolean),
        required("PinLocked", &Shape::Boolean),
    ],
);

pub(in crate::api) static OPEN_TOKEN: Operation = operation("OpenToken", &[], TICKET_ALONE);
pub(in crate::api) static CLOSE_TOKEN: Operation = operation("CloseToken", TICKET_ALONE, &[]);
pub(in crate::api) static LOGIN_TOKEN: Operation = operation("LoginToken", LOGIN, &[]);
pub(in crate::api) static LOGOUT_TOKEN: Operation = operation("LogoutToken", TICKET_ALONE, &[]);
pub(in crate::api) static SET_TOKEN_PIN: Operation =
    operation("SetTokenPin", &[optional("OldPin", &PIN), required("NewPin", &PIN)], &[]);

pub(in crate::api) static CREATE_OBJECT: Operation =
    operation("CreateObject", &[required("Ticket", &TICKET), required("Template", &TEMPLATE)], OBJECT_ALONE);
pub(in crate::api) static COPY_OBJECT: Operation = operation(
    "CopyObject",
    &[required("Ticket", &TICKET), required("Object", &OBJECT), required("Template", &TEMPLATE)],
    OBJECT_ALONE,
);
pub(in crate::api) static DESTROY_OBJECT: Operation =
    operation("DestroyObject", &[required("Ticket", &TICKET), required("Object", &OBJECT)], &[]);
/// `Kinds` are 8 bytes each, little-endian. `Codes` says of each why its value is not told, or nothing.
pub(in crate::api) static READ_OBJECT: Operation = operation(
    "ReadObject",
    &[required("Ticket", &TICKET), required("Object", &OBJECT), required("Kinds", &KINDS)],
    &[required("Template", &TEMPLATE), required("Codes", &CODES)],
);
pub(in crate::api) static CHANGE_OBJECT: Operation = operation(
    "ChangeObject",
    &[required("Ticket", &TICKET), required("Object", &OBJECT), required("Template", &TEMPLATE)],
    &[],
);
pub(in crate::api) static FIND_OBJECTS: Operation = operation(
    "FindObjects",
    &[required("Ticket", &TICKET), required("Template", &TEMPLATE)],
    &[required("Objects", &OBJECTS)],
);
pub(in crate::api) static GENERATE_OBJECT: Operation = operation(
    "GenerateObject",
    &[required("Ticket", &TICKET), required("Mechanism", &NUMBER), required("Template", &TEMPLATE)],
    OBJECT_ALONE,
);
/// `Objects` are the public key, then the private one.
pub(in crate::api) static GENERATE_OBJECT_PAIR: Operation = operation(
    "GenerateObjectPair",
    &[
        required("Ticket", &TICKET),
        required("Mechanism", &NUMBER),
        required("Template", &TEMPLATE),
        required("PrivateTemplate", &TEMPLATE),
    ],
    &[required("Objects", &OBJECTS)],
);
pub(in crate::api) static DERIVE_OBJECT: Operation = operation(
    "DeriveObject",
    &[
        required("Ticket", &TICKET),
        required("Object", &OBJECT),
        required("Mechanism", &NUMBER),
        required("Parameter", &TEMPLATE),
        required("Template", &TEMPLATE),
    ],
    OBJECT_ALONE,
);
pub(in crate::api) static WRAP_OBJECT: Operation = operation(
    "WrapObject",
    &[
        required("Ticket", &TICKET),
        required("Object", &OBJECT),
        required("Key", &OBJECT),
        required("Mechanism", &NUMBER),
        required("Parameter", &TEMPLATE),
    ],
    &[required("Result", &RESULT)],
);
pub(in crate::api) static UNWRAP_OBJECT: Operation = operation(
    "UnwrapObject",
    &[
        required("Ticket", &TICKET),
        required("Object", &OBJECT),
        required("Mechanism", &NUMBER),
        required("Parameter", &TEMPLATE),
        required("Wrapped", &MESSAGE),
        required("Template", &TEMPLATE),
    ],
    OBJECT_ALONE,
);
pub(in crate::api) static USE_OBJECT: Operation = operation(
    "UseObject",
    &[
        required("Ticket", &TICKET),
        required("Object", &OBJECT),
        required("Function", &FUNCTION),
        required("Mechanism", &NUMBER),
        required("Parameter", &TEMPLATE),
        required("Message", &MESSAGE),
        optional("IsDigest", &Shape::Boolean),
        optional("Signature", &MESSAGE),
    ],
    &[required("Result", &RESULT)],
);
