//! PKCS#11's return codes: a name on the wire, a number for programs.

use crate::kms;
use cryptoki_sys as ck;
use std::fmt;

/// A return code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Its name in the standard, as in `CKR_PIN_INCORRECT`.
    pub name: &'static str,
    /// Its number.
    pub number: ck::CK_RV,
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! codes {
    ($($name:ident = $number:ident: $what:literal,)*) => {
        impl Code {
            $(
                #[doc = $what]
                pub const $name: Code = Code { name: stringify!($number), number: ck::$number };
            )*

            /// All that a token answers with.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// Their names.
            pub const NAMES: &[&str] = &[$(stringify!($number)),*];
        }
    };
}

codes! {
    ARGUMENTS_BAD = CKR_ARGUMENTS_BAD: "The request makes no sense.",
    ACTION_PROHIBITED = CKR_ACTION_PROHIBITED: "The object's attributes forbid it.",
    ATTRIBUTE_READ_ONLY = CKR_ATTRIBUTE_READ_ONLY: "The attribute is not for callers to set, or not any more.",
    ATTRIBUTE_SENSITIVE = CKR_ATTRIBUTE_SENSITIVE: "The attribute is a secret that does not leave the token.",
    ATTRIBUTE_TYPE_INVALID = CKR_ATTRIBUTE_TYPE_INVALID: "The object has no such attribute.",
    ATTRIBUTE_VALUE_INVALID = CKR_ATTRIBUTE_VALUE_INVALID: "The attribute cannot have that value.",
    DATA_INVALID = CKR_DATA_INVALID: "The mechanism does not take this data.",
    DATA_LEN_RANGE = CKR_DATA_LEN_RANGE: "The mechanism does not take data of this length.",
    DEVICE_ERROR = CKR_DEVICE_ERROR: "The keystore failed.",
    DEVICE_MEMORY = CKR_DEVICE_MEMORY: "There are too many sessions or objects.",
    DOMAIN_PARAMS_INVALID = CKR_DOMAIN_PARAMS_INVALID: "The curve or group is not supported.",
    CURVE_NOT_SUPPORTED = CKR_CURVE_NOT_SUPPORTED: "There is no such curve here.",
    ENCRYPTED_DATA_INVALID = CKR_ENCRYPTED_DATA_INVALID: "The ciphertext does not open.",
    ENCRYPTED_DATA_LEN_RANGE = CKR_ENCRYPTED_DATA_LEN_RANGE: "A ciphertext does not have this length.",
    KEY_FUNCTION_NOT_PERMITTED = CKR_KEY_FUNCTION_NOT_PERMITTED: "The key's attributes do not allow this use.",
    KEY_HANDLE_INVALID = CKR_KEY_HANDLE_INVALID: "There is no such key, or it is not to be seen.",
    KEY_NOT_WRAPPABLE = CKR_KEY_NOT_WRAPPABLE: "A key of this kind cannot be wrapped so.",
    KEY_SIZE_RANGE = CKR_KEY_SIZE_RANGE: "A key cannot have this size.",
    KEY_TYPE_INCONSISTENT = CKR_KEY_TYPE_INCONSISTENT: "The key is not one for the mechanism.",
    KEY_UNEXTRACTABLE = CKR_KEY_UNEXTRACTABLE: "The key is not extractable.",
    MECHANISM_INVALID = CKR_MECHANISM_INVALID: "There is no such mechanism, or not for this.",
    MECHANISM_PARAM_INVALID = CKR_MECHANISM_PARAM_INVALID: "The mechanism does not take this parameter.",
    OBJECT_HANDLE_INVALID = CKR_OBJECT_HANDLE_INVALID: "There is no such object, or it is not to be seen.",
    PIN_INCORRECT = CKR_PIN_INCORRECT: "The PIN is wrong.",
    PIN_LEN_RANGE = CKR_PIN_LEN_RANGE: "A PIN cannot have this length.",
    PIN_LOCKED = CKR_PIN_LOCKED: "Wrong PINs came too often: later.",
    SESSION_HANDLE_INVALID = CKR_SESSION_HANDLE_INVALID: "The session is over.",
    SIGNATURE_INVALID = CKR_SIGNATURE_INVALID: "The signature is not that of the data.",
    SIGNATURE_LEN_RANGE = CKR_SIGNATURE_LEN_RANGE: "A signature does not have this length.",
    TEMPLATE_INCOMPLETE = CKR_TEMPLATE_INCOMPLETE: "An attribute is missing.",
    TEMPLATE_INCONSISTENT = CKR_TEMPLATE_INCONSISTENT: "The attributes do not go together.",
    UNWRAPPING_KEY_HANDLE_INVALID = CKR_UNWRAPPING_KEY_HANDLE_INVALID: "There is no such key to unwrap with.",
    USER_ALREADY_LOGGED_IN = CKR_USER_ALREADY_LOGGED_IN: "The user is logged in.",
    USER_NOT_LOGGED_IN = CKR_USER_NOT_LOGGED_IN: "That takes a login.",
    USER_PIN_NOT_INITIALIZED = CKR_USER_PIN_NOT_INITIALIZED: "The user has no PIN yet.",
    WRAPPED_KEY_INVALID = CKR_WRAPPED_KEY_INVALID: "The wrapped key does not open.",
    WRAPPED_KEY_LEN_RANGE = CKR_WRAPPED_KEY_LEN_RANGE: "A wrapped key does not have this length.",
    WRAPPING_KEY_HANDLE_INVALID = CKR_WRAPPING_KEY_HANDLE_INVALID: "There is no such key to wrap with.",
}

/// Why a token does not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// As PKCS#11 has it.
    #[error("{why} ({})", .code.name)]
    Code {
        /// What programs act on.
        code: Code,
        /// What people read.
        why: String,
    },
    /// The keystore below.
    #[error(transparent)]
    Kms(#[from] kms::Error),
}

/// The result of a token's operation.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The code, if it is one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::Code { code, .. } => Some(*code),
            Error::Kms(_) => None,
        }
    }
}

impl Code {
    /// The error of this code, with what a person should know.
    pub(super) fn because(self, why: impl Into<String>) -> Error {
        Error::Code { code: self, why: why.into() }
    }

    /// The code of this name.
    pub fn named(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_by_its_name() {
        for code in Code::ALL {
            assert_eq!(Code::named(code.name), Some(*code));
        }
        assert_eq!(Code::named("CKR_PIN_INCORRECT").map(|code| code.number), Some(0xa0));
        assert_eq!(Code::named("CKR_OK"), None);
    }
}
