//! Backups of an HSM's keystore, made and put back while it is sealed.
//!
//! An older copy is a way to undo what custodians decided: a disabled key, a revoked grant, a spent approval, a custodian
//! parted with. So a copy takes the place of a keystore only if that undoes nothing, by its [`Counter`], or if somebody says
//! that it shall. Where the keystore is lost there is nothing to compare with but what custodians noted.

use super::{Error, Sealed};
use crate::kms::Kms;
use crate::kms::keystore::{Age, Counter, Location};
use std::path::Path;

/// Why a copy may not take the keystore's place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not this HSM's.
    #[error("the copy is one of the HSM {copy}, and the keystore there is that of the HSM {there}")]
    Elsewhere {
        /// Name of the copy's HSM.
        copy: String,
        /// Name of the HSM whose keystore is there.
        there: String,
    },
    /// It would undo changes of the keystore that is there.
    #[error(
        "the copy, {copy}, is older than the keystore there, {there}: what changed since would be undone"
    )]
    Older {
        /// Of the copy.
        copy: Counter,
        /// Of the keystore that is there.
        there: Counter,
    },
    /// It and the keystore that is there are not of one history.
    #[error("the copy, {copy}, and the keystore there, {there}, went through different changes")]
    Other {
        /// Of the copy.
        copy: Counter,
        /// Of the keystore that is there.
        there: Counter,
    },
    /// It is none of the states that it may be.
    #[error("expected the state {expected} or a later one; this is {found}")]
    Unexpected {
        /// What custodians noted.
        expected: Counter,
        /// What it is.
        found: Counter,
    },
}

/// What a copy may be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Accept {
    /// The state that custodians noted last: this one or a later one.
    pub expected: Option<Counter>,
    /// Whether it may undo changes of the keystore that is there.
    pub older: bool,
}

/// Copies the keystore of `sealed` to the new file `to`, and returns what the copy is.
///
/// # Errors
/// Those of the keystore. No file is left behind.
pub fn back_up(sealed: &Sealed, to: &Path) -> Result<Sealed, Error> {
    Kms::back_up(&sealed.location, to)?;
    Sealed::find(&to.into())
}

/// Puts the copy in the file `from` in the place of the keystore at `location`, or makes that, and returns what it is now.
/// Whether the copy is sound is seen when custodians unlock it.
///
/// # Errors
/// [`Refused`]; [`Error::NotAnHsm`] of either; those of the keystore. What is at `location` is as it was.
pub fn restore(from: &Path, location: &Location, accept: Accept) -> Result<Sealed, Error> {
    let copy = Sealed::find(&from.into())?;
    if let Some(expected) = accept.expected {
        check_expected(copy.counter, expected)?;
    }
    let there = match location.exists()? {
        true => Some(Sealed::find(location)?),
        false => None,
    };
    if let Some(there) = &there {
        check(&copy, there, accept.older)?;
    }
    Kms::restore(from, location, there.map(|there| there.counter))?;
    Sealed::find(location)
}

/// Is `found` the state `expected`, or may it be a later one?
///
/// # Errors
/// [`Refused::Unexpected`].
pub fn check_expected(found: Counter, expected: Counter) -> Result<(), Refused> {
    match found.seen_from(expected) {
        Age::Same | Age::Newer => Ok(()),
        Age::Older | Age::Other => Err(Refused::Unexpected { expected, found }),
    }
}

fn check(copy: &Sealed, there: &Sealed, older: bool) -> Result<(), Refused> {
    if copy.keystore != there.keystore {
        return Err(Refused::Elsewhere { copy: copy.to_string(), there: there.to_string() });
    }
    let (copy, there) = (copy.counter, there.counter);
    match copy.seen_from(there) {
        Age::Same | Age::Newer => Ok(()),
        Age::Older | Age::Other if older => Ok(()),
        Age::Older => Err(Refused::Older { copy, there }),
        Age::Other => Err(Refused::Other { copy, there }),
    }
}
