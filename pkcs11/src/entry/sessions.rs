//! Sessions and logins.

use super::slots::check_slot;
use crate::library::{SLOT, library};
use crate::raw::{self, guarded};
use cryptoki_sys as ck;
use std::ffi::c_void;

pub(crate) unsafe extern "C" fn open_session(
    slot: ck::CK_SLOT_ID,
    flags: ck::CK_FLAGS,
    _application: *mut c_void,
    _notify: ck::CK_NOTIFY,
    to: *mut ck::CK_SESSION_HANDLE,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        check_slot(slot)?;
        if flags & ck::CKF_SERIAL_SESSION == 0 {
            return Err(ck::CKR_SESSION_PARALLEL_NOT_SUPPORTED);
        }
        if to.is_null() {
            return Err(ck::CKR_ARGUMENTS_BAD);
        }
        let handle = library.open_session(flags & ck::CKF_RW_SESSION != 0)?;
        // SAFETY: the program's room.
        unsafe { raw::write(to, handle) }
    })
}

pub(crate) unsafe extern "C" fn close_session(session: ck::CK_SESSION_HANDLE) -> ck::CK_RV {
    guarded(|| library()?.close_session(session))
}

pub(crate) unsafe extern "C" fn close_all_sessions(slot: ck::CK_SLOT_ID) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        check_slot(slot)?;
        library.close_all();
        Ok(())
    })
}

pub(crate) unsafe extern "C" fn get_session_info(
    session: ck::CK_SESSION_HANDLE,
    to: *mut ck::CK_SESSION_INFO,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let (found, _) = library.session(session)?;
        let is_read_write = found.lock().is_read_write;
        let (state, flags) = match (library.is_logged_in(), is_read_write) {
            (false, false) => (ck::CKS_RO_PUBLIC_SESSION, 0),
            (false, true) => (ck::CKS_RW_PUBLIC_SESSION, ck::CKF_RW_SESSION),
            (true, false) => (ck::CKS_RO_USER_FUNCTIONS, 0),
            (true, true) => (ck::CKS_RW_USER_FUNCTIONS, ck::CKF_RW_SESSION),
        };
        let flags = flags | ck::CKF_SERIAL_SESSION;
        let info = ck::CK_SESSION_INFO { slotID: SLOT, state, flags, ulDeviceError: 0 };
        // SAFETY: the program's room.
        unsafe { raw::write(to, info) }
    })
}

pub(crate) unsafe extern "C" fn login(
    session: ck::CK_SESSION_HANDLE,
    user: ck::CK_USER_TYPE,
    pin: *mut ck::CK_UTF8CHAR,
    length: ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        library.session(session)?;
        let confirms = match user {
            ck::CKU_USER => false,
            ck::CKU_CONTEXT_SPECIFIC => true,
            // Custodians and the keystore's administrators have `kmsfs hsm` for what a security officer does.
            _ => return Err(ck::CKR_USER_TYPE_INVALID),
        };
        if library.is_logged_in() && !confirms {
            return Err(ck::CKR_USER_ALREADY_LOGGED_IN);
        }
        // SAFETY: the program's PIN.
        library.login(session, unsafe { raw::bytes(pin, length) }?, confirms)
    })
}

/// C_LoginUser: users are told by what they call as, so a name says nothing.
pub(crate) unsafe extern "C" fn login_user(
    session: ck::CK_SESSION_HANDLE,
    user: ck::CK_USER_TYPE,
    pin: *mut ck::CK_UTF8CHAR,
    length: ck::CK_ULONG,
    _name: *mut ck::CK_UTF8CHAR,
    name_length: ck::CK_ULONG,
) -> ck::CK_RV {
    match name_length {
        // SAFETY: as of C_Login.
        0 => unsafe { login(session, user, pin, length) },
        _ => ck::CKR_ARGUMENTS_BAD,
    }
}

pub(crate) unsafe extern "C" fn logout(session: ck::CK_SESSION_HANDLE) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        library.session(session)?;
        match library.is_logged_in() {
            true => library.logout(session),
            false => Err(ck::CKR_USER_NOT_LOGGED_IN),
        }
    })
}

pub(crate) unsafe extern "C" fn set_pin(
    session: ck::CK_SESSION_HANDLE,
    old: *mut ck::CK_UTF8CHAR,
    old_length: ck::CK_ULONG,
    new: *mut ck::CK_UTF8CHAR,
    new_length: ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        library.session(session)?.0.lock().check_may_write(true)?;
        // SAFETY: the program's PINs.
        let (old, new) = unsafe { (raw::bytes(old, old_length)?, raw::bytes(new, new_length)?) };
        library.over(library.service.set_pin(old, new))
    })
}

/// C_SessionCancel: ends what goes on.
pub(crate) unsafe extern "C" fn session_cancel(
    session: ck::CK_SESSION_HANDLE,
    flags: ck::CK_FLAGS,
) -> ck::CK_RV {
    guarded(|| {
        let (session, _) = library()?.session(session)?;
        let mut session = session.lock();
        let asked = |flag| flags & flag != 0;
        session.encrypt.take_if(|_| asked(ck::CKF_ENCRYPT));
        session.decrypt.take_if(|_| asked(ck::CKF_DECRYPT));
        session.digest.take_if(|_| asked(ck::CKF_DIGEST));
        session.sign.take_if(|_| asked(ck::CKF_SIGN));
        session.verify.take_if(|_| asked(ck::CKF_VERIFY));
        session.find.take_if(|_| asked(ck::CKF_FIND_OBJECTS));
        Ok(())
    })
}
