//! A session: what goes on in it, one of each kind at a time.

use crate::cipher::Cipher;
use crate::raw::Return;
use crate::service::Id;
use crate::signing::Signing;
use aws_lc_rs::digest;
use cryptoki_sys as ck;
use std::vec::IntoIter;

/// See the module.
pub(crate) struct Session {
    pub(crate) is_read_write: bool,
    /// Objects that go with the session.
    pub(crate) objects: Vec<Id>,
    pub(crate) find: Option<IntoIter<Id>>,
    pub(crate) digest: Option<digest::Context>,
    pub(crate) encrypt: Option<Cipher>,
    pub(crate) decrypt: Option<Cipher>,
    pub(crate) sign: Option<Signing>,
    pub(crate) verify: Option<Signing>,
}

impl Session {
    /// A session in which nothing goes on.
    pub(crate) fn new(is_read_write: bool) -> Session {
        Session {
            is_read_write,
            objects: Vec::new(),
            find: None,
            digest: None,
            encrypt: None,
            decrypt: None,
            sign: None,
            verify: None,
        }
    }

    /// Notes an object that was made here: one of the session goes with it.
    pub(crate) fn made(&mut self, id: Id, is_token: bool) {
        if !is_token {
            self.objects.push(id);
        }
    }

    /// Refuses to change objects of the token in a session that only reads.
    ///
    /// # Errors
    /// `CKR_SESSION_READ_ONLY`
    pub(crate) fn check_may_write(&self, is_token: bool) -> Return<()> {
        if is_token && !self.is_read_write { Err(ck::CKR_SESSION_READ_ONLY) } else { Ok(()) }
    }
}

/// Begins something, unless something of the kind goes on.
///
/// # Errors
/// `CKR_OPERATION_ACTIVE`
pub(crate) fn begin<T>(slot: &mut Option<T>, new: impl FnOnce() -> Return<T>) -> Return<()> {
    if slot.is_some() {
        return Err(ck::CKR_OPERATION_ACTIVE);
    }
    *slot = Some(new()?);
    Ok(())
}

/// Goes on with what was begun. It is over when `step` says so, or fails otherwise than for want of room.
///
/// # Errors
/// `CKR_OPERATION_NOT_INITIALIZED`; those of the step.
pub(crate) fn proceed<T>(slot: &mut Option<T>, step: impl FnOnce(&mut T) -> Return<Progress>) -> Return<()> {
    let operation = slot.as_mut().ok_or(ck::CKR_OPERATION_NOT_INITIALIZED)?;
    match step(operation) {
        Ok(Progress::GoesOn) => Ok(()),
        Ok(Progress::Over) => {
            *slot = None;
            Ok(())
        }
        Err(ck::CKR_BUFFER_TOO_SMALL) => Err(ck::CKR_BUFFER_TOO_SMALL),
        Err(code) => {
            *slot = None;
            Err(code)
        }
    }
}

/// Whether an operation goes on after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    GoesOn,
    Over,
}
