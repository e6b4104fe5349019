//! Signatures and MACs.

use crate::library::{library, no_key};
use crate::parameter;
use crate::raw::{self, Room, guarded};
use crate::session::{begin, proceed};
use crate::signing::Signing;
use cryptoki_sys as ck;
use kmsfs::kms::token::Function;

pub(crate) unsafe extern "C" fn sign_init(
    session: ck::CK_SESSION_HANDLE,
    mechanism: *mut ck::CK_MECHANISM,
    key: ck::CK_OBJECT_HANDLE,
) -> ck::CK_RV {
    // SAFETY: as of the standard.
    unsafe { init(session, mechanism, key, Function::Sign) }
}

pub(crate) unsafe extern "C" fn verify_init(
    session: ck::CK_SESSION_HANDLE,
    mechanism: *mut ck::CK_MECHANISM,
    key: ck::CK_OBJECT_HANDLE,
) -> ck::CK_RV {
    // SAFETY: as of the standard.
    unsafe { init(session, mechanism, key, Function::Verify) }
}

/// # Safety
/// As of the standard's functions.
unsafe fn init(
    session: ck::CK_SESSION_HANDLE,
    mechanism: *mut ck::CK_MECHANISM,
    key: ck::CK_OBJECT_HANDLE,
    function: Function,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        let mut session = session.lock();
        let slot = match function {
            Function::Verify => &mut session.verify,
            _ => &mut session.sign,
        };
        // PKCS#11 3.0: no mechanism ends what goes on.
        if mechanism.is_null() {
            return slot.take().map(drop).ok_or(ck::CKR_OPERATION_NOT_INITIALIZED);
        }
        begin(slot, || {
            let key = library.id(key).map_err(no_key)?;
            // SAFETY: the program's mechanism.
            let mechanism = unsafe { parameter::mechanism(mechanism) }?;
            Signing::new(key, &library.facts(&ticket, &key)?, mechanism, function)
        })
    })
}

pub(crate) unsafe extern "C" fn sign(
    session: ck::CK_SESSION_HANDLE,
    data: *mut u8,
    length: ck::CK_ULONG,
    to: *mut u8,
    to_length: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        proceed(&mut session.lock().sign, |signing| {
            // SAFETY: the program's data.
            let data = unsafe { raw::bytes(data, length) }?;
            signing.sign(&library, &ticket, data, Room::new(to, to_length)?)
        })
    })
}

pub(crate) unsafe extern "C" fn sign_update(
    session: ck::CK_SESSION_HANDLE,
    data: *mut u8,
    length: ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let (session, _) = library()?.session(session)?;
        // SAFETY: the program's data.
        proceed(&mut session.lock().sign, |signing| signing.update(unsafe { raw::bytes(data, length) }?))
    })
}

pub(crate) unsafe extern "C" fn sign_final(
    session: ck::CK_SESSION_HANDLE,
    to: *mut u8,
    to_length: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        proceed(&mut session.lock().sign, |signing| {
            signing.sign(&library, &ticket, &[], Room::new(to, to_length)?)
        })
    })
}

pub(crate) unsafe extern "C" fn verify(
    session: ck::CK_SESSION_HANDLE,
    data: *mut u8,
    length: ck::CK_ULONG,
    signature: *mut u8,
    signature_length: ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        proceed(&mut session.lock().verify, |signing| {
            // SAFETY: the program's data and signature.
            let (data, signature) =
                unsafe { (raw::bytes(data, length)?, raw::bytes(signature, signature_length)?) };
            signing.verify(&library, &ticket, data, signature)
        })
    })
}

pub(crate) unsafe extern "C" fn verify_update(
    session: ck::CK_SESSION_HANDLE,
    data: *mut u8,
    length: ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let (session, _) = library()?.session(session)?;
        // SAFETY: the program's data.
        proceed(&mut session.lock().verify, |signing| signing.update(unsafe { raw::bytes(data, length) }?))
    })
}

pub(crate) unsafe extern "C" fn verify_final(
    session: ck::CK_SESSION_HANDLE,
    signature: *mut u8,
    signature_length: ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        proceed(&mut session.lock().verify, |signing| {
            // SAFETY: the program's signature.
            let signature = unsafe { raw::bytes(signature, signature_length) }?;
            signing.verify(&library, &ticket, &[], signature)
        })
    })
}
