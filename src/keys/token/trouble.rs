//! What PKCS#11's return values mean.
//!
//! Modules differ in what they return where: SoftHSM says CKR_GENERAL_ERROR of a ciphertext that was altered, and
//! CKR_OBJECT_HANDLE_INVALID of a token that is gone. So a value is believed where it can mean one thing only.

use crate::keys::{Error, ErrorKind};
use cryptoki::error::{Error as Ck, RvError};

/// Why something failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A new session would not help.
    Final(Error),
    /// The token is away, or has forgotten the session.
    Lost(Error),
    /// That, or the module has no better word for what it was given.
    Unclear(Error),
}

impl Trouble {
    pub(super) fn into_error(self) -> Error {
        match self {
            Trouble::Final(error) | Trouble::Lost(error) | Trouble::Unclear(error) => error,
        }
    }

    /// Something that is not as it must be, and will not change by itself.
    pub(super) fn unsuitable(what: impl std::fmt::Display) -> Trouble {
        Trouble::Final(Error::new(ErrorKind::Unsuitable, what))
    }

    /// A ciphertext that the key did not make in this context.
    pub(super) fn altered() -> Trouble {
        let what = "the wrapped key was altered, or wrapped for something else or by another key";
        Trouble::Final(Error::new(ErrorKind::Invalid, what))
    }
}

impl From<Ck> for Trouble {
    fn from(error: Ck) -> Trouble {
        use RvError::{
            ActionProhibited, CryptokiNotInitialized, DeviceRemoved, EncryptedDataInvalid,
            EncryptedDataLenRange, KeyFunctionNotPermitted, KeyHandleInvalid, KeySizeRange,
            KeyTypeInconsistent, MechanismInvalid, MechanismParamInvalid, ObjectHandleInvalid, SessionClosed,
            SessionHandleInvalid, SlotIdInvalid, TokenNotPresent, UserNotLoggedIn, WrappedKeyInvalid,
            WrappedKeyLenRange,
        };
        match &error {
            Ck::Pkcs11(
                EncryptedDataInvalid | EncryptedDataLenRange | WrappedKeyInvalid | WrappedKeyLenRange,
                _,
            ) => Trouble::altered(),
            Ck::Pkcs11(
                ActionProhibited
                | KeyFunctionNotPermitted
                | KeySizeRange
                | KeyTypeInconsistent
                | MechanismInvalid
                | MechanismParamInvalid,
                _,
            ) => Trouble::Final(told(ErrorKind::Unsuitable, "the token's key cannot wrap data keys", &error)),
            Ck::Pkcs11(
                CryptokiNotInitialized
                | DeviceRemoved
                | KeyHandleInvalid
                | ObjectHandleInvalid
                | SessionClosed
                | SessionHandleInvalid
                | SlotIdInvalid
                | TokenNotPresent
                | UserNotLoggedIn,
                _,
            ) => Trouble::Lost(told(ErrorKind::Unavailable, "the token is away", &error)),
            _ => Trouble::Unclear(told(ErrorKind::Unavailable, "the token cannot be used", &error)),
        }
    }
}

/// An error that the module's own stands behind.
pub(super) fn told(kind: ErrorKind, what: &str, error: &Ck) -> Error {
    match error {
        Ck::Pkcs11(value, function) => {
            Error::new(kind, format_args!("{what} (C_{function:?})")).named(name(*value))
        }
        _ => Error::new(kind, format_args!("{what}: {error}")),
    }
}

/// What the standard calls a return value.
fn name(value: RvError) -> String {
    let word = format!("{value:?}");
    if !word.chars().all(char::is_alphanumeric) {
        return format!("CKR_VENDOR_DEFINED: {word}");
    }
    let mut name = String::from("CKR");
    for letter in word.chars() {
        if letter.is_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki::context::Function;

    #[test]
    fn values_have_the_names_of_the_standard() {
        for (value, expected) in [
            (RvError::GeneralError, "CKR_GENERAL_ERROR"),
            (RvError::PinIncorrect, "CKR_PIN_INCORRECT"),
            (RvError::SlotIdInvalid, "CKR_SLOT_ID_INVALID"),
            (RvError::DeviceRemoved, "CKR_DEVICE_REMOVED"),
        ] {
            assert_eq!(name(value), expected);
        }
    }

    #[test]
    fn a_token_that_may_be_away_is_looked_for_and_a_refusal_is_not_repeated() {
        let of = |value| Trouble::from(Ck::Pkcs11(value, Function::Decrypt));
        for value in [
            RvError::TokenNotPresent,
            RvError::DeviceRemoved,
            RvError::SessionHandleInvalid,
            RvError::UserNotLoggedIn,
            RvError::ObjectHandleInvalid,
        ] {
            let trouble = of(value);
            assert!(matches!(trouble, Trouble::Lost(_)), "{value:?}");
            assert_eq!(trouble.into_error().kind(), ErrorKind::Unavailable);
        }
        assert!(matches!(of(RvError::GeneralError), Trouble::Unclear(_)));
        for (value, kind) in [
            (RvError::EncryptedDataInvalid, ErrorKind::Invalid),
            (RvError::WrappedKeyInvalid, ErrorKind::Invalid),
            (RvError::KeyFunctionNotPermitted, ErrorKind::Unsuitable),
        ] {
            let trouble = of(value);
            assert!(matches!(trouble, Trouble::Final(_)), "{value:?}");
            assert_eq!(trouble.into_error().kind(), kind);
        }
    }
}
