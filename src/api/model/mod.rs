//! The service's model as data: what every operation takes, returns and may answer with.
//!
//! It says the same as AWS's own model (`service-2.json`, version 2014-11-01), member by member;
//! `tests/kms_model.rs` compares the two. Requests are checked against it before an operation sees them, and
//! in debug builds every answer is checked too.

pub(super) mod operations;
mod patterns;
mod shapes;

pub use patterns::Pattern;

/// An operation of the service.
#[derive(Debug)]
pub struct Operation {
    /// Its name, as in `X-Amz-Target`.
    pub name: &'static str,
    /// Members of a request.
    pub input: &'static [Member],
    /// Members of an answer.
    pub output: &'static [Member],
    /// Names of the errors it may answer with, besides those in [`COMMON_ERRORS`].
    pub errors: &'static [&'static str],
}

/// Errors that operations answer with and that AWS's model does not list: refused signatures, rights, rates, names
/// that only services give, and requests that are not even understood.
pub const COMMON_ERRORS: &[&str] = &[
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "NotAuthorizedException",
    "RequestEntityTooLargeException",
    "SerializationException",
    "ThrottlingException",
    "UnknownOperationException",
    "UnrecognizedClientException",
    "UnsupportedOperationException",
    "ValidationException",
];

/// A member of a structure.
#[derive(Debug)]
pub struct Member {
    /// Its name, beginning with a capital.
    pub name: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What it holds.
    pub shape: &'static Shape,
}

/// What a member holds. Bounds are inclusive; a bound that AWS's model does not give is 0 or [`ANY`].
#[derive(Debug)]
pub enum Shape {
    /// A string; lengths in characters.
    Text {
        /// Shortest.
        min: usize,
        /// Longest.
        max: usize,
        /// What all of it must match.
        pattern: Option<&'static Pattern>,
    },
    /// A string out of a set.
    Enum(&'static [&'static str]),
    /// Bytes, base64 on the wire; lengths in bytes.
    Blob {
        /// Shortest.
        min: usize,
        /// Longest.
        max: usize,
        /// Whether error messages must not show anything of it.
        sensitive: bool,
    },
    /// A whole number.
    Integer {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// `true` or `false`.
    Boolean,
    /// Seconds since 1970, with a fraction.
    Timestamp,
    /// Values of one shape.
    List {
        /// Their shape.
        of: &'static Shape,
        /// Fewest.
        min: usize,
        /// Most.
        max: usize,
    },
    /// Strings by name.
    Map,
    /// Named members.
    Structure(&'static [Member]),
}

/// No upper bound.
pub const ANY: usize = usize::MAX;

impl Operation {
    /// Whether the operation may answer with the error of this name.
    pub fn may_fail_with(&self, error: &str) -> bool {
        self.errors.contains(&error) || COMMON_ERRORS.contains(&error)
    }
}

pub(super) const fn required(name: &'static str, shape: &'static Shape) -> Member {
    Member { name, required: true, shape }
}

pub(super) const fn optional(name: &'static str, shape: &'static Shape) -> Member {
    Member { name, required: false, shape }
}

pub(super) const fn text(min: usize, max: usize) -> Shape {
    Shape::Text { min, max, pattern: None }
}

const fn patterned(min: usize, max: usize, pattern: &'static Pattern) -> Shape {
    Shape::Text { min, max, pattern: Some(pattern) }
}

const fn blob(min: usize, max: usize) -> Shape {
    Shape::Blob { min, max, sensitive: false }
}

const fn secret(min: usize, max: usize) -> Shape {
    Shape::Blob { min, max, sensitive: true }
}

const fn list(of: &'static Shape, min: usize, max: usize) -> Shape {
    Shape::List { of, min, max }
}

#[cfg(test)]
pub(super) mod testing {
    //! A structure with a member of every shape, for the tests of what reads and writes them.

    use super::{Member, Shape, blob, list, optional, patterned, patterns, required, secret, text};

    static TEXT: Shape = text(1, 5);
    static CHOICE: Shape = Shape::Enum(&["A", "B"]);
    static BLOB: Shape = blob(1, 2);
    static SECRET: Shape = secret(1, 2);
    static NUMBER: Shape = Shape::Integer { min: 1, max: 10 };
    static NAMES: Shape = list(&TEXT, 0, 2);
    static INNER: Shape = Shape::Structure(&[required("Text", &TEXT)]);
    static TAGS: Shape = list(&INNER, 0, 2);
    static ALIAS: Shape = patterned(1, 9, &patterns::ALIAS_NAME);

    pub static EVERY_SHAPE: &[Member] = &[
        required("Text", &TEXT),
        optional("Choice", &CHOICE),
        optional("Blob", &BLOB),
        optional("Secret", &SECRET),
        optional("Number", &NUMBER),
        optional("Flag", &Shape::Boolean),
        optional("Date", &Shape::Timestamp),
        optional("Names", &NAMES),
        optional("Context", &Shape::Map),
        optional("Inner", &INNER),
        optional("Tags", &TAGS),
        optional("Alias", &ALIAS),
    ];
}
