//! Logging in to a token, without ever being the one who locks it.

use super::pin::Pin;
use super::trouble::{Trouble, told};
use crate::crypto::SecretBytes;
use crate::keys::{Error, ErrorKind};
use cryptoki::error::{Error as Ck, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::TokenInfo;
use cryptoki::types::RawAuthPin;

/// What there is to log in with, and what came of it.
pub(super) struct Login {
    pin: Option<Pin>,
    /// A PIN that the token has refused, and what it called that.
    refused: Option<(SecretBytes, String)>,
    /// Whether the last attempt failed for a reason that may or may not be the PIN.
    failed: bool,
}

/// What a token tells of how its PIN was used.
#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    /// A wrong one was tried since the last right one.
    low: bool,
    /// The next wrong one locks it.
    last: bool,
    locked: bool,
}

impl Login {
    pub(super) fn new(pin: Option<Pin>) -> Login {
        Login { pin, refused: None, failed: false }
    }

    /// Logs in, if the token wants it.
    ///
    /// # Errors
    /// [`ErrorKind::Secret`], which stays so until there is another PIN.
    pub(super) fn log_in(&mut self, session: &Session, token: &TokenInfo) -> Result<(), Trouble> {
        use RvError::{PinExpired, PinIncorrect, PinInvalid, PinLenRange, PinLocked, UserPinNotInitialized};
        if !token.login_required() {
            return Ok(());
        }
        let tries = Tries {
            low: token.user_pin_count_low(),
            last: token.user_pin_final_try(),
            locked: token.user_pin_locked(),
        };
        let pin = self.pin.as_ref().ok_or_else(|| secret("the token wants a PIN and there is none"))?;
        let pin_bytes = pin.read().map_err(Trouble::Final)?;
        self.allow(pin, &pin_bytes, tries)?;
        let raw = RawAuthPin::new(Box::new(pin_bytes.expose().to_vec()));
        let done = session.login_with_raw(UserType::User, &raw);
        // Logged in is the whole process, with all its sessions on the token.
        let done = match done {
            Err(Ck::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            done => done,
        };
        self.failed = false;
        let Err(error) = done else { return Ok(()) };
        let what = match &error {
            Ck::Pkcs11(PinIncorrect | PinInvalid | PinLenRange, _) => {
                "the token refuses the PIN; it is not tried again, since a token locks itself after a few wrong ones"
            }
            Ck::Pkcs11(PinLocked, _) => LOCKED,
            Ck::Pkcs11(PinExpired, _) => "the token's PIN has expired: set another",
            Ck::Pkcs11(UserPinNotInitialized, _) => "the token has no user PIN yet: set one",
            _ => {
                self.failed = true;
                let what = told(ErrorKind::Unavailable, "cannot log in to the token", &error);
                return Err(Trouble::Unclear(what));
            }
        };
        let error = told(ErrorKind::Secret, what, &error);
        self.refused = Some((pin_bytes, error.name().unwrap_or_default().to_owned()));
        Err(Trouble::Final(error))
    }

    /// Whether `bytes`, which `pin` is, may be tried.
    fn allow(&self, pin: &Pin, bytes: &SecretBytes, tries: Tries) -> Result<(), Trouble> {
        if let Some((refused, name)) = &self.refused
            && refused == bytes
        {
            let again = match pin {
                Pin::File(path) => format!("it is tried again when {} has another", path.display()),
                Pin::Given(_) => "give the right one to a new mount".to_owned(),
            };
            let what = format_args!("the token has refused this PIN before: {again}");
            return Err(Trouble::Final(Error::new(ErrorKind::Secret, what).named(name)));
        }
        if tries.locked {
            return Err(secret(LOCKED));
        }
        // Some modules have no clear word for a wrong PIN, and whoever restarts a mount may do so for ever.
        if (self.failed && tries.low) || (tries.last && matches!(pin, Pin::File(_))) {
            return Err(secret(
                "a wrong PIN was tried, and another may lock the token, so this one is not tried: log in once with the right \
                 one by other means",
            ));
        }
        Ok(())
    }
}

const LOCKED: &str = "the token has locked its PIN, for a while or until whoever administers it sets another";

fn secret(what: &str) -> Trouble {
    Trouble::Final(Error::new(ErrorKind::Secret, what))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn bytes(text: &str) -> SecretBytes {
        SecretBytes::from(text.to_owned())
    }

    fn allowed(login: &Login, pin: &Pin, text: &str, tries: Tries) -> bool {
        login.allow(pin, &bytes(text), tries).is_ok()
    }

    #[test]
    fn a_refused_pin_is_not_tried_again_and_another_is() {
        let login = Login { refused: Some((bytes("1111"), "CKR_PIN_INCORRECT".into())), ..Login::new(None) };
        for pin in [Pin::Given(bytes("1111")), Pin::File("/pin".into())] {
            assert!(!allowed(&login, &pin, "1111", Tries::default()));
            assert!(allowed(&login, &pin, "2222", Tries::default()));
        }
    }

    #[test]
    fn no_program_takes_the_last_try_before_a_token_locks() {
        let (file, typed) = (Pin::File("/pin".into()), Pin::Given(bytes("1111")));
        let last = Tries { low: true, last: true, locked: false };
        let fresh = Login::new(None);
        assert!(!allowed(&fresh, &file, "1111", last));
        assert!(allowed(&fresh, &typed, "1111", last), "a person may");
        assert!(!allowed(&fresh, &typed, "1111", Tries { locked: true, ..last }));
    }

    #[test]
    fn a_failure_that_the_token_counted_as_a_wrong_pin_is_not_repeated() {
        let pin = Pin::File("/pin".into());
        let low = Tries { low: true, ..Tries::default() };
        assert!(allowed(&Login::new(None), &pin, "1111", low), "somebody else's mistake");
        let failed = Login { failed: true, ..Login::new(None) };
        assert!(!allowed(&failed, &pin, "1111", low));
        assert!(allowed(&failed, &pin, "1111", Tries::default()), "the token was away");
    }
}
